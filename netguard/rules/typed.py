"""A source tree to a typed model, each fault with its place and the words that are legal there.

pydantic collects every fault of a file at once and names it by a path; the path is looked up in
the tree again for line and column.
"""

import types
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from netguard.core.names import certain, shown, suggest
from netguard.core.policy import Origin
from netguard.rules.findings import ERROR, WARNING, Finding
from netguard.rules.source import Entries, Items, Node, Source, Text
from netguard.rules.words import Model

M = TypeVar("M", bound=Model)

# Where a value may be a word or a mapping, pydantic puts the tag of the chosen one into the path.
KINDS = ("(word)", "(list)", "(mapping)")


class Document(Generic[M]):
    """A typed file together with the places of its values."""

    def __init__(self, source: Source, model: M) -> None:
        self.source = source
        self.model = model

    def origin(self, *loc: str | int) -> Origin:
        """Return where a value stands (the key of a mapping's entry, the item of a list)."""
        line, column = place(self.source.root, loc)
        return Origin(self.source.name, line, column)

    def key_origin(self, *loc: str | int) -> Origin:
        """Return where the key of an entry stands."""
        line, column = place(self.source.root, loc, key=True)
        return Origin(self.source.name, line, column)

    def finding(
        self,
        level: str,
        id_: str,
        text: str,
        *loc: str | int,
        key: bool = False,
        instead: str | None = None,
    ) -> Finding:
        """Build a finding about one value, or about its key."""
        line, column = place(self.source.root, loc, key=key)
        quoted = self.source.line(line)
        return Finding(self.source.name, line, column, level, id_, text, quoted, instead=instead)

    def error(
        self, id_: str, text: str, *loc: str | int, key: bool = False, instead: str | None = None
    ) -> Finding:
        """Build an error about one value."""
        return self.finding(ERROR, id_, text, *loc, key=key, instead=instead)

    def warning(
        self, id_: str, text: str, *loc: str | int, key: bool = False, instead: str | None = None
    ) -> Finding:
        """Build a warning about one value."""
        return self.finding(WARNING, id_, text, *loc, key=key, instead=instead)


@dataclass(frozen=True, slots=True)
class Typed(Generic[M]):
    """What a source gave: the document, without its faulty entries, or None; and the faults."""

    document: Document[M] | None
    findings: tuple[Finding, ...]
    whole: bool


def typed(source: Source, model: type[M]) -> Typed[M]:
    """Type a source by its model.

    An entry with a fault (one service, one group) is left out and the others are kept, so that
    their faults show in the same run.
    """
    findings = list(source.faults)
    if not isinstance(source.root, Entries):
        findings.extend(_no_keys(source, model) if not findings else ())
        return Typed(None, tuple(findings), whole=False)
    plain = _plain(source.root)
    try:
        value = model.model_validate(plain)
    except ValidationError as error:
        faults = _without_echoes(model, error.errors())
        findings.extend(_fault(source, model, fault) for fault in faults)
        kept = _without_faulty(model, plain, faults)
        return Typed(Document(source, kept) if kept else None, tuple(findings), whole=False)
    # A duplicate key was left out of the tree: the rest is typed, so that all faults show at once.
    return Typed(Document(source, value), tuple(findings), whole=not findings)


def _no_keys(source: Source, model: type[Model]) -> list[Finding]:
    node = source.root
    if node is None:
        return [Finding(source.name, 1, 1, ERROR, "syntax", model.nothing)]
    kind = "a list" if isinstance(node, Items) else "one value"
    text = f"expected keys at the top ({', '.join(sorted(_aliases(model)))}), found {kind}"
    quoted = source.line(node.line)
    return [Finding(source.name, node.line, node.column, ERROR, "syntax", text, quoted)]


def _without_echoes(model: type[Model], faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out a missing key that is only misspelt: `alow` is one fault, not two."""
    meant = set()
    for fault in faults:
        if fault["type"] == "extra_forbidden":
            *around, word = fault["loc"]
            near = get_close_matches(str(word)[:64], _aliases(_model_at(model, around)), n=1)
            meant |= {(*around, key) for key in near}
    return [f for f in faults if f["type"] != "missing" or f["loc"] not in meant]


def _without_faulty(
    model: type[M], plain: dict[str, Any], faults: Sequence[ErrorDetails]
) -> M | None:
    """Type what is left of a file without its faulty entries, or None when that is nothing."""
    for fault in faults:
        top, *rest = fault["loc"]
        entries = plain.get(str(top))
        if rest and isinstance(entries, dict):
            entries.pop(rest[0], None)
        else:
            plain.pop(str(top), None)
    try:
        return model.model_validate(plain)
    except ValidationError:
        return None


def place(root: Node | None, loc: Sequence[str | int], *, key: bool = False) -> tuple[int, int]:
    """Return line and column of the deepest node on a path; parts that are not in it are skipped."""
    node, spot = root, (root.line, root.column) if root else (1, 1)
    for part in loc:
        if isinstance(node, Entries) and isinstance(part, str) and part in node.values:
            name = node.keys[part]
            node = node.values[part]
            # A block mapping "starts" at its first key: the key that names it says more.
            own = key or isinstance(node, Entries)
            spot = (name.line, name.column) if own else (node.line, node.column)
        elif isinstance(node, Items) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            spot = (node.line, node.column)
    return spot


def _plain(node: Entries) -> dict[str, Any]:
    return {key: _value(value) for key, value in node.values.items()}


def _value(node: Node) -> object:
    if isinstance(node, Text):
        return node.value
    if isinstance(node, Items):
        return [_value(item) for item in node.items]
    return _plain(node)


def _fault(source: Source, model: type[Model], fault: ErrorDetails) -> Finding:
    loc = fault["loc"]
    at_key = fault["type"] == "extra_forbidden" or loc[-1] == "[key]"
    line, column = place(source.root, loc, key=at_key)
    id_, text, instead = _wording(model, fault)
    quoted = source.line(line)
    return Finding(source.name, line, column, ERROR, id_, text, quoted, instead=instead)


def _wording(model: type[Model], fault: ErrorDetails) -> tuple[str, str, str | None]:
    """Return the id of a fault, what it says, and the one word to write instead, if there is one."""
    loc = [part for part in fault["loc"] if part not in KINDS]
    *around, last = loc
    given = fault["input"]
    name = next((str(part) for part in reversed(loc) if isinstance(part, str)), "")
    here = _model_at(model, around)
    absent = here.absent.get(str(last))
    if absent is not None and (fault["type"] == "missing" or given == ""):
        return *absent, None
    match fault["type"]:
        case "value_error":
            error = fault["ctx"]["error"]
            return error.finding, error.text, error.instead
        case "extra_forbidden":
            text = _unknown_key(name, given, here, top=not around)
            return "unknown-key", text, certain(name, _aliases(here))
        case "missing":
            return "missing-key", f"key '{name}' is missing here", None
        case "literal_error":
            legal = _legal(fault["ctx"]["expected"])
            meant = certain(given, legal) if isinstance(given, str) else None
            return "unknown-word", _unknown_word(name, given, legal), meant
        case "list_type":
            return "syntax", f"'{name}' is a list, write [a, b]", None
        case _:
            return "syntax", f"'{name}' holds keys and values, found something else", None


def _unknown_key(name: str, given: object, here: type[Model], *, top: bool) -> str:
    if top and name in {"include", "includes", "import"}:
        path = shown(given) if isinstance(given, str) else "what it names"
        return f"there is no include statement, each file of the folder is read: leave out {path}"
    known = sorted(_aliases(here))
    return f"unknown key {shown(name)}{suggest(name, known) or ','} keys here: {', '.join(known)}"


def _legal(expected: str) -> list[str]:
    return [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]


def _unknown_word(name: str, given: object, legal: Sequence[str]) -> str:
    words = f"write one of: {', '.join(legal)}" if len(legal) > 1 else f"write {legal[0]}"
    if not isinstance(given, str):
        return f"'{name}' is one word, {words}"
    return f"{shown(given)} is not a word for '{name}'{suggest(given, legal) or ','} {words}"


def _aliases(model: type[Model]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[Model], loc: Sequence[str | int]) -> type[Model]:
    """Follow a path of keys through the annotations to the model that stands there, if any."""
    here: object = model
    for part in (part for part in loc if part not in KINDS):
        if isinstance(here, type) and issubclass(here, Model):
            fields = {
                field.alias or name: field.annotation for name, field in here.model_fields.items()
            }
            here = _bare(fields.get(str(part)))
        else:  # a list or a mapping of entries
            inner = get_args(here)
            here = _bare(inner[-1]) if inner else None
    return here if isinstance(here, type) and issubclass(here, Model) else Model


def _bare(annotation: object) -> object:
    """Strip Annotated and Optional, and of a union keep the model."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        parts = [_bare(part) for part in get_args(annotation)]
        models = [p for p in parts if isinstance(p, type) and issubclass(p, Model)]
        return models[0] if models else parts[0]
    return annotation
