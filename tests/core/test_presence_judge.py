"""Which evidence is named of a silence, and only then: core/presence/judge.py, piece by piece."""

from math import exp, log

import pytest

from netguard.core import evidence
from netguard.core.presence import calibration, record
from netguard.core.presence.calibration import CURVES
from netguard.core.presence.curves import EDGE, FLEET_DAYS, WAY
from netguard.core.presence.judge import rhythm, verdict
from netguard.core.presence.state import SLOT, Place
from tests.core.test_presence import ONE, T0, Run

A, D, H = evidence.ASSOCIATED, evidence.DISASSOCIATED, evidence.HEARD
HOURS = 3600.0


@pytest.fixture
def run():
    return Run()


def judged(run, after, mac=ONE):
    """Judge a silence so many seconds after the last sighting."""
    seen = run.state.tablets[mac]
    run.state.now = seen.last + after
    return verdict(run.model, run.state, seen, run.state.now, after)


def names(run, after=300.0):
    return {name for name, _, _ in judged(run, after).pieces}


@pytest.mark.parametrize(
    ("piece", "ap", "loan", "after", "said"),
    [
        ("sleeps-here", "s1", "", 300, True),
        ("sleeps-here", "w1", "", 300, False),
        ("over-two-hours", "w1", "", 2 * HOURS + 1, True),
        ("over-two-hours", "w1", "", 2 * HOURS - 1, False),
        ("in-stock", "w1", "stock", 300, True),
        ("in-stock", "w1", "retired", 300, True),
        ("in-stock", "w1", "lent", 300, False),
        ("reported-missing", "w1", "stolen", 300, True),
        ("reported-missing", "w1", "lost", 300, True),
        ("reported-missing", "w1", "stock", 300, False),
        ("no-goodbye", "w1", "", 300, True),
    ],
)
def test_a_piece_is_named_where_it_is_so(run, piece, ap, loan, after, said):
    run.on(0, A, ap=ap)
    if loan:
        run.on(1, evidence.LOAN, ap="", reason=loan)
    assert (piece in names(run, after)) == said


@pytest.mark.parametrize(("until", "said"), [(299, False), (301, True)])
def test_an_order_to_move_speaks_until_it_is_over(run, until, said):
    run.on(0, A)
    assert "planned-move" not in names(run)
    run.on(0, evidence.PLANNED_MOVE, ap="", area="other/ward", until=T0 + until)
    assert ("planned-move" in names(run)) == said


@pytest.mark.parametrize(
    ("ap", "reason", "piece"),
    [
        ("w1", "inactivity", "idle-at-rest"),
        ("h1", "inactivity", "idle-at-edge"),
        ("w1", "handshake", "handshake-failed"),
        ("w1", "user-request", "goodbye-at-rest"),
        ("h1", "user-request", "goodbye-at-edge"),
    ],
)
def test_a_goodbye_is_named_by_its_kind_and_place(run, ap, reason, piece):
    """And one of before it was heard again no more."""
    run.on(0, A, ap=ap).on(10, D, ap=ap, reason=reason).until(70)
    said = names(run)
    assert piece in said
    assert "no-goodbye" not in said
    run.on(100, H, ap=ap)
    assert "no-goodbye" in names(run)
    assert piece not in names(run)


def test_a_goodbye_counts_again_once_it_was_heard_in_between(run):
    """Told twice within seconds it is one; the next time it leaves it is another."""
    run.on(0, A).on(10, D, reason="inactivity").on(12, D, reason="inactivity")
    seen = run.state.tablets[ONE]
    assert seen.goodbye_at == T0 + 10
    run.on(100, H).on(400, D, reason="inactivity")
    assert seen.goodbye_at == T0 + 400


@pytest.mark.parametrize("reason", ["session-timeout", "nas-request", "admin-reset", "nas-reboot"])
def test_a_session_that_its_nas_has_ended_is_no_word_of_the_tablet(run, reason):
    """It may have been gone for long (RFC 2866, section 5.10); one that is there joins anew at once, so it is looked at soon."""
    run.on(0, evidence.START, session="a")
    run.on(500, evidence.STOP, session="a", reason=reason).until(510)
    seen = run.state.tablets[ONE]
    assert (seen.last, seen.session) == (T0, "")
    assert run.states == [("present", "quiet")]
    said = names(run)
    assert "no-goodbye" in said
    assert not {each for each in said if each.startswith("goodbye")}


def test_of_its_access_point_is_said_what_is_known(run):
    """Down, or heard since; within five seconds it tells nothing."""
    run.on(0, A)
    place = run.state.aps["w1"]
    assert not {"ap-down", "ap-still-heard"} & names(run)
    place.last = T0 + 5
    assert "ap-still-heard" not in names(run)
    place.last = T0 + 6
    assert "ap-still-heard" in names(run)
    place.down = "reported down"
    found = names(run)
    assert "ap-down" in found
    assert "ap-still-heard" not in found


@pytest.mark.parametrize(("counts", "a_second"), [((), 0), ((9,), 0), ((9, 6), 6), ((6, 0, 9), 0)])
def test_a_place_gives_at_least_what_its_quietest_slot_gave(counts, a_second):
    place = Place("nas", "wlc", "main")
    place.counts = counts
    assert rhythm(place) == a_second / SLOT


def weight(run, *, misses):
    """Return what so many questions without an answer say."""
    seen = run.state.tablets[ONE]
    seen.misses, seen.miss_of = misses, seen.last
    (row,) = (row for name, row, _ in judged(run, 300.0).pieces if name == "probes-unanswered")
    return row


def test_questions_without_an_answer_weigh_as_much_as_answers_are_usual(run):
    """Each missed one is log 1/q, q being how often this model misses one; those of before it was heard count not."""
    run.on(0, A)
    assert weight(run, misses=2)[0] == pytest.approx(2 * log(2), rel=1e-3), "before any was asked"
    run.state.answers["tab"] = (30, 60)
    seen = run.state.tablets[ONE]
    seen.misses, seen.miss_of = 2, seen.last - 1
    assert "probes-unanswered" not in names(run)
    seen.miss_of = seen.last
    row = weight(run, misses=2)
    q = (30 + 10 * 0.5) / (30 + 60 + 10)
    assert row[0] == pytest.approx(2 * log(1 / q), rel=1e-3)
    assert row[1:] == (row[0] / 4, 0.0, row[0], row[0] / 4)
    seen.misses = 0
    assert "probes-unanswered" not in names(run)
    # Of one that never misses, and of one that always does, one does not become too sure.
    for answers, q in (((0, 100_000), 0.05), ((100_000, 0), 0.99)):
        run.state.answers["tab"] = answers
        assert weight(run, misses=1)[0] == pytest.approx(log(1 / q), rel=1e-3)
    # As the curves are learned, which hold it too, it fades.
    before = weight(run, misses=1)[0]
    run.state.fleet.first_sum -= FLEET_DAYS * 86400.0
    assert weight(run, misses=1)[0] == pytest.approx(before / 2, rel=1e-3)


def shares(pieces):
    sums = [sum(column) for column in zip(*(row for _, row, _ in pieces), strict=True)]
    likely = [exp(each) for each in sums]
    return [each / sum(likely) for each in likely]


def test_the_probabilities_are_the_shares_of_what_the_pieces_add_up_to(run):
    run.on(0, A, ap="h1")
    found = judged(run, 300.0)
    assert found.probabilities == pytest.approx(shares(found.pieces))
    assert sum(found.probabilities) == pytest.approx(1)


def test_once_enough_was_seen_what_such_alarms_came_to_moves_theft_alone(run):
    run.on(0, A, ap="h1").until(170)
    run.state.since = T0 - 4 * 86400.0
    found = judged(run, 200.0)
    *pieces, (name, row, _) = found.pieces
    before = shares(pieces)
    assert name == "calibration"
    assert row == (calibration.shift(CURVES, EDGE, before[0]), 0.0, 0.0, 0.0, 0.0)
    assert found.probabilities[0] == pytest.approx(calibration.moved(before[0], row[0]))
    rest = [each / (1 - before[0]) for each in before[1:]]
    assert found.probabilities[1:] == pytest.approx(
        [each * (1 - found.probabilities[0]) for each in rest]
    )


def test_what_became_of_alarms_speaks_for_or_against_theft_alone(run):
    run.on(0, A, ap="h1")
    run.state.settled = (10, 4.0, 9)
    (row,) = (row for name, row, _ in judged(run, 200.0).pieces if name == "record")
    assert row == (record.shift(run.state), 0.0, 0.0, 0.0, 0.0)
    assert row[0] > 0


@pytest.mark.parametrize(
    ("reason", "piece"),
    [
        ("", "silent-on-the-way"),
        ("inactivity", "silent-on-the-way"),
        ("user-request", "goodbye-on-the-way"),
    ],
)
def test_who_falls_silent_between_two_areas_is_said_to(run, reason, piece):
    """In an area inside that is not its own, having come there a moment ago."""
    run.on(0, A, ap="w1").on(300, A, ap="s1").on(310, H, ap="s1")
    if reason:
        run.on(311, D, ap="s1", reason=reason)
    run.until(1500)
    assert run.state.tablets[ONE].context == WAY
    assert {"silent-on-the-way", "goodbye-on-the-way", "no-goodbye"} & names(run) == {piece}


@pytest.mark.parametrize(("ap", "where"), [("h1", "in hall"), ("new", "in new")])
def test_a_stay_is_told_with_its_place(run, ap, where):
    """By the name of the area; of an access point that is in none by its own."""
    run.on(0, A).on(300, A, ap=ap).on(310, H, ap=ap).until(1500)
    (detail,) = (detail for name, _, detail in judged(run, 300.0).pieces if name == "stay")
    assert where in detail[0].format(*detail[1])
