"""core/presence/threshold.py beside the plainest way to say the same: try every threshold."""

from dataclasses import replace
from math import exp, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.presence import State
from netguard.core.presence.state import PEAKS
from netguard.core.presence.threshold import band_of, threshold_of
from tests.core.test_presence import T0, model_of

# Without the limits of the weights, so that each band shows; a budget that a day more or less changes.
BARE = replace(
    model_of(budget=2.0),
    weights=replace(model_of().weights, smallest=0.0, largest=1.0),
)


def threshold(peaks, days):
    state = State()
    state.since, state.now = T0, T0 + days * 86400.0
    state.peaks = peaks
    return threshold_of(BARE, state)


def lowest(peaks, days):
    """Return the lowest threshold above which no more silences peaked than the budget allows, and chance."""
    expected = BARE.budget * max(7.0, days)
    allowed = expected + sqrt(expected)
    band = next(each for each in range(PEAKS + 1) if sum(peaks[each:]) <= allowed)
    odds = exp(band / 4 - 5)
    return odds / (1 + odds)


@given(
    st.lists(st.integers(0, 3), min_size=PEAKS, max_size=PEAKS),
    st.sampled_from([3.0, 6.0, 7.0, 8.0, 20.0, 100.0]),
)
def test_the_threshold_is_the_lowest_within_the_budget(peaks, days):
    assert threshold(peaks, days) == pytest.approx(lowest(peaks, days))


@pytest.mark.parametrize("band", [0, 1, 20, PEAKS - 2, PEAKS - 1])
def test_one_band_too_full_is_stayed_above(band):
    peaks = [0] * PEAKS
    assert threshold(peaks, 7.0) == pytest.approx(lowest(peaks, 7.0)), "nothing ever was suspect"
    peaks[band] = 1000
    assert threshold(peaks, 7.0) == pytest.approx(lowest(peaks, 7.0))


def test_in_the_first_week_the_budget_is_that_of_a_week():
    peaks = [0] * PEAKS
    expected = BARE.budget * 7.0
    peaks[20] = int(expected + sqrt(expected))
    assert threshold(peaks, 3.0) == pytest.approx(lowest([0] * PEAKS, 3.0))
    peaks[20] += 1
    assert threshold(peaks, 3.0) > threshold([0] * PEAKS, 3.0)


@pytest.mark.parametrize(
    ("probability", "band"),
    [(0.0, 0), (0.0067, 0), (0.5, 20), (0.56, 20), (0.57, 21), (0.99, 38), (1.0, 39)],
)
def test_a_band_is_a_quarter_of_a_nat(probability, band):
    assert band_of(probability) == band


def test_as_many_as_are_allowed_are_allowed():
    """Sixteen expected in eight days, and a deviation of four."""
    peaks = [0] * PEAKS
    peaks[20] = 20
    assert threshold(peaks, 8.0) == threshold([0] * PEAKS, 8.0)
    peaks[20] = 21
    assert threshold(peaks, 8.0) > threshold([0] * PEAKS, 8.0)
