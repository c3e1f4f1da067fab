"""dns top, tail, why, flush: what an engineer asks of the name proxy."""

import argparse
import json
import sys
import time
from typing import Any

from netguard.adapters import control
from netguard.cli import folders

Answer = dict[str, Any]


def top(arguments: argparse.Namespace) -> int:
    """Show the names that are refused most, and those of the rules that nobody uses."""
    node = folders.settings(arguments)
    answer = control.call(node.dns_socket, "top", limit=arguments.limit)
    if arguments.json:
        _json(answer)
        return 0
    lines = [f"refused most, since the start ({len(answer['denied'])} shown)"]
    for row in answer["denied"]:
        about = f" (at most {row['error']} too many)" if row["error"] else ""
        lines.append(
            f"  {row['count']:>8}  {row['name']}  last {row['at']} {row['tablet']}: {row['why']}{about}"
        )
    lines.append(f"without an address ({len(answer['unresolved'])})")
    lines += [f"            {row['name']}  {row['why']}" for row in answer["unresolved"]]
    lines.append(f"never asked for since {answer['since']} ({len(answer['unused'])})")
    lines += [f"            {row['domain']}  of {row['service']}" for row in answer["unused"]]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def tail(arguments: argparse.Namespace) -> int:
    """Show refusals and failures; go on with --follow until interrupted."""
    node = folders.settings(arguments)
    after, first = 0, True
    while True:
        answer = control.call(node.dns_socket, "tail", after=after)
        # A proxy that was started anew counts from the beginning.
        after = answer["last"] if answer["last"] >= after else 0
        rows = [
            row
            for row in answer["notes"]
            if arguments.tablet is None or row["tablet"] == arguments.tablet
        ]
        for row in rows[-arguments.limit :] if first else rows:
            shown = f"{row['at']}  {row['tablet'] or '-'}  {row['name']}  {row['why']}"
            sys.stdout.write((json.dumps(row) if arguments.json else shown) + "\n")
        sys.stdout.flush()
        if not arguments.follow:
            return 0
        first = False
        time.sleep(1.0)


def why(arguments: argparse.Namespace) -> int:
    """Say what becomes of a name; 0 when some group may resolve it, 1 when none may."""
    node = folders.settings(arguments)
    answer = control.call(node.dns_socket, "why", name=arguments.name)
    allowed = any(row["answer"] in {"resolved", "gateway"} for row in answer["groups"])
    if arguments.json:
        _json(answer)
        return 0 if allowed else 1
    lines = [answer["name"]]
    lines += [f"  {row['group']}: {row['answer']}, {row['why']}" for row in answer["groups"]]
    for row in answer["cached"]:
        left = row["expires_seconds"]
        state = f"for {left:.0f} s more" if left > 0 else "ended"
        listed = ", ".join(row["addresses"]) or "no address"
        lines.append(f"  answer {row['type']}: {listed}; {state}")
    lines += [
        f"  open: {row['address']} for {row['service']}, {row['expires_seconds']:.0f} s more"
        for row in answer["learned"]
    ]
    if answer["unresolved"]:
        lines.append(f"  not resolved: {answer['unresolved']}")
    if answer["denied"]:
        row = answer["denied"]
        lines.append(f"  refused {row['count']} times, last {row['at']} to {row['tablet']}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if allowed else 1


def flush(arguments: argparse.Namespace) -> int:
    """Forget the cached answers of a name."""
    node = folders.settings(arguments)
    answer = control.call(node.dns_socket, "flush", name=arguments.name)
    if arguments.json:
        _json(answer)
    else:
        sys.stdout.write(
            f"{answer['name']}: {answer['answers']} answers forgotten, the next question goes "
            "upstream; open addresses stay until they end\n"
        )
    return 0


def _json(answer: Answer) -> None:
    sys.stdout.write(json.dumps(answer, indent=1) + "\n")
