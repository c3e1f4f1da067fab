"""How often silences this long are normal: rates learned per tablet, shrunk to its likes.

A curve holds, for each context and each length, how many silences were longer. Divided by the days
it was watched that is the rate of normal silences at least so long; the rate of theft in the same
context is its rival. An open silence counts for the lengths it has passed (right censoring) but
never for its own verdict; one that is alarmed as taken does not count until it has ended. Few own
observations are drawn towards the group (same model, or same edge area), the group towards the
fleet, the fleet towards the trace (Gamma-Poisson; the pseudo-days below).
"""

from math import exp, log, log2

# Contexts: at rest by day, by night, at an edge, on the way between areas.
DAY, NIGHT, EDGE, WAY = range(4)
CONTEXTS = 4
LENGTHS: tuple[float, ...] = tuple(32.0 * 2**k for k in range(13))
_BINS = len(LENGTHS)
SIZE = CONTEXTS * _BINS
# What is drawn towards the wider circle weighs as so many tablet-days there, and at least as the
# time in which that circle sees so many silences: one rare silence of one's own makes no habit.
OWN_DAYS, GROUP_DAYS, FLEET_DAYS = 10.0, 100.0, 150.0
OWN_GAPS, GROUP_GAPS = 1.0, 2.0
# What was counted is forgotten with the span of days after the one it fell into: within 28 days (retention.py).
SPAN_DAYS = 14.0
_FULL = 250

# P(still gone after t) on the trace, at LENGTHS (Kaplan-Meier, between its points by log time).
_SURVIVAL = (0.55, 0.51, 0.475, 0.445, 0.415, 0.385, 0.33, 0.295, 0.26, 0.235, 0.21, 0.15, 0.02)
# Silences of over half a minute at an edge become rarer by a power of their length.
_EDGE_RATE, _EDGE_POWER = 0.06, 1.2
_BASE = (1.6, 0.7, 0.0, 0.02)


def _prior() -> tuple[float, ...]:
    rates = []
    for context in range(CONTEXTS):
        for k, survival in enumerate(_SURVIVAL):
            edge = _EDGE_RATE * 2 ** (-_EDGE_POWER * k)
            rates.append(max(1e-5, edge if context == EDGE else _BASE[context] * survival))
    return tuple(rates)


PRIOR = _prior()


class Pool:
    """What is known of several tablets: longer-than counts, and since when each is watched.

    `aged` is what of the counts is of the span before this one.
    """

    __slots__ = ("aged", "counts", "first_sum", "tablets")

    def __init__(self) -> None:
        self.counts = [0.0] * SIZE
        self.aged = [0.0] * SIZE
        self.tablets = 0
        self.first_sum = 0.0

    def days(self, now: float) -> float:
        """Return the tablet-days watched."""
        return max(0.0, (self.tablets * now - self.first_sum) / 86400.0)


# Pools, each with the tablet-days it has watched.
Circles = tuple[tuple[Pool, float], ...]


def passed(length: float) -> int:
    """Return how many of LENGTHS a silence has passed."""
    if length < 32.0:
        return 0
    return min(_BINS, (int(length) >> 5).bit_length())


def count(own: bytearray, pools: tuple[Pool, ...], context: int, start: int, end: int) -> None:
    """Count a silence in a context as longer than LENGTHS[start:end]."""
    base = context * _BINS
    for at in range(base + start, base + end):
        if own[at] < _FULL:
            own[at] += 1
        for pool in pools:
            pool.counts[at] += 1


def uncount(own: bytearray, pools: tuple[Pool, ...], context: int, end: int) -> None:
    """Take back what was counted of one silence."""
    base = context * _BINS
    for at in range(base, base + end):
        if own[at]:
            own[at] -= 1
        for pool in pools:
            pool.counts[at] = max(0.0, pool.counts[at] - 1)


def rate(
    own: bytearray,
    own_days: float,
    circles: Circles,
    context: int,
    length: float,
    counted: int,
) -> float:
    """Return the rate a tablet-day of normal silences longer than `length` seconds.

    `circles` are the wider ones, fleet and group; `counted` of the lengths hold the very silence
    that is judged.
    """
    k = max(0, passed(length) - 1)
    at = context * _BINS + k
    low = _rate_at(own, own_days, circles, at, k < counted)
    if length <= LENGTHS[0]:
        return low
    if k + 1 >= _BINS:
        return low * min(1.0, LENGTHS[k] / length)
    high = _rate_at(own, own_days, circles, at + 1, k + 1 < counted)
    share = log2(length / LENGTHS[k])
    return low * exp(log(high / low) * share)


def _rate_at(
    own: bytearray,
    own_days: float,
    circles: Circles,
    at: int,
    itself: bool,  # inner loop
) -> float:
    less = 1 if itself else 0
    found = PRIOR[at]
    pseudo = FLEET_DAYS
    for pool, watched in circles:
        found = (max(0.0, pool.counts[at] - less) + pseudo * found) / (watched + pseudo)
        pseudo = max(GROUP_DAYS, GROUP_GAPS / found)
    pseudo = max(OWN_DAYS, OWN_GAPS / found)
    return (max(0, own[at] - less) + pseudo * found) / (own_days + pseudo)
