"""watch.db: how far the event log is read, and what it said."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection

from netguard.adapters.store import outbox
from netguard.adapters.store.database import WATCH, opened, shape, text, texts
from netguard.adapters.store.outbox import Letter, Outbox
from netguard.core.names import Mac
from netguard.core.records import Asked, Reject, Stranger
from netguard.core.sessions import MOST as MAX_SESSIONS
from netguard.core.sessions import Key, Live

MAX_STRANGERS = 10_000
MAX_ADMISSIONS = 20_000
MAX_REJECTS = 20_000
_NO_SESSIONS: Mapping[Key, Live | None] = MappingProxyType({})
# Rows of one answer.
MAX_SHOWN = 1000

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
_reject = sa.Table(
    "reject",
    tables,
    *(
        sa.Column(name, sa.String, primary_key=True)
        for name in ("mac", "site", "rule", "ssid", "ap")
    ),
    *texts("first_at", "last_at"),
    sa.Column("count", sa.Integer, nullable=False),
    sa.Index("reject_last_at", "last_at"),
)
_snapshot = sa.Table(
    "snapshot",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("journal", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)
# What the engine was told since, in the order it was told: lines of JSON, one row per commit.
_journal = sa.Table(
    "journal",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    *texts("lines"),
)
_incident = sa.Table(
    "incident",
    tables,
    sa.Column("id", sa.String, primary_key=True),
    *texts("tablet"),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("cleared", sa.Float, nullable=True),
    *texts("body"),
    sa.Index("incident_at", "at"),
)
_recording = sa.Table(
    "recording",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    *texts("lines"),
    sa.Index("recording_at", "at"),
)
_session = sa.Table(
    "session",
    tables,
    *(sa.Column(name, sa.String, primary_key=True) for name in ("nas", "mac", "session")),
    sa.Column("at", sa.Float, nullable=False),
    *texts("site", "ap", "bssid", "source", "nas_ip", "vlan"),
    sa.Column("since", sa.Float, nullable=False, server_default="0"),
    sa.Index("session_mac", "mac"),
)


outbox.columns(tables)


@dataclass(frozen=True, slots=True)
class Incident:
    """What the engine said of one incident last: raised at, and cleared at or None (seconds).

    `body` is the alert as JSON, its path included: this row is what keeps a path.
    """

    id: str
    tablet: str
    at: float
    cleared: float | None
    body: str


@dataclass(frozen=True, slots=True)
class Told:
    """What the engine was told in one go, and what it said: stored with how far was read.

    `lines` are what to tell it again after a crash; `recorded` those that the rules want recorded.
    `snapshot` is its whole state after all this, where it is time for one: then nothing older has to
    be told again.
    """

    at: float
    lines: str = ""
    incidents: tuple[Incident, ...] = ()
    # What receivers are to be told of them: stored with them, or not at all.
    letters: tuple[Letter, ...] = ()
    recorded: str = ""
    snapshot: bytes | None = None


# By file of the event log: which one it is (inode), and up to where it is counted.
Positions = Mapping[str, tuple[int, int]]
# The row of no file: that the feed was read before, and `read_again`.
_OF_FEED = ""


def reading_again(until: float) -> Positions:
    """Return what is stored with the positions while a feed is read again whose records were told up to a moment."""
    return {_OF_FEED: (0, int(until))}


class WatchStore(Outbox):
    """How far the event log is read, what it said, and who is told."""

    kind = WATCH
    _outbox = tables.tables["outbox"]
    _said = tables.tables["said"]
    _silence = tables.tables["silence"]
    _book = tables.tables["audit"]

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

    def read_again(self, feed: str) -> float:
        """Return up to which moment records were told before, of a feed that is being read again; 0 where none is."""
        with self._reading() as connection:
            which = (_checkpoint.c.feed == feed, _checkpoint.c.file == _OF_FEED)
            found = connection.execute(sa.select(_checkpoint.c.offset).where(*which)).scalar()
        return float(found or 0)

    def take(
        self,
        feed: str,
        positions: Positions,
        gone: Iterable[str] = (),
        strangers: Iterable[Stranger] = (),
        asked: Iterable[Asked] = (),
        told: Told | None = None,
        sessions: Mapping[Key, Live | None] = _NO_SESSIONS,
        rejects: Iterable[Reject] = (),
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
            if rows := [_reject_row(each) for each in rejects]:
                _upsert_rejects(connection, rows)
                _bound(connection, _reject, _reject.c.last_at, MAX_REJECTS)
            _change_sessions(connection, sessions)
            if told is not None:
                _tell(connection, told)
                self.write(connection, told.letters)

    def remembered(self) -> tuple[bytes | None, float, list[str]]:
        """Return the last snapshot, its moment, and the lines told since; nothing for a new store."""
        with self._reading() as connection:
            row = connection.execute(sa.select(_snapshot)).mappings().first()
            after = row["journal"] if row is not None else 0
            lines = connection.execute(
                sa.select(_journal.c.lines).where(_journal.c.id > after).order_by(_journal.c.id)
            ).scalars()
            state = bytes(row["state"]) if row is not None else None
            return state, row["at"] if row is not None else 0.0, list(lines)

    def incidents(self, since: float = 0.0, tablet: str = "") -> list[Incident]:
        """Return incidents raised since a moment, the newest first; of one tablet where it is named."""
        wanted = sa.select(_incident).where(_incident.c.at >= since)
        if tablet:
            wanted = wanted.where(_incident.c.tablet == tablet)
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(_incident.c.at.desc()).limit(MAX_SHOWN))
            return [Incident(**row) for row in rows.mappings()]

    def settle_incident(self, incident: Incident, letters: Iterable[Letter]) -> None:
        """Store what became of an incident that is not the engine's, and who is told of it."""
        with self._writing() as connection:
            _tell(connection, Told(at=0.0, incidents=(incident,)))
            self.write(connection, letters)

    def open_incidents(self) -> list[Incident]:
        """Return all incidents that are not over, the oldest first."""
        wanted = sa.select(_incident).where(_incident.c.cleared.is_(None))
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(_incident.c.at).limit(MAX_SHOWN))
            return [Incident(**row) for row in rows.mappings()]

    def recorded(self, since: float, after: int = 0) -> list[tuple[int, str]]:
        """Return some recorded lines since a moment, by the number of their commit, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(_recording.c.id, _recording.c.lines)
                .where(_recording.c.at >= since, _recording.c.id > after)
                .order_by(_recording.c.id)
                .limit(MAX_SHOWN)
            )
            return [(row[0], row[1]) for row in rows]

    def forget(self, recordings: float, incidents: float) -> tuple[int, int]:
        """Let go of recordings, and of cleared incidents and rejects, before these moments.

        Returns how many recordings and how many incidents.
        """
        with self._writing() as connection:
            gone = [
                connection.execute(sa.delete(table).where(where)).rowcount
                for table, where in (
                    (_recording, _recording.c.at < recordings),
                    (_incident, _incident.c.cleared < incidents),
                )
            ]
            before = text(datetime.fromtimestamp(incidents, UTC))
            connection.execute(sa.delete(_reject).where(_reject.c.last_at < before))
            return gone[0], gone[1]

    def _advance(
        self, connection: Connection, feed: str, positions: Positions, gone: Iterable[str]
    ) -> None:
        statement = insert(_checkpoint)
        known = {"feed": feed, "file": _OF_FEED, "inode": 0, "offset": 0}
        connection.execute(statement.on_conflict_do_nothing(), known)
        rows = [
            {"feed": feed, "file": file, "inode": inode, "offset": offset}
            for file, (inode, offset) in positions.items()
        ]
        new = {name: statement.excluded[name] for name in ("inode", "offset")}
        if rows:
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

    def rejects(self, since: datetime, mac: Mac | None = None) -> list[Reject]:
        """Return where tablets were refused since a moment, the latest first; one of them, or all."""
        wanted = sa.select(_reject).where(_reject.c.last_at >= text(since))
        if mac is not None:
            wanted = wanted.where(_reject.c.mac == str(mac))
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(_reject.c.last_at.desc()).limit(MAX_SHOWN))
            return [_read_reject(row) for row in rows.mappings()]

    def count_strangers(self) -> int:
        """Return how many MACs nobody knows are remembered."""
        with self._reading() as connection:
            return int(
                connection.execute(sa.select(sa.func.count()).select_from(_unknown)).scalar() or 0
            )

    def sessions(self, mac: Mac) -> list[Live]:
        """Return where a MAC is on the air, the latest first."""
        wanted = sa.select(_session).where(_session.c.mac == str(mac))
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(_session.c.at.desc()).limit(MAX_SESSIONS))
            return [Live(**row) for row in rows.mappings()]

    def last_asked(self, mac: Mac) -> Asked | None:
        """Return the last answer that a MAC of the inventory got."""
        with self._reading() as connection:
            row = (
                connection.execute(sa.select(_admission).where(_admission.c.mac == str(mac)))
                .mappings()
                .first()
            )
        return None if row is None else _asked(row)


def _tell(connection: Connection, told: Told) -> None:
    if told.lines:
        connection.execute(sa.insert(_journal).values(lines=told.lines))
    if told.recorded:
        connection.execute(sa.insert(_recording).values(at=told.at, lines=told.recorded))
    if told.incidents:
        statement = insert(_incident)
        new = {name: statement.excluded[name] for name in ("cleared", "body")}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["id"], set_=new),
            [asdict(each) for each in told.incidents],
        )
    if told.snapshot is not None:
        last = connection.execute(sa.select(sa.func.max(_journal.c.id))).scalar()
        if last is None:
            # Numbers go on where they were: an emptied journal must not begin before the snapshot.
            last = connection.execute(sa.select(_snapshot.c.journal)).scalar() or 0
        row = {"id": 1, "journal": last, "at": told.at, "state": told.snapshot}
        statement = insert(_snapshot).values(**row)
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=row))
        # The newest row stays, so that the next one gets a higher number.
        connection.execute(sa.delete(_journal).where(_journal.c.id < last))


def _change_sessions(connection: Connection, changes: Mapping[Key, Live | None]) -> None:
    for (nas, mac, session), live in changes.items():
        if live is None:
            ended = sa.delete(_session).where(_session.c.nas == nas)
            if mac:
                ended = ended.where(_session.c.mac == mac, _session.c.session == session)
            elif session:
                ended = ended.where(_session.c.source == session)
            connection.execute(ended)
        else:
            row = asdict(live)
            statement = insert(_session).values(**row)
            # When it began was said once: what goes on says nothing of that.
            new = {name: value for name, value in row.items() if name != "since"}
            connection.execute(
                statement.on_conflict_do_update(index_elements=["nas", "mac", "session"], set_=new)
            )
    for mac in {mac for (_, mac, _), live in changes.items() if live is not None}:
        # Whoever asks for a MAC under many ids must not fill the disk.
        newest = (
            sa.select(_session.c.at)
            .where(_session.c.mac == mac)
            .order_by(_session.c.at.desc())
            .limit(1)
            .offset(MAX_SESSIONS - 1)
            .scalar_subquery()
        )
        connection.execute(sa.delete(_session).where(_session.c.mac == mac, _session.c.at < newest))


def _stranger_row(stranger: Stranger) -> dict[str, object]:
    return asdict(stranger) | {
        "mac": str(stranger.mac),
        "first_at": text(stranger.first_at),
        "last_at": text(stranger.last_at),
    }


def _stranger(row: sa.RowMapping) -> Stranger:
    moments = {key: datetime.fromisoformat(row[key]) for key in ("first_at", "last_at")}
    return Stranger(**{**row, **moments, "mac": Mac.parse(row["mac"])})


def _reject_row(reject: Reject) -> dict[str, object]:
    moments = {key: text(getattr(reject, key)) for key in ("first_at", "last_at")}
    return asdict(reject) | {"mac": str(reject.mac)} | moments


def _read_reject(row: sa.RowMapping) -> Reject:
    moments = {key: datetime.fromisoformat(row[key]) for key in ("first_at", "last_at")}
    return Reject(**{**row, **moments, "mac": Mac.parse(row["mac"])})


def _upsert_rejects(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    statement = insert(_reject)
    new, old = statement.excluded, _reject.c
    merged = {
        "count": old["count"] + new["count"],
        "first_at": sa.func.min(old.first_at, new.first_at),
        "last_at": sa.func.max(old.last_at, new.last_at),
    }
    keys = ["mac", "site", "rule", "ssid", "ap"]
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=merged), rows)


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
