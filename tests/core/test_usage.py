"""What was recorded of requests, names and flows, and what other rules would answer."""

import datetime
import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.usage import (
    ADMISSION,
    ALLOWED,
    FLOW,
    NAME,
    REFUSED,
    Seen,
    Tally,
    add,
    read_seen,
)
from netguard.core.whatif import Comparison, Judge
from netguard.errors import BadValue
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load

BASE = read_folder(Path(__file__).parents[1] / "bad" / "base")


def policy(**changes):
    files = dict(BASE.files)
    for name, (old, new) in changes.items():
        path = {"jitsi": "services/jitsi.yaml", "tests": "tests/cases.yaml"}.get(
            name, f"{name}.yaml"
        )
        assert old in files[path].decode()
        files[path] = files[path].decode().replace(old, new).encode()
    loaded = load(Folder("", files), today=datetime.date(2026, 11, 22), require_addresses=False)
    assert loaded.policy is not None, [finding.render() for finding in loaded.findings]
    return loaded.policy


NOW = policy()
FLOWS = st.builds(
    Seen,
    st.just(FLOW),
    st.sampled_from(["pellegrin", "haut-leveque", "nowhere"]),
    st.sampled_from(["patients", "visitors", "nobody"]),
    st.sampled_from([ALLOWED, REFUSED]),
    st.sampled_from(["patients/jitsi", "visitors/jitsi", "patients/deny", "protected", "?"]),
    protocol=st.sampled_from(["tcp", "udp", "icmp"]),
    address=st.sampled_from(["10.60.0.40", "10.10.0.5", "203.0.112.9", "10.99.0.9"]),
    port=st.sampled_from([0, 443, 10000]),
    times=st.integers(1, 9),
    **dict.fromkeys(("mac", "nas", "ap", "ssid", "vlan", "name"), st.just("")),
    at=st.just(0.0),
)


@given(st.lists(FLOWS, max_size=10))
def test_the_same_rules_change_nothing(flows):
    counts = Counter()
    for seen in flows:
        add(counts, seen)
    comparison = Comparison(NOW, NOW)
    assert list(comparison.compare(counts)) == []
    known = [f for f in flows if f.site != "nowhere" and f.group != "nobody"]
    assert comparison.judged[FLOW] == len({f._replace(times=1) for f in known})
    assert comparison.unknown == sum(f.times for f in flows) - sum(f.times for f in known)


@given(FLOWS)
def test_a_line_comes_back_as_it_was(seen):
    assert read_seen(json.loads(seen.line())) == seen


@given(
    st.dictionaries(
        st.sampled_from(Seen._fields) | st.text(max_size=5),
        st.none() | st.text(max_size=8) | st.integers() | st.floats(),
    )
)
def test_no_line_ends_otherwise_than_read_or_refused(row):
    try:
        assert read_seen(row).answer in {ALLOWED, REFUSED}
    except BadValue as error:
        assert error.text  # noqa: PT017  # either of the two is right


def one(seen, after):
    counts = Counter()
    add(counts, seen)
    return [(d.change, d.before.rule, d.after.rule) for d in Comparison(NOW, after).compare(counts)]


def flow(address, port, rule, answer=ALLOWED, protocol="tcp", **more):
    return Seen(
        FLOW,
        "pellegrin",
        "patients",
        answer,
        rule,
        protocol=protocol,
        address=address,
        port=port,
        **more,
    )


def test_a_port_that_goes_closes_its_flows_and_one_that_comes_opens_them():
    after = policy(jitsi=("udp/10000", "udp/10001"))
    assert one(flow("10.60.0.40", 10000, "patients/jitsi", protocol="udp"), after) == [
        ("closes", "patients/jitsi", "patients/deny")
    ]
    assert one(flow("10.60.0.40", 10001, "patients/deny", REFUSED, "udp"), after) == [
        ("opens", "patients/deny", "patients/jitsi")
    ]


def test_a_learned_address_stays_with_the_service_that_has_its_name():
    learned = flow("203.0.112.9", 443, "patients/jitsi")
    assert one(learned, NOW) == []
    assert one(learned, policy(jitsi=("meet.chu.example", "other.chu.example"))) == [
        ("closes", "patients/jitsi", "patients/deny")
    ]
    renamed = policy(
        jitsi=("jitsi:", "video:"),
        groups=("jitsi", "video"),
        tests=("services: [jitsi", "services: [video"),
    )
    assert one(learned, renamed) == []


def test_what_is_protected_now_closes_what_was_open():
    after = policy(protected=("10.1.0.0/16", "10.1.0.0/16, 203.0.112.0/24"))
    assert one(flow("203.0.112.9", 443, "patients/jitsi"), after) == [
        ("closes", "patients/jitsi", "protected")
    ]


def test_names_and_requests_are_judged_too():
    name = Seen(NAME, "pellegrin", "patients", ALLOWED, "patients/jitsi", name="meet.chu.example")
    after = policy(groups=("[jitsi, time]", "[time]"))
    assert one(name, after) == [("closes", "patients/jitsi", "patients/deny")]
    internal = name._replace(name="a.chu.internal", answer=REFUSED)
    assert Judge(NOW).answer(internal).rule == "never"
    asked = Seen(
        ADMISSION,
        "pellegrin",
        "",
        ALLOWED,
        "patients/admit",
        "64:1b:2f:00:00:01",
        "wlc-1",
        ssid="CHU-TABLETTES",
    )
    moved = policy(sites=("vlan: 640", "vlan: 641"))
    assert one(asked, moved) == [("moves", "patients/admit", "patients/admit")]
    fenced = policy(
        sites=("    uplink: up0\n    ipv6", "    other-networks: reject\n    uplink: up0\n    ipv6")
    )
    elsewhere = asked._replace(ssid="CHU-STAFF")
    assert one(elsewhere, fenced) == [("closes", "patients/admit", "other-network")]
    assert one(asked, fenced) == []
    assert Judge(NOW).answer(asked._replace(nas="wlc-9")) is None


def test_what_is_said_names_both_answers():
    counts = Counter({flow("10.60.0.40", 10000, "patients/jitsi", protocol="udp"): 12})
    (found,) = Comparison(NOW, policy(jitsi=("udp/10000", "udp/10001"))).compare(counts)
    assert str(found) == (
        "patients to 10.60.0.40 udp/10000, 12 times: allowed by patients/jitsi -> refused by patients/deny"
    )


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"kind": "name", "answer": "allowed"}, "lacks 'name'"),
        ({"kind": "flow", "answer": "maybe", "address": "10.0.0.1"}, "write allowed or refused"),
        ({"kind": "flow", "answer": "allowed", "address": "x"}, "not an IP address"),
        ({"kind": "admission", "answer": "allowed", "mac": "ff:ff:ff:ff:ff:ff"}, "own address"),
        ({"kind": "name", "name": "a\nb", "answer": "allowed"}, "printable"),
        (
            {"kind": "name", "name": "a", "answer": "allowed", "times": True},
            "'times' is not a number",
        ),
    ],
)
def test_what_is_wrong_with_a_line_is_said(row, said):
    with pytest.raises(BadValue, match=said):
        read_seen(row)


def test_a_tally_is_bounded_and_counts_what_it_drops():
    tally = Tally(2)
    for key in ("a", "b", "a", "c", "d", "b"):
        tally.add(key)
    tally.add("c", 5)
    assert tally.take() == [("a", 2), ("b", 2)]
    assert tally.dropped == 7
    assert tally.take() == []
    tally.add("c")
    assert tally.take() == [("c", 1)]
