"""What watch may ask of guard: a quarantine that the rules want, once for an alert, also where nothing can be stored."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from netguard.adapters import clock
from netguard.daemon.guard import Guard
from netguard.errors import Refused

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
