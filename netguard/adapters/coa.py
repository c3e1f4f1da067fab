"""Disconnect- and CoA-Requests on the wire (RFC 5176): sent, answered, sent again, until the recipe is at its end.

Outgoing only: nothing of ours listens for such a request. One exchange has one socket, connected to the NAS, so
that what comes from elsewhere is not even received and a closed port is known at once.
"""

import asyncio
import secrets
from collections.abc import Callable

from netguard.core import coa
from netguard.core.coa import Answer, Exchange, Outcome, Session, Word

# Seconds for an answer to the first request of a way; each try waits longer (RFC 5080 2.2.1).
PATIENCE = 1.0

# Seconds since 1970, asked for each request: a NAS is silent to one that is old.
Now = Callable[[], int]
# Told of each request: by which way it went, and what it brought.
Told = Callable[[coa.Way, Answer], None]


class _Ear(asyncio.DatagramProtocol):
    """Keeps what comes in; an ICMP error is an answer, too."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=16)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._keep(data)

    def error_received(self, exc: Exception) -> None:
        self._keep(None)

    def _keep(self, data: bytes | None) -> None:
        # A flood of forged answers fills the queue and is let go; the request is sent again.
        if not self.heard.full():
            self.heard.put_nowait(data)


async def throw_off(
    vendor: str,
    session: Session,
    secret: bytes,
    now: Now,
    told: Told | None = None,
    patience: float = PATIENCE,
) -> Outcome:
    """Throw a tablet off the air by a vendor's recipe; returns how it ended, raises nothing.

    At most a few requests for each way; with a NAS that is silent it takes `patience` times six for
    each port of the recipe.
    """
    exchange = Exchange(coa.ways(vendor, session))
    while True:
        answer = await _ask(exchange, session, secret, now(), patience * (exchange.tries + 1))
        if told is not None:
            told(exchange.way, answer)
        after = coa.follow(exchange, answer)
        if isinstance(after, Outcome):
            return after
        exchange = after


async def _ask(
    exchange: Exchange, session: Session, secret: bytes, now: int, patience: float
) -> Answer:
    """Send one request, with an identifier and a socket of its own, and wait for its answer."""
    raw = coa.request(exchange.way, session, secrets.randbelow(256), secret, now)
    try:
        transport, ear = await asyncio.get_running_loop().create_datagram_endpoint(
            _Ear, remote_addr=(str(session.server), exchange.way.port)
        )
    except OSError:
        # No route, no such address: as silent as a NAS that is off.
        return Answer(Word.SILENT)
    try:
        transport.sendto(raw)
        async with asyncio.timeout(patience):
            while True:
                data = await ear.heard.get()
                if data is None:
                    return Answer(Word.REFUSED)
                said = coa.read(data, raw, secret)
                if said is not None:
                    return Answer(Word.ACK if said[0] else Word.NAK, said[1])
    except TimeoutError:
        return Answer(Word.SILENT)
    finally:
        transport.close()
