"""Many datagrams in one call to the kernel: recvmmsg and sendmmsg, which `socket` does not have.

A call to the kernel for each datagram costs more than what is thought about it. Layouts are those of
recvmmsg(2), written by ctypes for the machine at hand; the buffers are made once and never move.
"""

import ctypes
import socket
from functools import lru_cache

MANY = 64
# What is longer is cut, and then no message that anybody reads.
LONGEST = 4096
# struct sockaddr_in: family, port, address, padding.
_NAME = 16

# The address and port that a datagram came from, as the kernel wrote them; and where the address is.
Peer = bytes
ADDRESS = slice(4, 8)


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vectors_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


_STEP = ctypes.sizeof(_Message)
_ROOMS = range(0, MANY * LONGEST, LONGEST)
_NAMES = range(0, MANY * _NAME, _NAME)

_libc = ctypes.CDLL(None)
_receive = _libc.recvmmsg
_receive.argtypes = (
    ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p,
)  # fmt: skip
_send = _libc.sendmmsg
_send.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


def _address(room: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(room))


class _Batch:
    """So many messages of one vector each, and room for the other side's address of each."""

    def __init__(self) -> None:
        self.messages = bytearray(MANY * ctypes.sizeof(_Message))
        self.vectors = bytearray(MANY * ctypes.sizeof(_Vector))
        self.names = bytearray(MANY * _NAME)
        self.at, vectors, names = map(_address, (self.messages, self.vectors, self.names))
        for number, message in enumerate((_Message * MANY).from_buffer(self.messages)):
            header = message.header
            header.name, header.name_length = names + number * _NAME, _NAME
            header.vectors = vectors + number * ctypes.sizeof(_Vector)
            header.vectors_count = 1


class Door:
    """A socket for datagrams that come from anywhere (IPv4), many at a time; it does not block."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        # What is to be sent at the next `flush`.
        self.out: list[tuple[bytes, Peer]] = []
        self._come, self._go = _Batch(), _Batch()
        room = bytearray(MANY * LONGEST)
        at = _address(room)
        for number, vector in enumerate((_Vector * MANY).from_buffer(self._come.vectors)):
            vector.base, vector.length = at + number * LONGEST, LONGEST
        self._room = memoryview(room)
        lengths = memoryview(self._come.messages).cast("I")
        self._lengths = lengths[_Message.length.offset // 4 :: _STEP // 4]
        # A vector is two words: where, and how long.
        self._vectors = memoryview(self._go.vectors).cast("L")

    def receive(self) -> list[tuple[bytes, Peer]]:
        """Return the datagrams that have come, a bounded number."""
        come = self._come
        count = _receive(self.sock.fileno(), come.at, MANY, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return []
        room, names = self._room, bytes(come.names)
        return [
            (bytes(room[at : at + length]), names[name : name + _NAME])
            for at, name, length in zip(
                _ROOMS, _NAMES, self._lengths[:count].tolist(), strict=False
            )
        ]

    def flush(self) -> None:
        """Send; a full buffer or a tablet that is gone loses a datagram, and it asks again."""
        out, self.out = self.out, []
        for start in range(0, len(out), MANY):
            self._send(out[start : start + MANY])

    def _send(self, out: list[tuple[bytes, Peer]]) -> None:
        go, vectors, count = self._go, self._vectors, len(out)
        whole = bytearray().join([message for message, _ in out])
        go.names[: count * _NAME] = b"".join([peer for _, peer in out])
        # Empty messages alone still need an address.
        base, at = _address(whole or bytearray(1)), 0
        for message, _ in out:
            length = len(message)
            vectors[at], vectors[at + 1] = base, length
            base += length
            at += 2
        done = 0
        while done < count:
            sent = _send(
                self.sock.fileno(), go.at + done * _STEP, count - done, socket.MSG_DONTWAIT
            )
            # It stops before the one that fails: that one is passed over.
            done += max(sent, 0) + (sent < count - done)


@lru_cache(maxsize=16_384)
def host(packed: bytes) -> str:
    """Return an address as text; `peer[ADDRESS]` is that of a peer."""
    return socket.inet_ntoa(packed)
