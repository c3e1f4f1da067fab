"""What watch may ask of guard: a quarantine that the rules want, once for an alert, also where nothing can be stored.

And how long a loan is.
"""

import asyncio
import json
import os
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from netguard.adapters import clock
from netguard.adapters.store import Entry, Loan
from netguard.daemon.guard import Guard
from netguard.errors import BadValue, Refused
from netguard.render import watch as watch_file

WATCH = SimpleNamespace(name="netguard-watch")
ROOT = SimpleNamespace(name="root")
WORDS = {"tablet": "T-001", "rule": "clone-suspect", "incident": "T-001-7", "why": "NG-1108"}


@pytest.fixture
def guard(settings, policy, monkeypatch):
    """A guard without a kernel, whose rules want a quarantine."""

    async def nothing(*_):
        """What is refused is another test's."""

    held = Guard(settings)
    held.register.open(clock.now())
    monkeypatch.setattr(held, "_enforce", nothing)
    rules = tuple(replace(rule, quarantine=rule.name == "clone-suspect") for rule in policy.alerts)
    held.state.policy = replace(policy, alerts=rules)
    held.state.plan = held._plan(held.state.policy)
    yield held
    held.register.close()


def wants(guard, **words):
    return asyncio.run(guard.loan_verbs.quarantine(WATCH, WORDS | words))


def test_what_a_person_ended_is_not_begun_again_for_the_same_alert(guard):
    assert wants(guard)["changed"]
    assert not wants(guard)["changed"]
    asyncio.run(guard.loan_verbs.release(ROOT, {"tablet": "T-001"}))
    assert not wants(guard)["changed"]
    assert wants(guard, incident="T-001-8")["changed"]


def test_an_alert_makes_longer_what_a_person_has_begun_for_a_time_unless_they_knew_of_it(guard):
    """It was released when that time was over, while the alert was still open."""

    def says(**words):
        asyncio.run(guard.loan_verbs.quarantine(ROOT, {"tablet": "T-001", "why": "x"} | words))
        return guard.register.quarantines["T-001"]

    begun = says(seconds=600)
    assert begun.until
    assert wants(guard)["changed"]
    held = guard.register.quarantines["T-001"]
    assert (held.at, held.until, held.incident) == (begun.at, "", "T-001-7")
    assert not wants(guard)["changed"]
    # Who says how long it is to hold knows of the alert.
    assert says(seconds=60).until
    assert not wants(guard)["changed"]
    assert guard.register.quarantines["T-001"].until


def test_a_store_that_cannot_be_used_keeps_nobody_out_of_quarantine(guard):
    guard.register.close()
    assert wants(guard)["quarantine"]["incident"] == "T-001-7"
    assert guard.register.effective["T-001"] == "quarantined"
    assert not wants(guard)["changed"]


def test_what_the_rules_do_not_want_is_refused_for_good_and_without_rules_for_now(guard):
    with pytest.raises(Refused, match="a rule of alerts") as refused:
        wants(guard, rule="missing")
    assert not refused.value.again
    guard.state.policy = None
    with pytest.raises(Refused, match="no rules are in force") as refused:
        wants(guard)
    assert refused.value.again


# how long a loan is

LENT = datetime(2026, 11, 30, 8, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch):
    """Set the clock to so many days after the loan began."""

    def sets(days):
        monkeypatch.setattr(clock, "now", lambda: LENT + timedelta(days=days))

    sets(0)
    return sets


def says(guard, state="lent", tablet="T-001", **words):
    return asyncio.run(
        guard.loan_verbs.tablet(ROOT, {"tablet": tablet, "state": state, "by": "anna", **words})
    )


def terms(answer):
    return answer["lent_since"], answer["due"], answer["overdue"]


def day(number):
    return (LENT + timedelta(days=number)).isoformat(timespec="seconds")


def switch(guard, *, on):
    asyncio.run(guard.profile_verbs.profile(ROOT, {"name": "crisis", "on": on}))


def told_to_watch(guard):
    guard._tell_watch(guard.state.plan, guard.state.policy)
    return watch_file.read((guard.settings.paths.state / "watch.json").read_text()).lent


def test_a_loan_lasts_as_long_as_those_of_its_group(guard, at):
    assert terms(says(guard)) == (day(0), day(14), False)
    (line,) = guard.register.audit(LENT, "T-001")
    assert json.loads(line.after) == {"state": "lent", "due": day(14)}
    at(13.9)
    assert guard.loan_verbs.overdue() == {"pellegrin": 0}
    at(14)
    known = asyncio.run(guard.loan_verbs.tablet(ROOT, {"tablet": "T-001"}))
    assert terms(known) == (day(0), day(14), True)
    assert guard.loan_verbs.overdue() == {"pellegrin": 1}
    assert terms(says(guard, "stock")) == ("", "", False)
    assert guard.loan_verbs.overdue() == {"pellegrin": 0}


def test_a_loan_may_have_a_length_of_its_own_which_begins_when_it_is_said(guard, at):
    assert terms(says(guard, seconds=3 * 86400)) == (day(0), day(3), False)
    at(5)
    assert not says(guard)["changed"]
    longer = says(guard, seconds=2 * 86400)
    assert (longer["changed"], *terms(longer)) == (True, day(0), day(7), False)
    # A word about it is neither another loan nor an end of its end.
    noted = says(guard, note="ward 3", by="bert")
    assert (noted["loan"]["note"], noted["loan"]["who"], *terms(noted)) == (
        "ward 3", "anna", day(0), day(7), False,
    )  # fmt: skip
    after = [json.loads(line.after) for line in guard.register.audit(LENT, "T-001")]
    assert [each.get("until") for each in after] == [day(7), day(7), day(3)]
    assert {each["due"] for each in after} == {day(7), day(3)}
    says(guard, "lost")
    at(6)
    assert terms(says(guard)) == (day(6), day(20), False), "another loan, by the group's length"


def test_while_a_profile_is_on_loans_last_longer_and_watch_knows(guard, at):
    says(guard)
    says(guard, tablet="T-002", seconds=3 * 86400)
    at(20)
    assert guard.loan_verbs.overdue() == {"pellegrin": 2}
    switch(guard, on=True)
    assert guard.loan_verbs.overdue() == {"pellegrin": 0}
    since = LENT.timestamp()
    assert told_to_watch(guard) == dict.fromkeys(("T-001", "T-002"), (since, since + 60 * 86400))
    switch(guard, on=False)
    assert guard.loan_verbs.overdue() == {"pellegrin": 2}
    assert told_to_watch(guard)["T-002"] == (since, since + 3 * 86400)


def test_a_length_that_cannot_be_meant_is_refused_with_what_to_write(guard, at):
    for seconds in (0, -1, 3599, 367 * 86400, True, "3d", [1]):
        with pytest.raises(BadValue, match="from 1h to 366d, and m are minutes: --for 60d"):
            says(guard, seconds=seconds)
    for state in ("stock", "found", "lost"):
        with pytest.raises(BadValue, match="only a loan has a length: netguard lend ID --for 3d"):
            says(guard, state, seconds=86400)
    assert guard.register.loans == {}


def test_a_loan_whose_moments_nobody_can_read_has_no_end_and_ends_no_guard(guard, at):
    line = Entry("t", "w", "loan", "T-001", "{}", "{}")
    for at_, until in (("t", ""), ("2026-11-30T08:00:00", "")):
        guard.register.change(Loan("T-001", "lent", at_, "w", "", until), line)
        assert guard.loan_verbs.terms(guard.state.policy) == {}
        assert guard.loan_verbs.overdue() == {"pellegrin": 0}
    guard.register.change(Loan("T-001", "lent", day(0), "w", "", "soon"), line)
    assert guard.loan_verbs.terms(guard.state.policy)["T-001"][1] == LENT.timestamp() + 14 * 86400


def test_without_rules_only_an_end_of_its_own_counts(guard, at):
    says(guard)
    says(guard, tablet="T-002", seconds=86400)
    guard.state.policy = None
    at(30)
    assert guard.loan_verbs.overdue() == {"pellegrin": 0, "": 1}


def test_without_a_store_watch_hears_that_nobody_knows_the_loans_until_it_is_back(guard, at):
    says(guard)
    since = LENT.timestamp()
    asyncio.run(guard._catch_up())
    known = told_to_watch(guard)
    assert known == {"T-001": (since, since + 14 * 86400)}
    again = Guard(guard.settings)
    file = guard.settings.paths.state / "guard.db"
    guard.register.close()
    file.rename(file.with_name("away"))
    file.mkdir()
    again._enforce = guard._enforce
    again.register.open(clock.now())
    again.state.policy, again.state.plan = guard.state.policy, guard.state.plan
    assert not again.register.is_open
    assert told_to_watch(again) is None
    file.rmdir()
    file.with_name("away").rename(file)
    asyncio.run(again._catch_up())
    text = (guard.settings.paths.state / "watch.json").read_text()
    assert watch_file.read(text).lent == known
    assert watch_file.read(text).loans == {"T-001": "lent"}
    again.register.close()


def test_nobody_waits_for_the_daily_look_at_the_store(guard, caplog):
    """Who reported a tablet stolen in that moment waited until a year of audit was read."""
    file = guard.settings.paths.state / "guard.db"
    with sqlite3.connect(file) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    os.truncate(file, 0)

    async def until(done):
        async with asyncio.timeout(30):
            while not done():  # noqa: ASYNC110  # nobody tells us
                await asyncio.sleep(0.01)

    async def looked():
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            async with guard.busy:
                tasks.create_task(guard._forget(stop))
                await until(lambda: "the store is damaged" in caplog.text)
                # To make it anew it does wait.
                assert file.stat().st_size == 0
            await until(lambda: file.exists() and file.stat().st_size > 0)
            stop.set()

    asyncio.run(looked())
    assert guard.register.is_open
