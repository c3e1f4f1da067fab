"""When a loan ends: by its own end or its group's length, later while a profile lengthens it; who is overdue."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.due import SLACK, Lent, due_of, ends, overdue
from netguard.core.policy import Narrowing, Profile
from netguard.core.profiles import lengthened

NOW = datetime(2026, 11, 30, 8, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("until", "length", "at_least", "days"),
    [
        (None, None, None, None),
        (None, None, 60, None),
        (None, 14, None, 14),
        (3, 14, None, 3),
        (3, None, None, 3),
        (30, 14, None, 30),
        (None, 14, 60, 60),
        (3, 14, 60, 60),
        (90, 14, 60, 90),
    ],
)
def test_its_own_end_counts_before_the_groups_and_a_profile_only_lengthens(
    until, length, at_least, days
):
    lent = Lent(NOW, NOW + until * DAY if until else None)
    spans = [n * DAY if n else None for n in (length, at_least)]
    assert due_of(lent, *spans) == (NOW + days * DAY if days else None)


@given(*[st.one_of(st.none(), st.integers(1, 366))] * 3)
def test_a_profile_never_makes_a_loan_end_sooner(until, length, at_least):
    lent = Lent(NOW, NOW + until * DAY if until else None)
    own, least = (n * DAY if n else None for n in (length, at_least))
    before, after = due_of(lent, own), due_of(lent, own, least)
    assert (before is None) == (after is None)
    assert before is None or before <= after


def test_the_crisis_of_the_example_lengthens_the_loans_of_patients(example):
    lent = {
        "T-001": Lent(NOW),
        "T-002": Lent(NOW, NOW + 3 * DAY),
        "T-gone": Lent(NOW),
        "T-gone-2": Lent(NOW, NOW + DAY),
    }
    gone = {"T-gone": None, "T-gone-2": NOW + DAY}
    calm = {"T-001": NOW + 14 * DAY, "T-002": NOW + 3 * DAY, **gone}
    assert ends(example, [], lent) == calm
    assert ends(example, ["no-such-thing"], lent) == calm
    longer = {"T-001": NOW + 60 * DAY, "T-002": NOW + 60 * DAY, **gone}
    assert ends(example, ["crisis"], lent) == longer
    without = {"T-001": None, "T-002": NOW + 3 * DAY, **gone}
    assert ends(None, ["crisis"], lent) == without


def test_of_two_profiles_the_longer_loan_counts(example):
    profiles = {
        name: Profile(name, {"patients": Narrowing(loan_length=days * DAY if days else None)})
        for name, days in (("one", 30), ("two", 20), ("three", None))
    }
    for names in (("one", "two", "three"), ("three", "two", "one")):
        assert lengthened(profiles, names) == {"patients": 30 * DAY}
    assert lengthened(profiles, ["three", "gone"]) == {}
    policy = replace(example, profiles=profiles)
    assert ends(policy, ["two"], {"T-001": Lent(NOW)}) == {"T-001": NOW + 20 * DAY}


def test_who_is_overdue_stays_so_when_the_clock_is_set_back_a_little_or_cannot_be_right():
    since, end = 2e9, 2e9 + 14 * SLACK
    lent = {"T-001": (since, end), "T-002": (since, end + 500), "T-003": (since, None)}
    assert overdue(lent, end - 0.1, {}) == {}
    told = overdue(lent, end, {})
    assert told == {"T-001": end}
    assert overdue(lent, end - SLACK / 2, told) == told
    # The clock was wrong before, by far: nobody was overdue then.
    assert overdue(lent, end - SLACK, told) == {}
    assert overdue(lent, since, told) == {}
    # It is wrong now: it began with an empty battery.
    for now in (0.0, since - 1):
        assert overdue(lent, now, told) == told
        assert overdue(lent, now, {}) == {}
    # Another end is another loan.
    assert overdue({"T-001": (since, end + 1)}, end + 0.5, told) == {}
    assert overdue({"T-001": (since, end + 1)}, since - 1, told) == {}
    assert overdue({"T-001": (since, None)}, end, told) == {}
    assert overdue({}, 2 * end, told) == {}
