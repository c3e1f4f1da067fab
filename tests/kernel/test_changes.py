"""While things change: running flows, hours, streams of packets under reloads, a full table."""

import json
import random
import socket
import struct
import subprocess
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from itertools import count
from pathlib import Path
from time import monotonic, sleep

import pytest

from netguard.adapters import clock, conntrack
from netguard.core.hours import openings
from netguard.core.names import Mac, Ports
from netguard.core.netlinkwire import NESTED, attribute, generic, message
from netguard.core.plan import compile_plan
from netguard.core.policy import Group, Tablet
from netguard.core.verdict import Flow, verdict
from netguard.core.week import Hours, Window
from netguard.render import nft_names, nftables
from tests.kernel import wire
from tests.kernel.drawn import IN, OUT, opened, policy_of

SITES = ["pellegrin", "haut-leveque"]
SERVER = ip_address("170.114.10.7")
CHANGES = 100


@pytest.fixture
def bench(own_bench):
    return own_bench


@dataclass
class Link:
    """Packets of flows through the bench: what is sent, what arrives."""

    bench: object
    ends: tuple
    numbers: object
    macs: tuple

    def out(self, flows):
        """Send a packet of each flow from the tablets; return those that arrive."""
        return self.carried(
            [(flow, self.outward(flow, number)) for flow, number in self.named(flows)], OUT
        )

    def back(self, flows):
        """Send an answer to each flow from outside; return those whose answer arrives."""
        return self.carried(
            [(flow, self.inward(flow, number)) for flow, number in self.named(flows)], IN
        )

    def named(self, flows):
        return [(flow, next(self.numbers)) for flow in flows]

    def outward(self, flow, number):
        body = wire.udp(
            flow.source, flow.destination, flow.source_port, flow.port, OUT + number.to_bytes(4)
        )
        packet = wire.ip4(flow.source, flow.destination, wire.UDP, body)
        return number, wire.frame(flow.mac, self.macs[0], packet)

    def inward(self, flow, number):
        body = wire.udp(
            flow.destination, flow.source, flow.port, flow.source_port, IN + number.to_bytes(4)
        )
        packet = wire.ip4(flow.destination, flow.source, wire.UDP, body)
        return number, wire.frame(self.ends[1].mac.hex(":"), self.macs[1], packet)

    def carried(self, pairs, marker):
        sender, receiver = self.ends if marker == OUT else reversed(self.ends)
        arrived = wire.carry(sender, receiver, [framed for _, (_, framed) in pairs], marker)
        return [flow for flow, (number, _) in pairs if number in arrived]

    def change(self, script):
        """Start a change; it is over when `poll` says so."""
        words = ["ip", "netns", "exec", self.bench.gw, "nft", "-f", "-"]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdin.write(script)
        process.stdin.close()
        return process

    def counted(self, plan):
        rows = json.loads(self.bench.run(self.bench.gw, "nft", "-j", "list", "counters").stdout)
        rules = nftables.counters(plan)
        found = [row["counter"] for row in rows["nftables"] if "counter" in row]
        return {rules[row["name"]]: row["packets"] for row in found if row["name"] in rules}

    def held(self, name):
        rows = self.bench.run(self.bench.gw, "nft", "-j", "list", "set", "inet", "netguard", name)
        sets = [row["set"] for row in json.loads(rows.stdout)["nftables"] if "set" in row]
        return {e["elem"]["val"]: e["elem"] for e in sets[0].get("elem", [])}


@pytest.fixture
def link(bench, ends):
    macs = tuple(
        bench.run(bench.gw, "cat", f"/sys/class/net/{name}/address").stdout.strip()
        for name in ("tab0", "up0")
    )
    return Link(bench, ends, count(1), macs)


def calls(plan, group):
    """A call of each tablet of a group to the same media server."""
    return [
        Flow("tab0", b.mac, b.address, SERVER, "udp", 8801, 20000)
        for b in plan.bindings
        if b.group == group and b.site == "pellegrin"
    ]


@pytest.fixture
def plain(example):
    sites = {name: replace(site, nat="none") for name, site in example.sites.items()}
    return replace(example, sites=sites)


def allowing(policy, group, allow):
    groups = {**policy.groups, group: replace(policy.groups[group], allow=tuple(sorted(allow)))}
    return replace(policy, groups=groups)


def test_a_service_that_sorts_first_changes_no_running_flow_and_a_withdrawn_one_ends_at_once(
    link, plain
):
    plan = compile_plan(plain, ["pellegrin"])
    link.bench.nft(nftables.render(plan))
    flows = calls(plan, "patients")[:20]
    assert link.out(flows) == link.back(flows) == link.out(flows) == flows
    allow = plain.groups["patients"].allow
    other = replace(
        plain.services["zoom"], name="aaa", networks=(), domains=(), ports=(Ports("tcp", 9, 9),)
    )
    more = replace(plain, services={**plain.services, "aaa": other})
    link.bench.nft(
        nftables.render(compile_plan(allowing(more, "patients", [*allow, "aaa"]), ["pellegrin"]))
    )
    assert link.out(flows) == link.back(flows) == flows
    less = allowing(plain, "patients", [name for name in allow if name != "zoom"])
    link.bench.nft(nftables.render(compile_plan(less, ["pellegrin"])))
    assert link.out(flows) == link.back(flows) == []
    link.bench.nft(nftables.render(plan))
    assert link.back(flows) == link.out(flows) == flows, "what is granted again goes on"


def with_grace(plan, name, seconds):
    """Return a plan in which what runs of a group goes on for so long after its hours."""
    groups = tuple(
        replace(g, hours=replace(g.hours, grace=timedelta(seconds=seconds)))
        if g.name == name
        else g
        for g in plan.groups
    )
    return replace(plan, groups=groups)


def until_closed(link, flows):
    """Wait until what runs of a group ends."""
    end = monotonic() + 30
    while link.out(flows[:1]):
        assert monotonic() < end, "it does not close"
        sleep(0.2)


def until_open(link, flows):
    """Wait until a group may begin something."""
    end = monotonic() + 30
    while not link.out(flows[:1]):
        assert monotonic() < end, "it does not open"
        sleep(0.2)


def test_a_call_that_runs_at_the_end_of_the_hours_goes_on_for_its_grace(link, plain):
    """All by the kernel alone: nothing of ours runs here."""
    plan = with_grace(compile_plan(plain, ["pellegrin"]), "patients", 8)
    link.bench.nft(nftables.render(plan, (), opened({"patients": 12, "family-room": 3600})))
    every = calls(plan, "patients")
    running, later = every[:10], iter(every[10:])
    assert link.out(running) == link.back(running) == running
    end = monotonic() + 30
    while link.out([next(later)]):
        assert monotonic() < end, "something new begins for ever"
        sleep(0.2)
    assert link.out(running) == link.back(running) == running, "what runs goes on"
    assert not link.out([next(later)])
    until_closed(link, running)
    assert link.out(running) == link.back(running) == []


def test_a_group_closes_by_itself_and_so_do_its_calls(link, plain):
    plan = with_grace(compile_plan(plain, ["pellegrin"]), "patients", 0)
    link.bench.nft(nftables.render(plan, (), opened({"patients": 6, "family-room": 3600})))
    ours, theirs = calls(plan, "patients")[:10], calls(plan, "family-room")[:10]
    assert ours
    assert theirs
    assert link.out(ours + theirs) == link.back(ours + theirs) == ours + theirs
    until_closed(link, ours)
    assert link.out(ours) == link.back(ours) == []
    assert link.out(theirs) == link.back(theirs) == theirs, "another group goes on"
    counted = link.counted(plan)
    assert counted["patients/hours"] >= len(ours), {k: v for k, v in counted.items() if v}
    assert counted["inbound"] == len(ours)
    link.bench.nft(nftables.render(plan, (), opened({"patients": 3600, "family-room": 3600})))
    assert link.out(ours) == ours, "and it opens again when it is told to"


def contents(bench):
    """What a table holds, without what moves by itself."""
    rows = json.loads(bench.run(bench.gw, "nft", "-j", "list", "table", "inet", "netguard").stdout)
    still = []
    for row in rows["nftables"][1:]:
        ((kind, body),) = row.items()
        kept = {k: v for k, v in body.items() if k not in {"handle", "packets", "bytes"}}
        if "elem" in kept:
            kept["elem"] = sorted(json.dumps(e, sort_keys=True) for e in kept["elem"])
        still.append(json.dumps({kind: kept}, sort_keys=True))
    return sorted(still)


def test_a_difference_of_elements_leads_where_a_whole_load_leads(bench, small):
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)
    policy = policy_of(dice, small())
    before = compile_plan(policy, SITES)
    bench.nft(nftables.render(before))
    for _ in range(12):
        policy, loans = other_elements(dice, policy)
        after = compile_plan(policy, SITES, loans)
        scripts = nftables.differences(before, after)
        assert scripts is not None, f"seed {seed}"
        for script in scripts:
            bench.nft(script)
        reached = contents(bench)
        bench.nft(nftables.render(after))
        assert reached == contents(bench), f"seed {seed}"
        before = after


def other_elements(dice, policy):
    """Draw a change of the inventory, of loans and of networks, none of chains."""
    tablets, allotted = dict(policy.tablets), dict(policy.allotted)
    for id_ in dice.sample(sorted(tablets), 3):
        mac = Mac.parse(f"3c:28:6d:00:01:{dice.randrange(256):02x}")
        if mac not in {tablet.mac for tablet in tablets.values()}:
            tablets[id_] = replace(tablets[id_], mac=mac, group=dice.choice(sorted(policy.groups)))
    name = dice.choice(["app-0", "app-1"])
    # Apart from those of the other one: what two services share gets a chain of its own.
    number = dice.randrange(4) + (4 if name == "app-1" else 0)
    network = ip_network(f"198.51.{number}.0/24")
    service = replace(policy.services[name], networks=(*policy.services[name].networks, network))
    # A service that gets its first network gets a rule too.
    had = bool(policy.services[name].networks)
    services = {**policy.services, name: service} if had else policy.services
    loans = dict.fromkeys(dice.sample(sorted(tablets), 4), "lost")
    return replace(policy, tablets=tablets, allotted=allotted, services=services), loans


def test_at_no_moment_of_a_change_more_is_open_than_before_and_after(link, small):
    seed = random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)
    base = policy_of(dice, small())
    base = replace(base, sites={n: replace(s, nat="none") for n, s in base.sites.items()})
    services = {
        name: replace(
            service,
            networks=(*service.networks, ip_network(f"170.115.{number}.0/24")),
            ports=(*service.ports, Ports("udp", 4000 + number, 4000 + number)),
        )
        for number, (name, service) in enumerate(sorted(base.services.items()))
        if service.local is None
    }
    base = replace(base, services={**base.services, **services})
    ports, crossed = count(1), 0
    before = compile_plan(base, SITES)
    link.bench.nft(nftables.render(before))
    inside = [b for b in before.bindings if b.site == "pellegrin"]
    for number in range(CHANGES):
        loans = dict.fromkeys(dice.sample(sorted(base.tablets), 3), "stolen")
        after = compile_plan(other_policy(dice, base), SITES, loans)
        for script in nftables.differences(before, after) or nftables.steps(before, after):
            with link.change(script) as process:
                begun = False
                while process.poll() is None or not begun:
                    begun = True
                    for flow in link.out(probes(dice, inside, list(services.values()), ports)):
                        crossed += 1
                        open_ = [verdict(plan, flow, {}).allowed for plan in (before, after)]
                        assert any(open_), (seed, number, flow)
                assert process.returncode == 0, process.stderr.read()
        before = after
    assert crossed > CHANGES, f"seed {seed}: too little passed to show anything"


def probes(dice, bindings, services, ports):
    """Draw new flows of tablets to services, each on a port of its own."""
    drawn = []
    for binding in dice.choices(bindings, k=16):
        service = dice.choice(services)
        to = dice.choice(service.networks).network_address + 1
        sport = 1024 + next(ports) % 60000
        port = service.ports[-1].first
        drawn.append(Flow("tab0", binding.mac, binding.address, to, "udp", port, sport))
    return drawn


def other_policy(dice, policy):
    """Draw other rights for every group, and another clinical network."""
    groups = {
        name: replace(group, allow=tuple(sorted(dice.sample(sorted(policy.services), 3))))
        for name, group in policy.groups.items()
    }
    clinic = policy.protected["clinical"]
    extra = ip_network(f"170.114.{dice.randrange(16) * 16}.0/20")
    protected = {"clinical": replace(clinic, networks=(*clinic.networks, extra))}
    return replace(policy, groups=groups, protected=protected)


def large(policy, tablets=10_000, services=200):
    """A policy of one large site: a call service, and many others around it."""
    zoom = policy.services["zoom"]
    more = {
        f"app-{n}": replace(
            zoom,
            name=f"app-{n}",
            networks=(ip_network(f"198.18.{n}.0/24"),),
            ports=(Ports("tcp", 443, 443), Ports("udp", 10000 + n, 10000 + n)),
        )
        for n in range(services - 1)
    }
    site = replace(policy.sites["pellegrin"], nat="none", networks=(ip_network("10.99.0.0/16"),))
    group = Group("patients", ("pellegrin",), tuple(sorted([*more, "zoom"])), "drop", None, None)
    inventory = {
        f"T-{n:05}": Tablet(
            f"T-{n:05}",
            Mac.parse(f"3c:28:6d:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"),
            "patients",
            ("pellegrin", "cardio-3"),
        )
        for n in range(tablets)
    }
    first = int(ip_address("10.99.0.16"))
    return replace(
        policy,
        sites={"pellegrin": site},
        services={**more, "zoom": zoom},
        groups={"patients": group},
        tablets=inventory,
        allotted={("pellegrin", id_): ip_address(first + n) for n, id_ in enumerate(inventory)},
        origins={},
    )


def test_a_reload_of_ten_thousand_tablets_loses_and_opens_nothing(link, plain):
    policy = large(plain)
    plan = compile_plan(policy, ["pellegrin"])
    assert (len(plan.bindings), len(plan.services)) == (10_000, 200)
    script = nftables.render(plan)
    link.bench.nft(script)
    learned = [f"157.{n >> 8}.{n & 255}.9 timeout {600 + n % 3000}s" for n in range(5000)]
    for at in range(0, 5000, 500):
        for name in nft_names.learned_sets_of(f"app-{at // 500}", 4):
            part = ", ".join(learned[at : at + 500])
            link.bench.nft(f"add element inet netguard {name} {{ {part} }}")
    good = calls(plan, "patients")[:40]
    assert link.out(good) == link.back(good) == good
    bad = [replace(flow, destination=ip_address("8.8.8.8")) for flow in good]
    protected = [replace(flow, destination=ip_address("10.10.0.5")) for flow in good]
    before, counts = link.held("learned4"), link.counted(plan)
    assert len(before) == 5000
    sent, changes = 0, 3
    for _ in range(changes):
        with link.change(script) as process:
            begun = False
            while process.poll() is None or not begun:
                begun = True
                assert link.out([*good, *bad, *protected]) == good
                assert link.back(good) == good
                sent += len(good)
            assert process.returncode == 0, process.stderr.read()
    assert sent > 3 * len(good), "nothing was sent while it was loaded"
    after, now = link.held("learned4"), link.counted(plan)
    assert {a: e["timeout"] for a, e in after.items()} == {
        a: e["timeout"] for a, e in before.items()
    }
    assert all(after[a]["expires"] <= before[a]["expires"] for a in before)
    assert any(after[a]["expires"] < before[a]["expires"] for a in before), "no countdown"
    # The one packet that is in the old rules while they go finds their maps empty: it is dropped uncounted.
    for rule in ("patients/deny", "patients/protected"):
        assert sent - changes <= now[rule] - counts[rule] <= sent
    assert now["patients/zoom"] == counts["patients/zoom"], "running flows were judged anew"


def test_one_tablet_opens_so_many_flows_at_once_and_another_does_not_notice(link, plain):
    plan = replace(compile_plan(plain, ["pellegrin"]), new_flow_rate="1/h", new_flow_burst=20)
    link.bench.nft(nftables.render(plan))
    one, other = calls(plan, "patients")[:2]
    hasty = [replace(one, source_port=30000 + n) for n in range(50)]
    # The first packet is not of the burst: it makes the element.
    assert 20 <= len(link.out(hasty)) <= 21
    assert link.out([other]) == [other]
    assert link.out(hasty[:10]) == hasty[:10], "what it has opened goes on"
    denied = [
        replace(other, destination=ip_address("8.8.8.8"), source_port=n) for n in range(999, 1099)
    ]
    assert link.out(denied) == []
    again = [replace(other, source_port=40000 + n) for n in range(5)]
    assert link.out(again) == again, "what is refused anyway uses nothing up"
    counted = link.counted(plan)
    assert counted["patients/new-flows"] in {29, 30}
    assert counted["patients/deny"] == 100


def test_running_calls_are_counted_by_the_right_that_let_them_in(link, plain):
    plan = compile_plan(plain, ["pellegrin"])
    link.bench.nft(nftables.render(plan))
    flows = calls(plan, "patients")[:20]
    assert link.out(flows) == flows
    with wire.inside(link.bench.gw):
        counted = conntrack.by_mark()
    assert sum(counted[g.mark] for g in plan.grants if g.group == "patients") == len(flows)
    assert not any(counted[g.mark] for g in plan.grants if g.group != "patients")


def entries(first, number):
    """Messages that put connections into a namespace's table, answered and assured (nfnetlink_conntrack)."""
    assured = 1 << 1 | 1 << 2 | 1 << 3  # SEEN_REPLY, ASSURED, CONFIRMED
    pieces = []
    for n in range(first, first + number):
        one, other = struct.pack("!I", 0x64400000 + (n >> 15)), bytes([100, 127, 0, 1])
        sport, dport = struct.pack("!H", 1024 + (n & 0x7FFF)), struct.pack("!H", 9)

        def side(a, b, c, d):
            address = attribute(1 | NESTED, attribute(1, a) + attribute(2, b))
            return address + attribute(
                2 | NESTED, attribute(1, b"\x11") + attribute(2, c) + attribute(3, d)
            )

        body = attribute(1 | NESTED, side(one, other, sport, dport))
        body += attribute(2 | NESTED, side(other, one, dport, sport))
        body += attribute(3, struct.pack("!I", assured)) + attribute(7, struct.pack("!I", 600))
        pieces.append(message(1 << 8, 0x1 | 0x400 | 0x200, n, generic(socket.AF_INET, 0) + body))
    return pieces


def tell_conntrack(namespace, batches):
    with wire.inside(namespace):
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    with netlink:
        netlink.bind((0, 0))
        for batch in batches:
            netlink.send(batch)


def forget(namespace):
    """Empty a namespace's table of connections: what an earlier test has left would end and make room."""
    tell_conntrack(namespace, [message(1 << 8 | 2, 0x1, 0, generic(socket.AF_UNSPEC, 0))])


def fill(namespace, limit):
    """Fill a namespace's table of connections up to its limit."""
    tell_conntrack(namespace, (b"".join(entries(n, 64)) for n in range(0, limit + 64, 64)))


def test_a_full_table_of_connections_opens_nothing(link, plain):
    limit = int(Path("/proc/sys/net/netfilter/nf_conntrack_max").read_text())
    plan = compile_plan(plain, ["pellegrin"])
    link.bench.nft(nftables.render(plan))
    flows = calls(plan, "patients")[:20]
    running, new = flows[:10], flows[10:]
    forget(link.bench.gw)
    assert link.out(running) == link.back(running) == running
    fill(link.bench.gw, limit)
    seen = link.bench.run(link.bench.gw, "cat", "/proc/sys/net/netfilter/nf_conntrack_count")
    assert int(seen.stdout) >= limit, "the table is not full"
    bad = [replace(flow, destination=ip_address("8.8.8.8")) for flow in flows]
    protected = [replace(flow, destination=ip_address("10.10.0.5")) for flow in flows]
    assert link.out([*bad, *protected, *new]) == [], "something was opened"
    assert link.out(running) == link.back(running) == running, "what runs goes on"
    assert link.counted(plan)["patients/protected"] == len(protected)


def test_two_groups_of_two_time_zones_close_and_open_by_their_own(link, plain):
    """The night on which Europe sets its clocks back: a window ends at noon, the other zone knows nothing of it."""
    windows = [Window.parse("10:00-12:00"), Window.parse("14:00-20:00")]
    hours = {
        "patients": replace(Hours.of(windows), zone="Europe/Paris"),
        "family-room": replace(Hours.parse("07:00-22:00"), zone="Asia/Kolkata"),
    }
    plan = compile_plan(plain, ["pellegrin"])
    plan = replace(plan, groups=tuple(replace(g, hours=hours.get(g.name)) for g in plan.groups))
    noon = datetime(2026, 10, 25, 11, tzinfo=UTC)
    # Asked four days before; that noon is six seconds from now.
    coming = openings(plan, noon - timedelta(days=4))

    def load(moment, seconds):
        """Play a moment so many seconds from now: the kernel's clock is that of the machine."""
        by = int(clock.now().timestamp()) + seconds - int(moment.timestamp())
        moved = {name: tuple((a + by, b + by) for a, b in spans) for name, spans in coming.items()}
        link.bench.nft(nftables.render(plan, (), moved))

    load(noon, 6)
    ours, theirs = calls(plan, "patients")[:10], calls(plan, "family-room")[:10]
    assert link.out(ours + theirs) == link.back(ours + theirs) == ours + theirs
    until_closed(link, ours)
    assert link.out(ours) == link.back(ours) == []
    assert link.out(theirs) == link.back(theirs) == theirs, "in the other zone it is open"
    load(noon + timedelta(hours=2), 4)
    assert link.out(ours) == []
    until_open(link, ours)
    assert link.out(ours) == link.back(ours) == ours, "the next window opens by itself"
    load(noon + timedelta(hours=6), 0)
    assert link.out(ours) == ours, "in Paris it is 18:00"
    assert link.out(theirs) == link.back(theirs) == [], "and 22:30 in Kolkata"


def test_windows_open_and_close_by_themselves_to_the_second(link, plain):
    """What guard does in a fortnight, in some seconds and without guard: every packet of it is counted."""
    plan = with_grace(compile_plan(plain, ["pellegrin"]), "patients", 2)
    start = int(clock.now().timestamp()) + 3
    windows = ((start, start + 5), (start + 8, start + 13))
    always = ((start - 600, start + 3600),)
    link.bench.nft(nftables.render(plan, (), {"patients": windows, "family-room": always}))
    (running, *_), (theirs, *_) = calls(plan, "patients"), calls(plan, "family-room")
    begun = iter(replace(running, source_port=port) for port in range(21000, 22000))
    seen = []
    while (now := clock.now().timestamp()) < start + 15:
        seen.append(
            (now - start, link.out([running]), link.back([running]), link.out([next(begun)]))
        )
        assert link.out([theirs]) == [theirs], "another group goes on"
        sleep(0.05)
    # Each look takes some milliseconds: those beside an edge say nothing.
    edges = [0, 3, 5, 8, 11, 13]
    clear = [row for row in seen if all(abs(row[0] - edge) > 0.5 for edge in edges)]
    assert len(clear) > 60
    for at, out, back, new in clear:
        may_run, may_begin = 0 < at < 5 or 8 < at < 13, 0 < at < 3 or 8 < at < 11
        assert (bool(out), bool(back), bool(new)) == (may_run, may_run, may_begin), at
    counted = link.counted(plan)
    refused = sum(not out for _, out, _, _ in seen) + sum(not new for _, _, _, new in seen)
    assert counted["patients/hours"] == refused
    assert counted["inbound"] == sum(not back for _, _, back, _ in seen)
