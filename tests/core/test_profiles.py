"""A profile takes and never gives: less to reach, less to send."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from netguard.core.plan import compile_plan
from netguard.core.policy import Ceiling, Narrowing, Profile
from netguard.core.profiles import Active, silenced, under

SITES = ["pellegrin", "haut-leveque"]


def test_the_crisis_of_the_example_takes_video_and_leaves_chat_of_the_house(example):
    now = under(example, ["crisis"])
    assert now.groups["patients"].allow == ("jitsi", "time")
    assert now.groups["patients"].rate == Ceiling(1_000_000, 500_000)
    assert now.groups["preparation"] == example.groups["preparation"]
    assert under(example, []) is example
    assert under(example, ["no-such-thing"]) is example


@given(data=st.data())
def test_whatever_is_on_nothing_is_open_that_was_not(example, data):
    services = sorted(example.services)
    narrowing = st.builds(
        Narrowing,
        allow=st.one_of(st.none(), st.frozensets(st.sampled_from(services))),
        rate=st.one_of(st.none(), st.builds(Ceiling, st.integers(1, 10**9), st.integers(1, 10**9))),
    )
    names = st.dictionaries(st.sampled_from(sorted(example.groups)), narrowing)
    profiles = {
        name: Profile(name, data.draw(names, label=name), frozenset()) for name in ("one", "two")
    }
    policy = replace(example, profiles=profiles)
    before, after = compile_plan(policy, SITES), compile_plan(under(policy, profiles), SITES)
    assert {g.rule for g in after.grants} <= {g.rule for g in before.grants}
    assert after.bindings == before.bindings
    for group in after.groups:
        old = before.group[group.name].rate
        assert group.rate is not None or old is None
        if old is not None:
            assert (group.rate.down, group.rate.up) <= (old.down, old.up)
    assert under(under(policy, ["one"]), ["two"]) == under(policy, ["two", "one"])


def test_what_is_held_back_names_the_profile(example):
    profiles = {
        "crisis": Profile("crisis", {}, frozenset({"info", "warning"})),
        "night": Profile("night", {}, frozenset({"info"})),
    }
    assert silenced(profiles, ["night", "crisis", "gone"]) == {
        "info": "crisis",
        "warning": "crisis",
    }
    assert silenced(profiles, []) == {}


def test_a_profile_ends_by_its_time_or_by_nobody():
    until = datetime(2026, 11, 29, 12, tzinfo=UTC)
    timed = Active("crisis", "2026-11-29T08:00:00+00:00", until.isoformat(), "anne", "water")
    assert not timed.is_over(until.replace(hour=11))
    assert timed.is_over(until)
    assert not replace(timed, until="").is_over(until)
