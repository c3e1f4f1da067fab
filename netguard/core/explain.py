"""Why: the steps that decide a tablet's packet or name, each with its place in the rules.

Pure; what only a running system knows (learned addresses, counters) comes in as values and is
added by whoever prints.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netguard.core.names import Address, Mac, Ports, shown, suggest
from netguard.core.plan import Plan
from netguard.core.policy import Origin, Policy, Tablet
from netguard.core.verdict import ALWAYS, Flow, LearnedAddresses, SecondsLeft, Verdict, verdict
from netguard.errors import BadValue


@dataclass(frozen=True, slots=True)
class Line:
    """One step: the rule, whether it decided, what it saw, and where the rules say so."""

    rule: str
    decided: bool
    why: str
    origins: tuple[Origin, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer to `explain`: the action, the rule and the steps in their order."""

    tablet: str
    site: str
    destination: str
    port: str
    action: str
    rule: str
    lines: tuple[Line, ...]

    @property
    def allowed(self) -> bool:
        """Say whether the packet passes."""
        return self.action == "accept"


def find_tablet(policy: Policy, word: str) -> Tablet:
    """Find a tablet by its id, a MAC in any spelling, or its address."""
    if word in policy.tablets:
        return policy.tablets[word]
    try:
        mac = Mac.parse(word)
    except BadValue:
        mac = None
    for tablet in policy.tablets.values():
        addresses = {str(a) for (_, id_), a in policy.allotted.items() if id_ == tablet.id}
        if tablet.mac == mac or word in addresses or word == str(tablet.address):
            return tablet
    raise BadValue("unknown-ref", f"unknown tablet {shown(word)}{suggest(word, policy.tablets)}")


def explain_address(
    policy: Policy,
    plan: Plan,
    flow: Flow,
    learned: LearnedAddresses,
    left: SecondsLeft = ALWAYS,
) -> tuple[Verdict, tuple[Line, ...]]:
    """Judge a flow and give each step its places; `left` as in `verdict`."""
    judged = verdict(plan, flow, learned, left)
    lines = tuple(
        Line(step.rule, step.decided, step.why, _origins(policy, plan, flow, step.rule))
        for step in judged.steps
    )
    return judged, lines


def explain_name(
    policy: Policy, plan: Plan, group: str, name: str, port: Ports
) -> tuple[str, str, tuple[Line, ...]]:
    """Judge a name and a port: (action, rule, steps), as if the name had just been resolved."""
    lines: list[Line] = []
    for ban in plan.never_domains:
        if ban.covers(name):
            why = f"'{name}' is never resolved for tablets, see '{ban}' under never.domains"
            return "drop", "never", (Line("never", True, why, ()),)
    for service_name in plan.group[group].services:
        service = plan.service[service_name]
        rule = f"{group}/{service_name}"
        domain = next((d for d in service.domains if d.covers(name)), None)
        if domain is None:
            lines.append(Line(rule, False, f"'{name}' is not a name of '{service_name}'", ()))
            continue
        ports = next((p for p in service.ports if p.covers(port.protocol, port.first)), None)
        if ports is None:
            listed = ", ".join(str(p) for p in service.ports)
            why = f"'{domain}' is its name, but {port} is none of its ports: {listed}"
            lines.append(Line(rule, False, why, _service_origins(policy, group, service_name)))
            continue
        origins = _service_origins(policy, group, service_name, domain=str(domain), port=ports)
        why = f"'{name}' is a name of '{service_name}' ({domain}), port {ports}"
        if service.strict and port.protocol == "tcp":
            why += "; sni: strict, its TLS must name the server"
        lines.append(Line(rule, True, why, origins))
        return "accept", rule, tuple(lines)
    deny = plan.group[group].deny
    why = f"no service of group '{group}' has '{name}' on {port}"
    origin = policy.where("groups", group)
    lines.append(Line(f"{group}/deny", True, why, (origin,) if origin else ()))
    return deny, f"{group}/deny", tuple(lines)


def _origins(policy: Policy, plan: Plan, flow: Flow, rule: str) -> tuple[Origin, ...]:
    if rule == "protected":
        network = plan.shield.covering(flow.destination)
        return _present(
            policy.where("protected", name, "networks", str(network))
            for name, entry in policy.protected.items()
            if network in entry.networks
        )
    group, slash, service = rule.partition("/")
    if not slash:
        return ()
    if service == "hours":
        return _present([policy.where("groups", group, "hours")])
    if service == "deny":
        return _present([policy.where("groups", group)])
    return _service_origins(policy, group, service, address=flow.destination, flow=flow)


def _service_origins(
    policy: Policy,
    group: str,
    service: str,
    *,
    domain: str = "",
    address: Address | None = None,
    port: Ports | None = None,
    flow: Flow | None = None,
) -> tuple[Origin, ...]:
    """Return where a group allows a service, and where the service says what matters here."""
    places: list[Origin | None] = [policy.where("groups", group, "allow", service)]
    entry = policy.services[service]
    if domain:
        places.append(policy.where("services", service, "domains", domain))
    if address is not None:
        inside = (n for n in entry.networks if n.version == address.version and address in n)
        places += [policy.where("services", service, "networks", str(n)) for n in inside]
    wanted = (
        next((p for p in entry.ports if p.covers(flow.protocol, flow.port)), None) if flow else port
    )
    if wanted is not None:
        places.append(policy.where("services", service, "ports", str(wanted)))
    return _present(places)


def _present(places: Iterable[Origin | None]) -> tuple[Origin, ...]:
    return tuple(dict.fromkeys(place for place in places if place is not None))


def as_json(explanation: Explanation, live: Mapping[str, object]) -> dict[str, object]:
    """Return the stable JSON form."""
    return {
        "tablet": explanation.tablet,
        "site": explanation.site,
        "destination": explanation.destination,
        "port": explanation.port,
        "allowed": explanation.allowed,
        "action": explanation.action,
        "rule": explanation.rule,
        "steps": [
            {
                "rule": line.rule,
                "decided": line.decided,
                "why": line.why,
                "origins": [str(origin) for origin in line.origins],
            }
            for line in explanation.lines
        ],
        "live": dict(live),
    }
