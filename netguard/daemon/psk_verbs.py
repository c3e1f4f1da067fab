"""What people ask and say of Wi-Fi keys over guard's socket, and the end of sessions that have an old one.

Root alone is answered. Each look at a key is a line of the audit, written before the key is given; no key is in
that line, in a log, in an error or in another answer.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from netguard.adapters import clock, control
from netguard.adapters.store import Entry, PskRow
from netguard.core.plan import Plan
from netguard.core.policy import Policy
from netguard.core.removal import CACHED_FOR
from netguard.daemon import lending, psks
from netguard.daemon.process import pause, say, warn
from netguard.daemon.register import Register
from netguard.daemon.removals import Removals
from netguard.errors import BadValue, NetguardError, Refused, StoreError

LOOK_INTERVAL = 0.5
# For so long FreeRADIUS may take to hold the new key; then the session is ended all the same.
RADIUS_TAKES = 20.0
_PURPOSES = ("show", "card")


@dataclass(frozen=True, slots=True)
class KeyParts:
    """What of guard these verbs need; `bring` lets FreeRADIUS follow, `late` says that it has not yet."""

    register: Register
    removals: Removals
    keys: psks.Psks
    busy: asyncio.Lock
    policy: Callable[[], Policy | None]
    plan: Callable[[], Plan | None]
    bring: Callable[[], Awaitable[None]]
    late: Callable[[], bool]
    problems: Callable[[], dict[str, str]]


class PskVerbs:
    """Shows and rotates keys."""

    def __init__(self, parts: KeyParts) -> None:
        self._parts = parts
        # Whose NAS is still to be asked; None until the store was read.
        self._due: dict[str, PskRow] | None = None
        # What the NAS said last, by tablet.
        self._said: dict[str, str] = {}

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs; root and guard itself may call them."""
        return {
            "psks": control.Offer(self.listed),
            "psk-show": control.Offer(self.show),
            "psk-rotate": control.Offer(self.rotate),
        }

    async def listed(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return who has a key of their own, since when, and whether old sessions are still to end."""
        plan = self._parts.plan()
        rows = await asyncio.to_thread(self._parts.register.psks)
        wanted = psks.tablets(plan) if plan is not None else set()
        found = [
            {
                "tablet": tablet,
                "since": rows[tablet].at if tablet in rows else "",
                "by": rows[tablet].who if tablet in rows else "",
                "asks": rows[tablet].asks if tablet in rows else 0,
                "said": self._said.get(tablet, ""),
                "sites": [site.name for site in psks.sites(plan, tablet)] if plan else [],
            }
            for tablet in sorted(wanted)
        ]
        return {"psks": found, "problems": self._parts.problems()}

    async def show(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the key of a tablet and the networks it joins with it; the audit says who looked."""
        purpose = str(message.get("purpose", "show"))
        if purpose not in _PURPOSES:
            raise BadValue("bad-word", f"a key is asked for to {' or '.join(_PURPOSES)} it")
        async with self._parts.busy:
            plan, id_ = self._meant(message)
            key, row = await asyncio.to_thread(self._parts.keys.key, id_)
            line = lending.line(clock.now(), caller.name, message, f"psk-{purpose}", id_)
            await asyncio.to_thread(self._parts.register.record, line)
        say("a Wi-Fi key was asked for", tablet=id_, to=purpose, by=line.who)
        policy = self._parts.policy()
        tablet = policy.tablets.get(id_) if policy is not None else None
        networks = [{"site": site.name, "ssid": site.ssid} for site in psks.sites(plan, id_)]
        # Where it is at home first.
        home = tablet.home[0] if tablet is not None else ""
        networks.sort(key=lambda each: (each["site"] != home, each["site"]))
        return {"tablet": id_, "psk": key, "since": row.at, "networks": networks}

    async def rotate(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Give one tablet a new key, or every one; FreeRADIUS follows, then the old sessions are ended."""
        why = lending.plain(message.get("why"), lending.MAX_NOTE)
        if not why:
            raise BadValue("missing", "say why: netguard psk rotate ID --why TEXT")
        async with self._parts.busy:
            everyone = message.get("all") is True
            if everyone:
                chosen = sorted(psks.tablets(self._in_force()))
                if not chosen:
                    raise Refused(_NOBODY)
            else:
                chosen = [self._meant(message)[1]]
            who = lending.line(clock.now(), caller.name, message, "psk", "").who
            await self._rotate(chosen, who, why, everyone=everyone)
        return {"rotated": chosen, "problems": self._parts.problems()}

    async def returned(self, tablet: str, who: str) -> bool:
        """Give a tablet that came back a new key; the caller holds the lock. False where it has none or it failed."""
        plan = self._parts.plan()
        if plan is None or tablet not in psks.tablets(plan):
            return False
        try:
            await self._rotate([tablet], who, "it came back")
        except NetguardError as error:
            # That it is back counts all the same; its key is the old one, and that is said.
            warn("the Wi-Fi key of a returned tablet is the old one", tablet=tablet, why=str(error))
            return False
        return True

    async def _rotate(
        self, chosen: list[str], who: str, why: str, *, everyone: bool = False
    ) -> None:
        rotate = partial(self._parts.keys.rotate, chosen, who, why, everyone=everyone)
        rows = await asyncio.to_thread(rotate)
        if self._due is not None:
            kept = {} if everyone else self._due
            self._due = {**kept, **{row.tablet: row for row in rows}}
        await self._parts.bring()

    def _in_force(self) -> Plan:
        plan = self._parts.plan()
        if plan is None:
            raise Refused("no rules are in force, so no tablet is known: netguard apply DIR")
        return plan

    def _meant(self, message: control.Message) -> tuple[Plan, str]:
        plan = self._in_force()
        word = str(message.get("tablet", ""))
        id_ = lending.tablet_id(self._parts.register, self._parts.policy(), word)
        if id_ not in psks.tablets(plan):
            raise Refused(f"{id_}: {_NOBODY}")
        return plan, id_

    # the old sessions

    async def run(self, stop: asyncio.Event) -> None:
        """End sessions that were begun with an old key, until told to end; a restart goes on where this was."""
        async with asyncio.TaskGroup() as group:
            tasks: dict[str, asyncio.Task[None]] = {}
            while not stop.is_set():
                await self._recall()
                plan, now = self._parts.plan(), clock.now().timestamp()
                tasks = {tablet: task for tablet, task in tasks.items() if not task.done()}
                for row in (self._due or {}).values():
                    if plan is not None and row.tablet not in tasks and self._is_due(row, now):
                        tasks[row.tablet] = group.create_task(self._end(row, plan))
                await pause(stop, LOOK_INTERVAL)
            # A NAS that says nothing does not hold up the end of guard: the next one asks again.
            for task in tasks.values():
                task.cancel()

    async def _recall(self) -> None:
        if self._due is None:
            with contextlib.suppress(StoreError):
                rows = await asyncio.to_thread(self._parts.register.psks)
                self._due = {tablet: row for tablet, row in rows.items() if row.asks > 0}

    def _is_due(self, row: PskRow, now: float) -> bool:
        age = now - datetime.fromisoformat(row.at).timestamp()
        # A clock that was set back says nothing of how long ago it was: asking once more does no harm.
        if row.asks < psks.ASKS:
            # hostapd keeps an answer, the key with it.
            return not 0 <= age < CACHED_FOR
        return not self._parts.late() or not 0 <= age < RADIUS_TAKES

    async def _end(self, row: PskRow, plan: Plan) -> None:
        done, why = await self._parts.removals.end_session(row.tablet, plan)
        self._said[row.tablet] = why
        tell = say if done else warn
        tell("the session with the old Wi-Fi key", tablet=row.tablet, ended=done, why=why)
        if (self._due or {}).get(row.tablet) != row:
            # Rotated once more meanwhile.
            return
        after = replace(row, asks=row.asks - 1)
        at = clock.now().isoformat(timespec="seconds")
        text = json.dumps({"said": why})
        entry = Entry(at, "guard", "psk-old-session", row.tablet, "{}", text)
        due: dict[str, Any] = {**(self._due or {}), row.tablet: after}
        self._due = {tablet: each for tablet, each in due.items() if each.asks > 0}
        with contextlib.suppress(StoreError):
            # A key that was rotated meanwhile stays, with what it has to be asked for.
            await asyncio.to_thread(self._parts.register.count_psk_ask, row, after.asks, entry)


_NOBODY = (
    "no NAS of its sites gives tablets a Wi-Fi key of their own: psk: per-tablet in sites.yaml"
)
