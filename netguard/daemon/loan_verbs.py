"""What people say of tablets over guard's socket: lent, lost, moved, in quarantine, and who said so.

Each word is stored with its line of the audit before it is in force, except what narrows, which holds also
where it cannot be stored. watch may put a tablet into quarantine where the rules want it; it can end nothing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from netguard.adapters import clock, control
from netguard.adapters.store import Entry, Loan, Quarantine
from netguard.core import due
from netguard.core.loans import STOCK
from netguard.core.policy import Policy
from netguard.daemon import lending
from netguard.daemon.process import say
from netguard.daemon.profiles import Profiles
from netguard.daemon.register import Register
from netguard.daemon.removals import Removals
from netguard.errors import BadValue, Refused, StoreError
from netguard.settings import Settings

MAX_QUARANTINE = 366 * 86400.0
# How far back a quarantine for the same alert is looked for: an alert is told for so long at most.
REMEMBERED = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Parts:
    """What of guard these verbs need."""

    settings: Settings
    register: Register
    removals: Removals
    profiles: Profiles
    busy: asyncio.Lock
    policy: Callable[[], Policy | None]
    new_plan: Callable[[], Awaitable[None]]
    tell_watch: Callable[[], Awaitable[None]]
    # Gives a tablet that came back another Wi-Fi key; says whether it did.
    returned: Callable[[str, str], Awaitable[bool]]
    problems: Callable[[], dict[str, str]]


class LoanVerbs:
    """Answers what people say and ask of tablets."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._register = parts.register

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs; root and guard itself may call them, watch only what narrows."""
        watch = frozenset({self._parts.settings.users.watch})
        return {
            "tablet": control.Offer(self.tablet),
            "loans": control.Offer(self.loans),
            "move": control.Offer(self.move),
            "audit": control.Offer(self.audit),
            "quarantine": control.Offer(self.quarantine, watch),
            "release": control.Offer(self.release),
            "quarantines": control.Offer(self.quarantines),
        }

    async def tablet(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what is known of a tablet; with a state, store that first and put it into force."""
        register = self._register
        async with self._parts.busy:
            policy = self._parts.policy()
            id_ = lending.tablet_id(register, policy, str(message.get("tablet", "")))
            line = lending.line(clock.now(), caller.name, message, "loan", id_)
            change, rotated = None, False
            held = register.details.get(id_)
            if message.get("state") is not None:
                change = lending.change(register, message, id_, line)
            if change is not None:
                end = self._ends(policy, {id_: change[0]}).get(id_)
                change = change[0], lending.with_due(change[1], end)
                await asyncio.to_thread(register.change, *change)
                say("loan", tablet=id_, state=change[0].state, by=change[0].who)
                await self._parts.new_plan()
                if change[0].state == STOCK and held is not None and held.state != STOCK:
                    # Who had it may have read the key on the tablet.
                    rotated = await self._parts.returned(id_, line.who)
            return {**self._known(id_), "changed": change is not None, "psk_rotated": rotated}

    async def move(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Note that a tablet is about to go somewhere, so that nobody is alarmed when it does."""
        async with self._parts.busy:
            policy = self._parts.policy()
            id_ = lending.tablet_id(self._register, policy, str(message.get("tablet", "")))
            line = lending.line(clock.now(), caller.name, message, "move", id_)
            move, line = lending.moving(message, policy, id_, line)
            await asyncio.to_thread(self._register.move, move, line)
            say("move", tablet=id_, to=move.area, by=line.who)
            await self._parts.tell_watch()
            return {"tablet": id_, "to": move.area, "until": move.until}

    async def loans(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the state of every tablet of which something was said."""
        return {
            "loans": self._register.loans,
            "profiles": sorted(self._parts.profiles.active),
        }

    def terms(self, policy: Policy) -> dict[str, tuple[float, float | None]] | None:
        """Return of each loan when it began and when it ends, in seconds since 1970; None: without end.

        None for all while the store cannot be used: who is refused is noted beside it, no loan is.
        """
        if not self._register.is_open:
            return None
        running = lending.lent(self._register.details)
        ends = due.ends(policy, self._parts.profiles.active, running)
        return {
            id_: (loan.since.timestamp(), end.timestamp() if (end := ends[id_]) else None)
            for id_, loan in running.items()
        }

    def overdue(self) -> dict[str, int]:
        """Return how many loans are overdue, by the site where each tablet belongs."""
        policy, now = self._parts.policy(), clock.now()
        counts = dict.fromkeys(self._parts.settings.sites, 0)
        for id_, end in self._ends(policy, self._register.details).items():
            known = policy.tablets.get(id_) if policy is not None else None
            if end is not None and end <= now:
                site = known.home[0] if known is not None else ""
                counts[site] = counts.get(site, 0) + 1
        return counts

    def _ends(
        self, policy: Policy | None, details: Mapping[str, Loan]
    ) -> dict[str, datetime | None]:
        return due.ends(policy, self._parts.profiles.active, lending.lent(details))

    async def audit(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return who did what since a moment."""
        since = lending.since(message, clock.now())
        subject = str(message.get("subject") or "")
        found = await asyncio.to_thread(self._register.audit, since, subject)
        return {"audit": [lending.told(entry) for entry in found]}

    # quarantine

    async def quarantine(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Put a tablet into quarantine: stored, then in the kernel and FreeRADIUS, then off the air."""
        register = self._register
        async with self._parts.busy:
            policy = self._parts.policy()
            id_ = lending.tablet_id(register, policy, str(message.get("tablet", "")))
            line = lending.line(clock.now(), caller.name, message, "quarantine", id_)
            if caller.name == self._parts.settings.users.watch:
                row = await asyncio.to_thread(self._by_alert, policy, message, line.at, id_)
                line = replace(line, who=row.who if row is not None else line.who)
            else:
                row = _by_person(message, line.at, line.who, id_)
                held = register.quarantines.get(id_)
                if held is not None and (held.why, held.until) == (row.why, row.until):
                    row = None
            if row is not None:
                before = register.quarantines.get(id_)
                line = replace(line, before=_text(before), after=_text(row))
                await asyncio.to_thread(register.quarantine, row, line)
                say("quarantine", tablet=id_, by=row.who, why=row.why, until=row.until)
                await self._parts.new_plan()
            return {**self._known(id_), "changed": row is not None}

    def _by_alert(
        self, policy: Policy | None, message: control.Message, at: str, id_: str
    ) -> Quarantine | None:
        """Return what an alert wants; None where it holds already, or was ended or changed by a person since.

        One that a person has begun for a time holds for longer: the alert is not over with it.

        Raises Refused where the rules do not want it: whoever speaks for watch gets no more than they say.
        """
        if policy is None:
            raise Refused(lending.NO_RULES, again=True)
        rule, incident = str(message.get("rule", "")), lending.plain(message.get("incident"), 128)
        wanted = [r for r in policy.alerts if r.quarantine]
        if not incident or rule not in {each.name for each in wanted}:
            raise Refused("watch may only ask for a quarantine that a rule of alerts.yaml wants")
        held = self._register.quarantines.get(id_)
        if held is not None and not held.until:
            return None
        for entry in self._told_of(id_):
            if entry.verb == "quarantine" and json.loads(entry.after).get("incident") == incident:
                return None
        why = lending.plain(message.get("why"), lending.MAX_NOTE) or f"alert {incident}"
        # The moment stays: it is off the air by what was begun then.
        since = held.at if held is not None else at
        return Quarantine(id_, since, f"alert rule {rule}"[: lending.MAX_WHO], why, "", incident)

    def _told_of(self, id_: str) -> list[Entry]:
        """Return what the audit tells of a tablet; nothing where it cannot be read, for a quarantine narrows."""
        try:
            return self._register.audit(clock.now() - REMEMBERED, id_)
        except StoreError:
            return []

    async def release(self, caller: control.Caller, message: control.Message) -> control.Message:
        """End a quarantine: the tablet may again what its group may, and what its loan lets it."""
        async with self._parts.busy:
            policy = self._parts.policy()
            word = str(message.get("tablet", ""))
            id_ = word if word in self._register.quarantines else ""
            id_ = id_ or lending.tablet_id(self._register, policy, word)
            changed = await self._release(id_, caller.name, message)
            return {**self._known(id_), "changed": changed}

    async def _release(self, id_: str, caller: str, message: control.Message) -> bool:
        held = self._register.quarantines.get(id_)
        if held is None:
            return False
        line = lending.line(clock.now(), caller, message, "release", id_)
        note = lending.plain(message.get("note"), lending.MAX_NOTE)
        after = json.dumps({"note": note} if note else {})
        line = replace(line, before=_text(held), after=after)
        await asyncio.to_thread(self._register.release, id_, line)
        say("release", tablet=id_, by=line.who)
        await self._parts.new_plan()
        return True

    async def end_those_over(self) -> None:
        """End every quarantine whose time is up; the caller holds the lock."""
        now = clock.now()
        for id_, row in list(self._register.quarantines.items()):
            if row.until and datetime.fromisoformat(row.until) <= now:
                note = f"until {row.until}, as {row.who} said"
                await self._release(id_, "guard", {"by": "guard", "note": note})

    async def quarantines(
        self, caller: control.Caller, message: control.Message
    ) -> control.Message:
        """Return who is in quarantine, and how far each has come."""
        rows = [
            asdict(row) | {"removal": next(iter(self._parts.removals.shown(id_)), None)}
            for id_, row in sorted(self._register.quarantines.items())
        ]
        return {"quarantines": rows}

    def _known(self, id_: str) -> dict[str, Any]:
        policy, sites = self._parts.policy(), self._parts.settings.sites
        row = self._register.quarantines.get(id_)
        held = {k: v for k, v in self._register.details.items() if k == id_}
        end = self._ends(policy, held).get(id_)
        return {
            **lending.known(self._register, policy, sites, id_),
            **lending.terms(lending.lent(held).get(id_), end, clock.now()),
            "quarantine": asdict(row) if row is not None else None,
            "removal": next(iter(self._parts.removals.shown(id_)), None),
            "problems": self._parts.problems(),
        }


def _by_person(message: control.Message, at: str, who: str, id_: str) -> Quarantine:
    why = lending.plain(message.get("why"), lending.MAX_NOTE)
    if not why:
        raise BadValue("missing", "say why: netguard quarantine ID --why TEXT")
    return Quarantine(id_, at, who, why, _until(message, at), "")


def _until(message: control.Message, at: str) -> str:
    """Read how long it holds: `seconds` from now, or `until`, a moment with its zone; "" for open."""
    seconds, until = message.get("seconds"), message.get("until")
    now = datetime.fromisoformat(at)
    if until is not None:
        try:
            moment = datetime.fromisoformat(str(until))
        except ValueError as error:
            raise BadValue("bad-date", "write a moment as 2026-12-24T18:00+01:00") from error
        if moment.tzinfo is None:
            raise BadValue("bad-date", "a moment needs its zone: 2026-12-24T18:00+01:00")
        seconds = (moment - now).total_seconds()
    if seconds is None:
        return ""
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 < seconds <= MAX_QUARANTINE
    ):
        raise BadValue("bad-duration", "a quarantine lasts for more than 0 s and at most 366 days")
    return (now + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def _text(row: Quarantine | None) -> str:
    if row is None:
        return "{}"
    words = {"state": "quarantined", "why": row.why, "until": row.until, "incident": row.incident}
    return json.dumps({key: value for key, value in words.items() if value})
