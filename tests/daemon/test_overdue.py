"""A loan that is over is told once, at a low severity, until the tablet is back or may stay longer."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netguard.core.alerting import CLEARED, RAISED, compose, digest, read_notice
from netguard.core.loans import LENT
from netguard.daemon import whereabouts
from netguard.daemon.delivery import Delivery
from netguard.daemon.watch import Watch
from tests.daemon.test_alerting import letters, told
from tests.daemon.test_presence_intake import write_rules

DAY = 86400.0
RAISE, END = ("security-desk", "NG-1113", RAISED), ("security-desk", "NG-1113", CLEARED)


@pytest.fixture
def ward(settings, policy, time):
    """Lend tablets from now on, each for so many days; return a watch over them."""
    made = []

    def lends(days, since=None, **said):
        since = time.wall if since is None else since
        lent = {id_: (since, since + n * DAY if n else None) for id_, n in days.items()}
        write_rules(settings, policy, dict.fromkeys(days, LENT), lent=lent, **said)
        watch = made[-1] if made else begins()
        watch.intake.take()
        return watch

    def begins():
        """Begin a process of watch; the last one, if there was one, was killed."""
        if made:
            made[-1].intake.store.close()
        made.append(Watch(settings))
        made[-1].intake.take()
        return made[-1]

    lends.begins = begins
    yield lends
    for each in made:
        if each.intake.store is not None:
            each.intake.store.close()


def looks(watch, time):
    """Let watch look, a second long; return what was told of loans until now."""
    watch._look()
    time.on(1)
    return [row for row in told(watch.intake) if row[1] == "NG-1113"]


def test_it_is_told_once_when_it_is_due_and_over_when_the_tablet_is_back(ward, time):
    began = time.wall
    watch = ward({"T-001": 14, "T-002": None})
    time.on(14 * DAY - 1)
    assert looks(watch, time) == []
    assert looks(watch, time) == [RAISE]
    time.on(3600)
    assert looks(watch, time) == [RAISE]
    notice = read_notice(letters(watch.intake)[0].body)
    assert (notice.severity, notice.rule, notice.matter.tablet) == ("info", "overdue", "T-001")
    assert (notice.matter.place.site, notice.matter.place.area) == ("pellegrin", "cardio-3")
    ward({"T-002": None})
    assert looks(watch, time) == [RAISE, END]
    # Lent anew, it is told anew.
    ward({"T-001": 14}, began)
    assert looks(watch, time) == [RAISE, END, RAISE]


def test_a_watch_that_is_killed_tells_nobody_twice_and_everybody_of_the_end(ward, time):
    began = time.wall
    watch = ward({"T-001": 1, "T-002": 1})
    time.on(DAY)
    assert looks(watch, time) == [RAISE, RAISE]
    again = ward.begins()
    assert looks(again, time) == [RAISE, RAISE]
    # What was told before the kill holds also where the clock comes up a little behind.
    time.wall -= 600
    third = ward.begins()
    assert looks(third, time) == [RAISE, RAISE]
    # Nor does a boot without a battery in the clock, before the time is fetched.
    right, time.wall = time.wall, 1e9
    last = ward.begins()
    assert looks(last, time) == [RAISE, RAISE]
    time.wall = right
    ward({"T-001": 60, "T-002": 1}, began)
    assert looks(last, time) == [RAISE, RAISE, END]
    time.wall += 600
    assert looks(last, time) == [RAISE, RAISE, END]


def test_while_guard_cannot_read_the_loans_nothing_is_told_and_nothing_is_over(
    ward, settings, policy, time
):
    began = time.wall
    watch = ward({"T-001": 1, "T-002": 2})
    time.on(DAY)
    assert looks(watch, time) == [RAISE]
    write_rules(settings, policy, lent=None)
    time.on(2 * DAY)
    watch.intake.take()
    assert looks(watch, time) == [RAISE]
    assert not any(row["overdue"] for row in whereabouts.tablets(watch.intake))
    again = ward.begins()
    assert looks(again, time) == [RAISE]
    ward({"T-001": 1, "T-002": 2}, began)
    assert looks(again, time) == [RAISE, RAISE]
    ward({"T-002": 2}, began)
    assert looks(again, time) == [RAISE, RAISE, END]


def test_a_profile_that_lengthens_ends_it_and_its_own_end_tells_all_in_one_message(ward, time):
    began = time.wall
    tablets = [f"T-{n:03}" for n in range(1, 9)]
    watch = ward(dict.fromkeys(tablets, 14))
    time.on(20 * DAY)
    assert looks(watch, time) == [RAISE] * 8
    ward(dict.fromkeys(tablets, 60), began)
    assert looks(watch, time) == [RAISE] * 8 + [END] * 8
    ward(dict.fromkeys(tablets, 14), began)
    assert looks(watch, time)[16:] == [RAISE] * 8
    notices = [read_notice(each.body) for each in letters(watch.intake)[16:]]
    text = digest(notices, lambda each: each, "gw-1").text
    assert text.startswith("8 alerts at once")
    assert "no thefts" in text
    assert "network first" not in text


def test_a_profile_may_hold_it_back_and_lets_it_out_when_it_ends(ward, time):
    began = time.wall
    watch = ward({"T-001": 1}, silenced={"info": "crisis"})
    time.on(DAY)
    looks(watch, time)
    assert [each.state for each in letters(watch.intake)] == ["held"]
    ward({"T-001": 1}, began)
    watch.intake.alerting.release(watch.intake.store, watch.intake.book, time.wall)
    assert [each.state for each in letters(watch.intake)] == ["waiting"]


def test_it_is_not_repeated_whatever_the_receiver_bears(ward, settings, time):
    watch = ward({"T-001": 1})
    time.on(DAY)
    looks(watch, time)
    intake = watch.intake
    intake.store.settle(letters(intake), "sent")
    desk = intake.book.receivers["security-desk"]
    assert desk.repeat == 600.0
    again = Delivery(settings).repeats(intake.store, {"security-desk": desk}, time.wall + DAY)
    assert again == []


def test_its_words_name_the_day_in_the_time_of_the_site(ward, time):
    watch = ward({"T-001": 1})
    due = datetime.fromtimestamp(time.wall + DAY, UTC)
    time.on(2 * DAY)
    looks(watch, time)
    notice = read_notice(letters(watch.intake)[0].body)
    message = compose(notice, lambda each: each, "gw-1", "docs/runbook.md")
    assert (
        message.title
        == f"Tablet T-001 was to be back by {due:%Y-%m-%d} {due.hour + 1:02}:{due:%M:%S} +0100"
    )
    assert "netguard lend T-001 --for" in message.text
    # When it was heard last is presence's to say, and nobody has asked.
    assert "Last heard" not in message.text
    over = replace(notice, matter=replace(notice.matter, kind=CLEARED))
    assert "no longer overdue" in compose(over, lambda each: each, "gw-1", "x").title


def test_a_tablet_that_left_the_inventory_is_asked_back_without_a_place(ward, time):
    watch = ward({"T-gone": 1})
    time.on(DAY)
    assert looks(watch, time)[0] == ("security-desk", "NG-1113", RAISED)
    assert read_notice(letters(watch.intake)[0].body).matter.place.site == ""
    (row,) = whereabouts.tablets(watch.intake, "T-gone")
    assert row in whereabouts.tablets(watch.intake)
    assert (row["presence"], row["loan"], row["mac"]) == ("not-listed", LENT, "")
    assert row["overdue"]
    # A row says as much as any other.
    assert row.keys() == whereabouts.tablets(watch.intake, "T-001")[0].keys()


def test_rows_say_since_when_until_when_and_whether_it_is_over(ward, time):
    watch = ward({"T-001": 1, "T-002": None})
    time.on(DAY)
    rows = {row["tablet"]: row for row in whereabouts.tablets(watch.intake)}
    stamps = [datetime.fromtimestamp(time.wall - n * DAY, UTC).isoformat() for n in (1, 0)]
    keys = ("lent_since", "due", "overdue")
    assert [rows["T-001"][key] for key in keys] == [*stamps, True]
    assert [rows["T-002"][key] for key in keys] == [stamps[0], "", False]
    assert [rows["T-003"][key] for key in keys] == ["", "", False]
