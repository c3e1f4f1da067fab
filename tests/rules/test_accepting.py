"""A warning is silenced where it arises, with a reason, and a typing error silences nothing."""

import pytest


def test_a_word_that_is_no_finding_is_told(rules, jitsi):
    jitsi("    evidence", "    accept: {wyde: because}\n    evidence")
    rules.says("warning unknown-ref services/jitsi.yaml:7:14", "did you mean 'wide'?")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("uplink: up0", "uplink: up0\n    accept: {nat: x}"),
        ("{aps: [AP-CAR-301]}", "{aps: [AP-CAR-301], accept: {nat: x}}"),
    ],
)
def test_also_on_a_site_or_an_area(rules, site, old, new):
    site(old, new)
    rules.says("warning unknown-ref", "'nat' is no finding that can be accepted")


def test_an_area_accepts_for_itself(rules, site):
    site("{aps: [AP-CAR-301]}", "{aps: [], accept: {area-empty: being built}}")
    assert rules.said == []
