"""profile: what was agreed for a bad day, switched on and off by one command."""

import argparse
import json
import sys
from datetime import timedelta
from typing import Any

from netguard.adapters import control
from netguard.cli import folders
from netguard.core.names import spelled
from netguard.errors import UsageError

SWITCH_TIMEOUT = 120.0


def profile(arguments: argparse.Namespace) -> int:
    """Switch a profile on or off; without a name, list them. 6 where an enforcer has not followed yet."""
    node = folders.settings(arguments)
    if arguments.name is None:
        return _list(arguments, control.call(node.guard_socket, "profile")["profiles"])
    if arguments.switch is None:
        raise UsageError(f"say what to do: netguard profile {arguments.name} on, or off")
    if arguments.switch == "off" and arguments.within is not None:
        raise UsageError("--for is for 'on': a profile that is off has no time")
    answer = control.call(
        node.guard_socket,
        "profile",
        SWITCH_TIMEOUT,
        name=arguments.name,
        on=arguments.switch == "on",
        seconds=folders.seconds(arguments.within, "--for") if arguments.within else None,
        note=arguments.note,
        by=arguments.by or folders.user(),
    )
    late = answer["problems"].get("enforce", "")
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        row, changed = answer["profile"], answer["changed"]
        word = "is" if changed else "was already"
        longer = f"; {_longer(row)}" if row["on"] and row.get("loan_lengths") else ""
        undo = f"; undo with: netguard profile {row['name']} off"
        tail = f"{_until(row)}{longer}{undo}" if row["on"] else ""
        sys.stdout.write(f"profile {row['name']} {word} {arguments.switch}{tail}\n")
        if late:
            sys.stdout.write(f"{late}\n")
    return 6 if late else 0


def _list(arguments: argparse.Namespace, rows: list[dict[str, Any]]) -> int:
    if arguments.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return 0
    for row in rows:
        groups = ", ".join(row["groups"]) or "no group"
        longer = f"; {_longer(row)}" if row.get("loan_lengths") else ""
        quiet = f"; holds back {', '.join(row['silences'])} alerts" if row["silences"] else ""
        sys.stdout.write(
            f"{row['name']:16} {'on ' if row['on'] else 'off'}  narrows {groups}{longer}{quiet}\n"
        )
        if row["on"]:
            why = f": {row['why']}" if row["why"] else ""
            unknown = "" if row["known"] else "; the rules in force do not know it"
            sys.stdout.write(
                f"{'':21} since {row['since']} by {row['who']}{_until(row)}{why}{unknown}\n"
            )
    if not rows:
        sys.stdout.write("the rules in force have no profiles: groups.yaml, key 'profiles'\n")
    return 0


def _longer(row: dict[str, Any]) -> str:
    """Say how long loans last while it is on; an older guard says nothing of them."""
    words = [f"{group} {spelled(timedelta(seconds=s))}" for group, s in row["loan_lengths"].items()]
    return f"loans last longer: {', '.join(words)}"


def _until(row: dict[str, Any]) -> str:
    return f", until {row['until']}" if row.get("until") else ", until somebody ends it"
