"""Sockets that tablets ask on: datagrams and streams. Bytes in, bytes out, decided elsewhere."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

from netguard.errors import EnforcementError

PORT = 53
_IP_FREEBIND = 15
# Like SO_RCVBUF, beyond net.core.rmem_max; needs CAP_NET_ADMIN.
_SO_RCVBUFFORCE = 33
_QUEUE = 32 << 20
_TCP_IDLE = 10.0
_TCP_MAX = 64

OnStream = Callable[[bytes, str], Awaitable[bytes | None]]


def listen_udp(address: str) -> socket.socket:
    """Open the socket that tablets' datagrams come to; it does not block."""
    sock = socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    # 10,000 tablets may start at once: what is not read yet waits here, some 800 bytes each.
    for option in (_SO_RCVBUFFORCE, socket.SO_RCVBUF):
        with suppress(PermissionError):
            sock.setsockopt(socket.SOL_SOCKET, option, _QUEUE)
            break
    # The interface may come up after us: bind to its address all the same.
    sock.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    _bind(sock, address)
    return sock


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
