"""sites.yaml: the cabling, the addresses and the VLANs of all sites fit together."""

import pytest


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("Europe/Paris", "Europe/Bordeaux", ["error schedule", ":3:16", "unknown time zone"]),
        ("[tab0]", "[]", ["error missing-key", "no interface"]),
        ("[tab1]", "[tab0]", ["error interface-twice", "'tab0' is already used at line 8"]),
        ("uplink: up0", "uplink: tab0", ["error interface-twice", "the uplink 'tab0'"]),
        ("[10.99.0.1]", "[10.98.0.1]", ["error bad-cidr", "in none of the site's networks"]),
        ("[10.99.0.1]", "[10.99.0.0]", ["error bad-cidr", "is the network address of 10.99.0.0/22"]),
        ("[10.99.0.1]", "[10.99.3.255]", ["is the broadcast address of 10.99.0.0/22"]),
        ("[10.99.0.1]", "[]", ["error missing-key", "no IPv4 gateway"]),
        ("[10.99.0.0/22]", '[10.99.0.0/22, "fd00:99::/64"]', ["no IPv6 gateway"]),
        ("ipv6: drop", "ipv6: full", ["error unknown-word", ":10:11", "'full' is not built yet, write drop"]),
        ("ipv6: drop", "ipv6: maybe", ["error unknown-word", "'maybe' is not what", "write drop"]),
        ("vlan: 640", "vlan: 200", ["error vlan-clash", "never.vlans, the clinical ones"]),
        (
            "vlan: 640",
            "vlan: 640\n    quarantine-vlan: 640",
            ["vlan-clash", "also this site's vlan"],
        ),
        (
            "vendor: cisco-9800, message-authenticator: required",
            "vendor: mist, psk: per-tablet, message-authenticator: required",
            ["error psk-vendor", ":12:54", "'mist'", "write psk: shared", "aruba-controller,"],
        ),
        ("wlc-2:", "wlc-1:", ["error duplicate-name", "already a NAS of site 'pellegrin'"]),
        ("10.1.2.20", "10.1.2.10", ["error duplicate-address", "address of NAS 'wlc-1'"]),
        ("[10.99.0.0/22]", "[10.99.0.0/22, 10.10.0.0/24]", ["protected-overlap", "'pacs' (protect"]),
        ("[10.99.8.0/22]", "[10.99.8.0/22, 10.99.2.0/24]", ["network-overlap", "'pellegrin'"]),
        ("[10.99.8.0/22]", "[10.99.8.0/22, 10.99.9.0/24]", ["meets 10.99.8.0/22 of site 'haut"]),
        ("ipv6: drop", "ipv6: drop\n    addresses: external", ["missing-key", "name the hospital's DHCP servers"]),
        ("ipv6: drop", "ipv6: drop\n    dhcp-server: [10.1.1.67]", ["bad-word", ":11:19", "leave dhcp-server out"]),
        (
            "ipv6: drop",
            'ipv6: drop\n    addresses: external\n    dhcp-server: ["fd00:1::67"]',
            ["bad-address", ":12:19", "fd00:1::67: DHCP is relayed over IPv4"],
        ),
        (
            "ipv6: drop",
            "ipv6: drop\n    addresses: external\n    dhcp-server: [10.99.0.67]",
            ["bad-address", ":12:19", "10.99.0.67 lies in the tablets' own network"],
        ),
    ],
)  # fmt: skip
def test_a_site_that_does_not_fit_is_one_error(rules, site, old, new, parts):
    site(old, new)
    rules.says(*parts)


def test_a_site_needs_an_ipv4_network(rules, site):
    site("[10.99.0.0/22]", '["fd00:99::/64"]')
    site("[10.99.0.1]", '["fd00:99::1"]')
    rules.says("error missing-key", "no IPv4 network")


def test_a_folder_needs_a_site(rules):
    rules.write("sites.yaml", "sites: {}\n")
    rules.change("groups.yaml", "    sites: [pellegrin]\n", "")
    rules.change("groups.yaml", "    sites: [haut-leveque]\n", "")
    assert any("no site, name at least one" in line for line in rules.said)


def test_a_site_is_understood_with_its_nas_areas_and_ceiling(rules, site):
    site(
        "uplink: up0", "uplink: up0\n    ceiling: {down: 200Mbit, up: 80Mbit}\n    name: Pellegrin"
    )
    read = rules.policy.sites["pellegrin"]
    assert (read.label, read.ceiling.down, read.vlan) == ("Pellegrin", 200_000_000, 640)
    assert read.areas["lobby"].edge
    assert str(read.nas["wlc-1"].address) == "10.1.2.10/32"
    assert str(rules.policy.where("sites", "pellegrin", "nas", "wlc-1")) == "sites.yaml:14:7"
    assert rules.policy.where("sites", "nowhere") is None


def test_a_point_to_point_network_has_no_reserved_address(rules, site):
    site("[10.99.0.0/22]", "[10.99.0.0/22, 10.97.0.0/31]")
    site("[10.99.0.1]", "[10.99.0.1, 10.97.0.0]")
    assert rules.said == []
