"""guard: puts a plan into force and keeps it there.

Takes rules only by `apply`, stores the copy, brings kernel, names, DHCP and FreeRADIUS to the plan
in that order, undoes what was done when a step fails, and repairs what somebody else changes. It
is on no packet's path: killed or hung, the kernel goes on with the last plan.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime

from netguard.adapters import clock, control, files, netlink, nflog, nfnetlink, systemd
from netguard.core.denials import Denial
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.core.profiles import silenced, under
from netguard.daemon import confirming, profiles, suspects
from netguard.daemon.fence import Drift, Fence
from netguard.daemon.fence_verbs import FenceVerbs
from netguard.daemon.leases import LeaseBook
from netguard.daemon.loan_verbs import LoanVerbs, Parts
from netguard.daemon.neighbours import Neighbours
from netguard.daemon.plan_verbs import PlanParts, PlanVerbs, State, written
from netguard.daemon.process import pause, pulse, readable, reloads, say, warn
from netguard.daemon.profile_verbs import ProfileVerbs
from netguard.daemon.psk_verbs import KeyParts, PskVerbs
from netguard.daemon.psks import Psks
from netguard.daemon.radius_server import RadiusServer
from netguard.daemon.register import Register
from netguard.daemon.removals import Removals
from netguard.daemon.status_verbs import StatusParts, StatusVerbs
from netguard.daemon.traffic_verbs import TrafficVerbs
from netguard.daemon.units import Units
from netguard.errors import EnforcementError, NetguardError, StoreError
from netguard.render import watch as watch_file
from netguard.rules.folder import read_folder
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
        self.plan_verbs = PlanVerbs(
            PlanParts(
                self.state,
                self.copies,
                self.register,
                self.confirmation,
                self.fence,
                self.busy,
                self._under_profiles,
                self._plan,
                self._enforce,
                self._forget_audit,
                self._problems,
            )
        )
        self.fence_verbs = FenceVerbs(
            self.fence,
            self.register,
            self.busy,
            lambda: self.state.plan,
            self.neighbours.table_is_new,
        )
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
        self.status_verbs = StatusVerbs(
            StatusParts(
                settings,
                self.state,
                self.confirmation,
                self.register,
                self.removals,
                self.loan_verbs,
                self.suspects,
                self.profiles,
                self.traffic,
                self.fence,
                self._problems,
            )
        )

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
            await self.plan_verbs.not_confirmed()
            if self.state.plan is not None:
                return
        try:
            policy, plan = self.plan_verbs.checked(
                read_folder(folder, applied.name), allow_empty=True
            )
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

    def _plan(self, policy: Policy) -> Plan:
        if self.register.loans is None:
            raise StoreError(self.register.problem)
        leases = self.leases.addresses()
        served, loans = self.settings.sites, self.register.effective or {}
        return compile_plan(self._under_profiles(policy), served, loans, leases)

    def _under_profiles(self, policy: Policy) -> Policy:
        return under(policy, self.profiles.active)

    async def _take_back(self, stop: asyncio.Event) -> None:
        """Take back what nobody has confirmed in time."""
        while not stop.is_set():
            await pause(stop, LOOK_INTERVAL)
            if self.confirmation.is_over() and not stop.is_set():
                async with self.busy:
                    # It may have been confirmed while we waited for our turn.
                    if self.confirmation.is_over():
                        await self.plan_verbs.not_confirmed()
            if self.profiles.over(clock.now()) and not stop.is_set():
                async with self.busy:
                    await self.profile_verbs.end()

    # the enforcers, in this order

    async def _enforce(self, plan: Plan, policy: Policy) -> None:
        """Bring every enforcer to a plan: the kernel first, so that what narrows narrows at once."""
        with written():
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
            with written():
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
            elif self.register.is_open:
                # The note beside the store knew only who is refused.
                await self._new_plan()
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
        """Once a day: look whether the store is sound, let go of what is old."""
        while not stop.is_set():
            # Whoever reports a tablet stolen does not wait for a year of audit to be read.
            damaged = await asyncio.to_thread(self.register.is_damaged)
            async with self.busy:
                if damaged:
                    await asyncio.to_thread(self.register.open_anew, clock.now())
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
            with written():
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

    # verbs

    def _offers(self) -> dict[str, control.Offer]:
        return {
            **self.plan_verbs.offers(),
            **self.status_verbs.offers(),
            **self.loan_verbs.offers(),
            **self.profile_verbs.offers(),
            **self.psk_verbs.offers(),
            **self.traffic.offers(),
            **self.fence_verbs.offers(),
        }

    def _refused(self, denial: Denial) -> None:
        self.traffic.use.refused(self.state.plan, denial)
        self.suspects.refused(self.state.plan, denial)


def _log_refusal(text: str) -> None:
    warn("refused", why=text)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run guard with these settings."""
    await Guard(settings).run(stop)
