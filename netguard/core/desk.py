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
from netguard.core.learning import Book, Client, lifetime, reply_ttl
from netguard.core.names import Domain
from netguard.core.toplist import TopList

MAX_CACHED = 10_000
MAX_READY = 10_000
MAX_MATCHES = 20_000
MAX_VERDICTS = 50_000
MAX_CLIENTS = 20_000
# RFC 2308 5: a "no" is kept briefly, so that a name that comes to life is seen soon.
NEGATIVE_TTL = 15.0
# RFC 8767 4: the lifetime that a tablet is told when nobody upstream answers.
STALE_TTL = 30
RECENT = 500
TOP = 256
NAME_SHOWN = 255


class Asked(NamedTuple):
    """A question that may be asked upstream, and for whom; `client` is None for our own."""

    question: Question
    client: Client | None
    services: tuple[str, ...]
    key: tuple[str, bytes] | None = None


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


class _Ready:
    """An answer as bytes but for id and TTL, for as long as nothing it stands on changes."""

    __slots__ = ("epoch", "expires", "held", "pieces")

    def __init__(self, pieces: list[bytes], expires: float, held: float, epoch: int) -> None:
        self.pieces, self.expires, self.held, self.epoch = pieces, expires, held, epoch


class _Match(NamedTuple):
    """What a name is to a group: `kind` is canary, time, denied, or empty for its services'."""

    kind: str
    services: tuple[str, ...]
    domains: tuple[tuple[str, str], ...]


class _Index:
    """Domains of all services by name, so that a question costs its labels and not the catalogue."""

    def __init__(self, book: Book) -> None:
        self.exact: dict[str, list[tuple[str, str]]] = {}
        self.wild: dict[str, list[tuple[str, str]]] = {}
        for service, domains in sorted(book.rules.domains.items()):
            for domain in domains:
                kind = self.wild if domain.wildcard else self.exact
                kind.setdefault(domain.name, []).append((service, str(domain)))

    def of(self, name: str) -> list[tuple[str, str]]:
        """Return (service, domain) of all that cover a name."""
        found = list(self.exact.get(name, ()))
        rest = name.partition(".")[2]
        while rest:
            found += self.wild.get(rest, ())
            rest = rest.partition(".")[2]
        return found


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
        self._numbers = 0
        self._cache: dict[tuple[str, int], Cached] = {}
        self._ready: dict[tuple[str, bytes], _Ready] = {}
        self._epoch = 0
        self._matches: dict[tuple[str, str], _Match] = {}
        self._verdicts: dict[tuple[tuple[str, ...], bytes], str] = {}
        self._budgets: dict[str, list[float]] = {}

    # rules

    def load(self, book: Book) -> tuple[tuple[str, bytes], ...]:
        """Go by another book; returns the (service, address) that its rules do not allow any more."""
        self.book = book
        self.memory.per_name = book.learned.addresses_per_name
        self.memory.per_service = book.learned.addresses_per_service
        self._index = _Index(book)
        self._verdicts.clear()
        self._matches.clear()
        self._cache = {k: v for k, v in self._cache.items() if self._index.of(k[0])}
        self._known = {str(d) for domains in book.rules.domains.values() for d in domains}
        self.seen = {k: at for k, at in self.seen.items() if k[1] in self._known}
        self._bump()
        gone = [
            (row.service, row.packed)
            for row in self.memory.rows(float("-inf"))
            if not self._still_allowed(book, row.service, row.packed, row.names)
        ]
        for service, packed in gone:
            self.memory.drop(service, packed)
        return tuple((s, p) for s, p in gone if s in book.rules.domains)

    def _still_allowed(
        self, book: Book, service: str, packed: bytes, names: tuple[str, ...]
    ) -> bool:
        return any(book.rules.may_open(service, name) for name in names) and not self._refusal(
            book, (service,), packed
        )

    def _bump(self) -> None:
        """Make every prepared answer prove itself again."""
        self._epoch += 1
        self._ready.clear()

    def purged(self) -> None:
        """Note that somebody else has emptied sets: nothing remembered counts as being there."""
        self.memory.purge += 1
        self._bump()

    # questions

    def quick(self, data: bytes, peer: str, now: float) -> bytes | Asked | None:
        """Answer what needs nobody; return what does; None is silence."""
        book = self.book
        client = book.clients.get(peer) if book is not None else None
        if book is None or client is None:
            return self._stranger(data)
        if not self._within_rate(peer, book.query_rate, now):
            self.counts["limited", ""] += 1
            self.limited[client.tablet] += 1
            return None
        key = client.group, data[2:]
        ready = self._ready.get(key)
        if ready is not None:
            ttl = int(ready.expires - now)
            if ttl > 0 and now + ttl + 1 <= ready.held:
                self.counts["allowed", client.group] += 1
                self.counts["cached", ""] += 1
                ceiling = int(book.learned.reply_ttl_ceiling.total_seconds())
                return data[:2] + min(ttl, ceiling).to_bytes(4, "big").join(ready.pieces)
            del self._ready[key]
        try:
            question = dnswire.parse_question(data)
        except Malformed as error:
            self.counts["malformed", error.reason] += 1
            # What is broken inside its name is no question of anybody; the rest is told so.
            silent = error.reason in {"ignore", "name"}
            return None if silent else dnswire.format_error(data)
        return self._judge(book, client, question, key, now)

    def _stranger(self, data: bytes) -> bytes | None:
        self.counts["refused", "unknown-client"] += 1
        try:
            question = dnswire.parse_question(data)
        except Malformed:
            return None
        return dnswire.reply(question, dnswire.REFUSED)

    def heard(self, now: float) -> dict[str, float]:
        """Return how many seconds ago each tablet last asked, whatever it was told."""
        clients = self.book.clients if self.book is not None else {}
        return {
            clients[peer].tablet: now - budget[1]
            for peer, budget in self._budgets.items()
            if peer in clients
        }

    def _within_rate(self, peer: str, rate: float, now: float) -> bool:
        """Take one of a tablet's tokens; ten seconds' worth may be used at once."""
        budget = self._budgets.get(peer)
        if budget is None:
            if len(self._budgets) >= MAX_CLIENTS:
                self._budgets.clear()
            self._budgets[peer] = [rate * 10 - 1, now]
            return True
        left = min(rate * 10, budget[0] + (now - budget[1]) * rate)
        budget[1] = now
        if left < 1:
            budget[0] = left
            return False
        budget[0] = left - 1
        return True

    def _judge(
        self, book: Book, client: Client, question: Question, key: tuple[str, bytes], now: float
    ) -> bytes | Asked:
        if question.flags & 0x7800:
            self.counts["refused", "opcode"] += 1
            return dnswire.reply(question, dnswire.NOTIMP)
        if question.klass != dnswire.IN or question.type in {dnswire.ANY, 251, 252}:
            self.counts["refused", "type"] += 1
            return dnswire.reply(question, dnswire.REFUSED)
        name = question.name
        match = self._match(book, client.group, name)
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
        return Asked(question, client, match.services, key)

    def _time(self, client: Client, question: Question) -> bytes:
        self.counts["time", ""] += 1
        version = {A: 4, AAAA: 6}.get(question.type)
        here = tuple(g for g in client.gateways if g.version == version)
        return dnswire.reply(question, dnswire.NOERROR, here, STALE_TTL * 10)

    def _match(self, book: Book, group: str, name: str) -> _Match:
        found = self._matches.get((group, name))
        if found is None:
            if len(self._matches) >= MAX_MATCHES:
                self._matches.clear()
            found = self._matches[group, name] = self._judged(book, group, name)
        return found

    def _judged(self, book: Book, group: str, name: str) -> _Match:
        if book.rules.is_canary(name):
            return _Match("canary", (), ())
        if group in book.timed and any(d.covers(name) for d in book.time_names):
            return _Match("time", (), ())
        granted = book.rules.group_services.get(group, ())
        hits = tuple(hit for hit in self._index.of(name) if hit[0] in granted)
        if not hits or book.rules.banned(name) is not None:
            return _Match("denied", (), ())
        services = tuple(dict.fromkeys(service for service, _ in sorted(hits)))
        return _Match("", services, hits)

    def _denied(self, book: Book, client: Client, question: Question, now: float) -> bytes:
        self.counts["denied", client.group] += 1
        why = "never resolved" if book.rules.banned(question.name) else "not a name of its services"
        note = self.note(client.tablet, question.name, why, now)
        self.denied.add(question.name[:NAME_SHOWN], note)
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
        self.counts["cached", ""] += 1
        left = int(entry.expires - now)
        return Answer(0, entry.rcode, False, entry.chain, entry.packed, min(left, entry.ttl))

    def stale(self, asked: Asked, now: float) -> bytes | None:
        """Answer from what has ended but is still in the sets, while nobody upstream answers."""
        question = asked.question
        entry = self._cache.get((question.name, question.type))
        if self.book is None or entry is None or not entry.packed:
            return None
        if any(self._refusal(self.book, asked.services, p) for p in entry.packed):
            return None
        left = int(self.memory.held_until(asked.services, entry.packed) - now) - 1
        if left < 1:
            return None
        self.counts["stale", ""] += 1
        pieces = dnswire.reply_pieces(question, dnswire.NOERROR, entry.packed)
        return question.id.to_bytes(2, "big") + min(left, STALE_TTL).to_bytes(4, "big").join(pieces)

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

    def settle(self, asked: Asked, answer: Answer, now: float) -> Change | bytes:
        """Judge an answer: the change that the kernel must take first, or the refusal to send."""
        book, question = self.book, asked.question
        if book is None:
            return dnswire.reply(question, dnswire.SERVFAIL)
        for packed in answer.packed:
            why = self._refusal(book, asked.services, packed)
            if why:
                # One bad record refuses the whole answer: a mixed one is an attack, too.
                self.counts["refused-address", why] += 1
                text = f"answer {dnswire.unpacked(packed)}: {why}"
                tablet = asked.client.tablet if asked.client else ""
                self.note(tablet, question.name, text, now)
                self._cache.pop((question.name, question.type), None)
                return dnswire.reply(question, self._no(book))
        told = reply_ttl(book.learned, answer.ttl)
        span = lifetime(book.learned, answer.ttl).total_seconds()
        # What outlives the answer that is about to leave by more than a second needs no kernel.
        return self.memory.plan(
            question.name, asked.services, answer.packed, now, span, now + told + 1
        )

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
        question, client, book = asked.question, asked.client, self.book
        if book is None or client is None:
            return b""
        self.counts["allowed", client.group] += 1
        for domain in self._match(book, client.group, question.name).domains:
            self.seen[domain] = now
        ttl = reply_ttl(book.learned, answer.ttl)
        pieces = dnswire.reply_pieces(question, answer.rcode, change.packed)
        self._prepare(asked, pieces, change)
        return question.id.to_bytes(2, "big") + ttl.to_bytes(4, "big").join(pieces)

    def _prepare(self, asked: Asked, pieces: list[bytes], change: Change) -> None:
        """Keep the answer as bytes for the next one who asks the same, while it lives."""
        entry = self._cache.get((asked.question.name, asked.question.type))
        if entry is None or asked.key is None or not change.packed:
            return
        size = sum(map(len, pieces)) + 4 * len(pieces)
        if entry.packed != change.packed or size > (asked.question.edns or 512):
            return
        if len(self._ready) >= MAX_READY:
            del self._ready[next(iter(self._ready))]
        held = self.memory.held_until(change.services, change.packed)
        self._ready[asked.key] = _Ready(pieces, entry.expires, held, self._epoch)

    def failed(self, asked: Asked, kind: str, now: float) -> bytes:
        """Answer SERVFAIL: upstream failed, or the kernel did not take an address."""
        self.counts["failed", kind] += 1
        tablet = asked.client.tablet if asked.client else ""
        self.note(tablet, asked.question.name, f"failed: {kind}", now)
        return dnswire.reply(asked.question, dnswire.SERVFAIL)

    # what is asked by ourselves, and what an engineer asks

    def exact_names(self) -> list[tuple[str, str]]:
        """Return (name, service) of all exact names that some group may use."""
        if self.book is None:
            return []
        granted = {s for names in self.book.rules.group_services.values() for s in names}
        return sorted(
            (domain.name, service)
            for service, domains in self.book.rules.domains.items()
            if service in granted
            for domain in domains
            if not domain.wildcard and self.book.rules.banned(domain.name) is None
        )

    def domains(self) -> list[tuple[str, Domain]]:
        """Return (service, domain) of all services that some group may use."""
        if self.book is None:
            return []
        granted = {s for names in self.book.rules.group_services.values() for s in names}
        every = self.book.rules.domains.items()
        return [(s, d) for s, domains in sorted(every) if s in granted for d in domains]

    def knows_domain(self, service: str, domain: str) -> bool:
        """Say whether a service still lists a domain."""
        return domain in self._known and any(
            s == service and str(d) == domain for s, d in self.domains()
        )

    def why(self, group: str, name: str) -> dict[str, object]:
        """Say what a group's tablets are answered to a name, and which line of the rules says so."""
        book = self.book
        if book is None:
            return {"answer": "refused", "why": "no rules are loaded"}
        match = self._match(book, group, name)
        if match.kind == "canary":
            return {"answer": "nxdomain", "why": "asks whether DNS may be hidden: no"}
        if match.kind == "time":
            return {"answer": "gateway", "why": "a name of the time; the appliance has the clock"}
        ban = book.rules.banned(name)
        no = "nxdomain" if book.refuse_with_nxdomain else "refused"
        if ban is not None:
            return {"answer": no, "why": f"never resolved, see '{ban}' under never.domains"}
        if match.kind:
            return {"answer": no, "why": "not a name of its services"}
        listed = ", ".join(f"'{domain}' of {service}" for service, domain in match.domains)
        return {"answer": "resolved", "why": listed, "services": list(match.services)}

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
