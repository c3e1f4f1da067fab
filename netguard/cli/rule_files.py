"""check, lint, allot: what an engineer does with a rules folder before it is in force."""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from difflib import unified_diff
from functools import partial

from netguard.adapters import files
from netguard.cli import folders
from netguard.core.fronts import Shared, shared
from netguard.core.plan import compile_plan
from netguard.core.policy import Policy
from netguard.errors import NetguardError
from netguard.rules import fixing, inventory
from netguard.rules.allot import allot as allotment
from netguard.rules.findings import ERROR, Finding, as_github, as_json, errors, summary
from netguard.rules.folder import read_folder
from netguard.rules.load import Loaded, load
from netguard.rules.settings_file import check_settings


def check(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 when there is an error."""
    return _judge(arguments, fail_on_warnings=False, tell_shared=True)


def lint(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 when there is any. --fix mends first what needs nobody's judgement."""
    if arguments.fix or arguments.diff:
        return _fix(arguments)
    return _judge(arguments, fail_on_warnings=True)


def _fix(arguments: argparse.Namespace) -> int:
    path = folders.rules_path(arguments)
    before = read_folder(path)
    judge = partial(load, today=folders.today(arguments), allow_empty=arguments.allow_empty)
    fixed = fixing.fix(before, judge)
    files_changed = fixing.changed(before, fixed.folder)
    if arguments.diff:
        for name in sorted(files_changed):
            old, new = before.files[name].decode(), files_changed[name].decode()
            shown = before.shown(name)
            lines = unified_diff(
                old.splitlines(keepends=True), new.splitlines(keepends=True), shown, shown
            )
            sys.stdout.writelines(lines)
    else:
        for name, data in files_changed.items():
            files.write(path / name, data)
        more = {"fixed": [asdict(each) for each in fixed.fixes], "laid_out": list(fixed.laid_out)}
        if arguments.format == "text":
            for line in fixing.explained(fixed.fixes):
                sys.stdout.write(f"{line}\n")
            for name in fixed.laid_out:
                sys.stdout.write(f"{name}: layout (netguard fmt)\n")
        _print(arguments.format, fixed.loaded.files, list(fixed.loaded.findings), more)
    return 1 if fixed.loaded.findings or (arguments.diff and files_changed) else 0


def _judge(
    arguments: argparse.Namespace, *, fail_on_warnings: bool, tell_shared: bool = False
) -> int:
    previous = None
    if arguments.against is not None:
        before = load(
            read_folder(arguments.against), today=folders.today(arguments), allow_empty=True
        )
        if before.policy is not None:
            previous = {tablet.id: tablet.mac for tablet in before.policy.tablets.values()}
    loaded = load(
        folders.rules_folder(arguments),
        today=folders.today(arguments),
        allow_empty=arguments.allow_empty,
        previous=previous,
    )
    findings = list(loaded.findings)
    files_read = loaded.files
    if arguments.settings is not None:
        findings += check_settings(arguments.settings)
        files_read += 1
        findings += _unknown_sites(arguments, loaded)
    more: dict[str, object] = {}
    if tell_shared:
        # Without a policy nobody knows: null is not "none".
        fronts = _shared(loaded.policy) if loaded.policy is not None else None
        more["shared"] = None if fronts is None else [asdict(each) for each in fronts]
        if arguments.format == "text":
            _print_shared(fronts or ())
    _print(arguments.format, files_read, findings, more)
    return 1 if errors(findings) or (fail_on_warnings and findings) else 0


def _unknown_sites(arguments: argparse.Namespace, loaded: Loaded) -> list[Finding]:
    """Compare the sites a node serves with those of the rules."""
    if loaded.policy is None or check_settings(arguments.settings):
        return []
    served = folders.settings(arguments).sites
    known = ", ".join(sorted(loaded.policy.sites))
    return [
        Finding(
            str(arguments.settings),
            0,
            0,
            ERROR,
            "unknown-ref",
            f"unknown site '{site}', the rules know: {known}",
        )
        for site in served
        if site not in loaded.policy.sites
    ]


def _print(form: str, files_read: int, findings: list[Finding], more: Mapping[str, object]) -> None:
    if form == "json":
        sys.stdout.write(as_json(files_read, findings, more) + "\n")
        return
    if form == "github":
        if findings:
            sys.stdout.write(as_github(findings) + "\n")
    else:
        for finding in findings:
            sys.stdout.write(finding.render() + "\n")
    sys.stderr.write(summary(files_read, findings) + "\n")


def _shared(policy: Policy) -> tuple[Shared, ...]:
    """Return which allowed names open addresses that serve other names, too."""
    return shared(compile_plan(policy, policy.sites))


def _print_shared(found: tuple[Shared, ...]) -> None:
    for each in found:
        sys.stderr.write(f"note: {each}\n")
    if found:
        sys.stderr.write(
            "note: an address cannot tell names apart; keep the ports narrow, or write 'sni: strict' "
            "where the app speaks TLS\n"
        )


def allot(arguments: argparse.Namespace) -> int:
    """Give addresses to the tablets that lack one, and write allotted.csv."""
    path = folders.rules_path(arguments)
    folder = read_folder(path)
    loaded = load(folder, today=folders.today(arguments), allow_empty=True, require_addresses=False)
    if loaded.policy is None:
        for finding in errors(loaded.findings):
            sys.stderr.write(finding.render() + "\n")
        raise NetguardError("nothing allotted: the folder has errors, 'netguard check' lists them")
    before = dict(loaded.policy.allotted)
    after = allotment(loaded.policy)
    # A row that no longer fits (a renumbered network) is gone and added again.
    added = {key: str(after[key]) for key in sorted(after) if before.get(key) != after[key]}
    gone = {key: str(before[key]) for key in sorted(before) if after.get(key) != before[key]}
    if not arguments.dry_run and after != before:
        files.write(path / "allotted.csv", inventory.write_allotted(after))
    if arguments.json:
        rows = [
            {"change": change, "site": site, "id": id_, "address": address}
            for change, table in (("added", added), ("gone", gone))
            for (site, id_), address in table.items()
        ]
        sys.stdout.write(json.dumps({"changes": rows, "written": not arguments.dry_run}) + "\n")
        return 0
    for (site, id_), address in added.items():
        sys.stdout.write(f"+ {site},{id_},{address}\n")
    for (site, id_), address in gone.items():
        sys.stdout.write(f"- {site},{id_},{address}\n")
    verb = "would change" if arguments.dry_run else "written"
    sys.stderr.write(
        f"{len(added)} added, {len(gone)} gone, {len(after)} in all; {path}/allotted.csv {verb}\n"
    )
    return 0
