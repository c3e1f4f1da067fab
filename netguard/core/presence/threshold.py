"""How sure the engine must be before it says taken: the false-alarm budget decides.

Silences that ended by themselves are counted by the highest probability of theft they ever had. A
threshold would have raised as many false alarms as silences peaked above it; the lowest one that
stays within the budget is the one in force.
"""

from math import exp, log, sqrt

from netguard.core.presence.model import Model
from netguard.core.presence.state import PEAKS, State

_STEP = 0.25
_LEAST_DAYS = 3.0


def band_of(probability: float) -> int:
    """Return the band of a probability: quarters of a nat of log odds from -5 to 5."""
    inside = min(0.9933, max(0.0067, probability))
    return int((log(inside / (1 - inside)) + 5.0) / _STEP)


def learned(state: State) -> bool:
    """Say whether enough was seen for the budget and the calibration to count."""
    return _days(state) >= _LEAST_DAYS


def _days(state: State) -> float:
    return (state.now - state.since) / 86400.0


def threshold_of(model: Model, state: State) -> float:
    """Return the probability of theft from which a tablet is missing as taken."""
    weights = model.weights
    if not learned(state):
        return weights.unlearned
    expected = model.budget * max(_days(state), 7.0)
    # One standard deviation more is chance and no reason to become deaf.
    allowed = expected + sqrt(expected)
    over, band = 0.0, PEAKS
    while band > 0 and over + state.peaks[band - 1] <= allowed:
        band -= 1
        over += state.peaks[band]
    odds = exp(band * _STEP - 5.0)
    return min(weights.largest, max(weights.smallest, odds / (1 + odds)))
