"""What is looked at around an apply, and what of it means: take it back."""

import datetime
from pathlib import Path

from netguard.core.plan import compile_plan
from netguard.core.probes import ADMITTED, CLOSED, REACHABLE, Probe, failures, tablets
from netguard.rules.folder import read_folder
from netguard.rules.load import load

RULES = Path(__file__).parents[2] / "rules"
POLICY = load(read_folder(RULES), today=datetime.date(2026, 11, 22)).policy


def answers(subject, ok):
    return Probe(REACHABLE, subject, ok, "open" if ok else "silent")


def test_one_tablet_of_each_group_at_each_site_is_asked_for_and_no_lost_one():
    plan = compile_plan(POLICY, ["pellegrin"])
    first = tablets(plan)
    assert [(b.site, b.group) for b in first] == sorted({(b.site, b.group) for b in plan.bindings})
    lost = compile_plan(POLICY, ["pellegrin"], {first[0].tablet: "lost"})
    assert tablets(lost)[0].tablet > first[0].tablet
    assert tablets(lost)[0].group == first[0].group


def test_what_answered_must_answer_while_somebody_may_use_it():
    before = [
        answers("jitsi a tcp/443", True),
        answers("jitsi b tcp/443", False),
        answers("zoom z tcp/443", True),
    ]
    after = [answers(probe.subject, False) for probe in before]
    assert [p.subject for p in failures(before, after, {"jitsi", "teams"})] == ["jitsi a tcp/443"]
    assert failures([], after, {"jitsi"}) == []
    assert failures(before, [answers(p.subject, True) for p in before], {"jitsi"}) == []


def test_all_else_must_be_well_whatever_was_before():
    refused = Probe(ADMITTED, "T-001", False, "reject")
    hole = Probe(CLOSED, "kernel", False, "pacs: refuted")
    fine = Probe(CLOSED, "kernel", True, "20 claims")
    assert failures([refused], [refused, hole, fine], set()) == [refused, hole]
    assert str(hole) == "FAILS  closed: kernel: pacs: refuted"
    assert str(fine).startswith("ok     closed: ")
