"""DHCP messages in IPv4 packets, read and bounded; hostile until parsed (RFC 2131 2, RFC 2132 3).

Pure. What the kernel copies to us is a packet of anybody: whatever is cut, of another kind or inconsistent is
no message.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from netguard.core.names import Mac

SERVER = 67
REQUEST, REPLY = 1, 2
MESSAGE_TYPE = 53
_UDP, _ETHERNET, _MAC_BYTES = 17, 1, 6
_FIXED, _COOKIE = 236, b"\x63\x82\x53\x63"
_PAD, _END = 0, 255


@dataclass(frozen=True, slots=True)
class Message:
    """One message over Ethernet: who sent the packet from which port to which, and what is in it."""

    source: IPv4Address
    source_port: int
    port: int
    operation: int
    mac: Mac
    # yiaddr and giaddr: the address that is given, and the relay that it went through.
    given: IPv4Address
    relay: IPv4Address
    options: Mapping[int, bytes]


def read(packet: bytes) -> Message | None:
    """Read an IPv4 packet; None when it is no whole DHCP message of a client with a MAC."""
    header = (packet[0] & 0xF) * 4 if packet else 0
    if len(packet) < header + 8 or packet[0] >> 4 != 4 or header < 20 or packet[9] != _UDP:
        return None
    body = packet[header + 8 :]
    if len(body) < _FIXED + 4 or body[_FIXED : _FIXED + 4] != _COOKIE:
        return None
    if (body[1], body[2]) != (_ETHERNET, _MAC_BYTES):
        return None
    return Message(
        source=IPv4Address(packet[12:16]),
        source_port=int.from_bytes(packet[header : header + 2]),
        port=int.from_bytes(packet[header + 2 : header + 4]),
        operation=body[0],
        mac=Mac.parse(body[28:34].hex()),
        given=IPv4Address(body[16:20]),
        relay=IPv4Address(body[24:28]),
        options=_options(body[_FIXED + 4 :]),
    )


def _options(data: bytes) -> dict[int, bytes]:
    """Walk the options; what does not fit ends the walk, the first of a kind counts."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        if at + 2 > len(data) or at + 2 + data[at + 1] > len(data):
            break
        found.setdefault(data[at], data[at + 2 : at + 2 + data[at + 1]])
        at += 2 + data[at + 1]
    return found
