"""Warnings about a catalogue: too wide, too old, said twice."""

import datetime
import json
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netguard.core.names import Domain, Ports
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load

BASE = read_folder(Path(__file__).parents[1] / "bad" / "base")

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
        ("allow-private: [10.60.0.40/32]", "allow-private: [10.60.0.40/32, 52.112.0.0/32]", ["never-matches", "is public"]),
        ("allow-private: [10.60.0.40/32]", 'allow-private: [10.60.0.40/32, "2603:1063::/128"]', ["never-matches", ":5:36"]),
        ("    domains: [meet.chu.example]\n", "", ["never-matches", "has no names", "10.60.0.40/32"]),
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
        ("allow-private: [10.60.0.40/32]", "allow-private: [172.0.0.0/8, 10.60.0.40/32]"),
        ("allow-private: [10.60.0.40/32]", 'allow-private: ["fc00::/7", 10.60.0.40/32]'),
        ("networks: [10.60.0.40/32]", 'networks: [10.60.0.40/32, "2001:db8::/32"]'),
    ],
)
def test_silence_where_nothing_is_said_twice(rules, jitsi, old, new):
    jitsi(old, new)
    assert rules.said == []


# A world of eight addresses, ports and names, in which everything can be tried.
SPANS = st.lists(st.tuples(st.integers(0, 7), st.integers(29, 32)), min_size=1, max_size=5)
PORTS = st.lists(
    st.tuples(st.sampled_from(["tcp", "udp"]), st.integers(1, 6), st.integers(0, 3)),
    min_size=1,
    max_size=5,
)
# Two labels below each name: what a wildcard has and no exact name of the list.
NAMES = ["a.b.example", "*.b.example", "*.a.b.example", "b.example", "x.a.b.example"]
HOSTS = {f"{below}{name.removeprefix('*.')}" for name in NAMES for below in ("", "q.", "q.q.")}


@settings(max_examples=60, deadline=None)
@given(SPANS, PORTS, st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
def test_shadowed_is_said_of_what_another_item_says_and_of_nothing_else(spans, ports, names):
    networks = list(
        dict.fromkeys(str(ip_network((0x33000000 + a, n), strict=False)) for a, n in spans)
    )
    intervals = list(
        dict.fromkeys(f"{p}/{a}-{a + more}" if more else f"{p}/{a}" for p, a, more in ports)
    )
    text = (
        "services:\n  more:\n    label: More\n    evidence: x\n    reviewed: 2026-11-20\n"
        f"    networks: {json.dumps(networks)}\n    domains: {json.dumps(names)}\n    ports: {json.dumps(intervals)}\n"
    )
    folder = Folder("", {**BASE.files, "services/more.yaml": text.encode()})
    found = load(folder, today=datetime.date(2026, 11, 22)).findings
    said = {f.text.split(" ")[0].strip("'") for f in found if f.id == "shadowed"}
    known = {n: {int(a) for a in ip_network(n)} for n in networks}
    known |= {
        p: {(p[:3], n) for n in range(Ports.parse(p).first, Ports.parse(p).last + 1)}
        for p in intervals
    }
    known |= {n: {host for host in HOSTS if Domain.parse(n).covers(host)} for n in names}
    for group in (networks, intervals, names):
        for item in group:
            covered = any(known[item] <= known[o] for o in group if o != item)
            assert (item in said) == covered, (item, group)


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


def test_an_area_closed_to_a_group_that_cannot_come_is_told(rules):
    rules.change(
        "sites.yaml",
        "cardio-3: {aps: [AP-CAR-301]}",
        "cardio-3: {aps: [AP-CAR-301], closed-to: [visitors]}",
    )
    rules.says("never-matches", "'visitors' may not be at site 'pellegrin' at all")
    rules.change("sites.yaml", "closed-to: [visitors]", "closed-to: [patients]")
    assert not any("never-matches" in said for said in rules.said)
