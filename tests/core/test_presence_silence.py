"""What a silence is told as, and when: the borders of core/presence/silence.py, one by one."""

from dataclasses import replace

import pytest

from netguard.core import evidence
from netguard.core.presence.actions import Judgement, Transition
from netguard.core.presence.threshold import band_of
from tests.core.test_presence import ONE, TWO, Run
from tests.core.test_presence_learning import learned

A, H = evidence.ASSOCIATED, evidence.HEARD


@pytest.fixture
def run():
    return Run()


@pytest.mark.parametrize("trace", [False, True])
def test_how_a_verdict_came_about_is_told_where_it_is_asked_for(run, trace):
    run.model = replace(run.model, trace=trace)
    run.on(0, A, ap="h1").until(200)
    looks = [each for each in run.actions if isinstance(each, Judgement)]
    assert bool(looks) == trace
    assert all(each.silent_since == looks[0].silent_since for each in looks)


def test_an_outage_that_somebody_reports_is_certain(run):
    run.on(0, A).on(60, evidence.AP_DOWN, "", "w1")
    (told,) = [each for each in run.actions if isinstance(each, Transition)]
    assert (told.after, told.cause, told.probability) == ("unreachable", "outage", 1.0)


def test_how_suspect_a_silence_was_is_how_sure_of_theft_it_made(run):
    """Not of a flat battery: the threshold is drawn from these."""
    run.on(0, A, ap="h1").until(600)
    told = run.alerts("taken")[-1].probability
    run.on(601, H, ap="h1")
    (band,) = [band for band, count in enumerate(run.state.peaks) if count]
    assert band >= band_of(told)
    assert band > band_of(0.4)


def test_of_the_causes_that_are_left_the_likeliest_is_told():
    """With days behind it, too, and not what is first in the list."""
    run = Run(night=(0, 86400))
    run.on(0, A).on(1, evidence.LOAN, ap="", reason="stock").on(2, H)
    learned(run, 0)
    run.beats(3, 200_000, TWO, every=250)
    assert [a.cause for a in run.alerts(None, "raised")] == ["asleep"]


def test_what_people_said_first_and_took_back_names_no_cause(run):
    """Reported stolen it is quiet because taken; found and on an ordered way it has moved."""
    run.on(0, A, ap="h1").on(1, evidence.LOAN, ap="", reason="stolen").until(70)
    assert (run.state_of(), run.state.tablets[ONE].cause) == ("quiet", "taken")
    run.on(71, evidence.LOAN, ap="", reason="found")
    run.on(72, evidence.PLANNED_MOVE, ap="", area="other/ward").until(400)
    assert [a.cause for a in run.alerts(None, "raised")] == ["moved"]
