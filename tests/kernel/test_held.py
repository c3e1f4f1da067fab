"""What the kernel holds is what the plan says, element by element; whatever else is there is named."""

import json

import pytest

from netguard.core.plan import compile_plan
from netguard.render import nftables
from netguard.render.held import faults


@pytest.fixture
def plan(example):
    return compile_plan(example, ["pellegrin", "haut-leveque"], {"T-001": "stolen"})


def rows(bench):
    done = bench.run(bench.gw, "nft", "-j", "list", "table", "inet", "netguard")
    return json.loads(done.stdout)["nftables"]


@pytest.fixture
def loaded(bench, plan):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan))
    yield plan
    bench.run(bench.gw, "nft", "flush", "ruleset")


def test_a_loaded_plan_is_held(bench, loaded):
    assert faults(loaded, nftables.ALWAYS, rows(bench)) == []
    assert len(faults(loaded, nftables.ALWAYS, [])) == len(nftables.elements(loaded))


def test_with_hours_what_has_ended_is_not_missed(bench, plan):
    left = {"patients": 600, "family-room": 0}
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan, (), left))
    assert faults(plan, left, rows(bench)) == []
    bench.nft("flush set inet netguard grants")
    found = faults(plan, left, rows(bench))
    assert len(found) == 1
    assert found[0].startswith("grants lacks")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("add element inet netguard protected4 { 172.31.0.0/16 }", "protected4 has"),
        ("flush set inet netguard protected4", "protected4 lacks"),
        ("add element inet netguard grants { 77 }", "grants has"),
        ("flush set inet netguard bind4", "bind4 lacks"),
        ('add element inet netguard tablet_if { "eth9" }', "tablet_if has"),
        ("flush map inet netguard group_number", "group_number lacks"),
        (
            "add element inet netguard group_number { 02:00:00:00:00:99 : 0x3 }",
            "group_number has",
        ),
        (
            'add element inet netguard bind4 { "tab0" . 02:00:00:00:00:99 . 10.99.3.9 timeout 9h }',
            "bind4 has",
        ),
        ("flush set inet netguard lost_mac", "lost_mac lacks"),
    ],
)
def test_what_somebody_else_put_in_or_took_out_is_named(bench, loaded, command, said):
    bench.nft(command)
    found = faults(loaded, nftables.ALWAYS, rows(bench))
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_difference_leaves_what_a_whole_load_would(bench, loaded, example):
    after = compile_plan(example, ["pellegrin", "haut-leveque"], {"T-002": "lost"})
    script = nftables.difference(loaded, after)
    assert script
    bench.nft(script)
    assert faults(after, nftables.ALWAYS, rows(bench)) == []
    assert faults(loaded, nftables.ALWAYS, rows(bench))
