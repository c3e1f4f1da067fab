"""dns: the allow-list proxy. An address is in the kernel before the answer leaves, or it does not leave.

Who asks decides (source address -> tablet -> group -> services), the asked name decides, and the
address filter decides. Stopped or killed, nothing new opens and established calls go on.
"""

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from netguard.adapters import clock, control, dns, files, nfnetlink, systemd
from netguard.core import dnswire
from netguard.core.dnswire import Answer, Malformed, Question
from netguard.core.learning import lifetime, reply_ttl
from netguard.core.names import Address, parse_address
from netguard.daemon.process import pulse, say, warn
from netguard.errors import BadValue, EnforcementError
from netguard.render.names import Names
from netguard.render.nftables import TABLE, learned_set, learned_sets_of
from netguard.settings import Settings

HEDGE = 1.0
ANSWER_WITHIN = 1.5
MAX_OPEN = 2000
MAX_NAMES = 20_000
RECENT = 200


@dataclass(frozen=True, slots=True)
class Learned:
    """An address in a set: from which name, until when (monotonic seconds), and since which purge.

    An element of an earlier purge may be gone from the kernel: it is put there again before it
    counts.
    """

    name: str
    until: float
    purge: int


class Memory:
    """What the kernel's learned sets hold, so that the kernel is called only when it must be."""

    def __init__(self) -> None:
        # Counts how often somebody else has removed sets or elements of ours.
        self.purge = 0
        self.services: dict[str, dict[Address, Learned]] = {}
        self.names: dict[tuple[str, str], tuple[Address, ...]] = {}

    def of(self, service: str) -> dict[Address, Learned]:
        """Return what one service has learned."""
        return self.services.setdefault(service, {})

    def note(self, name: str, service: str, addresses: tuple[Address, ...]) -> None:
        """Remember the last answer of a name, for `explain`; the oldest names are dropped."""
        self.names.pop((name, service), None)
        self.names[name, service] = addresses
        while len(self.names) > MAX_NAMES:
            self.names.pop(next(iter(self.names)))


@dataclass(frozen=True, slots=True)
class Refused:
    """One refusal, for `status` and `explain`: bounded in number, escaped in print."""

    at: str
    tablet: str
    name: str
    why: str


class Proxy:
    """One name proxy process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path: Path = settings.paths.state / "dns.json"
        self.names: Names | None = None
        self.memory = Memory()
        self.resynced = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self.recent: list[Refused] = []
        self.upstream_failures: Counter[str] = Counter()
        self.open: dict[tuple[str, int], asyncio.Future[Answer | None]] = {}
        self.listening: dict[str, Callable[[], None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until told to end."""
        with files.lock(self.settings.paths.run / "dns.lock", "dns"):
            self.elements = nfnetlink.Elements(TABLE)
            monitor = nfnetlink.Monitor()
            loop = asyncio.get_running_loop()
            loop.add_reader(monitor.socket, self._kernel_news, monitor)
            try:
                async with asyncio.TaskGroup() as tasks:
                    self.tasks = tasks
                    await self._load()
                    server = await control.serve(
                        self.settings.dns_socket, self._offers(), _log_refusal
                    )
                    async with server:
                        tasks.create_task(pulse(stop))
                        systemd.notify("READY=1\nSTATUS=answering")
                        await stop.wait()
                        server.close()
                    for close in self.listening.values():
                        close()
            finally:
                loop.remove_reader(monitor.socket)
                monitor.close()
                self.elements.close()
                self.settings.dns_socket.unlink(missing_ok=True)

    async def _load(self) -> None:
        """Read dns.json; a broken file leaves the names in force as they are."""
        try:
            text = await asyncio.to_thread(self.path.read_text)
            new = Names(text)
        except FileNotFoundError:
            say("no dns.json yet: no name is answered until 'netguard apply'")
            return
        except (ValueError, KeyError, TypeError, BadValue) as error:
            raise BadValue("syntax", f"{self.path}: not readable: {error!r}") from error
        self.names = new
        self._forget_what_is_no_longer_allowed(new)
        await self._listen(new)
        say("names loaded", plan=new.plan[:12], tablets=len(new.tablets), listen=new.listen)

    async def _listen(self, new: Names) -> None:
        for address in sorted(set(self.listening) - set(new.listen)):
            self.listening.pop(address)()
        for address in sorted(set(new.listen) - set(self.listening)):
            sock = dns.listen_udp(address, self._datagram)
            server = await dns.listen_tcp(address, self._stream)

            def close(sock: object = sock, server: asyncio.Server = server) -> None:
                asyncio.get_running_loop().remove_reader(sock)  # type: ignore[arg-type]  # a socket
                sock.close()  # type: ignore[attr-defined]  # a socket
                server.close()

            self.listening[address] = close

    # questions of tablets

    def _datagram(self, data: bytes, peer: str, send: dns.Sender) -> None:
        ready = self._quick(data, peer)
        if isinstance(ready, bytes):
            send(ready)
        elif ready is not None and len(self.open) < MAX_OPEN:
            self.tasks.create_task(self._slow(ready, send))

    async def _stream(self, data: bytes, peer: str) -> bytes | None:
        ready = self._quick(data, peer)
        if ready is None or isinstance(ready, bytes):
            return ready
        return await self._resolve(ready, limit=65535)

    async def _slow(self, asked: "Asked", send: dns.Sender) -> None:
        send(await self._resolve(asked, limit=asked.question.edns or 512))

    def _quick(self, data: bytes, peer: str) -> "bytes | Asked | None":
        """Answer what needs no upstream; return what does; None is silence."""
        try:
            question = dnswire.parse_question(data)
        except Malformed as error:
            self.counts["malformed", error.reason] += 1
            return None if error.reason == "ignore" else dnswire.format_error(data)
        names = self.names
        tablet, group = names.tablets.get(parse_address(peer), ("", "")) if names else ("", "")
        if names is None or not group:
            self.counts["refused", "unknown-client"] += 1
            return dnswire.reply(question, dnswire.REFUSED)
        if question.opcode:
            self.counts["refused", "opcode"] += 1
            return dnswire.reply(question, dnswire.NOTIMP)
        if question.klass != dnswire.IN or question.type in {dnswire.ANY, 251, 252}:
            self.counts["refused", "type"] += 1
            return dnswire.reply(question, dnswire.REFUSED)
        if names.rules.is_canary(question.name):
            self.counts["canary", ""] += 1
            return dnswire.reply(question, dnswire.NXDOMAIN)
        services = names.rules.services_for(group, question.name)
        if not services:
            return self._denied(names, question, tablet, group)
        if question.type not in {dnswire.A, dnswire.AAAA}:
            # HTTPS and SVCB carry address hints and ECH keys; no other type opens anything.
            self.counts["no-data", ""] += 1
            return dnswire.reply(question, dnswire.NOERROR)
        return Asked(question, tablet, group, services)

    def _denied(self, names: Names, question: Question, tablet: str, group: str) -> bytes:
        self.counts["denied", group] += 1
        self._note(tablet, question.name, "not a name of its services")
        rcode = dnswire.NXDOMAIN if names.refuse_with_nxdomain else dnswire.REFUSED
        return dnswire.reply(question, rcode)

    # answers from upstream

    async def _resolve(self, asked: "Asked", limit: int) -> bytes:
        question = asked.question
        answer = await self._ask_once(question)
        if answer is None:
            self.counts["failed", "upstream"] += 1
            return dnswire.reply(question, dnswire.SERVFAIL)
        names = self.names
        if names is None:
            return dnswire.reply(question, dnswire.SERVFAIL)
        if answer.rcode not in {dnswire.NOERROR, dnswire.NXDOMAIN}:
            self.counts["failed", "upstream"] += 1
            return dnswire.reply(question, dnswire.SERVFAIL)
        for address in answer.addresses:
            why = names.rules.refusal(asked.services, address)
            if why:
                # One bad record refuses the whole answer: a mixed one is an attack, too.
                self.counts["refused-address", why] += 1
                self._note(asked.tablet, question.name, f"answer {address}: {why}")
                warn("an answer was refused", name=question.name, address=str(address), why=why)
                rcode = dnswire.NXDOMAIN if names.refuse_with_nxdomain else dnswire.REFUSED
                return dnswire.reply(question, rcode)
        try:
            self._learn(names, asked, answer)
        except EnforcementError as error:
            self.counts["failed", "kernel"] += 1
            warn("an answer was held back, the kernel did not take its addresses", why=str(error))
            return dnswire.reply(question, dnswire.SERVFAIL)
        self.counts["allowed", asked.group] += 1
        ttl = reply_ttl(names.learned, answer.ttl)
        reply = dnswire.reply(question, answer.rcode, answer.addresses, ttl)
        return reply if len(reply) <= limit else dnswire.truncated(question)

    def _learn(self, names: Names, asked: "Asked", answer: Answer) -> None:
        """Put the addresses into the sets; raises EnforcementError, and nothing was learned."""
        now = clock.monotonic()
        span = lifetime(names.learned, answer.ttl).total_seconds()
        # What still outlives this answer by more than a second needs no kernel.
        enough = now + reply_ttl(names.learned, answer.ttl) + 1
        addresses = answer.addresses[: names.learned.addresses_per_name]
        wanted: list[tuple[str, Address]] = []
        for service in asked.services:
            held = self.memory.of(service)
            new = [a for a in addresses if not self._is_there(held.get(a), enough)]
            self._make_room(names, service, len(new), now)
            wanted += [(service, address) for address in new]
        # The kernel's countdown starts after ours: ours never promises more than it keeps.
        self.elements.renew(
            nfnetlink.Element(name, address, int(span * 1000))
            for service, address in wanted
            for name in learned_sets_of(service, address.version)
        )
        for service, address in wanted:
            entry = Learned(asked.question.name, now + span, self.memory.purge)
            self.memory.of(service)[address] = entry
        for service in asked.services:
            self.memory.note(asked.question.name, service, addresses)

    def _is_there(self, entry: Learned | None, enough: float) -> bool:
        return entry is not None and entry.until >= enough and entry.purge == self.memory.purge

    def _kernel_news(self, monitor: nfnetlink.Monitor) -> None:
        """Stop trusting the memory when somebody else removes what it remembers."""
        changes = monitor.changes()
        removed = frozenset({"deleted table", "deleted set", "deleted element"})
        own = os.getpid()
        if changes is None or any(c.pid != own and c.kinds & removed for c in changes):
            self.memory.purge += 1

    def _make_room(self, names: Names, service: str, count: int, now: float) -> None:
        """Forget what has ended, and evict what ends first where a set would overflow."""
        held = self.memory.of(service)
        limit = names.learned.addresses_per_service
        if len(held) + count <= limit:
            return
        for address in [a for a, entry in held.items() if entry.until <= now]:
            del held[address]
        for address in sorted(held, key=lambda a: held[a].until)[
            : max(0, len(held) + count - limit)
        ]:
            self.elements.remove([(learned_set(service, address.version), address)])
            del held[address]
            self.counts["evicted", ""] += 1

    async def _ask_once(self, question: Question) -> Answer | None:
        """Ask upstream, one question in flight per name and type; None is silence."""
        key = question.name, question.type
        running = self.open.get(key)
        if running is None:
            running = asyncio.ensure_future(self._ask(question))
            self.open[key] = running
            running.add_done_callback(lambda _: self.open.pop(key, None))
        return await asyncio.shield(running)

    async def _ask(self, question: Question) -> Answer | None:
        """Ask the first server, after HEDGE seconds the next one too; the first answer counts."""
        pending: set[asyncio.Task[Answer | None]] = set()
        servers = list(self.names.upstream if self.names else ())
        try:
            while servers or pending:
                if servers:
                    pending.add(asyncio.ensure_future(self._ask_server(servers.pop(0), question)))
                done, pending = await asyncio.wait(
                    pending,
                    timeout=HEDGE if servers else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    answer = task.result()
                    if answer is not None:
                        return answer
            return None
        finally:
            for task in pending:
                task.cancel()

    async def _ask_server(self, server: str, question: Question) -> Answer | None:
        id_ = secrets.randbits(16)
        message = dnswire.ask(id_, question)

        def accept(data: bytes) -> bool:
            if int.from_bytes(data[:2], "big") == id_ and len(data) >= 12:
                try:
                    dnswire.parse_answer(data, question)
                except Malformed as error:
                    self.counts["malformed-answer", error.reason] += 1
                    # What is malformed is no answer, and another question's is none to ours.
                    return error.reason != "other-question"
                return True
            self.counts["malformed-answer", "id"] += 1
            return False

        data = await dns.ask_udp(server, message, accept, ANSWER_WITHIN)
        answer = _parsed(data, question)
        if answer is not None and answer.truncated:
            data = await dns.ask_tcp(server, message, accept, ANSWER_WITHIN)
            answer = _parsed(data, question)
        if answer is None or answer.truncated:
            self.upstream_failures[server] += 1
            return None
        return answer

    # reload, resync, questions of our own side

    def _forget_what_is_no_longer_allowed(self, new: Names) -> None:
        """Take addresses out of the sets whose name, service or place the new rules refuse."""
        gone = []
        for service, held in self.memory.services.items():
            domains = new.rules.domains.get(service, ())
            for address, entry in list(held.items()):
                listed = any(domain.covers(entry.name) for domain in domains)
                if not listed or new.rules.refusal((service,), address):
                    del held[address]
                    # The set of a service that is gone has left with it.
                    if service in new.rules.domains:
                        gone.append((learned_set(service, address.version), address))
        try:
            self.elements.remove(gone)
        except EnforcementError as error:
            warn("addresses that are no longer allowed end by their timeout only", why=str(error))

    def _resync(self) -> int:
        """Put everything that still lives back into the kernel, after somebody emptied it."""
        now = clock.monotonic()
        alive = [
            nfnetlink.Element(name, a, int((entry.until - now) * 1000))
            for service, held in self.memory.services.items()
            for a, entry in held.items()
            if entry.until - now > 1
            for name in learned_sets_of(service, a.version)
        ]
        for start in range(0, len(alive), 500):
            self.elements.renew(alive[start : start + 500])
        for held in self.memory.services.values():
            for address, entry in held.items():
                held[address] = replace(entry, purge=self.memory.purge)
        self.resynced = self.memory.purge
        # Each address is in two sets.
        return len(alive) // 2

    def _note(self, tablet: str, name: str, why: str) -> None:
        self.recent.append(
            Refused(clock.now().isoformat(timespec="seconds"), tablet, name[:255], why)
        )
        del self.recent[:-RECENT]

    def _offers(self) -> dict[str, control.Offer]:
        guard = frozenset({self.settings.users.guard})
        readers = frozenset({self.settings.users.watch, self.settings.users.guard})
        return {
            "reload": control.Offer(self._verb_reload, guard),
            "resync": control.Offer(self._verb_resync, guard),
            "status": control.Offer(self._verb_status, readers),
            "learned": control.Offer(self._verb_learned, readers),
        }

    async def _verb_reload(
        self, caller: control.Caller, message: control.Message
    ) -> control.Message:
        await self._load()
        # A new plan may have replaced the whole table, learned sets included.
        if self.memory.purge != self.resynced:
            self._resync()
        return {"plan": self.names.plan if self.names else ""}

    async def _verb_resync(
        self, caller: control.Caller, message: control.Message
    ) -> control.Message:
        return {"elements": self._resync()}

    async def _verb_status(
        self, caller: control.Caller, message: control.Message
    ) -> control.Message:
        now = clock.monotonic()
        alive = {
            service: sum(entry.until > now for entry in held.values())
            for service, held in self.memory.services.items()
        }
        return {
            "plan": self.names.plan if self.names else "",
            "answers": [
                [kind, reason, count] for (kind, reason), count in sorted(self.counts.items())
            ],
            "upstream_failures": dict(self.upstream_failures),
            "elements": alive,
            "recent": [asdict(refused) for refused in self.recent[-20:]],
        }

    async def _verb_learned(
        self, caller: control.Caller, message: control.Message
    ) -> control.Message:
        """Return what was learned for a name, or which names taught an address."""
        now = clock.monotonic()
        name, address = str(message.get("name")), message.get("address")
        rows = []
        for service, held in self.memory.services.items():
            answered = self.memory.names.get((name, service), ())
            for learned, entry in held.items():
                if entry.until > now and (learned in answered or str(learned) == address):
                    rows.append(
                        {
                            "service": service,
                            "address": str(learned),
                            "name": entry.name,
                            "expires_seconds": round(entry.until - now, 1),
                        }
                    )
        return {"learned": rows}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that may be asked upstream, and for whom."""

    question: Question
    tablet: str
    group: str
    services: tuple[str, ...]


def _parsed(data: bytes | None, question: Question) -> Answer | None:
    if data is None:
        return None
    try:
        return dnswire.parse_answer(data, question)
    except Malformed:
        return None


def _log_refusal(text: str) -> None:
    warn("refused", why=text)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the proxy with these settings."""
    await Proxy(settings).run(stop)
