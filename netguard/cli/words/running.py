"""What puts rules in force, keeps them, takes them back, and says what is in force."""

from netguard.cli.words.base import Commands, command, folder, json_flag, late, said_flags, today


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    apply = command(
        commands,
        "apply",
        "check a rules folder and put it into force",
        "netguard apply rules/ --confirm-within 2m && netguard confirm\n"
        "  netguard apply rules/ --confirm-within 2m --probe        # probes confirm, or roll back",
        late("cli.applying", "apply"),
    )
    folder(apply)
    apply.add_argument("--by", help="who applies it, for the records (default: the user)")
    apply.add_argument("--allow-empty", action="store_true", help="an empty inventory is meant")
    apply.add_argument(
        "--confirm-shrink", action="store_true", help="an inventory that shrank by a fifth is meant"
    )
    apply.add_argument(
        "--confirm-within",
        metavar="SPAN",
        help="take it back after so long, such as 2m, unless 'netguard confirm' comes first",
    )
    apply.add_argument(
        "--probe",
        action="store_true",
        help="look whether tablets are admitted, services answer, what is protected is closed: "
        "keep the plan when all is well, else take it back at once",
    )
    apply.add_argument("--note", metavar="TEXT", help="why; for the audit")
    json_flag(apply)
    _confirm_commands(commands)
    status = command(
        commands,
        "status",
        "say what is in force, since when, from which commit, and what is wrong",
        "netguard status --json",
        late("cli.running", "status"),
    )
    json_flag(status)
    _store_commands(commands)


def _confirm_commands(commands: Commands) -> None:
    confirm = command(
        commands,
        "confirm",
        "keep the plan that was applied with --confirm-within",
        "netguard confirm",
        late("cli.confirming", "confirm"),
    )
    rollback = command(
        commands,
        "rollback",
        "put the plan before in force again, or plan N; what was learned stays",
        "netguard rollback\n  netguard rollback 41 --note 'video calls failed'",
        late("cli.confirming", "rollback"),
    )
    rollback.add_argument("number", nargs="?", type=int, metavar="N", help="see netguard history")
    for parser in (confirm, rollback):
        said_flags(parser)
    history = command(
        commands,
        "history",
        "list the plans that are kept: when, by whom, from which commit, which is in force",
        "netguard history",
        late("cli.confirming", "history"),
    )
    json_flag(history)
    show = command(
        commands,
        "show",
        "say what plan N is, and what it changed against the plan before it",
        "netguard show 41",
        late("cli.confirming", "show"),
    )
    show.add_argument("number", type=int, metavar="N", help="see netguard history")
    json_flag(show)
    today(show)


def _store_commands(commands: Commands) -> None:
    for name, help_ in (
        ("backup", "copy the node's databases into a folder, while they are in use"),
        ("restore", "put such copies in place; guard and watch must not run"),
    ):
        word = command(
            commands,
            name,
            help_,
            f"netguard {name} /srv/backup/netguard",
            late("cli.stores", name),
        )
        word.add_argument("folder", metavar="DIR", help="the folder of the copies")
