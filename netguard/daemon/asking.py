"""Asks the tablets themselves: who was heard of late without being asked, and those that fell silent.

watch may not send a packet; guard asks for it, by the kernel's own neighbour states, and only those
that the engine names. What tablets send anyway is heard for free: guard tells renewals and flows,
dns the last questions. What comes back is evidence like any other; who answers none of it (an older
daemon, one that is away) makes nobody silent.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping

from netguard.adapters import clock, control
from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.daemon.intake import Intake
from netguard.daemon.process import pause
from netguard.errors import NetguardError
from netguard.settings import Settings

# Three questions, one a second, and some time for the last answer (neighbour: mcast/ucast_solicit).
ANSWERED_IN = 4.0
LOOK_EVERY = 30.0
MOST = 64
FEED = "neighbours"
# Heard up to so long before a look: looks are late now and then. What is older was told before.
_OVERLAP = 5.0


class Asking:
    """Which tablets to ask; one batch at a time."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._guard, self._dns = settings.guard_socket, settings.dns_socket
        self._intake, self._speed = intake, float(settings.speed)
        self._wanted: dict[str, None] = {}
        # Tablets heard by each feed that costs nothing, since our start.
        self.counts: Counter[str] = Counter()

    def want(self, mac: str) -> None:
        """Ask a tablet as soon as it can be."""
        self._wanted[mac] = None

    async def run(self, stop: asyncio.Event) -> None:
        """Ask and look until told to end."""
        looked = clock.monotonic()
        while not stop.is_set():
            try:
                if clock.monotonic() - looked >= LOOK_EVERY:
                    # Heard since the last look: heartbeats that cost no packet.
                    span, looked = clock.monotonic() - looked, clock.monotonic()
                    await self._listen(span + _OVERLAP)
                    self._tell(await self._heard(), within=span, asked={})
                elif self._wanted:
                    await self._ask(stop)
            except NetguardError:
                # guard is away: nobody is asked, and nobody is silent for that.
                self._wanted.clear()
            await pause(stop, 1.0)

    async def _ask(self, stop: asyncio.Event) -> None:
        batch = list(self._wanted)[:MOST]
        for mac in batch:
            del self._wanted[mac]
        begun = clock.monotonic()
        await control.call_async(self._guard, "probe", macs=batch)
        await pause(stop, ANSWERED_IN)
        heard = await self._heard()
        within = clock.monotonic() - begun
        # Whom the kernel has no neighbour of was not asked: it says nothing.
        self._tell(heard, within=within, asked={mac: heard[mac] for mac in batch if mac in heard})

    async def _listen(self, within: float) -> None:
        """Take what guard and dns have heard without asking anybody."""
        try:
            told = await control.call_async(self._guard, "heartbeats")
            feeds = dict(told["heartbeats"])
        except NetguardError:
            feeds = {}
        try:
            asked = (await control.call_async(self._dns, "heard"))["heard"]
        except NetguardError:
            asked = {}
        known = self._intake.book.model.by_id if self._intake.book is not None else {}
        feeds["dns"] = {known[tablet]: age for tablet, age in asked.items() if tablet in known}
        now = self._intake.now()
        for feed, heard in feeds.items():
            for mac, age in heard.items():
                if 0 <= age < within:
                    self.counts[feed] += 1
                    self._intake.offer(
                        Event(
                            now - age * self._speed, evidence.HEARD, mac, source=feed, received=now
                        )
                    )

    async def _heard(self) -> Mapping[str, list[float]]:
        answer = await control.call_async(self._guard, "neighbours")
        found: Mapping[str, list[float]] = answer["neighbours"]
        return found

    def _tell(
        self, heard: Mapping[str, list[float]], *, within: float, asked: Mapping[str, object]
    ) -> None:
        now = self._intake.now()
        for mac, (failed, age) in heard.items():
            if not failed and age < within:
                at = now - age * self._speed
                self._intake.offer(Event(at, evidence.HEARD, mac, source=FEED, received=now))
            elif mac in asked:
                self._intake.offer(
                    Event(now, evidence.SILENT_PROBE, mac, source=FEED, received=now)
                )
