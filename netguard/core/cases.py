"""The cases that a rules folder carries (rules/tests/), and what the core says of each.

A packet is judged by `verdict` with the addresses that its name opens; `never`, `only` and `always` are
decided for all packets (reach.py); a request by `decide`; events are played through the engine of
presence (stories.py). Pure, so that `netguard test`, `apply` and guard say the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from netguard.core import reach, regions
from netguard.core.admission import Request, decide
from netguard.core.names import Address, Mac, Ports
from netguard.core.plan import Binding, Plan, compile_plan
from netguard.core.policy import Origin, Policy, Site
from netguard.core.reach import Rule, Sender, Witness
from netguard.core.stories import Happening, Told, tell
from netguard.core.verdict import ESTABLISHED, INVALID, NEW, Flow, verdict

ALLOW, DENIED, NEVER, ONLY, EVER = "allow", "deny", "never", "only", "always"
PROVED = frozenset({NEVER, ONLY, EVER})
# A MAC that nobody has bought (RFC 7042 2.1.2): a tablet of a group that has none yet.
_NOBODY = Mac.parse("00:00:5e:00:53:01")
_STATES = (NEW, ESTABLISHED, INVALID)
_BSSID = "00-00-5E-00-53-FF"


@dataclass(frozen=True, slots=True)
class From:
    """Who: one of group (`*` for each), tablet, MAC; at a site, or wherever it is admitted."""

    group: str | None = None
    tablet: str | None = None
    mac: Mac | None = None
    ssid: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class To:
    """Where to: a name, an address, or a protected network (`*` for each)."""

    domain: str | None = None
    address: Address | None = None
    protected: str | None = None
    port: Ports | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to be so; the fields of one kind of case are set."""

    word: str = ""
    by: str | None = None
    services: tuple[str, ...] = ()
    admission: str | None = None
    vlan: int | None = None
    alert: str | None = None
    to: str | None = None
    within: float | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One case; `origin` is where its expectation stands."""

    name: str
    expected: Expected
    sender: From = field(default_factory=From)
    target: To = field(default_factory=To)
    events: tuple[Happening, ...] = ()
    origin: Origin = field(default=Origin("", 0))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: whether it is so, what was expected, what is, and by which rule."""

    case: Case
    passed: bool
    expected: str
    found: str
    rule: str = ""
    origins: tuple[Origin, ...] = ()

    def render(self) -> str:
        """Return a case that fails as text: its place, what was expected, what is so, and why."""
        lines = [
            f"{self.case.origin}: failed: {self.case.name}",
            f"    expected  {self.expected}",
            f"    found     {self.found}",
        ]
        if self.origins:
            lines.append(f"    see       {', '.join(map(str, self.origins))}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Finding:
    """One answer among several that a case asks for."""

    right: bool
    text: str
    rule: str


def judge(policy: Policy, cases: Iterable[Case]) -> Iterator[Outcome]:
    """Judge cases one after the other."""
    judge_ = _Judge(policy)
    for case in cases:
        yield judge_.outcome(case)


class _Judge:
    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._plans: dict[str, Plan] = {}
        self._rules: dict[Sender, tuple[Rule, ...]] = {}

    def plan(self, site: str) -> Plan:
        # A plan for each site: one node may serve any of them.
        if site not in self._plans:
            self._plans[site] = compile_plan(self.policy, [site])
        return self._plans[site]

    def _senders(
        self, plan: Plan, site: str, group: str, states: Iterable[str]
    ) -> Iterator[tuple[Rule, ...]]:
        """Yield the rules for each class of packets from a tablet; made once for all cases."""
        for source in reach.SOURCES:
            for state in states:
                sender = Sender(site, group, source, state)
                if sender not in self._rules:
                    self._rules[sender] = reach.rules_of(plan, sender)
                yield self._rules[sender]

    def outcome(self, case: Case) -> Outcome:
        findings = list(self._findings(case)) or [
            _Finding(False, "no site admits these tablets", "")
        ]
        wrong = [finding for finding in findings if not finding.right]
        shown = wrong[0] if wrong else findings[0]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return Outcome(
            case,
            not wrong,
            _expectation(case),
            shown.text + more,
            shown.rule,
            self._origins(shown.rule),
        )

    def _findings(self, case: Case) -> Iterator[_Finding]:
        if case.events:
            yield _story(case, tell(self.policy, case.events, case.expected.within))
        elif not case.expected.word:
            yield from self._admissions(case)
        elif case.expected.word == ONLY:
            for plan, site, group in self._classes(case.sender):
                yield self._only(plan, site, group, case.expected.services)
        elif case.target.domain is not None:
            for plan, site, group in self._classes(case.sender):
                yield self._name(plan, site, group, case)
        elif case.expected.word in PROVED:
            yield from self._proved(case)
        else:
            for plan, site, group in self._classes(case.sender):
                yield self._packet(plan, site, group, case)

    # whom a case speaks of

    def _classes(self, sender: From) -> Iterator[tuple[Plan, Site, str]]:
        """Yield a plan, a site and a group for each class of tablets that is meant."""
        if sender.tablet is not None:
            tablet = self.policy.tablets[sender.tablet]
            groups, sites = [tablet.group], [sender.site or tablet.home[0]]
        else:
            groups = sorted(self.policy.groups) if sender.group == "*" else [str(sender.group)]
            sites = [sender.site] if sender.site is not None else sorted(self.policy.sites)
        for group in groups:
            for site in sites:
                if site in self.policy.groups[group].sites:
                    yield self.plan(site), self.policy.sites[site], group

    def _stand_in(self, plan: Plan, site: Site, group: str, sender: From) -> tuple[Plan, Flow]:
        """Return a plan with one tablet, and a packet of that tablet to be completed."""
        known = None
        if sender.tablet is not None:
            mac = self.policy.tablets[sender.tablet].mac
            known = plan.binding.get((site.name, mac))
        if known is None or known.address is None:
            network = next(n for n in site.networks if n.version == 4)
            taken = set(site.gateways)
            address = next(a for a in network.hosts() if a not in taken)
            known = Binding(site.name, known.mac if known else _NOBODY, "", group, address)
        source = known.address or ip_address(0)
        nowhere = ip_address("0.0.0.0")  # noqa: S104  # a destination to be replaced
        flow = Flow(site.interfaces[0], known.mac, source, nowhere, "tcp")
        return replace(plan, bindings=(known,)), flow

    # packets

    def _packet(self, plan: Plan, site: Site, group: str, case: Case) -> _Finding:
        alone, flow = self._stand_in(plan, site, group, case.sender)
        address, port = case.target.address, case.target.port
        assert address is not None  # noqa: S101  # for the type checker: the reader has seen to it
        assert port is not None  # noqa: S101  # as above
        flow = replace(flow, destination=address, protocol=port.protocol, port=port.first)
        return _judged(case, site, group, *_verdict(alone, flow, {}))

    def _name(self, plan: Plan, site: Site, group: str, case: Case) -> _Finding:
        """Judge a name: whether it is answered, then the packet to an address it may answer with."""
        name, port = str(case.target.domain), case.target.port
        filter_ = reach.name_rules(plan)
        services = filter_.services_for(group, name)
        if case.expected.word == NEVER:
            return self._name_never(plan, group, name, port, services)
        if not services or filter_.is_canary(name):
            ban = filter_.banned(name)
            rule = "never" if ban else f"{group}/deny"
            why = f"never.domains has '{ban}'" if ban else f"no service of '{group}' has this name"
            return _judged(case, site, group, False, rule, f"'{name}' is not answered, {why}")
        if case.expected.word == EVER:
            return self._name_always(plan, site, group, case, services)
        alone, flow = self._stand_in(plan, site, group, case.sender)
        address = _free_address(plan, services)
        assert port is not None  # noqa: S101  # for the type checker: the reader has seen to it
        flow = replace(flow, destination=address, protocol=port.protocol, port=port.first)
        learned = {service: frozenset({address}) for service in services}
        return _judged(case, site, group, *_verdict(alone, flow, learned))

    def _name_never(
        self, plan: Plan, group: str, name: str, port: Ports | None, services: tuple[str, ...]
    ) -> _Finding:
        for service in services:
            fits = [p for p in plan.service[service].ports if port is None or _meets(p, port)]
            if fits:
                rule = f"{group}/{service}"
                return _Finding(False, f"'{name}' opens {fits[0]} by {rule}", rule)
        return _Finding(True, f"no service of '{group}' opens '{name}'", "")

    def _name_always(
        self, plan: Plan, site: Site, group: str, case: Case, services: tuple[str, ...]
    ) -> _Finding:
        """Prove that whatever address the filter admits for the name passes."""
        port = case.target.port
        assert port is not None  # noqa: S101  # for the type checker: the reader has seen to it
        spans = {name: reach.learnable(plan, plan.service[name]) for name in services}
        rules = reach.rules_of(plan, Sender(site.name, group), spans)
        # IPv6 of tablets is dropped whole: an app goes on with IPv4.
        four = regions.meet(
            regions.EVERY4, regions.union(s for each in spans.values() for s in each)
        )
        every = regions.box(four, regions.of_ports([port]))
        return _always(group, reach.refused(rules, every))

    # what is proved

    def _proved(self, case: Case) -> Iterator[_Finding]:
        services = regions.of_ports([case.target.port]) if case.target.port else regions.ANYTHING
        for plan, site, group in self._classes(case.sender):
            for what, addresses in self._targets(case.target):
                region = regions.box(addresses, services)
                if case.expected.word == EVER:
                    rules = reach.rules_of(plan, Sender(site.name, group))
                    yield _always(group, reach.refused(rules, region))
                    continue
                # A flow that is open was opened by a first packet: of what a service may reach, that
                # one is judged. To what is protected nothing passes, whatever was once open.
                states = _STATES if case.target.protected is not None else (NEW,)
                classes = self._senders(plan, site.name, group, states)
                every = (reach.passing(rules, region) for rules in classes)
                found = next(filter(None, every), None)
                if found is None:
                    yield _Finding(True, f"no packet of '{group}' reaches {what}", "")
                else:
                    text = f"{found} reaches {what} by {found.rules[-1]}, at {site.name}"
                    yield _Finding(False, text, found.rules[-1])

    def _targets(self, target: To) -> Iterator[tuple[str, regions.Spans]]:
        if target.address is not None:
            yield str(target.address), regions.of_addresses([target.address])
            return
        for name, entry in self.policy.protected.items():
            if target.protected in {"*", name}:
                yield f"'{name}'", regions.of_networks(entry.networks)

    def _only(self, plan: Plan, site: Site, group: str, services: tuple[str, ...]) -> _Finding:
        """Prove that a group reaches what these services have, and nothing else."""
        allowed = plan.group[group].services
        found = beyond(plan, site.name, group, services)
        if found is not None:
            rule = found.rules[-1]
            return _Finding(False, f"{found} passes too, by {rule}, at {site.name}", rule)
        unlisted = [name for name in allowed if name not in services]
        if unlisted:
            rule = f"{group}/{unlisted[0]}"
            return _Finding(False, f"'{group}' is allowed '{unlisted[0]}' as well", rule)
        lacking = [name for name in services if name not in allowed]
        if lacking:
            return _Finding(False, f"'{group}' is not allowed '{lacking[0]}'", f"{group}/deny")
        return _Finding(True, f"'{group}' reaches these services and nothing else", "")

    # requests

    def _admissions(self, case: Case) -> Iterator[_Finding]:
        sender = case.sender
        mac = sender.mac or self.policy.tablets[str(sender.tablet)].mac
        for site in self._sites(sender):
            called = f"{_BSSID}:{sender.ssid or site.ssid}"
            attributes = {
                "User-Name": str(mac), "Calling-Station-Id": str(mac), "Called-Station-Id": called,
            }  # fmt: skip
            answer = decide(self.policy, Request(min(site.nas), attributes))
            expected = case.expected
            right = (
                expected.admission in {None, answer.answer}
                and expected.by in {None, answer.rule}
                and expected.vlan in {None, answer.vlan}
            )
            vlan = f", VLAN {answer.vlan}" if answer.vlan is not None else ""
            text = f"{answer.answer}{vlan} by {answer.rule}: {answer.reason}"
            yield _Finding(right, text, answer.rule)

    def _sites(self, sender: From) -> list[Site]:
        """Return where a request comes from: the site named, those with the SSID, else the home."""
        sites = self.policy.sites
        if sender.site is not None:
            return [sites[sender.site]]
        if sender.tablet is not None:
            return [sites[self.policy.tablets[sender.tablet].home[0]]]
        named = [site for _, site in sorted(sites.items()) if site.ssid == sender.ssid]
        return named or [site for _, site in sorted(sites.items())]

    def _origins(self, rule: str) -> tuple[Origin, ...]:
        group, slash, service = rule.partition("/")
        paths: list[tuple[str, ...]] = [("protected",)] if rule == "protected" else []
        if slash and service in self.policy.services:
            paths = [("groups", group, "allow", service), ("services", service)]
        elif slash:
            paths = [("groups", group)]
        found = (self.policy.where(*path) for path in paths)
        return tuple(origin for origin in found if origin is not None)


def beyond(plan: Plan, site: str, group: str, services: Iterable[str]) -> Witness | None:
    """Return a packet that passes and belongs to none of these services, None where there is none.

    What was learned for another service is none of theirs, whatever they have learned themselves.
    """
    listed = [plan.service[name] for name in services if name in plan.service]
    held = [
        each
        for s in listed
        for each in regions.box(regions.of_networks(s.networks), regions.of_ports(s.ports))
    ]
    own = {f"{group}/{service.name}" for service in listed}
    for rule, region in reach.opened(reach.rules_of(plan, Sender(site, group))).items():
        packet = regions.example(regions.without(region, held)) if rule not in own else None
        if packet is not None:
            return Witness(*packet, (rule,))
    return None


def _verdict(
    plan: Plan, flow: Flow, learned: dict[str, frozenset[Address]]
) -> tuple[bool, str, str]:
    found = verdict(plan, flow, learned)
    return found.allowed, found.rule, found.reason


def _judged(case: Case, site: Site, group: str, allowed: bool, rule: str, why: str) -> _Finding:
    expected = case.expected
    right = allowed == (expected.word in {ALLOW, EVER})
    if expected.by is not None:
        # `*/deny`: the refusal of whichever group it is.
        right &= rule == (expected.by.replace("*", group, 1))
    word = "allow" if allowed else "deny"
    return _Finding(right, f"{word} by {rule}, at {site.name}: {why}", rule)


def _always(group: str, found: Witness | None) -> _Finding:
    if found is None:
        return _Finding(True, f"each such packet of '{group}' passes", "")
    return _Finding(False, f"{found} does not pass, by {found.rules[-1]}", found.rules[-1])


def _meets(one: Ports, other: Ports) -> bool:
    return one.protocol == other.protocol and one.first <= other.last and other.first <= one.last


def _free_address(plan: Plan, services: tuple[str, ...]) -> Address:
    """Return an address that may be learned for all of these, and that no service names itself."""
    named = regions.of_networks(n for service in plan.services for n in service.networks)
    spans = regions.EVERY4
    for name in services:
        spans = regions.meet(spans, reach.learnable(plan, plan.service[name]))
    return regions.address_of(regions.less(spans, named)[0][0])


def _story(case: Case, told: list[Told]) -> _Finding:
    """Compare who was told of a story with who should be."""
    expected = case.expected
    if expected.alert == "none":
        text = "nobody is told" if not told else str(told[0])
        return _Finding(not told, text, told[0].rule if told else "")
    hits = [each for each in told if each.rule == expected.alert and expected.to in {None, each.to}]
    if hits:
        return _Finding(True, str(hits[0]), hits[0].rule)
    return _Finding(False, "; ".join(map(str, told[:3])) or "nobody is told", "")


def _expectation(case: Case) -> str:
    expected = case.expected
    if case.events:
        who = f" to {expected.to}" if expected.to else ""
        within = f" within {expected.within:g} s" if expected.within is not None else ""
        what = "no alert" if expected.alert == "none" else f"alert {expected.alert}"
        return f"{what}{who}{within}"
    by = f" by {expected.by}" if expected.by else ""
    if expected.word == ONLY:
        return f"only {', '.join(expected.services) or 'nothing'}"
    if expected.word:
        return f"{expected.word}{by}"
    vlan = f", VLAN {expected.vlan}" if expected.vlan is not None else ""
    return f"{expected.admission or 'an answer'}{vlan}{by}"
