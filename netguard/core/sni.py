"""Services whose TLS passes only to servers that the tablet's hello names (`sni: strict`).

Two names on one address cannot be told apart by address; a hello tells them apart (RFC 6066 3). A
tablet's new TCP flow to such a service is turned to the appliance, on a port that belongs to the
tablet's group; HAProxy reads the name there and goes on to where the tablet wanted to. Pure; the
kernel's side is render/nftables.py, HAProxy's render/haproxy.py.
"""

import zlib

from netguard.core.names import Domain
from netguard.core.plan import Plan, ServicePlan

# Above what Linux gives to outgoing connections (net.ipv4.ip_local_port_range ends at 60999).
FIRST_PORT, PORTS = 61_000, 4_000


def strict_services(plan: Plan, group: str) -> tuple[ServicePlan, ...]:
    """Return a group's services whose server names are checked, in their order."""
    return tuple(s for name in plan.group[group].services if (s := plan.service[name]).strict)


def ports(plan: Plan) -> dict[str, int]:
    """Return the groups that have such services, each with its port on the appliance.

    A hash of the name and not a number in order: while new rules come into force no port may belong
    to another group for a moment.
    """
    taken: dict[int, str] = {}
    for group in plan.groups:
        if strict_services(plan, group.name):
            port = FIRST_PORT + zlib.crc32(group.name.encode()) % PORTS
            while port in taken:
                port = FIRST_PORT + (port + 1 - FIRST_PORT) % PORTS
            taken[port] = group.name
    return {name: port for port, name in taken.items()}


def names(plan: Plan, group: str) -> tuple[Domain, ...]:
    """Return the names that a group's hellos may carry: those of all its services.

    An address may serve several of them; none of these names opens what the group may not reach.
    """
    services = plan.group[group].services
    return tuple(sorted({domain for name in services for domain in plan.service[name].domains}))


def may_name(plan: Plan, group: str, name: str) -> bool:
    """Say whether a hello with this name passes for a group."""
    name = name.lower()
    return not any(ban.covers(name) for ban in plan.never_domains) and any(
        domain.covers(name) for domain in names(plan, group)
    )
