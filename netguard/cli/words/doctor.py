"""What looks for the fault: the node and its cabling."""

from netguard.cli.words.base import Commands, command, json_flag, late


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    doctor = command(
        commands,
        "doctor",
        "look for what is wrong with this node and its cabling, and say what mends it",
        "netguard doctor            works also while our daemons do not\n  netguard doctor --all --json",
        late("cli.doctoring", "doctor"),
    )
    doctor.add_argument(
        "--all", action="store_true", help="print also what is fine, not only what is wrong"
    )
    json_flag(doctor)
