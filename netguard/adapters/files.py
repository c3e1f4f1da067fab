"""Files that others read, written beside and swapped in by rename; and the copies in force.

A reader sees the old file or the new one, never half of either, also across a power cut. Copies of
the rules are immutable and numbered; only guard writes them, only on `apply`, and the edited
folder is never read at boot:

    STATE/plans/000001/rules/...   the bytes as they were applied
    STATE/plans/000001/meta.json   when, by whom, from where, which commit
    STATE/current -> plans/000001
"""

import fcntl
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from netguard.errors import UsageError

KEPT_COPIES = 20


def write(path: Path, text: str | bytes, mode: int = 0o644) -> bool:
    """Bring a file to this content; returns False when it had it already."""
    data = text.encode() if isinstance(text, str) else text
    try:
        if path.read_bytes() == data:
            return False
    except OSError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)
    sync_folder(path.parent)
    return True


def text(path: Path) -> str:
    """Return what a file holds; an empty text where it cannot be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def sync_folder(path: Path) -> None:
    """Make renames in a folder survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path, what: str) -> IO[str]:
    """Take a lock for the life of this process; the file names the pid that holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(20).strip() or "another process"
        file.close()
        raise UsageError(f"{what} runs already, pid {holder} holds {path}") from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


@dataclass(frozen=True, slots=True)
class Applied:
    """One `apply`: its number, when, by whom, and where the rules came from.

    `rules` and `plan` are SHA-256 digests; `commit` is empty outside git; `edited` says that the
    folder differed from that commit.
    """

    number: int
    at: str
    by: str
    name: str
    folder: str
    commit: str
    edited: bool
    rules: str
    plan: str


class Copies:
    """The numbered copies below one state folder."""

    def __init__(self, state: Path) -> None:
        self._plans = state / "plans"
        self._current = state / "current"

    def current(self) -> tuple[Applied, Path] | None:
        """Return what is in force and the folder of its rules; None before the first apply."""
        try:
            body = json.loads((self._current / "meta.json").read_text())
            return Applied(**body), self._current.resolve() / "rules"
        except FileNotFoundError:
            return None

    def listed(self) -> list[Applied]:
        """Return every copy that is kept, the oldest first."""
        numbers = sorted(int(p.name) for p in self._plans.glob("[0-9]*") if p.name.isdigit())
        return [copy[0] for number in numbers if (copy := self.at(number)) is not None]

    def at(self, number: int) -> tuple[Applied, Path] | None:
        """Return a copy by its number and the folder of its rules; None where it is not kept."""
        folder = self._plans / f"{number:06d}"
        try:
            return Applied(**json.loads((folder / "meta.json").read_text())), folder / "rules"
        except FileNotFoundError:
            return None

    def next_number(self) -> int:
        """Return the number that the next copy gets."""
        numbers = [int(p.name) for p in self._plans.glob("[0-9]*") if p.name.isdigit()]
        return max(numbers, default=0) + 1

    def store(self, applied: Applied, files: Mapping[str, bytes]) -> None:
        """Store a copy; it is not in force until `switch` names it."""
        folder = self._plans / f"{applied.number:06d}"
        beside = self._plans / f".{applied.number:06d}.new"
        shutil.rmtree(beside, ignore_errors=True)
        for name, data in files.items():
            write(beside / "rules" / name, data)
        write(beside / "meta.json", json.dumps(asdict(applied), indent=1) + "\n")
        beside.rename(folder)
        sync_folder(self._plans)

    def switch(self, number: int) -> None:
        """Put a stored copy in force, and drop the oldest ones."""
        beside = self._current.with_name(".current.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(Path("plans") / f"{number:06d}")
        beside.rename(self._current)
        sync_folder(self._current.parent)
        kept = sorted(p for p in self._plans.glob("[0-9]*") if p.name.isdigit())
        for old in kept[:-KEPT_COPIES]:
            if int(old.name) != number:
                shutil.rmtree(old, ignore_errors=True)

    def drop(self, number: int) -> None:
        """Remove a copy that could not be put in force."""
        shutil.rmtree(self._plans / f"{number:06d}", ignore_errors=True)
