"""Rule files to trees of text with positions: the only reader of YAML in netguard.

A strict subset of YAML 1.2: mappings, sequences, plain and quoted scalars, comments. Every scalar
stays text, so a MAC can never become a number (PyYAML's own loaders turn about one MAC in 3,700
into an integer). Anchors, aliases, tags, merge keys and second documents are refused. The tree is
built from parser events: the composer of the C loader crashes the process on 60,000 nested lists,
the event parser does not.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import yaml

from netguard.core.names import shown
from netguard.rules.findings import ERROR, Finding

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 200_000


@dataclass(frozen=True, slots=True)
class Text:
    """A scalar, still text."""

    value: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    items: tuple["Node", ...]
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Entries:
    """A mapping; `keys` holds the place of each key."""

    values: dict[str, "Node"]
    keys: dict[str, Text]
    line: int
    column: int


Node = Text | Items | Entries


class Unreadable(Exception):
    """A file that cannot be read as rules at all; carries the one finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.text)
        self.finding = finding


@dataclass(frozen=True, slots=True)
class Source:
    """One rule file: its shown name, its lines, its tree, and what was wrong with its shape."""

    name: str
    lines: tuple[str, ...]
    root: Node | None
    faults: tuple[Finding, ...] = ()

    def line(self, number: int) -> str:
        """Return a line by its number, counted from 1."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""


def fault(
    name: str, id_: str, text: str, line: int = 0, column: int = 0, source: str = ""
) -> Finding:
    """Build an error about one file."""
    return Finding(name, line, column, ERROR, id_, text, source)


def read_bytes(root: Path, path: Path, name: str, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file that lies inside `root`, at most `limit` bytes of it.

    A link that leads out of the folder, a device, a FIFO or a file over the limit is refused
    unread, so that neither can hang or exhaust the reader.
    """
    real_root = root.resolve()
    real = path.resolve()
    if not real.is_relative_to(real_root):
        raise Unreadable(fault(name, "syntax", f"leads out of the rules folder, to {real}"))
    try:
        # O_NONBLOCK: opening a FIFO without a writer would hang for ever.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unreadable(fault(name, "syntax", f"cannot be read: {error.strerror}")) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Unreadable(fault(name, "syntax", "is not a regular file"))
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(fault(name, "size", f"is larger than {limit // 1024} KiB, split it"))
    return data


def decode(data: bytes, name: str) -> str:
    """Decode strict UTF-8, drop one byte order mark, refuse NUL and other encodings by line."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(fault(name, "not-utf8", "is UTF-16, save it as UTF-8", 1, 1))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise Unreadable(
            fault(name, "not-utf8", f"is not UTF-8, line {line}: save it as UTF-8", line, column)
        ) from error
    text = text.removeprefix("\ufeff")
    nul = text.find("\0")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise Unreadable(
            fault(name, "not-utf8", "NUL byte, remove it", line, nul - text.rfind("\n", 0, nul))
        )
    return text


def parse(data: bytes, name: str) -> Source:
    """Parse the bytes of one YAML file; faults of its shape are in the result, never raised."""
    try:
        text = decode(data, name)
    except Unreadable as error:
        return Source(name, (), None, (error.finding,))
    lines = tuple(re.split("\r\n|\n|\r", text))
    for number, line in enumerate(lines, 1):
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if "\t" in indent:
            found = fault(name, "syntax", "tab used as indent, write spaces", number, 1, line)
            return Source(name, lines, None, (found,))
    builder = _Builder(name, lines)
    try:
        root = builder.build(text)
    except Unreadable as error:
        return Source(name, lines, None, (*builder.faults, error.finding))
    except yaml.YAMLError as error:
        return Source(name, lines, None, (*builder.faults, _syntax(name, lines, error)))
    return Source(name, lines, root, tuple(builder.faults))


class _Builder:
    """Builds the tree from parser events; one instance per file."""

    def __init__(self, name: str, lines: tuple[str, ...]) -> None:
        self.name = name
        self.lines = lines
        self.faults: list[Finding] = []
        self.nodes = 0

    def build(self, text: str) -> Node | None:
        events = iter(yaml.parse(text, Loader=yaml.CSafeLoader))
        root: Node | None = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(event, "syntax", "second document, one file holds one document")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, 1)
        if isinstance(root, Text) and not root.value:
            return None
        return root

    def _node(self, event: yaml.NodeEvent, events: Iterator[yaml.Event], depth: int) -> Node:
        self.nodes += 1
        if depth > MAX_DEPTH:
            self._stop(event, "depth", f"nested deeper than {MAX_DEPTH} levels")
        if self.nodes > MAX_NODES:
            self._stop(event, "size", f"more than {MAX_NODES} values in one file, split it")
        self._refuse_magic(event)
        line, column = _spot(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return Items(tuple(self._items(events, depth)), line, column)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(events, depth, line, column)
        # Nothing else starts a value: aliases were refused above.
        return Text(cast("yaml.ScalarEvent", event).value, line, column)

    def _child(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        # The parser's grammar: inside a list or a mapping only a value can start here.
        return self._node(cast("yaml.NodeEvent", event), events, depth + 1)

    def _items(self, events: Iterator[yaml.Event], depth: int) -> Iterator[Node]:
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            yield self._child(event, events, depth)

    def _mapping(self, events: Iterator[yaml.Event], depth: int, line: int, column: int) -> Entries:
        values: dict[str, Node] = {}
        keys: dict[str, Text] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._child(event, events, depth)
            value = self._child(next(events), events, depth)
            if not isinstance(key, Text):
                self._fault(key, "syntax", "a key is one word, not a list or a mapping")
            elif key.value == "<<":
                self._fault(key, "syntax", "merge keys are not allowed, write the keys out")
            elif key.value in keys:
                first = keys[key.value].line
                self._fault(
                    key, "duplicate-key", f"key {shown(key.value)} already written at line {first}"
                )
            else:
                keys[key.value] = key
                values[key.value] = value
        return Entries(values, keys, line, column)

    def _refuse_magic(self, event: yaml.NodeEvent) -> None:
        if event.anchor is not None:  # an alias has one too
            self._stop(event, "syntax", "anchors and aliases are not allowed, write the value out")
        if (
            isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
            and event.tag is not None
        ):
            text = f"tags such as {shown(event.tag)} are not allowed"
            if event.tag == "!include":
                text += ", there is no include statement"
            self._stop(event, "syntax", text)

    def _fault(self, node: Node, id_: str, text: str) -> None:
        quoted = self.lines[node.line - 1] if node.line <= len(self.lines) else ""
        self.faults.append(fault(self.name, id_, text, node.line, node.column, quoted))

    def _stop(self, event: yaml.Event, id_: str, text: str) -> NoReturn:
        line, column = _spot(event)
        quoted = self.lines[line - 1] if line <= len(self.lines) else ""
        raise Unreadable(fault(self.name, id_, text, line, column, quoted))


# What the parser says, and what an engineer reads instead.
_WORDS = {
    "undefined alias": "anchors and aliases are not allowed, write the value out",
    "could not find expected ':'": "expected ':' after this key",
    "mapping values are not allowed": "a ':' is not expected here, check the indent or quote it",
    "found unexpected end of stream": "a quoted value is not closed",
    "control characters": "control character, remove it",
}


def _spot(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _syntax(name: str, lines: tuple[str, ...], error: yaml.YAMLError) -> Finding:
    """Turn the parser's words into ours: what was expected, and where the bracket was opened."""
    mark = getattr(error, "problem_mark", None)
    opened = getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    context = str(getattr(error, "context", None) or "")
    line = mark.line + 1 if mark else 1
    column = mark.column + 1 if mark else 1
    if opened is not None and "flow" in context:
        open_, close = ("[", "]") if "sequence" in context else ("{", "}")
        at = f"column {opened.column + 1}"
        if opened.line + 1 != line:
            at = f"line {opened.line + 1}, {at}"
        text = f"expected ',' or '{close}', the '{open_}' opened at {at} is not closed"
        if line > len(lines) or not lines[line - 1].strip():
            line, column = opened.line + 1, opened.column + 1
    else:
        text = next((ours for theirs, ours in _WORDS.items() if theirs in problem), "")
        text = text or f"not readable as YAML: {problem}"
        if opened is not None and "end of stream" in problem:
            line, column = opened.line + 1, opened.column + 1
    quoted = lines[line - 1] if line <= len(lines) else ""
    return fault(name, "syntax", text, line, column, quoted)
