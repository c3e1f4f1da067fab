"""When a group opens and closes, also on the days on which the clocks change."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.hours import AHEAD, fresh, next_opening, open_for, openings, seconds_left
from netguard.core.plan import compile_plan
from netguard.core.verdict import still_fresh
from netguard.core.week import Hours, Window, weekly

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


@pytest.fixture(scope="session")
def compiled(example):
    return compile_plan(example, ["pellegrin"])


@pytest.fixture
def plan(compiled):
    hours = {"patients": DAY, "family-room": Hours.parse("08:00-21:00")}
    groups = tuple(replace(g, hours=hours.get(g.name)) for g in compiled.groups)
    return replace(compiled, groups=groups)


def test_groups_without_hours_are_not_named(plan):
    left = open_for(plan, at("2026-11-22T06:30:00"))
    assert left == {"family-room": 0, "patients": 14 * 3600 + 1800}


def spans_of(plan, name, start, end):
    """The openings of a group between two moments, as guard asks for them: one day after the other."""
    found = {}
    while start < end:
        found |= dict(openings(plan, start)[name])
        start += timedelta(days=1)
    return sorted(found.items())


def test_every_opening_and_closing_of_a_year_is_foreseen_each_day_the_same(plan):
    year = [*spans_of(plan, "patients", at("2026-01-01T12:00:00"), at("2027-01-01T00:00:00"))]
    zone = ZoneInfo(PARIS)
    within = [span for span in year if datetime.fromtimestamp(span[0], zone).year == 2026]
    assert len(within) == 365
    for start, end in within:
        opens, closes = (datetime.fromtimestamp(each, zone) for each in (start, end))
        assert (opens.strftime("%H:%M"), closes.strftime("%H:%M")) == ("07:00", "22:00")
        assert opens.date() == closes.date()


def test_openings_are_those_of_days_ahead_and_change_once_a_day(plan):
    now = at("2026-11-22T06:30:00")
    held = openings(plan, now)
    assert (
        openings(plan, at("2026-11-22T00:00:00"))
        == openings(plan, at("2026-11-22T23:59:59"))
        == held
    )
    assert len(held["patients"]) == AHEAD
    assert held["patients"][0] == (
        at("2026-11-22T06:00:00").timestamp(),
        at("2026-11-22T21:00:00").timestamp(),
    )
    tomorrow = openings(plan, now + timedelta(days=1))["patients"]
    assert tomorrow[:-1] == held["patients"][1:]


def test_what_has_begun_the_day_before_is_whole(plan):
    night = Hours.of([Window.parse("00:00-06:00"), Window.parse("20:00-24:00")])
    here = replace(plan, groups=(replace(plan.groups[0], hours=night),))
    name = plan.groups[0].name
    (start, end), *_, last = openings(here, at("2026-11-22T03:00:00"))[name]
    assert (start, end) == (
        at("2026-11-21T19:00:00").timestamp(),
        at("2026-11-22T05:00:00").timestamp(),
    )
    assert last[1] == at("2026-12-06T05:00:00").timestamp()


def test_what_is_always_open_is_one_span(plan):
    always = replace(plan.groups[0], hours=Hours.parse("00:00-24:00"))
    here = replace(plan, groups=(always,))
    ((start, end),) = openings(here, at("2026-11-22T03:00:00"))[always.name]
    assert start < at("2026-11-22T00:00:00").timestamp()
    assert end >= at("2026-12-06T00:00:00").timestamp()


def test_nothing_is_foreseen_where_no_group_has_hours(example):
    compiled = compile_plan(example, ["pellegrin"])
    plain = replace(compiled, groups=tuple(replace(g, hours=None) for g in compiled.groups))
    assert openings(plain, at("2026-11-22T12:00:00")) == {}
    assert open_for(plain, at("2026-11-22T12:00:00")) == {}
    assert open_for(replace(plain, sites=()), at("2026-11-22T12:00:00")) == {}


def test_an_hour_that_comes_twice_closes_and_opens_again(plan):
    """Hours that end within the second 02:xx: open, shut, open with the clock, shut for good."""
    odd = replace(plan.groups[0], hours=Hours.parse("00:30-02:30"))
    doubled = replace(plan, groups=(odd,))
    spans = openings(doubled, at("2026-10-25T00:10:00"))[odd.name]
    shown = [datetime.fromtimestamp(each, UTC).strftime("%H:%M") for span in spans for each in span]
    assert shown[:4] == ["22:30", "00:30", "01:00", "01:30"]


def test_what_runs_goes_on_for_its_grace_and_nothing_begins(plan):
    late = replace(DAY, grace=timedelta(minutes=10))
    assert seconds_left(late, at("2026-07-01T19:59:00"), PARIS) == 660
    assert seconds_left(late, at("2026-07-01T20:05:00"), PARIS) == 300
    assert seconds_left(late, at("2026-07-01T20:10:00"), PARIS) == 0
    # 02:55 comes twice this night, and the hours end at the second one.
    odd = replace(Hours.parse("00:30-02:55"), grace=timedelta(minutes=10))
    assert seconds_left(odd, at("2026-10-25T00:58:00"), PARIS) == 7 * 60 + 3600
    group = replace(plan.groups[0], hours=late)
    assert still_fresh(group, {group.name: 660}) == 60
    assert still_fresh(group, {group.name: 300}) == 0
    # Where no hours are judged, or where there are none.
    assert still_fresh(group, {}) == 1
    assert still_fresh(replace(group, hours=None), {}) == 1


def wall(moment, zone):
    """What the wall clock shows, as weekday and minute of the day; zoneinfo is the oracle."""
    local = moment.astimezone(ZoneInfo(zone))
    return local.weekday(), local.hour * 60 + local.minute


def is_open(hours, moment, zone):
    """Whether a window holds what the wall clock shows, its grace counted from the wall clock's end."""
    weekday, minute = wall(moment, zone)
    late = int(hours.grace.total_seconds()) // 60
    return any(
        window.start <= minute + days * 1440 < window.end + late
        for days in (0, 1)
        for window in hours.days[(weekday - days) % 7]
    )


ZONES = [
    # The two changes of 2026, in UTC.
    ("Europe/Paris", "2026-03-29T01:00:00", "2026-10-25T01:00:00"),
    ("America/New_York", "2026-03-08T07:00:00", "2026-11-01T06:00:00"),
    # Half an hour, and in the south.
    ("Australia/Lord_Howe", "2026-04-04T15:00:00", "2026-10-03T15:30:00"),
    ("Asia/Kolkata", "2026-03-29T01:00:00", "2026-10-25T01:00:00"),
]
CHANGES = [(zone, at(moment)) for zone, *moments in ZONES for moment in moments]
VISITS = weekly(
    {
        "mon-fri": [Window.parse("10:00-12:00"), Window.parse("14:00-20:00")],
        "sat,sun": [
            Window.parse("00:30-01:40"),
            Window.parse("03:10-13:00"),
            Window.parse("22:00-24:00"),
        ],
    }
)
SCHEDULES = [
    DAY,
    VISITS,
    replace(VISITS, grace=timedelta(minutes=20)),
    Hours.of(
        [Window.parse("00:00-02:15"), Window.parse("02:45-12:00"), Window.parse("20:00-24:00")]
    ),
    # Begins or ends in what is skipped or comes twice, in one zone or the other.
    replace(Hours.parse("01:15-01:50"), grace=timedelta(minutes=25)),
    Hours.parse("02:10-02:20"),
]


@pytest.mark.parametrize("hours", SCHEDULES, ids=str)
@pytest.mark.parametrize(("zone", "change"), CHANGES, ids=str)
def test_it_is_open_by_the_wall_clock_and_closes_when_that_says_so(zone, change, hours):
    """Each minute of the two days around a change of the clocks, and the second before each."""
    moment, end = change - timedelta(days=1), change + timedelta(days=1)
    closing = None
    while moment < end:
        for each in (moment, moment + timedelta(seconds=59)):
            left = seconds_left(hours, each, zone)
            assert bool(left) == is_open(hours, each, zone), each
            if closing is not None and each < closing:
                assert left == (closing - each).total_seconds(), each
            closing = each + timedelta(seconds=left) if left else None
            if left:
                last = closing - timedelta(seconds=1)
                assert is_open(hours, last, zone), (each, left)
        moment += timedelta(minutes=1)


@given(
    schedule=st.sampled_from(SCHEDULES),
    change=st.sampled_from(CHANGES),
    seconds=st.integers(-8 * 86400, 8 * 86400),
)
def test_what_is_left_ends_at_the_first_closed_second(schedule, change, seconds):
    zone, turn = change
    moment = turn + timedelta(seconds=seconds)
    left = seconds_left(schedule, moment, zone)
    assert bool(left) == is_open(schedule, moment, zone)
    if left:
        end = moment + timedelta(seconds=left)
        assert is_open(schedule, end - timedelta(seconds=1), zone)
        assert not is_open(schedule, end, zone)


@pytest.mark.parametrize("hours", SCHEDULES, ids=str)
@pytest.mark.parametrize(("zone", "change"), CHANGES, ids=str)
def test_what_the_kernel_is_given_is_what_the_wall_clock_says(plan, zone, change, hours):
    """Each minute of the two days around a change, from openings of four days before it."""
    sites = tuple(replace(site, time_zone=zone) for site in plan.sites)
    group = replace(plan.groups[0], hours=hours)
    here = replace(plan, sites=sites, groups=(group,))
    spans = openings(here, change - timedelta(days=4))[group.name]
    moment = change - timedelta(days=1)
    begins = fresh(group, spans)
    assert all(a[1] < b[0] for a, b in pairwise(spans)), "they stand apart"
    while moment < change + timedelta(days=1):
        second = moment.timestamp()
        inside = any(start <= second < end for start, end in spans)
        assert inside == is_open(hours, moment, zone), moment
        left = {group.name: seconds_left(hours, moment, zone)}
        may_begin = any(start <= second < end for start, end in begins)
        assert may_begin == bool(still_fresh(group, left)), moment
        moment += timedelta(minutes=1)


@given(
    schedule=st.sampled_from(SCHEDULES),
    change=st.sampled_from(CHANGES),
    asked=st.integers(-20 * 86400, 3 * 86400),
    later=st.integers(0, (AHEAD - 1) * 86400),
)
def test_at_any_second_of_the_days_ahead_it_is_open_as_the_wall_clock_says(
    compiled, schedule, change, asked, later
):
    zone, turn = change
    sites = tuple(replace(site, time_zone=zone) for site in compiled.sites)
    group = replace(compiled.groups[0], hours=schedule)
    here = replace(compiled, sites=sites, groups=(group,))
    now = turn + timedelta(seconds=asked)
    moment = now + timedelta(seconds=later)
    second = moment.timestamp()
    inside = any(start <= second < end for start, end in openings(here, now)[group.name])
    assert inside == is_open(schedule, moment, zone)


def test_two_groups_of_two_time_zones_open_by_their_own(plan):
    east = replace(plan.groups[0], hours=replace(DAY, zone="Asia/Kolkata"))
    west = replace(plan.groups[1], hours=DAY)
    both = replace(plan, groups=(east, west))
    # 02:00 UTC: 07:30 in Kolkata, 03:00 in Paris.
    left = open_for(both, at("2026-11-22T02:00:00"))
    assert left == {east.name: 14 * 3600 + 1800, west.name: 0}
    starts = {name: datetime.fromtimestamp(spans[0][0], UTC).strftime("%H:%M")
              for name, spans in openings(both, at("2026-11-22T02:00:00")).items()}  # fmt: skip
    assert starts == {east.name: "01:30", west.name: "06:00"}


def test_a_closed_group_says_when_it_opens_again(plan):
    late = replace(VISITS, grace=timedelta(minutes=20), zone="Europe/Paris")
    group = replace(plan.groups[0], hours=late)
    here = replace(plan, groups=(group, replace(plan.groups[1], hours=None)))
    # Friday noon, within the grace: what runs goes on, and new calls begin at two.
    moments = [
        ("2026-11-27T11:10:00", "2026-11-27T14:00:00+01:00"),
        ("2026-11-27T19:30:00", "2026-11-28T00:30:00+01:00"),
        ("2026-11-29T23:30:00", "2026-11-30T10:00:00+01:00"),
        # The night that skips 02:00: 03:10 comes an hour sooner.
        ("2026-03-29T00:45:00", "2026-03-29T03:10:00+02:00"),
    ]
    for moment, opens in moments:
        assert next_opening(here, group.name, at(moment)).isoformat() == opens
    assert next_opening(here, plan.groups[1].name, at("2026-11-27T11:10:00")) is None
