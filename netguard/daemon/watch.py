"""watch: reads events, judges presence, shows metrics and health. It holds no capability and cannot open anything.

What it knows of kernel and names it asks guard and dns for, over their sockets; what FreeRADIUS
answered it reads from the event log, after the fact (intake.py), and tells the engine of presence.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from prometheus_client import CollectorRegistry, disable_created_metrics

from netguard.adapters import clock, control, files, listening, store, systemd, web
from netguard.core.alerting.troubles import Trouble, of_daemons
from netguard.core.areas import canonical_ap
from netguard.core.names import Mac, shown, suggest_of
from netguard.core.policy import Receiver
from netguard.core.records import Asked, Reject, Stranger, behind, is_own
from netguard.daemon import presence, whereabouts
from netguard.daemon.alert_verbs import AlertVerbs
from netguard.daemon.asking import Asking, owner_of
from netguard.daemon.delivery import Delivery
from netguard.daemon.feeds import Feeds
from netguard.daemon.intake import Intake, Taken
from netguard.daemon.process import pause, pulse, reloads, say, warn
from netguard.errors import BadValue, NotReachable, Refused, StoreError
from netguard.metrics import NetguardCollector
from netguard.render.watch import Book
from netguard.settings import Settings

READ_INTERVAL = 0.5
# A store that cannot be used is tried again after this.
RETRY_INTERVAL = 5.0
# How often the other daemons are asked how they are, and what is open looked at again.
TROUBLE_INTERVAL, OPEN_INTERVAL = 5.0, 30.0
DAY = 86400.0
# Kernel, names, and the seconds that FreeRADIUS wants between two loads.
QUARANTINE_TAKES = 60.0
# Labels come from the event log: bounded, whatever it may hold.
MAX_SERIES = 200


class Watch:
    """One watch process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.intake = Intake(settings)
        self.collector = NetguardCollector()
        self.admissions: Counter[tuple[str, str, str]] = Counter()
        self.records: Counter[str] = Counter()
        # By NAS: how many seconds its clock is behind, by its last record that says so.
        self.clocks: dict[str, float] = {}
        self.fault = ""
        self.asking = Asking(settings, self.intake)
        self.feeds = Feeds(self.intake, settings.paths.watch_secrets)
        self.delivery = Delivery(settings)
        self.alert_verbs = AlertVerbs(self.intake, self._opened)
        self._has_looked = False
        self.tls: ssl.SSLContext | None = None

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
                async with server, self._listening(), asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._read(stop))
                    tasks.create_task(self._chores(stop))
                    tasks.create_task(self._look_for_troubles(stop))
                    tasks.create_task(self._look_at_what_is_open(stop))
                    tasks.create_task(
                        self.delivery.run(stop, lambda: self.intake.store, self._receivers)
                    )
                    tasks.create_task(self.asking.run(stop))
                    tasks.create_task(pulse(stop))
                    tasks.create_task(reloads(stop, self._again))
                    say("watching", listen=f"{self.settings.web_host}:{self.settings.web_port}")
                    systemd.notify("READY=1\nSTATUS=watching")
                    await stop.wait()
                    server.close()
            finally:
                await runner.cleanup()
                self.settings.watch_socket.unlink(missing_ok=True)
                await asyncio.to_thread(self.intake.close)

    async def _again(self) -> None:
        """Take a renewed certificate; rules and secrets are looked at when they are needed anyway."""
        if self.tls is not None:
            listening.load_certificate(self.tls, self.settings.paths.watch_secrets)

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Listen for controllers where the settings say so."""
        node, feeds = self.settings, self.feeds
        async with AsyncExitStack() as stack:
            for where, take in ((node.syslog, feeds.syslog), (node.traps, feeds.trap)):
                if where is not None:
                    transport = await listening.datagrams(where, take)
                    stack.callback(transport.close)
            if node.syslog is not None:
                stack.callback((await listening.streams(node.syslog, feeds.stream)).close)
            if node.syslog_tls is not None:
                self.tls = listening.tls_of(node.paths.watch_secrets)
                server = await listening.streams(node.syslog_tls, feeds.stream, self.tls)
                stack.callback(server.close)
            if node.webhooks is not None:
                runner = await web.serve_webhooks(node.webhooks, feeds.webhook)
                stack.push_async_callback(runner.cleanup)
            yield

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
                taken = await asyncio.to_thread(self.intake.take)
            except (OSError, StoreError) as error:
                self._failed(str(error))
                interval = RETRY_INTERVAL
            else:
                self.fault = ""
                self._take(taken)
                interval = 0.0 if taken.more else READ_INTERVAL / min(self.settings.speed, 10)
            await pause(stop, interval)

    def _take(self, taken: Taken) -> None:
        for record in taken.records:
            self._count(record)
        for change in presence.transitions(taken.actions):
            self.collector.view.transitions[change.before, change.after] += 1
        for alert in presence.alerts(taken.actions):
            self.collector.view.alerts[alert.kind, alert.cause] += 1
            say(
                f"{alert.kind} {alert.cause}",
                tablet=alert.tablet or alert.subject,
                area=alert.area,
                probability=round(alert.probability, 2),
                incident=alert.id,
            )
        for probe in presence.probes(taken.actions):
            self.asking.want(probe.mac)

    async def _chores(self, stop: asyncio.Event) -> None:
        """Once a day, and at the start: look whether the store is sound, let go of what is old."""
        while not stop.is_set():
            try:
                await asyncio.to_thread(self.intake.tidy)
            except (OSError, StoreError) as error:
                self._failed(str(error))
            await pause(stop, DAY)

    # alerts that are not the engine's

    def _receivers(self) -> dict[str, Receiver]:
        return dict(self.intake.book.receivers) if self.intake.book is not None else {}

    async def _look_for_troubles(self, stop: asyncio.Event) -> None:
        """Ask the other daemons how they are; what is wrong becomes an alert."""
        while not stop.is_set():
            await pause(stop, TROUBLE_INTERVAL / min(self.settings.speed, 10))
            if not stop.is_set():
                await self._ask_daemons()
                try:
                    await asyncio.to_thread(self._look)
                except (OSError, StoreError) as error:
                    self._failed(str(error))
                await self._want_quarantine()

    async def _want_quarantine(self) -> None:
        """Ask guard for what the rules want; what it could not hear or do is asked again at the next look."""
        wanted = self.intake.alerting.wanted
        for incident, (tablet, rule, why) in list(wanted.items()):
            words = {"tablet": tablet, "rule": rule, "incident": incident, "why": why}
            try:
                await control.call_async(
                    self.settings.guard_socket, "quarantine", QUARANTINE_TAKES, **words
                )
            except NotReachable:
                return
            except Refused as error:
                if error.again:
                    # It says itself what is wrong with it.
                    return
                warn("guard refused a quarantine", tablet=tablet, rule=rule, why=str(error))
            del wanted[incident]

    def _look(self) -> None:
        with self.intake.busy:
            held, book = self.intake.store, self.intake.book
            if held is not None and book is not None:
                if not self._has_looked:
                    self.intake.alerting.want_again(held, book)
                    self._has_looked = True
                alerting, view, now = self.intake.alerting, self.collector.view, self.intake.now()
                found = [
                    *of_daemons(view.guard, view.dns, self.fault),
                    *alerting.refusals(book.alerts, view.counters, now),
                    *alerting.network(view.counters, view.dns, now),
                    *alerting.floods.look(
                        book.alerts,
                        (view.dns or {}).get("in_vain", {}),
                        self.intake.dropped,
                        now,
                    ),
                    *alerting.appliance(view.guard, *self._false_alarms(), now),
                    *alerting.feeds(self._told_feeds()),
                    *alerting.overdue(held, book, clock.now().timestamp()),
                    *self._unreached(),
                ]
                alerting.look(held, book, found, now)

    def _false_alarms(self) -> tuple[int, float | None]:
        presence_ = self.intake.presence
        if presence_ is None:
            return 0, None
        return presence_.state.false_alarms, presence_.model.budget

    def _unreached(self) -> list[Trouble]:
        """Return the receivers that take no alerts: told to the others, and to the next channel."""
        return [
            Trouble(
                f"delivery-{where.replace('/', '-')}",
                "NG-1408",
                {"trouble": "appliance"},
                where,
                fields={"why": why},
            )
            for where, why in self.delivery.failing().items()
        ]

    async def _look_at_what_is_open(self, stop: asyncio.Event) -> None:
        """Tell again what nobody has acknowledged, and what a silence that is over held back."""
        while not stop.is_set():
            await pause(stop, OPEN_INTERVAL / min(self.settings.speed, 10))
            held = self.intake.store
            if stop.is_set() or held is None:
                continue
            try:
                await asyncio.to_thread(self._tell_again, held)
            except StoreError as error:
                self._failed(str(error))

    def _tell_again(self, held: store.WatchStore) -> None:
        wall = clock.now().timestamp()
        if self.intake.book is not None:
            self.intake.alerting.release(held, self.intake.book, wall)
        held.post(self.delivery.repeats(held, self._receivers(), wall))
        self.collector.view.letters, self.collector.view.oldest_letter = held.counted()

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
        seconds, nas = behind(record), record.get("nas", "")
        if seconds is not None and (nas in self.clocks or len(self.clocks) < MAX_SERIES):
            self.clocks[nas] = seconds
        view.last_record = clock.now().timestamp()
        if kind == "admission":
            key = record.get("site", ""), record.get("answer", ""), record.get("rule", "")
            if key in self.admissions or len(self.admissions) < MAX_SERIES:
                self.admissions[key] += 1

    async def _refresh(self) -> None:
        view = self.collector.view
        view.admissions, view.accounting = self.admissions, self.records
        await asyncio.to_thread(whereabouts.measure, self.intake, view)
        view.feeds = await self._feeds_and_nases()
        view.sent, view.unsent = self.delivery.counts.sent, self.delivery.counts.failed
        await self._ask_daemons()
        if self.intake.store is not None:
            try:
                view.strangers = await asyncio.to_thread(self.intake.store.count_strangers)
            except StoreError as error:
                self._failed(str(error))

    async def _ask_daemons(self) -> None:
        view = self.collector.view
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
        if self.fault:
            missing.append("the event log")
        if self.intake.book_problem:
            missing.append("watch.json")
        return missing

    def _feeds(self) -> dict[str, tuple[float, bool, float | None]]:
        """Return every feed beside the event log: those that speak, and those that are looked at."""
        return {**self.feeds.look(), **self.asking.look()}

    async def _feeds_and_nases(self) -> dict[str, tuple[float, bool, float | None]]:
        """Return every feed, and each NAS that the event log tells of; its silence is the engine's to tell."""
        heard = await asyncio.to_thread(whereabouts.nases, self.intake, self.clocks)
        return {**heard, **self._feeds()}

    def _told_feeds(self) -> dict[str, tuple[float, bool, float | None]]:
        """Return the feeds of which something may be told; of a daemon that is away it is told already."""
        view = self.collector.view
        away = {"guard": view.guard is None, "dns": view.dns is None}
        return {
            feed: seen
            for feed, seen in self._feeds().items()
            if not away.get(owner_of(feed), False)
        }

    # verbs

    def _offers(self) -> dict[str, control.Offer]:
        return {
            "status": control.Offer(self.status),
            "unknown": control.Offer(self.unknown),
            "rejects": control.Offer(self.rejects),
            "seen": control.Offer(self.seen),
            "sessions": control.Offer(self.sessions, frozenset({self.settings.users.guard})),
            "tablets": control.Offer(self.tablets),
            "incidents": control.Offer(self.incidents),
            "recorded": control.Offer(self.recorded),
            **self.alert_verbs.offers(),
        }

    async def status(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what has been read, and what is wrong."""
        view = self.collector.view
        problems = {"store": self.fault} if self.fault else {}
        if self.intake.book_problem:
            problems["rules"] = self.intake.book_problem
        return {
            "records": dict(self.records),
            "bad": view.bad_records,
            "feeds": {
                feed: {"heard": clock.stamp(at) if at else "", "stale": stale, "skew": skew}
                for feed, (at, stale, skew) in (await self._feeds_and_nases()).items()
            },
            "heartbeats": dict(self.asking.counts),
            "unparsed": list(self.feeds.unparsed),
            "problems": problems,
        }

    async def unknown(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the MACs outside the inventory that were refused."""
        seconds = message.get("seconds")
        span = seconds if isinstance(seconds, int | float) and 0 <= seconds < 10**9 else 10**9
        since = clock.now() - timedelta(seconds=span)
        found = await asyncio.to_thread(self._opened().strangers, since)
        return {"unknown": await asyncio.to_thread(self._strangers, found)}

    def _strangers(self, found: Sequence[Stranger]) -> list[dict[str, Any]]:
        perhaps = whereabouts.perhaps(self.intake, found)
        return [
            _shown(each) | {"perhaps": tablets}
            for each, tablets in zip(found, perhaps, strict=True)
        ]

    async def rejects(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return where tablets of the inventory were refused: one of them, or all."""
        seconds = message.get("seconds")
        span = seconds if isinstance(seconds, int | float) and 0 <= seconds < 10**9 else 10**9
        book, wanted = self.intake.book, str(message.get("tablet") or "")
        tablets = book.model.tablets if book is not None else {}
        macs = {each.id: mac for mac, each in tablets.items()}
        if wanted and wanted not in macs:
            raise Refused(f"unknown tablet {shown(wanted)}{suggest_of(wanted, frozenset(macs))}")
        mac = Mac.parse(macs[wanted]) if wanted else None
        since = clock.now() - timedelta(seconds=span)
        found = await asyncio.to_thread(self._opened().rejects, since, mac)
        return {"rejects": [_rejected(each, book) for each in found]}

    async def seen(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return the last answer that a tablet got."""
        try:
            mac = Mac.parse(str(message.get("mac", "")))
        except BadValue as error:
            raise Refused(str(error)) from error
        asked = await asyncio.to_thread(self._opened().last_asked, mac)
        return {"seen": _shown(asked) if asked is not None else None}

    async def sessions(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return where a MAC is on the air, the latest first: whom guard has to ask to throw it off."""
        try:
            mac = Mac.parse(str(message.get("mac", "")))
        except BadValue as error:
            raise Refused(str(error)) from error
        found = await asyncio.to_thread(self._opened().sessions, mac)
        return {"sessions": [asdict(each) for each in found]}

    async def tablets(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return where each tablet is; of one where it is named by id or MAC."""
        word = str(message.get("tablet") or "")
        return {"tablets": await asyncio.to_thread(whereabouts.tablets, self.intake, word)}

    async def incidents(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return incidents, the newest first; of one tablet where it is named."""
        tablet = str(message.get("tablet") or "")
        found = await asyncio.to_thread(self._opened().incidents, 0.0, tablet)
        return {"incidents": [whereabouts.incident(self.intake, each) for each in found]}

    async def recorded(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Return recorded events since a while, a bounded lot at a time; root and ourselves only."""
        if self.intake.book is None or self.intake.book.recording is None:
            raise Refused(
                "events are not recorded: write `retention: {recording: 7d}` into netguard.yaml, "
                "apply, and ask again when something has happened"
            )
        after, seconds = message.get("after", 0), message.get("seconds", 10**9)
        if not isinstance(after, int) or not isinstance(seconds, int | float):
            raise BadValue("syntax", "recorded needs `after` and `seconds`, numbers")
        since = self.intake.now() - min(max(float(seconds), 0.0), 1e9)
        if not after:
            await asyncio.to_thread(self.intake.write_use_now)
        rows = await asyncio.to_thread(self._opened().recorded, since, after)
        return {"recorded": [lines for _, lines in rows], "last": rows[-1][0] if rows else after}

    def _opened(self) -> store.WatchStore:
        if self.intake.store is None:
            raise StoreError(self.fault or "the store is not open yet")
        return self.intake.store


def _rejected(row: Reject, book: Book | None) -> dict[str, Any]:
    tablet = book.model.tablets.get(str(row.mac)) if book is not None else None
    area = book.model.area_of(canonical_ap(row.ap)).name if book is not None and row.ap else ""
    return {"tablet": tablet.id if tablet is not None else "", "area": area} | _shown(row)


def _shown(row: Asked | Stranger | Reject) -> dict[str, Any]:
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
