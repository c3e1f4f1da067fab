"""The engine's time: it goes on like the monotonic clock, whatever somebody does to the wall clock.

Starts at the wall clock, never goes back over a restart, and drifts to the wall clock so slowly that
no timer notices. A line of the event log says when it was received on the wall clock; it is put
between the moment up to which the log had been read before and now, so that a clock that was set an
hour on or back between two lines makes none of them new, old or future.
"""

from dataclasses import dataclass

# Seconds per second by which the two are brought together again.
_DRIFT = 0.01


@dataclass(slots=True)
class Pace:
    """One clock; all arguments in seconds, `wall` since 1970."""

    base: float
    seen: float = 0.0
    read_up_to: float = 0.0

    @classmethod
    def begun(cls, wall: float, monotonic: float, last: float) -> "Pace":
        """Go on from the wall clock, but not before the `last` moment that is stored."""
        now = max(wall, last)
        return cls(now - monotonic, monotonic, last)

    def now(self, wall: float, monotonic: float) -> float:
        """Return the moment."""
        most = (monotonic - self.seen) * _DRIFT
        self.seen = monotonic
        behind = wall - (self.base + monotonic)
        self.base += min(max(behind, -most), most)
        return self.base + monotonic

    def received(self, stamp: float | None, wall: float, now: float) -> float:
        """Return when a line was received that says `stamp`; None is now."""
        if stamp is None:
            return now
        # Stamps are whole seconds: a line may have been received up to one second later.
        return min(max(now - (wall - stamp), self.read_up_to), now)

    def caught_up(self, now: float) -> None:
        """Note that all of the log up to a moment has been read."""
        self.read_up_to = now
