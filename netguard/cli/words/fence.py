"""The panic switch, profiles, refused packets, and requests to the running FreeRADIUS."""

import argparse
from pathlib import Path

from netguard.cli.words.base import Commands, command, json_flag, late


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    fence = commands.add_parser(
        "fence",
        help="the panic switch: block everything of the tablets, or put the plan back",
        epilog="example:\n  netguard fence block --note 'worm in cardio-3'\n  netguard fence restore",
    )
    fence.set_defaults(parser=fence)
    words = fence.add_subparsers(dest="fence_word", metavar="WORD", required=True)
    for name, help_ in (
        ("block", "let nothing of the tablets pass, also after a restart"),
        ("restore", "put the plan in force back; never more than that"),
    ):
        word = command(words, name, help_, f"netguard fence {name}", late("cli.fence", "fence"))
        word.add_argument("--by", help="who does it, for the records (default: the user)")
        word.add_argument("--note", help="why, for the records")
        json_flag(word)
    denials = command(
        commands,
        "denials",
        "show refused packets: who, where to, which rule",
        "netguard denials --follow --tablet T-001",
        late("cli.fence", "denials"),
    )
    denials.add_argument("--follow", action="store_true", help="go on as they come")
    denials.add_argument("--tablet", metavar="ID", help="of this tablet only")
    denials.add_argument("--limit", type=int, metavar="N", help="the newest N to begin with")
    denials.add_argument("--json", action="store_true", help="one JSON object a line")
    profile = command(
        commands,
        "profile",
        "switch what was agreed for a bad day on or off (groups.yaml, key 'profiles'); alone: list them",
        "netguard profile crisis on --for 4h --note 'uplink down to one line'\n"
        "  netguard profile crisis off\n  netguard profile --json",
        late("cli.profiles", "profile"),
    )
    profile.add_argument("name", metavar="NAME", nargs="?", help="the profile's name")
    profile.add_argument("switch", nargs="?", choices=("on", "off"), help="what to do with it")
    profile.add_argument(
        "--for",
        dest="within",
        metavar="SPAN",
        help="for how long (default: until it is switched off)",
    )
    profile.add_argument("--note", metavar="TEXT", help="why, for the records")
    profile.add_argument("--by", metavar="WHO", help="who does it (default: the user)")
    json_flag(profile)
    _radius_commands(commands)


def _radius_commands(commands: Commands) -> None:
    radius = commands.add_parser(
        "radius",
        help="ask the running FreeRADIUS",
        epilog="example:\n  netguard radius ask T-001 --vendor aruba-instant --ap AP-CAR-301",
    )
    radius.set_defaults(parser=radius)
    words = radius.add_subparsers(dest="radius_word", metavar="WORD", required=True)
    ask = command(
        words,
        "ask",
        "send a real request in a vendor's shape, and print the answer beside what the rules say",
        "netguard radius ask T-001 --vendor aruba-instant --ap AP-CAR-301",
        late("cli.radius", "ask"),
    )
    ask.add_argument("tablet", help="a tablet's id, MAC or address, or a MAC of no inventory")
    ask.add_argument("--vendor", default="hostapd", help="write the request as this vendor does")
    ask.add_argument("--ap", help="name or BSSID of the access point")
    ask.add_argument("--ssid", help="another network than the tablets'")
    ask.add_argument("--site", help="ask as a NAS of this site (default: the tablet's home)")
    ask.add_argument("--rules", type=Path, help=argparse.SUPPRESS)
    ask.add_argument("--offline", action="store_true", help=argparse.SUPPRESS)
    json_flag(ask)
