"""Explain gives the deciding rule with its places, and what was looked at before."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from netguard.core.explain import Explanation, as_json, explain_address, explain_name, find_tablet
from netguard.core.names import Ports
from netguard.core.plan import compile_plan
from netguard.core.verdict import Flow
from netguard.errors import BadValue


@pytest.fixture(scope="module")
def plan(example):
    return compile_plan(example, ["pellegrin"])


def explained(example, plan, destination, protocol, port):
    binding = next(b for b in plan.bindings if b.tablet == "T-001")
    flow = Flow("tab0", binding.mac, binding.address, ip_address(destination), protocol, port)
    return explain_address(example, plan, flow, {})


def text_at(origin):
    return (
        Path(origin.file)
        .read_text(encoding="utf-8")
        .splitlines()[origin.line - 1][origin.column - 1 :]
    )


def test_an_allowed_packet_names_the_allow_the_network_and_the_port(example, plan):
    judged, lines = explained(example, plan, "10.60.0.40", "udp", 10000)
    assert judged.rule == lines[-1].rule == "patients/jitsi"
    words = [text_at(origin) for origin in lines[-1].origins]
    assert [word.split(",")[0].split("]")[0].split()[0] for word in words] == [
        "jitsi",
        "10.60.0.40/32",
        "udp/10000",
    ]


def test_a_protected_packet_names_the_line_that_protects(example, plan):
    _, lines = explained(example, plan, "10.10.0.5", "tcp", 104)
    assert [text_at(o).startswith("10.10.0.0/16") for o in lines[-1].origins] == [True]


def test_a_refused_packet_shows_every_service_that_did_not_decide(example, plan):
    judged, lines = explained(example, plan, "1.2.3.4", "tcp", 443)
    assert judged.rule == "patients/deny"
    looked = {line.rule for line in lines}
    assert {f"patients/{name}" for name in plan.group["patients"].services} <= looked
    assert lines[-1].origins[0].file == "rules/groups.yaml"


def test_a_gateway_rule_has_no_line_in_the_rules(example, plan):
    _, lines = explained(example, plan, "10.99.0.1", "tcp", 22)
    assert lines[-1].origins == ()


def test_a_name_is_allowed_by_the_service_that_lists_it(example, plan):
    action, rule, lines = explain_name(
        example, plan, "patients", "us02web.zoom.us", Ports.parse("tcp/443")
    )
    assert (action, rule) == ("accept", "patients/zoom")
    assert any("*.zoom.us" in text_at(origin) for origin in lines[-1].origins)


def test_a_name_on_another_port_says_which_ports_there_are(example, plan):
    action, rule, lines = explain_name(example, plan, "patients", "zoom.us", Ports.parse("tcp/22"))
    assert (action, rule) == ("reject", "patients/deny")
    assert any("none of its ports" in line.why for line in lines)


def test_a_name_that_is_never_resolved_says_so(example, plan):
    ban = plan.never_domains[0]
    action, rule, _ = explain_name(
        example, plan, "patients", f"x.{ban.name}", Ports.parse("tcp/443")
    )
    assert (action, rule) == ("drop", "never")


@pytest.mark.parametrize("word", ["T-001", "64:1b:2f:6a:d5:79", "641B.2F6A.D579", "10.99.0.16"])
def test_a_tablet_is_found_by_id_mac_or_address(example, word):
    assert find_tablet(example, word).id == "T-001"


def test_an_unknown_tablet_is_named_with_the_nearest(example):
    with pytest.raises(BadValue, match="unknown tablet 'T-0O1', did you mean 'T-"):
        find_tablet(example, "T-0O1")


def test_the_json_form_is_stable(example, plan):
    judged, lines = explained(example, plan, "10.10.0.5", "tcp", 104)
    explanation = Explanation(
        "T-001", "pellegrin", "10.10.0.5", "tcp/104", judged.action, judged.rule, lines
    )
    body = as_json(explanation, {"packets": 3})
    assert set(body) == {
        "tablet",
        "site",
        "destination",
        "port",
        "allowed",
        "action",
        "rule",
        "steps",
        "live",
    }
    assert body["allowed"] is False
    assert body["steps"][0]["origins"][0].startswith("rules/protected.yaml:")
