"""Who is refused stays refused, whatever becomes of the files; nobody is refused by a rumour."""

import json
import shutil
import sqlite3
from datetime import UTC, datetime

import pytest

from netguard.adapters.store import Entry, Loan, Quarantine
from netguard.daemon.register import Register
from netguard.errors import NewerStore, StoreError

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
AT = NOW.isoformat()


HELD = []


@pytest.fixture(autouse=True)
def closed():
    """Close every register that a test has opened: Python 3.13 complains of one that is not."""
    yield
    while HELD:
        HELD.pop().close()


def opened(state):
    register = Register(state)
    HELD.append(register)
    register.open(NOW)
    return register


def say(register, tablet, state):
    register.change(
        Loan(tablet, state, AT, "alice", ""), Entry(AT, "alice", "loan", tablet, "{}", "{}")
    )


@pytest.fixture
def state(tmp_path):
    """A state folder in which T-001 is stolen, T-002 lent and T-003 was lost and found."""
    register = opened(tmp_path)
    assert (register.loans, register.problem, register.is_open) == ({}, "", True)
    for tablet, word in (
        ("T-001", "stolen"), ("T-002", "lent"), ("T-003", "lost"), ("T-003", "stock"),
    ):  # fmt: skip
        say(register, tablet, word)
    register.close()
    return tmp_path


def test_what_was_said_is_there_after_a_start(state):
    register = opened(state)
    assert register.loans == {"T-001": "stolen", "T-002": "lent", "T-003": "stock"}
    assert register.problem == ""
    assert len(register.audit(datetime.min.replace(tzinfo=UTC), "")) == 4


@pytest.mark.parametrize("damage", [b"", b"rubbish" * 999, None])
def test_a_lost_store_is_made_anew_and_refuses_whom_it_refused(state, damage):
    file = state / "guard.db"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    register = opened(state)
    assert register.is_open
    assert register.loans == {"T-001": "stolen"}
    verbs = [
        (e.verb, e.subject, e.who) for e in register.audit(datetime.min.replace(tzinfo=UTC), "")
    ]
    assert verbs == [("restored", "guard.db", "guard"), ("restored", "T-001", "guard")]
    if damage is None:
        return
    # Said until a person has looked at it and taken the damaged file away.
    moved = state / "guard.db.damaged-1"
    assert moved.read_bytes() == damage
    assert f"then remove {moved}" in register.problem
    said = register.problem
    register.close()
    assert opened(state).problem == said
    moved.unlink()
    assert opened(state).problem == ""
    assert opened(state).loans == {"T-001": "stolen"}


def test_a_store_that_goes_bad_meanwhile_is_made_anew_the_same_day(state):
    register = opened(state)
    assert not register.is_damaged()
    with sqlite3.connect(state / "guard.db") as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    with (state / "guard.db").open("r+b") as file:
        for at in range(4096, (state / "guard.db").stat().st_size, 4096):
            file.seek(at)
            file.write(b"\xff" * 2048)
    assert register.is_damaged()
    register.open_anew(NOW)
    assert register.loans == {"T-001": "stolen"}
    assert "was damaged and was made anew from refused.json" in register.problem
    assert (state / "guard.db.damaged-1").exists()
    say(register, "T-002", "lost")
    register.close()
    assert opened(state).loans == {"T-001": "stolen", "T-002": "lost"}


@pytest.mark.parametrize("with_its_log", [True, False])
def test_a_store_that_somebody_deletes_is_written_anew_with_all_that_was_open(state, with_its_log):
    """Not only who is refused: what is lent, and the audit, are in no note."""
    register = opened(state)
    say(register, "T-002", "lent")
    before = register.audit(datetime.fromtimestamp(0, UTC), "")
    for suffix in ("", "-wal", "-shm") if with_its_log else ("",):
        (state / f"guard.db{suffix}").unlink(missing_ok=True)
    assert register.is_damaged()
    # What somebody says before it is opened anew is not said to a file that is gone.
    say(register, "T-004", "lent")
    register.open_anew(NOW)
    assert register.problem == ""
    assert register.loans == {"T-001": "stolen", "T-002": "lent", "T-003": "stock", "T-004": "lent"}
    after = register.audit(datetime.fromtimestamp(0, UTC), "")
    assert len(after) == len(before) + 1
    assert all(line in after for line in before)
    assert not register.is_damaged()
    say(register, "T-003", "lent")
    register.close()
    assert opened(state).loans["T-003"] == "lent"


def test_a_store_from_a_backup_opens_nobody_who_was_refused_since(state):
    shutil.copy(state / "guard.db", state / "backup")
    register = opened(state)
    say(register, "T-009", "stolen")
    say(register, "T-001", "stock")
    register.close()
    shutil.copy(state / "backup", state / "guard.db")
    # Newer lines of the audit are gone with the newer file: the note knows, and both are refused.
    assert opened(state).loans == {
        "T-001": "stolen", "T-002": "lent", "T-003": "stock", "T-009": "stolen",
    }  # fmt: skip


def test_with_store_and_note_both_gone_nobody_is_taken_for_harmless(state):
    (state / "guard.db").write_bytes(b"rubbish" * 999)
    (state / "refused.json").write_text("rubbish")
    for _ in range(2):
        register = opened(state)
        assert register.loans is None
        assert not register.is_open
        assert "Nobody knows who is refused" in register.problem
        assert f"put a sound copy back as {state}/guard.db" in register.problem
        with pytest.raises(StoreError, match="Nobody knows"):
            say(register, "T-005", "lost")
    (state / "guard.db.damaged-1").unlink()
    (state / "refused.json").unlink()
    assert opened(state).loans == {}, "a person has decided to begin anew"


def test_an_altered_note_is_no_note(state):
    body = json.loads((state / "refused.json").read_text())
    body["refused"] = {}
    (state / "refused.json").write_text(json.dumps(body))
    (state / "guard.db").write_bytes(b"")
    assert opened(state).loans is None


def test_a_sound_store_needs_no_note_and_writes_it_anew(state):
    (state / "refused.json").unlink()
    assert opened(state).loans["T-001"] == "stolen"
    assert json.loads((state / "refused.json").read_text())["refused"] == {"T-001": "stolen"}


def test_a_store_that_cannot_be_opened_for_now_keeps_who_is_refused_and_comes_back(state):
    (state / "guard.db").rename(state / "away")
    (state / "guard.db").mkdir()
    register = opened(state)
    assert register.loans == {"T-001": "stolen"}
    assert "Who was refused stays refused (1)" in register.problem
    with pytest.raises(StoreError):
        say(register, "T-001", "stock")
    say(register, "T-005", "lost")
    assert register.loans == {"T-001": "stolen", "T-005": "lost"}
    (state / "guard.db").rmdir()
    (state / "away").rename(state / "guard.db")
    register.open(NOW)
    register.catch_up()
    assert register.problem == ""
    lent = {"T-002": "lent", "T-003": "stock"}
    assert register.loans == {"T-001": "stolen", "T-005": "lost", **lent}


def test_a_note_that_cannot_be_written_does_not_undo_what_is_stored(state):
    (state / "refused.json").unlink()
    (state / "refused.json").mkdir()
    register = opened(state)
    say(register, "T-007", "stolen")
    assert register.loans["T-007"] == "stolen"
    assert register.problem == ""


def test_a_first_start_that_cannot_store_refuses_nobody_and_changes_nothing(tmp_path):
    (tmp_path / "state").touch()
    register = opened(tmp_path / "state")
    assert register.loans == {}
    assert not register.is_open
    assert "no rules can be changed" in register.problem


def test_a_newer_store_ends_the_daemon(state):
    import sqlite3

    with sqlite3.connect(state / "guard.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
    connection.close()
    with pytest.raises(NewerStore):
        opened(state)


def test_a_refusal_that_cannot_be_stored_is_in_force_and_is_stored_later(state):
    register = opened(state)
    other = sqlite3.connect(state / "guard.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        say(register, "T-002", "stolen")
        assert register.loans is not None
        assert register.loans["T-002"] == register.details["T-002"].state == "stolen"
        assert "T-002 stolen" in register.problem
        assert "another program holds it" in register.problem
        with pytest.raises(StoreError):
            say(register, "T-001", "stock")
        with pytest.raises(StoreError):
            register.catch_up()
        assert register.loans == {"T-001": "stolen", "T-002": "stolen", "T-003": "stock"}
    finally:
        other.execute("ROLLBACK")
        other.close()
    register.catch_up()
    assert register.problem == ""
    register.close()
    again = opened(state)
    assert again.loans == {"T-001": "stolen", "T-002": "stolen", "T-003": "stock"}
    lines = again.audit(datetime.min.replace(tzinfo=UTC), "T-002")
    assert len(lines) == 2


def test_while_nobody_knows_who_is_refused_nobody_is_marked(tmp_path):
    (tmp_path / "guard.db.damaged-1").write_bytes(b"")
    register = opened(tmp_path)
    assert register.loans is None
    with pytest.raises(StoreError):
        say(register, "T-001", "stolen")


def put_apart(register, tablet):
    row = Quarantine(tablet, AT, "alice", "spam", "", "")
    register.quarantine(row, Entry(AT, "alice", "quarantine", tablet, "{}", "{}"))


def test_who_is_in_quarantine_stays_so_whatever_becomes_of_the_store(state):
    register = opened(state)
    put_apart(register, "T-002")
    assert register.effective == {"T-001": "stolen", "T-002": "quarantined", "T-003": "stock"}
    assert register.loans["T-002"] == "lent"
    register.close()
    (state / "guard.db").write_bytes(b"")
    again = opened(state)
    assert again.effective == {"T-001": "stolen", "T-002": "quarantined"}
    assert again.quarantines["T-002"].why == "spam"
    again.close()
    (state / "guard.db").unlink()
    (state / "guard.db").mkdir()
    without = opened(state)
    assert without.effective == {"T-001": "stolen", "T-002": "quarantined"}
    assert "stays refused (2)" in without.problem


def test_a_quarantine_holds_also_where_it_cannot_be_stored_and_a_release_does_not(state):
    register = opened(state)
    register.close()
    put_apart(register, "T-002")
    assert register.effective["T-002"] == "quarantined"
    assert "T-002 quarantined" in register.problem
    with pytest.raises(StoreError):
        register.release("T-002", Entry(AT, "alice", "release", "T-002", "{}", "{}"))
    assert register.effective["T-002"] == "quarantined"
    register.open(NOW)
    register.catch_up()
    assert register.problem == ""
    assert opened(state).effective["T-002"] == "quarantined"
    register.release("T-002", Entry(AT, "alice", "release", "T-002", "{}", "{}"))
    assert register.effective["T-002"] == "lent"


def test_without_anything_that_says_who_is_refused_nobody_is_put_apart(tmp_path):
    register = opened(tmp_path)
    register.close()
    register.loans = None
    with pytest.raises(StoreError):
        put_apart(register, "T-001")
