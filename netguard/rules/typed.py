"""A source tree to a typed model, each fault with its place and the words that are legal there.

pydantic collects every fault of a file at once and names it by a path; the path is looked up in
the tree again for line and column.
"""

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from netguard.core.names import shown, suggest
from netguard.core.policy import Origin
from netguard.errors import BadValue
from netguard.rules.findings import ERROR, WARNING, Finding
from netguard.rules.source import Entries, Items, Node, Source, Text

M = TypeVar("M", bound=BaseModel)
Loc = tuple[str | int, ...]


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
        self, level: str, id_: str, text: str, *loc: str | int, key: bool = False
    ) -> Finding:
        """Build a finding about one value, or about its key."""
        line, column = place(self.source.root, loc, key=key)
        quoted = self.source.line(line)
        return Finding(self.source.name, line, column, level, id_, text, quoted)

    def error(self, id_: str, text: str, *loc: str | int, key: bool = False) -> Finding:
        """Build an error about one value."""
        return self.finding(ERROR, id_, text, *loc, key=key)

    def warning(self, id_: str, text: str, *loc: str | int, key: bool = False) -> Finding:
        """Build a warning about one value."""
        return self.finding(WARNING, id_, text, *loc, key=key)


def typed(source: Source, model: type[M]) -> tuple[Document[M] | None, list[Finding]]:
    """Type a source by its model; the document is None when anything in it is wrong."""
    findings = list(source.faults)
    if source.root is None:
        if not findings:
            text = "no rules in this file; the last good policy stays in force"
            findings.append(Finding(source.name, 1, 1, ERROR, "syntax", text))
        return None, findings
    if not isinstance(source.root, Entries):
        kind = "a list" if isinstance(source.root, Items) else "one value"
        keys = ", ".join(sorted(_aliases(model)))
        text = f"expected keys at the top ({keys}), found {kind}"
        node = source.root
        quoted = source.line(node.line)
        findings.append(Finding(source.name, node.line, node.column, ERROR, "syntax", text, quoted))
        return None, findings
    try:
        value = model.model_validate(_plain(source.root))
    except ValidationError as error:
        findings.extend(_fault(source, model, dict(fault)) for fault in error.errors())
        return None, findings
    # A duplicate key was left out of the tree: the rest is typed, so that all faults show at once.
    return Document(source, value), findings


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


def _plain(node: Node) -> object:
    match node:
        case Text(value):
            return value
        case Items(items):
            return [_plain(item) for item in items]
        case Entries(values):
            return {key: _plain(value) for key, value in values.items()}


def _fault(source: Source, model: type[BaseModel], fault: Mapping[str, Any]) -> Finding:
    loc: Loc = fault["loc"]
    kind: str = fault["type"]
    at_key = kind == "extra_forbidden" or (loc and loc[-1] == "[key]")
    line, column = place(source.root, loc, key=bool(at_key))
    id_, text = _wording(model, loc, kind, fault)
    return Finding(source.name, line, column, ERROR, id_, text, source.line(line))


def _wording(
    model: type[BaseModel], loc: Loc, kind: str, fault: Mapping[str, Any]
) -> tuple[str, str]:
    name = next((str(part) for part in reversed(loc) if isinstance(part, str)), "")
    context = fault.get("ctx", {})
    match kind:
        case "value_error" if isinstance(context.get("error"), BadValue):
            return context["error"].finding, context["error"].text
        case "extra_forbidden":
            known = sorted(_aliases(_model_at(model, loc[:-1])))
            return (
                "unknown-key",
                f"unknown key {shown(name)}{suggest(name, known) or ','} keys here: {', '.join(known)}",
            )
        case "missing":
            return "missing-key", f"key '{name}' is missing here"
        case "literal_error":
            legal = [
                word.strip("'")
                for word in str(context["expected"]).replace(" or ", ", ").split(", ")
            ]
            got = fault["input"] if isinstance(fault["input"], str) else "a list or mapping"
            return (
                "unknown-word",
                f"{shown(str(got))} is not a word for '{name}'{suggest(str(got), legal) or ','} "
                f"write one of: {', '.join(legal)}",
            )
        case "list_type":
            return "syntax", f"'{name}' is a list, write [a, b]"
        case "dict_type" | "model_type" | "model_attributes_type":
            return "syntax", f"'{name}' holds keys and values, found something else"
        case _:
            return "syntax", f"'{name}': {fault['msg']}"


def _aliases(model: type[BaseModel] | None) -> list[str]:
    if model is None:
        return []
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """Follow a path of keys through the annotations to the model that stands there."""
    here: Any = model
    for part in loc:
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {
                field.alias or name: field.annotation for name, field in here.model_fields.items()
            }
            here = _bare(fields.get(str(part)))
        elif get_origin(here) in {dict, list}:
            here = _bare(get_args(here)[-1])
    return here if isinstance(here, type) and issubclass(here, BaseModel) else None


def _bare(annotation: Any) -> Any:
    """Strip Annotated and Optional, and of a union keep the model."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        parts = [_bare(part) for part in get_args(annotation)]
        models = [p for p in parts if isinstance(p, type) and issubclass(p, BaseModel)]
        return models[0] if models else parts[0]
    return annotation
