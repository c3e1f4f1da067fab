"""What looks for the fault: the node, its cabling, and what the NASes really send."""

from pathlib import Path

from netguard.cli.words.base import Commands, command, json_flag, late


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    doctor = command(
        commands,
        "doctor",
        "look for what is wrong with this node, its cabling and its NASes, and say what mends it",
        "netguard doctor                              works also while our daemons do not\n"
        "  netguard doctor --all --json\n"
        "  netguard doctor radius --for 10m             what the NASes send, and which setting to change\n"
        "  netguard doctor radius --pcap trace.pcapng   the same of a capture; needs no node",
        late("cli.doctoring", "doctor"),
    )
    doctor.add_argument(
        "about",
        nargs="?",
        choices=("node", "radius"),
        default="node",
        help="node (default): processes, kernel, files, cables; radius: what the NASes send",
    )
    doctor.add_argument(
        "--all", action="store_true", help="print also what is fine, not only what is wrong"
    )
    json_flag(doctor)
    radius = doctor.add_argument_group("radius")
    radius.add_argument("--for", dest="within", metavar="SPAN", help="listen so long, such as 10m")
    radius.add_argument("--pcap", type=Path, metavar="FILE", help="read a capture (pcap, pcapng)")
    radius.add_argument("--nas", metavar="NAS", help="only this NAS of the rules")
    radius.add_argument(
        "--no-probe", action="store_true", help="do not knock at the NASes' CoA ports"
    )
    radius.add_argument(
        "--rules", type=Path, metavar="DIR", help="the rules (default: those in force)"
    )
