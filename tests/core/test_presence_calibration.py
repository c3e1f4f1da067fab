"""What is told at an alarm: the calibration of probabilities (core/presence/calibration.py)."""

from itertools import pairwise
from math import exp, log

import pytest

from netguard.core import evidence
from netguard.core.evidence import ASSOCIATED as A
from netguard.core.presence.calibration import CURVES, moved, shift
from netguard.core.presence.curves import DAY, EDGE, NIGHT, WAY
from netguard.core.presence.judge import verdict
from tests.core.test_presence import ONE, T0, Run


@pytest.fixture
def run():
    return Run()


def test_what_is_told_is_what_alarms_like_it_were_worth():
    """The piece named calibration is the whole difference, and the other causes share the rest."""
    by = shift(CURVES, EDGE, 0.7)
    assert moved(0.7, by) == pytest.approx(0.25)
    assert moved(0.5, shift(CURVES, WAY, 0.5)) == pytest.approx(0.33)
    # Between two points it is straight in log odds, beyond the ends the distance stays.
    middle = moved(0.65139, shift(CURVES, EDGE, 0.65139))
    assert middle == pytest.approx(0.175, abs=0.002)
    assert shift(CURVES, EDGE, 0.1) == shift(CURVES, EDGE, 0.3) == shift(CURVES, EDGE, 0.0)
    assert shift(CURVES, WAY, 0.999) == shift(CURVES, WAY, 0.99) == shift(CURVES, WAY, 1.0)
    assert shift(CURVES, DAY, 0.7) == shift(CURVES, NIGHT, 0.7) == 0.0
    assert moved(0.0, 1.0) == 0.0
    assert moved(1.0, -1.0) == 1.0


@pytest.mark.parametrize("context", [EDGE, WAY])
def test_a_calibration_changes_no_order(context):
    told = [moved(p / 1000, shift(CURVES, context, p / 1000)) for p in range(1, 1000)]
    assert all(before < after for before, after in pairwise(told))
    assert all(0 < each < 1 for each in told)


def test_a_verdict_is_calibrated_once_enough_was_seen(run):
    run.on(0, A, ap="w1").on(60, A, ap="h1").on(90, evidence.HEARD, ap="h1")
    seen = run.state.tablets[ONE]
    seen.context, now = EDGE, T0 + 90 + 180
    raw = verdict(run.model, run.state, seen, now, 180.0)
    assert all(name != "calibration" for name, _, _ in raw.pieces)
    run.state.now, run.state.since = now, now - 3 * 86400
    said = verdict(run.model, run.state, seen, now, 180.0)
    by = next(row[0] for name, row, _ in said.pieces if name == "calibration")
    assert said.probabilities[0] == pytest.approx(moved(raw.probabilities[0], by), rel=1e-3)
    assert sum(said.probabilities) == pytest.approx(1.0)
    odds = [
        after / before
        for after, before in zip(said.probabilities[1:], raw.probabilities[1:], strict=True)
    ]
    assert odds == pytest.approx([odds[0]] * len(odds), rel=1e-3)


def test_who_comes_back_elsewhere_inside_is_not_on_its_way(run):
    """After a silence nobody knows since when it has been there."""
    run.on(0, A, ap="w1").on(540, A, ap="s1")
    assert run.state.tablets[ONE].entered == T0
    run.on(560, A, ap="w1")
    assert run.state.tablets[ONE].entered == T0 + 560
    # At an exit it counts from when it was heard there: whoever carries it may have had it in a bag.
    run.on(1200, A, ap="h1")
    assert run.state.tablets[ONE].entered == T0 + 1200


def test_beyond_its_ends_a_curve_goes_on_at_the_same_distance():
    """In log odds: what is said of the surest moves as the last point does, of the least sure as the first."""
    curve = {EDGE: ((0.3, 0.2), (0.6, 0.5), (0.9, 0.95))}

    def odds(probability):
        return log(probability / (1 - probability))

    low, high = odds(0.2) - odds(0.3), odds(0.95) - odds(0.9)
    for probability in (0.001, 0.1, 0.3):
        assert shift(curve, EDGE, probability) == pytest.approx(low)
    for probability in (0.9, 0.95, 0.999):
        assert shift(curve, EDGE, probability) == pytest.approx(high)
    assert shift(curve, EDGE, 0.6) == pytest.approx(odds(0.5) - odds(0.6))
    assert shift(curve, WAY, 0.6) == 0.0
    # Straight in between, in log odds.
    middle = 1 / (1 + exp(-(odds(0.3) + odds(0.6)) / 2))
    assert shift(curve, EDGE, middle) == pytest.approx((low + odds(0.5) - odds(0.6)) / 2)
