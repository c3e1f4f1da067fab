"""presence.yaml as a policy of each site."""

from datetime import timedelta

import pytest

from netguard.core.policy import PresencePolicy
from netguard.core.presence import compile_model


def test_without_the_file_the_defaults_hold(rules):
    assert set(rules.policy.presence.values()) == {PresencePolicy()}


def test_a_site_says_only_what_differs(rules):
    rules.write(
        "presence.yaml",
        "presence: {grace: 90s, quiet-after: 3x heartbeat, missing-after: {area: 40m}, "
        "false-alarms: 2/week, heartbeat: {interim: 200s}, outage: {share: 0.5}, "
        "sites: {pellegrin: {missing-after: {edge: 2m}, quiet-after: 11m}}}\n",
    )
    policy = rules.policy
    own = policy.presence["pellegrin"]
    assert own.missing_edge == timedelta(minutes=2)
    assert own.missing_area == timedelta(minutes=40)
    assert own.grace == timedelta(seconds=90)
    assert own.outage_share == 0.5
    model = compile_model(policy)
    assert model.sites["pellegrin"].quiet_after == 660.0
    assert model.sites["pellegrin"].interim == 200.0
    assert model.budget == pytest.approx(2 / 7)


def test_nothing_can_be_missing_before_the_grace(rules):
    rules.write("presence.yaml", "presence: {grace: 5m}\n")
    rules.says("bad-duration presence.yaml:1", "nothing changes before the grace is over")
    rules.write("presence.yaml", "presence: {sites: {pellegrin: {grace: 5m}}}\n")
    rules.says("bad-duration presence.yaml:1", "missing-after.edge of 'pellegrin' is 180s")


@pytest.mark.parametrize("text", ["0/week", "1/month", "week", "1/weeks"])
def test_a_budget_is_a_frequency(rules, text):
    rules.write("presence.yaml", f"presence: {{false-alarms: {text}}}\n")
    rules.says("bad-rate", "write 1/week or 2/day")


def test_access_points_ignore_an_interim_below_a_minute(rules):
    rules.write("presence.yaml", "presence: {heartbeat: {interim: 59s}}\n")
    rules.says("bad-duration presence.yaml:1", "interim is below 60s")
    rules.write("presence.yaml", "presence: {heartbeat: {interim: 60s}}\n")
    assert rules.said == []
