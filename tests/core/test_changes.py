"""What a change means: nothing that opens is left unsaid."""

import random
from dataclasses import replace

import pytest

from netguard.core.changes import changes
from netguard.core.names import Hours
from netguard.core.plan import compile_plan
from netguard.core.verdict import verdict
from tests.kernel import drawn


@pytest.mark.parametrize("seed", range(40))
def test_what_passes_from_now_on_is_marked(example, seed):
    dice = random.Random(seed)
    before, after = drawn.policy_of(dice, example), drawn.policy_of(dice, example)
    if dice.random() < 0.5:
        # A change that narrows: services go, protected networks come.
        groups = {
            name: replace(group, allow=group.allow[: dice.randrange(len(group.allow) + 1)])
            for name, group in before.groups.items()
        }
        protected = {**before.protected, **{f"{n}-2": p for n, p in after.protected.items()}}
        after = replace(before, groups=groups, protected=protected)
    old, new = (compile_plan(policy, ["pellegrin"]) for policy in (before, after))
    found = changes(old, new, (before, after))
    draw = drawn.Draw(dice, new, drawn.learned_of(dice, new), iter(range(10_000)))
    for _ in range(300):
        packet = draw.outward()
        was = verdict(old, packet.flow, {}).allowed
        if verdict(new, packet.flow, {}).allowed and not was:
            assert found.widens, packet.flow
    assert bool(found.lines) == (old != new)


def test_the_same_rules_change_nothing(example):
    plan = compile_plan(example, sorted(example.sites))
    found = changes(plan, plan, (example, example))
    assert found.lines == found.groups == ()
    assert set(found.same) == set(example.groups)


def test_before_the_first_apply_all_is_new(example):
    plan = compile_plan(example, sorted(example.sites))
    found = changes(None, plan, (None, example))
    assert found.widens
    assert {group.name for group in found.groups} == set(example.groups)
    assert found.general[0].detail == "nothing is in force yet"


@pytest.mark.parametrize(
    ("was", "is_", "widens"),
    [(None, "08:00-20:00", False), ("08:00-20:00", None, True), ("08:00-20:00", "09:00-20:00", False),
     ("08:00-20:00", "08:00-21:00", True)],
)  # fmt: skip
def test_longer_hours_widen(example, was, is_, widens):
    def plan(hours):
        group = replace(example.groups["patients"], hours=Hours.parse(hours) if hours else None)
        policy = replace(example, groups={**example.groups, "patients": group})
        return compile_plan(policy, ["pellegrin"]), policy

    (old, before), (new, after) = plan(was), plan(is_)
    (line,) = changes(old, new, (before, after)).lines
    assert (line.what, line.widens) == ("hours", widens)
