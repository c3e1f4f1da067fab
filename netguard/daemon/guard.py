"""guard: puts a plan into force and keeps it there.

Takes rules only by `apply`, stores the copy, brings kernel, names, DHCP and FreeRADIUS to the plan
in that order, undoes what was done when a step fails, and repairs what somebody else changes. It
is on no packet's path: killed or hung, the kernel goes on with the last plan.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime

from netguard.adapters import clock, control, files, netlink, nflog, nfnetlink, systemd
from netguard.adapters.store import Entry
from netguard.core.cases import judge
from netguard.core.changes import Changes, changes
from netguard.core.denials import Denial
from netguard.core.names import Mac
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.core.profiles import silenced, under
from netguard.core.proof import prove
from netguard.daemon import confirming, incoming, lending, profiles, suspects
from netguard.daemon.fence import Drift, Fence
from netguard.daemon.leases import LeaseBook
from netguard.daemon.loan_verbs import LoanVerbs, Parts
from netguard.daemon.neighbours import Neighbours
from netguard.daemon.process import pause, pulse, readable, reloads, say, warn
from netguard.daemon.profile_verbs import ProfileVerbs
from netguard.daemon.psk_verbs import KeyParts, PskVerbs
from netguard.daemon.psks import Psks
from netguard.daemon.radius_server import RadiusServer
from netguard.daemon.register import Register
from netguard.daemon.removals import Removals
from netguard.daemon.traffic_verbs import TrafficVerbs
from netguard.daemon.units import Units
from netguard.errors import BadValue, EnforcementError, NetguardError, Refused, StoreError
from netguard.render import watch as watch_file
from netguard.rules.findings import errors
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load
from netguard.rules.messages import lines
from netguard.settings import Settings

# Links, belt and hours are looked at when there is news of them, and this often all the same.
NETWORK_INTERVAL = 10.0
# Of one change come several news: they are looked at together.
GATHER = 0.05
AUDIT_INTERVAL = 60.0
# Leases that have ended are taken out of the plan within this.
LEASE_INTERVAL = 30.0
# What could not be brought into force or stored is tried again after this.
RETRY_INTERVAL = 5.0
# How often lines of the audit are looked at that the rules no longer keep.
DAY = 86400.0
# How often guard looks whether a plan that waits has waited long enough.
LOOK_INTERVAL = 0.5


@dataclass(slots=True)
class State:
    """What guard knows; the kernel and the disk are the truth, this is the view of them."""

    applied: files.Applied | None = None
    policy: Policy | None = None
    plan: Plan | None = None
    problems: dict[str, str] = field(default_factory=dict)


class Guard:
    """One guard process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State()
        self.copies = files.Copies(settings.paths.state)
        self.register = Register(settings.paths.state)
        self.fence = Fence(settings.paths.state)
        self.psks = Psks(settings, self.register)
        self.radius = RadiusServer(settings, self.psks.of)
        self.neighbours = Neighbours(settings, self.radius, Units(settings))
        self.leases = LeaseBook(settings.paths.state)
        self.suspects = suspects.Suspects(settings.paths.state)
        self.traffic = TrafficVerbs(settings, lambda: self.state.plan, self.fence, self.leases)
        self.confirmation = confirming.Confirmation(settings.paths.state)
        self.profiles = profiles.Profiles(settings.paths.state)
        # One change at a time: apply, repair and audit never interleave.
        self.busy = asyncio.Lock()
        self.removals = Removals(settings, self.register, self.fence, self.radius)
        self.psk_verbs = PskVerbs(
            KeyParts(
                self.register,
                self.removals,
                self.psks,
                self.busy,
                lambda: self.state.policy,
                lambda: self.state.plan,
                self._new_keys,
                self._has_old_keys,
                self._problems,
            )
        )
        parts = Parts(
            settings,
            self.register,
            self.removals,
            self.profiles,
            self.busy,
            lambda: self.state.policy,
            self._new_plan,
            self._tell_watch_now,
            self.psk_verbs.returned,
            self._problems,
        )
        self.loan_verbs = LoanVerbs(parts)
        self.profile_verbs = ProfileVerbs(parts)

    async def run(self, stop: asyncio.Event) -> None:
        """Guard until told to end."""
        with files.lock(self.settings.paths.run / "guard.lock", "guard"):
            monitor, news = nfnetlink.Monitor(), netlink.News()
            refusals = self.traffic.listen(self._refused)
            answers, requests = self.leases.listen(), self.suspects.listen()
            try:
                await self._resume()
                server = await control.serve(
                    self.settings.guard_socket, self._offers(), _log_refusal
                )
                async with server, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._watch_changes(monitor, stop))
                    tasks.create_task(self._keep_network(news, stop))
                    tasks.create_task(self._audit(monitor, stop))
                    tasks.create_task(self._follow_leases(answers, stop))
                    tasks.create_task(self._follow_requests(requests, stop))
                    tasks.create_task(self._retry(stop))
                    tasks.create_task(self._take_back(stop))
                    tasks.create_task(self._forget(stop))
                    tasks.create_task(
                        self.removals.run(
                            stop, self.busy, lambda: self.state.plan, lambda: refusals
                        )
                    )
                    tasks.create_task(self.psk_verbs.run(stop))
                    tasks.create_task(pulse(stop))
                    tasks.create_task(reloads(stop, self._again))
                    self._announce()
                    await stop.wait()
                    server.close()
            finally:
                refusals.close()
                monitor.close()
                news.close()
                self.leases.close()
                self.suspects.close()
                self.register.close()
                self.settings.guard_socket.unlink(missing_ok=True)

    def _announce(self) -> None:
        plan = self.state.plan
        words = (
            f"guarding {len({b.tablet for b in plan.bindings})} tablets"
            if plan
            else "blocked, no plan"
        )
        say(words, plan=plan.digest[:12] if plan else "")
        systemd.notify(f"READY=1\nSTATUS={words}")

    async def _again(self) -> None:
        """Bring everything to the plan in force once more: what a reload means here."""
        async with self.busy:
            plan, policy = self.state.plan, self.state.policy
            if plan is None or policy is None:
                await self._resume_copy()
            else:
                await self._enforce_or_say(plan, policy)

    # what is in force

    async def _resume(self) -> None:
        """Start from what is stored: the last good copy, else a blocked table."""
        await self.fence.close()
        # After the table: whatever the store says or lacks, nothing stands open meanwhile.
        await asyncio.to_thread(self.register.open, clock.now())
        self.profiles.load()
        await self._resume_copy()

    async def _resume_copy(self) -> None:
        if self.register.loans is None:
            return
        current = self.copies.current()
        if current is None:
            say("no rules in force yet: the tablets' side is blocked until 'netguard apply'")
            return
        applied, folder = current
        self.confirmation.resume(applied.number)
        if self.confirmation.is_over():
            # The time ran out while nobody looked: what was not confirmed is not put in force again.
            await self._not_confirmed()
            if self.state.plan is not None:
                return
        try:
            policy, plan = self._judge(read_folder(folder, applied.name), allow_empty=True)
            await self._enforce(plan, policy)
        except NetguardError as error:
            # The kernel still holds what it held; nothing is opened by a copy we cannot read.
            self.state.problems["resume"] = str(error)
            warn(
                "the rules in force could not be loaded again, the kernel keeps what it has",
                why=str(error),
            )
            return
        self.state.applied, self.state.policy, self.state.plan = applied, policy, plan
        self.state.problems.pop("resume", None)
        say("resumed", number=applied.number, plan=plan.digest[:12], since=applied.at)

    def _judge(
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
        plan = self._plan(loaded.policy)
        if cases:
            incoming.refuse_unproved(prove(self._under_profiles(loaded.policy), plan))
        return loaded.policy, plan

    def _plan(self, policy: Policy) -> Plan:
        if self.register.loans is None:
            raise StoreError(self.register.problem)
        leases = self.leases.addresses()
        served, loans = self.settings.sites, self.register.effective or {}
        return compile_plan(self._under_profiles(policy), served, loans, leases)

    def _under_profiles(self, policy: Policy) -> Policy:
        return under(policy, self.profiles.active)

    async def apply(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Check, copy, put into force; on failure nothing has changed."""
        folder = incoming.folder(message)
        within = confirming.seconds(message)
        async with self.busy:
            in_force = self.state.applied.number if self.state.applied is not None else None
            confirming.refuse(self.confirmation.waiting, within, in_force)
            previous = self.state.policy
            known = {t.id: t.mac for t in previous.tablets.values()} if previous else None
            shrink_meant = bool(message.get("confirm_shrink"))
            policy, plan = await asyncio.to_thread(
                self._judge,
                folder,
                allow_empty=bool(message.get("allow_empty")),
                previous=None if shrink_meant else known,
                cases=True,
            )
            applied = files.Applied(
                number=self.copies.next_number(),
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
            before, after = lending.digests(self.state.applied), lending.digests(applied)
            entry = lending.line(clock.now(), caller.name, message, "apply", applied.name)
            after = lending.with_changes(
                after, message, await asyncio.to_thread(self._changes, plan, policy)
            )
            entry = replace(entry, before=before, after=after)
            await asyncio.to_thread(self.register.record, entry)
            try:
                with _written():
                    await asyncio.to_thread(self.copies.store, applied, folder.files)
                    if within is not None and in_force is not None:
                        self.confirmation.begin(applied.number, in_force, within, applied.by)
                    await self._enforce(plan, policy)
                    self.copies.switch(applied.number)
            except NetguardError:
                self.copies.drop(applied.number)
                self.confirmation.end()
                await self._back_to_last()
                undone = replace(entry, verb="apply-undone", before=after, after=before)
                with contextlib.suppress(StoreError):
                    await asyncio.to_thread(self.register.record, undone)
                raise
            self.state.applied, self.state.policy, self.state.plan = applied, policy, plan
            await self._forget_audit()
            for problem in ("resume", "enforce"):
                self.state.problems.pop(problem, None)
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
            "problems": self._problems(),
            "waiting": self.confirmation.shown(),
        }

    def _changes(self, plan: Plan, policy: Policy) -> Changes:
        return changes(self.state.plan, plan, (self.state.policy, policy))

    # taking back

    async def confirm(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Keep the plan that waits."""
        async with self.busy:
            waiting = self.confirmation.waiting
            if waiting is None:
                raise Refused("nothing waits to be confirmed")
            entry = lending.line(clock.now(), caller.name, message, "confirm", f"{waiting.number}")
            await asyncio.to_thread(self.register.record, entry)
            self.confirmation.end()
        say("confirmed", number=waiting.number, by=entry.who)
        return {"number": waiting.number}

    async def rollback(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Put an earlier plan in force again: the one named, else the one before."""
        async with self.busy:
            applied = self.state.applied
            if applied is None:
                raise Refused("nothing is in force to go back from")
            waiting, wanted = self.confirmation.waiting, message.get("number")
            if wanted is None:
                before = [a.number for a in self.copies.listed() if a.number < applied.number]
                wanted = waiting.back if waiting is not None else max(before, default=None)
            if not isinstance(wanted, int) or wanted == applied.number:
                raise Refused("no earlier plan is kept: netguard history lists them")
            entry = lending.line(clock.now(), caller.name, message, "rollback", applied.name)
            told = await self._put_back(wanted, entry, message)
        return {"from": applied.number, "number": wanted, "changes": told}

    async def _put_back(self, number: int, entry: Entry, message: control.Message) -> list[str]:
        """Put a stored copy in force; raises NetguardError, and then all is as it was."""
        copy = self.copies.at(number)
        if copy is None:
            raise Refused(f"plan {number} is not kept: netguard history lists those that are")
        applied, folder = copy
        policy, plan = await asyncio.to_thread(
            self._judge, read_folder(folder, applied.name), allow_empty=True
        )
        found = await asyncio.to_thread(self._changes, plan, policy)
        before, after = lending.digests(self.state.applied), lending.digests(applied)
        after = lending.with_changes(after, message, found)
        await asyncio.to_thread(self.register.record, replace(entry, before=before, after=after))
        try:
            with _written():
                await self._enforce(plan, policy)
                self.copies.switch(number)
        except NetguardError:
            # At a start nothing is known to go back to: the kernel keeps what it has.
            if self.state.plan is not None:
                await self._back_to_last()
            raise
        self.confirmation.end()
        self.state.applied, self.state.policy, self.state.plan = applied, policy, plan
        for problem in ("resume", "enforce", "confirm"):
            self.state.problems.pop(problem, None)
        say("rolled back", number=number, by=entry.who, plan=plan.digest[:12])
        return lending.texts(found)

    async def _take_back(self, stop: asyncio.Event) -> None:
        """Take back what nobody has confirmed in time."""
        while not stop.is_set():
            await pause(stop, LOOK_INTERVAL)
            if self.confirmation.is_over() and not stop.is_set():
                async with self.busy:
                    # It may have been confirmed while we waited for our turn.
                    if self.confirmation.is_over():
                        await self._not_confirmed()
            if self.profiles.over(clock.now()) and not stop.is_set():
                async with self.busy:
                    await self.profile_verbs.end()

    async def _not_confirmed(self) -> None:
        waiting = self.confirmation.waiting
        if waiting is None:
            return
        message = {"by": "guard"}
        entry = lending.line(clock.now(), "guard", message, "not-confirmed", f"{waiting.number}")
        try:
            await self._put_back(waiting.back, entry, message)
        except NetguardError as error:
            text = f"plan {waiting.number} was not confirmed and could not be taken back: {error}"
            if self.state.problems.get("confirm") != text:
                warn(text)
            self.state.problems["confirm"] = text

    async def history(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the plans that are kept, the oldest first, and what waits."""
        current = self.state.applied.number if self.state.applied is not None else None
        kept = await asyncio.to_thread(self.copies.listed)
        return {
            "plans": [asdict(a) | {"in_force": a.number == current} for a in kept],
            "waiting": self.confirmation.shown(),
        }

    async def _back_to_last(self) -> None:
        if self.state.plan is None or self.state.policy is None:
            with contextlib.suppress(EnforcementError):
                await self.fence.bring(None)
            return
        try:
            await self._enforce(self.state.plan, self.state.policy)
        except NetguardError as error:
            warn("undoing a failed apply failed too", why=str(error))

    # the enforcers, in this order

    async def _enforce(self, plan: Plan, policy: Policy) -> None:
        """Bring every enforcer to a plan: the kernel first, so that what narrows narrows at once."""
        with _written():
            await self.fence.bring(plan)
            await self.neighbours.bring_names(plan)
            await asyncio.to_thread(self._tell_watch, plan, policy)
            await self.neighbours.bring(plan)

    def _tell_watch(self, plan: Plan, policy: Policy) -> None:
        """Write what watch has to know; it looks at the file by itself."""
        loans = self.register.loans or {}
        moves = {
            move.tablet: (move.area, datetime.fromisoformat(move.until).timestamp())
            for move in self.register.moves(clock.now()).values()
        }
        text = watch_file.render(
            policy,
            plan.digest,
            self.settings.sites,
            loans,
            moves,
            lines(),
            watch_file.Said(
                silenced(policy.profiles, self.profiles.active),
                self.register.quarantines,
                self.loan_verbs.terms(policy),
            ),
        )
        files.write(self.settings.paths.state / "watch.json", text)

    async def _tell_watch_now(self) -> None:
        if self.state.plan is not None and self.state.policy is not None:
            with _written():
                await asyncio.to_thread(self._tell_watch, self.state.plan, self.state.policy)

    # what others do

    async def _watch_changes(self, monitor: nfnetlink.Monitor, stop: asyncio.Event) -> None:
        async for _ in readable(monitor.socket, stop):
            async with self.busy:
                await self._compare(lambda: self.fence.judge(monitor.changes(), self.state.plan))

    async def _compare(self, look: Callable[[], Awaitable[Drift | None]]) -> None:
        """Compare the kernel with the plan; where it cannot be read, the next audit looks again."""
        try:
            await self._record(await look())
        except EnforcementError as error:
            warn("the ruleset could not be read back", why=str(error))

    async def _record(self, drift: Drift | None) -> None:
        if drift is None:
            return
        if drift.repaired and self.state.plan is not None:
            # Learned addresses went with the table; only now is all as it was.
            await self.neighbours.table_is_new()
        self.fence.record(drift)

    async def _keep_network(self, news: netlink.News, stop: asyncio.Event) -> None:
        async for _ in readable(news.socket, stop, NETWORK_INTERVAL):
            await pause(stop, GATHER)
            news.drain()
            async with self.busy:
                if self.state.plan is not None and not stop.is_set():
                    await self.fence.keep_network(self.state.plan)
                    await self._keep_hours(self.state.plan)

    async def _keep_hours(self, plan: Plan) -> None:
        try:
            await self.fence.keep_hours(plan)
        except EnforcementError as error:
            warn("the hours could not be brought into force, tried again", why=str(error))

    async def _follow_leases(self, answers: nflog.Log, stop: asyncio.Event) -> None:
        async for _ in readable(answers.socket, stop, LEASE_INTERVAL):
            await pause(stop, GATHER)
            async with self.busy:
                if self.leases.take(self.state.plan):
                    await self._new_plan()

    async def _follow_requests(self, requests: nflog.Log, stop: asyncio.Event) -> None:
        async for _ in readable(requests.socket, stop, suspects.WRITE_INTERVAL):
            await pause(stop, GATHER)
            await asyncio.to_thread(self.suspects.take, self.state.plan)

    async def _audit(self, monitor: nfnetlink.Monitor, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await pause(stop, AUDIT_INTERVAL)
            if not stop.is_set():
                async with self.busy:
                    await self._compare(lambda: self.fence.audit(monitor, self.state.plan))

    async def _retry(self, stop: asyncio.Event) -> None:
        """Try again what could not be stored or brought into force."""
        while not stop.is_set():
            await pause(stop, RETRY_INTERVAL)
            if stop.is_set():
                return
            async with self.busy:
                await self._catch_up()

    async def _catch_up(self) -> None:
        if self.fence.problem:
            self.fence.remember()
        with contextlib.suppress(StoreError):
            await asyncio.to_thread(self.register.catch_up)
        if not self.register.is_open:
            await asyncio.to_thread(self.register.open, clock.now())
            if self.state.plan is None:
                await self._resume_copy()
        with contextlib.suppress(StoreError):
            await self.loan_verbs.end_those_over()
        plan, policy = self.state.plan, self.state.policy
        if plan is None or policy is None:
            return
        if "enforce" in self.state.problems:
            await self._enforce_or_say(plan, policy)
        elif self.radius.pending or self.psks.problem:
            with contextlib.suppress(OSError):
                await self.radius.bring(plan)
        await self.neighbours.catch_up(plan)

    async def _forget(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with self.busy:
                await self._forget_audit()
            await pause(stop, DAY)

    async def _forget_audit(self) -> None:
        """Let go of the lines of the audit that are older than the rules keep them."""
        if self.state.policy is None:
            return
        before = clock.now() - self.state.policy.retention.audit
        try:
            count = await asyncio.to_thread(self.register.forget_audit, before)
        except StoreError as error:
            warn("old lines of the audit could not be let go", why=str(error))
            return
        if count:
            say("old lines of the audit are gone", count=count, before=before.isoformat())

    # loans

    async def _new_plan(self) -> None:
        """Compile the policy again with what is said and given now, and put it into force."""
        policy = self.state.policy
        if policy is None:
            return
        plan = await asyncio.to_thread(self._plan, policy)
        if self.state.plan is None or plan.digest != self.state.plan.digest:
            self.state.plan = plan
            await self._enforce_or_say(plan, policy)
        else:
            # No enforcer cares, watch does.
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._tell_watch, plan, policy)

    async def _new_keys(self) -> None:
        """Let FreeRADIUS follow keys that were rotated; what is stored holds, so a failure is tried again."""
        if self.state.plan is None:
            return
        try:
            with _written():
                await self.radius.bring(self.state.plan)
        except NetguardError as error:
            self._lags(error)

    def _has_old_keys(self) -> bool:
        """Say whether FreeRADIUS may still answer by keys of before, as far as this node can tell."""
        pending = self.settings.paths.radius_control is not None and self.radius.pending
        return pending or bool(self.psks.problem)

    async def _enforce_or_say(self, plan: Plan, policy: Policy) -> None:
        """Put a plan into force; what is stored holds, so a failure is tried again, not undone."""
        try:
            await self._enforce(plan, policy)
        except NetguardError as error:
            self._lags(error)
            return
        self.state.problems.pop("enforce", None)

    def _lags(self, error: NetguardError) -> None:
        text = f"not everything is at the plan in force, tried again every few seconds: {error}"
        if self.state.problems.get("enforce") != text:
            warn(text)
        self.state.problems["enforce"] = text

    def _problems(self) -> dict[str, str]:
        found = {**self.state.problems, **self.neighbours.problems(), **self.fence.problems()}
        found |= self.profiles.problems(self.state.policy)
        if self.profile_verbs.problem:
            found["profile-over"] = self.profile_verbs.problem
        if self.register.problem:
            found["store"] = self.register.problem
        if self.psks.problem:
            found["psk"] = self.psks.problem
        if self.psk_verbs.problem:
            found["psk-sessions"] = self.psk_verbs.problem
        return found

    # the panic switch

    async def pull(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Block everything of the tablets, or put the plan back; nothing is ever more open."""
        block = message.get("block")
        if not isinstance(block, bool):
            raise BadValue("syntax", "fence needs `block`, true or false")
        async with self.busy:
            was = self.fence.blocked
            entry = lending.line(clock.now(), caller.name, message, "fence", "all tablets")
            entry = replace(entry, **lending.pulled(message, was=was, block=block))
            if block:
                # First the fence, then the book: in a panic nothing may stand in the way.
                await self.fence.pull(self.state.plan, block=True)
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self.register.record, entry)
            if not block:
                await self.fence.pull(self.state.plan, block=False)
                await self.neighbours.table_is_new()
        say("fence", blocked=block, by=entry.who)
        return {"blocked": block, "changed": was != block}

    # verbs

    def _offers(self) -> dict[str, control.Offer]:
        watch = frozenset({self.settings.users.watch})
        return {
            "apply": control.Offer(self.apply),
            "confirm": control.Offer(self.confirm),
            "rollback": control.Offer(self.rollback),
            "history": control.Offer(self.history),
            "status": control.Offer(self.status, watch),
            **self.loan_verbs.offers(),
            **self.profile_verbs.offers(),
            **self.psk_verbs.offers(),
            **self.traffic.offers(),
            "fence": control.Offer(self.pull),
        }

    async def status(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what is in force, and what is wrong."""
        plan, refusals = self.state.plan, self.traffic.refusals
        return {
            "node": self.settings.node,
            "state": "guarding" if plan is not None else "blocked",
            "applied": asdict(self.state.applied) if self.state.applied else None,
            "waiting": self.confirmation.shown(),
            "plan": plan.digest if plan is not None else None,
            "loans": dict(Counter((self.register.loans or {}).values())),
            "overdue": self.loan_verbs.overdue(),
            "quarantined": sorted(self.register.quarantines),
            "removals": [each for each in self.removals.shown() if not each["over"]],
            "coa": self.removals.asked(),
            "suspects": self.suspects.shown(),
            "tablets": _tablets(plan),
            "sites": [site.name for site in plan.sites] if plan else [],
            "profiles": [asdict(each) for _, each in sorted(self.profiles.active.items())],
            "server_names_refused": refusals.named if refusals is not None else 0,
            **self.fence.shown(),
            "problems": self._problems(),
        }

    def _refused(self, denial: Denial) -> None:
        self.traffic.use.refused(self.state.plan, denial)
        self.suspects.refused(self.state.plan, denial)


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Name the file that could not be written as any other enforcer that did not follow."""
    try:
        yield
    except OSError as error:
        name = error.filename2 or error.filename or "a file"
        raise EnforcementError(f"{name} cannot be written: {error.strerror or error}") from error


def _tablets(plan: Plan | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for binding in plan.bindings if plan else ():
        counts[binding.site] = counts.get(binding.site, 0) + 1
    return counts


def _log_refusal(text: str) -> None:
    warn("refused", why=text)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run guard with these settings."""
    await Guard(settings).run(stop)
