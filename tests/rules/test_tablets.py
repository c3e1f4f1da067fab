"""The inventory against itself, sites, groups and clinical equipment."""

import pytest

from netguard.core.names import parse_address

T1 = "T-001,64:1b:2f:00:00:01,patients,pellegrin/cardio-3,SM-T510,R52A,"


@pytest.mark.parametrize(
    ("new", "parts"),
    [
        (T1.replace("00:01", "00:02"), [":3:0 mac, '64:1b:2f:00:00:02', already listed at line 2"]),
        (T1.replace("R52A", "R52B"), ["duplicate-serial", "already listed at line 2"]),
        (T1.replace("patients", "patiens"), ["unknown group, did you mean 'patients'? known: pat"]),
        (T1.replace("pellegrin/", "mars/"), ["home, 'mars/cardio-3', unknown site, known:"]),
        (T1.replace("cardio", "cardia"), ["unknown area, did you mean 'cardio-3'?"]),
        (T1.replace("64:1b:2f:00:00:01", "f0:e5:c3:00:00:01"), ["is clinical equipment, see prot"]),
        (T1.replace("64:1b:2f:00:00:01", "02:e5:c3:00:00:01"), ["private-mac", "rotates its addr"]),
        (T1 + "10.50.0.9", ["bad-cidr", "lies in no site's network"]),
        (T1 + "10.99.0.0", ["bad-cidr", "is the network address of"]),
        (T1 + "10.99.3.255", ["bad-cidr", "is the broadcast address of"]),
        (T1 + "10.99.0.1", ["duplicate-address", "already given to the gateway (sites.yaml:7:14)"]),
        (T1 + "10.99.0.17", ["duplicate-address", "allotted.csv:4", "already given to T-001"]),
        (T1 + "fd00::1", ["bad-cidr", "address, 'fd00::1', is not an IPv4 address"]),
        (T1.replace("T-001", "T-002"), ["duplicate-id", "tablets.csv:3", "already listed at line 2"]),
    ],
)  # fmt: skip
def test_a_row_that_does_not_fit_is_told_once(rules, new, parts):
    rules.change("tablets.csv", T1, new)
    rules.says(*parts)


def test_two_tablets_never_own_one_address(rules):
    rules.change("tablets.csv", T1, T1 + "10.99.0.200")
    rules.change("tablets.csv", "R52B,", "R52B,10.99.0.200")
    assert any("duplicate-address" in line for line in rules.said)


def test_a_private_mac_may_be_accepted_on_its_row(rules):
    rules.change("tablets.csv", "address\n", "address,private-address\n")
    text = rules.files["tablets.csv"].decode().splitlines()
    rows = [text[0], *(f"{row}," for row in text[1:])]
    rows[1] = T1.replace("64:1b:2f", "02:1b:2f") + ",accepted"
    rules.write("tablets.csv", "\n".join(rows) + "\n")
    rules.says("warning private-mac")
    assert rules.policy.tablets["T-001"].private_address
    rules.change("tablets.csv", "accepted", "yes")
    rules.says("private-address, 'yes', expected 'accepted' or nothing")


def test_an_own_address_needs_no_allotted_one(rules):
    rules.change("tablets.csv", T1, T1 + "10.99.0.200")
    rules.change("allotted.csv", "pellegrin,T-001,10.99.0.16\n", "")
    policy = rules.policy
    site, tablet = policy.sites["pellegrin"], policy.tablets["T-001"]
    assert policy.address_of(tablet, site) == parse_address("10.99.0.200")
    assert policy.address_of(policy.tablets["T-002"], site) == parse_address("10.99.0.17")


def test_an_address_of_another_site_leaves_the_group_s_site_to_allot(rules):
    rules.change("tablets.csv", T1, T1 + "10.99.8.200")
    rules.change("allotted.csv", "pellegrin,T-001,10.99.0.16\n", "")
    rules.says("not-allotted", "has no address at site 'pellegrin', run: netguard allot")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("pellegrin,T-001,10.99.0.16\n", "", ["error not-allotted tablets.csv:2:0 id, 'T-001'"]),
        ("T-001,10.99.0.16", "T-001,10.99.0.17", ["duplicate-address", "given to T-001"]),
        ("T-001,10.99.0.16", "T-001,10.99.0.0", ["is the network address", "run: netguard allot"]),
        ("T-001,10.99.0.16", "T-001,10.50.0.1", ["lies in no network of site 'pellegrin'"]),
        ("pellegrin,T-004", "mars,T-009,10.0.0.1\npellegrin,T-004", ["site, 'mars', unknown site"]),
    ],
)  # fmt: skip
def test_an_allotted_row_that_does_not_fit_is_told_once_and_left_to_allot(rules, old, new, parts):
    rules.change("allotted.csv", old, new)
    rules.says(*parts)
    rules.options["require_addresses"] = False
    assert rules.said == []


def test_a_tablet_that_is_gone_keeps_its_row_without_harm(rules):
    rules.change("allotted.csv", "pellegrin,T-001", "pellegrin,T-900,10.99.0.17\npellegrin,T-001")
    assert rules.said == []
    assert str(rules.policy.where("allotted", "pellegrin", "T-900")) == "allotted.csv:3"


def test_where_the_hospital_serves_dhcp_nobody_needs_an_address(rules, site):
    site("ipv6: drop", "ipv6: drop\n    addresses: external\n    dhcp-server: [10.1.1.67]")
    rules.write("allotted.csv", "site,id,address\nhaut-leveque,T-005,10.99.8.16\n")
    assert rules.said == []


def test_an_address_is_judged_only_where_sites_and_groups_are_beyond_doubt(rules, site):
    site("[10.99.0.0/22]", "[10.98.0.0/22]")
    rules.says("gateway 10.99.0.1 lies in none")
