"""Our own daemons' sockets: one JSON object a line in, one out, over a UNIX stream.

The kernel says who is calling (SO_PEERCRED); each verb lists who may use it. The size of a message
is bounded, and a caller that says nothing is hung up on.
"""

import asyncio
import json
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netguard.errors import NetguardError, NotReachable, Refused, StoreError

# A rules folder of 10,000 tablets is about 2 MiB; base64 and JSON add a half.
MAX_MESSAGE = 48 * 1024 * 1024
PATIENCE = 120.0

Message = dict[str, Any]
Verb = Callable[["Caller", Message], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is on the other end, as the kernel says."""

    pid: int
    uid: int

    @property
    def name(self) -> str:
        """Return the user's name, or its number where it has none."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)


@dataclass(frozen=True, slots=True)
class Offer:
    """One verb: what it does, and the users who may call it (root and ourselves always may)."""

    call: Verb
    users: frozenset[str] = frozenset()


async def serve(
    path: Path, offers: Mapping[str, Offer], on_error: Callable[[str], None]
) -> asyncio.Server:
    """Listen on a socket that anybody may open; each verb decides by the caller's user."""
    path.unlink(missing_ok=True)  # noqa: ASYNC240  # on tmpfs, once, before anybody is served

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                line = await reader.readline()
                answer = await _answer(_caller(writer), line, offers, on_error)
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        except (TimeoutError, ValueError, ConnectionError) as error:
            on_error(f"a caller was hung up on: {error!r}")
        finally:
            writer.close()

    server = await asyncio.start_unix_server(handle, path, limit=MAX_MESSAGE)
    path.chmod(0o666)  # noqa: ASYNC240  # as above
    return server


async def _answer(
    caller: Caller, line: bytes, offers: Mapping[str, Offer], on_error: Callable[[str], None]
) -> Message:
    try:
        message = json.loads(line)
        offer = offers[message["verb"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {"ok": False, "error": f"unknown verb, known: {', '.join(sorted(offers))}"}
    if caller.uid not in {0, os.getuid()} and caller.name not in offer.users:
        return {"ok": False, "error": f"user '{caller.name}' may not call '{message['verb']}'"}
    try:
        return {"ok": True, **await offer.call(caller, message)}
    except NetguardError as error:
        on_error(f"{message['verb']} by {caller.name}: {error}")
        again = error.again if isinstance(error, Refused) else isinstance(error, StoreError)
        return {"ok": False, "error": str(error), "exit": error.exit_code, "again": again}


def _caller(writer: asyncio.StreamWriter) -> Caller:
    peer: socket.socket = writer.get_extra_info("socket")
    pid, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return Caller(pid, uid)


def call(path: Path, verb: str, patience: float = 10.0, **body: object) -> Message:
    """Call a daemon and wait for its answer.

    Raises NotReachable when it does not answer, Refused with its reason when it says no.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(patience)
            caller.connect(str(path))
            caller.sendall(json.dumps({"verb": verb, **body}).encode() + b"\n")
            with caller.makefile("rb") as reader:
                line = reader.readline(MAX_MESSAGE)
    except PermissionError as error:
        raise NotReachable(f"{path}: {error.strerror}; try as root") from error
    except OSError as error:
        raise NotReachable(f"{path}: {error.strerror or error}; is the daemon running?") from error
    return _checked(path, line)


async def call_async(path: Path, verb: str, patience: float = 5.0, **body: object) -> Message:
    """Do the same as `call` from a daemon's loop."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_MESSAGE)
            try:
                writer.write(json.dumps({"verb": verb, **body}).encode() + b"\n")
                await writer.drain()
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise NotReachable(f"{path}: {str(error) or 'no answer in time'}") from error
    return _checked(path, line)


async def tell(path: Path, line: str, patience: float = 5.0) -> str:
    """Write one line to another program's socket and return what it says until it hangs up."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_unix_connection(path, limit=MAX_MESSAGE)
            try:
                writer.write(line.encode() + b"\n")
                await writer.drain()
                writer.write_eof()
                return (await reader.read(MAX_MESSAGE)).decode(errors="replace")
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError) as error:
        raise NotReachable(f"{path}: {str(error) or 'no answer in time'}") from error


def _checked(path: Path, line: bytes) -> Message:
    try:
        answer: Message = json.loads(line)
    except ValueError as error:
        raise NotReachable(f"{path}: hung up without an answer") from error
    if not answer.pop("ok", False):
        again = answer.get("again") is True
        raise Refused(str(answer.get("error", "refused")), again=again)
    return answer
