"""Which of the rules a lab plays: its three tablets, where each is at home, and how the site is wired."""

from ipaddress import ip_interface, ip_network
from pathlib import Path

from netguard.adapters import clock
from netguard.core.policy import Policy, Site, Tablet
from netguard.errors import NetguardError
from netguard.lab import furnish, topology, world
from netguard.rules.findings import errors
from netguard.rules.folder import read_folder
from netguard.rules.load import load


def policy_of(folder: Path) -> Policy:
    """Read a folder of rules; raises NetguardError where it has errors."""
    loaded = load(read_folder(folder), today=clock.today())
    if loaded.policy is None:
        shown = "\n".join(finding.render() for finding in errors(loaded.findings)[:20])
        raise NetguardError(f"{shown}\nthe lab needs rules without errors: netguard check {folder}")
    return loaded.policy


def three(policy: Policy, site: Site) -> dict[str, Tablet]:
    """Return the tablets that t1, t2 and t3 are: T-001 to T-003, else the first three of the site."""
    here = [
        tablet
        for _, tablet in sorted(policy.tablets.items())
        if site.name in policy.groups[tablet.group].sites
    ]
    if len(here) < len(world.TABLETS):
        raise NetguardError(f"the lab needs three tablets at site '{site.name}'")
    return dict(zip(world.TABLETS, here, strict=False))


def home(site: Site, tablet: Tablet) -> str:
    """Return the access point where a tablet is at home."""
    area = site.areas.get(tablet.home[1]) if tablet.home[0] == site.name else None
    aps = [ap for a in ([area] if area else list(site.areas.values())) for ap in a.aps]
    return aps[0] if aps else ""


def wiring(policy: Policy, site: Site, macs: dict[str, str]) -> topology.Wiring:
    """Return how a site is wired, as its rules have it."""
    first = next(iter(site.nas.values()))
    management = ip_network(f"{first.address.network_address}/24", strict=False)
    return topology.Wiring(
        tablet_interface=site.interfaces[0],
        uplink=site.uplink,
        vlans=tuple(furnish.vlans(site)),
        nas_address=str(first.address.network_address),
        nas_gateway=str(ip_interface(f"{management.network_address + 1}/24")),
        resolvers=tuple(str(each.address) for each in policy.resolver.upstream),
        macs=macs,
    )
