"""What is learned of silences is gone after 28 days, and what came of it is not: core/presence/retention.py."""

import pytest

from netguard.core import evidence
from netguard.core.presence import curves, dump, load, retention
from netguard.core.presence.curves import DAY
from netguard.core.presence.judge import verdict
from tests.core.test_presence import ONE, T0, TWO, Run

A, H = evidence.ASSOCIATED, evidence.HEARD
TURN = 14 * 86400


@pytest.fixture
def run():
    """One tablet that was silent for twenty minutes on the first day, and is heard every minute since."""
    run = Run()
    run.on(0, A).on(60, H).on(1260, H)
    return run


def heard_until(run, start, end, mac=ONE):
    for at in range(start, end, 300):
        run.on(at, H, mac)
    return run


def longer(run, mac=ONE):
    """Return how many silences are known of a tablet and of the fleet."""
    return sum(run.state.tablets[mac].curve), sum(run.state.fleet.counts)


def test_lengths_are_gone_after_28_days_at_most(run):
    """Those of the fleet and of a model, too; with the days that were watched."""
    first = longer(run)
    assert first[0] == first[1] > 0
    heard_until(run, 1260, 2 * TURN - 600)
    assert longer(run) == first, "28 days are not over"
    assert run.state.fleet.days(run.state.now) == pytest.approx(28, abs=0.1)
    heard_until(run, 2 * TURN - 600, 2 * TURN + 700)
    assert longer(run) == (0, 0)
    assert all(not any(pool.counts) for pool in run.state.groups.values())
    assert run.state.fleet.days(run.state.now) == pytest.approx(14, abs=0.1)
    assert retention.tablet_days(run.state) == pytest.approx(28, abs=0.1), "it has seen as much"


def test_what_came_in_the_second_span_stays_through_the_third(run):
    heard_until(run, 1260, TURN + 3600)
    run.on(TURN + 6000, H)
    known = longer(run)
    heard_until(run, TURN + 6000, 2 * TURN + 700)
    now = longer(run)
    assert 0 < now[0] < known[0]
    heard_until(run, 2 * TURN + 700, 3 * TURN + 700)
    assert longer(run) == (0, 0)


def test_after_months_without_a_word_nothing_is_left(run):
    run.on(10 * TURN, H)
    run.until(10 * TURN + 60)
    assert T0 + 9 * TURN < run.state.turned <= run.state.now
    heard_until(run, 10 * TURN, 12 * TURN + 700)
    assert longer(run)[0] == 0


def test_a_rate_is_of_what_is_still_known(run):
    """The days of a tablet and its silences go together: what is left is a rate as before."""
    heard_until(run, 1260, 2 * TURN + 700)
    heard_until(run, 2 * TURN + 700, 2 * TURN + 900, TWO)
    seen, now = run.state.tablets[ONE], run.state.now
    assert seen.first == T0 + TURN
    normal = verdict(run.model, run.state, seen, now, 600.0).normal
    prior = curves.rate(bytearray(curves.SIZE), 0.0, (), DAY, 600.0, 0)
    assert normal < prior


def test_a_tablet_that_the_rules_no_longer_have_is_not_watched_for_ever(run):
    run.on(1300, A, TWO)
    del run.state.tablets[TWO]
    heard_until(run, 1400, TURN + 700)
    assert run.state.fleet.tablets == 1
    assert run.state.group("model:tab").tablets == 1


def test_spans_go_on_over_a_restart(run):
    heard_until(run, 1260, TURN + 700)
    again = load(dump(run.state), run.model)
    assert dump(again) == dump(run.state)
    assert (again.turned, again.tablets[ONE].aged) == (T0 + TURN, run.state.tablets[ONE].aged)
    assert sum(again.tablets[ONE].aged) > 0


def test_a_quarter_of_an_hour_of_its_way_is_kept(run):
    """Of who stays where it is, too, in memory and on disk; the last step says where it is."""
    run = Run()
    run.on(0, A).on(100, A, ap="w2").on(200, A, ap="w3")
    seen = run.state.tablets[ONE]
    assert [ap for _, ap in seen.path] == ["w1", "w2", "w3"]
    heard_until(run, 300, 950)
    run.on(1050, H)
    assert [ap for _, ap in seen.way()] == ["w3"]
    assert [ap for _, ap in load(dump(run.state), run.model).tablets[ONE].path] == ["w3"]
    heard_until(run, 1100, 3000)
    assert [ap for _, ap in seen.path] == ["w3"]


def test_an_alert_tells_the_way_of_the_last_quarter_of_an_hour():
    """Also where nobody had looked since what was before it grew too old."""
    run = Run()
    run.on(0, A).on(100, A, ap="w2")
    for at in (300, 590, 850):
        run.on(at, H, ap="w2")
    run.on(1010, evidence.DISASSOCIATED, ap="w2", reason="user-request").until(4000)
    (raised,) = run.alerts(None, "raised")
    assert [ap for _, ap in raised.path] == ["w2"]
