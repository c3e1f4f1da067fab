"""The path of a question: from the tablet to the desk, upstream if need be, to the kernel, and back.

Moves bytes and nothing else; what is answered is the desk's decision (core/desk.py), whom to ask
upstream is that of the flights (core/flights.py). An answer leaves after the kernel has its addresses.
"""

import asyncio
import socket
from collections.abc import Callable, Coroutine, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from netguard.adapters import clock, nfnetlink
from netguard.adapters.datagrams import ADDRESS, Door, Peer, host
from netguard.adapters.dns_upstream import Noise, Wire
from netguard.core import dnswire, guide
from netguard.core.desk import Desk
from netguard.core.dnswire import Answer, Question
from netguard.core.flights import Flights, Landed
from netguard.core.held import Add, Batch, Change
from netguard.core.routes import Asked
from netguard.daemon.process import warn
from netguard.errors import EnforcementError
from netguard.render.nft_names import learned_sets_of

MAX_OPEN = 2000
MAX_WAITING = 20_000
MAX_OF_A_TABLET = 100
TICK = 0.05
WARM_AT_ONCE = 20
WARM_AGAIN = 30.0


# Where a reply goes: the socket and the tablet's address and port, or whoever waits on a stream.
To = tuple[Door, Peer] | Callable[[bytes], None]


class Traffic:
    """All questions of all tablets."""

    def __init__(
        self,
        desk: Desk,
        elements: nfnetlink.Elements,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        authorities: Path | None,
    ) -> None:
        self.desk = desk
        self.elements = elements
        self.wire = Wire(self._received, self._lost, spawn, authorities)
        self.flights: Flights[Asked] = Flights(Noise())
        self.commits = 0
        self._doors: dict[int, Door] = {}
        # Why the kernel did not take an address last; empty when it did.
        self.kernel_trouble = ""
        self.unresolved: dict[str, str] = {}
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self._warm: dict[str, tuple[float, tuple[str, ...]]] = {}

    def close(self) -> None:
        """Close what leads upstream."""
        if self._timer is not None:
            self._timer.cancel()
        self.wire.close()

    def use_book(self) -> None:
        """Ask the resolvers and keep the names warm that the desk's book lists."""
        book = self.desk.book
        if book is None:
            return
        self.flights.use(
            [str(server) for server in book.upstream],
            [self.wire.way_to(server).send for server in book.upstream],
        )
        self.flights.same_case = book.letter_case
        services: dict[str, list[str]] = {}
        for name, service in guide.exact_names(book):
            services.setdefault(name, []).append(service)
        self._warm = {
            name: (self._warm.get(name, (0.0,))[0], tuple(of)) for name, of in services.items()
        }
        self.unresolved = {n: why for n, why in self.unresolved.items() if n in self._warm}

    # questions

    def serve(self, sock: socket.socket) -> None:
        """Answer the datagrams that come to a socket."""
        door = self._doors[sock.fileno()] = Door(sock)
        self.wire.watch(sock, lambda: self._drain(door))

    def leave(self, sock: socket.socket) -> None:
        """Stop doing that."""
        self.wire.unwatch(sock)
        del self._doors[sock.fileno()]

    def _drain(self, door: Door) -> None:
        """Answer each datagram at once, or later, or not at all.

        All are read, then judged, then sent on: reading, thinking and sending in turns costs more.
        """
        now = clock.monotonic()
        desk, out = self.desk, door.out
        caching, quick, pursue = desk.caching, desk.quick, self._pursue
        for data, peer in door.receive():
            ready = quick(data, host(peer[ADDRESS]), now)
            if ready is None:
                continue
            if isinstance(ready, bytes):
                out.append((ready, peer))
                continue
            ready.to = door, peer
            answer = desk.cached(ready, now) if caching else None
            if answer is None:
                pursue(ready, now)
            else:
                self._finish([(ready, answer)], now)
        self._flush()

    async def stream(self, data: bytes, peer: str) -> bytes | None:
        """Do the same for a question that came over a stream."""
        now = clock.monotonic()
        ready = self.desk.quick(data, peer, now)
        if not isinstance(ready, Asked):
            return ready
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def send(reply: bytes) -> None:
            if not done.done():
                done.set_result(reply)

        ready.to = send
        answer = self.desk.cached(ready, now)
        if answer is not None:
            self._finish([(ready, answer)], now)
        elif not self._pursue(ready, now):
            return None
        self._flush()
        return await done

    def _pursue(self, asked: Asked, now: float) -> bool:
        """Ask upstream within the bounds; beyond them there is silence, and the tablet asks again."""
        seat, route = asked.seat, asked.route
        busy = seat is not None and seat.open >= MAX_OF_A_TABLET
        if self._waiting >= MAX_OPEN and not busy:
            full = len(self.flights) >= MAX_OPEN and self.flights.waiting(route.key) is None
            busy = full or self._waiting >= MAX_WAITING
        if busy:
            self.desk.counts["dropped", "busy"] += 1
            return False
        self._waiting += 1
        if seat is not None:
            seat.open += 1
        self.flights.ask(route.key, route.lowered, asked, now)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        return True

    def _finish(self, answered: Iterable[tuple[Asked, Answer]], now: float) -> None:
        """Send replies: the kernel has the addresses of each, or it is not sent.

        What has to be put into the kernel for several goes there in one transaction.
        """
        desk = self.desk
        batch: Batch | None = None
        held: list[tuple[Asked, Answer, Change]] = []
        for asked, answer in answered:
            if batch is None:
                batch = Batch(desk.memory)
            change = desk.settle(asked, answer, now)
            if type(change) is Change and not change.empty and not batch.fits(change):
                self._commit_all(held, now)
                batch, held = Batch(desk.memory), []
                change = desk.settle(asked, answer, now)
            if isinstance(change, bytes):
                self._refused(asked, change)
            elif change.empty:
                self._reply(asked, desk.confirm(asked, answer, change, now))
            else:
                batch.add(change)
                held.append((asked, answer, change))
        self._commit_all(held, now)

    def _commit_all(self, held: list[tuple[Asked, Answer, Change]], now: float) -> None:
        """Put these into the kernel, and send the replies of those that it has taken."""
        if not held:
            return
        try:
            self._commit(
                [gone for _, _, change in held for gone in _gone(change.evicted)],
                [new for _, _, change in held for new in _elements(change.adds)],
            )
        except EnforcementError:
            if len(held) > 1:
                # It takes all or nothing: one at a time, so that one full set stops nobody else.
                for one in held:
                    self._commit_all([one], now)
                return
            for asked, _, _ in held:
                self._reply(asked, self.desk.failed(asked, "kernel", now))
            return
        self.commits += 1
        for asked, answer, change in held:
            self._reply(asked, self.desk.confirm(asked, answer, change, now))

    def _refused(self, asked: Asked, reply: bytes) -> None:
        if self.desk.notes:
            note = self.desk.notes[-1]
            warn("an answer was refused", name=note.name, tablet=note.tablet, why=note.why)
        self._reply(asked, reply)

    def _reply(self, asked: Asked, reply: bytes) -> None:
        to: To | None = asked.to  # type: ignore[assignment]  # set by whoever asked
        if type(to) is tuple:
            if len(reply) > asked.route.limit:
                reply = asked.id + dnswire.truncated(asked.question)[2:]
            to[0].out.append((reply, to[1]))
        elif to is not None:
            to(reply)  # type: ignore[operator]  # the other kind of the union

    # upstream

    def _received(self, come: list[tuple[object, bytes]]) -> None:
        now = clock.monotonic()
        received = self.flights.received
        landed = [each for way, data in come if (each := received(way, data, now)) is not None]
        if landed:
            self._landed(landed, now)
        self._flush()

    def _lost(self, way: object) -> None:
        now = clock.monotonic()
        self._landed(self.flights.lost(way, now), now)
        self._flush()

    def _tick(self) -> None:
        now = clock.monotonic()
        self._landed(self.flights.tick(now), now)
        self._flush()
        more = len(self.flights) > 0
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick) if more else None

    def _landed(self, landed: Iterable[Landed[Asked]], now: float) -> None:
        desk = self.desk
        caching, again = desk.caching, desk.again
        answered: list[tuple[Asked, Answer]] = []
        for flight, answer in landed:
            if answer is not None and caching:
                desk.keep(flight.question, answer, now)
            self._waiting -= len(flight.waiters)
            for asked in flight.waiters:
                if asked.seat is None:
                    self._warmed(asked, answer, now)
                else:
                    asked.seat.open -= 1
                if answer is None:
                    stale = desk.stale(asked, now)
                    self._reply(asked, stale or desk.failed(asked, "upstream", now))
                    continue
                known = again(asked, answer, now)
                if known is None:
                    answered.append((asked, answer))
                elif type(asked.to) is tuple:
                    asked.to[0].out.append((known, asked.to[1]))
                else:
                    self._reply(asked, known)
        if answered:
            self._finish(answered, now)

    def _flush(self) -> None:
        """Send what has been asked and answered in this turn."""
        if self.wire.out:
            self.wire.flush()
        for door in self._doors.values():
            if door.out:
                door.flush()

    # names that are asked for before a tablet does

    def keep_warm(self) -> None:
        """Ask for the exact names whose answers have ended, a few at a time."""
        now = clock.monotonic()
        due = [name for name, (at, _) in self._warm.items() if at <= now][:WARM_AT_ONCE]
        probe = self.flights.probe_due(now)
        if probe and not due:
            due = list(self._warm)[:1]
        for name in due:
            _, services = self._warm[name]
            entry = self.desk.entry(name, dnswire.A)
            if entry is not None and entry.expires > now and entry.packed and not probe:
                self._warm[name] = entry.expires, services
                continue
            self._warm[name] = now + WARM_AGAIN, services
            raw = dnswire.write_name(name) + b"\0\1\0\1"
            question = Question(0, 0x0100, name, dnswire.A, dnswire.IN, raw, 1232)
            for service in services:
                self._pursue(self.desk.own(question, (service,)), now)
        self._flush()

    def _warmed(self, asked: Asked, answer: Answer | None, now: float) -> None:
        name = asked.question.name
        at, services = self._warm.get(name, (0.0, ()))
        if not services:
            return
        if answer is None:
            self.unresolved[name] = "no resolver answers"
        elif answer.packed:
            self.unresolved.pop(name, None)
            self._warm[name] = max(at, now + min(max(answer.ttl, WARM_AGAIN), 3600)), services
        else:
            self.unresolved[name] = "no such name" if answer.rcode else "no address"

    # the kernel

    def put(self, adds: tuple[Add, ...]) -> None:
        """Put elements into the sets, in batches that a socket takes. Raises EnforcementError."""
        # Whoever calls has sets again; with nothing to put the next answer shows whether it is so.
        self.kernel_trouble = ""
        for start in range(0, len(adds), 200):
            self._commit((), _elements(adds[start : start + 200]))

    def take(self, gone: Iterable[tuple[str, bytes]]) -> None:
        """Take elements out of their services' sets. Raises EnforcementError."""
        every = list(_gone(gone))
        for start in range(0, len(every), 400):
            self._commit(every[start : start + 400], ())

    def _commit(self, gone: Iterable[tuple[str, bytes]], new: Iterable[nfnetlink.Element]) -> None:
        """Change elements, and remember whether the kernel takes any; raises EnforcementError."""
        try:
            self.elements.change(gone, new)
        except EnforcementError as error:
            if not self.kernel_trouble:
                warn("answers are held back, the kernel takes no address", why=str(error))
            self.kernel_trouble = str(error)
            raise
        self.kernel_trouble = ""


@cache
def _sets(service: str, size: int) -> tuple[str, str]:
    return learned_sets_of(service, 4 if size == 4 else 6)


def _elements(adds: Iterable[Add]) -> Iterable[nfnetlink.Element]:
    """Each address goes into its service's set and into the one of all services, for its longest."""
    for service, packed, seconds, longest in adds:
        own, every = _sets(service, len(packed))
        yield nfnetlink.Element(own, packed, int(seconds * 1000))
        yield nfnetlink.Element(every, packed, int(longest * 1000))


def _gone(evicted: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, bytes]]:
    for service, packed in evicted:
        yield _sets(service, len(packed))[0], packed
