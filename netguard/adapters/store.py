"""What our daemons must not forget: one SQLite file each, and the numbered steps that made it.

guard.db holds what people decided (loans, audit), watch.db what was seen (docs/adr/0005). What is
said to be stored survives kill -9 and a power cut: WAL, synchronous=FULL, one transaction for what
belongs together. Must not decide anything, nor read a clock: moments come in.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from netguard import __version__
from netguard.core.names import Mac, shown
from netguard.core.records import Asked, Stranger
from netguard.errors import DamagedStore, NewerStore, StoreError

MIGRATIONS = Path(__file__).with_name("migrations")
# A backup may hold the file for a moment; longer than this nobody should wait for an answer.
PATIENCE = 2.0
MAX_STRANGERS = 10_000
MAX_ADMISSIONS = 20_000
MAX_ENTRIES = 10_000

_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)


class Kind(NamedTuple):
    """One of our two databases: its name, the number in its header, the newest step we know."""

    name: str
    application: int
    head: str


GUARD = Kind("guard", 0x4E474731, "0002")
WATCH = Kind("watch", 0x4E475731, "0002")

# The shape after the newest step; a test compares it with what the steps make.
guard_tables = sa.MetaData()
watch_tables = sa.MetaData()


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String, nullable=False) for name in names]


for _tables in (guard_tables, watch_tables):
    sa.Table(
        "program", _tables, sa.Column("step", sa.String, primary_key=True), *_texts("version", "at")
    )
_audit = sa.Table(
    "audit",
    guard_tables,
    sa.Column("id", sa.Integer, primary_key=True),
    *_texts("at", "who", "verb", "subject", "before", "after"),
    sa.Index("audit_at", "at"),
)
_loan = sa.Table(
    "loan",
    guard_tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *_texts("state", "at", "who", "note"),
)
_checkpoint = sa.Table(
    "checkpoint",
    watch_tables,
    sa.Column("feed", sa.String, primary_key=True),
    sa.Column("file", sa.String, primary_key=True),
    sa.Column("inode", sa.Integer, nullable=False),
    sa.Column("offset", sa.Integer, nullable=False),
)
_unknown = sa.Table(
    "unknown",
    watch_tables,
    sa.Column("mac", sa.String, primary_key=True),
    *_texts("site", "nas", "ap", "ssid", "reason", "first_at", "last_at"),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("unknown_last_at", "last_at"),
)
_admission = sa.Table(
    "admission",
    watch_tables,
    sa.Column("mac", sa.String, primary_key=True),
    *_texts("at", "site", "nas", "ap", "ssid", "answer", "rule", "vlan"),
    sa.Index("admission_at", "at"),
)


@dataclass(frozen=True, slots=True)
class Loan:
    """What a person said about one tablet, and when."""

    tablet: str
    state: str
    at: str
    who: str
    note: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit: who did what to what, and how it was before and after."""

    at: str
    who: str
    verb: str
    subject: str
    before: str
    after: str


# opening


class Store:
    """One open database; its calls may come from any thread, one at a time."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        with self._lock, _said(self._path), self._engine.connect() as plain:
            connection = plain.execution_options(begin=begin)
            with connection.begin():
                yield connection

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._transaction("BEGIN")

    def _writing(self) -> AbstractContextManager[Connection]:
        # The right to write is taken at once: a reader that wants to write later can be refused.
        return self._transaction("BEGIN IMMEDIATE")


def opened(path: Path, kind: Kind, at: datetime) -> Engine:
    """Open a database, make it where it is missing, bring an older one up to this program.

    Raises NewerStore, DamagedStore (then the file is untouched, see `put_aside`), or StoreError.
    """
    with _said(path):
        if not path.exists():
            _create(path, kind, at)
        _judge_header(path, kind)
        engine = _engine(path)
        try:
            step = _judged(engine, path, kind)
            if step != kind.head:
                _keep_copy(engine, path, kind)
                _upgrade(engine, kind, at)
        except BaseException:
            engine.dispose()
            raise
        return engine


def put_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it; returns its new name."""
    number = len(aside(path)) + 1
    while (new := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(new.with_name(new.name + suffix))
    _sync(path.parent)
    return new


def aside(path: Path) -> list[Path]:
    """Return the damaged files that lie beside a database."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(p for p in found if not p.name.endswith(("-wal", "-shm")))


def _engine(path: Path) -> Engine:
    # One connection, handed from thread to thread under the store's lock.
    engine = sa.create_engine(
        f"sqlite:///{path}",
        poolclass=StaticPool,
        connect_args={"check_same_thread": False, "timeout": PATIENCE},
    )

    # Python's sqlite3 begins and ends transactions by guessing, and not around CREATE TABLE: it is
    # told to leave that to us.
    @sa.event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, record: object) -> None:
        connection.isolation_level = None
        for setting in _SETTINGS:
            connection.execute(setting).close()

    @sa.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        begin = connection.get_execution_options().get("begin", "BEGIN")
        if begin:
            connection.exec_driver_sql(begin)

    return engine


def _judge_header(path: Path, kind: Kind) -> None:
    """Look at a file before SQLite does: it calls an empty one sound, and writes into any other."""
    with path.open("rb") as file:
        header = file.read(72)
    if not header:
        raise DamagedStore(f"{path} is empty (0 bytes)")
    # https://sqlite.org/fileformat.html: the magic text, and at byte 68 whose file it is.
    if header[:16] != b"SQLite format 3\0" or header[68:] != kind.application.to_bytes(4, "big"):
        raise DamagedStore(f"{path} is not netguard's {kind.name}.db")


def _judged(engine: Engine, path: Path, kind: Kind) -> str:
    """Return the step a database is at, once it is known to be sound and ours."""
    with engine.connect() as connection:
        faults = connection.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
        if faults != ["ok"]:
            raise DamagedStore(f"{path} is damaged: {'; '.join(map(str, faults))[:300]}")
        steps = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
        step = str(next(iter(steps), ""))
        if not (step.isascii() and step.isdecimal()):
            raise DamagedStore(f"{path} is damaged: {shown(step)} is not the number of a step")
        if int(step) > int(kind.head):
            raise NewerStore(_newer(connection, path, kind, step))
    return step


def _newer(connection: Connection, path: Path, kind: Kind, step: str) -> str:
    rows = connection.exec_driver_sql("SELECT version FROM program ORDER BY step DESC LIMIT 1")
    version = shown(str(rows.scalar()))[1:-1]
    copy = path.with_name(f"{path.name}.before-{int(kind.head) + 1:04d}")
    back = f", or stop all of netguard and put {copy} back" if copy.exists() else ""
    return (
        f"{path} was written by netguard {version} (step {step}), this is {__version__} and knows "
        f"step {kind.head}: install netguard {version} or newer{back}; the kernel and FreeRADIUS "
        "keep what they have"
    )


def _create(path: Path, kind: Kind, at: datetime) -> None:
    """Make a database beside its place and move it there: it is never seen empty or half made."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        new.with_name(new.name + suffix).unlink(missing_ok=True)
    # Left over from a file that is gone: SQLite would read them into the new one.
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    _touch(new)
    engine = _engine(new)
    try:
        _upgrade(engine, kind, at)
    finally:
        engine.dispose()
    _sync(new)
    new.rename(path)
    _sync(path.parent)


def _upgrade(engine: Engine, kind: Kind, at: datetime) -> None:
    """Run the missing steps, all in one transaction."""
    # Only here: they cost a third of a second and some megabytes, and are seldom needed.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    for key, value in {
        "script_location": str(MIGRATIONS),
        "version_locations": str(MIGRATIONS / kind.name),
        "path_separator": "newline",
    }.items():
        config.set_main_option(key, value.replace("%", "%%"))
    with engine.connect() as plain:
        connection = plain.execution_options(begin="BEGIN IMMEDIATE")
        with connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, kind.head)
            connection.exec_driver_sql(f"PRAGMA application_id = {kind.application}")
            connection.exec_driver_sql(
                "INSERT INTO program (step, version, at) VALUES (?, ?, ?)",
                (kind.head, __version__, _text(at)),
            )


def _keep_copy(engine: Engine, path: Path, kind: Kind) -> None:
    """Keep the database as it was, for whoever has to go back to the older program."""
    copy = path.with_name(f"{path.name}.before-{kind.head}")
    beside = copy.with_name(f".{copy.name}.new")
    beside.unlink(missing_ok=True)
    _touch(beside)
    with engine.connect() as plain:
        # Outside of a transaction, as VACUUM wants it.
        connection = plain.execution_options(begin="")
        connection.exec_driver_sql("VACUUM INTO ?", (str(beside),))
    _sync(beside)
    beside.rename(copy)
    _sync(path.parent)


def _touch(path: Path) -> None:
    # Notes and names of people are for us alone.
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into what an engineer can act on."""
    try:
        yield
    except sa.exc.DBAPIError as error:
        raise _error(path, error.orig or error) from error
    except UnicodeDecodeError as error:
        # Python's sqlite3 cannot even say what is wrong: the text it was to quote is garbled.
        raise DamagedStore(f"{path} is damaged: {error}") from error
    except (sqlite3.Error, OSError) as error:
        raise _error(path, error) from error


def _error(path: Path, error: BaseException) -> StoreError:
    text = str(error)
    for words in ("malformed", "not a database", "unsupported file format", "decode"):
        if words in text:
            return DamagedStore(f"{path} is damaged: {text}")
    for words, advice in (
        ("disk is full", "the disk is full, free some space"),
        ("No space left", "the disk is full, free some space"),
        ("locked", "another program holds it, such as a backup; end that program"),
        ("readonly", "it cannot be written; see who owns it and how it is mounted"),
        ("Read-only", "it cannot be written; see who owns it and how it is mounted"),
        ("Is a directory", "it is a folder; move it away"),
        ("unable to open", "it cannot be opened; see who owns it and its folder"),
        ("Permission", "it cannot be opened; see who owns it and its folder"),
    ):
        if words in text:
            return StoreError(f"{path}: {advice} ({text}); nothing was stored")
    return StoreError(f"{path}: {text}; nothing was stored")


def _text(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


# guard


class GuardStore(Store):
    """Loans and audit."""

    @classmethod
    def open(cls, path: Path, at: datetime) -> "GuardStore":
        """Open guard.db; every loan in it can be read."""
        held = cls(path, opened(path, GUARD, at))
        try:
            held.loans()
        except BaseException:
            held.close()
            raise
        return held

    def loans(self) -> dict[str, Loan]:
        """Return what is said of each tablet, by its id."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_loan).order_by(_loan.c.tablet)).mappings()
            return {row["tablet"]: Loan(**row) for row in rows}

    def set_loans(self, loans: Iterable[Loan], entries: Iterable[Entry]) -> None:
        """Store states and the lines about them, all or nothing."""
        with self._writing() as connection:
            for loan in loans:
                statement = insert(_loan).values(**asdict(loan))
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["tablet"], set_=asdict(loan))
                )
            for entry in entries:
                connection.execute(sa.insert(_audit).values(**asdict(entry)))

    def record(self, entry: Entry) -> None:
        """Add a line to the audit."""
        self.set_loans((), (entry,))

    def last(self) -> int:
        """Return the number of the newest line of the audit."""
        with self._reading() as connection:
            return int(connection.execute(sa.select(sa.func.max(_audit.c.id))).scalar() or 0)

    def audit(self, since: datetime, subject: str = "") -> list[Entry]:
        """Return the lines since a moment, the newest first."""
        wanted = sa.select(_audit).where(_audit.c.at >= _text(since))
        if subject:
            wanted = wanted.where(_audit.c.subject == subject)
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(_audit.c.id.desc()).limit(MAX_ENTRIES))
            return [Entry(*row[1:]) for row in rows]


# watch

# By file of the event log: which one it is (inode), and up to where it is counted.
Positions = Mapping[str, tuple[int, int]]


class WatchStore(Store):
    """How far the event log is read, and what it said."""

    @classmethod
    def open(cls, path: Path, at: datetime) -> "WatchStore":
        """Open watch.db."""
        return cls(path, opened(path, WATCH, at))

    def positions(self, feed: str) -> dict[str, tuple[int, int]] | None:
        """Return where reading goes on; None when this feed was never read."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(_checkpoint.c.file, _checkpoint.c.inode, _checkpoint.c.offset).where(
                    _checkpoint.c.feed == feed
                )
            )
            found = {row[0]: (row[1], row[2]) for row in rows}
        # The row without a file says that the feed was read before, also when it had no file yet.
        return {file: where for file, where in found.items() if file} if found else None

    def take(
        self,
        feed: str,
        positions: Positions,
        gone: Iterable[str] = (),
        strangers: Iterable[Stranger] = (),
        asked: Iterable[Asked] = (),
    ) -> None:
        """Store what was read and up to where, in one transaction: each record counts once."""
        known = list(asked)
        with self._writing() as connection:
            self._advance(connection, feed, positions, gone)
            _forget(connection, [{"mac": str(each.mac)} for each in known])
            _upsert_strangers(connection, [_stranger_row(each) for each in strangers])
            _upsert_admissions(connection, [_asked_row(each) for each in known])
            _bound(connection, _unknown, _unknown.c.last_at, MAX_STRANGERS)
            _bound(connection, _admission, _admission.c.at, MAX_ADMISSIONS)

    def _advance(
        self, connection: Connection, feed: str, positions: Positions, gone: Iterable[str]
    ) -> None:
        rows = [
            {"feed": feed, "file": file, "inode": inode, "offset": offset}
            for file, (inode, offset) in {"": (0, 0), **positions}.items()
        ]
        statement = insert(_checkpoint)
        new = {name: statement.excluded[name] for name in ("inode", "offset")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["feed", "file"], set_=new), rows
        )
        for file in gone:
            connection.execute(
                sa.delete(_checkpoint).where(_checkpoint.c.feed == feed, _checkpoint.c.file == file)
            )

    def strangers(self, since: datetime) -> list[Stranger]:
        """Return the MACs nobody knows that asked since a moment, the latest first."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(_unknown)
                .where(_unknown.c.last_at >= _text(since))
                .order_by(_unknown.c.last_at.desc(), _unknown.c.mac)
            )
            return [_stranger(row) for row in rows.mappings()]

    def count_strangers(self) -> int:
        """Return how many MACs nobody knows are remembered."""
        with self._reading() as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).select_from(_unknown)).scalar() or 0
            )

    def last_asked(self, mac: Mac) -> Asked | None:
        """Return the last answer that a MAC of the inventory got."""
        with self._reading() as connection:
            row = (
                connection.execute(sa.select(_admission).where(_admission.c.mac == str(mac)))
                .mappings()
                .first()
            )
        return None if row is None else _asked(row)


def _stranger_row(stranger: Stranger) -> dict[str, object]:
    return asdict(stranger) | {
        "mac": str(stranger.mac),
        "first_at": _text(stranger.first_at),
        "last_at": _text(stranger.last_at),
    }


def _stranger(row: sa.RowMapping) -> Stranger:
    moments = {key: datetime.fromisoformat(row[key]) for key in ("first_at", "last_at")}
    return Stranger(**{**row, **moments, "mac": Mac.parse(row["mac"])})


def _asked(row: sa.RowMapping) -> Asked:
    typed = {"mac": Mac.parse(row["mac"]), "at": datetime.fromisoformat(row["at"])}
    return Asked(**{**row, **typed})


def _asked_row(asked: Asked) -> dict[str, object]:
    return asdict(asked) | {"mac": str(asked.mac), "at": _text(asked.at)}


def _forget(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    # It is in the inventory by now, so nobody has to enter it.
    if rows:
        connection.execute(sa.delete(_unknown).where(_unknown.c.mac == sa.bindparam("mac")), rows)


def _upsert_strangers(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if not rows:
        return
    statement = insert(_unknown)
    new, old = statement.excluded, _unknown.c
    newer = new.last_at >= old.last_at
    place = {
        name: sa.case((newer, new[name]), else_=old[name])
        for name in ("site", "nas", "ap", "ssid", "reason")
    }
    counted = {
        "first_at": sa.func.min(old.first_at, new.first_at),
        "last_at": sa.func.max(old.last_at, new.last_at),
        "count": old["count"] + new["count"],
    }
    connection.execute(
        statement.on_conflict_do_update(index_elements=["mac"], set_={**place, **counted}), rows
    )


def _upsert_admissions(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if not rows:
        return
    statement = insert(_admission)
    new = {c.name: statement.excluded[c.name] for c in _admission.c if not c.primary_key}
    # A record that comes late tells nothing new.
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["mac"], set_=new, where=statement.excluded.at >= _admission.c.at
        ),
        rows,
    )


def _bound(connection: Connection, table: sa.Table, at: sa.Column[str], most: int) -> None:
    """Keep the newest rows: whoever floods us with made-up addresses must not fill the disk."""
    mac = table.c.mac
    count = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() or 0
    if count > most:
        oldest = sa.select(mac).order_by(at, mac).limit(count - most)
        connection.execute(sa.delete(table).where(mac.in_(oldest)))
