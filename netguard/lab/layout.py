"""Where a lab keeps its things, what it remembers, and the lock that lets only one change labs at a time.

    /run/netguard-lab/            one folder per lab; the lock is taken on this folder itself
    /run/netguard-lab/users.json  the system users that the lab made, and will remove
    /run/netguard-lab/NAME/       settings.yaml, rules/, secrets/, logs/, pids/, sockets, ...

On a tmpfs: after a reboot nothing of it is left, and nothing of the lab either.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from netguard.errors import UsageError

ROOT = Path("/run/netguard-lab")
USERS = ROOT / "users.json"
# A namespace is named ng-NAME-stranger.
_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")


@dataclass(slots=True)
class Record:
    """What has to survive the process that made the lab."""

    name: str
    token: str
    rules: str
    node: str = ""
    site: str = ""
    port: int = 0
    ready: bool = False
    since: str = ""
    tablets: dict[str, str] = field(default_factory=dict)
    macs: dict[str, str] = field(default_factory=dict)
    homes: dict[str, str] = field(default_factory=dict)
    nas_gateway: str = ""
    speed: int = 1
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one lab."""

    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"'{self.name}' is no name for a lab, write up to 12 lower-case letters and digits"
            )

    @property
    def folder(self) -> Path:
        """Return the lab's own folder."""
        return ROOT / self.name

    @property
    def settings(self) -> Path:
        """Return the settings file of the lab's node."""
        return self.folder / "settings.yaml"

    @property
    def rules(self) -> Path:
        """Return the rules that are in force here, a copy."""
        return self.folder / "rules"

    @property
    def logs(self) -> Path:
        """Return the folder of what each process printed."""
        return self.folder / "logs"

    def log(self, process: str) -> Path:
        """Return what one process printed."""
        return self.logs / f"{process}.log"

    def pid_file(self, process: str) -> Path:
        """Return where the process id of one process is kept."""
        return self.folder / "pids" / process

    def socket(self, process: str) -> Path:
        """Return the control socket of one of the lab's own processes."""
        return self.folder / "sockets" / f"{process}.sock"

    def namespace(self, host: str) -> str:
        """Return the name of a host's network namespace."""
        return f"ng-{self.name}-{host}"

    def resolv(self, host: str) -> Path:
        """Return the resolv.conf of one host."""
        return self.folder / "hosts" / f"{host}.resolv.conf"

    def read(self) -> Record | None:
        """Return what is remembered, or None where there is no such lab."""
        try:
            return Record(**json.loads((self.folder / "lab.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, record: Record) -> None:
        """Remember it, whole or not at all."""
        beside = self.folder / "lab.json.new"
        beside.write_text(json.dumps(asdict(record), indent=1) + "\n")
        beside.rename(self.folder / "lab.json")


def names() -> list[str]:
    """Return the names of all labs, whole or half."""
    if not ROOT.is_dir():
        return []
    return sorted(path.name for path in ROOT.iterdir() if path.is_dir())


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock that `up` and `down` of any lab need; waits for it."""
    while True:
        ROOT.mkdir(mode=0o755, exist_ok=True)
        held = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_EX)
        # The holder before us may have removed the folder with its last lab.
        with suppress(FileNotFoundError):
            if ROOT.stat().st_ino == os.fstat(held).st_ino:
                break
        os.close(held)
    try:
        yield
    finally:
        with suppress(OSError):
            ROOT.rmdir()
        os.close(held)
