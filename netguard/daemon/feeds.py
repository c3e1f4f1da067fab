"""Feeds beside RADIUS: syslog, SNMP traps and webhooks of controllers, as evidence.

Only who is a NAS of the rules, or lies in a network that they name, is read at all; each sender has a
rate, and what is above it is dropped and counted. What is not signed takes nothing of that rate, and
does not keep its feed from being called silent: anybody can send it. What is not understood goes into a
short list that `netguard status` shows. The primary feed is the event log: here a lost message costs a hint.
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
# So many times its rate is looked at in vain before nothing of a feed is: looking costs time, too.
_IN_VAIN = 4.0


@dataclass(slots=True)
class Bucket:
    """How many messages may still come; it fills with time."""

    left: float
    filled: float

    def has(self, rate: float) -> bool:
        """Say whether there is one left now."""
        now = clock.monotonic()
        self.left = min(self.left + (now - self.filled) * rate, rate * _BURST)
        self.filled = now
        return self.left >= 1

    def take(self, rate: float) -> bool:
        """Take one out if there is one."""
        if not self.has(rate):
            return False
        self.left -= 1
        return True


@dataclass(slots=True)
class Sender:
    """One feed of one sender: what it may still say, and say in vain; when it was believed, how wrong its clock is.

    `address` is where it spoke from last, None for a webhook. `spoke` is of our steady clock, and when it
    was met as long as nothing was believed.
    """

    said: Bucket
    in_vain: Bucket
    spoke: float
    address: Address | None = None
    is_nas: bool = False
    heard: float = 0.0
    skew: float | None = None
    stale: bool = False


class Feeds:
    """Takes messages from the loop, gives events to the intake."""

    def __init__(self, intake: Intake, secrets: Path) -> None:
        self._intake = intake
        self._secrets = secrets
        self._senders: dict[str, Sender] = {}
        self._book: Book | None = None
        self._clocks = usm.Clocks()
        self.counts: Counter[str] = Counter()
        self.unparsed: deque[str] = deque(maxlen=UNPARSED_KEPT)

    # what arrives

    def syslog(self, data: bytes, address: Address) -> None:
        """Take one syslog message."""
        book = self._intake.book
        feed, nas = _feed(book, "syslog", address)
        if book is None or not feed:
            self._drop("unknown-sender")
            return
        sender = self._sender(feed, book.syslog_rate, address, is_nas=nas is not None)
        if sender is None or not self._within(sender.said, book.syslog_rate):
            return
        received = clock.now()
        try:
            message = syslog.read(data, received)
        except BadValue as error:
            self._unread(feed, error.text)
            return
        _believed(sender)
        sender.skew = syslog.skew(message, received, self._zone(book, nas))
        seen = controllers.read(message, _parsers(book, nas))
        if seen is None:
            self._unread(feed, shown(message.text, 200))
            return
        self._offer(seen, nas, feed, "syslog")

    def stream(self, address: Address) -> Stream | None:
        """Begin one stream of syslog; None for who may not send."""
        if not _feed(self._intake.book, "syslog", address)[0]:
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
        feed, nas = _feed(book, "snmp", address)
        if book is None or not feed:
            self._drop("unknown-sender")
            return
        sender = self._sender(feed, book.trap_rate, address, is_nas=nas is not None)
        if sender is None or not self._looked_at(sender, book.trap_rate):
            return
        try:
            trap = self._trusted(data, book)
        except BadValue as error:
            sender.in_vain.take(_IN_VAIN * book.trap_rate)
            if isinstance(error, usm.Untrusted):
                self._drop(error.why)
            else:
                self._unread(feed, error.text)
            return
        if not self._within(sender.said, book.trap_rate):
            return
        _believed(sender)
        seen = snmp.seen(trap)
        if seen is None:
            self._unread(feed, f"trap {trap.oid}")
            return
        self._offer(seen, nas, feed, "snmp")

    def _trusted(self, data: bytes, book: Book) -> snmp.Trap:
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
        rate = book.syslog_rate
        sender = self._sender(feed, rate)
        if sender is None or not self._looked_at(sender, rate):
            return 429
        try:
            said = webhooks.read(hook.vendor, body, headers, self.secret(hook.secret_file) or b"")
        except BadValue as error:
            sender.in_vain.take(_IN_VAIN * rate)
            if isinstance(error, webhooks.Unsigned):
                self._drop("unsigned")
                return 401
            self._unread(feed, error.text)
            return 422
        if not self._within(sender.said, rate):
            return 429
        _believed(sender)
        for each in said:
            if each.told is not None:
                sender.skew = clock.now().timestamp() - each.told
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
                reason=controllers.reason(seen.reason),
                source=feed,
                received=now,
            )
        )

    def _sender(
        self, feed: str, rate: float, address: Address | None = None, *, is_nas: bool = False
    ) -> Sender | None:
        """Return what is known of a sender, which is met now if it is new; None where there is no room."""
        sender = self._senders.get(feed)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS and not self._made_room():
                self._drop("too-many-senders")
                return None
            now = clock.monotonic()
            full = Bucket(rate * _BURST, now), Bucket(_IN_VAIN * rate * _BURST, now)
            sender = self._senders[feed] = Sender(*full, spoke=now, is_nas=is_nas)
        sender.address = address
        return sender

    def _made_room(self) -> bool:
        """Forget the address that has been silent for the longest time; those that the rules name stay."""
        others = [
            (each.heard > 0, each.spoke, feed)
            for feed, each in self._senders.items()
            if each.address is not None and not each.is_nas
        ]
        if not others:
            return False
        del self._senders[min(others)[2]]
        return True

    def _within(self, bucket: Bucket, rate: float) -> bool:
        """Count one message, and say whether it is within the rate."""
        if bucket.take(rate):
            return True
        self._drop("rate")
        return False

    def _looked_at(self, sender: Sender, rate: float) -> bool:
        """Say whether what a sender says is looked at: not while too much of it was in vain."""
        if sender.in_vain.has(_IN_VAIN * rate):
            return True
        self._drop("rate")
        return False

    def look(self) -> dict[str, tuple[float, bool, float | None]]:
        """Return each feed that was believed once: when last, whether that is too long ago, and its clock's skew."""
        book = self._intake.book
        if book is not None:
            if book is not self._book:
                self._book = book
                self._keep(book)
            now = clock.monotonic()
            for sender in self._senders.values():
                sender.stale = now - sender.spoke > book.stale_after
        heard = ((name, s) for name, s in sorted(self._senders.items()) if s.heard)
        return {name: (s.heard, s.stale, s.skew) for name, s in heard}

    def _keep(self, book: Book) -> None:
        """Forget who may not send by the rules that are in force now: its silence is no fault."""
        for feed, sender in list(self._senders.items()):
            kind, _, name = feed.partition(":")
            if sender.address is None:
                known = name in book.feeds.webhooks
            else:
                known = _feed(book, kind, sender.address)[0] == feed
            if not known:
                del self._senders[feed]

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


def _feed(book: Book | None, kind: str, address: Address) -> tuple[str, Nas | None]:
    """Return the name of the feed that an address is, empty for who may not send; and its NAS if it is one."""
    if book is None:
        return "", None
    nas = book.sender(address)
    if nas is not None:
        return f"{kind}:{nas.name}", nas
    sources = book.feeds.syslog_sources if kind == "syslog" else book.feeds.trap_sources
    return f"{kind}:{address}" if _inside(address, sources) else "", None


def _believed(sender: Sender) -> None:
    """Note that a sender has said something that it alone can have said, as far as its feed shows that."""
    sender.spoke = clock.monotonic()
    sender.heard, sender.stale = clock.now().timestamp(), False


def _inside(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)


def _parsers(book: Book, nas: Nas | None) -> tuple[controllers.Parser, ...]:
    """Return the lines to look for: the vendor's own, or all of them for who is no NAS."""
    if nas is not None:
        return book.parsers.get(nas.vendor, ()) or book.parsers.get("hostapd", ())
    return tuple(each for parsers in book.parsers.values() for each in parsers)
