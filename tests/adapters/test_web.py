"""Slow, broken and smuggled HTTP on raw sockets: nothing is held, nothing is read twice, others are answered."""

import asyncio
from contextlib import asynccontextmanager
from functools import wraps
from time import monotonic

import pytest
from prometheus_client import CollectorRegistry

from netguard.adapters import web

# Generous: what is shown is that it ends at all.
HANGING = 30


@asynccontextmanager
async def listening(taken=None):
    """Both listeners; yields the ports of pages and of webhooks."""

    async def nothing():
        return []

    def take(name, body, headers):
        if taken is not None:
            taken.append((name, body))
        return 200

    pages = await web.serve(CollectorRegistry(), nothing, nothing, ("127.0.0.1", 0))
    hooks = await web.serve_webhooks(("127.0.0.1", 0), take)
    try:
        yield pages.addresses[0][1], hooks.addresses[0][1]
    finally:
        await pages.cleanup()
        await hooks.cleanup()


async def answer(port, sent: bytes, drip: bytes = b"") -> bytes:
    """Everything that comes until the other side closes; `drip` is sent twice a second meanwhile."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    said, began = b"", monotonic()
    try:
        while monotonic() < began + HANGING:
            try:
                async with asyncio.timeout(0.5):
                    more = await reader.read(4096)
            except TimeoutError:
                writer.write(drip)
                continue
            if not more:
                return said
            said += more
        raise AssertionError(f"it is still open, after {said}")
    except ConnectionError:
        return said
    finally:
        writer.close()


def played(test):
    """Run an async test; pytest sees its parameters."""

    @wraps(test)
    def run(*args, **kwargs):
        asyncio.run(test(*args, **kwargs))

    return run


POST = b"POST /webhook/mist HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"


def slowly(pages, hooks):
    """What is sent where, and what follows twice a second."""
    body = POST + b"Content-Length: 500\r\n"
    return [
        (pages, b""),
        (pages, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", b"a"),
        (pages, GET + b"\r\nGET /hea"),
        (hooks, body + b"X: ", b"a"),
        (hooks, body + b"\r\n"),
        (hooks, body + b"\r\n{", b" "),
        (hooks, POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ]


@played
async def test_whoever_sends_slowly_is_closed_and_others_are_answered_meanwhile():
    async with listening() as (pages, hooks):
        began, asked = monotonic(), 0
        async with asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(answer(port, *sent)) for port, *sent in slowly(pages, hooks)]
            while not all(each.done() for each in slow):
                assert (await answer(pages, GET + b"Connection: close\r\n\r\n")).startswith(
                    b"HTTP/1.1 200"
                )
                asked += 1
                await asyncio.sleep(0.2)
                assert monotonic() - began < HANGING
        said = [each.result() for each in slow]
    assert asked > 3
    assert [text[:12] for text in said[:4]] == [b"", b"", b"HTTP/1.1 200", b""]
    assert all(text.startswith(b"HTTP/1.1 408") for text in said[4:]), said[4:]


@played
async def test_more_connections_than_a_listener_bears_are_closed_at_once(monkeypatch):
    monkeypatch.setattr(web, "MOST_CONNECTIONS", 20)
    async with listening() as (pages, hooks):
        held = [await asyncio.open_connection("127.0.0.1", hooks) for _ in range(20)]
        await asyncio.sleep(0.1)
        assert await answer(hooks, POST + b"Content-Length: 2\r\n\r\n{}") == b""
        assert (await answer(pages, GET + b"Connection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")
        for _, writer in held:
            writer.close()
        await asyncio.sleep(0.1)
        assert (
            await answer(hooks, POST + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}")
        ).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Content-Length: +2\r\n\r\n{}",
        b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
        b"Content-Length: 2, 2\r\n\r\n{}",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"X: a\0b\r\nContent-Length: 2\r\n\r\n{}",
        b"X : a\r\nContent-Length: 2\r\n\r\n{}",
        b"X: a\r\n folded\r\nContent-Length: 2\r\n\r\n{}",
        b"X: " + b"a" * 9000 + b"\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
@played
async def test_a_request_that_two_readers_could_cut_differently_is_refused(lines):
    taken = []
    async with listening(taken) as (_, hooks):
        # What follows would be a request of its own for a reader that was led astray.
        smuggled = POST.replace(b"mist", b"smuggled") + b"Content-Length: 2\r\n\r\n{}"
        said = await answer(hooks, POST + lines + smuggled)
    assert taken == []
    assert said.startswith(b"HTTP/1.0 400"), said
    assert said.count(b"HTTP/1.") == 1


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /healthz HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (
            b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            b"405",
        ),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
    ],
)
@played
async def test_what_is_no_request_of_ours_is_refused_without_a_word_of_versions(sent, status):
    async with listening() as (pages, _):
        said = await answer(pages, sent)
    assert said.startswith((b"HTTP/1.1 " + status, b"HTTP/1.0 " + status)), said
    assert b"aiohttp" not in said.lower()
    assert b"python" not in said.lower()


@played
async def test_a_body_that_is_too_long_is_refused_before_it_is_read():
    taken = []
    async with listening(taken) as (_, hooks):
        said = await answer(
            hooks, POST + b"Connection: close\r\nContent-Length: 70000\r\n\r\n" + b" " * 70000
        )
    assert said.startswith(b"HTTP/1.1 413")
    assert taken == []
