"""Warnings about a catalogue: too wide, too old, said twice."""

import pytest

FEED = """\
feed: vendor
source: https://vendor.example
version: "1"
retrieved: 2026-11-20
sets:
  "11": {networks: [52.112.0.0/14, 8.8.8.0/24]}
"""


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("[meet.chu.example]", '["*.co.uk"]', ["error public-suffix", "'*.co.uk' is a public suffix"]),
        ("[meet.chu.example]", '["*.fr"]', ["error public-suffix", "'*.fr' is a public suffix"]),
        ("[meet.chu.example]", "[co.uk]", ["error public-suffix", "'co.uk' is a public suffix"]),
        ("[meet.chu.example]", '["*.cloudfront.net"]', ["shared-host", "every customer of that host"]),
        ("[meet.chu.example]", '["*.x.amazonaws.com"]', ["shared-host"]),
        ("[meet.chu.example]", "[dns.google]", ["warning doh", "lets tablets resolve names past"]),
        ("[meet.chu.example]", '["chаt.example.org"]', ["mixed-script", "CYRILLIC, LATIN", "xn--cht-7cd"]),
        ("networks: [10.60.0.40/32]", "networks: [52.112.0.0/14]", ["warning wide", "262,144 addresses"]),
        ("networks: [10.60.0.40/32]", 'networks: ["2603::/16"]', ["warning wide"]),
        ("networks: [10.60.0.40/32]", "networks: [8.8.8.8/32]", ["warning doh", "a public resolver"]),
        ("networks: [10.60.0.40/32]", "networks: [10.60.0.0/24, 10.60.0.40/32]", ["shadowed", ":4:30"]),
        ("udp/10000]", "udp/10000, udp/9000-11000]", ["shadowed", "udp/10000 already lies in udp/9000"]),
        ("[meet.chu.example]", '[meet.chu.example, "*.chu.example"]', ["shadowed", "covered by"]),
        ("evidence: https://jitsi.github.io/handbook", "evidence: not verified", ["no-evidence"]),
        ("    evidence: https://jitsi.github.io/handbook\n", "", ["no-evidence", "nobody has read"]),
        ("    reviewed: 2026-11-20\n", "", ["no-evidence", "lacks 'reviewed'"]),
        ("2026-11-20", "2025-11-20", ["warning stale-review", "367 days ago"]),
    ],
)  # fmt: skip
def test_a_service_worth_a_second_look(rules, jitsi, old, new, parts):
    jitsi(old, new)
    rules.says(*parts)
    finding = rules.load().findings[0]
    if finding.level == "warning":
        jitsi("    allow-private", f"    accept: {{{finding.id}: we know}}\n    allow-private")
        assert rules.said == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[meet.chu.example]", "[chat.xn--e1afmkfd.example]"),
        ("[meet.chu.example]", '["visio.hôpital.example"]'),
        ("[meet.chu.example]", '[meet.chu.example, "*.meet.chu.example"]'),
        ("[tcp/443, udp/10000]", "[tcp/443, udp/443]"),
        ("networks: [10.60.0.40/32]", 'networks: [10.60.0.40/32, "2001:db8::/32"]'),
    ],
)
def test_silence_where_nothing_is_said_twice(rules, jitsi, old, new):
    jitsi(old, new)
    assert rules.said == []


def test_a_network_that_is_an_error_gets_no_warning(rules, jitsi):
    jitsi("networks: [10.60.0.40/32]", "networks: [0.0.0.0/0, 10.60.0.40/32]")
    rules.says("error open-world")


def test_an_unverified_entry_needs_no_evidence_yet(rules):
    rules.write(
        "services/unverified/x.yaml", "services: {x: {domains: [x.example], ports: [tcp/1]}}\n"
    )
    assert rules.said == []


@pytest.fixture
def fed(rules, jitsi):
    rules.write("services/feeds/vendor.yaml", FEED)
    jitsi("    evidence", '    feed: vendor\n    feed-sets: ["11"]\n    evidence')
    return rules


def test_the_networks_of_a_feed_are_looked_at_too(fed):
    assert [line.split()[1] for line in fed.said] == ["wide", "doh"]
    assert all("services/feeds/vendor.yaml:6:" in line for line in fed.said)


def test_the_feed_or_the_service_may_accept_them(fed, jitsi):
    fed.add("services/feeds/vendor.yaml", "accept: {wide: the vendor's own}\n")
    jitsi("    evidence", "    accept: {doh: known}\n    evidence")
    assert fed.said == []


def test_a_feed_grows_stale(fed, jitsi):
    jitsi("    evidence", "    accept: {doh: known, wide: known}\n    evidence")
    fed.change("services/feeds/vendor.yaml", "2026-11-20", "2026-10-01")
    fed.says("warning stale-feed", "was retrieved 52 days ago")


def test_a_feed_nobody_takes_is_not_looked_at(rules):
    rules.write("services/feeds/vendor.yaml", FEED)
    assert rules.said == []
