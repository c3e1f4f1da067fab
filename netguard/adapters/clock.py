"""The only reader of clocks: wall time for people, monotonic time for deadlines."""

import time
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


def now() -> datetime:
    """Return this moment, aware, in UTC."""
    return datetime.now(UTC)  # noqa: TID251  # the one place that reads the clock


def today() -> date:
    """Return today's date in UTC."""
    return now().date()


def stamp(seconds: float) -> str:
    """Return seconds since 1970 as text for people: UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def ahead_of_utc(zone: str) -> timedelta:
    """Return how far an IANA time zone is ahead of UTC at this moment."""
    return now().astimezone(ZoneInfo(zone)).utcoffset() or timedelta()


def booted() -> float:
    """Return when this machine was started, seconds since 1970 by today's wall clock."""
    return now().timestamp() - time.clock_gettime(time.CLOCK_BOOTTIME)


def monotonic() -> float:
    """Return seconds on a clock that no one sets."""
    return time.monotonic()
