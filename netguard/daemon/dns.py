"""dns: the allow-list proxy. An address is in the kernel before the answer leaves, or it does not leave.

This process starts, loads, keeps and tells; the path of a question is dns_traffic.py, what is
answered is core/desk.py. Stopped or killed, nothing new opens and established calls go on.
"""

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path

from netguard.adapters import clock, control, dns, files, nfnetlink, systemd
from netguard.core import guide, kept
from netguard.core.desk import Desk
from netguard.core.kept import Kept
from netguard.core.learning import Book
from netguard.daemon.dns_told import Told
from netguard.daemon.dns_traffic import Traffic
from netguard.daemon.process import pause, pulse, reloads, say, warn
from netguard.errors import BadValue, EnforcementError
from netguard.render import names
from netguard.render.nft_names import TABLE, learned_set
from netguard.settings import Settings

KEEP_EVERY = 5.0
KEEP_ANYWAY = 60.0
SWEEP_EVERY = 30.0


class Proxy:
    """One name proxy process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.path: Path = settings.paths.state / "dns.json"
        self.kept_path: Path = settings.dns_state / "learned.json"
        self.desk = Desk()
        self.resynced = 0
        self.since = clock.now().timestamp()
        self.keep_trouble = ""
        self._kept_at = (-1, 0.0)
        self.listening: dict[str, Callable[[], None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Answer until told to end."""
        with files.lock(self.settings.paths.run / "dns.lock", "dns"):
            elements = nfnetlink.Elements(TABLE)
            monitor = nfnetlink.Monitor()
            loop = asyncio.get_running_loop()
            loop.add_reader(monitor.socket, self._kernel_news, monitor)
            try:
                async with asyncio.TaskGroup() as tasks:
                    self.traffic = Traffic(
                        self.desk,
                        elements,
                        tasks.create_task,
                        self.settings.paths.resolver_authorities,
                    )
                    await self._load()
                    told = Told(self.desk, self.traffic, self)
                    server = await control.serve(
                        self.settings.dns_socket, told.offers(self.settings.users), _log_refusal
                    )
                    async with server:
                        tasks.create_task(pulse(stop))
                        tasks.create_task(reloads(stop, self.reload))
                        chores = tasks.create_task(self._chores(stop))
                        systemd.notify("READY=1\nSTATUS=answering")
                        await stop.wait()
                        server.close()
                    for close in self.listening.values():
                        close()
                    self.traffic.close()
                    await chores
            finally:
                loop.remove_reader(monitor.socket)
                monitor.close()
                elements.close()
                self.settings.dns_socket.unlink(missing_ok=True)

    async def reload(self) -> None:
        """Read dns.json again; put back what a new table has lost."""
        await self._load()
        if self.desk.memory.purge != self.resynced:
            self.resync()

    async def _load(self) -> None:
        """Read dns.json; a broken file leaves the names in force as they are."""
        try:
            book = names.read(await asyncio.to_thread(self.path.read_text))
        except FileNotFoundError:
            say("no dns.json yet: no name is answered until 'netguard apply'")
            return
        except (ValueError, KeyError, TypeError, BadValue) as error:
            raise BadValue("syntax", f"{self.path}: not readable: {error!r}") from error
        first = self.desk.book is None
        # What is loaded stays: the collector need not look at it again and again.
        gc.unfreeze()
        gone = self.desk.load(book)
        self.traffic.use_book()
        if first:
            self._restore(book, await asyncio.to_thread(self._read_kept))
        else:
            self._take(gone)
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        await self._listen(book)
        say("names loaded", plan=book.plan[:12], tablets=len(book.clients), listen=book.listen)

    def _take(self, gone: tuple[tuple[str, bytes], ...]) -> None:
        try:
            self.traffic.take(gone)
        except EnforcementError as error:
            warn("addresses that are no longer allowed end by their timeout only", why=str(error))

    async def _listen(self, book: Book) -> None:
        for address in sorted(set(self.listening) - set(book.listen)):
            self.listening.pop(address)()
        for address in sorted(set(book.listen) - set(self.listening)):
            sock = dns.listen_udp(address)
            self.traffic.serve(sock)
            server = await dns.listen_tcp(address, self.traffic.stream)

            def close(sock: socket.socket = sock, server: asyncio.Server = server) -> None:
                self.traffic.leave(sock)
                sock.close()
                server.close()

            self.listening[address] = close

    # what outlives this process

    def _read_kept(self) -> Kept:
        try:
            found = kept.read(self.kept_path.read_text(), _shift())
        except FileNotFoundError:
            return Kept()
        except (ValueError, OSError) as error:
            aside = self.kept_path.with_name("learned.json.damaged")
            warn(
                "what was learned is not readable and put aside; tablets ask again",
                file=str(aside),
                why=str(error),
            )
            try:
                self.kept_path.replace(aside)
            except OSError as failure:
                warn("it could not be put aside", why=str(failure))
            return Kept()
        return found

    def _restore(self, book: Book, found: Kept) -> None:
        """Take over what the sets hold and the file explains; fill sets that a reboot emptied."""
        now = clock.monotonic()
        kernel: dict[str, dict[bytes, float]] = {}
        for service, domains in book.rules.domains.items():
            for version in (4, 6) if domains else ():
                try:
                    held = self.traffic.elements.held(learned_set(service, version))
                except EnforcementError:
                    # No table yet: guard makes it and says so.
                    held = {}
                kernel.setdefault(service, {}).update(held)
        result = kept.reconcile(book, found, kernel, now)
        memory = self.desk.memory
        for row in (*result.held, *result.missing):
            memory.adopt(row.service, row.packed, row.names, row.until)
        self.desk.seen.update(
            {key: at for key, at in found.seen.items() if guide.knows_domain(book, *key)}
        )
        self.since = found.since or self.since
        self._take(result.gone)
        if result.missing:
            self.desk.purged()
            try:
                self.resync()
            except EnforcementError as error:
                say("sets are filled when guard has made them", why=str(error))
        say(
            "learned addresses taken over",
            in_kernel=len(result.held),
            put_back=len(result.missing),
            removed=len(result.gone),
        )

    def resync(self) -> int:
        """Put everything that still lives back into the kernel, after somebody emptied it."""
        alive = self.desk.memory.restorable(clock.monotonic())
        purge = self.desk.memory.purge
        self.traffic.put(alive)
        self.desk.memory.restored()
        self.resynced = purge
        return len(alive)

    async def _chores(self, stop: asyncio.Event) -> None:
        """Keep names warm, forget what has ended, write down what was learned."""
        swept = clock.monotonic()
        while not stop.is_set():
            self.traffic.keep_warm()
            now = clock.monotonic()
            if now - swept > SWEEP_EVERY:
                self.desk.sweep(now)
                swept = now
            if now - self._kept_at[1] > KEEP_EVERY:
                await self._keep(now)
            await pause(stop, 0.25)
        await self._keep(clock.monotonic(), last=True)

    async def _keep(self, now: float, *, last: bool = False) -> None:
        written, at = self._kept_at
        if written == self.traffic.commits and now - at < KEEP_ANYWAY and not last:
            return
        if self.desk.book is None:
            return
        commits = self.traffic.commits
        plan, rows, seen = (
            self.desk.book.plan,
            tuple(self.desk.memory.rows(now)),
            dict(self.desk.seen),
        )

        def write() -> None:
            text = kept.write(plan, rows, seen, self.since, _shift())
            files.write(self.kept_path, text, 0o640)

        try:
            # In a thread: with thousands of addresses it takes longer than a tablet should wait.
            await asyncio.to_thread(write)
        except OSError as error:
            if not self.keep_trouble:
                warn("what is learned cannot be written down", why=str(error))
            self.keep_trouble = str(error)
        else:
            self.keep_trouble = ""
        self._kept_at = commits, now

    def _kernel_news(self, monitor: nfnetlink.Monitor) -> None:
        """Stop trusting the memory when somebody else removes what it remembers."""
        changes = monitor.changes()
        removed = frozenset({"deleted table", "deleted set", "deleted element"})
        own = os.getpid()
        if changes is None or any(c.pid != own and c.kinds & removed for c in changes):
            self.desk.purged()


def _shift() -> float:
    """Return what makes a wall-clock second of a monotonic one."""
    return clock.now().timestamp() - clock.monotonic()


def _log_refusal(text: str) -> None:
    warn("refused", why=text)


async def run(settings: Settings, stop: asyncio.Event) -> None:
    """Run the proxy with these settings."""
    await Proxy(settings).run(stop)
