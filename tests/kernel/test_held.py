"""What the kernel holds is what the plan says, element by element; whatever else is there is named."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from netguard.core.hours import UNJUDGED, openings
from netguard.core.plan import compile_plan
from netguard.render import nft_sets, nftables
from netguard.render.held import faults


@pytest.fixture
def plan(example):
    return compile_plan(example, ["pellegrin", "haut-leveque"], {"T-001": "stolen"})


def rows(bench):
    done = bench.run(bench.gw, "env", "TZ=UTC", "nft", "-j", "list", "table", "inet", "netguard")
    return json.loads(done.stdout)["nftables"]


@pytest.fixture
def loaded(bench, plan):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan))
    yield plan
    bench.run(bench.gw, "nft", "flush", "ruleset")


def test_a_loaded_plan_is_held(bench, loaded):
    assert faults(loaded, UNJUDGED, rows(bench)) == []
    assert len(faults(loaded, UNJUDGED, [])) == len(nft_sets.elements(loaded))


def test_when_a_group_is_open_is_compared_too(bench, plan):
    now = datetime(2026, 10, 20, tzinfo=UTC)
    coming = openings(plan, now)
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan, (), coming))
    assert faults(plan, coming, rows(bench)) == []
    assert faults(plan, openings(plan, now + timedelta(days=1)), rows(bench))
    bench.nft("flush set inet netguard open_patients")
    (found,) = faults(plan, coming, rows(bench))
    assert found.startswith("open_patients lacks")
    bench.nft("add element inet netguard open_patients { 1000000000-2000000000 }")
    assert any(f.startswith("open_patients has") for f in faults(plan, coming, rows(bench)))


def test_the_openings_of_the_next_day_are_a_difference_of_a_few_elements(bench, plan):
    days = [openings(plan, datetime(2026, 10, day, tzinfo=UTC)) for day in (20, 21)]
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan, (), days[0]))
    (script,) = nftables.differences(plan, plan, days[1], days[0])
    assert {line.split()[4].partition("_")[0] for line in script.splitlines()} <= {"open", "fresh"}
    bench.nft(script)
    assert faults(plan, days[1], rows(bench)) == []


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
            'add element inet netguard bind4 { "tab0" . 02:00:00:00:00:99 . 10.99.3.9 }',
            "bind4 has",
        ),
        ("flush set inet netguard lost_mac", "lost_mac lacks"),
    ],
)
def test_what_somebody_else_put_in_or_took_out_is_named(bench, loaded, command, said):
    bench.nft(command)
    found = faults(loaded, UNJUDGED, rows(bench))
    assert len(found) == 1
    assert found[0].startswith(said)


def test_a_difference_leaves_what_a_whole_load_would(bench, loaded, example):
    after = compile_plan(example, ["pellegrin", "haut-leveque"], {"T-002": "lost"})
    script = nftables.difference(loaded, after)
    assert script
    bench.nft(script)
    assert faults(after, UNJUDGED, rows(bench)) == []
    assert faults(loaded, UNJUDGED, rows(bench))
