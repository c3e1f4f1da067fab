"""The path of a question: from the tablet to the desk, upstream if need be, to the kernel, and back.

Moves bytes and nothing else; what is answered is the desk's decision (core/desk.py), whom to ask
upstream is that of the flights (core/flights.py). An answer leaves after the kernel has its addresses.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from netguard.adapters import clock, dns, nfnetlink
from netguard.adapters.dns_upstream import Noise, Wire
from netguard.core import dnswire
from netguard.core.desk import Asked, Desk
from netguard.core.dnswire import Answer, Question
from netguard.core.flights import Flights, Landed
from netguard.core.held import Add
from netguard.core.names import Address, Upstream
from netguard.daemon.process import warn
from netguard.errors import EnforcementError
from netguard.render.nftables import learned_set, learned_sets_of

MAX_OPEN = 2000
MAX_WAITING = 20_000
MAX_OF_A_TABLET = 100
TICK = 0.05
WARM_AT_ONCE = 20
WARM_AGAIN = 30.0


class Waiter(NamedTuple):
    """Who waits for an answer, and how it gets there; `send` is None for questions of our own."""

    asked: Asked
    send: Callable[[bytes], None] | None
    limit: int


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
        self.flights: Flights[Waiter] = Flights(self._send, Noise())
        self.commits = 0
        # Why the kernel did not take an address last; empty when it did.
        self.kernel_trouble = ""
        self.unresolved: dict[str, str] = {}
        self._upstream: tuple[Upstream, ...] = ()
        self._waiting = 0
        self._of_tablet: Counter[str] = Counter()
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
        self._upstream = book.upstream
        self.flights.use([str(upstream) for upstream in book.upstream])
        self.flights.same_case = book.letter_case
        services: dict[str, list[str]] = {}
        for name, service in self.desk.exact_names():
            services.setdefault(name, []).append(service)
        self._warm = {
            name: (self._warm.get(name, (0.0,))[0], tuple(of)) for name, of in services.items()
        }
        self.unresolved = {n: why for n, why in self.unresolved.items() if n in self._warm}

    # questions

    def datagram(self, data: bytes, peer: dns.Peer, sock: socket.socket) -> bytes | None:
        """Answer at once, or later, or not at all."""
        now = clock.monotonic()
        ready = self.desk.quick(data, peer[0], now)
        if type(ready) is not Asked:
            return ready  # type: ignore[return-value]  # the other kind of the union
        answer = self.desk.cached(ready, now)
        limit = ready.question.edns or 512
        if answer is not None:
            return self._fitting(ready.question, self._finish(ready, answer, now), limit)
        self._pursue(Waiter(ready, lambda reply: dns.send(sock, peer, reply), limit), now)
        return None

    async def stream(self, data: bytes, peer: str) -> bytes | None:
        """Do the same for a question that came over a stream."""
        now = clock.monotonic()
        ready = self.desk.quick(data, peer, now)
        if not isinstance(ready, Asked):
            return ready
        answer = self.desk.cached(ready, now)
        if answer is not None:
            return self._finish(ready, answer, now)
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def send(reply: bytes) -> None:
            if not done.done():
                done.set_result(reply)

        return await done if self._pursue(Waiter(ready, send, 65535), now) else None

    def _pursue(self, waiter: Waiter, now: float) -> bool:
        """Ask upstream within the bounds; beyond them there is silence, and the tablet asks again."""
        question, client = waiter.asked.question, waiter.asked.client
        tablet = client.tablet if client is not None else ""
        busy = self._waiting >= MAX_WAITING or self._of_tablet[tablet] >= MAX_OF_A_TABLET
        if not busy and len(self.flights) >= MAX_OPEN:
            busy = self.flights.waiting((question.name, question.type)) is None
        if busy:
            self.desk.counts["dropped", "busy"] += 1
            return False
        self._waiting += 1
        self._of_tablet[tablet] += 1
        self.flights.ask(question, waiter, now)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TICK, self._tick)
        return True

    def _finish(self, asked: Asked, answer: Answer | None, now: float) -> bytes:
        """Turn an answer into the reply: the kernel has its addresses, or it is not sent."""
        desk = self.desk
        if answer is None:
            stale = desk.stale(asked, now)
            return desk.failed(asked, "upstream", now) if stale is None else stale
        change = desk.settle(asked, answer, now)
        if isinstance(change, bytes):
            if desk.notes:
                note = desk.notes[-1]
                warn("an answer was refused", name=note.name, tablet=note.tablet, why=note.why)
            return change
        if not change.empty:
            try:
                self._commit(_gone(change.evicted), _elements(change.adds))
            except EnforcementError:
                return desk.failed(asked, "kernel", now)
            self.commits += 1
        return desk.confirm(asked, answer, change, now)

    def _fitting(self, question: Question, reply: bytes, limit: int) -> bytes:
        return reply if len(reply) <= limit else dnswire.truncated(question)

    # upstream

    def _send(self, server: int, message: bytes, streamed: bool) -> object:  # the flights' shape
        return self.wire.send(self._upstream[server], message, streamed=streamed)

    def _received(self, way: object, data: bytes) -> None:
        now = clock.monotonic()
        landed = self.flights.received(way, data, now)
        if landed is not None:
            self._landed(landed, now)

    def _lost(self, way: object) -> None:
        now = clock.monotonic()
        for landed in self.flights.lost(way, now):
            self._landed(landed, now)

    def _tick(self) -> None:
        now = clock.monotonic()
        for landed in self.flights.tick(now):
            self._landed(landed, now)
        more = len(self.flights) > 0
        self._timer = asyncio.get_running_loop().call_later(TICK, self._tick) if more else None

    def _landed(self, landed: Landed[Waiter], now: float) -> None:
        flight, answer = landed
        if answer is not None:
            self.desk.keep(flight.question, answer, now)
        for asked, send, limit in flight.waiters:
            self._waiting -= 1
            tablet = asked.client.tablet if asked.client is not None else ""
            self._of_tablet[tablet] -= 1
            if not self._of_tablet[tablet]:
                del self._of_tablet[tablet]
            reply = self._finish(asked, answer, now)
            if send is None:
                self._warmed(asked, answer, now)
            else:
                send(self._fitting(asked.question, reply, limit))

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
                self._pursue(Waiter(Asked(question, None, (service,)), None, 65535), now)

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

    def _commit(
        self, gone: Iterable[tuple[str, Address]], new: Iterable[nfnetlink.Element]
    ) -> None:
        """Change elements, and remember whether the kernel takes any; raises EnforcementError."""
        try:
            self.elements.change(gone, new)
        except EnforcementError as error:
            if not self.kernel_trouble:
                warn("answers are held back, the kernel takes no address", why=str(error))
            self.kernel_trouble = str(error)
            raise
        self.kernel_trouble = ""


def _elements(adds: Iterable[Add]) -> Iterable[nfnetlink.Element]:
    """Each address goes into its service's set and into the one of all services, for its longest."""
    for service, packed, seconds, longest in adds:
        address = dnswire.unpacked(packed)
        own, every = learned_sets_of(service, address.version)
        yield nfnetlink.Element(own, address, int(seconds * 1000))
        yield nfnetlink.Element(every, address, int(longest * 1000))


def _gone(evicted: Iterable[tuple[str, bytes]]) -> Iterable[tuple[str, Address]]:
    for service, packed in evicted:
        address = dnswire.unpacked(packed)
        yield learned_set(service, address.version), address
