"""A look at a database from beside its owner: read only, bounded, nothing of its files is changed."""

import sqlite3
import time
from pathlib import Path
from urllib.parse import quote

from netguard.adapters.store.database import Kind
from netguard.core.loans import effective

_STEPS = 20_000


def look(path: Path, kind: Kind, patience: float = 2.0) -> str:
    """Return what is wrong with a database, an empty text where nothing is.

    Looked at for `patience` seconds: what a large file holds behind that is not judged.
    """
    try:
        with path.open("rb") as file:
            header = file.read(72)
        if not header:
            return "is empty (0 bytes)"
        # As database.py writes it; https://sqlite.org/fileformat.html.
        if header[:16] != b"SQLite format 3\0" or header[68:] != kind.application.to_bytes(
            4, "big"
        ):
            return f"is not netguard's {kind.name}.db"
        return _sound(path, patience)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return error.strerror or str(error)
    except sqlite3.DatabaseError as error:
        return str(error)


def loans(path: Path) -> dict[str, str] | None:
    """Return what tablets count as, by id; None where it cannot be read."""
    try:
        with _opened(path) as connection:
            said = dict(connection.execute("SELECT tablet, state FROM loan").fetchall())
            try:
                apart = connection.execute("SELECT tablet FROM quarantine").fetchall()
            except sqlite3.OperationalError:
                # Of an older guard, which has none.
                apart = []
            return effective(said, (tablet for (tablet,) in apart))
    except sqlite3.DatabaseError:
        return None


class _opened:  # noqa: N801  # used as a function
    """A connection that is closed at the end, which sqlite3's own does not do."""

    def __init__(self, path: Path) -> None:
        # Without its log nobody has it open: then SQLite need not make the files that belong to one.
        still = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
        uri = f"file:{quote(str(path))}?mode=ro{still}"
        self._connection = sqlite3.connect(uri, uri=True, timeout=1.0)

    def __enter__(self) -> sqlite3.Connection:
        return self._connection

    def __exit__(self, *error: object) -> None:
        self._connection.close()


def _sound(path: Path, patience: float) -> str:
    end = time.monotonic() + patience
    with _opened(path) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        try:
            rows = connection.execute("PRAGMA integrity_check(3)").fetchall()
        except sqlite3.OperationalError as error:
            return "" if "interrupted" in str(error) else str(error)
    return "" if rows == [("ok",)] else "; ".join(str(row[0]) for row in rows)[:300]
