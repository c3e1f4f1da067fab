"""watch: reads events, shows metrics and health. It holds no capability and cannot open anything.

What it knows of kernel and names it asks guard and dns for, over their sockets; what FreeRADIUS
answered it reads from the event log, after the fact.
"""

import asyncio
from collections import Counter

from prometheus_client import CollectorRegistry, disable_created_metrics

from netguard.adapters import clock, control, files, radius, systemd, web
from netguard.daemon.process import pause, pulse, say, warn
from netguard.errors import NotReachable, Refused
from netguard.metrics import NetguardCollector
from netguard.settings import Settings

READ_INTERVAL = 0.5
# Labels come from the event log: bounded, whatever it may hold.
MAX_SERIES = 200


class Watch:
    """One watch process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = radius.EventLog(settings.paths.radius_log)
        self.collector = NetguardCollector()
        self.admissions: Counter[tuple[str, str, str]] = Counter()
        self.records: Counter[str] = Counter()

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to end."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped
        registry = CollectorRegistry()
        registry.register(self.collector)
        with files.lock(self.settings.paths.run / "watch.lock", "watch"):
            self.log.start_at_end()
            where = systemd.listening_socket() or (self.settings.web_host, self.settings.web_port)
            runner = await web.serve(registry, self._refresh, self._missing, where)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(stop))
                    tasks.create_task(pulse(stop))
                    say("watching", listen=f"{self.settings.web_host}:{self.settings.web_port}")
                    systemd.notify("READY=1\nSTATUS=watching")
                    await stop.wait()
            finally:
                await runner.cleanup()

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                for record in self.log.lines():
                    self._take(record)
            except OSError as error:
                warn("the event log cannot be read", why=str(error))
            await pause(stop, READ_INTERVAL)

    def _take(self, record: dict[str, str] | None) -> None:
        view = self.collector.view
        kind = (record or {}).get("kind", "")
        if record is None or kind not in {"admission", "accounting"}:
            view.bad_records += 1
            return
        self.records[kind] += 1
        view.last_record = clock.now().timestamp()
        if kind == "admission":
            key = record.get("site", ""), record.get("answer", ""), record.get("rule", "")
            if key in self.admissions or len(self.admissions) < MAX_SERIES:
                self.admissions[key] += 1

    async def _refresh(self) -> None:
        view = self.collector.view
        view.admissions, view.accounting = self.admissions, self.records
        try:
            view.guard = await control.call_async(self.settings.guard_socket, "status")
            answer = await control.call_async(self.settings.guard_socket, "counters")
            view.counters = answer["counters"]
        except (NotReachable, Refused):
            view.guard = None
        try:
            view.dns = await control.call_async(self.settings.dns_socket, "status")
        except (NotReachable, Refused):
            view.dns = None

    async def _missing(self) -> list[str]:
        await self._refresh()
        view = self.collector.view
        missing = [
            name for name, seen in (("guard", view.guard), ("dns", view.dns)) if seen is None
        ]
        if view.guard is not None and view.guard.get("state") != "guarding":
            missing.append("a plan in force")
        return missing


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run watch with these settings."""
    await Watch(settings).run(stop)
