"""The kernel's table of connections: those of an address are forgotten, so that they are judged anew.

One ctnetlink message an address (linux/netfilter/nfnetlink_conntrack.h); the filter by source alone
needs Linux 5.8. A connection that is still allowed goes on: its next packet opens it again.
"""

import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterable

from netguard.core.names import Address
from netguard.core.netlinkwire import NESTED, attribute, attributes, generic, message, messages
from netguard.errors import EnforcementError

_NETLINK_NETFILTER = 12
_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_NLMSG_DONE = 3
_MARK = 8
_NLMSG_ERROR = 2
_TUPLE_ORIGIN, _TUPLE_IP, _FILTER = 1, 1, 25
_SOURCE = {4: (socket.AF_INET, 1), 6: (socket.AF_INET6, 3)}
_FLAGS_ORIGIN, _FLAGS_REPLY, _BY_SOURCE = 1, 2, 1


def forget(addresses: Iterable[Address]) -> None:
    """Forget every connection that one of these addresses has opened; raises EnforcementError."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as wire:
        wire.bind((0, 0))
        wire.settimeout(5)
        for number, address in enumerate(addresses, 1):
            wire.send(_message(number, address))
            try:
                _await(wire.recv(1 << 16), number)
            except TimeoutError as error:
                raise EnforcementError("conntrack did not answer within 5 s") from error


def by_mark() -> Counter[int]:
    """Return how many connections there are by their mark; raises EnforcementError."""
    found: Counter[int] = Counter()
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as wire:
        wire.bind((0, 0))
        wire.settimeout(5)
        wire.send(message(_GET, _REQUEST | _DUMP, 1, generic(0, 0)))
        while True:
            try:
                data = wire.recv(1 << 20)
            except TimeoutError as error:
                raise EnforcementError("conntrack did not answer within 5 s") from error
            for kind, _, payload in messages(data):
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    code = -struct.unpack_from("=i", payload)[0]
                    raise EnforcementError(f"conntrack: {os.strerror(code)}")
                mark = dict(attributes(payload)).get(_MARK, bytes(4))
                found[int.from_bytes(mark, "big")] += 1


def _message(number: int, address: Address) -> bytes:
    family, source = _SOURCE[address.version]
    of = attribute(_TUPLE_IP | NESTED, attribute(source, address.packed))
    only = attribute(_FLAGS_ORIGIN, struct.pack("=I", _BY_SOURCE))
    only += attribute(_FLAGS_REPLY, struct.pack("=I", 0))
    body = attribute(_TUPLE_ORIGIN | NESTED, of) + attribute(_FILTER | NESTED, only)
    return message(_DELETE, _REQUEST | _ACK, number, generic(family, 0) + body)


def _await(data: bytes, number: int) -> None:
    for kind, sequence, payload in messages(data):
        if kind == _NLMSG_ERROR and sequence == number:
            code = -struct.unpack_from("=i", payload)[0]
            # ENOENT: there was none, which is what is wanted.
            if code not in {0, errno.ENOENT}:
                words = "needs CAP_NET_ADMIN" if code == errno.EPERM else os.strerror(code)
                raise EnforcementError(f"conntrack: {words}")
