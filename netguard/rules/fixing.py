"""lint --fix: what can be mended without a person's judgement, in the text as people wrote it.

A finding that knows what to write instead (`Finding.instead`) is mended where nothing else can be meant:
a misspelt key or name that is like one known word and no other, a number with a leading zero, an address
without its prefix length, an item that another item of the same list already says. Bits of a host are
cut off in protected.yaml alone: there it protects more, in a service it would open more than was
written. After each round the whole folder is judged again, so a change is kept only when its finding is
gone; where the rules were sound before, the plan must stay the same to the byte.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netguard.core.plan import Plan, compile_plan
from netguard.rules.findings import ERROR, Finding
from netguard.rules.folder import Folder
from netguard.rules.layout import Unchanged, laid_out
from netguard.rules.load import Loaded
from netguard.rules.source import Entries, Items, Node, Text, parse

# A mended fault can show one that it hid. More than this in one folder is no slip of the hand.
ROUNDS = 500
_ANYWHERE = frozenset(
    {
        "unknown-key",
        "unknown-ref",
        "unknown-word",
        "bad-number",
        "vlan-range",
        "bad-cidr",
        "shadowed",
    }
)
_MORE_PROTECTED = frozenset({"host-bits"})

Judge = Callable[[Folder], Loaded]


@dataclass(frozen=True, slots=True, order=True)
class Fix:
    """One change: the file and the place as they were, the token, and what stands there now ("" for nothing)."""

    file: str
    line: int
    column: int
    old: str
    new: str
    finding: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A folder after its fixes; `laid_out` names the files whose layout alone changed."""

    folder: Folder
    fixes: tuple[Fix, ...]
    laid_out: tuple[str, ...]
    loaded: Loaded


def fix(folder: Folder, judge: Judge) -> Fixed:
    """Mend what can be mended; `judge` reads a folder (rules/load.py)."""
    loaded = judge(folder)
    sound = _plan(loaded)
    fixes: list[Fix] = []
    left: set[tuple[str, str, str]] = set()
    for _ in range(ROUNDS):
        chosen = next(
            (
                finding
                for finding in reversed(loaded.findings)  # from the end: the places before it stay
                if _safe(finding) and _key(finding) not in left and finding.instead is not None
            ),
            None,
        )
        if chosen is None:
            break
        done = _one(folder, chosen)
        after = judge(done[0]) if done else None
        if done is None or after is None or not _better(chosen, loaded, after, sound):
            left.add(_key(chosen))
            continue
        folder, loaded = done[0], after
        fixes.append(done[1])
    folder, moved = _laid_out(folder)
    return Fixed(folder, tuple(fixes), moved, judge(folder) if moved else loaded)


def _safe(finding: Finding) -> bool:
    if finding.cell or finding.line == 0:
        return False
    is_protected = finding.file.rpartition("/")[2] == "protected.yaml"
    return finding.id in _ANYWHERE or (finding.id in _MORE_PROTECTED and is_protected)


def _key(finding: Finding) -> tuple[str, str, str]:
    return finding.file, finding.id, finding.text


def _better(chosen: Finding, before: Loaded, after: Loaded, sound: Plan | None) -> bool:
    """Say whether a fix took its finding away, brought no error about the same line, and changed no meaning."""
    count = sum(_key(finding) == _key(chosen) for finding in before.findings)
    rest = sum(_key(finding) == _key(chosen) for finding in after.findings)
    known = {_key(finding) for finding in before.findings}
    worse = any(
        finding.level == ERROR
        and (finding.file, finding.line) == (chosen.file, chosen.line)
        and _key(finding) not in known
        for finding in after.findings
    )
    return rest < count and not worse and (sound is None or _plan(after) == sound)


def _plan(loaded: Loaded) -> Plan | None:
    policy = loaded.policy
    return compile_plan(policy, list(policy.sites)) if policy is not None else None


def _one(folder: Folder, finding: Finding) -> tuple[Folder, Fix] | None:
    """Return the folder with one fix, or None where its token cannot be found as it was read."""
    name = next(name for name in folder.files if folder.shown(name) == finding.file)
    source = parse(folder.files[name], finding.file)
    node = next(
        (
            text
            for text in _texts(source.root)
            if (text.line, text.column) == (finding.line, finding.column)
        ),
        None,
    )
    if node is None or finding.instead is None:
        return None
    lines = folder.files[name].decode().split("\n")
    line, at = lines[node.line - 1], node.column - 1
    raw = next(
        (
            word
            for word in (f'"{node.value}"', f"'{node.value}'", node.value)
            if line.startswith(word, at)
        ),
        None,
    )
    if raw is None:
        return None
    if finding.instead:
        quote = raw[0] if raw != node.value else ""
        lines[node.line - 1] = f"{line[:at]}{quote}{finding.instead}{quote}{line[at + len(raw) :]}"
    elif not _take_out(lines, node.line - 1, at, raw):
        return None
    files = {**folder.files, name: "\n".join(lines).encode()}
    place = (finding.file, finding.line, finding.column)
    return replace(folder, files=files), Fix(*place, node.value, finding.instead, finding.id)


def _take_out(lines: list[str], number: int, at: int, raw: str) -> bool:
    """Take an item out of a list: its line, or the item and one comma beside it."""
    line = lines[number]
    before, behind = line[:at], line[at + len(raw) :]
    if re.fullmatch(r" *- *", before) and re.fullmatch(r" *(#.*)?\r?", behind):
        del lines[number]
        return True
    after = re.match(r" *, *", behind)
    if after and behind[after.end() :].strip():
        lines[number] = before + behind[after.end() :]
        return True
    comma = re.search(r" *, *$", before)
    if comma and re.match(r" *[\],]", behind):
        lines[number] = before[: comma.start()] + behind
        return True
    return False


def _texts(node: Node | None) -> Iterator[Text]:
    if isinstance(node, Text):
        yield node
    elif isinstance(node, Items):
        for item in node.items:
            yield from _texts(item)
    elif isinstance(node, Entries):
        yield from node.keys.values()
        for value in node.values.values():
            yield from _texts(value)


def _laid_out(folder: Folder) -> tuple[Folder, tuple[str, ...]]:
    files: dict[str, bytes] = dict(folder.files)
    moved: list[str] = []
    for name, data in sorted(folder.files.items()):
        try:
            files[name] = laid_out(folder.shown(name), data)
        except Unchanged:
            continue
        if files[name] != data:
            moved.append(folder.shown(name))
    return replace(folder, files=files), tuple(moved)


def changed(before: Folder, after: Folder) -> Mapping[str, bytes]:
    """Return the files that differ, by their path in the folder."""
    return {name: data for name, data in after.files.items() if before.files.get(name) != data}


def explained(fixes: Sequence[Fix]) -> Iterator[str]:
    """Yield one line a fix."""
    for each in sorted(fixes):
        what = f"'{each.old}' is '{each.new}' now" if each.new else f"'{each.old}' is taken out"
        yield f"{each.file}:{each.line}:{each.column}: fixed: {what} ({each.finding})"
