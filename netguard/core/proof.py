"""The proof that a plan keeps what the rules promise: for all packets, or one packet that shows it does not.

`never` (protected networks, names, VLANs, MACs) and `only` (a group's closed world) come from the policy,
what passes comes from the plan that is compiled from it (reach.py): every site, group, source, state of a
connection, both families, with whatever the address filter lets into the learned sets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from netguard.core import reach, regions
from netguard.core.fronts import shared
from netguard.core.names import Address, Domain
from netguard.core.plan import Plan
from netguard.core.policy import Policy
from netguard.core.reach import Rule, Sender, Witness
from netguard.core.regions import ANYTHING, Region, Spans
from netguard.core.verdict import ESTABLISHED, INVALID, NEW

STATES = (NEW, ESTABLISHED, INVALID)
# What the proof takes for given; whoever reads it must know.
ASSUMED = (
    "It speaks of addresses and ports. An address that a name has opened serves every other name there.",
    "It is about the plan compiled from these rules. That the ruleset with the hash above means the same is "
    "shown by tests with real packets, not by this proof; that the kernel holds it, guard looks every minute.",
    "Learned sets hold what the address filter lets pass (core/learning.py), and nothing else.",
    "What a group reaches is judged by the first packet of a connection. One that is open goes on while its right "
    "is in force, also to an address that the rules no longer name; never to what is protected.",
    "Hours are taken as open, and no tablet as lost: both only close.",
    "A device that copies a tablet's MAC and address is taken for that tablet.",
)


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet that refutes a claim: whose it is, where it goes, the rules it passes, the last decides."""

    site: str
    group: str
    tablet: str
    mac: str
    source: str
    state: str
    destination: str
    protocol: str
    port: int
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """One promise of the rules: `never` or `only`, of what, whether it holds, else what shows that.

    `unproven`: neither proved nor refuted, `why` names what was not understood.
    """

    kind: str
    subject: str
    what: str
    holds: bool
    why: str
    packet: Packet | None = None
    unproven: bool = False

    @property
    def outcome(self) -> str:
        """Return the one word for it."""
        if self.unproven:
            return "NOT PROVEN"
        return "proved" if self.holds else "REFUTED"

    def __str__(self) -> str:
        return f"{self.subject} {self.what}: {self.outcome}, {self.why}"


class _Classes:
    """All classes of packets of a plan with their rules, made once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rules: dict[Sender, tuple[Rule, ...]] = {}
        for site in plan.sites:
            for group in (*plan.group, None):
                for source in reach.SOURCES:
                    for state in STATES:
                        sender = Sender(site.name, group, source, state)
                        self.rules[sender] = reach.rules_of(plan, sender)
        self.outside = reach.rules_from_outside(plan)

    def reaching(self, region: Region) -> tuple[Sender, Witness] | None:
        """Return a packet of a tablet, or of a device on its side, that reaches a region."""
        for sender, rules in self.rules.items():
            found = reach.passing(rules, region)
            if found is not None:
                return sender, found
        return None


def prove(policy: Policy, plan: Plan) -> tuple[Claim, ...]:
    """Decide every promise of the rules about a plan."""
    classes = _Classes(plan)
    return (
        *_protected(policy, classes),
        *_isolated(policy, classes),
        *_names(policy, plan),
        *_vlans(policy, plan),
        *_macs(policy, plan),
        *_worlds(policy, classes),
    )


def notes(plan: Plan, taken: tuple[str, ...] = ASSUMED) -> tuple[str, ...]:
    """Return what a proof takes for given, and which allowed names share their addresses."""
    return (*taken, *(f"Shared: {each}." for each in shared(plan)))


def _protected(policy: Policy, classes: _Classes) -> Iterator[Claim]:
    count = len(classes.rules)
    for name, entry in sorted(policy.protected.items()):
        for network in entry.networks:
            region = regions.box(regions.of_networks([network]), ANYTHING)
            hit = classes.reaching(region)
            if hit is not None:
                packet = _packet(classes.plan, *hit)
                why = f"{hit[1]} passes by {packet.rules[-1]}"
                yield Claim("never", name, str(network), holds=False, why=why, packet=packet)
                continue
            back = reach.passing(classes.outside, region)
            why = f"no packet in either direction, {count} classes of senders"
            if back is not None:
                why = f"packets from {back.destination} reach tablets by {back.rules[-1]}"
            yield Claim("never", name, str(network), holds=back is None, why=why)


def _isolated(policy: Policy, classes: _Classes) -> Iterator[Claim]:
    for site in classes.plan.sites:
        for network in policy.sites[site.name].networks:
            region = regions.box(regions.of_networks([network]), ANYTHING)
            hit = classes.reaching(region)
            packet = _packet(classes.plan, *hit) if hit is not None else None
            why = "no tablet reaches another"
            if hit is not None:
                why = f"{hit[1]} passes by {hit[1].rules[-1]}"
            yield Claim("never", f"tablets of {site.name}", str(network), hit is None, why, packet)


def _names(policy: Policy, plan: Plan) -> Iterator[Claim]:
    """Decide for each banned name: names that one set of suffixes tells apart are decided alike."""
    filter_ = reach.name_rules(plan)
    allowed = [(s.name, domain) for s in plan.services for domain in s.domains]
    for ban in policy.never.domains:
        tried = {_name_of(ban), *(_name_of(d) for _, d in allowed if ban.covers(_name_of(d)))}
        hit = next(
            (
                (group, name, services)
                for name in sorted(tried)
                for group in plan.group
                if (services := filter_.services_for(group, name))
            ),
            None,
        )
        why = "not resolved for any group"
        if hit is not None:
            why = f"'{hit[1]}' opens addresses to {hit[0]} by {hit[0]}/{hit[2][0]}"
        yield Claim("never", "names", str(ban), holds=hit is None, why=why)


def _name_of(domain: Domain) -> str:
    return f"x.{domain.name}" if domain.wildcard else domain.name


def _vlans(policy: Policy, plan: Plan) -> Iterator[Claim]:
    given = {site.vlan: site.name for site in plan.sites}
    given |= {s.enrolment_vlan: s.name for s in plan.sites if s.enrolment_vlan is not None}
    given |= {s.quarantine_vlan: s.name for s in plan.sites if s.quarantine_vlan is not None}
    for vlan in policy.never.vlans:
        site = given.get(vlan)
        why = "no site gives it" if site is None else f"site '{site}' gives it"
        yield Claim("never", "VLAN", str(vlan), holds=site is None, why=why)


def _macs(policy: Policy, plan: Plan) -> Iterator[Claim]:
    if policy.never.macs:
        hit = next((b for b in plan.bindings if b.mac in policy.never.macs), None)
        why = "none is a tablet" if hit is None else f"{hit.mac} is {hit.tablet}"
        what = f"{len(policy.never.macs)} of clinical equipment"
        yield Claim("never", "MACs", what, holds=hit is None, why=why)


def _worlds(policy: Policy, classes: _Classes) -> Iterator[Claim]:
    """Decide for each group that it reaches what its services name, and nothing else."""
    for name in classes.plan.group:
        hit = next(
            filter(None, (_beyond(policy, c, r, name) for c, r in classes.rules.items())), None
        )
        tablets = len({b.tablet for b in classes.plan.bindings if b.group == name})
        services = policy.groups[name].allow
        what = f"reaches {', '.join(services) or 'nothing'} and nothing else"
        why = f"for {tablets} tablets"
        packet = None
        if hit is not None:
            packet = _packet(classes.plan, *hit)
            why = f"{hit[1]} passes by {packet.rules[-1]}"
        yield Claim("only", name, what, hit is None, why, packet)


def _beyond(
    policy: Policy, sender: Sender, rules: tuple[Rule, ...], name: str
) -> tuple[Sender, Witness] | None:
    # What is open was let in when it was new: its first packet is what is judged.
    if sender.group != name or sender.state == ESTABLISHED:
        return None
    own = {f"{name}/{service}": service for service in policy.groups[name].allow}
    for rule, region in reach.opened(rules).items():
        inside = world(policy, own[rule]) if rule in own else ()
        packet = regions.example(regions.without(region, inside))
        if packet is not None:
            return sender, Witness(*packet, (rule,))
    return None


def world(policy: Policy, name: str) -> Region:
    """Return what the rules say that a service has: its networks, and public addresses of its names."""
    service = policy.services[name]
    addresses: Spans = regions.of_networks(service.networks)
    if service.domains and service.local is None:
        addresses = regions.union(
            (*addresses, *regions.of_networks(service.allow_private), *reach.public())
        )
    return regions.box(addresses, regions.of_ports(service.ports))


def _packet(plan: Plan, sender: Sender, found: Witness) -> Packet:
    bindings: Iterable[tuple[str, str, str, Address | None]] = (
        (b.tablet, b.group, str(b.mac), b.address) for b in plan.bindings if b.site == sender.site
    )
    tablet, _, mac, address = next(
        (each for each in bindings if each[1] == sender.group and each[3] is not None),
        ("", "", "", None),
    )
    source = str(address) if sender.source == reach.OWN and address else sender.source
    return Packet(
        site=sender.site,
        group=sender.group or "no tablet",
        tablet=tablet,
        mac=mac,
        source=source,
        state=sender.state,
        destination=str(found.destination),
        protocol=found.protocol,
        port=found.port,
        rules=found.rules,
    )
