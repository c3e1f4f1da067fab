"""The words of the command line: every command with an example, spelling suggestions, completion.

Imports nothing heavy: `netguard --help` and a typo must answer at once.
"""

import argparse
import os
import sys
from pathlib import Path

from netguard import __version__
from netguard.cli.words import (
    alerts,
    daemons,
    doctor,
    fence,
    importing,
    psk,
    quarantine,
    replay,
    rules,
    running,
    secret_files,
    tablets,
    trust,
    vendor_feeds,
)
from netguard.cli.words.base import Commands, Parser, command


def build_parser() -> Parser:
    """Return the whole command line."""
    parser = Parser(
        prog="netguard",
        description="Lent tablets: who joins, what they reach, and why.\n\n"
        "  netguard check rules/                        is the folder right?\n"
        "  netguard test rules/                         do its cases hold?\n"
        "  netguard apply rules/                        put it into force\n"
        "  netguard explain T-001 zoom.us tcp/443       why does this pass, or not?\n"
        "  netguard status                              what is in force, since when",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="the node's settings (default: $NETGUARD_SETTINGS, /etc/netguard/settings.yaml)",
    )
    parser.add_argument("--version", action="version", version=f"netguard {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for topic in (
        rules,
        importing,
        vendor_feeds,
        trust,
        running,
        doctor,
        secret_files,
        psk,
        tablets,
        quarantine,
        fence,
        alerts,
        replay,
        daemons,
    ):
        topic.add(commands)
    _lab_commands(commands)
    _other_commands(commands)
    return parser


def _lab_commands(commands: Commands) -> None:
    from netguard.lab.cli import add_parser  # words only; the lab itself is imported when it runs

    add_parser(commands)


def _other_commands(commands: Commands) -> None:
    completion = command(
        commands,
        "completion",
        "print a completion script for a shell",
        "netguard completion bash > /etc/bash_completion.d/netguard",
        _completion,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    command(commands, "version", "print the version", "netguard version", _version)


def _completion(arguments: argparse.Namespace) -> int:
    import shtab  # only this command needs it

    sys.stdout.write(shtab.complete(build_parser(), arguments.shell) + "\n")
    return 0


def _version(arguments: argparse.Namespace) -> int:
    sys.stdout.write(f"netguard {__version__}\n")
    return 0


def settings_file(arguments: argparse.Namespace) -> Path:
    """Return the settings file that counts: flag, environment, default."""
    from netguard.settings import DEFAULT_FILE, ENVIRONMENT  # dataclasses cost time at start

    if arguments.settings is not None:
        return Path(arguments.settings)
    return Path(os.environ.get(ENVIRONMENT) or DEFAULT_FILE)
