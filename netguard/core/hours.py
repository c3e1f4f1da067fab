"""When a group may use anything: its hours in the time zone of its site, right over clock changes.

Time comes in as an aware datetime; differences are taken in UTC, because two wall clock times of a
day on which the clocks change are an hour closer together or further apart than they look.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from netguard.core.names import Hours
from netguard.core.plan import Plan


def seconds_left(hours: Hours | None, at: datetime | None, zone: str) -> int | None:
    """Return the seconds until a group's hours end, 0 outside them, None where none are judged."""
    if hours is None or at is None:
        return None
    local = at.astimezone(ZoneInfo(zone))
    if not hours.start <= local.time() < hours.end:
        return 0
    # Keeps `fold`: in the hour that comes twice, the end meant is the one of this pass.
    end = local.replace(hour=hours.end.hour, minute=hours.end.minute, second=0, microsecond=0)
    return max(1, int((end.astimezone(UTC) - local.astimezone(UTC)).total_seconds()))


def open_for(plan: Plan, at: datetime) -> dict[str, int]:
    """Return the groups with hours: the seconds until each closes, 0 while it is closed."""
    left = {}
    for group in plan.groups:
        seconds = seconds_left(group.hours, at, _zone(plan))
        if seconds is not None:
            left[group.name] = seconds
    return left


def next_change(plan: Plan, at: datetime) -> datetime | None:
    """Return the next moment at which a group opens or closes, in UTC; None where none has hours."""
    now = _open(plan, at)
    return next((each for each in _moments(plan, at) if _open(plan, each) != now), None)


def _open(plan: Plan, at: datetime) -> frozenset[str]:
    return frozenset(name for name, seconds in open_for(plan, at).items() if seconds)


def _moments(plan: Plan, at: datetime) -> Iterator[datetime]:
    """Yield the moments of this and the next two days at which something can change, in order."""
    zone = ZoneInfo(_zone(plan))
    clock: set[time] = {time(hour) for hour in range(24)}
    for group in plan.groups:
        if group.hours is not None:
            clock |= {group.hours.start, group.hours.end}
    today = at.astimezone(zone).date()
    moments = {
        # Clocks are changed at full hours, and a wall clock time may come twice.
        datetime.combine(today + timedelta(days=day), each.replace(fold=fold), zone).astimezone(UTC)
        for day in range(3)
        for each in clock
        for fold in (0, 1)
    }
    yield from sorted(moment for moment in moments if moment > at)


def _zone(plan: Plan) -> str:
    # compile_plan refuses hours on a node with several time zones.
    return plan.sites[0].time_zone if plan.sites else "UTC"
