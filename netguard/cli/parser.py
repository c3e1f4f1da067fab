"""The words of the command line: every command with an example, spelling suggestions, completion.

Imports nothing heavy: `netguard --help` and a typo must answer at once.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from netguard import __version__
from netguard.core.loans import FOUND, STATES

Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """An argparse parser that suggests the nearest word and ends with 2."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  # handed on to argparse as they are
        options.setdefault("allow_abbrev", False)
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options)

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse; a misspelt flag of a command is answered by that command's own flags."""
        parsed, rest = self.parse_known_args(arguments)
        if rest:
            parser: Parser = getattr(parsed, "parser", self)
            known = [
                flag for action in parser._actions for flag in action.option_strings
            ]  # argparse has no public list
            parser.error(f"unknown argument '{rest[0]}'{_near(rest[0], known)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        """Print the problem, the nearest word and where help is; exit 2."""
        if "invalid choice: " in message:
            message = self._choice(message)
        self.exit(2, f"{self.prog}: {message}\n  help: {self.prog} --help\n")

    def _choice(self, message: str) -> str:
        word = message.partition("invalid choice: ")[2].partition(" (choose")[0].strip("'\"")
        choices = [
            str(choice)
            for action in self._actions
            for choice in action.choices or ()
            if word not in (action.choices or ())
        ]
        return f"unknown word '{word}'{_near(word, choices) or ', known: ' + ', '.join(choices)}"


def _near(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word[:64], known, n=1, cutoff=0.5)
    return f", did you mean '{near[0]}'?" if near else ""


def _late(module: str, name: str) -> Run:
    """Return a function that imports its module when it is called."""

    def run(arguments: argparse.Namespace) -> int:
        function: Run = getattr(importlib.import_module(f"netguard.{module}"), name)
        return function(arguments)

    return run


def build_parser() -> Parser:
    """Return the whole command line."""
    parser = Parser(
        prog="netguard",
        description="Lent tablets: who joins, what they reach, and why.\n\n"
        "  netguard check rules/                        is the folder right?\n"
        "  netguard test rules/                         do its cases hold?\n"
        "  netguard apply rules/                        put it into force\n"
        "  netguard explain T-001 zoom.us tcp/443       why does this pass, or not?\n"
        "  netguard status                              what is in force, since when",
    )
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="the node's settings (default: $NETGUARD_SETTINGS, /etc/netguard/settings.yaml)",
    )
    parser.add_argument("--version", action="version", version=f"netguard {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _rule_commands(commands)
    _trust_commands(commands)
    _running_commands(commands)
    _fence_commands(commands)
    _radius_commands(commands)
    _alert_commands(commands)
    _replay_commands(commands)
    _daemon_commands(commands)
    _lab_commands(commands)
    _other_commands(commands)
    return parser


Commands = Any  # argparse's own type is private


def _command(commands: Commands, name: str, help_: str, example: str, run: Run) -> Parser:
    parser: Parser = commands.add_parser(
        name, help=help_, description=help_, epilog=f"example:\n  {example}"
    )
    parser.set_defaults(run=run, parser=parser)
    return parser


def _folder(parser: Parser) -> None:
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        metavar="DIR",
        help="the rules folder (default: ./rules, else the one of the settings)",
    )


def _today(parser: Parser) -> None:
    parser.add_argument(
        "--today", metavar="DATE", help="judge as if today were DATE, so that CI gives one answer"
    )


def _json(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object, for machines")


def _rule_commands(commands: Commands) -> None:
    for name, help_, example in (
        ("check", "check a rules folder: every fault of every file", "netguard check rules/"),
        ("lint", "the same, and fail on warnings too", "netguard lint rules/ --format github"),
    ):
        check = _command(commands, name, help_, example, _late("cli.rule_files", name))
        _folder(check)
        check.add_argument("--format", choices=("text", "json", "github"), default="text")
        check.add_argument("--json", action="store_const", const="json", dest="format")
        check.add_argument("--allow-empty", action="store_true", help="an empty inventory is meant")
        check.add_argument(
            "--against",
            type=Path,
            metavar="DIR",
            help="an inventory that shrank by a fifth against DIR is an error",
        )
        _today(check)
    allot = _command(
        commands,
        "allot",
        "give each tablet its fixed address: writes allotted.csv",
        "netguard allot rules/ && git diff rules/allotted.csv",
        _late("cli.rule_files", "allot"),
    )
    _folder(allot)
    allot.add_argument(
        "--dry-run", action="store_true", help="say what would change, write nothing"
    )
    _json(allot)
    init = _command(
        commands,
        "init",
        "write a small first rules folder, by asking or from flags",
        "netguard init rules/",
        _late("cli.first_folder", "init"),
    )
    init.add_argument(
        "folder", type=Path, metavar="DIR", help="a folder that does not exist yet, or is empty"
    )
    init.add_argument("--no-input", action="store_true", help="never ask; flags and defaults only")
    for flag, what in INIT_FLAGS.items():
        init.add_argument(f"--{flag}", metavar="TEXT", help=what)
    explain = _command(
        commands,
        "explain",
        "say what happens to a tablet's packet or to a request, and which rule does it",
        "netguard explain T-001 zoom.us tcp/443\n"
        "  netguard explain T-001 10.10.0.5 tcp/104 --json\n"
        "  netguard explain --radius Calling-Station-Id=3c-28-6d-aa-01-10 --nas wlc-1",
        _late("cli.explaining", "explain"),
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
    _json(explain)


def _trust_commands(commands: Commands) -> None:
    """Add what shows, before it is in force, that a change is meant."""
    test = _command(
        commands,
        "test",
        "run the cases that a rules folder carries (tests/*.yaml); one that fails stops apply",
        "netguard test rules/\n  netguard test rules/ --junit cases.xml",
        _late("cli.testing", "test"),
    )
    _folder(test)
    test.add_argument("--format", choices=("text", "json", "junit"), default="text")
    test.add_argument("--json", action="store_const", const="json", dest="format")
    test.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for CI as well")
    _today(test)
    fmt = _command(
        commands,
        "fmt",
        "bring rule files into one layout; comments, order and alignment stay",
        "netguard fmt rules/\n  netguard fmt rules/ --check       in CI: 1 when a file would change",
        _late("cli.layout", "fmt"),
    )
    _folder(fmt)
    fmt.add_argument("--check", action="store_true", help="write nothing; 1 if any would change")
    schema = _command(
        commands,
        "schema",
        "write JSON Schemas of the rule files, for editors",
        "netguard schema --out schema/",
        _late("cli.layout", "schema"),
    )
    schema.add_argument(
        "--out", type=Path, default=Path("schema"), metavar="DIR", help="where (default: schema)"
    )
    plan = _command(
        commands,
        "plan",
        "say what a rules folder would change against what is in force; 3 when there is anything",
        "netguard plan rules/ --native\n  netguard plan rules/ --against rules-old/ --json",
        _late("cli.planning", "plan"),
    )
    _folder(plan)
    plan.add_argument(
        "--against", type=Path, metavar="DIR", help="compare with DIR, without a running node"
    )
    plan.add_argument(
        "--native",
        action="store_true",
        help="then what changes in nftables, FreeRADIUS, DHCP, names",
    )
    _json(plan)
    _today(plan)
    prove = _command(
        commands,
        "prove",
        "prove for all packets that no tablet reaches what is protected, and each group only its services",
        "netguard prove rules/\n  netguard prove rules/ --out /srv/proofs\n"
        "  netguard prove rules/ --live              # what this kernel holds, everybody's tables\n"
        "  nft -j list ruleset > saved.json; netguard prove rules/ --ruleset saved.json",
        _late("cli.proving", "prove"),
    )
    _folder(prove)
    held = prove.add_mutually_exclusive_group()
    held.add_argument(
        "--live",
        action="store_true",
        help="prove what the kernel holds, everybody's tables; as root",
    )
    held.add_argument(
        "--ruleset", type=Path, metavar="FILE", help="the same of a saved 'nft -j list ruleset'"
    )
    prove.add_argument(
        "--out", type=Path, metavar="DIR", help="keep the proof there, as JSON and as text, dated"
    )
    _json(prove)
    _today(prove)


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


def _running_commands(commands: Commands) -> None:
    apply = _command(
        commands,
        "apply",
        "check a rules folder and put it into force",
        "netguard apply rules/ --confirm-within 2m && netguard confirm",
        _late("cli.running", "apply"),
    )
    _folder(apply)
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
    apply.add_argument("--note", metavar="TEXT", help="why; for the audit")
    _json(apply)
    _confirm_commands(commands)
    status = _command(
        commands,
        "status",
        "say what is in force, since when, from which commit, and what is wrong",
        "netguard status --json",
        _late("cli.running", "status"),
    )
    _json(status)
    _tablet_commands(commands)
    _store_commands(commands)


def _confirm_commands(commands: Commands) -> None:
    confirm = _command(
        commands,
        "confirm",
        "keep the plan that was applied with --confirm-within",
        "netguard confirm",
        _late("cli.confirming", "confirm"),
    )
    rollback = _command(
        commands,
        "rollback",
        "put the plan before in force again, or plan N; what was learned stays",
        "netguard rollback\n  netguard rollback 41 --note 'video calls failed'",
        _late("cli.confirming", "rollback"),
    )
    rollback.add_argument("number", nargs="?", type=int, metavar="N", help="see netguard history")
    for parser in (confirm, rollback):
        _said(parser)
    history = _command(
        commands,
        "history",
        "list the plans that are kept: when, by whom, from which commit, which is in force",
        "netguard history",
        _late("cli.confirming", "history"),
    )
    _json(history)
    show = _command(
        commands,
        "show",
        "say what plan N is, and what it changed against the plan before it",
        "netguard show 41",
        _late("cli.confirming", "show"),
    )
    show.add_argument("number", type=int, metavar="N", help="see netguard history")
    _json(show)
    _today(show)


def _tablet_commands(commands: Commands) -> None:
    tablet = _command(
        commands,
        "tablet",
        "say what is known of a tablet, or record that it is lent, lost, stolen, retired, found",
        "netguard tablet T-001\n"
        "  netguard tablet T-001 stolen --note 'police report 4711'    refused everywhere, at once\n"
        "  netguard tablet T-001 found                                 back to stock",
        _late("cli.tablets", "tablet"),
    )
    tablet.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
    tablet.add_argument("state", nargs="?", choices=(*STATES, FOUND), help="what it is from now on")
    tablet.add_argument("--note", metavar="TEXT", help="why; never the name of a patient")
    tablet.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
    _json(tablet)
    _presence_commands(commands)
    unknown = _command(
        commands,
        "unknown",
        "list MACs that were refused because the inventory lacks them, as lines to fill in",
        "netguard unknown --since 2h",
        _late("cli.tablets", "unknown"),
    )
    unknown.add_argument(
        "--since", default="24h", metavar="SPAN", help="how far back, such as 30m, 24h, 7d"
    )
    _json(unknown)
    audit = _command(
        commands,
        "audit",
        "say who changed what: every apply and every loan, the newest first",
        "netguard audit --since 7d --subject T-001",
        _late("cli.tablets", "audit"),
    )
    audit.add_argument(
        "--since", default="30d", metavar="SPAN", help="how far back, such as 24h, 30d"
    )
    audit.add_argument("--subject", metavar="ID", help="only this tablet or rules folder")
    _json(audit)


def _store_commands(commands: Commands) -> None:
    for name, help_ in (
        ("backup", "copy the node's databases into a folder, while they are in use"),
        ("restore", "put such copies in place; guard and watch must not run"),
    ):
        word = _command(
            commands,
            name,
            help_,
            f"netguard {name} /srv/backup/netguard",
            _late("cli.stores", name),
        )
        word.add_argument("folder", metavar="DIR", help="the folder of the copies")


# What each word says of a tablet, and what follows.
_WORDS = {
    "lend": ("record that a tablet is lent", "netguard lend T-001"),
    "return": ("record that a tablet is back in stock", "netguard return T-001"),
    "lost": ("record that a tablet is lost: refused everywhere, at once", "netguard lost T-001"),
    "found": ("record that a lost or stolen tablet is back in stock", "netguard found T-001"),
}


def _presence_commands(commands: Commands) -> None:
    listed = _command(
        commands,
        "tablets",
        "list tablets: present or not and why, where, since when, lent or not",
        "netguard tablets --state missing\n  netguard tablets --area pellegrin/lobby --json",
        _late("cli.presence", "listed"),
    )
    listed.add_argument("--area", metavar="AREA", help="only there: an area, or SITE/AREA")
    listed.add_argument(
        "--state", metavar="STATE", help="only those: missing, quiet, ... or lent, lost, ..."
    )
    _json(listed)
    for name, (help_, example) in _WORDS.items():
        word = _command(commands, name, help_, example, _late("cli.tablets", "said"))
        word.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
        word.add_argument("--note", metavar="TEXT", help="why; never the name of a patient")
        word.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
        _json(word)
    move = _command(
        commands,
        "move",
        "note that a tablet is about to go to another area, so that it raises no alarm",
        "netguard move T-001 pellegrin/neuro-2 --for 2h",
        _late("cli.tablets", "move"),
    )
    move.add_argument("tablet", metavar="ID", help="a tablet's id, MAC or address")
    move.add_argument("area", metavar="SITE/AREA", help="where it goes")
    move.add_argument(
        "--for", dest="within", default="1h", metavar="SPAN", help="for how long (default: 1h)"
    )
    move.add_argument("--note", metavar="TEXT", help="why; never the name of a patient")
    move.add_argument("--by", metavar="WHO", help="who says so (default: the user)")
    _json(move)
    events = commands.add_parser(
        "events",
        help="the events that presence is judged by",
        epilog="example:\n  netguard events export --since 7d --pseudonymise > events.jsonl",
    )
    events.set_defaults(parser=events)
    words = events.add_subparsers(dest="events_word", metavar="WORD", required=True)
    export = _command(
        words,
        "export",
        "print recorded events, one JSON object a line, for netguard replay (docs/events.md)",
        "netguard events export --since 7d --pseudonymise > events.jsonl",
        _late("cli.presence", "export"),
    )
    export.add_argument(
        "--since", default="7d", metavar="SPAN", help="how far back, such as 24h, 7d"
    )
    export.add_argument(
        "--pseudonymise",
        action="store_true",
        help="other names for tablets, APs and areas, with a key that is thrown away",
    )


def _fence_commands(commands: Commands) -> None:
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
        word = _command(words, name, help_, f"netguard fence {name}", _late("cli.fence", "fence"))
        word.add_argument("--by", help="who does it, for the records (default: the user)")
        word.add_argument("--note", help="why, for the records")
        _json(word)
    denials = _command(
        commands,
        "denials",
        "show refused packets: who, where to, which rule",
        "netguard denials --follow --tablet T-001",
        _late("cli.fence", "denials"),
    )
    denials.add_argument("--follow", action="store_true", help="go on as they come")
    denials.add_argument("--tablet", metavar="ID", help="of this tablet only")
    denials.add_argument("--limit", type=int, metavar="N", help="the newest N to begin with")
    denials.add_argument("--json", action="store_true", help="one JSON object a line")


def _radius_commands(commands: Commands) -> None:
    radius = commands.add_parser(
        "radius",
        help="ask the running FreeRADIUS",
        epilog="example:\n  netguard radius ask T-001 --vendor aruba-instant --ap AP-CAR-301",
    )
    radius.set_defaults(parser=radius)
    words = radius.add_subparsers(dest="radius_word", metavar="WORD", required=True)
    ask = _command(
        words,
        "ask",
        "send a real request in a vendor's shape, and print the answer beside what the rules say",
        "netguard radius ask T-001 --vendor aruba-instant --ap AP-CAR-301",
        _late("cli.radius", "ask"),
    )
    ask.add_argument("tablet", help="a tablet's id, MAC or address, or a MAC of no inventory")
    ask.add_argument("--vendor", default="hostapd", help="write the request as this vendor does")
    ask.add_argument("--ap", help="name or BSSID of the access point")
    ask.add_argument("--ssid", help="another network than the tablets'")
    ask.add_argument("--site", help="ask as a NAS of this site (default: the tablet's home)")
    ask.add_argument("--rules", type=Path, help=argparse.SUPPRESS)
    ask.add_argument("--offline", action="store_true", help=argparse.SUPPRESS)
    _json(ask)


def _alert_commands(commands: Commands) -> None:
    alerts = _command(
        commands,
        "alerts",
        "what is wrong and not over: tablets, places, the appliance; 1 when there is any",
        "netguard alerts --waiting",
        _late("cli.alerts", "listed"),
    )
    which = alerts.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="also what is over")
    which.add_argument(
        "--waiting", action="store_true", help="what receivers have not taken: waiting, dead, held"
    )
    which.add_argument(
        "--revive", action="store_true", help="send once more what receivers refused for good"
    )
    _json(alerts)
    ack = _command(
        commands,
        "ack",
        "say that somebody looks after an alert: it is not repeated any more",
        "netguard ack T-017 --note 'ward has it'",
        _late("cli.alerts", "acknowledge"),
    )
    snooze = _command(
        commands,
        "snooze",
        "do not repeat an alert for a while",
        "netguard snooze T-017 --for 1h",
        _late("cli.alerts", "snooze"),
    )
    for parser in (ack, snooze):
        parser.add_argument("alert", metavar="ALERT", help="incident, or the tablet it is about")
        _said(parser)
    _for(snooze)
    silence = _command(
        commands,
        "silence",
        "tell nobody for a while, a maintenance for example; without words: list the silences",
        "netguard silence --site pellegrin --from 2h --for 4h --note 'switches are replaced'",
        _late("cli.alerts", "silence"),
    )
    silence.add_argument("--site", metavar="SITE", help="alerts of this site")
    silence.add_argument("--area", metavar="SITE/AREA", help="alerts of this area")
    silence.add_argument("--tablet", metavar="ID", help="alerts of this tablet")
    silence.add_argument("--code", metavar="NG-1101", help="alerts with this code")
    silence.add_argument("--everything", action="store_true", help="all alerts of this appliance")
    silence.add_argument("--from", dest="after", metavar="SPAN", help="begin later (default: now)")
    silence.add_argument("--end", type=int, metavar="N", help="end silence number N now")
    silence.add_argument("--all", action="store_true", help="list those that are over as well")
    _for(silence, needed=False)
    _said(silence)


def _for(parser: Parser, *, needed: bool = True) -> None:
    parser.add_argument(
        "--for", dest="within", metavar="SPAN", required=needed, help="for so long, such as 2h"
    )


def _said(parser: Parser) -> None:
    parser.add_argument("--note", metavar="TEXT", help="why; for the audit")
    parser.add_argument("--by", metavar="WHO", help="who says so (default: you)")
    _json(parser)


def _replay_commands(commands: Commands) -> None:
    replay = _command(
        commands,
        "replay",
        "run recorded events through the engine of presence: each change of state, each alert",
        "netguard replay events.jsonl.gz --rules rules/ --json\n"
        "  netguard replay events.jsonl --rules rules/ --diff rules-new/",
        _late("cli.replaying", "replay"),
    )
    replay.add_argument(
        "events", type=Path, metavar="EVENTS", help="docs/events.md; .gz, - for stdin"
    )
    _rules(replay)
    replay.add_argument("--json", action="store_true", help="one JSON object a line")
    replay.add_argument(
        "--diff",
        type=Path,
        metavar="DIR",
        help="only the alerts that these rules add or lose; 1 if any",
    )
    _today(replay)
    simulate = _command(
        commands,
        "simulate",
        "write an invented stream of events with labels: thefts, sleepers, outages, duplicates",
        "netguard simulate --scenario hospital --seed 1 --out events.jsonl.gz --labels labels.jsonl",
        _late("cli.replaying", "simulate"),
    )
    simulate.add_argument(
        "--scenario", default="hospital", metavar="NAME", help="see netguard/scenarios.toml"
    )
    simulate.add_argument(
        "--seed", default="1", metavar="TEXT", help="the same seed, the same bytes"
    )
    simulate.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="change one parameter"
    )
    simulate.add_argument(
        "--out", type=Path, metavar="FILE", help="events (default: standard output)"
    )
    simulate.add_argument("--labels", type=Path, metavar="FILE", help="what really happened")
    _rules(simulate)
    _today(simulate)
    evaluate = _command(
        commands,
        "evaluate",
        "compare the engine with the labels of a stream, beside fixed time-outs",
        "netguard evaluate events.jsonl.gz labels.jsonl --rules rules/ --picture roc.svg",
        _late("cli.replaying", "evaluate"),
    )
    evaluate.add_argument("events", type=Path, metavar="EVENTS")
    evaluate.add_argument("labels", type=Path, metavar="LABELS")
    _rules(evaluate)
    evaluate.add_argument("--picture", type=Path, metavar="FILE", help="write the picture as SVG")
    _json(evaluate)
    _today(evaluate)


def _rules(parser: Parser) -> None:
    parser.add_argument(
        "--rules", type=Path, metavar="DIR", help="the rules (default: ./rules, else the settings')"
    )


def _daemon_commands(commands: Commands) -> None:
    for name, help_ in (
        ("guard", "keep kernel, FreeRADIUS and dnsmasq at the plan in force (CAP_NET_ADMIN)"),
        ("watch", "read events, show metrics and health (no capability)"),
        ("run", "run guard, dns and watch together, for the lab"),
    ):
        example = f"netguard --settings /etc/netguard/settings.yaml {name}"
        _command(commands, name, help_, example, _late("cli.daemons", name))
    _dns_commands(commands)


def _dns_commands(commands: Commands) -> None:
    dns = _command(
        commands,
        "dns",
        "answer tablets' names from the allow-list (CAP_NET_ADMIN, CAP_NET_BIND_SERVICE), "
        "or with a WORD ask the running proxy",
        "netguard dns why zoom.us\n  netguard dns tail --follow --tablet T-001\n  netguard dns top",
        _late("cli.daemons", "dns"),
    )
    words = dns.add_subparsers(dest="dns_word", metavar="WORD")
    top = _command(
        words,
        "top",
        "show the names refused most, the names of the rules nobody asks for or nobody resolves",
        "netguard dns top --limit 50",
        _late("cli.names", "top"),
    )
    top.add_argument("--limit", type=_count, default=20, metavar="N", help="so many names")
    _json(top)
    tail = _command(
        words,
        "tail",
        "show refused and failed questions: whose, which name, why",
        "netguard dns tail --follow --tablet T-001",
        _late("cli.names", "tail"),
    )
    tail.add_argument("--follow", action="store_true", help="go on as they come")
    tail.add_argument("--tablet", metavar="ID", help="of this tablet only")
    tail.add_argument(
        "--limit", type=_count, default=20, metavar="N", help="the newest N to begin with"
    )
    tail.add_argument("--json", action="store_true", help="one JSON object a line")
    for name, help_, example in (
        ("why", "say what becomes of a name, by group, and what is open for it", "why zoom.us"),
        ("flush", "forget the cached answers of a name", "flush zoom.us"),
    ):
        word = _command(words, name, help_, f"netguard dns {example}", _late("cli.names", name))
        word.add_argument("name", metavar="NAME", help="a host name")
        _json(word)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number from 1 to 10000")
    return int(text)


def _lab_commands(commands: Commands) -> None:
    from netguard.lab.cli import add_parser  # words only; the lab itself is imported when it runs

    add_parser(commands)


def _other_commands(commands: Commands) -> None:
    completion = _command(
        commands,
        "completion",
        "print a completion script for a shell",
        "netguard completion bash > /etc/bash_completion.d/netguard",
        _completion,
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    _command(commands, "version", "print the version", "netguard version", _version)


def _completion(arguments: argparse.Namespace) -> int:
    import shtab  # only this command needs it

    sys.stdout.write(shtab.complete(build_parser(), arguments.shell) + "\n")
    return 0


def _version(arguments: argparse.Namespace) -> int:
    sys.stdout.write(f"netguard {__version__}\n")
    return 0


def settings_file(arguments: argparse.Namespace) -> Path:
    """Return the settings file that counts: flag, environment, default."""
    from netguard.settings import DEFAULT_FILE, ENVIRONMENT  # dataclasses cost time at start

    if arguments.settings is not None:
        return Path(arguments.settings)
    return Path(os.environ.get(ENVIRONMENT) or DEFAULT_FILE)
