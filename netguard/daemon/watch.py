"""watch: reads events, shows metrics and health. It holds no capability and cannot open anything.

What it knows of kernel and names it asks guard and dns for, over their sockets; what FreeRADIUS
answered it reads from the event log, after the fact, and stores together with how far it has read:
each record counts once, whenever this process is killed.
"""

import asyncio
from collections import Counter
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, disable_created_metrics

from netguard.adapters import clock, control, files, radius, store, systemd, web
from netguard.core.names import Mac
from netguard.core.records import Asked, Stranger, is_own, met, read_asked
from netguard.daemon.process import pause, pulse, say, warn
from netguard.errors import BadValue, DamagedStore, NotReachable, Refused, StoreError
from netguard.metrics import NetguardCollector
from netguard.settings import Settings

READ_INTERVAL = 0.5
# A store that cannot be used is tried again after this.
RETRY_INTERVAL = 5.0
# Labels come from the event log: bounded, whatever it may hold.
MAX_SERIES = 200
FEED = "radius"


class Intake:
    """The event log and the store: takes what is new and keeps it, or leaves both as they were."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.paths.radius_log
        self._path: Path = settings.watch_state / "watch.db"
        self._log: radius.EventLog | None = None
        self.store: store.WatchStore | None = None

    def open(self) -> None:
        """Open the store where it is not; a damaged one is put aside and made anew."""
        if self.store is not None:
            return
        try:
            self.store = store.WatchStore.open(self._path, clock.now())
        except DamagedStore as error:
            moved = store.put_aside(self._path)
            warn("the store is damaged and was put aside", why=str(error), aside=str(moved))
            self.store = store.WatchStore.open(self._path, clock.now())
        self._log = radius.EventLog(self._folder, self.store.positions(FEED))

    def take(self) -> tuple[dict[str, str] | None, ...]:
        """Read and store one batch; returns its records. Raises StoreError or OSError."""
        self.open()
        assert self.store is not None  # noqa: S101  # for the type checker: open has made both
        assert self._log is not None  # noqa: S101  # as above
        batch = self._log.read()
        if batch.replaced:
            warn("files of the event log were cut or replaced", files=batch.replaced)
        if batch.is_news:
            strangers, asked = _sorted_out(batch.records)
            try:
                self.store.take(FEED, batch.positions, batch.gone, strangers, asked)
            except DamagedStore:
                # Judged anew when it is opened again.
                self.close()
                raise
        # Not before: what could not be stored is read again.
        self._log.keep(batch)
        return batch.records

    def close(self) -> None:
        """Let go of the store."""
        if self.store is not None:
            self.store.close()
        self.store = None


def _sorted_out(
    records: tuple[dict[str, str] | None, ...],
) -> tuple[list[Stranger], list[Asked]]:
    """Return the MACs nobody knows, and the last answer to each tablet."""
    now = clock.now()
    strangers: dict[Mac, Stranger] = {}
    known: dict[Mac, Asked] = {}
    for record in records:
        if not record or record.get("kind") != "admission" or is_own(record):
            continue
        asked = read_asked(record, now)
        if asked is None:
            continue
        if asked.by_stranger:
            strangers[asked.mac] = met(strangers.get(asked.mac), asked)
        else:
            strangers.pop(asked.mac, None)
            if asked.mac not in known or asked.at >= known[asked.mac].at:
                known[asked.mac] = asked
    return list(strangers.values()), list(known.values())


class Watch:
    """One watch process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.intake = Intake(settings)
        self.collector = NetguardCollector()
        self.admissions: Counter[tuple[str, str, str]] = Counter()
        self.records: Counter[str] = Counter()
        self.fault = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until told to end."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus-client leaves it untyped
        registry = CollectorRegistry()
        registry.register(self.collector)
        with files.lock(self.settings.paths.run / "watch.lock", "watch"):
            await self._open_first()
            where = systemd.listening_socket() or (self.settings.web_host, self.settings.web_port)
            runner = await web.serve(registry, self._refresh, self._missing, where)
            server = await control.serve(self.settings.watch_socket, self._offers(), _log_refusal)
            try:
                async with server, asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(stop))
                    tasks.create_task(pulse(stop))
                    say("watching", listen=f"{self.settings.web_host}:{self.settings.web_port}")
                    systemd.notify("READY=1\nSTATUS=watching")
                    await stop.wait()
                    server.close()
            finally:
                await runner.cleanup()
                self.settings.watch_socket.unlink(missing_ok=True)
                await asyncio.to_thread(self.intake.close)

    async def _open_first(self) -> None:
        """Open the store; a newer one ends us, any other fault is tried again while we watch."""
        try:
            await asyncio.to_thread(self.intake.open)
        except StoreError as error:
            if error.exit_code == 3:
                raise
            self._failed(str(error))

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            interval = READ_INTERVAL
            try:
                records = await asyncio.to_thread(self.intake.take)
            except (OSError, StoreError) as error:
                self._failed(str(error))
                interval = RETRY_INTERVAL
            else:
                self.fault = ""
                for record in records:
                    self._count(record)
                # A full batch: there is more.
                interval = 0.0 if len(records) > 1000 else READ_INTERVAL
            await pause(stop, interval)

    def _failed(self, why: str) -> None:
        """Say it once; FreeRADIUS keeps the records until they can be stored."""
        self.collector.view.store_failures += 1
        if self.fault != why:
            warn("the event log waits, its records cannot be read or stored", why=why)
        self.fault = why

    def _count(self, record: dict[str, str] | None) -> None:
        view = self.collector.view
        kind = (record or {}).get("kind", "")
        if record is None or kind not in {"admission", "accounting"}:
            view.bad_records += 1
            return
        if is_own(record):
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
        if self.intake.store is not None:
            try:
                view.strangers = await asyncio.to_thread(self.intake.store.count_strangers)
            except StoreError as error:
                self._failed(str(error))

    async def _missing(self) -> list[str]:
        await self._refresh()
        view = self.collector.view
        missing = [
            name for name, seen in (("guard", view.guard), ("dns", view.dns)) if seen is None
        ]
        if view.guard is not None and view.guard.get("state") != "guarding":
            missing.append("a plan in force")
        if self.fault:
            missing.append("the event log")
        return missing

    # verbs

    def _offers(self) -> dict[str, control.Offer]:
        return {
            "status": control.Offer(self.status),
            "unknown": control.Offer(self.unknown),
            "seen": control.Offer(self.seen),
        }

    async def status(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what has been read, and what is wrong."""
        view = self.collector.view
        problems = {"store": self.fault} if self.fault else {}
        return {"records": dict(self.records), "bad": view.bad_records, "problems": problems}

    async def unknown(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the MACs outside the inventory that were refused."""
        seconds = message.get("seconds")
        span = seconds if isinstance(seconds, int | float) and 0 <= seconds < 10**9 else 10**9
        since = clock.now() - timedelta(seconds=span)
        found = await asyncio.to_thread(self._opened().strangers, since)
        return {"unknown": [_shown(stranger) for stranger in found]}

    async def seen(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the last answer that a tablet got."""
        try:
            mac = Mac.parse(str(message.get("mac", "")))
        except BadValue as error:
            raise Refused(str(error)) from error
        asked = await asyncio.to_thread(self._opened().last_asked, mac)
        return {"seen": _shown(asked) if asked is not None else None}

    def _opened(self) -> store.WatchStore:
        if self.intake.store is None:
            raise StoreError(self.fault or "the store is not open yet")
        return self.intake.store


def _shown(row: Asked | Stranger) -> dict[str, Any]:
    moments = {"at", "first_at", "last_at"}
    body = asdict(row) | {"mac": str(row.mac)}
    return {
        key: value.isoformat(timespec="seconds") if key in moments else value
        for key, value in body.items()
    }


def _log_refusal(text: str) -> None:
    warn("refused", why=text)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run watch with these settings."""
    await Watch(settings).run(stop)
