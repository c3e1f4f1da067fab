"""guard: puts a plan into force and keeps it there.

Takes rules only by `apply`, stores the copy, brings kernel, names, DHCP and FreeRADIUS to the plan
in that order, undoes what was done when a step fails, and repairs what somebody else changes. It
is on no packet's path: killed or hung, the kernel goes on with the last plan.
"""

import asyncio
import base64
import binascii
import contextlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from netguard.adapters import clock, control, files, netlink, nfnetlink, nft, radius, systemd
from netguard.core.names import Mac
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.daemon.process import pause, pulse, say, warn
from netguard.errors import BadValue, EnforcementError, NetguardError, Refused
from netguard.render import dhcp, freeradius, names, nftables
from netguard.rules.findings import Finding, errors
from netguard.rules.folder import MAX_FILES, Folder, read_folder
from netguard.rules.load import load
from netguard.settings import Settings

BELT_INTERVAL = 2.0
AUDIT_INTERVAL = 30.0
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


class Guard:
    """One guard process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state = State()
        self.copies = files.Copies(settings.paths.state)
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
        return loaded.policy, compile_plan(loaded.policy, self.settings.sites)

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
            await asyncio.to_thread(self.copies.store, applied, folder.files)
            try:
                await self._enforce(plan)
            except NetguardError:
                self.copies.drop(applied.number)
                await self._back_to_last()
                raise
            self.copies.switch(applied.number)
            self.state.applied, self.state.policy, self.state.plan = applied, policy, plan
            self.state.problems.pop("resume", None)
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
            "problems": self.state.problems,
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
        clients = freeradius.clients(plan, str(self.settings.paths.radius_secrets))
        if await asyncio.to_thread(files.write, folder / "clients.conf", clients, 0o640):
            say("clients.conf changed: restart netguard-radius for it to count")
        await asyncio.to_thread(files.write, folder / "areas", freeradius.areas(plan), 0o640)
        changed = await asyncio.to_thread(
            files.write, folder / "tablets", freeradius.tablets(plan), 0o640
        )
        socket = self.settings.paths.radius_control
        if not changed or socket is None:
            return
        await asyncio.sleep(max(0.0, self.state.radius_loaded + radius.SETTLE - clock.monotonic()))
        try:
            await radius.reload_tablets(socket)
            self.state.problems.pop("radius", None)
        except EnforcementError as error:
            self.state.problems["radius"] = str(error)
            warn("FreeRADIUS answers from the tablets before this change", why=str(error))
        self.state.radius_loaded = clock.monotonic()

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

    # verbs

    def _offers(self) -> dict[str, control.Offer]:
        watch = frozenset({self.settings.users.watch})
        return {
            "apply": control.Offer(self.apply),
            "status": control.Offer(self.status, watch),
            "counters": control.Offer(self.counters, watch),
        }

    async def status(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what is in force, and what is wrong."""
        plan = self.state.plan
        return {
            "node": self.settings.node,
            "state": "guarding" if plan is not None else "blocked",
            "applied": asdict(self.state.applied) if self.state.applied else None,
            "tablets": _tablets(plan),
            "sites": [site.name for site in plan.sites] if plan else [],
            "drifts": self.state.drifts,
            "drift": [asdict(drift) for drift in self.state.drift],
            "belt": self.state.belt,
            "foreign_tables": self.state.foreign,
            "problems": dict(self.state.problems),
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
