"""The servers beside the kernel: the name proxy, HAProxy, dnsmasq, chronyd and FreeRADIUS, brought to a plan.

guard writes what each reads and has it read; a unit that only a start brings up to date is started anew where
guard may do that (units.py). One that is away holds up nobody else: it is told when it is back, and `problems`
says so meanwhile.
"""

import asyncio

from netguard.adapters import control, files
from netguard.core.heartbeats import read_holders
from netguard.core.plan import Plan
from netguard.daemon.process import warn
from netguard.daemon.radius_server import RadiusServer
from netguard.daemon.units import DHCP, RADIUS, RELOAD, RESTART, SNI, TIME, Units
from netguard.errors import NetguardError
from netguard.render import dhcp, haproxy, names, ntp
from netguard.settings import Settings


class Neighbours:
    """Every enforcer but the kernel; the caller sees to it that one change goes on at a time."""

    def __init__(self, settings: Settings, radius: RadiusServer, units: Units) -> None:
        self._settings = settings
        self._radius = radius
        self._units = units
        self._problems: dict[str, str] = {}
        # What the name proxy has not heard yet, because it was away.
        self._untold: set[str] = set()

    def problems(self) -> dict[str, str]:
        """Return which of them is not at the plan, and why."""
        return {**self._problems, **self._radius.problems(), **self._units.problems()}

    async def bring_names(self, plan: Plan) -> None:
        """Bring the name proxy to a plan. Raises OSError."""
        path = self._settings.paths.state / "dns.json"
        await asyncio.to_thread(files.write, path, names.render(plan))
        await self._tell_dns("reload")

    async def bring(self, plan: Plan) -> None:
        """Bring the others to a plan. Raises OSError."""
        await self._server_names(plan)
        await asyncio.to_thread(self._dhcp, plan)
        await self._radius.bring(plan)
        await self._follow(plan)

    async def table_is_new(self) -> None:
        """Let the name proxy put its addresses back into a table that has none."""
        await self._tell_dns("resync")

    async def catch_up(self, plan: Plan) -> None:
        """Try again what did not follow, and look whether all are there; a full disk is a problem, no end."""
        try:
            await self._follow(plan)
            if self._untold:
                await self._tell_dns()
            await self._look_at_haproxy(plan)
            self._problems.pop("files", None)
        except OSError as error:
            name = error.filename2 or error.filename or "a file"
            self._problems["files"] = f"{name} cannot be written: {error.strerror or error}"

    async def _follow(self, plan: Plan) -> None:
        """Let the units follow that only a start brings up to date; without them all else holds."""
        if self._units.managed and self._radius.clients_wait:
            self._units.want(RESTART, RADIUS, "clients.conf changed")
        if not self._units.pending:
            return
        restarted = await self._units.bring()
        if RADIUS in restarted and self._radius.pending:
            # A server that has just started holds what is written: shown by asking.
            await self._radius.bring(plan)
        if SNI in restarted:
            await self._server_names(plan)

    async def _tell_dns(self, *verbs: str) -> None:
        """Tell the name proxy, also what it missed while it was away."""
        untold = self._untold
        untold |= set(verbs)
        try:
            for verb in sorted(untold):  # reload comes before resync
                await control.call_async(self._settings.dns_socket, verb)
                untold.discard(verb)
            self._problems.pop("dns", None)
        except NetguardError as error:
            # It reads the file when it starts; until then no new name opens.
            words = " and ".join(sorted(untold))
            self._problems["dns"] = f"the name proxy was not told to {words}: {error}"

    async def _server_names(self, plan: Plan) -> None:
        """Bring HAProxy to a plan; until it has the new one nothing passes that only it allows."""
        folder = self._settings.paths.sni
        path = folder / haproxy.CONFIGURATION
        text = haproxy.configuration(plan, str(folder))
        changed = await asyncio.to_thread(files.write, path, text)
        if not changed and "sni" not in self._problems:
            return
        try:
            await control.tell(folder / haproxy.MASTER, "reload")
            self._problems.pop("sni", None)
        except NetguardError as error:
            if any(service.strict for service in plan.services):
                if changed and self._units.managed:
                    self._units.want(RESTART, SNI, "haproxy.cfg changed")
                words = f"HAProxy was not told to reload: {error}"
                self._problems["sni"] = f"services of 'sni: strict' are closed, {words}"

    async def _look_at_haproxy(self, plan: Plan) -> None:
        """Say when it has ended, and bring it up to date when it is back."""
        if "sni" in self._problems:
            await self._server_names(plan)
        elif any(service.strict for service in plan.services):
            try:
                await control.tell(self._settings.paths.sni / haproxy.MASTER, "show proc")
            except NetguardError as error:
                words = f"HAProxy does not answer: {error}"
                self._problems["sni"] = f"services of 'sni: strict' are closed, {words}"

    def _dhcp(self, plan: Plan) -> None:
        folder = self._settings.paths.dhcp
        if files.write(folder / "dnsmasq.conf", dhcp.configuration(plan, str(folder))):
            self._units.want(RESTART, DHCP, "dnsmasq.conf changed")
        hosts = folder / "hosts.d" / "netguard"
        leased = read_holders(files.text(folder / "leases"))
        before, after = files.text(hosts), dhcp.hosts(plan, leased)
        files.write(hosts, after)
        if addresses := dhcp.taken_over(before, after):
            warn("addresses went to other tablets", addresses=addresses[:8])
            self._units.want(RELOAD, DHCP, "addresses went to other tablets")
        own = self._settings.paths.time
        if files.write(own / "chrony.conf", ntp.configuration(plan, str(own))):
            self._units.want(RESTART, TIME, "chrony.conf changed")
