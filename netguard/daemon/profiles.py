"""Which profiles are on, kept on disk: a guard that starts again is as narrow as before.

The file says what people want; what a profile means is in the rules, and may change under it.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

from netguard.adapters import files
from netguard.adapters.control import Message
from netguard.adapters.store import Entry
from netguard.core.names import shown, suggest_of
from netguard.core.policy import Policy, Profile
from netguard.core.profiles import Active, lengthened
from netguard.daemon.lending import MAX_NOTE, plain
from netguard.errors import BadValue, Refused

SHORTEST, LONGEST = 60.0, 30 * 86400.0


class Profiles:
    """The profiles that are on, by name."""

    def __init__(self, state: Path) -> None:
        self._file = state / "profiles.json"
        self.active: dict[str, Active] = {}
        self.problem = ""

    def load(self) -> None:
        """Read what was on when guard ended; a file that is damaged is a problem, and nothing is on."""
        try:
            rows = json.loads(self._file.read_text())
            active = {row["name"]: Active(**row) for row in rows}
            for each in active.values():
                each.is_over(datetime.fromisoformat(each.since))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, KeyError) as error:
            self.problem = f"{self._file} cannot be read, so no profile is on: {error}"
            return
        self.active = active

    def set(self, active: dict[str, Active]) -> None:
        """Remember what is on; on disk when this returns. Raises OSError, and then nothing has changed."""
        files.write(self._file, json.dumps([asdict(a) for _, a in sorted(active.items())]) + "\n")
        self.active, self.problem = active, ""

    def over(self, now: datetime) -> list[Active]:
        """Return those whose time is up."""
        return [each for _, each in sorted(self.active.items()) if each.is_over(now)]

    def shown(self, policy: Policy | None) -> list[dict[str, object]]:
        """Return every profile that is known or on, with what it is."""
        known = policy.profiles if policy is not None else {}
        return [
            {
                "name": name,
                "on": name in self.active,
                "known": name in known,
                "groups": _narrowed(known[name]) if name in known else [],
                "loan_lengths": {
                    group: length.total_seconds()
                    for group, length in sorted(lengthened(known, [name]).items())
                },
                "silences": sorted(known[name].silences) if name in known else [],
                **({k: v for k, v in asdict(self.active[name]).items() if k != "name"}
                   if name in self.active else {}),
            }
            for name in sorted({*known, *self.active})
        ]  # fmt: skip

    def problems(self, policy: Policy | None) -> dict[str, str]:
        """Return what an engineer has to look at."""
        if self.problem:
            return {"profiles": self.problem}
        known = policy.profiles if policy is not None else {}
        lost = sorted(self.active.keys() - known.keys())
        if policy is None or not lost:
            return {}
        text = f"profile {', '.join(lost)} is on, and the rules in force know no such profile"
        return {"profiles": f"{text}: netguard profile {lost[0]} off"}


def _narrowed(profile: Profile) -> list[str]:
    return sorted(n for n, each in profile.groups.items() if each.allow is not None or each.rate)


def wanted(
    message: Message, policy: Policy | None, active: dict[str, Active], line: Entry
) -> tuple[dict[str, Active], Entry] | None:
    """Return what is to be on and the line of the audit; None when it is so already.

    Raises BadValue for a profile that the rules do not have, and Refused before the first apply.
    """
    name, on = str(message.get("name", "")), message.get("on")
    if not isinstance(on, bool):
        raise BadValue("syntax", "profile needs `on`, true or false")
    held = active.get(name)
    if not on:
        if held is None:
            _refuse_unknown(name, policy)
            return None
        left = {other: each for other, each in active.items() if other != name}
        return left, replace(line, before=json.dumps(asdict(held)))
    if policy is None:
        raise Refused("no rules are in force, so no profile is known: netguard apply DIR")
    _refuse_unknown(name, policy)
    until = _until(message, line)
    why = plain(message.get("note"), MAX_NOTE)
    if held is not None and (held.until, why or held.why) == (until, held.why):
        return None
    now = Active(name, held.since if held is not None else line.at, until, line.who, why)
    before = json.dumps(asdict(held)) if held is not None else line.before
    return {**active, name: now}, replace(line, before=before, after=json.dumps(asdict(now)))


def ended(active: dict[str, Active], over: Iterable[Active]) -> dict[str, Active]:
    """Return what is on when these have ended."""
    names = {each.name for each in over}
    return {name: each for name, each in active.items() if name not in names}


def _refuse_unknown(name: str, policy: Policy | None) -> None:
    known = policy.profiles if policy is not None else {}
    if name not in known:
        text = f"unknown profile {shown(name)}{suggest_of(name, frozenset(known))}"
        raise BadValue("unknown-ref", text)


def _until(message: Message, line: Entry) -> str:
    seconds = message.get("seconds")
    if seconds is None:
        return ""
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not SHORTEST <= seconds <= LONGEST
    ):
        raise BadValue("bad-duration", "a profile is on for 1 minute to 30 days: --for 4h")
    until = datetime.fromisoformat(line.at) + timedelta(seconds=seconds)
    return until.isoformat(timespec="seconds")
