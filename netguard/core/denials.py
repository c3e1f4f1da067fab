"""A refused packet, as the kernel's log hands it over: who, where to, which rule.

The first bytes of a packet are hostile: lengths are checked before anything is read, and what is
no IPv4 packet with a known transport is a denial without a port. Header formats: RFC 791, RFC 768,
RFC 9293; the prefix is written by render/nftables.py.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from netguard.core.names import Address, Mac, parse_address, shown
from netguard.errors import BadValue

PREFIX = "netguard:"
# Why a tablet's packet is refused, beside "no service of its group has it" (GROUP/deny). Each is
# counted for each group as GROUP/REASON, and alone where the sender is no tablet of a group; no
# service may be called so.
REASONS = (
    "protected",
    "loan",
    "rogue-ra",
    "rogue-dhcp",
    "ipv6",
    "unknown-mac",
    "hours",
    "anti-spoof",
    "noise",
    "gateway",
    "isolation",
    "no-grant",
    "new-flows",
)
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


@dataclass(frozen=True, slots=True)
class Denial:
    """One refused packet; `port` is None where the packet has none or was cut."""

    at: datetime
    rule: str
    interface: str
    mac: Mac | None
    source: Address
    destination: Address
    protocol: str
    port: int | None
    # What a hello asked for, where that is why it was refused.
    why: str = ""


def rule_of_prefix(prefix: str) -> str | None:
    """Return the rule that a log prefix names, or None for somebody else's."""
    if not prefix.startswith(PREFIX):
        return None
    return prefix.removeprefix(PREFIX).rstrip(": ") or None


def read_denial(
    at: datetime, prefix: str, interface: str, hardware: bytes, packet: bytes
) -> Denial | None:
    """Read one logged packet; None when it is not ours or not IP."""
    rule = rule_of_prefix(prefix)
    if rule is None or not packet:
        return None
    mac = Mac(":".join(f"{byte:02x}" for byte in hardware[:6])) if len(hardware) >= 6 else None
    version = packet[0] >> 4
    if version == 4 and len(packet) >= 20:
        header = (packet[0] & 0xF) * 4
        addresses: tuple[Address, Address] = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
        number, first_fragment = packet[9], not (packet[6] & 0x1F or packet[7])
    elif version == 6 and len(packet) >= 40:
        header = 40
        addresses = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        number, first_fragment = packet[6], True
    else:
        return None
    port = None
    if number in {6, 17} and first_fragment and header >= 20 and len(packet) >= header + 4:
        port = int.from_bytes(packet[header + 2 : header + 4])
    protocol = _PROTOCOLS.get(number, str(number))
    return Denial(at, rule, interface, mac, *addresses, protocol, port)


# What HAProxy writes of a connection that it has refused (render/haproxy.py): client, where to, how it
# ended, the server's name in quotes.
_NAMED = re.compile(r'(\S+) (\S+) (\d{1,5}) PR "([^"]*)"\n?')


def read_named(at: datetime, data: bytes, rules: Mapping[Address, str]) -> Denial | None:
    """Read one line of HAProxy; `rules` is the rule for each tablet's address. None: no refusal."""
    found = _NAMED.fullmatch(data.decode("ascii", "replace"))
    if found is None:
        return None
    try:
        source, destination = parse_address(found[1]), parse_address(found[2])
    except BadValue:
        return None
    name = f"TLS for {shown(found[4])}" if found[4] not in {"", "-"} else "no TLS server name"
    rule = rules.get(source, "deny")
    return Denial(at, rule, "", None, source, destination, "tcp", int(found[3]), name)
