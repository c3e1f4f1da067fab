"""Syslog as it arrives: one message out of a datagram, or many out of a stream (RFC 3164, 5424, 6587).

Every byte was chosen by whoever reached the port: lengths are bounded, control characters written
out, and what is no syslog message is a `BadValue` with its reason. The device's own time is only
read to measure how wrong its clock is; nothing is ordered by it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from netguard.errors import BadValue

# RFC 5424 6.1: receivers should take 2,048 bytes; what is longer than this is cut, and said to be.
LONGEST = 2048
CUT = "..."
# A frame that says it is longer is no frame of ours (RFC 6587 3.4.1).
LONGEST_FRAME = 65536
_PRI = re.compile(rb"<(0|[1-9][0-9]{0,2})>")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# Cisco writes a star before a clock that is not synchronised, and a year or a fraction behind.
_OLD = re.compile(
    r"[*.]?(" + "|".join(_MONTHS) + r") {1,2}([0-9]{1,2})(?: ([0-9]{4}))? "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]{1,6})?(?: (?!CEF:)[A-Z]{1,5}(?=:))?:?"
)
_NEW = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = re.compile(r"([0-9]{10})\.[0-9]{1,9} ([^ ]{1,64}) ")
_SD_NAME = r'[^ =\]"\x00-\x20]{1,32}'
_SD_ELEMENT = re.compile(rf'\[{_SD_NAME}(?: {_SD_NAME}="(?:[^"\\\]]|\\.){{0,1024}}+"){{0,32}}\]')
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\U0010ffff]")
_SECOND = re.compile(rb"\n<[0-9]{1,3}>")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `told` is when the device says it was, aware; `zoned` that it named its zone."""

    severity: int
    host: str
    app: str
    text: str
    told: datetime | None = None
    zoned: bool = False


def read(data: bytes, received: datetime) -> Message:
    """Read one message; raises BadValue (`syslog`) for what is none.

    `received` is the moment of receipt, aware: RFC 3164 has no year, so the nearest one is meant.
    """
    data = data.rstrip(b"\r\n\0")
    if not data:
        raise _bad("is empty")
    if _SECOND.search(data):
        raise _bad("holds two messages")
    match = _PRI.match(data)
    if match is None or int(match[1]) > 191:
        raise _bad("has no priority from <0> to <191>")
    cut = len(data) > LONGEST
    text = data[match.end() : LONGEST].decode("utf-8", "backslashreplace")
    if text.startswith("1 "):
        return _structured(int(match[1]) & 7, text[2:], cut=cut)
    return _plain(int(match[1]) & 7, text, received, cut=cut)


def _structured(severity: int, text: str, *, cut: bool) -> Message:
    """Read the rest of an RFC 5424 message."""
    if (match := _EPOCH.match(text)) is not None:
        # Meraki: seconds since 1970, then the host, and the message at once.
        at = datetime.fromtimestamp(int(match[1]), UTC)
        return Message(
            severity, _name(match[2]), "", _escaped(text[match.end() :], cut=cut), at, zoned=True
        )
    fields = text.split(" ", 5)
    if len(fields) < 6:
        raise _bad("of RFC 5424 lacks fields")
    stamp, host, app, _, _, rest = fields
    told = None
    if stamp != "-" and (match := _NEW.fullmatch(stamp)) is not None:
        told = _moment(match[1] + (match[2] or "") + match[3])
    elif stamp != "-":
        raise _bad("of RFC 5424 has no time")
    if rest.startswith("-"):
        rest = rest[1:]
    elif not rest.startswith("["):
        raise _bad("of RFC 5424 has no structured data")
    while match := _SD_ELEMENT.match(rest):
        rest = rest[match.end() :]
    if rest and not rest.startswith(" "):
        raise _bad("has structured data that does not end")
    return Message(
        severity,
        _name(host),
        _name(app),
        _escaped(rest.removeprefix(" ").removeprefix("\ufeff"), cut=cut),
        told,
        zoned=told is not None,
    )


def _plain(severity: int, text: str, received: datetime, *, cut: bool) -> Message:
    """Read the rest of an RFC 3164 message; vendors leave out the time, the host, or both."""
    told, host = None, ""
    match = _OLD.match(text)
    # Of newer senders the time is that of RFC 3339, and the rest as ever.
    new = _NEW.match(text) if match is None else None
    match = match or new
    if match is not None:
        told = _moment("".join(filter(None, match.groups()))) if new else _nearest(match, received)
        host, _, text = text[match.end() :].lstrip(" ").partition(" ")
        if host.endswith(":") or any(each in host for each in "%[|"):
            # No host: this is the tag, or a header of CEF.
            host, text = "", f"{host} {text}"
    elif (match := re.match(r"([A-Za-z0-9_.-]{1,64}): ", text)) is not None:
        # Cisco: the controller's name with a colon, the time later or never.
        host, text = match[1], text[match.end() :]
        later = _OLD.search(text)
        told = _nearest(later, received) if later is not None else None
    app = text.partition(":")[0].partition("[")[0] if ":" in text else ""
    zoned = new is not None and told is not None
    return Message(severity, _name(host), _name(app), _escaped(text, cut=cut), told, zoned=zoned)


def skew(message: Message, received: datetime, zone: timedelta) -> float | None:
    """Return how many seconds a device's clock is behind ours (negative: ahead); None if unknown.

    Where it named no zone it runs on UTC or on the site's time, `zone` east of it: the one that
    makes less of a difference is meant.
    """
    if message.told is None:
        return None
    behind = (received - message.told).total_seconds()
    if message.zoned:
        return behind
    return min(behind, behind + zone.total_seconds(), key=abs)


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _nearest(match: re.Match[str], received: datetime) -> datetime | None:
    """Return the moment that is meant, as if it were UTC, in the year that is nearest."""
    month, day, year = _MONTHS.index(match[1]) + 1, int(match[2]), match[3]
    clock = int(match[4]), int(match[5]), int(match[6])
    found = []
    for each in [int(year)] if year else range(received.year - 1, received.year + 2):
        try:
            found.append(datetime(each, month, day, *clock, tzinfo=UTC))
        except ValueError:
            continue
    return min(found, key=lambda each: abs(each - received), default=None)


def _name(text: str) -> str:
    return "" if text == "-" else _escaped(text[:255])


def _escaped(text: str, *, cut: bool = False) -> str:
    """Write out what is not printable: a log line must not steer a terminal or forge another."""
    plain = _UNPRINTABLE.sub(lambda m: f"\\x{ord(m[0]):02x}", text)
    plain = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in plain)
    return plain + CUT if cut else plain


def _bad(words: str) -> BadValue:
    return BadValue("syslog", f"a syslog message {words}")


@dataclass(slots=True)
class Frames:
    """The messages of one TCP or TLS stream, octet-counted or one a line (RFC 6587 3.4)."""

    _held: bytes = b""
    _skipping: bool = field(default=False)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what has arrived, yield the whole messages; raises BadValue: hang up then."""
        self._held += data
        while (frame := self._next()) is not None:
            if frame:
                yield frame

    def _next(self) -> bytes | None:
        held = self._held
        if held[:1].isdigit():
            return self._counted(held)
        end = held.find(b"\n")
        if end < 0:
            if len(held) > LONGEST_FRAME:
                # As much as is ever looked at; the rest of the line is stepped over.
                kept, self._held = held[: LONGEST + 1], b""
                whole, self._skipping = not self._skipping, True
                return kept if whole else b""
            return None
        self._held = held[end + 1 :]
        skipped, self._skipping = self._skipping, False
        return b"" if skipped else held[:end].rstrip(b"\r")

    def _counted(self, held: bytes) -> bytes | None:
        count, blank, _ = held[:12].partition(b" ")
        if not blank:
            if len(held) > 6 or not held.isdigit():
                raise _bad("has a length that is none")
            return None
        if not count.isdigit() or int(count) > LONGEST_FRAME:
            raise _bad("has a length that is none")
        size, start = int(count), len(count) + 1
        if len(held) < start + size:
            return None
        self._held = held[start + size :]
        return held[start : start + size]
