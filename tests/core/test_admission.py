"""Who is admitted: every way to be refused, and the one way in."""

from dataclasses import replace

import pytest

from netguard.core.admission import Request, decide, mac_of, site_of_nas, ssid_of

KNOWN = "64:1b:2f:00:00:01"


@pytest.fixture
def policy(small):
    return small()


def ask(policy, nas="wlc-1", **attributes):
    return decide(
        policy, Request(nas, {name.replace("_", "-"): v for name, v in attributes.items()})
    )


def test_a_lent_tablet_joins_its_sites_vlan(policy):
    answer = ask(policy, User_Name=KNOWN, Calling_Station_Id="64-1B-2F-00-00-01")
    assert (answer.answer, answer.vlan, answer.rule) == ("accept", 640, "patients/admit")
    assert str(answer.origin).startswith("rules/sites.yaml:")
    assert [step.decided for step in answer.steps] == [False, False, False, True]


@pytest.mark.parametrize(
    ("attributes", "rule"),
    [
        ({"User_Name": KNOWN, "Calling_Station_Id": KNOWN, "EAP_Message": "0x02"}, "eap"),
        ({"User_Name": "nurse", "Calling_Station_Id": KNOWN}, "not-mac-authentication"),
        ({"User_Name": KNOWN, "Calling_Station_Id": "64:1b:2f:00:00:02"}, "not-mac-authentication"),
        ({"Calling_Station_Id": KNOWN}, "not-mac-authentication"),
        ({"User_Name": "64:1b:2f:99:00:01", "Calling_Station_Id": "641b2f990001"}, "unknown-mac"),
        ({"User_Name": "66:1b:2f:99:00:01", "Calling_Station_Id": "661b2f990001"}, "private-mac"),
        (
            {"User_Name": "64:1b:2f:00:00:05", "Calling_Station_Id": "641b2f000005"},
            "visitors/sites",
        ),
    ],
)
def test_everything_else_is_rejected_without_a_vlan(policy, attributes, rule):
    answer = ask(policy, **attributes)
    assert (answer.answer, answer.vlan, answer.rule) == ("reject", None, rule)


def test_a_switch_may_name_the_device_in_user_name_only(policy):
    assert ask(policy, User_Name="641b2f000001").answer == "accept"


def test_a_nas_that_no_site_has_is_rejected(policy):
    assert ask(policy, nas="rogue", User_Name=KNOWN).rule == "unknown-nas"
    assert site_of_nas(policy, "rogue") is None


def test_another_ssid_is_refused_only_where_the_site_says_so(policy):
    attributes = {"User_Name": KNOWN, "Called_Station_Id": "AA-BB-CC-DD-EE-FF:STAFF:5G"}
    assert ask(policy, **attributes).answer == "accept"
    site = replace(policy.sites["pellegrin"], other_networks="reject")
    strict = replace(policy, sites={**policy.sites, "pellegrin": site})
    assert ask(strict, **attributes).rule == "other-network"
    own = {**attributes, "Called_Station_Id": "AA-BB-CC-DD-EE-FF:CHU-TABLETTES"}
    assert ask(strict, **own).answer == "accept"


@pytest.mark.parametrize(
    ("called", "ssid"),
    [
        ("AA-BB-CC-DD-EE-FF:Guest", "Guest"),
        ("aabb.ccdd.eeff:a:b", "a:b"),
        ("AA-BB-CC-DD-EE-FF", None),
        ("AP-12:Guest", None),
        ("zz-bb-cc-dd-ee-ff:Guest", None),
        ("", None),
    ],
)
def test_the_ssid_is_read_after_a_mac_only(called, ssid):
    assert ssid_of({"Called-Station-Id": called}) == ssid


def test_no_mac_at_all_is_nobody():
    assert mac_of({}) is None


@pytest.mark.parametrize("state", ["lost", "stolen", "retired"])
def test_a_lost_tablet_is_rejected_at_every_site(policy, state):
    loans = {"T-001": state, "T-005": state}
    attributes = {"User-Name": KNOWN, "Called-Station-Id": "AA-BB-CC-DD-EE-FF:STAFF"}
    answer = decide(policy, Request("wlc-1", attributes), loans)
    assert (answer.answer, answer.vlan, answer.rule) == ("reject", None, f"loan/{state}")
    assert "netguard tablet T-001 found" in answer.reason
    assert str(answer.origin).startswith("rules/tablets.csv:")
    # Its group has no access here either; that it is gone is what an engineer has to know.
    elsewhere = next(t for t in policy.tablets.values() if t.group == "visitors")
    asked = Request("wlc-1", {"User-Name": str(elsewhere.mac)})
    assert decide(policy, asked, {elsewhere.id: state}).rule == f"loan/{state}"


@pytest.mark.parametrize("state", ["stock", "lent"])
def test_a_tablet_that_is_lent_or_in_stock_joins(policy, state):
    asked = Request("wlc-1", {"User-Name": KNOWN})
    assert decide(policy, asked, {"T-001": state, "T-002": "lost"}).answer == "accept"
