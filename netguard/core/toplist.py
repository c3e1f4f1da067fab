"""The most frequent keys of an endless stream in bounded memory: the space-saving algorithm.

Metwally, Agrawal, El Abbadi 2005: at most `size` keys are kept; a new key takes the place of the
rarest one and inherits its count as its possible error. A count is never too low and at most
`error` too high, and every key with more than 1/size of the stream is in the list.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Entry(Generic[T]):
    """One key's count, by how much it may be too high, and what was seen last with it."""

    count: int
    error: int
    last: T


class TopList(Generic[T]):
    """The most frequent of the keys that were added."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: dict[str, Entry[T]] = {}

    def add(self, key: str, last: T) -> None:
        """Count a key once more."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.count += 1
            entry.last = last
            return
        floor = 0
        if len(self._entries) >= self._size:
            rarest = min(self._entries, key=lambda k: self._entries[k].count)
            floor = self._entries.pop(rarest).count
        self._entries[key] = Entry(floor + 1, floor, last)

    def get(self, key: str) -> Entry[T] | None:
        """Return what is known of a key; None says that it is not among the frequent ones."""
        return self._entries.get(key)

    def top(self, limit: int) -> list[tuple[str, Entry[T]]]:
        """Return the most frequent keys, the first one first; equals in the order of their names."""
        order = sorted(self._entries.items(), key=lambda item: (-item[1].count, item[0]))
        return order[:limit]
