"""The kernel's side of a plan: the table, the belt, and what somebody else does to them.

Holds no lock and starts no task: guard calls it, one call at a time. `blocked` is the panic switch:
while it is on, the table lets nothing through, whatever plan is handed in, also after a restart.
"""

import asyncio
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from netguard.adapters import clock, netlink, nfnetlink, nft
from netguard.core.plan import Plan
from netguard.daemon.process import say, warn
from netguard.errors import EnforcementError
from netguard.render import nftables

KEPT_DRIFTS = 20
_ELEMENTS = frozenset({"new element", "deleted element"})


@dataclass(frozen=True, slots=True)
class Drift:
    """One change by somebody else: when it was seen, what it was, who made it, and the repair."""

    at: str
    what: str
    by: str
    repaired: bool


class Fence:
    """What the kernel has to hold; the kernel is the truth, this remembers what was loaded."""

    def __init__(self, state: Path) -> None:
        self._switch = state / "fence-blocked"
        self._pulled = False
        self.problem = ""
        self._digest = ""
        self._own_pids: list[int] = []
        self.drifts = 0
        self.drift: list[Drift] = []
        self.foreign: list[str] = []
        self.belt = False

    @property
    def blocked(self) -> bool:
        """Say whether somebody has pulled the panic switch."""
        return self._pulled or self._switch.exists()

    async def close(self) -> None:
        """Close everything where no table of ours stands yet, or where the switch is pulled."""
        held = await nft.read(nftables.FAMILY, nftables.TABLE, frozenset())
        if held is None or self.blocked:
            await self._load_blocked()

    async def bring(self, plan: Plan | None) -> None:
        """Bring table and belt to a plan; without one, or while blocked, to nothing at all."""
        if plan is None or self.blocked:
            await self._load_blocked()
        else:
            await self._load(plan)
        if plan is not None:
            changed = await self._ensure_belt(plan)
            if changed:
                say("belt", changed=changed)

    async def pull(self, plan: Plan | None, *, block: bool) -> None:
        """Pull the panic switch, or put it back; it holds over restarts."""
        self._pulled = block
        if not block:
            self._switch.unlink(missing_ok=True)
        try:
            await self.bring(plan)
        finally:
            # First the kernel, then the disk: a full one must not stand in the way.
            self.remember()

    def remember(self) -> None:
        """Write down that the switch is pulled, for a restart; what fails becomes `problem`."""
        self.problem = ""
        if not self._pulled:
            return
        try:
            self._switch.parent.mkdir(parents=True, exist_ok=True)
            self._switch.touch()
        except OSError as error:
            warn("the fence is blocked and a restart would not know it", why=str(error))
            self.problem = f"the fence is blocked, and a restart would not know it: {error}"

    async def _load_blocked(self) -> None:
        await self._commit(nftables.blocked(), frozenset())

    async def _load(self, plan: Plan) -> None:
        learned = frozenset(nftables.moving_sets(plan))
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
        await self._commit(script, learned)

    async def _commit(self, script: str, learned: frozenset[str]) -> None:
        self._own_pids = [*self._own_pids[-9:], await nft.load(script)]
        now = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        if now is None:
            raise EnforcementError("the kernel took the ruleset and has no table")
        self._digest = now.digest
        self.foreign = await nft.foreign_tables(nftables.FAMILY, nftables.TABLE)

    async def judge(
        self, changes: list[nfnetlink.Change] | None, plan: Plan | None
    ) -> Drift | None:
        """Compare the kernel with what was loaded when a change could matter; repair what does.

        `changes` is None when news may have been lost: then the whole table is compared. Returns
        what was found; the caller records it when all that follows a repair is done.
        """
        learned = frozenset(nftables.moving_sets(plan)) if plan is not None else frozenset()
        serious = [
            change
            for change in changes or []
            if change.pid not in self._own_pids
            and not (change.kinds <= _ELEMENTS and change.sets <= learned)
        ]
        if changes is not None and not serious:
            return None
        held = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        self.foreign = await nft.foreign_tables(nftables.FAMILY, nftables.TABLE)
        # A table that we found and never loaded (its copy cannot be read) is left as it is.
        if held is not None and self._digest in {"", held.digest}:
            return None
        kinds = sorted({kind for change in serious for kind in change.kinds})
        by = sorted({f"{c.program} (pid {c.pid})" for c in serious})
        what = ", ".join(kinds) or "seen by comparing, the news of it was lost"
        return await self._repair(plan, what, ", ".join(by) or "unknown")

    async def _repair(self, plan: Plan | None, what: str, by: str) -> Drift:
        at = clock.now().isoformat(timespec="milliseconds")
        warn("the ruleset was changed by somebody else, repairing", what=what, by=by)
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

    async def keep_belt(self, plan: Plan) -> None:
        """Put the belt back where somebody has taken it off."""
        try:
            changed = await self._ensure_belt(plan)
        except (EnforcementError, OSError) as error:
            self.belt = False
            warn("the belt could not be checked", why=str(error))
            return
        if changed:
            at = clock.now().isoformat(timespec="milliseconds")
            self.record(Drift(at, "belt: " + "; ".join(changed), "unknown", repaired=True))
            warn("the belt was changed by somebody else, repaired", changed=changed)

    async def _ensure_belt(self, plan: Plan) -> list[str]:
        interfaces = [i for site in plan.sites for i in site.interfaces]
        changed = await asyncio.to_thread(netlink.ensure_belt, interfaces, nftables.BELT_MARK)
        self.belt = True
        return changed

    def shown(self) -> dict[str, Any]:
        """Return what `status` says of it."""
        return {
            "fence_blocked": self.blocked,
            "drifts": self.drifts,
            "drift": [asdict(drift) for drift in self.drift],
            "belt": self.belt,
            "foreign_tables": self.foreign,
        }

    async def counted(self, plan: Plan) -> dict[str, list[int]]:
        """Return packets and bytes of every rule."""
        learned = frozenset(nftables.moving_sets(plan))
        held = await nft.read(nftables.FAMILY, nftables.TABLE, learned)
        found = held.counters if held is not None else {}
        rules = nftables.counters(plan)
        return {rule: list(found.get(name, (0, 0))) for name, rule in rules.items()}
