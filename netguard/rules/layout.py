"""One canonical layout of rule files, line by line: comments, order and alignment stay as people made them.

Block indents become two spaces a level, lists and mappings on one line lose inner padding, trailing
blanks and runs of empty lines go, lines end with LF, MACs get the spelling that other YAML tools read as
text. What comes out means what went in, which is checked here: a file of which that is not so, or that
has faults, is left alone.
"""

import csv
import io
import re
from collections.abc import Iterator

from netguard.core.names import Mac
from netguard.errors import BadValue
from netguard.rules.source import Entries, Items, Node, Text, parse

_DASH = re.compile(r"^( *-) +(?=\S)")
_COMMENT = re.compile(r"^#(?=[^\s#!:-])")


class Unchanged(Exception):
    """A file that is not laid out anew, and why."""


def laid_out(name: str, data: bytes) -> bytes:
    """Return a file in its canonical layout. Raises Unchanged where it has faults."""
    return _table(data) if name.endswith(".csv") else _yaml(name, data)


# YAML


def _yaml(name: str, data: bytes) -> bytes:
    source = parse(data, name)
    if source.faults or source.root is None:
        raise Unchanged("it has faults, 'netguard check' lists them")
    text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n")
    lines = [line.rstrip() for line in text.split("\n")]
    indents = _Indents(lines, source.root).found
    lines = list(_indented(lines, indents))
    meaning = _plain(source.root)
    # A text for people may look like a list with a comma in it: then spaces stay as they are.
    for candidate in ([_spaced(line) for line in lines], lines):
        out = _macs("\n".join(_without_gaps(candidate)) + "\n", name)
        again = parse(out.encode(), name)
        if not again.faults and again.root is not None and _plain(again.root) == meaning:
            return out.encode()
    raise Unchanged("its layout cannot be changed without changing what it says")


class _Indents:
    """The indent that each line should have which begins an entry of a block."""

    def __init__(self, lines: list[str], root: Node) -> None:
        self.lines = lines
        self.found: dict[int, int] = {}
        self.visit(root, 0)

    def visit(self, node: Node, indent: int) -> None:
        if isinstance(node, Text) or self.at(node.line, node.column) in {"{", "["}:
            return
        if isinstance(node, Entries):
            for key, value in node.values.items():
                place = node.keys[key]
                self.first(place.line, place.column, indent)
                self.visit(value, indent + 2)
            return
        last = node.line - 1
        for item in node.items:
            # An item may begin below its dash; all dashes of a list stand in one column.
            lines = range(last + 1, item.line + 1)
            dashes = (line for line in lines if self.at(line, node.column) == "-")
            last = max(dashes, default=item.line)
            self.first(last, node.column, indent)
            self.visit(item, indent + 2)

    def at(self, line: int, column: int) -> str:
        return self.lines[line - 1][column - 1 : column]

    def first(self, line: int, column: int, indent: int) -> None:
        """Take note of an indent, where nothing stands before it on its line."""
        if not self.lines[line - 1][: column - 1].strip():
            self.found[line] = indent


def _indented(lines: list[str], indents: dict[int, int]) -> Iterator[str]:
    """Yield the lines moved; what begins no entry moves with the one it belongs to."""
    moved = 0
    for number, line in enumerate(lines, 1):
        bare = line.lstrip(" ")
        here = len(line) - len(bare)
        if number in indents:
            moved = indents[number] - here
            shift = moved
        elif bare.startswith("#"):
            shift = _of_next(lines, indents, number, moved)
        else:
            shift = moved
        yield " " * max(0, here + shift) + bare if bare else ""


def _of_next(lines: list[str], indents: dict[int, int], number: int, moved: int) -> int:
    """Return how far a comment moves: as the entry below it does, else as what is around it."""
    for after in range(number, len(lines)):
        bare = lines[after].strip()
        if bare and not bare.startswith("#"):
            if after + 1 in indents:
                line = lines[after]
                return indents[after + 1] - (len(line) - len(line.lstrip(" ")))
            return moved
    return moved


def _spaced(line: str) -> str:
    """Return a line with one space behind a dash and a comma, and none inside of brackets."""
    bare = line.lstrip(" ")
    if bare.startswith("#"):
        return line[: len(line) - len(bare)] + _COMMENT.sub("# ", bare)
    out = ""
    for in_brackets, character in _tokens(_DASH.sub(r"\1 ", line)):
        if not in_brackets:
            out += character
            continue
        last = out[-1:]
        if character in ",]}":
            out = out.rstrip(" ")
        elif character == " " and last and last in "[{":
            continue
        elif character != " " and last == ",":
            out += " "
        out += character
    return out


def _tokens(line: str) -> Iterator[tuple[bool, str]]:
    """Yield (is it in brackets and free to move, what): a character, a quoted text, a comment."""
    depth, at = 0, 0
    while at < len(line):
        character, before = line[at], line[at - 1] if at else " "
        end = at + 1
        if character == "#" and before == " ":
            end = len(line)
        elif character in "'\"" and before in " [{,:-":
            close = line.find(character, at + 1)
            end = close + 1 if close > 0 else len(line)
        is_one = end == at + 1
        depth += is_one and character in "[{"
        yield depth > 0 and (is_one or character != "#"), line[at:end]
        depth -= is_one and character in "]}" and depth > 0
        at = end


def _without_gaps(lines: list[str]) -> Iterator[str]:
    """Yield lines with at most one empty line in a row, and none at either end."""
    waiting, begun = False, False
    for line in lines:
        if not line:
            waiting = begun
            continue
        if waiting:
            yield ""
        waiting, begun = False, True
        yield line


def _macs(text: str, name: str) -> str:
    """Write each MAC below a key `mac` in its first spelling, in quotes."""
    lines = text.split("\n")
    found = list(_mac_nodes(parse(text.encode(), name).root))
    for node in sorted(found, key=lambda each: (each.line, each.column), reverse=True):
        line = lines[node.line - 1]
        rest = line[node.column - 1 :]
        raw = next(
            (w for w in (f'"{node.value}"', f"'{node.value}'", node.value) if rest.startswith(w)),
            "",
        )
        try:
            mac = f'"{Mac.parse(node.value)}"'
        except BadValue:
            continue
        if raw:
            lines[node.line - 1] = line[: node.column - 1] + mac + rest[len(raw) :]
    return "\n".join(lines)


def _mac_nodes(node: Node | None) -> Iterator[Text]:
    if isinstance(node, Entries):
        for key, value in node.values.items():
            if key == "mac" and isinstance(value, Text):
                yield value
            else:
                yield from _mac_nodes(value)
    elif isinstance(node, Items):
        for item in node.items:
            yield from _mac_nodes(item)


def _plain(node: Node, *, mac: bool = False) -> object:
    """Return what a tree says, MACs as the addresses they are."""
    if isinstance(node, Entries):
        return {key: _plain(value, mac=key == "mac") for key, value in node.values.items()}
    if isinstance(node, Items):
        return [_plain(item) for item in node.items]
    return _mac(node.value) if mac else node.value


# tables


def _table(data: bytes) -> bytes:
    try:
        text = data.decode().removeprefix("\ufeff").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise Unchanged("it is not UTF-8") from error
    lines = text.split("\n")
    head = next(csv.reader(io.StringIO(lines[0])), [])
    column = head.index("mac") if "mac" in head else None
    out = [_row(line.rstrip(" "), column) for line in lines if line.strip()]
    return ("\n".join(out) + "\n").encode() if out else b""


def _row(line: str, column: int | None) -> str:
    """Return a row with its MAC in the first spelling; a row with quotes is left as it is."""
    cells = line.split(",")
    if column is None or '"' in line or len(cells) <= column:
        return line
    cells[column] = _mac(cells[column])
    return ",".join(cells)


def _mac(text: str) -> str:
    try:
        return str(Mac.parse(text))
    except BadValue:
        return text
