"""Streams of tablets: length 0, longer than the stream, one byte at a time; all end by themselves."""

import asyncio
import struct

import pytest

from netguard.adapters import dns


async def echo(data, peer):
    assert peer == "127.0.0.1"
    return data[::-1] if data else None


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(dns, "PORT", 0)
    monkeypatch.setattr(dns, "_TCP_IDLE", 0.4)


async def talk(steps):
    """Send these pieces with a pause after each; return all that comes back until the end."""
    server = await dns.listen_tcp("127.0.0.1", echo)
    async with server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for piece, pause in steps:
                writer.write(piece)
                await asyncio.sleep(pause)
            async with asyncio.timeout(20):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([(struct.pack("!H", 3) + b"abc", 0)], struct.pack("!H", 3) + b"cba"),
        ([(struct.pack("!H", 3) + b"abc" + struct.pack("!H", 2) + b"de", 0)], b"\0\3cba\0\2ed"),
        ([(b"\0\0", 0)], b""),
        ([(struct.pack("!H", 500) + b"short", 0)], b""),
        ([(bytes([byte]), 0.15) for byte in b"\0\x08slow"], b""),
        ([], b""),
    ],
    ids=["whole", "two", "length-0", "longer-than-the-stream", "a-byte-at-a-time", "nothing"],
)
def test_a_stream_ends_by_itself(short, steps, expected):
    assert asyncio.run(talk(steps)) == expected
