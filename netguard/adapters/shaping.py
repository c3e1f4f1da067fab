"""Ceilings in the kernel: HTB classes of our interfaces, brought to what the plan says and read back.

Our own encoder, many classes in one message: pyroute2 takes 2 ms to write one, because it computes a table
of rates that no kernel since Linux 3.8 reads, and a node has two for each of 10,000 tablets. Layout: linux/pkt_sched.h, linux/rtnetlink.h;
`tc` says the same (tests/kernel/test_shaping.py).
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from netguard.core.netlinkwire import attribute, message, messages
from netguard.core.shaping import MAJOR, ShapedClass, Shaper

_ROUTE = 0
_NEWQDISC, _DELQDISC, _GETQDISC, _NEWCLASS, _DELCLASS, _GETCLASS = 36, 37, 38, 40, 41, 42
_REQUEST, _ACK, _ECHO, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x8, 0x300, 0x100, 0x400
_ERROR, _DONE = 2, 3
_ROOT = 0xFFFFFFFF
_HANDLE = MAJOR << 16
_MESSAGE = struct.Struct("=Bxxxi3I")  # struct tcmsg: family, interface, handle, parent, info
_KIND, _OPTIONS = 1, 2
_HTB_PARMS, _HTB_INIT, _HTB_RATE64, _HTB_CEIL64 = 1, 2, 6, 7
_VERSION, _RATE_TO_QUANTUM = 3, 10
_ETHERNET = 1  # TC_LINKLAYER_ETHERNET: no rate tables, the kernel computes
# struct tc_htb_opt: two struct tc_ratespec, then burst and cburst in ticks, quantum, level, priority.
_PARMS = struct.Struct("=BBHhHI BBHhHI 5I")
_FULL = 0xFFFFFFFF
# struct tc_tbf_qopt: two struct tc_ratespec, then limit in bytes, buffer, mtu.
_TBF = struct.Struct("=BBHhHI BBHhHI 3I")
_TBF_PARMS, _TBF_RATE64, _TBF_BURST = 1, 4, 6
# In bytes per second; and the longest that is not cut, two frames.
_UNREACHED, _FRAMES = 12_500_000_000, 3_100
# A frame at a time: with one quantum for all, tablets of a site share evenly.
_QUANTUM = 1514
# Of one send: the kernel answers each, and its answers must find room.
_AT_ONCE = 100
_PATIENCE = 20.0


@dataclass(slots=True)
class Done:
    """What was changed and what could not be, in words for people; both empty when all was in place."""

    changed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def ensure(wanted: Iterable[Shaper]) -> Done:
    """Bring interfaces to their classes; what is theirs already is left alone, so that nothing stutters.

    Interfaces that are not named lose what is ours. One whose queueing discipline somebody else has
    chosen is a problem, and stays as it is; so is one that the kernel refuses.
    """
    done = Done()
    shapers = {shaper.interface: shaper for shaper in wanted}
    links = {name: index for index, name in socket.if_nameindex()}
    missing = sorted(name for name in shapers.keys() - links.keys() if shapers[name].classes)
    done.problems += [f"{name} is missing, no ceiling holds there" for name in missing]
    with closing(_Wire()) as wire:
        for name, index in sorted(links.items()):
            try:
                _bring(wire, index, shapers.get(name, Shaper(name, ())), done)
            except OSError as error:
                why = error.strerror or str(error)
                done.problems.append(
                    f"{name}: the kernel refuses a ceiling, none may hold there: {why}"
                )
    return done


def held(interface: str) -> dict[int, tuple[int, int, int]]:
    """Return the classes of ours on an interface: (parent, rate, ceil) by minor number, in bits per second."""
    with closing(_Wire()) as wire:
        return wire.classes(socket.if_nametoindex(interface))


def _bring(wire: "_Wire", index: int, shaper: Shaper, done: Done) -> None:
    name = shaper.interface
    root = wire.root(index)
    ours = root == ("htb", _HANDLE)
    if not shaper.classes:
        if ours:
            wire.change(_DELQDISC, 0, index, _HANDLE, _ROOT)
            done.changed.append(f"took the ceilings off {name}")
        return
    if not ours:
        # What the kernel chose by itself has no handle.
        if root is not None and root[1]:
            kind, handle = root
            done.problems.append(
                f"{name} has the queueing discipline {kind} {handle >> 16:x}: of somebody else: "
                "no ceiling holds there"
            )
            return
        init = attribute(_HTB_INIT, struct.pack("=5I", _VERSION, _RATE_TO_QUANTUM, 0, 0, 0))
        options = attribute(_OPTIONS, init)
        wire.change(_NEWQDISC, _CREATE | _REPLACE, index, _HANDLE, _ROOT, _kind("htb") + options)
    there = wire.classes(index) if ours else {}
    mine = {each.minor: each for each in shaper.classes}
    gone = sorted(there.keys() - mine.keys(), reverse=True)
    moved = [
        number
        for number, each in mine.items()
        if number in there and there[number][0] != each.parent
    ]
    # Children first: a class that has some cannot go.
    wire.change_all(
        (_DELCLASS, 0, index, _HANDLE | minor, 0, b"") for minor in (*sorted(moved)[::-1], *gone)
    )
    fresh = [c for c in shaper.classes if c.minor not in there or c.minor in moved]
    other = [
        c
        for c in shaper.classes
        if c.minor in there
        and c.minor not in moved
        and there[c.minor] != (c.parent, _whole(c.rate), _whole(c.ceil))
    ]
    wire.change_all(
        (_NEWCLASS, _CREATE, index, _HANDLE | each.minor, _parent(each), _class(each))
        for each in (*fresh, *other)
    )
    leaves = [each for each in fresh if each.queue]
    wire.change_all(
        (_NEWQDISC, _CREATE | _REPLACE, index, _queue(each), _HANDLE | each.minor, _cutting(each))
        for each in leaves
    )
    _fair(wire, index, leaves)
    if fresh or other or gone:
        done.changed.append(
            f"ceilings of {name}: {len(fresh)} new, {len(other)} changed, {len(gone)} gone"
        )


def _parent(each: ShapedClass) -> int:
    return _HANDLE | each.parent if each.parent else _HANDLE


def _kind(name: str) -> bytes:
    return attribute(_KIND, name.encode() + b"\0")


def _whole(bits: int) -> int:
    """Return a rate as the kernel keeps it: whole bytes per second."""
    return bits // 8 * 8


def _class(each: ShapedClass) -> bytes:
    rate, ceil = each.rate // 8, each.ceil // 8
    spec = 0, _ETHERNET, 0, 0, 0
    parms = _PARMS.pack(
        *spec, min(rate, _FULL), *spec, min(ceil, _FULL),
        _ticks(each.burst, rate), _ticks(each.burst, ceil), _QUANTUM, 0, 0,
    )  # fmt: skip
    body = attribute(_HTB_PARMS, parms)
    if max(rate, ceil) >= _FULL:
        body += attribute(_HTB_RATE64, struct.pack("=Q", rate))
        body += attribute(_HTB_CEIL64, struct.pack("=Q", ceil))
    return _kind("htb") + attribute(_OPTIONS, body)


def _ticks(size: int, rate: int) -> int:
    """Return how long a burst takes at a rate, in the kernel's ticks of 64 ns (PSCHED_SHIFT is 6)."""
    return min(size * 1_000_000_000 // max(rate, 1) >> 6, _FULL)


def _queue(each: ShapedClass) -> int:
    """Return the handle of a class's queue: the kernel takes ever longer to find a free one by itself."""
    return (0x8000 | each.minor) << 16


def _cutting(each: ShapedClass) -> bytes:
    """Return a queue of bytes that cuts into frames what GRO has put together.

    HTB would send 64 KiB at once, an eighth of a second at 4 Mbit/s, and the queue would not hold one
    of them. tbf is the discipline that cuts; its own rate is out of reach.
    """
    spec = 0, _ETHERNET, 0, 0, 0
    parms = _TBF.pack(*spec, _FULL, 0, 0, 0, 0, 0, 0, each.queue, 0, 0)
    body = attribute(_TBF_PARMS, parms) + attribute(_TBF_RATE64, struct.pack("=Q", _UNREACHED))
    body += attribute(_TBF_BURST, struct.pack("=I", _FRAMES))
    return _kind("tbf") + attribute(_OPTIONS, body)


def _fair(wire: "_Wire", index: int, leaves: Iterable[ShapedClass]) -> None:
    """Let a tablet's connections take turns, where the kernel has fq_codel: a call beside a download."""
    try:
        wire.change_all(
            (
                _NEWQDISC,
                _CREATE | _REPLACE,
                index,
                (0xC000 | each.minor) << 16,
                _queue(each) | 1,
                _kind("fq_codel"),
            )
            for each in leaves
        )
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise


class _Wire:
    """A socket of rtnetlink for traffic control."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.settimeout(_PATIENCE)
        self._number = 0

    def close(self) -> None:
        self._socket.close()

    def root(self, index: int) -> tuple[str, int] | None:
        """Return kind and handle of what stands at the root of an interface; None where nothing does."""
        self._number += 1
        payload = _MESSAGE.pack(0, index, 0, _ROOT, 0)
        self._socket.send(message(_GETQDISC, _REQUEST | _ACK | _ECHO, self._number, payload))
        found = None
        while True:
            for kind, number, body in messages(self._socket.recv(1 << 16)):
                if number != self._number:
                    continue
                if kind == _ERROR:
                    # Refused, where nothing stands there; else the end of the answer.
                    return found
                handle = _MESSAGE.unpack_from(body)[2]
                name = dict(_attributes(body[_MESSAGE.size :])).get(_KIND, b"")
                found = name.rstrip(b"\0").decode("ascii", "replace"), handle

    def classes(self, index: int) -> dict[int, tuple[int, int, int]]:
        """Return (parent, rate, ceil) of the classes of ours."""
        found = {}
        for handle, parent, body in self._dump(_GETCLASS, index):
            options = dict(_attributes(dict(_attributes(body)).get(_OPTIONS, b"")))
            parms = options.get(_HTB_PARMS, b"")
            if handle >> 16 != MAJOR or len(parms) < _PARMS.size:
                continue
            values = _PARMS.unpack_from(parms)
            rate, ceil = values[5], values[11]
            if _HTB_RATE64 in options:
                rate = int.from_bytes(options[_HTB_RATE64], "little")
            if _HTB_CEIL64 in options:
                ceil = int.from_bytes(options[_HTB_CEIL64], "little")
            above = parent & 0xFFFF if parent != _ROOT else 0
            found[handle & 0xFFFF] = above, rate * 8, ceil * 8
        return found

    def change(
        self, verb: int, flags: int, index: int, handle: int, parent: int, body: bytes = b""
    ) -> None:
        """Ask for one change. Raises OSError with what the kernel says."""
        self.change_all([(verb, flags, index, handle, parent, body)])

    def change_all(self, changes: Iterable[tuple[int, int, int, int, int, bytes]]) -> None:
        """Ask for changes, each of them acknowledged. Raises OSError for the first that is refused."""
        waiting: list[bytes] = []
        for verb, flags, index, handle, parent, body in changes:
            payload = _MESSAGE.pack(0, index, handle, parent, 0) + body
            self._number += 1
            waiting.append(message(verb, _REQUEST | _ACK | flags, self._number, payload))
            if len(waiting) == _AT_ONCE:
                self._send(waiting)
                waiting = []
        if waiting:
            self._send(waiting)

    def _send(self, batch: list[bytes]) -> None:
        self._socket.send(b"".join(batch))
        left = len(batch)
        refused = 0
        while left:
            for kind, _, answer in messages(self._socket.recv(1 << 18)):
                if kind == _ERROR:
                    left -= 1
                    refused = refused or -struct.unpack_from("=i", answer)[0]
        if refused:
            raise OSError(refused, os.strerror(refused))

    def _dump(self, verb: int, index: int) -> Iterator[tuple[int, int, bytes]]:
        """Yield handle, parent and attributes; whoever asks has to read to the end."""
        self._number += 1
        payload = _MESSAGE.pack(0, index, 0, 0, 0)
        self._socket.send(message(verb, _REQUEST | _DUMP, self._number, payload))
        while True:
            for kind, number, body in messages(self._socket.recv(1 << 18)):
                if number != self._number:
                    continue
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -struct.unpack_from("=i", body)[0]
                    raise OSError(code, os.strerror(code))
                _, _, handle, parent, _ = _MESSAGE.unpack_from(body)
                yield handle, parent, body[_MESSAGE.size :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, at)
        if length < 4 or at + length > len(data):
            return
        yield kind & 0x3FFF, data[at + 4 : at + length]
        at += length + (-length % 4)
