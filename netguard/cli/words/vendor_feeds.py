"""What brings vendors' lists of networks into the rules folder."""

from pathlib import Path

from netguard.cli.words.base import Commands, command, folder, json_flag, late, today


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    outer = commands.add_parser(
        "vendor-feed",
        help="the lists of networks that vendors publish: age, and renewing them for review",
        epilog="example:\n  netguard vendor-feed update microsoft-365 && netguard plan rules/",
    )
    outer.set_defaults(parser=outer)
    words = outer.add_subparsers(dest="feed_word", metavar="WORD", required=True)
    listed = command(
        words,
        "list",
        "list the feeds of a rules folder: version, age, which services take from them",
        "netguard vendor-feed list rules/",
        late("cli.vendor_feeds", "listed"),
    )
    folder(listed)
    json_flag(listed)
    today(listed)
    update = command(
        words,
        "update",
        "read a vendor's list and write services/feeds/NAME.yaml, to be reviewed; applies nothing",
        "netguard vendor-feed update microsoft-365 --proxy http://proxy.chu.example:3128\n"
        "  netguard vendor-feed update microsoft-365 --from endpoints.json --dry-run\n"
        "  netguard vendor-feed update zoom --from meetings=ZoomMeetings.txt",
        late("cli.vendor_feeds", "update"),
    )
    update.add_argument("name", metavar="NAME", help="microsoft-365, zoom, or a list of your own")
    folder(update)
    update.add_argument(
        "--from",
        dest="origin",
        action="append",
        metavar="[SET=]PLACE",
        help="a file or URL in place of the vendor's own: on a machine without Internet",
    )
    update.add_argument("--sets", metavar="SETS", help="also these sets, with commas")
    update.add_argument("--proxy", metavar="URL", help="ask through this proxy (none else is used)")
    update.add_argument(
        "--timeout", default="30s", metavar="SPAN", help="for one answer (default: 30s)"
    )
    update.add_argument(
        "--ca", type=Path, metavar="FILE", help="who vouches for the server, as PEM"
    )
    update.add_argument(
        "--confirm-change",
        action="store_true",
        help="that a list halves, doubles or loses a set is meant",
    )
    update.add_argument(
        "--dry-run", action="store_true", help="say what would change, write nothing"
    )
    json_flag(update)
    today(update)
