"""guard.db: what people decided, and the audit of it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from netguard.adapters.store.database import GUARD, Store, opened, shape, text, texts

MAX_ENTRIES = 10_000

# The shape after the newest step; a test compares it with what the steps make.
tables = shape()
_audit = sa.Table(
    "audit",
    tables,
    sa.Column("id", sa.Integer, primary_key=True),
    *texts("at", "who", "verb", "subject", "before", "after"),
    sa.Index("audit_at", "at"),
)
_loan = sa.Table(
    "loan",
    tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *texts("state", "at", "who", "note"),
    sa.Column("until", sa.String, nullable=False, server_default=""),
)
_move = sa.Table(
    "move",
    tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *texts("area", "until"),
)
_quarantine = sa.Table(
    "quarantine",
    tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *texts("at", "who", "why", "until", "incident"),
)
_removal = sa.Table(
    "removal",
    tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *texts("state", "cause"),
    sa.Column("since", sa.Float, nullable=False),
    *texts("steps"),
)
_psk = sa.Table(
    "psk",
    tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *texts("sealed", "at", "who"),
    sa.Column("asks", sa.Integer, nullable=False),
)
# Up to when lines were let go; a trigger keeps those that are newer.
_audit_until = sa.Table("audit_until", tables, sa.Column("at", sa.String, primary_key=True))


@dataclass(frozen=True, slots=True)
class Loan:
    """What a person said about one tablet, and when; `until` is the end of a loan of its own, "" for none."""

    tablet: str
    state: str
    at: str
    who: str
    note: str
    until: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """Where a person said one tablet is about to go (SITE/AREA), and until when that holds."""

    tablet: str
    area: str
    until: str


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Who put a tablet into quarantine and why; until when ("" for open), and for which alert ("" none)."""

    tablet: str
    at: str
    who: str
    why: str
    until: str
    incident: str


@dataclass(frozen=True, slots=True)
class RemovalRow:
    """How far it has come to get a tablet off the air: the state it counts as, and what began it.

    `cause` tells one removal from the next of the same tablet; `steps` is core/removal's own text.
    """

    tablet: str
    state: str
    cause: str
    since: float
    steps: str


@dataclass(frozen=True, slots=True)
class PskRow:
    """The Wi-Fi key of a tablet, sealed (adapters/sealing.py): since when, who had it made.

    `asks` is how often the NAS still has to be asked to end a session that has the key before.
    """

    tablet: str
    sealed: str
    at: str
    who: str
    asks: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit: who did what to what, and how it was before and after."""

    at: str
    who: str
    verb: str
    subject: str
    before: str
    after: str


class GuardStore(Store):
    """Loans and audit."""

    kind = GUARD

    @classmethod
    def open(cls, path: Path, at: datetime) -> "GuardStore":
        """Open guard.db; every loan in it can be read."""
        held = cls(path, opened(path, GUARD, at))
        try:
            held.loans()
            held.quarantines()
            held.psks()
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

    def moves(self, at: datetime) -> dict[str, Move]:
        """Return the moves that still hold, by tablet."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(_move).where(_move.c.until > text(at)).order_by(_move.c.tablet)
            ).mappings()
            return {row["tablet"]: Move(**row) for row in rows}

    def set_move(self, move: Move, entry: Entry) -> None:
        """Store a move and the line about it; a tablet has one move, the last that was said."""
        with self._writing() as connection:
            statement = insert(_move).values(**asdict(move))
            connection.execute(
                statement.on_conflict_do_update(index_elements=["tablet"], set_=asdict(move))
            )
            connection.execute(sa.insert(_audit).values(**asdict(entry)))

    def quarantines(self) -> dict[str, Quarantine]:
        """Return who is in quarantine, by tablet."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_quarantine).order_by(_quarantine.c.tablet))
            return {row["tablet"]: Quarantine(**row) for row in rows.mappings()}

    def set_quarantines(self, rows: Iterable[Quarantine], entries: Iterable[Entry]) -> None:
        """Store who is in quarantine and the lines about it, all or nothing."""
        with self._writing() as connection:
            for row in rows:
                statement = insert(_quarantine).values(**asdict(row))
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["tablet"], set_=asdict(row))
                )
            for entry in entries:
                connection.execute(sa.insert(_audit).values(**asdict(entry)))

    def end_quarantine(self, tablet: str, entry: Entry) -> None:
        """Forget that a tablet is in quarantine, and store the line about it."""
        with self._writing() as connection:
            connection.execute(sa.delete(_quarantine).where(_quarantine.c.tablet == tablet))
            connection.execute(sa.insert(_audit).values(**asdict(entry)))

    def removals(self) -> dict[str, RemovalRow]:
        """Return how far each removal has come, by tablet."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_removal).order_by(_removal.c.tablet))
            return {row["tablet"]: RemovalRow(**row) for row in rows.mappings()}

    def set_removal(self, row: RemovalRow) -> None:
        """Store how far a removal has come."""
        with self._writing() as connection:
            statement = insert(_removal).values(**asdict(row))
            connection.execute(
                statement.on_conflict_do_update(index_elements=["tablet"], set_=asdict(row))
            )

    def end_removals(self, tablets: Iterable[str]) -> None:
        """Forget the removals of tablets that are refused no more."""
        with self._writing() as connection:
            connection.execute(sa.delete(_removal).where(_removal.c.tablet.in_(list(tablets))))

    def psks(self) -> dict[str, PskRow]:
        """Return the sealed Wi-Fi keys, by tablet."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(_psk).order_by(_psk.c.tablet))
            return {row["tablet"]: PskRow(**row) for row in rows.mappings()}

    def set_psks(
        self, rows: Iterable[PskRow], entries: Iterable[Entry], gone: Iterable[str] = ()
    ) -> None:
        """Store sealed keys, forget those of tablets that are gone, and the lines about them, all or nothing."""
        with self._writing() as connection:
            connection.execute(sa.delete(_psk).where(_psk.c.tablet.in_(list(gone))))
            for row in rows:
                statement = insert(_psk).values(**asdict(row))
                connection.execute(
                    statement.on_conflict_do_update(index_elements=["tablet"], set_=asdict(row))
                )
            for entry in entries:
                connection.execute(sa.insert(_audit).values(**asdict(entry)))

    def count_psk_ask(self, row: PskRow, asks: int, entry: Entry) -> bool:
        """Store how often the NAS is still to be asked, and the line; False when the key is another one by now."""
        with self._writing() as connection:
            same = (_psk.c.tablet == row.tablet, _psk.c.sealed == row.sealed)
            found = connection.execute(sa.update(_psk).where(*same).values(asks=asks))
            if found.rowcount:
                connection.execute(sa.insert(_audit).values(**asdict(entry)))
            return bool(found.rowcount)

    def record(self, entry: Entry) -> None:
        """Add a line to the audit."""
        self.set_loans((), (entry,))

    def last(self) -> int:
        """Return the number of the newest line of the audit."""
        with self._reading() as connection:
            return int(connection.execute(sa.select(sa.func.max(_audit.c.id))).scalar() or 0)

    def audit(self, since: datetime, subject: str = "") -> list[Entry]:
        """Return the lines since a moment, the newest first."""
        wanted = sa.select(_audit).where(_audit.c.at >= text(since))
        if subject:
            wanted = wanted.where(_audit.c.subject == subject)
        with self._reading() as connection:
            rows = connection.execute(wanted.order_by(_audit.c.id.desc()).limit(MAX_ENTRIES))
            return [Entry(*row[1:]) for row in rows]

    def forget_audit(self, before: datetime) -> int:
        """Let go of the lines before a moment, but for the newest; returns how many there were."""
        newest = sa.select(sa.func.max(_audit.c.id)).scalar_subquery()
        with self._writing() as connection:
            connection.execute(sa.update(_audit_until).values(at=text(before)))
            gone = connection.execute(
                sa.delete(_audit).where(_audit.c.at < text(before), _audit.c.id < newest)
            )
            return gone.rowcount
