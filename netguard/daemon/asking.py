"""Asks the tablets themselves: who was heard of late without being asked, and those that fell silent.

watch may not send a packet; guard asks for it, by the kernel's own neighbour states, and only those
that the engine names. What tablets send anyway is heard for free: guard tells renewals and flows,
dns the last questions. What comes back is evidence like any other; who answers none of it (an older
daemon, one that is away) makes nobody silent.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

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
# A feed that is looked at is stale when so many looks in a row brought no answer. That it names nobody
# is no fault: tablets may be silent, and then each is judged by itself.
MOST_UNANSWERED = 3
# Heard up to so long before a look: looks are late now and then. What is older was told before.
_OVERLAP = 5.0
# Which daemon is asked for a feed.
_OWNERS = {"dhcp": "guard", "flows": "guard", FEED: "guard", "dns": "dns"}


def owner_of(feed: str) -> str:
    """Return the daemon that is looked at for a feed; empty for one that speaks by itself."""
    return _OWNERS.get(feed, "")


class Asking:
    """Which tablets to ask; one batch at a time."""

    def __init__(self, settings: Settings, intake: Intake) -> None:
        self._guard, self._dns = settings.guard_socket, settings.dns_socket
        self._intake, self._speed = intake, float(settings.speed)
        self._wanted: dict[str, None] = {}
        # Tablets heard by each feed that costs nothing, since our start.
        self.counts: Counter[str] = Counter()
        # By feed: when somebody was last heard by it (0: nobody yet), and when it last answered.
        self._heard_at: dict[str, float] = {}
        # One that never answers is stale, too; where the hospital gives the addresses, nobody has leases.
        self._answered = dict.fromkeys(("dns", "flows", FEED), clock.monotonic())

    def want(self, mac: str) -> None:
        """Ask a tablet as soon as it can be."""
        self._wanted[mac] = None

    def look(self) -> dict[str, tuple[float, bool, None]]:
        """Return each feed: when it last heard a tablet (0: never), and whether it is stale."""
        now = clock.monotonic()
        return {
            feed: (self._heard_at.get(feed, 0.0), now - at > MOST_UNANSWERED * LOOK_EVERY, None)
            for feed, at in sorted(self._answered.items())
        }

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
        known = self._intake.book.model.by_id if self._intake.book is not None else {}
        try:
            asked = (await control.call_async(self._dns, "heard"))["heard"]
        except NetguardError:
            pass
        else:
            feeds["dns"] = {known[tablet]: age for tablet, age in asked.items() if tablet in known}
        await self._gather_use()
        now = self._intake.now()
        for feed, heard in feeds.items():
            self._answers(feed, heard.values())
            for mac, age in heard.items():
                if 0 <= age < within:
                    self.counts[feed] += 1
                    self._intake.offer(
                        Event(
                            now - age * self._speed, evidence.HEARD, mac, source=feed, received=now
                        )
                    )

    async def _gather_use(self) -> None:
        """Take what tablets asked for and sent, where the rules want it recorded."""
        book = self._intake.book
        if book is None or book.recording is None:
            return
        for socket in (self._guard, self._dns):
            try:
                told = await control.call_async(socket, "used")
            except NetguardError:
                continue  # an older daemon, or one that is away: nothing of it is recorded
            # Another thread writes the hour down: with the intake, one at a time.
            await asyncio.to_thread(self._intake.take_use, told["used"])

    def _answers(self, feed: str, ages: Iterable[float]) -> None:
        """Note that a feed can be read, and when it heard a tablet last."""
        self._answered[feed] = clock.monotonic()
        youngest = min((age for age in ages if age >= 0), default=None)
        if youngest is not None:
            at = clock.now().timestamp() - youngest
            self._heard_at[feed] = max(self._heard_at.get(feed, 0.0), at)

    async def _heard(self) -> Mapping[str, list[float]]:
        answer = await control.call_async(self._guard, "neighbours")
        found: Mapping[str, list[float]] = answer["neighbours"]
        self._answers(FEED, (age for failed, age in found.values() if not failed))
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
