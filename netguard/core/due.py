"""When a lent tablet is to be asked back: by the end of its own loan, else by what its group is lent for.

An overdue loan is no theft: nothing is refused for it, and the engine of presence never hears of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from netguard.core.policy import Policy
from netguard.core.profiles import lengthened

# `m` is a minute: who writes 2m may mean two months, and would be told of every tablet of the ward.
SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=366)
# A clock that is off by less than so many seconds (one that is kept in local time) makes no loan that was
# overdue run again.
SLACK = 86400.0


@dataclass(frozen=True, slots=True)
class Lent:
    """A loan that runs: since when, and until when where it has an end of its own. Moments have a zone."""

    since: datetime
    until: datetime | None = None


def due_of(
    lent: Lent, length: timedelta | None, at_least: timedelta | None = None
) -> datetime | None:
    """Return when a loan ends; None for a loan without end.

    `length` is what its group is lent for, `at_least` what a profile that is on lets it last.
    """
    end = lent.until
    if end is None and length is not None:
        end = lent.since + length
    if end is None or at_least is None:
        return end
    return max(end, lent.since + at_least)


def ends(
    policy: Policy | None, profiles: Iterable[str], lent: Mapping[str, Lent]
) -> dict[str, datetime | None]:
    """Return when each loan ends while these profiles are on, by tablet.

    A tablet that the rules do not know has no group: only an end of its own counts.
    """
    at_least = lengthened(policy.profiles, profiles) if policy is not None else {}
    found = {}
    for tablet, loan in lent.items():
        known = policy.tablets.get(tablet) if policy is not None else None
        group = policy.groups.get(known.group) if policy is not None and known is not None else None
        if group is None:
            found[tablet] = due_of(loan, None)
        else:
            found[tablet] = due_of(loan, group.loan_length, at_least.get(group.name))
    return found


def overdue(
    lent: Mapping[str, tuple[float, float | None]], now: float, told: Mapping[str, float]
) -> dict[str, float]:
    """Return the loans whose time is up, with their ends; all moments in seconds since 1970.

    `lent` holds since when and until when, `told` what was returned at the look before. A clock that stands
    before the beginning of a loan (its battery was empty) is wrong, and ends nothing. One that stands well
    within the loan is right, and was ahead before: what it told then must not be so until the loan ends.
    """
    return {
        tablet: end
        for tablet, (since, end) in lent.items()
        if end is not None
        and (end <= now or (told.get(tablet) == end and (now < since or end - now < SLACK)))
    }
