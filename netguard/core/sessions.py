"""Where a tablet is on the air, as the event log tells: enough to have it thrown off there.

An admission is kept without an id, with the VLAN that it was given; the Start that follows names the session, a
Stop or a restart of its NAS ends both. A MAC has several where it roams, or where it is in two hands. Pure; every field was chosen by a NAS.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address

from netguard.core.names import Address, Mac
from netguard.errors import BadValue

# Of one MAC that are kept: one that roams has two, a copied one some more.
MOST = 4
_LONGEST = 128
# Seconds since 1970: the year 3000.
_LATEST = 32503680000.0
_GOES_ON = frozenset({"Start", "Interim-Update", "Alive"})
_RESTARTS = frozenset({"Accounting-On", "Accounting-Off"})

# NAS, MAC, Acct-Session-Id ("" for one that is only admitted). A MAC of "" is every one of the NAS; where an address
# stands in the place of the id, every one whose requests come from there.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Live:
    """One session, heard of last `at`. `source` is where its requests come from, `nas_ip` what they say of it; "" unknown."""

    nas: str
    mac: str
    session: str
    at: float
    site: str
    ap: str
    bssid: str
    source: str
    nas_ip: str
    vlan: str
    # When it began, by its Start; 0 where none was heard, and of an admission, whose moment is `at`.
    since: float = 0.0

    @property
    def key(self) -> Key:
        """Return what tells it from others."""
        return self.nas, self.mac, self.session


def changes(
    records: Iterable[Mapping[str, str] | None], now: float, apart: frozenset[str] = frozenset()
) -> dict[Key, Live | None]:
    """Return what the records change, in their order: a session as it is now, None where it has ended.

    `apart` are the NASes that are many APs under one name: each that restarts ends its own sessions only.
    """
    found: dict[Key, Live | None] = {}
    for record in records:
        if record is None:
            continue
        kind, status = record.get("kind", ""), record.get("status", "")
        nas, mac = _text(record, "nas"), _mac(record.get("mac", ""))
        session = _text(record, "session")
        if kind == "accounting" and status in _RESTARTS and nas:
            source = _address(record.get("src", "")) if nas in apart else ""
            if nas in apart and not source:
                continue
            ended = [k for k, live in found.items() if k[0] == nas and _is_from(live, source)]
            for key in ended:
                del found[key]
            found[nas, "", source] = None
        elif not mac or not nas:
            continue
        elif kind == "admission" and record.get("answer") == "accept":
            found[nas, mac, ""] = _live(record, nas, mac, "", now)
        elif kind == "accounting" and status in _GOES_ON:
            live = _live(record, nas, mac, session, now)
            found[live.key] = replace(live, since=_since(record, live, found.get(live.key)))
        elif kind == "accounting" and status == "Stop":
            found[nas, mac, session] = found[nas, mac, ""] = None
    return found


def _is_from(live: Live | None, source: str) -> bool:
    return not source or (live is not None and live.source == source)


def _since(record: Mapping[str, str], live: Live, before: Live | None) -> float:
    """Return when a session began. What a NAS could not tell at once began before it was told."""
    if before is not None:
        return before.since
    return live.at - _delay(record) if record.get("status") == "Start" else 0.0


def _live(record: Mapping[str, str], nas: str, mac: str, session: str, now: float) -> Live:
    called = record.get("called", "")
    return Live(
        nas=nas,
        mac=mac,
        session=session,
        at=_moment(record.get("t", ""), now),
        site=_text(record, "site"),
        ap=_text(record, "ap"),
        bssid=_mac(called[:17]) or _mac(called[:12]) or _mac(record.get("ap", "")),
        source=_address(record.get("src", "")),
        nas_ip=_address(record.get("nas_ip", "")),
        vlan=_text(record, "vlan"),
    )


def read(rows: object) -> list[Live]:
    """Read sessions that another process tells, as dicts of the fields of Live.

    Raises BadValue for what is none, and for more than MOST: who told it may be hijacked.
    """
    if not isinstance(rows, list) or len(rows) > MOST:
        raise BadValue("syntax", f"no list of at most {MOST} sessions")
    return [_told(row) for row in rows]


def _told(row: object) -> Live:
    names = {field.name for field in fields(Live)}
    # A watch of before an upgrade knows of no `since`.
    if not isinstance(row, dict) or {*row, "since"} != names:
        raise BadValue("syntax", f"a session has {', '.join(sorted(names))}")
    moments = {name: row.get(name, 0.0) for name in ("at", "since")}
    texts = [value for name, value in row.items() if name not in moments]
    for name, moment in moments.items():
        # An integer may be larger than any float.
        if not (isinstance(moment, int | float) and abs(moment) <= _LATEST):
            raise BadValue("syntax", f"{name}: no moment")
    if not all(
        isinstance(text, str) and len(text) <= _LONGEST and text.isprintable() for text in texts
    ):
        raise BadValue("syntax", f"a session has texts of at most {_LONGEST} printable characters")
    return Live(**row)


def address(text: str) -> Address | None:
    """Read an address again; None where it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _address(text: str) -> str:
    return str(address(text) or "")


def _mac(text: str) -> str:
    try:
        mac = Mac.parse(text)
    except BadValue:
        return ""
    return "" if mac.is_group else str(mac)


def _delay(record: Mapping[str, str]) -> float:
    text = record.get("delay", "")
    return float(text) if text.isascii() and text.isdecimal() and len(text) <= 10 else 0.0


def _moment(text: str, now: float) -> float:
    """Read seconds since 1970; a time to come, or none, is the moment of reading."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        return now
    return min(float(text), now)


def _text(record: Mapping[str, str], key: str) -> str:
    text = record.get(key, "")
    return text if len(text) <= _LONGEST and text.isprintable() else ""
