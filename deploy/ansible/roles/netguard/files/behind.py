"""Says what a run before has changed without anybody having taken it: a run that fails drops its handlers.

usage: behind.py [ROOT]

One line for each handler that is due, by the word it listens to. What runs is compared with the files that it has
read when it started (or was reloaded): the link of the version, its settings, its secrets. A unit that does not
run is behind nothing. Standard library only: the role runs it with Debian's python3, for any version of netguard.
"""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple


class _Due(NamedTuple):
    """When a handler is due: one of these units has started (or has changed its state) before one of these files."""

    units: tuple[str, ...]
    paths: tuple[str, ...]
    since: str = "ExecMainStartTimestamp"


_HANDLERS = {
    "Netguard program changed": _Due(
        ("guard", "dns", "watch", "radius"), ("opt/netguard/current",)
    ),
    "Netguard settings changed": _Due(("guard", "dns", "watch"), ("etc/netguard/settings.yaml",)),
    "Netguard radius changed": _Due(
        ("radius",), ("etc/netguard/radius.env", "etc/netguard/secrets/*.conf")
    ),
    # The folder tells of one that was taken away.
    "Netguard time changed": _Due(
        ("time",),
        (
            "etc/systemd/system/netguard-time.service.d",
            "etc/systemd/system/netguard-time.service.d/*",
        ),
    ),
    # A reload changes its state, and is seen there alone.
    "Netguard watch changed": _Due(
        ("watch",),
        ("etc/netguard/watch-secrets/tls.crt", "etc/netguard/watch-secrets/tls.key"),
        "StateChangeTimestamp",
    ),
}
_UNITS_CHANGED = "Netguard units changed"
_UNITS = (
    *(f"netguard-{name}.service" for name in ("blocked", "guard", "dns", "watch", "radius")),
    *(f"netguard-{name}.service" for name in ("dhcp", "time", "sni")),
    "netguard-backup.timer",
)
_RUNS = ("active", "activating", "reloading")


def main() -> None:
    """Print which handlers are due."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "/")
    shown = {unit: _shown(unit) for unit in _UNITS}
    if any(each.get("NeedDaemonReload") == "yes" for each in shown.values()):
        print(_UNITS_CHANGED)
    for handler, due in _HANDLERS.items():
        if any(_is_older(shown[f"netguard-{name}.service"], due, root) for name in due.units):
            print(handler)


def _shown(unit: str) -> dict[str, str]:
    wanted = "ActiveState,NeedDaemonReload,ExecMainStartTimestamp,StateChangeTimestamp"
    done = subprocess.run(
        ["systemctl", "show", f"--property={wanted}", unit],
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _is_older(shown: dict[str, str], due: _Due, root: Path) -> bool:
    """Say whether what runs is older than one of the files; what is of the same second was read."""
    if shown["ActiveState"] not in _RUNS or not shown[due.since]:
        return False
    since = datetime.strptime(shown[due.since], "%a %Y-%m-%d %H:%M:%S UTC").replace(tzinfo=UTC)
    # Of the link itself, not of what it points to.
    files = (found.lstat() for path in due.paths for found in _found(root, path))
    return any(int(file.st_mtime) > since.timestamp() for file in files)


def _found(root: Path, path: str) -> list[Path]:
    """Return the files that a path with `*` in its last part names; a link that leads nowhere is one."""
    folder = (root / path).parent
    return [each for each in folder.iterdir() if each.match(path)] if folder.is_dir() else []


if __name__ == "__main__":
    main()
