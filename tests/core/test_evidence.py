"""A line of a recording: what is no evidence says why, and each line gets the moment at which it was received."""

import json

import pytest

from netguard.core import evidence
from netguard.core.evidence import (
    FEED_LOST,
    HEARD,
    INTERIM,
    PLANNED_MOVE,
    Event,
    Reader,
    read_event,
    stamped,
    write_event,
)
from netguard.errors import BadValue

MAC = "64:1b:2f:6a:d5:79"
HEARD_ONCE = {"at": 100, "kind": HEARD, "mac": MAC}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"kind": "herd"}, "did you mean 'heard'"),
        ({"kind": None}, "kind 'None' is not known"),
        ({"mac": ""}, "'heard' lacks 'mac'"),
        ({"mac": 5}, "'mac' is not a text"),
        ({"mac": "01:00:5e:00:00:01"}, "01:00:5e:00:00:01"),
        ({"kind": "ap-up"}, "'ap-up' lacks 'ap'"),
        ({"kind": "ap-down", "ap": ""}, "'ap-down' lacks 'ap'"),
        ({"kind": "nas-restart"}, "'nas-restart' lacks 'nas'"),
        ({"kind": "feed-back", "ap": "AP-1"}, "'feed-back' lacks 'source'"),
        ({"site": ["pellegrin"]}, "'site' is not a text"),
        ({"reason": "x" * 129}, "is not a printable text of at most 128"),
        ({"ap": "AP-1\n"}, "is not a printable text of at most 128"),
        ({"at": True}, "'at' is not a time"),
        ({"at": "100"}, "'at' is not a time"),
        ({"at": -1}, "'at' is not a time"),
        ({"at": evidence.LATEST}, "'at' is not a time"),
        ({"received": None}, "'received' is not a time"),
        ({"until": float("nan")}, "'until' is not a time"),
        ({"packets": -1}, "'packets' is not a count"),
        ({"packets": 1.5}, "'packets' is not a count"),
        ({"packets": True}, "'packets' is not a count"),
        ({"packets": 2**64}, "'packets' is not a count"),
    ],
)
def test_what_is_no_evidence_says_why(change, text):
    with pytest.raises(BadValue) as caught:
        read_event(HEARD_ONCE | change)
    assert text in caught.value.text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"at": 1 "kind"}', "not a JSON object, column 10: "),
        (b"{\xff}", "not UTF-8, column 2: "),
        (b"[" * 40_000, "not a JSON object: "),
        (b'{"at": %s}' % (b"9" * 5000), "not a JSON object: "),
        (b"[]", 'not a JSON object, write {"at": 0, '),
    ],
)
def test_a_line_that_is_no_object_says_where(line, text):
    with pytest.raises(BadValue) as caught:
        Reader().line(line)
    assert caught.value.text.startswith(text)


def test_a_record_is_read_as_it_was_written_and_holds_only_what_is_known():
    told = Event(100.0, INTERIM, MAC, "ap-1", "wlc-1", "pellegrin", packets=0, received=101.5)
    moved = Event(100.0, PLANNED_MOVE, MAC, area="other/ward", until=900.0)
    lost = Event(100.0, FEED_LOST, source="syslog")
    for event in (told, moved, lost):
        assert read_event(write_event(event)) == event
    assert list(write_event(lost)) == ["at", "kind", "source"]
    assert write_event(told)["packets"] == 0, "none is not the same as not known"


def test_a_device_is_the_same_in_whatever_spelling_and_what_is_not_known_of_a_record_is_ignored():
    reader = Reader()
    spelled = [MAC, MAC.upper(), MAC.replace(":", "-"), MAC.replace(":", "")]
    rows = [HEARD_ONCE | {"mac": mac, "ap": "AP-1", "colour": "red"} for mac in spelled]
    # Twice, since what was met before is not parsed again.
    found = {reader.line(json.dumps(row)) for row in rows * 2}
    assert found == {Event(100.0, HEARD, MAC, "ap-1")}


def test_a_recording_of_ever_new_spellings_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(evidence, "_CACHE", 3)
    reader = Reader()
    for number in range(20):
        row = HEARD_ONCE | {"mac": f"64:1b:2f:6a:d5:{number:02x}", "ap": f"AP-{number}"}
        event = reader.event(row)
        assert (event.mac, event.ap) == (row["mac"], read_event(row).ap)
        assert len(reader._macs) <= 3
        assert len(reader._aps) <= 3


def received(*moments):
    """Stamp lines, each its time or (its time, when it says it was received)."""
    lines = [
        Event(each, HEARD, MAC)
        if isinstance(each, int)
        else Event(each[0], HEARD, MAC, received=each[1])
        for each in moments
    ]
    return [(event.at, event.received or event.at) for event in stamped(lines)]


def test_a_line_was_received_when_the_latest_before_it_was():
    assert received(100, 90, 110) == [(100, 100), (90, 100), (110, 110)]


def test_a_line_from_a_clock_that_is_ahead_does_not_move_that_of_the_recording():
    assert received(100, 5000, 101) == [(100, 100), (5000, 100), (101, 101)]


def test_after_a_quiet_night_the_clock_of_the_recording_goes_on():
    assert received(100, 5000, 5001, 4990) == [
        (100, 100),
        (5000, 5000),
        (5001, 5001),
        (4990, 5001),
    ]


def test_the_last_line_of_a_recording_is_never_lost():
    assert received(100, 5000) == [(100, 100), (5000, 5000)]


def test_a_line_that_says_when_it_was_received_is_believed():
    assert received(100, (90, 200), 150) == [(100, 100), (90, 200), (150, 200)]
    assert received(100, 5000, (120, 130), 125) == [
        (100, 100),
        (5000, 100),
        (120, 130),
        (125, 130),
    ]


def test_one_line_with_a_wrong_time_of_receipt_moves_nothing():
    assert received(100, (110, 9000), 120) == [(100, 100), (110, 100), (120, 120)]
    night = received(100, (8990, 9000), (9001, 9002), 9001)
    assert night == [(100, 100), (8990, 9000), (9001, 9002), (9001, 9002)]
