"""backup and restore: the databases of a node, as one folder."""

import argparse
import sys
from pathlib import Path

from netguard.adapters import files, store
from netguard.cli import folders
from netguard.daemon.psks import KEY_FILE
from netguard.errors import UsageError
from netguard.settings import Settings


def _stores(node: Settings) -> dict[str, tuple[store.Kind, Path]]:
    return {
        "guard": (store.GUARD, node.paths.state / "guard.db"),
        "watch": (store.WATCH, node.watch_state / "watch.db"),
    }


def backup(arguments: argparse.Namespace) -> int:
    """Copy both databases into a folder, while they are in use; each copy is judged."""
    node = folders.settings(arguments)
    target = Path(arguments.folder)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, (kind, path) in _stores(node).items():
        if not path.exists():
            sys.stderr.write(f"{path}: not there yet, left out\n")
            continue
        store.backup(path, kind, target / path.name)
        sys.stdout.write(f"{name}: {target / path.name}, sound\n")
    key = node.paths.state / KEY_FILE
    if key.exists():
        sys.stderr.write(
            f"{key}: not copied; without it the Wi-Fi keys in guard.db open for nobody\n"
        )
    return 0


def restore(arguments: argparse.Namespace) -> int:
    """Put the copies of a folder in place; the daemons must not run, what was there is kept beside."""
    node = folders.settings(arguments)
    source = Path(arguments.folder)
    found = {name: each for name, each in _stores(node).items() if (source / each[1].name).exists()}
    if not found:
        raise UsageError(f"{source}: holds neither guard.db nor watch.db; netguard backup DIR")
    for kind, path in found.values():
        store.verify(source / path.name, kind)
    for name, (kind, path) in found.items():
        # A daemon that runs holds its lock, and the restore is refused.
        with files.lock(node.paths.run / f"{name}.lock", name):
            old = store.restore(source / path.name, kind, path)
        kept = f", the old one is {old}" if old else ""
        sys.stdout.write(f"{name}: {path} is that of {source}{kept}\n")
    return 0
