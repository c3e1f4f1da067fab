"""The catalogue is held against protected networks, banned names and vendor feeds."""

import pytest

FEED = """\
feed: vendor
source: https://vendor.example
version: "1"
retrieved: 2026-11-20
sets:
  "11": {networks: [203.0.112.0/24]}
  media: {networks: [203.0.111.0/24]}
"""


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("10.60.0.40/32]\n    a", "10.10.4.0/24]\n    a", ["protected-overlap", "lies inside", "'pacs'"]),
        ("10.60.0.40/32]\n    a", "10.8.0.0/13]\n    a", ["protected-overlap", "10.8.0.0/13 meets"]),
        ("10.60.0.40/32]\n    a", "0.0.0.0/0]\n    a", ["error open-world", "is every address"]),
        ("10.60.0.40/32]\n    a", "10.60.0.40/24]\n    a", ["host-bits", "did you mean 10.60.0.0/24"]),
        ("allow-private: [10.60.0.40/32]", "allow-private: [10.1.0.0/24]", ["protected-overlap"]),
        ("meet.chu.example", "pacs.chu.internal", ["never-domain", "see '*.chu.internal'"]),
        ("meet.chu.example", '"*.chu.internal"', ["never-domain", "see '*.chu.internal'"]),
        ("    ports: [tcp/443, udp/10000]\n", "", ["missing-key", "needs ports"]),
        ("    evidence", "    local: ntp\n    evidence", ["missing-key", "answered by the appliance"]),
        ("    evidence", '    feed-sets: ["11"]\n    evidence', ["missing-key", "feed-sets without"]),
        ("    evidence", "    feed: vendor\n    evidence", ["missing-key", "feed without feed-sets"]),
        ("    evidence", "    sni: lax\n    evidence", ["sni"]),
        ("    ports: [tcp/443, udp/10000]", "    sni: strict\n    ports: [udp/10000]", ["error sni", "lists no tcp port"]),
        ("    ports: [tcp/443, udp/10000]", "    sni: strict\n    ports: [tcp/443, udp/443]", ["error sni", "QUIC"]),
        ("    ports: [tcp/443, udp/10000]", "    sni: strict\n    ports: [tcp/80-443]", ["error sni", "carries no TLS"]),
        ("    domains: [meet.chu.example]\n", "    sni: strict\n", ["error sni", "lists no domains"]),
    ],
)  # fmt: skip
def test_a_service_that_may_not_be_is_one_error(rules, jitsi, old, new, parts):
    rules.write("services/feeds/vendor.yaml", FEED)
    jitsi(old, new)
    rules.says(*parts)


def test_a_service_may_be_strict_about_names(rules, jitsi):
    jitsi("    evidence", "    sni: strict\n    evidence")
    assert rules.said == []


def test_a_service_needs_something_to_reach(rules):
    rules.write(
        "services/jitsi.yaml",
        "services: {jitsi: {ports: [tcp/443], evidence: x, reviewed: 2026-11-20}}\n",
    )
    rules.says("missing-key", "needs domains, networks or a feed")


def test_only_the_names_of_a_ban_are_banned(rules, jitsi):
    rules.change("protected.yaml", '["*.chu.internal"]', '["*.chu.internal", chu.example]')
    assert rules.said == []
    jitsi("meet.chu.example", "chu.example")
    rules.says("never-domain", "see 'chu.example'")


def test_a_wildcard_is_not_banned_by_one_name_below_it(rules, jitsi):
    rules.change("protected.yaml", '["*.chu.internal"]', "[secret.chu.example]")
    jitsi("[meet.chu.example]", '["*.chu.example"]')
    assert rules.said == []


def test_a_service_twice_names_both_places(rules):
    rules.write("services/zz.yaml", rules.files["services/jitsi.yaml"])
    rules.says(
        "duplicate-name", "services/zz.yaml:2:3", "already defined at services/jitsi.yaml:2:3"
    )


def test_the_networks_of_a_feed_are_added_with_their_place(rules, jitsi):
    rules.write("services/feeds/vendor.yaml", FEED)
    jitsi("    evidence", '    feed: vendor\n    feed-sets: ["11"]\n    evidence')
    policy = rules.policy
    assert [str(n) for n in policy.services["jitsi"].networks] == [
        "10.60.0.40/32",
        "203.0.112.0/24",
    ]
    place = policy.where("services", "jitsi", "networks", "203.0.112.0/24")
    assert str(place) == "services/feeds/vendor.yaml:6:21"


def test_an_unknown_feed_or_set_is_told_with_the_known_ones(rules, jitsi):
    rules.write("services/feeds/vendor.yaml", FEED)
    jitsi("    evidence", '    feed: vendour\n    feed-sets: ["11"]\n    evidence')
    rules.says("unknown feed 'vendour', did you mean 'vendor'? known: vendor")
    jitsi('vendour\n    feed-sets: ["11"]', 'vendor\n    feed-sets: ["12"]')
    rules.says("feed 'vendor' has no set '12', known: 11, media")


@pytest.mark.parametrize("taken", [True, False])
def test_a_feed_is_held_against_protected_networks_too(rules, jitsi, taken):
    rules.write(
        "services/feeds/vendor.yaml", FEED.replace("203.0.111.0/24", "10.10.1.0/24, 0.0.0.0/0")
    )
    if taken:
        jitsi("    evidence", "    feed: vendor\n    feed-sets: [media]\n    evidence")
    found = "".join(rules.said)
    assert len(rules.said) == 2
    assert "protected-overlap services/feeds/vendor.yaml" in found
    assert "open-world services/feeds/vendor.yaml" in found


def test_sets_of_a_faulty_feed_are_not_missed_as_well(rules, jitsi):
    rules.write("services/feeds/vendor.yaml", FEED.replace("203.0.112.0/24", "203.0.112.1/24"))
    jitsi("    evidence", '    feed: vendor\n    feed-sets: ["11"]\n    evidence')
    rules.says("host-bits", "services/feeds/vendor.yaml")


@pytest.mark.parametrize("name", ["deny", "hours", "anti-spoof", "sites"])
def test_no_service_has_the_name_of_a_reason(rules, name):
    rules.write(
        "services/odd.yaml",
        f"services: {{{name}: {{label: x, networks: [198.51.100.0/24], ports: [tcp/443], evidence: x,"
        " reviewed: 2026-11-20}}\n",
    )
    rules.says("error bad-name", f"'{name}' is a word for refusals", "choose another name")
