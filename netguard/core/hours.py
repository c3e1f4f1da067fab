"""When a group may use anything: its hours in the time zone of its sites, right over clock changes.

Time comes in as an aware datetime; differences are taken in UTC, because two wall clock times of a
day on which the clocks change are further apart or closer together than they look.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import MappingProxyType
from zoneinfo import ZoneInfo

from netguard.core.clocks import changes
from netguard.core.plan import GroupPlan, Plan
from netguard.core.week import DAY, Hours

# How many days of openings the kernel is given: so long it opens and closes while guard is dead.
AHEAD = 14
# When a group is open, its grace included: first second and end, in seconds of Unix time, in order.
Spans = tuple[tuple[int, int], ...]
# By group; those that are not named have no hours, or none are judged.
Openings = Mapping[str, Spans]
UNJUDGED: Openings = MappingProxyType({})
_DAY = 24 * 3600


def seconds_left(hours: Hours | None, at: datetime | None, zone: str) -> int | None:
    """Return the seconds until what runs of a group ends, 0 when it has, None where none are judged.

    That is at the end of the window it is in, and of the grace; `still_fresh` says how long
    something may begin. Where the clocks are changed before that, it goes on if the wall clock is in
    a window then: what it skips is over at once, what comes twice counts twice.
    """
    if hours is None or at is None:
        return None
    local = at.astimezone(ZoneInfo(zone))
    minute = local.weekday() * DAY + local.hour * 60 + local.minute
    closing = hours.closing(minute)
    if closing is None:
        return 0
    wall = local.replace(second=0, microsecond=0, tzinfo=UTC) + timedelta(minutes=closing - minute)
    left = wall - local.replace(tzinfo=UTC)
    change = next(changes(zone, at, at + left), None)
    if change is not None:
        return max(1, int((change.at - at).total_seconds())) + (
            seconds_left(hours, change.at, zone) or 0
        )
    return max(1, int(left.total_seconds()))


def open_for(plan: Plan, at: datetime) -> dict[str, int]:
    """Return the groups with hours: the seconds until each closes with its grace, 0 while it is closed."""
    left = {}
    for group in plan.groups:
        seconds = seconds_left(group.hours, at, zone_of(plan, group))
        if seconds is not None:
            left[group.name] = seconds
    return left


def openings(plan: Plan, at: datetime) -> dict[str, Spans]:
    """Return when the groups with hours are open from the day of a moment on, for `AHEAD` days.

    The same for every moment of a day of UTC, so that two who ask on one day hold the same. A span
    that has begun before is whole, and so is the one that ends later.
    """
    day = int(at.timestamp()) // _DAY
    return {
        group.name: _spans(group.hours, zone_of(plan, group), day)
        for group in plan.groups
        if group.hours is not None
    }


def fresh(group: GroupPlan, spans: Spans) -> Spans:
    """Return when something new of a group may begin in these spans: its grace is for what runs."""
    grace = int(group.hours.grace.total_seconds()) if group.hours is not None else 0
    return tuple((start, end - grace) for start, end in spans if end - grace > start)


def next_opening(plan: Plan, name: str, at: datetime) -> datetime | None:
    """Return when something new may begin in a group that is closed, by the clock of its site."""
    group = plan.group[name]
    if group.hours is None:
        return None
    begins = (start for start, _ in fresh(group, openings(plan, at)[name]))
    found = next((start for start in begins if start > at.timestamp()), None)
    zone = ZoneInfo(zone_of(plan, group))
    return datetime.fromtimestamp(found, zone) if found is not None else None


def zone_of(plan: Plan, group: GroupPlan) -> str:
    """Return the time zone that a group's hours are meant in."""
    if group.hours is not None and group.hours.zone:
        return group.hours.zone
    return plan.sites[0].time_zone if plan.sites else "UTC"


@lru_cache(maxsize=256)
def _spans(hours: Hours, zone: str, day: int) -> Spans:
    first, last = day * _DAY, (day + AHEAD) * _DAY
    spans: list[tuple[int, int]] = []
    for moment in sorted(_moments(hours, zone, first, last)):
        # Within a span, or what begins as one ends, which goes on.
        start = int(moment.timestamp())
        end = start + (seconds_left(hours, moment, zone) or 0)
        if spans and start <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(end, spans[-1][1])
        elif end > start:
            spans.append((start, end))
    return tuple((start, end) for start, end in spans if end > first and start < last)


def _moments(hours: Hours, name: str, first: int, last: int) -> set[datetime]:
    """Return the moments at which a group can open or close, from a week before the first on."""
    zone = ZoneInfo(name)
    start = datetime.fromtimestamp(first, zone) - timedelta(weeks=1)
    monday = start.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    monday -= timedelta(days=monday.weekday())
    weeks = range((last - first) // (7 * _DAY) + 3)
    moments = {
        # A wall clock time may come twice.
        (monday + timedelta(weeks=week, minutes=minute))
        .replace(tzinfo=zone, fold=fold)
        .astimezone(UTC)
        for week in weeks
        for minute in {minute for span in hours.lasting for minute in span}
        for fold in (0, 1)
    }
    until = datetime.fromtimestamp(last, UTC)
    return moments | {change.at for change in changes(name, start, until)}
