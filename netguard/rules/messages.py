"""The lines of controllers that netguard knows, and those that a rules folder adds: one table.

Shipped as messages.yaml beside this file, read like any rule file.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from netguard.core import controllers
from netguard.errors import BadValue
from netguard.rules import schema_feeds
from netguard.rules.source import parse
from netguard.rules.typed import Document, typed

_SHIPPED = Path(__file__).with_name("messages.yaml")


@cache
def shipped() -> Mapping[str, tuple[controllers.Parser, ...]]:
    """Return the parsers that come with netguard, by vendor."""
    result = typed(parse(_SHIPPED.read_bytes(), _SHIPPED.name), schema_feeds.MessagesFile)
    if result.document is None or result.findings:
        raise BadValue("syntax", "; ".join(finding.render() for finding in result.findings))
    return {
        vendor: tuple(map(compiled, lines))
        for vendor, lines in result.document.model.messages.items()
    }


def compiled(line: schema_feeds.MessageModel) -> controllers.Parser:
    """Compile one entry. Raises BadValue (`bad-template`)."""
    return controllers.parser(line.line, line.kind, line.ap, line.more)


FeedsDocument = Document[schema_feeds.FeedsFile]
