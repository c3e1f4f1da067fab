"""Sockets of the name proxy: datagrams and streams of tablets, questions to the resolvers upstream.

Bytes in, bytes out; what they mean is decided elsewhere. Each upstream question has a socket of
its own, so its port is random and only the asked server can answer (RFC 5452 9.2, 10).
"""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

from netguard.errors import EnforcementError

PORT = 53
_IP_FREEBIND = 15
_MAX_DATAGRAM = 4096
_DRAIN = 64
_TCP_IDLE = 10.0
_TCP_MAX = 64

Sender = Callable[[bytes], None]
OnDatagram = Callable[[bytes, str, Sender], None]
OnStream = Callable[[bytes, str], Awaitable[bytes | None]]


def listen_udp(address: str, on_datagram: OnDatagram) -> socket.socket:
    """Listen for tablets' datagrams; the caller owns the socket and removes its reader."""
    sock = socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    # The interface may come up after us: bind to its address all the same.
    sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    _bind(sock, address)

    def readable() -> None:
        for _ in range(_DRAIN):
            try:
                data, peer = sock.recvfrom(_MAX_DATAGRAM)
            except (BlockingIOError, ConnectionError):
                return
            on_datagram(data, peer[0], _sender(sock, peer))

    asyncio.get_running_loop().add_reader(sock, readable)
    return sock


def _sender(sock: socket.socket, peer: tuple[str, int]) -> Sender:
    def send(data: bytes) -> None:
        try:
            sock.sendto(data, peer)
        except OSError:
            # The buffer is full or the tablet is gone: it asks again.
            return

    return send


async def listen_tcp(address: str, on_stream: OnStream) -> asyncio.Server:
    """Listen for tablets' streams; slow and idle ones are closed, their number is bounded."""
    open_streams = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_streams
        peer = writer.get_extra_info("peername")
        open_streams += 1
        try:
            while open_streams <= _TCP_MAX:
                async with asyncio.timeout(_TCP_IDLE):
                    length = struct.unpack("!H", await reader.readexactly(2))[0]
                    data = await reader.readexactly(length)
                    answer = await on_stream(data, peer[0])
                    if answer is None:
                        return
                    writer.write(struct.pack("!H", len(answer)) + answer)
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            open_streams -= 1
            writer.close()

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    _bind(sock, address)
    return await asyncio.start_server(handle, sock=sock)


def _bind(sock: socket.socket, address: str) -> None:
    try:
        sock.bind((address, PORT))
    except OSError as error:
        sock.close()
        words = (
            "needs CAP_NET_BIND_SERVICE" if isinstance(error, PermissionError) else error.strerror
        )
        raise EnforcementError(f"cannot listen on {address} port {PORT}: {words}") from error


async def ask_udp(
    server: str, message: bytes, accept: Callable[[bytes], bool], patience: float
) -> bytes | None:
    """Ask one server; returns the first datagram from it that `accept` takes, None in silence.

    Datagrams that are not accepted (a wrong id, another question) leave the question open.
    """
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(
        family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    ) as sock:
        try:
            sock.connect((server, PORT))
            async with asyncio.timeout(patience):
                await loop.sock_sendall(sock, message)
                while True:
                    data = await loop.sock_recv(sock, _MAX_DATAGRAM)
                    if accept(data):
                        return data
        except (TimeoutError, OSError):
            return None


async def ask_tcp(
    server: str, message: bytes, accept: Callable[[bytes], bool], patience: float
) -> bytes | None:
    """Ask one server over a stream, after a truncated answer."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(server, PORT)
            try:
                writer.write(struct.pack("!H", len(message)) + message)
                await writer.drain()
                length = struct.unpack("!H", await reader.readexactly(2))[0]
                data = await reader.readexactly(length)
            finally:
                writer.close()
    except (TimeoutError, OSError, asyncio.IncompleteReadError):
        return None
    return data if accept(data) else None
