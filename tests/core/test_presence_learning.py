"""What the engine learns and weighs: stays, records of closed incidents, rates, who else is silent."""

from dataclasses import replace

import pytest

from netguard.core import evidence
from netguard.core.presence import State, curves, dump, load, record, stays
from netguard.core.presence.curves import EDGE
from netguard.core.presence.judge import verdict
from netguard.core.presence.model import TabletModel
from netguard.core.presence.state import Seen
from tests.core.test_presence import ONE, T0, TWO, Run, fleet, model_of

A, H, S, I = evidence.ASSOCIATED, evidence.HEARD, evidence.START, evidence.INTERIM  # noqa: E741  # as there


@pytest.fixture
def run():
    return Run()


def test_a_record_learns_whether_what_was_said_came_true():
    """Told at 80 %: when all were gone more is said from then on, when none was, less."""
    shifts = []
    for gone in (True, False):
        state = State()
        model = model_of()
        for number, mac in enumerate(sorted(model.tablets)[:6]):
            state.now = T0 + number
            state.tablets[mac] = Seen(model.tablets[mac])
            state.tablets[mac].alert = f"a-{number}" if gone else ""
            record.told(state, mac, f"a-{number}", 0.8)
        assert state.settled == (0, 0.0, 0), "nothing is known before three days"
        assert record.shift(state) == 0.0
        state.now = T0 + record.SETTLED_AFTER + 3
        record.settle(state)
        assert state.settled[0] == 4, "the two told last are not three days old"
        assert state.settled[1:] == (pytest.approx(3.2), 4 if gone else 0)
        again = load(dump(state), model)
        assert (again.settled, again.open) == (state.settled, state.open)
        shifts.append(record.shift(state))
    assert shifts[0] > 0.2
    assert shifts[1] < -0.8


def test_people_who_say_it_was_stolen_make_the_record_right_although_it_is_back():
    state, model = State(), model_of()
    state.now = T0
    state.tablets[ONE] = Seen(model.tablets[ONE])
    state.tablets[ONE].loan = "stolen"
    record.told(state, ONE, "a", 0.6)
    record.told(state, "aa:bb:cc:00:00:99", "b", 0.6)
    state.now += record.SETTLED_AFTER
    record.settle(state)
    assert state.settled == (1, 0.6, 1), "a tablet that the rules no longer have is left out"


def test_a_record_moves_the_log_odds_only_so_far():
    state = State()
    state.settled = (1000, 500.0, 1000)
    assert record.shift(state) == 1.5
    state.settled = (1000, 500.0, 0)
    assert record.shift(state) == -1.5


def test_who_passes_the_exit_is_suspected_sooner_than_who_stayed(run):
    """The length of the stay at the exit is evidence, learned from the stays that ended well."""
    said = {}
    for mac, stay in ((ONE, 40), (TWO, 700)):
        run.beats(0, 3000, mac)
        run.on(3000, A, mac, "h1").beats(3010, 3000 + stay, mac, "h1", 10)
        run.until(3000 + stay + 200)
        (alert, *_) = [a for a in run.alerts(None, "raised") if a.mac == mac]
        said[mac] = alert
    assert (said[ONE].cause, said[TWO].cause) == ("taken", "asleep")
    assert next(reason.weight for reason in said[ONE].reasons if reason.name == "stay") > 1
    before = stays.share(run.state.stays, stays.AT_EDGE, 1)
    run.on(5000, A, TWO, "w1")
    assert run.state.stays[: stays.SPANS] == [15.0, 105.0, 180.0, 300.0, pytest.approx(90, abs=11)]
    for _ in range(20):
        stays.add(run.state.stays, stays.AT_EDGE, 60.0)
    assert stays.share(run.state.stays, stays.AT_EDGE, 1) > before


@pytest.mark.parametrize(
    ("stay", "spans"),
    [
        (-5.0, [0, 0, 0, 0, 0]),
        (0.0, [0, 0, 0, 0, 0]),
        (15.0, [15, 0, 0, 0, 0]),
        (16.0, [15, 1, 0, 0, 0]),
        (601.0, [15, 105, 180, 300, 1]),
        (99_999.0, [15, 105, 180, 300, 13800]),
    ],
)
def test_a_stay_fills_the_spans_it_went_through(stay, spans):
    seconds = [0.0] * stays.SIZE
    stays.add(seconds, stays.ON_THE_WAY, stay)
    assert seconds == [0.0] * stays.SPANS + [float(each) for each in spans]


def test_one_rare_silence_of_its_own_makes_no_habit():
    """A gap in the tail that a tablet had once does not hide a theft for weeks."""
    pool, own = curves.Pool(), bytearray(curves.SIZE)
    curves.count(own, (pool,), EDGE, 0, curves.passed(300))
    rates = [
        curves.rate(each, 20.0, (pool, pool), (3000.0, 3000.0), EDGE, 256.0, 0)
        for each in (bytearray(curves.SIZE), own)
    ]
    assert rates[1] < 3 * rates[0]
    # Somebody who does it again and again is believed.
    for _ in range(20):
        curves.count(own, (pool,), EDGE, 0, curves.passed(300))
    assert curves.rate(own, 20.0, (pool, pool), (3000.0, 3000.0), EDGE, 256.0, 0) > 20 * rates[0]


def test_what_a_session_counted_before_the_tablet_roamed_is_no_sign_of_life(run):
    """A recording lost an association; its session's last report comes after the tablet has left."""
    run.on(0, S, session="1").beats(0, 600)
    run.on(700, I, ap="h1", session="2", packets=100)
    run.on(800, A, ap="w2").on(801, S, ap="w2", session="3", packets=0)
    run.on(1000, I, ap="h1", session="2", packets=120)
    assert run.state.tablets[ONE].ap == "w2"
    # It grows after the association: now it counts.
    run.on(1300, I, ap="h1", session="2", packets=130)
    assert run.state.tablets[ONE].ap == "h1"


def test_while_the_whole_controller_is_silent_one_of_its_tablets_is_not_called_taken(run):
    """Before its patience is over the silence of the controller already speaks for an outage."""
    fleet(run, 3000, edge={ONE})
    seen = run.state.tablets[ONE]
    for name in ("h1", "h2"):
        run.state.aps.pop(name, None)
    seen.context = EDGE
    nas = run.state.nases["wlc"]
    now = seen.last + 120
    nas.last = seen.last
    alone = verdict(run.model, run.state, seen, now, 120.0).probabilities
    nas.last = now
    heard = verdict(run.model, run.state, seen, now, 120.0).probabilities
    assert alone[3] > 0.5 > heard[3]


def test_a_tablet_whose_home_is_the_hall_is_watched_when_it_comes_back_from_a_walk():
    model = replace(model_of(), tablets={ONE: TabletModel("T-001", ONE, "main", "hall", "tab")})
    run = Run()
    run.model = model
    run.beats(0, 3000, ap="h1", every=20).on(3000, A, ap="h1").until(3100)
    assert run.state.tablets[ONE].context != EDGE
    run.on(3100, A, ap="w1").on(3160, A, ap="h2").on(3190, H, ap="h2").until(3400)
    assert run.state.tablets[ONE].context == EDGE
    assert [a.cause for a in run.alerts(None, "raised")] == ["taken"]


def test_the_silence_of_the_only_tablet_of_an_access_point_is_its_own(run):
    """Its own messages make no rhythm of the AP that could stop."""
    run.on(0, A, ap="h1").beats(10, 1600, ap="h1", every=10)
    assert run.state.aps["h1"].counts[-1] == 0
    run.on(1600, H, TWO, "h1").beats(1610, 2000, ap="h1", every=10)
    assert run.state.aps["h1"].counts[-1] == 2
    assert run.state.nases["wlc"].counts[-1] == 2
