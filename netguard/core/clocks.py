"""When the clocks of a time zone are changed, and by how much: from the system's time zone data."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

# No zone has two changes within a day.
_STEP = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a zone's clocks: the moment in UTC, and the seconds ahead of UTC before and after."""

    at: datetime
    before: int
    after: int


def changes(zone: str, start: datetime, end: datetime) -> Iterator[Change]:
    """Yield the changes between two moments, the last one included, in order."""
    clock, here = ZoneInfo(zone), start.astimezone(UTC)
    ahead = _ahead(clock, here)
    while here < end:
        there = min(here + _STEP, end.astimezone(UTC))
        if _ahead(clock, there) != ahead:
            moment = _moment(clock, here, there)
            yield Change(moment, ahead, _ahead(clock, moment))
            ahead = _ahead(clock, there)
        here = there


@lru_cache(maxsize=64)
def changes_of_years(zone: str, first: int, last: int) -> tuple[Change, ...]:
    """Return the changes of whole years, the last one included."""
    return tuple(
        changes(zone, datetime(first, 1, 1, tzinfo=UTC), datetime(last + 1, 1, 1, tzinfo=UTC))
    )


def ahead(zone: str, at: datetime) -> int:
    """Return by how many seconds a zone is ahead of UTC."""
    return _ahead(ZoneInfo(zone), at)


def _ahead(clock: ZoneInfo, at: datetime) -> int:
    return int((at.astimezone(clock).utcoffset() or timedelta()).total_seconds())


def _moment(clock: ZoneInfo, early: datetime, late: datetime) -> datetime:
    """Return the first second with the clocks of `late`, when those of `early` are others."""
    was, low, high = _ahead(clock, early), int(early.timestamp()), int(late.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if _ahead(clock, datetime.fromtimestamp(middle, UTC)) == was:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)
