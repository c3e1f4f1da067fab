"""A Plan as what the appliance's own links need: names, VLAN sub-interfaces, addresses, routes.

A tablet interface that is called PARENT.NUMBER is the 802.1Q sub-interface of PARENT with that VLAN,
as vconfig and most distributions name them. The uplink belongs to whoever installed the machine.
"""

from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from netguard.core.plan import Plan, SitePlan

_VLANS = range(1, 4095)
# What a machine knows on its other links: routers, resolvers, the appliance's own monitoring.
_OTHERS = 256


@dataclass(frozen=True, slots=True)
class Link:
    """One interface on the tablets' side; `parent` and `vlan` where it can be made by us."""

    name: str
    parent: str
    vlan: int | None
    addresses: tuple[IPv4Interface | IPv6Interface, ...]


def links(plan: Plan) -> tuple[Link, ...]:
    """Return the tablet interfaces of a plan, by name."""
    return tuple(
        sorted(
            (_link(name, site) for site in plan.sites for name in site.interfaces),
            key=lambda link: link.name,
        )
    )


def _link(name: str, site: SitePlan) -> Link:
    parent, _, number = name.rpartition(".")
    tagged = bool(parent) and number.isdecimal() and int(number) in _VLANS
    addresses = [
        ip_interface(f"{gateway}/{network.prefixlen}")
        for gateway in site.gateways
        for network in site.networks
        if gateway.version == network.version and gateway in network
    ]
    return Link(
        name,
        parent if tagged else "",
        int(number) if tagged else None,
        tuple(sorted(addresses, key=str)),
    )


def neighbours(plan: Plan) -> tuple[int, int, int]:
    """Return how many neighbours the kernel must keep: gc_thresh1, 2 and 3 of arp(7).

    All tablets at once are below the first, where nothing is collected; as many again are below the
    second, for those that change their address. Beyond the third, 1,024 as the kernel comes, a tablet is
    not answered at all ("neighbour table overflow").
    """
    return thresholds(sum(binding.address is not None for binding in plan.bindings))


def thresholds(tablets: int) -> tuple[int, int, int]:
    """Return the same for so many tablets with an address."""
    first = 1 << (_OTHERS + tablets - 1).bit_length()
    return first, 2 * first, 4 * first
