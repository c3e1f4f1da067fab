"""Questions on their way upstream: whom to ask, when to ask the next one, which answer counts.

Pure: the clock, the noise for ids and the act of sending come in. One question a name and type is
under way, whoever waits for it. A server that does not answer is asked last, and probed until it
does (RFC 5452 for what an answer must match).
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from netguard.core import dnswire
from netguard.core.dnswire import Answer, Malformed, Question

HEDGE = 0.4
LAST_TRY = 1.0
PATIENCE = 2.0
# While no server answers: a tablet is told soon, and the next question is a new try.
SHORT_PATIENCE = 1.0
TRIES = 3
DOWN_AFTER = 3
PROBE_EVERY = 5.0

W = TypeVar("W")
# Makes a named tuple at half the cost of calling its class; one or two are made for every question.
_new: Callable[..., Any] = tuple.__new__
_CONCLUSIVE = frozenset({dnswire.NOERROR, dnswire.NXDOMAIN})
Key = tuple[str, int]
# The way a message went and its id, as bytes.
Way = tuple[Hashable, bytes]
# (message, over a stream?) -> the way it went to a server; an answer comes back on the same.
Send = Callable[[bytes, bool], Hashable]


class Attempt(NamedTuple, Generic[W]):
    """One message to one server."""

    flight: "Flight[W]"
    server: int
    question: Question
    at: float
    way: Way
    streamed: bool


class Flight(Generic[W]):
    """One question and everybody who waits for its answer."""

    __slots__ = (
        "attempts",
        "due",
        "ended",
        "key",
        "order",
        "question",
        "start",
        "tries",
        "waiters",
    )

    def __init__(self, key: Key, question: Question, start: float, waiter: W) -> None:
        self.key, self.question, self.start = key, question, start
        self.order: Sequence[int] = ()
        self.waiters = [waiter]
        self.attempts: list[Attempt[W]] = []
        self.tries = 0
        self.due = 0.0
        self.ended = False


class Landed(NamedTuple, Generic[W]):
    """The end of a flight; no answer means that every server failed."""

    flight: Flight[W]
    answer: Answer | None


class Server:
    """What is known of one upstream server."""

    __slots__ = ("answers", "down", "failures", "in_row", "name", "probe_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.answers = self.failures = self.in_row = 0
        self.down = False
        self.probe_at = 0.0

    def well(self) -> None:
        """Note an answer."""
        self.answers += 1
        self.in_row = 0
        self.down = False

    def refused(self) -> None:
        """Note an answer that helps nobody, such as SERVFAIL."""
        self.failures += 1
        self.in_row = 0
        self.down = False

    def failed(self, now: float) -> None:
        """Note silence or an answer that is none."""
        self.failures += 1
        self.in_row += 1
        if self.in_row >= DOWN_AFTER and not self.down:
            self.down = True
            self.probe_at = now + PROBE_EVERY


class Flights(Generic[W]):
    """All questions that are under way."""

    def __init__(self, noise: Callable[[int], bytes]) -> None:
        self.servers: list[Server] = []
        self.same_case = False
        self.bad: Counter[str] = Counter()
        self._ids: Iterator[bytes] = iter(())
        self._send: list[Send] = []
        self._noise = noise
        self._open: dict[Key, Flight[W]] = {}
        self._ways: dict[Way, Attempt[W]] = {}
        self._probes: deque[tuple[float, Way]] = deque()
        self._numbers: Sequence[int] = ()

    def __len__(self) -> int:
        return len(self._open)

    def use(self, names: list[str], send: list[Send]) -> None:
        """Ask these servers from now on, each by its `send`; what is known of those that stay is kept."""
        self._send = send
        if [server.name for server in self.servers] == names:
            return
        known = {server.name: server for server in self.servers}
        self.servers = [known.get(name) or Server(name) for name in names]
        self._numbers = range(len(names))
        # Numbers of servers mean something else now: what is open starts anew when it is asked again.
        for flight in self._open.values():
            flight.order = self._numbers
            for attempt in flight.attempts:
                self._ways.pop(attempt.way, None)
            flight.attempts = []

    @property
    def all_down(self) -> bool:
        """Say whether no server answers."""
        return bool(self.servers) and all(server.down for server in self.servers)

    def probe_due(self, now: float) -> bool:
        """Say whether a server that is down should be asked again, if only by ourselves."""
        return any(server.down and server.probe_at <= now for server in self.servers)

    def waiting(self, key: Key) -> Flight[W] | None:
        """Return the flight of a question, if it is under way."""
        return self._open.get(key)

    def ask(self, key: Key, question: Question, waiter: W, now: float) -> None:
        """Ask, or wait for the answer to the same question; it is in the form of dnswire.lower."""
        flight = self._open.get(key)
        if flight is not None:
            flight.waiters.append(waiter)
            return
        flight = self._open[key] = Flight(key, question, now, waiter)
        flight.order = self._numbers
        for server in self.servers:
            if server.down:
                flight.order = sorted(self._numbers, key=lambda n: self.servers[n].down)
                self._next(flight, now)
                self._probe(flight, now)
                return
        if self._numbers:
            flight.tries = 1
            flight.due = now + HEDGE
            self._attempt(flight, 0, now)

    def _probe(self, flight: Flight[W], now: float) -> None:
        for number, server in enumerate(self.servers):
            if server.down and server.probe_at <= now:
                server.probe_at = now + PROBE_EVERY
                if number != flight.order[0]:
                    self._attempt(flight, number, now)

    def _next(self, flight: Flight[W], now: float) -> None:
        """Send the next message of a flight and say when to look at it again."""
        tries, order = flight.tries, flight.order
        if tries < TRIES and order:
            self._attempt(flight, order[tries % len(order)], now)
            flight.tries = tries = tries + 1
        if tries == 1:
            flight.due = max(now, flight.start + HEDGE)
        else:
            patience = SHORT_PATIENCE if self.all_down else PATIENCE
            stage = {0: 0.0, 2: LAST_TRY}.get(tries, patience)
            flight.due = max(now, flight.start + min(stage, patience))

    def _attempt(self, flight: Flight[W], server: int, now: float, streamed: bool = False) -> None:
        question = flight.question
        if self.same_case:
            question = dnswire.mixed(question, self._noise(len(question.raw) // 8 + 1))
        id_ = next(self._ids, b"")
        if not id_:
            block = self._noise(512)
            self._ids = iter([block[at : at + 2] for at in range(0, len(block), 2)])
            id_ = next(self._ids)
        way = self._send[server](dnswire.ask(id_, question), streamed), id_
        if way in self._ways:
            # The same way and id twice at once: one in 65,536; the hedge asks again.
            return
        attempt = self._ways[way] = _new(Attempt, (flight, server, question, now, way, streamed))
        flight.attempts.append(attempt)

    def received(self, way: Hashable, data: bytes, now: float) -> Landed[W] | None:
        """Take a message from upstream; what is no answer to an open question changes nothing."""
        attempt = self._ways.get((way, data[:2])) if len(data) > 11 else None
        if attempt is None:
            self.bad["id"] += 1
            return None
        flight, number, question, _, way, streamed = attempt
        if flight.ended:
            # A probe: its question is answered long since, the server is what counts.
            del self._ways[way]
            self.servers[number].well()
            return None
        try:
            answer = dnswire.parse_answer(data, question, self.same_case)
        except Malformed as error:
            self.bad[error.reason] += 1
            if error.reason == "other-question":
                return None
            return self._failed(attempt, now)
        if answer.truncated:
            if streamed:
                return self._failed(attempt, now)
            self._close(attempt)
            self._attempt(flight, number, now, True)
            return None
        if answer.rcode not in _CONCLUSIVE:
            # It lives, and may know other names: the next one is asked, and it is not put last.
            self.bad["rcode"] += 1
            self.servers[number].refused()
            return self._next_server(attempt, now)
        server = self.servers[number]
        server.answers += 1
        server.in_row = 0
        server.down = False
        if len(flight.attempts) > 1:
            return self._land(flight, answer, now, attempt)
        flight.ended = True
        # Attempt and flight name each other: untied, both go at once and leave the collector nothing.
        flight.attempts = []
        del self._ways[way], self._open[flight.key]
        landed: Landed[W] = _new(Landed, (flight, answer))
        return landed

    def lost(self, way: Hashable, now: float) -> list[Landed[W]]:
        """Note that a way (a stream) is broken: its questions go to the next server."""
        broken = [attempt for (each, _), attempt in self._ways.items() if each == way]
        for attempt in broken:
            if attempt.flight.ended:
                del self._ways[attempt.way]
        landed = [self._failed(attempt, now) for attempt in broken if not attempt.flight.ended]
        return [each for each in landed if each is not None]

    def _failed(self, attempt: Attempt[W], now: float) -> Landed[W] | None:
        """Note a server's failure and ask the next one at once."""
        self.servers[attempt.server].failed(now)
        return self._next_server(attempt, now)

    def _next_server(self, attempt: Attempt[W], now: float) -> Landed[W] | None:
        self._close(attempt)
        flight = attempt.flight
        if flight.tries < TRIES:
            self._next(flight, now)
        elif not flight.attempts:
            return self._land(flight, None, now)
        return None

    def _close(self, attempt: Attempt[W]) -> None:
        self._ways.pop(attempt.way, None)
        attempt.flight.attempts.remove(attempt)

    def _land(
        self,
        flight: Flight[W],
        answer: Answer | None,
        now: float,
        winner: Attempt[W] | None = None,
    ) -> Landed[W]:
        flight.ended = True
        self._open.pop(flight.key, None)
        for attempt in flight.attempts:
            if attempt is not winner:
                server = self.servers[attempt.server]
                if server.down and winner is not None:
                    self._probes.append((now + PATIENCE, attempt.way))
                    continue
                # Only silence of a fair time is a failure; who is merely slower is not.
                other = winner is None or attempt.server != winner.server
                if other and now - attempt.at >= HEDGE:
                    server.failed(now)
            self._ways.pop(attempt.way, None)
        flight.attempts.clear()
        return Landed(flight, answer)

    def tick(self, now: float) -> Iterator[Landed[W]]:
        """Ask the next server where one is late; yield the flights that nobody answered."""
        while self._probes and self._probes[0][0] <= now:
            self._ways.pop(self._probes.popleft()[1], None)
        # The oldest come first, and none is due before its hedge: most need no look.
        young = now - HEDGE if self.servers else now
        late: list[Flight[W]] = []
        for flight in self._open.values():
            if flight.start > young:
                break
            if flight.due <= now:
                late.append(flight)
        for flight in late:
            patience = SHORT_PATIENCE if self.all_down else PATIENCE
            if now - flight.start >= patience or not flight.order:
                yield self._land(flight, None, now)
            else:
                self._next(flight, now)
