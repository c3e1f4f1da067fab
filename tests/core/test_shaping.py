"""Which class each tablet's packets belong to, and that all together stay below the site's ceiling."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import shaping
from netguard.core.plan import compile_plan
from netguard.core.policy import Ceiling
from netguard.core.shaping import FIRST_TABLET, class_numbers, shapers
from netguard.errors import BadValue

SITES = ["pellegrin", "haut-leveque"]


def by_interface(plan):
    return {shaper.interface: shaper.classes for shaper in shapers(plan)}


def without_ceilings(policy):
    return replace(
        policy,
        sites={name: replace(site, ceiling=None) for name, site in policy.sites.items()},
        groups={name: replace(group, rate=None) for name, group in policy.groups.items()},
    )


def test_every_tablet_with_an_address_has_one_class_each_way(example):
    plan = compile_plan(example, SITES)
    numbers = class_numbers(plan)
    assert sorted(numbers) == sorted(b.address for b in plan.bindings if b.address is not None)
    assert len(set(numbers.values())) == len(numbers)
    held = by_interface(plan)
    for site in plan.sites:
        own = {numbers[b.address] for b in plan.bindings if b.site == site.name and b.address}
        for interface in (*site.interfaces, site.uplink):
            tablets = {c.minor for c in held[interface] if c.minor >= FIRST_TABLET}
            assert own <= tablets
    assert min(numbers.values()) >= FIRST_TABLET > len(plan.sites)


@given(
    down=st.integers(100_000, 10**9),
    up=st.integers(100_000, 10**9),
    tablet=st.one_of(st.none(), st.tuples(st.integers(8_000, 10**8), st.integers(8_000, 10**8))),
)
def test_what_classes_are_sure_of_is_never_more_than_the_site_has(example, down, up, tablet):
    rate = Ceiling(*tablet) if tablet is not None else None
    sites = {name: replace(site, ceiling=Ceiling(down, up)) for name, site in example.sites.items()}
    groups = {name: replace(group, rate=rate) for name, group in example.groups.items()}
    plan = compile_plan(replace(example, sites=sites, groups=groups), SITES)
    for shaper in shapers(plan):
        parents = {c.minor: c for c in shaper.classes if not c.queue}
        for parent in parents.values():
            children = [c for c in shaper.classes if c.parent == parent.minor]
            assert children
            assert sum(c.rate for c in children) <= parent.ceil
            assert all(c.rate <= c.ceil <= parent.ceil for c in children)
        # Parents first: a child cannot be made before.
        places = {c.minor: at for at, c in enumerate(shaper.classes)}
        assert all(places[c.parent] < places[c.minor] for c in shaper.classes if c.parent)


def test_several_interfaces_of_a_site_share_its_ceiling(example):
    site = replace(example.sites["pellegrin"], interfaces=("tab0", "tab1"))
    plan = compile_plan(replace(example, sites={**example.sites, "pellegrin": site}), SITES)
    held = by_interface(plan)
    assert [held[name][0].ceil for name in ("tab0", "tab1")] == [site.ceiling.down // 2] * 2
    (number,) = [n for n, each in enumerate(plan.sites, 1) if each.name == "pellegrin"]
    (up,) = [c for c in held[site.uplink] if c.minor == number]
    assert up.ceil == site.ceiling.up


def test_a_group_may_have_a_ceiling_where_the_site_has_none(example):
    policy = without_ceilings(example)
    rate = Ceiling(4_000_000, 2_000_000)
    groups = {**policy.groups, "patients": replace(policy.groups["patients"], rate=rate)}
    plan = compile_plan(replace(policy, groups=groups), SITES)
    mine = {b.address for b in plan.bindings if b.group == "patients" and b.address is not None}
    assert set(class_numbers(plan)) == mine
    held = by_interface(plan)
    (interface,) = plan.site["pellegrin"].interfaces
    assert {(c.parent, c.rate, c.ceil) for c in held[interface]} == {(0, rate.down, rate.down)}


def test_without_ceilings_nothing_is_held(example):
    plan = compile_plan(without_ceilings(example), SITES)
    assert class_numbers(plan) == {}
    assert set(by_interface(plan).values()) == {()}


def test_a_new_tablet_with_a_later_address_moves_nobody(example):
    before = class_numbers(compile_plan(example, SITES))
    last = max(before, key=int)
    plan = compile_plan(example, SITES)
    extra = replace(plan.bindings[0], mac=plan.bindings[0].mac, address=ip_address(int(last) + 1))
    after = class_numbers(replace(plan, bindings=(*plan.bindings, extra)))
    assert {a: n for a, n in after.items() if a in before} == before


def test_more_tablets_than_numbers_are_refused(example, monkeypatch):
    plan = compile_plan(example, SITES)
    monkeypatch.setattr(shaping, "MOST_TABLETS", 10)
    with pytest.raises(BadValue, match="at most 10 tablets"):
        class_numbers(plan)
