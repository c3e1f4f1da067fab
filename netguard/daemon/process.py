"""What every daemon of ours does alike: log lines, signals, readiness, an orderly end."""

import asyncio
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from netguard.adapters import systemd
from netguard.errors import NetguardError

log = logging.getLogger("netguard")


class _OneLine(logging.Formatter):
    """One event a line, key=value, control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        words = [f"{record.levelname.lower()} {record.getMessage()}"]
        words += [
            f"{key}={json.dumps(value, ensure_ascii=True, default=str)}"
            for key, value in fields.items()
        ]
        text = " ".join(words)
        if record.exc_info:
            text += " " + json.dumps(self.formatException(record.exc_info))
        return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def say(message: str, level: int = logging.INFO, **fields: object) -> None:
    """Log one event: what changed, or what an operator must do."""
    log.log(level, message, extra={"fields": fields})


def warn(message: str, **fields: object) -> None:
    """Log something an operator should look at."""
    say(message, logging.WARNING, **fields)


def run(name: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> int:
    """Run a daemon until SIGTERM or SIGINT; returns its exit code.

    `main` gets an event that is set when it shall end. The kernel's rules are never touched here:
    they stay, whatever ends this process.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine())
    log.handlers[:] = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        asyncio.run(_until_told(main))
    except (NetguardError, ExceptionGroup) as raised:
        error = _first(raised)
        if not isinstance(error, NetguardError):
            raise
        say(f"{name} ends: {error}", logging.ERROR)
        return error.exit_code
    say(f"{name} ended")
    return 0


def _first(error: Exception) -> Exception:
    """Return the first single error of a task group's errors."""
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


async def _until_told(main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(stop)
    systemd.notify("STOPPING=1")


async def pulse(stop: asyncio.Event) -> None:
    """Tell the service manager that this loop works, at half of the span it watches."""
    interval = systemd.watchdog_interval()
    while not stop.is_set():
        if interval is not None:
            systemd.notify("WATCHDOG=1")
        await pause(stop, interval or 3600)


async def reloads(stop: asyncio.Event, again: Callable[[], Awaitable[None]]) -> None:
    """Look at everything anew on SIGHUP, and tell the service manager (systemd.service(5), Type=notify).

    What goes wrong is said; this daemon goes on with what it had.
    """
    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    ending = loop.create_task(stop.wait())
    try:
        while not stop.is_set():
            waiting = loop.create_task(asked.wait())
            await asyncio.wait({waiting, ending}, return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
            if stop.is_set():
                return
            asked.clear()
            systemd.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                await again()
                say("reloaded")
            except (NetguardError, OSError) as error:
                warn("could not reload, going on with what was there", why=str(error))
            finally:
                systemd.notify("READY=1")
    finally:
        ending.cancel()
        loop.remove_signal_handler(signal.SIGHUP)


async def readable(
    wire: socket.socket, stop: asyncio.Event, interval: float | None = None
) -> AsyncIterator[None]:
    """Yield when a socket has something to read, and every `interval` seconds, until the end.

    Whoever takes its time to read does not keep the loop busy meanwhile.
    """
    loop = asyncio.get_running_loop()
    news = asyncio.Event()

    def heard() -> None:
        loop.remove_reader(wire)
        news.set()

    ending = loop.create_task(stop.wait())
    try:
        while True:
            loop.add_reader(wire, heard)
            waiting = loop.create_task(news.wait())
            done = asyncio.FIRST_COMPLETED
            await asyncio.wait({waiting, ending}, timeout=interval, return_when=done)
            waiting.cancel()
            if stop.is_set():
                return
            news.clear()
            yield
    finally:
        ending.cancel()
        loop.remove_reader(wire)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, but not longer than until the end is asked for."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
