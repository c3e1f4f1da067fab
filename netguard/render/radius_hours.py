"""Hours as data that FreeRADIUS judges by alone: each site's clock for decades, each group's windows.

rlm_logintime knows one time zone (TZ of the process) and counts wall clock minutes to the end of a
window, which is an hour off on the nights on which the clocks change. So the server adds what a site
is ahead of UTC to its own clock, and looks the minute of the week up. Format: users(5).
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from netguard.core.clocks import ahead, changes_of_years
from netguard.core.plan import Plan
from netguard.core.week import DAY, WEEK, Hours, Window, wall_clock

# A plan has no clock, so the same years are written always. Afterwards the last offset stays.
FIRST_YEAR, LAST_YEAR = 2026, 2060
FIRST = datetime(FIRST_YEAR, 1, 1, tzinfo=UTC)
# 1970-01-01 was a Thursday; minutes count from Monday.
_THURSDAY = 3 * DAY * 60
# FreeRADIUS holds at most 253 bytes in a string.
_LONGEST = 240
_DAYS = ("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su")


def hours(plan: Plan) -> str:
    """Return the `hours` file: when groups are open. Keys: clock/SITE and hours/GROUP."""
    lines = ["# Made by netguard apply. What the clock of a site shows; when a group is open."]
    timed = [(group.name, group.hours) for group in plan.groups if group.hours is not None]
    lines += [line for site in plan.sites if timed for line in clocks(site.name, site.time_zone)]
    lines += [line for name, week in timed for line in openings(name, week)]
    return "\n".join([*lines, ""])


def clocks(site: str, zone: str) -> Iterator[str]:
    """Yield what is added to the seconds since 1970 to get those of a site's week, until each change.

    The first entry that is not over holds; with it the next change, and what is added from then on.
    """
    found = changes_of_years(zone, FIRST_YEAR, LAST_YEAR)
    key = f"clock/{site}"
    for change in found:
        moment = int(change.at.timestamp())
        yield (
            f"{key} Netguard-Now < {moment}, Netguard-Clock := {_shift(change.before)}, "
            f"Netguard-Turn-At := {moment}, Netguard-Turn := {_shift(change.after)}"
        )
    yield f"{key} Netguard-Clock := {_shift(_last(zone))}"


def _last(zone: str) -> int:
    found = changes_of_years(zone, FIRST_YEAR, LAST_YEAR)
    return found[-1].after if found else ahead(zone, FIRST)


def _shift(seconds: int) -> int:
    """Return an offset as seconds of the week: FreeRADIUS' integers have no sign."""
    return (seconds + _THURSDAY) % (WEEK * 60)


def openings(group: str, hours: Hours) -> Iterator[str]:
    """Yield in which minutes of the week a group is open, and with which minute that ends.

    With the grace: whoever roams in it has to be let in again.
    """
    for start, end in hours.lasting:
        yield _opening(group, start, min(end, WEEK), end)
        if end > WEEK:
            yield _opening(group, 0, end - WEEK, end - WEEK)


def _opening(group: str, start: int, end: int, closes: int) -> str:
    limits = f"Netguard-Minute >= {start}, Netguard-Minute < {end}"
    return f"hours/{group} {limits}, Netguard-Closes := {closes}"


def login_time(hours: Hours) -> str:
    """Return hours as a Login-Time (rlm_logintime): for people who read the entry of a tablet.

    A server of an earlier version, which goes on until it is restarted, judges by it.
    """
    grace = int(hours.grace.total_seconds()) // 60
    if len(set(hours.days)) == 1:
        runs = [("Al", hours.days[0])]
    elif len(set(hours.days[:5])) == 1:
        runs = [("Wk", hours.days[0]), *zip(_DAYS[5:], hours.days[5:], strict=True)]
    else:
        runs = list(zip(_DAYS, hours.days, strict=True))
    words = [f"{day}{_login(window, grace)}" for day, windows in runs for window in windows]
    text = ",".join(words)
    return text if len(text) <= _LONGEST else "Al0000-2359"


def _login(window: Window, grace: int) -> str:
    # The minute that is named last is included.
    last = (window.end + grace - 1) % DAY
    return f"{wall_clock(window.start)}-{wall_clock(last)}".replace(":", "")
