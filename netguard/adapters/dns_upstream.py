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
_MAX_DATAGRAM = 4096
_STREAM_PATIENCE = 2.0
_MAX_QUEUED = 2000

Received = Callable[[object, bytes], None]
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
    __slots__ = ("born", "sock", "uses", "way")

    def __init__(self, sock: socket.socket, way: int, born: float) -> None:
        self.sock, self.way, self.born, self.uses = sock, way, born, 0


class Wire:
    """All ways to the resolvers."""

    def __init__(
        self, received: Received, lost: Lost, spawn: Spawn, authorities: Path | None
    ) -> None:
        self._received, self._lost, self._spawn = received, lost, spawn
        self._authorities = authorities
        self._noise = Noise()
        self._numbers = itertools.count(1)
        self._epoll = select.epoll()
        self._ports: dict[int, _Port] = {}
        self._pools: dict[Upstream, list[_Port | None]] = {}
        self._old: deque[tuple[float, _Port]] = deque()
        self._lines: dict[Upstream, _Line] = {}
        # Why a TLS server was not reached last; empty when it was.
        self.trouble: dict[str, str] = {}
        asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._readable)

    def close(self) -> None:
        """Close every socket."""
        asyncio.get_running_loop().remove_reader(self._epoll.fileno())
        for port in self._ports.values():
            port.sock.close()
        self._epoll.close()
        for line in list(self._lines.values()):
            line.close()

    def send(self, server: Upstream, message: bytes, *, streamed: bool) -> object:
        """Send a question; returns the way that its answer comes back on."""
        if server.tls:
            return self._line(server).send(message)
        if streamed:
            way = next(self._numbers)
            self._spawn(self._stream(server, message, way))
            return way
        return self._datagram(server, message)

    # datagrams

    def _datagram(self, server: Upstream, message: bytes) -> object:
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pools[server] = [None] * POOL
        slot = self._noise(1)[0] % POOL
        port = pool[slot]
        if port is None or port.uses >= USES or time.monotonic() - port.born > AGE:
            fresh = self._fresh(server)
            if fresh is None:
                return None
            self._put_aside(port)
            port = pool[slot] = fresh
        port.uses += 1
        try:
            port.sock.send(message)
        except OSError:
            # The hedge asks another server; a full buffer is silence.
            return None
        return port.way

    def _put_aside(self, port: _Port | None) -> None:
        """Keep a port that is not used any more open for the answers still to come."""
        now = time.monotonic()
        if port is not None:
            self._old.append((now + LINGER, port))
        while self._old and self._old[0][0] <= now:
            self._retire(self._old.popleft()[1])

    def _fresh(self, server: Upstream) -> _Port | None:
        """Open a socket on a random port, connected to the server."""
        family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            sock = socket.socket(family, kind)
        except OSError:
            return None
        try:
            _bind_anywhere(sock)
            sock.connect((str(server.address), PORT))
        except OSError:
            sock.close()
            return None
        port = _Port(sock, next(self._numbers), time.monotonic())
        self._ports[sock.fileno()] = port
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return port

    def _retire(self, port: _Port) -> None:
        self._epoll.unregister(port.sock.fileno())
        del self._ports[port.sock.fileno()]
        port.sock.close()

    def _readable(self) -> None:
        for descriptor, _ in self._epoll.poll(0, _DRAIN):
            port = self._ports.get(descriptor)
            if port is None:
                continue
            try:
                data = port.sock.recv(_MAX_DATAGRAM)
            except BlockingIOError:
                continue
            except OSError:
                # Nobody listens there: the next server is asked at once.
                self._lost(port.way)
                continue
            self._received(port.way, data)

    # streams

    async def _stream(self, server: Upstream, message: bytes, way: int) -> None:
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
            self._lost(way)
            return
        self._received(way, data)

    def _line(self, server: Upstream) -> "_Line":
        line = self._lines.get(server)
        if line is None:
            line = self._lines[server] = _Line(next(self._numbers))
            self._spawn(self._keep_line(server, line))
        return line

    async def _keep_line(self, server: Upstream, line: "_Line") -> None:
        """Connect over TLS, verify who answers (RFC 8310 strict), carry questions until it ends."""
        try:
            async with asyncio.timeout(_STREAM_PATIENCE):
                reader, writer = await asyncio.open_connection(
                    str(server.address),
                    TLS_PORT,
                    ssl=await asyncio.to_thread(_context, self._authorities),
                    server_hostname=server.tls,
                )
            self.trouble[str(server)] = ""
            line.carry(writer)
            while True:
                length = struct.unpack("!H", await reader.readexactly(2))[0]
                self._received(line.way, await reader.readexactly(length))
        except ssl.SSLCertVerificationError as error:
            self.trouble[str(server)] = f"its certificate is refused: {error.verify_message}"
        except (TimeoutError, OSError) as error:
            self.trouble[str(server)] = str(error) or "no connection in time"
        except asyncio.IncompleteReadError:
            # A resolver closes what is idle (RFC 7766 6.2.3): the next question connects again.
            pass
        finally:
            self._lines.pop(server, None)
            line.close()
            self._lost(line.way)


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
