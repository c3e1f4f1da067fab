"""Where controllers send: datagrams (syslog, traps) and streams (syslog over TCP and TLS).

Hands over bytes and who sent them, and nothing else; what they mean is for others. How many streams
are open at once is bounded, and one that says nothing is hung up on.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from netguard.errors import UsageError

Address = IPv4Address | IPv6Address
# A message, and whether the sender is to be hung up on is the answer.
Take = Callable[[bytes, Address], None]
# Bytes of one stream as they come; False ends it.
Stream = Callable[[bytes], bool]
MOST_STREAMS = 256
PATIENCE = 600.0
_CHUNK = 65536
_BUFFER = 4 << 20


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Take) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._take(data, plain(addr[0]))


def plain(text: str) -> Address:
    """Return an address as people write it: IPv4 in IPv6 is IPv4, a zone is left out."""
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def lines(path: Path) -> socket.socket | None:
    """Open a local socket that another program's log lines come to, one in a datagram.

    None where its folder is not there. Whoever may enter the folder may write: the folder is closed.
    """
    sock = socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    path.unlink(missing_ok=True)
    try:
        sock.bind(str(path))
        path.chmod(0o666)
    except OSError:
        sock.close()
        return None
    return sock


async def datagrams(where: tuple[str, int], take: Take) -> asyncio.DatagramTransport:
    """Listen for datagrams; the kernel keeps some megabytes while we are busy."""
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(take), local_addr=where
        )
    except OSError as error:
        raise UsageError(f"{where[0]} port {where[1]}: {error.strerror or error}") from error
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    return transport


async def streams(
    where: tuple[str, int],
    begin: Callable[[Address], Stream | None],
    tls: ssl.SSLContext | None = None,
) -> asyncio.Server:
    """Listen for streams; `begin` says who may send (None: nobody), and takes what comes."""
    count = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        take = begin(plain(writer.get_extra_info("peername")[0]))
        count += 1
        try:
            while take is not None and count <= MOST_STREAMS:
                async with asyncio.timeout(PATIENCE):
                    data = await reader.read(_CHUNK)
                if not data or not take(data):
                    return
        except (TimeoutError, ConnectionError, ssl.SSLError):
            return
        finally:
            count -= 1
            writer.close()

    try:
        return await asyncio.start_server(serve, *where, ssl=tls)
    except OSError as error:
        raise UsageError(f"{where[0]} port {where[1]}: {error.strerror or error}") from error


def tls_of(folder: Path) -> ssl.SSLContext:
    """Return what a server with `tls.crt` and `tls.key` of a folder needs. Raises UsageError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, folder)
    return context


def load_certificate(context: ssl.SSLContext, folder: Path) -> None:
    """Read `tls.crt` and `tls.key` of a folder for the connections to come. Raises UsageError."""
    try:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"{folder}: tls.crt and tls.key are needed: {error}") from error
