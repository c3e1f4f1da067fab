"""Whose running connections end with a change of plan."""

from dataclasses import replace

import pytest

from netguard.core.between import freed
from netguard.core.names import parse_address
from netguard.core.plan import compile_plan


@pytest.fixture
def policy(small):
    return small()


def test_nothing_ends_where_nothing_changes(policy):
    plan = compile_plan(policy, ["pellegrin"])
    assert freed(plan, plan) == ()


def test_a_tablet_that_is_lost_gone_or_in_another_group(policy):
    before = compile_plan(policy, ["pellegrin"])
    tablet = policy.tablets["T-001"]
    own = next(b.address for b in before.bindings if b.tablet == "T-001")
    other = next(name for name in policy.groups if name != tablet.group)
    moved = replace(policy, tablets={**policy.tablets, "T-001": replace(tablet, group=other)})
    rest = {id_: each for id_, each in policy.tablets.items() if id_ != "T-001"}
    for after in (
        compile_plan(policy, ["pellegrin"], {"T-001": "stolen"}),
        compile_plan(replace(policy, tablets=rest), ["pellegrin"]),
        compile_plan(moved, ["pellegrin"]),
    ):
        assert freed(before, after) == (own,)
    # It was cut already: nothing of it runs.
    lost = compile_plan(policy, ["pellegrin"], {"T-001": "lost"})
    assert freed(lost, before) == ()


def test_a_tablet_with_another_address_leaves_the_old_one(policy):
    before = compile_plan(policy, ["pellegrin"])
    old = next(b for b in before.bindings if b.tablet == "T-001")
    new = replace(old, address=parse_address("10.99.1.77"))
    rows = tuple(new if each == old else each for each in before.bindings)
    assert freed(before, replace(before, bindings=rows)) == (old.address,)
