"""FreeRADIUS from outside: its control socket to reload one module, its event log to read.

netguard is never asked while a request waits. A HUP of the whole server can lose a change in
silence; a HUP of one module through the control socket says when it failed.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from netguard.errors import EnforcementError

TABLETS_MODULE = "netguard_tablets"
# Within about 2 s of its last load the module is not loaded again, and radmin says it was.
SETTLE = 3.0
_MAX_LINE = 16384
_MAX_READ = 1 << 20


async def reload_tablets(control: Path) -> None:
    """Let FreeRADIUS load the tablets anew; raises EnforcementError, then the old ones stay."""
    try:
        process = await asyncio.create_subprocess_exec(
            "radmin",
            "-f",
            str(control),
            "-e",
            f"hup {TABLETS_MODULE}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except FileNotFoundError as error:
        raise EnforcementError("the program radmin is missing, install freeradius") from error
    try:
        async with asyncio.timeout(15):
            out, _ = await process.communicate()
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise EnforcementError("radmin did not end within 15 s") from error
    if process.returncode:
        words = out.decode(errors="replace").strip()[-500:]
        raise EnforcementError(f"FreeRADIUS did not reload, the old tablets stay: {words}")


class EventLog:
    """Follows events-*.log: whole lines only, from where the last call ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: Path | None = None
        self._offset = 0

    def start_at_end(self) -> None:
        """Skip what was written before now."""
        files = self._files()
        if files:
            self._file, self._offset = files[-1], files[-1].stat().st_size

    def lines(self) -> Iterator[dict[str, str] | None]:
        """Yield the records written since the last call; None for a line that is no record."""
        for file in self._files():
            if self._file is not None and file < self._file:
                continue
            if file != self._file:
                self._file, self._offset = file, 0
            yield from self._new_lines(file)

    def _files(self) -> list[Path]:
        try:
            return sorted(self._folder.glob("events-*.log"))
        except OSError:
            return []

    def _new_lines(self, file: Path) -> Iterator[dict[str, str] | None]:
        with file.open("rb") as stream:
            stream.seek(self._offset)
            data = stream.read(_MAX_READ)
        end = data.rfind(b"\n") + 1
        if not end and len(data) >= _MAX_LINE:
            # No line of ours is that long: step over it rather than wait for ever.
            end = len(data)
        self._offset += end
        for line in data[:end].splitlines():
            yield _record(line)


def _record(line: bytes) -> dict[str, str] | None:
    """Read one line: JSON of texts, each percent-encoded so that no attribute can forge a line."""
    if len(line) > _MAX_LINE:
        return None
    try:
        body: Any = json.loads(line)
        return {str(key): unquote(value, errors="replace") for key, value in body.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
