"""A private MAC is linked to the tablet that fell silent beside it, and to nobody else."""

import pytest

from netguard.core.private_macs import AFTER, BEFORE, MOST, Silent, suggest

FIRST, LAST = 10_000.0, 10_300.0


def of(*tablets, ap="AP-1", site="p"):
    return [s.tablet for s in suggest(site, ap, FIRST, LAST, tablets)]


def silent(last, tablet="T-001", site="p", ap="AP-1"):
    return Silent(tablet, site, ap, last, "SM-T510")


def test_the_nearest_in_time_comes_first_and_says_how_far():
    found = suggest(
        "p", "AP-1", FIRST, LAST, [silent(9_800, "T-002"), silent(9_990), silent(9_400, "T-003")]
    )
    assert [(s.tablet, s.apart) for s in found] == [("T-001", 10), ("T-002", 200), ("T-003", 600)]
    assert found[0].model == "SM-T510"


@pytest.mark.parametrize(
    "other",
    [
        silent(9_990, site="q"),
        silent(9_990, ap="AP-2"),
        silent(FIRST - BEFORE - 1),
        silent(FIRST + AFTER + 1),
        silent(LAST + AFTER + 1),
    ],
)
def test_elsewhere_long_ago_or_still_heard_is_another(other):
    assert of(other) == []


def test_without_an_access_point_nobody_is_suggested_and_never_a_crowd():
    assert of(silent(9_990, ap=""), ap="") == []
    assert len(of(*(silent(9_990, f"T-{n}") for n in range(50)))) == MOST
