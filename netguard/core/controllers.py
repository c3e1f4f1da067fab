"""What controllers and access points say of stations, read by templates that are data.

An engineer writes a template as the line stands in the log, with a word in braces for what changes:

    AP-STA-DISCONNECTED {mac}
    %APF-6-USER_NAME_DELETED: {*} is deleted for mobile {mac}

`{mac}` the tablet, `{ap}` the access point, `{from}` the one it leaves, `{ap*}` and `{from*}` the same with blanks in it,
up to the next `key=` or the end, `{reason}` why, `{bssid}` and `{address}` a MAC and an IPv4 address that do not matter,
`{word}` one word, `{field}` what is between two `|`, `{*}` anything in between. No part can be tried in two ways, or in more than as many as a name
has characters, so that the time is bounded by the length of a line whatever it holds; that is why these are no regular
expressions.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netguard.core.areas import canonical_ap
from netguard.core.names import Mac, shown
from netguard.core.syslog import Message
from netguard.errors import BadValue

# What a line can mean; core/evidence.py says what the engine makes of each.
KINDS = ("associated", "roamed", "disassociated", "heard", "ap-up", "ap-down")
LONGEST_TEMPLATE = 300
_HEX = "[0-9A-Fa-f]"
_MAC = rf"{_HEX}{{2}}(?:[:-]{_HEX}{{2}}){{5}}|{_HEX}{{4}}\.{_HEX}{{4}}\.{_HEX}{{4}}|{_HEX}{{12}}"
# Possessive: once taken, never given back. Only of single characters: Python 3.11 takes one too many
# of alternatives.
_NAME = rf"(?:{_MAC}|[^\s,;\"'|()=:]{{1,64}}+)"
# The value of a key of CEF: in it `=` is written as `\=`, so that a name ends nowhere but there.
_VALUE = r"[^=|\"]{1,64}?(?= [A-Za-z0-9_]{1,64}=|\s*\Z)"
_WORDS = {
    "mac": rf"(?P<mac>{_MAC})(?![0-9A-Za-z]|[:-]{_HEX}{{2}}(?![0-9A-Za-z]))",
    "ap": rf"(?P<ap>{_NAME})",
    "from": rf"(?P<from>{_NAME})",
    "ap*": rf"(?P<ap>{_VALUE})",
    "from*": rf"(?P<from>{_VALUE})",
    "reason": r"(?P<reason>[^\s,;\"'|()=]{1,64}+)",
    "bssid": _MAC.join(("(?:", ")(?![0-9A-Za-z])")),
    "address": r"[0-9.]{7,15}+",
    "word": r"[^\s]{1,128}+",
    "field": r"[^|]{1,128}+",
}
# A message has one header of CEF, its first: a value in it, such as a name that a device gives itself, may hold `|` and
# what looks like another.
_HEADER = "CEF:"
_FIRST = rf"\A(?:(?!{_HEADER}).)*?"
# Behind a name with blanks nothing else can be found.
_ENDLESS = re.compile(r"\{(?:ap|from)\*\}(?!\Z| ?\{\*| [A-Za-z0-9_]{1,64}=)")
_BRACES = re.compile(r"\{([a-z*]{1,8})\}")


@dataclass(frozen=True, slots=True)
class Template:
    """One compiled template: pieces that must follow one another, with anything in between."""

    literal: str
    pieces: tuple[re.Pattern[str], ...]
    names: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Read a template. Raises BadValue (`bad-template`)."""
        _refuse(text)
        parts = _BRACES.split(text)
        pieces, names, literals = [], [], []
        regex = _FIRST if text.startswith(_HEADER) else ""
        for index, part in enumerate(parts):
            if index % 2 == 0:
                if "{" in part or "}" in part:
                    raise _bad(text, "has a brace that belongs to no word, known: " + _KNOWN)
                regex += re.escape(part)
                literals.append(part)
            elif part == "*":
                pieces.append(regex)
                regex = ""
            elif part in _WORDS:
                if "(?P<" in _WORDS[part]:
                    names.append(part.rstrip("*"))
                regex += _WORDS[part]
            else:
                raise _bad(text, f"has the unknown word {{{part}}}, known: {_KNOWN}")
        if len(set(names)) < len(names):
            raise _bad(text, "names one word twice")
        literal = max(literals, key=len)
        if len(literal.strip()) < 3:
            raise _bad(text, "has no text of 3 characters that stays the same")
        compiled = tuple(re.compile(each) for each in (*pieces, regex) if each)
        return cls(literal, compiled, frozenset(names))

    def match(self, text: str, at: int = 0) -> tuple[dict[str, str], int] | None:
        """Return what stands where the words are, and where it ends; None where it is not there."""
        if self.literal not in text:
            return None
        found: dict[str, str] = {}
        for piece in self.pieces:
            match = piece.search(text, at)
            if match is None:
                return None
            found |= match.groupdict()
            at = match.end()
        return found, at


@dataclass(frozen=True, slots=True)
class Parser:
    """One template, what it means, and where the access point's name stands.

    `ap` is "" where the line names it (or nobody does), "host" where the sender of the message is it.
    `more` are templates that are looked for anywhere in the same line: key=value lists have no order.
    """

    line: Template
    kind: str
    ap: str = ""
    more: tuple[Template, ...] = ()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a controller said: one kind, of a tablet or of an access point."""

    kind: str
    mac: Mac | None
    ap: str
    reason: str
    left: str = ""


Parsers = Mapping[str, tuple[Parser, ...]]


def parser(line: str, kind: str, ap: str = "", more: Iterable[str] = ()) -> Parser:
    """Compile one parser. Raises BadValue when it can name neither a tablet nor an access point."""
    made = Parser(Template.parse(line), kind, ap, tuple(map(Template.parse, more)))
    names = made.line.names.union(*(each.names for each in made.more))
    if kind not in KINDS:
        raise _bad(line, f"has the unknown kind {shown(kind)}, known: {', '.join(KINDS)}")
    if kind.startswith("ap-"):
        if "ap" not in names and ap != "host":
            raise _bad(line, "is about an access point and lacks {ap}")
    elif "mac" not in names:
        raise _bad(line, "is about a tablet and lacks {mac}")
    return made


def read(message: Message, parsers: Iterable[Parser]) -> Seen | None:
    """Return what the first parser that knows the line makes of it; None where none does."""
    # The sender of some is in the tag, of others in front of it: the text alone is looked at.
    for each in parsers:
        first = each.line.match(message.text)
        if first is None:
            continue
        found, end = first
        if each.line.match(message.text, end) is not None:
            # Two tablets in one line: somebody has put one into a name.
            return None
        for more in each.more:
            hit = more.match(message.text)
            if hit is None:
                continue
            if more.names - {"reason"} and more.match(message.text, hit[1]) is not None:
                return None
            found |= hit[0]
        return _seen(each, found, message)
    return None


def _seen(found_by: Parser, found: Mapping[str, str], message: Message) -> Seen | None:
    mac = None
    if not found_by.kind.startswith("ap-"):
        try:
            mac = Mac.parse(found.get("mac", ""))
        except BadValue:
            return None
        if mac.is_group:
            return None
    ap = found.get("ap", message.host if found_by.ap == "host" else "").rstrip(".:")
    return Seen(
        found_by.kind,
        mac,
        canonical_ap(ap) if ap else "",
        found.get("reason", ""),
        canonical_ap(found["from"]) if found.get("from") else "",
    )


# Reasons by number (IEEE Std 802.11-2020, table 9-49) and in words of vendors, as the engine knows them. That an AP heard
# nothing any more is no goodbye of the tablet, whoever says so and however: 16 is a group key that nobody took, 34 and
# hostapd's ACKs are frames that nobody acknowledged.
_REASONS = {
    "1": "unspecified", "3": "leaving", "8": "leaving",
    "4": "inactivity", "16": "inactivity", "34": "lost-carrier", "acks": "lost-carrier",
    "15": "4-way-handshake-timeout", "23": "802.1x-failed",
}  # fmt: skip


def reason(said: str) -> str:
    """Return why a station was let go in the words of evidence; what is not known stays, in small letters."""
    word = said.lower().replace("_", "-")
    return "idle-timeout" if word.endswith("idle-timeout") else _REASONS.get(word, word)


_KNOWN = ", ".join(f"{{{word}}}" for word in (*_WORDS, "*"))


def _refuse(text: str) -> None:
    """Refuse what is no template as a whole."""
    if not 4 <= len(text) <= LONGEST_TEMPLATE or not text.isprintable():
        raise _bad(text, f"is not 4 to {LONGEST_TEMPLATE} printable characters")
    if _ENDLESS.search(text) is not None:
        raise _bad(text, "needs ' key=', {*} or its end behind {ap*} and {from*}")


def _bad(text: str, words: str) -> BadValue:
    return BadValue("bad-template", f"{shown(text)} {words}")
