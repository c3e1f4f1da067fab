"""The files of secrets that rules and settings name."""

from pathlib import Path

from netguard.cli.words.base import Commands, Parser, command, json_flag, late


def add(commands: Commands) -> None:
    """Add `secrets` and its words."""
    secrets = command(
        commands,
        "secrets",
        "make, rotate and show the secrets that the rules name; never in a log or a word of a command",
        "netguard secrets list\n  netguard secrets make\n  netguard secrets rotate nas-wlc-1",
        late("cli.secret_files", "list_"),
    )
    _rules(secrets)
    json_flag(secrets)
    words = secrets.add_subparsers(dest="secrets_word", metavar="WORD")
    listed = command(
        words,
        "list",
        "which are needed, for what, since when, and whether they are there",
        "netguard secrets list --json",
        late("cli.secret_files", "list_"),
    )
    _rules(listed)
    json_flag(listed)
    made = command(
        words,
        "make",
        "make those that are missing; what is there stays",
        "netguard secrets make",
        late("cli.secret_files", "make"),
    )
    _rules(made)
    rotated = command(
        words,
        "rotate",
        "give one another secret; FreeRADIUS is restarted for that of a NAS",
        "netguard secrets rotate nas-wlc-1\n  netguard secrets rotate chat-security --from new-url",
        late("cli.secret_files", "rotate"),
    )
    rotated.add_argument("name", metavar="NAME", help="as the rules name it")
    rotated.add_argument(
        "--from", dest="source", metavar="FILE", help="the new one, `-` for standard input"
    )
    _rules(rotated)
    shown = command(
        words,
        "show",
        "print one, to be typed in on the other side",
        "netguard secrets show nas-wlc-1",
        late("cli.secret_files", "show"),
    )
    shown.add_argument("name", metavar="NAME", help="as the rules name it")
    _rules(shown)


def _rules(parser: Parser) -> None:
    parser.add_argument(
        "--rules", type=Path, metavar="DIR", help="the rules (default: those of the settings)"
    )
