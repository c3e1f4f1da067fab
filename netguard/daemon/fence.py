"""The kernel's side of a plan: table, links and belt, drift and its repair, and the panic switch.

Not a process of its own: guard calls it, one call at a time. `blocked` is the panic switch:
while it is on, the table lets nothing through, whatever plan is handed in, also after a restart.
"""

import asyncio
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netguard.adapters import clock, conntrack, netlink, nfnetlink, nft, shaping
from netguard.core.between import freed
from netguard.core.foreign import concern
from netguard.core.hours import Openings, open_for, openings
from netguard.core.links import links, neighbours
from netguard.core.names import Address
from netguard.core.plan import Plan
from netguard.core.shaping import shapers
from netguard.daemon.process import say, warn
from netguard.errors import EnforcementError
from netguard.render import filling, nft_names, nft_sets, nftables
from netguard.render.held import faults

KEPT_DRIFTS = 20
_ELEMENTS = frozenset({"new element", "deleted element"})
# The whole table is read and compared at least this often, whatever the news says.
FULL_AUDIT = 3600.0
_OWN = (nft_names.FAMILY, nft_names.TABLE)


@dataclass(frozen=True, slots=True)
class Drift:
    """One change by somebody else: when it was seen, what it was, who made it, and the repair."""

    at: str
    what: str
    by: str
    repaired: bool


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What was loaded last: the plan, and when each of its groups with hours is open."""

    plan: Plan
    openings: Openings


class Fence:
    """What the kernel has to hold; the kernel is the truth, this remembers what was loaded."""

    def __init__(self, state: Path) -> None:
        self._switch = state / "fence-blocked"
        self._pulled = False
        self.problem = ""
        self._loaded: _Loaded | None = None
        # The groups that are open by their hours, as they were last said to be.
        self._opened: frozenset[str] = frozenset()
        # Of the table as it was read after the last whole load; empty until it is read.
        self._digest = ""
        self._own_pids: list[int] = []
        # Of our transactions, by the kernel's count: of threads, and in a container, it names pids that we do not know.
        self._own_generations: list[int] = []
        # Addresses whose connections are to be judged anew; kept until the kernel has done so.
        self._unforgotten: set[Address] = set()
        self._audited = 0.0
        self._network: netlink.Done = netlink.Done()
        self._ceilings: list[str] = []
        self.drifts = 0
        self.drift: list[Drift] = []
        self.foreign: list[dict[str, str]] = []
        self.belt = False

    @property
    def blocked(self) -> bool:
        """Say whether somebody has pulled the panic switch."""
        return self._pulled or self._switch.exists()

    def problems(self) -> dict[str, str]:
        """Return what an engineer has to look at."""
        found = {"fence": self.problem} if self.problem else {}
        if self._network.problems:
            found["network"] = "; ".join(self._network.problems)
        if self._ceilings:
            found["ceilings"] = "; ".join(self._ceilings)
        return found

    async def close(self) -> None:
        """Close everything where no table of ours stands yet, or where the switch is pulled."""
        held = await nft.read(*_OWN, frozenset())
        if held is None or self.blocked:
            await self._load_blocked()

    async def bring(self, plan: Plan | None) -> None:
        """Bring table, belt and links to a plan; without one, or while blocked, close everything.

        In this order: no link comes up and nothing is forwarded before a table of ours stands.
        """
        if plan is None or self.blocked:
            await self._load_blocked()
        else:
            await self._load(plan)
        if plan is not None:
            changed = await self._ensure_network(plan)
            if changed:
                say("network", changed=changed)

    def refuses(self, tablet: str) -> bool:
        """Say whether the kernel was last loaded with a plan that refuses a tablet, or lets nobody pass."""
        return self.blocked or (self._loaded is not None and tablet in self._loaded.plan.loan)

    # the panic switch

    async def pull(self, plan: Plan | None, *, block: bool) -> None:
        """Pull the panic switch, or put it back; it holds over restarts."""
        if not block:
            try:
                self._switch.unlink(missing_ok=True)
            except OSError as error:
                raise EnforcementError(f"{self._switch} cannot be removed: {error}") from error
        self._pulled = block
        try:
            await self.bring(plan)
        finally:
            # First the kernel, then the disk: a full one must not stand in the way.
            self.remember()

    def remember(self) -> None:
        """Write down that the switch is pulled, for a restart; what fails becomes a problem."""
        self.problem = ""
        if not self._pulled:
            return
        try:
            self._switch.parent.mkdir(parents=True, exist_ok=True)
            self._switch.touch()
        except OSError as error:
            warn("the fence is blocked and a restart would not know it", why=str(error))
            self.problem = f"the fence is blocked, and a restart would not know it: {error}"

    # the table

    async def _load_blocked(self) -> None:
        self._loaded = None
        await self._commit(nftables.blocked(), frozenset())

    async def _load(self, plan: Plan) -> None:
        coming = openings(plan, clock.now())
        before = self._loaded
        if not await self._load_difference(plan, coming):
            await self._load_whole(plan, coming)
        if before is not None:
            self._unforgotten |= set(freed(before.plan, plan))
        self._loaded = _Loaded(plan, coming)
        await asyncio.to_thread(conntrack.forget, sorted(self._unforgotten, key=str))
        self._unforgotten.clear()

    async def _load_difference(self, plan: Plan, coming: Openings) -> bool:
        """Load the elements that differ; False where more than elements does, or nothing is known."""
        held = self._loaded
        if held is None:
            return False
        scripts = nftables.differences(held.plan, plan, coming, held.openings)
        if scripts is None:
            return False
        for script in scripts:
            # Read by the next audit; until then every change by somebody else is one too many.
            self._digest = ""
            try:
                await self._commit_own(script)
            except EnforcementError:
                # The table is not what it was.
                return False
        return True

    async def _commit_own(self, script: str) -> None:
        with self._ours():
            self._own_pids = [*self._own_pids[-9:], await nft.load(script)]

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Take the number of a transaction that is committed in here, where nobody else's was in between."""
        before = nfnetlink.generation()
        yield
        after = nfnetlink.generation()
        if after == (before + 1) % (1 << 32):
            self._own_generations = [*self._own_generations[-9:], after]

    async def _load_whole(self, plan: Plan, coming: Openings) -> None:
        moving = frozenset(nftables.moving_sets(plan))
        held = await nft.read(*_OWN, moving)
        stale = nftables.leftovers(plan, held.chains, held.sets, held.counters) if held else []
        before, self._loaded = self._loaded, None
        if held is None or not {name for _, name in held.sets} & set(nft_sets.PER_TABLET):
            # Nobody can send yet. Ended in between, it is a table that lets nobody send.
            await self._commit_own(nftables.frame(plan, stale, coming, new=held is None))
            with self._ours():
                await asyncio.to_thread(nfnetlink.fill, filling.messages(plan))
            await self._read_back(moving, _Loaded(plan, coming))
            return
        scripts = (
            nftables.steps(before.plan, plan, stale, coming)
            if before is not None
            else (nftables.render(plan, stale, coming),)
        )
        try:
            await nft.check(scripts[-1])
        except EnforcementError as error:
            if "File exists" not in str(error):
                raise
            # An object changed its type or size: replace the table in one transaction. Learned
            # addresses go with it and are put back by the name proxy; nothing is open in between.
            scripts = (nftables.replacement(plan, coming),)
            await nft.check(scripts[-1])
        for script in scripts[:-1]:
            await self._commit_own(script)
        await self._commit(scripts[-1], moving, _Loaded(plan, coming))

    async def _commit(
        self, script: str, moving: frozenset[str], loaded: _Loaded | None = None
    ) -> None:
        await self._commit_own(script)
        await self._read_back(moving, loaded)

    async def _read_back(self, moving: frozenset[str], loaded: _Loaded | None) -> None:
        """Compare what the kernel holds now with what was loaded."""
        now = await nft.read(*_OWN, moving)
        if now is None:
            raise EnforcementError("the kernel took the ruleset and has no table")
        if wrong := await _faults(now, loaded):
            raise EnforcementError(f"the kernel does not hold what was loaded: {wrong}")
        self._digest = now.digest
        await self._look_at_foreign()

    async def keep_hours(self, plan: Plan) -> None:
        """Give the kernel the openings of the days ahead, once a day; it opens and closes by itself."""
        now = clock.now()
        opened = frozenset(name for name, seconds in open_for(plan, now).items() if seconds)
        if opened != self._opened:
            self._opened = opened
            closed = {group.name for group in plan.groups if group.hours is not None} - opened
            say("hours", open=sorted(opened), closed=sorted(closed))
        held = self._loaded
        if held is not None and held.openings != openings(plan, now):
            await self.bring(plan)

    # what others do

    async def judge(
        self, changes: list[nfnetlink.Change] | None, plan: Plan | None, *, whole: bool = False
    ) -> Drift | None:
        """Compare the kernel with what was loaded when a change could matter; repair what does.

        `changes` is None when news may have been lost: then, and with `whole`, all of the table is compared.
        Returns what was found; the caller records it when all that follows a repair is done.
        """
        lost = changes is None
        moving = frozenset(nftables.moving_sets(plan)) if plan is not None else frozenset()
        # Loaders are processes of their own; a new table is filled by this one.
        own, ours = {os.getpid(), *self._own_pids}, self._own_generations
        others = [c for c in changes or [] if c.pid not in own and c.generation not in ours]
        if any(change.tables - {nft_names.TABLE} for change in others):
            await self._look_at_foreign()
        serious = [
            change
            for change in others
            if nft_names.TABLE in change.tables
            and not (change.kinds <= _ELEMENTS and change.sets <= moving)
        ]
        if not (lost or whole or serious):
            return None
        settled = self._digest
        try:
            held = await nft.read(*_OWN, moving)
        except EnforcementError:
            # The news is taken and not judged: the next audit reads the table itself.
            self._audited = -math.inf
            raise
        if held is not None and settled == held.digest:
            return None
        wrong = await _faults(held, self._loaded) if held is not None else ""
        if held is not None and not (settled or serious or wrong or lost):
            # Loaded as a difference, or found and never loaded: this is what it is. Had news been lost since, a
            # rule of somebody else would be taken for ours.
            self._digest = held.digest
            return None
        what = list(dict.fromkeys(text for change in serious for text in change.what))
        by = sorted({f"{c.program} (pid {c.pid})" for c in serious})
        unheard = f"seen by comparing, the news of it was lost: {wrong or 'rules differ'}"
        words = ", ".join(what[:8]) or unheard
        return await self._repair(plan, words, ", ".join(by) or "unknown")

    async def audit(self, monitor: nfnetlink.Monitor, plan: Plan | None) -> Drift | None:
        """See that no news was lost, by the kernel's own count of transactions; now and then read all.

        The count costs a few microseconds, the whole table of 10,000 tablets half a second.
        """
        current = False
        # What is still not heard of at the second look was lost, and is not on its way.
        for _ in range(2):
            drift = await self.judge(monitor.changes(), plan)
            if drift is not None:
                return drift
            current = nfnetlink.generation() == monitor.generation
            if current:
                break
        if current and self._digest and clock.monotonic() < self._audited + FULL_AUDIT:
            return None
        before = nfnetlink.generation()
        lost = not current and monitor.generation is not None
        drift = await self.judge(None if lost else [], plan, whole=True)
        self._audited = clock.monotonic()
        if monitor.generation is None:
            monitor.generation = before
        return drift

    async def _repair(self, plan: Plan | None, what: str, by: str) -> Drift:
        at = clock.now().isoformat(timespec="milliseconds")
        warn("the ruleset was changed by somebody else, repairing", what=what, by=by)
        self._loaded = None
        try:
            await self.bring(plan)
        except EnforcementError as error:
            warn("the ruleset could not be repaired; the belt holds", why=str(error))
            return Drift(at, what, by, repaired=False)
        say("repaired", at=clock.now().isoformat(timespec="milliseconds"))
        return Drift(at, what, by, repaired=True)

    def record(self, drift: Drift) -> None:
        """Remember a change, for `status`."""
        self.drifts += 1
        self.drift = [*self.drift[-KEPT_DRIFTS + 1 :], drift]

    async def _look_at_foreign(self) -> None:
        tables = await nft.foreign_tables(*_OWN)
        hooks = await nft.foreign_hooks(*_OWN) if tables else []
        rows = [
            {
                "table": hook.table,
                "chain": f"{hook.chain} ({hook.type}, {hook.hook}, {hook.priority})",
                "concern": why,
            }
            for hook in hooks
            if (why := concern(hook.type, hook.hook))
        ]
        quiet = sorted(set(tables) - {row["table"] for row in rows})
        self.foreign = [*rows, *({"table": t, "chain": "", "concern": ""} for t in quiet)]

    # links and belt

    async def keep_network(self, plan: Plan) -> None:
        """Put back belt, links, addresses and routes where somebody has taken them away."""
        try:
            changed = await self._ensure_network(plan)
        except (EnforcementError, OSError) as error:
            self.belt = False
            warn("links and belt could not be checked", why=str(error))
            return
        if changed:
            at = clock.now().isoformat(timespec="milliseconds")
            self.record(Drift(at, "network: " + "; ".join(changed), "unknown", repaired=True))
            warn("links or belt were changed by somebody else, repaired", changed=changed)

    async def _ensure_network(self, plan: Plan) -> list[str]:
        """Bring belt, links and ceilings to the plan, in this order; returns what was changed."""
        names = [i for site in plan.sites for i in site.interfaces]
        changed = await asyncio.to_thread(netlink.ensure_belt, names, nftables.BELT_MARK)
        self.belt = True
        done = await asyncio.to_thread(netlink.ensure_links, links(plan))
        await asyncio.to_thread(netlink.ensure_neighbours, neighbours(plan), done)
        if done.problems != self._network.problems:
            warn("network", problems=done.problems)
        self._network = done
        ceilings = await asyncio.to_thread(lambda: shaping.ensure(shapers(plan)))
        if ceilings.problems != self._ceilings:
            warn("ceilings", problems=ceilings.problems)
        self._ceilings = ceilings.problems
        return [*changed, *done.changed, *ceilings.changed]

    def shown(self) -> dict[str, Any]:
        """Return what `status` says of it."""
        return {
            "fence_blocked": self.blocked,
            "drifts": self.drifts,
            "drift": [asdict(drift) for drift in self.drift],
            "belt": self.belt,
            "foreign": self.foreign,
        }

    async def counted(self, plan: Plan) -> dict[str, list[int]]:
        """Return packets and bytes of every rule."""
        found = await asyncio.to_thread(nfnetlink.counters, nft_names.TABLE)
        rules = nftables.counters(plan)
        return {rule: list(found.get(name, (0, 0))) for name, rule in rules.items()}


async def _faults(held: nft.Held, loaded: _Loaded | None) -> str:
    """Say where the elements in the kernel are not those of the plan; an empty text where they are."""
    if loaded is None:
        return ""
    found = await asyncio.to_thread(faults, loaded.plan, loaded.openings, held.rows)
    return "; ".join(found[:5])
