"""All packets at once: the regions against the judge of one packet, and the address filter."""

import random
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import reach, regions
from netguard.core.names import Mac
from netguard.core.plan import compile_plan
from netguard.core.verdict import ESTABLISHED, INVALID, NEW, Flow, verdict
from netguard.render import names
from tests.kernel import drawn

ACTIONS = {reach.PASS: {"accept"}, reach.LOCAL: {"accept"}, reach.DENY: {"drop", "reject"}}
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=6).map(
    lambda rows: regions.union((a, a + n) for a, n in rows)
)


def numbers(spans):
    return {n for first, last in spans for n in range(first, last + 1)}


@given(SPANS, SPANS)
def test_spans_are_sets(one, other):
    assert numbers(regions.meet(one, other)) == numbers(one) & numbers(other)
    assert numbers(regions.less(one, other)) == numbers(one) - numbers(other)
    assert numbers(regions.union(one + other)) == numbers(one) | numbers(other)
    assert regions.size(one) == len(numbers(one))
    assert regions.inside(one, other) == (numbers(one) <= numbers(other))
    assert regions.inside(one, regions.union(one + other))
    for spans in (regions.less(one, other), regions.union(one + other)):
        assert all(a[1] + 1 < b[0] for a, b in pairwise(spans))


@given(st.lists(st.tuples(SPANS, SPANS), max_size=4), st.lists(st.tuples(SPANS, SPANS), max_size=4))
def test_boxes_are_sets_of_packets(ones, others):
    def boxes(pairs):
        return tuple(each for a, s in pairs for each in regions.box(a, s))

    def packets(region):
        return {(a, s) for b in region for a in numbers(b.addresses) for s in numbers(b.services)}

    one, other = boxes(ones), boxes(others)
    assert packets(regions.both(one, other)) == packets(one) & packets(other)
    assert packets(regions.without(one, other)) == packets(one) - packets(other)


def test_an_address_and_its_number():
    for text in ("0.0.0.0", "255.255.255.255", "::", "2001:db8::1"):
        assert regions.address_of(regions.number_of(ip_address(text))) == ip_address(text)
    assert regions.shown(regions.ANYTHING[:0] + regions.of_protocol("icmp")) == "icmp"


@pytest.mark.parametrize("seed", range(60))
def test_the_regions_say_of_each_packet_what_the_judge_says(example, seed):
    dice = random.Random(seed)
    policy = drawn.policy_of(dice, example)
    strict = {n: replace(policy.services[n], sni="strict") for n in sorted(policy.services)[1:2]}
    policy = replace(policy, services={**policy.services, **strict})
    intercept = replace(policy.resolver, intercept_port_53=dice.random() < 0.5)
    plan = compile_plan(replace(policy, resolver=intercept), ["pellegrin"])
    learned = drawn.learned_of(dice, plan)
    spans = {name: regions.of_addresses(held) for name, held in learned.items()}
    draw = drawn.Draw(dice, plan, learned, iter(range(10_000)))
    for _ in range(120):
        binding = dice.choice(draw.bindings)
        source = dice.choice(reach.SOURCES)
        state = dice.choice([NEW, NEW, NEW, ESTABLISHED, INVALID])
        marks = [g.mark for g in plan.grants if g.group == binding.group]
        if state == ESTABLISHED and not marks:
            continue
        protocol = dice.choice(["tcp", "udp", "icmp", "253"])
        port = dice.choice(draw.ports) if protocol in {"tcp", "udp"} else 0
        addresses = {
            reach.OWN: binding.address,
            reach.NONE: drawn.ZERO,
            reach.OTHER: ip_address("10.99.1.200"),
            reach.SIX: ip_address("fd00::5"),
        }
        destination = dice.choice(draw.destinations)
        mac = binding.mac if (known := dice.random() < 0.9) else Mac.parse("64:1b:2f:00:00:99")
        flow = Flow(
            "tab0", mac, addresses[source], destination, protocol, port, 40000, state,
            marks[0] if state == ESTABLISHED else 0,
        )  # fmt: skip
        judged = verdict(plan, flow, learned)
        sender = reach.Sender("pellegrin", binding.group if known else None, source, state)
        rules = reach.rules_of(plan, sender, spans)
        rule = next(r for r in rules if regions.holds(r.region, destination, protocol, port))
        assert judged.action in ACTIONS[rule.action], (flow, judged, rule.id)
        if state != ESTABLISHED or rule.action != reach.PASS:
            assert rule.id == judged.rule, (flow, judged)
        # What may have been learned holds all of it.
        assert rule.region == rule.certain


def test_what_may_be_learned_is_what_the_filter_lets_pass(example):
    plan = compile_plan(example, ["pellegrin"])
    filter_ = reach.name_rules(plan)
    book = names.read(names.render(plan)).rules
    edges = [n for text in ("10.60.0.40/32", "10.1.1.53/32") for n in [ip_network(text)]]
    edges += [*plan.protected, *reach.SPECIAL4, *reach.SPECIAL6]
    edges += [n for site in plan.sites for n in site.networks]
    points = {reach.GLOBAL6.network_address, ip_address("2a00:1450::1"), ip_address("8.8.8.8")}
    for network in edges:
        for number in (int(network.network_address), int(network.broadcast_address)):
            kind = type(network.network_address)
            points |= {
                kind(max(0, min(2**network.max_prefixlen - 1, number + d))) for d in (-1, 0, 1)
            }
    for service in plan.services:
        if not service.domains:
            assert reach.learnable(plan, service) == ()
            continue
        region = regions.box(reach.learnable(plan, service), regions.ANYTHING)
        for point in sorted(points, key=regions.number_of):
            refused = book.refusal([service.name], point)
            assert refused == filter_.refusal([service.name], point)
            assert regions.holds(region, point, "tcp", 1) == (not refused), (service.name, point)


def test_names_are_decided_as_the_proxy_does(example):
    plan = compile_plan(example, sorted(example.sites))
    assert reach.name_rules(plan).domains == names.read(names.render(plan)).rules.domains
    assert reach.name_rules(plan).never == names.read(names.render(plan)).rules.never
