"""Whom to ask after a reload, and which answers are those of the plan."""

from datetime import UTC, datetime, timedelta

import pytest

from netguard.core.names import Mac
from netguard.core.plan import compile_plan
from netguard.daemon.proof import ASKED, changed, expected
from netguard.render import freeradius

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
HEAD = "version: 1\norganisation: x\nresolver: {upstream: [10.1.1.53]}\n"


def test_those_whose_entry_changed_are_asked(small):
    before = freeradius.tablets(compile_plan(small(), ["pellegrin"]))
    after = freeradius.tablets(compile_plan(small(), ["pellegrin"], {"T-002": "stolen"}))
    assert changed(before, after) == [("pellegrin", "64:1b:2f:00:00:02")]
    assert changed(after, before) == [("pellegrin", "64:1b:2f:00:00:02")]


def test_a_tablet_that_is_gone_is_asked_too(small):
    before = freeradius.tablets(compile_plan(small(), ["pellegrin"]))
    kept = [line for line in before.split("pellegrin/") if not line.startswith("64:1b:2f:00:00:03")]
    assert changed(before, "pellegrin/".join(kept)) == [("pellegrin", "64:1b:2f:00:00:03")]


def test_without_a_change_any_entry_shows_which_file_is_in_use(small):
    text = freeradius.tablets(compile_plan(small(), ["pellegrin"]))
    assert len(changed(text, text)) == ASKED
    assert changed("", "") == []


@pytest.mark.parametrize(
    ("mac", "wanted"),
    [
        ("64:1b:2f:00:00:01", "640"),
        ("64:1b:2f:00:00:05", "reject"),
        ("64:1b:2f:00:00:99", "reject"),
    ],
)
def test_the_plan_says_what_may_be_answered(small, mac, wanted):
    plan = compile_plan(small(), ["pellegrin"])
    assert expected(plan, "pellegrin", Mac.parse(mac), NOON) == wanted
    assert expected(plan, "pellegrin", Mac.parse(mac), NOON + timedelta(hours=12)) == "reject"


def test_a_stolen_tablet_and_one_without_hours(small):
    plan = compile_plan(small(), ["haut-leveque"], {"T-001": "stolen"})
    assert expected(plan, "haut-leveque", Mac.parse("64:1b:2f:00:00:05"), NOON) == "650"
    assert expected(plan, "haut-leveque", Mac.parse("64:1b:2f:00:00:01"), NOON) == "reject"


def test_a_stranger_may_enrol_where_the_rules_say_so(small):
    from dataclasses import replace

    plan = compile_plan(small(), ["pellegrin"])
    enrolling = replace(plan, sites=(replace(plan.sites[0], enrolment_vlan=642),))
    assert expected(enrolling, "pellegrin", Mac.parse("64:1b:2f:00:00:99"), NOON) == "642"
    assert expected(enrolling, "pellegrin", Mac.parse("66:1b:2f:00:00:99"), NOON) == "reject"


def test_a_tablet_without_a_key_may_only_be_rejected_where_one_is_wanted(small):
    from dataclasses import replace

    plan = compile_plan(small(), ["haut-leveque"])
    mac = Mac.parse("64:1b:2f:00:00:05")
    tablet = plan.binding["haut-leveque", mac].tablet
    nas = tuple(replace(each, psk=True) for each in plan.sites[0].nas)
    keyed = replace(plan, sites=(replace(plan.sites[0], nas=nas),))
    assert expected(keyed, "haut-leveque", mac, NOON, {}) == "reject"
    key = {tablet: "aaaa-cccc-dddd-eeee"}
    assert expected(keyed, "haut-leveque", mac, NOON, key) == "650"
    assert expected(keyed, "haut-leveque", mac, NOON) == "650"
    assert expected(plan, "haut-leveque", mac, NOON, {}) == "650"
