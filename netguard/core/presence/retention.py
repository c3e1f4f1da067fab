"""How long what is learned of silences is kept: at most 28 days, of a tablet and of its likes.

Silences are counted into spans of 14 days; when the third begins, the first is forgotten, and the days it was
watched with it. What is left has no date and no place, but a context (at rest, at night, at an exit, on the way).
That the engine has seen enough to judge by what it has learned is not forgotten.
"""

from netguard.core.presence.curves import EDGE, SPAN_DAYS
from netguard.core.presence.judge import group_of
from netguard.core.presence.state import Seen, State

_SPAN = SPAN_DAYS * 86400.0


def watch(state: State, seen: Seen) -> None:
    """Count a tablet among those that are watched since its `first`: in the fleet, its model and its site."""
    for pool in (state.fleet, *(state.group(group_of(seen, each)) for each in (0, EDGE))):
        pool.tablets += 1
        pool.first_sum += seen.first


def tablet_days(state: State) -> float:
    """Return the tablet-days that were watched, those that are forgotten included."""
    return state.past_days + state.fleet.days(state.now)


def keep(state: State, now: float) -> None:
    """Forget what is older than two spans, where another has begun."""
    state.turned = state.turned or now
    while now - state.turned >= _SPAN:
        _turn(state)


def _turn(state: State) -> None:
    before, since = state.fleet.days(state.now), state.turned
    state.turned += _SPAN
    pools = (state.fleet, *state.groups.values())
    for pool in pools:
        pool.counts = [
            max(0.0, all_ - old) for all_, old in zip(pool.counts, pool.aged, strict=True)
        ]
        pool.aged = list(pool.counts)
        pool.tablets, pool.first_sum = 0, 0.0
    for seen in state.tablets.values():
        seen.curve = bytearray(max(0, a - b) for a, b in zip(seen.curve, seen.aged, strict=True))
        seen.aged = bytearray(seen.curve)
        seen.first = max(seen.first, since)
        watch(state, seen)
    state.past_days += max(0.0, before - state.fleet.days(state.now))
