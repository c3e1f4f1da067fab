"""What the rules promise, decided on what a kernel really holds: its whole ruleset, everybody's tables.

The claims are those of core/proof.py, and three that only a kernel can break: nobody but a tablet with
its own address gets out, what has lost its right is cut, and nobody outside opens a flow to a tablet.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from netguard.core import proof, reach, regions
from netguard.core.loaded.listing import Listing
from netguard.core.loaded.packets import At, Sender
from netguard.core.loaded.questions import all_asked, sender_field
from netguard.core.loaded.walk import Walker
from netguard.core.names import Address, Network
from netguard.core.plan import Plan
from netguard.core.policy import Policy
from netguard.core.proof import Claim, Packet
from netguard.core.regions import ANYTHING, EVERY4, EVERY6, Region, Spans
from netguard.core.verdict import ESTABLISHED, INVALID, NEW, RELATED

ASSUMED = (
    "It speaks of addresses and ports. An address that a name has opened serves every other name there.",
    "It is about the ruleset with the hash above, as it was listed; a set that the name proxy fills may hold "
    "whatever the address filter lets pass (core/learning.py).",
    "What a group reaches is judged by the first packet of a connection, at any moment: in its hours or not.",
    "Packets that end at the appliance itself are not forwarded and not spoken of.",
    "A device that copies a tablet's MAC and address is taken for that tablet.",
)
_ORDINARY = regions.box(
    regions.of_networks(
        map(ip_network, ("1.0.0.0/8", "10.0.0.0/8", "128.0.0.0/2", "2000::/3", "fd00::/8"))
    ),
    regions.union((number << 16 | 1, number << 16 | 0xFFFF) for number in (6, 17)),
)
# Sources that the kernel forwards nothing of, whatever the rules say (net/ipv4/route.c, net/ipv6/ip6_output.c).
_MARTIAN = regions.of_networks(
    map(
        ip_network,
        ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/128", "::1/128", "fe80::/10", "ff00::/8"),
    )
)
_FAMILIES = ((4, EVERY4), (6, EVERY6))
# No rule names them.
_NOBODYS_MAC, _NOBODYS_INTERFACE = "02:6e:67:00:00:01", "ng-nobodys"
# States of connections that are looked at, each with its mark; None: any mark, _ENDED: that of a right
# that has ended.
_ENDED = -1
_FROM_OUTSIDE = ((NEW, 0), (INVALID, 0), (ESTABLISHED, _ENDED), (ESTABLISHED, None))
_FROM_TABLETS = (*_FROM_OUTSIDE, (RELATED, None))
_ORIGIN = "from outside"


@dataclass(frozen=True, slots=True)
class _Class:
    """Senders that the ruleset and the rules treat alike, by one of them."""

    sender: Sender
    site: str
    group: str | None
    tablet: str


@dataclass(frozen=True, slots=True)
class _Hit:
    """Packets that go where they must not."""

    who: _Class
    at: At
    region: Region


class _Kinds:
    """Addresses by what some tests tell apart: between two edges of them all are alike."""

    def __init__(self, tested: Sequence[Spans]) -> None:
        edges = {first for spans in tested for first, _ in spans}
        edges |= {last + 1 for spans in tested for _, last in spans}
        self._starts = sorted({0, EVERY6[0][0], *edges})
        signs: dict[tuple[bool, ...], int] = {}
        self._signs = [
            signs.setdefault(tuple(_within(start, spans) for spans in tested), len(signs))
            for start in self._starts
        ]

    def sign(self, number: int) -> int:
        """Return the same number for addresses that no test tells apart."""
        return self._signs[bisect_right(self._starts, number) - 1]

    def representatives(self) -> list[Address]:
        """Return one address of each kind and family that the kernel forwards."""
        ordinary = _ORDINARY[0].addresses
        starts = {*self._starts, EVERY4[0][0] + 1, *(first + 1 for first, _ in ordinary)}
        found: dict[tuple[int, int], Address] = {}
        # Those first that a network carries: no loopback, no multicast.
        for start in sorted(starts, key=lambda number: (not _within(number, ordinary), number)):
            version = next((v for v, every in _FAMILIES if _within(start, every)), None)
            if version is not None and not _within(start, _MARTIAN):
                found.setdefault((version, self.sign(start)), regions.address_of(start))
        return list(found.values())


def prove(
    policy: Policy,
    plan: Plan,
    rows: Listing,
    table: str,
    learned: Mapping[str, str],
    strange: Sequence[str] = (),
) -> tuple[Claim, ...]:
    """Decide every promise about what is loaded.

    `learned`: by set of ours, the service it is filled for, empty for all. `strange`: what else the
    machine has that could pass or change packets and that no listing shows (tc, XDP, legacy tables).
    """
    return tuple(_Proof(policy, plan, rows, table, learned, strange).claims())


class _Proof:
    def __init__(
        self,
        policy: Policy,
        plan: Plan,
        rows: Listing,
        table: str,
        learned: Mapping[str, str],
        strange: Sequence[str],
    ) -> None:
        self.policy, self.plan = policy, plan
        self.walker = Walker(rows, _admitted(plan, learned), table)
        self.walker.strange.update(dict.fromkeys(strange))
        self.rows = rows
        self.bindings = {(b.site, str(b.mac)): b for b in plan.bindings}
        self.tablets = {mac for _, mac in self.bindings}
        self.mark = _unused_mark(rows)
        self.count = 0
        self.passing: list[tuple[_Class, list[At]]] = []
        self.offloads: list[tuple[_Class, At]] = []
        for who in self._classes():
            self.count += 1
            found = self.walker.passing(who.sender)
            if found:
                self.passing.append((who, found))
            self.offloads += ((who, at) for at in self.walker.offloads)

    # who sends

    def _classes(self) -> Iterator[_Class]:
        tested = _sources_asked(self.rows)
        tested += [
            regions.of_networks([n]) for e in self.policy.protected.values() for n in e.networks
        ]
        tested += [regions.of_networks(site.networks) for site in self.plan.sites]
        kinds = _Kinds(tested)
        sources = kinds.representatives()
        known = self._known(kinds)
        for site in self.plan.sites:
            for interface in site.interfaces:
                yield from self._inside(site.name, interface, known, sources)
        yield from self._outside(sources, [mac for mac, _ in known if mac not in self.tablets])

    def _outside(self, sources: Sequence[Address], macs: Sequence[str]) -> Iterator[_Class]:
        """Yield who sends to tablets by any interface that is not theirs."""
        inside = {name for site in self.plan.sites for name in site.interfaces}
        interfaces = {site.uplink for site in self.plan.sites} | _interfaces_asked(self.rows)
        for interface in sorted({*interfaces, _NOBODYS_INTERFACE} - inside):
            site = next((s.name for s in self.plan.sites if s.uplink == interface), interface)
            for mac in macs:
                for source in sources:
                    for state, mark in _FROM_OUTSIDE:
                        given = self.mark if mark == _ENDED else mark
                        sender = Sender(interface, mac, source, state, given)
                        yield _Class(sender, site, None, _ORIGIN)

    def _inside(
        self,
        site: str,
        interface: str,
        known: Iterable[tuple[str, tuple[Address, ...]]],
        sources: Sequence[Address],
    ) -> Iterator[_Class]:
        for mac, own in known:
            binding = self.bindings.get((site, mac))
            for source in (*own, *(each for each in sources if each not in own)):
                group = None
                if binding is not None and (
                    source == binding.address or (binding.address is None and source in own)
                ):
                    group = binding.group
                for state, mark in _FROM_TABLETS:
                    given = self.mark if mark == _ENDED else mark
                    sender = Sender(interface, mac, source, state, given)
                    yield _Class(sender, site, group, binding.tablet if binding is not None else "")

    def _known(self, kinds_of: _Kinds) -> list[tuple[str, tuple[Address, ...]]]:
        """Return one MAC of each kind that the ruleset or the plan tells apart, with its addresses."""
        traits: dict[str, set[object]] = {_NOBODYS_MAC: set()}
        own: dict[str, set[int]] = {}
        for number, (_, fields, held) in enumerate(all_asked(self.rows)):
            who = [sender_field(each) for each in fields]
            if "mac" not in who:
                continue
            at = who.index("mac")
            sources = [i for i, kind in enumerate(who) if kind == "source"]
            others = [i for i in range(len(fields)) if i != at and i not in sources]
            for parts, value in held:
                mac = str(parts[at])
                rest = tuple(parts[i] for i in others)
                traits.setdefault(mac, set()).add((number, rest, str(value)))
                own.setdefault(mac, set()).update(
                    bound
                    for i in sources
                    if not isinstance(span := parts[i], str)
                    for bound in span
                )
        for (site, mac), binding in self.bindings.items():
            traits.setdefault(mac, set()).add((site, binding.group, binding.address is None))
            if binding.address is not None:
                own.setdefault(mac, set()).add(regions.number_of(binding.address))
        kinds: dict[object, str] = {}
        bound_to = {
            (mac, regions.number_of(b.address))
            for (_, mac), b in self.bindings.items()
            if b.address
        }
        for mac, marks in traits.items():
            signs = frozenset(
                ((mac, number) in bound_to, kinds_of.sign(number)) for number in own.get(mac, ())
            )
            kinds.setdefault((frozenset(marks), signs), mac)
        return [
            (mac, tuple(regions.address_of(n) for n in sorted(own.get(mac, ()))))
            for mac in kinds.values()
        ]

    # what is claimed

    def claims(self) -> Iterator[Claim]:
        for name, entry in sorted(self.policy.protected.items()):
            for network in entry.networks:
                yield self._never(
                    name, network, f"no packet of {self.count} kinds of senders, nor back"
                )
        for site in self.plan.sites:
            for network in site.networks:
                what = "no tablet reaches another"
                yield self._never(f"tablets of {site.name}", network, what, back=False)
        for group in self.plan.group:
            yield self._only(group)
        yield self._nobody_else()
        yield self._ended()
        for site in self.plan.sites:
            yield self._inbound(site.name, site.networks)

    def _never(self, subject: str, network: Network, why: str, *, back: bool = True) -> Claim:
        region = regions.box(regions.of_networks([network]), ANYTHING)
        tablets = self._tablet_networks()
        # Senders of one kind share what passes.
        reached: dict[int, Region] = {}

        def wrong(who: _Class, at: At) -> Region:
            if who.tablet == _ORIGIN:
                inside = back and _in(who.sender.source, network)
                return regions.both(at.region, tablets) if inside else ()
            if id(at) not in reached:
                reached[id(at)] = regions.both(at.region, region)
            return reached[id(at)]

        return self._claim("never", subject, str(network), why, wrong, offloaded=True)

    def _only(self, group: str) -> Claim:
        services = self.policy.groups[group].allow
        world = tuple(box for name in services for box in proof.world(self.policy, name))

        def wrong(who: _Class, at: At) -> Region:
            first = who.sender.state in {NEW, INVALID}
            return regions.without(at.region, world) if first and who.group == group else ()

        what = f"reaches {', '.join(services) or 'nothing'} and nothing else"
        tablets = len({b.tablet for b in self.plan.bindings if b.group == group})
        return self._claim("only", group, what, f"for {tablets} tablets", wrong)

    def _nobody_else(self) -> Claim:
        def wrong(who: _Class, at: At) -> Region:
            first = who.sender.state in {NEW, INVALID}
            stranger = who.group is None and who.tablet != _ORIGIN
            return at.region if first and stranger else ()

        what = "no tablet, or not with its own address: reach nothing"
        return self._claim("only", "other devices", what, "of no MAC and no address", wrong)

    def _ended(self) -> Claim:
        def wrong(who: _Class, at: At) -> Region:
            cut = who.sender.state == ESTABLISHED and who.sender.ct_mark == self.mark
            return at.region if cut and who.tablet != _ORIGIN else ()

        what = "whose service is withdrawn: cut"
        why = "an open flow passes by its grant alone"
        return self._claim("never", "flows", what, why, wrong, offloaded=True)

    def _inbound(self, site: str, networks: Iterable[Network]) -> Claim:
        tablets = regions.box(regions.of_networks(networks), ANYTHING)

        def wrong(who: _Class, at: At) -> Region:
            opened = who.tablet == _ORIGIN and (who.sender.state, who.sender.ct_mark) != (
                ESTABLISHED,
                None,
            )
            return regions.both(at.region, tablets) if opened else ()

        what = f"opens a flow to a tablet of {site}"
        return self._claim("never", "anybody outside", what, "no first packet comes in", wrong)

    def _tablet_networks(self) -> Region:
        return regions.box(
            regions.of_networks(n for site in self.plan.sites for n in site.networks), ANYTHING
        )

    def _claim(
        self,
        kind: str,
        subject: str,
        what: str,
        why: str,
        wrong: Callable[[_Class, At], Region],
        *,
        offloaded: bool = False,
    ) -> Claim:
        hits = [
            _Hit(who, at, region) for who, found in self.passing for at in found
            if (region := wrong(who, at))
        ]  # fmt: skip
        sure = next((hit for hit in hits if not hit.at.doubts), None)
        if sure is not None:
            return Claim(kind, subject, what, False, self._said(sure), self._packet(sure))
        if offloaded and self.offloads:
            who, at = self.offloads[0]
            hit = _Hit(who, at, at.region)
            said = f"open flows go past every rule once they are in a flowtable, by {at.rules[-1]}"
            return Claim(kind, subject, what, False, said, self._packet(hit))
        doubts = [*(doubt for hit in hits for doubt in hit.at.doubts), *self.walker.strange]
        if doubts:
            shown = "; ".join(list(dict.fromkeys(doubts))[:3])
            return Claim(kind, subject, what, False, f"not understood: {shown}", unproven=True)
        return Claim(kind, subject, what, True, why)

    def _said(self, hit: _Hit) -> str:
        rules = hit.at.rules
        decided = next(
            (r for r in reversed(rules) if not r.endswith(("policy accept", "masquerade", "snat"))),
            "no rule at all",
        )
        return f"{self._witness(hit)} passes by {decided}"

    def _witness(self, hit: _Hit) -> reach.Witness:
        region = hit.at.with_region(hit.region).sent
        # One that anybody could send, where there is one: no broadcast, no odd protocol.
        found = regions.example(regions.both(region, _ORDINARY) or region)
        assert found is not None  # noqa: S101  # for the type checker: a hit has a packet
        return reach.Witness(*found, hit.at.rules)

    def _packet(self, hit: _Hit) -> Packet:
        found, who = self._witness(hit), hit.who
        return Packet(
            site=who.site, group=who.group or "no tablet", tablet=who.tablet, mac=who.sender.mac,
            source=str(who.sender.source), state=who.sender.state,
            destination=str(found.destination), protocol=found.protocol, port=found.port,
            rules=hit.at.rules,
        )  # fmt: skip


def _admitted(plan: Plan, learned: Mapping[str, str]) -> dict[str, Spans]:
    """Return what the address filter may let into each learned set, by its name."""
    of_service = {service.name: reach.learnable(plan, service) for service in plan.services}
    everything = regions.union(span for spans in of_service.values() for span in spans)
    found = {}
    for name, service in learned.items():
        family = EVERY6 if name.endswith("6") else EVERY4
        found[name] = regions.meet(of_service[service] if service else everything, family)
    return found


def _within(number: int, spans: Spans) -> bool:
    return any(first <= number <= last for first, last in spans)


def _in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _sources_asked(rows: Listing) -> list[Spans]:
    """Return the sets of addresses that some rule compares a packet's source with.

    Those beside a MAC are that MAC's own (_known).
    """
    found: list[Spans] = []
    for _, fields, held in all_asked(rows):
        who = [sender_field(each) for each in fields]
        for i, kind in enumerate(who):
            if kind == "source" and "mac" not in who:
                spans = (parts[i] for parts, _ in held)
                found.append(regions.union(span for span in spans if not isinstance(span, str)))
    return found


def _interfaces_asked(rows: Listing) -> set[str]:
    return {
        str(parts[i]).replace("*", "0")
        for _, fields, held in all_asked(rows)
        for i, field in enumerate(fields)
        if sender_field(field) == "interface"
        for parts, _ in held
    }


def _unused_mark(rows: Listing) -> int:
    """Return a connection mark that no rule and no set names: what was granted and is no more."""
    used = {
        part[0]
        for table in rows.sets.values()
        for parts, _ in table.elements
        for part in parts
        if not isinstance(part, str)
    }
    text = str([rule.expressions for rule in rows.rules()])
    mark = 0x6E670001
    while mark in used or str(mark) in text:
        mark += 1
    return mark
