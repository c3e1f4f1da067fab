"""Delivery: letters of the outbox to their receivers, at least once, in order for each tablet.

Each receiver and channel has a worker of its own, so that one that is slow keeps nobody else waiting. A
letter is marked as sent after the receiver has taken it: killed in between, it is sent again under the same
id. A channel that fails rests for longer each time, a minute at most; when it has failed for five, what waits
is copied to the receiver's next channel. What a receiver refuses for good becomes a dead letter, and is shown.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from netguard.adapters import clock, notify
from netguard.adapters.store import DEAD, HELD, SENT, WAITING, Entry, Letter, WatchStore
from netguard.core import alerting
from netguard.core.alerting import CLEARED, CODES, REPEATED, Message, Notice
from netguard.core.policy import Receiver
from netguard.daemon.process import pause, say, warn
from netguard.errors import StoreError, Undelivered
from netguard.settings import Settings

LOOK = 0.5
FIRST_REST, LONGEST_REST = 1.0, 60.0
# So long a channel fails before the receiver's next one is used as well.
FALLBACK_AFTER = 300.0
# After so many attempts a letter no longer holds back those about other tablets.
PATIENT = 5
# So many at once about one thing are one message.
FLOOD = 6
# How often firing alerts are sent to an Alertmanager again, and for how long resolved ones.
RESEND, RESOLVED_FOR = 60.0, 300.0

Pair = tuple[str, str]
Told = list[tuple[Notice, Message]]
Clock = Callable[[], float]


@dataclass(slots=True)
class _Way:
    """What is known of one receiver's channel: since when it fails, until when it rests."""

    failing: float | None = None
    rest: float = 0.0
    until: float = 0.0
    why: str = ""


@dataclass(slots=True)
class Counts:
    """For metrics: by channel, and by channel and reason."""

    sent: Counter[str] = field(default_factory=Counter)
    failed: Counter[tuple[str, str]] = field(default_factory=Counter)


class Delivery:
    """Brings letters to receivers; the outbox is the truth, this only knows who rests."""

    def __init__(
        self,
        settings: Settings,
        monotonic: Clock = clock.monotonic,
        outgoing: notify.Outgoing | None = None,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        folder = settings.paths.watch_secrets
        authorities = folder / "receivers.pem"
        self._outgoing = outgoing or notify.Outgoing(
            folder, authorities if authorities.exists() else None
        )
        self._ways: dict[Pair, _Way] = {}
        # By receiver and incident: what an Alertmanager holds, and when it was resolved.
        self._held: dict[str, dict[str, tuple[Notice, float | None]]] = {}
        self._resent: dict[str, float] = {}
        self._began = False
        # Taken by their receiver, and not yet stored as sent: a full disk must not send them again and again.
        self._taken: set[int] = set()
        self.counts = Counts()

    def failing(self) -> dict[str, str]:
        """Return the receivers whose channel fails now, and why."""
        return {
            f"{receiver}/{channel}": way.why
            for (receiver, channel), way in sorted(self._ways.items())
            if way.failing is not None
        }

    async def run(
        self,
        stop: asyncio.Event,
        store: Callable[[], WatchStore | None],
        receivers: Callable[[], dict[str, Receiver]],
    ) -> None:
        """Deliver until told to end; `store` and `receivers` are asked anew at each look."""
        busy: dict[Pair, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                held, known = store(), receivers()
                if held is not None:
                    try:
                        await self._begin(held, known)
                        pairs = {*(await asyncio.to_thread(held.waiting)), *self._resending(known)}
                    except StoreError as error:
                        warn("alerts wait, the outbox cannot be read", why=str(error))
                        pairs = set()
                    for pair in sorted(pairs):
                        task = busy.get(pair)
                        if task is None or task.done():
                            busy[pair] = tasks.create_task(self._safely(held, known, pair))
                await pause(stop, LOOK)

    async def _safely(self, store: WatchStore, receivers: dict[str, Receiver], pair: Pair) -> None:
        try:
            await self.turn(store, receivers, pair)
        except StoreError as error:
            # Sent and not marked: it comes again under the same id.
            warn("what became of an alert could not be stored", why=str(error))
            await asyncio.sleep(FIRST_REST)

    # one turn of one receiver's channel

    async def turn(self, store: WatchStore, receivers: dict[str, Receiver], pair: Pair) -> None:
        """Deliver what waits for one receiver's channel, unless it rests."""
        name, channel = pair
        way = self._ways.setdefault(pair, _Way())
        now = self._monotonic()
        if now < way.until:
            return
        letters = await asyncio.to_thread(store.due, name, channel)
        receiver = receivers.get(name)
        if receiver is None or channel not in receiver.channels:
            if letters:
                why = "the rules no longer name this receiver and channel"
                await asyncio.to_thread(store.settle, letters, DEAD, why)
            self._ways.pop(pair, None)
            return
        if way.failing is not None and now - way.failing >= FALLBACK_AFTER:
            await self._fall_back(store, receiver, channel, letters)
        letters = await asyncio.to_thread(_heard_of, store, letters, receiver)
        blocked: set[str] = set()
        for batch in _batches(letters):
            if blocked & {letter.key for letter in batch}:
                continue
            if not await self._batch(store, receiver, channel, batch, way):
                blocked |= {letter.key for letter in batch}
                if any(letter.attempts < PATIENT for letter in batch) or len(blocked) > 1:
                    return
        if channel == "alertmanager":
            await self._resend(receiver, way)

    async def _batch(
        self,
        store: WatchStore,
        receiver: Receiver,
        channel: str,
        batch: Sequence[Letter],
        way: _Way,
    ) -> bool:
        """Deliver one message; False where it has to be tried again."""
        told = self._told(batch, receiver)
        if len(told) < len(batch):
            broken = [each for each in batch if _notice(each) is None]
            await asyncio.to_thread(store.settle, broken, DEAD, "not a notice of this version")
            batch = [each for each in batch if _notice(each) is not None]
        if not told:
            return True
        numbers = {each.id for each in batch}
        try:
            if not numbers <= self._taken:
                await self._send(receiver, channel, told)
        except Undelivered as error:
            if error.final and len(batch) > 1:
                # One of them may be what is refused: the others must not go with it.
                done = [await self._batch(store, receiver, channel, [each], way) for each in batch]
                return all(done)
            self.counts.failed[channel, "refused" if error.final else "unreachable"] += 1
            state = DEAD if error.final else WAITING
            await asyncio.to_thread(store.settle, batch, state, str(error)[:500])
            if error.final:
                warn("an alert was refused for good", receiver=receiver.name, why=str(error))
                return True
            self._failed(receiver, channel, way, str(error))
            return False
        self._taken |= numbers
        lines = _asked_for(receiver, channel, told)
        await asyncio.to_thread(store.settle, batch, SENT, "", lines)
        self._taken -= numbers
        self.counts.sent[channel] += len(batch)
        if way.failing is not None:
            say("receiver is back", receiver=receiver.name, channel=channel)
        way.failing, way.rest, way.until = None, 0.0, 0.0
        return True

    def _failed(self, receiver: Receiver, channel: str, way: _Way, why: str) -> None:
        now = self._monotonic()
        if way.failing is None:
            way.failing = now
            warn("receiver does not take alerts", receiver=receiver.name, channel=channel, why=why)
        way.rest = min(LONGEST_REST, 2 * way.rest or FIRST_REST)
        way.until, way.why = now + way.rest, why

    async def _fall_back(
        self, store: WatchStore, receiver: Receiver, channel: str, letters: Sequence[Letter]
    ) -> None:
        """Copy what waits to the receiver's next channel; a letter that is there already stays as it is."""
        channels = receiver.channels
        after = channels.index(channel) + 1
        if after < len(channels):
            copies = [
                replace(each, channel=channels[after], attempts=0, why="") for each in letters
            ]
            await asyncio.to_thread(store.post, copies)

    def _told(self, batch: Iterable[Letter], receiver: Receiver) -> Told:
        translate = notify.catalogues.translator(receiver.language)
        notices = [notice for each in batch if (notice := _notice(each)) is not None]
        return [(n, self._composed(n, translate)) for n in notices]

    def _composed(self, notice: Notice, translate: Callable[[str], str]) -> Message:
        return alerting.compose(notice, translate, self._settings.node, self._settings.runbook)

    async def _send(self, receiver: Receiver, channel: str, told: Told) -> None:
        """Send by whatever way; raises Undelivered, also for what a library of that way did not foresee."""
        try:
            await self._send_by(receiver, channel, told)
        except Undelivered:
            raise
        except Exception as error:  # a receiver must never end watch
            raise Undelivered(f"{receiver.name}/{channel}: {error!r}") from error

    async def _send_by(self, receiver: Receiver, channel: str, told: Told) -> None:
        node, now = self._settings.node, clock.now().timestamp()
        outgoing = self._outgoing
        if channel == "alertmanager":
            everything = [*self._superseded(receiver, told), *told]
            await notify.alertmanager.send(
                replace(outgoing, anywhere=True), receiver, everything, now
            )
            self._hold(receiver.name, told)
            return
        if channel == "webhook":
            await notify.webhook.send(outgoing, receiver, told, now)
            return
        if channel == "syslog":
            await notify.siem.send(outgoing, receiver, told, node)
            return
        notice, message = told[0]
        if len(told) > 1:
            translate = notify.catalogues.translator(receiver.language)
            message = alerting.digest([n for n, _ in told], translate, node)
        if channel == "mail":
            server = self._settings.mail
            await notify.mail.send(outgoing, server, receiver, notice, message, node)
        else:
            await notify.chat.send(outgoing, receiver, notice, message)

    # what an Alertmanager forgets unless it is told again

    async def _begin(self, store: WatchStore, receivers: dict[str, Receiver]) -> None:
        """Once: hold again what Alertmanagers were told of before watch ended."""
        if self._began:
            return
        names = {name for name, each in receivers.items() if "alertmanager" in each.channels}
        if names:
            rows = await asyncio.to_thread(store.open_incidents)
            for letter in await asyncio.to_thread(store.latest, [row.id for row in rows]):
                notice = _notice(letter)
                if letter.receiver in names and letter.state == SENT and notice is not None:
                    self._hold(letter.receiver, [(notice, Message("", (), "", ""))])
        self._began = bool(receivers)

    def _superseded(self, receiver: Receiver, told: Told) -> Told:
        """Return the ends of alerts that an incident goes on under another name than.

        First an outage, then a theft: the Alertmanager takes these for two, and would keep both firing.
        """
        held = {
            key: each
            for key, (each, over) in self._held.get(receiver.name, {}).items()
            if over is None
        }
        translate = notify.catalogues.translator(receiver.language)
        ends: Told = []
        for notice, _ in told:
            before = held.get(notice.matter.incident)
            known = before is not None and notify.alertmanager.labels_of(before)
            if before is not None and known != notify.alertmanager.labels_of(notice):
                matter = replace(before.matter, kind=CLEARED, at=notice.matter.at)
                ended = replace(before, id=f"{before.id[:16]}-ended", matter=matter)
                ends.append((ended, self._composed(ended, translate)))
            held[notice.matter.incident] = notice
        return ends

    def _hold(self, receiver: str, told: Told) -> None:
        held = self._held.setdefault(receiver, {})
        now = self._monotonic()
        for notice, _ in told:
            over = now if notice.matter.kind == CLEARED else None
            held[notice.matter.incident] = notice, over
        self._resent.setdefault(receiver, now)

    def _resending(self, receivers: dict[str, Receiver]) -> set[Pair]:
        now = self._monotonic()
        return {
            (name, "alertmanager")
            for name, held in self._held.items()
            if held and name in receivers and now - self._resent[name] >= RESEND
        }

    async def _resend(self, receiver: Receiver, way: _Way) -> None:
        now = self._monotonic()
        held = self._held.get(receiver.name, {})
        for incident, (_, over) in list(held.items()):
            if over is not None and now - over > RESOLVED_FOR:
                del held[incident]
        if not held or now - self._resent[receiver.name] < RESEND:
            return
        self._resent[receiver.name] = now
        translate = notify.catalogues.translator(receiver.language)
        told = [(n, self._composed(n, translate)) for n, _ in held.values()]
        try:
            await notify.alertmanager.send(
                replace(self._outgoing, anywhere=True), receiver, told, clock.now().timestamp()
            )
        except Undelivered as error:
            self._failed(receiver, "alertmanager", way, str(error))

    # those that nobody has acknowledged

    def repeats(
        self, store: WatchStore, receivers: dict[str, Receiver], wall: float
    ) -> list[Letter]:
        """Return letters about what is still open, for receivers that want to hear it again."""
        again = {name: each for name, each in receivers.items() if each.repeat is not None}
        if not again:
            return []
        said = store.said()
        found = []
        for letter in store.latest(row.id for row in store.open_incidents()):
            receiver = again.get(letter.receiver)
            notice = _notice(letter)
            if receiver is None or receiver.repeat is None or notice is None:
                continue
            if CODES[notice.matter.code].once:
                continue
            known = said.get(letter.incident)
            if known is not None and (known.acknowledged or known.snoozed > wall):
                continue
            if letter.state == SENT and wall - letter.at >= receiver.repeat:
                matter = replace(notice.matter, kind=REPEATED, at=wall)
                number = wall // receiver.repeat
                fresh = replace(notice, id=f"{notice.id[:16]}-{number:.0f}", matter=matter)
                found.append(
                    replace(
                        letter, id=0, notice=fresh.id, state=WAITING, at=wall, attempts=0, why="",
                        channel=receiver.channels[0], body=alerting.write_notice(fresh),
                    )
                )  # fmt: skip
        return found


def _heard_of(store: WatchStore, letters: Sequence[Letter], receiver: Receiver) -> list[Letter]:
    """Return letters without the ends of what a silence has held back whole: nobody waits for them.

    Nor does a device management undo what it was never told to do.
    """
    kept = []
    for letter in letters:
        notice = _notice(letter)
        over = notice is not None and notice.matter.kind == CLEARED
        if over and store.states(letter.incident, letter.receiver, letter.id) == {HELD}:
            store.settle([letter], HELD, "its beginning was held back")
        elif (
            over
            and receiver.actions
            and not store.states(letter.incident, letter.receiver, letter.id)
        ):
            store.settle([letter], HELD, "nothing was begun there")
        else:
            kept.append(letter)
    return kept


def _asked_for(receiver: Receiver, channel: str, told: Told) -> list[Entry]:
    """Return the lines of the audit about what a device management was asked to do."""
    if not receiver.actions or channel != "webhook":
        return []
    at = clock.now().isoformat(timespec="seconds")
    found = []
    for notice, _ in told:
        matter = notice.matter
        if matter.tablet:
            body = {
                "actions": list(receiver.actions),
                "phase": "end" if matter.kind == CLEARED else "begin",
                "incident": matter.incident,
                "probability": matter.probability,
                "rule": notice.rule,
            }
            who = f"receiver {receiver.name}"[:64]
            found.append(Entry(at, who, "device", matter.tablet, "{}", json.dumps(body)))
    return found


def _batches(letters: Sequence[Letter]) -> list[list[Letter]]:
    """Return letters as messages: one each, but for a flood of one code, which is one.

    Only the first letter about a tablet joins a flood, so that each tablet's stay in order.
    """
    first: dict[str, Letter] = {}
    for letter in letters:
        first.setdefault(letter.key, letter)
    alike: dict[tuple[str, str], list[Letter]] = {}
    for letter in first.values():
        notice = _notice(letter)
        if notice is not None and letter.attempts < PATIENT:
            alike.setdefault((letter.code, notice.matter.kind), []).append(letter)
    floods = [same for same in alike.values() if len(same) >= FLOOD]
    taken = {letter.id for flood in floods for letter in flood}
    return [*floods, *([letter] for letter in letters if letter.id not in taken)]


def _notice(letter: Letter) -> Notice | None:
    try:
        notice = alerting.read_notice(letter.body)
    except (ValueError, KeyError, TypeError):
        return None
    return notice if notice.matter.code in CODES else None
