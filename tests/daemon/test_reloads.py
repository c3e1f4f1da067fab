"""SIGHUP: a daemon looks at everything anew, says so to systemd, and survives what goes wrong."""

import asyncio
import os
import signal
import socket

import pytest

from netguard.daemon import process
from netguard.errors import UsageError


@pytest.fixture
def manager(tmp_path, monkeypatch):
    """The socket of a service manager."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(path))
        heard.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        yield heard


@pytest.mark.parametrize("fails", [False, True])
def test_a_hangup_reloads_and_is_told(manager, fails):
    calls = []

    async def main():
        stop, called = asyncio.Event(), asyncio.Event()

        async def again():
            calls.append("again")
            called.set()
            if len(calls) == 2:
                stop.set()
            if fails:
                raise UsageError("tls.crt is not there")

        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(process.reloads(stop, again))
            for _ in range(2):
                await asyncio.sleep(0)
                called.clear()
                os.kill(os.getpid(), signal.SIGHUP)
                await called.wait()

    asyncio.run(main())
    assert calls == ["again", "again"]
    said = [manager.recv(200).decode() for _ in range(4)]
    assert [text.split("=")[0] for text in said] == ["RELOADING", "READY"] * 2
    assert "MONOTONIC_USEC=" in said[0]
