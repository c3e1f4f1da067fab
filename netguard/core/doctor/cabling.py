"""The cables of a node, judged: tablets' side, uplink, way back, resolvers, clocks, the way out of services.

What a cable or another box does can only be proven by an answer. Where none can be had (UDP without
a protocol that answers, a network in which no host is known) the finding says `not provable`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netguard.core.doctor.findings import (
    Finding,
    failed,
    judged,
    listed,
    ok,
    unchecked,
    warning,
)

SIDE, GATEWAY, DUPLICATE = "NG-D201", "NG-D202", "NG-D203"
UPLINK, ROUTE, BACK = "NG-D204", "NG-D205", "NG-D206"
RESOLVERS, CLOCKS, SERVICES = "NG-D207", "NG-D208", "NG-D209"


@dataclass(frozen=True, slots=True)
class Link:
    """One interface as the kernel shows it; `addresses` as `10.99.0.1/22`."""

    name: str
    there: bool
    up: bool = False
    carrier: bool = False
    addresses: tuple[str, ...] = ()


def side(site: str, links: Sequence[Link], told: str = "") -> list[Finding]:
    """Judge the interfaces of a site's tablets; `told` is what guard could not do about them."""
    wrong = [each for link in links for each in _link(SIDE, link, f"the tablets of {site}")]
    if told and not wrong:
        wrong.append(failed(SIDE, told, "netguard status; ip -br link"))
    names = listed(link.name for link in links)
    return judged(SIDE, wrong, f"{names} of {site}: up, with a carrier")


def _link(code: str, link: Link, what: str) -> list[Finding]:
    if not link.there:
        text = f"{link.name} ({what}) is missing"
        mend = "ip -br link: is it called otherwise? then change it in sites.yaml; VLAN: modprobe 8021q"
        return [failed(code, text, mend)]
    if not link.up:
        text = f"{link.name} ({what}) is down"
        return [failed(code, text, f"ip link set {link.name} up")]
    if not link.carrier:
        text = f"{link.name} ({what}) has no carrier: cable out, or the port of the switch is down"
        return [failed(code, text, f"plug the cable of {link.name}, or enable the switch's port")]
    return []


def gateways(site: str, links: Sequence[Link], wanted: Sequence[str]) -> list[Finding]:
    """Judge whether each interface that is there has the gateway's addresses."""
    wrong = []
    for link in links:
        missing = [address for address in wanted if address not in link.addresses]
        if link.there and missing:
            text = f"{link.name} of {site} lacks {listed(missing)}: tablets have no gateway"
            mend = f"systemctl restart netguard-guard, or: ip addr add {missing[0]} dev {link.name}"
            wrong.append(failed(GATEWAY, text, mend))
    if not any(link.there for link in links):
        return [unchecked(GATEWAY, f"{site} has no interface yet (NG-D201)")]
    return judged(GATEWAY, wrong, f"{listed(wanted)} at {site}")


def duplicates(answers: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Judge who else answers ARP for a gateway: (interface, address, MAC)."""
    wrong = [
        failed(
            DUPLICATE,
            f"{mac} answers for {address} on {interface}, too: tablets talk to it instead of us",
            f"find {mac} in the switch's address table and take {address} off it",
        )
        for interface, address, mac in answers
    ]
    return judged(DUPLICATE, wrong, "nobody else answers for a gateway address")


@dataclass(frozen=True, slots=True)
class Route:
    """The default route: its interface and next hop, and whether that hop answered ARP.

    `answers` None: there is no hop to ask (a point-to-point link), or it was not asked.
    """

    interface: str = ""
    hop: str = ""
    answers: bool | None = None


def uplink(link: Link) -> list[Finding]:
    """Judge the link to the hospital."""
    wrong = _link(UPLINK, link, "the uplink")
    if not wrong and not link.addresses:
        text = f"{link.name} (the uplink) has no address"
        wrong = [failed(UPLINK, text, f"ip addr add ADDRESS/LENGTH dev {link.name}")]
    return judged(UPLINK, wrong, f"{link.name} is up with {listed(link.addresses)}")


def default_route(link: Link, route: Route) -> list[Finding]:
    """Judge the way from the uplink on."""
    if not (link.there and link.up and link.carrier):
        return [unchecked(ROUTE, f"the uplink {link.name} is not up (NG-D204)")]
    if not route.interface:
        text = "there is no default route: nothing leaves towards the hospital"
        mend = f"ip route add default via ROUTER dev {link.name}, and in the network configuration"
        return [failed(ROUTE, text, mend)]
    if route.interface != link.name:
        text = f"the default route leads to {route.interface}, the rules name {link.name} as uplink"
        mend = (
            f"ip route replace default via ROUTER dev {link.name}, or change uplink in sites.yaml"
        )
        return [failed(ROUTE, text, mend)]
    if route.answers is False:
        text = f"the next router {route.hop} on {link.name} does not answer ARP"
        return [failed(ROUTE, text, "wrong VLAN or cable of the uplink, or the router is down")]
    return [ok(ROUTE, f"by {route.hop or 'the link itself'} on {route.interface}")]


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to another machine: the answer's time in ms, or why there was none."""

    server: str
    ms: float | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Back:
    """Whether what a tablet's address sends comes back: asked from the gateway's own address.

    `translated`: the kernel holds the rule that puts the uplink's address on it (NAT); None where it
    does not hold the plan at all.
    """

    site: str
    network: str
    source: str
    masquerade: bool
    translated: bool | None
    from_tablets: tuple[Asked, ...]
    from_uplink: tuple[Asked, ...]


def way_back(seen: Back) -> list[Finding]:
    """Judge NAT, or the hospital's route to the tablets: resolvers were asked from both addresses."""
    if seen.masquerade and seen.translated is None:
        why = "the kernel does not hold the plan's table (NG-D110, NG-D111)"
        return [unchecked(BACK, f"{seen.site}: {why}")]
    if seen.masquerade and not seen.translated:
        text = f"{seen.site} is to be translated (nat: masquerade) and no rule does it"
        return [failed(BACK, text, "systemctl restart netguard-guard: it loads the table anew")]
    reached = [each.server for each in seen.from_tablets if each.ms is not None]
    if reached:
        how = "by NAT" if seen.masquerade else f"by a route to {seen.network}"
        return [ok(BACK, f"answers to {seen.source} come back {how}, asked: {listed(reached)}")]
    if not any(each.ms is not None for each in seen.from_uplink):
        why = "no server answered the uplink's own address either, see NG-D205 and NG-D207"
        return [unchecked(BACK, f"{seen.site}: {why}")]
    servers = listed(each.server for each in seen.from_tablets)
    if seen.masquerade:
        text = f"{servers} answer the uplink and not {seen.source}: NAT of {seen.network} fails"
        mend = "nft list chain inet netguard nat_out; another nat chain at postrouting? (NG-D114)"
        return [failed(BACK, text, mend)]
    text = (
        f"{servers} answer the uplink and not {seen.source}: no route leads back to {seen.network}"
    )
    mend = (
        f"on the hospital's router: a route to {seen.network} by the uplink's address, "
        "or nat: masquerade in sites.yaml; where answers come in by another interface, its "
        "rp_filter has to be 2"
    )
    return [failed(BACK, text, mend)]


def resolvers(seen: Sequence[Asked]) -> list[Finding]:
    """Judge the resolvers upstream, each asked a real question."""
    dead = [each for each in seen if each.ms is None]
    every = "no name opens" if len(dead) == len(seen) else "names take longer while it is asked"
    wrong = [
        failed(
            RESOLVERS,
            f"{each.server} gives no answer ({each.why}); {every}",
            f"dig @{each.server.partition('#')[0].removeprefix('tls://')} . NS; the hospital's "
            "resolver, or its firewall: udp and tcp/53 from the uplink",
        )
        for each in dead
    ]
    return judged(
        RESOLVERS, wrong, listed(f"{e.server} in {e.ms:.0f} ms" for e in seen if e.ms is not None)
    )


@dataclass(frozen=True, slots=True)
class Timed:
    """One time server: how far our clock is from it in seconds, or why it gave no answer."""

    server: str
    offset: float | None
    stratum: int = 0
    why: str = ""


def time_servers(seen: Sequence[Timed]) -> list[Finding]:
    """Judge the hospital's clocks."""
    wrong = []
    for each in seen:
        if each.offset is None:
            text = f"{each.server} gives no time ({each.why})"
            mend = "the server, or the hospital's firewall: udp/123 from the uplink"
            wrong.append(failed(CLOCKS, text, mend))
        elif each.stratum in {0, 16}:
            text = f"{each.server} says that its own clock is not synchronised"
            wrong.append(warning(CLOCKS, text, "mend that server, or name another in time.servers"))
        elif abs(each.offset) > 1:
            text = f"our clock is {-each.offset:+.1f} s off, says {each.server}"
            wrong.append(warning(CLOCKS, text, "chronyd sets it by itself; does it run? (NG-D106)"))
    if not seen:
        return [ok(CLOCKS, "none named in the rules (time.servers)")]
    known = listed(f"{e.server} {e.offset:+.3f} s" for e in seen if e.offset is not None)
    return judged(CLOCKS, wrong, known)


OPEN, REFUSED, SILENT, FORBIDDEN = "open", "refused", "silent", "forbidden"


@dataclass(frozen=True, slots=True)
class Knock:
    """One try to get out: what came back, and from whom where a router on the way said it."""

    service: str
    target: str
    address: str
    port: str
    outcome: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class Exit:
    """One service: the tries, names that nobody resolves, and what cannot be proven from here."""

    service: str
    knocks: tuple[Knock, ...]
    unresolved: tuple[str, ...] = ()
    unprovable: tuple[str, ...] = ()


def services(seen: Sequence[Exit], *, names_work: bool = True) -> list[Finding]:
    """Judge whether the hospital lets each service out.

    An answer of any kind proves a way, also a refusal by the other end. Silence of everything that
    was tried is taken for a firewall; where one port answers and another is silent, nobody can tell.
    """
    found = [_exit(each, names_work=names_work) for each in seen]
    wrong = [finding for finding in found if finding.cries]
    open_ = [finding for finding in found if not finding.cries]
    return [*wrong, *open_]


def _exit(seen: Exit, *, names_work: bool) -> Finding:
    by_port: dict[str, list[Knock]] = {}
    for knock in seen.knocks:
        by_port.setdefault(knock.port, []).append(knock)
    answered = {p: k for p, k in by_port.items() if any(e.outcome in {OPEN, REFUSED} for e in k)}
    forbidden = {p: k for p, k in by_port.items() if any(e.outcome == FORBIDDEN for e in k)}
    name = f"service '{seen.service}'"
    blocked = {port: knocks for port, knocks in forbidden.items() if port not in answered}
    if blocked:
        return _forbidden(name, blocked)
    if by_port and not answered and seen.unresolved and not names_work:
        why = f"no resolver answers (NG-D207), hosts by address are silent: {listed(by_port)}"
        return unchecked(SERVICES, f"{name}: {why}")
    if by_port and not answered:
        tried = listed(sorted({f"{k.target} {k.port}" for k in seen.knocks}), 3)
        text = f"{name}: silence from all {len(seen.knocks)} that were tried: {tried}"
        mend = f"let the hospital's firewall pass {listed(by_port)} from the uplink for '{seen.service}'"
        return failed(SERVICES, text, mend)
    if not by_port:
        return _untried(name, seen, names_work=names_work)
    proven = [f"{port} answered by {_count(knocks)}" for port, knocks in answered.items()]
    silent = [f"{port} (silent)" for port in by_port if port not in answered]
    doubts = [*silent, *(words for words in seen.unprovable if words not in answered)]
    more = f"; not provable from here: {listed(doubts)}" if doubts else ""
    return ok(SERVICES, f"{name}: {listed(proven)}{more}")


def _count(knocks: Sequence[Knock]) -> str:
    answers = sum(knock.outcome in {OPEN, REFUSED} for knock in knocks)
    return f"{answers} of {len(knocks)}"


def _forbidden(name: str, blocked: Mapping[str, Sequence[Knock]]) -> Finding:
    first = next(k for knocks in blocked.values() for k in knocks if k.outcome == FORBIDDEN)
    text = f"{name}: {listed(blocked)} to {first.target} is refused by {first.by or 'a router on the way'}"
    return failed(
        SERVICES,
        text,
        f"the firewall at {first.by or 'the next router'}: let it pass {listed(blocked)}",
    )


def _untried(name: str, seen: Exit, *, names_work: bool) -> Finding:
    if seen.unresolved and names_work:
        text = f"{name}: {listed(seen.unresolved)} has no address"
        return warning(SERVICES, text, f"netguard dns why {seen.unresolved[0]}; is the name right?")
    if seen.unresolved:
        return unchecked(SERVICES, f"{name}: no resolver answers (NG-D207)")
    what = listed(seen.unprovable) or "nothing that answers"
    return ok(SERVICES, f"{name}: not provable from here: {what}")
