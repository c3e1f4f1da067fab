"""The name proxy's decisions: who asks, which name, which answer may leave, what is learned.

Pure: bytes, addresses and the clock come in, answers and changes of the kernel's sets come out.
The order that counts is the caller's duty and cannot be got wrong: an answer with addresses exists
only after `confirm`, and the caller confirms what the kernel has taken.
"""

from collections import Counter, deque
from typing import NamedTuple

from netguard.core import dnswire
from netguard.core.dnswire import AAAA, A, Answer, Malformed, Question
from netguard.core.held import Change, Memory
from netguard.core.learning import Book, Client
from netguard.core.routes import Asked, Index, Match, Route, Seat
from netguard.core.toplist import TopList
from netguard.core.usage import ALLOWED, ASKED_WITHIN, MOST_AT_ONCE, NAME, REFUSED, Seen, Tally

MAX_CACHED = 10_000
MAX_ROUTES = 10_000
MAX_MATCHES = 20_000
MAX_VERDICTS = 50_000
# RFC 2308 5: a "no" is kept briefly, so that a name that comes to life is seen soon.
NEGATIVE_TTL = 15.0
# RFC 8767 4: the lifetime that a tablet is told when nobody upstream answers.
STALE_TTL = 30
RECENT = 500
TOP = 256
NAME_SHOWN = 255
_CACHED = ("cached", "")


class Note(NamedTuple):
    """One refusal or failure: at which monotonic second, whose, which name, why."""

    number: int
    at: float
    tablet: str
    name: str
    why: str


class Cached(NamedTuple):
    """An answer until it ends; kept a little longer for times when nobody upstream answers."""

    rcode: int
    packed: tuple[bytes, ...]
    chain: tuple[str, ...]
    ttl: int
    expires: float


class Desk:
    """All that is decided about names."""

    def __init__(self) -> None:
        self.book: Book | None = None
        self.memory = Memory()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.denied: TopList[Note] = TopList(TOP)
        self.notes: deque[Note] = deque(maxlen=RECENT)
        self.seen: dict[tuple[str, str], float] = {}
        self.limited: Counter[str] = Counter()
        # By tablet: questions for names that are not its group's.
        self.asked_in_vain: Counter[str] = Counter()
        # What was refused since somebody last took it, by group and name; see `used`.
        self._refused: Tally[tuple[str, str, str]] = Tally(MOST_AT_ONCE)
        self._looked = float("-inf")
        self._numbers = 0
        self._cache: dict[tuple[str, int], Cached] = {}
        self._epoch = 0
        self._seats: dict[str, Seat] = {}
        self._routes: dict[str, dict[bytes, Route]] = {}
        self._routed = 0
        self._matches: dict[tuple[str, str], Match] = {}
        self._verdicts: dict[tuple[tuple[str, ...], bytes], str] = {}

    # rules

    def load(self, book: Book) -> tuple[tuple[str, bytes], ...]:
        """Go by another book; returns the (service, address) that its rules do not allow any more."""
        self.book = book
        self.memory.per_name = book.learned.addresses_per_name
        self.memory.per_service = book.learned.addresses_per_service
        self._index = Index(book)
        self._times(book)
        self._verdicts.clear()
        self._matches.clear()
        self._cache = {k: v for k, v in self._cache.items() if book.cache and self._index.of(k[0])}
        known = {str(d) for domains in book.rules.domains.values() for d in domains}
        self.seen = {k: at for k, at in self.seen.items() if k[1] in known}
        self._bump()
        gone = [
            (row.service, row.packed)
            for row in self.memory.rows(float("-inf"))
            if not self._still_allowed(book, row.service, row.packed, row.names)
        ]
        for service, packed in gone:
            self.memory.drop(service, packed)
        return tuple((s, p) for s, p in gone if s in book.rules.domains)

    def _times(self, book: Book) -> None:
        """Take the book's times as seconds, and give each tablet its seat; its budget goes on."""
        learned = book.learned
        self._floor, self._ceiling = (
            span.total_seconds() for span in (learned.ttl_floor, learned.ttl_ceiling)
        )
        self._grace = max(1.0, learned.grace.total_seconds())
        self._told = int(min(self._ceiling, learned.reply_ttl_ceiling.total_seconds()))
        # Ten seconds' worth of questions may be asked at once.
        self._rate, self._burst = book.query_rate, book.query_rate * 10
        self._forget_routes()
        before, self._seats = self._seats, {}
        for peer, client in book.clients.items():
            routes = self._routes.setdefault(client.group, {})
            seat = self._seats[peer] = Seat(client, routes, self._burst)
            if (old := before.get(peer)) is not None and old.client.tablet == client.tablet:
                seat.tokens, seat.at, seat.open = old.tokens, old.at, old.open

    def _forget_routes(self) -> None:
        for routes in self._routes.values():
            routes.clear()
        self._routed = 0

    def _still_allowed(
        self, book: Book, service: str, packed: bytes, names: tuple[str, ...]
    ) -> bool:
        return any(book.rules.may_open(service, name) for name in names) and not self._refusal(
            book, (service,), packed
        )

    def _bump(self) -> None:
        """Make every prepared answer prove itself again."""
        self._epoch += 1

    def purged(self) -> None:
        """Note that somebody else has emptied sets: nothing remembered counts as being there."""
        self.memory.purge += 1
        self._bump()

    # questions

    def quick(self, data: bytes, peer: str, now: float) -> bytes | Asked | None:
        """Answer what needs nobody; return what does; None is silence."""
        seat = self._seats.get(peer)
        if seat is None:
            return self._stranger(data)
        tokens = seat.tokens + (now - seat.at) * self._rate
        tokens = min(tokens, self._burst)
        seat.at = now
        if tokens < 1:
            seat.tokens = tokens
            self.counts["limited", ""] += 1
            self.limited[seat.client.tablet] += 1
            return None
        seat.tokens = tokens - 1
        route = seat.routes.get(data[2:])
        if route is None:
            return self._first(seat, data, now)
        if route.expires > now and route.epoch == self._epoch:
            ttl = int(route.expires - now)
            if ttl > 0 and now + ttl + 1 <= route.held:
                self.counts[route.tally] += 1
                self.counts[_CACHED] += 1
                return data[:2] + min(ttl, self._told).to_bytes(4, "big").join(route.pieces)
        return Asked(data[:2], seat, route)

    def _first(self, seat: Seat, data: bytes, now: float) -> bytes | Asked | None:
        """Read and judge a question that was not asked in these bytes before."""
        try:
            question = dnswire.parse_question(data)
        except Malformed as error:
            self.counts["malformed", error.reason] += 1
            # What is broken inside its name is no question of anybody; the rest is told so.
            silent = error.reason in {"ignore", "name"}
            return None if silent else dnswire.format_error(data)
        book = self.book
        if book is None:
            return dnswire.reply(question, dnswire.SERVFAIL)
        judged = self._judge(book, seat.client, question, now)
        if isinstance(judged, bytes):
            return judged
        if self._routed >= MAX_ROUTES:
            self._forget_routes()
        self._routed += 1
        group = seat.client.group
        route = Route(question, group, judged.services, judged.domains, book)
        seat.routes[data[2:]] = route
        return Asked(data[:2], seat, route)

    def own(self, question: Question, services: tuple[str, ...]) -> Asked:
        """Return a question of ours for these services; its answer teaches and goes to nobody."""
        return Asked(b"\0\0", None, Route(question, "", services, (), self.book))

    def _stranger(self, data: bytes) -> bytes | None:
        self.counts["refused", "unknown-client"] += 1
        try:
            question = dnswire.parse_question(data)
        except Malformed:
            return None
        return dnswire.reply(question, dnswire.REFUSED)

    def heard(self, now: float) -> dict[str, float]:
        """Return how many seconds ago each tablet last asked, whatever it was told."""
        found: dict[str, float] = {}
        for seat in self._seats.values():
            if seat.at > float("-inf"):
                tablet = seat.client.tablet
                found[tablet] = min(now - seat.at, found.get(tablet, float("inf")))
        return found

    def used(self, now: float) -> tuple[list[tuple[Seen, int]], int]:
        """Return what was asked for since the last time, by group and name, and how much was left out.

        A name that is answered counts once a look, however often it was asked. Asked for the first
        time in a while, it only begins to count.
        """
        since, self._looked = self._looked, now
        if now - since > ASKED_WITHIN:
            self._refused.take()
            return [], 0
        found: Counter[Seen] = Counter()
        for (group, name, rule), times in self._refused.take():
            found[Seen(NAME, "", group, REFUSED, rule, name=name)] += times
        left = self._refused.dropped
        for group, routes in self._routes.items():
            for route in routes.values():
                if route.used <= since or not route.services:
                    continue
                if len(found) < MOST_AT_ONCE:
                    rule = f"{group}/{route.services[0]}"
                    found[Seen(NAME, "", group, ALLOWED, rule, name=route.question.name)] = 1
                else:
                    left += 1
        return list(found.items()), left

    def _judge(self, book: Book, client: Client, question: Question, now: float) -> bytes | Match:
        if question.flags & 0x7800:
            self.counts["refused", "opcode"] += 1
            return dnswire.reply(question, dnswire.NOTIMP)
        if question.klass != dnswire.IN or question.type in {dnswire.ANY, 251, 252}:
            self.counts["refused", "type"] += 1
            return dnswire.reply(question, dnswire.REFUSED)
        name = question.name
        match = self.match(book, client.group, name)
        if match.kind == "canary":
            self.counts["canary", ""] += 1
            return dnswire.reply(question, dnswire.NXDOMAIN)
        if match.kind == "time":
            return self._time(client, question)
        if match.kind:
            return self._denied(book, client, question, now)
        if question.type not in {A, AAAA}:
            # HTTPS and SVCB carry address hints and ECH keys; no other type opens anything.
            self.counts["no-data", ""] += 1
            return dnswire.reply(question, dnswire.NOERROR)
        return match

    def _time(self, client: Client, question: Question) -> bytes:
        self.counts["time", ""] += 1
        version = {A: 4, AAAA: 6}.get(question.type)
        here = tuple(g for g in client.gateways if g.version == version)
        return dnswire.reply(question, dnswire.NOERROR, here, STALE_TTL * 10)

    def match(self, book: Book, group: str, name: str) -> Match:
        """Return what a name is to a group."""
        found = self._matches.get((group, name))
        if found is None:
            if len(self._matches) >= MAX_MATCHES:
                self._matches.clear()
            found = self._matches[group, name] = self._judged(book, group, name)
        return found

    def _judged(self, book: Book, group: str, name: str) -> Match:
        if book.rules.is_canary(name):
            return Match("canary", (), ())
        if group in book.timed and any(d.covers(name) for d in book.time_names):
            return Match("time", (), ())
        granted = book.rules.group_services.get(group, ())
        hits = tuple(hit for hit in self._index.of(name) if hit[0] in granted)
        if not hits or book.rules.banned(name) is not None:
            return Match("denied", (), ())
        services = tuple(dict.fromkeys(service for service, _ in sorted(hits)))
        return Match("", services, hits)

    def _denied(self, book: Book, client: Client, question: Question, now: float) -> bytes:
        self.counts["denied", client.group] += 1
        self.asked_in_vain[client.tablet] += 1
        why = "never resolved" if book.rules.banned(question.name) else "not a name of its services"
        note = self.note(client.tablet, question.name, why, now)
        self.denied.add(question.name[:NAME_SHOWN], note)
        rule = "never" if why == "never resolved" else f"{client.group}/deny"
        self._refused.add((client.group, question.name, rule))
        return dnswire.reply(question, self._no(book))

    def _no(self, book: Book) -> int:
        return dnswire.NXDOMAIN if book.refuse_with_nxdomain else dnswire.REFUSED

    def note(self, tablet: str, name: str, why: str, now: float) -> Note:
        """Remember a refusal or failure for a while."""
        self._numbers += 1
        note = Note(self._numbers, now, tablet, name[:NAME_SHOWN], why)
        self.notes.append(note)
        return note

    # answers

    def cached(self, asked: Asked, now: float) -> Answer | None:
        """Return an answer that still lives."""
        entry = self._cache.get((asked.question.name, asked.question.type))
        if entry is None or entry.expires <= now:
            return None
        self.counts[_CACHED] += 1
        left = int(entry.expires - now)
        return Answer(0, entry.rcode, False, entry.chain, entry.packed, min(left, entry.ttl))

    def stale(self, asked: Asked, now: float) -> bytes | None:
        """Answer from what has ended but is still in the sets, while nobody upstream answers."""
        question, services = asked.question, self._services(asked.route)
        entry = self._cache.get((question.name, question.type))
        if self.book is None or entry is None or not entry.packed or not services:
            return None
        if any(self._refusal(self.book, services, p) for p in entry.packed):
            return None
        left = int(self.memory.held_until(services, entry.packed) - now) - 1
        if left < 1:
            return None
        self.counts["stale", ""] += 1
        pieces = dnswire.reply_pieces(question, dnswire.NOERROR, entry.packed)
        return asked.id + min(left, STALE_TTL).to_bytes(4, "big").join(pieces)

    def _services(self, route: Route) -> tuple[str, ...]:
        """Return whose a question is; other rules may have come while its answer was on the way."""
        book = self.book
        if book is None or route.book is book:
            return route.services
        granted = book.rules.group_services.get(route.group, ()) if route.group else None
        return tuple(
            s
            for s in route.services
            if (granted is None or s in granted) and book.rules.may_open(s, route.question.name)
        )

    @property
    def caching(self) -> bool:
        """Say whether answers are kept."""
        return self.book is not None and self.book.cache

    def keep(self, question: Question, answer: Answer, now: float) -> None:
        """Put a fresh answer from upstream into the cache; nothing denied ever comes here."""
        if self.book is None or not self.book.cache:
            return
        ceiling = self.book.learned.ttl_ceiling.total_seconds()
        ttl = min(float(answer.ttl), ceiling) if answer.packed else NEGATIVE_TTL
        key = question.name, question.type
        self._cache.pop(key, None)
        self._cache[key] = Cached(answer.rcode, answer.packed, answer.chain, int(ttl), now + ttl)
        if len(self._cache) > MAX_CACHED:
            del self._cache[next(iter(self._cache))]

    def again(self, asked: Asked, answer: Answer, now: float) -> bytes | None:
        """Write the reply when the same addresses were judged before and the kernel has them."""
        route, (_, _, _, _, packed, ttl) = asked.route, answer
        if route.packed != packed or route.epoch != self._epoch or asked.seat is None:
            return None
        ttl = min(ttl, self._told)
        if now + ttl + 1 > route.held:
            return None
        if self._cache:
            route.expires = self._expires(route)
        self.counts[route.tally] += 1
        if now > route.used + 1:
            route.used = now
            for domain in route.domains:
                self.seen[domain] = now
        return asked.id + ttl.to_bytes(4, "big").join(route.pieces)

    def settle(self, asked: Asked, answer: Answer, now: float) -> Change | bytes:
        """Judge an answer: the change that the kernel must take first, or the refusal to send."""
        book, name = self.book, asked.route.question.name
        if book is None:
            return self._says(asked, dnswire.SERVFAIL)
        services = self._services(asked.route)
        if not services:
            return self._says(asked, self._no(book))
        for packed in answer.packed:
            why = self._refusal(book, services, packed)
            if why:
                # One bad record refuses the whole answer: a mixed one is an attack, too.
                self.counts["refused-address", why] += 1
                text = f"answer {dnswire.unpacked(packed)}: {why}"
                self.note(asked.tablet, name, text, now)
                self._cache.pop((name, asked.route.question.type), None)
                return self._says(asked, self._no(book))
        # Longer than the answer's own TTL, as learning.lifetime and learning.reply_ttl have it.
        span = min(max(answer.ttl, self._floor), self._ceiling) + self._grace
        # What outlives the answer that is about to leave by more than a second needs no kernel.
        enough = now + min(answer.ttl, self._told) + 1
        return self.memory.plan(name, services, answer.packed, now, span, enough)

    def _says(self, asked: Asked, rcode: int) -> bytes:
        return asked.id + dnswire.reply(asked.question, rcode)[2:]

    def _refusal(self, book: Book, services: tuple[str, ...], packed: bytes) -> str:
        key = services, packed
        known = self._verdicts.get(key)
        if known is None:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            known = book.rules.refusal(services, dnswire.unpacked(packed))
            self._verdicts[key] = known
        return known

    def confirm(self, asked: Asked, answer: Answer, change: Change, now: float) -> bytes:
        """Remember what the kernel has taken, and write the answer."""
        if change.evicted:
            self.counts["evicted", ""] += len(change.evicted)
            self._bump()
        self.memory.confirm(change)
        route = asked.route
        if self.book is None or asked.seat is None:
            return b""
        self.counts[route.tally] += 1
        for domain in route.domains:
            self.seen[domain] = now
        pieces = dnswire.reply_pieces(route.question, answer.rcode, change.packed)
        route.used = now
        if route.book is self.book:
            self._prepare(route, pieces, answer, change)
        return asked.id + min(answer.ttl, self._told).to_bytes(4, "big").join(pieces)

    def _prepare(self, route: Route, pieces: list[bytes], answer: Answer, change: Change) -> None:
        """Keep the answer as bytes for the next one who asks the same, while it lives."""
        size = sum(map(len, pieces)) + 4 * len(pieces)
        if not change.packed or answer.packed != change.packed or size > route.limit:
            route.packed = ()
            route.epoch = -1
            return
        route.pieces, route.packed, route.epoch = pieces, change.packed, self._epoch
        route.held = self.memory.held_until(change.services, change.packed)
        route.expires = self._expires(route)

    def _expires(self, route: Route) -> float:
        """Return until when a route may answer from the cache."""
        entry = self._cache.get((route.question.name, route.question.type))
        return entry.expires if entry is not None and entry.packed == route.packed else 0.0

    def failed(self, asked: Asked, kind: str, now: float) -> bytes:
        """Answer SERVFAIL: upstream failed, or the kernel did not take an address."""
        self.counts["failed", kind] += 1
        self.note(asked.tablet, asked.question.name, f"failed: {kind}", now)
        return self._says(asked, dnswire.SERVFAIL)

    # what an engineer asks; more in core/guide.py

    def entry(self, name: str, type_: int) -> Cached | None:
        """Return what the cache holds of a name, ended or not."""
        return self._cache.get((name, type_))

    def flush(self, name: str) -> int:
        """Forget the cached answers of a name, so that the next question goes upstream."""
        gone = [self._cache.pop((name, type_), None) for type_ in (A, AAAA)]
        self._bump()
        return sum(entry is not None for entry in gone)

    def sweep(self, now: float) -> None:
        """Forget what has ended."""
        self.memory.sweep(now)
        grace = self.book.learned.grace.total_seconds() if self.book else 0.0
        gone = [k for k, entry in self._cache.items() if entry.expires + grace <= now]
        for key in gone:
            del self._cache[key]
