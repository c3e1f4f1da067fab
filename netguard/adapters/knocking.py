"""Questions to machines outside, to see whether a way is open: TCP, STUN, DNS, NTP. Bounded in time.

Who refuses is as good to know as that something does: the kernel keeps the ICMP error and its sender
(IP_RECVERR, ip(7)).
"""

import errno
import os
import selectors
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from netguard.core import dnswire
from netguard.core.dnswire import IN, A, Malformed, Question
from netguard.core.names import Address, Upstream

OPEN, REFUSED, SILENT, FORBIDDEN = "open", "refused", "silent", "forbidden"
OURSELVES = "this machine itself"
_IP_RECVERR = 11
# struct sock_extended_err, linux/errqueue.h: errno, origin, type, code, pad, info, data; then the sender.
_EXTENDED = struct.Struct("=IBBBBII")
_FROM_ICMP = 2
# RFC 8489 5: a Binding request without attributes.
_STUN = struct.Struct("!HHI12s")
_STUN_MAGIC = 0x2112A442
_NTP_EPOCH = 2208988800
NTP_PORT, DNS_PORT, TLS_PORT = 123, 53, 853


@dataclass(frozen=True, slots=True)
class Door:
    """One address to knock at."""

    address: Address
    protocol: str
    port: int


def knock(doors: Sequence[Door], source: str, patience: float) -> list[tuple[str, str]]:
    """Knock at all doors at once; returns for each how it went, and who forbade it.

    `source` is the address to come from, empty for the one that the kernel chooses.
    """
    results: list[tuple[str, str]] = [(SILENT, "")] * len(doors)
    end = time.monotonic() + patience
    with selectors.DefaultSelector() as waiting:
        for place, door in enumerate(doors):
            begun = _begin(door, source)
            if isinstance(begun, OSError):
                results[place] = _of_error(begun.errno, ("", False))
                continue
            kind = selectors.EVENT_WRITE if door.protocol == "tcp" else selectors.EVENT_READ
            waiting.register(begun, kind, place)
        try:
            while waiting.get_map() and (left := end - time.monotonic()) > 0:
                for key, _ in waiting.select(left):
                    one: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
                    results[key.data] = _outcome(one, doors[key.data])
                    waiting.unregister(one)
                    one.close()
        finally:
            for key in list(waiting.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]  # as above
    return results


def _begin(door: Door, source: str) -> socket.socket | OSError:
    kind = socket.SOCK_STREAM if door.protocol == "tcp" else socket.SOCK_DGRAM
    one = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        one.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
        if source:
            one.bind((source, 0))
        with suppress(BlockingIOError):
            one.connect((str(door.address), door.port))
        if door.protocol == "udp":
            one.send(_STUN.pack(1, 0, _STUN_MAGIC, os.urandom(12)))
    except OSError as error:
        one.close()
        return error
    return one


def _outcome(one: socket.socket, door: Door) -> tuple[str, str]:
    said = _icmp(one)
    if said == (str(door.address), True):
        # The other end itself has nobody on this port: the packet came there, and its answer here.
        return REFUSED, ""
    if door.protocol == "udp":
        try:
            one.recv(2048)
        except OSError as error:
            return _of_error(error.errno, said)
        return OPEN, ""
    number = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return (OPEN, "") if number == 0 and not said[1] else _of_error(number, said)


def _of_error(number: int | None, said: tuple[str, bool]) -> tuple[str, str]:
    by, from_icmp = said
    if from_icmp:
        return FORBIDDEN, by
    if number in {errno.ECONNREFUSED, errno.ECONNRESET}:
        return REFUSED, ""
    # Forbidden on this machine itself: a rule of the output hook, an unreachable route.
    if number in {errno.EPERM, errno.EACCES, errno.ENETUNREACH}:
        return FORBIDDEN, OURSELVES
    return SILENT, ""


def _icmp(one: socket.socket) -> tuple[str, bool]:
    """Return who sent an ICMP error about this socket, and whether anybody did."""
    try:
        _, ancillary, _, _ = one.recvmsg(512, 512, socket.MSG_ERRQUEUE)
    except OSError:
        return "", False
    for level, kind, data in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, _IP_RECVERR) and len(data) >= _EXTENDED.size + 8:
            _, origin, *_ = _EXTENDED.unpack_from(data)
            if origin == _FROM_ICMP:
                # sockaddr_in: family, port, address.
                return str(IPv4Address(data[_EXTENDED.size + 4 : _EXTENDED.size + 8])), True
    return "", False


# names


def ask_names(
    server: Upstream,
    names: Iterable[str],
    patience: float,
    source: str = "",
    authorities: Path | None = None,
) -> tuple[dict[str, list[Address]], float | None, str]:
    """Ask a resolver for names, all at once.

    Returns what it answered for each, in how many ms its first answer came, and why none did.
    """
    questions = {
        index.to_bytes(2): _question(name) for index, name in enumerate(dict.fromkeys(names), 1)
    }
    begin = time.monotonic()
    try:
        with _way(server, patience, source, authorities) as wire:
            for id_, question in questions.items():
                _say(wire, server, dnswire.ask(id_, question))
            return _hear(wire, server, questions, begin, patience)
    except ssl.SSLCertVerificationError as error:
        return {}, None, f"its certificate is refused: {error.verify_message}"
    except TimeoutError:
        return {}, None, f"silence for {patience:.1f} s"
    except OSError as error:
        return {}, None, error.strerror or str(error)


def _question(name: str) -> Question:
    raw = dnswire.write_name(name) + struct.pack("!HH", A, IN)
    return Question(0, 0, name, A, IN, raw, None)


def _way(server: Upstream, patience: float, source: str, authorities: Path | None) -> socket.socket:
    family = socket.AF_INET6 if server.address.version == 6 else socket.AF_INET
    kind = socket.SOCK_STREAM if server.tls else socket.SOCK_DGRAM
    wire = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        wire.settimeout(patience)
        if source:
            wire.bind((source, 0))
        wire.connect((str(server.address), TLS_PORT if server.tls else DNS_PORT))
        if not server.tls:
            return wire
        context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
        return context.wrap_socket(wire, server_hostname=server.tls)
    except BaseException:
        wire.close()
        raise


def _say(wire: socket.socket, server: Upstream, message: bytes) -> None:
    wire.sendall(struct.pack("!H", len(message)) + message if server.tls else message)


def _hear(
    wire: socket.socket,
    server: Upstream,
    questions: dict[bytes, Question],
    begin: float,
    patience: float,
) -> tuple[dict[str, list[Address]], float | None, str]:
    found: dict[str, list[Address]] = {}
    first: float | None = None
    why = f"silence for {patience:.1f} s"
    open_ = dict(questions)
    try:
        while open_ and (left := begin + patience - time.monotonic()) > 0:
            wire.settimeout(left)
            data = _one(wire, server)
            question = open_.pop(data[:2], None)
            if question is None:
                continue
            first = (time.monotonic() - begin) * 1000 if first is None else first
            with suppress(Malformed):
                found[question.name] = list(dnswire.parse_answer(data, question).addresses)
    except TimeoutError:
        pass
    except OSError as error:
        why = error.strerror or str(error)
    return found, first, "" if first is not None else why


def _one(wire: socket.socket, server: Upstream) -> bytes:
    if not server.tls:
        return wire.recv(4096)
    length = int.from_bytes(_exactly(wire, 2))
    return _exactly(wire, length)


def _exactly(wire: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = wire.recv(count - len(data))
        if not more:
            raise ConnectionResetError(errno.ECONNRESET, "hung up without an answer")
        data += more
    return data


# time


def ask_time(address: str, now: float, patience: float) -> tuple[float | None, int, str]:
    """Ask a time server (RFC 5905); returns how far it is ahead of us in seconds, its stratum, or why not.

    `now` is our clock, in seconds since 1970.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as wire:
        try:
            wire.settimeout(patience)
            wire.connect((address, NTP_PORT))
            token = os.urandom(8)
            begin = time.monotonic()
            # Version 4, a client; the transmit field comes back as `origin`.
            wire.send(b"\x23" + bytes(39) + token)
            while True:
                data = wire.recv(512)
                took = time.monotonic() - begin
                if len(data) >= 48 and data[24:32] == token:
                    break
                if took > patience:
                    return None, 0, f"silence for {patience:.1f} s"
        except TimeoutError:
            return None, 0, f"silence for {patience:.1f} s"
        except OSError as error:
            return None, 0, error.strerror or str(error)
    seconds, fraction = struct.unpack_from("!II", data, 40)
    theirs = seconds - _NTP_EPOCH + fraction / 2**32
    # Leap 3: its clock is not synchronised (RFC 5905 7.3).
    stratum = 0 if data[0] >> 6 == 3 else data[1]
    return theirs - (now + took / 2), stratum, ""
