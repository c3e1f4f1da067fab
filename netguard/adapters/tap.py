"""A copy of the packets of some UDP ports, and of unicast frames between other machines, off the wire.

AF_PACKET (packet(7)) with a filter in the kernel, so that nothing else is ever copied to us. Reads
only; it sends nothing and changes nothing but, where asked, the promiscuous mode of its own sockets.
"""

import ctypes
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from netguard.errors import EnforcementError

_ETH_ALL = 0x0003
_SO_ATTACH_FILTER = 26
_ADD_MEMBERSHIP, _PROMISCUOUS = 1, 1
_OUTGOING, _OTHER_HOST = 4, 3
_BUFFER = 4 << 20
_MAX = 65536
# A frame between two tablets is told by its addresses; what is in it is nobody's business.
_HEAD = 64
# linux/filter.h: operations of classic BPF.
_LDH, _LDB, _JEQ, _RET, _LDXMSH, _LDHX, _JSET = 0x28, 0x30, 0x15, 0x06, 0xB1, 0x48, 0x45
_PROTOCOL, _TYPE = 0xFFFFF000, 0xFFFFF004  # SKF_AD_OFF + SKF_AD_PROTOCOL, SKF_AD_PKTTYPE
_UDP = 17
_SOL_PACKET, _STATISTICS = 263, 6
Code = list[tuple[int, int, int, int]]
# One step with its label, and the labels to go to when it is true and when it is false.
_Line = tuple[str, int, str, str, int]


class Caught(NamedTuple):
    """What was caught: a packet from its network header on, or the head of a frame between others."""

    at: float
    packet: bytes
    is_frame: bool


class Tap:
    """Listens on every interface for some UDP ports, on some for frames between other machines."""

    def __init__(self, ports: Sequence[int], between: Sequence[str]) -> None:
        """Open the sockets; raises EnforcementError without CAP_NET_RAW."""
        self._sockets: list[socket.socket] = []
        try:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._ports = self._opened(kind, socket.htons(_ETH_ALL), _of_ports(ports))
            # What came before the filter was there is nobody's business.
            with suppress(BlockingIOError):
                while self._ports.recv(1):
                    pass
            for name in between:
                kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
                # Protocol 0: nothing is delivered before it is bound.
                frames = self._opened(kind, 0, _between())
                frames.bind((name, _ETH_ALL))
                index = socket.if_nametoindex(name)
                wish = struct.pack("iHH8s", index, _PROMISCUOUS, 0, b"")
                frames.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, wish)
        except PermissionError as error:
            self.close()
            raise EnforcementError("listening needs CAP_NET_RAW, try as root") from error
        except OSError as error:
            self.close()
            raise EnforcementError(f"listening: {error.strerror or error}") from error

    def _opened(self, kind: int, protocol: int, code: Code) -> socket.socket:
        one = socket.socket(socket.AF_PACKET, kind, protocol)
        self._sockets.append(one)
        program = b"".join(struct.pack("HBBI", *step) for step in code)
        buffer = ctypes.create_string_buffer(program)
        head = struct.pack("HL", len(code), ctypes.addressof(buffer))
        one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, head)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        return one

    def close(self) -> None:
        """Close every socket; the interfaces are as they were."""
        for one in self._sockets:
            one.close()
        self._sockets = []

    def caught(self, patience: float, clock_offset: float) -> Iterator[Caught]:
        """Yield what comes within so many seconds; the offset turns the monotonic clock into wall time."""
        end = time.monotonic() + patience
        while (left := end - time.monotonic()) > 0:
            ready, _, _ = select.select(self._sockets, [], [], left)
            at = time.monotonic() + clock_offset
            for one in ready:
                for _ in range(256):
                    try:
                        data, (name, _, kind, *_) = one.recvfrom(_MAX)
                    except BlockingIOError:
                        break
                    except OSError:
                        # An interface went away; the others go on.
                        break
                    if one is self._ports:
                        # On loopback each packet is seen going and coming.
                        if not (name == "lo" and kind == _OUTGOING):
                            yield Caught(at, data, is_frame=False)
                    else:
                        yield Caught(at, data[:_HEAD], is_frame=True)

    def dropped(self) -> int:
        """Return how many packets the kernel could not hand over since the last call."""
        count = 0
        for one in self._sockets:
            seen = one.getsockopt(_SOL_PACKET, _STATISTICS, 8)
            count += struct.unpack("II", seen)[1]
        return count


def _of_ports(ports: Sequence[int]) -> Code:
    """Return the filter for UDP from or to some ports, IPv4 and IPv6, from the network header on."""
    lines: list[_Line] = [
        ("", _LDH, "", "", _PROTOCOL),
        ("", _JEQ, "", "six", 0x0800),
        ("", _LDB, "", "", 9),
        ("", _JEQ, "", "no", _UDP),
        # No later fragment; X is the length of the header.
        ("", _LDH, "", "", 6),
        ("", _JSET, "no", "", 0x1FFF),
        ("", _LDXMSH, "", "", 0),
    ]
    for place in (0, 2):
        lines.append(("", _LDHX, "", "", place))
        lines += [("", _JEQ, "yes", "", port) for port in ports]
    lines.append(("", _RET, "", "", 0))
    lines += [("six", _JEQ, "", "no", 0x86DD), ("", _LDB, "", "", 6), ("", _JEQ, "", "no", _UDP)]
    for place in (40, 42):
        lines.append(("", _LDH, "", "", place))
        lines += [("", _JEQ, "yes", "", port) for port in ports]
    return _assembled([*lines, ("no", _RET, "", "", 0), ("yes", _RET, "", "", _MAX)])


def _between() -> Code:
    """Return the filter for frames that are for another machine's own address."""
    return _assembled(
        [
            ("", _LDB, "", "", _TYPE),
            ("", _JEQ, "", "no", _OTHER_HOST),
            ("", _RET, "", "", _HEAD),
            ("no", _RET, "", "", 0),
        ]
    )


def _assembled(lines: Sequence[_Line]) -> Code:
    """Turn labels into distances; an empty one is the next step."""
    places = {label: place for place, (label, *_) in enumerate(lines) if label}

    def distance(label: str, place: int) -> int:
        return places[label] - place - 1 if label else 0

    return [
        (code, distance(true, place), distance(false, place), value)
        for place, (_, code, true, false, value) in enumerate(lines)
    ]
