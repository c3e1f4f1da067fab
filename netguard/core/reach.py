"""What every packet of a group may do: the rules of `verdict` as regions, in the same order.

`verdict` judges one packet; this judges all of them at once. The two are kept apart on purpose and
compared packet by packet (tests/core/test_reach.py), so that neither can be wrong alone. Learned sets
may hold whatever the address filter (learning.py) admits for a service with names.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_network
from typing import NamedTuple

from netguard.core import regions
from netguard.core.intervals import AddressSet
from netguard.core.learning import (
    GLOBAL6,
    SPECIAL4,
    SPECIAL6,
    NameRules,
    canary_names,
)
from netguard.core.names import Address, Network
from netguard.core.plan import GroupPlan, Plan, ServicePlan, SitePlan
from netguard.core.regions import ANYTHING, EVERY4, EVERY6, EVERYWHERE, Box, Region, Spans, box
from netguard.core.verdict import DHCP, DNS, ESTABLISHED, NEW, NOISE_PORTS, NTP, QUIC

# Reaches the destination; reaches the appliance alone; reaches nobody.
PASS, LOCAL, DENY = "pass", "local", "deny"
# Where a packet claims to come from: the tablet's own address, none yet, another one, IPv6.
OWN, NONE, OTHER, SIX = "own", "none", "other", "six"
SOURCES = (OWN, NONE, OTHER, SIX)
_TCP = regions.of_protocol("tcp")


class Rule(NamedTuple):
    """One rule: its id, what it does, to which packets. `certain` is what it surely takes.

    They differ where it hangs on what was learned: a rule that lets pass is judged by all that may
    have been learned, one that refuses by nothing of it.
    """

    id: str
    action: str
    region: Region
    certain: Region


@dataclass(frozen=True, slots=True)
class Sender:
    """A class of packets that are judged alike: a site, a group (None: a MAC of no tablet)."""

    site: str
    group: str | None
    source: str = OWN
    state: str = NEW


Learned = Mapping[str, Spans]


def name_rules(plan: Plan) -> NameRules:
    """Return what the name proxy of a node with this plan goes by."""
    own: set[Network] = {network for site in plan.sites for network in site.networks}
    return NameRules(
        domains={service.name: service.domains for service in plan.services},
        allow_private={s.name: AddressSet(s.allow_private) for s in plan.services},
        group_services={group.name: group.services for group in plan.groups},
        never=plan.never_domains,
        canaries=canary_names(plan.resolver.canaries),
        protected=plan.shield,
        own=AddressSet(own | _hosts(plan)),
    )


def _hosts(plan: Plan) -> set[Network]:
    addresses = [gateway for site in plan.sites for gateway in site.gateways]
    addresses += [upstream.address for upstream in plan.resolver.upstream]
    return {ip_network(address) for address in addresses}


def learnable(plan: Plan, service: ServicePlan) -> Spans:
    """Return every address that may be learned for a service: what NameRules.refusal lets pass.

    Of IPv6 a little more: an address that carries a refused IPv4 address inside is counted in.
    """
    if not service.domains or service.local is not None:
        return ()
    some = regions.union(public() + regions.of_networks(service.allow_private))
    never = {*plan.protected, *(n for site in plan.sites for n in site.networks), *_hosts(plan)}
    return regions.less(some, regions.of_networks(never))


@cache
def public() -> Spans:
    """Return the addresses that are nothing special: public unicast of both families."""
    four = regions.less(EVERY4, regions.of_networks(SPECIAL4))
    return four + regions.less(regions.of_networks([GLOBAL6]), regions.of_networks(SPECIAL6))


def rules_from_outside(plan: Plan) -> tuple[Rule, ...]:
    """Return the rules for what comes to tablets from elsewhere, by where it comes from."""
    protected = box(regions.of_networks(plan.protected), ANYTHING)
    every = box(EVERYWHERE, ANYTHING)
    return (
        Rule("protected-reply", DENY, protected, protected),
        Rule("established", PASS, every, every),
        Rule("inbound", DENY, every, every),
    )


def rules_of(plan: Plan, sender: Sender, learned: Learned | None = None) -> tuple[Rule, ...]:
    """Return the rules for a class of packets from a tablet, in their order; the last takes all.

    `learned`: what was learned by service; without it all that may be.
    """
    return tuple(_Rules(plan, sender, learned).all())


class _Rules:
    """Builds the list of one class."""

    def __init__(self, plan: Plan, sender: Sender, learned: Learned | None) -> None:
        self.plan, self.sender = plan, sender
        self.site: SitePlan = plan.site[sender.site]
        self.given = learned
        self.found: list[Rule] = []

    def add(self, id_: str, action: str, region: Region, certain: Region | None = None) -> None:
        if region:
            self.found.append(Rule(id_, action, region, region if certain is None else certain))

    def all(self) -> list[Rule]:
        plan, sender = self.plan, self.sender
        self.add("protected", DENY, box(regions.of_networks(plan.protected), ANYTHING))
        if sender.source == NONE:
            self.add("dhcp", LOCAL, box(EVERYWHERE, _ports("udp", DHCP)))
        self.add("ipv6", DENY, box(EVERYWHERE if sender.source == SIX else EVERY6, ANYTHING))
        group = plan.group[sender.group] if sender.group is not None else None
        if group is None:
            self.add("unknown-mac", DENY, box(EVERYWHERE, ANYTHING))
        elif sender.source != OWN:
            self.add("anti-spoof", DENY, box(EVERYWHERE, ANYTHING))
        else:
            self._own(group)
        return self.found

    def _own(self, group: GroupPlan) -> None:
        self._gateway(group)
        networks = [network for site in self.plan.sites for network in site.networks]
        self.add("isolation", DENY, box(regions.of_networks(networks), ANYTHING))
        if self.sender.state == ESTABLISHED:
            # Its mark was set when it was opened, by the rule that let its first packet pass.
            for name in group.services:
                self.add(f"{group.name}/{name}", PASS, box(EVERYWHERE, ANYTHING))
        if self.sender.state != NEW:
            self.add("no-grant", DENY, box(EVERYWHERE, ANYTHING))
            return
        services = [self.plan.service[name] for name in group.services]
        for service in services:
            if service.strict:
                self._strict(group, service)
        for service in services:
            ports = regions.of_ports(service.ports)
            networks_only = box(regions.of_networks(service.networks), ports)
            self.add(f"{group.name}/{service.name}", PASS, networks_only)
        for service in services:
            ports = regions.of_ports(service.ports)
            self.add(
                f"{group.name}/{service.name}",
                PASS,
                box(self.most(service), ports),
                box(self.least(service), ports),
            )
        self.add(f"{group.name}/deny", DENY, box(EVERYWHERE, ANYTHING))

    def _strict(self, group: GroupPlan, service: ServicePlan) -> None:
        tcp = regions.meet(regions.of_ports(service.ports), _TCP)
        rule = f"{group.name}/{service.name}"
        self.add(rule, PASS, box(self.most(service), tcp), box(self.least(service), tcp))
        quic = _ports("udp", QUIC)
        every, sure = self.most(service), self.least(service)
        self.add(f"{group.name}/deny", DENY, box(every, quic), box(sure, quic))

    def _gateway(self, group: GroupPlan) -> None:
        ours = regions.of_addresses(self.site.gateways)
        names = regions.union(_ports("tcp", DNS) + _ports("udp", DNS))
        # Multicast and broadcast: no router forwards them.
        link = [n.broadcast_address for n in self.site.networks if n.version == 4]
        onlink = regions.union(
            (*regions.of_addresses(link), *_MULTICAST, *ours, (EVERY4[0][1], EVERY4[0][1]))
        )
        asked = EVERYWHERE if self._catches() else ours
        self.add("resolver", LOCAL, box(asked, names))
        self.add("gateway", LOCAL, box(onlink, _ports("udp", DHCP)))
        self.add("gateway", LOCAL, box(ours, regions.of_protocol("icmp")))
        timed = (n for n in group.services if self.plan.service[n].local == "ntp")
        name = next(timed, None)
        if name is not None:
            self.add(f"{group.name}/{name}", LOCAL, box(ours, _ports("udp", NTP)))
        noise = regions.union(span for port in NOISE_PORTS for span in _ports("udp", port))
        self.add("noise", DENY, box(onlink, noise))
        self.add("gateway", DENY, box(onlink, ANYTHING))

    def _catches(self) -> bool:
        return self.plan.resolver.intercept_port_53 and self.sender.state == NEW

    def most(self, service: ServicePlan) -> Spans:
        """Return all addresses of a service, with whatever may have been learned."""
        if self.given is None:
            extra = learnable(self.plan, service)
        else:
            extra = self.given.get(service.name, ())
        return regions.union(regions.of_networks(service.networks) + extra)

    def least(self, service: ServicePlan) -> Spans:
        """Return the addresses that a service surely has."""
        extra = self.given.get(service.name, ()) if self.given is not None else ()
        return regions.union(regions.of_networks(service.networks) + extra)


_MULTICAST: Spans = ((0xE0000000, 0xEFFFFFFF),)


def _ports(protocol: str, port: int) -> Spans:
    number = regions.PROTOCOLS[protocol] << 16 | port
    return ((number, number),)


class Witness(NamedTuple):
    """One packet that passes: where to, and by which rules, the last one lets it pass."""

    destination: Address
    protocol: str
    port: int
    rules: tuple[str, ...]

    def __str__(self) -> str:
        port = f"/{self.port}" if self.protocol in {"tcp", "udp"} else ""
        return f"{self.destination} {self.protocol}{port}"


def passing(rules: tuple[Rule, ...], target: Region) -> Witness | None:
    """Return a packet of a region that reaches its destination, None where none of them does."""
    left = target
    for at, rule in enumerate(rules):
        if rule.action != PASS:
            left = regions.without(left, rule.certain)
            if not left:
                return None
            continue
        packet = regions.example(regions.both(rule.region, left))
        if packet is not None:
            return Witness(*packet, tuple(dict.fromkeys(r.id for r in rules[: at + 1])))
    return None


def refused(rules: tuple[Rule, ...], target: Region) -> Witness | None:
    """Return a packet of a region that does not reach its destination, None where all of them do."""
    left = target
    for rule in rules:
        if rule.action != PASS:
            packet = regions.example(regions.both(left, rule.region))
            if packet is not None:
                return Witness(*packet, (rule.id,))
        left = regions.without(left, rule.certain)
    return None


def opened(rules: tuple[Rule, ...]) -> dict[str, Region]:
    """Return the packets that pass by rule; a packet that two rules let pass is in both."""
    found: dict[str, Region] = {}
    cut: list[Box] = []
    for rule in rules:
        if rule.action == PASS:
            left = regions.without(rule.region, cut)
            found[rule.id] = found.get(rule.id, ()) + left
        else:
            cut.extend(rule.certain)
    return found
