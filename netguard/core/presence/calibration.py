"""What a probability of theft is worth at the moment it is told: two curves, read off simulated alarms.

The first time a probability crosses the threshold is a chosen moment: most of what crosses slowly, or
from a middling start, comes back. So what is said is not what the evidence adds up to but how often
alarms that looked like it were thefts. The curves are monotone (they change no order within a context),
straight between their points in log odds, and leave alone what is at rest.

How they were made: the simulated hospital (seeds C-1 to C-12, 113 thefts, 48 weeks) was judged without
them, and for each context the silences whose probability passed a limit were counted by the tenth in
which it then was. At an exit, of those that pass 0.5: below 0.6 1 of 19 were thefts, below 0.7 0 of 5,
below 0.8 5 of 10, below 0.9 56 of 64, above 43 of 47; of those that pass 0.7: below 0.8 5 of 25. On the
way, of those that pass 0.45: 5 of 16. The points were drawn by hand through these, monotone. Few cases lie
behind those below 0.8 and behind all of the way. `bench/presence/calibrate.py` counts again.
"""

from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from math import exp, log
from types import MappingProxyType

from netguard.core.presence.curves import EDGE, WAY

Curve = tuple[tuple[float, float], ...]

# (what the evidence says, what is told), both rising; the ends go on at the same distance in log odds.
CURVES: Mapping[int, Curve] = MappingProxyType(
    {
        EDGE: (
            (0.30, 0.03), (0.50, 0.06), (0.60, 0.12), (0.70, 0.25), (0.76, 0.50), (0.80, 0.75), (0.85, 0.86),
            (0.90, 0.91), (0.95, 0.95),
        ),
        WAY: ((0.10, 0.05), (0.42, 0.25), (0.50, 0.33), (0.60, 0.42), (0.80, 0.55), (0.95, 0.90), (0.99, 0.99)),
    }
)  # fmt: skip


def shift(curves: Mapping[int, Curve], context: int, probability: float) -> float:
    """Return what a curve adds to the log odds of theft, in nats; 0 where the context has none."""
    curve = curves.get(context)
    if curve is None:
        return 0.0
    x = _odds(min(0.9999, max(0.0001, probability)))
    points = _points(curve)
    if x <= points[0][0]:
        return points[0][1] - points[0][0]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0) - x
    return points[-1][1] - points[-1][0]


def moved(probability: float, by: float) -> float:
    """Return a probability whose log odds are moved by so many nats."""
    if by == 0.0 or not 0.0 < probability < 1.0:
        return probability
    return 1 / (1 + exp(-_odds(probability) - by))


@cache
def _points(curve: Curve) -> Curve:
    return tuple((_odds(evidence), _odds(told)) for evidence, told in curve)


def _odds(probability: float) -> float:
    return log(probability / (1 - probability))
