"""The figures of how well the engine judges, from runs of which everything is known."""

import math

import pytest

from netguard.core.evaluation import BASE, GRID, Observations, report, worst_gap


def run(false, delay, *, how="nap", stated=0.95, right=19):
    """A week of ten tablets with one theft, found after a delay; a higher threshold costs a minute and saves an alarm."""
    grid = range(len(GRID))
    return Observations(
        days=7.0, tablet_days=70.0, false=false, delays=[delay], edge_delays=[delay],
        grid_false=[max(0, 9 - number) for number in grid],
        grid_delays=[[60.0 * (1 + number)] for number in grid],
        rivals={BASE: (4, [600.0]), "fixed 60 min": (1, [3600.0])},
        cases=[(stated, number < right) for number in range(20)],
        alarms=[(stated, True)],
        false_how={how: false}, late_how={"battery": 1},
    )  # fmt: skip


def test_two_runs_are_one_of_both():
    seen = run(1, 240.0)
    seen.add(run(3, 360.0, how="roof"))
    found = report(seen)
    assert (found["days"], found["tablet_days"], found["thefts"]) == (14.0, 140.0, 2)
    engine = found["engine"]
    assert (engine["false_per_week"], engine["found"]) == (2.0, 1.0)
    assert (engine["edge_within_5_min"], engine["all_within_20_min"]) == (0.5, 1.0)
    assert (engine["false_by"], engine["late_by"]) == ({"nap": 1, "roof": 3}, {"battery": 2})
    assert found["rivals"][BASE]["false_per_week"] == 4.0
    assert found["rivals"]["fixed 60 min"]["median_delay"] == 3600.0
    # Forty cases fill a bin, nineteen of twenty were thefts, as was stated.
    (row,) = [row for row in found["calibration_at_5_min"] if row["observed"] is not None]
    assert (row["cases"], row["observed"]) == (40, 0.95)
    assert worst_gap(found["calibration_at_5_min"]) == pytest.approx(0.0)


def test_the_engine_is_compared_where_a_fixed_time_stands():
    found = report(run(1, 240.0))
    # No more false alarms than its four: the sixth threshold, after six minutes of its ten.
    assert found["at_false_alarms_of_fixed_15"] == {"median_delay": 360.0, "of_its_delay": 0.6}
    # As fast as its ten minutes: the tenth threshold, without a false alarm.
    assert found["at_delay_of_fixed_15"] == {"false_per_week": 0.0, "of_its_false_alarms": 0.0}


def test_where_there_is_nothing_to_compare_nothing_is_said():
    none = report(Observations())
    assert (none["at_delay_of_fixed_15"], none["engine"]["median_delay"]) == (None, None)
    assert worst_gap(none["calibration_at_5_min"]) == 0
    slow = run(1, math.inf)
    slow.rivals, slow.grid_false = {BASE: (0, [1.0])}, [1] * len(GRID)
    found = report(slow)
    assert (found["at_false_alarms_of_fixed_15"], found["at_delay_of_fixed_15"]) == (None, None)
    assert found["engine"]["median_delay"] is None
