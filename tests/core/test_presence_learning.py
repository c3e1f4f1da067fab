"""What the engine learns and weighs: stays, records of closed incidents, rates, who else is silent."""

from dataclasses import replace
from pathlib import Path

import pytest

from netguard.core import evidence
from netguard.core.presence import State, curves, due, dump, figures, load, next_due, record, stays
from netguard.core.presence.actions import Transition
from netguard.core.presence.curves import EDGE
from netguard.core.presence.judge import group_of, verdict
from netguard.core.presence.model import TabletModel
from netguard.core.presence.state import SLOT, Seen
from netguard.core.presence.weights import EVIDENCE
from tests.core.test_presence import ONE, T0, TWO, Run, fleet, model_of

A, H, S, I = evidence.ASSOCIATED, evidence.HEARD, evidence.START, evidence.INTERIM  # noqa: E741  # as there
D = evidence.DISASSOCIATED


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
    for mac, stay, at in ((ONE, 40, 3000), (TWO, 700, 6300)):
        run.beats(at - 3000, at, mac)
        run.on(at, A, mac, "h1").beats(at + 10, at + stay, mac, "h1", 10)
        run.until(at + stay + 200)
        (alert, *_) = [a for a in run.alerts(None, "raised") if a.mac == mac]
        said[mac] = alert
    assert (said[ONE].cause, said[TWO].cause) == ("taken", "asleep")
    assert next(reason.weight for reason in said[ONE].reasons if reason.name == "stay") > 1
    before = stays.share(run.state.stays, stays.AT_EDGE, 1)
    run.on(8300, A, TWO, "w1")
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
        curves.rate(each, 20.0, ((pool, 3000.0),) * 2, EDGE, 256.0, 0)
        for each in (bytearray(curves.SIZE), own)
    ]
    assert rates[1] < 3 * rates[0]
    # Somebody who does it again and again is believed.
    for _ in range(20):
        curves.count(own, (pool,), EDGE, 0, curves.passed(300))
    assert curves.rate(own, 20.0, ((pool, 3000.0),) * 2, EDGE, 256.0, 0) > 20 * rates[0]


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


def phones(run, start, end, ap="h1"):
    """Two phones of others are heard by turns, every 20 s."""
    for at in range(start, end, 20):
        run.on(at, I, f"3a:00:00:00:00:{at // 20 % 2:02x}", ap)


def test_what_a_place_gave_before_its_silence_is_forgotten_once_it_has_spoken_again(run):
    phones(run, 0, 1000)
    before = run.state.aps["h1"].counts
    run.until(4000)
    assert run.state.aps["h1"].counts == before == (15, 15, 15)
    phones(run, 4000, 4400)
    # Of the three slots kept two had no word.
    assert run.state.aps["h1"].counts[:2] == (0, 0)
    assert run.state.aps["h1"].counts[2] == 10


def test_the_time_in_which_a_place_was_down_is_no_part_of_its_rhythm(run):
    phones(run, 0, 1000)
    run.on(1000, evidence.AP_DOWN, "", "h1").until(4000).on(4000, evidence.AP_UP, "", "h1")
    phones(run, 4000, 5000)
    assert min(run.state.aps["h1"].counts) > 10


def test_an_access_point_inside_that_all_others_left_is_no_outage(run):
    """They were heard elsewhere: who stays behind and falls silent sleeps."""
    others = sorted(run.model.tablets)[1:]
    for at in range(0, 6000, 30):
        for number, mac in enumerate(others):
            run.on(at + number, A if at in {0, 3600} else H, mac, "w1" if at < 3600 else "w2")
        if at <= 3600:
            run.on(at + 9, A if at == 0 else H, ap="w1")
    (alert,) = run.alerts(None, "raised")
    assert (alert.mac, alert.cause) == (ONE, "asleep")


def held(seen, context):
    """Return how many lengths of one context a tablet's own curve holds."""
    bins = curves.SIZE // curves.CONTEXTS
    return sum(seen.curve[context * bins : (context + 1) * bins])


def test_a_gap_that_nobody_judged_is_learned_where_it_began(run):
    """Shorter than quiet-after: its context is not that of the silence before it."""
    run.on(0, A, ap="h1").until(400)
    assert run.state.tablets[ONE].context == EDGE
    run.on(400, A, ap="w1").beats(410, 2000)
    seen = run.state.tablets[ONE]
    before = held(seen, EDGE)
    run.on(seen.last - T0 + 550, H)
    assert held(seen, EDGE) == before
    assert held(seen, curves.DAY) + held(seen, curves.NIGHT) > 0


def test_a_silence_keeps_the_context_in_which_it_was_counted(run):
    """Other rules while it is silent: what was counted at the exit is not half at the exit."""
    run.beats(0, 3000).on(3000, A, ap="h1").until(3110)
    seen = run.state.tablets[ONE]
    counted = seen.counted
    assert counted > 0
    assert seen.context == EDGE
    areas = tuple(replace(area, edge=False) for area in run.model.areas)
    run.model = replace(run.model, areas=areas)
    seen.area = run.model.area_of("h1")
    run.on(3170, H)
    assert seen.context == EDGE
    assert held(seen, EDGE) >= counted
    assert held(seen, curves.DAY) + held(seen, curves.NIGHT) + held(seen, curves.WAY) == 0


@pytest.mark.parametrize(
    ("session", "ap", "closed", "left"),
    [
        ("7", "w2", ("wlc/7",), ""),
        ("7", "w1", (), "wlc/7"),
        ("", "w2", (), ""),
    ],
)
def test_an_association_elsewhere_closes_the_session_there_is(run, session, ap, closed, left):
    run.on(0, S if session else A, session=session)
    run.on(100, A, ap=ap)
    seen = run.state.tablets[ONE]
    assert (seen.closed, seen.session, seen.ap) == (closed, left, ap)


def test_an_association_as_old_as_the_last_one_is_no_news(run):
    run.on(100, A, ap="w1").on(100, A, ap="w2")
    assert run.state.tablets[ONE].ap == "w1"
    run.on(99, A, ap="w3").on(101, A, ap="w2")
    assert run.state.tablets[ONE].ap == "w2"


@pytest.mark.parametrize(
    ("known", "told", "after"),
    [("", "w2", "w2"), ("", "", ""), ("w1", "w2", "w1"), ("w1", "", "w1")],
)
def test_who_is_only_heard_is_placed_where_nothing_is_known_yet(run, known, told, after):
    if known:
        run.on(0, A, ap=known)
    run.on(10, H, ap=told)
    seen = run.state.tablets[ONE]
    assert (seen.ap, seen.last) == (after, T0 + 10)
    assert {ap for ap, place in run.state.aps.items() if ONE in place.tablets} == {after} - {""}


def test_the_shares_of_the_time_are_those_of_stays_of_ten_minutes_at_first():
    start = [stays.share([0.0] * stays.SIZE, stays.AT_EDGE, span) for span in range(stays.SPANS)]
    assert start == pytest.approx([0.0247, 0.1566, 0.2122, 0.2387, 0.3679], abs=1e-3)
    assert sum(stays.THEFT) == pytest.approx(1.0)
    seconds = [0.0] * stays.SIZE
    for _ in range(1000):
        stays.add(seconds, stays.ON_THE_WAY, 60.0)
    shares = [stays.share(seconds, stays.ON_THE_WAY, span) for span in range(stays.SPANS)]
    assert sum(shares) == pytest.approx(1.0)
    assert shares[1] > 0.6
    assert stays.share(seconds, stays.AT_EDGE, 1) == start[1], "ways teach nothing of exits"
    assert [stays.span_of(stay) for stay in (14.9, 15.0, 119.9, 120.0, 600.0)] == [0, 1, 1, 2, 4]


def test_incidents_are_settled_when_the_next_one_is_told():
    state, model = State(), model_of()
    for number, mac in enumerate((ONE, TWO)):
        state.now = T0 + number * record.SETTLED_AFTER
        state.tablets[mac] = Seen(model.tablets[mac])
        record.told(state, mac, "a", 0.5)
    assert state.settled[0] == 1
    assert len(state.open) == 1


def test_every_reason_is_in_the_list_for_people():
    text = (Path(__file__).parents[2] / "docs" / "events.md").read_text()
    names = {*EVIDENCE, "length", "stay", "probes-unanswered", "record", "calibration"}
    assert {name for name in names if f"`{name}`" not in text} == set()


def test_after_a_blind_hour_the_first_session_that_is_heard_of_is_believed(run):
    """It went elsewhere meanwhile, and nobody heard the association: it is no theft at the exit."""
    run.on(0, S, ap="h1", session="1")
    run.on(20, evidence.FEED_LOST, "", "", source="radius").until(3600)
    run.on(3600, evidence.FEED_BACK, "", "", source="radius")
    run.on(3650, I, ap="w2", session="9", packets=400).until(4200)
    seen = run.state.tablets[ONE]
    assert (seen.ap, seen.session) == ("w2", "wlc/9")
    assert run.alerts("taken") == []


def test_after_a_clock_that_was_set_back_silences_start_anew(run):
    """For an hour nothing is believed; a tablet that left the exit meanwhile was not carried out."""
    fleet(run, 3000, edge={ONE})
    for at in range(0, 3600, 30):
        for mac in run.model.tablets:
            run.on(at - 600, H, mac, "w1", received=at - 600)
    assert run.state.back
    for at in range(3000, 4200, 30):
        for number, mac in enumerate(sorted(run.model.tablets)[1:]):
            run.on(at + number, H, mac, "w1", received=at + number)
    assert not run.state.back
    assert all(alert.at - T0 > 3000 + 360 for alert in run.alerts("taken"))
    assert load(dump(run.state), run.model).back is False


# What `make mutate` found nobody looking at.


def told_at(run):
    return [(a.at - T0, a.kind) for a in run.alerts("taken")]


def test_a_copy_of_the_last_sign_of_life_ends_no_silence(run):
    run.on(0, A, ap="h1").until(100)
    assert run.state_of() == "quiet"
    run.on(0, H, ap="h1", received=100)
    assert run.state_of() == "quiet"


def test_an_association_at_the_same_access_point_is_no_step_of_its_way(run):
    run.on(0, A).on(60, A).on(120, A, ap="")
    assert run.state.tablets[ONE].path == ((T0, "w1"),)


def test_a_tablet_is_counted_at_one_access_point(run):
    run.on(0, A).on(60, A, ap="w2")
    assert [sorted(run.state.aps[ap].tablets) for ap in ("w1", "w2")] == [[], [ONE]]


def test_tablets_of_an_access_point_that_is_reported_down_are_told_in_the_same_step(run):
    run.on(0, A).on(0, A, TWO, "w2").on(60, evidence.AP_DOWN, "", "w1")
    assert (run.state_of(), run.state_of(TWO)) == ("unreachable", "present")
    assert run.state.tablets[ONE].due == T0 + 60 + run.model.site_of("main").grace
    # Neither a NAS that comes due nor an access point that is up says anything of its tablets.
    other = Run()
    other.on(0, A).on(10, evidence.AP_UP, "", "w1").until(500)
    assert other.state_of() == "present"


def test_who_sat_at_an_exit_when_its_controller_restarted_gets_one_grace(run):
    """Its silence counts from when it could be heard again."""
    run.on(0, A, ap="h1").on(20, evidence.NAS_RESTART, "", "")
    place = run.state.nases["wlc"]
    assert place.thaw == T0 + 20 + run.model.site_of("main").grace


@pytest.mark.parametrize(("loan", "learned"), [("", 1), ("stolen", 0), ("lost", 0)])
def test_how_suspect_a_silence_was_is_learned_when_it_ends_by_itself(run, loan, learned):
    """The false-alarm budget sets the threshold by these; a theft is none of them."""
    if loan:
        run.on(0, evidence.LOAN, ap="", reason=loan)
    run.on(0, A, ap="h1").until(400).on(410, H, ap="h1")
    assert sum(run.state.peaks) == learned
    # Too short to be suspected of anything.
    run.until(440).on(445, H, ap="h1").until(900)
    assert sum(run.state.peaks) == learned


def test_a_silence_below_two_graces_is_learned_as_no_peak(run):
    grace = run.model.site_of("main").grace
    run.on(0, A, ap="h1").until(int(2 * grace) - 5).on(2 * grace - 1, H, ap="h1")
    assert run.states == [("present", "quiet"), ("quiet", "present")]
    assert sum(run.state.peaks) == 0


@pytest.mark.parametrize(("reason", "ends"), [("found", True), ("lost", False), ("lent", False)])
def test_a_tablet_that_nobody_has_ends_no_alarm_by_word(run, reason, ends):
    run.on(0, A, ap="h1").until(300).on(300, evidence.LOAN, ap="", reason=reason)
    assert (run.alerts()[-1].kind == "cleared") == ends
    assert (run.state.tablets[ONE].alert == "") == ends


@pytest.mark.parametrize(("back", "learned"), [(1060, {"tab": (3, 1)}), (1400, {})])
def test_questions_without_an_answer_are_learned_of_short_silences_only(run, back, learned):
    """After ten minutes it was elsewhere: that it gave no answer says nothing of its kind."""
    run.on(0, A).on(500, H)
    for at in (600, 700, 800):
        run.on(at, evidence.SILENT_PROBE, ap="")
    run.until(back - 1).on(back, H)
    assert run.state.answers == learned


def test_what_an_open_silence_has_taught_is_taken_back_when_it_is_an_outage(run):
    run.on(0, A).until(900)
    seen = run.state.tablets[ONE]
    assert (run.state_of(), seen.counted, sum(run.state.fleet.counts)) == ("quiet", 5, 5.0)
    run.on(901, evidence.AP_DOWN, "", "w1")
    assert (seen.counted, sum(seen.curve), sum(run.state.fleet.counts)) == (0, 0, 0.0)


def test_most_of_an_access_point_silent_without_a_word_are_one_outage(run):
    for mac in sorted(run.model.tablets)[:6]:
        run.on(0, A, mac, "w2")
    run.until(3000)
    assert [(a.cause, a.subject) for a in run.alerts(None, "raised")] == [("outage", "ap w2")]


def learned(run, counts):
    """Give the fleet 400 tablet-days, with so many silences inside of each length."""
    run.state.fleet.tablets += 20
    run.state.fleet.first_sum += 20 * (T0 - 20 * 86400.0)
    for at in range(curves.SIZE):
        run.state.fleet.counts[at] += counts


@pytest.mark.parametrize(("counts", "told"), [(0, ["battery"]), (4000, [])])
def test_with_days_behind_it_what_is_normal_there_is_not_told(run, counts, told):
    """A silence so long that the fleet has seen none in 400 days is told with its cause; one a day is not."""
    run.on(0, A).on(1, H)
    learned(run, counts)
    run.beats(2, 200_000, TWO, every=250)
    assert [a.cause for a in run.alerts(None, "raised")] == told


def test_who_fell_silent_on_its_way_by_night_has_the_time_of_the_night():
    found = {}
    for night in ((0, 0), (0, 86400)):
        run = Run(missing_area=1800.0, missing_night=36_000.0, night=night)
        run.on(0, A, ap="o1", site="other", nas="wlc-2")
        for at in range(10, 6000, 60):
            run.on(at, H, TWO, "o1", site="other", nas="wlc-2")
        found[night] = run.state_of()
    assert found == {(0, 0): "missing", (0, 86400): "quiet"}


def test_the_end_of_an_outage_makes_nobody_unreachable(run):
    macs = sorted(run.model.tablets)[:6]
    for mac in macs:
        run.on(0, A, mac, "w2")
    run.until(700)
    assert run.state.aps["w2"].down == "most tablets silent"
    hold = int(run.model.site_of("main").outage_hold)
    run.beats(710, 700 + hold + 60, ONE, "w2", every=20)
    assert run.state.aps["w2"].down == ""
    (ended,) = run.alerts("outage", "cleared")
    after = [a for a in run.actions if isinstance(a, Transition) and a.at >= ended.at]
    assert [(a.mac, a.after) for a in after if a.mac == ONE] in ([], [(ONE, "present")])


def test_an_alarm_goes_into_the_record_with_what_was_stated(run):
    run.on(0, A, ap="h1").until(300)
    (raised,) = run.alerts("taken", "raised")
    assert [entry[1:] for entry in run.state.open] == [(ONE, raised.id, raised.probability)]


def test_what_a_controller_says_long_after_is_told_within_half_a_minute(run):
    """By then the tablet is looked at every few minutes only."""
    run.on(0, S, ap="h1", session="a").until(3000)
    seen = run.state.tablets[ONE]
    at = int(run.state.now - T0)
    assert seen.due > T0 + at + 31
    run.actions.clear()
    run.on(at, H, ap="w1", source="syslog:wlc").until(at + 31)
    assert [a.reasons[0].name for a in run.alerts("taken", "updated")] == ["disputed"]


def test_whatever_speaks_for_it_theft_is_not_told_before_two_graces(run):
    run.beats(0, 3000).on(3000, A, ap="h1").on(3020, A, ap="h2")
    for at in range(3055, 3140, 2):
        run.on(at, evidence.SILENT_PROBE, ap="")
        if at < 3138:
            assert not run.alerts("taken")
    grace = run.model.site_of("main").grace
    run.until(int(3020 + 2 * grace + 11))
    assert [a.at - T0 for a in run.alerts("taken", "raised")] == [3020 + 2 * grace]


def judged(run, mac=ONE):
    seen, now = run.state.tablets[mac], run.state.now
    return verdict(run.model, run.state, seen, now, now - seen.last)


@pytest.mark.parametrize(
    ("ap", "context", "group"),
    [("w1", curves.DAY, "model:tab"), ("h1", EDGE, "site:main")],
)
def test_silences_of_its_likes_make_its_own_more_normal(run, ap, context, group):
    """At rest those of the same model are alike, at an exit those of the same site."""
    run.on(0, A, ap=ap).until(300)
    seen = run.state.tablets[ONE]
    assert (seen.context, group_of(seen, context)) == (context, group)
    before = judged(run).normal
    pool = run.state.group(group)
    pool.first_sum -= 1000 * 86400.0
    for at in range(curves.SIZE):
        pool.counts[at] += 50_000
    after = judged(run).normal
    assert after > 5 * before
    run.state.group("model:another").counts[:] = [1e6] * curves.SIZE
    assert judged(run).normal == after


def test_what_became_of_earlier_alarms_is_named_with_its_count(run):
    run.on(0, A, ap="h1").until(300)
    assert "record" not in [reason.name for reason in judged(run).reasons(0)]
    sure = judged(run).probabilities[0]
    run.state.settled = (20, 12.0, 3)
    (said,) = [reason for reason in judged(run).reasons(0) if reason.name == "record"]
    assert said.weight < 0
    assert said.detail == "3 of the last 20 were gone, 12.0 expected"
    assert judged(run).probabilities[0] < sure


def test_by_night_it_is_said_that_it_is_night():
    run = Run(night=(0, 86400))
    run.on(0, A).until(900)
    assert [r.detail for r in judged(run).reasons(0) if r.name == "night-inside"] == [
        "at night, away from the exits"
    ]


@pytest.mark.parametrize(
    ("way", "unseen", "said"),
    [(("w1", "h1"), False, ["w1 > h1"]), (("h1",), False, []), (("w1", "h1"), True, [])],
)
def test_the_way_to_an_exit_is_named_where_it_was_seen(run, way, unseen, said):
    for number, ap in enumerate(way):
        run.on(number * 20, A, ap=ap)
    run.until(200)
    seen, now = run.state.tablets[ONE], run.state.now
    found = verdict(run.model, run.state, seen, now, now - seen.last, unseen=unseen)
    assert [r.detail for r in found.reasons(0) if r.name == "walked-to-edge"] == said


def test_a_stop_that_is_told_again_is_no_second_goodbye():
    run = (
        Run()
        .on(0, evidence.START, session="a")
        .on(100, evidence.STOP, session="a", reason="leaving")
    )
    run.on(200, H).on(300, evidence.STOP, session="a", reason="leaving")
    seen = run.state.tablets[ONE]
    assert (seen.last, seen.goodbye_at) == (T0 + 200, T0 + 100)


def test_who_is_back_is_present_without_a_doubt_of_before(run):
    run.on(0, A, ap="h1").until(400).on(410, A)
    seen = run.state.tablets[ONE]
    assert (seen.state, seen.cause, seen.probability, seen.peak) == ("present", "", 0.0, 0.0)


@pytest.mark.parametrize(
    ("ap", "goodbye", "learned"),
    [("w1", False, 0), ("w1", True, 2), ("h1", False, 2)],
    ids=["inside", "after a goodbye", "at an exit"],
)
def test_a_short_silence_is_learned_where_it_is_no_doze(run, ap, goodbye, learned):
    """A tablet that lies in its ward says nothing for minutes, all day: what is learned there is what is longer."""
    run.on(0, A, ap=ap)
    if goodbye:
        run.on(1, D, ap=ap, reason="leaving")
    run.on(100, H, ap=ap)
    assert sum(run.state.fleet.counts) == learned


@pytest.mark.parametrize(
    ("first", "then", "learned"), [("s1", "w1", 200.0), ("w1", "s1", 0.0), ("x9", "w1", 0.0)]
)
def test_a_stay_in_another_area_inside_is_learned_and_none_at_home(run, first, then, learned):
    run.on(0, A, ap=first).on(150, H, ap=first).on(200, A, ap=then)
    half = len(run.state.stays) // 2
    assert (sum(run.state.stays[:half]), sum(run.state.stays[half:])) == (0.0, learned)


def test_a_late_start_of_where_it_was_before_is_not_its_session(run):
    run.on(100, A, ap="w2").on(50, S, ap="w1", session="old", received=100)
    seen = run.state.tablets[ONE]
    assert (seen.ap, seen.session, seen.closed) == ("w2", "", ("wlc/old",))
    # Told after the association that it belongs to: it is the one.
    run.on(99, S, ap="w2", session="new", received=101)
    assert (seen.ap, seen.session) == ("w2", "wlc/new")


def test_an_interim_without_counts_is_a_sign_of_life(run):
    run.on(0, S, session="a").on(300, I, session="a")
    assert run.state.tablets[ONE].last == T0 + 300


def test_another_session_at_the_same_access_point_has_to_grow_before_it_is_believed(run):
    """A Stop was lost, or somebody else has the MAC: a report alone, or the same one again, may be of before."""
    run.on(0, S, session="a", packets=10)
    seen = run.state.tablets[ONE]
    # One without counts says nothing.
    run.on(200, I, session="b")
    for at in (300, 600):
        run.on(at, I, session="b", packets=40)
        assert seen.session == "wlc/a"
    # And takes back nothing.
    run.on(700, I, session="b")
    assert (seen.session, seen.candidate[:2]) == ("wlc/a", ("wlc/b", 40))
    run.on(900, I, session="b", packets=41)
    assert seen.session == "wlc/b"


def test_the_stop_of_another_session_is_no_goodbye(run):
    run.on(0, S, session="a").on(100, H).on(101, evidence.STOP, session="b", reason="user-request")
    seen = run.state.tablets[ONE]
    assert (seen.session, seen.goodbye, seen.closed) == ("wlc/a", "", ("wlc/b",))
    run.on(102, evidence.STOP, session="a", reason="user-request")
    assert (seen.session, seen.goodbye) == ("", "user-request")


def test_the_first_of_two_goodbyes_counts_and_none_of_before_it_was_heard(run):
    run.on(0, A).on(100, H).on(50, D, reason="leaving", received=100)
    seen = run.state.tablets[ONE]
    assert seen.goodbye == ""
    run.on(110, D, reason="leaving").on(113, D, reason="inactivity")
    assert (seen.goodbye, seen.goodbye_at) == ("leaving", T0 + 110)


def test_goodbyes_of_most_at_an_access_point_are_its_outage_at_once(run):
    """It says goodbye to all when it is restarted: nobody waits until they have been silent for a grace."""
    macs = sorted(run.model.tablets)[:6]
    for mac in macs:
        run.on(0, A, mac, "w2")
    for number, mac in enumerate(macs[:5]):
        run.on(100 + number, D, mac, "w2", reason="leaving")
    run.until(106)
    (alert,) = run.alerts(None, "raised")
    assert (alert.subject, alert.at - T0) == ("ap w2", 104)
    # The sixth, too, was told at the same moment, though it was heard until now.
    assert {run.state_of(mac) for mac in macs} == {"unreachable"}


@pytest.mark.parametrize(("until", "ends"), [(0.0, 86_460.0), (T0 + 500, 500.0)])
def test_a_planned_move_lasts_as_long_as_was_said_or_a_day(run, until, ends):
    run.on(0, A).on(60, evidence.PLANNED_MOVE, ap="", area="hall", until=until)
    assert run.state.tablets[ONE].planned == ("hall", T0 + ends)


def test_the_next_timer_is_the_moment_at_which_something_is_to_be_done(run):
    assert next_due(run.state) is None
    # The slot of its NAS ends sooner than the time after which the tablet itself is quiet.
    run.on(0, A)
    assert next_due(run.state) == T0 + SLOT < run.state.tablets[ONE].due


def test_of_a_recording_without_a_tablet_of_ours_there_are_no_days(run):
    run.on(0, A, "aa:bb:cc:00:09:99").on(3600, A, "aa:bb:cc:00:09:99")
    found = figures(run.model, run.state)
    assert (found["days"], found["tablet_days"]) == (0.0, 0.0)


def test_the_figures_say_how_long_the_budget_was_counted(run):
    run.on(0, A).until(86_400)
    found = figures(run.model, run.state)
    assert (found["days"], found["tablet_days"]) == (1.0, 1.0)


def test_a_time_in_which_nobody_looked_ends_with_one_grace(run):
    """We were stopped, not they silent: whoever is silent at the end has a grace to be heard."""
    fleet(run, 2940)
    run.actions += due(run.model, run.state, T0 + 9000)
    assert run.state.thaw == T0 + 9000 + run.model.site_of("").grace


@pytest.mark.parametrize(("ap", "last"), [("w1", 300), ("w2", 0)])
def test_an_interim_without_a_session_is_of_the_tablet_at_its_access_point(run, ap, last):
    run.on(0, A).on(300, I, ap=ap)
    assert run.state.tablets[ONE].last == T0 + last


@pytest.mark.parametrize(("ap", "session"), [("w1", "wlc/a"), ("", "wlc/a"), ("w2", "")])
def test_a_session_whose_start_was_lost_is_believed_where_the_tablet_is(run, ap, session):
    run.on(0, A).on(300, I, ap=ap, session="a", packets=5)
    assert run.state.tablets[ONE].session == session


@pytest.mark.parametrize("session", ["", "a"])
@pytest.mark.parametrize(("ap", "goodbye"), [("w1", "user-request"), ("w2", "")])
def test_a_stop_is_a_goodbye_of_the_access_point_where_the_tablet_is(run, session, ap, goodbye):
    run.on(0, A).on(10, evidence.STOP, ap=ap, session=session, reason="user-request")
    assert run.state.tablets[ONE].goodbye == goodbye


def test_who_was_heard_since_its_controller_started_anew_stays_where_it_is(run):
    run.on(0, S, session="a").on(0, S, TWO, session="b").on(60, H)
    run.on(50, evidence.NAS_RESTART, "", "", received=60)
    assert (run.state_of(), run.state_of(TWO)) == ("present", "unreachable")
    assert {run.state.tablets[mac].session for mac in (ONE, TWO)} == {""}


@pytest.mark.parametrize(("grows", "last"), [(True, 250), (False, 600)])
def test_frames_at_an_exit_are_of_now_unless_something_else_explains_them(run, grows, last):
    """A report that counts no more frames says that what was heard before it explains nothing after it."""
    run.on(0, S, ap="h1", session="a", packets=10).on(250, H, ap="h1")
    if not grows:
        run.on(300, I, ap="h1", session="a", packets=10)
    run.on(600, I, ap="h1", session="a", packets=11)
    assert run.state.tablets[ONE].last == T0 + last


def test_frames_of_a_tablet_that_gave_no_answer_are_explained_by_what_was_heard_before(run):
    run.on(0, S, session="a", packets=10).on(250, H).on(290, evidence.SILENT_PROBE, ap="")
    run.on(300, I, session="a", packets=20)
    assert run.state.tablets[ONE].last == T0 + 250


@pytest.mark.parametrize("context", range(curves.CONTEXTS))
def test_before_anything_is_learned_a_longer_silence_is_a_rarer_one(context):
    count = len(curves.LENGTHS)
    rates = curves.PRIOR[context * count : (context + 1) * count]
    assert list(rates) == sorted(rates, reverse=True)
    assert all(1e-5 <= rate < 1.0 for rate in rates)
    if context in {curves.DAY, curves.NIGHT}:
        assert len(set(rates)) == count


def test_a_silence_at_an_exit_is_learned_to_its_end_however_short(run):
    """Between the last look, after a minute, and its end it has passed another length."""
    run.on(0, A, ap="h1").until(62).on(69, H, ap="h1")
    assert sum(run.state.fleet.counts) == curves.passed(69.0) == 2


def test_of_two_sessions_at_one_access_point_the_later_counts(run):
    """What is told late of the one before, grown or not, is of no session that is open; an id may be used anew."""
    seen_at = [(0, S, "a", None), (100, S, "b", None), (110, I, "a", 50), (400, I, "a", 90)]
    for at, kind, session, packets in seen_at:
        run.on(at, kind, session=session, packets=packets)
    seen = run.state.tablets[ONE]
    assert (seen.session, seen.closed, seen.last) == ("wlc/b", ("wlc/a",), T0 + 100)
    run.on(500, S, session="a")
    assert (seen.session, seen.closed) == ("wlc/a", ("wlc/b",))


def test_questions_of_an_earlier_silence_explain_no_frames_of_now(run):
    run.on(0, S, session="a", packets=5).on(100, evidence.SILENT_PROBE, ap="").on(200, H)
    run.on(300, I, session="a", packets=9)
    assert run.state.tablets[ONE].last == T0 + 300


def test_a_session_that_is_taken_over_has_to_grow_from_what_it_counted(run):
    run.on(0, A).on(300, I, session="a", packets=7)
    seen = run.state.tablets[ONE]
    assert (seen.session, seen.packets) == ("wlc/a", 7)
    run.on(600, I, session="a", packets=7)
    assert seen.last == T0 + 300


def test_that_a_tablet_is_at_another_site_is_certain(run):
    assert figures(run.model, run.state)["alarms"] == 0.0
    run.on(0, A).on(500, A, ap="o1", nas="wlc-2", site="other").on(1000, A)
    assert [a.probability for a in run.alerts("moved")] == [1.0, 1.0]
