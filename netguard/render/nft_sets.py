"""What stands in the sets and maps of our nftables table: the elements of a Plan, as nft writes them.

Elements are many and move one by one, chains are few: so a change of elements alone is loaded as a
difference. When a group is open stands in a set of moments, for days ahead, and the kernel's clock is
compared with it (nft(8), `meta time`): it opens and closes while nobody of ours lives (docs/adr/0022).
"""

from collections.abc import Iterable

from netguard.core import shaping, sni
from netguard.core.hours import UNJUDGED, Openings, Spans, fresh
from netguard.core.names import Network
from netguard.core.plan import Grant, GroupPlan, Plan
from netguard.core.territories import prefixes
from netguard.render.nft_names import (
    fresh_set,
    named_set,
    networks_map,
    nft_word,
    open_set,
    remote,
    shared_chain,
    shared_services,
)

# Sets with an element for each tablet; without the last one nobody may send.
PER_TABLET = ("class4", "group_number", "tablets", "bind4")
# Static sets and maps: name -> (kind, declaration, elements).
StaticSets = dict[str, tuple[str, str, list[str]]]


def elements(plan: Plan, openings: Openings = UNJUDGED) -> dict[str, list[str]]:
    """Return the elements of each static set and map, as they are written for nft."""
    return {name: listed for name, (_, _, listed) in static_sets(plan, openings).items()}


def static_sets(plan: Plan, openings: Openings) -> StaticSets:
    """Return every set and map whose elements come from the plan, by name."""
    numbers = group_numbers(plan)
    # Of ten thousand tablets each word is made once.
    starts = {s.name: [f'"{interface}" . ' for interface in s.interfaces] for s in plan.sites}
    number = {name: f" : {each:#010x}" for name, each in numbers.items()}
    sets: StaticSets = {
        "tablet_if": ("set", "type ifname", [f'"{i}"' for s in plan.sites for i in s.interfaces]),
        "protected4": ("set", "type ipv4_addr; flags interval", merged(plan.protected, 4)),
        "protected6": ("set", "type ipv6_addr; flags interval", merged(plan.protected, 6)),
        "tablet_net4": (
            "set",
            "type ipv4_addr; flags interval",
            merged((n for site in plan.sites for n in site.networks), 4),
        ),
        "gateway4": (
            "set",
            "type ifname . ipv4_addr",
            [
                f'"{interface}" . {address}'
                for site in plan.sites
                for interface in site.interfaces
                for address in site.gateways
                if address.version == 4
            ],
        ),
        "tablets": (
            "set",
            "type ifname . ether_addr",
            [f"{start}{b.mac.text}" for b in plan.bindings for start in starts[b.site]],
        ),
        # Who may send at all: no lost tablet.
        "bind4": (
            "set",
            "type ifname . ether_addr . ipv4_addr",
            [
                f"{start}{b.mac.text} . {b.address!s}"
                for b in plan.bindings
                if b.address is not None and b.tablet not in plan.loan
                for start in starts[b.site]
            ],
        ),
        # By MAC for what such a tablet sends, by address for what others send to it.
        "lost_mac": ("set", "type ether_addr", sorted({str(b.mac) for b in plan.lost})),
        "lost4": (
            "set",
            "type ipv4_addr",
            sorted({str(b.address) for b in plan.lost if b.address is not None}),
        ),
        **{
            named_set(group): (
                "set",
                "type ether_addr",
                sorted({b.mac.text for b in plan.bindings if b.group == group}),
            )
            for group in sni.ports(plan)
        },
        # Of the groups without hours; the others' stand in rules, beside when they count.
        "grants": (
            "set",
            "type mark",
            [
                f"{g.mark:#010x}"
                for g in sorted(plan.grants, key=lambda g: g.mark)
                if g.group not in openings
            ],
        ),
        **time_sets(plan, openings),
        "group_number": (
            "map",
            "type ether_addr : mark",
            [f"{mac}{number[group]}" for mac, group in groups_by_mac(plan)],
        ),
        # Which class of HTB holds a tablet's packets, both ways.
        "class4": (
            "map",
            "type ipv4_addr : classid",
            [
                f"{address} : {shaping.MAJOR:x}:{minor:x}"
                for address, minor in shaping.class_numbers(plan).items()
            ],
        ),
    }
    for version in (4, 6):
        everything = (n for service in remote(plan) for n in service.networks)
        declaration = f"type ipv{version}_addr; flags interval"
        sets[f"known{version}"] = ("set", declaration, merged(everything, version))
    for group in plan.groups:
        declaration = "type ipv4_addr : verdict; flags interval"
        sets[networks_map(group)] = ("map", declaration, networks_elements(plan, group))
    return sets


def networks_elements(plan: Plan, group: GroupPlan) -> list[str]:
    """Return the elements of a group's map of static networks."""
    chains: dict[tuple[str, ...], str]
    chains = {(name,): f"gs_{nft_word(group.name)}__{nft_word(name)}" for name in group.services}
    chains |= {
        owners: shared_chain(group, n) for n, owners in enumerate(shared_services(plan, group))
    }
    return [f"{each} : jump {chains[each.owners]}" for each in plan.territories[group.name]]


def timed(plan: Plan, openings: Openings) -> list[GroupPlan]:
    """Return the groups whose hours are judged."""
    return [group for group in plan.groups if group.name in openings]


def graceful(plan: Plan, openings: Openings) -> list[GroupPlan]:
    """Return those of them in which what runs may go on after their hours."""
    return [g for g in timed(plan, openings) if g.hours is not None and g.hours.grace]


def time_sets(plan: Plan, openings: Openings) -> StaticSets:
    """Return the sets of moments: when a group is open, and where it has a grace when something may begin.

    Moments are seconds of Unix time; the nanosecond at which a span ends is one of it.
    """
    spans = {open_set(group.name): openings[group.name] for group in timed(plan, openings)}
    for group in graceful(plan, openings):
        spans[fresh_set(group.name)] = fresh(group, openings[group.name])
    return {
        name: ("set", "typeof meta time; flags interval", _moments(each))
        for name, each in spans.items()
    }


def _moments(spans: Spans) -> list[str]:
    return [f"{start}-{end}" for start, end in spans]


def marks(grants: Iterable[Grant]) -> str:
    """Return the marks of rights as an anonymous set of nft."""
    return f"{{ {', '.join(f'{grant.mark:#010x}' for grant in grants)} }}"


def group_numbers(plan: Plan) -> dict[str, int]:
    """Return the numbers by which groups are told apart; 0 is what belongs to no group."""
    return {group.name: group.number for group in plan.groups}


def merged(networks: Iterable[Network], version: int) -> list[str]:
    """Return prefixes of one family without those that lie in another one."""
    if version == 4:
        return prefixes(networks)
    kept: list[Network] = []
    for network in sorted(
        (n for n in networks if n.version == version),
        key=lambda n: (int(n.network_address), n.prefixlen),
    ):
        if not kept or int(network.network_address) > int(kept[-1].broadcast_address):
            kept.append(network)
    return [str(network) for network in kept]


def groups_by_mac(plan: Plan) -> list[tuple[str, str]]:
    """Return each MAC with its group, by MAC."""
    return sorted({(binding.mac.text, binding.group) for binding in plan.bindings})
