"""What takes one tablet off the network, lets it back, and binds it to a new MAC."""

from netguard.cli.words.base import Commands, command, folder, for_flag, json_flag, late, said_flags


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    quarantine = command(
        commands,
        "quarantine",
        "cut a tablet off at once and throw it off the air, or list who is in quarantine",
        "netguard quarantine T-001 --why 'sends spam' --for 2h --wait\n"
        "  netguard quarantine                                          who is, and how far",
        late("cli.quarantining", "quarantine"),
    )
    quarantine.add_argument("tablet", nargs="?", metavar="ID", help="a tablet's id, MAC or address")
    quarantine.add_argument("--why", metavar="TEXT", help="why; never the name of a patient")
    span = quarantine.add_mutually_exclusive_group()
    for_flag(span, needed=False)
    span.add_argument(
        "--until", metavar="MOMENT", help="until then, such as 2026-12-24T18:00+01:00"
    )
    quarantine.add_argument(
        "--wait", action="store_true", help="show each step until it is off the air, about a minute"
    )
    quarantine.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
    json_flag(quarantine)
    release = command(
        commands,
        "release",
        "end a quarantine: the tablet may again what its group may",
        "netguard release T-001 --note 'cleaned'",
        late("cli.quarantining", "release"),
    )
    release.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
    said_flags(release)
    adopt = command(
        commands,
        "adopt",
        "give a tablet of tablets.csv the MAC under which it asks now, after your yes",
        "netguard adopt 5a:11:c0:ff:ee:01 T-017 && netguard apply\n"
        "  netguard unknown                       which MACs ask, and which tablet fell silent beside them",
        late("cli.adopting", "adopt"),
    )
    adopt.add_argument("mac", metavar="MAC", help="the new MAC, as netguard unknown shows it")
    adopt.add_argument("tablet", metavar="ID", help="the tablet: id, old MAC or address")
    folder(adopt)
    adopt.add_argument("--yes", action="store_true", help="do not ask: somebody has looked at it")
    json_flag(adopt)
