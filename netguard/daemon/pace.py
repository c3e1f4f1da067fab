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
    # So many seconds of the engine pass in one of ours: above 1 in a lab only.
    speed: float = 1.0

    @classmethod
    def begun(cls, wall: float, monotonic: float, last: float, speed: float = 1.0) -> "Pace":
        """Go on from the wall clock, but not before the `last` moment that is stored."""
        now = max(wall, last)
        return cls(now - monotonic * speed, monotonic, last, speed)

    def now(self, wall: float, monotonic: float) -> float:
        """Return the moment."""
        if self.speed == 1.0:
            most = (monotonic - self.seen) * _DRIFT
            behind = wall - (self.base + monotonic)
            self.base += min(max(behind, -most), most)
        self.seen = monotonic
        return self.base + monotonic * self.speed

    def received(
        self, stamp: float | None, wall: float, now: float, *, again: bool = False
    ) -> float:
        """Return when a line was received that says `stamp`; None is now.

        A line that may have been read before (`again`) has only its own word for it.
        """
        if stamp is None:
            return now
        said = now - (wall - stamp) * self.speed
        return min(said if again else max(said, self.read_up_to), now)

    def caught_up(self, now: float) -> None:
        """Note that all of the log up to a moment has been read."""
        self.read_up_to = now
