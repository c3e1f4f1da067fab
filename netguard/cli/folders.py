"""What the words of a command mean: which settings, which rules folder, how long, who."""

import argparse
import datetime
import getpass
from pathlib import Path

from netguard.adapters import clock
from netguard.cli.parser import settings_file
from netguard.core.names import parse_duration
from netguard.errors import BadValue, UsageError
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


def seconds(text: str, flag: str = "--since") -> float:
    """Read a span of time that somebody typed behind a flag."""
    try:
        return parse_duration(text).total_seconds()
    except BadValue as error:
        raise UsageError(f"{flag} {error.text}") from error


def user() -> str:
    """Return who types this; nothing where nobody knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
