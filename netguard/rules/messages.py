"""The lines of controllers that netguard brings along: messages.yaml beside this file, read like a rule file."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from netguard.core import controllers
from netguard.core.policy import MessageLine
from netguard.errors import BadValue
from netguard.rules import schema_feeds
from netguard.rules.source import parse
from netguard.rules.typed import typed

_SHIPPED = Path(__file__).with_name("messages.yaml")


@cache
def lines() -> Mapping[str, tuple[MessageLine, ...]]:
    """Return the lines that come with netguard, by vendor."""
    result = typed(parse(_SHIPPED.read_bytes(), _SHIPPED.name), schema_feeds.MessagesFile)
    if result.document is None or result.findings:
        raise BadValue("syntax", "; ".join(finding.render() for finding in result.findings))
    return {
        vendor: tuple(map(line_of, given))
        for vendor, given in result.document.model.messages.items()
    }


def line_of(given: schema_feeds.MessageModel) -> MessageLine:
    """Return an entry of a file as the core knows it."""
    return MessageLine(given.line, given.kind, given.ap, tuple(given.more))


def compiled(line: MessageLine) -> controllers.Parser:
    """Compile one line. Raises BadValue (`bad-template`)."""
    return controllers.parser(line.line, line.kind, line.ap, line.more)


def shipped() -> Mapping[str, tuple[controllers.Parser, ...]]:
    """Return the lines that come with netguard, compiled."""
    return {vendor: tuple(map(compiled, given)) for vendor, given in lines().items()}
