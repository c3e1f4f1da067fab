"""What reads and writes a rules folder, and explains it."""

from pathlib import Path

from netguard.cli.words.base import Commands, command, folder, json_flag, late, today


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    for name, help_, example in (
        ("check", "check a rules folder: every fault of every file", "netguard check rules/"),
        ("lint", "the same, and fail on warnings too", "netguard lint rules/ --format github"),
    ):
        check = command(commands, name, help_, example, late("cli.rule_files", name))
        folder(check)
        check.add_argument("--format", choices=("text", "json", "github"), default="text")
        check.add_argument("--json", action="store_const", const="json", dest="format")
        check.add_argument("--allow-empty", action="store_true", help="an empty inventory is meant")
        check.add_argument(
            "--against",
            type=Path,
            metavar="DIR",
            help="an inventory that shrank by a fifth against DIR is an error",
        )
        today(check)
        if name == "lint":
            check.add_argument(
                "--fix",
                action="store_true",
                help="mend what needs nobody's judgement, say what, then list what is left",
            )
            check.add_argument(
                "--diff", action="store_true", help="print what --fix would change, write nothing"
            )
    allot = command(
        commands,
        "allot",
        "give each tablet its fixed address: writes allotted.csv",
        "netguard allot rules/ && git diff rules/allotted.csv",
        late("cli.rule_files", "allot"),
    )
    folder(allot)
    allot.add_argument(
        "--dry-run", action="store_true", help="say what would change, write nothing"
    )
    json_flag(allot)
    init = command(
        commands,
        "init",
        "write a small first rules folder, by asking or from flags",
        "netguard init rules/",
        late("cli.first_folder", "init"),
    )
    init.add_argument(
        "folder", type=Path, metavar="DIR", help="a folder that does not exist yet, or is empty"
    )
    init.add_argument("--no-input", action="store_true", help="never ask; flags and defaults only")
    for flag, what in INIT_FLAGS.items():
        init.add_argument(f"--{flag}", metavar="TEXT", help=what)
    explain = command(
        commands,
        "explain",
        "say what happens to a tablet's packet or to a request, and which rule does it",
        "netguard explain T-001 zoom.us tcp/443\n"
        "  netguard explain T-001 10.10.0.5 tcp/104 --json\n"
        "  netguard explain --radius Calling-Station-Id=3c-28-6d-aa-01-10 --nas wlc-1",
        late("cli.explaining", "explain"),
    )
    explain.add_argument("tablet", nargs="?", help="a tablet's id, MAC or address")
    explain.add_argument("destination", nargs="?", help="a name or an address")
    explain.add_argument("port", nargs="?", help="tcp/443, udp/10000, or icmp")
    explain.add_argument(
        "--radius",
        nargs="+",
        metavar="ATTRIBUTE=VALUE",
        help="explain the answer to an Access-Request",
    )
    explain.add_argument(
        "--nas",
        help="with --radius: the NAS that asks (default: NAS-Identifier, else the only one)",
    )
    explain.add_argument("--site", help="the site the tablet is at (default: its home)")
    explain.add_argument(
        "--rules", type=Path, metavar="DIR", help="these rules (default: those in force)"
    )
    explain.add_argument("--offline", action="store_true", help="do not ask the running daemons")
    json_flag(explain)


# One flag per question of rules/init.py, whose module is too heavy to import for a help text; a
# test compares the two.
INIT_FLAGS = {
    "organisation": "short name of the hospital",
    "site": "short name of the site (default: main)",
    "time-zone": "IANA name (default: Europe/Paris)",
    "ssid": "the tablets' Wi-Fi network",
    "vlan": "the tablets' VLAN, 2 to 4094",
    "network": "IPv4 network of that VLAN, such as 10.99.0.0/22",
    "gateway": "address of this appliance in it",
    "interface": "interface of this appliance in that VLAN",
    "uplink": "interface towards the hospital's core",
    "nas": "short name of the Wi-Fi controller (default: wlc-1)",
    "nas-address": "its address, or the network of the APs",
    "nas-vendor": "its vendor, such as cisco-9800 (default: other)",
    "upstream": "the hospital's resolvers, with commas",
    "protected": "networks no tablet ever reaches: pacs=10.10.0.0/16,ehr=10.20.0.0/16",
    "video-host": "name of the hospital's Jitsi server",
    "video-network": "network of its video bridge",
    "tablets": "first tablets: T-001=3c:28:6d:aa:01:10,...",
}
