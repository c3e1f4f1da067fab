"""The facts about cables and the boxes behind them, for core/doctor/cabling.py.

What a tablet would send is sent from the gateway's own address: it lies in the tablets' network, so
that NAT or the hospital's route back has to work for it as for a tablet. It leaves by the hooks of
this machine and not by those of forwarding: what our own ruleset says of tablets is `netguard explain`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from netguard.adapters import clock, knocking, machine, network, nft
from netguard.core.doctor import cabling, exits, node
from netguard.core.doctor.cabling import Asked, Back, Exit, Knock, Link, Route, Timed
from netguard.core.doctor.findings import Finding, Outcome, ok, unchecked
from netguard.core.names import Address, Upstream
from netguard.core.plan import Plan, SitePlan
from netguard.daemon.doctor.checks import Check, Once
from netguard.daemon.doctor.known import Known
from netguard.errors import EnforcementError
from netguard.render import nft_names

DEADLINE = 4.4
_NAMES_PATIENCE, _KNOCK_PATIENCE = 0.8, 1.3
# Of the second round, which only tells whether the way back is what fails.
_FEW = 8
_NO_NAMES = ("example.com",)


def checks(known: Known) -> list[Check]:
    """Return the checks of the cabling."""
    cables = _Cables(known)
    return [
        Check((cabling.SIDE, cabling.GATEWAY), cables.side),
        Check((cabling.DUPLICATE,), cables.duplicates),
        Check((cabling.UPLINK, cabling.ROUTE), cables.uplink),
        Check((cabling.RESOLVERS,), cables.resolvers, DEADLINE),
        Check((cabling.CLOCKS,), cables.time_servers, DEADLINE),
        Check((cabling.BACK, cabling.SERVICES), cables.ways, DEADLINE),
        Check((node.CLOCK,), cables.clock, DEADLINE),
    ]


@dataclass(frozen=True, slots=True)
class _Names:
    """What the resolvers said: how each answered, and the addresses of the services' names."""

    asked: tuple[Asked, ...]
    found: dict[str, list[Address]]


@dataclass(frozen=True, slots=True)
class _Round:
    """What was tried from a site's gateway: how its way back is judged, and how each try went."""

    findings: tuple[Finding, ...]
    knocked: tuple[Knock, ...]


class _Cables:
    def __init__(self, known: Known) -> None:
        self._known = known
        self._links = Once(network.links)
        self._way = Once(self._look_at_uplink)
        self._names = Once(self._ask_names)

    # our own links

    def side(self) -> Iterable[Finding]:
        plan, told = self._known.needed(), "; ".join(self._known.guard_says("network"))
        for site in plan.sites:
            links = [self._link(name) for name in site.interfaces]
            yield from cabling.side(site.name, links, told)
            wanted = [
                f"{gateway}/{net.prefixlen}"
                for gateway in site.gateways
                for net in site.networks
                if gateway.version == net.version and gateway in net
            ]
            yield from cabling.gateways(site.name, links, wanted)

    def _link(self, name: str) -> Link:
        seen = self._links.get().get(name)
        if seen is None:
            return Link(name, there=False)
        return Link(name, True, seen.up, seen.carrier, seen.addresses)

    def duplicates(self) -> Iterable[Finding]:
        answers = []
        for site in self._known.needed().sites:
            for name in site.interfaces:
                link = self._link(name)
                if link.up and link.carrier:
                    for gateway in site.gateways:
                        if gateway.version == 4:
                            macs = network.arp(name, str(gateway))
                            answers += [(name, str(gateway), mac) for mac in macs]
        return cabling.duplicates(answers)

    def _look_at_uplink(self) -> list[Finding]:
        found: list[Finding] = []
        for name in sorted({site.uplink for site in self._known.needed().sites}):
            link = self._link(name)
            interface, hop = network.default_route()
            answers: bool | None = None
            if hop and interface == name and link.up and link.carrier and link.addresses:
                source = link.addresses[0].partition("/")[0]
                try:
                    answers = bool(network.arp(name, hop, source))
                except EnforcementError:
                    answers = None
            found += cabling.uplink(link)
            found += cabling.default_route(link, Route(interface, hop, answers))
        return found

    def uplink(self) -> Iterable[Finding]:
        return self._way.get()

    def _cut(self) -> str:
        """Return what already keeps everything from leaving, empty where nothing is known to."""
        wrong = [finding for finding in self._way.get() if finding.cries]
        return f"{wrong[0].text} ({wrong[0].code})" if wrong else ""

    # resolvers and clocks

    def _ask_names(self) -> _Names:
        plan = self._known.needed()
        wanted = exits.wishes(plan)
        names = [name for wish in wanted for name in (*wish.names, *wish.guesses)]
        names = names or list(_NO_NAMES)
        asked: list[Asked] = []
        found: dict[str, list[Address]] = {}
        questions = [Once(partial(self._ask, each, names)) for each in plan.resolver.upstream]
        for each in questions:
            each.begin()
        for question in questions:
            upstream, answers, ms, why = question.get()
            asked.append(Asked(str(upstream), ms, why))
            found = {**answers, **{name: a for name, a in found.items() if a}}
        return _Names(tuple(asked), found)

    def _ask(
        self, upstream: Upstream, names: Sequence[str], source: str = ""
    ) -> tuple[Upstream, dict[str, list[Address]], float | None, str]:
        authorities = self._known.settings.paths.resolver_authorities
        found, ms, why = knocking.ask_names(upstream, names, _NAMES_PATIENCE, source, authorities)
        return upstream, found, ms, why

    def resolvers(self) -> Iterable[Finding]:
        names = self._names.get()
        found = cabling.resolvers(names.asked)
        cut = self._cut()
        if cut and any(finding.cries for finding in found):
            return [unchecked(cabling.RESOLVERS, f"nothing leaves: {cut}")]
        return found

    def time_servers(self) -> Iterable[Finding]:
        servers = self._known.needed().time_servers
        seen = []
        for server in servers:
            offset, stratum, why = knocking.ask_time(
                str(server), clock.now().timestamp(), _NAMES_PATIENCE
            )
            seen.append(Timed(str(server), offset, stratum, why))
        found = cabling.time_servers(seen)
        cut = self._cut()
        if cut and any(finding.cries for finding in found):
            return [unchecked(cabling.CLOCKS, f"nothing leaves: {cut}")]
        return found

    def clock(self) -> Iterable[Finding]:
        kernel, error = machine.kernel_clock()
        plan = self._known.plan.get()
        stratum: int | None = None
        gateways = (
            [str(g) for s in plan.sites for g in s.gateways if g.version == 4] if plan else []
        )
        for gateway in gateways[:1]:
            now = clock.now().timestamp()
            offset, said, _ = knocking.ask_time(gateway, now, _NAMES_PATIENCE)
            stratum = said if offset is not None else None
        servers = len(plan.time_servers) if plan else 0
        return node.clock(node.Clock(kernel, stratum, servers, error))

    # the way out

    def ways(self) -> Iterable[Finding]:
        plan, cut = self._known.needed(), self._cut()
        if cut:
            why = f"nothing leaves: {cut}"
            return [unchecked(cabling.BACK, why), unchecked(cabling.SERVICES, why)]
        # Of every site the way back; the services of the first one, for all go the same way on.
        rounds = [Once(partial(self._round, plan, s, s is plan.sites[0])) for s in plan.sites]
        for each in rounds:
            each.begin()
        first, *others = [each.get() for each in rounds]
        found = [*first.findings, *(f for each in others for f in each.findings)]
        if any(finding.outcome is not Outcome.OK for finding in first.findings):
            why = "what tablets send does not come back (NG-D206)"
            return [*found, unchecked(cabling.SERVICES, why)]
        return [*found, *self._services(plan, first.knocked)]

    def _services(self, plan: Plan, knocked: Sequence[Knock]) -> list[Finding]:
        names = self._names.get()
        seen = [
            Exit(
                wish.service,
                tuple(k for k in knocked if k.service == wish.service),
                tuple(name for name in wish.names if not names.found.get(name)),
                wish.unprovable,
            )
            for wish in exits.wishes(plan)
        ]
        if not seen:
            return [ok(cabling.SERVICES, "no group may use a service outside")]
        alive = any(each.ms is not None for each in names.asked)
        return cabling.services(seen, names_work=alive)

    def _round(self, plan: Plan, site: SitePlan, every: bool) -> _Round:
        source = self._source(site)
        if not source:
            why = f"{site.name} has no gateway address to ask from (NG-D202)"
            return _Round((unchecked(cabling.BACK, why),), ())
        # Meanwhile: nft takes half a second for a large table.
        translated = Once(partial(_translated, site))
        translated.begin()
        tries = exits.tries(exits.wishes(plan), self._names.get().found)
        tries = tries if every else tries[:_FEW]
        knocked = _knocked(tries, source, _KNOCK_PATIENCE)
        back = self._back(plan, site, source, knocked, tries, translated)
        return _Round(tuple(cabling.way_back(back)), tuple(knocked))

    def _source(self, site: SitePlan) -> str:
        held = {
            address.partition("/")[0]
            for name in site.interfaces
            for address in self._link(name).addresses
        }
        return next((str(g) for g in site.gateways if g.version == 4 and str(g) in held), "")

    def _back(
        self,
        plan: Plan,
        site: SitePlan,
        source: str,
        knocked: Sequence[Knock],
        tries: Sequence[exits.Try],
        translated: Once[bool | None],
    ) -> Back:
        from_tablets = [_as_asked(knock) for knock in knocked]
        from_uplink: list[Asked] = []
        if not any(each.ms is not None for each in from_tablets):
            # Nothing came back: does the resolver answer us there, and do others where we come from?
            upstream = plan.resolver.upstream[0]
            asked = Once(partial(self._ask, upstream, _NO_NAMES, source))
            asked.begin()
            from_uplink = [_as_asked(k) for k in _knocked(tries[:_FEW], "", _KNOCK_PATIENCE)]
            from_uplink += self._names.get().asked
            _, _, ms, why = asked.get()
            from_tablets.append(Asked(str(upstream), ms, why))
        net = next(n for n in site.networks if n.version == 4)
        return Back(
            site.name,
            str(net),
            source,
            site.masquerade,
            translated.get(),
            tuple(each for each in from_tablets if each.ms is not None) or tuple(from_tablets),
            tuple(from_uplink),
        )


def _as_asked(knock: Knock) -> Asked:
    answered = knock.outcome in {cabling.OPEN, cabling.REFUSED} or (
        knock.outcome == cabling.FORBIDDEN and knock.by != knocking.OURSELVES
    )
    return Asked(f"{knock.target} {knock.port}", 0.0 if answered else None, knock.outcome)


def _knocked(tries: Sequence[exits.Try], source: str, patience: float) -> list[Knock]:
    doors = [knocking.Door(each.address, each.protocol, each.port) for each in tries]
    results = knocking.knock(doors, source, patience)
    return [
        Knock(each.service, each.target, str(each.address), f"{each.protocol}/{each.port}", how, by)
        for each, (how, by) in zip(tries, results, strict=True)
        # Silence of a UDP port says nothing: there it is only counted when something came back.
        if each.protocol == "tcp" or how != cabling.SILENT
    ]


def _translated(site: SitePlan) -> bool | None:
    """Say whether the kernel gives the site's packets the uplink's address; None without our table."""
    if not site.masquerade:
        return False
    policies = asyncio.run(nft.policies(nft_names.FAMILY, nft_names.TABLE))
    if policies is None or "nat_out" not in policies:
        return None
    rules = asyncio.run(nft.rules(nft_names.FAMILY, nft_names.TABLE, "nat_out"))
    return any("masquerade" in each for rule in rules for each in rule["expr"])
