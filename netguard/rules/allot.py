"""Which fixed address each tablet has at each site: kept for ever, and the lowest free one if new.

Pure and independent of any order: the same policy gives the same table. Writing allotted.csv is
the caller's (`inventory.write_allotted`).
"""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from netguard.core.names import Address
from netguard.core.policy import Policy, Site, Tablet
from netguard.errors import BadValue
from netguard.rules.sites import reserved

# The first addresses of a network are left to gateways, switches and whoever comes to mend them.
FIRST = 16


def allot(policy: Policy) -> dict[tuple[str, str], Address]:
    """Return the whole table by site and tablet: rows that hold are kept, rows of gone tablets not.

    Raises BadValue when a network is full.
    """
    return {
        (site.name, id_): address
        for site in policy.sites.values()
        if site.addresses == "netguard"
        for id_, address in _at(policy, site).items()
    }


def _at(policy: Policy, site: Site) -> dict[str, Address]:
    network = next(n for n in site.networks if isinstance(n, IPv4Network))
    here = [t for t in policy.tablets.values() if site.name in policy.groups[t.group].sites]
    taken: set[Address] = set(site.gateways)
    taken |= {tablet.address for tablet in policy.tablets.values() if tablet.address is not None}
    rows: dict[str, Address] = {}
    new: list[Tablet] = []
    for tablet in sorted(here, key=lambda tablet: tablet.id):
        own = tablet.address
        if own is not None and any(own in each for each in site.networks):
            continue
        kept = policy.allotted.get((site.name, tablet.id))
        if kept is not None and kept not in taken and _fits(kept, site):
            rows[tablet.id] = kept
            taken.add(kept)
        else:
            new.append(tablet)
    free = _free(network, taken)
    rows |= zip((tablet.id for tablet in new), free, strict=False)
    missing = [tablet.id for tablet in new if tablet.id not in rows]
    if missing:
        text = f"site '{site.name}': {network} is full, {len(missing)} tablets have no address, "
        raise BadValue("not-allotted", f"{text}the first is {missing[0]}: widen the network")
    return rows


def _fits(address: Address, site: Site) -> bool:
    return any(address in each for each in site.networks) and not reserved(address, site.networks)


def _free(network: IPv4Network, taken: set[Address]) -> Iterator[IPv4Address]:
    for number in range(int(network[0]) + FIRST, int(network[-1])):
        if IPv4Address(number) not in taken:
            yield IPv4Address(number)
