"""`netguard lab ...`: the words; what they do is imported when it is done."""

import argparse
import json
import sys
from typing import Any

EXAMPLE = """\
examples:
  netguard lab up                                        build the hospital and start everything
  netguard lab join t1                                   tablet T-001 joins, gets VLAN and address
  netguard lab exec t1 probe tcp zoom.us 443             what the tablet can reach
  netguard lab exec gw netguard status                   ask the appliance
  netguard lab down                                      nothing is left
"""


def add_parser(commands: Any) -> None:  # noqa: ANN401  # argparse's own type is private
    """Add `lab` and its words."""
    lab = commands.add_parser(
        "lab", help="a hospital in network namespaces, to try things (root)", epilog=EXAMPLE
    )
    lab.set_defaults(run=run, parser=lab)
    words = lab.add_subparsers(dest="lab", metavar="WORD", required=True)

    def word(name: str, help_: str) -> Any:  # noqa: ANN401  # argparse's own type is private
        one = words.add_parser(name, help=help_, description=help_)
        one.add_argument("--name", default="demo", help="which lab (default: demo)")
        one.set_defaults(run=run, parser=one)
        return one

    up = word("up", "build the hospital, start everything, apply the rules")
    up.add_argument("--rules", metavar="DIR", help="rules folder (default: the example hospital)")
    word("down", "end everything and remove every trace").add_argument(
        "--all", action="store_true", help="every lab of this machine"
    )
    word("status", "say what runs").add_argument("--json", action="store_true")
    join = word("join", "let a tablet join the Wi-Fi and ask for its address")
    join.add_argument("tablet", help="t1, t2, t3, stranger, or a tablet's id")
    join.add_argument("--ap", default="", help="access point")
    join.add_argument("--ssid", default="", help="another network than the tablets'")
    join.add_argument("--vendor", default="", help="write the request as this vendor does")
    word("leave", "take a tablet off the air").add_argument("tablet")
    word("roam", "move a tablet to another access point").add_argument("tablet")
    exec_ = word("exec", "run a command on a host")
    exec_.add_argument("host", help="gw, ap, core, pacs, dmz, inet, t1, t2, t3, stranger")
    exec_.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD")
    kill = word("kill", "kill one process of the appliance, as a crash would (SIGKILL)")
    kill.add_argument("process")
    word("start", "start a process that was killed").add_argument("process")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    verbs = {
        "up": _up,
        "down": _down,
        "status": _status,
        "join": _join,
        "leave": _leave,
        "roam": _roam,
        "exec": _exec,
        "kill": _kill,
        "start": _start,
    }
    return verbs[arguments.lab](arguments)


def _up(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from netguard.lab.hospital import Hospital

    rules = Path(arguments.rules) if arguments.rules else None
    lab = Hospital.up(arguments.name, rules)
    sys.stdout.write(lab.guide())
    return 0


def _down(arguments: argparse.Namespace) -> int:
    from netguard.lab import layout
    from netguard.lab.hospital import down

    for name in layout.names() if arguments.all else [arguments.name]:
        down(name)
    return 0


def _lab(arguments: argparse.Namespace) -> Any:  # noqa: ANN401  # imported late
    from netguard.lab.hospital import Hospital

    return Hospital.attach(arguments.name)


def _status(arguments: argparse.Namespace) -> int:
    status = _lab(arguments).status()
    if arguments.json:
        sys.stdout.write(json.dumps(status) + "\n")
        return 0
    sys.stdout.write(
        f"lab '{status['name']}' of site '{status['site']}', since {status['since']}\n"
        f"settings {status['settings']}\nweb      {status['web']}\n"
    )
    for name, pid in status["processes"].items():
        sys.stdout.write(f"  {name:12} {'pid ' + str(pid) if pid else 'does not run'}\n")
    for station in status["stations"]:
        vlan = f", VLAN {station['vlan']}" if station["vlan"] else ""
        sys.stdout.write(f"  {station['host']:12} {station['mac']}  {station['state']}{vlan}\n")
    return 0 if all(status["processes"].values()) else 1


def _join(arguments: argparse.Namespace) -> int:
    lab = _lab(arguments)
    joined = lab.join(
        arguments.tablet, ap=arguments.ap, ssid=arguments.ssid, vendor=arguments.vendor
    )
    if joined["answer"] == "accept":
        joined["address"] = lab.dhcp(arguments.tablet)
    sys.stdout.write(json.dumps(joined) + "\n")
    return 0 if joined["answer"] == "accept" else 1


def _leave(arguments: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps(_lab(arguments).leave(arguments.tablet)) + "\n")
    return 0


def _roam(arguments: argparse.Namespace) -> int:
    sys.stdout.write(json.dumps(_lab(arguments).roam(arguments.tablet)) + "\n")
    return 0


def _exec(arguments: argparse.Namespace) -> int:
    words = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not words:
        arguments.parser.error("which command?")
    return int(_lab(arguments).run(arguments.host, words))


def _kill(arguments: argparse.Namespace) -> int:
    import signal

    _lab(arguments).kill(arguments.process, signal.SIGKILL)
    return 0


def _start(arguments: argparse.Namespace) -> int:
    _lab(arguments).start(arguments.process)
    return 0
