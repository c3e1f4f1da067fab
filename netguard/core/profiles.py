"""Profiles: what was agreed beforehand for a bad day, switched on by a person and off by a person or the time.

A profile only ever narrows a policy: fewer services, a lower ceiling. That is why it may be switched on
without a review, and why nothing that a policy refuses can be reached by a profile. Loans it only
lengthens: on a bad day nobody has the time to ask tablets back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from netguard.core.policy import Ceiling, Group, Narrowing, Policy, Profile


@dataclass(frozen=True, slots=True)
class Active:
    """A profile that is on: since when (ISO 8601), until when if it ends by itself, by whom and why."""

    name: str
    since: str
    until: str
    who: str
    why: str

    def is_over(self, now: datetime) -> bool:
        """Say whether its time is up."""
        return bool(self.until) and datetime.fromisoformat(self.until) <= now


def under(policy: Policy, names: Iterable[str]) -> Policy:
    """Return a policy as it is while these profiles are on; names that it does not know change nothing."""
    on = [policy.profiles[name] for name in sorted(set(names)) if name in policy.profiles]
    if not on:
        return policy
    return replace(
        policy, groups={name: _narrowed(group, on) for name, group in policy.groups.items()}
    )


def silenced(profiles: Mapping[str, Profile], names: Iterable[str]) -> dict[str, str]:
    """Return the severities of alerts that are held back, each with the profile that does."""
    return {
        severity: name
        for name in sorted(set(names), reverse=True)
        if name in profiles
        for severity in sorted(profiles[name].silences)
    }


def lengthened(profiles: Mapping[str, Profile], names: Iterable[str]) -> dict[str, timedelta]:
    """Return how long loans may last at least while these profiles are on, by group; the longest counts."""
    found: dict[str, timedelta] = {}
    for name in names:
        for group, change in profiles[name].groups.items() if name in profiles else ():
            if change.loan_length is not None:
                found[group] = max(change.loan_length, found.get(group, change.loan_length))
    return found


def _narrowed(group: Group, on: Iterable[Profile]) -> Group:
    for profile in on:
        change = profile.groups.get(group.name, Narrowing())
        if change.allow is not None:
            group = replace(group, allow=tuple(s for s in group.allow if s in change.allow))
        group = replace(group, rate=_lower(group.rate, change.rate))
    return group


def _lower(one: Ceiling | None, other: Ceiling | None) -> Ceiling | None:
    if one is None or other is None:
        return one or other
    return Ceiling(min(one.down, other.down), min(one.up, other.up))
