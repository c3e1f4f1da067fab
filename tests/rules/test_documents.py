"""One fault is one finding: what only follows from it is not told."""

import pytest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("services/jitsi.yaml", "tcp/443", "22:30"),
        ("services/jitsi.yaml", "ports:", "port:"),
        ("services/jitsi.yaml", "services:", "servces:"),
        ("services/jitsi.yaml", "[meet.chu.example]", "[meet.chu.example"),
        ("services/jitsi.yaml", "  jitsi:", "  jitsi-:"),
        ("services/jitsi.yaml", "services:", "- services:"),
        ("sites.yaml", "vlan: 640", "vlan: 0640"),
        ("sites.yaml", "lobby: {aps: [AP-LOB-01], ", "lobby: {aps: AP-LOB-01, "),
        ("sites.yaml", "edge: true}", "edge: YES}"),
        ("sites.yaml", "    areas:\n", "    area:\n"),
        ("sites.yaml", "sites:", "site:"),
        ("groups.yaml", "07:00-22:00", "25:00-26:00"),
        ("groups.yaml", "  visitors:", "  Visitors:"),
        ("groups.yaml", "groups:", "group:"),
        ("protected.yaml", "10.10.0.0/16", "10.10.0.1/16"),
        ("protected.yaml", "[200]", "[1]"),
        ("netguard.yaml", "version: 1", "version: 2"),
        ("netguard.yaml", "mode: router", "mode: bridge"),
        ("tests/cases.yaml", "expect: only", "expect: sure"),
        ("tablets.csv", "64:1b:2f:00:00:01", "2aabbccddee"),
        ("allotted.csv", "10.99.0.16", "10.99.0.x"),
        ("protected-macs.csv", "f0:e5", "g0:e5"),
    ],
)  # fmt: skip
def test_one_fault_is_one_finding(rules, file, old, new):
    rules.write(
        "alerts.yaml",
        "alerts: {a: {when: {presence: missing}, severity: info, to: [desk]}}\n"
        "receivers: {desk: {mail: a@chu.example}}\n",
    )
    rules.add(
        "tests/cases.yaml",
        "  - {name: t, from: {tablet: T-001, site: pellegrin}, to: {protected: pacs}, expect: never}\n"
        "  - {name: e, events: [{at: 0s, tablet: T-001, ap: AP-LOB-01}],\n"
        "     expect: {alert: a, to: desk}}\n",
    )
    assert rules.said == []
    rules.change(file, old, new)
    rules.says(f"error {rules.load().findings[0].id} {file}")


@pytest.mark.parametrize(
    "file",
    ["sites.yaml", "groups.yaml", "protected.yaml", "services/jitsi.yaml", "services/time.yaml",
     "tests/cases.yaml", "netguard.yaml"],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_finding(rules, file):
    rules.write(file, b"a: \xff\n")
    rules.says(f"error not-utf8 {file}")


def test_the_faults_of_two_entries_and_of_their_neighbours_show_in_one_run(rules):
    rules.change("groups.yaml", "07:00-22:00", "25:00-26:00")
    rules.change("groups.yaml", "allow: [jitsi]", "allow: [jitsy]")
    rules.change("sites.yaml", "vlan: 650", "vlan: 200")
    rules.change("sites.yaml", "vlan: 640", "vlan: 1")
    found = [line.split()[1] for line in rules.said]
    assert found == ["schedule", "unknown-ref", "vlan-range", "vlan-clash"]


def test_a_faulty_list_of_aps_leaves_every_ap_possible(rules, site):
    rules.add("tests/cases.yaml", "  - {name: e, events: [{at: 0s, tablet: T-001, ap: AP-X}], expect: {alert: none}}\n")  # fmt: skip
    rules.says("unknown AP 'AP-X'")
    site("edge: true", "edge: YES")
    site("      cardio-3: {aps: [AP-CAR-301]}", "      cardio-3: []")
    found = [line.split()[1] for line in rules.said]
    assert "unknown-ref" not in found


def test_a_feed_without_a_name_may_be_any_feed(rules, jitsi):
    jitsi("    evidence", '    feed: vendor\n    feed-sets: ["11"]\n    evidence')
    rules.write("services/feeds/vendor.yaml", "feed: [vendor]\n")
    assert all("services/feeds/vendor.yaml" in line for line in rules.said)
