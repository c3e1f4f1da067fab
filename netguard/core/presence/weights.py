"""How much each named piece of evidence says for each cause, and the rates before any evidence.

A weight is a log likelihood ratio in nats for (taken, battery, asleep, outage, moved). Those marked M
start from figures measured on the nine-day trace of a campus (likelihood ratio left for over two
hours against back within 30 minutes), and are about halved where they depend on each other (a walk,
a short dwell, silence at an edge): added up they made the engine too sure. The others are judgement. No single piece decides: each is
cut at CAP. How long the silence is, and how many probes were missed, stand in no table: they are
one joint rate that is learned (curves.py).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from types import MappingProxyType

from netguard.core.presence.calibration import CURVES, Curve

CAP = 3.0

# taken, battery, asleep, outage, moved
Row = tuple[float, float, float, float, float]

EVIDENCE: Mapping[str, Row] = MappingProxyType(
    {
        # How it left.
        "walked-to-edge": (0.3, 0.0, 0.0, 0.0, 0.3),  # M 2.7
        # What was said at the end.
        "goodbye-at-rest": (-0.7, 0.7, 0.7, 0.0, 0.0),
        "goodbye-at-edge": (0.0, 0.0, 0.0, -0.5, 0.0),
        "goodbye-on-the-way": (1.0, 0.0, 0.0, -0.5, 0.3),  # most other silences there have none
        "idle-at-rest": (-0.7, 1.0, 0.7, 0.0, -0.3),
        "silent-on-the-way": (-1.5, 0.3, 0.3, 0.0, 0.0),  # with its radio on an exit would hear it
        "idle-at-edge": (0.5, 0.0, -0.3, 0.0, 0.0),  # M 2.8
        "handshake-failed": (-1.2, 0.0, 0.3, 0.0, 0.0),  # M 0.2-0.4
        "no-goodbye": (0.0, 0.3, -0.2, 0.3, 0.0),
        # Where and when.
        "night-inside": (-0.7, 0.0, 0.7, 0.0, 0.0),
        "sleeps-here": (-1.5, 0.3, 2.0, 0.0, 0.0),
        # Those around it.
        "ap-still-heard": (0.0, 0.0, 0.0, -3.0, 0.0),
        "ap-down": (-2.0, -2.0, -1.0, 3.0, 0.0),
        # People's words.
        "planned-move": (-3.0, -1.0, -1.0, 0.0, 3.0),
        "in-stock": (-1.0, 0.5, 1.0, 0.0, 0.0),
        "reported-missing": (3.0, 0.0, -3.0, -3.0, -1.0),
        # Time alone: what a short silence cannot be, and what a very long one is.
        "over-two-hours": (0.0, 1.0, -0.5, 0.0, 0.0),
    }
)


@dataclass(frozen=True, slots=True)
class Weights:
    """The evidence table, and rates a tablet-day before any evidence; all are starting values.

    `taken` is the prior of theft: one per tablet-year. `taken_share` says where a taken tablet is
    heard last, by context (curves.py: at home by day, by night, at an edge, on the way), `time_share`
    how much of the time a tablet spends there, which is when an outage finds it there.
    """

    evidence: Mapping[str, Row] = field(default_factory=lambda: EVIDENCE)
    taken: float = 1 / 365
    taken_share: tuple[float, float, float, float] = (0.04, 0.01, 0.80, 0.15)
    time_share: tuple[float, float, float, float] = (0.6, 0.37, 0.02, 0.01)
    battery_share: float = 0.25
    outage: float = 0.02
    moved: float = 0.0001
    probe_miss: float = 0.5
    calibration: Mapping[int, Curve] = field(default_factory=lambda: CURVES)
    # The threshold that keeps the budget lies between these; `unlearned` holds until it is known.
    smallest: float = 0.25
    largest: float = 0.5
    unlearned: float = 0.7
    # Taken once, not at each verdict: the logarithms of the rates of taken, outage and moved by context, and of the
    # shares of battery and asleep.
    log_rates: tuple[tuple[float, float, float], ...] = field(init=False)
    log_shares: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        cut = {name: _cut(row) for name, row in self.evidence.items()}
        object.__setattr__(self, "evidence", MappingProxyType(cut))
        rates = tuple(
            (log(self.taken * share), log(self.outage * time), log(self.moved * share))
            for share, time in zip(self.taken_share, self.time_share, strict=True)
        )
        object.__setattr__(self, "log_rates", rates)
        object.__setattr__(
            self, "log_shares", (log(self.battery_share), log(1 - self.battery_share))
        )


def _cut(row: Row) -> Row:
    taken, battery, asleep, outage, moved = (max(-CAP, min(CAP, each)) for each in row)
    return taken, battery, asleep, outage, moved
