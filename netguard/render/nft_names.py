"""What things are called in our nftables table: chains, sets and counters of groups, services and rights.

Names of the rules with a prefix and '_' for '-': `list`, `vlan` or `8x8` alone are syntax errors in nft.
"""

from collections.abc import Iterable

from netguard.core.names import Network
from netguard.core.plan import Grant, GroupPlan, Plan, ServicePlan

TABLE = "netguard"
FAMILY = "inet"


def counter(rule: str) -> str:
    """Return the name of a rule's counter: `patients/jitsi` is `c_patients__jitsi`."""
    return "c_" + rule.replace("/", "__").replace("-", "_")


def learned_set(service: str, version: int) -> str:
    """Return the name of the set that holds what was learned for a service."""
    return f"s_{service.replace('-', '_')}_dns{version}"


def learned_sets_of(service: str, version: int) -> tuple[str, str]:
    """Return the two sets that a learned address goes into: its service's, and all services'.

    The second one only tells what nobody may reach, in one lookup; it is never a right. An eviction
    takes an address out of the first one alone, another service may still hold it.
    """
    return learned_set(service, version), f"learned{version}"


def refusal_counter(group: str, reason: str) -> str:
    """Return the counter of what a group was refused for a reason."""
    return f"r_{nft_word(group)}__{nft_word(reason)}"


def ipv6_counter(site: str) -> str:
    """Return the counter of the IPv6 packets that a site drops."""
    return f"v6_{nft_word(site)}"


def nft_word(name: str) -> str:
    """Return a name of the rules as a word of nft."""
    return name.replace("-", "_")


def group_chain(group: GroupPlan) -> str:
    """Return the chain that judges new flows of a group."""
    return f"g_{nft_word(group.name)}"


def deny_chain(group: GroupPlan) -> str:
    """Return the chain that refuses what no service of a group has."""
    return f"d_{nft_word(group.name)}"


def grant_chain(grant: Grant) -> str:
    """Return the chain of a right: its ports, and its mark."""
    return f"gs_{nft_word(grant.group)}__{nft_word(grant.service)}"


def networks_map(group: GroupPlan) -> str:
    """Return the map from the static networks of a group to what judges them."""
    return f"n_{nft_word(group.name)}"


def named_set(group: str) -> str:
    """Return the set of the MACs of a group with services of `sni: strict`."""
    return f"named_{nft_word(group)}"


def open_set(group: str) -> str:
    """Return the set of the moments at which a group is open, its grace included."""
    return f"open_{nft_word(group)}"


def fresh_set(group: str) -> str:
    """Return the set of the moments at which something new of a group may begin."""
    return f"fresh_{nft_word(group)}"


def shared_services(plan: Plan, group: GroupPlan) -> list[tuple[str, ...]]:
    """Return the combinations of services that have addresses in common."""
    return sorted({each.owners for each in plan.territories[group.name] if len(each.owners) > 1})


def shared_chain(group: GroupPlan, number: int) -> str:
    """Return the chain that asks each of several services with an address in common."""
    return f"gm_{nft_word(group.name)}__{number}"


def refusal_chain(reason: str) -> str:
    """Return the chain that counts, logs and drops for a reason."""
    return f"x_{nft_word(reason)}"


def remote_services(plan: Plan, group: GroupPlan) -> list[str]:
    """Return the services of a group that are not on the appliance."""
    return [name for name in group.services if plan.service[name].local is None]


def remote(plan: Plan) -> tuple[ServicePlan, ...]:
    """Return the services that are not on the appliance."""
    return tuple(service for service in plan.services if service.local is None)


def with_names(plan: Plan) -> tuple[ServicePlan, ...]:
    """Return the services that have names: for the others nothing is ever learned."""
    return tuple(service for service in remote(plan) if service.domains)


def is_remote(plan: Plan, grant: Grant) -> bool:
    """Say whether a right is to something that is not on the appliance."""
    return plan.service[grant.service].local is None


def of_family(networks: Iterable[Network], version: int) -> list[str]:
    """Return the networks of one IP version, as nft writes them."""
    return [str(network) for network in networks if network.version == version]
