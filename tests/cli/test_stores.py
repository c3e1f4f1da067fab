"""backup and restore: what was copied is sound, whole and of one moment, and comes back."""

import threading
from datetime import UTC, datetime

import pytest

from netguard.adapters import files, store
from netguard.adapters.store import Entry, GuardStore, Loan, WatchStore
from netguard.cli import main

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


@pytest.fixture
def node(tmp_path):
    state, run = tmp_path / "state", tmp_path / "run"
    path = tmp_path / "settings.yaml"
    path.write_text(
        f"version: 1\nnode: n\nsites: [pellegrin]\npaths: {{state: {state}, run: {run}}}\n"
    )
    WatchStore.open(state / "watch" / "watch.db", NOW).close()
    held = GuardStore.open(state / "guard.db", NOW)
    yield held, ["--settings", str(path)], state
    held.close()


def lose(held, tablet):
    held.set_loans(
        [Loan(tablet, "lost", "t", "w", "")], [Entry("t", "w", "loan", tablet, "{}", "{}")]
    )


def test_a_backup_of_a_database_in_use_comes_back(node, tmp_path, capsys):
    held, settings, state = node
    stop = threading.Event()

    def write():
        number = 0
        while not stop.wait(0.002):
            lose(held, f"T-{number}")
            number += 1

    lose(held, "T-before")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert main([*settings, "backup", str(tmp_path / "copy")]) == 0
    finally:
        stop.set()
        writer.join()
    lose(held, "T-after")
    held.close()
    assert main([*settings, "restore", str(tmp_path / "copy")]) == 0
    assert "the old one is" in capsys.readouterr().out
    back = GuardStore.open(state / "guard.db", NOW)
    loans = back.loans()
    assert "T-before" in loans
    assert "T-after" not in loans
    # Of one moment: a loan and its line are both there.
    assert back.last() == len(loans)
    back.close()
    assert store.aside(state / "guard.db") == []


def test_a_daemon_that_runs_and_a_damaged_copy_are_left_alone(node, tmp_path, capsys):
    _, settings, state = node
    copy = tmp_path / "copy"
    assert main([*settings, "backup", str(copy)]) == 0
    with files.lock(tmp_path / "run" / "guard.lock", "guard"):
        assert main([*settings, "restore", str(copy)]) == 2
    before = (state / "guard.db").read_bytes()
    data = bytearray((copy / "watch.db").read_bytes())
    data[4096:8192] = bytes(4096)
    (copy / "watch.db").write_bytes(data)
    assert main([*settings, "restore", str(copy)]) == 1
    assert "damaged" in capsys.readouterr().err
    assert (state / "guard.db").read_bytes() == before
    assert main([*settings, "restore", str(tmp_path / "nothing")]) == 2


def test_the_key_of_sealed_wi_fi_keys_stays_where_it_is_and_that_is_said(node, tmp_path, capsys):
    _, settings, state = node
    assert main([*settings, "backup", str(tmp_path / "copy")]) == 0
    assert "not copied" not in capsys.readouterr().err
    (state / "psk.key").write_text("secret")
    assert main([*settings, "backup", str(tmp_path / "copy")]) == 0
    assert f"{state}/psk.key: not copied" in capsys.readouterr().err
    assert {each.name for each in (tmp_path / "copy").iterdir()} == {"guard.db", "watch.db"}
