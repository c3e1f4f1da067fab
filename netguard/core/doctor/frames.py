"""Captures and frames as bytes: pcap and pcapng files, link layers, IP, UDP. Hostile, so bounded everywhere.

A reader of our own because the command must read a capture without scapy, which is its oracle in
tests. Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; RFC 791, RFC 8200, RFC 768.
"""

import struct
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from netguard.errors import BadValue

MAX_FRAME = 256 * 1024
MAX_INTERFACES = 1024
ETHERNET, LOOPBACK, RAW, SLL, SLL2 = 1, 0, 101, 113, 276
_RAWS = frozenset({RAW, 12, 14, 228, 229})
_IP4, _IP6, _TAGS = 0x0800, 0x86DD, frozenset({0x8100, 0x88A8, 0x9100})
_UDP = 17
# Extension headers of IPv6 that say their own length in units of 8 bytes (RFC 8200 4).
_EXTENSIONS = frozenset({0, 43, 60})
_PCAP = {
    b"\xa1\xb2\xc3\xd4": (">", 1e-6),
    b"\xd4\xc3\xb2\xa1": ("<", 1e-6),
    b"\xa1\xb2\x3c\x4d": (">", 1e-9),
    b"\x4d\x3c\xb2\xa1": ("<", 1e-9),
}
_NG = b"\x0a\x0d\x0d\x0a"
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6

Read = Callable[[int], bytes]


class Frame(NamedTuple):
    """One captured frame: seconds since 1970, its link type, its bytes."""

    at: float
    link: int
    data: bytes


class Datagram(NamedTuple):
    """One UDP datagram, addresses as text."""

    at: float
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes


class Macs(NamedTuple):
    """Who sends a frame to whom on Ethernet."""

    source: str
    destination: str


def frames(read: Read) -> Iterator[Frame]:
    """Yield the frames of a capture; raises BadValue where it is none, or is damaged.

    A last frame that is cut (whoever captured was ended) is left out in silence.
    """
    magic = read(4)
    if magic in _PCAP:
        yield from _pcap(read, *_PCAP[magic])
    elif magic == _NG:
        yield from _pcapng(read)
    else:
        raise BadValue("bad-capture", "is no capture: write it with tcpdump -w FILE, or dumpcap")


def _pcap(read: Read, order: str, unit: float) -> Iterator[Frame]:
    head = read(20)
    if len(head) < 20:
        raise BadValue("bad-capture", "the head of the capture is cut")
    # The upper bits say whether frames end with a checksum.
    link = struct.unpack(f"{order}I", head[16:])[0] & 0x0FFFFFFF
    record = struct.Struct(f"{order}IIII")
    number = 0
    while len(raw := read(record.size)) == record.size:
        number += 1
        seconds, fraction, length, _ = record.unpack(raw)
        if length > MAX_FRAME:
            raise BadValue("bad-capture", f"frame {number} has {length} bytes: damaged")
        data = read(length)
        if len(data) < length:
            return
        yield Frame(seconds + fraction * unit, link, data)


def _pcapng(read: Read) -> Iterator[Frame]:
    """Read blocks; `interfaces` are link type and seconds per tick, by number (section 4.2)."""
    order, kind, number = "", _SECTION, 0
    interfaces: list[tuple[int, float]] = []
    raw = _NG
    while len(raw) == 4:
        number += 1
        size = read(4)
        start = b""
        if raw == _NG:
            start = read(4)
            order = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}.get(start, "")
            if not order:
                raise BadValue("bad-capture", f"block {number} has no byte order: damaged")
            interfaces = []
        if len(size) < 4:
            return
        (kind,) = struct.unpack(f"{order}I", raw)
        (length,) = struct.unpack(f"{order}I", size)
        if length < 12 or length % 4 or length > MAX_FRAME + 4096:
            raise BadValue("bad-capture", f"block {number} has {length} bytes: damaged")
        rest = read(length - 8 - len(start))
        if len(rest) < length - 8 - len(start):
            return
        body = rest[:-4]
        if kind == _INTERFACE and len(body) >= 8:
            if len(interfaces) == MAX_INTERFACES:
                raise BadValue("bad-capture", f"more than {MAX_INTERFACES} interfaces")
            (link,) = struct.unpack_from(f"{order}H", body)
            interfaces.append((link, _tick(body[8:], order)))
        elif kind == _PACKET and len(body) >= 20:
            yield from _packet(body, order, interfaces)
        raw = read(4)


def _packet(body: bytes, order: str, interfaces: list[tuple[int, float]]) -> Iterator[Frame]:
    interface, high, low, captured, _ = struct.unpack_from(f"{order}IIIII", body)
    if interface < len(interfaces) and captured <= len(body) - 20:
        link, tick = interfaces[interface]
        yield Frame((high << 32 | low) * tick, link, body[20 : 20 + captured])


def _tick(options: bytes, order: str) -> float:
    """Return the seconds of one tick: option if_tsresol, microseconds without it."""
    at = 0
    while at + 4 <= len(options):
        code, length = struct.unpack_from(f"{order}HH", options, at)
        if code == 0:
            break
        if code == 9 and length == 1 and at + 4 < len(options):
            value = options[at + 4]
            # The highest bit: a power of two, else of ten.
            return 2.0 ** -(value & 0x7F) if value & 0x80 else 10.0 ** -(value & 0x7F)
        at += 4 + (length + 3 & ~3)
    return 1e-6


# what a frame carries


def macs(frame: Frame) -> Macs | None:
    """Return sender and receiver of an Ethernet frame."""
    if frame.link != ETHERNET or len(frame.data) < 14:
        return None
    return Macs(frame.data[6:12].hex(":"), frame.data[:6].hex(":"))


def datagram(frame: Frame) -> Datagram | None:
    """Return the UDP datagram in a frame; None for all else, and for fragments."""
    packet = _network(frame)
    if packet is None:
        return None
    kind, data = packet
    found = _ip4(data) if kind == _IP4 else _ip6(data)
    if found is None:
        return None
    source, destination, rest = found
    if len(rest) < 8:
        return None
    source_port, destination_port, length = struct.unpack_from("!HHH", rest)
    if not 8 <= length <= len(rest):
        return None
    return Datagram(frame.at, source, source_port, destination, destination_port, rest[8:length])


def _network(frame: Frame) -> tuple[int, bytes] | None:
    """Return the network layer: its EtherType and its bytes."""
    link, data = frame.link, frame.data
    if link in _RAWS:
        return _by_version(data)
    if link == LOOPBACK:
        return _by_version(data[4:])
    head = {ETHERNET: 12, SLL: 14, SLL2: 0}.get(link)
    if head is None or len(data) < head + 2:
        return None
    kind = int.from_bytes(data[head : head + 2])
    at = 20 if link == SLL2 else head + 2
    for _ in range(2):
        if kind in _TAGS and len(data) >= at + 4:
            kind, at = int.from_bytes(data[at + 2 : at + 4]), at + 4
    return (kind, data[at:]) if kind in {_IP4, _IP6} else None


def _by_version(data: bytes) -> tuple[int, bytes] | None:
    kind = {4: _IP4, 6: _IP6}.get(data[0] >> 4) if data else None
    return (kind, data) if kind is not None else None


def _ip4(data: bytes) -> tuple[str, str, bytes] | None:
    if len(data) < 20 or data[0] >> 4 != 4 or data[9] != _UDP:
        return None
    head, length = (data[0] & 0xF) * 4, int.from_bytes(data[2:4])
    # More fragments, or an offset: half a datagram is none.
    if int.from_bytes(data[6:8]) & 0x3FFF or not 20 <= head <= length <= len(data):
        return None
    return str(IPv4Address(data[12:16])), str(IPv4Address(data[16:20])), data[head:length]


def _ip6(data: bytes) -> tuple[str, str, bytes] | None:
    if len(data) < 40 or data[0] >> 4 != 6:
        return None
    end = 40 + int.from_bytes(data[4:6])
    if end > len(data):
        return None
    kind, at = data[6], 40
    for _ in range(8):
        if kind not in _EXTENSIONS or at + 8 > end:
            break
        kind, at = data[at], at + 8 + data[at + 1] * 8
    if kind != _UDP or at > end:
        return None
    return str(IPv6Address(data[8:24])), str(IPv6Address(data[24:40])), data[at:end]
