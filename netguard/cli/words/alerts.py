"""What is wrong, and who looks after it."""

from netguard.cli.words.base import Commands, command, for_flag, json_flag, late, said_flags


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    alerts = command(
        commands,
        "alerts",
        "what is wrong and not over: tablets, places, the appliance; 1 when there is any",
        "netguard alerts --waiting",
        late("cli.alerts", "listed"),
    )
    which = alerts.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="also what is over")
    which.add_argument(
        "--waiting", action="store_true", help="what receivers have not taken: waiting, dead, held"
    )
    which.add_argument(
        "--revive", action="store_true", help="send once more what receivers refused for good"
    )
    json_flag(alerts)
    ack = command(
        commands,
        "ack",
        "say that somebody looks after an alert: it is not repeated any more",
        "netguard ack T-017 --note 'ward has it'",
        late("cli.alerts", "acknowledge"),
    )
    snooze = command(
        commands,
        "snooze",
        "do not repeat an alert for a while",
        "netguard snooze T-017 --for 1h",
        late("cli.alerts", "snooze"),
    )
    for parser in (ack, snooze):
        parser.add_argument("alert", metavar="ALERT", help="incident, or the tablet it is about")
        said_flags(parser)
    for_flag(snooze)
    silence = command(
        commands,
        "silence",
        "tell nobody for a while, a maintenance for example; without words: list the silences",
        "netguard silence --site pellegrin --from 2h --for 4h --note 'switches are replaced'",
        late("cli.alerts", "silence"),
    )
    silence.add_argument("--site", metavar="SITE", help="alerts of this site")
    silence.add_argument("--area", metavar="SITE/AREA", help="alerts of this area")
    silence.add_argument("--tablet", metavar="ID", help="alerts of this tablet")
    silence.add_argument("--code", metavar="NG-1101", help="alerts with this code")
    silence.add_argument("--everything", action="store_true", help="all alerts of this appliance")
    silence.add_argument("--from", dest="after", metavar="SPAN", help="begin later (default: now)")
    silence.add_argument("--end", type=int, metavar="N", help="end silence number N now")
    silence.add_argument("--all", action="store_true", help="list those that are over as well")
    for_flag(silence, needed=False)
    said_flags(silence)
