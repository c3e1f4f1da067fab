"""`hours` and `grace` of a group: one window, several, or either by days of the week."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

from netguard.core.week import DAY, DAYS, Hours, Window, apart, parse_days, wall_clock, weekly
from netguard.rules import schema
from netguard.rules.review import Review
from netguard.rules.typed import Document

GroupsDocument = Document[schema.GroupsFile]
Written = Window | list[Window] | Mapping[str, Window | list[Window]]
_MINUTE = timedelta(minutes=1)


def read_hours(written: Written) -> Hours:
    """Return the hours that a group's key says."""
    if isinstance(written, Mapping):
        return weekly({days: _listed(windows) for days, windows in written.items()})
    return Hours.of(_listed(written))


def _listed(written: Window | list[Window]) -> list[Window]:
    return [written] if isinstance(written, Window) else written


def inherited_hours(inherited: list[schema.GroupModel]) -> Hours | None:
    """Return the hours of a group, of itself or of what it extends, with the grace."""
    written = next((group.hours for group in inherited if group.hours is not None), None)
    grace = next((group.grace for group in inherited if group.grace is not None), timedelta())
    return replace(read_hours(written), grace=grace) if written is not None else None


def check_hours(review: Review, doc: GroupsDocument, name: str, hours: Hours | None) -> None:
    """Report windows that meet, days that are named twice, and a grace that has no place."""
    entry = doc.model.groups[name]
    if entry.hours is not None:
        at = ("groups", name, "hours")
        if not (
            _apart(review, doc, entry.hours, *at) and _days_once(review, doc, entry.hours, *at)
        ):
            return
        if hours is not None and hours.pause is None:
            text = f"these hours never end, leave 'hours' out of group '{name}'"
            review.error(doc, "schedule", text, *at, key=True)
            return
    if entry.grace is not None:
        _grace(review, doc, name, entry.grace, hours)


def _apart(review: Review, doc: GroupsDocument, written: Written, *at: str | int) -> bool:
    """Report lists of windows that are empty, overlap or touch; say whether all are sound."""
    if not isinstance(written, Window) and not written:
        review.error(doc, "schedule", _nothing(at), *at, key=True)
        return False
    if isinstance(written, Mapping):
        sound = [_apart(review, doc, windows, *at, days) for days, windows in written.items()]
        return all(sound)
    windows = _listed(written)
    for index in range(1, len(windows)):
        # The one that is written last is the one to look at.
        before = [each for each in windows[:index] if apart([each, windows[index]])]
        if before:
            review.error(doc, "schedule", apart([before[0], windows[index]]), *at, index)
            return False
    return True


def _nothing(at: tuple[str | int, ...]) -> str:
    if at[-1] == "hours":
        return "no window is written, write [10:00-12:00, 14:00-20:00], or leave 'hours' out: always open"
    return f"no window is written for '{at[-1]}', leave it out: a day that is not named is closed"


def _days_once(review: Review, doc: GroupsDocument, written: Written, *at: str | int) -> bool:
    named: dict[int, str] = {}
    for days in written if isinstance(written, Mapping) else ():
        for day in parse_days(days):
            other = named.setdefault(day, days)
            if other != days:
                text = f"{DAYS[day]} is in '{other}' and in '{days}', write each day once"
                review.error(doc, "schedule", text, *at, days, key=True)
                return False
    return True


def _grace(
    review: Review, doc: GroupsDocument, name: str, grace: timedelta, hours: Hours | None
) -> None:
    """Report a grace that no hours end with, or that would reach into the next ones."""
    at = ("groups", name, "grace")
    if hours is None:
        review.error(doc, "unused", f"group '{name}' has no hours that a grace could follow", *at)
        return
    if grace % _MINUTE:
        review.error(doc, "bad-duration", "grace is whole minutes, write 10m", *at)
    elif hours.pause is not None and grace >= hours.pause[0] * _MINUTE:
        length, start = hours.pause
        text = (
            f"a grace of {grace // _MINUTE}m reaches into the hours that begin at {wall_clock(start % DAY)} "
            f"after a pause of {length}m, write at most {length - 1}m"
        )
        review.error(doc, "schedule", text, *at)


def written_times(written: Written) -> Iterator[tuple[int, int, tuple[str | int, ...]]]:
    """Yield each beginning and end as weekday, minute of the day, and the path of its window."""
    if isinstance(written, Mapping):
        for name, windows in written.items():
            for weekday in parse_days(name):
                yield from _times(weekday, windows, (name,))
    else:
        for weekday in range(7):
            yield from _times(weekday, written, ())


def _times(
    weekday: int, written: Window | list[Window], path: tuple[str | int, ...]
) -> Iterator[tuple[int, int, tuple[str | int, ...]]]:
    for index, window in enumerate(_listed(written)):
        for minute in (window.start, window.end):
            yield weekday, minute, path if isinstance(written, Window) else (*path, index)
