"""quarantine and release: a tablet that nothing may reach and that reaches nothing, and how far that has come."""

import argparse
import json
import sys
from collections.abc import Mapping
from datetime import datetime
from time import sleep
from typing import Any

from netguard.adapters import clock, control
from netguard.cli import folders, going
from netguard.cli.tablets import CHANGE_TIMEOUT, LATE
from netguard.core.loans import QUARANTINED
from netguard.core.removal import FAILED, PROOF
from netguard.errors import UsageError
from netguard.settings import Settings

# The NAS's cache, what is watched after it, and a recipe that has to be gone to its end twice.
WAIT_AT_MOST = 240.0


def quarantine(arguments: argparse.Namespace) -> int:
    """Put a tablet into quarantine, or list who is. 1 when an enforcer lags or, with --wait, a step failed."""
    node = folders.settings(arguments)
    if arguments.tablet is None:
        return _listed(node, arguments)
    if not (arguments.why or "").strip():
        raise UsageError("say why, for the audit: netguard quarantine ID --why TEXT")
    body: dict[str, Any] = {"why": arguments.why, "by": arguments.by or folders.user()}
    if arguments.within is not None:
        body["seconds"] = folders.seconds(arguments.within, "--for")
    elif arguments.until is not None:
        body["until"] = arguments.until
    tablet = arguments.tablet
    known = control.call(node.guard_socket, "quarantine", CHANGE_TIMEOUT, tablet=tablet, **body)
    failed = False
    if arguments.wait:
        known["removal"], failed = _waited(node, known["tablet"], quiet=arguments.json)
    if arguments.json:
        sys.stdout.write(json.dumps(known, indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(_said(known)) + "\n")
    return 1 if _lags(known) or failed else 0


def release(arguments: argparse.Namespace) -> int:
    """End a quarantine. 1 when an enforcer lags behind."""
    node = folders.settings(arguments)
    known = control.call(
        node.guard_socket,
        "release",
        CHANGE_TIMEOUT,
        tablet=arguments.tablet,
        note=arguments.note,
        by=arguments.by or folders.user(),
    )
    if arguments.json:
        sys.stdout.write(json.dumps(known, indent=1) + "\n")
    else:
        what = "is released" if known["changed"] else "was not in quarantine"
        loan = known["loan"]
        still = f", and is still refused: {loan['state']}" if known["refused"] and loan else ""
        sys.stdout.write(f"{known['tablet']} {what}{still}\n")
    return 1 if _lags(known) else 0


def _listed(node: Settings, arguments: argparse.Namespace) -> int:
    if arguments.why or arguments.within or arguments.until or arguments.wait:
        raise UsageError("name the tablet: netguard quarantine ID --why TEXT")
    rows = control.call(node.guard_socket, "quarantines")["quarantines"]
    if arguments.json:
        sys.stdout.write(json.dumps({"quarantines": rows}, indent=1) + "\n")
        return 0
    for row in rows:
        sys.stdout.write(f"{row['tablet']}  {going.described(row)}  {_short(row['removal'])}\n")
    if not rows:
        sys.stderr.write("no tablet is in quarantine\n")
    return 0


def _lags(known: Mapping[str, Any]) -> bool:
    late = {name: why for name, why in known["problems"].items() if name in LATE}
    for name, why in late.items():
        sys.stderr.write(f"warning: {name}: {why}\n")
    return bool(late)


def _waited(node: Settings, tablet: str, *, quiet: bool) -> tuple[dict[str, Any] | None, bool]:
    """Show each step as it comes; returns the last state, and whether it ended badly."""
    end, seen = clock.monotonic() + WAIT_AT_MOST, set[tuple[str, str, str]]()
    while True:
        known = control.call(node.guard_socket, "tablet", CHANGE_TIMEOUT, tablet=tablet)
        removal, held = known["removal"], known["quarantine"]
        if held is None:
            return None, False
        if removal is None or _is_older(removal, held):
            # guard begins it at its next look.
            if clock.monotonic() > end:
                return removal, True
            sleep(0.5)
            continue
        for step in removal["steps"]:
            line = step["step"], step["state"], step["why"]
            if step["at"] and line not in seen:
                seen.add(line)
                if not quiet:
                    sys.stderr.write(f"{going.step_line(step)}\n")
        proof = next(step for step in removal["steps"] if step["step"] == PROOF)
        if removal["over"] or proof["state"] == FAILED or clock.monotonic() > end:
            return removal, not removal["over"]
        sleep(0.5)


def _is_older(removal: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Say whether a removal is that of an earlier quarantine; of one that is stolen, too, that one counts."""
    if removal["state"] != QUARANTINED or not held["at"]:
        return False
    return datetime.fromisoformat(removal["since"]) < datetime.fromisoformat(held["at"])


def _said(known: Mapping[str, Any]) -> list[str]:
    lines = [f"{known['tablet']}   {going.described(known['quarantine'])}"]
    if not known["changed"]:
        lines[0] += "; it was so already"
    return [*lines, *going.steps(known["removal"])]


def _short(removal: Mapping[str, Any] | None) -> str:
    if removal is None:
        return ""
    if removal["over"]:
        return "off the air"
    failed = [step["step"] for step in removal["steps"] if step["state"] == FAILED]
    return f"FAILED: {', '.join(failed)}" if failed else "leaving the air"
