"""import and export: inventories of spreadsheets and MDMs, in and out, whole or not at all."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from netguard.adapters import files
from netguard.cli import folders
from netguard.core.names import suggest_of
from netguard.core.policy import Policy
from netguard.errors import BadValue, NetguardError, UsageError
from netguard.rules.findings import Finding, as_json, errors
from netguard.rules.folder import Folder, read_folder
from netguard.rules.importing.changes import Change, written
from netguard.rules.importing.columns import HEADERS
from netguard.rules.importing.merge import Merged, Wishes, merge
from netguard.rules.importing.table import MAX_BYTES, Refused, Sheet, read
from netguard.rules.inventory import SHOWN_FAULTS, TABLET_COLUMNS
from netguard.rules.load import load
from netguard.rules.words import tablet_id

TABLE = "tablets.csv"


def import_(arguments: argparse.Namespace) -> int:
    """Take a table over into tablets.csv; 1 with every fault and nothing written when there is one."""
    path = folders.rules_path(arguments)
    folder = _with_table(read_folder(path))
    before = _policy(arguments, folder)
    name, data = _given(arguments.file)
    form = arguments.import_word
    try:
        sheet = read(
            name,
            data,
            form,
            _pairs(arguments.column, "--column", HEADERS),
            _pairs(arguments.only, "--only"),
        )
        merged = merge(
            sheet, form, before, list(before.tablets.values()), _wishes(arguments, before)
        )
        after = written(merged.tablets)
        _judge(arguments, folder, before, merged, after, name)
    except Refused as error:
        return _refuse(arguments, error.findings)
    write = bool(merged.changes) and not arguments.dry_run
    if write:
        files.write(path / TABLE, after)
    if arguments.json:
        sys.stdout.write(json.dumps(_body(sheet, merged, write=write), ensure_ascii=False) + "\n")
        return 0
    _report(sheet, merged)
    done = "written" if write else "would change" if merged.changes else "stays as it is"
    sys.stderr.write(f"{_counts(merged, len(before.tablets))}; {path / TABLE} {done}\n")
    if write:
        sys.stderr.write(f"next: netguard allot {path} && netguard plan {path}\n")
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Print the inventory as a table that import reads back to the same, and a spreadsheet as text."""
    folder = read_folder(folders.rules_path(arguments))
    policy = _policy(arguments, folder)
    excel = arguments.form == "excel"
    text = written(list(policy.tablets.values()), separator=";" if excel else ",", safe=True)
    data = (text.replace("\n", "\r\n") if excel else text).encode("utf-8-sig" if excel else "utf-8")
    if arguments.out is None:
        sys.stdout.buffer.write(data)
        return 0
    files.write(arguments.out, data)
    sys.stderr.write(f"{len(policy.tablets)} tablets, {arguments.out} written\n")
    return 0


def _with_table(folder: Folder) -> Folder:
    """Return a folder with an inventory, an empty one where there is none yet."""
    if "tablets.yaml" in folder.files:
        raise NetguardError(
            f"{folder.shown('tablets.yaml')}: import writes tablets.csv; turn this one into it first: "
            "netguard export --out tablets.csv, then remove tablets.yaml"
        )
    if TABLE in folder.files:
        return folder
    header = ",".join(TABLET_COLUMNS) + "\n"
    return replace(folder, files={**folder.files, TABLE: header.encode()})


def _policy(arguments: argparse.Namespace, folder: Folder) -> Policy:
    loaded = load(folder, today=folders.today(arguments), allow_empty=True, require_addresses=False)
    if loaded.policy is None:
        for finding in errors(loaded.findings):
            sys.stderr.write(finding.render() + "\n")
        raise NetguardError("the folder has errors already, mend them first; nothing written")
    return loaded.policy


def _given(file: Path) -> tuple[str, bytes]:
    if str(file) == "-":
        return "stdin", sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise UsageError(f"{file}: larger than {MAX_BYTES // 2**20} MiB")
        return str(file), file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {os.strerror(error.errno or 0)}") from error


def _pairs(
    given: Sequence[str] | None, flag: str, known: Mapping[str, object] | None = None
) -> dict[str, str]:
    pairs = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not equals or (known is not None and key not in known):
            fields = (
                f"FIELD is one of {', '.join(known)}" if known else "such as --only 'OS=Android'"
            )
            raise UsageError(f"{flag} '{text}': {fields}, then = and a value")
        pairs[key] = value
    return pairs


def _wishes(arguments: argparse.Namespace, policy: Policy) -> Wishes:
    group, place, first = arguments.group or "", arguments.home or "", arguments.first_id or ""
    areas = [f"{site.name}/{area}" for site in policy.sites.values() for area in site.areas]
    if group and group not in policy.groups:
        raise UsageError(f"--group: unknown group '{group}'{suggest_of(group, policy.groups)}")
    if place and place not in areas:
        raise UsageError(f"--home: unknown area '{place}'{suggest_of(place, areas)}")
    try:
        if first:
            tablet_id(first)
    except BadValue as error:
        raise UsageError(f"--first-id: {error.text}") from error
    return Wishes(group, place, first, arguments.accept_private, arguments.skip_incomplete)


def _judge(
    arguments: argparse.Namespace,
    folder: Folder,
    before: Policy,
    merged: Merged,
    after: str,
    name: str,
) -> None:
    """Check the folder as it would be. Raises Refused, a fault of a tablet at its line of the table."""
    then = replace(folder, files={**folder.files, TABLE: after.encode()})
    previous = {tablet.id: tablet.mac for tablet in before.tablets.values()}
    loaded = load(
        then,
        today=folders.today(arguments),
        allow_empty=arguments.allow_empty,
        previous=None if arguments.confirm_shrink else previous,
        require_addresses=False,
    )
    at = {row + 2: merged.lines.get(tablet.id) for row, tablet in enumerate(merged.tablets)}
    wrong = [
        replace(finding, file=name, line=at[finding.line] or 0)
        if finding.file == folder.shown(TABLE) and at.get(finding.line)
        else finding
        for finding in errors(loaded.findings)
    ]
    if wrong:
        raise Refused(*wrong)


def _refuse(arguments: argparse.Namespace, findings: Sequence[Finding]) -> int:
    if arguments.json:
        sys.stdout.write(as_json(1, list(findings)) + "\n")
        return 1
    for finding in findings[:SHOWN_FAULTS]:
        sys.stdout.write(finding.render() + "\n")
    rest = len(findings) - SHOWN_FAULTS
    more = f" (and {rest} more)" if rest > 0 else ""
    count = f"{len(findings)} fault{'s' if len(findings) != 1 else ''}"
    sys.stderr.write(f"{count}{more}: nothing of the table is taken, nothing written\n")
    return 1


def _report(sheet: Sheet, merged: Merged) -> None:
    taken = ", ".join(f"{field} of '{header}'" for field, header in sheet.taken.items())
    left = ", ".join(f"'{header}'" for header in sheet.left) or "none"
    separator = {"\t": "tab"}.get(sheet.separator, f"'{sheet.separator}'")
    rows = f"{len(sheet.rows)} row{'s' if len(sheet.rows) != 1 else ''}"
    sys.stderr.write(f"{sheet.name}: {sheet.encoding}, {separator}, {rows}\n")
    sys.stderr.write(f"  read: {taken}\n  columns not read: {left}\n")
    for change in merged.changes:
        sys.stdout.write(f"{_told(change)}\n")
    for number, why in merged.skipped:
        sys.stderr.write(f"{sheet.name}:{number}: left out: {why}\n")
    if sheet.blank or merged.twice:
        twice = ", ".join(map(str, merged.twice)) or "none"
        sys.stderr.write(f"  blank rows: {sheet.blank}; lines that repeat another: {twice}\n")
    if merged.unseen:
        first = ", ".join(merged.unseen[:10]) + (", ..." if len(merged.unseen) > 10 else "")
        sys.stderr.write(f"  kept, though the export lacks {len(merged.unseen)} of them: {first}\n")
    if merged.private:
        sys.stderr.write(f"  private addresses accepted: {', '.join(merged.private)}\n")


def _told(change: Change) -> str:
    if change.before is not None and change.after is not None:
        what = "; ".join(
            f"{name} {old or '(none)'} -> {new or '(none)'}"
            for name, (old, new) in change.columns().items()
        )
        return f"~ {change.id}  {what}"
    columns = change.columns()
    values = [old or new for name, (old, new) in columns.items() if name != "id"]
    return f"{'-' if change.after is None else '+'} {change.id}  {'  '.join(values)}"


def _counts(merged: Merged, before: int) -> str:
    kinds = [change.kind for change in merged.changes]
    same = before - kinds.count("changed") - kinds.count("gone")
    return (
        f"{kinds.count('added')} added, {kinds.count('changed')} changed, {kinds.count('gone')} gone, "
        f"{same} as before"
    )


def _body(sheet: Sheet, merged: Merged, *, write: bool) -> dict[str, object]:
    return {
        "file": sheet.name,
        "encoding": sheet.encoding,
        "separator": sheet.separator,
        "rows": len(sheet.rows),
        "taken": dict(sheet.taken),
        "left": list(sheet.left),
        "blank": sheet.blank,
        "twice": list(merged.twice),
        "skipped": [{"line": line, "why": why} for line, why in merged.skipped],
        "unseen": list(merged.unseen),
        "private": list(merged.private),
        "changes": [
            {
                "change": change.kind,
                "id": change.id,
                "line": merged.lines.get(change.id),
                "columns": {name: list(pair) for name, pair in change.columns().items()},
            }
            for change in merged.changes
        ],
        "written": write,
    }
