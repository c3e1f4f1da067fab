"""Windows of wall clock time by day of the week: how they are read, said, and what lies within what."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.week import (
    DAY,
    DAYS,
    WEEK,
    Hours,
    Window,
    apart,
    parse_days,
    wall_clock,
    weekly,
)
from netguard.errors import BadValue


def window(text):
    return Window.parse(text)


def refused(parse, text):
    with pytest.raises(BadValue) as caught:
        parse(text)
    assert caught.value.finding == "schedule"
    return caught.value.text


def test_a_window_ends_after_it_starts_unless_it_may_cross_midnight():
    day = window("07:00-22:00")
    assert (day.start, day.end, str(day)) == (420, 1320, "07:00-22:00")
    assert window("22:00-24:00") == Window(1320, DAY)
    assert str(window("22:00-24:00")) == "22:00-24:00"
    assert Window.parse("22:00-07:00", over_midnight=True) == Window(1320, 420)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("22:00-07:00", "ends before it starts, over midnight write [00:00-07:00, 22:00-24:00]"),
        ("22:00-00:00", "ends before it starts, write 22:00-24:00"),
        ("08:00-08:00", "is empty, it ends as it starts"),
        ("07:00-25:00", "'25:00' is not a time of day, 00:00 to 24:00"),
        ("24:00-24:00", "'24:00' is not a time of day, 00:00 to 23:59"),
        ("07:60-22:00", "'07:60' is not a time of day"),
        ("07:00-24:01", "'24:01' is not a time of day"),
        ("7-22", "'7-22' is not an interval of hours, write 07:00-22:00"),
        ("07:00-22:00\n", "is not an interval of hours"),
    ],
)
def test_what_is_no_window_is_refused_with_what_to_write(text, said):
    assert said in refused(Window.parse, text)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon", [0]),
        ("mon-fri", [0, 1, 2, 3, 4]),
        ("sat,sun", [5, 6]),
        ("sun, sat", [5, 6]),
        ("wed-wed", [2]),
        ("mon-tue,sat", [0, 1, 5]),
        ("weekdays", [0, 1, 2, 3, 4]),
        ("weekend", [5, 6]),
        ("daily", list(range(7))),
    ],
)
def test_days_are_named_one_by_one_or_from_to(text, days):
    assert list(parse_days(text)) == days


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("monday", "did you mean 'mon'?"),
        ("Mon", "is not days of the week"),
        ("", "is not days of the week"),
        ("sat-mon", "ends before it starts, write sat,sun,mon"),
        ("mon-fri,wed", "names wed twice"),
        ("mon-", "is not days of the week"),
    ],
)
def test_what_are_no_days_is_refused_with_what_to_write(text, said):
    assert said in refused(parse_days, text)


VISITS = weekly({"mon-fri": [window("14:00-20:00"), window("10:00-12:00")], "weekend": [window("14:00-18:00")]})  # fmt: skip


def test_hours_are_said_by_runs_of_days_alike():
    assert str(VISITS) == "mon-fri 10:00-12:00, 14:00-20:00; sat-sun 14:00-18:00"
    assert (
        str(Hours.of([window("14:00-20:00"), window("10:00-12:00")])) == "10:00-12:00, 14:00-20:00"
    )
    assert str(weekly({"wed": [window("10:00-12:00")]})) == "wed 10:00-12:00"
    assert str(replace(VISITS, zone="Asia/Kolkata")).endswith("14:00-18:00 (Asia/Kolkata)")


def test_one_window_a_day_is_the_same_plan_as_ever():
    late = replace(Hours.parse("07:00-22:00"), grace=timedelta(minutes=10))
    assert late.plain() == {"start": "07:00:00", "end": "22:00:00", "grace": "0:10:00"}
    assert VISITS.plain()["days"][5] == ["14:00-18:00"]
    assert json.dumps(replace(VISITS, zone="Asia/Kolkata").plain()).count("Asia/Kolkata") == 1


def test_what_meets_at_midnight_is_one_span():
    nights = Hours.of([window("00:00-07:00"), window("22:00-24:00")])
    assert nights.spans[0] == (22 * 60, DAY + 7 * 60)
    assert nights.spans[-1] == (6 * DAY + 22 * 60, WEEK + 7 * 60)
    assert len(nights.spans) == 7
    assert nights.closing(3 * 60) == 7 * 60
    assert nights.closing(6 * DAY + 23 * 60) == WEEK + 7 * 60
    assert nights.closing(12 * 60) is None
    assert nights.pause == (15 * 60, DAY + 22 * 60)


def test_hours_that_never_end_have_no_pause():
    assert Hours.of([window("00:00-24:00")]).pause is None
    assert weekly({"mon": [window("00:00-24:00")]}).pause == (6 * DAY, WEEK)


def test_windows_of_a_day_stand_apart():
    assert apart([window("10:00-12:00"), window("14:00-20:00")]) == ""
    assert apart([window("14:00-20:00"), window("10:00-14:00")]) == (
        "10:00-14:00 and 14:00-20:00 touch, write 10:00-20:00"
    )
    assert "overlap, write 10:00-20:00" in apart([window("10:00-20:00"), window("11:00-12:00")])


def test_fewer_windows_lie_within_more():
    day = Hours.parse("08:00-20:00")
    assert VISITS.within(day)
    assert not day.within(VISITS)


WINDOWS = st.lists(
    st.integers(0, DAY), min_size=0, max_size=6, unique=True
).map(lambda found: [Window(a, b) for a, b in zip(sorted(found)[::2], sorted(found)[1::2], strict=False)])  # fmt: skip
SOME_HOURS = st.lists(WINDOWS.map(tuple), min_size=7, max_size=7).map(
    lambda days: Hours(tuple(days))
)


@given(SOME_HOURS, st.integers(0, WEEK - 1))
def test_every_minute_is_open_when_a_window_of_its_day_has_it(hours, minute):
    day, of_day = divmod(minute, DAY)
    inside = any(w.start <= of_day < w.end for w in hours.days[day])
    closing = hours.closing(minute)
    assert (closing is not None) == inside
    if closing is not None and closing - minute < WEEK:
        after, last = divmod(closing % WEEK, DAY), (closing - 1) % WEEK
        assert hours.closing(last) is not None
        assert not any(w.start <= after[1] < w.end for w in hours.days[after[0]])


def test_a_minute_beyond_a_day_is_shown_as_one_of_the_next():
    assert [wall_clock(m) for m in (0, 90, DAY, DAY + 5)] == ["00:00", "01:30", "24:00", "00:05"]
    assert len(DAYS) == 7
