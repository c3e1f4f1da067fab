"""Databases looked at from beside: sound, empty, foreign, damaged; nothing of their files is changed."""

from datetime import UTC, datetime

import pytest

from netguard.adapters.store import GUARD, WATCH, GuardStore, Loan, looking

NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "guard.db"
    store = GuardStore.open(path, NOW)
    store.set_loans([Loan("T-001", "stolen", NOW.isoformat(), "root", "")], [])
    store.close()
    return path


def listing(path):
    return {p.name: (p.stat().st_size, p.stat().st_mtime_ns) for p in path.parent.iterdir()}


def test_a_sound_database_is_read_and_left_as_it_is(path):
    before = listing(path)
    assert looking.look(path, GUARD) == ""
    assert looking.loans(path) == {"T-001": "stolen"}
    assert listing(path) == before


def test_one_that_is_in_use_is_read_too(path):
    store = GuardStore.open(path, NOW)
    store.set_loans([Loan("T-002", "lost", NOW.isoformat(), "root", "")], [])
    assert looking.look(path, GUARD) == ""
    assert looking.loans(path) == {"T-001": "stolen", "T-002": "lost"}
    store.close()


def test_what_is_no_database_of_ours_is_named(path, tmp_path):
    assert looking.look(tmp_path / "none.db", GUARD) == "is missing"
    assert looking.look(path, WATCH) == "is not netguard's watch.db"
    assert looking.look(tmp_path, GUARD) == "Is a directory"
    (tmp_path / "empty.db").touch()
    assert looking.look(tmp_path / "empty.db", GUARD) == "is empty (0 bytes)"
    assert looking.loans(tmp_path / "none.db") is None


def test_a_damaged_page_is_found(path):
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))
    assert looking.look(path, GUARD)


def test_a_look_ends_in_time(path):
    assert looking.look(path, GUARD, patience=0.0) == ""
