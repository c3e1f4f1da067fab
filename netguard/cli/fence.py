"""fence and denials: the panic switch, and what the kernel has refused."""

import argparse
import json
import sys
import time
from typing import Any

from netguard.adapters import control
from netguard.cli import folders
from netguard.errors import NetguardError
from netguard.settings import Settings

_FOLLOW_EVERY = 1.0


def fence(arguments: argparse.Namespace) -> int:
    """Block everything of the tablets, or put the plan back."""
    node = folders.settings(arguments)
    block = arguments.fence_word == "block"
    body = {"by": arguments.by, "note": arguments.note}
    answer = control.call(node.guard_socket, "fence", 60.0, block=block, **body)
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    elif block:
        sys.stdout.write(
            "the fence is blocked: nothing of the tablets passes, also after a restart\n"
            "undo with: netguard fence restore\n"
        )
    else:
        sys.stdout.write("the fence is as planned\n")
    return 0


def denials(arguments: argparse.Namespace) -> int:
    """Print refused packets, the newest last; with --follow as they come."""
    node = folders.settings(arguments)
    after = 0
    while True:
        answer = control.call(node.guard_socket, "denials", after=after)
        rows = [row for row in answer["denials"] if arguments.tablet in {None, row["tablet"]}]
        if arguments.limit and not after:
            rows = rows[-arguments.limit :]
        _print(arguments, node, rows)
        if not arguments.follow:
            return 0
        # A guard that was started again counts from 1 again.
        after = answer["last"]
        time.sleep(_FOLLOW_EVERY)


def _print(arguments: argparse.Namespace, node: Settings, rows: list[dict[str, Any]]) -> None:
    places: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row["mac"] not in places:
            places[row["mac"]] = _place(node, row["mac"])
        row["area"], row["ap"] = places[row["mac"]]
        if arguments.json:
            sys.stdout.write(json.dumps(row) + "\n")
        else:
            who = row["tablet"] or row["mac"] or "?"
            place = ", ".join(word for word in (row["area"], row["ap"]) if word)
            where = f"  at {place}" if place else ""
            why = f"  {row['why']}" if row.get("why") else ""
            sys.stdout.write(
                f"{row['at']}  {who}  {row['source']} -> {row['destination']} {row['port']}  "
                f"{row['rule']}{why}{where}\n"
            )
    sys.stdout.flush()


def _place(node: Settings, mac: str) -> tuple[str, str]:
    """Return the area and the AP where a tablet was heard last, or where a MAC asked last."""
    try:
        for row in control.call(node.watch_socket, "tablets", tablet=mac)["tablets"]:
            if row["ap"]:
                return f"{row['site']}/{row['area']}" if row["area"] else "", str(row["ap"])
        answer = control.call(node.watch_socket, "seen", mac=mac)
    except NetguardError:
        return "", ""
    return "", str((answer.get("seen") or {}).get("ap", ""))
