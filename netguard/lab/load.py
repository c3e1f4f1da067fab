"""A load of Access-Requests on a server of our own: paced or as fast as it answers, every reply verified.

A stand-in for many NASes at once: a bounded number outstanding, a fresh authenticator for each
request (or the server's duplicate cache would answer), the same packet again where a reply is late.
For tests and benches, on loopback and in namespaces of the lab only.
"""

import os
import select
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from time import perf_counter, sleep

from netguard.core import radius
from netguard.core.radius import Attributes, Packet
from netguard.errors import BadValue

OUTSTANDING = 32
_IDENTIFIERS = 256


@dataclass(slots=True)
class Outcome:
    """One request: what came back (None: nothing), after how long, in how many tries."""

    number: int
    sent: float
    reply: Packet | None = None
    seconds: float = 0.0
    tries: int = 1


@dataclass(slots=True)
class _Waiting:
    outcome: Outcome
    raw: bytes
    authenticator: bytes
    again: float


@dataclass(frozen=True, slots=True)
class Prepared:
    """A packet made before the clock runs; its identifier is its number modulo 256."""

    raw: bytes
    authenticator: bytes


def prepare(asked: Iterable[tuple[Attributes, bytes]], secret: bytes) -> Iterator[Prepared]:
    """Make packets of (attributes, password), each with an authenticator of its own."""
    for number, (attributes, password) in enumerate(asked):
        authenticator = os.urandom(16)
        identifier = number % _IDENTIFIERS
        raw = radius.access_request(identifier, authenticator, secret, attributes, password)
        yield Prepared(raw, authenticator)


@dataclass(slots=True)
class Load:
    """Sends prepared packets to one server from one address."""

    server: tuple[str, int]
    secret: bytes
    source: str = "127.0.0.1"
    rate: float | None = None  # a second; None: as fast as replies come
    retry: float = 1.0  # seconds until the same packet is sent again
    tries: int = 3
    outstanding: int = OUTSTANDING
    in_lab: bool = False  # to a server in a namespace of the lab; else loopback is the limit
    forged: int = 0  # packets that were no reply to ours; none is ever counted as one
    _waiting: dict[int, _Waiting] = field(default_factory=dict)

    def run(self, packets: Iterable[Prepared]) -> list[Outcome]:
        """Send all, wait for what is outstanding, return one outcome for each."""
        if not self.in_lab and not ip_address(self.server[0]).is_loopback:
            raise BadValue("bad-radius", "a load is for loopback only")
        done: list[Outcome] = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.bind((self.source, 0))
            sock.connect(self.server)
            sock.setblocking(False)
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            todo = enumerate(packets)
            following = next(todo, None)
            start = perf_counter()
            while following or self._waiting:
                elapsed = perf_counter() - start
                while following and self._may_send(following[0], elapsed):
                    self._send(sock, *following)
                    following = next(todo, None)
                poll.poll(self._patience(following[0] if following else None, elapsed) * 1000)
                self._receive(sock, done)
                self._again(sock, done)
        return sorted(done, key=lambda outcome: outcome.number)

    def _may_send(self, number: int, elapsed: float) -> bool:
        due = self.rate is None or number <= elapsed * self.rate
        free = len(self._waiting) < self.outstanding
        return due and free and number % _IDENTIFIERS not in self._waiting

    def _patience(self, following: int | None, elapsed: float) -> float:
        if following is None or self.rate is None or len(self._waiting) >= self.outstanding:
            return 0.05
        return min(0.05, max(0.0005, following / self.rate - elapsed))

    def _send(self, sock: socket.socket, number: int, packet: Prepared) -> None:
        now = perf_counter()
        outcome = Outcome(number, now)
        self._waiting[number % _IDENTIFIERS] = _Waiting(
            outcome, packet.raw, packet.authenticator, now + self.retry
        )
        _write(sock, packet.raw)

    def _receive(self, sock: socket.socket, done: list[Outcome]) -> None:
        while True:
            try:
                raw = sock.recv(radius.MAX_PACKET)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue  # nobody listens just now: the retry is for that
            now = perf_counter()
            waiting = self._waiting.get(raw[1]) if len(raw) > 1 else None
            try:
                if waiting is None:
                    raise BadValue("bad-radius", "nothing with this identifier was asked")
                reply = radius.decode(raw)
                radius.verify_reply(reply, raw[1], waiting.authenticator, self.secret)
            except BadValue:
                # A second answer to something that was sent twice, or no answer of the server's.
                self.forged += 1
                continue
            waiting.outcome.reply = reply
            waiting.outcome.seconds = now - waiting.outcome.sent
            done.append(waiting.outcome)
            del self._waiting[raw[1]]

    def _again(self, sock: socket.socket, done: list[Outcome]) -> None:
        now = perf_counter()
        for identifier, waiting in list(self._waiting.items()):
            if now < waiting.again:
                continue
            if waiting.outcome.tries == self.tries:
                done.append(waiting.outcome)
                del self._waiting[identifier]
                continue
            waiting.outcome.tries += 1
            waiting.again = now + self.retry
            _write(sock, waiting.raw)


def _write(sock: socket.socket, raw: bytes) -> None:
    for _ in range(100):
        try:
            sock.send(raw)
        except ConnectionRefusedError:
            continue  # that was about an earlier packet, and this one was not sent
        except BlockingIOError:
            sleep(0.001)
        else:
            return


def percentile(values: list[float], share: float) -> float:
    """Return the value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
