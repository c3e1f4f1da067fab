"""May this packet pass? The reference meaning of a Plan for traffic, without I/O.

The kernel's ruleset (render/nftables.py) is the same decision in the same order; tests send real
packets through a real kernel and compare. Each step that was looked at is kept, so that `explain`
can show what decided and what did not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from netguard.core.loans import why_of
from netguard.core.names import Address, Mac
from netguard.core.plan import Binding, GroupPlan, Plan, ServicePlan, SitePlan

ACCEPT, REJECT, DROP = "accept", "reject", "drop"

DNS, DHCP, NTP, DHCP6_SERVER, QUIC = 53, 67, 123, 547, 443
# ICMPv6 router advertisement (RFC 4861 4.2).
ROUTER_ADVERTISEMENT = 134
NEW, ESTABLISHED, RELATED, INVALID = "new", "established", "related", "invalid"
# mDNS, SSDP, LLMNR, NetBIOS: every tablet sends them all day; counted, never logged.
NOISE_PORTS = frozenset({5353, 1900, 5355, 137, 138})


@dataclass(frozen=True, slots=True)
class Flow:
    """One packet and what the kernel's connection tracking knows of it.

    By default the first packet of a flow from the side of the tablets. `interface` is the one it
    comes in by: a tablet interface, or any other for what comes from outside. `protocol` is tcp,
    udp, icmp, icmpv6 or a number; `port` is the destination port, for icmpv6 the type, else 0.
    `mark` is the conntrack mark: the grant that let the flow in, 0 before that.
    """

    interface: str
    mac: Mac
    source: Address
    destination: Address
    protocol: str
    port: int = 0
    source_port: int = 0
    state: str = NEW
    mark: int = 0


class Step(NamedTuple):
    """One rule that was looked at: its id, whether it decided, and what it found."""

    rule: str
    decided: bool
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to the flow, by which rule, and the steps that led there."""

    action: str
    rule: str
    reason: str
    steps: tuple[Step, ...]

    @property
    def allowed(self) -> bool:
        """Say whether the packet passes."""
        return self.action == ACCEPT


# Addresses learned from DNS answers, by service.
LearnedAddresses = Mapping[str, frozenset[Address]]
# Groups with hours: seconds until what runs ends, 0 while closed (core/hours.py: open_for).
SecondsLeft = Mapping[str, int]
ALWAYS: SecondsLeft = MappingProxyType({})
Found = tuple[str, str, str]


def verdict(
    plan: Plan, flow: Flow, learned: LearnedAddresses, left: SecondsLeft = ALWAYS
) -> Verdict:
    """Judge one packet; `learned` is what the kernel's learned sets hold.

    Without `left` the hours of groups are not judged. How many flows a tablet opens is not judged
    either, the kernel counts that (`new-flows`).
    """
    steps: list[Step] = []
    inside = flow.interface in plan.site_of_interface
    rules = _rules(plan, flow, learned, left) if inside else _from_outside(plan, flow, left)
    for rule, found, passed in rules:
        if found is not None:
            action, decided_by, reason = found
            steps.append(Step(decided_by, decided=True, why=reason))
            return Verdict(action, decided_by, reason, tuple(steps))
        steps.append(Step(rule, decided=False, why=passed))
    raise AssertionError("the last rule decides everything")  # pragma: no cover


def _rules(
    plan: Plan, flow: Flow, learned: LearnedAddresses, left: SecondsLeft
) -> Iterator[tuple[str, Found | None, str]]:
    """Yield the rules in the kernel's order: (id, what it decided or None, what it saw)."""
    yield "protected", _protected(plan, flow), f"{flow.destination} is in no protected network"
    site = plan.site_of_interface[flow.interface]
    yield "loan", _loan(plan, flow), "not reported lost, stolen or retired"
    yield "rogue-ra", _rogue_ra(flow), "not a router advertisement"
    yield "dhcp", _dhcp(flow), "not a DHCP request"
    yield "ipv6", _ipv6(flow), "IPv4"
    binding = plan.binding.get((site.name, flow.mac))
    yield "unknown-mac", _unknown(flow, site, binding), f"{flow.mac} is in the inventory"
    assert binding is not None  # noqa: S101  # for the type checker: unknown-mac has decided otherwise
    group = plan.group[binding.group]
    yield f"{group.name}/hours", _hours(group, left), _open_hours(group, left)
    yield "anti-spoof", _spoofed(flow, binding), f"{flow.mac} and {flow.source} belong together"
    yield "gateway", _gateway(plan, flow, site, binding), f"{flow.destination} is not the appliance"
    yield "isolation", _isolation(plan, flow), f"{flow.destination} is no tablet network"
    yield "established", _granted(plan, flow, left), "no flow of a service that is in force"
    yield "rogue-dhcp", _rogue_dhcp(flow), "not a DHCP server's answer"
    yield "no-grant", _no_grant(flow), "a new flow"
    if group.hours is not None and group.hours.grace:
        yield f"{group.name}/hours", _too_late(group, left), "new flows may begin"
    limit = f"at most {plan.new_flow_rate} new flows of one tablet, {plan.new_flow_burst} at once"
    yield "new-flows", None, limit
    # A strict service's flow is turned to the appliance before anything else looks at it.
    for name in group.services:
        if plan.service[name].strict:
            found, why = _named(group, plan.service[name], flow, learned)
            yield f"{group.name}/{name}", found, why
    # Networks that the rules name decide before addresses that were learned.
    for name in group.services:
        found, why = _service(group, plan.service[name], flow, {})
        if found is not None:
            yield f"{group.name}/{name}", found, why
    for name in group.services:
        found, why = _service(group, plan.service[name], flow, learned)
        yield f"{group.name}/{name}", found, why
    reason = f"no service of group '{group.name}' has {flow.destination} on {_shown(flow)}"
    yield f"{group.name}/deny", (group.deny, f"{group.name}/deny", reason), ""


def _from_outside(
    plan: Plan, flow: Flow, left: SecondsLeft
) -> Iterator[tuple[str, Found | None, str]]:
    """Yield the rules for a packet that is to be forwarded to a tablet."""
    yield "protected", _protected(plan, flow), f"{flow.destination} is in no protected network"
    network = plan.shield.covering(flow.source)
    found = None if network is None else (DROP, "protected-reply", f"it comes from {network}")
    yield "protected-reply", found, f"{flow.source} is in no protected network"
    tablet = next((b.tablet for b in plan.lost if b.address == flow.destination), None)
    lost = None if tablet is None else (DROP, "loan", why_of(tablet, plan.loan[tablet]))
    yield "loan", lost, "not to a tablet that is lost, stolen or retired"
    yield "established", _granted(plan, flow, left), "no flow of a service that is in force"
    yield "inbound", (DROP, "inbound", "no tablet has asked for it"), ""


def _granted(plan: Plan, flow: Flow, left: SecondsLeft) -> Found | None:
    for grant in plan.grants:
        if grant.mark == flow.mark and left.get(grant.group, 1) > 0:
            return ACCEPT, grant.rule, f"part of a flow that {grant.rule} has let in"
    return None


def _no_grant(flow: Flow) -> Found | None:
    if flow.state == NEW:
        return None
    if flow.state == INVALID:
        return DROP, "no-grant", "it belongs to no connection and opens none"
    return DROP, "no-grant", "it belongs to a flow that no grant in force has let in"


def _rogue_ra(flow: Flow) -> Found | None:
    if flow.protocol == "icmpv6" and flow.port == ROUTER_ADVERTISEMENT:
        return DROP, "rogue-ra", "a tablet is no router"
    if flow.source.version == 6 and flow.protocol == "udp" and flow.source_port == DHCP6_SERVER:
        return DROP, "rogue-dhcp", "a tablet is no DHCP server"
    return None


def _rogue_dhcp(flow: Flow) -> Found | None:
    if flow.protocol == "udp" and flow.source_port == DHCP:
        return DROP, "rogue-dhcp", "a tablet is no DHCP server"
    return None


def _hours(group: GroupPlan, left: SecondsLeft) -> Found | None:
    if left.get(group.name, 1) > 0:
        return None
    return DROP, f"{group.name}/hours", f"outside the hours {group.hours}"


def still_fresh(group: GroupPlan, left: SecondsLeft) -> int:
    """Return how many seconds something new of a group may still begin: its grace is for what runs."""
    grace = int(group.hours.grace.total_seconds()) if group.hours is not None else 0
    return max(0, left.get(group.name, grace + 1) - grace)


def _too_late(group: GroupPlan, left: SecondsLeft) -> Found | None:
    if still_fresh(group, left) > 0:
        return None
    why = f"after the hours {group.hours}, only what runs goes on for a while"
    return DROP, f"{group.name}/hours", why


def _open_hours(group: GroupPlan, left: SecondsLeft) -> str:
    if group.hours is None:
        return "the group has no hours"
    return f"open, {group.hours}" if group.name in left else f"hours {group.hours} are not judged"


def _protected(plan: Plan, flow: Flow) -> Found | None:
    network = plan.shield.covering(flow.destination)
    if network is None:
        return None
    return DROP, "protected", f"{flow.destination} lies in the protected network {network}"


def _loan(plan: Plan, flow: Flow) -> Found | None:
    # By its MAC alone: whichever address it claims, and at every site of this node.
    tablet = plan.lost_by_mac.get(flow.mac)
    return None if tablet is None else (DROP, "loan", why_of(tablet, plan.loan[tablet]))


def _dhcp(flow: Flow) -> Found | None:
    # A client that has no address yet asks from 0.0.0.0 (RFC 2131 4.1).
    if flow.source.is_unspecified and flow.source.version == 4 and _is(flow, "udp", DHCP):
        return _rogue_dhcp(flow) or (ACCEPT, "dhcp", "a DHCP request to the appliance")
    return None


def _ipv6(flow: Flow) -> Found | None:
    if flow.destination.version == 6 or flow.source.version == 6:
        return DROP, "ipv6", "IPv6 of tablets is dropped and counted"
    return None


def _unknown(flow: Flow, site: SitePlan, binding: Binding | None) -> Found | None:
    if binding is None:
        return DROP, "unknown-mac", f"{flow.mac} is no tablet of site '{site.name}'"
    return None


def _spoofed(flow: Flow, binding: Binding | None) -> Found | None:
    if binding is None or binding.address == flow.source:
        return None
    return (
        DROP,
        "anti-spoof",
        f"{flow.source} is not the address of {binding.tablet}, {binding.address} is",
    )


def _gateway(plan: Plan, flow: Flow, site: SitePlan, binding: Binding | None) -> Found | None:
    ours = flow.destination in site.gateways
    asks = flow.protocol in {"tcp", "udp"} and flow.port == DNS
    # Only what connection tracking takes for a new flow is redirected.
    caught = asks and not ours and plan.resolver.intercept_port_53 and flow.state == NEW
    local = ours or caught or _stays_on_link(flow.destination, site)
    if local and (rogue := _rogue_dhcp(flow)) is not None:
        return rogue
    if asks:
        if ours:
            return ACCEPT, "resolver", "the appliance's resolver"
        if caught:
            return ACCEPT, "resolver", "intercepted: the appliance's resolver answers instead"
    if not local:
        return None
    if _is(flow, "udp", DHCP) or (ours and flow.protocol == "icmp"):
        return ACCEPT, "gateway", "the appliance itself"
    if ours and binding is not None and _is(flow, "udp", NTP):
        services = plan.group[binding.group].services
        name = next((name for name in services if plan.service[name].local == "ntp"), None)
        if name is not None:
            return ACCEPT, f"{binding.group}/{name}", "time from the appliance"
    if flow.protocol == "udp" and flow.port in NOISE_PORTS:
        return DROP, "noise", "local chatter, counted"
    return DROP, "gateway", f"the appliance answers no {_shown(flow)} of this tablet"


def _stays_on_link(address: Address, site: SitePlan) -> bool:
    """Say whether routers never forward this destination: multicast and broadcast."""
    if address.is_multicast or str(address) == "255.255.255.255":
        return True
    return any(n.version == 4 and address == n.broadcast_address for n in site.networks)


def _isolation(plan: Plan, flow: Flow) -> Found | None:
    for site in plan.sites:
        for network in site.networks:
            if network.version == flow.destination.version and flow.destination in network:
                return DROP, "isolation", f"{flow.destination} is on the tablets' side, {network}"
    return None


def _service(
    group: GroupPlan, service: ServicePlan, flow: Flow, learned: LearnedAddresses
) -> tuple[Found | None, str]:
    network = next((n for n in service.networks if _inside(flow.destination, n)), None)
    known = flow.destination in learned.get(service.name, frozenset())
    if network is None and not known:
        return None, f"{flow.destination} is not an address of '{service.name}'"
    ports = next((p for p in service.ports if p.covers(flow.protocol, flow.port)), None)
    if ports is None:
        return None, f"'{service.name}' has no {_shown(flow)}, ports: {_listed(service)}"
    source = f"in its network {network}" if network is not None else "learned from its names"
    reason = f"{flow.destination} {source}, port {ports}"
    return (ACCEPT, f"{group.name}/{service.name}", reason), ""


def _named(
    group: GroupPlan, service: ServicePlan, flow: Flow, learned: LearnedAddresses
) -> tuple[Found | None, str]:
    """Judge a flow to a service of `sni: strict`: its TLS by the name, QUIC not at all."""
    found, why = _service(group, service, flow, learned)
    if found is not None and flow.protocol == "tcp":
        action, rule, reason = found
        return (action, rule, f"{reason}; sni: strict, its TLS must name the server"), why
    theirs = flow.destination in learned.get(service.name, frozenset()) or any(
        _inside(flow.destination, network) for network in service.networks
    )
    if theirs and _is(flow, "udp", QUIC):
        reason = (
            f"{flow.destination} is one of '{service.name}' with sni: strict, QUIC hides the name"
        )
        return (group.deny, f"{group.name}/deny", reason), ""
    return None, why or f"'{service.name}' is strict about TLS only"


def _inside(address: Address, network: object) -> bool:
    return getattr(network, "version", 0) == address.version and address in network  # type: ignore[operator]  # versions agree


def _is(flow: Flow, protocol: str, port: int) -> bool:
    return flow.protocol == protocol and flow.port == port


def _listed(service: ServicePlan) -> str:
    return ", ".join(str(ports) for ports in service.ports) or "none"


def _shown(flow: Flow) -> str:
    return f"{flow.protocol}/{flow.port}" if flow.protocol in {"tcp", "udp"} else flow.protocol
