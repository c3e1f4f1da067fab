"""What the name proxy has learned as text for the disk, and what of it still counts after a start.

Pure. Ends are wall-clock seconds in the file, because the monotonic clock starts anew at a boot; a
clock that was set back can only shorten: nothing lives longer than the longest lifetime there is.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netguard.core.dnswire import unpacked
from netguard.core.held import Row
from netguard.core.learning import Book

VERSION = 1

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Kept:
    """The file, read: elements with seconds left, domains with seconds since they were used."""

    plan: str = ""
    rows: tuple[Row, ...] = ()
    seen: Mapping[tuple[str, str], float] = field(default_factory=dict)
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a start takes over: `held` is in the kernel, `missing` has to go in, `gone` has to leave."""

    held: tuple[Row, ...]
    missing: tuple[Row, ...]
    gone: tuple[tuple[str, bytes], ...]


def write(
    plan: str,
    rows: Iterable[Row],
    seen: Mapping[tuple[str, str], float],
    since: float,
    shift: float,
) -> str:
    """Return the file; `shift` is what is added to a monotonic second to make it a wall-clock one.

    An element at a time: a thread that encodes thousands in one call lets no other one answer meanwhile.
    """
    head = {"version": VERSION, "plan": plan, "since": round(since, 1)}
    elements = ",".join(
        _encode([row.service, row.packed.hex(), list(row.names), round(row.until + shift, 1)])
        for row in rows
    )
    named = _encode([[*key, round(at + shift, 1)] for key, at in sorted(seen.items())])
    return f'{_encode(head)[:-1]},"elements":[{elements}],"seen":{named}}}\n'


def read(text: str, shift: float) -> Kept:
    """Read the file back. Raises ValueError when it is not ours or damaged."""
    try:
        body: dict[str, Any] = json.loads(text)
        if body["version"] != VERSION:
            raise ValueError(f"version {body['version']}, this program reads {VERSION}")
        rows = tuple(
            Row(service, bytes.fromhex(packed), tuple(map(str, names)), float(end) - shift)
            for service, packed, names, end in body["elements"]
        )
        if any(len(row.packed) not in {4, 16} for row in rows):
            raise ValueError("an address has neither 4 nor 16 bytes")
        seen = {(str(s), str(d)): float(at) - shift for s, d, at in body["seen"]}
        return Kept(str(body["plan"]), rows, seen, float(body["since"]))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not the shape that was written: {error!r}") from error


def reconcile(
    book: Book, kept: Kept, kernel: Mapping[str, Mapping[bytes, float]], now: float
) -> Reconciled:
    """Compare what was kept with what the sets hold; `kernel` has seconds left by service.

    What the rules allow goes on to the earlier of both ends; what only the file knows (a reboot)
    goes into the sets again; what only the kernel knows was learned in the last moments before a
    crash and stays as long as the rules have not changed since.
    """
    learned = book.learned
    longest = now + (learned.ttl_ceiling + learned.grace).total_seconds()
    held: list[Row] = []
    missing: list[Row] = []
    gone: list[tuple[str, bytes]] = []
    left = {service: dict(elements) for service, elements in kernel.items()}
    for row in kept.rows:
        names = tuple(name for name in row.names if book.rules.may_open(row.service, name))
        there = left.get(row.service, {}).pop(row.packed, None)
        until = min(row.until, longest)
        # Without a name it was the kernel's word at an earlier start: the rules vouch for it alone.
        known = bool(names) if row.names else kept.plan == book.plan
        if not known or not _passes(book, row.service, row.packed):
            if there is not None:
                gone.append((row.service, row.packed))
        elif there is not None:
            held.append(Row(row.service, row.packed, names, min(until, now + there)))
        elif until > now + 1:
            missing.append(Row(row.service, row.packed, names, until))
    for service, elements in left.items():
        for packed, seconds in elements.items():
            if kept.plan == book.plan and _passes(book, service, packed):
                held.append(Row(service, packed, (), now + seconds))
            else:
                gone.append((service, packed))
    return Reconciled(tuple(held), tuple(missing), tuple(gone))


def _passes(book: Book, service: str, packed: bytes) -> bool:
    if service not in book.rules.domains:
        return False
    return not book.rules.refusal((service,), unpacked(packed))
