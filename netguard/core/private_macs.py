"""Which tablet a private (random) MAC may be: the one that fell silent beside it a moment before. Pure.

A tablet that turns its private address on is gone under its own MAC and asks under another, at the same access point.
Refused as it is, it sends nothing but its request: place and time are all there is. A suggestion for people, never a reason to admit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

# From the last word of one to the first word of the other, in either order: records are up to an interim late.
BEFORE, AFTER = 900.0, 30.0
MOST = 3


@dataclass(frozen=True, slots=True)
class Silent:
    """A tablet: where it was heard last (canonical AP), and when (seconds)."""

    tablet: str
    site: str
    ap: str
    last: float
    model: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A tablet that may be meant, and how many seconds lie between its last word and the stranger's first."""

    tablet: str
    model: str
    apart: float


def suggest(
    site: str, ap: str, first: float, last: float, tablets: Iterable[Silent]
) -> tuple[Suggestion, ...]:
    """Return the tablets that a stranger may be, the likeliest first; none where its AP is not known.

    `first` and `last` are when the stranger asked first and last.
    """
    if not ap:
        return ()
    found = [
        Suggestion(each.tablet, each.model, abs(first - each.last))
        for each in tablets
        # One that goes on under its own MAC is another device.
        if (each.site, each.ap) == (site, ap)
        and first - BEFORE <= each.last <= first + AFTER
        and each.last <= last + AFTER
    ]
    return tuple(sorted(found, key=lambda s: (s.apart, s.tablet))[:MOST])
