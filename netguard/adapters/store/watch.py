"""watch.db: how far the event log is read, and what it said."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection

from netguard.adapters.store.database import WATCH, Store, opened, shape, text, texts
from netguard.core.names import Mac
from netguard.core.records import Asked, Stranger

MAX_STRANGERS = 10_000
MAX_ADMISSIONS = 20_000

# The shape after the newest step; a test compares it with what the steps make.
tables = shape()
_checkpoint = sa.Table(
    "checkpoint",
    tables,
    sa.Column("feed", sa.String, primary_key=True),
    sa.Column("file", sa.String, primary_key=True),
    sa.Column("inode", sa.Integer, nullable=False),
    sa.Column("offset", sa.Integer, nullable=False),
)
_unknown = sa.Table(
    "unknown",
    tables,
    sa.Column("mac", sa.String, primary_key=True),
    *texts("site", "nas", "ap", "ssid", "reason", "first_at", "last_at"),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("unknown_last_at", "last_at"),
)
_admission = sa.Table(
    "admission",
    tables,
    sa.Column("mac", sa.String, primary_key=True),
    *texts("at", "site", "nas", "ap", "ssid", "answer", "rule", "vlan"),
    sa.Index("admission_at", "at"),
)


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
                .where(_unknown.c.last_at >= text(since))
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
        "first_at": text(stranger.first_at),
        "last_at": text(stranger.last_at),
    }


def _stranger(row: sa.RowMapping) -> Stranger:
    moments = {key: datetime.fromisoformat(row[key]) for key in ("first_at", "last_at")}
    return Stranger(**{**row, **moments, "mac": Mac.parse(row["mac"])})


def _asked(row: sa.RowMapping) -> Asked:
    typed = {"mac": Mac.parse(row["mac"]), "at": datetime.fromisoformat(row["at"])}
    return Asked(**{**row, **typed})


def _asked_row(asked: Asked) -> dict[str, object]:
    return asdict(asked) | {"mac": str(asked.mac), "at": text(asked.at)}


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
