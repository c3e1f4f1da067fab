"""guard's register of loans: the store, and beside it a note of who was refused last.

The note (refused.json) is what a lost or damaged store is made anew from, so that nothing is ever
opened because a file went bad. Where both are gone nobody knows who is refused: then guard puts
nothing into force, and the kernel and FreeRADIUS keep what they have.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from netguard.adapters import files
from netguard.adapters.store import (
    Entry,
    GuardStore,
    Loan,
    Move,
    PskRow,
    Quarantine,
    RemovalRow,
    aside,
    put_aside,
)
from netguard.core.loans import QUARANTINED, REFUSED, STATES, effective
from netguard.daemon.process import warn
from netguard.errors import DamagedStore, NewerStore, StoreError

WHO = "guard"


@dataclass(frozen=True, slots=True)
class Note:
    """Who was refused when the audit had so many lines."""

    audit: int
    refused: Mapping[str, str]
    # Who was in quarantine, and why.
    quarantined: Mapping[str, str]


class Register:
    """Who is where, as people said it; `loans` is None while nobody knows."""

    def __init__(self, state: Path) -> None:
        self._path = state / "guard.db"
        self._note = state / "refused.json"
        self._store: GuardStore | None = None
        self._fault = ""
        # What narrows is in force before it can be stored, and waits here until it is.
        self._unstored: list[tuple[Loan | Quarantine, Entry]] = []
        self.details: dict[str, Loan] = {}
        self.loans: dict[str, str] | None = None
        self.quarantines: dict[str, Quarantine] = {}

    @property
    def effective(self) -> dict[str, str] | None:
        """Return what each tablet counts as, quarantine included; None while nobody knows."""
        return effective(self.loans, self.quarantines) if self.loans is not None else None

    @property
    def is_open(self) -> bool:
        """Say whether changes can be stored."""
        return self._store is not None

    @property
    def problem(self) -> str:
        """Say what an engineer has to look at; an empty text when all is well."""
        if self._unstored:
            names = ", ".join(f"{each.tablet} {_state(each)}" for each, _ in self._unstored)
            return f"in force and not stored, guard forgets it when it ends: {names}. {self._fault}"
        if self._fault:
            return self._fault
        damaged = aside(self._path) if self.is_open else []
        if not damaged:
            return ""
        names = ", ".join(str(path) for path in damaged)
        return (
            f"{self._path} was damaged and was made anew from {self._note.name}: tablets that were "
            "refused are refused, other states and the audit are lost. Compare with your own "
            f"records ('netguard tablet ID STATE' corrects one), then remove {names}"
        )

    def open(self, at: datetime) -> None:
        """Open the store; raises NewerStore, every other fault becomes `problem`."""
        note = self._read_note()
        try:
            self._store = self._opened(note, at)
            self._restore(self._store, note, at)
            self._fault = ""
        except NewerStore:
            raise
        except (StoreError, OSError) as error:
            self.close()
            self._fault = f"{error}. {self._without_store(note)}"
            warn("the store cannot be used", why=self._fault)
            return
        self._load()

    def is_damaged(self) -> bool:
        """Judge the open store, which takes a while; meanwhile it can be used."""
        held = self._store
        if held is None:
            return False
        try:
            held.check()
        except DamagedStore as error:
            warn("the store is damaged", why=str(error))
            return True
        except StoreError as error:
            warn("the store could not be looked at", why=str(error))
        return False

    def open_anew(self, at: datetime) -> None:
        """Let go of the store and open it as at a start: a damaged one is put aside and made anew from the note."""
        self.close()
        self.open(at)

    def change(self, loan: Loan, entry: Entry) -> None:
        """Store a state and the line about it; afterwards it holds, whatever happens.

        A tablet that is refused from now on is refused at once, also where nothing can be stored:
        then `problem` says so, and `catch_up` tries again. All else raises StoreError.
        """
        try:
            self.catch_up()
            self._needed().set_loans([loan], [entry])
        except StoreError as error:
            if loan.state not in REFUSED or self.loans is None:
                raise
            self._unstored.append((loan, entry))
            self._fault = self._fault or str(error)
            warn("a loan could not be stored and is in force", tablet=loan.tablet, why=str(error))
            # Not from `details`: without a store only the note says who else is refused.
            self.details = {**self.details, loan.tablet: loan}
            self.loans = {**self.loans, loan.tablet: loan.state}
            return
        self._load()

    def catch_up(self) -> None:
        """Store what is in force and could not be stored; raises StoreError."""
        if not self._unstored:
            return
        store = self._needed()
        while self._unstored:
            said, entry = self._unstored[0]
            if isinstance(said, Loan):
                store.set_loans([said], [entry])
            else:
                store.set_quarantines([said], [entry])
            self._unstored.pop(0)
        self._fault = ""
        self._load()

    def quarantine(self, row: Quarantine, entry: Entry) -> None:
        """Store that a tablet is in quarantine; it narrows, so it holds also where it cannot be stored."""
        try:
            self.catch_up()
            self._needed().set_quarantines([row], [entry])
        except StoreError as error:
            if self.loans is None:
                raise
            self._unstored.append((row, entry))
            self._fault = self._fault or str(error)
            warn("a quarantine could not be stored and is in force", tablet=row.tablet)
            self.quarantines = {**self.quarantines, row.tablet: row}
            return
        self._load()

    def release(self, tablet: str, entry: Entry) -> None:
        """Store that a tablet is in quarantine no more; raises StoreError, and then it still is."""
        self.catch_up()
        self._needed().end_quarantine(tablet, entry)
        self._load()

    def removals(self) -> dict[str, RemovalRow]:
        """Return how far each removal from the air has come; none without a store."""
        return self._store.removals() if self._store is not None else {}

    def keep_removal(self, row: RemovalRow) -> None:
        """Store how far a removal has come; raises StoreError."""
        self._needed().set_removal(row)

    def end_removals(self, tablets: list[str]) -> None:
        """Forget removals; raises StoreError."""
        self._needed().end_removals(tablets)

    def forget_audit(self, before: datetime) -> int:
        """Let go of the audit's lines before a moment; returns how many there were."""
        return self._needed().forget_audit(before)

    def moves(self, at: datetime) -> dict[str, Move]:
        """Return the moves that people announced and that still hold; none without a store."""
        return self._store.moves(at) if self._store is not None else {}

    def move(self, move: Move, entry: Entry) -> None:
        """Store a move and the line about it; raises StoreError."""
        self._needed().set_move(move, entry)

    def psks(self) -> dict[str, PskRow]:
        """Return the sealed Wi-Fi keys, by tablet; raises StoreError."""
        return self._needed().psks()

    def set_psks(self, rows: list[PskRow], entries: list[Entry], gone: Iterable[str] = ()) -> None:
        """Store sealed Wi-Fi keys, forget those of tablets that are gone, and the lines; raises StoreError."""
        self._needed().set_psks(rows, entries, gone)

    def count_psk_ask(self, row: PskRow, asks: int, entry: Entry) -> bool:
        """Store how often the NAS is still to be asked; False when the key is another one. Raises StoreError."""
        return self._needed().count_psk_ask(row, asks, entry)

    def record(self, entry: Entry) -> None:
        """Add a line to the audit."""
        self._needed().record(entry)

    def audit(self, since: datetime, subject: str) -> list[Entry]:
        """Return the lines of the audit since a moment, the newest first."""
        return self._needed().audit(since, subject)

    def _needed(self) -> GuardStore:
        if self._store is None:
            raise StoreError(self._fault or f"{self._path} is not open")
        return self._store

    def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            self._store.close()
        self._store = None

    def _opened(self, note: Note | None, at: datetime) -> GuardStore:
        try:
            if self._path.exists() or note is not None or not aside(self._path):
                return GuardStore.open(self._path, at)
        except DamagedStore as error:
            moved = put_aside(self._path)
            warn("the store is damaged and was put aside", why=str(error), aside=str(moved))
            if note is not None:
                return GuardStore.open(self._path, at)
        names = ", ".join(str(path) for path in aside(self._path))
        raise StoreError(
            f"{self._path} was damaged and lies in {names}, and {self._note} is gone too: put a "
            f"sound copy back as {self._path}, or remove {names} to begin without any loan"
        )

    def _restore(self, store: GuardStore, note: Note | None, at: datetime) -> None:
        """Refuse again whom the note names, when the store is older than the note."""
        if note is None or store.last() >= note.audit:
            return
        moment = at.isoformat(timespec="seconds")
        held = store.loans()
        missing = {
            tablet: state
            for tablet, state in note.refused.items()
            if tablet not in held or held[tablet].state not in REFUSED
        }
        text = "restored from refused.json, guard.db was lost or older"
        loans = [Loan(tablet, state, moment, WHO, text) for tablet, state in missing.items()]
        entries = [
            Entry(moment, WHO, "restored", loan.tablet, "{}", _json({"state": loan.state}))
            for loan in loans
        ]
        before, after = _json({"audit": note.audit}), _json({"refused": len(note.refused)})
        entries.append(Entry(moment, WHO, "restored", self._path.name, before, after))
        store.set_loans(loans, entries)
        apart = [
            Quarantine(tablet, moment, WHO, why, "", "")
            for tablet, why in note.quarantined.items()
            if tablet not in store.quarantines()
        ]
        after = _json({"state": "quarantined"})
        store.set_quarantines(
            apart, [Entry(moment, WHO, "restored", row.tablet, "{}", after) for row in apart]
        )
        restored = sorted({*missing, *(row.tablet for row in apart)})
        warn("the store was older than what was in force", restored=restored)

    def _without_store(self, note: Note | None) -> str:
        if self.loans is None and note is not None:
            self.loans = dict(note.refused)
            self.quarantines = {
                tablet: Quarantine(tablet, "", WHO, why, "", "")
                for tablet, why in note.quarantined.items()
            }
        elif self.loans is None and not self._path.exists() and not aside(self._path):
            # It never was: nobody can have been refused.
            self.loans = {}
        if self.loans is None:
            return "Nobody knows who is refused: nothing is put into force until this is repaired"
        count = sum(state in REFUSED for state in (self.effective or {}).values())
        return (
            f"Who was refused stays refused ({count}), more can be refused; no rules can be changed "
            "and nobody let in until this is repaired"
        )

    def _load(self) -> None:
        store = self._needed()
        self._hold(store.loans())
        self.quarantines = {
            **store.quarantines(),
            **{e.tablet: e for e, _ in self._unstored if isinstance(e, Quarantine)},
        }
        assert self.loans is not None  # noqa: S101  # for the type checker: it was just made
        refused = {tablet: s for tablet, s in self.loans.items() if s in REFUSED}
        apart = {tablet: row.why for tablet, row in self.quarantines.items()}
        body = {"audit": store.last(), "refused": refused, "quarantined": apart}
        try:
            files.write(self._note, _json(body | {"sha256": _sum(body)}) + "\n", 0o600)
        except OSError as error:
            warn("who is refused could not be noted beside the store", why=str(error))

    def _hold(self, stored: Mapping[str, Loan]) -> None:
        kept = {e.tablet: e for e, _ in self._unstored if isinstance(e, Loan)}
        self.details = {**stored, **kept}
        self.loans = {tablet: loan.state for tablet, loan in self.details.items()}

    def _read_note(self) -> Note | None:
        try:
            body = json.loads(self._note.read_bytes())
            found = body.pop("sha256")
            # A note of an older guard has no quarantine.
            apart = dict(body.get("quarantined", {}))
            note = Note(int(body["audit"]), dict(body["refused"]), apart)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            warn("the note of who is refused cannot be read", why=repr(error))
            return None
        if found != _sum(body) or not set(note.refused.values()) <= set(STATES):
            warn("the note of who is refused is damaged", file=str(self._note))
            return None
        return note


def _json(body: object) -> str:
    return json.dumps(body, sort_keys=True)


def _sum(body: object) -> str:
    return hashlib.sha256(_json(body).encode()).hexdigest()


def _state(said: Loan | Quarantine) -> str:
    return said.state if isinstance(said, Loan) else QUARANTINED
