"""A plan is a pure, sorted function of the rules."""

import random
from dataclasses import replace

import pytest

from netguard.core.between import meet
from netguard.core.names import Ports
from netguard.core.plan import _refuse_collisions, canonical, compile_plan, mark_of, number_of
from netguard.core.week import Hours
from netguard.errors import BadValue


def test_a_plan_does_not_depend_on_the_order_of_anything(example):
    shuffled = replace(
        example,
        tablets=_shuffled(example.tablets),
        groups=_shuffled(example.groups),
        services=_shuffled(example.services),
        sites=_shuffled(example.sites),
        protected=_shuffled(example.protected),
        allotted=_shuffled(example.allotted),
    )
    sites = ["pellegrin", "haut-leveque"]
    one, other = compile_plan(example, sites), compile_plan(shuffled, reversed(sites))
    assert canonical(one) == canonical(other)
    assert one.digest == other.digest


def _shuffled(mapping):
    items = list(mapping.items())
    random.Random(7).shuffle(items)
    return dict(items)


def test_a_plan_changes_its_digest_with_any_right(example):
    plan = compile_plan(example, ["pellegrin"])
    group = example.groups["patients"]
    less = replace(
        example, groups={**example.groups, "patients": replace(group, allow=group.allow[1:])}
    )
    assert compile_plan(less, ["pellegrin"]).digest != plan.digest


def test_a_mark_belongs_to_its_pair_whatever_else_is_allowed(example):
    before = {grant.rule: grant.mark for grant in compile_plan(example, ["pellegrin"]).grants}
    group = example.groups["patients"]
    first = replace(example.services["jitsi"], name="aaa")
    more = replace(
        example,
        services={**example.services, "aaa": first},
        groups={**example.groups, "patients": replace(group, allow=("aaa", *group.allow))},
    )
    after = {grant.rule: grant.mark for grant in compile_plan(more, ["pellegrin"]).grants}
    assert {rule: after[rule] for rule in before} == before
    assert after["patients/aaa"] not in before.values()


def test_a_mark_is_31_bits_and_never_zero():
    marks = {mark_of(f"g{n}", f"s{n}") for n in range(2000)}
    assert len(marks) == 2000
    assert all(0 < mark < 2**31 for mark in marks)


def test_a_group_keeps_its_number_whatever_other_groups_there_are(example):
    numbers = {group.name: group.number for group in compile_plan(example, ["pellegrin"]).groups}
    assert numbers == {name: number_of(name) for name in numbers}
    assert len(set(numbers.values())) == len(numbers)
    assert all(0 < number < 2**31 for number in numbers.values())


def test_two_grants_or_groups_with_one_mark_are_refused():
    with pytest.raises(BadValue, match="a/x and c/z have the same mark"):
        _refuse_collisions([(5, "a/x"), (7, "b/y"), (5, "c/z")])


def test_a_site_that_no_rule_names_is_refused(example):
    with pytest.raises(BadValue, match=r"serves site 'nowhere'.*pellegrin"):
        compile_plan(example, ["nowhere"])


def test_a_group_of_another_site_has_refusals_and_no_binding(small):
    plan = compile_plan(small(), ["pellegrin"])
    assert [binding.tablet for binding in plan.bindings] == [
        "T-002",
        "T-003",
        "T-004",
        "T-001",
    ] or {binding.tablet for binding in plan.bindings} == {"T-001", "T-002", "T-003", "T-004"}
    assert [refusal.rule for refusal in plan.refusals] == ["visitors/sites"]


def test_nested_networks_and_touching_ports_become_one(small):
    policy = small(
        services__wide="services:\n  wide:\n    networks: [203.0.112.0/24, 203.0.112.128/25, 203.0.111.0/24]\n"
        "    ports: [tcp/10-20, tcp/21-30, tcp/15, udp/5]\n    evidence: x\n    reviewed: 2026-11-01\n",
        groups="groups:\n  patients: {sites: [pellegrin], allow: [wide]}\n"
        "  visitors: {sites: [haut-leveque], allow: [jitsi]}\n",
    )
    service = compile_plan(policy, ["pellegrin"]).service["wide"]
    assert [str(n) for n in service.networks] == ["203.0.111.0/24", "203.0.112.0/24"]
    assert [str(p) for p in service.ports] == ["tcp/10-30", "udp/5"]


def test_no_address_of_ours_where_the_hospital_serves_addresses(example):
    site = replace(example.sites["pellegrin"], addresses="external")
    policy = replace(example, sites={**example.sites, "pellegrin": site})
    assert {b.address for b in compile_plan(policy, ["pellegrin"]).bindings} == {None}


def test_only_refused_tablets_of_the_inventory_are_in_a_plan(example):
    loans = {"T-001": "stolen", "T-002": "lent", "T-003": "stock", "T-999": "lost"}
    plan = compile_plan(example, ["pellegrin"], loans)
    assert plan.loans == (("T-001", "stolen"),)
    assert [binding.tablet for binding in plan.lost] == ["T-001"]
    assert plan.lost_by_mac == {plan.lost[0].mac: "T-001"}
    assert compile_plan(example, ["pellegrin"]).lost == ()


def test_a_loan_state_changes_the_plans_name_and_back(example):
    plain = compile_plan(example, ["pellegrin"]).digest
    lent = compile_plan(example, ["pellegrin"], {"T-001": "lent"})
    lost = compile_plan(example, ["pellegrin"], {"T-001": "lost"})
    stolen = compile_plan(example, ["pellegrin"], {"T-001": "stolen"})
    assert lent.digest == plain
    assert len({plain, lost.digest, stolen.digest}) == 3
    assert '"loans":[["T-001","lost"]]' in canonical(lost)


def test_a_lost_tablet_is_refused_at_every_site_also_where_its_group_may_not_be(small):
    everybody = dict.fromkeys(small().tablets, "retired")
    plan = compile_plan(small(), ["pellegrin", "haut-leveque"], everybody)
    rules = {(refusal.site, str(refusal.mac)): refusal.rule for refusal in plan.refusals}
    assert set(rules.values()) == {"loan/retired"}
    assert len(rules) == 2 * len(everybody)


def test_what_two_plans_have_in_common_is_no_more_than_either(small):
    policy = small()
    sites = ["pellegrin", "haut-leveque"]
    plain = compile_plan(policy, sites)
    assert meet(plain, plain) == plain
    lost = compile_plan(policy, sites, {"T-001": "lost"})
    assert meet(plain, lost).loans == meet(lost, plain).loans == lost.loans
    jitsi = policy.services["jitsi"]
    wide = replace(
        jitsi,
        networks=(*(network.supernet() for network in jitsi.networks),),
        ports=(Ports("tcp", 400, 500), Ports("udp", 1, 9)),
    )
    other = compile_plan(replace(policy, services={**policy.services, "jitsi": wide}), sites)
    both = meet(plain, other).service["jitsi"]
    assert both.networks == plain.service["jitsi"].networks
    assert both.ports == (Ports("tcp", 443, 443),)
    group = replace(policy.groups["patients"], allow=("time",))
    less = compile_plan(replace(policy, groups={**policy.groups, "patients": group}), sites)
    for one, two in ((plain, less), (less, plain)):
        assert meet(one, two).group["patients"].services == ("time",)
        assert "patients/jitsi" not in {grant.rule for grant in meet(one, two).grants}
    elsewhere = compile_plan(policy, ["pellegrin"])
    assert meet(elsewhere, plain).bindings == ()


def in_two_zones(policy, **groups):
    """The policy with Haut-Lévêque in Kolkata, and some groups changed."""
    far = replace(policy.sites["haut-leveque"], time_zone="Asia/Kolkata")
    plain = {name: replace(group, hours=None) for name, group in policy.groups.items()}
    changed = {name: replace(plain[name], **change) for name, change in groups.items()}
    return replace(policy, sites={**policy.sites, far.name: far}, groups={**plain, **changed})


def test_each_group_has_the_time_zone_of_its_sites(example):
    day = Hours.parse("07:00-22:00")
    policy = in_two_zones(
        example,
        patients={"hours": day, "sites": ("pellegrin",)},
        demo={"hours": day, "sites": ("haut-leveque",)},
    )
    plan = compile_plan(policy, sorted(policy.sites))
    assert str(plan.group["patients"].hours) == "07:00-22:00 (Europe/Paris)"
    assert str(plan.group["demo"].hours) == "07:00-22:00 (Asia/Kolkata)"
    alone = compile_plan(policy, ["haut-leveque"])
    assert str(alone.group["demo"].hours) == "07:00-22:00", "of one zone nothing is said"


def test_a_group_with_hours_has_one_time_zone(example):
    policy = in_two_zones(example, patients={"hours": Hours.parse("07:00-22:00")})
    with pytest.raises(
        BadValue,
        match=r"'patients' has hours and is at sites .* in Asia/Kolkata, Europe/Paris: write a group for each",
    ):
        compile_plan(policy, sorted(policy.sites))
    assert compile_plan(policy, ["pellegrin"]).group["patients"].hours is not None
    assert (
        compile_plan(in_two_zones(example), sorted(example.sites)).group["patients"].hours is None
    )
