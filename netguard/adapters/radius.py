"""FreeRADIUS from outside: its control socket to reload one module, its event log to read.

netguard is never asked while a request waits. A HUP of the whole server can lose a change in
silence; a HUP of one module through the control socket says when it failed.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from netguard.errors import EnforcementError

# Tablets after areas and hours: none must be judged by what its entry does not know yet. Keys last: a server that
# was started before there were any refuses that one alone.
MODULES = ("netguard_areas", "netguard_hours", "netguard_tablets", "netguard_psk")
# Within about 2 s of its last load the module is not loaded again, and radmin says it was.
SETTLE = 3.0
# It takes milliseconds; a server that hangs must not hold up what else guard does.
RADMIN_TIMEOUT = 3.0
_MAX_LINE = 16384
_MAX_READ = 1 << 20
_BEGIN = b'{"t":"'


def identity(control: Path) -> str | None:
    """Return which server process is behind a control socket; None where none answers.

    The kernel names the process that listens, and its start tells it from one that gets its number
    later. The socket's own age says nothing: 3.2.7 makes it anew with each reload.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
            caller.settimeout(1)
            caller.connect(str(control))
            pid = struct.unpack("3i", caller.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[
                0
            ]
        # The name in brackets may hold blanks; the start is the 20th field behind it (proc(5)).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return f"{pid} {fields[19]}"


async def reload(control: Path) -> None:
    """Let FreeRADIUS load areas, hours and tablets anew; raises EnforcementError, then the old ones stay."""
    for module in MODULES:
        await _hup(control, module)


async def _hup(control: Path, module: str) -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            "radmin",
            "-f",
            str(control),
            "-e",
            f"hup {module}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise EnforcementError("the program radmin is missing, install freeradius") from error
    try:
        async with asyncio.timeout(RADMIN_TIMEOUT):
            out, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise EnforcementError(f"radmin did not end within {RADMIN_TIMEOUT:.0f} s") from error
    if process.returncode:
        words = out.decode(errors="replace").strip()[-500:]
        raise EnforcementError(f"FreeRADIUS did not reload, the old tablets stay: {words}")


# By file: which one it is (inode), and up to where it is read.
Positions = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one reading found: records (None for a line that is none), and where each file stands.

    `gone` are files that were read and are no more; `replaced` ones that were cut or are others by
    now, and are read from their beginning. `more`: a file goes on behind what one reading may take.
    """

    records: tuple[dict[str, str] | None, ...]
    positions: Positions
    gone: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    more: bool = False

    @property
    def is_news(self) -> bool:
        """Say whether there is anything to store."""
        return bool(self.records or self.positions or self.gone)


class EventLog:
    """Follows events-*.log, whole lines only, each once: what is not `kept` is read again.

    Every file has a place of its own: with a clock that was set back, FreeRADIUS goes on in a file
    whose name lies before that of an earlier one.
    """

    def __init__(self, folder: Path, positions: Positions | None) -> None:
        """Go on where `positions` end; with None, begin with the newest file."""
        self._folder = folder
        self._positions: dict[str, tuple[int, int]] = dict(positions or {})
        self._first = positions is None

    def read(self) -> Batch:
        """Read on, but not more than a bounded lot; raises OSError."""
        files = self._files()
        known = dict(self._positions)
        if self._first:
            # What was written long before anybody counted is not news.
            known |= {name: (stat.st_ino, stat.st_size) for name, stat in list(files.items())[:-1]}
        replaced = []
        records: list[dict[str, str] | None] = []
        left, more = _MAX_READ, False
        for name, stat in files.items():
            inode, offset = known.get(name, (stat.st_ino, 0))
            if inode != stat.st_ino or offset > stat.st_size:
                replaced.append(name)
                offset = 0
            if offset < stat.st_size:
                # What is older comes first: the next file waits until this one is read.
                more = more or stat.st_size - offset > left
            if offset < stat.st_size and left > 0:
                found, read = self._new_lines(name, offset, left)
                left = 0 if more else left - read
                records += found
                offset += read
            known[name] = (stat.st_ino, offset)
        changed = {n: where for n, where in known.items() if self._positions.get(n) != where}
        gone = tuple(sorted(set(self._positions) - set(files)))
        changed = {name: where for name, where in changed.items() if name in files}
        return Batch(tuple(records), changed, gone, tuple(replaced), more)

    def keep(self, batch: Batch) -> None:
        """Go on after this batch: it is stored."""
        self._positions |= batch.positions
        for name in batch.gone:
            self._positions.pop(name, None)
        self._first = False

    def _files(self) -> dict[str, os.stat_result]:
        found = {}
        for path in sorted(self._folder.glob("events-*.log")):
            with contextlib.suppress(FileNotFoundError):
                found[path.name] = path.stat()
        return found

    def _new_lines(
        self, name: str, offset: int, most: int
    ) -> tuple[list[dict[str, str] | None], int]:
        with (self._folder / name).open("rb") as stream:
            stream.seek(offset)
            data = stream.read(max(most, _MAX_LINE))
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= _MAX_LINE:
            # No line of ours is that long: step over it rather than wait for ever.
            end = len(data)
        return [record for line in data[:end].splitlines() for record in _records(line)], end


def _records(line: bytes) -> Iterator[dict[str, str] | None]:
    """Yield the record of a line; after a line that a power cut has cut, the one glued to it."""
    record = _record(line)
    yield record
    # Quotes and braces inside values are percent-encoded, so this begins a line and nothing else.
    start = line.rfind(_BEGIN)
    if record is None and start > 0 and (glued := _record(line[start:])) is not None:
        yield glued


def _record(line: bytes) -> dict[str, str] | None:
    """Read one line: JSON of texts, each percent-encoded so that no attribute can forge a line."""
    if len(line) > _MAX_LINE:
        return None
    try:
        body: Any = json.loads(line)
        # Most values have nothing to decode; on the way of every record that is worth asking.
        return {
            str(key): unquote(value, errors="replace") if "%" in value else str(value)
            for key, value in body.items()
        }
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
