"""What a change means: nothing that opens is left unsaid."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from netguard.core.changes import changes
from netguard.core.plan import canonical, compile_plan
from netguard.core.verdict import verdict
from netguard.core.week import Hours, Window, weekly
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


VISITS = weekly({"mon-fri": [Window.parse("10:00-12:00"), Window.parse("14:00-20:00")]})


@pytest.mark.parametrize(
    ("was", "is_", "widens"),
    [(None, "08:00-20:00", False), ("08:00-20:00", None, True), ("08:00-20:00", "09:00-20:00", False),
     ("08:00-20:00", "08:00-21:00", True), (VISITS, "08:00-20:00", True), ("08:00-20:00", VISITS, False)],
)  # fmt: skip
def test_longer_hours_widen(example, was, is_, widens):
    def plan(hours):
        read = Hours.parse(hours) if isinstance(hours, str) else hours
        group = replace(example.groups["patients"], hours=read)
        policy = replace(example, groups={**example.groups, "patients": group})
        return compile_plan(policy, ["pellegrin"]), policy

    (old, before), (new, after) = plan(was), plan(is_)
    (line,) = changes(old, new, (before, after)).lines
    assert (line.what, line.widens) == ("hours", widens)


def lines(before, after, example):
    return {
        (line.sign, line.what, line.detail)
        for line in changes(before, after, (example, example)).lines
    }


def test_a_site_a_group_an_area_and_a_nas_come_and_go(example):
    both, one = (compile_plan(example, sites) for sites in (sorted(example.sites), ["pellegrin"]))
    assert ("-", "site haut-leveque", "") in lines(both, one, example)
    assert ("+", "site haut-leveque", "") in lines(one, both, example)
    policy = replace(example, groups={n: g for n, g in example.groups.items() if n != "demo"})
    fewer = compile_plan(policy_without_demo(policy), ["pellegrin"])
    assert ("-", "group", "its tablets reach nothing any more") in lines(one, fewer, example)
    assert ("+", "group", "is new") in lines(fewer, one, example)
    site = one.sites[0]
    bare = replace(one, sites=(replace(site, areas=site.areas[1:], nas=()),))
    gone = lines(one, bare, example)
    assert ("-", f"site {site.name}", f"NAS {site.nas[0].name}") in gone
    assert ("-", f"site {site.name}", f"area {site.areas[0].name}: none") in gone
    come = lines(bare, one, example)
    assert ("+", f"site {site.name}", f"NAS {site.nas[0].name}") in come


def test_only_the_end_of_keys_per_tablet_opens_something(example):
    plan = compile_plan(example, ["pellegrin"])
    (site,) = plan.sites
    keyed = replace(plan, sites=(replace(site, nas=(replace(site.nas[0], psk=True),)),))
    for before, after, words, opens in (
        (plan, keyed, "NAS wlc-1: a Wi-Fi key per tablet", False),
        (keyed, plan, "NAS wlc-1: no Wi-Fi key per tablet any more", True),
    ):
        (line,) = changes(before, after, (example, example)).lines
        assert (line.sign, line.detail, line.widens) == ("~", words, opens)


def test_a_plan_without_keys_is_named_as_before_there_were_any(example):
    plan = compile_plan(example, ["pellegrin"])
    assert "psk" not in canonical(plan)
    nas = tuple(replace(nas, psk=True) for nas in plan.sites[0].nas)
    assert '"psk":true' in canonical(replace(plan, sites=(replace(plan.sites[0], nas=nas),)))


def policy_without_demo(policy):
    return replace(policy, tablets={i: t for i, t in policy.tablets.items() if t.group != "demo"})


def test_a_tablet_that_changes_its_address_or_mac_is_told(example):
    plan = compile_plan(example, ["pellegrin"])
    first = plan.bindings[0]
    moved = replace(first, address=first.address + 1000)
    after = replace(plan, bindings=(moved, *plan.bindings[1:]))
    assert lines(plan, after, example) == {
        ("~", f"tablet {first.tablet}", f"address {first.address} -> {moved.address}, at pellegrin")
    }


def test_rates_and_local_services_are_told(example):
    plan = compile_plan(example, ["pellegrin"])
    groups = tuple(replace(g, rate=None) if g.name == "patients" else g for g in plan.groups)
    services = tuple(replace(s, local=None) if s.name == "time" else s for s in plan.services)
    told = lines(plan, replace(plan, groups=groups, services=services), example)
    assert ("~", "rate", "4,000,000 bit/s down, 2,000,000 up -> none") in told
    assert ("~", "service time", "local ntp -> none") in told


def test_how_long_tablets_are_lent_is_told_and_opens_nothing(example):
    plan = compile_plan(example, ["pellegrin"])
    patients, crisis = example.groups["patients"], example.profiles["crisis"]
    after = replace(
        example,
        groups={
            **example.groups,
            "patients": replace(patients, loan_length=timedelta(days=21)),
            "family-room": replace(example.groups["family-room"], loan_length=timedelta(hours=36)),
            "demo": replace(example.groups["demo"], loan_length=None),
        },
        profiles={"crisis": replace(crisis, groups={})},
    )
    found = changes(plan, plan, (example, after))
    assert [(line.sign, line.what, line.detail) for line in found.lines] == [
        ("~", "loan-length", "demo: 14d -> none"),
        ("~", "loan-length", "family-room: none -> 36h"),
        ("~", "loan-length", "patients: 14d -> 21d"),
        ("~", "loan-length", "patients while profile crisis is on: 60d -> none"),
    ]
    assert not found.widens
