"""How long tablets stay on their ways and at exits: who is carried off passes, who visits stays.

A stay that ended well adds its seconds to the spans it went through; a normal silence begins at a
random moment of such a stay. How long somebody who takes a tablet stays there is a judgement
(THEFT); how long the others do is learned, and starts from stays of ten minutes on average.
"""

from itertools import pairwise
from math import exp, log

from netguard.core.presence.weights import CAP

# Ends of the spans, in seconds; the last is open.
ENDS = (15.0, 120.0, 300.0, 600.0)
SPANS = len(ENDS) + 1
# A taken tablet is last heard so long after it came: nearly always within two minutes.
THEFT = (0.04, 0.76, 0.14, 0.04, 0.02)
AT_EDGE, ON_THE_WAY = range(2)
SIZE = 2 * SPANS
_MEAN, _STAYS = 600.0, 30.0
_LONGEST = 14400.0


def span_of(stay: float) -> int:
    """Return the span in which a stay ends."""
    return sum(stay >= end for end in ENDS)


def add(seconds: list[float], where: int, stay: float) -> None:
    """Add one stay of so many seconds that ended well."""
    start, at = 0.0, where * SPANS
    for end in (*ENDS, _LONGEST):
        if stay <= start:
            return
        seconds[at] += min(stay, end) - start
        start, at = end, at + 1


def share(seconds: list[float], where: int, span: int) -> float:
    """Return the share of the time there that falls into one span."""
    mine = seconds[where * SPANS : (where + 1) * SPANS]
    return (mine[span] + _PSEUDO[span]) / (sum(mine) + sum(_PSEUDO))


def weight(seconds: list[float], where: int, stay: float) -> tuple[float, float]:
    """Return what a stay says for theft, in nats, and how usual it is."""
    span = span_of(stay)
    usual = share(seconds, where, span)
    return max(-CAP, min(CAP, log(THEFT[span] / usual))), usual


def _pseudo() -> tuple[float, ...]:
    left = [1.0, *(exp(-end / _MEAN) for end in ENDS), 0.0]
    return tuple(_STAYS * _MEAN * (a - b) for a, b in pairwise(left))


_PSEUDO = _pseudo()
