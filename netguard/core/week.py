"""The hours of a group: windows of wall clock time by day of the week, and how they are written.

Wall clock minutes only; which moments these are in a time zone is hours.py's. A window begins with
its first minute and ends before its last one, so that 10:00-12:00 has 120 minutes.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from typing import Self

from netguard.core.names import shown, suggest
from netguard.errors import BadValue

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
# Words for several days; `mon-fri` and `sat,sun` say the same.
SEVERAL = {"daily": range(7), "weekdays": range(5), "weekend": range(5, 7)}
DAY = 24 * 60
WEEK = 7 * DAY
_WINDOW = re.compile(r"([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2})")


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """A part of a day, in minutes since midnight on the wall clock; 1440 is the midnight at its end."""

    start: int
    end: int

    @classmethod
    def parse(cls, text: str, *, over_midnight: bool = False) -> Self:
        """Read `07:00-22:00`; the end of a day is written 24:00."""
        match = _WINDOW.fullmatch(text)
        if not match:
            raise BadValue(
                "schedule", f"{shown(text)} is not an interval of hours, write 07:00-22:00"
            )
        start = _minute(match[1], match[2], DAY - 1)
        end = _minute(match[3], match[4], DAY)
        if over_midnight or end > start:
            return cls(start, end)
        if end == start:
            raise BadValue("schedule", f"'{text}' is empty, it ends as it starts")
        text = f"'{text}' ends before it starts"
        if end == 0:
            raise BadValue("schedule", f"{text}, write {wall_clock(start)}-24:00")
        over = f"over midnight write [00:00-{wall_clock(end)}, {wall_clock(start)}-24:00]"
        raise BadValue("schedule", f"{text}, {over}")

    def __str__(self) -> str:
        return f"{wall_clock(self.start)}-{wall_clock(self.end)}"


def wall_clock(minute: int) -> str:
    """Return a minute of a day or week as the wall clock shows it; the end of a day is 24:00."""
    return f"{minute // 60:02}:{minute % 60:02}" if minute <= DAY else wall_clock(minute % DAY)


def _minute(hour: str, minute: str, last: int) -> int:
    value = int(hour) * 60 + int(minute)
    if int(minute) > 59 or value > last:
        until = "24:00" if last == DAY else "23:59"
        raise BadValue("schedule", f"'{hour}:{minute}' is not a time of day, 00:00 to {until}")
    return value


@dataclass(frozen=True, slots=True, order=True)
class Hours:
    """When a group is open: the windows of each day, Monday first, and a grace after each of them.

    What runs at the end of a window goes on for `grace`. `zone` is the time zone they are meant in
    where a node has several, else empty: that of all its sites.
    """

    days: tuple[tuple[Window, ...], ...]
    grace: timedelta = timedelta()
    zone: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read one window of every day, `07:00-22:00`."""
        return cls.of([Window.parse(text)])

    @classmethod
    def of(cls, windows: Iterable[Window]) -> Self:
        """Return the hours that are the same windows every day."""
        return cls((tuple(sorted(windows)),) * 7)

    @property
    def spans(self) -> tuple[tuple[int, int], ...]:
        """Return when it is open as minutes of the week from Monday 00:00: first one, and the end.

        What meets at midnight is one span; one over the end of Sunday ends beyond 10080.
        """
        spans: list[tuple[int, int]] = []
        for day, windows in enumerate(self.days):
            for window in windows:
                start, end = day * DAY + window.start, day * DAY + window.end
                if spans and spans[-1][1] == start:
                    start = spans.pop()[0]
                spans.append((start, end))
        if len(spans) > 1 and spans[0][0] == 0 and spans[-1][1] == WEEK:
            spans[-1] = (spans[-1][0], WEEK + spans.pop(0)[1])
        return tuple(spans)

    @property
    def lasting(self) -> tuple[tuple[int, int], ...]:
        """Return the same with the grace: until when what has begun may run."""
        return tuple((start, end + _minutes(self.grace)) for start, end in self.spans)

    def closing(self, minute: int) -> int | None:
        """Return at which minute what runs at this minute of the week ends, None while it is closed."""
        for start, end in self.lasting:
            if start <= minute < end:
                return end
            if start <= minute + WEEK < end:
                return end - WEEK
        return None

    @property
    def pause(self) -> tuple[int, int] | None:
        """Return the shortest pause between two spans, as minutes: its length, and where it ends.

        None where it is always open.
        """
        spans = self.spans
        around = [*spans, (spans[0][0] + WEEK, 0)]
        pauses = [(after[0] - before[1], after[0]) for before, after in pairwise(around)]
        return min(pauses) if min(pauses)[0] > 0 else None

    def within(self, other: "Hours") -> bool:
        """Say whether each minute of these hours is one of others."""
        return all(
            _minutes_of(mine) <= _minutes_of(theirs)
            for mine, theirs in zip(self.days, other.days, strict=True)
        )

    def plain(self) -> dict[str, object]:
        """Return them for a plan's canonical text; one window a day is written as it always was."""
        named: dict[str, object] = {"grace": str(self.grace)}
        if self.zone:
            named["zone"] = self.zone
        if len(set(self.days)) == 1 and len(self.days[0]) == 1 and self.days[0][0].end < DAY:
            window = self.days[0][0]
            start, end = f"{wall_clock(window.start)}:00", f"{wall_clock(window.end)}:00"
            return {"start": start, "end": end, **named}
        return {"days": [[str(window) for window in windows] for windows in self.days], **named}

    def __str__(self) -> str:
        words = "; ".join(
            f"{days} {', '.join(map(str, windows))}" for days, windows in self._alike() if windows
        )
        zone = f" ({self.zone})" if self.zone else ""
        return words.removeprefix("mon-sun ") + zone

    def _alike(self) -> Iterator[tuple[str, tuple[Window, ...]]]:
        """Yield runs of days with the same windows."""
        for windows, run in groupby(zip(DAYS, self.days, strict=True), key=lambda pair: pair[1]):
            names = [name for name, _ in run]
            yield names[0] if len(names) == 1 else f"{names[0]}-{names[-1]}", windows


def _minutes(span: timedelta) -> int:
    return span // timedelta(minutes=1)


def _minutes_of(windows: Iterable[Window]) -> set[int]:
    return {minute for window in windows for minute in range(window.start, window.end)}


def parse_days(text: str) -> tuple[int, ...]:
    """Read `mon`, `mon-fri`, `sat,sun`, `weekdays`, `weekend` or `daily`, as days from Monday, 0."""
    days: list[int] = []
    for part in text.split(","):
        days += _days(part.strip(), text)
    for day in days:
        if days.count(day) > 1:
            raise BadValue("schedule", f"{shown(text)} names {DAYS[day]} twice")
    return tuple(sorted(days))


def _days(part: str, text: str) -> Sequence[int]:
    if part in SEVERAL:
        return SEVERAL[part]
    first, dash, last = part.partition("-")
    for word in (first, last) if dash else (first,):
        if word not in DAYS:
            hint = suggest(word, (*DAYS, *SEVERAL)) or ","
            legal = "write mon, mon-fri, sat,sun, weekdays, weekend or daily"
            raise BadValue("schedule", f"{shown(text)} is not days of the week{hint} {legal}")
    start, end = DAYS.index(first), DAYS.index(last or first)
    if end < start:
        legal = ",".join(_around(start, end))
        raise BadValue("schedule", f"{shown(text)} ends before it starts, write {legal}")
    return range(start, end + 1)


def _around(start: int, end: int) -> list[str]:
    return [DAYS[day % 7] for day in range(start, end + 8)]


def apart(windows: Sequence[Window]) -> str:
    """Say what is wrong with windows of one day and what to write instead; an empty text where nothing is."""
    for before, after in pairwise(sorted(windows)):
        whole = Window(before.start, max(before.end, after.end))
        if after.start < before.end:
            return f"{before} and {after} overlap, write {whole}"
        if after.start == before.end:
            return f"{before} and {after} touch, write {whole}"
    return ""


def weekly(days: Mapping[str, Sequence[Window]]) -> Hours:
    """Return the hours of windows by days (`mon-fri`); a day that is not named is closed."""
    named = {day: windows for text, windows in days.items() for day in parse_days(text)}
    return Hours(tuple(tuple(sorted(named.get(day, ()))) for day in range(7)))
