"""Warnings about sites, groups and receivers; what an entry accepts is silent."""

import datetime

import pytest

from netguard.core.names import Mac


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("edge: true", "edge: false", ["warning no-edge", "site 'pellegrin' has no edge area"]),
        ("[AP-CAR-301]", "[]", ["warning area-empty", "area 'cardio-3' has no AP"]),
        ("[AP-CAR-301]", "[AP-CAR-301, ap-lob-01]", ["ap-twice", "is also in area 'cardio-3'"]),
    ],
)
def test_a_site_worth_a_second_look(rules, site, old, new, parts):
    site(old, new)
    rules.says(*parts)
    finding = rules.load().findings[0].id
    site("uplink: up0", f"uplink: up0\n    accept: {{{finding}: we know}}")
    assert rules.said == []


def test_a_group_needs_a_case_that_names_it(rules):
    rules.add("groups.yaml", "  other: {allow: []}\n")
    rules.says("no-case groups.yaml:9:3", "group 'other' has no case under tests/")
    rules.add(
        "tests/cases.yaml",
        "  - {name: x, from: {group: '*'}, to: {protected: '*'}, expect: never}\n",
    )
    assert rules.said == []
    rules.change("groups.yaml", "other: {allow: []}", "other: {allow: [time]}")
    rules.says("no-case", "'other' allows services and no case")
    rules.change("groups.yaml", "[time]}", "[time], accept: {no-case: new}}")
    assert rules.said == []


@pytest.mark.parametrize("hours", ["03:00-22:00", "01:59-22:00", "00:30-01:59", "00:30-03:00"])
def test_hours_beside_what_a_clock_change_skips_are_sound(rules, hours):
    """From 02:00 the clocks go to 03:00 at once: that one is there, and so is 01:59."""
    rules.change("groups.yaml", "07:00-22:00", hours)
    assert rules.said == []


@pytest.mark.parametrize("hours", ["02:00-22:00", "02:59-22:00"])
def test_the_first_and_the_last_minute_that_are_skipped_are_none(rules, hours):
    rules.change("groups.yaml", "07:00-22:00", hours)
    rules.says("error schedule", f"{hours[:5]} does not exist on 2027-03-28 in Europe/Paris")


@pytest.mark.parametrize("hours", ["02:30-22:00", "00:30-02:30"])
def test_an_hour_that_the_clocks_skip_is_an_error(rules, hours):
    rules.change("groups.yaml", "07:00-22:00", hours)
    rules.says("error schedule", "02:30 does not exist on 2027-03-28 in Europe/Paris")


def test_only_the_windows_of_the_day_of_the_clock_change_are_looked_at(rules):
    rules.change("groups.yaml", "07:00-22:00", "{mon-sat: 02:30-22:00}")
    assert rules.said == []
    rules.change(
        "groups.yaml",
        "mon-sat: 02:30-22:00",
        "mon-sat: 02:30-22:00, sun: [00:00-01:00, 02:30-22:00]",
    )
    rules.says("error schedule groups.yaml:5:54", "02:30 does not exist on 2027-03-28")


def test_hours_are_not_judged_where_no_site_can_be(rules, site):
    rules.change("groups.yaml", "07:00-22:00", "02:30-22:00")
    site("vlan: 640", "vlan: 1")
    rules.says("vlan-range")
    site("vlan: 1", "vlan: 640")
    rules.write("sites.yaml", rules.files["sites.yaml"].replace(b"Europe/Paris", b"Europe/Paros"))
    assert {line.split()[1] for line in rules.said} == {"schedule"}
    assert all("unknown time zone" in line for line in rules.said)


def test_a_service_nobody_may_use_is_told_unless_it_is_of_the_catalogue(rules):
    zoom = "services: {zoom: {domains: [zoom.us], ports: [tcp/443], evidence: x, reviewed: 2026-11-20%s}}\n"
    rules.write("services/zoom.yaml", zoom % "")
    rules.says("warning unused services/zoom.yaml:1:12", "no group allows service 'zoom'")
    rules.write("services/zoom.yaml", zoom % ", accept: {unused: soon}")
    assert rules.said == []
    rules.write("services/zoom.yaml", zoom % ", label: Zoom")
    assert rules.said == []


def test_a_receiver_nobody_calls_is_told(rules):
    rules.write("alerts.yaml", "alerts: {}\nreceivers: {desk: {mail: a@chu.example}}\n")
    rules.says("warning unused alerts.yaml:2:13", "no alert and no group uses receiver 'desk'")
    rules.change("groups.yaml", "    hours:", "    notify: desk\n    hours:")
    assert rules.said == []


def test_no_unused_receiver_is_told_where_groups_cannot_be_read(rules):
    rules.write("alerts.yaml", "alerts: {}\nreceivers: {desk: {mail: a@chu.example}}\n")
    rules.change("groups.yaml", "07:00", "7:00")
    rules.says("error schedule")


def test_an_inventory_that_lost_a_fifth_is_refused(rules):
    in_force = {f"T-{n:03}": Mac(f"64:1b:2f:00:00:{n:02x}") for n in range(1, 7)}
    rules.options["previous"] = in_force
    assert rules.said == []
    rules.options["previous"] = in_force | {"T-007": Mac("64:1b:2f:00:00:07")}
    rules.says("error shrink tablets.csv:0", "2 of 7 tablets are gone", "--confirm-shrink")
    assert rules.load().policy is None
    rules.options["previous"] = {}
    assert rules.said == []


def test_the_answer_depends_on_the_day_given_and_on_no_clock(rules):
    rules.today = datetime.date(2027, 11, 20)
    assert rules.said == []
    rules.today = datetime.date(2027, 11, 21)
    assert [line.split()[1] for line in rules.said] == ["stale-review"]
