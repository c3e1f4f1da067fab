"""The kernel's table of connections: forgotten by address, and read for what their openers sent.

By ctnetlink (linux/netfilter/nfnetlink_conntrack.h). Connections are listed by their source alone, which needs
Linux 5.8, and deleted one by one: deleting by source alone needs 6.9, and Debian 12 has 6.1. A connection that
is still allowed goes on: its next packet opens it again.
"""

import errno
import os
import socket
import struct
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from netguard.core.names import Address
from netguard.core.netlinkwire import NESTED, attribute, attributes, generic, message, messages
from netguard.errors import EnforcementError

_NETLINK_NETFILTER = 12
_DELETE = (1 << 8) | 2
_GET, _NEW = (1 << 8) | 1, 1 << 8
_REQUEST, _ACK, _DUMP = 0x1, 0x4, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_MARK, _COUNTERS_ORIGIN, _ID, _ZONE, _PACKETS = 8, 9, 12, 18, 1
_MOST_FLOWS = 500_000
_TUPLE_ORIGIN, _TUPLE_IP, _FILTER = 1, 1, 25
_SOURCE = {4: (socket.AF_INET, 1), 6: (socket.AF_INET6, 3)}
# Below CTA_TUPLE_ORIG: addresses, and protocol with its ports.
_DESTINATION4, _TUPLE_PROTO, _PROTO_NUMBER, _PROTO_PORT = 2, 2, 1, 3
_FLAGS_ORIGIN, _FLAGS_REPLY, _BY_SOURCE = 1, 2, 1


def forget(addresses: Iterable[Address]) -> None:
    """Forget every connection that one of these addresses has opened; raises EnforcementError."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as wire:
        wire.bind((0, 0))
        wire.settimeout(5)
        number = 0
        for address in addresses:
            family, only = _by_source(address)
            # Listed to the end first: a table that changes under a listing is listed twice or not.
            for payload in list(_connections(family, only)):
                number += 1
                wire.send(
                    message(_DELETE, _REQUEST | _ACK, number, generic(family, 0) + _key(payload))
                )
                try:
                    _await(wire.recv(1 << 16), number)
                except TimeoutError as error:
                    raise EnforcementError("conntrack did not answer within 5 s") from error


def _key(payload: bytes) -> bytes:
    """Return what names this connection and no later one between the same ends."""
    held = dict(attributes(payload))
    found = attribute(_TUPLE_ORIGIN | NESTED, held.get(_TUPLE_ORIGIN, b""))
    for key in (_ZONE, _ID):
        if key in held:
            found += attribute(key, held[key])
    return found


def flows() -> dict[int, tuple[str, int]]:
    """Return (who opened it, packets it sent) of each IPv4 connection that is counted.

    The kernel counts where net.netfilter.nf_conntrack_acct is 1; elsewhere nothing is returned.
    Raises EnforcementError.
    """
    found: dict[int, tuple[str, int]] = {}
    for payload in _connections(socket.AF_INET):
        _note(found, payload)
        if len(found) >= _MOST_FLOWS:
            break
    return found


class Opened(NamedTuple):
    """One connection: who opened it to where, and the mark of the right that let it in."""

    id: int
    source: bytes
    destination: bytes
    protocol: int
    port: int
    mark: int


def opened() -> Iterator[Opened]:
    """Yield each IPv4 connection; raises EnforcementError."""
    for count, payload in enumerate(_connections(socket.AF_INET)):
        found = _opened(payload)
        if found is not None:
            yield found
        if count >= _MOST_FLOWS:
            return


def _opened(payload: bytes) -> Opened | None:
    held = dict(attributes(payload))
    origin = _inside(held.get(_TUPLE_ORIGIN, b""))
    addresses, ports = _inside(origin.get(_TUPLE_IP, b"")), _inside(origin.get(_TUPLE_PROTO, b""))
    source, destination = addresses.get(1, b""), addresses.get(_DESTINATION4, b"")
    protocol, id_ = ports.get(_PROTO_NUMBER, b""), held.get(_ID, b"")
    if len(source) != 4 or len(destination) != 4 or len(protocol) != 1 or len(id_) != 4:
        return None
    port = int.from_bytes(ports.get(_PROTO_PORT, b""), "big")
    mark = int.from_bytes(held.get(_MARK, bytes(4)), "big")
    return Opened(int.from_bytes(id_, "big"), source, destination, protocol[0], port, mark)


def by_mark() -> Counter[int]:
    """Return how many connections there are by their mark; raises EnforcementError."""
    found: Counter[int] = Counter()
    for payload in _connections(socket.AF_UNSPEC):
        mark = dict(attributes(payload)).get(_MARK, bytes(4))
        found[int.from_bytes(mark, "big")] += 1
    return found


def _connections(family: int, only: bytes = b"") -> Iterator[bytes]:
    """Yield each connection of a family as ctnetlink tells of it."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as wire:
        wire.bind((0, 0))
        wire.settimeout(5)
        wire.send(message(_GET, _REQUEST | _DUMP, 1, generic(family, 0) + only))
        while True:
            try:
                data = wire.recv(1 << 20)
            except TimeoutError as error:
                raise EnforcementError("conntrack did not answer within 5 s") from error
            for kind, _, payload in messages(data):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    _await(data, 1)
                elif kind == _NEW:
                    yield payload


def _note(found: dict[int, tuple[str, int]], payload: bytes) -> None:
    held = dict(attributes(payload))
    counters = _inside(held.get(_COUNTERS_ORIGIN, b""))
    addresses = _inside(_inside(held.get(_TUPLE_ORIGIN, b"")).get(_TUPLE_IP, b""))
    source, packets = addresses.get(_SOURCE[4][1], b""), counters.get(_PACKETS, b"")
    if len(source) == 4 and len(packets) == 8 and len(held.get(_ID, b"")) == 4:
        id_ = int.from_bytes(held[_ID], "big")
        found[id_] = socket.inet_ntoa(source), int.from_bytes(packets, "big")


def _inside(nested: bytes) -> dict[int, bytes]:
    return dict(attributes(generic(0, 0) + nested))


def _by_source(address: Address) -> tuple[int, bytes]:
    """Return the family, and the attributes that let a listing hold what this address has opened."""
    family, source = _SOURCE[address.version]
    of = attribute(_TUPLE_IP | NESTED, attribute(source, address.packed))
    only = attribute(_FLAGS_ORIGIN, struct.pack("=I", _BY_SOURCE))
    only += attribute(_FLAGS_REPLY, struct.pack("=I", 0))
    return family, attribute(_TUPLE_ORIGIN | NESTED, of) + attribute(_FILTER | NESTED, only)


def _await(data: bytes, number: int) -> None:
    for kind, sequence, payload in messages(data):
        if kind == _NLMSG_ERROR and sequence == number:
            code = -struct.unpack_from("=i", payload)[0]
            # ENOENT: there was none, which is what is wanted.
            if code not in {0, errno.ENOENT}:
                words = "needs CAP_NET_ADMIN" if code == errno.EPERM else os.strerror(code)
                raise EnforcementError(f"conntrack: {words}")
