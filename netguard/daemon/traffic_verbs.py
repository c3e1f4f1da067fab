"""What the kernel knows of tablets' traffic, told over guard's socket: refused, counted, opened, heard of.

watch asks most of it, every few seconds; nothing here changes what is in force.
"""

import asyncio
from collections.abc import Callable

from netguard.adapters import clock, conntrack, control, netlink
from netguard.core.denials import Denial
from netguard.core.names import Address
from netguard.core.plan import Plan
from netguard.daemon.fence import Fence
from netguard.daemon.heartbeats import Heartbeats
from netguard.daemon.leases import LeaseBook
from netguard.daemon.refusals import Refusals
from netguard.daemon.usage import FlowUse
from netguard.errors import BadValue
from netguard.render import haproxy
from netguard.settings import Settings

# Of one call; watch calls once a second at most.
MAX_PROBES = 64


class TrafficVerbs:
    """Answers what was sent, refused and heard; `plan` is the plan in force, or None."""

    def __init__(
        self, settings: Settings, plan: Callable[[], Plan | None], fence: Fence, leases: LeaseBook
    ) -> None:
        self._settings, self._plan = settings, plan
        self._fence, self._leases = fence, leases
        self.use = FlowUse()
        self._heartbeats = Heartbeats(settings.paths.dhcp / "leases")
        # Listens while guard runs.
        self.refusals: Refusals | None = None

    def listen(self, refused: Callable[[Denial], None]) -> Refusals:
        """Begin to hear what the kernel and HAProxy refuse; `refused` is told of each packet."""
        log = self._settings.paths.sni / haproxy.LOG
        self.refusals = Refusals(log, self._rule_by_address, refused)
        return self.refusals

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs, and who beside root and guard itself may call them."""
        watch = frozenset({self._settings.users.watch})
        return {
            "counters": control.Offer(self.counters, watch),
            "denials": control.Offer(self.denials, watch),
            "probe": control.Offer(self.probe, watch),
            "neighbours": control.Offer(self.neighbours, watch),
            "heartbeats": control.Offer(self.heard, watch),
            "used": control.Offer(self.used, watch),
            "flows": control.Offer(self.flows),
        }

    async def denials(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the last refused packets, after the number that the caller has seen."""
        number = message.get("after", 0)
        if not isinstance(number, int) or self.refusals is None:
            raise BadValue("syntax", "denials needs `after`, a number")
        plan = self._plan()
        every = (*plan.bindings, *plan.lost) if plan else ()
        tablets = {b.mac: b.tablet for b in every}
        addresses = {b.address: b.tablet for b in every if b.address is not None}
        return self.refusals.since(number, tablets, addresses)

    async def used(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the flows that were opened and refused since the last time, by group and site."""
        # Read in a thread, counted here: the kernel's log is counted on this loop, too.
        connections = await asyncio.to_thread(list, conntrack.opened())
        return self.use.take(self._plan(), connections, clock.monotonic())

    async def probe(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Ask silent tablets whether they are there: a bounded lot, only tablets, only by ARP."""
        macs = message.get("macs")
        if not isinstance(macs, list) or len(macs) > MAX_PROBES:
            raise BadValue("syntax", f"probe needs `macs`, a list of at most {MAX_PROBES}")
        plan = self._plan()
        if plan is None or self._fence.blocked:
            return {"asked": 0}
        wanted = {str(mac) for mac in macs}
        interfaces = {site.name: site.interfaces for site in plan.sites}
        asked = [
            (interface, str(binding.address), str(binding.mac))
            for binding in plan.bindings
            if str(binding.mac) in wanted and binding.address is not None
            for interface in interfaces.get(binding.site, ())
        ]
        await asyncio.to_thread(netlink.probe, asked)
        return {"asked": len(asked)}

    async def neighbours(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return which tablets the kernel has heard: by MAC, whether it failed, and how long ago."""
        plan = self._plan()
        if plan is None:
            return {"neighbours": {}}
        interfaces = [each for site in plan.sites for each in site.interfaces]
        tablets = {(str(b.mac), str(b.address)) for b in plan.bindings}
        found = await asyncio.to_thread(netlink.neighbours, interfaces)
        return {
            "neighbours": {
                each.mac: [each.failed, each.age]
                for each in found
                if (each.mac, each.address) in tablets
            }
        }

    async def heard(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return how long ago tablets renewed their leases or sent on a connection, by feed and MAC."""
        plan = self._plan()
        found = await asyncio.to_thread(self._heartbeats.look, plan) if plan is not None else {}
        if plan is not None:
            found["dhcp"] |= self._leases.renewed()
        return {"heartbeats": found}

    async def flows(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return how many connections run by the mark of the right that let them in."""
        counted = await asyncio.to_thread(conntrack.by_mark)
        plan = self._plan()
        marks = {grant.mark for grant in plan.grants} if plan else set()
        return {"flows": {str(mark): n for mark, n in counted.items() if mark in marks}}

    async def counters(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the packets each rule has counted."""
        plan = self._plan()
        if plan is None:
            return {"counters": {}}
        return {"counters": await self._fence.counted(plan)}

    def _rule_by_address(self) -> dict[Address, str]:
        plan = self._plan()
        bindings = plan.bindings if plan is not None else ()
        return {b.address: f"{b.group}/deny" for b in bindings if b.address is not None}
