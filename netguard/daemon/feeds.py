"""Feeds beside RADIUS: syslog, SNMP traps and webhooks of controllers, as evidence.

Only who is a NAS of the rules, or lies in a network that they name, is read at all; each sender has a
rate, and what is above it is dropped and counted. What is not understood goes into a short list that
`netguard status` shows. The primary feed is the event log: here a lost message costs a hint.
"""

import hmac
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from netguard.adapters import clock
from netguard.adapters.listening import Address, Stream
from netguard.core import controllers, snmp, syslog, usm, webhooks
from netguard.core.controllers import Seen
from netguard.core.evidence import Event
from netguard.core.names import Network, shown
from netguard.core.policy import Webhook
from netguard.daemon.intake import Intake
from netguard.errors import BadValue
from netguard.render.watch import Book, Nas

UNPARSED_KEPT = 50
MOST_SENDERS = 1000
_LONGEST_SECRET = 4096
# Seconds of its rate that a sender may be ahead.
_BURST = 2.0


@dataclass(slots=True)
class Sender:
    """One feed of one sender: how much it may still say, when it last did, how wrong its clock is."""

    left: float
    filled: float
    heard: float = 0.0
    skew: float | None = None
    stale: bool = False


class Feeds:
    """Takes messages from the loop, gives events to the intake."""

    def __init__(self, intake: Intake, secrets: Path) -> None:
        self._intake = intake
        self._secrets = secrets
        self._senders: dict[str, Sender] = {}
        self._clocks = usm.Clocks()
        self.counts: Counter[str] = Counter()
        self.unparsed: deque[str] = deque(maxlen=UNPARSED_KEPT)

    # what arrives

    def syslog(self, data: bytes, address: Address) -> None:
        """Take one syslog message."""
        book = self._intake.book
        nas = book.sender(address) if book is not None else None
        if book is None or (nas is None and not _inside(address, book.feeds.syslog_sources)):
            self._drop("unknown-sender")
            return
        feed = f"syslog:{nas.name if nas is not None else address}"
        sender = self._admitted(feed, book.syslog_rate)
        if sender is None:
            return
        received = clock.now()
        try:
            message = syslog.read(data, received)
        except BadValue as error:
            self._unread(feed, error.text)
            return
        sender.skew = syslog.skew(message, received, self._zone(book, nas))
        seen = controllers.read(message, _parsers(book, nas))
        if seen is None:
            self._unread(feed, shown(message.text, 200))
            return
        self._offer(seen, nas, feed, "syslog")

    def stream(self, address: Address) -> Stream | None:
        """Begin one stream of syslog; None for who may not send."""
        book = self._intake.book
        if book is None or (
            book.sender(address) is None and not _inside(address, book.feeds.syslog_sources)
        ):
            self._drop("unknown-sender")
            return None
        frames = syslog.Frames()

        def take(data: bytes) -> bool:
            try:
                for each in frames.feed(data):
                    self.syslog(each, address)
            except BadValue as error:
                self._unread(f"syslog:{address}", error.text)
                return False
            return True

        return take

    def trap(self, data: bytes, address: Address) -> None:
        """Take one SNMP trap."""
        book = self._intake.book
        nas = book.sender(address) if book is not None else None
        if book is None or (nas is None and not _inside(address, book.feeds.trap_sources)):
            self._drop("unknown-sender")
            return
        feed = f"snmp:{nas.name if nas is not None else address}"
        if self._admitted(feed, book.trap_rate) is None:
            return
        try:
            trap = self._believed(data, book)
        except usm.Untrusted as error:
            self._drop(error.why)
            return
        except BadValue as error:
            self._unread(feed, error.text)
            return
        seen = snmp.seen(trap)
        if seen is None:
            self._unread(feed, f"trap {trap.oid}")
            return
        self._offer(seen, nas, feed, "snmp")

    def _believed(self, data: bytes, book: Book) -> snmp.Trap:
        """Read a trap; raises Untrusted for one that is not from whom the rules name, else BadValue."""
        if usm.is_v3(data):
            return usm.read(data, self._trap_users(book), self._clocks, clock.monotonic())
        trap = snmp.read(data)
        wanted = self.secret(book.feeds.community_file)
        if wanted is None or not hmac.compare_digest(trap.community, wanted):
            raise usm.Untrusted("wrong-community")
        return trap

    def _trap_users(self, book: Book) -> dict[str, usm.User]:
        """Return the users whose passwords can be read now."""
        found = {}
        for each in book.feeds.trap_users:
            auth, privacy = self.secret(each.auth_file), self.secret(each.privacy_file)
            if auth is not None and privacy is not None:
                found[each.name] = usm.User(each.name, each.auth, auth, each.privacy, privacy)
        return found

    def webhook(self, name: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Take one webhook; returns the HTTP status: 200, 401, 404, 422 or 429."""
        book = self._intake.book
        hook = book.feeds.webhooks.get(name) if book is not None else None
        if book is None or hook is None:
            return 404
        feed = f"webhook:{name}"
        if self._admitted(feed, book.syslog_rate) is None:
            return 429
        try:
            said = webhooks.read(hook.vendor, body, headers, self.secret(hook.secret_file) or b"")
        except webhooks.Unsigned:
            self._drop("unsigned")
            return 401
        except BadValue as error:
            self._unread(feed, error.text)
            return 422
        for each in said:
            if each.told is not None:
                self._senders[feed].skew = clock.now().timestamp() - each.told
            self._offer(each.seen, None, feed, "webhook", hook)
        return 200

    # what becomes of it

    def _offer(
        self, seen: Seen, nas: Nas | None, feed: str, source: str, hook: Webhook | None = None
    ) -> None:
        self.counts[source] += 1
        site = nas.site if nas is not None else hook.site if hook is not None else ""
        now = self._intake.now()
        self._intake.offer(
            Event(
                at=now,
                kind=seen.kind,
                mac=str(seen.mac or ""),
                ap=seen.ap,
                nas=nas.name if nas is not None else "",
                site=site,
                reason=seen.reason.lower(),
                source=feed,
                received=now,
            )
        )

    def _admitted(self, feed: str, rate: float) -> Sender | None:
        """Return the sender if it may say one more thing now."""
        now = clock.monotonic()
        sender = self._senders.get(feed)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS:
                self._drop("too-many-senders")
                return None
            sender = self._senders[feed] = Sender(rate * _BURST, now)
        sender.left = min(sender.left + (now - sender.filled) * rate, rate * _BURST)
        sender.filled = now
        if sender.left < 1:
            self._drop("rate")
            return None
        sender.left -= 1
        sender.heard, sender.stale = clock.now().timestamp(), False
        return sender

    def look(self) -> dict[str, tuple[float, bool, float | None]]:
        """Return each feed: when it last spoke, whether that is too long ago, and its clock's skew."""
        book = self._intake.book
        if book is not None:
            now = clock.monotonic()
            for sender in self._senders.values():
                sender.stale = now - sender.filled > book.stale_after
        return {name: (s.heard, s.stale, s.skew) for name, s in sorted(self._senders.items())}

    def _drop(self, reason: str) -> None:
        self._intake.dropped[reason] += 1

    def _unread(self, feed: str, words: str) -> None:
        self._drop("unparsed")
        self.unparsed.append(f"{feed}: {words}")

    def secret(self, name: str | None) -> bytes | None:
        """Read a secret of the rules from watch's own folder; None where it cannot be used."""
        if name is None:
            return None
        try:
            with (self._secrets / name).open("rb") as file:
                data = file.read(_LONGEST_SECRET + 1)
        except OSError:
            self._drop("no-secret")
            return None
        data = data.removesuffix(b"\n").removesuffix(b"\r")
        return data if 0 < len(data) <= _LONGEST_SECRET else None

    def _zone(self, book: Book, nas: Nas | None) -> timedelta:
        zone = book.model.site_of(nas.site if nas is not None else "").time_zone
        return clock.ahead_of_utc(zone)


def _inside(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _parsers(book: Book, nas: Nas | None) -> tuple[controllers.Parser, ...]:
    """Return the lines to look for: the vendor's own, or all of them for who is no NAS."""
    if nas is not None:
        return book.parsers.get(nas.vendor, ()) or book.parsers.get("hostapd", ())
    return tuple(each for parsers in book.parsers.values() for each in parsers)
