"""What a tablet sends anyway is a sign of life: its lease, its questions, its flows, through the real daemons."""

from time import monotonic, sleep

import pytest

from netguard.adapters import control
from netguard.errors import Refused


@pytest.fixture
def tablet(hospital, on_the_air):
    """Return the MAC of t1, which is joined and has its address."""
    on_the_air("t1")
    hospital.dhcp("t1")
    return next(s["mac"] for s in hospital.status()["stations"] if s["host"] == "t1")


def call(hospital, daemon, verb, **body):
    return control.call(hospital.settings.parent / "run" / f"{daemon}.sock", verb, **body)


def until(happened, patience=90.0):
    end = monotonic() + patience
    while not happened():
        assert monotonic() < end, "it did not happen"
        sleep(0.5)


def test_guard_and_dns_tell_of_a_tablet_what_it_sent(hospital, tablet):
    call(hospital, "guard", "heartbeats")
    assert hospital.probe("t1", "tcp", "zoom.us", "443")["ok"]
    found = call(hospital, "guard", "heartbeats")["heartbeats"]
    assert 0 <= found["dhcp"][tablet] < 60
    assert found["flows"] == {tablet: 0.0}
    asked = call(hospital, "dns", "heard")["heard"]
    assert [0 <= age < 60 for id_, age in asked.items() if id_ == "T-001"] == [True]
    # Nothing new was sent on a flow: it is not told again.
    assert tablet not in call(hospital, "guard", "heartbeats")["heartbeats"]["flows"]


def test_watch_hears_it_from_each_of_them(hospital, tablet):
    def heard():
        hospital.probe("t1", "tcp", "zoom.us", "443")
        counts = call(hospital, "watch", "status")["heartbeats"]
        return min(counts.get(feed, 0) for feed in ("dhcp", "dns", "flows")) > 0

    until(heard)
    (row,) = call(hospital, "watch", "tablets", tablet="T-001")["tablets"]
    assert row["presence"] == "present"


def test_only_watch_may_ask(hospital, tablet):
    """A closed list of verbs, each with its callers; what is told names tablets of the plan only."""
    with pytest.raises(Refused, match="unknown verb"):
        call(hospital, "guard", "heard")
    known = {row["mac"] for row in call(hospital, "watch", "tablets")["tablets"]}
    found = call(hospital, "guard", "heartbeats")["heartbeats"]
    assert set(found["dhcp"]) | set(found["flows"]) <= known
