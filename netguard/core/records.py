"""What one line of FreeRADIUS' event log says: an admission, or evidence of presence; typed, bounded.

Every field was chosen by a NAS or a device in the air: what does not parse is no record, lengths
are cut, control characters are written out. Times never lie in the future.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from netguard.core import evidence
from netguard.core.areas import canonical_ap
from netguard.core.evidence import Event
from netguard.core.names import Mac, shown
from netguard.errors import BadValue

# Why a MAC outside the inventory is rejected; its record is all that is known of it.
STRANGER_RULES = frozenset({"unknown-mac", "private-mac"})
_ANSWERS = frozenset({"accept", "reject"})
_LONGEST = 64
_LONGEST_NAME = 128
# How our FreeRADIUS calls the appliance when it asks itself (render/freeradius.py).
SELF = "self."


def is_own(record: Mapping[str, str]) -> bool:
    """Say whether a record is about a question of our own, which nobody in the air has asked."""
    return record.get("nas", "").startswith(SELF)


@dataclass(frozen=True, slots=True)
class Asked:
    """A device asked to join, and was answered."""

    at: datetime
    mac: Mac
    site: str
    nas: str
    ap: str
    ssid: str
    answer: str
    rule: str
    vlan: str

    @property
    def by_stranger(self) -> bool:
        """Say whether the inventory did not have this MAC."""
        return self.rule in STRANGER_RULES


@dataclass(frozen=True, slots=True)
class Stranger:
    """A MAC outside the inventory: since when, how often, and where it was refused last."""

    mac: Mac
    site: str
    nas: str
    ap: str
    ssid: str
    reason: str
    first_at: datetime
    last_at: datetime
    count: int


def read_asked(record: Mapping[str, str], now: datetime) -> Asked | None:
    """Read one admission record; None when it names no MAC, or is not one of ours."""
    try:
        mac = Mac.parse(record.get("mac", ""))
    except BadValue:
        return None
    if record.get("answer") not in _ANSWERS:
        return None
    return Asked(
        at=_moment(record.get("t", ""), now),
        mac=mac,
        site=_text(record, "site"),
        nas=_text(record, "nas"),
        ap=_text(record, "ap"),
        ssid=_text(record, "ssid"),
        answer=record["answer"],
        rule=_text(record, "rule"),
        vlan=_text(record, "vlan"),
    )


@dataclass(frozen=True, slots=True)
class Reject:
    """A tablet of the inventory that was refused somewhere: by which rule, since when, how often."""

    mac: Mac
    site: str
    rule: str
    ssid: str
    ap: str
    first_at: datetime
    last_at: datetime
    count: int


def rejects(every: Iterable[Asked]) -> list[Reject]:
    """Return where tablets of the inventory were refused, one entry a place and a rule."""
    found: dict[tuple[Mac, str, str, str, str], Reject] = {}
    for asked in every:
        if asked.by_stranger or asked.answer != "reject":
            continue
        key = asked.mac, asked.site, asked.rule, asked.ssid, asked.ap
        held = found.get(key)
        first, last, count = (
            (min(held.first_at, asked.at), max(held.last_at, asked.at), held.count + 1)
            if held is not None
            else (asked.at, asked.at, 1)
        )
        found[key] = Reject(*key, first, last, count)
    return list(found.values())


def met(stranger: Stranger | None, asked: Asked) -> Stranger:
    """Count one more refusal of a stranger; an older record changes no newer place."""
    now = Stranger(
        mac=asked.mac,
        site=asked.site,
        nas=asked.nas,
        ap=asked.ap,
        ssid=asked.ssid,
        reason=asked.rule,
        first_at=asked.at,
        last_at=asked.at,
        count=1,
    )
    if stranger is None:
        return now
    newer = now if now.last_at >= stranger.last_at else stranger
    first = min(stranger.first_at, now.first_at)
    return replace(newer, first_at=first, count=stranger.count + 1)


# Of a NAS alone, FreeRADIUS' dictionary spells them so (RFC 2866 5.1).
_RESTARTS = {"Accounting-On": evidence.AP_UP, "Accounting-Off": evidence.AP_DOWN}
_SESSIONS = {
    "Start": evidence.START,
    "Interim-Update": evidence.INTERIM,
    "Alive": evidence.INTERIM,
    "Stop": evidence.STOP,
}
# Acct-Delay-Time is a number of 32 bits (RFC 2866 5.2).
_LONGEST_DELAY = 2**32 - 1
FEED = "radius"


def read_evidence(
    record: Mapping[str, str], received: float, apart: frozenset[str] = frozenset()
) -> Event | None:
    """Read one record as evidence of presence; None where it is none.

    `received` is when FreeRADIUS had it, on the engine's clock: its moment is that less the delay the
    NAS declares. `apart` are the NASes that are many APs under one name, each of which restarts
    alone. An Access-Request is a sighting whatever its answer was.
    """
    kind, status = record.get("kind", ""), record.get("status", "")
    mac, nas = _mac(record.get("mac", "")), _plain(record, "nas")
    if kind == "accounting" and status in _RESTARTS:
        return _restart(record, received, _RESTARTS[status], alone=nas in apart)
    if mac is None:
        return None
    if kind == "admission":
        if record.get("answer") not in _ANSWERS or record.get("rule") in STRANGER_RULES:
            return None
        what = evidence.ASSOCIATED if record["answer"] == "accept" else evidence.HEARD
    elif kind == "accounting" and status in _SESSIONS:
        what = _SESSIONS[status]
    else:
        return None
    return Event(
        at=max(received - _number(record.get("delay", ""), _LONGEST_DELAY), 0.0),
        kind=what,
        mac=str(mac),
        ap=canonical_ap(_plain(record, "ap")),
        nas=nas,
        site=_plain(record, "site"),
        reason=_plain(record, "cause").lower(),
        source=FEED,
        session=_plain(record, "session"),
        packets=_packets(record.get("in_packets", "")),
        received=received,
    )


def _restart(record: Mapping[str, str], received: float, kind: str, *, alone: bool) -> Event | None:
    nas, ap = _plain(record, "nas"), canonical_ap(_plain(record, "ap"))
    if not nas or (alone and not ap):
        return None
    at = max(received - _number(record.get("delay", ""), _LONGEST_DELAY), 0.0)
    return Event(
        at=at,
        kind=kind if alone else evidence.NAS_RESTART,
        ap=ap if alone else "",
        nas=nas,
        site=_plain(record, "site"),
        reason=record["status"].lower(),
        source=FEED,
        received=received,
    )


def _mac(text: str) -> Mac | None:
    try:
        mac = Mac.parse(text)
    except BadValue:
        return None
    return None if mac.is_group else mac


def _number(text: str, most: int) -> int:
    """Read a count; what is none counts as 0, what is too large as the largest."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        return 0
    return min(int(text), most)


def _packets(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def _plain(record: Mapping[str, str], key: str) -> str:
    """Return a text as it stands where it is printable, else nothing: it names something of ours."""
    text = record.get(key, "")
    return text if len(text) <= _LONGEST_NAME and text.isprintable() else ""


def receipt(record: Mapping[str, str]) -> float | None:
    """Return when FreeRADIUS had a record, in seconds since 1970 of its clock; None where it is odd."""
    text = record.get("t", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else None


def behind(record: Mapping[str, str]) -> float | None:
    """Return how many seconds the clock of a NAS is behind FreeRADIUS' (negative: ahead); None where it says none.

    Event-Timestamp (RFC 2869 5.3) is when it happened, by the NAS: what was sent late is no wrong clock.
    """
    received, stamp = receipt(record), _number(record.get("stamp", ""), _LONGEST_DELAY)
    if received is None or not stamp:
        return None
    return received - _number(record.get("delay", ""), _LONGEST_DELAY) - stamp


def _moment(text: str, now: datetime) -> datetime:
    """Read seconds since 1970; a time to come, or none, is the moment of reading."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return now
    return min(datetime.fromtimestamp(int(text), UTC), now)


def _text(record: Mapping[str, str], key: str) -> str:
    return shown(record.get(key, "")[:_LONGEST], _LONGEST)[1:-1]
