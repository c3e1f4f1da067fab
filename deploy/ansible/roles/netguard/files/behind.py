"""Says what a run before has changed without anybody having taken it: a run that fails drops its handlers.

usage: behind.py [--taken] [--prometheus FOLDER] [ROOT]

One line for each handler that is due, by the word it listens to. What runs is compared with the files that it has
read when it started (or was reloaded): the link of the version, its settings, its secrets. A unit that does not
run is behind nothing. Of others than our daemons nobody can ask what they have read (the kernel, networkd): with
--taken, which the last handler says, it is written down what their files were, and compared from then on.
Standard library only: the role runs it with Debian's python3, for any version of netguard.
"""

import argparse
import contextlib
import hashlib
import json
import os
import subprocess
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
# What others read of us, and the handler that lets them; `PROMETHEUS` is where the role was told to write for it.
_OTHERS = {
    "Netguard polkit changed": ("etc/polkit-1/rules.d/49-netguard.rules",),
    "Netguard kernel changed": ("etc/sysctl.d/60-netguard.conf",),
    "Netguard network changed": (
        "etc/systemd/network/60-netguard-*",
        "etc/systemd/network/61-netguard-*",
    ),
    "Netguard journal changed": ("etc/systemd/journald.conf.d/netguard.conf",),
    "Netguard prometheus changed": ("PROMETHEUS/netguard/*", "PROMETHEUS/prometheus.yml"),
    "Netguard alertmanager changed": ("PROMETHEUS/alertmanager.yml",),
}
_TAKEN = "var/lib/netguard-role.json"
_UNITS_CHANGED = "Netguard units changed"
_UNITS = (
    *(f"netguard-{name}.service" for name in ("blocked", "guard", "dns", "watch", "radius")),
    *(f"netguard-{name}.service" for name in ("dhcp", "time", "sni")),
    "netguard-backup.timer",
)
_RUNS = ("active", "activating", "reloading")


def main() -> None:
    """Print which handlers are due, or write down that none is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--taken", action="store_true")
    parser.add_argument("--prometheus", default="/etc/prometheus")
    parser.add_argument("root", nargs="?", type=Path, default=Path("/"))
    asked = parser.parse_args()
    root, prometheus = asked.root, asked.prometheus.strip("/")
    now = {
        handler: _digest(root, tuple(path.replace("PROMETHEUS", prometheus) for path in paths))
        for handler, paths in _OTHERS.items()
    }
    if asked.taken:
        _write(root / _TAKEN, now)
        return
    taken = _taken(root / _TAKEN)
    shown = {unit: _shown(unit) for unit in _UNITS}
    if any(each.get("NeedDaemonReload") == "yes" for each in shown.values()):
        print(_UNITS_CHANGED)
    for handler, due in _HANDLERS.items():
        if any(_is_older(shown[f"netguard-{name}.service"], due, root) for name in due.units):
            print(handler)
    for handler, digest in now.items():
        if digest != taken.get(handler, ""):
            print(handler)


def _digest(root: Path, paths: tuple[str, ...]) -> str:
    """Return what tells the files of these paths from others, by name and content; an empty text for no file."""
    files = sorted(found for path in paths for found in _found(root, path) if found.is_file())
    read = [[str(file), hashlib.sha256(file.read_bytes()).hexdigest()] for file in files]
    return hashlib.sha256(json.dumps(read).encode()).hexdigest() if read else ""


def _taken(path: Path) -> dict[str, str]:
    """Return what was written down; where nothing was, or it cannot be read, everything is due once."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text())
        if isinstance(found, dict):
            return found
    return {}


def _write(path: Path, taken: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    # Receivers carry passwords: what can be guessed from a digest is nobody else's either.
    new.touch(mode=0o600)
    new.write_text(json.dumps(taken))
    new.rename(path)


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
