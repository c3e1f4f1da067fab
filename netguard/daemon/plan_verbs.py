"""What people do with plans over guard's socket: apply, confirm, roll back, and which are kept.

Rules come into force here alone: checked, copied, written down, enforced, and undone where a step fails.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace

from netguard.adapters import clock, control, files, systemd
from netguard.adapters.store import Entry
from netguard.core.cases import judge
from netguard.core.changes import Changes, changes
from netguard.core.names import Mac
from netguard.core.plan import Plan
from netguard.core.policy import Policy
from netguard.core.proof import prove
from netguard.daemon import confirming, incoming, lending
from netguard.daemon.fence import Fence
from netguard.daemon.process import say, warn
from netguard.daemon.register import Register
from netguard.errors import EnforcementError, NetguardError, Refused, StoreError
from netguard.rules.findings import errors
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load


@dataclass(slots=True)
class State:
    """What guard knows; the kernel and the disk are the truth, this is the view of them."""

    applied: files.Applied | None = None
    policy: Policy | None = None
    plan: Plan | None = None
    problems: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanParts:
    """What of guard these verbs need; `enforce` brings every enforcer to a plan, or raises NetguardError."""

    state: State
    copies: files.Copies
    register: Register
    confirmation: confirming.Confirmation
    fence: Fence
    busy: asyncio.Lock
    under: Callable[[Policy], Policy]
    compile: Callable[[Policy], Plan]
    enforce: Callable[[Plan, Policy], Awaitable[None]]
    forget_audit: Callable[[], Awaitable[None]]
    problems: Callable[[], dict[str, str]]


class PlanVerbs:
    """Brings plans into force, and takes them back; only root and guard itself may."""

    def __init__(self, parts: PlanParts) -> None:
        self._parts, self._state = parts, parts.state

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs."""
        return {
            "apply": control.Offer(self.apply),
            "confirm": control.Offer(self.confirm),
            "rollback": control.Offer(self.rollback),
            "history": control.Offer(self.history),
        }

    def checked(
        self,
        folder: Folder,
        *,
        allow_empty: bool = False,
        previous: dict[str, Mac] | None = None,
        cases: bool = False,
    ) -> tuple[Policy, Plan]:
        """Load rules; `cases`: refuse them when a case of theirs fails, or what they promise is not so."""
        loaded = load(folder, today=clock.today(), allow_empty=allow_empty, previous=previous)
        if loaded.policy is None:
            raise Refused(incoming.listed(errors(loaded.findings)))
        if cases:
            incoming.refuse_failing(judge(loaded.policy, loaded.cases))
        plan = self._parts.compile(loaded.policy)
        if cases:
            incoming.refuse_unproved(prove(self._parts.under(loaded.policy), plan))
        return loaded.policy, plan

    async def apply(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Check, copy, put into force; on failure nothing has changed."""
        folder = incoming.folder(message)
        within = confirming.seconds(message)
        async with self._parts.busy:
            in_force = self._state.applied.number if self._state.applied is not None else None
            confirming.refuse(self._parts.confirmation.waiting, within, in_force)
            previous = self._state.policy
            known = {t.id: t.mac for t in previous.tablets.values()} if previous else None
            shrink_meant = bool(message.get("confirm_shrink"))
            policy, plan = await asyncio.to_thread(
                self.checked,
                folder,
                allow_empty=bool(message.get("allow_empty")),
                previous=None if shrink_meant else known,
                cases=True,
            )
            applied = files.Applied(
                number=self._parts.copies.next_number(),
                at=clock.now().isoformat(timespec="seconds"),
                by=str(message.get("by") or caller.name)[:64],
                name=folder.name,
                folder=str(message.get("folder", ""))[:4096],
                commit=str(message.get("commit", ""))[:64],
                edited=bool(message.get("edited")),
                rules=folder.digest,
                plan=plan.digest,
            )
            # Written down before it is done: a change that nobody can look up later does not happen.
            before, after = lending.digests(self._state.applied), lending.digests(applied)
            entry = lending.line(clock.now(), caller.name, message, "apply", applied.name)
            after = lending.with_changes(
                after, message, await asyncio.to_thread(self._changes, plan, policy)
            )
            entry = replace(entry, before=before, after=after)
            await asyncio.to_thread(self._parts.register.record, entry)
            try:
                with written():
                    await asyncio.to_thread(self._parts.copies.store, applied, folder.files)
                    if within is not None and in_force is not None:
                        self._parts.confirmation.begin(applied.number, in_force, within, applied.by)
                    await self._parts.enforce(plan, policy)
                    self._parts.copies.switch(applied.number)
            except NetguardError:
                self._parts.copies.drop(applied.number)
                self._parts.confirmation.end()
                await self._back_to_last()
                undone = replace(entry, verb="apply-undone", before=after, after=before)
                with contextlib.suppress(StoreError):
                    await asyncio.to_thread(self._parts.register.record, undone)
                raise
            self._state.applied, self._state.policy, self._state.plan = applied, policy, plan
            await self._parts.forget_audit()
            for problem in ("resume", "enforce"):
                self._state.problems.pop(problem, None)
        say(
            "applied",
            number=applied.number,
            by=applied.by,
            plan=plan.digest[:12],
            commit=applied.commit[:12],
        )
        systemd.notify(f"STATUS=guarding {len(policy.tablets)} tablets")
        return {
            "applied": asdict(applied),
            "tablets": len(policy.tablets),
            "problems": self._parts.problems(),
            "waiting": self._parts.confirmation.shown(),
        }

    def _changes(self, plan: Plan, policy: Policy) -> Changes:
        return changes(self._state.plan, plan, (self._state.policy, policy))

    # taking back

    async def confirm(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Keep the plan that waits."""
        async with self._parts.busy:
            waiting = self._parts.confirmation.waiting
            if waiting is None:
                raise Refused("nothing waits to be confirmed")
            entry = lending.line(clock.now(), caller.name, message, "confirm", f"{waiting.number}")
            await asyncio.to_thread(self._parts.register.record, entry)
            self._parts.confirmation.end()
        say("confirmed", number=waiting.number, by=entry.who)
        return {"number": waiting.number}

    async def rollback(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Put an earlier plan in force again: the one named, else the one before."""
        async with self._parts.busy:
            applied = self._state.applied
            if applied is None:
                raise Refused("nothing is in force to go back from")
            waiting, wanted = self._parts.confirmation.waiting, message.get("number")
            if wanted is None:
                before = [
                    a.number for a in self._parts.copies.listed() if a.number < applied.number
                ]
                wanted = waiting.back if waiting is not None else max(before, default=None)
            if not isinstance(wanted, int) or wanted == applied.number:
                raise Refused("no earlier plan is kept: netguard history lists them")
            entry = lending.line(clock.now(), caller.name, message, "rollback", applied.name)
            told = await self._put_back(wanted, entry, message)
        return {"from": applied.number, "number": wanted, "changes": told}

    async def _put_back(self, number: int, entry: Entry, message: control.Message) -> list[str]:
        """Put a stored copy in force; raises NetguardError, and then all is as it was."""
        copy = self._parts.copies.at(number)
        if copy is None:
            raise Refused(f"plan {number} is not kept: netguard history lists those that are")
        applied, folder = copy
        policy, plan = await asyncio.to_thread(
            self.checked, read_folder(folder, applied.name), allow_empty=True
        )
        found = await asyncio.to_thread(self._changes, plan, policy)
        before, after = lending.digests(self._state.applied), lending.digests(applied)
        after = lending.with_changes(after, message, found)
        await asyncio.to_thread(
            self._parts.register.record, replace(entry, before=before, after=after)
        )
        try:
            with written():
                await self._parts.enforce(plan, policy)
                self._parts.copies.switch(number)
        except NetguardError:
            # At a start nothing is known to go back to: the kernel keeps what it has.
            if self._state.plan is not None:
                await self._back_to_last()
            raise
        self._parts.confirmation.end()
        self._state.applied, self._state.policy, self._state.plan = applied, policy, plan
        for problem in ("resume", "enforce", "confirm"):
            self._state.problems.pop(problem, None)
        say("rolled back", number=number, by=entry.who, plan=plan.digest[:12])
        return lending.texts(found)

    async def not_confirmed(self) -> None:
        """Put back what was in force before a plan that nobody has confirmed; the caller holds the lock."""
        waiting = self._parts.confirmation.waiting
        if waiting is None:
            return
        message = {"by": "guard"}
        entry = lending.line(clock.now(), "guard", message, "not-confirmed", f"{waiting.number}")
        try:
            await self._put_back(waiting.back, entry, message)
        except NetguardError as error:
            text = f"plan {waiting.number} was not confirmed and could not be taken back: {error}"
            if self._state.problems.get("confirm") != text:
                warn(text)
            self._state.problems["confirm"] = text

    async def history(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the plans that are kept, the oldest first, and what waits."""
        current = self._state.applied.number if self._state.applied is not None else None
        kept = await asyncio.to_thread(self._parts.copies.listed)
        return {
            "plans": [asdict(a) | {"in_force": a.number == current} for a in kept],
            "waiting": self._parts.confirmation.shown(),
        }

    async def _back_to_last(self) -> None:
        if self._state.plan is None or self._state.policy is None:
            with contextlib.suppress(EnforcementError):
                await self._parts.fence.bring(None)
            return
        try:
            await self._parts.enforce(self._state.plan, self._state.policy)
        except NetguardError as error:
            warn("undoing a failed apply failed too", why=str(error))


@contextlib.contextmanager
def written() -> Iterator[None]:
    """Name the file that could not be written as any other enforcer that did not follow."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename or "a file"
        raise EnforcementError(f"{name} cannot be written: {error.strerror or error}") from error
