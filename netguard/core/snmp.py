"""SNMP traps as bytes: a small BER reader, and what Cisco's traps say of stations (RFC 3416, 1901).

v2c is read here; what v3 puts around the same trap is in usm.py.

Names of objects change with the MIBs that somebody has installed; numbers and raw octets do not, so
nothing else is looked at. Lengths are checked before anything is read, depth and number are bounded.
Of the object identifiers: AIRESPACE-WIRELESS-MIB, CISCO-LWAPP-DOT11-CLIENT-MIB.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from netguard.core.areas import canonical_ap
from netguard.core.controllers import Seen
from netguard.core.names import Mac
from netguard.errors import BadValue

_INTEGER, _OCTETS, _OID, _SEQUENCE = 0x02, 0x04, 0x06, 0x30
_ADDRESS, _COUNTER, _GAUGE, _TICKS, _COUNTER64 = 0x40, 0x41, 0x42, 0x43, 0x46
_TRAP = 0xA7
_NUMBERS = frozenset({_INTEGER, _COUNTER, _GAUGE, _TICKS, _COUNTER64})
_V2C = 1
_MOST_ARCS, _LARGEST_ARC = 128, 2**32 - 1
# The longest of the traps below, MovedToRunStateNew, has 75 objects behind sysUpTime and snmpTrapOID.
_MOST_BINDINGS = 96
LONGEST = 8192
TRAP_OID = "1.3.6.1.6.3.1.1.4.1.0"

# What a binding holds: octets, a number, or an object identifier as text.
Value = bytes | int | str | None


@dataclass(frozen=True, slots=True)
class Trap:
    """One notification: who says so, which one it is, and its bindings by numeric OID."""

    community: bytes
    oid: str
    bindings: Mapping[str, Value]


def read(data: bytes) -> Trap:
    """Read an SNMPv2c trap. Raises BadValue (`snmp`) with the offset for anything else."""
    if len(data) > LONGEST:
        raise bad(LONGEST, "too long")
    outer, end = _open(data, 0, len(data), _SEQUENCE)
    if end != len(data):
        raise bad(end, "bytes behind the message")
    claimed, at = number(data, outer, end)
    if claimed != _V2C:
        raise bad(outer, f"version {claimed} is not SNMPv2c")
    start, stop = _open(data, at, end, _OCTETS)
    return _pdu(data, stop, end, data[start:stop])


def version(data: bytes) -> int:
    """Return the version that a message claims: 1 is SNMPv2c, 3 is SNMPv3. Raises BadValue."""
    outer, end = _open(data, 0, len(data), _SEQUENCE)
    return number(data, outer, end)[0]


def scoped(data: bytes) -> Trap:
    """Read the scoped PDU of an SNMPv3 trap (RFC 3412 6.8). Raises BadValue for anything else."""
    at, end = _open(data, 0, len(data), _SEQUENCE)
    for _ in range(2):  # contextEngineID, contextName
        at = octets(data, at, end)[1]
    return _pdu(data, at, end, b"")


def _pdu(data: bytes, at: int, end: int, community: bytes) -> Trap:
    start, stop = _open(data, at, end, _TRAP)
    if stop != end:
        raise bad(stop, "bytes behind the PDU")
    at = start
    for _ in range(3):  # request-id, error-status, error-index
        _, at = number(data, at, stop)
    start, last = _open(data, at, stop, _SEQUENCE)
    bindings = _bindings(data, start, last)
    oid = bindings.get(TRAP_OID)
    if not isinstance(oid, str):
        raise bad(start, "no snmpTrapOID")
    return Trap(community, oid, bindings)


def _bindings(data: bytes, at: int, end: int) -> dict[str, Value]:
    found: dict[str, Value] = {}
    while at < end:
        if len(found) >= _MOST_BINDINGS:
            raise bad(at, "too many bindings")
        start, stop = _open(data, at, end, _SEQUENCE)
        name, value_at = _open(data, start, stop, _OID)
        oid = _identifier(data, name, value_at)
        tag, value, at = _header(data, value_at, stop)
        if at != stop:
            raise bad(at, "bytes behind a value")
        found[oid] = _value(data, tag, value, at)
    return found


def _value(data: bytes, tag: int, at: int, end: int) -> Value:
    if tag in _NUMBERS:
        if not 1 <= end - at <= 9:
            raise bad(at, "a number of no size")
        return int.from_bytes(data[at:end], "big", signed=tag == _INTEGER)
    if tag == _OID:
        return _identifier(data, at, end)
    if tag in {_OCTETS, _ADDRESS}:
        return data[at:end]
    # NULL, noSuchObject and what is not known: nothing is said.
    return None


def _header(data: bytes, at: int, end: int) -> tuple[int, int, int]:
    """Return tag, where the content begins and where it ends."""
    if at + 2 > end:
        raise bad(at, "cut off")
    tag, size = data[at], data[at + 1]
    if tag & 0x1F == 0x1F:
        raise bad(at, "a tag of several bytes")
    start = at + 2
    if size & 0x80:
        count = size & 0x7F
        if not 1 <= count <= 4 or start + count > end:
            raise bad(at, "a length that is none")
        size = int.from_bytes(data[start : start + count], "big")
        start += count
    if start + size > end:
        raise bad(at, "longer than what it is in")
    return tag, start, start + size


def _open(data: bytes, at: int, end: int, wanted: int) -> tuple[int, int]:
    tag, start, stop = _header(data, at, end)
    if tag != wanted:
        raise bad(at, f"tag {tag:#04x} where {wanted:#04x} is due")
    return start, stop


def sequence(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the content of a SEQUENCE begins and ends; raises BadValue for anything else."""
    return _open(data, at, end, _SEQUENCE)


def octets(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return where the content of an OCTET STRING begins and ends; raises BadValue for anything else."""
    return _open(data, at, end, _OCTETS)


def number(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return an INTEGER and where it ends; raises BadValue for anything else."""
    start, stop = _open(data, at, end, _INTEGER)
    if not 1 <= stop - start <= 5:
        raise bad(at, "a number of no size")
    return int.from_bytes(data[start:stop], "big", signed=True), stop


def _identifier(data: bytes, at: int, end: int) -> str:
    if at == end:
        raise bad(at, "an empty object identifier")
    first = data[at]
    if first & 0x80:
        raise bad(at, "an object identifier of no standard")
    arcs = [min(first // 40, 2), first - 40 * min(first // 40, 2)]
    value, open_ = 0, False
    for offset in range(at + 1, end):
        byte = data[offset]
        value, open_ = value << 7 | byte & 0x7F, bool(byte & 0x80)
        if value > _LARGEST_ARC:
            raise bad(offset, "an arc beyond 32 bits")
        if not open_:
            arcs.append(value)
            value = 0
            if len(arcs) > _MOST_ARCS:
                raise bad(offset, f"more than {_MOST_ARCS} arcs")
    if open_:
        raise bad(end, "an object identifier that does not end")
    return ".".join(map(str, arcs))


def bad(at: int, words: str) -> BadValue:
    """Return the error about one byte."""
    return BadValue("snmp", f"an SNMP message, byte {at}: {words}")


# What the traps mean

_AIRESPACE = "1.3.6.1.4.1.14179.2.6"
_LWAPP_AP, _LWAPP_CLIENT = "1.3.6.1.4.1.9.9.513", "1.3.6.1.4.1.9.9.599.0"
# bsnDot11StationDisassociate, -Deauthenticate, -Associate; bsnAPUp, -Down, -Associated, -Disassociated; then
# ciscoLwappApAssociated; ciscoLwappDot11Client MovedToRunState, Assoc, DeAuthenticated, MovedToRunStateNew.
_KINDS = {
    f"{_AIRESPACE}.3.1": "disassociated",
    f"{_AIRESPACE}.3.2": "disassociated",
    f"{_AIRESPACE}.3.53": "associated",
    f"{_AIRESPACE}.3.5": "ap-up",
    f"{_AIRESPACE}.3.6": "ap-down",
    f"{_AIRESPACE}.3.7": "ap-up",
    f"{_AIRESPACE}.3.8": "ap-down",
    f"{_LWAPP_AP}.0.4": "ap-up",
    f"{_LWAPP_CLIENT}.4": "associated",
    f"{_LWAPP_CLIENT}.9": "associated",
    f"{_LWAPP_CLIENT}.10": "disassociated",
    f"{_LWAPP_CLIENT}.11": "associated",
}
# bsnStationMacAddress, bsnStationAPMacAddr, bsnStationReasonCode; cldcDOT11ClientReasonCode.
_STATION, _STATION_AP, _REASON = (f"{_AIRESPACE}.2.{n}" for n in (34, 35, 37))
_CLIENT_REASON = "1.3.6.1.4.1.9.9.599.1.2.3"
# bsnAPName, cLApName; bsnAPDot3MacAddress, and bsnAPMacAddrTrapVariable, all that an AP's trap need have.
_AP_NAMES = "1.3.6.1.4.1.14179.2.2.1.1.3", f"{_LWAPP_AP}.1.1.1.1.5"
_AP_MACS = "1.3.6.1.4.1.14179.2.2.1.1.1", f"{_AIRESPACE}.2.20"
# cldcClientMacAddress, cldcApMacAddress.
_CLIENT, _CLIENT_AP = (f"1.3.6.1.4.1.9.9.599.1.3.1.1.{n}" for n in (1, 8))


def seen(trap: Trap) -> Seen | None:
    """Return what a trap of Cisco says of a station or an access point; None for any other trap."""
    kind = _KINDS.get(trap.oid)
    if kind is None:
        return None
    name = _bound(trap, *_AP_NAMES)
    ap = _text(name) if isinstance(name, bytes) else ""
    if not ap:
        mac = _mac(_bound(trap, _STATION_AP, _CLIENT_AP, *_AP_MACS))
        ap = str(mac or "")
    if kind.startswith("ap-"):
        return Seen(kind, None, canonical_ap(ap), "") if ap else None
    station = _mac(_bound(trap, _STATION)) or _mac(_bound(trap, _CLIENT))
    if station is None or station.is_group:
        return None
    reason = _bound(trap, _REASON, _CLIENT_REASON)
    return Seen(kind, station, canonical_ap(ap), str(reason) if isinstance(reason, int) else "")


def _bound(trap: Trap, *columns: str) -> Value:
    """Return the value of the first of some objects that says something, whatever its index is."""
    for column in columns:
        inside = f"{column}."
        found = trap.bindings.get(f"{column}.0") or next(
            (value for oid, value in trap.bindings.items() if oid.startswith(inside)), None
        )
        if found is not None and found != b"":
            return found
    return None


def _mac(value: Value) -> Mac | None:
    if not isinstance(value, bytes) or len(value) != 6:
        return None
    return Mac(":".join(f"{byte:02x}" for byte in value))


def _text(value: bytes) -> str:
    text = value[:64].decode("utf-8", "replace").strip()
    return text if text.isprintable() else ""
