"""The proof: what is sound is proved, each planted hole is refuted, and the refuting packet passes."""

import random
from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest

from netguard.core import reach, regions
from netguard.core.names import Domain, Mac, Ports
from netguard.core.plan import compile_plan
from netguard.core.proof import Claim, notes, prove, world
from netguard.core.verdict import Flow, verdict
from tests.kernel import drawn


@pytest.fixture(scope="module")
def plan(example):
    return compile_plan(example, sorted(example.sites))


def refuted(policy, plan):
    return [claim for claim in prove(policy, plan) if not claim.holds]


def passes(plan, packet):
    """Send the packet of a refutation past the judge, with what it goes to learned for its service."""
    binding = next(b for b in plan.bindings if b.tablet == packet.tablet)
    destination = ip_address(packet.destination)
    service = packet.rules[-1].partition("/")[2]
    marks = [g.mark for g in plan.grants if g.rule == packet.rules[-1]]
    flow = Flow(
        plan.site[packet.site].interfaces[0], binding.mac, binding.address, destination,
        packet.protocol, packet.port, 40000, packet.state, marks[0] if packet.state != "new" else 0,
    )  # fmt: skip
    held = {service: frozenset({destination})} if service in plan.service else {}
    return verdict(plan, flow, held)


def test_the_example_hospital_is_proved(example, plan):
    claims = prove(example, plan)
    assert refuted(example, plan) == []
    assert {c.subject for c in claims if c.kind == "only"} == set(example.groups)
    assert set(example.protected) <= {c.subject for c in claims}
    assert any("serves every other name" in note for note in notes(plan))
    assert any(note.startswith("Shared: ") for note in notes(plan))


@pytest.mark.parametrize("seed", range(25))
def test_what_is_compiled_soundly_is_proved(example, seed):
    policy = drawn.policy_of(random.Random(seed), example)
    assert refuted(policy, compile_plan(policy, ["pellegrin"])) == []


def service(plan, name, **changes):
    services = tuple(replace(s, **changes) if s.name == name else s for s in plan.services)
    return replace(plan, services=services)


def without_network(plan):
    gone = ip_network("10.10.0.0/16")
    return replace(plan, protected=tuple(n for n in plan.protected if n != gone))


HOLES = {
    "a protected network is missing, and a flow that is open goes on": (without_network, "pacs"),
    "it is missing, and a name may be answered with it": (
        lambda p: service(without_network(p), "jitsi", allow_private=(ip_network("10.10.0.0/24"),)),
        "pacs",
    ),
    "the IPv6 half is missing": (
        lambda p: replace(p, protected=tuple(n for n in p.protected if n.version == 4)),
        None,
    ),
    "a service has a network too many": (
        lambda p: service(p, "jitsi", networks=(ip_network("10.60.0.0/24"),)),
        "patients",
    ),
    "a service has a port too many": (
        lambda p: service(p, "jitsi", ports=(Ports("tcp", 1, 65535),)),
        "patients",
    ),
    "a group has a service too many": (
        lambda p: replace(
            p,
            groups=tuple(
                replace(g, services=("jitsi",)) if g.name == "quarantine" else g for g in p.groups
            ),
        ),
        "quarantine",
    ),
    "the filter lets private addresses in": (
        lambda p: service(p, "zoom", allow_private=(ip_network("192.168.0.0/16"),)),
        "patients",
    ),
    "the tablets' own network is not isolated": (
        lambda p: replace(
            p, sites=tuple(replace(s, networks=(ip_network("10.99.4.0/24"),)) for s in p.sites)
        ),
        "tablets of pellegrin",
    ),
    "a banned name is not banned": (
        lambda p: replace(
            service(p, "jitsi", domains=(Domain.parse("www.chu.internal", top_level=True),)),
            never_domains=(),
        ),
        "names",
    ),
    "a site gives a clinical VLAN": (
        lambda p: replace(p, sites=(replace(p.sites[0], vlan=200), *p.sites[1:])),
        "VLAN",
    ),
}


@pytest.mark.parametrize("name", HOLES)
def test_a_planted_hole_is_refuted_by_a_packet_that_passes(example, plan, name):
    spoil, subject = HOLES[name]
    spoilt = spoil(plan)
    found = refuted(example, spoilt)
    if subject is None:
        # It only looks like a hole: IPv6 of tablets is dropped whole.
        assert [
            c for c in found if c.packet is not None and not passes(spoilt, c.packet).allowed
        ] == []
        return
    assert subject in {claim.subject for claim in found}
    for claim in found:
        if claim.packet is not None and claim.packet.tablet:
            judged = passes(spoilt, claim.packet)
            assert judged.allowed, claim
            assert judged.rule == claim.packet.rules[-1]


def test_clinical_equipment_among_the_tablets_is_refuted(example, plan):
    mac = plan.bindings[0].mac
    never = replace(example.never, macs=frozenset({mac, Mac.parse("f0:e5:c3:00:00:01")}))
    (claim,) = refuted(replace(example, never=never), plan)
    assert (claim.subject, claim.why) == ("MACs", f"{mac} is {plan.bindings[0].tablet}")
    nobody = replace(example, never=replace(example.never, macs=frozenset()))
    assert not [claim for claim in prove(nobody, plan) if claim.subject == "MACs"]


def test_what_is_not_proven_is_said_to_be_neither_proved_nor_refuted():
    claim = Claim(
        "only", "patients", "reaches jitsi", holds=False, why="not understood", unproven=True
    )
    assert str(claim) == "patients reaches jitsi: NOT PROVEN, not understood"
    assert replace(claim, unproven=False).outcome == "REFUTED"


def test_a_service_without_names_has_nothing_but_its_networks(example):
    service = next(s for s in example.services.values() if s.domains and s.local is None)
    network = ip_network("198.51.100.0/24")
    for domains, public in ((service.domains, True), ((), False)):
        bare = replace(service, domains=domains, networks=(network,))
        policy = replace(example, services={**example.services, service.name: bare})
        region = world(policy, service.name)
        port = service.ports[0]
        where = port.protocol, port.first
        assert regions.holds(region, ip_address("198.51.100.7"), *where)
        assert regions.holds(region, ip_address("8.8.8.8"), *where) == public


def test_answers_of_what_is_protected_do_not_reach_tablets(example, plan):
    rules = reach.rules_from_outside(plan)
    mark = plan.grants[0].mark
    for network in plan.protected:
        if network.version == 4:
            source, tablet = network.network_address + 5, plan.bindings[0]
            flow = Flow(
                "up0", tablet.mac, source, tablet.address, "tcp", 443, 1, "established", mark
            )
            assert verdict(plan, flow, {}).rule == rules[0].id == "protected-reply"
