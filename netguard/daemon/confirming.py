"""A plan that takes itself back unless somebody confirms it: what waits, kept on disk.

Written before the plan is in force and gone when it is confirmed, so that neither a terminal that is lost
nor a guard that ends leaves in force for good what nobody has confirmed.
"""

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

from netguard.adapters import clock, files
from netguard.adapters.control import Message
from netguard.errors import BadValue, Refused

SHORTEST, LONGEST = 5.0, 86400.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Plan `number` waits until a moment (wall clock), else plan `back` is put in force again."""

    number: int
    back: int
    until: str
    by: str


class Confirmation:
    """What waits to be confirmed, if anything does."""

    def __init__(self, state: Path) -> None:
        self._file = state / "waiting.json"
        self.waiting: Waiting | None = None
        self._ends = 0.0

    def begin(self, number: int, back: int, seconds: float, by: str) -> Waiting:
        """Let a plan wait; on disk when this returns."""
        until = clock.now() + timedelta(seconds=seconds)
        waiting = Waiting(number, back, until.isoformat(timespec="seconds"), by)
        files.write(self._file, json.dumps(asdict(waiting)) + "\n")
        self.waiting, self._ends = waiting, clock.monotonic() + seconds
        return waiting

    def resume(self, current: int) -> None:
        """Read what waited when guard ended; what never came into force waits no more."""
        try:
            waiting = Waiting(**json.loads(self._file.read_text()))
            left = (datetime.fromisoformat(waiting.until) - clock.now()).total_seconds()
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError):
            # Nobody can say what was meant: the plan in force stays, as without a limit.
            self.end()
            return
        if waiting.number != current:
            self.end()
            return
        # A clock that went back must not make it wait for ever.
        self.waiting, self._ends = waiting, clock.monotonic() + min(left, LONGEST)

    def is_over(self) -> bool:
        """Say whether the time is up."""
        return self.waiting is not None and clock.monotonic() >= self._ends

    def end(self) -> None:
        """Wait no more."""
        self._file.unlink(missing_ok=True)
        files.sync_folder(self._file.parent)
        self.waiting = None

    def shown(self) -> dict[str, object] | None:
        """Return what waits as an answer."""
        return asdict(self.waiting) if self.waiting is not None else None


def seconds(message: Message) -> float | None:
    """Read within what a plan is to be confirmed; None where it need not be. Raises BadValue."""
    value = message.get("confirm_within")
    if value is None:
        return None
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not SHORTEST <= value <= LONGEST
    ):
        raise BadValue("bad-duration", "a plan waits for 5 s to 24 h: --confirm-within 2m")
    return float(value)


def refuse(waiting: Waiting | None, within: float | None, in_force: int | None) -> None:
    """Raise Refused where one plan waits already, or where there is nothing to go back to."""
    if waiting is not None:
        raise Refused(
            f"plan {waiting.number} waits until {waiting.until}: "
            "netguard confirm, or netguard rollback, comes first"
        )
    if within is not None and in_force is None:
        raise Refused("nothing is in force to go back to: apply without --confirm-within")
