"""Whose hello may carry which name, on which port; and what the judge says of such flows."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from netguard.core import sni
from netguard.core.between import meet
from netguard.core.explain import explain_name
from netguard.core.names import Ports
from netguard.core.plan import compile_plan, mark_of
from netguard.core.verdict import Flow, verdict
from netguard.render import haproxy

ADDRESS = ip_address("20.1.2.3")
LEARNED = {"zoom": frozenset({ADDRESS})}


def strict(plan):
    ports = (Ports("tcp", 443, 443), Ports("udp", 8801, 8810))
    services = tuple(
        replace(s, sni="strict", ports=ports) if s.name == "zoom" else s for s in plan.services
    )
    return replace(plan, services=services)


@pytest.fixture(scope="module")
def loose(example):
    return compile_plan(example, ["pellegrin"])


@pytest.fixture(scope="module")
def plan(loose):
    return strict(loose)


def judged(plan, protocol, port, destination=ADDRESS):
    binding = next(b for b in plan.bindings if b.tablet == "T-001")
    inside = plan.sites[0].interfaces[0]
    flow = Flow(inside, binding.mac, binding.address, destination, protocol, port)
    return verdict(plan, flow, LEARNED)


@pytest.mark.parametrize(
    ("protocol", "port", "action", "word"),
    [
        ("tcp", 443, "accept", "must name the server"),
        ("tcp", 8443, "reject", "no service"),
        ("udp", 443, "reject", "QUIC"),
        ("udp", 8801, "accept", "learned from its names"),
    ],
)
def test_the_judge_knows_what_is_strict(plan, protocol, port, action, word):
    found = judged(plan, protocol, port)
    assert found.action == action
    assert word in found.reason


def test_explain_says_that_the_name_is_looked_at(example, plan):
    for port, strict_too in ((Ports("tcp", 443, 443), True), (Ports("udp", 8801, 8801), False)):
        action, rule, lines = explain_name(example, plan, "patients", "zoom.us", port)
        assert (action, rule) == ("accept", "patients/zoom")
        assert ("sni: strict" in lines[-1].why) == strict_too


def test_networks_of_a_strict_service_are_strict_too_and_others_are_not_touched(plan):
    network = next(s for s in plan.services if s.name == "zoom").networks[0]
    assert "QUIC" in judged(plan, "udp", 443, network.network_address + 5).reason
    assert "QUIC" not in judged(plan, "udp", 443, ip_address("20.9.9.9")).reason
    assert judged(plan, "tcp", 443, network.network_address + 5).allowed


def test_names_of_all_services_of_the_group_pass(plan):
    for name in ("zoom.us", "US02WEB.zoom.us", "meet.chu.example"):
        assert sni.may_name(plan, "patients", name)
    for name in ("evil.example", "x.chu.internal", "zoom.us.evil.example", "evilzoom.us", ""):
        assert not sni.may_name(plan, "patients", name)


def test_ports_are_stable_and_never_shared(plan, loose, monkeypatch):
    ports = sni.ports(plan)
    assert sni.ports(loose) == {}
    assert len(set(ports.values())) == len(ports) > 1
    assert all(61_000 <= port < 65_000 for port in ports.values())
    fewer = replace(plan, groups=tuple(g for g in plan.groups if g.name == "patients"))
    assert sni.ports(fewer) == {"patients": ports["patients"]}
    monkeypatch.setattr(sni.zlib, "crc32", lambda data: sni.PORTS - 1)
    crowded = set(sni.ports(plan).values())
    assert len(crowded) == len(ports)
    assert {sni.FIRST_PORT, sni.FIRST_PORT + sni.PORTS - 1} <= crowded


def test_nothing_is_banned_where_no_name_is_never_resolved(plan):
    text = haproxy.configuration(replace(plan, never_domains=()), "/x")
    assert "never" not in text
    assert "acl listed" in text


def test_a_flow_from_before_is_none_of_those_whose_name_was_checked(plan, loose):
    assert mark_of("patients", "zoom") != mark_of("patients", "zoom", strict=True)
    over = meet(loose, plan)
    assert "zoom" not in {service.name for service in over.services}
