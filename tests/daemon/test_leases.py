"""Leases outlive a restart and a clock that is set; a file that is no file of ours cuts nobody in."""

import json
from datetime import timedelta

import pytest

from netguard.adapters import clock
from netguard.core.names import Mac, parse_address
from netguard.daemon.leases import LeaseBook

KEY = "pellegrin", Mac.parse("64:1b:2f:00:00:01")
ADDRESS = parse_address("10.99.0.17")


def write(folder, *spans):
    now = clock.now().timestamp()
    rows = [[KEY[0], str(KEY[1]), str(ADDRESS), now + span] for span in spans]
    (folder / "leases.json").write_text(json.dumps(rows))


def test_a_lease_that_runs_is_held_and_one_that_has_ended_is_not(tmp_path):
    write(tmp_path, 600)
    assert LeaseBook(tmp_path).addresses() == {KEY: ADDRESS}
    write(tmp_path, -1)
    assert LeaseBook(tmp_path).addresses() == {}
    assert LeaseBook(tmp_path / "nothing").addresses() == {}


@pytest.mark.parametrize("step", [timedelta(days=400), timedelta(days=-400)])
def test_a_clock_that_is_set_cuts_nobody_off(tmp_path, monkeypatch, step):
    write(tmp_path, 600)
    book = LeaseBook(tmp_path)
    then = clock.now() + step
    monkeypatch.setattr(clock, "now", lambda: then)
    assert book.addresses() == {KEY: ADDRESS}


def test_a_lease_ends_by_the_clock_that_nobody_sets(tmp_path, monkeypatch):
    write(tmp_path, 600)
    book = LeaseBook(tmp_path)
    later = clock.monotonic() + 601
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert book.addresses() == {}
    assert book.take(None), "who holds what has changed"
    assert not book.take(None)


def test_a_lease_from_a_wrong_clock_lasts_no_longer_than_any_can(tmp_path, monkeypatch):
    write(tmp_path, 10**9)
    book = LeaseBook(tmp_path)
    later = clock.monotonic() + 8 * 86400
    monkeypatch.setattr(clock, "monotonic", lambda: later)
    assert book.addresses() == {}


@pytest.mark.parametrize(
    "text", ["", "{", "[[1]]", '[["s", "no mac", "10.0.0.1", 9e9]]', "null", "7"]
)
def test_a_damaged_file_is_no_lease_and_no_crash(tmp_path, text):
    (tmp_path / "leases.json").write_text(text)
    assert LeaseBook(tmp_path).addresses() == {}
