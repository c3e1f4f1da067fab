"""When a group opens and closes, also on the days on which the clocks change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netguard.core.hours import next_change, open_for, seconds_left
from netguard.core.names import Hours
from netguard.core.plan import compile_plan

DAY = Hours.parse("07:00-22:00")
PARIS = "Europe/Paris"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "hours", "left"),
    [
        ("2026-11-22T05:59:59", DAY, 0),
        ("2026-11-22T06:00:00", DAY, 15 * 3600),
        ("2026-11-22T20:59:59", DAY, 1),
        ("2026-11-22T21:00:00", DAY, 0),
        # 29 March 2026: 02:00 becomes 03:00; the day from 01:00 to 22:00 has 20 hours.
        ("2026-03-29T00:00:00", Hours.parse("01:00-22:00"), 20 * 3600),
        # 25 October 2026: 03:00 becomes 02:00; the same day has 22.
        ("2026-10-24T23:00:00", Hours.parse("01:00-22:00"), 22 * 3600),
    ],
)
def test_the_seconds_left_are_those_that_pass(moment, hours, left):
    assert seconds_left(hours, at(moment), PARIS) == left


def test_no_hours_and_no_moment_are_not_judged():
    assert seconds_left(None, at("2026-11-22T12:00:00"), PARIS) is None
    assert seconds_left(DAY, None, PARIS) is None


@pytest.fixture
def plan(example):
    compiled = compile_plan(example, ["pellegrin"])
    hours = {"patients": DAY, "family-room": Hours.parse("08:00-21:00")}
    groups = tuple(replace(g, hours=hours.get(g.name)) for g in compiled.groups)
    return replace(compiled, groups=groups)


def test_groups_without_hours_are_not_named(plan):
    left = open_for(plan, at("2026-11-22T06:30:00"))
    assert left == {"family-room": 0, "patients": 14 * 3600 + 1800}


def test_every_opening_and_closing_of_a_year_comes_in_turn(plan):
    moment = at("2026-01-01T00:00:00")
    changes = []
    while (moment := next_change(plan, moment)) < at("2027-01-01T00:00:00"):
        before = open_for(plan, moment - timedelta(seconds=1))
        now = open_for(plan, moment)
        changed = [name for name in now if bool(now[name]) != bool(before[name])]
        assert len(changed) == 1
        changes.append(changed[0])
    assert len(changes) == 4 * 365
    assert changes.count("patients") == 2 * 365


def test_nothing_changes_where_no_group_has_hours(example):
    compiled = compile_plan(example, ["pellegrin"])
    plain = replace(compiled, groups=tuple(replace(g, hours=None) for g in compiled.groups))
    assert next_change(plain, at("2026-11-22T12:00:00")) is None
    assert open_for(plain, at("2026-11-22T12:00:00")) == {}
    assert open_for(replace(plain, sites=()), at("2026-11-22T12:00:00")) == {}


def test_an_hour_that_comes_twice_closes_and_opens_again(plan):
    """Hours that end within the second 02:xx: open, shut, open with the clock, shut for good."""
    odd = replace(plan.groups[0], hours=Hours.parse("00:30-02:30"))
    doubled = replace(plan, groups=(odd,))
    moment, turns = at("2026-10-24T22:00:00"), []
    for _ in range(4):
        moment = next_change(doubled, moment)
        turns.append((moment.strftime("%H:%M"), bool(open_for(doubled, moment)[odd.name])))
    assert turns == [("22:30", True), ("00:30", False), ("01:00", True), ("01:30", False)]
