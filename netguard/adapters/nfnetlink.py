"""nf_tables over netlink: timed elements of address sets in one batch, and news of changes.

Our own small encoder for the one thing that happens on the path of a name's answer (0.02 ms an
element, where the nft program takes 6 ms). Messages: linux/netfilter/nf_tables.h, nfnetlink.h.
Tests compare with what `nft list` says.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from netguard.core.netlinkwire import NESTED, attribute, attributes, generic, message, messages
from netguard.errors import EnforcementError

_NETLINK_NETFILTER = 12
_SUBSYSTEM = 10 << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWSETELEM, _GETSETELEM, _DELSETELEM, _NEWGEN, _GETGEN = 12, 13, 14, 15, 16
_NEWOBJ, _GETOBJ = 18, 19
_OBJECT_NAME, _OBJECT_TYPE, _OBJECT_DATA = 2, 3, 4
_OBJECT_COUNTER = 1
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _ACK, _CREATE, _DUMP = 0x1, 0x4, 0x400, 0x300
# Where the flags of a message stand in its header (linux/netlink.h).
_FLAGS, _FLAGS_AT = struct.Struct("=H"), 6
_INET = 1
# Python's socket module does not name it.
_SO_SNDBUFFORCE = 32
_SET_ELEM_LIST_TABLE, _SET_ELEM_LIST_SET, _SET_ELEM_LIST_ELEMENTS = 1, 2, 3
_LIST_ELEM, _ELEM_KEY, _ELEM_TIMEOUT, _ELEM_EXPIRATION = 1, 1, 4, 5
_DATA_VALUE = 1
_GROUP_NFTABLES = 7
_GEN_ID, _GEN_PROC_PID, _GEN_PROC_NAME = 1, 2, 3
# Attribute 1 of every message names its table.
_TABLE = 1

NAMES = {
    0: "new table",
    2: "deleted table",
    3: "new chain",
    5: "deleted chain",
    6: "new rule",
    8: "deleted rule",
    9: "new set",
    11: "deleted set",
    12: "new element",
    14: "deleted element",
    18: "new object",
    20: "deleted object",
}
# Which attribute says where it was, and in which words.
_PLACES = {
    3: (3, ""),
    5: (3, ""),
    6: (2, "in chain "),
    8: (2, "in chain "),
    9: (2, ""),
    11: (2, ""),
    12: (2, "in set "),
    14: (2, "in set "),
    18: (2, ""),
    20: (2, ""),
}
# Of a flush of 10,000 elements nobody needs each.
_MOST = 8
# A set that is never at rest is not read for ever.
_READS = 8


class Element(NamedTuple):
    """An address as its 4 or 16 bytes in a set, and for how many milliseconds."""

    set: str
    packed: bytes
    milliseconds: int


class SetFull(EnforcementError):
    """A learned set has reached its size; the kernel took nothing of the batch."""


class Elements:
    """Adds and renews timed elements of one table; one socket, one batch at a time."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._sequence = 0
        self._places: dict[str, bytes] = {}
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(5)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def renew(self, elements: Iterable[Element]) -> None:
        """Put elements into their sets for their full time, also those that are there already.

        Add, delete, add in one transaction: adding an element again leaves its old countdown, and
        deleting one that is missing fails the batch. Raises SetFull or EnforcementError; then
        nothing was changed.
        """
        self.change((), elements)

    def remove(self, elements: Iterable[tuple[str, bytes]]) -> None:
        """Take elements out of their sets, whether they are still there or not."""
        self.change(elements, ())

    def change(self, gone: Iterable[tuple[str, bytes]], new: Iterable[Element]) -> None:
        """Do both in one transaction: what goes makes room for what comes.

        At most some 1,000 elements: the elements of a set share a message, and its lengths have 16
        bits.
        """
        sets: dict[str, tuple[dict[bytes, bytes], dict[bytes, bytes]]] = {}
        for name, packed in gone:
            sets.setdefault(name, ({}, {}))[0][packed] = _element(packed, 1000)
        for name, packed, milliseconds in new:
            if milliseconds <= 0:
                raise ValueError("a timeout of 0 is for ever in nftables")
            sets.setdefault(name, ({}, {}))[1][packed] = _element(packed, milliseconds)
        # An element that is missing fails the batch when it is deleted: each is added first. All
        # that goes is gone before anything comes, else a full set would stay full.
        steps = [
            (name, kind, going)
            for name, (going, _) in sets.items()
            for kind in (_NEWSETELEM, _DELSETELEM)
        ]
        steps += [
            (name, kind, coming)
            for name, (_, coming) in sets.items()
            for kind in (_NEWSETELEM, _DELSETELEM, _NEWSETELEM)
        ]
        batch = [
            self._elements(name, kind, each.values() if kind == _NEWSETELEM else map(_key, each))
            for name, kind, each in steps
            if each
        ]
        if batch:
            self._commit(batch)

    def _elements(self, name: str, kind: int, elements: Iterable[bytes]) -> bytes:
        """Write one message that adds or deletes these elements of a set."""
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = (
                generic(_INET, 0)
                + attribute(_SET_ELEM_LIST_TABLE, self._table.encode() + b"\0")
                + attribute(_SET_ELEM_LIST_SET, name.encode() + b"\0")
            )
        flags = _REQUEST | _CREATE if kind == _NEWSETELEM else _REQUEST
        listed = attribute(_SET_ELEM_LIST_ELEMENTS | NESTED, b"".join(elements))
        return self._pack(_SUBSYSTEM | kind, flags, place + listed)

    def held(self, name: str) -> dict[bytes, float]:
        """Return the addresses of a set with the seconds that each has left.

        The kernel's hash grows a moment after elements came, and one dump over that moment leaves
        some out (seen: 94 of 900), without a word. So it is read until nothing new appears.
        Raises EnforcementError where there is no such set.
        """
        found = self._dump(name)
        for _ in range(_READS):
            again = self._dump(name)
            if again.keys() <= found.keys():
                break
            found |= again
        return found

    def _dump(self, name: str) -> dict[bytes, float]:
        """Ask for the elements of a set once."""
        payload = (
            generic(_INET, 0)
            + attribute(_SET_ELEM_LIST_TABLE, self._table.encode() + b"\0")
            + attribute(_SET_ELEM_LIST_SET, name.encode() + b"\0")
        )
        self._socket.send(self._pack(_SUBSYSTEM | _GETSETELEM, _REQUEST | _DUMP, payload))
        number = self._sequence
        found: dict[bytes, float] = {}
        while True:
            for kind, sequence, body in messages(self._receive()):
                if sequence != number:
                    continue
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    raise _failure(-struct.unpack_from("=i", body)[0])
                found.update(_listed(body))

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(1 << 17)
        except TimeoutError as error:
            raise EnforcementError("the kernel did not answer over netlink within 5 s") from error

    def _pack(self, kind: int, flags: int, payload: bytes) -> bytes:
        self._sequence += 1
        return message(kind, flags, self._sequence, payload)

    def _commit(self, batch: list[bytes]) -> None:
        subsystem = generic(socket.AF_UNSPEC, 10)
        acknowledged = self._sequence
        begin = self._pack(_BATCH_BEGIN, _REQUEST, subsystem)
        end = self._pack(_BATCH_END, _REQUEST, subsystem)
        self._socket.send(begin + b"".join([*batch[:-1], _asking(batch[-1])]) + end)
        # Numbers of this batch: its messages, then its begin and its end.
        self._await(acknowledged, acknowledged - len(batch) + 1, self._sequence)

    def _await(self, acknowledged: int, first: int, last: int) -> None:
        """Wait for the batch's answer: an error of any message, or the acknowledgement of the last one."""
        while True:
            for _, number, payload in messages(self._receive()):
                # A failed batch may leave more errors behind than the one that was raised.
                if not first <= number <= last:
                    continue
                code = -struct.unpack_from("=i", payload)[0]
                if code:
                    raise _failure(code)
                if number == acknowledged:
                    return


def _asking(packed: bytes) -> bytes:
    """Return a message that is acknowledged, after the whole batch is committed.

    The end of a batch would be the natural place, and only Linux 6.10 and later acknowledge that.
    """
    (flags,) = _FLAGS.unpack_from(packed, _FLAGS_AT)
    return packed[:_FLAGS_AT] + _FLAGS.pack(flags | _ACK) + packed[_FLAGS_AT + _FLAGS.size :]


# An element on the wire: a list entry around its key, around its value; then its timeout.
_KEYS = {
    size: struct.pack("=HHHHHH", size + 12, _LIST_ELEM | NESTED, size + 8, _ELEM_KEY | NESTED, size + 4, _DATA_VALUE)
    for size in (4, 16)
}  # fmt: skip
_TIMED = {
    size: struct.pack("=HHHHHH", size + 24, _LIST_ELEM | NESTED, size + 8, _ELEM_KEY | NESTED, size + 4, _DATA_VALUE)
    for size in (4, 16)
}  # fmt: skip
_TIMEOUT = struct.pack("=HH", 12, _ELEM_TIMEOUT)


def _key(packed: bytes) -> bytes:
    return _KEYS[len(packed)] + packed


def _element(packed: bytes, milliseconds: int) -> bytes:
    return _TIMED[len(packed)] + packed + _TIMEOUT + milliseconds.to_bytes(8, "big")


def _listed(body: bytes) -> Iterator[tuple[bytes, float]]:
    """Yield address and seconds left of the elements in one message of a dump."""
    header = generic(0, 0)
    listed = dict(attributes(body)).get(_SET_ELEM_LIST_ELEMENTS, b"")
    for _, element in attributes(header + listed):
        parts = dict(attributes(header + element))
        key = dict(attributes(header + parts.get(_ELEM_KEY, b"")))
        left = parts.get(_ELEM_EXPIRATION)
        if _DATA_VALUE in key and left is not None:
            yield key[_DATA_VALUE], struct.unpack("!Q", left)[0] / 1000


def _failure(code: int) -> EnforcementError:
    if code == errno.ENFILE:
        return SetFull("a learned set is full")
    if code == errno.EPERM:
        return EnforcementError("needs CAP_NET_ADMIN")
    return EnforcementError(f"netlink: {os.strerror(code)}")


def fill(payloads: Iterable[bytes]) -> None:
    """Add elements that are not there yet, each payload a NFT_MSG_NEWSETELEM, all in one transaction.

    Raises EnforcementError with what the kernel says; then nothing was added.
    """
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as wire:
        wire.bind((0, 0))
        wire.settimeout(60)
        subsystem = generic(socket.AF_UNSPEC, 10)
        batch = [message(_BATCH_BEGIN, _REQUEST, 1, subsystem)]
        kind = _SUBSYSTEM | _NEWSETELEM
        batch += [
            message(kind, _REQUEST | _CREATE, number, payload)
            for number, payload in enumerate(payloads, 2)
        ]
        if len(batch) == 1:
            return
        last = len(batch)
        batch[-1] = _asking(batch[-1])
        batch.append(message(_BATCH_END, _REQUEST, last + 1, subsystem))
        body = b"".join(batch)
        # Beyond what a user may ask for: the batch is one message to the kernel.
        wire.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, 2 * len(body))
        wire.send(body)
        while True:
            for kind_, number, answer in messages(wire.recv(1 << 16)):
                code = -struct.unpack_from("=i", answer)[0] if kind_ == _NLMSG_ERROR else 0
                if code:
                    raise _failure(code)
                if number == last:
                    return


def generation() -> int:
    """Return the kernel's number of the ruleset: every committed transaction adds one."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as asking:
        asking.bind((0, 0))
        asking.settimeout(5)
        payload = generic(socket.AF_UNSPEC, 0)
        asking.send(message(_SUBSYSTEM | _GETGEN, _REQUEST, 1, payload))
        for kind, _, answer in messages(asking.recv(65536)):
            if kind == _SUBSYSTEM | _NEWGEN:
                return _number(dict(attributes(answer)).get(_GEN_ID, b""))
            if kind == _NLMSG_ERROR:
                raise _failure(-struct.unpack_from("=i", answer)[0])
    raise EnforcementError("the kernel did not say the generation of its ruleset")


def counters(table: str) -> dict[str, tuple[int, int]]:
    """Return packets and bytes of every named counter of one of our tables.

    0.1 ms; the nft program takes 80 ms and more, because it reads every element as well.
    """
    found: dict[str, tuple[int, int]] = {}
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER
    ) as asking:
        asking.bind((0, 0))
        asking.settimeout(5)
        wanted = attribute(_TABLE, table.encode() + b"\0")
        wanted += attribute(_OBJECT_TYPE, struct.pack("!I", _OBJECT_COUNTER))
        payload = generic(_INET, 0) + wanted
        asking.send(message(_SUBSYSTEM | _GETOBJ, _REQUEST | _DUMP, 1, payload))
        while True:
            for kind, _, answer in messages(asking.recv(1 << 20)):
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    raise _failure(-struct.unpack_from("=i", answer)[0])
                body = dict(attributes(answer))
                data = dict(attributes(generic(0, 0) + body.get(_OBJECT_DATA, b"")))
                if _number(body.get(_OBJECT_TYPE, b"")) == _OBJECT_COUNTER:
                    packets, size = (
                        _number(data.get(key, b"")) for key in (_COUNTER_PACKETS, _COUNTER_BYTES)
                    )
                    found[_name(body, _OBJECT_NAME)] = packets, size


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


@dataclass(frozen=True, slots=True)
class Change:
    """Somebody's committed transaction: which tables it touched, how, and who did it.

    `sets` are the sets of which elements came or went; `what` says in words what was done where,
    the first few. `pid` is one of the whole machine's, also where we are in a container.
    """

    tables: frozenset[str]
    kinds: frozenset[str]
    sets: frozenset[str]
    what: tuple[str, ...]
    pid: int
    program: str
    generation: int


class Monitor:
    """Reads the kernel's news about nf_tables; `changes` never blocks.

    `generation` is that of the last transaction it has heard of, None before the first: where the
    kernel's own is another, news was lost.
    """

    def __init__(self) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK,
            socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK,
            _NETLINK_NETFILTER,
        )
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        self.socket.bind((0, 1 << (_GROUP_NFTABLES - 1)))
        self.generation: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._tables: set[str] = set()
        self._kinds: set[str] = set()
        self._sets: set[str] = set()
        self._what: dict[str, None] = {}

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def changes(self) -> list[Change] | None:
        """Return the transactions committed since the last call; None when some were lost."""
        done: list[Change] = []
        while True:
            try:
                data = self.socket.recv(1 << 20)
            except BlockingIOError:
                return done
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._begin()
                return None
            for kind, _, payload in messages(data):
                self._take(kind & 0xFF, payload, done)

    def _take(self, kind: int, payload: bytes, done: list[Change]) -> None:
        found = dict(attributes(payload))
        if kind == _NEWGEN:
            self.generation = _number(found.get(_GEN_ID, b""))
            pid = _number(found.get(_GEN_PROC_PID, b""))
            tables, kinds = frozenset(self._tables), frozenset(self._kinds)
            what, program = tuple(self._what), _name(found, _GEN_PROC_NAME)
            sets = frozenset(self._sets)
            done.append(Change(tables, kinds, sets, what, pid, program, self.generation))
            self._begin()
            return
        name = NAMES.get(kind, f"message {kind}")
        self._tables.add(_name(found, _TABLE))
        self._kinds.add(name)
        place, words = _PLACES.get(kind, (_TABLE, ""))
        if kind in {_NEWSETELEM, _DELSETELEM}:
            self._sets.add(_name(found, place))
        if len(self._what) < _MOST:
            self._what[f"{name} {words}{_name(found, place)}"] = None


def _name(found: dict[int, bytes], kind: int) -> str:
    return found.get(kind, b"?").rstrip(b"\0").decode(errors="replace")
