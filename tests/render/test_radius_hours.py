"""Hours as FreeRADIUS reads them: minutes of the week, and the clock of a site until its next change."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from netguard.core.plan import compile_plan
from netguard.core.week import Hours, Window, weekly
from netguard.render.radius_hours import LAST_YEAR, clocks, hours, login_time, openings

VISITS = weekly({"mon-fri": [Window.parse("10:00-12:00"), Window.parse("14:00-20:00")], "sat": [Window.parse("14:00-18:00")]})  # fmt: skip
NIGHTS = Hours.of([Window.parse("00:00-02:00"), Window.parse("20:00-24:00")])


@pytest.mark.parametrize(
    ("week", "text"),
    [
        (Hours.parse("07:00-22:00"), "Al0700-2159"),
        (replace(Hours.parse("07:00-22:00"), grace=timedelta(minutes=10)), "Al0700-2209"),
        (replace(Hours.parse("07:00-23:55"), grace=timedelta(minutes=10)), "Al0700-0004"),
        (VISITS, "Wk1000-1159,Wk1400-1959,Sa1400-1759"),
        (weekly({"mon,wed": [Window.parse("10:00-24:00")]}), "Mo1000-2359,We1000-2359"),
        (Hours.of([Window(60 * hour, 60 * hour + 30) for hour in range(24)]), "Al0000-2359"),
    ],
)
def test_a_login_time_says_the_hours_where_it_has_room(week, text):
    assert login_time(week) == text


def test_a_span_over_the_end_of_the_week_is_two_entries():
    lines = list(openings("nights", replace(NIGHTS, grace=timedelta(minutes=5))))
    first = "hours/nights Netguard-Minute >= 1200, Netguard-Minute < 1565, Netguard-Closes := 1565"
    assert lines[0] == first
    assert lines[-2:] == [
        "hours/nights Netguard-Minute >= 9840, Netguard-Minute < 10080, Netguard-Closes := 10205",
        "hours/nights Netguard-Minute >= 0, Netguard-Minute < 125, Netguard-Closes := 125",
    ]


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Paris",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Africa/Casablanca",
    ],
)
def test_the_clock_of_a_site_is_that_of_zoneinfo_for_decades(zone):
    """The first entry that is not over holds, as rlm_files reads them."""
    entries = []
    for line in clocks("here", zone):
        until = re.search(r"Netguard-Now < ([0-9]+)", line)
        entries.append(
            (int(until[1]) if until else 1 << 40, int(re.search(r"Clock := ([0-9]+)", line)[1]))
        )
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    while moment.year <= LAST_YEAR:
        now = int(moment.timestamp())
        clock = next(clock for until, clock in entries if now < until)
        local = moment.astimezone(ZoneInfo(zone))
        second = local.weekday() * 86400 + local.hour * 3600 + local.minute * 60 + local.second
        assert (now + clock) % 604800 == second, moment
        moment += timedelta(hours=37, minutes=11)


def test_without_hours_there_is_nothing_to_say(example):
    plain = {name: replace(group, hours=None) for name, group in example.groups.items()}
    plan = compile_plan(replace(example, groups=plain), sorted(example.sites))
    assert len(hours(plan).splitlines()) == 1
