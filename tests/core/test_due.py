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


def test_who_is_overdue_stays_so_when_the_clock_is_set_back_a_little():
    due = {"T-001": 1000.0, "T-002": 1500.0}
    assert overdue(due, 999.9, {}) == {}
    told = overdue(due, 1000.0, {})
    assert told == {"T-001": 1000.0}
    assert overdue(due, 1000.0 - SLACK / 2, told) == told
    # So far that the clock was wrong before: nobody was overdue then.
    assert overdue(due, 1000.0 - SLACK, told) == {}
    # Another end is another loan.
    assert overdue({"T-001": 1001.0}, 1000.5, told) == {}
    assert overdue({}, 2000.0, told) == {}
