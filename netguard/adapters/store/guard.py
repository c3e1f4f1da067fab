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
)
_move = sa.Table(
    "move",
    tables,
    sa.Column("tablet", sa.String, primary_key=True),
    *texts("area", "until"),
)
# Up to when lines were let go; a trigger keeps those that are newer.
_audit_until = sa.Table("audit_until", tables, sa.Column("at", sa.String, primary_key=True))


@dataclass(frozen=True, slots=True)
class Loan:
    """What a person said about one tablet, and when."""

    tablet: str
    state: str
    at: str
    who: str
    note: str


@dataclass(frozen=True, slots=True)
class Move:
    """Where a person said one tablet is about to go (SITE/AREA), and until when that holds."""

    tablet: str
    area: str
    until: str


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
