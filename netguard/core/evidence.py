"""One piece of evidence about a tablet, an AP, a NAS or a feed, and its line in a recording.

What every source says is brought into this one form before the engine sees it (core/presence); the
same form, one JSON object a line, is what `netguard replay` reads and `netguard events export`
writes (docs/events.md).
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from netguard.core.areas import canonical_ap
from netguard.core.names import parse_unicast_mac, shown, suggest_of
from netguard.errors import BadValue

# Kinds that name a device, and those that name an AP, a NAS or a feed.
ASSOCIATED, ROAMED, DISASSOCIATED, HEARD = "associated", "roamed", "disassociated", "heard"
SILENT_PROBE = "silent-probe"
START, INTERIM, STOP = "session-start", "session-interim", "session-stop"
LOAN, PLANNED_MOVE = "loan", "moved-planned"
AP_UP, AP_DOWN, NAS_RESTART = "ap-up", "ap-down", "nas-restart"
FEED_LOST, FEED_BACK = "feed-lost", "feed-back"
ABOUT_DEVICES = frozenset(
    {ASSOCIATED, ROAMED, DISASSOCIATED, HEARD, SILENT_PROBE, START, INTERIM, STOP, LOAN}
    | {PLANNED_MOVE}
)
NEEDS = {AP_UP: "ap", AP_DOWN: "ap", NAS_RESTART: "nas", FEED_LOST: "source", FEED_BACK: "source"}
KINDS = ABOUT_DEVICES | set(NEEDS)
# Sources of a controller's own words, and of whoever sends in its name.
CONTROLLERS = ("syslog", "snmp", "webhook")

# What is older than this when it arrives is history; what is further ahead comes from a wrong clock.
HISTORY = 600.0
FUTURE = 2.0
# No moment of a recording is later: the year 3000.
LATEST = 32503680000.0

_LONGEST = 128
_TEXTS = ("ap", "nas", "site", "reason", "source", "session", "area")
# Spellings of MACs and APs repeat: each is parsed once, and the memory for it is bounded.
_CACHE = 100_000


class Event(NamedTuple):
    """One piece of evidence. Texts that are not known are empty.

    `at` is seconds since 1970 (UTC): when it was received minus the delay it declares
    (Acct-Delay-Time, RFC 2866 5.2); `received` is when it was received, 0 where that is `at`.
    `mac` is canonical (`Mac`), `ap` is `canonical_ap`. `packets` is Acct-Input-Packets.
    `reason` is an 802.11 reason or an Acct-Terminate-Cause in small letters, for `loan` the state
    of loans.STATES; `area` (SITE/AREA) and `until` belong to a planned move.
    """

    at: float
    kind: str
    mac: str = ""
    ap: str = ""
    nas: str = ""
    site: str = ""
    reason: str = ""
    source: str = ""
    session: str = ""
    packets: int | None = None
    received: float = 0.0
    area: str = ""
    until: float = 0.0


class Reader:
    """Reads lines of a recording; keeps the spellings it has met."""

    def __init__(self) -> None:
        self._macs: dict[str, str] = {}
        self._aps: dict[str, str] = {}

    def line(self, text: str | bytes) -> Event:
        """Read one line; raises BadValue with what is wrong."""
        return self.event(parsed(text))

    def event(self, row: Mapping[str, Any]) -> Event:
        """Read one record; keys that are not known are ignored. Raises BadValue."""
        kind = row.get("kind")
        if not isinstance(kind, str) or kind not in KINDS:
            raise BadValue("unknown-word", f"kind {shown(str(kind))} is not known{_kinds(kind)}")
        texts = {key: _text(row[key], key) for key in _TEXTS if key in row}
        mac = self._mac(row.get("mac", ""))
        if kind in ABOUT_DEVICES and not mac:
            raise BadValue("missing-key", f"'{kind}' lacks 'mac'")
        if kind in NEEDS and not texts.get(NEEDS[kind]):
            raise BadValue("missing-key", f"'{kind}' lacks '{NEEDS[kind]}'")
        if "ap" in texts:
            texts["ap"] = self._ap(texts["ap"])
        return Event(
            at=_moment(row.get("at"), "at"),
            kind=kind,
            mac=mac,
            packets=_packets(row.get("packets")),
            received=_moment(row["received"], "received") if "received" in row else 0.0,
            until=_moment(row["until"], "until") if "until" in row else 0.0,
            **texts,
        )

    def _mac(self, value: object) -> str:
        text = _text(value, "mac")
        found = self._macs.get(text)
        if found is None:
            # A group address is never one tablet; a private one may be (RFC 7042 2.1).
            found = str(parse_unicast_mac(text)) if text else ""
            if len(self._macs) >= _CACHE:
                self._macs.clear()
            self._macs[text] = found
        return found

    def _ap(self, text: str) -> str:
        found = self._aps.get(text)
        if found is None:
            found = canonical_ap(text)
            if len(self._aps) >= _CACHE:
                self._aps.clear()
            self._aps[text] = found
        return found


def parsed(text: str | bytes) -> dict[str, Any]:
    """Read one line as an object; raises BadValue."""
    try:
        row = json.loads(text)
    except json.JSONDecodeError as error:
        words = f"not a JSON object, column {error.colno}: {error.msg}"
        raise BadValue("syntax", words) from None
    except UnicodeDecodeError as error:
        raise BadValue("syntax", f"not UTF-8, column {error.start + 1}: {error.reason}") from None
    except (ValueError, RecursionError) as error:
        raise BadValue("syntax", f"not a JSON object: {error}") from None
    if not isinstance(row, dict):
        raise BadValue("syntax", 'not a JSON object, write {"at": 0, "kind": "heard", ...}')
    return row


def read_event(row: Mapping[str, Any]) -> Event:
    """Read one record; raises BadValue with what is wrong."""
    return Reader().event(row)


def write_event(event: Event) -> dict[str, Any]:
    """Return the record of an event: only what is known, in the order of the fields."""
    return {
        key: value
        for key, value in zip(Event._fields, event, strict=True)
        if key in {"at", "kind"} or value not in ("", None, 0.0) or (key, value) == ("packets", 0)
    }


def stamped(events: Iterable[Event]) -> Iterator[Event]:
    """Give each event of a recording the time it was received, where its line does not say it.

    Lines are in the order of receipt, so the clock of the recording is the latest time so far. One
    line that is far ahead of the line after it came from a wrong clock and must not move ours: it
    is held until the next line shows which of the two is right.
    """
    clock = -math.inf
    held: Event | None = None
    for event in events:
        moment = event.received or event.at
        if held is not None:
            alone = (held.received or held.at) > moment + HISTORY and moment <= clock + HISTORY
            if not alone:
                clock = max(clock, held.received or held.at)
            yield held._replace(received=clock) if alone else held
            held = None
        if clock != -math.inf and moment > clock + HISTORY:
            held = event
            continue
        clock = max(clock, moment)
        yield event if event.received or event.at == clock else event._replace(received=clock)
    if held is not None:
        yield held


def _kinds(kind: object) -> str:
    return suggest_of(str(kind), KINDS, limit=len(KINDS))


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise BadValue("bad-text", f"'{key}' is not a text")
    if len(value) > _LONGEST or not value.isprintable():
        raise BadValue("bad-text", f"'{key}' {shown(value)} is not a printable text of at most 128")
    return value


def _moment(value: object, key: str) -> float:
    # Compared before it is converted: an integer may be larger than any float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
        raise BadValue("bad-number", f"'{key}' is not a time in seconds since 1970")
    return float(value)


def _packets(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**64:
        raise BadValue("bad-number", "'packets' is not a count")
    return value
