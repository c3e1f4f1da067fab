"""The proof of what is loaded: sound is proved, each planted hole is refuted by a packet that really passes."""

import json
import random
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from netguard.core.loaded import listing, proof
from netguard.core.plan import compile_plan
from netguard.render import nft_names, nftables
from tests.kernel import wire
from tests.kernel.drawn import NUMBERS, policy_of

MARKER = b"NGloaded"
QUICK = {"new_flow_rate": "1000000/s", "new_flow_burst": 1_000_000}
TABLE = nft_names.TABLE


@pytest.fixture
def bench(own_bench):
    return own_bench


class Kernel:
    """A drawn policy in a real kernel."""

    def __init__(self, bench, ends, policy):
        self.bench, self.ends, self.policy = bench, ends, policy
        plan = replace(compile_plan(policy, ["pellegrin"]), **QUICK)
        self.plan = replace(plan, sites=tuple(replace(s, masquerade=False) for s in plan.sites))
        bench.nft(nftables.render(self.plan))
        for name in ("all", "default", "tab0", "up0"):
            bench.run(bench.gw, "sysctl", "-qw", f"net.ipv6.conf.{name}.forwarding=1")
        outside = ends[1].mac.hex(":")
        bench.run(
            bench.gw, "ip", "-6", "neigh", "replace", "fe80::1", "lladdr", outside, "dev", "up0"
        )
        bench.run(bench.gw, "ip", "-6", "route", "add", "default", "via", "fe80::1", "dev", "up0")
        self.gateway = bench.run(bench.gw, "cat", "/sys/class/net/tab0/address").stdout.strip()
        self.number = 0

    def prove(self, strange=(), more=()):
        """Prove what this kernel holds, with rows of a listing that it cannot hold itself."""
        text = self.bench.run(self.bench.gw, "nft", "-j", "list", "ruleset").stdout
        learned = nftables.learned_sets(self.plan)
        rows = listing.read([*json.loads(text)["nftables"], *more])
        return proof.prove(self.policy, self.plan, rows, TABLE, learned, strange)

    def send(self, packet, flags=wire.SYN, sport=None):
        """Send a packet of a refutation; say whether it comes out at the other side."""
        self.number += 1
        source, destination = ip_address(packet.source), ip_address(packet.destination)
        sport = sport or 40000 + self.number
        payload = MARKER + self.number.to_bytes(4)
        if packet.protocol == "tcp":
            body = wire.tcp(source, destination, sport, packet.port, flags, payload)
        elif packet.protocol == "udp":
            body = wire.udp(source, destination, sport, packet.port, payload)
        else:
            body = payload
        number = NUMBERS.get(packet.protocol) or int(packet.protocol)
        build = wire.ip4 if source.version == 4 else wire.ip6
        frame = wire.frame(packet.mac, self.gateway, build(source, destination, number, body))
        return self.number in wire.carry(*self.ends, [frame], MARKER)

    def learn(self, packet):
        """Let the name proxy have learned where a packet goes: what the proof takes as possible."""
        for service in self.plan.services:
            if service.domains and service.local is None:
                names = nft_names.learned_sets_of(
                    service.name, ip_address(packet.destination).version
                )
                lines = (f"add element inet {TABLE} {n} {{ {packet.destination} }}" for n in names)
                self.bench.nft("\n".join(lines))


def kernel(bench, ends, example, seed):
    dice = random.Random(seed)
    policy = policy_of(dice, example)
    # A service that surely opens something, of a group that is never closed.
    ward = replace(policy.groups["ward"], allow=tuple(sorted(policy.services)))
    policy = replace(policy, groups={**policy.groups, "ward": ward})
    return Kernel(bench, ends, policy)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_rendered_soundly_is_proved(bench, ends, example, seed):
    claims = kernel(bench, ends, example, seed).prove()
    assert [str(claim) for claim in claims if not claim.holds] == []
    assert {claim.kind for claim in claims} == {"never", "only"}


def test_the_whole_example_is_proved(bench, ends, example):
    claims = Kernel(bench, ends, example).prove()
    assert [str(claim) for claim in claims if not claim.holds] == []
    assert len(claims) > len(example.protected) + len(example.groups)


def ours(*rules):
    return "\n".join(f"insert rule inet {TABLE} {rule}" for rule in rules)


def theirs(kind, body):
    return f"table {kind} theirs {{\n{body}\n}}"


HOLES = {
    "an accept before the shield": ours("early accept", "forward accept"),
    "a protected network passes where tablets send": ours(
        "early ip daddr 10.0.0.0/8 accept", "forward ip daddr 10.0.0.0/8 accept"
    ),
    "a removed hook": f"flush chain inet {TABLE} forward\ndelete chain inet {TABLE} forward",
    "whoever sends is not looked at": f"flush chain inet {TABLE} early\ndelete chain inet {TABLE} early",
    "a policy that accepts": f"flush chain inet {TABLE} outwards\nflush chain inet {TABLE} forward\n"
    f"chain inet {TABLE} forward {{ policy accept; }}",
    "a family is missing": ours("early meta nfproto ipv6 accept", "forward meta nfproto ipv6 accept"),
    "a port more": f"insert rule inet {TABLE} by_group tcp dport 8088 accept",
    "ports above one": ours("by_group tcp dport > 9000 accept"),
    "a MAC and its address": ours(
        "early ether saddr . ip saddr { 02:00:00:00:00:77 . 10.99.2.9 } accept",
        "forward ether saddr . ip saddr { 02:00:00:00:00:77 . 10.99.2.9 } accept",
    ),
    "protocols of a set": f"add set inet {TABLE} odd {{ type inet_proto; elements = {{ tcp }}; }}\n"
    + ours("by_group meta l4proto @odd accept"),
    "a mark that lets pass": ours("outwards meta mark & 0x1 == 0x1 tcp dport 2222 accept"),
    "an address of nobody's": f"add element inet {TABLE} known4 {{ 8.8.8.8 }}\n"
    + ours("by_group ip daddr 8.8.8.8 udp dport 4444 accept"),
    "a changed destination behind our check": theirs(
        "ip", 'chain c { type filter hook forward priority 50; iifname "tab0" ip daddr set 10.10.0.5; }'
    ),
    "a changed destination at the very end": theirs(
        "ip", 'chain c { type filter hook postrouting priority 50; iifname "tab0" ip daddr set 10.10.0.5; }'
    ),
    "an ingress that forwards": theirs(
        "netdev", 'chain c { type filter hook ingress device "tab0" priority 0; ip protocol udp fwd to "up0"; }'
    ),
    "a copy of everything": theirs(
        "ip", 'chain c { type filter hook prerouting priority -400; dup to 10.255.0.1 device "up0"; }'
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("hole", sorted(HOLES))
def test_a_planted_hole_is_refuted_by_a_packet_that_passes(bench, ends, example, hole, seed):
    kernel_ = kernel(bench, ends, example, seed)
    assert all(claim.holds for claim in kernel_.prove())
    bench.nft(HOLES[hole])
    refuted = [claim for claim in kernel_.prove() if not claim.holds]
    assert refuted, "the hole is not seen"
    assert not [claim for claim in refuted if claim.unproven]
    # What goes to another tablet would come out where it came from.
    sent = [
        claim for claim in refuted
        if claim.packet.state == "new" and claim.packet.tablet != "from outside"
        and ip_address(claim.packet.destination) not in ip_network("10.99.0.0/16")
    ]  # fmt: skip
    assert sent, "no first packet shows it"
    for claim in sent:
        assert claim.packet.rules
        kernel_.learn(claim.packet)
        assert kernel_.send(claim.packet), str(claim)


@pytest.mark.parametrize("interface", ["up0", "mgmt0"])
def test_a_flow_that_may_be_opened_from_outside_is_refuted(bench, ends, example, interface):
    kernel_ = kernel(bench, ends, example, 0)
    bench.nft(ours(f'forward iifname "{interface}" tcp dport 22 accept'))
    refuted = {claim.subject: claim for claim in kernel_.prove() if not claim.holds}
    packet = refuted["anybody outside"].packet
    assert (packet.tablet, packet.protocol, packet.port) == ("from outside", "tcp", 22)
    assert ip_address(packet.destination) in ip_network("10.99.0.0/22")
    assert packet.site == ("pellegrin" if interface == "up0" else "mgmt0")
    if interface == "up0":
        gateway = bench.run(bench.gw, "cat", "/sys/class/net/up0/address").stdout.strip()
        source, destination = ip_address("8.8.8.8"), ip_address("10.99.0.16")
        body = wire.tcp(source, destination, 40000, 22, wire.SYN, MARKER + bytes(4))
        frame = wire.frame(packet.mac, gateway, wire.ip4(source, destination, wire.TCP, body))
        assert wire.carry(ends[1], ends[0], [frame], MARKER) == {0}


HARMLESS = {
    "a foreign table that accepts earlier": theirs(
        "inet", "chain c { type filter hook forward priority -100; policy accept; accept; }"
    ),
    "a foreign table that drops": theirs(
        "inet", "chain c { type filter hook forward priority 10; tcp dport 25 drop; }"
    ),
    "a masquerade": theirs(
        "ip", 'chain c { type nat hook postrouting priority 100; oifname "up0" masquerade; }'
    ),
    "counting and logging": theirs(
        "inet", 'chain c { type filter hook forward priority -5; counter; limit rate 5/second log prefix "x"; }'
    ),
    "a redirection to what is protected before our check": theirs(
        "ip", 'chain c { type nat hook prerouting priority -150; iifname "tab0" tcp dport 81 dnat to 10.10.0.5; }'
    ),
    "a protected member in a set of a service, behind the shield": (
        f"add element inet {TABLE} s_app_0_dns4 {{ PROTECTED }}\n"
        f"add element inet {TABLE} learned4 {{ PROTECTED }}"
    ),
    "a connection that is not tracked": theirs(
        "inet", "chain c { type filter hook prerouting priority -310; udp dport 9 notrack; }"
    ),
    "an accept that nothing reaches": ours("x_protected ip daddr 255.255.255.255 ip daddr 1.1.1.1 accept"),
}  # fmt: skip


@pytest.mark.parametrize("case", sorted(HARMLESS))
def test_what_only_looks_like_a_hole_is_proved(bench, ends, example, case):
    kernel_ = kernel(bench, ends, example, 1)
    address = next(str(n[0]) for n in kernel_.plan.protected if n.version == 4)
    bench.nft(HARMLESS[case].replace("PROTECTED", address))
    assert [str(claim) for claim in kernel_.prove() if not claim.holds] == []


UNKNOWN = {
    "a chance": ours(
        "early numgen random mod 2 == 0 accept", "forward numgen random mod 2 == 0 accept"
    ),
    "raw bytes": ours("early @nh,128,8 10 accept", "forward @nh,128,8 10 accept"),
    "a table that may be dormant": f"table inet {TABLE} {{ flags dormant; }}",
    "a set that packets fill": f"add set inet {TABLE} seen {{ type ipv4_addr; flags dynamic; size 9; }}\n"
    + ours(
        "early ip daddr @seen accept",
        "early add @seen { ip daddr }",
        "forward ip daddr @seen accept",
    ),
    "a bridge": theirs("bridge", "chain c { type filter hook forward priority 0; }"),
}


@pytest.mark.parametrize("case", sorted(UNKNOWN))
def test_what_is_not_understood_is_named_and_never_proved(bench, ends, example, case):
    kernel_ = kernel(bench, ends, example, 3)
    bench.nft(UNKNOWN[case])
    claims = kernel_.prove()
    open_ = [claim for claim in claims if claim.unproven]
    # A later nft says which flags a table has: what it lets pass is refuted then.
    assert open_ or ("dormant" in case and not any(claim.holds for claim in claims))
    assert all(claim.outcome == "NOT PROVEN" and not claim.holds for claim in open_)
    assert all("not understood: " in claim.why for claim in open_)


def test_what_no_listing_shows_leaves_nothing_proved(bench, ends, example):
    claims = kernel(bench, ends, example, 3).prove(["tc filters at the ingress of tab0"])
    assert all(claim.unproven and "tc filters" in claim.why for claim in claims)


def theirs_in_json(*expressions):
    """Return the rows of a foreign table: this kernel has neither queues nor flowtables."""
    where = {"family": "inet", "table": "theirs"}
    return [
        {"table": {"family": "inet", "name": "theirs", "handle": 900}},
        {"chain": {**where, "name": "c", "type": "filter", "hook": "forward", "prio": -10, "policy": "accept"}},
        {"rule": {**where, "chain": "c", "handle": 901, "expr": list(expressions)}},
    ]  # fmt: skip


def test_a_flowtable_keeps_open_what_was_withdrawn(bench, ends, example):
    flow = {"flow": {"op": "add", "flowtable": "@f"}}
    more = [
        {"flowtable": {"family": "inet", "table": "theirs", "name": "f", "dev": ["tab0", "up0"]}}
    ]
    claims = kernel(bench, ends, example, 0).prove(more=[*more, *theirs_in_json(flow)])
    refuted = {claim.subject: claim for claim in claims if not claim.holds}
    assert {"flows", "clinical"} <= set(refuted)
    assert "flowtable" in refuted["flows"].why
    kinds = {claim.kind for claim in refuted.values()}
    assert kinds == {"never"}, "what may be opened is decided before anything is in a flowtable"


@pytest.mark.parametrize("statement", [{"queue": {"num": 3}}, {"xt": None}, {"ct helper": "ftp"}])
def test_a_statement_that_is_not_understood_leaves_nothing_proved(bench, ends, example, statement):
    claims = kernel(bench, ends, example, 0).prove(more=theirs_in_json(statement))
    assert all(claim.unproven for claim in claims)
    assert all(next(iter(statement)) in claim.why for claim in claims)
