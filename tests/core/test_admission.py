"""Who is admitted: every way to be refused, and the one way in."""

from dataclasses import replace

import pytest

from netguard.core.admission import Request, decide, mac_of, site_of_nas
from netguard.core.areas import ssid_of
from netguard.core.loans import effective

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
    assert [step.decided for step in answer.steps] == [False, False, False, False, True]
    assert (answer.session_timeout, answer.interim) == (None, 300)


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
        ("AP-CAR-301:Guest", "Guest"),
        ("ap-car-301:a:b", "a:b"),
        ('AA-BB-CC-DD-EE-FF:"', '"'),
        ('AP-CAR-301:"', None),
        (("AP-12", "AA-BB-CC-DD-EE-FF:Guest"), "Guest"),
        ("AP-12", None),
        ("AA:BB:CC:DD:EE:FF", None),
        ("AA:BB:CC:DD:EE:FF:a:b", "a:b"),
        ("AA-BB-CC-DD-EE-FF:", None),
        ("", None),
    ],
)
def test_the_ssid_is_read_where_it_is_certain(small, called, ssid):
    site = small(sites=SITES).sites["pellegrin"]
    assert ssid_of(site, {"Called-Station-Id": called}) == ssid


@pytest.mark.parametrize(
    ("attributes", "ssid"),
    [
        ({"Aruba-Essid-Name": "Guest", "Called-Station-Id": "AP-12:a"}, "Guest"),
        ({"Aruba-Essid-Name": "Guest", "Called-Station-Id": "AA-BB-CC-DD-EE-FF:a"}, "a"),
        ({"Aruba-Essid-Name": "x" * 33, "Fortinet-SSID": "Guest"}, "Guest"),
        ({"Ruckus-SSID": "a\0b"}, None),
    ],
)
def test_a_vendors_own_attribute_names_the_ssid(small, attributes, ssid):
    assert ssid_of(small(sites=SITES).sites["pellegrin"], attributes) == ssid


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


def test_a_tablet_in_quarantine_gets_its_vlan_where_there_is_one_and_nothing_elsewhere(small):
    policy = small()
    site = replace(policy.sites["pellegrin"], quarantine_vlan=641, other_networks="reject")
    apart = replace(policy, sites={**policy.sites, "pellegrin": site})
    loans = {"T-001": "quarantined", "T-005": "quarantined"}
    asked = {"User-Name": KNOWN, "Called-Station-Id": "AA-BB-CC-DD-EE-FF:CHU-TABLETTES"}
    answer = decide(apart, Request("wlc-1", asked), loans)
    assert (answer.answer, answer.vlan, answer.rule) == ("accept", 641, "loan/quarantined")
    assert (answer.interim, answer.session_timeout) == (None, None)
    assert "netguard release T-001" in answer.reason
    other = {**asked, "Called-Station-Id": "AA-BB-CC-DD-EE-FF:STAFF"}
    assert decide(apart, Request("wlc-1", other), loans).rule == "other-network"
    rejected = decide(policy, Request("wlc-1", asked), loans)
    assert (rejected.answer, rejected.rule) == ("reject", "loan/quarantined")
    # Its group may not be at this site, in quarantine or not.
    stranger = next(t for t in apart.tablets.values() if t.group == "visitors")
    asked = Request("wlc-1", {"User-Name": str(stranger.mac)})
    assert decide(apart, asked, {stranger.id: "quarantined"}).answer == "reject"


def test_what_is_lost_stays_lost_in_quarantine():
    said = {"a": "lent", "b": "stolen", "c": "retired"}
    counts = effective(said, ["a", "b", "c", "d"])
    assert counts == {"a": "quarantined", "b": "stolen", "c": "retired", "d": "quarantined"}


@pytest.mark.parametrize("state", ["stock", "lent"])
def test_a_tablet_that_is_lent_or_in_stock_joins(policy, state):
    asked = Request("wlc-1", {"User-Name": KNOWN})
    assert decide(policy, asked, {"T-001": state, "T-002": "lost"}).answer == "accept"


SITES = """\
sites:
  pellegrin:
    time-zone: Europe/Paris
    ssid: CHU-TABLETTES
    vlan: 640
    enrolment-vlan: 642
    networks: [10.99.0.0/22]
    gateway: [10.99.0.1]
    interfaces: [tab0]
    uplink: up0
    ipv6: drop
    nas:
      wlc-1: {address: 10.1.2.10, vendor: cisco-9800, message-authenticator: required, secret-file: a}
    areas:
      cardio-3: {aps: [AP-CAR-301, "70:3a:0e:*"]}
      icu: {aps: ["70:3a:0e:11:22:33", "70:3a:0e:11:*", "AP: 7"], closed-to: [patients]}
      lobby: {aps: [AP-LOB-01], edge: true}
  haut-leveque:
    time-zone: Europe/Paris
    ssid: CHU-TABLETTES
    vlan: 650
    networks: [10.99.8.0/22]
    gateway: [10.99.8.1]
    interfaces: [tab1]
    uplink: up0
    ipv6: drop
    nas:
      wlc-2: {address: 10.1.2.20, vendor: aruba-controller, message-authenticator: required, secret-file: b}
    areas:
      entrance: {aps: [AP-ENT-01], edge: true}
"""


@pytest.mark.parametrize(
    ("attributes", "area"),
    [
        ({"Called-Station-Id": "AP-CAR-301:CHU-TABLETTES"}, "cardio-3"),
        ({"Called-Station-Id": "ap-car-301"}, "cardio-3"),
        ({"Called-Station-Id": "70-3A-0E-99-99-99:CHU-TABLETTES"}, "cardio-3"),
        ({"Called-Station-Id": "703a0e11.2233"}, None),
        ({"Called-Station-Id": "703a.0e11.2233"}, "icu"),
        ({"Called-Station-Id": "70:3A:0E:11:99:99"}, "icu"),
        ({"Aruba-Location-Id": "AP-LOB-01", "Called-Station-Id": "70-3A-0E-11-22-33"}, "lobby"),
        ({"Meraki-Ap-Name": "unknown", "Called-Station-Id": "AP-LOB-01:x"}, "lobby"),
        ({"NAS-Identifier": "70-3A-0E-11-22-33:vap1"}, "icu"),
        ({"NAS-Identifier": "AP: 7"}, None),
        ({"Called-Station-Id": "AA-BB-CC-DD-EE-FF", "NAS-Identifier": "AP-CAR-301"}, "cardio-3"),
        ({"NAS-IP-Address": "10.1.2.10"}, None),
        ({}, None),
    ],
)
def test_the_first_name_that_the_site_knows_gives_the_area(small, attributes, area):
    from netguard.core.areas import area_of

    found = area_of(small(sites=SITES).sites["pellegrin"], attributes)
    assert (found.name if found else None) == area


def test_an_area_may_be_closed_to_a_group(small):
    policy = small(sites=SITES)
    answer = ask(policy, User_Name=KNOWN, Called_Station_Id="70-3A-0E-11-22-33:CHU-TABLETTES")
    assert (answer.answer, answer.rule) == ("reject", "patients/areas")
    assert str(answer.origin).startswith("rules/sites.yaml:16:")
    assert (
        ask(policy, User_Name=KNOWN, Called_Station_Id="AP-LOB-01:CHU-TABLETTES").answer == "accept"
    )


@pytest.mark.parametrize(
    ("clock", "rule", "left"),
    [
        ("2026-01-15T05:59:59+00:00", "patients/hours", None),
        ("2026-01-15T06:00:00+00:00", "patients/admit", 15 * 3600),
        ("2026-01-15T20:59:50+00:00", "patients/admit", 10),
        ("2026-01-15T21:00:00+00:00", "patients/hours", None),
        ("2026-07-15T20:00:00+00:00", "patients/hours", None),
        ("2026-07-15T05:00:00+00:00", "patients/admit", 15 * 3600),
    ],
)
def test_hours_are_those_of_the_site_and_end_the_session(policy, clock, rule, left):
    from datetime import datetime

    request = Request("wlc-1", {"User-Name": KNOWN})
    answer = decide(policy, request, at=datetime.fromisoformat(clock))
    assert (answer.rule, answer.session_timeout) == (rule, left)


def test_a_session_is_as_long_as_the_rules_say(small):
    groups = "groups:\n  patients: {sites: [pellegrin], allow: [jitsi], session-timeout: 8h}\n  visitors: {sites: [haut-leveque], allow: [jitsi]}\n"
    head = "version: 1\norganisation: x\nresolver: {upstream: [10.1.1.53]}\ndefaults: {session-timeout: 2h}\n"
    policy = small(
        groups=groups, netguard=head, presence="presence: {heartbeat: {interim: 600s}}\n"
    )
    assert ask(policy, User_Name=KNOWN).session_timeout == 8 * 3600
    other = decide(policy, Request("wlc-2", {"User-Name": "64:1b:2f:00:00:05"}))
    assert (other.session_timeout, other.interim) == (2 * 3600, 600)


def test_an_unknown_mac_may_enrol_only_where_the_rules_say_so(small):
    stranger = {"User_Name": "64:1b:2f:99:00:01"}
    assert ask(small(sites=SITES), **stranger).answer == "reject"
    head = "version: 1\norganisation: x\nresolver: {upstream: [10.1.1.53]}\ndefaults: {unknown-mac: enrol}\n"
    policy = small(sites=SITES, netguard=head)
    answer = ask(policy, **stranger)
    assert (answer.answer, answer.vlan, answer.rule) == ("accept", 642, "unknown-mac")
    assert ask(policy, User_Name="66:1b:2f:99:00:01").rule == "private-mac"
    assert decide(policy, Request("wlc-2", {"User-Name": "64:1b:2f:99:00:01"})).answer == "reject"
    site = replace(policy.sites["pellegrin"], other_networks="reject")
    strict = replace(policy, sites={**policy.sites, "pellegrin": site})
    staff = ask(strict, **stranger, Called_Station_Id="AA-BB-CC-DD-EE-FF:STAFF")
    assert (staff.answer, staff.vlan, staff.rule) == ("reject", None, "other-network")
    own = ask(strict, **stranger, Called_Station_Id="AA-BB-CC-DD-EE-FF:CHU-TABLETTES")
    assert (own.answer, own.vlan) == ("accept", 642)


def test_an_accept_carries_the_tablet_s_own_key_where_its_nas_takes_one(small):
    text = SITES.replace("secret-file: a}", "secret-file: a, psk: per-tablet}")
    assert text != SITES
    answer = ask(small(sites=text), User_Name=KNOWN)
    assert (answer.answer, answer.psk) == ("accept", "cisco-avpair")
    step = next(step for step in answer.steps if step.rule == "psk")
    assert (step.decided, str(step.origin).rpartition(":")[0]) == (False, "rules/sites.yaml:13")
    assert answer.steps[-1].decided
    plain = ask(small(sites=SITES), User_Name=KNOWN)
    assert plain.psk is None
    assert "psk" not in {step.rule for step in plain.steps}
    assert ask(small(sites=text), User_Name="64:1b:2f:00:00:99").psk is None
