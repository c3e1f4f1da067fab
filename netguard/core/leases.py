"""What a hospital's own DHCP server has given to a tablet, read from its answer to our relay.

Pure. A server of the rules sends the answer to our gateway, and the kernel copies it to us; it is
hostile until parsed all the same (RFC 2131, RFC 2132).
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from netguard.core import dhcpwire
from netguard.core.names import Mac
from netguard.core.plan import Plan, SitePlan

# A lease for ever is looked at again after a week: the tablet renews it long before.
LONGEST = 7 * 86400
_LEASE_TIME, _ACK = 51, 5


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
    message = dhcpwire.read(packet)
    if message is None or (message.source_port, message.operation) != (
        dhcpwire.SERVER,
        dhcpwire.REPLY,
    ):
        return None
    if message.options.get(dhcpwire.MESSAGE_TYPE) != bytes([_ACK]):
        return None
    lease = message.options.get(_LEASE_TIME, b"")
    seconds = int.from_bytes(lease) if len(lease) == 4 else 0
    if not seconds or message.given.is_unspecified:
        # An answer to DHCPINFORM gives no address.
        return None
    return Ack(message.source, message.relay, message.mac, message.given, min(seconds, LONGEST))


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
