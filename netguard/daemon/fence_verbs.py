"""The panic switch over guard's socket: everything of the tablets is blocked, or as planned again."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

from netguard.adapters import clock, control
from netguard.core.plan import Plan
from netguard.daemon import lending
from netguard.daemon.fence import Fence
from netguard.daemon.process import say
from netguard.daemon.register import Register
from netguard.errors import BadValue, StoreError


class FenceVerbs:
    """Pulls the fence; only root and guard itself may. `table_is_new` is called when the plan's is back."""

    def __init__(
        self,
        fence: Fence,
        register: Register,
        busy: asyncio.Lock,
        plan: Callable[[], Plan | None],
        table_is_new: Callable[[], Awaitable[None]],
    ) -> None:
        self._fence, self._register, self._busy = fence, register, busy
        self._plan, self._table_is_new = plan, table_is_new

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs."""
        return {"fence": control.Offer(self.pull)}

    async def pull(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Block everything of the tablets, or put the plan back; nothing is ever more open."""
        block = message.get("block")
        if not isinstance(block, bool):
            raise BadValue("syntax", "fence needs `block`, true or false")
        async with self._busy:
            was = self._fence.blocked
            entry = lending.line(clock.now(), caller.name, message, "fence", "all tablets")
            entry = replace(entry, **lending.pulled(message, was=was, block=block))
            if block:
                # First the fence, then the book: in a panic nothing may stand in the way.
                await self._fence.pull(self._plan(), block=True)
            with contextlib.suppress(StoreError):
                await asyncio.to_thread(self._register.record, entry)
            if not block:
                await self._fence.pull(self._plan(), block=False)
                await self._table_is_new()
        say("fence", blocked=block, by=entry.who)
        return {"blocked": block, "changed": was != block}
