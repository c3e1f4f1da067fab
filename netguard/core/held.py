"""What the kernel's learned sets hold until when, so that the kernel is called only when it must be.

Pure: times are seconds on the caller's monotonic clock, addresses are packed bytes, sets are named
by their service. What shall change is planned here, put into the kernel by the caller, and only
then remembered (`confirm`): memory never promises more than the kernel keeps.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

MAX_NAMES = 20_000


class Held:
    """An address in a service's set: until when, since which purge, and which names taught it.

    An element of an earlier purge may be gone from the kernel: it is put there again before it
    counts.
    """

    __slots__ = ("names", "purge", "until")

    def __init__(self, until: float, purge: int, names: set[str]) -> None:
        self.until, self.purge, self.names = until, purge, names


class Add(NamedTuple):
    """An address for a service's set, for so many seconds; `longest` is over all services."""

    service: str
    packed: bytes
    seconds: float
    longest: float


class Change(NamedTuple):
    """What the kernel has to take before an answer may leave."""

    name: str
    services: tuple[str, ...]
    packed: tuple[bytes, ...]
    until: float
    adds: tuple[Add, ...]
    evicted: tuple[tuple[str, bytes], ...]

    @property
    def empty(self) -> bool:
        """Say whether the kernel holds all of it already."""
        return not self.adds and not self.evicted


class Batch:
    """Changes that the kernel shall take in one transaction.

    Each was planned without knowing of the others: so no address comes twice, no set is filled by
    several at once, and what evicts stands alone. What does not fit waits for this batch to be
    confirmed, and is planned again.
    """

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self._places: set[tuple[str, bytes]] = set()
        self._more: Counter[str] = Counter()
        self.changes: list[Change] = []

    def fits(self, change: Change) -> bool:
        """Say whether a change may stand beside those that are here."""
        if not self.changes:
            return True
        if change.evicted or self.changes[0].evicted:
            return False
        places = {(add.service, add.packed) for add in change.adds}
        more = Counter(service for service, _ in places)
        return places.isdisjoint(self._places) and all(
            self._memory.size(service) + self._more[service] + count <= self._memory.per_service
            for service, count in more.items()
        )

    def add(self, change: Change) -> None:
        """Take a change that fits."""
        self.changes.append(change)
        for add in change.adds:
            self._places.add((add.service, add.packed))
            self._more[add.service] += 1


class Row(NamedTuple):
    """One element as it is shown and kept on disk."""

    service: str
    packed: bytes
    names: tuple[str, ...]
    until: float


class Memory:
    """All learned sets of one node."""

    def __init__(self) -> None:
        # Counts how often somebody else has removed sets or elements of ours.
        self.purge = 0
        self.per_name = 100
        self.per_service = 4096
        self._services: dict[str, dict[bytes, Held]] = {}
        # The addresses of a name in the order of their last use, the oldest first.
        self._names: dict[tuple[str, str], dict[bytes, None]] = {}
        self._longest: dict[bytes, float] = {}

    def plan(
        self,
        name: str,
        services: tuple[str, ...],
        packed: tuple[bytes, ...],
        now: float,
        span: float,
        enough: float,
    ) -> Change:
        """Return what is missing for an answer: what ends before `enough` is renewed for `span`."""
        packed = packed[: self.per_name]
        until = now + span
        adds: list[Add] = []
        evicted: list[tuple[str, bytes]] = []
        for service in services:
            held = self._services.get(service) or {}
            new = [p for p in packed if not self._lasts(held.get(p), enough)]
            adds += [Add(service, p, span, max(span, self._left(p, now))) for p in new]
            evicted += [(service, p) for p in self._over_name(service, name, packed, held)]
            fresh = sum(p not in held for p in new)
            if len(held) + fresh > self.per_service:
                evicted += [(service, p) for p in self._over_service(held, packed, fresh, now)]
        return Change(name, services, packed, until, tuple(adds), tuple(dict.fromkeys(evicted)))

    def size(self, service: str) -> int:
        """Return how many addresses a service has, ended ones among them."""
        return len(self._services.get(service, ()))

    def confirm(self, change: Change) -> None:
        """Remember a change that the kernel has taken."""
        for service, packed in change.evicted:
            self._drop(service, packed)
        for service, packed, _, _ in change.adds:
            held = self._services.setdefault(service, {})
            entry = held.get(packed)
            names = entry.names if entry is not None else set()
            held[packed] = Held(change.until, self.purge, names)
            self._longest[packed] = max(change.until, self._longest.get(packed, 0.0))
        for service in change.services:
            self._teach(service, change.name, change.packed)

    def _teach(self, service: str, name: str, packed: tuple[bytes, ...]) -> None:
        key = service, name
        taught = self._names.get(key)
        if taught is None:
            taught = self._names[key] = {}
            if len(self._names) > MAX_NAMES:
                self._forget_name(next(iter(self._names)))
        held = self._services.get(service, {})
        for each in packed:
            if each in taught:
                del taught[each]
            elif (entry := held.get(each)) is not None:
                entry.names.add(name)
            taught[each] = None

    def _forget_name(self, key: tuple[str, str]) -> None:
        service, name = key
        held = self._services.get(service, {})
        for packed in self._names.pop(key, ()):
            if (entry := held.get(packed)) is not None:
                entry.names.discard(name)

    def _lasts(self, entry: Held | None, enough: float) -> bool:
        return entry is not None and entry.until >= enough and entry.purge == self.purge

    def _left(self, packed: bytes, now: float) -> float:
        return self._longest.get(packed, now) - now

    def _over_name(
        self, service: str, name: str, packed: tuple[bytes, ...], held: dict[bytes, Held]
    ) -> Iterator[bytes]:
        """Yield the least recently used addresses of a name that only this name has taught."""
        taught = self._names.get((service, name))
        if taught is None or len(taught) + len(packed) <= self.per_name:
            return
        kept = set(packed)
        over = len(taught.keys() | kept) - self.per_name
        for each in [p for p in taught if p not in kept][: max(0, over)]:
            entry = held.get(each)
            if entry is not None and entry.names <= {name}:
                yield each

    def _over_service(
        self, held: dict[bytes, Held], packed: tuple[bytes, ...], fresh: int, now: float
    ) -> list[bytes]:
        """Return what goes from a full set: what has ended, then what ends first."""
        kept = set(packed)
        over = len(held) + fresh - self.per_service
        order = sorted((p for p in held if p not in kept), key=lambda p: held[p].until)
        ended = sum(held[p].until <= now for p in order)
        return order[: max(over, ended)]

    def _drop(self, service: str, packed: bytes) -> None:
        entry = self._services.get(service, {}).pop(packed, None)
        for name in entry.names if entry is not None else ():
            taught = self._names.get((service, name))
            if taught is not None:
                taught.pop(packed, None)
                if not taught:
                    del self._names[service, name]

    def held_until(self, services: Iterable[str], packed: Iterable[bytes]) -> float:
        """Return until when every one of these addresses is in every one of these sets."""
        until = float("inf")
        packed = tuple(packed)
        for service in services:
            held = self._services.get(service) or {}
            for each in packed:
                entry = held.get(each)
                if entry is None or entry.purge != self.purge:
                    return 0.0
                until = min(until, entry.until)
        return until

    def adopt(self, service: str, packed: bytes, names: Iterable[str], until: float) -> None:
        """Take over an element that a set held before this process started."""
        self._services.setdefault(service, {})[packed] = Held(until, self.purge, set())
        self._longest[packed] = max(until, self._longest.get(packed, 0.0))
        for name in names:
            self._teach(service, name, (packed,))

    def drop(self, service: str, packed: bytes) -> None:
        """Forget an element that was taken out."""
        self._drop(service, packed)

    def sweep(self, now: float) -> None:
        """Forget what has ended."""
        for service, held in self._services.items():
            for packed in [p for p, entry in held.items() if entry.until <= now]:
                self._drop(service, packed)
        for packed in [p for p, until in self._longest.items() if until <= now]:
            del self._longest[packed]

    def rows(self, now: float) -> Iterator[Row]:
        """Yield what is still in force."""
        for service, held in self._services.items():
            for packed, entry in held.items():
                if entry.until > now:
                    yield Row(service, packed, tuple(sorted(entry.names)), entry.until)

    def restorable(self, now: float) -> tuple[Add, ...]:
        """Return everything that lives for more than a second, for sets that were emptied."""
        return tuple(
            Add(row.service, row.packed, row.until - now, self._left(row.packed, now))
            for row in self.rows(now)
            if row.until - now > 1
        )

    def restored(self) -> None:
        """Remember that the kernel holds everything again."""
        for held in self._services.values():
            for entry in held.values():
                entry.purge = self.purge
