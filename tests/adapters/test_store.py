"""The databases of guard and watch: what is stored stays, what is damaged is never taken for empty."""

import itertools
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from netguard import __version__
from netguard.adapters import store
from netguard.adapters.store import GUARD, WATCH, Entry, GuardStore, Loan, WatchStore, database
from netguard.adapters.store import guard as guard_store
from netguard.adapters.store import watch as watch_store
from netguard.core.names import Mac
from netguard.core.records import Asked, Stranger, rejects
from netguard.core.sessions import Live
from netguard.errors import DamagedStore, NewerStore, StoreError

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
KINDS = pytest.mark.parametrize("kind", [GUARD, WATCH], ids=lambda kind: kind.name)
STOLEN = Loan("T-001", "stolen", "2026-11-22T03:00:00+00:00", "alice", "left the ward")
LINE = Entry("2026-11-22T03:00:00+00:00", "alice", "loan", "T-001", "{}", '{"state": "stolen"}')


def scripts(kind):
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    config.set_main_option("version_locations", str(database.MIGRATIONS / kind.name))
    config.set_main_option("path_separator", "newline")
    return config


def steps(kind):
    found = [s.revision for s in ScriptDirectory.from_config(scripts(kind)).walk_revisions()]
    return sorted(found)


def at_step(path, kind, step):
    """Make a database as the program of an earlier step would have left it."""
    engine = database._engine(path)
    config = scripts(kind)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, step)
        connection.exec_driver_sql(f"PRAGMA application_id = {kind.application}")
        connection.exec_driver_sql("INSERT INTO program VALUES (?, '0.0.9', 'x')", (step,))
    engine.dispose()


def opened(path, kind):
    engine = store.opened(path, kind, NOW)
    engine.dispose()


def rows(path, query):
    with sqlite3.connect(path) as connection:
        found = connection.execute(query).fetchall()
    connection.close()
    return found


# numbered steps


@KINDS
def test_the_newest_step_is_the_one_the_program_knows_and_the_steps_are_one_chain(kind):
    assert steps(kind) == [f"{n:04d}" for n in range(1, int(kind.head) + 1)]
    assert ScriptDirectory.from_config(scripts(kind)).get_heads() == [kind.head]


@KINDS
def test_the_steps_make_the_tables_that_the_program_asks(tmp_path, kind):
    opened(tmp_path / "a.db", kind)
    engine = database._engine(tmp_path / "a.db")
    wanted = guard_store.tables if kind is GUARD else watch_store.tables
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), wanted) == []
    engine.dispose()
    assert rows(tmp_path / "a.db", "SELECT step, version FROM program") == [
        (kind.head, __version__)
    ]


@KINDS
def test_a_database_of_each_earlier_step_is_brought_up_and_a_copy_kept(tmp_path, kind):
    for step in steps(kind)[:-1]:
        path = tmp_path / f"{step}.db"
        at_step(path, kind, step)
        if kind is GUARD:
            values = "VALUES ('t', 'alice', 'apply', 'rules', '{}', '{}')"
            with sqlite3.connect(path) as connection:
                connection.execute(
                    f"INSERT INTO audit (at, who, verb, subject, before, after) {values}"
                )
            connection.close()
        opened(path, kind)
        assert rows(path, "SELECT version_num FROM alembic_version") == [(kind.head,)]
        assert rows(path, "SELECT version FROM program ORDER BY step") == [
            ("0.0.9",),
            (__version__,),
        ]
        copy = tmp_path / f"{step}.db.before-{kind.head}"
        assert rows(copy, "SELECT version_num FROM alembic_version") == [(step,)]
        assert copy.stat().st_mode & 0o777 == 0o600
        if kind is GUARD:
            assert rows(path, "SELECT who FROM audit") == [("alice",)]


@KINDS
def test_a_newer_database_is_refused_with_3_and_names_the_version(tmp_path, kind):
    path = tmp_path / "a.db"
    opened(path, kind)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.execute("INSERT INTO program VALUES ('0099', '7.3.0', 'x')")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerStore, match=r"install netguard 7\.3\.0 or newer") as refused:
        store.opened(path, kind, NOW)
    assert refused.value.exit_code == 3
    assert path.read_bytes() == before
    # A copy is named after the step that was gone to: not always the next one, and not always the last.
    number = int(kind.head) + 2
    for each in (0, 2, 3):
        (tmp_path / f"a.db.before-{int(kind.head) + each:04d}").touch()
    with pytest.raises(NewerStore, match=rf"put .*a\.db\.before-{number:04d} back"):
        store.opened(path, kind, NOW)


def test_a_daemon_ends_with_3_before_a_newer_database(tmp_path):
    state = tmp_path / "state"
    path = state / "watch" / "watch.db"
    opened(path, WATCH)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.execute("INSERT INTO program VALUES ('0099', '7.3.0', 'x')")
    connection.close()
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        f"version: 1\nnode: n\nsites: [pellegrin]\npaths: {{state: {state}, run: {tmp_path}/run}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "netguard", "--settings", settings, "watch"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "install netguard 7.3.0 or newer" in done.stderr


# durability


@KINDS
def test_the_settings_of_durability_are_really_set(tmp_path, kind):
    engine = store.opened(tmp_path / "a.db", kind, NOW)
    with engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in (
                "journal_mode",
                "synchronous",
                "foreign_keys",
                "busy_timeout",
                "application_id",
                "trusted_schema",
            )
        }
    engine.dispose()
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 2000,
        "application_id": kind.application,
        "trusted_schema": 0,
    }
    assert (tmp_path / "a.db").stat().st_mode & 0o777 == 0o600


def test_a_commit_reaches_the_disk_before_it_is_said_to_be_stored(tmp_path):
    """Counted by the system calls of a writer, with strace (scripts/debian/test.txt)."""
    GuardStore.open(tmp_path / "guard.db", NOW).close()
    code = f"""
        from datetime import datetime, UTC
        from pathlib import Path
        from netguard.adapters.store import Entry, GuardStore
        import os
        held = GuardStore.open(Path({str(tmp_path / "guard.db")!r}), datetime.now(UTC))
        for n in range(5):
            os.write(1, b"before\\n")
            held.record(Entry("t", "w", "v", str(n), "{{}}", "{{}}"))
            os.write(1, b"after\\n")
    """
    trace = tmp_path / "trace"
    words = ["strace", "-f", "-o", trace, "-e", "trace=fdatasync,fsync,write"]
    subprocess.run(
        [*words, sys.executable, "-c", textwrap.dedent(code)],
        check=True,
        timeout=60,
        capture_output=True,
    )
    text = trace.read_text()
    for part in text.split('"before\\n"')[1:]:
        assert "sync(" in part.split('"after\\n"')[0]


WRITER = """
    import sys
    from datetime import datetime, UTC
    from pathlib import Path
    from netguard.adapters.store import Entry, GuardStore, Loan
    held = GuardStore.open(Path(sys.argv[1]), datetime.now(UTC))
    for n in range(int(sys.argv[2]), 100000):
        state = ("lost", "stolen", "retired")[n % 3]
        line = Entry("t", "w", "loan", f"T-{n}", "{}", state)
        held.set_loans([Loan(f"T-{n}", state, "t", "w", "")], [line])
        print(n, flush=True)
"""


def test_what_was_said_to_be_stored_survives_kill_9(tmp_path):
    path = tmp_path / "guard.db"
    acknowledged, dice = -1, random.Random(4)
    for _ in range(8):
        words = [sys.executable, "-c", textwrap.dedent(WRITER), path, str(acknowledged + 1)]
        writer = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        for _ in range(dice.randrange(1, 40)):
            acknowledged = int(writer.stdout.readline())
        writer.kill()
        rest, _ = writer.communicate(timeout=30)
        acknowledged = max([acknowledged, *(int(n) for n in rest.split("\n")[:-1])])
        held = GuardStore.open(path, NOW)
        loans = held.loans()
        assert all(f"T-{n}" in loans for n in range(acknowledged + 1))
        # A loan and its line of the audit are there together, or neither is.
        assert {e.subject for e in held.audit(datetime.min.replace(tzinfo=UTC))} == set(loans)
        acknowledged = len(loans) - 1
        held.close()


DYING = """
    import os, sys
    from datetime import datetime, UTC
    from pathlib import Path
    import sqlalchemy as sa
    from netguard.adapters import store
    left = int(sys.argv[2])
    @sa.event.listens_for(sa.engine.Engine, "after_cursor_execute")
    def _counted(*words):
        global left
        left -= 1
        if left == 0:
            os._exit(9)
    store.opened(Path(sys.argv[1]), getattr(store, sys.argv[3]), datetime.now(UTC))
"""


@KINDS
def test_ended_at_any_statement_of_an_upgrade_the_next_start_finishes_it(tmp_path, kind):
    """In one process here; `os._exit` in another one is tried at a few of the statements."""
    first = tmp_path / "first.db"
    at_step(first, kind, "0001")
    for start in ("nothing", "first"):
        for number in itertools.count(1, 7):
            path = tmp_path / f"{start}-{number}.db"
            if start == "first":
                shutil.copy(first, path)
            words = [textwrap.dedent(DYING), str(path), str(number), kind.name.upper()]
            done = subprocess.run(
                [sys.executable, "-c", *words], timeout=60, check=False, capture_output=True
            )
            assert done.returncode in {0, 9}, done.stderr
            opened(path, kind)
            assert rows(path, "SELECT version_num FROM alembic_version") == [(kind.head,)]
            assert not list(tmp_path.glob("*.damaged-*"))
            if done.returncode == 0:
                break


# damage


def spoil_empty(path):
    path.write_bytes(b"")


def spoil_cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_text(path):
    path.write_text("not a database\n" * 1000)


def spoil_zeros(path):
    data = bytearray(path.read_bytes())
    data[4096:8192] = bytes(4096)
    path.write_bytes(data)


def spoil_foreign(path):
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (x)")
    connection.close()


def spoil_step(path):
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = 'x'")
    connection.commit()
    connection.close()


DAMAGES = [spoil_empty, spoil_cut, spoil_text, spoil_zeros, spoil_foreign, spoil_step]


@KINDS
@pytest.mark.parametrize("spoil", DAMAGES)
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path, kind, spoil):
    path = tmp_path / "a.db"
    opened(path, kind)
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(DamagedStore, match=str(path)):
        store.opened(path, kind, NOW)
    assert path.read_bytes() == before


def spoil_half(path):
    """Write over half of each page but the first, in the file that is open."""
    with path.open("r+b") as file:
        for at in range(4096, path.stat().st_size, 4096):
            file.seek(at)
            file.write(b"\xff" * 2048)


def spoil_all(path):
    os.truncate(path, 0)


def spoil_away(path):
    path.unlink()


@pytest.mark.parametrize("kind", [GuardStore, WatchStore], ids=lambda kind: kind.kind.name)
@pytest.mark.parametrize("spoil", [spoil_half, spoil_all, spoil_away])
def test_a_file_that_goes_bad_while_it_is_open_is_noticed(tmp_path, kind, spoil):
    """SQLite remembers the pages it has read: judged by them a file of rubbish was sound, day after day."""
    path = tmp_path / "a.db"
    held = kind.open(path, NOW)
    held.check()
    # What is in the log beside it would hide the file.
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    held.check()
    spoil(path)
    with pytest.raises(DamagedStore, match=str(path)):
        held.check()
    if spoil is spoil_away:
        # Written anew, and what is stored from now on is stored there.
        held.check()
    held.close()


@pytest.mark.parametrize("kind", [GuardStore, WatchStore], ids=lambda kind: kind.kind.name)
def test_a_file_that_cannot_be_looked_at_is_not_taken_for_gone(tmp_path, kind):
    """Then a sound one would be made anew; what else is wrong with its folder was no StoreError at all."""
    folder = tmp_path / "state"
    folder.mkdir()
    held = kind.open(folder / "a.db", NOW)
    folder.rename(tmp_path / "away")
    folder.symlink_to(folder)
    with pytest.raises(StoreError) as caught:
        held.check()
    assert not isinstance(caught.value, DamagedStore)
    folder.unlink()
    (tmp_path / "away").rename(folder)
    held.check()
    held.close()


def test_the_database_of_the_other_daemon_is_not_taken_for_ours(tmp_path):
    opened(tmp_path / "a.db", WATCH)
    with pytest.raises(DamagedStore, match=r"not netguard's guard\.db"):
        store.opened(tmp_path / "a.db", GUARD, NOW)


def test_what_is_put_aside_keeps_its_content_and_gets_a_name_of_its_own(tmp_path):
    path = tmp_path / "guard.db"
    for number in (1, 2):
        path.write_text(f"damaged {number}")
        (tmp_path / "guard.db-wal").write_text("its log")
        moved = store.put_aside(path)
        assert moved == tmp_path / f"guard.db.damaged-{number}"
        assert moved.read_text() == f"damaged {number}"
        assert (tmp_path / f"guard.db.damaged-{number}-wal").exists()
    assert not path.exists()
    assert store.aside(path) == [tmp_path / f"guard.db.damaged-{n}" for n in (1, 2)]


def test_no_flipped_bit_changes_who_is_refused(tmp_path):
    path = tmp_path / "guard.db"
    held = GuardStore.open(path, NOW)
    loans = [Loan(f"T-{n:03d}", s, "t", "w", "") for n, s in enumerate(["stolen", "lent"] * 20)]
    held.set_loans(loans, [LINE] * 20)
    wanted = {loan.tablet: loan.state for loan in loans}
    held.close()
    sound, seed = path.read_bytes(), random.SystemRandom().randrange(2**32)
    dice = random.Random(seed)
    for _ in range(400):
        at, bit = dice.randrange(len(sound)), 1 << dice.randrange(8)
        spoiled = tmp_path / "spoiled.db"
        spoiled.write_bytes(sound[:at] + bytes([sound[at] ^ bit]) + sound[at + 1 :])
        try:
            held = GuardStore.open(spoiled, NOW)
        except StoreError:
            continue
        found = {tablet: loan.state for tablet, loan in held.loans().items()}
        held.close()
        for suffix in ("-wal", "-shm"):
            spoiled.with_name(spoiled.name + suffix).unlink(missing_ok=True)
        assert found == wanted, f"seed {seed}, byte {at}, bit {bit}"


# faults from outside

FULL = """
    import json, subprocess, sys
    from datetime import datetime, UTC
    from pathlib import Path
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", sys.argv[1]], check=True)
    from netguard.adapters.store import Entry, GuardStore, Loan
    from netguard.errors import StoreError
    path = Path(sys.argv[1]) / "guard.db"
    held = GuardStore.open(path, datetime.now(UTC))
    stored, why = 0, ""
    try:
        while True:
            line = Entry("t", "w", "loan", f"T-{stored}", "{}", "x" * 500)
            held.set_loans([Loan(f"T-{stored}", "lost", "t", "w", "n" * 500)], [line])
            stored += 1
    except StoreError as error:
        why = str(error)
    held.close()
    held = GuardStore.open(path, datetime.now(UTC))
    print(json.dumps([stored, len(held.loans()), held.last(), why]))
"""


@pytest.mark.usefixtures("root")
def test_on_a_full_disk_nothing_is_half_stored_and_nothing_lost(tmp_path):
    words = ["unshare", "--mount", sys.executable, "-c", textwrap.dedent(FULL), tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    stored, loans, lines, why = json.loads(done.stdout)
    assert stored > 10
    assert loans == lines == stored
    assert "the disk is full, free some space" in why
    assert "nothing was stored" in why


def test_while_another_program_writes_it_waits_and_then_says_who_is_to_blame(tmp_path):
    path = tmp_path / "guard.db"
    held = GuardStore.open(path, NOW)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="another program holds it"):
        held.record(LINE)
    assert held.last() == 0, "reading goes on meanwhile"
    threading.Timer(0.3, other.execute, ["COMMIT"]).start()
    held.record(LINE)
    assert held.last() == 1
    held.close()
    other.close()


def test_two_writers_lose_nothing(tmp_path):
    path = tmp_path / "guard.db"
    stores = [GuardStore.open(path, NOW) for _ in range(2)]

    def write(which):
        for number in range(50):
            loan = Loan(f"T-{which}-{number}", "lost", "t", "w", "")
            stores[which].set_loans([loan], [LINE])

    threads = [threading.Thread(target=write, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(stores[0].loans()) == len(stores[1].loans()) == stores[0].last() == 100
    for each in stores:
        each.close()


def test_a_file_that_cannot_be_opened_is_no_damage_and_says_what_to_look_at(tmp_path):
    (tmp_path / "guard.db").mkdir()
    with pytest.raises(StoreError, match="it is a folder") as refused:
        GuardStore.open(tmp_path / "guard.db", NOW)
    assert not isinstance(refused.value, DamagedStore)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="nothing was stored"):
        GuardStore.open(tmp_path / "file" / "guard.db", NOW)


# guard


@pytest.fixture
def guard(tmp_path):
    held = GuardStore.open(tmp_path / "guard.db", NOW)
    yield held
    held.close()


def test_a_loan_is_what_was_said_last(guard):
    guard.set_loans([STOLEN], [LINE])
    assert guard.loans() == {"T-001": STOLEN}
    back = Loan("T-001", "stock", "2026-11-23T03:00:00+00:00", "bob", "")
    guard.set_loans([back], [])
    assert guard.loans() == {"T-001": back}


def test_a_loan_of_before_there_were_ends_has_none_and_keeps_when_it_began(tmp_path):
    path = tmp_path / "guard.db"
    at_step(path, GUARD, "0006")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO loan VALUES ('T-001', 'lent', '2026-11-01T08:00:00+00:00', 'a', 'n')"
        )
    connection.close()
    held = GuardStore.open(path, NOW)
    old = Loan("T-001", "lent", "2026-11-01T08:00:00+00:00", "a", "n", "")
    assert held.loans() == {"T-001": old}
    ends = Loan("T-001", "lent", old.at, "a", "n", "2026-12-01T08:00:00+00:00")
    held.set_loans([ends], [LINE])
    held.close()
    again = GuardStore.open(path, NOW)
    assert again.loans() == {"T-001": ends}
    again.close()
    copy = tmp_path / "guard.db.before-0007"
    assert rows(copy, "SELECT * FROM loan") == [("T-001", "lent", old.at, "a", "n")]


def test_an_unknown_state_is_refused_and_its_line_with_it(guard):
    with pytest.raises(StoreError, match="CHECK constraint"):
        guard.set_loans([Loan("T-001", "mislaid", "t", "w", "")], [LINE])
    assert (guard.loans(), guard.last()) == ({}, 0)


def test_the_audit_only_grows(guard, tmp_path):
    guard.record(LINE)
    for statement in ("DELETE FROM audit", "UPDATE audit SET who = 'nobody'"):
        connection = sqlite3.connect(tmp_path / "guard.db")
        with pytest.raises(sqlite3.IntegrityError, match="the audit only grows"):
            connection.execute(statement)
        connection.close()
    assert guard.audit(NOW - timedelta(days=1)) == [LINE]


def test_lines_that_the_rules_no_longer_keep_go_and_the_newest_stays(guard):
    """Its number is what a note beside the store is compared with."""
    for hours in (-3, -2, -1):
        at = (NOW + timedelta(hours=hours)).isoformat(timespec="seconds")
        guard.record(Entry(at, "w", "loan", "T-001", "{}", "{}"))
    assert guard.forget_audit(NOW - timedelta(hours=2)) == 1
    assert len(guard.audit(NOW - timedelta(days=1))) == 2
    assert guard.forget_audit(NOW) == 1
    assert guard.last() == 3


def test_the_audit_is_asked_by_moment_and_subject_newest_first(guard):
    def entry(hours, subject):
        at = (NOW + timedelta(hours=hours)).isoformat(timespec="seconds")
        return Entry(at, "w", "loan", subject, "{}", "{}")

    lines = [entry(n, f"T-{n % 2}") for n in range(6)]
    for line in lines:
        guard.record(line)
    assert guard.audit(NOW + timedelta(hours=3)) == lines[:2:-1]
    assert guard.audit(NOW, "T-1") == [lines[5], lines[3], lines[1]]
    assert guard.last() == 6


# watch


@pytest.fixture
def watch(tmp_path):
    held = WatchStore.open(tmp_path / "watch.db", NOW)
    yield held
    held.close()


def stranger(n=1, minutes=0, **changes):
    at = NOW + timedelta(minutes=minutes)
    fields = {
        "mac": Mac.parse(f"{0x3C286D000000 + n:012x}"),
        "site": "pellegrin",
        "nas": "wlc-1",
        "ap": "AP-1",
        "ssid": "CHU",
        "reason": "unknown-mac",
        "first_at": at,
        "last_at": at,
        "count": 1,
    }
    return Stranger(**{**fields, **changes})


def asked(n=1, minutes=0, answer="accept", rule="patients/admit"):
    mac = Mac.parse(f"{0x3C286D000000 + n:012x}")
    at = NOW + timedelta(minutes=minutes)
    return Asked(at, mac, "pellegrin", "wlc-1", "AP-1", "CHU", answer, rule, "640")


LONG_AGO = NOW - timedelta(days=365)


def test_a_feed_that_was_read_once_is_not_new_also_without_files(watch):
    assert watch.positions("radius") is None
    watch.take("radius", {})
    assert watch.positions("radius") == {}
    assert watch.positions("dns") is None


def test_positions_move_and_gone_files_are_forgotten(watch):
    watch.take("radius", {"a": (1, 10), "b": (2, 0)})
    watch.take("radius", {"b": (2, 99)}, gone=["a"])
    assert watch.positions("radius") == {"b": (2, 99)}


def test_what_was_read_and_how_far_are_stored_together_or_not_at_all(watch):
    watch.take("radius", {"a": (1, 10)}, strangers=[stranger(1)])
    broken = stranger(2, count=None)
    with pytest.raises(StoreError):
        watch.take("radius", {"a": (1, 20)}, strangers=[stranger(1), broken])
    assert watch.positions("radius") == {"a": (1, 10)}
    assert [each.count for each in watch.strangers(LONG_AGO)] == [1]


def test_a_stranger_adds_up_and_keeps_its_latest_place(watch):
    watch.take("radius", {}, strangers=[stranger(1, 5, ap="AP-5", count=3)])
    watch.take("radius", {}, strangers=[stranger(1, 2, ap="AP-2", count=2)])
    found = stranger(1, 5, ap="AP-5", count=5, first_at=NOW + timedelta(minutes=2))
    assert watch.strangers(LONG_AGO) == [found]
    watch.take("radius", {}, strangers=[stranger(1, 9, ap="AP-9", reason="private-mac")])
    assert [(s.ap, s.reason, s.count) for s in watch.strangers(LONG_AGO)] == [
        ("AP-9", "private-mac", 6)
    ]


def test_strangers_are_listed_since_a_moment_the_latest_first(watch):
    watch.take("radius", {}, strangers=[stranger(n, n) for n in range(5)])
    assert watch.strangers(NOW + timedelta(minutes=2)) == [stranger(n, n) for n in (4, 3, 2)]
    assert watch.count_strangers() == 5


def test_a_tablet_that_was_entered_is_no_stranger_any_more(watch):
    watch.take("radius", {}, strangers=[stranger(1), stranger(2)])
    watch.take("radius", {}, asked=[asked(1)])
    assert watch.strangers(LONG_AGO) == [stranger(2)]


def test_the_last_answer_is_kept_and_a_late_record_is_no_news(watch):
    assert watch.last_asked(asked().mac) is None
    watch.take("radius", {}, asked=[asked(1, 5, "reject", "loan/stolen")])
    watch.take("radius", {}, asked=[asked(1, 2)])
    assert watch.last_asked(asked().mac) == asked(1, 5, "reject", "loan/stolen")
    watch.take("radius", {}, asked=[asked(1, 9)])
    assert watch.last_asked(asked().mac).answer == "accept"


def test_a_flood_of_made_up_addresses_pushes_out_the_oldest_only(watch, monkeypatch):
    monkeypatch.setattr(watch_store, "MAX_STRANGERS", 100)
    monkeypatch.setattr(watch_store, "MAX_ADMISSIONS", 50)
    for start in range(0, 500, 50):
        watch.take(
            "radius",
            {},
            strangers=[stranger(n, n) for n in range(start, start + 50)],
            asked=[asked(1000 + n, n) for n in range(start, start + 50)],
        )
    assert [s.mac for s in watch.strangers(LONG_AGO)] == [
        stranger(n).mac for n in range(499, 399, -1)
    ]
    assert watch.last_asked(asked(1449).mac) is None
    assert watch.last_asked(asked(1450).mac) is not None


def test_rejects_are_counted_by_place_and_rule_and_go_with_old_incidents(watch, monkeypatch):
    def met(*rows):
        watch.take("radius", {}, rejects=rejects(rows))

    met(asked(1, 5, "reject", "loan/stolen"), asked(1, 2, "reject", "loan/stolen"), asked(1, 3))
    met(asked(1, 9, "reject", "loan/stolen"), asked(2, 1, "reject", "other-network"))
    met(asked(3, 1, "reject", "unknown-mac"))
    first, second = watch.rejects(LONG_AGO)
    assert (first.rule, first.count) == ("loan/stolen", 3)
    assert (first.first_at, first.last_at) == (
        NOW + timedelta(minutes=2),
        NOW + timedelta(minutes=9),
    )
    assert watch.rejects(LONG_AGO, asked(2).mac) == [second]
    assert watch.rejects(NOW + timedelta(minutes=4)) == [first]
    watch.forget(0.0, (NOW + timedelta(minutes=4)).timestamp())
    assert watch.rejects(LONG_AGO) == [first]
    monkeypatch.setattr(watch_store, "MAX_REJECTS", 10)
    met(*(asked(10 + n, 20 + n, "reject", "loan/lost") for n in range(50)))
    assert len(watch.rejects(LONG_AGO)) == 10


def test_the_bound_is_the_one_that_was_promised():
    assert watch_store.MAX_STRANGERS == 10_000


def test_the_name_of_a_folder_does_not_matter(tmp_path):
    path = tmp_path / "a %(here)s ü;b" / "guard.db"
    held = GuardStore.open(path, NOW)
    held.record(LINE)
    held.close()
    assert Path(path).exists()


def test_when_a_session_began_is_kept_whatever_is_heard_of_it_later(tmp_path):
    """A key that was rotated since is an old one to it."""
    mac = Mac.parse("3c:28:6d:aa:01:10")
    held = WatchStore.open(tmp_path / "watch.db", NOW)
    begun = Live("wlc-1", str(mac), "1", 100.0, "s", "AP-1", "", "", "", "", since=90.0)
    later = replace(begun, at=400.0, since=0.0)
    for live in (begun, later):
        held.take("radius", {}, sessions={live.key: live})
    assert held.sessions(mac) == [replace(later, since=90.0)]
    held.take("radius", {}, sessions={begun.key: None})
    held.take("radius", {}, sessions={later.key: later})
    assert held.sessions(mac) == [later]
    held.close()


def test_what_a_log_is_read_again_for_is_kept_with_its_place_until_that_is_over(tmp_path):
    held = WatchStore.open(tmp_path / "watch.db", NOW)
    assert held.read_again("radius") == 0
    held.take("radius", {"a": (1, 10), **store.reading_again(1000.7)})
    # What else is stored meanwhile says nothing of it.
    held.take("radius", {"a": (1, 20)})
    held.take("radius", {})
    assert (held.read_again("radius"), held.positions("radius")) == (1000.0, {"a": (1, 20)})
    held.take("radius", store.reading_again(0))
    assert (held.read_again("radius"), held.read_again("dns")) == (0, 0)
    assert held.positions("radius") == {"a": (1, 20)}
    assert held.positions("dns") is None
    held.close()
