"""What people ask and say of Wi-Fi keys over guard's socket, and the end of sessions that have an old one.

Root alone is answered. Each look at a key is a line of the audit, written before the key is given; no key is in
that line, in a log, in an error or in another answer.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from netguard.adapters import clock, control
from netguard.adapters.store import Entry, PskRow
from netguard.core import old_sessions
from netguard.core.old_sessions import Heard
from netguard.core.plan import Plan
from netguard.core.policy import Policy
from netguard.core.removal import CACHED_FOR, LATER
from netguard.daemon import lending, psks
from netguard.daemon.process import pause, say, warn
from netguard.daemon.register import Register
from netguard.daemon.removals import AT_ONCE, NOBODY_KNOWS, Removals
from netguard.errors import BadValue, NetguardError, Refused, StoreError

LOOK_INTERVAL = 0.5
# For so long FreeRADIUS may take to hold the new key; then the session is ended all the same.
RADIUS_TAKES = 20.0
# How rarely a NAS is asked at last that never takes a Disconnect; whether the session is over is looked at each LATER.
RAREST = 3600.0
# So often is enough to come there; a NAS may refuse for months.
_DOUBLED = 6
_PURPOSES = ("show", "card")
_NAMED = 5


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


@dataclass(slots=True)
class Due:
    """A new key whose NAS is still to be asked to end a session that has the one before."""

    row: PskRow
    # Nobody is asked before this moment of the monotonic clock, which nobody sets back.
    after: float = 0.0
    # The session was ended while FreeRADIUS still gave the old key: of no use again before it gives the new one.
    early: bool = False
    # What was said by whoever did not end it, how often in a row, and before when it is not asked once more.
    fault: str = ""
    refusals: int = 0
    ask_after: float = 0.0
    # From this moment on (wall clock) nobody gets the old key; 0 where FreeRADIUS still may give it.
    given: float = 0.0
    heard: Heard = field(default_factory=Heard)
    # The longest Session-Timeout that was sent since; None where at some time none was.
    timeout: float | None = 0.0


class PskVerbs:
    """Shows and rotates keys."""

    def __init__(self, parts: KeyParts) -> None:
        self._parts = parts
        # By tablet; None until the store was read.
        self._due: dict[str, Due] | None = None
        # A fleet whose NAS is silent must leave some to those that are stolen.
        self._slots = asyncio.Semaphore(AT_ONCE // 2)
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
        try:
            await self._parts.bring()
        finally:
            # Not before FreeRADIUS was told: until then it is not known to be late.
            if self._due is not None:
                kept = {} if everyone else self._due
                self._due = {**kept, **{row.tablet: Due(row) for row in rows}}

    def _in_force(self) -> Plan:
        plan = self._parts.plan()
        if plan is None:
            raise Refused(lending.NO_RULES, again=True)
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
                for tablet, due in (self._due or {}).items():
                    if plan is not None and tablet not in tasks and self._is_due(due, now):
                        tasks[tablet] = group.create_task(self._end(due, plan))
                await pause(stop, LOOK_INTERVAL)
            # A NAS that says nothing does not hold up the end of guard: the next one asks again.
            for task in tasks.values():
                task.cancel()

    async def _recall(self) -> None:
        if self._due is not None:
            return
        # A rotation that goes on adds its own when FreeRADIUS was told.
        async with self._parts.busy:
            with contextlib.suppress(StoreError):
                rows = await asyncio.to_thread(self._parts.register.psks)
                # When one was asked for the first time is not stored: at the latest now.
                forgotten = clock.monotonic() + CACHED_FOR
                self._due = {
                    tablet: Due(row, forgotten if row.asks < psks.ASKS else 0.0)
                    for tablet, row in rows.items()
                    if row.asks > 0
                }

    def _is_due(self, due: Due, now: float) -> bool:
        if clock.monotonic() < due.after:
            return False
        if due.row.asks < psks.ASKS or not self._parts.late():
            return True
        age = now - datetime.fromisoformat(due.row.at).timestamp()
        # A clock that was set back says nothing of how long ago it was: asking once more does no harm.
        return not due.early and not 0 <= age < RADIUS_TAKES

    async def _end(self, due: Due, plan: Plan) -> None:
        tablet = due.row.tablet
        async with self._slots:
            over = await self._is_over(due, plan)
            if over:
                await self._let_be(due, over)
                return
            if clock.monotonic() < due.ask_after:
                due.after = clock.monotonic() + LATER
                return
            # Whoever comes back meanwhile may be let in by the old key: that ask does not count.
            early = due.row.asks == psks.ASKS and self._parts.late()
            done, why = await self._parts.removals.end_session(tablet, plan)
        is_news = done or why != due.fault
        self._said[tablet] = why
        if is_news:
            tell = say if done else warn
            tell("the session with the old Wi-Fi key", tablet=tablet, ended=done, why=why)
        if (self._due or {}).get(tablet) is not due:
            # Rotated once more meanwhile.
            return
        due.early = early and done
        # hostapd keeps an answer, the key with it.
        due.after = clock.monotonic() + (CACHED_FOR if done else LATER) * (not due.early)
        due.refusals = 0 if done else due.refusals + 1
        pause = min(LATER * 2 ** min(due.refusals - 1, _DOUBLED), RAREST) if due.refusals else 0.0
        due.ask_after = clock.monotonic() + pause
        due.fault = "" if done else why
        asks = due.row.asks - (done and not early)
        if is_news:
            await self._count(due, asks, why)

    async def _is_over(self, due: Due, plan: Plan) -> str:
        """Say why the old session is certainly over, where its NAS has not ended it; an empty text where it may go on."""
        if not due.given:
            if self._parts.late():
                return ""
            due.given = clock.now().timestamp() + RADIUS_TAKES + CACHED_FOR
        tablet = due.row.tablet
        # What is sent from now on binds no session that was begun before.
        sent = _timeout(plan, tablet)
        if due.timeout is not None:
            due.timeout = max(due.timeout, sent) if sent is not None else None
        told = await self._parts.removals.keyed_sessions(tablet, plan)
        if told is None:
            return ""
        rows, full = told
        now, steady = clock.now().timestamp(), clock.monotonic()
        due.heard, left = old_sessions.look(due.heard, rows, due.given, now, steady, full=full)
        if not due.fault:
            # A NAS that does as it is asked has the word.
            return ""
        return old_sessions.over(due.heard, rows, left, due.timeout, steady)

    async def _let_be(self, due: Due, why: str) -> None:
        """Ask no more: there is no session left to end."""
        tablet = due.row.tablet
        say("no session with the old Wi-Fi key is left", tablet=tablet, why=why)
        if (self._due or {}).get(tablet) is due:
            self._said[tablet] = f"{due.fault}; {why}"
            await self._count(due, 0, self._said[tablet])

    async def _count(self, due: Due, asks: int, why: str) -> None:
        """Write down what the NAS said, and how often it is still to be asked."""
        at = clock.now().isoformat(timespec="seconds")
        text = json.dumps({"said": why})
        entry = Entry(at, "guard", "psk-old-session", due.row.tablet, "{}", text)
        # Where it cannot be stored a restart asks once more.
        with contextlib.suppress(StoreError):
            # A key that was rotated meanwhile stays, with what it has to be asked for.
            await asyncio.to_thread(self._parts.register.count_psk_ask, due.row, asks, entry)
        due.row = replace(due.row, asks=asks)
        if not asks and self._due is not None and self._due.get(due.row.tablet) is due:
            self._due = {tablet: each for tablet, each in self._due.items() if each is not due}

    @property
    def problem(self) -> str:
        """Say which NASes do not end an old session; an empty text when all did, or nobody was asked."""
        faults = sorted(
            (tablet, due.fault)
            for tablet, due in (self._due or {}).items()
            # Of most that come back nothing was heard for long, so no session is known that could go on.
            if due.fault not in {"", NOBODY_KNOWS}
        )
        if not faults:
            return ""
        names = ", ".join(f"{tablet} ({why})" for tablet, why in faults[:_NAMED])
        more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        return f"a session with the old Wi-Fi key may go on, its NAS is asked again, at last every hour: {names}{more}"


def _timeout(plan: Plan, tablet: str) -> float | None:
    """Return the longest Session-Timeout that a NAS that gives it a key is sent; None where one is sent none."""
    groups = {b.group for b in plan.bindings if b.tablet == tablet and plan.site[b.site].forms}
    found = [plan.group[name].session_timeout for name in groups]
    known = [float(each) for each in found if each is not None]
    return max(known, default=None) if len(known) == len(found) else None


_NOBODY = (
    "no NAS of its sites gives tablets a Wi-Fi key of their own: psk: per-tablet in sites.yaml"
)
