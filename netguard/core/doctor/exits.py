"""What to try for each allowed service, so that the hospital's firewall shows whether it lets it out.

Names without a wildcard are asked for and knocked at; of a network only a single host can be. The
number of tries is bounded: a firewall that sees a scan may shut us out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netguard.core.names import Address
from netguard.core.plan import Plan, ServicePlan

# Names and hosts of one service, ports of one service, tries in all.
TARGETS, PORTS, TRIES = 3, 3, 60
STUN_PORT = 3478


@dataclass(frozen=True, slots=True)
class Wish:
    """What a service has to offer: names to resolve, hosts by address, ports, and the rest in words."""

    service: str
    names: tuple[str, ...]
    # Hosts that most wildcards have: tried where they are there, not missed where they are not.
    guesses: tuple[str, ...]
    hosts: tuple[Address, ...]
    tcp: tuple[int, ...]
    stun: bool
    unprovable: tuple[str, ...]


def wishes(plan: Plan) -> list[Wish]:
    """Return what to try for each service that some group may use and that lies outside."""
    granted = {grant.service for grant in plan.grants}
    return [
        _wish(service) for service in plan.services if service.name in granted and not service.local
    ]


def _wish(service: ServicePlan) -> Wish:
    names = [str(domain) for domain in service.domains]
    plain = [name for name in names if not name.startswith("*.")]
    guesses = [f"www.{name.removeprefix('*.')}" for name in names if name.startswith("*.")]
    single = [n.network_address for n in service.networks if n.prefixlen == n.max_prefixlen]
    hosts = [address for address in single if address.version == 4]
    tcp = [ports.first for ports in service.ports if ports.protocol == "tcp"]
    udp = [ports for ports in service.ports if ports.protocol == "udp"]
    stun = any(ports.first <= STUN_PORT <= ports.last for ports in udp)
    # Of them all, STUN alone answers whoever asks.
    unprovable = [str(ports) for ports in udp]
    if not plain and not hosts:
        known = "which hosts it has is not known"
        unprovable += [f"{each} ({known})" for each in (*names[:2], *service.networks[:2])]
    return Wish(
        service.name,
        tuple(plain[:TARGETS]),
        tuple(guesses[: max(0, TARGETS - len(plain))]),
        tuple(hosts[:TARGETS]),
        tuple(tcp[:PORTS]),
        stun,
        tuple(unprovable),
    )


@dataclass(frozen=True, slots=True)
class Try:
    """One connection to open, or one STUN question: `tcp/443`, `udp/3478`."""

    service: str
    target: str
    address: Address
    protocol: str
    port: int


def tries(wanted: Iterable[Wish], found: Mapping[str, Sequence[Address]]) -> list[Try]:
    """Return what to open, by turns: the first of every service before the second of any."""
    rows = [list(_tries(wish, found)) for wish in wanted]
    longest = max((len(row) for row in rows), default=0)
    by_turns = [row[place] for place in range(longest) for row in rows if place < len(row)]
    return by_turns[:TRIES]


def _tries(wish: Wish, found: Mapping[str, Sequence[Address]]) -> Iterable[Try]:
    targets = [
        (name, address)
        for name in (*wish.names, *wish.guesses)
        for address in found.get(name, ())[:1]
    ]
    targets += [(str(host), host) for host in wish.hosts]
    for port in wish.tcp:
        for target, address in targets:
            yield Try(wish.service, target, address, "tcp", port)
    if wish.stun:
        for target, address in targets:
            yield Try(wish.service, target, address, "udp", STUN_PORT)
