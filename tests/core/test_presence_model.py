"""The rules as the engine sees them."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netguard.core.evidence import read_event, stamped, write_event
from netguard.core.policy import Walk
from netguard.core.presence import compile_model, read_model, write_model
from netguard.errors import BadValue


def test_a_model_survives_its_plain_form(example):
    model = compile_model(example)
    again = read_model(json.loads(json.dumps(write_model(model))))
    assert again == model
    assert again.area_of("ap-lob-01").edge
    assert again.area_of("nowhere").name == ""
    assert again.sites["haut-leveque"].missing_edge == 120.0
    assert again.sites["haut-leveque"].missing_area == 1800.0
    assert again.tablets["64:1b:2f:6a:d5:79"].id == "T-001"


def test_a_walk_is_the_shortest_over_all_that_are_written_and_none_where_none_is(example):
    def takes(one, other, seconds):
        return Walk((one, other), timedelta(seconds=seconds))

    walks = (
        takes("cardio-3", "lobby", 300),
        takes("cardio-3", "neuro-2", 60),
        takes("lobby", "neuro-2", 90),
        takes("lobby", "maternity-2", 90),
    )
    sites = {**example.sites, "pellegrin": replace(example.sites["pellegrin"], walks=walks)}
    model = compile_model(replace(example, sites=sites))
    assert read_model(json.loads(json.dumps(write_model(model)))) == model
    # By way of neurology; the other way it takes as long.
    assert model.walk("ap-lob-01", "ap-car-301") == model.walk("ap-car-302", "ap-lob-02") == 150.0
    assert model.walk("ap-lob-01", "ap-neu-201") == 90.0
    assert model.walk("ap-lob-01", "ap-lob-02") == 0.0
    # Nobody has written how far these are apart: they may be neighbours.
    assert model.walk("ap-car-301", "ap-mat-201") is None
    assert model.walk("ap-lob-01", "ap-ent-01") is None
    assert model.walk("ap-lob-01", "nowhere") is model.walk("nowhere", "nowhere") is None


def test_a_model_of_a_version_without_walks_is_read(example):
    body = write_model(compile_model(example))
    assert body.pop("walks")
    assert read_model(body).walks == ()


@pytest.mark.parametrize("body", [{}, {"version": 9}, {"version": 1, "sites": 3}])
def test_what_is_no_model_is_refused(body):
    with pytest.raises(BadValue):
        read_model(body)


def test_night_follows_the_clock_of_the_site(example):
    model = compile_model(example)
    for month, hour, night in (
        (7, 3, True),
        (7, 5, False),
        (1, 4, True),
        (1, 21, True),
        (7, 19, False),
    ):
        at = datetime(2026, month, 10, hour, 30, tzinfo=UTC).timestamp()
        assert model.is_night("pellegrin", at) is night


def test_a_bssid_pattern_names_an_area(small):
    base = small()
    model = compile_model(base)
    assert model.site_of("nobody").name in base.sites


def test_a_record_survives_its_line():
    row = {
        "at": 5.0,
        "kind": "session-interim",
        "mac": "AA-BB-CC-00-11-22",
        "ap": "AP-LOB-01",
        "packets": 0,
    }
    event = read_event(row)
    assert (event.mac, event.ap, event.packets) == ("aa:bb:cc:00:11:22", "ap-lob-01", 0)
    assert read_event(write_event(event)) == event


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"at": 1, "kind": "herd", "mac": "aa:bb:cc:00:11:22"}, "did you mean 'heard'"),
        ({"at": 1, "kind": "heard"}, "lacks 'mac'"),
        ({"at": 1, "kind": "ap-down"}, "lacks 'ap'"),
        ({"at": "1", "kind": "heard", "mac": "aa:bb:cc:00:11:22"}, "'at' is not a time"),
        ({"at": float("nan"), "kind": "heard", "mac": "aa:bb:cc:00:11:22"}, "'at' is not a time"),
        ({"kind": "heard", "mac": "aa:bb:cc:00:11:22"}, "'at' is not a time"),
        ({"at": 1, "kind": "heard", "mac": "ff:ff:ff:ff:ff:ff"}, "broadcast"),
        ({"at": 1, "kind": "heard", "mac": "aa:bb:cc:00:11:22", "ap": "x" * 129}, "at most 128"),
        ({"at": 1, "kind": "heard", "mac": "aa:bb:cc:00:11:22", "ap": 7}, "not a text"),
        ({"at": 1, "kind": "heard", "mac": "aa:bb:cc:00:11:22", "packets": -1}, "not a count"),
    ],
)  # fmt: skip
def test_a_hostile_record_is_refused(row, text):
    with pytest.raises(BadValue, match=text):
        read_event(row)


@pytest.mark.parametrize("says", [False, True])
def test_one_line_with_a_wrong_clock_does_not_move_ours(says):
    """Whether or not a line says itself when it was received."""
    mac = "aa:bb:cc:00:11:22"
    ats = [100.0, 99.0, 90_000.0, 101.0, 5_000.0, 5_001.0, 4_000.0]
    rows = [{"at": at, "kind": "heard", "mac": mac} for at in ats]
    if says:
        # Then it is the time of receipt that is wrong, of a record that is right.
        rows = [row | {"received": max(row["at"], 100.0)} for row in rows]
        rows[2]["at"] = ats[2] = 100.0
        rows[-1]["received"] = 5_001.0
    events = [read_event(row) for row in rows]
    received = [event.received or event.at for event in stamped(events)]
    assert received == [100.0, 100.0, 100.0, 101.0, 5_000.0, 5_001.0, 5_001.0]
    assert [event.at for event in stamped(events)] == ats
