"""A Plan as one nftables table, `inet netguard`: the text that `nft -f` loads in one transaction.

The only place that builds nft text. Every word that reaches it is typed: networks, numbers, MACs,
names of the rules with a prefix and '_' for '-' (`list`, `vlan` or `8x8` alone are syntax errors
in nft). Same plan, same bytes. Learned sets are declared and never flushed: a reload keeps what
tablets are using. Order: protected first, stateless, both ways; then lost tablets, both ways; then
who sends; then established flows by their mark; then the group's services; then refusal.
"""

from collections.abc import Iterable, Iterator

from netguard.core.denials import PREFIX
from netguard.core.names import Network, Ports
from netguard.core.plan import Grant, GroupPlan, Plan, ServicePlan
from netguard.core.verdict import NOISE_PORTS

TABLE = "netguard"
FAMILY = "inet"
LOG_GROUP = 5
BELT_MARK = 0x1
# Longer than the longest lifetime that learning.lifetime gives, in case an element had none.
DEFAULT_TIMEOUT = "2h"
# Of all services together; the same for every plan, since a set that changes its size is replaced.
LEARNED_SIZE = 1 << 20
# Refusals that a person may be asked about: they go to the log, at a bounded rate.
LOGGED = ("protected", "loan", "unknown_mac", "anti_spoof", "isolation")
BUILT_IN = (
    "protected",
    "protected_reply",
    "loan",
    "unknown_mac",
    "anti_spoof",
    "ipv6",
    "isolation",
    "noise",
    "gateway",
    "intercepted",
    "inbound",
    "foreign",
)


def counter(rule: str) -> str:
    """Return the name of a rule's counter: `patients/jitsi` is `c_patients__jitsi`."""
    return "c_" + rule.replace("/", "__").replace("-", "_")


def learned_set(service: str, version: int) -> str:
    """Return the name of the set that holds what was learned for a service."""
    return f"s_{service.replace('-', '_')}_dns{version}"


def learned_sets_of(service: str, version: int) -> tuple[str, str]:
    """Return the two sets that a learned address goes into: its service's, and all services'.

    The second one only tells what nobody may reach, in one lookup; it is never a right. An eviction
    takes an address out of the first one alone, another service may still hold it.
    """
    return learned_set(service, version), f"learned{version}"


def counters(plan: Plan) -> dict[str, str]:
    """Return every counter of the table by name, with the id of its rule."""
    names = {f"c_{name}": name.replace("_", "-") for name in BUILT_IN}
    names |= {counter(grant.rule): grant.rule for grant in plan.grants}
    names |= {counter(f"{group.name}/deny"): f"{group.name}/deny" for group in plan.groups}
    return names


def learned_sets(plan: Plan) -> tuple[str, ...]:
    """Return the names of all learned sets."""
    own = tuple(learned_set(s.name, version) for s in _remote(plan) for version in (4, 6))
    return (*own, "learned4", "learned6")


def blocked() -> str:
    """Return the table that forwards and answers nothing: before the first plan, and in a panic."""
    return f"""table {FAMILY} {TABLE} {{
}}
delete table {FAMILY} {TABLE}
table {FAMILY} {TABLE} {{
  comment "netguard: blocked, no plan in force"
  chain forward {{
    type filter hook forward priority filter; policy drop;
  }}
}}
"""


def render(plan: Plan, stale: Iterable[str] = ()) -> str:
    """Return the transaction that brings the table to this plan.

    `stale` are commands that remove what an earlier plan had and this one has not (see `leftovers`).
    """
    lines = [
        f"table {FAMILY} {TABLE} {{",
        '  comment "netguard: made by netguard apply, do not edit"',
    ]
    lines += [f"  {line}" for line in _declarations(plan)]
    lines += [f"  {line}" for line in _base_chains()]
    lines += ["}"]
    lines += _flushes(plan)
    lines += [f"table {FAMILY} {TABLE} {{"]
    lines += [f"  {line}" for line in _chains(plan)]
    lines += ["}"]
    lines += _elements(plan)
    lines += stale
    return "\n".join(lines) + "\n"


def replacement(plan: Plan) -> str:
    """Return the transaction that replaces the table, for a change of a set's type or size.

    The kernel switches from the old table to the new one at once; learned addresses are lost.
    """
    return f"table {FAMILY} {TABLE} {{\n}}\ndelete table {FAMILY} {TABLE}\n{render(plan)}"


def chain_names(plan: Plan) -> tuple[str, ...]:
    """Return the names of all chains, each after the chains it jumps to."""
    pairs = [_grant_chain(grant) for grant in plan.grants if _is_remote(plan, grant)]
    denials = [_deny_chain(group) for group in plan.groups]
    groups = [_group_chain(group) for group in plan.groups]
    refusals = [f"x_{name}" for name in LOGGED]
    return (
        *pairs,
        *denials,
        *groups,
        *refusals,
        "from_tablet",
        "early",
        "intercept",
        "input",
        "forward",
        "nat_out",
    )


def set_names(plan: Plan) -> tuple[str, ...]:
    """Return the names of all sets and maps, learned ones included."""
    return (*_static_sets(plan), *learned_sets(plan))


def leftovers(
    plan: Plan, chains: Iterable[str], sets: Iterable[tuple[str, str]], old_counters: Iterable[str]
) -> list[str]:
    """Return the commands that delete what is in the kernel's table and not in this plan.

    `sets` are (kind, name) with kind `set` or `map`. They go last in the transaction, when nothing
    refers to them any more; chains that jump to one another are flushed first.
    """
    gone = sorted(set(chains) - set(chain_names(plan)))
    lines = [f"flush chain {FAMILY} {TABLE} {chain}" for chain in gone]
    lines += [f"delete chain {FAMILY} {TABLE} {chain}" for chain in gone]
    keep = set(set_names(plan))
    lines += [
        f"delete {kind} {FAMILY} {TABLE} {name}" for kind, name in sorted(sets) if name not in keep
    ]
    known = counters(plan)
    lines += [
        f"delete counter {FAMILY} {TABLE} {n}" for n in sorted(old_counters) if n not in known
    ]
    return lines


def _word(name: str) -> str:
    return name.replace("-", "_")


def _group_chain(group: GroupPlan) -> str:
    return f"g_{_word(group.name)}"


def _deny_chain(group: GroupPlan) -> str:
    return f"d_{_word(group.name)}"


def _grant_chain(grant: Grant) -> str:
    return f"gs_{_word(grant.group)}__{_word(grant.service)}"


def _static_set(service: ServicePlan, version: int) -> str:
    return f"s_{_word(service.name)}_net{version}"


def _remote(plan: Plan) -> tuple[ServicePlan, ...]:
    return tuple(service for service in plan.services if service.local is None)


def _is_remote(plan: Plan, grant: Grant) -> bool:
    return plan.service[grant.service].local is None


def _of(networks: Iterable[Network], version: int) -> list[str]:
    return [str(network) for network in networks if network.version == version]


def _static_sets(plan: Plan) -> dict[str, tuple[str, str, list[str]]]:
    """Return static sets and maps: name -> (kind, declaration, elements)."""
    sets: dict[str, tuple[str, str, list[str]]] = {
        "tablet_if": ("set", "type ifname", [f'"{i}"' for s in plan.sites for i in s.interfaces]),
        "protected4": ("set", "type ipv4_addr; flags interval", _merged(plan.protected, 4)),
        "protected6": ("set", "type ipv6_addr; flags interval", _merged(plan.protected, 6)),
        "tablet_net4": (
            "set",
            "type ipv4_addr; flags interval",
            _merged((n for site in plan.sites for n in site.networks), 4),
        ),
        "gateway4": (
            "set",
            "type ifname . ipv4_addr",
            [
                f'"{interface}" . {address}'
                for site in plan.sites
                for interface in site.interfaces
                for address in site.gateways
                if address.version == 4
            ],
        ),
        "tablets": (
            "set",
            "type ifname . ether_addr",
            [f'"{i}" . {b.mac}' for b in plan.bindings for i in plan.site[b.site].interfaces],
        ),
        "bind4": (
            "set",
            "type ifname . ether_addr . ipv4_addr",
            [
                f'"{i}" . {b.mac} . {b.address}'
                for b in plan.bindings
                if b.address is not None
                for i in plan.site[b.site].interfaces
            ],
        ),
        # By MAC for what such a tablet sends, by address for what others send to it.
        "lost_mac": ("set", "type ether_addr", sorted({str(b.mac) for b in plan.lost})),
        "lost4": (
            "set",
            "type ipv4_addr",
            sorted({str(b.address) for b in plan.lost if b.address is not None}),
        ),
        "ntp_allowed": ("set", "type ether_addr", _ntp_macs(plan)),
        "grants": (
            "set",
            "type mark",
            [f"{g.mark:#010x}" for g in sorted(plan.grants, key=lambda g: g.mark)],
        ),
        "group_of": (
            "map",
            "type ether_addr : verdict",
            [
                f"{mac} : goto {_group_chain(plan.group[group])}"
                for mac, group in _groups_by_mac(plan)
            ],
        ),
    }
    for version in (4, 6):
        everything = (n for service in _remote(plan) for n in service.networks)
        declaration = f"type ipv{version}_addr; flags interval"
        sets[f"known{version}"] = ("set", declaration, _merged(everything, version))
    for service in _remote(plan):
        for version in (4, 6):
            declaration = f"type ipv{version}_addr; flags interval"
            sets[_static_set(service, version)] = (
                "set",
                declaration,
                _of(service.networks, version),
            )
    return sets


def _merged(networks: Iterable[Network], version: int) -> list[str]:
    """Return prefixes of one family without those that lie in another one."""
    kept: list[Network] = []
    for network in sorted(
        (n for n in networks if n.version == version),
        key=lambda n: (int(n.network_address), n.prefixlen),
    ):
        if not kept or int(network.network_address) > int(kept[-1].broadcast_address):
            kept.append(network)
    return [str(network) for network in kept]


def _ntp_macs(plan: Plan) -> list[str]:
    timed = {g.group for g in plan.grants if plan.service[g.service].local == "ntp"}
    return sorted({str(b.mac) for b in plan.bindings if b.group in timed})


def _groups_by_mac(plan: Plan) -> list[tuple[str, str]]:
    return sorted({(str(binding.mac), binding.group) for binding in plan.bindings})


def _declarations(plan: Plan) -> Iterator[str]:
    for name in sorted(counters(plan)):
        yield f"counter {name} {{ }}"
    for name, (kind, declaration, _) in sorted(_static_sets(plan).items()):
        yield f"{kind} {name} {{ {declaration}; }}"
    own = {learned_set(s.name, version): version for s in _remote(plan) for version in (4, 6)}
    for name, version in {**own, "learned4": 4, "learned6": 6}.items():
        size = plan.learned.addresses_per_service if name in own else LEARNED_SIZE
        yield (
            f"set {name} {{ type ipv{version}_addr; size {size}; "
            f"flags timeout; timeout {DEFAULT_TIMEOUT}; }}"
        )


def _base_chains() -> Iterator[str]:
    # raw is before conntrack: a full connection table cannot change what is refused here.
    yield "chain early { type filter hook prerouting priority raw; policy accept; }"
    yield "chain intercept { type nat hook prerouting priority dstnat; policy accept; }"
    yield "chain input { type filter hook input priority filter; policy accept; }"
    yield "chain forward { type filter hook forward priority filter; policy drop; }"
    yield "chain nat_out { type nat hook postrouting priority srcnat; policy accept; }"


def _flushes(plan: Plan) -> Iterator[str]:
    declared = "\n".join(f"add chain {FAMILY} {TABLE} {name}" for name in chain_names(plan))
    yield declared
    for name in chain_names(plan):
        yield f"flush chain {FAMILY} {TABLE} {name}"
    for name, (kind, _, _) in sorted(_static_sets(plan).items()):
        yield f"flush {kind} {FAMILY} {TABLE} {name}"


def _elements(plan: Plan) -> Iterator[str]:
    for name, (_, _, elements) in sorted(_static_sets(plan).items()):
        if elements:
            yield f"add element {FAMILY} {TABLE} {name} {{ {', '.join(elements)} }}"


def _chains(plan: Plan) -> Iterator[str]:
    for grant in plan.grants:
        if _is_remote(plan, grant):
            yield from _block(_grant_chain(grant), _grant_rules(plan, grant))
    for group in plan.groups:
        yield from _block(_deny_chain(group), _deny_rules(plan, group))
    for group in plan.groups:
        yield from _block(_group_chain(group), _group_rules(plan, group))
    for name in LOGGED:
        yield from _block(f"x_{name}", _refusal(plan, name))
    yield from _block("from_tablet", _from_tablet())
    yield from _block("early", ["iifname @tablet_if jump from_tablet"])
    yield from _block("intercept", _intercept(plan))
    yield from _block("input", _input())
    yield from _block("forward", _forward(plan))
    yield from _block("nat_out", _nat_out(plan))


def _block(name: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"chain {name} {{"
    yield from (f"  {rule}" for rule in rules)
    yield "}"


def _grant_rules(plan: Plan, grant: Grant) -> Iterator[str]:
    for protocol in ("tcp", "udp"):
        ports = [_interval(p) for p in plan.service[grant.service].ports if p.protocol == protocol]
        if ports:
            yield (
                f"{protocol} dport {{ {', '.join(ports)} }} ct mark set {grant.mark:#010x} "
                f"counter name {counter(grant.rule)} accept"
            )


def _interval(ports: Ports) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _group_rules(plan: Plan, group: GroupPlan) -> Iterator[str]:
    remote = [name for name in group.services if plan.service[name].local is None]
    if remote:
        # What no service of anybody holds is refused after two lookups, however many there are.
        yield f"ip daddr != @known4 ip daddr != @learned4 goto {_deny_chain(group)}"
    for name in remote:
        service = plan.service[name]
        chain = f"gs_{_word(group.name)}__{_word(name)}"
        if _of(service.networks, 4):
            yield f"ip daddr @{_static_set(service, 4)} jump {chain}"
        if service.domains:
            yield f"ip daddr @{learned_set(name, 4)} jump {chain}"
    yield f"goto {_deny_chain(group)}"


def _deny_rules(plan: Plan, group: GroupPlan) -> Iterator[str]:
    yield _log(f"{group.name}/deny", plan)
    refusal = "drop" if group.deny == "drop" else "reject with icmpx type admin-prohibited"
    yield f"counter name {counter(f'{group.name}/deny')} {refusal}"


def _refusal(plan: Plan, name: str) -> Iterator[str]:
    yield _log(name.replace("_", "-"), plan)
    yield f"counter name c_{name} drop"


def _log(rule: str, plan: Plan) -> str:
    unit = {"s": "second", "m": "minute", "h": "hour", "d": "day"}[plan.log_rate[-1]]
    rate = plan.log_rate.split("/")[0]
    # limit before log: a curious app must not fill a disk. The counter counts every packet.
    return (
        f'limit rate {rate}/{unit} burst {plan.log_burst} packets log prefix "{PREFIX}{rule}:" '
        f"group {LOG_GROUP}"
    )


def _from_tablet() -> Iterator[str]:
    yield "ip daddr @protected4 goto x_protected"
    yield "ip6 daddr @protected6 goto x_protected"
    # Before everything that answers or accepts: it gets no address, no name and no time either.
    yield "ether saddr @lost_mac goto x_loan"
    # RFC 2131 4.1: a client without an address asks from 0.0.0.0.
    yield "ip saddr 0.0.0.0 udp dport 67 accept"
    yield "meta nfproto ipv6 counter name c_ipv6 drop"
    yield "iifname . ether saddr != @tablets goto x_unknown_mac"
    yield "iifname . ether saddr . ip saddr != @bind4 goto x_anti_spoof"
    # The belt (an ip rule) refuses to route whatever comes from a tablet without this mark, also
    # when somebody has flushed all of nftables.
    yield f"meta mark set meta mark | {BELT_MARK:#x}"


def _intercept(plan: Plan) -> Iterator[str]:
    if plan.resolver.intercept_port_53:
        yield (
            "iifname @tablet_if meta l4proto { tcp, udp } th dport 53 fib daddr type != local "
            "counter name c_intercepted redirect"
        )


def _input() -> Iterator[str]:
    yield "iifname != @tablet_if accept"
    yield "ip saddr 0.0.0.0 udp dport 67 accept"
    yield "udp dport 67 accept"
    noise = ", ".join(str(port) for port in sorted(NOISE_PORTS))
    yield f"iifname . ip daddr != @gateway4 udp dport {{ {noise} }} counter name c_noise drop"
    yield "iifname . ip daddr != @gateway4 counter name c_gateway drop"
    yield "meta l4proto { tcp, udp } th dport 53 accept"
    yield "udp dport 123 ether saddr @ntp_allowed accept"
    yield "icmp type echo-request limit rate 50/second accept"
    yield f"udp dport {{ {noise} }} counter name c_noise drop"
    yield "counter name c_gateway drop"


def _forward(plan: Plan) -> Iterator[str]:
    yield "ip daddr @protected4 goto x_protected"
    yield "ip6 daddr @protected6 goto x_protected"
    yield "ip saddr @protected4 counter name c_protected_reply drop"
    yield "ip6 saddr @protected6 counter name c_protected_reply drop"
    yield "iifname @tablet_if ip daddr @tablet_net4 goto x_isolation"
    # Before what is established: calls of a lost tablet end, also those that others keep open.
    yield "ip daddr @lost4 counter name c_loan drop"
    yield f"iifname @tablet_if ip dscp set {plan.dscp}"
    # Established flows pass only while their grant is in force: withdrawing a service ends them.
    yield "ct state established,related ct mark @grants accept"
    yield "iifname @tablet_if ct state new ether saddr vmap @group_of"
    yield "iifname @tablet_if counter name c_foreign drop"
    yield "counter name c_inbound drop"


def _nat_out(plan: Plan) -> Iterator[str]:
    for site in plan.sites:
        if site.masquerade:
            for network in _of(site.networks, 4):
                yield f'oifname "{site.uplink}" ip saddr {network} masquerade'
