"""What a finding is, and what a whole report ends with."""

import re
from pathlib import Path

import pytest

from netguard.core.doctor import cabling, features, node
from netguard.core.doctor.findings import (
    CHECKS,
    Finding,
    Outcome,
    exit_code,
    failed,
    judged,
    listed,
    ok,
    ordered,
    unchecked,
    warning,
)


def test_only_what_was_checked_and_is_well_ends_with_0():
    well = ok("NG-D101", "answers")
    assert exit_code([]) == 0
    assert exit_code([well]) == 0
    for other in (
        warning("NG-D123", "a", "b"),
        failed("NG-D123", "a", "b"),
        unchecked("NG-D123", "a"),
    ):
        assert exit_code([well, other]) == 1


def test_what_is_wrong_replaces_what_is_well():
    wrong = failed("NG-D112", "rules are missing", "restart")
    assert judged("NG-D112", [wrong], "all there") == [wrong]
    assert judged("NG-D112", [], "all there") == [ok("NG-D112", "all there")]


def test_findings_come_by_code_and_stay_in_their_order():
    rows = [ok("NG-D209", "b"), ok("NG-D101", "a"), ok("NG-D209", "a")]
    assert [f.text for f in ordered(rows)] == ["a", "b", "a"]


def test_a_finding_knows_its_name_and_whether_it_cries():
    assert Finding("NG-D104", Outcome.OK, "x").name == "FreeRADIUS"
    assert [f.cries for f in (ok("NG-D101", ""), unchecked("NG-D101", ""))] == [False, False]
    assert [f.cries for f in (warning("NG-D101", "", ""), failed("NG-D101", "", ""))] == [
        True,
        True,
    ]


def test_long_lists_are_cut_and_counted():
    assert listed(range(3)) == "0, 1, 2"
    assert listed(range(9), 2) == "0, 1 and 7 more"


def test_every_code_is_written_alike_and_used_once():
    assert all(re.fullmatch(r"NG-D[123]\d\d", code) for code in CHECKS)
    assert len(set(CHECKS.values())) == len(CHECKS)
    codes = [
        value
        for module in (node, cabling)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith("NG-D")
    ]
    assert len(codes) == len(set(codes))
    assert set(codes) <= set(CHECKS)
    assert features.CODE in CHECKS


@pytest.mark.parametrize("code", sorted(CHECKS))
def test_the_page_of_the_doctor_has_every_code(code):
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    assert f"| {code} |" in text
