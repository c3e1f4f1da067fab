"""apply and status: what an engineer asks of a running node."""

import argparse
import base64
import getpass
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from netguard.adapters import control
from netguard.cli import folders
from netguard.core.cases import judge
from netguard.core.loans import STATES
from netguard.errors import NetguardError, NotReachable, Refused
from netguard.rules.findings import errors, summary
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load

APPLY_TIMEOUT = 180.0


def apply(arguments: argparse.Namespace) -> int:
    """Check a folder here, hand its bytes to guard, say what is in force afterwards."""
    node = folders.settings(arguments)
    given = arguments.confirm_within
    within = folders.seconds(given, "--confirm-within") if given is not None else None
    path = folders.rules_path(arguments)
    folder = read_folder(path)
    loaded = load(folder, today=folders.today(arguments), allow_empty=arguments.allow_empty)
    for finding in loaded.findings:
        sys.stderr.write(finding.render() + "\n")
    sys.stderr.write(summary(loaded.files, loaded.findings) + "\n")
    if errors(loaded.findings):
        raise NetguardError(f"not applied; {_in_force(node.guard_socket)}")
    if loaded.policy is not None:
        failed = [outcome for outcome in judge(loaded.policy, loaded.cases) if not outcome.passed]
        for outcome in failed:
            sys.stderr.write(outcome.render() + "\n")
        if failed:
            words = f"{len(failed)} of {len(loaded.cases)} cases failed"
            raise NetguardError(f"{words}, not applied; {_in_force(node.guard_socket)}")
    sys.stderr.write("applying ...\n")
    commit, edited = _commit(path)
    try:
        answer = control.call(
            node.guard_socket,
            "apply",
            APPLY_TIMEOUT,
            # Messages and explain name the file as an engineer knows it, wherever the copy lies.
            name=path.resolve().name,
            folder=str(path.resolve()),
            files={name: base64.b64encode(data).decode() for name, data in folder.files.items()},
            by=arguments.by or _user(),
            commit=commit,
            edited=edited,
            allow_empty=arguments.allow_empty,
            confirm_shrink=arguments.confirm_shrink,
            confirm_within=within,
            note=arguments.note,
        )
    except Refused as error:
        raise Refused(f"{error}\nnot applied; {_in_force(node.guard_socket)}") from error
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        applied = answer["applied"]
        sys.stdout.write(
            f"applied plan {applied['number']}: {answer['tablets']} tablets, {applied['plan'][:12]}\n"
        )
        waiting = answer["waiting"]
        if waiting is not None:
            sys.stdout.write(f"rolls back at {waiting['until']} unless: netguard confirm\n")
    for enforcer, why in answer["problems"].items():
        sys.stderr.write(f"warning: {enforcer}: {why}\n")
    return 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def _in_force(socket: Path) -> str:
    try:
        applied = control.call(socket, "status")["applied"]
    except NetguardError:
        return "guard does not answer, the kernel keeps what it has"
    if applied is None:
        return "nothing is in force yet, the tablets' side is blocked"
    return f"plan {applied['number']} of {applied['at']} stays in force"


def _commit(path: Path) -> tuple[str, bool]:
    """Return the commit of the folder and whether it was edited since; empty outside git."""
    head = _git(path, "rev-parse", "HEAD")
    return head, bool(head and _git(path, "status", "--porcelain", "--", "."))


def _git(path: Path, *words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  # a fixed program, its arguments are words of ours and a path
            ["git", "-C", str(path), *words],  # noqa: S607  # the administrator's own git
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


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
    wrong += [f"names: {why}" for why in (dns or {}).get("problems", ())]
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
    loans = ", ".join(f"{guard['loans'][s]} {s}" for s in STATES if s in guard["loans"])
    lines.append(f"loans      {loans or 'none recorded'}")
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
