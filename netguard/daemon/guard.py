"""guard: puts a plan into force and keeps it there.

Takes rules only by `apply`, stores the copy, brings kernel, names, DHCP and FreeRADIUS to the plan
in that order, undoes what was done when a step fails, and repairs what somebody else changes. It
is on no packet's path: killed or hung, the kernel goes on with the last plan.
"""

import asyncio
import base64
import binascii
import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from netguard.adapters import (
    clock,
    control,
    files,
    netlink,
    nfnetlink,
    nft,
    radius,
    radius_client,
    systemd,
)
from netguard.core.names import Mac
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.daemon import lending, proof
from netguard.daemon.process import pause, pulse, say, warn
from netguard.daemon.register import Register
from netguard.errors import (
    BadValue,
    EnforcementError,
    NetguardError,
    NotReachable,
    Refused,
    StoreError,
)
from netguard.render import dhcp, freeradius, names, nftables
from netguard.rules.findings import Finding, errors
from netguard.rules.folder import MAX_FILES, Folder, read_folder
from netguard.rules.load import load
from netguard.settings import Settings

BELT_INTERVAL = 2.0
AUDIT_INTERVAL = 30.0
# What could not be brought into force or stored is tried again after this.
RETRY_INTERVAL = 5.0
KEPT_DRIFTS = 20


@dataclass(frozen=True, slots=True)
class Drift:
    """One change by somebody else: when it was seen, what it was, who made it, and the repair."""

    at: str
    what: str
    by: str
    repaired: bool


@dataclass(slots=True)
class State:
    """What guard knows; the kernel and the disk are the truth, this is the view of them."""

    applied: files.Applied | None = None
    policy: Policy | None = None
    plan: Plan | None = None
    digest: str = ""
    drifts: int = 0
    drift: list[Drift] = field(default_factory=list)
    own_pids: list[int] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)
    belt: bool = False
    radius_loaded: float = 0.0
    # True until FreeRADIUS is known to have loaded the tablets: a crash may have come in between.
    radius_pending: bool = True
    # Whom to ask about to see that the last change is in use: (site, MAC).
    radius_subjects: list[tuple[str, str]] = field(default_factory=list)


class Guard:
    """One guard process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State()
        self.copies = files.Copies(settings.paths.state)
        self.register = Register(settings.paths.state)
        # One change at a time: apply, repair and audit never interleave.
        self.busy = asyncio.Lock()

    async def run(self, stop: asyncio.Event) -> None:
        """Guard until told to end."""
        with files.lock(self.settings.paths.run / "guard.lock", "guard"):
            monitor = nfnetlink.Monitor()
            try:
                await self._resume()
                server = await control.serve(
                    self.settings.guard_socket, self._offers(), _log_refusal
                )
                async with server, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._watch_changes(monitor, stop))
                    tasks.create_task(self._keep_belt(stop))
                    tasks.create_task(self._audit(stop))
                    tasks.create_task(self._retry(stop))
                    tasks.create_task(pulse(stop))
                    self._announce()
                    await stop.wait()
                    server.close()
            finally:
                monitor.close()
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

    # what is in force

    async def _resume(self) -> None:
        """Start from what is stored: the last good copy, else a blocked table."""
        held = await nft.read(nftables.FAMILY, nftables.TABLE, frozenset())
        if held is None:
            await nft.load(nftables.blocked())
        # After the table: whatever the store says or lacks, nothing stands open meanwhile.
        await asyncio.to_thread(self.register.open, clock.now())
        await self._resume_copy()

    async def _resume_copy(self) -> None:
        if self.register.loans is None:
            return
        current = self.copies.current()
        if current is None:
            say("no rules in force yet: the tablets' side is blocked until 'netguard apply'")
            return
        applied, folder = current
        try:
            policy, plan = self._judge(read_folder(folder, applied.name), allow_empty=True)
            await self._enforce(plan)
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
    ) -> tuple[Policy, Plan]:
        loaded = load(folder, today=clock.today(), allow_empty=allow_empty, previous=previous)
        if loaded.policy is None:
            raise Refused(_listed(errors(loaded.findings)))
        return loaded.policy, self._plan(loaded.policy)

    def _plan(self, policy: Policy) -> Plan:
        if self.register.loans is None:
            raise StoreError(self.register.problem)
        return compile_plan(policy, self.settings.sites, self.register.loans)

    async def apply(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Check, copy, put into force; on failure nothing has changed."""
        folder = _folder(message)
        async with self.busy:
            previous = self.state.policy
            known = {t.id: t.mac for t in previous.tablets.values()} if previous else None
            shrink_meant = bool(message.get("confirm_shrink"))
            policy, plan = await asyncio.to_thread(
                self._judge,
                folder,
                allow_empty=bool(message.get("allow_empty")),
                previous=None if shrink_meant else known,
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
            entry = replace(entry, before=before, after=after)
            await asyncio.to_thread(self.register.record, entry)
            try:
                with _written():
                    await asyncio.to_thread(self.copies.store, applied, folder.files)
                    await self._enforce(plan)
                    self.copies.switch(applied.number)
            except NetguardError:
                self.copies.drop(applied.number)
                await self._back_to_last()
                undone = replace(entry, verb="apply-undone", before=after, after=before)
                with contextlib.suppress(StoreError):
                    await asyncio.to_thread(self.register.record, undone)
                raise
            self.state.applied, self.state.policy, self.state.plan = applied, policy, plan
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
        }

    async def _back_to_last(self) -> None:
        if self.state.plan is None:
            with contextlib.suppress(EnforcementError):
                await nft.load(nftables.blocked())
            return
        try:
            await self._enforce(self.state.plan)
        except NetguardError as error:
            warn("undoing a failed apply failed too", why=str(error))

    # the enforcers, in this order

    async def _enforce(self, plan: Plan) -> None:
        """Bring every enforcer to a plan: the kernel first, so that what narrows narrows at once."""
        with _written():
            await self._enforce_all(plan)

    async def _enforce_all(self, plan: Plan) -> None:
        await self._kernel(plan)
        interfaces = [i for site in plan.sites for i in site.interfaces]
        changed = await asyncio.to_thread(netlink.ensure_belt, interfaces, nftables.BELT_MARK)
        if changed:
            say("belt", changed=changed)
        self.state.belt = True
        await self._names(plan)
        await asyncio.to_thread(self._dhcp, plan)
        await self._radius(plan)

    async def _kernel(self, plan: Plan) -> None:
        learned = frozenset(nftables.learned_sets(plan))
        held = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        stale = nftables.leftovers(plan, held.chains, held.sets, held.counters) if held else []
        script = nftables.render(plan, stale)
        try:
            await nft.check(script)
        except EnforcementError as error:
            if "File exists" not in str(error):
                raise
            # An object changed its type or size: replace the table in one transaction. Learned
            # addresses go with it and are put back by the name proxy; nothing is open in between.
            script = nftables.replacement(plan)
            await nft.check(script)
        self.state.own_pids = [*self.state.own_pids[-9:], await nft.load(script)]
        now = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        if now is None:
            raise EnforcementError("the kernel took the ruleset and has no table")
        self.state.digest = now.digest
        self.state.foreign = await nft.foreign_tables(nftables.FAMILY, nftables.TABLE)

    async def _names(self, plan: Plan) -> None:
        path = self.settings.paths.state / "dns.json"
        await asyncio.to_thread(files.write, path, names.render(plan))
        await self._tell_dns("reload")

    async def _tell_dns(self, verb: str) -> None:
        try:
            await control.call_async(self.settings.dns_socket, verb)
            self.state.problems.pop("dns", None)
        except NetguardError as error:
            # It reads the file when it starts; until then no new name opens.
            self.state.problems["dns"] = f"the name proxy was not told to {verb}: {error}"

    def _dhcp(self, plan: Plan) -> None:
        folder = self.settings.paths.dhcp
        if files.write(folder / "dnsmasq.conf", dhcp.configuration(plan, str(folder))):
            say("dnsmasq.conf changed: restart netguard-dhcp for it to count")
        files.write(folder / "hosts.d" / "netguard", dhcp.hosts(plan))

    async def _radius(self, plan: Plan) -> None:
        folder = self.settings.paths.radius
        if not (folder / radius_client.SECRET_FILE).exists():
            secret = radius_client.new_secret()
            await asyncio.to_thread(files.write, folder / radius_client.SECRET_FILE, secret, 0o640)
        clients = freeradius.clients(plan, str(self.settings.paths.radius_secrets))
        if await asyncio.to_thread(files.write, folder / "clients.conf", clients, 0o640):
            say("clients.conf changed: restart netguard-radius for it to count")
        before = await asyncio.to_thread(_text, folder / "tablets")
        tablets = freeradius.tablets(plan)
        changed = [
            await asyncio.to_thread(files.write, folder / name, text, 0o640)
            for name, text in (("areas", freeradius.areas(plan)), ("tablets", tablets))
        ]
        if any(changed) or not self.state.radius_subjects:
            self.state.radius_subjects = proof.changed(before, tablets)
        self.state.radius_pending = self.state.radius_pending or any(changed)
        socket = self.settings.paths.radius_control
        # A server that does not know its clients yet cannot be asked: its next start reads all.
        if self.state.radius_pending and socket is not None and not self._clients_wait():
            await self._reload_radius(plan, socket)

    async def _reload_radius(self, plan: Plan, socket: Path) -> None:
        """Reload and prove it; a second try, then say so and try again later."""
        why = ""
        for _ in range(2):
            await asyncio.sleep(self._until_settled(socket))
            try:
                await radius.reload(socket)
                self.state.radius_loaded = clock.monotonic()
                why = await asyncio.to_thread(self._radius_disagrees, plan)
            except (EnforcementError, NotReachable) as error:
                why = str(error)
            if not why:
                self.state.radius_pending = False
                self.state.problems.pop("radius", None)
                return
        text = f"FreeRADIUS does not answer by the last change, restart netguard-radius: {why}"
        # Tried again every few seconds: said once, and shown by status until it works.
        if self.state.problems.get("radius") != text:
            warn(text)
        self.state.problems["radius"] = text

    def _radius_disagrees(self, plan: Plan) -> str:
        subjects = self.state.radius_subjects
        return proof.disagreement(self.settings, plan, subjects)

    def _until_settled(self, socket: Path) -> float:
        """Return the seconds until FreeRADIUS heeds a reload: not at once after a start or a load."""
        waits = [self.state.radius_loaded + radius.SETTLE - clock.monotonic()]
        with contextlib.suppress(OSError):
            # The socket is as old as the server that made it.
            age = clock.now().timestamp() - socket.stat().st_mtime
            waits.append(radius.SETTLE - max(0.0, age))
        return max(0.0, *waits)

    # what others do

    async def _watch_changes(self, monitor: nfnetlink.Monitor, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        news = asyncio.Event()
        loop.add_reader(monitor.socket, news.set)
        try:
            while not stop.is_set():
                waiting = [asyncio.ensure_future(news.wait()), asyncio.ensure_future(stop.wait())]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in waiting:
                    task.cancel()
                news.clear()
                async with self.busy:
                    await self._judge_changes(monitor.changes())
        finally:
            loop.remove_reader(monitor.socket)

    async def _judge_changes(self, changes: list[nfnetlink.Change] | None) -> None:
        """Compare the kernel with the plan when a change could matter; repair what does."""
        plan = self.state.plan
        if plan is None:
            if changes and await nft.read(nftables.FAMILY, nftables.TABLE, frozenset()) is None:
                await nft.load(nftables.blocked())
            return
        learned = frozenset(nftables.learned_sets(plan))
        elements = frozenset({"new element", "deleted element"})
        serious = [
            change
            for change in changes or []
            if change.pid not in self.state.own_pids
            and not (change.kinds <= elements and change.sets <= learned)
        ]
        if changes is not None and not serious:
            return
        held = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        self.state.foreign = await nft.foreign_tables(nftables.FAMILY, nftables.TABLE)
        if held is not None and held.digest == self.state.digest:
            return
        what = sorted({kind for change in serious for kind in change.kinds}) or [
            "changes were lost"
        ]
        by = sorted({f"{c.program} (pid {c.pid})" for c in serious}) or ["unknown"]
        await self._repair(plan, ", ".join(what), ", ".join(by))

    async def _repair(self, plan: Plan, what: str, by: str) -> None:
        at = clock.now().isoformat(timespec="milliseconds")
        warn("the ruleset was changed by somebody else, repairing", what=what, by=by)
        try:
            await self._kernel(plan)
        except EnforcementError as error:
            self._record(Drift(at, what, by, repaired=False))
            warn("the ruleset could not be repaired; the belt holds", why=str(error))
            return
        await self._tell_dns("resync")
        self._record(Drift(at, what, by, repaired=True))
        say("repaired", at=clock.now().isoformat(timespec="milliseconds"))

    def _record(self, drift: Drift) -> None:
        self.state.drifts += 1
        self.state.drift = [*self.state.drift[-KEPT_DRIFTS + 1 :], drift]

    async def _keep_belt(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            await pause(stop, BELT_INTERVAL)
            plan = self.state.plan
            if plan is None or stop.is_set():
                continue
            async with self.busy:
                interfaces = [i for site in plan.sites for i in site.interfaces]
                try:
                    changed = await asyncio.to_thread(
                        netlink.ensure_belt, interfaces, nftables.BELT_MARK
                    )
                except (EnforcementError, OSError) as error:
                    self.state.belt = False
                    warn("the belt could not be checked", why=str(error))
                    continue
                self.state.belt = True
                if changed:
                    at = clock.now().isoformat(timespec="milliseconds")
                    self._record(Drift(at, "belt: " + "; ".join(changed), "unknown", repaired=True))
                    warn("the belt was changed by somebody else, repaired", changed=changed)

    async def _audit(self, stop: asyncio.Event) -> None:
        """Compare the whole table now and then: news can be lost, the kernel's state cannot."""
        while not stop.is_set():
            await pause(stop, AUDIT_INTERVAL)
            if not stop.is_set():
                async with self.busy:
                    try:
                        await self._judge_changes(None)
                    except EnforcementError as error:
                        warn("the ruleset could not be read back", why=str(error))

    async def _retry(self, stop: asyncio.Event) -> None:
        """Try again what could not be stored or brought into force."""
        while not stop.is_set():
            await pause(stop, RETRY_INTERVAL)
            if stop.is_set():
                return
            async with self.busy:
                await self._catch_up()

    async def _catch_up(self) -> None:
        if not self.register.is_open:
            await asyncio.to_thread(self.register.open, clock.now())
            if self.state.plan is None:
                await self._resume_copy()
        plan = self.state.plan
        if plan is None:
            return
        if "enforce" in self.state.problems:
            await self._enforce_or_say(plan)
        elif self.state.radius_pending:
            with contextlib.suppress(OSError):
                await self._radius(plan)

    # loans

    async def tablet(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what is known of a tablet; with a state, store that first and put it into force."""
        async with self.busy:
            policy = self.state.policy
            id_ = lending.tablet_id(self.register, policy, str(message.get("tablet", "")))
            line = lending.line(clock.now(), caller.name, message, "loan", id_)
            change = None
            if message.get("state") is not None:
                change = lending.change(self.register, message, id_, line)
            if change is not None:
                await asyncio.to_thread(self.register.change, *change)
                say("loan", tablet=id_, state=change[0].state, by=change[0].who)
                await self._new_loans()
            known = lending.known(self.register, policy, self.settings.sites, id_)
            return {**known, "changed": change is not None, "problems": self._problems()}

    async def _new_loans(self) -> None:
        if self.state.policy is None:
            return
        plan = await asyncio.to_thread(self._plan, self.state.policy)
        if self.state.plan is None or plan.digest != self.state.plan.digest:
            self.state.plan = plan
            await self._enforce_or_say(plan)

    async def _enforce_or_say(self, plan: Plan) -> None:
        """Put a plan into force; what is stored holds, so a failure is tried again, not undone."""
        try:
            await self._enforce(plan)
        except NetguardError as error:
            text = f"not everything is at the plan in force, tried again every few seconds: {error}"
            if self.state.problems.get("enforce") != text:
                warn(text)
            self.state.problems["enforce"] = text
            return
        self.state.problems.pop("enforce", None)

    async def loans(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the state of every tablet of which something was said."""
        return {"loans": self.register.loans}

    async def audit(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return who did what since a moment."""
        since = lending.since(message, clock.now())
        subject = str(message.get("subject") or "")
        found = await asyncio.to_thread(self.register.audit, since, subject)
        return {"audit": [lending.told(entry) for entry in found]}

    def _problems(self) -> dict[str, str]:
        found = dict(self.state.problems)
        if self.register.problem:
            found["store"] = self.register.problem
        if self._clients_wait():
            found["radius-clients"] = "clients.conf has changed: restart netguard-radius"
        return found

    def _clients_wait(self) -> bool:
        """Say whether FreeRADIUS started before its clients changed: only a start reads them."""
        socket = self.settings.paths.radius_control
        clients = self.settings.paths.radius / "clients.conf"
        try:
            # The control socket is as old as the server that made it.
            return socket is not None and socket.stat().st_mtime < clients.stat().st_mtime
        except OSError:
            return False

    # verbs

    def _offers(self) -> dict[str, control.Offer]:
        watch = frozenset({self.settings.users.watch})
        return {
            "apply": control.Offer(self.apply),
            "status": control.Offer(self.status, watch),
            "counters": control.Offer(self.counters, watch),
            "tablet": control.Offer(self.tablet),
            "loans": control.Offer(self.loans),
            "audit": control.Offer(self.audit),
        }

    async def status(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what is in force, and what is wrong."""
        plan = self.state.plan
        return {
            "node": self.settings.node,
            "state": "guarding" if plan is not None else "blocked",
            "applied": asdict(self.state.applied) if self.state.applied else None,
            "plan": plan.digest if plan is not None else None,
            "loans": dict(Counter((self.register.loans or {}).values())),
            "tablets": _tablets(plan),
            "sites": [site.name for site in plan.sites] if plan else [],
            "drifts": self.state.drifts,
            "drift": [asdict(drift) for drift in self.state.drift],
            "belt": self.state.belt,
            "foreign_tables": self.state.foreign,
            "problems": self._problems(),
        }

    async def counters(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the packets each rule has counted."""
        plan = self.state.plan
        if plan is None:
            return {"counters": {}}
        learned = frozenset(nftables.learned_sets(plan))
        held = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        rules = nftables.counters(plan)
        counted = held.counters if held is not None else {}
        return {"counters": {rule: list(counted.get(name, (0, 0))) for name, rule in rules.items()}}


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Name the file that could not be written as any other enforcer that did not follow."""
    try:
        yield
    except OSError as error:
        raise EnforcementError(f"{error.filename or 'a file'}: {error.strerror}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _tablets(plan: Plan | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for binding in plan.bindings if plan else ():
        counts[binding.site] = counts.get(binding.site, 0) + 1
    return counts


def _listed(findings: list[Finding]) -> str:
    first = "\n".join(finding.render() for finding in findings[:20])
    rest = len(findings) - 20
    return first + (f"\nand {rest} more" if rest > 0 else "")


def _folder(message: control.Message) -> Folder:
    """Rebuild the folder that the caller read; its names and bytes are hostile until judged."""
    body = message.get("files")
    if not isinstance(body, dict) or not 0 < len(body) <= MAX_FILES:
        raise BadValue("syntax", "apply needs the files of a rules folder")
    contents: dict[str, bytes] = {}
    for name, data in body.items():
        path = Path(name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or len(path.parts) > 3
            or not name.isprintable()
        ):
            raise BadValue("syntax", f"{name!r} is no file of a rules folder")
        try:
            contents[name] = base64.b64decode(data, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise BadValue("syntax", f"{name!r} is not base64") from error
    return Folder(str(message.get("name", "rules"))[:200], contents)


def _log_refusal(text: str) -> None:
    warn("refused", why=text)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run guard with these settings."""
    await Guard(settings).run(stop)
