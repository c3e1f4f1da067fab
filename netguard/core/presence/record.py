"""Whether what was said came true: one shift of the log odds of theft, learned from closed incidents.

An incident told as taken is settled three days after it was raised: a tablet that is still away, or
that people call lost or stolen, was gone; one that came back was not. How many were gone, beside how
many the stated probabilities expected, moves what is said from then on (one shrink factor, in the
sense of Platt scaling, drawn towards none by a few made-up incidents).
"""

from math import log

from netguard.core import loans
from netguard.core.presence.state import State

SETTLED_AFTER = 3 * 86400.0
# Of each outcome, so many are made up; and no record moves the log odds by more.
_PSEUDO, _MOST = 3.0, 1.5


def told(state: State, mac: str, alert: str, stated: float) -> None:
    """Note what was said when an incident was first told as taken."""
    settle(state)
    state.open.append((state.now + SETTLED_AFTER, mac, alert, stated))


def settle(state: State) -> None:
    """Count what is old enough to be known."""
    while state.open and state.open[0][0] <= state.now:
        _, mac, alert, stated = state.open.pop(0)
        seen = state.tablets.get(mac)
        if seen is None:
            continue
        count, expected, gone = state.settled
        true = seen.alert == alert or seen.loan in loans.GONE
        state.settled = (count + 1, expected + stated, gone + true)


def shift(state: State) -> float:
    """Return what the record adds to the log odds of theft."""
    count, expected, gone = state.settled
    was = (gone + _PSEUDO) / (count - gone + _PSEUDO)
    said = (expected + _PSEUDO) / (count - expected + _PSEUDO)
    return max(-_MOST, min(_MOST, log(was / said)))
