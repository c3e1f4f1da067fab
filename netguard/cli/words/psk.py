"""The Wi-Fi key that each tablet has for itself."""

from netguard.cli.words.base import Commands, Parser, command, json_flag, late


def add(commands: Commands) -> None:
    """Add `psk` and its words."""
    psk = command(
        commands,
        "psk",
        "the Wi-Fi key of each tablet: who has one, show, rotate, print a card with a QR code",
        "netguard psk list\n  netguard psk card T-001 --out T-001.html\n"
        "  netguard psk rotate T-001 --why 'the card was lost'",
        late("cli.psk", "list_"),
    )
    json_flag(psk)
    words = psk.add_subparsers(dest="psk_word", metavar="WORD")
    listed = command(
        words,
        "list",
        "which tablets have a key of their own, since when; no key is shown",
        "netguard psk list --json",
        late("cli.psk", "list_"),
    )
    json_flag(listed)
    shown = command(
        words,
        "show",
        "print the key of one tablet, to be typed in; the audit says who looked",
        "netguard psk show T-001",
        late("cli.psk", "show"),
    )
    _tablet(shown)
    rotated = command(
        words,
        "rotate",
        "give one tablet another key, or all; the session with the old one is ended",
        "netguard psk rotate T-001 --why 'the card was lost'\n"
        "  netguard psk rotate --all --why 'a backup was stolen'",
        late("cli.psk", "rotate"),
    )
    rotated.add_argument("tablet", metavar="ID", nargs="?", help="a tablet's id, MAC or address")
    rotated.add_argument("--all", action="store_true", help="every tablet that has one")
    rotated.add_argument("--why", metavar="TEXT", help="why; never the name of a patient")
    _by(rotated)
    card = command(
        words,
        "card",
        "write a card to print: the tablet, its network, the key and a QR code that joins it",
        "netguard psk card T-001 --out T-001.html\n"
        "  netguard psk card T-001 --out T-001.svg --language fr",
        late("cli.psk", "card"),
    )
    _tablet(card)
    card.add_argument(
        "--out", metavar="FILE", required=True, help="a name that ends in .html or .svg; mode 0600"
    )
    card.add_argument("--force", action="store_true", help="write over a file that is there")
    card.add_argument(
        "--language",
        default="en",
        metavar="CODE",
        help="of the words beside it: en, fr (default: en)",
    )


def _tablet(parser: Parser) -> None:
    parser.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
    _by(parser)


def _by(parser: Parser) -> None:
    parser.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
    json_flag(parser)
