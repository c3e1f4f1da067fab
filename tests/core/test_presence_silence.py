"""What a silence is told as, and when: the borders of core/presence/silence.py, one by one."""

from dataclasses import replace

import pytest

from netguard.core import evidence
from netguard.core.presence.actions import Judgement, Transition
from netguard.core.presence.curves import DAY, EDGE, LENGTHS
from netguard.core.presence.threshold import band_of
from tests.core.test_presence import ONE, T0, TWO, Run
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


@pytest.mark.parametrize(("until", "causes"), [(150, ["taken"]), (3600, ["moved"])])
def test_an_order_to_move_that_is_over_excuses_nobody(run, until, causes):
    run.on(0, A, ap="h1").on(1, H, ap="h1")
    run.on(2, evidence.PLANNED_MOVE, ap="", area="other/ward", until=T0 + until).until(400)
    assert [a.cause for a in run.alerts(None, "raised")] == causes


def test_theft_is_not_told_before_two_graces_however_short_the_time_of_an_exit_is():
    run = Run(missing_edge=30.0)
    run.on(0, A, ap="h1").until(400)
    (raised,) = run.alerts("taken", "raised")
    assert raised.at - T0 == 2 * run.model.site_of("main").grace


def test_what_is_told_is_counted_by_its_cause(run):
    run.on(0, A, ap="h1").on(0, A, TWO).until(3000)
    causes = [a.cause for a in run.alerts(None, "raised")]
    assert sorted(causes) == ["asleep", "taken"]
    assert run.state.alarms == {"taken": 1, "asleep": 1}
    assert len(run.state.open) == 1, "what became of it is asked of thefts alone"


def test_what_was_told_as_another_cause_and_turns_into_theft_is_a_theft_like_any(run):
    """It counts against the budget and goes into the record."""
    run.on(0, A).until(2000)
    (first,) = run.alerts(None, "raised")
    assert first.cause != "taken"
    run.on(2001, evidence.LOAN, ap="", reason="stolen")
    run.model = replace(run.model, weights=replace(run.model.weights, taken=100.0))
    run.until(3000)
    updated = run.alerts("taken", "updated")
    assert updated[0].id == first.id
    assert run.state.alarms["taken"] == 1
    assert [entry[2] for entry in run.state.open] == [first.id]


def test_whoever_was_told_hears_of_a_tenth_more_or_of_half_the_doubt(run):
    """And of nothing less: whoever gets each alert by mail stops reading."""
    run.model = replace(run.model, trace=True)
    # Others are still heard there: it is no outage.
    run.on(0, A, ap="h1").on(50, A, TWO, "h1").on(51, A, TWO, "w1")
    for at in range(60, 700, 20):
        run.until(at).on(at, evidence.SILENT_PROBE, ap="")
    run.until(9000)
    told = {a.at: a.probability for a in run.alerts("taken") if a.mac == ONE}
    at, *later = sorted(told)
    said, by = told[at], set()
    for each in run.actions:
        if isinstance(each, Judgement) and each.tablet == "T-001" and each.at > at:
            sure = each.probabilities[0]
            why = {"tenth": sure >= said + 0.1, "doubt": 1 - sure <= (1 - said) / 2}
            assert any(why.values()) == (each.at in told)
            if each.at in told:
                by |= {tuple(name for name, true in why.items() if true)}
                said = sure
    assert later
    assert {("tenth",), ("doubt",)} <= by, "both rules were needed"


def test_a_silence_of_now_is_told_with_its_beginning_and_an_end_with_none(run):
    run.on(0, A, ap="h1").until(400).on(401, H, ap="h1")
    told = [(a.after, a.silent_since) for a in run.actions if isinstance(a, Transition)]
    assert told == [("quiet", T0), ("missing", T0), ("returned", 0.0), ("present", 0.0)]


def test_after_an_outage_a_tablet_is_looked_at_when_its_grace_is_over(run):
    """Not before: the time in which nobody could be heard is no silence of its."""
    run.on(0, A).on(10, evidence.NAS_RESTART, "", "")
    seen, grace = run.state.tablets[ONE], run.model.site_of("main").grace
    run.state.nases["wlc"].thaw = T0 + 1000
    run.until(700)
    assert seen.due == T0 + 1000 + grace


def test_what_began_while_we_were_blind_has_taught_nothing_of_the_exit(run):
    """It may have gone anywhere since: what was counted of it there is taken back."""
    run.on(0, A, ap="h1").until(45)
    counts = run.state.fleet.counts
    edge = slice(EDGE * len(LENGTHS), (EDGE + 1) * len(LENGTHS))
    assert (sum(counts), sum(counts[edge])) == (1.0, 1.0)
    run.state.nases["wlc"].thaw = T0 + 1000
    run.until(1150)
    assert run.state.tablets[ONE].context == DAY
    assert (sum(counts), sum(counts[edge])) == (3.0, 0.0)


def test_a_storm_of_alarms_is_an_outage_at_once():
    """The alarm that makes it one is not raised: who would have been told is unreachable like the others."""
    run = Run()
    macs = sorted(run.model.tablets)[:8]
    for number, mac in enumerate(macs):
        run.on(number * 40, A, mac, "h1")
    run.until(600)
    (outage,) = run.alerts("outage", "raised")
    assert outage.reasons[0].name == "storm-of-alarms"
    at_once = [a.after for a in run.actions if isinstance(a, Transition) and a.at == outage.at]
    assert "unreachable" in at_once
    # Nobody will say that it is over: it is held for a time.
    hold = int(run.model.site_of("main").outage_hold)
    run.until(int(outage.at - T0) + hold - 1)
    assert not run.alerts("outage", "cleared")
    run.until(int(outage.at - T0) + hold + 1)
    assert [a.at - outage.at for a in run.alerts("outage", "cleared")] == [hold]
