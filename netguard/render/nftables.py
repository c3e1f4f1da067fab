"""A Plan as one nftables table, `inet netguard`: the text that `nft -f` loads in one transaction.

The only place that builds nft text. Every word that reaches it is typed: networks, numbers, MACs,
names of the rules with a prefix and '_' for '-' (`list`, `vlan` or `8x8` alone are syntax errors
in nft). Same plan, same bytes. Learned sets are declared and never flushed: a reload keeps what
tablets are using. Order: protected first, stateless, both ways; then who sends; then lost tablets,
both ways; then established flows by their mark; then the group's services; then refusal.

What depends on the hour is compared with the kernel's clock, so that it opens and closes by itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

from netguard.core import shaping, sni
from netguard.core.between import meet
from netguard.core.denials import PREFIX, REASONS
from netguard.core.hours import UNJUDGED, Openings
from netguard.core.names import Ports
from netguard.core.plan import Grant, GroupPlan, Plan, ServicePlan
from netguard.core.verdict import NOISE_PORTS, QUIC
from netguard.render.nft_names import (
    FAMILY,
    TABLE,
    counter,
    deny_chain,
    fresh_set,
    grant_chain,
    group_chain,
    ipv6_counter,
    is_remote,
    learned_set,
    named_set,
    networks_map,
    nft_word,
    of_family,
    open_set,
    refusal_chain,
    refusal_counter,
    remote_services,
    shared_chain,
    shared_services,
    with_names,
)
from netguard.render.nft_sets import (
    PER_TABLET,
    StaticSets,
    graceful,
    group_numbers,
    marks,
    static_sets,
    timed,
)

LOG_GROUP = 5
# Answers of the hospital's DHCP servers to our relay, for guard to learn from.
LEASE_GROUP = 6
# Where DHCP requests of tablets are copied to: how a client asks tells devices apart.
REQUEST_GROUP = 7
BELT_MARK = 0x1
# Longer than the longest lifetime that learning.lifetime gives, in case an element had none.
DEFAULT_TIMEOUT = "2h"
# Of all services together; the same for every plan, since a set that changes its size is replaced.
LEARNED_SIZE = 1 << 20
# How long a tablet that opens no flow is remembered by what limits new ones.
NEW_FLOWS_TIMEOUT = "1m"
NEW_FLOWS_SIZE = 1 << 16
# Refusals that nobody asks about: they are counted, the others go to the log at a bounded rate.
QUIET = frozenset({"ipv6", "noise"})
# Sets whose elements refuse something: more of them is less open.
REFUSING = frozenset({"lost4", "lost_mac", "protected4", "protected6", "tablet_if", "tablet_net4"})
# What no tablet of a group has sent.
OTHERS = ("protected-reply", "inbound", "intercepted")


def counters(plan: Plan) -> dict[str, str]:
    """Return every counter of the table by name, with the id of its rule."""
    names = {counter(reason): reason for reason in (*REASONS, *OTHERS)}
    names |= {counter(grant.rule): grant.rule for grant in plan.grants}
    names |= {counter(f"{group.name}/deny"): f"{group.name}/deny" for group in plan.groups}
    for reason in REASONS:
        for group in plan.groups:
            names[refusal_counter(group.name, reason)] = f"{group.name}/{reason}"
    names |= {ipv6_counter(site.name): f"ipv6/{site.name}" for site in plan.sites}
    return names


def moving_sets(plan: Plan) -> tuple[str, ...]:
    """Return the sets whose elements come and go by themselves: no change of ours or of others."""
    return (*learned_sets(plan), "new_flows")


def learned_sets(plan: Plan) -> dict[str, str]:
    """Return all learned sets, each with the service it is filled for, empty for all of them."""
    own = {learned_set(s.name, version): s.name for s in with_names(plan) for version in (4, 6)}
    return {**own, "learned4": "", "learned6": ""}


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


def render(plan: Plan, stale: Iterable[str] = (), openings: Openings = UNJUDGED) -> str:
    """Return the transaction that brings the table to this plan.

    `stale` are commands that remove what an earlier plan had and this one has not (see `leftovers`).
    Groups that `openings` names get something in its spans alone; the others have no hours.
    """
    lines = [
        f"table {FAMILY} {TABLE} {{",
        '  comment "netguard: made by netguard apply, do not edit"',
    ]
    lines += [f"  {line}" for line in _base_chains()]
    lines += ["}"]
    # Before the maps that jump to them: nft writes a map of intervals where it is declared.
    lines += [f"add chain {FAMILY} {TABLE} {name}" for name in chain_names(plan)]
    lines += [f"table {FAMILY} {TABLE} {{"]
    sets = static_sets(plan, openings)
    lines += [f"  {line}" for line in _declarations(plan, sets)]
    lines += ["}"]
    lines += _flushes(plan, sets)
    lines += [f"table {FAMILY} {TABLE} {{"]
    lines += [f"  {line}" for line in _chains(plan, openings)]
    lines += ["}"]
    lines += _elements(sets)
    lines += stale
    return "\n".join(lines) + "\n"


def frame(
    plan: Plan, stale: Iterable[str] = (), openings: Openings = UNJUDGED, *, new: bool = True
) -> str:
    """Return the same without the elements of `PER_TABLET`: a table that is whole and lets nobody send.

    For a table that nobody has used yet, to be filled with what `filling.messages` says; in a `new`
    one nothing has to be flushed.
    """
    needless = tuple(f"add element {FAMILY} {TABLE} {name} " for name in PER_TABLET)
    needless += ("flush ",) if new else ()
    return "".join(
        f"{line}\n"
        for line in render(plan, stale, openings).splitlines()
        if not line.startswith(needless)
    )


def replacement(plan: Plan, openings: Openings = UNJUDGED) -> str:
    """Return the transaction that replaces the table, for a change of a set's type or size.

    The kernel switches from the old table to the new one at once; learned addresses are lost.
    """
    return f"table {FAMILY} {TABLE} {{\n}}\ndelete table {FAMILY} {TABLE}\n{render(plan, (), openings)}"


def difference(
    before: Plan, after: Plan, openings: Openings = UNJUDGED, held: Openings | None = None
) -> str | None:
    """Return the transaction that leads from one plan's table to another's by elements alone.

    None where chains, counters or declarations differ: then render it whole. `held` are the openings
    that the kernel has now, where these are others.
    """
    held = openings if held is None else held
    old, new = static_sets(before, held), static_sets(after, openings)
    if _frame(before, held, old) != _frame(after, openings, new):
        return None
    closing: list[str] = []
    opening: list[str] = []
    for name in sorted(new, key=lambda name: (name not in REFUSING, name)):
        gone = [e for e in old[name][2] if e not in set(new[name][2])]
        come = [e for e in new[name][2] if e not in set(old[name][2])]
        where = f"element {FAMILY} {TABLE} {name}"
        keys = [element.partition(" : ")[0].partition(" timeout ")[0] for element in gone]
        less = [f"delete {where} {{ {', '.join(keys)} }}"] if keys else []
        more = [f"add {where} {{ {', '.join(come)} }}"] if come else []
        closing += less
        (closing if name in REFUSING else opening).extend(more)
    return "".join(f"{line}\n" for line in closing + opening)


def _frame(plan: Plan, openings: Openings, sets: StaticSets) -> tuple[list[str], list[str]]:
    """Return everything that is no element."""
    return list(_declarations(plan, sets)), list(_chains(plan, openings))


def steps(
    before: Plan, after: Plan, stale: Iterable[str] = (), openings: Openings = UNJUDGED
) -> tuple[str, ...]:
    """Return the transactions from one plan to another: what narrows first, what widens last.

    One transaction is one moment for the rules, but a packet that is being judged may find one set
    as it was and the next as it will be. `stale` goes with the last one.
    """
    *first, last = _way(before, after)
    return (*(render(plan, (), openings) for plan in first), render(last, stale, openings))


def differences(
    before: Plan, after: Plan, openings: Openings = UNJUDGED, held: Openings | None = None
) -> tuple[str, ...] | None:
    """Return the same as `steps` by elements alone, where `difference` can; else None."""
    first, *more = pairwise((before, *_way(before, after)))
    scripts = [difference(*first, openings, held)]
    scripts += [difference(one, other, openings) for one, other in more]
    return tuple(each for each in scripts if each) if None not in scripts else None


def _way(before: Plan, after: Plan) -> tuple[Plan, ...]:
    """Return the plans to load one after the other: what both allow, where that is a third one."""
    between = meet(before, after)
    # Refusals are RADIUS's: this table does not hold them.
    if between == after or replace(between, refusals=before.refusals) == before:
        return (after,)
    return between, after


def chain_names(plan: Plan) -> tuple[str, ...]:
    """Return the names of all chains, each after the chains it jumps to."""
    pairs = [grant_chain(grant) for grant in plan.grants if is_remote(plan, grant)]
    shared = [
        shared_chain(group, number)
        for group in plan.groups
        for number in range(len(shared_services(plan, group)))
    ]
    denials = [deny_chain(group) for group in plan.groups]
    groups = [group_chain(group) for group in plan.groups]
    refusals = [refusal_chain(reason) for reason in REASONS]
    return (
        *pairs,
        *shared,
        *denials,
        *refusals,
        *groups,
        "by_group",
        "clock",
        *(("hours", "bound") if _with_hours(plan) else ()),
        "from_tablet",
        "early",
        "intercept",
        "input",
        "outwards",
        "forward",
        "output",
        "shape",
        "nat_out",
    )


def set_names(plan: Plan) -> tuple[str, ...]:
    """Return the names of all sets and maps, learned ones included."""
    return (*static_sets(plan, dict.fromkeys(_with_hours(plan), ())), *moving_sets(plan))


def _with_hours(plan: Plan) -> list[str]:
    return [group.name for group in plan.groups if group.hours is not None]


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


def _declarations(plan: Plan, sets: StaticSets) -> Iterator[str]:
    for name in sorted(counters(plan)):
        yield f"counter {name} {{ }}"
    for name, (kind, declaration, _) in sorted(sets.items()):
        yield f"{kind} {name} {{ {declaration}; }}"
    yield (
        f"set new_flows {{ type ether_addr; size {NEW_FLOWS_SIZE}; flags dynamic,timeout; "
        f"timeout {NEW_FLOWS_TIMEOUT}; }}"
    )
    own = {learned_set(s.name, version): version for s in with_names(plan) for version in (4, 6)}
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
    yield "chain output { type filter hook output priority filter; policy accept; }"
    # Before the addresses change (srcnat), behind everything that decides.
    yield "chain shape { type filter hook postrouting priority mangle; policy accept; }"
    yield "chain nat_out { type nat hook postrouting priority srcnat; policy accept; }"


def _flushes(plan: Plan, sets: StaticSets) -> Iterator[str]:
    for name in chain_names(plan):
        yield f"flush chain {FAMILY} {TABLE} {name}"
    for name, (kind, _, _) in sorted(sets.items()):
        yield f"flush {kind} {FAMILY} {TABLE} {name}"
    # An element keeps the limit that it was made with.
    yield f"flush set {FAMILY} {TABLE} new_flows"


def _elements(sets: StaticSets) -> Iterator[str]:
    for name, (_, _, elements) in sorted(sets.items()):
        if elements:
            yield f"add element {FAMILY} {TABLE} {name} {{ {', '.join(elements)} }}"


def _chains(plan: Plan, openings: Openings) -> Iterator[str]:
    for grant in plan.grants:
        if is_remote(plan, grant):
            yield from _block(grant_chain(grant), _grant_rules(plan, grant))
    for group in plan.groups:
        for number, services in enumerate(shared_services(plan, group)):
            jumps = (f"jump gs_{nft_word(group.name)}__{nft_word(name)}" for name in services)
            yield from _block(shared_chain(group, number), jumps)
    for group in plan.groups:
        yield from _block(deny_chain(group), _deny_rules(plan, group))
    for reason in REASONS:
        yield from _block(refusal_chain(reason), _refusal(plan, reason))
    for group in plan.groups:
        yield from _block(group_chain(group), _group_rules(plan, group))
    yield from _block("by_group", _by_group(plan, openings))
    yield from _block("clock", _clock(plan))
    if _with_hours(plan):
        yield from _block("hours", _hours(plan, openings))
        yield from _block("bound", ["jump hours", f"meta mark set {BELT_MARK:#x} accept"])
    yield from _block("from_tablet", _from_tablet(plan, openings))
    yield from _block("early", [f"iifname {_inside(plan)} jump from_tablet"])
    yield from _block("intercept", _intercept(plan))
    yield from _block("input", _input(plan, openings))
    yield from _block("outwards", _outwards(plan, openings))
    yield from _block("forward", _forward(plan, openings))
    yield from _block("output", _output(plan, openings))
    yield from _block("shape", _shape(plan))
    yield from _block("nat_out", _nat_out(plan))


def _block(name: str, rules: Iterable[str]) -> Iterator[str]:
    yield f"chain {name} {{"
    yield from (f"  {rule}" for rule in rules)
    yield "}"


def _grant_rules(plan: Plan, grant: Grant) -> Iterator[str]:
    service = plan.service[grant.service]
    # The TCP flows of a strict service end at the appliance, which goes on by itself.
    for protocol in ("udp",) if service.strict else ("tcp", "udp"):
        ports = [_interval(p) for p in service.ports if p.protocol == protocol]
        if ports:
            # One port is compared, several are looked up in a set of their own.
            listed = ports[0] if len(ports) == 1 else f"{{ {', '.join(ports)} }}"
            yield (
                f"{protocol} dport {listed} ct mark set {grant.mark:#010x} "
                f"counter name {counter(grant.rule)} accept"
            )


def _interval(ports: Ports) -> str:
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def _group_rules(plan: Plan, group: GroupPlan) -> Iterator[str]:
    remote = remote_services(plan, group)
    if remote:
        # What no service of anybody holds is refused after two lookups, however many there are.
        yield f"ip daddr != @known4 ip daddr != @learned4 goto {deny_chain(group)}"
        # Only what might pass uses up a tablet's new flows: what is refused opens none.
        limit = f"{_per(plan.new_flow_rate)} burst {plan.new_flow_burst} packets"
        yield f"update @new_flows {{ ether saddr limit rate over {limit} }} goto x_new_flows"
        for service in sni.strict_services(plan, group.name):
            # The name in a hello of QUIC cannot be read.
            for addresses in _addresses(service):
                yield f"ip daddr {addresses} udp dport {QUIC} goto {deny_chain(group)}"
        # Static networks in one lookup; learned addresses in one for each service that has names.
        yield f"ip daddr vmap @{networks_map(group)}"
        yield f"ip daddr != @learned4 goto {deny_chain(group)}"
    for name in remote:
        if plan.service[name].domains:
            chain = f"gs_{nft_word(group.name)}__{nft_word(name)}"
            yield f"ip daddr @{learned_set(name, 4)} jump {chain}"
    yield f"goto {deny_chain(group)}"


def _deny_rules(plan: Plan, group: GroupPlan) -> Iterator[str]:
    yield _log(f"{group.name}/deny", plan)
    refusal = "drop" if group.deny == "drop" else "reject with icmpx type admin-prohibited"
    yield f"counter name {counter(f'{group.name}/deny')} {refusal}"


def _refusal(plan: Plan, reason: str) -> Iterator[str]:
    if reason not in QUIET:
        yield _log(reason, plan)
    if reason == "ipv6":
        by_site = {i: ipv6_counter(site.name) for site in plan.sites for i in site.interfaces}
        of = ", ".join(f'"{interface}" : "{name}"' for interface, name in sorted(by_site.items()))
        yield f"counter name iifname map {{ {of} }}"
    # The packet ends here: its mark is free to say whose it was.
    yield from _whose()
    counted = {0: counter(reason)}
    counted |= {
        number: refusal_counter(name, reason) for name, number in group_numbers(plan).items()
    }
    by_group = ", ".join(f'{number:#010x} : "{name}"' for number, name in counted.items())
    yield f"counter name meta mark map {{ {by_group} }}"
    yield "drop"


def _whose() -> Iterator[str]:
    """Mark a packet with its group's number; with 0, and never with the belt's mark, where it has none."""
    yield "meta mark set 0x0"
    yield "meta mark set ether saddr map @group_number"


def _per(rate: str) -> str:
    unit = {"s": "second", "m": "minute", "h": "hour", "d": "day"}[rate[-1]]
    return f"{rate.split('/', maxsplit=1)[0]}/{unit}"


def _log(rule: str, plan: Plan) -> str:
    # limit before log: a curious app must not fill a disk. The counter counts every packet.
    return (
        f"limit rate {_per(plan.log_rate)} burst {plan.log_burst} packets "
        f'log prefix "{PREFIX}{rule}:" group {LOG_GROUP}'
    )


def _from_tablet(plan: Plan, openings: Openings) -> Iterator[str]:
    yield "ip daddr @protected4 goto x_protected"
    yield "ip6 daddr @protected6 goto x_protected"
    # The belt (an ip rule) refuses to route whatever comes from a tablet without this mark, also
    # when somebody has flushed all of nftables. What follows only says why a packet is refused.
    bound = "iifname . ether saddr . ip saddr @bind4"
    if timed(plan, openings):
        yield f"{bound} goto bound"
    else:
        yield f"{bound} meta mark set meta mark | {BELT_MARK:#x} accept"
    # Before everything that answers or accepts: it gets no address, no name and no time either.
    yield "ether saddr @lost_mac goto x_loan"
    yield "icmpv6 type nd-router-advert goto x_rogue_ra"
    yield "meta nfproto ipv6 udp sport 547 goto x_rogue_dhcp"
    # RFC 2131 4.1: a client without an address asks from 0.0.0.0.
    yield "ip saddr 0.0.0.0 udp dport 67 accept"
    yield "meta nfproto ipv6 goto x_ipv6"
    yield "iifname . ether saddr != @tablets goto x_unknown_mac"
    if timed(plan, openings):
        yield "jump hours"
    yield "goto x_anti_spoof"


def _hours(plan: Plan, openings: Openings) -> Iterator[str]:
    """Refuse what tablets send while their group is closed."""
    yield from _whose()
    for group in timed(plan, openings):
        where = f"meta time != @{open_set(group.name)}"
        yield f"meta mark {group.number:#010x} {where} goto x_hours"


def _granted(plan: Plan, openings: Openings, where: str = "") -> Iterator[str]:
    """Accept what is part of a flow whose grant is in force: of a group with hours, while it is open."""
    yield f"{where}ct mark @grants accept"
    for group in timed(plan, openings):
        if own := [grant for grant in plan.grants if grant.group == group.name]:
            yield f"{where}ct mark {marks(own)} meta time @{open_set(group.name)} accept"


def _intercept(plan: Plan) -> Iterator[str]:
    if plan.resolver.intercept_port_53:
        yield (
            f"iifname {_inside(plan)} meta l4proto {{ tcp, udp }} th dport 53 fib daddr type != local "
            "counter name c_intercepted redirect"
        )

    grants = {(grant.group, grant.service): grant for grant in plan.grants}
    for group, port in sni.ports(plan).items():
        for service in sni.strict_services(plan, group):
            grant = grants[group, service.name]
            listed = ", ".join(_interval(p) for p in service.ports if p.protocol == "tcp")
            for addresses in _addresses(service):
                yield (
                    f"ether saddr @{named_set(group)} ip daddr {addresses} tcp dport {{ {listed} }} "
                    f"ct mark set {grant.mark:#010x} counter name {counter(grant.rule)} "
                    f"redirect to :{port}"
                )


def _addresses(service: ServicePlan) -> Iterator[str]:
    """Yield what a destination is compared with: the networks of a service, and what it learned."""
    if networks := of_family(service.networks, 4):
        yield f"{{ {', '.join(networks)} }}"
    if service.domains:
        yield f"@{learned_set(service.name, 4)}"


def _input(plan: Plan, openings: Openings) -> Iterator[str]:
    servers = sorted({str(server) for site in plan.sites for server in site.dhcp_servers})
    if servers:
        answers = f"ip saddr {{ {', '.join(servers)} }} udp sport 67 udp dport 67"
        yield f"iifname != {_inside(plan)} {answers} log group {LEASE_GROUP}"
    yield f"iifname != {_inside(plan)} accept"
    yield "udp sport 67 goto x_rogue_dhcp"
    yield f"udp dport 67 limit rate 100/second burst 200 packets log group {REQUEST_GROUP}"
    yield "udp dport 67 accept"
    noise = ", ".join(str(port) for port in sorted(NOISE_PORTS))
    yield f"iifname . ip daddr != @gateway4 udp dport {{ {noise} }} goto x_noise"
    yield "iifname . ip daddr != @gateway4 goto x_gateway"
    if named := sorted(sni.ports(plan).values()):
        # Only what was turned to us in `intercept`, and only while its grant is in force.
        turned = f"tcp dport {{ {', '.join(map(str, named))} }} ct status dnat"
        limit = f"{_per(plan.new_flow_rate)} burst {plan.new_flow_burst} packets"
        for group in graceful(plan, openings):
            grants = (grant for grant in plan.grants if grant.group == group.name)
            if late := [grant for grant in grants if plan.service[grant.service].strict]:
                fresh = f"meta time != @{fresh_set(group.name)}"
                yield f"{turned} ct state new ct mark {marks(late)} {fresh} goto x_hours"
        yield (
            f"{turned} ct state new update @new_flows {{ ether saddr limit rate over {limit} }} "
            "goto x_new_flows"
        )
        yield from _granted(plan, openings, f"{turned} ")
    yield "meta l4proto { tcp, udp } th dport 53 accept"
    yield "udp dport 123 goto clock"
    yield "icmp type echo-request limit rate 50/second accept"
    yield f"udp dport {{ {noise} }} goto x_noise"
    yield "goto x_gateway"


def _output(plan: Plan, openings: Openings) -> Iterator[str]:
    # What HAProxy says to a tablet whose grant is withdrawn, or whose connection was forgotten, would go
    # on for a window. The reset goes to HAProxy, which then ends the server's side too. Of every port
    # that a group may have: those of a plan before this one carry the calls that have to end.
    last = sni.FIRST_PORT + sni.PORTS - 1
    where = f"oifname {_inside(plan)} tcp sport {sni.FIRST_PORT}-{last} "
    yield from _granted(plan, openings, where)
    yield f"{where}reject with tcp reset"


def _forward(plan: Plan, openings: Openings) -> Iterator[str]:
    yield "ip daddr @protected4 goto x_protected"
    yield "ip6 daddr @protected6 goto x_protected"
    yield "ip saddr @protected4 counter name c_protected_reply drop"
    yield "ip6 saddr @protected6 counter name c_protected_reply drop"
    yield f"iifname {_inside(plan)} goto outwards"
    # Before what is established: calls of a lost tablet end, also those that others keep open.
    yield "ip daddr @lost4 goto x_loan"
    yield from _granted(plan, openings)
    yield "counter name c_inbound drop"


def _shape(plan: Plan) -> Iterator[str]:
    """Yield how the class of HTB and the traffic class are written on what tablets send and get."""
    yield from _dscp(plan, f"oifname {_inside(plan)} ")
    if shaping.class_numbers(plan):
        uplinks = ", ".join(sorted({f'"{site.uplink}"' for site in plan.sites}))
        yield f"oifname {_inside(plan)} meta priority set ip daddr map @class4"
        yield f"oifname {{ {uplinks} }} meta priority set ip saddr map @class4"


def _dscp(plan: Plan, where: str = "") -> Iterator[str]:
    yield f"{where}ip dscp set {plan.dscp}"
    other = {group.name: group.dscp for group in plan.groups if group.dscp != plan.dscp}
    if listed := [f"{g.mark:#010x} : {other[g.group]}" for g in plan.grants if g.group in other]:
        yield f"{where}ip dscp set ct mark map {{ {', '.join(listed)} }}"


def _outwards(plan: Plan, openings: Openings) -> Iterator[str]:
    yield "ip daddr @tablet_net4 goto x_isolation"
    yield from _dscp(plan)
    # A flow that was let in passes only while its grant is in force: withdrawing a service ends it.
    # Whatever conntrack calls it: a flow in one direction only is never established.
    yield from _granted(plan, openings)
    yield "udp sport 67 goto x_rogue_dhcp"
    yield "ct state new goto by_group"
    yield "goto x_no_grant"


def _by_group(plan: Plan, openings: Openings) -> Iterator[str]:
    # Routing is done, nobody reads the belt's mark any more. One element a group, not one a tablet.
    yield from _whose()
    for group in graceful(plan, openings):
        fresh = f"meta time != @{fresh_set(group.name)}"
        yield f"meta mark {group.number:#010x} {fresh} goto x_hours"
    chains = ", ".join(f"{g.number:#010x} : goto {group_chain(g)}" for g in plan.groups)
    if chains:
        yield f"meta mark vmap {{ {chains} }}"
    yield "goto x_no_grant"


def _clock(plan: Plan) -> Iterator[str]:
    timed = {grant.group for grant in plan.grants if plan.service[grant.service].local == "ntp"}
    if timed:
        yield from _whose()
        numbers = ", ".join(f"{g.number:#010x}" for g in plan.groups if g.name in timed)
        yield f"meta mark {{ {numbers} }} accept"
    yield "goto x_gateway"


def _inside(plan: Plan) -> str:
    """Return what tablet interfaces are compared with: a single one costs no lookup."""
    interfaces = [i for site in plan.sites for i in site.interfaces]
    return f'"{interfaces[0]}"' if len(interfaces) == 1 else "@tablet_if"


def _nat_out(plan: Plan) -> Iterator[str]:
    for site in plan.sites:
        if site.masquerade:
            for network in of_family(site.networks, 4):
                yield f'oifname "{site.uplink}" ip saddr {network} masquerade'
