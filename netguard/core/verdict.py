"""May this packet pass? The reference meaning of a Plan for traffic, without I/O.

The kernel's ruleset (render/nftables.py) is the same decision in the same order; tests send real
packets through a real kernel and compare. Each step that was looked at is kept, so that `explain`
can show what decided and what did not.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from netguard.core.loans import why_of
from netguard.core.names import Address, Mac
from netguard.core.plan import Binding, GroupPlan, Plan, ServicePlan, SitePlan

ACCEPT, REJECT, DROP = "accept", "reject", "drop"

DNS, DHCP, NTP = 53, 67, 123
# mDNS, SSDP, LLMNR, NetBIOS: every tablet sends them all day; counted, never logged.
NOISE_PORTS = frozenset({5353, 1900, 5355, 137, 138})


@dataclass(frozen=True, slots=True)
class Flow:
    """The first packet of a flow from the side of the tablets.

    `protocol` is tcp, udp or icmp; `port` is the destination port, 0 for icmp.
    """

    interface: str
    mac: Mac
    source: Address
    destination: Address
    protocol: str
    port: int = 0


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
Found = tuple[str, str, str]


def verdict(plan: Plan, flow: Flow, learned: LearnedAddresses) -> Verdict:
    """Judge a new flow of a tablet; `learned` is what the kernel's learned sets hold."""
    steps: list[Step] = []
    for rule, found, passed in _rules(plan, flow, learned):
        if found is not None:
            action, decided_by, reason = found
            steps.append(Step(decided_by, decided=True, why=reason))
            return Verdict(action, decided_by, reason, tuple(steps))
        steps.append(Step(rule, decided=False, why=passed))
    raise AssertionError("the last rule decides everything")


def _rules(
    plan: Plan, flow: Flow, learned: LearnedAddresses
) -> Iterator[tuple[str, Found | None, str]]:
    """Yield the rules in the kernel's order: (id, what it decided or None, what it saw)."""
    yield "protected", _protected(plan, flow), f"{flow.destination} is in no protected network"
    site = plan.site_of_interface[flow.interface]
    yield "loan", _loan(plan, flow), "not reported lost, stolen or retired"
    yield "dhcp", _dhcp(flow), "not a DHCP request"
    yield "ipv6", _ipv6(flow), "IPv4"
    binding = plan.binding.get((site.name, flow.mac))
    yield "unknown-mac", _unknown(flow, site, binding), f"{flow.mac} is in the inventory"
    yield "anti-spoof", _spoofed(flow, binding), f"{flow.mac} and {flow.source} belong together"
    yield "gateway", _gateway(plan, flow, site, binding), f"{flow.destination} is not the appliance"
    yield "isolation", _isolation(plan, flow), f"{flow.destination} is no tablet network"
    assert binding is not None  # noqa: S101  # for the type checker: unknown-mac has decided otherwise
    group = plan.group[binding.group]
    for name in group.services:
        service = plan.service[name]
        found, why = _service(group, service, flow, learned)
        yield f"{group.name}/{name}", found, why
    reason = f"no service of group '{group.name}' has {flow.destination} on {_shown(flow)}"
    yield f"{group.name}/deny", (group.deny, f"{group.name}/deny", reason), ""


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
        return ACCEPT, "dhcp", "a DHCP request to the appliance"
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
    if flow.protocol in {"tcp", "udp"} and flow.port == DNS:
        if ours:
            return ACCEPT, "resolver", "the appliance's resolver"
        if plan.resolver.intercept_port_53:
            return ACCEPT, "resolver", "intercepted: the appliance's resolver answers instead"
    if not ours and not _stays_on_link(flow.destination, site):
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


def _inside(address: Address, network: object) -> bool:
    return getattr(network, "version", 0) == address.version and address in network  # type: ignore[operator]  # versions agree


def _is(flow: Flow, protocol: str, port: int) -> bool:
    return flow.protocol == protocol and flow.port == port


def _listed(service: ServicePlan) -> str:
    return ", ".join(str(ports) for ports in service.ports) or "none"


def _shown(flow: Flow) -> str:
    return f"{flow.protocol}/{flow.port}" if flow.protocol in {"tcp", "udp"} else flow.protocol
