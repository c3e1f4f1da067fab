"""One line of the event log: hostile until parsed, and late ones change nothing newer."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.records import behind, met, read_asked

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
RECORD = {
    "t": str(EPOCH - 60),
    "kind": "admission",
    "mac": "3C-28-6D-FF-00-66",
    "site": "pellegrin",
    "nas": "wlc-1",
    "ap": "AP-CAR-301",
    "ssid": "CHU-TABLETTES",
    "answer": "reject",
    "rule": "unknown-mac",
    "vlan": "",
}


def test_a_record_is_typed():
    asked = read_asked(RECORD, NOW)
    assert (str(asked.mac), asked.at) == ("3c:28:6d:ff:00:66", NOW - timedelta(minutes=1))
    assert (asked.site, asked.ap, asked.answer) == ("pellegrin", "AP-CAR-301", "reject")
    assert asked.by_stranger
    assert not read_asked({**RECORD, "rule": "loan/stolen"}, NOW).by_stranger


@pytest.mark.parametrize("change", [{"mac": ""}, {"mac": "nurse"}, {"answer": "maybe"}])
def test_what_names_no_mac_or_no_answer_is_nothing(change):
    assert read_asked({**RECORD, **change}, NOW) is None


@pytest.mark.parametrize("t", ["", "soon", "-5", "1e9", "٣", "99999999999", "9999999999"])
def test_an_odd_time_or_one_to_come_is_the_moment_of_reading(t):
    assert read_asked({**RECORD, "t": t}, NOW).at == NOW


def test_texts_are_cut_and_control_characters_written_out():
    asked = read_asked({**RECORD, "ap": "a\n\x1b[31m" + "x" * 500, "ssid": "é\u202e"}, NOW)
    assert asked.ap.startswith("a\\n\\x1b[31mxxx")
    assert len(asked.ap) < 100
    assert asked.ssid == "é\\u202e"


@given(st.dictionaries(st.sampled_from(sorted(RECORD)), st.text(max_size=300)))
def test_nothing_in_a_record_raises(changes):
    asked = read_asked({**RECORD, **changes}, NOW)
    assert asked is None or asked.at <= NOW


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ({"stamp": str(EPOCH - 60)}, 0),
        ({"stamp": str(EPOCH - 160)}, 100),
        ({"stamp": str(EPOCH)}, -60),
        # Sent late is not a clock that is behind.
        ({"stamp": str(EPOCH - 160), "delay": "100"}, 0),
        ({"stamp": ""}, None),
        ({}, None),
        ({"stamp": "0"}, None),
        ({"stamp": "soon"}, None),
        ({"stamp": str(EPOCH), "t": "odd"}, None),
        ({"stamp": "9" * 30}, None),
    ],
)
def test_how_far_the_clock_of_a_nas_is_behind(said, seconds):
    assert behind({**RECORD, **said}) == seconds


def at(minutes, **changes):
    return read_asked({**RECORD, "t": str(EPOCH + 60 * minutes), **changes}, NOW)


def test_a_stranger_is_counted_and_keeps_its_latest_place():
    stranger = met(None, at(-9, ap="one"))
    assert (stranger.count, stranger.first_at) == (1, stranger.last_at)
    stranger = met(stranger, at(-5, ap="two", rule="private-mac"))
    stranger = met(stranger, at(-7, ap="late"))
    assert (stranger.count, stranger.ap, stranger.reason) == (3, "two", "private-mac")
    assert stranger.first_at == NOW - timedelta(minutes=9)
    assert stranger.last_at == NOW - timedelta(minutes=5)
    assert met(stranger, at(-20, ap="older")).first_at == NOW - timedelta(minutes=20)
