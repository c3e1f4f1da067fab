"""IPv4 networks as ranges apart, each with whom it belongs to: how many lookups become one.

Addresses are numbers here: ten thousand networks are sorted and written in a tenth of a second.
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from netguard.core.names import Network


class Territory(NamedTuple):
    """The addresses from `first` up to, and without, `end`, and who has them in common."""

    first: int
    end: int
    owners: tuple[str, ...]

    def __str__(self) -> str:
        return f"{dotted(self.first)}-{dotted(self.end - 1)}"


def dotted(address: int) -> str:
    """Return an IPv4 address in its usual spelling."""
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


def spans(networks: Iterable[Network]) -> list[tuple[int, int]]:
    """Return (first, end) of the IPv4 networks, in their order."""
    return [
        (first := int(network.network_address), first + (1 << (32 - network.prefixlen)))
        for network in networks
        if network.version == 4
    ]


def prefixes(networks: Iterable[Network]) -> list[str]:
    """Return IPv4 prefixes in order, without those that lie in another one."""
    kept: list[str] = []
    last = 0
    for first, end in sorted(spans(networks), key=_widest_first):
        if end > last:
            kept.append(f"{dotted(first)}/{33 - (end - first).bit_length()}")
            last = end
    return kept


def territories(owned: Iterable[tuple[str, Sequence[Network]]]) -> tuple[Territory, ...]:
    """Return the ranges that the networks of several owners divide the addresses into.

    The networks of one owner are apart from each other; those of several may overlap.
    """
    items = sorted((*span, owner) for owner, networks in owned for span in spans(networks))
    if all(before[1] <= after[0] for before, after in pairwise(items)):
        return _joined((first, end, (owner,)) for first, end, owner in items)
    begins: dict[int, set[str]] = {}
    ends: dict[int, set[str]] = {}
    for first, end, owner in items:
        begins.setdefault(first, set()).add(owner)
        ends.setdefault(end, set()).add(owner)
    found = []
    here: set[str] = set()
    for start, end in pairwise(sorted({*begins, *ends})):
        here = (here - ends.get(start, set())) | begins.get(start, set())
        if here:
            found.append((start, end, tuple(sorted(here))))
    return _joined(found)


def _joined(parts: Iterable[tuple[int, int, tuple[str, ...]]]) -> tuple[Territory, ...]:
    """Join ranges that touch and have the same owners."""
    found: list[Territory] = []
    for first, end, owners in parts:
        last = found[-1] if found else None
        if last is not None and last.end == first and last.owners == owners:
            found[-1] = Territory(last.first, end, owners)
        else:
            found.append(Territory(first, end, owners))
    return tuple(found)


def _widest_first(span: tuple[int, int]) -> tuple[int, int]:
    return span[0], -span[1]
