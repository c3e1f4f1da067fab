"""The kernel's log of refused packets, read over netlink (nfnetlink_log).

Bounded by the rules' rate before it gets here, and by the socket's buffer: what is lost is counted
by the kernel's counters all the same. Messages: linux/netfilter/nfnetlink_log.h.
"""

import errno
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from netguard.core.netlinkwire import attribute, attributes, generic, message, messages

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 4 << 8
_CONFIG, _PACKET = 1, 0
_REQUEST = 0x1
_CFG_CMD, _CFG_MODE, _CFG_THRESHOLD = 1, 2, 5
_BIND = 1
_COPY_PACKET = 2
# Enough for both headers; a payload is nobody's business here.
HEADERS = 96
_IFINDEX_IN, _PAYLOAD, _PREFIX, _HWADDR = 4, 9, 10, 8


class Logged(NamedTuple):
    """One logged packet: the rule's prefix, the interface, the sender's MAC, its first bytes."""

    prefix: str
    interface: str
    hardware: bytes
    packet: bytes


class Log:
    """Reads one log group; `packets` never blocks."""

    def __init__(self, group: int, size: int = HEADERS, *, at_once: bool = False) -> None:
        """Read a group, the first `size` bytes of each packet.

        The kernel hands out a hundred packets together, or what it has after a second, unless told
        to do so `at_once`.
        """
        self.socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            _NETLINK_NETFILTER,
        )
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind((0, 0))
        self.lost = 0
        self._configure(group, _CFG_CMD, bytes([_BIND]))
        mode = struct.pack("!IBB", size, _COPY_PACKET, 0)
        self._configure(group, _CFG_MODE, mode)
        if at_once:
            self._configure(group, _CFG_THRESHOLD, struct.pack("!I", 1))

    def close(self) -> None:
        """Close the socket; the kernel forgets the group."""
        self.socket.close()

    def packets(self) -> Iterator[Logged]:
        """Yield what was logged since the last call."""
        while True:
            try:
                data = self.socket.recv(1 << 17)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1
                continue
            yield from _packets(data)

    def _configure(self, group: int, kind: int, value: bytes) -> None:
        payload = generic(socket.AF_UNSPEC, group) + attribute(kind, value)
        self.socket.send(message(_SUBSYSTEM | _CONFIG, _REQUEST, 0, payload))


def _packets(data: bytes) -> Iterator[Logged]:
    for kind, _, payload in messages(data):
        if kind == _SUBSYSTEM | _PACKET:
            yield _logged(dict(attributes(payload)))


def _logged(found: dict[int, bytes]) -> Logged:
    hardware = found.get(_HWADDR, b"")
    size = int.from_bytes(hardware[:2]) if len(hardware) >= 4 else 0
    prefix = found.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
    return Logged(
        prefix,
        _interface(int.from_bytes(found.get(_IFINDEX_IN, b""))),
        hardware[4 : 4 + min(size, 8)],
        found.get(_PAYLOAD, b""),
    )


def _interface(index: int) -> str:
    try:
        return socket.if_indextoname(index)
    except OSError:
        return ""
