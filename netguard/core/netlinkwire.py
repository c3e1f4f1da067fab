"""Netlink messages as bytes: headers, attributes, and walks over both that cannot run away.

Pure; the sockets are in adapters/nfnetlink.py and adapters/nflog.py. Layout: linux/netlink.h and
linux/netfilter/nfnetlink.h. Lengths come from the kernel and are checked all the same.
"""

import struct
from collections.abc import Iterator

NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_HEADER = struct.Struct("=IHHII")
_GENERIC = struct.Struct("!BBH")


def message(kind: int, flags: int, number: int, payload: bytes) -> bytes:
    """Write one message."""
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, number & 0xFFFFFFFF, 0) + payload


def generic(family: int, resource: int) -> bytes:
    """Write the header that every nfnetlink message begins with."""
    return _GENERIC.pack(family, 0, resource)


def attribute(kind: int, data: bytes) -> bytes:
    """Write one attribute, padded to four bytes."""
    length = 4 + len(data)
    return struct.pack("=HH", length, kind) + data + b"\0" * (-length % 4)


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (type, sequence number, payload) of each whole message."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, _, number, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or at + length > len(data):
            return
        yield kind, number, data[at + _HEADER.size : at + length]
        at += length + (-length % 4)


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (type, value) of each whole attribute behind the nfnetlink header."""
    at = _GENERIC.size
    while at + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, at)
        if length < 4 or at + length > len(payload):
            return
        yield kind & _TYPE_MASK, payload[at + 4 : at + length]
        at += length + (-length % 4)
