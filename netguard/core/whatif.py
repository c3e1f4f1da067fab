"""What of a recording other rules would answer differently: requests to join, names, flows.

Each is judged under two policies by the same functions that `explain` and `test` use.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from netguard.core import reach
from netguard.core.admission import ACCEPT, Request, decide
from netguard.core.areas import AP_NAME_ATTRIBUTES
from netguard.core.names import Address, Mac, parse_address
from netguard.core.plan import Binding, Plan, compile_plan
from netguard.core.policy import Policy
from netguard.core.usage import ADMISSION, ALLOWED, FLOW, NAME, Seen
from netguard.core.verdict import Flow, verdict

# An AP that no area knows, for a request whose record names none.
_NOWHERE = "02-00-5e-10-00-00"
# Stands for any tablet of a group (RFC 7042 2.1.2: for documentation).
_SOMEBODY = Mac.parse("00:00:5e:00:53:01")


class Answer(NamedTuple):
    """What rules say of a recorded thing: whether it is allowed, by which rule, and more (a VLAN)."""

    allowed: bool
    rule: str
    more: str = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """A recorded thing that two policies answer differently."""

    seen: Seen
    before: Answer
    after: Answer

    @property
    def change(self) -> str:
        """Return "opens", "closes" or "moves" (to another VLAN)."""
        if self.before.allowed == self.after.allowed:
            return "moves"
        return "opens" if self.after.allowed else "closes"

    def __str__(self) -> str:
        seen = self.seen
        what = {
            ADMISSION: f"{seen.mac} at {seen.ap or seen.nas or seen.site} on {seen.ssid or '?'}",
            NAME: f"{seen.group} asks for {seen.name}",
            FLOW: f"{seen.group} to {seen.address} {_port(seen)}",
        }[seen.kind]
        return f"{what}, {seen.times} times: {_told(self.before)} -> {_told(self.after)}"


def _port(seen: Seen) -> str:
    return f"{seen.protocol}/{seen.port}" if seen.port else seen.protocol


def _told(answer: Answer) -> str:
    word = "allowed" if answer.allowed else "refused"
    return f"{word} by {answer.rule}" + (f", {answer.more}" if answer.more else "")


class Judge:
    """Answers recorded things by one policy."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.plan = compile_plan(policy, list(policy.sites))
        self._names = reach.name_rules(self.plan)

    def answer(self, seen: Seen, taught: Sequence[str] = ()) -> Answer | None:
        """Return what the rules say; None where they do not know the site, the group or the NAS.

        `taught` names the services whose names lead to the address of a flow: which name a server
        has is not in a packet.
        """
        if seen.kind == ADMISSION:
            return self._admission(seen)
        if seen.group not in self.policy.groups:
            return None
        if seen.kind == NAME:
            # A name is the same at every site.
            return self._name(seen)
        site = self.policy.sites.get(seen.site)
        if site is None:
            return None
        return self._flow(seen, site.interfaces[0], taught)

    def _admission(self, seen: Seen) -> Answer | None:
        site = self.policy.sites.get(seen.site)
        if site is None or seen.nas not in site.nas:
            return None
        # Behind a BSSID an SSID is certain; behind the name of an AP it may be cut in several places.
        attributes = {
            "User-Name": seen.mac,
            "Calling-Station-Id": seen.mac,
            "Called-Station-Id": f"{_NOWHERE}:{seen.ssid}" if seen.ssid else _NOWHERE,
        }
        if seen.ap:
            attributes[AP_NAME_ATTRIBUTES[0]] = seen.ap
        said = decide(self.policy, Request(seen.nas, attributes))
        vlan = f"VLAN {said.vlan}" if said.vlan is not None else ""
        return Answer(said.answer == ACCEPT, said.rule, vlan)

    def _name(self, seen: Seen) -> Answer:
        if self._names.banned(seen.name):
            return Answer(False, "never")
        services = self._names.services_for(seen.group, seen.name)
        if not services or self._names.is_canary(seen.name):
            return Answer(False, f"{seen.group}/deny")
        return Answer(True, f"{seen.group}/{services[0]}")

    def _flow(self, seen: Seen, interface: str, taught: Sequence[str]) -> Answer:
        address = parse_address(seen.address)
        plan, source = self._with_somebody(seen)
        learned = {name: frozenset({address}) for name in taught if name in plan.service}
        flow = Flow(interface, _SOMEBODY, source, address, seen.protocol, seen.port)
        said = verdict(plan, flow, learned)
        return Answer(said.allowed, said.rule)

    def _with_somebody(self, seen: Seen) -> tuple[Plan, Address]:
        site = self.policy.sites[seen.site]
        network = next(network for network in site.networks if network.version == 4)
        taken = set(site.gateways)
        source = next(address for address in network.hosts() if address not in taken)
        somebody = Binding(seen.site, _SOMEBODY, "", seen.group, source)
        return replace(self.plan, bindings=(somebody,)), source

    def teaching(self, seen: Seen) -> list[str]:
        """Return the service whose names led to the address of a flow that passed, if names did."""
        group, _, service = seen.rule.partition("/")
        known = self.plan.service.get(service)
        if seen.kind != FLOW or seen.answer != ALLOWED or known is None or group != seen.group:
            return []
        address = parse_address(seen.address)
        return [] if any(address in network for network in known.networks) else [service]

    def same_names(self, other: "Judge", services: Iterable[str]) -> list[str]:
        """Return our services that share a name with these of another policy."""
        wanted = {d for name in services for d in other.plan.service[name].domains}
        return [s.name for s in self.plan.services if wanted & set(s.domains)]


class Comparison:
    """Two policies on one recording; what neither can judge is counted."""

    def __init__(self, before: Policy, after: Policy) -> None:
        self._before, self._after = Judge(before), Judge(after)
        self.judged: Counter[str] = Counter()
        self.unknown = 0

    def compare(self, counts: Mapping[Seen, int]) -> Iterator[Difference]:
        """Yield what differs: admissions, flows, names, the most frequent first."""
        found = []
        for seen, count in counts.items():
            taught = self._before.teaching(seen)
            before = self._before.answer(seen, taught)
            after = self._after.answer(seen, self._after.same_names(self._before, taught))
            if before is None or after is None:
                self.unknown += count
                continue
            self.judged[seen.kind] += 1
            if (before.allowed, before.more) != (after.allowed, after.more):
                found.append(Difference(seen._replace(times=count), before, after))
        found.sort(key=lambda each: (each.seen.kind, -each.seen.times, each.seen))
        yield from found
