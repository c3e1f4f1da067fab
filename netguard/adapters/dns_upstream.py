"""Questions to the resolvers upstream: datagrams from random ports, streams, and TLS.

Bytes in, bytes out. A question goes out of a socket picked at random among sockets on random ports
that live for seconds; each is connected, so that only the asked server can answer on it (RFC 5452
9.2, 10). The sockets hang in one epoll of their own: asyncio is woken once for many answers.
"""

import asyncio
import itertools
import os
import secrets
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from netguard.core.names import Upstream

PORT, TLS_PORT = 53, 853
POOL = 64
# A port is used so often and so long; then a new one takes its place.
USES, AGE, LINGER = 128, 10.0, 2.5
_DRAIN = 128
# So many looks at what has come before other work of this process has its turn, each waiting so many
# seconds: to wait here for what comes next costs a tenth of a turn of asyncio's loop.
_ROUNDS, _WAIT = 32, 0.001
_MAX_DATAGRAM = 4096
_STREAM_PATIENCE = 2.0
_MAX_QUEUED = 2000

# Messages that came at once: each with the way it came on.
Received = Callable[[list[tuple[object, bytes]]], None]
Lost = Callable[[object], None]
Spawn = Callable[[Coroutine[Any, Any, None]], object]


class Noise:
    """Random bytes of the kernel, fetched in blocks."""

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def __call__(self, count: int) -> bytes:
        """Return so many bytes that were never returned before."""
        if self._at + count > len(self._block):
            self._block, self._at = os.urandom(4096 + count), 0
        self._at += count
        return self._block[self._at - count : self._at]


class _Port:
    __slots__ = ("ends", "sock", "uses", "way")

    def __init__(self, sock: socket.socket, way: int, born: float) -> None:
        self.sock, self.way, self.ends, self.uses = sock, way, born + AGE, USES


class Wire:
    """All ways to the resolvers."""

    def __init__(
        self, received: Received, lost: Lost, spawn: Spawn, authorities: Path | None
    ) -> None:
        self.received, self.lost, self.spawn = received, lost, spawn
        self.authorities = authorities
        self.numbers = itertools.count(1)
        self._epoll = select.epoll()
        self._ports: dict[int, _Port] = {}
        self._servers: dict[Upstream, Datagrams | Lines] = {}
        self._doors: dict[int, Callable[[], None]] = {}
        # Questions of this turn, sent together at its end by `flush`.
        self.out: list[tuple[socket.socket, bytes]] = []
        # Why a TLS server was not reached last; empty when it was.
        self.trouble: dict[str, str] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._readable)

    def close(self) -> None:
        """Close every socket."""
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        for port in self._ports.values():
            port.sock.close()
        self._epoll.close()
        for way in self._servers.values():
            if isinstance(way, Lines):
                way.close()

    def way_to(self, server: Upstream) -> "Datagrams | Lines":
        """Return what sends questions to a server; kept for as long as this lives."""
        way = self._servers.get(server)
        if way is None:
            kind = Lines if server.tls else Datagrams
            way = self._servers[server] = kind(self, server)
        return way

    def watch(self, sock: socket.socket, readable: Callable[[], None]) -> None:
        """Call back when another socket can be read: one wake-up serves tablets and resolvers."""
        self._doors[sock.fileno()] = readable
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def unwatch(self, sock: socket.socket) -> None:
        """Stop doing that."""
        self._epoll.unregister(sock.fileno())
        del self._doors[sock.fileno()]

    def flush(self) -> None:
        """Send the questions of this turn."""
        out, self.out = self.out, []
        for sock, message in out:
            try:
                sock.send(message)
            except OSError:
                # A full buffer is silence: the hedge asks another server.
                continue

    def _readable(self) -> None:
        for _ in range(_ROUNDS):
            ready = self._epoll.poll(_WAIT, _DRAIN)
            if not ready:
                return
            self._read(ready)

    def _read(self, ready: list[tuple[int, int]]) -> None:
        come: list[tuple[object, bytes]] = []
        for descriptor, _ in ready:
            port = self._ports.get(descriptor)
            if port is None:
                door = self._doors.get(descriptor)
                if door is not None:
                    door()
                continue
            try:
                come.append((port.way, os.read(descriptor, _MAX_DATAGRAM)))
            except BlockingIOError:
                continue
            except OSError:
                # Nobody listens there: the next server is asked at once.
                self.lost(port.way)
        if come:
            self.received(come)

    def opened(self, sock: socket.socket) -> "_Port":
        """Wait for what comes on a connected socket."""
        port = self._ports[sock.fileno()] = _Port(sock, next(self.numbers), time.monotonic())
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return port

    def retire(self, port: "_Port") -> None:
        """Close a socket of `opened`."""
        self._epoll.unregister(port.sock.fileno())
        del self._ports[port.sock.fileno()]
        port.sock.close()

    async def stream(self, server: Upstream, message: bytes, way: int) -> None:
        """Ask over a connection of its own."""
        try:
            async with asyncio.timeout(_STREAM_PATIENCE):
                reader, writer = await asyncio.open_connection(str(server.address), PORT)
                try:
                    writer.write(struct.pack("!H", len(message)) + message)
                    length = struct.unpack("!H", await reader.readexactly(2))[0]
                    data = await reader.readexactly(length)
                finally:
                    writer.close()
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            self.lost(way)
            return
        self.received([(way, data)])


class Datagrams:
    """Questions to one server from random ports, and over a stream where that is asked."""

    def __init__(self, wire: Wire, server: Upstream) -> None:
        self._wire, self._server = wire, server
        self._ports: list[_Port | None] = [None] * POOL
        self._old: deque[tuple[float, _Port]] = deque()
        self._dice = iter(b"")

    def send(self, message: bytes, streamed: bool) -> object:
        """Send a question; returns the way that its answer comes back on, None when it is lost."""
        if streamed:
            way = next(self._wire.numbers)
            self._wire.spawn(self._wire.stream(self._server, message, way))
            return way
        slot = next(self._dice, -1)
        if slot < 0:
            self._dice = iter(os.urandom(4096))
            slot = next(self._dice)
        port = self._ports[slot % POOL]
        if port is None or not port.uses or time.monotonic() > port.ends:
            fresh = self._fresh()
            if fresh is None:
                return None
            self._put_aside(port)
            port = self._ports[slot % POOL] = fresh
        port.uses -= 1
        self._wire.out.append((port.sock, message))
        return port.way

    def _put_aside(self, port: _Port | None) -> None:
        """Keep a port that is not used any more open for the answers still to come."""
        now = time.monotonic()
        if port is not None:
            self._old.append((now + LINGER, port))
        while self._old and self._old[0][0] <= now:
            self._wire.retire(self._old.popleft()[1])

    def _fresh(self) -> _Port | None:
        """Open a socket on a random port, connected to the server."""
        family = socket.AF_INET6 if self._server.address.version == 6 else socket.AF_INET
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            sock = socket.socket(family, kind)
        except OSError:
            return None
        try:
            _bind_anywhere(sock)
            sock.connect((str(self._server.address), PORT))
        except OSError:
            sock.close()
            return None
        return self._wire.opened(sock)


class Lines:
    """Questions to one server over TLS, one connection at a time."""

    def __init__(self, wire: Wire, server: Upstream) -> None:
        self._wire, self._server = wire, server
        self._line: _Line | None = None

    def send(self, message: bytes, streamed: bool) -> object:  # always a stream
        """Send a question; returns the way that its answer comes back on."""
        if self._line is None:
            self._line = _Line(next(self._wire.numbers))
            self._wire.spawn(self._keep(self._line))
        return self._line.send(message)

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()

    async def _keep(self, line: "_Line") -> None:
        """Connect over TLS, verify who answers (RFC 8310 strict), carry questions until it ends."""
        wire, server = self._wire, self._server
        try:
            async with asyncio.timeout(_STREAM_PATIENCE):
                reader, writer = await asyncio.open_connection(
                    str(server.address),
                    TLS_PORT,
                    ssl=await asyncio.to_thread(_context, wire.authorities),
                    server_hostname=server.tls,
                )
            wire.trouble[str(server)] = ""
            line.carry(writer)
            while True:
                length = struct.unpack("!H", await reader.readexactly(2))[0]
                wire.received([(line.way, await reader.readexactly(length))])
        except ssl.SSLCertVerificationError as error:
            wire.trouble[str(server)] = f"its certificate is refused: {error.verify_message}"
        except (TimeoutError, OSError) as error:
            wire.trouble[str(server)] = str(error) or "no connection in time"
        except asyncio.IncompleteReadError:
            # A resolver closes what is idle (RFC 7766 6.2.3): the next question connects again.
            pass
        finally:
            self._line = None
            line.close()
            wire.lost(line.way)


class _Line:
    """One TLS connection; questions wait until it is up."""

    def __init__(self, way: int) -> None:
        self.way = way
        self._waiting: list[bytes] = []
        self._writer: asyncio.StreamWriter | None = None

    def send(self, message: bytes) -> int:
        framed = struct.pack("!H", len(message)) + message
        if self._writer is not None:
            self._writer.write(framed)
        elif len(self._waiting) < _MAX_QUEUED:
            self._waiting.append(framed)
        return self.way

    def carry(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        writer.write(b"".join(self._waiting))
        self._waiting.clear()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _context(authorities: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=None if authorities is None else str(authorities))


def _bind_anywhere(sock: socket.socket) -> None:
    """Bind to a random unprivileged port (RFC 6056 3.3.1); taken ones are passed over."""
    for _ in range(20):
        try:
            sock.bind(("", 1024 + secrets.randbelow(64512)))
        except OSError:
            continue
        return
    sock.bind(("", 0))
