"""Which settings and which rules folder a command means."""

import argparse
import datetime
from pathlib import Path

from netguard.adapters import clock
from netguard.cli.parser import settings_file
from netguard.errors import UsageError
from netguard.rules.folder import Folder, read_folder
from netguard.rules.settings_file import read_settings
from netguard.settings import Settings


def settings(arguments: argparse.Namespace) -> Settings:
    """Return the node's settings; raises UsageError with every fault in the file."""
    return read_settings(settings_file(arguments))


def settings_if_any(arguments: argparse.Namespace) -> Settings | None:
    """Return the node's settings, or None on a machine that is no node."""
    file = settings_file(arguments)
    if arguments.settings is None and not file.exists():
        return None
    return read_settings(file)


def rules_folder(arguments: argparse.Namespace) -> Folder:
    """Return the folder a command is about: the one named, ./rules, or the settings' one."""
    return read_folder(rules_path(arguments))


def rules_path(arguments: argparse.Namespace) -> Path:
    """Return the path of that folder."""
    if arguments.folder is not None:
        return Path(arguments.folder)
    if Path("rules").is_dir():
        return Path("rules")
    node = settings_if_any(arguments)
    if node is None:
        raise UsageError("no folder 'rules' here; name one: netguard check DIR")
    return node.paths.rules


def today(arguments: argparse.Namespace) -> datetime.date:
    """Return the day to judge by."""
    given = getattr(arguments, "today", None)
    if given is None:
        return clock.today()
    try:
        return datetime.date.fromisoformat(given)
    except ValueError:
        raise UsageError(f"--today '{given}' is not a date, write 2026-11-20") from None
