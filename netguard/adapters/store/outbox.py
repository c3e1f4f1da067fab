"""The outbox of watch.db: notices that wait for their receivers, and what people said of alerts.

A row is stored in the transaction that stores what it is about, and changes when it was delivered or could
not be. The same notice for the same receiver and channel is one row, however often it is written: what is
told again after a crash is in the table already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import Connection

from netguard.adapters.store.database import Store, texts
from netguard.adapters.store.guard import MAX_ENTRIES, Entry
from netguard.core.alerting import Silence

WAITING, SENT, DEAD, HELD = "waiting", "sent", "dead", "held"
# Of one receiver and channel, in one go.
BATCH = 100
# The oldest waiting rows of a receiver become dead letters beyond this: a disk is finite.
MAX_WAITING = 50_000


def columns(tables: sa.MetaData) -> None:
    """Add the tables to the shape of watch.db."""
    sa.Table(
        "outbox",
        tables,
        sa.Column("id", sa.Integer, primary_key=True),
        *texts("notice", "receiver", "channel", "incident", "key", "code", "state"),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        *texts("why", "body"),
        sa.UniqueConstraint("notice", "receiver", "channel"),
        sa.Index("outbox_state", "state", "receiver", "channel", "id"),
    )
    sa.Table(
        "said",
        tables,
        sa.Column("incident", sa.String, primary_key=True),
        *texts("acknowledged", "note"),
        sa.Column("snoozed", sa.Float, nullable=False),
    )
    sa.Table(
        "silence",
        tables,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("begins", sa.Float, nullable=False),
        sa.Column("ends", sa.Float, nullable=False),
        *texts("who", "note", "site", "area", "tablet", "code"),
    )
    sa.Table(
        "audit",
        tables,
        sa.Column("id", sa.Integer, primary_key=True),
        *texts("at", "who", "verb", "subject", "before", "after"),
        sa.Index("audit_at", "at"),
    )


@dataclass(frozen=True, slots=True)
class Letter:
    """One row: a notice on its way to one receiver over one channel.

    `key` is what it is ordered by, `at` when it was written (seconds since 1970, of the wall clock),
    `why` the last failure, `body` the notice.
    """

    notice: str
    receiver: str
    channel: str
    incident: str
    key: str
    code: str
    state: str
    at: float
    body: str
    attempts: int = 0
    why: str = ""
    id: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What people said of one incident: who has acknowledged it, and until when it is snoozed."""

    incident: str
    acknowledged: str = ""
    note: str = ""
    snoozed: float = 0.0


class Outbox(Store):
    """The part of watch.db that alerts need."""

    _outbox: sa.Table
    _said: sa.Table
    _silence: sa.Table
    _book: sa.Table

    def post(self, letters: Iterable[Letter]) -> None:
        """Store letters of something that is no incident of the engine."""
        with self._writing() as connection:
            self.write(connection, letters)

    def write(self, connection: Connection, letters: Iterable[Letter]) -> None:
        """Store letters within a transaction that stores what they are about; known ones stay as they are."""
        rows = [{k: v for k, v in asdict(letter).items() if k != "id"} for letter in letters]
        if rows:
            connection.execute(insert(self._outbox).on_conflict_do_nothing(), rows)

    def waiting(self) -> list[tuple[str, str]]:
        """Return the receivers and channels for which letters wait."""
        table = self._outbox.c
        wanted = sa.select(table.receiver, table.channel).where(table.state == WAITING).distinct()
        with self._reading() as connection:
            return sorted((row[0], row[1]) for row in connection.execute(wanted))

    def due(self, receiver: str, channel: str) -> list[Letter]:
        """Return the oldest waiting letters for a receiver's channel, in the order they were written."""
        table = self._outbox.c
        wanted = (
            sa.select(self._outbox)
            .where(table.state == WAITING, table.receiver == receiver, table.channel == channel)
            .order_by(table.id)
            .limit(BATCH)
        )
        with self._reading() as connection:
            return [Letter(**row) for row in connection.execute(wanted).mappings()]

    def settle(
        self, letters: Sequence[Letter], state: str, why: str = "", entries: Iterable[Entry] = ()
    ) -> None:
        """Note what became of some letters: sent, dead, or waiting on after another attempt.

        `entries` are the lines of the audit about it, stored with it.
        """
        table = self._outbox
        with self._writing() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.id.in_([letter.id for letter in letters]))
                .values(state=state, why=why, attempts=table.c.attempts + 1)
            )
            for entry in entries:
                connection.execute(sa.insert(self._book).values(**asdict(entry)))

    def letters(self, states: Iterable[str], limit: int = 1000) -> list[Letter]:
        """Return letters in some states, the newest first."""
        table = self._outbox.c
        wanted = sa.select(self._outbox).where(table.state.in_(list(states)))
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(table.id.desc()).limit(limit))
            return [Letter(**row) for row in rows.mappings()]

    def latest(self, incidents: Iterable[str]) -> list[Letter]:
        """Return the newest letter of each of these incidents for each receiver."""
        table = self._outbox.c
        newest = (
            sa.select(sa.func.max(table.id))
            .where(table.incident.in_(list(incidents)))
            .group_by(table.incident, table.receiver)
        )
        wanted = sa.select(self._outbox).where(table.id.in_(newest)).order_by(table.id)
        with self._reading() as connection:
            return [Letter(**row) for row in connection.execute(wanted).mappings()]

    def states(self, incident: str, receiver: str, before: int) -> set[str]:
        """Return what became of a receiver's letters of an incident that are older than one of them."""
        table = self._outbox.c
        wanted = sa.select(table.state).where(
            table.incident == incident, table.receiver == receiver, table.id < before
        )
        with self._reading() as connection:
            return set(connection.execute(wanted).scalars())

    def revive(self) -> int:
        """Let dead letters wait again; returns how many."""
        table = self._outbox
        with self._writing() as connection:
            done = connection.execute(
                sa.update(table).where(table.c.state == DEAD).values(state=WAITING, why="")
            )
            return done.rowcount

    def release(self, letters: Iterable[Letter]) -> None:
        """Let letters that a silence held back go out."""
        table = self._outbox
        with self._writing() as connection:
            connection.execute(
                sa.update(table)
                .where(table.c.id.in_([letter.id for letter in letters]), table.c.state == HELD)
                .values(state=WAITING, why="")
            )

    def counted(self) -> tuple[dict[str, int], float]:
        """Return how many letters are in each state, and when the oldest waiting one was written (0: none)."""
        table = self._outbox.c
        with self._reading() as connection:
            rows = connection.execute(sa.select(table.state, sa.func.count()).group_by(table.state))
            oldest = connection.execute(
                sa.select(sa.func.min(table.at)).where(table.state == WAITING)
            ).scalar()
            return {str(state): int(count) for state, count in rows}, float(oldest or 0.0)

    def let_go(self, before: float) -> int:
        """Let go of letters that ended before a moment, and bury what waits beyond all bounds."""
        table = self._outbox
        with self._writing() as connection:
            gone = connection.execute(
                sa.delete(table).where(table.c.at < before, table.c.state != WAITING)
            ).rowcount
            waiting = connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.state == WAITING)
            ).scalar()
            if waiting and waiting > MAX_WAITING:
                oldest = (
                    sa.select(table.c.id)
                    .where(table.c.state == WAITING)
                    .order_by(table.c.id)
                    .limit(waiting - MAX_WAITING)
                )
                connection.execute(
                    sa.update(table)
                    .where(table.c.id.in_(oldest))
                    .values(state=DEAD, why="too many letters wait")
                )
            return gone

    # what people say

    def said(self) -> dict[str, Said]:
        """Return what was said of incidents, by incident."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(self._said)).mappings()
            return {row["incident"]: Said(**row) for row in rows}

    def say(self, said: Said, entry: Entry) -> None:
        """Store what somebody says of an incident, and the line about it."""
        with self._writing() as connection:
            statement = insert(self._said).values(**asdict(said))
            connection.execute(
                statement.on_conflict_do_update(index_elements=["incident"], set_=asdict(said))
            )
            connection.execute(sa.insert(self._book).values(**asdict(entry)))

    def silences(self) -> list[Silence]:
        """Return all silences, also those that are over, the newest first."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(self._silence).order_by(self._silence.c.id.desc())
            ).mappings()
            return [Silence(**row) for row in rows]

    def silence(self, silence: Silence, entry: Entry) -> int:
        """Store a silence, or what has become of it, and the line about it; returns its number."""
        with self._writing() as connection:
            row = asdict(silence)
            if silence.id:
                connection.execute(
                    sa.update(self._silence).where(self._silence.c.id == silence.id).values(**row)
                )
                number = silence.id
            else:
                del row["id"]
                done = connection.execute(sa.insert(self._silence).values(**row))
                number = int(done.inserted_primary_key[0]) if done.inserted_primary_key else 0
            connection.execute(sa.insert(self._book).values(**asdict(entry)))
            return number

    def audit(self, since: str, subject: str = "") -> list[Entry]:
        """Return who said what of alerts since a moment, the newest first."""
        wanted = sa.select(self._book).where(self._book.c.at >= since)
        if subject:
            wanted = wanted.where(self._book.c.subject == subject)
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(self._book.c.id.desc()).limit(MAX_ENTRIES))
            return [Entry(*row[1:]) for row in rows]
