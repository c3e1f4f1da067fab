"""What a hospital's own DHCP server has given to a tablet, read from its answer to our relay.

Pure. A server of the rules sends the answer to our gateway, and the kernel copies it to us; it is
hostile until parsed all the same (RFC 2131, RFC 2132).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netguard.core.names import Mac
from netguard.core.plan import Plan, SitePlan

# A lease for ever is looked at again after a week: the tablet renews it long before.
LONGEST = 7 * 86400
_UDP, _SERVER = 17, 67
_REPLY, _ETHERNET, _MAC_BYTES = 2, 1, 6
_FIXED, _COOKIE = 236, b"\x63\x82\x53\x63"
_PAD, _END, _LEASE_TIME, _MESSAGE_TYPE, _ACK = 0, 255, 51, 53, 5


@dataclass(frozen=True, slots=True)
class Ack:
    """A DHCPACK: which server gave which address to whom, by which relay, for how many seconds."""

    server: IPv4Address
    relay: IPv4Address
    mac: Mac
    address: IPv4Address
    seconds: int


def read_ack(packet: bytes) -> Ack | None:
    """Read an IPv4 packet; None when it is no whole DHCPACK from a server to a relay."""
    header = (packet[0] & 0xF) * 4 if packet else 0
    if len(packet) < header + 8 or packet[0] >> 4 != 4 or header < 20 or packet[9] != _UDP:
        return None
    source, body = int.from_bytes(packet[header : header + 2]), packet[header + 8 :]
    if source != _SERVER or len(body) < _FIXED + 4 or body[_FIXED : _FIXED + 4] != _COOKIE:
        return None
    if (body[0], body[1], body[2]) != (_REPLY, _ETHERNET, _MAC_BYTES):
        return None
    options = _options(body[_FIXED + 4 :])
    if options.get(_MESSAGE_TYPE) != bytes([_ACK]):
        return None
    lease = options.get(_LEASE_TIME, b"")
    seconds = int.from_bytes(lease) if len(lease) == 4 else 0
    address = IPv4Address(body[16:20])
    if not seconds or address.is_unspecified:
        # An answer to DHCPINFORM gives no address.
        return None
    return Ack(
        IPv4Address(packet[12:16]),
        IPv4Address(body[24:28]),
        Mac.parse(body[28:34].hex()),
        address,
        min(seconds, LONGEST),
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


def site_of(plan: Plan, ack: Ack) -> SitePlan | None:
    """Return the site where this answer gives a tablet an address; None when it must not.

    The server is one of the site's, the relay is its gateway, the tablet belongs there, and the
    address is a tablet's: within the site's networks, and not the gateway's own.
    """
    for site in plan.sites:
        if ack.server in site.dhcp_servers and ack.relay in site.gateways:
            inside = any(n.version == 4 and ack.address in n for n in site.networks)
            known = (site.name, ack.mac) in plan.binding
            return site if inside and known and ack.address not in site.gateways else None
    return None
