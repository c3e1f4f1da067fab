"""What is known and said of tablets."""

from netguard.cli.words.base import Commands, command, for_flag, json_flag, late
from netguard.core.loans import FOUND, STATES


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    tablet = command(
        commands,
        "tablet",
        "say what is known of a tablet, or record that it is lent, lost, stolen, retired, found",
        "netguard tablet T-001\n"
        "  netguard tablet T-001 stolen --note 'police report 4711'    refused everywhere, at once\n"
        "  netguard tablet T-001 found                                 back to stock",
        late("cli.tablets", "tablet"),
    )
    tablet.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
    tablet.add_argument("state", nargs="?", choices=(*STATES, FOUND), help="what it is from now on")
    tablet.add_argument("--note", metavar="TEXT", help="why; never the name of a patient")
    tablet.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
    json_flag(tablet)
    _presence_commands(commands)
    unknown = command(
        commands,
        "unknown",
        "list MACs that were refused because the inventory lacks them, as lines to fill in",
        "netguard unknown --since 2h",
        late("cli.tablets", "unknown"),
    )
    unknown.add_argument(
        "--since", default="24h", metavar="SPAN", help="how far back, such as 30m, 24h, 7d"
    )
    json_flag(unknown)
    rejects = command(
        commands,
        "rejects",
        "say where tablets were refused: other networks, closed areas, other sites, or reported lost",
        "netguard rejects T-001 --since 30d",
        late("cli.tablets", "rejects"),
    )
    rejects.add_argument("tablet", metavar="ID", nargs="?", help="only this tablet")
    rejects.add_argument(
        "--since", default="30d", metavar="SPAN", help="how far back, such as 24h, 30d"
    )
    json_flag(rejects)
    audit = command(
        commands,
        "audit",
        "say who changed what: every apply and every loan, the newest first",
        "netguard audit --since 7d --subject T-001",
        late("cli.tablets", "audit"),
    )
    audit.add_argument(
        "--since", default="30d", metavar="SPAN", help="how far back, such as 24h, 30d"
    )
    audit.add_argument("--subject", metavar="ID", help="only this tablet or rules folder")
    json_flag(audit)


# What each word says of a tablet, and what follows.
_WORDS = {
    "lend": (
        "record that a tablet is lent, for as long as its group's loans or as you say",
        "netguard lend T-001\n  netguard lend T-001 --for 3d            from now, also one that is lent",
    ),
    "return": ("record that a tablet is back in stock", "netguard return T-001"),
    "lost": ("record that a tablet is lost: refused everywhere, at once", "netguard lost T-001"),
    "found": ("record that a lost or stolen tablet is back in stock", "netguard found T-001"),
}


def _presence_commands(commands: Commands) -> None:
    listed = command(
        commands,
        "tablets",
        "list tablets: present or not and why, where, since when, lent or not",
        "netguard tablets --state missing\n  netguard tablets --area pellegrin/lobby --json\n"
        "  netguard tablets --overdue                                  to be asked back",
        late("cli.presence", "listed"),
    )
    listed.add_argument("--area", metavar="AREA", help="only there: an area, or SITE/AREA")
    listed.add_argument(
        "--state", metavar="STATE", help="only those: missing, quiet, ... or lent, lost, ..."
    )
    listed.add_argument(
        "--overdue", action="store_true", help="only those that were to be back by now"
    )
    json_flag(listed)
    for name, (help_, example) in _WORDS.items():
        word = command(commands, name, help_, example, late("cli.tablets", "said"))
        word.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
        if name == "lend":
            for_flag(word, needed=False)
        word.add_argument("--note", metavar="TEXT", help="why; never the name of a patient")
        word.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
        json_flag(word)
    move = command(
        commands,
        "move",
        "note that a tablet is about to go to another area, so that it raises no alarm",
        "netguard move T-001 pellegrin/neuro-2 --for 2h",
        late("cli.tablets", "move"),
    )
    move.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
    move.add_argument("area", metavar="SITE/AREA", help="where it goes")
    move.add_argument(
        "--for", dest="within", default="1h", metavar="SPAN", help="for how long (default: 1h)"
    )
    move.add_argument("--note", metavar="TEXT", help="why; never the name of a patient")
    move.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
    json_flag(move)
    events = commands.add_parser(
        "events",
        help="the events that presence is judged by",
        epilog="example:\n  netguard events export --since 7d --pseudonymise > events.jsonl",
    )
    events.set_defaults(parser=events)
    words = events.add_subparsers(dest="events_word", metavar="WORD", required=True)
    export = command(
        words,
        "export",
        "print recorded events, one JSON object a line, for netguard replay (docs/events.md)",
        "netguard events export --since 7d --pseudonymise > events.jsonl",
        late("cli.presence", "export"),
    )
    export.add_argument(
        "--since", default="7d", metavar="SPAN", help="how far back, such as 24h, 7d"
    )
    export.add_argument(
        "--pseudonymise",
        action="store_true",
        help="other names for tablets, APs and areas, with a key that is thrown away",
    )
