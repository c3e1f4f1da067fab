"""What is read, stored and told to the engine: the event log and the other feeds, each record once.

In this order: read; store what was read with how far it was read, in one transaction; tell the engine
what was stored; store the incidents it speaks of. Killed anywhere in between, nothing is lost and
nothing counts twice: what was not stored is read again, what was stored and not told is told again.
All of it runs in one thread at a time, beside the daemon's loop.
"""

import contextlib
import math
import threading
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from netguard.adapters import clock, radius, store
from netguard.adapters.store import Told
from netguard.core import evidence, sessions
from netguard.core.evidence import Event
from netguard.core.names import Mac
from netguard.core.presence import Action
from netguard.core.records import (
    FEED,
    Asked,
    Stranger,
    is_own,
    met,
    read_asked,
    read_evidence,
    receipt,
    rejects,
)
from netguard.daemon import presence
from netguard.daemon.alerting import Alerting
from netguard.daemon.pace import Pace
from netguard.daemon.presence import Presence
from netguard.daemon.process import say, warn
from netguard.daemon.usage import UseRecorder
from netguard.errors import BadValue, DamagedStore, StoreError
from netguard.render.watch import Book, read
from netguard.settings import Settings

SNAPSHOT_EVERY = 300.0
# Nobody ran between two looks for so long: what was not heard meanwhile says nothing.
PAUSE = 30.0
MOST_WAITING = 50_000
KEPT_LETTERS = 30 * 86400.0
_APART = 1e-5

Record = dict[str, str] | None


@dataclass(slots=True)
class Taken:
    """What one turn has brought."""

    records: tuple[Record, ...] = ()
    actions: list[Action] = field(default_factory=list)
    # Whether there is more to read at once.
    more: bool = False


class Intake:
    """The event log, the feeds and the store: takes what is new and keeps it, or leaves all as it was."""

    def __init__(self, settings: Settings) -> None:
        # One caller at a time: what is shown is read between two turns.
        self.busy = threading.RLock()
        self._folder = settings.paths.radius_log
        self._path: Path = settings.watch_state / "watch.db"
        self._book_path: Path = settings.paths.state / "watch.json"
        self._book_seen: tuple[int, int, int] | None = None
        self._log: radius.EventLog | None = None
        # Until the log has been read up to its end, lines may be told that were told before: those up to a moment.
        self._again = False
        self._told_until = 0.0
        self._waiting: deque[Event] = deque()
        self._loans: dict[str, str] = {}
        self._moves: dict[str, tuple[str, float]] = {}
        self._unsaid: list[store.Incident] = []
        self._unsent: list[store.Letter] = []
        self.alerting = Alerting()
        self._snapshot_at = 0.0
        self._ticked = clock.monotonic()
        self._speed = float(settings.speed)
        self.pace = self._paced(0.0)
        self.store: store.WatchStore | None = None
        self.book: Book | None = None
        self.presence: Presence | None = None
        self.dropped: Counter[str] = Counter()
        self.told = 0
        self.book_problem = ""
        self.used = UseRecorder()
        # An hour of use that the store has not taken yet, on a full disk.
        self._unwritten = ""

    # the store

    def open(self) -> None:
        """Open the store where it is not; a damaged one is put aside and made anew."""
        if self.store is not None:
            return
        try:
            self.store = store.WatchStore.open(self._path, clock.now())
        except DamagedStore as error:
            moved = store.put_aside(self._path)
            warn("the store is damaged and was put aside", why=str(error), aside=str(moved))
            self.store = store.WatchStore.open(self._path, clock.now())
        positions = self.store.positions(FEED)
        self._log = radius.EventLog(self._folder, positions)
        # Ended in the middle of it: the rest of that log is no news either.
        self._told_until = self.store.read_again(FEED)
        if positions is None and self.presence is not None:
            self._told_until = self._known()
        self._again = self._told_until > 0
        self.alerting.silences = self.store.silences()
        if self.presence is None and self.book is not None:
            self._restore(self.book)

    def close(self) -> None:
        """Let go of the store."""
        if self.store is not None:
            with contextlib.suppress(StoreError):
                self.write_use(self.now(), at_once=True)
            self.store.close()
        self.store = None

    # one turn

    def offer(self, event: Event) -> None:
        """Take an event of a feed that has no log of its own; the oldest goes where too many wait."""
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.popleft()
            self.dropped["queue"] += 1
        self._waiting.append(event)

    def _paced(self, last: float) -> Pace:
        return Pace.begun(clock.now().timestamp(), clock.monotonic(), last, self._speed)

    def now(self) -> float:
        """Return this moment on the engine's clock."""
        return self.pace.now(clock.now().timestamp(), clock.monotonic())

    def take(self) -> Taken:
        """Read and store one batch, and tell the engine. Raises StoreError or OSError."""
        with self.busy:
            return self._take()

    def _take(self) -> Taken:
        self.open()
        self._look_at_rules()
        assert self.store is not None  # noqa: S101  # for the type checker: open has made both
        assert self._log is not None  # noqa: S101  # as above
        wall, now = clock.now().timestamp(), self.now()
        paused = clock.monotonic() - self._ticked > PAUSE
        batch = self._log.read()
        if batch.replaced:
            warn("files of the event log were cut or replaced", files=batch.replaced)
            self._told_until = self._told_until or self._known()
            self._again = True
        more = batch.more
        news = self._news(batch.records, wall, now)
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        events, until, later = self._evidence(news, wall, now), now, list[Event]()
        if self.presence is not None:
            since = self.presence.state.now
            if more:
                until = _received(events[-1]) if events else since
            blink = self._blink(since, now) if paused else []
            # A long log is read in parts: what is newer than a part would make the next one old news.
            events, later = _parted([*events, *waiting, *blink], until if more else math.inf)
        told = self._told(events, until)
        every = _asked(batch.records)
        if batch.is_news or told is not None or self._again:
            # With the positions, or not at all: an end in between makes nothing new of what is left to read again.
            again = store.reading_again(self._told_until if more else 0.0) if self._again else {}
            strangers, asked = _sorted_out(every)
            try:
                apart = self.book.apart if self.book is not None else frozenset[str]()
                live = sessions.changes(_others(batch.records), wall, apart)
                self.store.take(
                    FEED,
                    {**batch.positions, **again},
                    batch.gone,
                    strangers,
                    asked,
                    told,
                    live,
                    rejects(every),
                )
            except DamagedStore:
                # Judged anew when it is opened again.
                self.close()
                self._waiting.extendleft(reversed(waiting))
                raise
            except StoreError:
                self._waiting.extendleft(reversed(waiting))
                raise
        # Not before: what could not be stored is read again.
        self._log.keep(batch)
        self._waiting.extendleft(reversed(later))
        self._record_use(_asked(news), now)
        if not more:
            self.pace.caught_up(now)
            self._again, self._told_until = False, 0.0
        self._ticked = clock.monotonic()
        self.alerting.ask(news, self.book, now)
        self.alerting.hear(events, self.book, now)
        actions = self._tell(events, until) if told is not None else []
        return Taken(batch.records, actions, more)

    def _news(self, records: Iterable[Record], wall: float, now: float) -> list[Record]:
        """Return the records that are no history: of a log that is read again, the most are."""
        if not self._again:
            return list(records)
        known = max(self._known(), self._told_until) - evidence.HISTORY
        return [
            record
            for record in records
            if record is None or self.pace.received(receipt(record), wall, now, again=True) >= known
        ]

    def _known(self) -> float:
        """Return the moment up to which the log was told."""
        until = self.presence.state.now if self.presence is not None else 0.0
        return max(until, self.pace.read_up_to)

    def _evidence(self, records: Iterable[Record], wall: float, now: float) -> list[Event]:
        if self.book is None:
            return []
        apart, last = self.book.apart, 0.0
        found = []
        for record in records:
            if record is None or is_own(record):
                continue
            # Lines have whole seconds: of one second, the later line is the later one.
            said = self.pace.received(receipt(record), wall, now, again=self._again)
            received = max(said, last + _APART)
            last = received
            event = read_evidence(record, received, apart)
            if event is not None:
                found.append(event)
        return found

    def _told(self, events: Sequence[Event], now: float) -> Told | None:
        """Return what is journaled before the engine hears it up to now; None where it has nothing to hear."""
        if self.presence is None or self.book is None or (not events and self.presence.waits(now)):
            return None
        recorded = presence.recording(events) if self.book.recording is not None else ""
        return Told(at=now, lines=presence.journal(events, now), recorded=recorded)

    def _tell(self, events: Sequence[Event], now: float) -> list[Action]:
        assert self.presence is not None  # noqa: S101  # for the type checker: _told has looked
        actions = self.presence.tell(events, now)
        self.told += len(events)
        self._say(actions, self.book, now)
        self._keep_snapshot(now)
        return actions

    def _say(self, actions: Sequence[Action], book: Book | None, now: float) -> None:
        """Store incidents and who is told of them; the journal holds what they come from until they are."""
        if self.store is None:
            return
        self._unsaid += presence.incidents(actions)
        self._unsent += self.alerting.letters(actions, book, now, self.store)
        if self._unsaid:
            told = Told(at=0.0, incidents=tuple(self._unsaid), letters=tuple(self._unsent))
            self.store.take(FEED, {}, told=told)
            self._unsaid.clear()
            self._unsent.clear()

    def _record_use(self, every: Iterable[Asked], now: float) -> None:
        """Count requests, where the rules want recordings; write down the hour that has ended."""
        if self.book is None or self.book.recording is None:
            return
        self.used.admissions(every, self.book.model.tablets)
        self.write_use(now)

    def take_use(self, lines: Sequence[object]) -> None:
        """Count what guard or the name proxy have told."""
        with self.busy:
            self.used.told(lines)

    def write_use_now(self) -> None:
        """Write down what was used so far: somebody wants to read it."""
        with self.busy:
            self.write_use(self.now(), at_once=True)

    def write_use(self, now: float, *, at_once: bool = False) -> None:
        """Write down what was used in the hour that has ended, or until now."""
        # Until the last one is written the next one only grows: bounded, and nothing is forgotten.
        self._unwritten = self._unwritten or self.used.lines(now, at_once=at_once)
        if not self._unwritten or self.store is None:
            return
        try:
            self.store.take(FEED, {}, told=Told(at=now, recorded=self._unwritten))
        except DamagedStore:
            raise
        except StoreError as error:
            # Evidence goes first, and says so itself when it cannot be stored: this is tried again.
            warn("what was used cannot be written down yet", why=str(error))
        else:
            self._unwritten = ""

    def _keep_snapshot(self, now: float, *, at_once: bool = False) -> None:
        if self.presence is None or self.store is None:
            return
        due = now - self._snapshot_at >= SNAPSHOT_EVERY * self._speed and self.presence.since
        if at_once or due or self.presence.since >= presence.MOST_SINCE_SNAPSHOT:
            self.store.take(FEED, {}, told=Told(at=now, snapshot=self.presence.snapshot()))
            self._snapshot_at = now

    def _blink(self, since: float, now: float) -> list[Event]:
        """Say that nothing was heard while nobody ran; silences begin anew."""
        warn("nobody ran for a while: silence meanwhile says nothing", seconds=round(now - since))
        return [
            Event(at=at, kind=kind, source=FEED, reason="paused", received=at)
            for at, kind in ((since, evidence.FEED_LOST), (now, evidence.FEED_BACK))
        ]

    def tidy(self) -> None:
        """See that the store is sound, and let go of what the rules no longer keep."""
        held = self.store
        if held is None:
            return
        try:
            held.check()
        except DamagedStore:
            # It took a while, in a thread of its own: not while somebody stores something, nor another one by now.
            with self.busy:
                if self.store is held:
                    self.close()
            raise
        if self.book is None:
            return
        now = self.now()
        gone = held.forget(
            recordings=now - (self.book.recording or 0.0), incidents=now - self.book.incident_path
        )
        # Letters that have arrived are kept for longer than a journal that might tell of them again.
        held.let_go(clock.now().timestamp() - KEPT_LETTERS)
        if any(gone):
            say("old recordings and incidents are gone", recordings=gone[0], incidents=gone[1])

    # the rules

    def _look_at_rules(self) -> None:
        """Read watch.json where it has changed; a broken one leaves the rules as they are."""
        try:
            stat = self._book_path.stat()
        except FileNotFoundError:
            return
        seen = stat.st_ino, stat.st_size, stat.st_mtime_ns
        if seen == self._book_seen:
            return
        try:
            book = read(self._book_path.read_text())
        except (ValueError, KeyError, TypeError, AttributeError, BadValue) as error:
            if not self.book_problem:
                warn("watch.json cannot be read", why=repr(error))
            self.book_problem = f"{self._book_path}: {error}"
            return
        self.book_problem = ""
        if self.presence is None:
            self._restore(book)
        elif self.book is not None and self.book.model != book.model:
            # The state goes over, whatever of it the rules no longer know stays behind.
            self.presence = Presence(book.model, self.presence.snapshot())
            self.book = book
            self._keep_snapshot(self.now(), at_once=True)
        self.book, self._book_seen = book, seen
        self._say_loans(book)
        say("rules loaded", plan=book.digest[:12], tablets=len(book.tablets))

    def _restore(self, book: Book) -> None:
        """Go on where the store ends."""
        assert self.store is not None  # noqa: S101  # for the type checker: open comes first
        snapshot, at, lines = self.store.remembered()
        try:
            engine = Presence(book.model, snapshot)
            actions = list(engine.replay(lines))
        except (BadValue, ValueError, TypeError, IndexError) as error:
            # Of another version, perhaps: what was learned is gone, what people said is not.
            warn("the state of presence cannot be read and begins anew", why=repr(error))
            engine, actions = Presence(book.model), []
        last = max(at, engine.state.now)
        self.pace = self._paced(last)
        self.presence, self.book = engine, book
        now = self.now()
        # What was stored and not yet told before the end; the same again where it was.
        self._say(actions, book, now)
        if last and clock.booted() > last:
            # FreeRADIUS did not run either.
            for event in self._blink(last, now):
                self.offer(event)
        self._snapshot_at = now

    def _say_loans(self, book: Book) -> None:
        """Tell the engine what people say of tablets, where that is news."""
        now = self.now()
        for id_, tablet in sorted(book.model.by_id.items()):
            state = book.loans.get(id_, "")
            if state != self._loans.get(id_, ""):
                self.offer(
                    Event(at=now, kind=evidence.LOAN, mac=tablet, reason=state, received=now)
                )
            move = book.moves.get(id_)
            if move is not None and move != self._moves.get(id_):
                area, until = move
                kind = evidence.PLANNED_MOVE
                self.offer(Event(now, kind, mac=tablet, area=area, until=until, received=now))
        self._loans, self._moves = dict(book.loans), dict(book.moves)


def _received(event: Event) -> float:
    return event.received or event.at


def _parted(events: Iterable[Event], until: float) -> tuple[list[Event], list[Event]]:
    """Return the events up to a moment and those after it, both in the order of receipt."""
    every = sorted(events, key=_received)
    count = bisect_right(every, until, key=_received)
    return every[:count], every[count:]


def _others(records: Iterable[Record]) -> list[Record]:
    return [record for record in records if record is not None and not is_own(record)]


def _asked(records: Iterable[Record]) -> list[Asked]:
    """Return the requests to join, and how they were answered."""
    now = clock.now()
    found = (
        read_asked(record, now)
        for record in records
        if record and record.get("kind") == "admission" and not is_own(record)
    )
    return [asked for asked in found if asked is not None]


def _sorted_out(every: Iterable[Asked]) -> tuple[list[Stranger], list[Asked]]:
    """Return the MACs nobody knows, and the last answer to each tablet."""
    strangers: dict[Mac, Stranger] = {}
    known: dict[Mac, Asked] = {}
    for asked in every:
        if asked.by_stranger:
            strangers[asked.mac] = met(strangers.get(asked.mac), asked)
        else:
            strangers.pop(asked.mac, None)
            if asked.mac not in known or asked.at >= known[asked.mac].at:
                known[asked.mac] = asked
    return list(strangers.values()), list(known.values())
