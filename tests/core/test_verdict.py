"""May this packet pass: each rule of the order, once for and once against."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.names import Mac
from netguard.core.plan import compile_plan
from netguard.core.verdict import ESTABLISHED, INVALID, Flow, verdict

NOTHING: dict = {}


@pytest.fixture(scope="module")
def plan(example):
    return compile_plan(example, ["pellegrin"])


@pytest.fixture
def flow(plan):
    binding = next(b for b in plan.bindings if b.tablet == "T-001")

    def build(destination, protocol="tcp", port=443, **changes):
        base = Flow("tab0", binding.mac, binding.address, ip_address(destination), protocol, port)
        return replace(base, **changes)

    return build


@pytest.mark.parametrize(
    ("destination", "protocol", "port", "action", "rule"),
    [
        ("10.60.0.40", "udp", 10000, "accept", "patients/jitsi"),
        ("10.60.0.40", "udp", 10001, "reject", "patients/deny"),
        ("10.60.0.41", "udp", 10000, "reject", "patients/deny"),
        ("170.114.1.1", "udp", 8801, "accept", "patients/zoom"),
        ("10.10.0.5", "tcp", 104, "drop", "protected"),
        ("10.10.0.5", "udp", 53, "drop", "protected"),
        ("8.8.8.8", "udp", 53, "accept", "resolver"),
        ("8.8.8.8", "tcp", 443, "reject", "patients/deny"),
        ("10.99.0.1", "udp", 53, "accept", "resolver"),
        ("10.99.0.1", "udp", 123, "accept", "patients/time"),
        ("10.99.0.1", "udp", 67, "accept", "gateway"),
        ("10.99.0.1", "icmp", 0, "accept", "gateway"),
        ("10.99.0.1", "tcp", 22, "drop", "gateway"),
        ("10.99.0.17", "tcp", 443, "drop", "isolation"),
        ("224.0.0.251", "udp", 5353, "drop", "noise"),
        ("10.99.3.255", "udp", 137, "drop", "noise"),
        ("255.255.255.255", "udp", 67, "accept", "gateway"),
        ("1.1.1.1", "icmp", 0, "reject", "patients/deny"),
    ],
)
def test_a_known_tablet(plan, flow, destination, protocol, port, action, rule):
    judged = verdict(plan, flow(destination, protocol, port), NOTHING)
    assert (judged.action, judged.rule) == (action, rule)
    assert judged.steps[-1].decided
    assert not any(step.decided for step in judged.steps[:-1])
    assert judged.allowed is (action == "accept")


def test_a_learned_address_opens_its_service_and_its_ports_only(plan, flow):
    learned = {"whatsapp": frozenset({ip_address("157.240.0.60")})}
    assert verdict(plan, flow("157.240.0.60", port=5222), learned).rule == "patients/whatsapp"
    assert not verdict(plan, flow("157.240.0.60", port=80), learned).allowed
    assert not verdict(plan, flow("157.240.0.61", port=5222), learned).allowed
    assert not verdict(plan, flow("157.240.0.60", port=5222), NOTHING).allowed


def test_a_protected_address_in_a_learned_set_stays_shut(plan, flow):
    learned = {name: frozenset({ip_address("10.10.0.5")}) for name in plan.service}
    assert verdict(plan, flow("10.10.0.5"), learned).rule == "protected"


def test_who_sends_matters(plan, flow):
    assert (
        verdict(plan, flow("10.60.0.40", source=ip_address("10.99.0.200")), NOTHING).rule
        == "anti-spoof"
    )
    stranger = Mac.parse("64:1b:2f:00:00:99")
    assert verdict(plan, flow("10.60.0.40", mac=stranger), NOTHING).rule == "unknown-mac"


def test_a_tablet_without_an_address_may_ask_for_one(plan, flow):
    asking = flow("255.255.255.255", "udp", 67, source=ip_address("0.0.0.0"))
    assert verdict(plan, asking, NOTHING).rule == "dhcp"
    nosy = flow("255.255.255.255", "udp", 5000, source=ip_address("0.0.0.0"))
    assert verdict(plan, nosy, NOTHING).rule == "anti-spoof"


def test_ipv6_is_dropped_and_says_so(plan, flow):
    v6 = flow("2001:4860:4860::8888", source=ip_address("fe80::1"))
    assert verdict(plan, v6, NOTHING).rule == "ipv6"
    protected = flow("fd00:20::1", source=ip_address("fe80::1"))
    assert verdict(plan, protected, NOTHING).rule == "protected"


def test_without_interception_a_foreign_resolver_is_refused(example, flow):
    deaf = replace(example, resolver=replace(example.resolver, intercept_port_53=False))
    judged = verdict(compile_plan(deaf, ["pellegrin"]), flow("8.8.8.8", "udp", 53), NOTHING)
    assert judged.rule == "patients/deny"


def test_no_time_for_a_group_that_is_not_granted_it(plan, flow):
    patients = replace(plan.group["patients"], services=("jitsi",))
    others = tuple(g for g in plan.groups if g.name != "patients")
    untimed = replace(plan, groups=(*others, patients))
    assert verdict(untimed, flow("10.99.0.1", "udp", 123), NOTHING).rule == "gateway"


def test_a_group_may_drop_instead_of_reject(plan, flow):
    silent = replace(plan, groups=tuple(replace(g, deny="drop") for g in plan.groups))
    assert verdict(silent, flow("1.1.1.1"), NOTHING).action == "drop"


@given(
    destination=st.ip_addresses(),
    protocol=st.sampled_from(["tcp", "udp", "icmp"]),
    port=st.integers(0, 65535),
    learned=st.sets(st.ip_addresses(v=4), max_size=3),
)
def test_no_protected_address_is_ever_accepted(plan, destination, protocol, port, learned):
    binding = plan.bindings[0]
    flow = Flow("tab0", binding.mac, binding.address, destination, protocol, port)
    judged = verdict(plan, flow, dict.fromkeys(plan.service, frozenset({*learned, destination})))
    if plan.shield.covering(destination) is not None:
        assert judged.action == "drop"


@pytest.mark.parametrize("state", ["lost", "stolen", "retired"])
def test_nothing_of_a_lost_tablet_passes_whatever_it_claims(example, flow, state):
    plan = compile_plan(example, ["pellegrin"], {"T-001": state})
    zero = ip_address("0.0.0.0")
    for tried in (
        flow("10.60.0.40", "udp", 10000),
        flow("10.99.0.1", "udp", 53),
        flow("255.255.255.255", "udp", 67, source=zero),
        flow("10.60.0.40", "udp", 10000, source=plan.bindings[-1].address),
        flow("2001:4860:4860::8888", source=ip_address("fe80::1")),
    ):
        judged = verdict(plan, tried, NOTHING)
        assert (judged.action, judged.rule) == ("drop", "loan")
        assert f"T-001 is {state}" in judged.reason
    assert verdict(plan, flow("10.10.0.5"), NOTHING).rule == "protected"


@pytest.mark.parametrize("state", ["stock", "lent"])
def test_a_tablet_that_is_lent_or_in_stock_works(example, flow, state):
    plan = compile_plan(example, ["pellegrin"], {"T-001": state, "T-002": "lost"})
    assert verdict(plan, flow("10.60.0.40", "udp", 10000), NOTHING).allowed


def test_outside_its_hours_a_group_gets_nothing_and_its_running_flows_end(plan, flow):
    # In the example what runs at the end goes on for ten minutes: nothing new begins in them.
    closed, late, still = {"patients": 0}, {"patients": 600}, {"patients": 605}
    new = flow("10.60.0.40", "udp", 10000)
    assert verdict(plan, new, NOTHING, closed).rule == "patients/hours"
    assert verdict(plan, new, NOTHING, still).rule == "patients/jitsi"
    refused = verdict(plan, new, NOTHING, late)
    assert (refused.action, refused.rule) == ("drop", "patients/hours")
    assert "only what runs goes on" in refused.reason
    assert verdict(plan, flow("10.99.0.1", "udp", 53), NOTHING, closed).rule == "patients/hours"
    assert verdict(plan, flow("10.10.0.5"), NOTHING, closed).rule == "protected"
    mark = next(g.mark for g in plan.grants if g.rule == "patients/jitsi")
    back = replace(new, interface="up0", source=new.destination, destination=new.source)
    back = replace(back, state=ESTABLISHED, mark=mark)
    assert verdict(plan, back, NOTHING, still).rule == "patients/jitsi"
    assert verdict(plan, back, NOTHING, late).rule == "patients/jitsi"
    assert verdict(plan, back, NOTHING, closed).rule == "inbound"


def test_a_running_flow_lives_as_long_as_its_grant(plan, flow):
    mark = next(g.mark for g in plan.grants if g.rule == "patients/zoom")
    running = flow("8.8.8.8", "tcp", 443, state=ESTABLISHED, mark=mark)
    assert verdict(plan, running, NOTHING).rule == "patients/zoom"
    withdrawn = replace(plan, grants=tuple(g for g in plan.grants if g.mark != mark))
    assert verdict(withdrawn, running, NOTHING).rule == "no-grant"
    assert (
        verdict(plan, replace(running, destination=ip_address("10.10.0.5")), NOTHING).rule
        == "protected"
    )


def test_what_belongs_to_no_connection_is_refused(plan, flow):
    odd = flow("10.60.0.40", "tcp", 443, state=INVALID)
    assert verdict(plan, odd, NOTHING).rule == "no-grant"
    assert verdict(plan, flow("8.8.8.8", "tcp", 53, state=INVALID), NOTHING).rule == "no-grant"


def test_a_tablet_is_no_server_of_addresses_and_no_router(plan, flow):
    offer = {"source_port": 67}
    assert verdict(plan, flow("8.8.8.8", "udp", 68, **offer), NOTHING).rule == "rogue-dhcp"
    assert verdict(plan, flow("255.255.255.255", "udp", 68, **offer), NOTHING).rule == "rogue-dhcp"
    zero = ip_address("0.0.0.0")
    relayed = flow("255.255.255.255", "udp", 67, source=zero, **offer)
    assert verdict(plan, relayed, NOTHING).rule == "rogue-dhcp"
    six = {"source": ip_address("fe80::1")}
    assert verdict(plan, flow("ff02::1", "icmpv6", 134, **six), NOTHING).rule == "rogue-ra"
    assert verdict(plan, flow("ff02::1", "icmpv6", 135, **six), NOTHING).rule == "ipv6"
    answer = flow("fe80::9", "udp", 546, source_port=547, **six)
    assert verdict(plan, answer, NOTHING).rule == "rogue-dhcp"


def test_from_outside_only_what_a_tablet_has_asked_for_comes_in(example, plan, flow):
    out = flow("10.60.0.40", "udp", 10000)
    back = replace(out, interface="up0", source=out.destination, destination=out.source)
    assert verdict(plan, back, NOTHING).rule == "inbound"
    clinical = replace(back, source=ip_address("10.10.0.5"))
    assert verdict(plan, clinical, NOTHING).rule == "protected-reply"
    assert verdict(plan, replace(back, destination=clinical.source), NOTHING).rule == "protected"
    lost = compile_plan(example, ["pellegrin"], {"T-001": "stolen"})
    assert verdict(lost, back, NOTHING).rule == "loan"


def test_the_limit_of_new_flows_is_told(plan, flow):
    steps = {s.rule: s.why for s in verdict(plan, flow("10.60.0.40", "udp", 10000), NOTHING).steps}
    assert steps["new-flows"] == "at most 100/s new flows of one tablet, 500 at once"
