"""What one line of FreeRADIUS' event log says about an admission, typed and bounded.

Every field was chosen by a NAS or a device in the air: what does not parse is no record, lengths
are cut, control characters are written out. Times never lie in the future.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from netguard.core.names import Mac, shown
from netguard.errors import BadValue

# Why a MAC outside the inventory is rejected; its record is all that is known of it.
STRANGER_RULES = frozenset({"unknown-mac", "private-mac"})
_ANSWERS = frozenset({"accept", "reject"})
_LONGEST = 64
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


def _moment(text: str, now: datetime) -> datetime:
    """Read seconds since 1970; a time to come, or none, is the moment of reading."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return now
    return min(datetime.fromtimestamp(int(text), UTC), now)


def _text(record: Mapping[str, str], key: str) -> str:
    return shown(record.get(key, "")[:_LONGEST], _LONGEST)[1:-1]
