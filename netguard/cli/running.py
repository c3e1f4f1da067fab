"""status: what is in force on this node, and what is wrong."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from netguard.adapters import control
from netguard.cli import folders
from netguard.core.loans import STATES
from netguard.core.removal import DONE, FAILED
from netguard.errors import NetguardError, NotReachable, Refused
from netguard.rules.folder import Folder, read_folder


def status(arguments: argparse.Namespace) -> int:
    """Say what is in force and what is wrong; 1 when something is, 4 when guard is silent."""
    node = folders.settings(arguments)
    try:
        guard = control.call(node.guard_socket, "status")
    except NotReachable as error:
        raise NotReachable(
            f"guard does not answer, the kernel keeps the last plan; {error}"
        ) from error
    try:
        dns: dict[str, Any] | None = control.call(node.dns_socket, "status")
    except (NotReachable, Refused):
        dns = None
    edited = _edited_since(guard["applied"])
    wrong = _wrong(guard, dns) + _wrong_watch(node.watch_socket)
    if arguments.json:
        body = {"guard": guard, "dns": dns, "edited_not_applied": edited, "wrong": wrong}
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
    else:
        _print(guard, dns, edited, wrong)
    return 1 if wrong else 0


def _edited_since(applied: dict[str, Any] | None) -> bool | None:
    """Say whether the folder differs from what is in force; None where it cannot be read."""
    if applied is None or not applied["folder"]:
        return None
    try:
        folder: Folder = read_folder(Path(applied["folder"]))
    except (NetguardError, OSError):
        return None
    return bool(folder.digest != applied["rules"])


def _wrong(guard: dict[str, Any], dns: dict[str, Any] | None) -> list[str]:
    wrong = [f"{enforcer}: {why}" for enforcer, why in guard["problems"].items()]
    if guard["applied"] is None:
        wrong.append("no plan in force, the tablets' side is blocked: netguard apply DIR")
    if guard["fence_blocked"]:
        wrong.append(
            "the fence is blocked by hand, nothing of the tablets passes: netguard fence restore"
        )
    if guard["applied"] is not None and not guard["belt"]:
        wrong.append("the belt (routing rules) is not in place")
    if dns is None:
        wrong.append("the name proxy does not answer: no new name opens, established calls go on")
    elif guard["plan"] is not None and dns["plan"] != guard["plan"]:
        wrong.append("the name proxy answers from another plan")
    wrong += [
        f"{removal['tablet']} may still be on the air, {step['step']}: {step['why']}"
        for removal in guard["removals"]
        for step in removal["steps"]
        if step["state"] == FAILED
    ]
    wrong += [
        f"names: {why}"
        for key, why in (dns["problems"] if dns else {}).items()
        # The table that blocks has no sets to fill: said above, by its cause.
        if not (key == "kernel" and guard["fence_blocked"])
    ]
    if guard["drift"] and not guard["drift"][-1]["repaired"]:
        wrong.append(f"the ruleset was changed and not repaired: {guard['drift'][-1]['what']}")
    return wrong


def _wrong_watch(socket: Path) -> list[str]:
    try:
        problems = control.call(socket, "status")["problems"]
    except (NotReachable, Refused):
        return ["watch does not answer: no metrics, and the event log waits to be read"]
    return [f"watch: {why}" for why in problems.values()]


def _print(
    guard: dict[str, Any], dns: dict[str, Any] | None, edited: bool | None, wrong: list[str]
) -> None:
    applied = guard["applied"]
    lines = [f"node       {guard['node']}, {guard['state']}"]
    if applied is not None:
        commit = f", commit {applied['commit'][:12]}" if applied["commit"] else ", not from git"
        commit += " with edits" if applied["edited"] else ""
        lines.append(
            f"in force   plan {applied['number']} since {applied['at']} by {applied['by']}{commit}"
        )
        tablets = ", ".join(f"{site} {count}" for site, count in guard["tablets"].items())
        lines.append(f"tablets    {tablets or 'none'}")
        if guard["waiting"] is not None:
            until = guard["waiting"]["until"]
            lines.append(f"waiting    rolls back at {until} unless: netguard confirm")
        words = {
            True: "edited, not applied",
            False: "as in force",
            None: "cannot be read from here",
        }
        lines.append(f"folder     {applied['folder']}: {words[edited]}")
    for each in guard.get("profiles", ()):
        until = each["until"] or "somebody ends it"
        lines.append(
            f"profile    {each['name']} since {each['since']} by {each['who']}, until {until}"
        )
    loans = ", ".join(f"{guard['loans'][s]} {s}" for s in STATES if s in guard["loans"])
    # An older guard knows no ends.
    late = sum(guard.get("overdue", {}).values())
    over = f"; {late} overdue: netguard tablets --overdue" if late else ""
    lines.append(f"loans      {loans or 'none recorded'}{over}")
    if guard["quarantined"]:
        lines.append(f"quarantine {', '.join(guard['quarantined'])}")
    for removal in guard["removals"]:
        step = next(s for s in removal["steps"] if s["state"] != DONE)
        why = f": {step['why']}" if step["why"] else ""
        lines.append(f"leaving    {removal['tablet']}, {step['step']} {step['state']}{why}")
    belt = "in place" if guard["belt"] else "not in place"
    lines.append(f"kernel     belt {belt}, changed by others {guard['drifts']} times")
    for drift in guard["drift"][-3:]:
        word = "repaired" if drift["repaired"] else "NOT repaired"
        lines.append(f"           {drift['at']} {word}: {drift['what']}, by {drift['by']}")
    lines += [f"           {_foreign(row)}" for row in guard["foreign"]]
    if dns is not None:
        lines.append(f"names      {sum(dns['elements'].values())} learned addresses open")
    lines += [f"wrong      {line}" for line in wrong] or ["wrong      nothing"]
    sys.stdout.write("\n".join(lines) + "\n")


def _foreign(row: dict[str, str]) -> str:
    chain = f", chain {row['chain']}: {row['concern']}" if row["concern"] else ""
    return f"foreign table {row['table']}{chain}"
