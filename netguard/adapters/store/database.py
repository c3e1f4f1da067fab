"""A database of ours: opened, judged, made, brought up by numbered steps, put aside when damaged."""

import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import StaticPool

from netguard import __version__
from netguard.core.names import shown
from netguard.errors import DamagedStore, NewerStore, StoreError

MIGRATIONS = Path(__file__).with_name("migrations")
# A backup may hold the file for a moment; longer than this nobody should wait for an answer.
PATIENCE = 2.0

_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA busy_timeout = {int(PATIENCE * 1000)}",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
)


_CHECK = "PRAGMA integrity_check(3)"


class Kind(NamedTuple):
    """One of our two databases: its name, the number in its header, the newest step we know."""

    name: str
    application: int
    head: str


GUARD = Kind("guard", 0x4E474731, "0007")
WATCH = Kind("watch", 0x4E475731, "0007")


def texts(*names: str) -> list[sa.Column[str]]:
    """Return columns of texts that are never missing."""
    return [sa.Column(name, sa.String, nullable=False) for name in names]


def shape() -> sa.MetaData:
    """Return the beginning of a database's shape: which program made each step."""
    tables = sa.MetaData()
    sa.Table(
        "program", tables, sa.Column("step", sa.String, primary_key=True), *texts("version", "at")
    )
    return tables


class Store:
    """One open database; its calls may come from any thread, one at a time."""

    kind: Kind

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def check(self) -> None:
        """Judge the whole file; raises DamagedStore. Takes a while, holds no writer up.

        By a connection of its own: ours would judge the pages that it remembers, whatever has become of the file. And
        by SQLite alone: whoever else opens and closes the file here lets go of the locks that SQLite has on it.
        """
        with _said(self._path):
            try:
                self._path.stat()
            except FileNotFoundError:
                # Of what cannot be looked at nobody knows that.
                self._write_anew()
                raise DamagedStore(
                    f"{self._path} was gone, and is written anew from what was open"
                ) from None
            uri = f"file:{quote(str(self._path))}?mode=ro"
            fresh = sqlite3.connect(uri, uri=True, timeout=PATIENCE)
            try:
                # An empty file is sound to SQLite.
                mark = fresh.execute("PRAGMA application_id").fetchone()[0]
                faults = [row[0] for row in fresh.execute(_CHECK)]
            finally:
                fresh.close()
        if mark != self.kind.application:
            raise DamagedStore(f"{self._path} is not netguard's {self.kind.name}.db")
        _judge_faults(faults, self._path)

    def _write_anew(self) -> None:
        """Write what is open of a file that somebody has deleted to its old place, to be opened there."""
        with self._lock:
            # Beside another file than their own they would be read as news of it.
            for suffix in ("-wal", "-shm"):
                self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
            _copied(self._engine, self._path)
            # Whoever stores something before it is opened anew stores it there.
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


def backup(path: Path, kind: Kind, target: Path) -> None:
    """Copy a database, also one that is in use, and judge the copy. Raises StoreError.

    The copy is as the database was at one moment: SQLite's own online backup.
    """
    with _said(path):
        _judge_header(path, kind)
        beside = target.with_name(f".{target.name}.new")
        beside.unlink(missing_ok=True)
        _touch(beside)
        # Read only: whoever makes a backup leaves nothing of its own beside the original.
        source = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=PATIENCE)
        copy = sqlite3.connect(beside)
        try:
            source.backup(copy)
            # One file: nothing beside it belongs to it.
            copy.execute("PRAGMA journal_mode = DELETE").close()
        finally:
            copy.close()
            source.close()
        verify(beside, kind)
        _sync(beside)
        beside.rename(target)
        _sync(target.parent)


def verify(path: Path, kind: Kind) -> str:
    """Judge a copy without changing it; returns its step. Raises DamagedStore or NewerStore."""
    with _said(path):
        _judge_header(path, kind)
        # Read only, and as one file: opened as we open ours, it would become a WAL database.
        uri = f"sqlite:///file:{quote(str(path))}?mode=ro&immutable=1&uri=true"
        engine = sa.create_engine(uri, poolclass=StaticPool)
        try:
            return _judged(engine, path, kind)
        finally:
            engine.dispose()


def restore(copy: Path, kind: Kind, path: Path) -> Path | None:
    """Put a copy in a database's place while nobody uses it; returns where the old one went.

    The new file belongs to whom the old one, else the folder, belonged to. Raises StoreError.
    """
    verify(copy, kind)
    with _said(path):
        owner = (path if path.exists() else path.parent).stat()
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        _touch(new)
        shutil.copyfile(copy, new)
        os.chown(new, owner.st_uid, owner.st_gid)
        _sync(new)
        old = put_aside(path, "before-restore") if path.exists() else None
        new.rename(path)
        _sync(path.parent)
        return old


def put_aside(path: Path, why: str = "damaged") -> Path:
    """Rename a file and what belongs to it; returns its new name."""
    number = 1
    while (new := path.with_name(f"{path.name}.{why}-{number}")).exists():
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
        _sound(connection, path)
        steps = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars()
        step = str(next(iter(steps), ""))
        if not (step.isascii() and step.isdecimal()):
            raise DamagedStore(f"{path} is damaged: {shown(step)} is not the number of a step")
        if int(step) > int(kind.head):
            raise NewerStore(_newer(connection, path, kind, step))
    return step


def _sound(connection: Connection, path: Path) -> None:
    _judge_faults(connection.exec_driver_sql(_CHECK).scalars().all(), path)


def _judge_faults(faults: Sequence[object], path: Path) -> None:
    if list(faults) != ["ok"]:
        raise DamagedStore(f"{path} is damaged: {'; '.join(map(str, faults))[:300]}")


def _newer(connection: Connection, path: Path, kind: Kind, step: str) -> str:
    rows = connection.exec_driver_sql("SELECT version FROM program ORDER BY step DESC LIMIT 1")
    version = shown(str(rows.scalar()))[1:-1]
    # Named after the step that the newer program went to, several at once perhaps: the first that is too new for us.
    copies = sorted(path.parent.glob(f"{path.name}.before-[0-9][0-9][0-9][0-9]"))
    copy = next((each for each in copies if each.name[-4:] > kind.head), None)
    back = f", or stop all of netguard and put {copy} back" if copy else ""
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
                (kind.head, __version__, text(at)),
            )


def _keep_copy(engine: Engine, path: Path, kind: Kind) -> None:
    """Keep the database as it was, for whoever has to go back to the older program."""
    _copied(engine, path.with_name(f"{path.name}.before-{kind.head}"))


def _copied(engine: Engine, copy: Path) -> None:
    """Copy a database beside the copy's place and move it there: it is never seen half made."""
    beside = copy.with_name(f".{copy.name}.new")
    beside.unlink(missing_ok=True)
    _touch(beside)
    with engine.connect() as plain:
        # Outside of a transaction, as VACUUM wants it.
        connection = plain.execution_options(begin="")
        connection.exec_driver_sql("VACUUM INTO ?", (str(beside),))
    _sync(beside)
    beside.rename(copy)
    _sync(copy.parent)


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


def text(at: datetime) -> str:
    """Return a moment as it is stored."""
    return at.isoformat(timespec="seconds")
