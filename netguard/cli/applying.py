"""apply: check a folder, say what it changes, put it into force, and look whether all is well."""

import argparse
import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netguard.adapters import control
from netguard.cli import folders, planning, probing
from netguard.core.cases import judge
from netguard.core.policy import Policy
from netguard.core.probes import Probe
from netguard.errors import NetguardError, Refused, UsageError
from netguard.rules.findings import errors, summary
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load
from netguard.settings import Settings

APPLY_TIMEOUT = 180.0


def apply(arguments: argparse.Namespace) -> int:
    """Check a folder here, hand its bytes to guard, say what is in force afterwards."""
    node = folders.settings(arguments)
    given = arguments.confirm_within
    within = folders.seconds(given, "--confirm-within") if given is not None else None
    if arguments.probe and within is None:
        raise UsageError("--probe keeps the plan or takes it back: it needs --confirm-within 2m")
    path = folders.rules_path(arguments)
    folder = read_folder(path)
    policy = _checked(arguments, node, folder)
    if not arguments.json:
        _tell_changes(arguments, node, policy)
    before = probing.reachable(node, policy) if arguments.probe else []
    sys.stderr.write("applying ...\n")
    answer = _handed(arguments, node, path, folder, within)
    for enforcer, why in answer["problems"].items():
        sys.stderr.write(f"warning: {enforcer}: {why}\n")
    applied = answer["applied"]
    if not arguments.json:
        plan = applied["plan"][:12]
        sys.stdout.write(f"applied plan {applied['number']}: {answer['tablets']} tablets, {plan}\n")
        sys.stdout.flush()
    if arguments.probe and within is not None:
        answer["probes"] = _probed(arguments, node, policy, before, within)
        answer["waiting"] = None
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    elif answer["waiting"] is not None:
        sys.stdout.write(f"rolls back at {answer['waiting']['until']} unless: netguard confirm\n")
    return 0


def _checked(arguments: argparse.Namespace, node: Settings, folder: Folder) -> Policy:
    """Return the policy of a folder that is right and whose cases hold. Raises NetguardError."""
    loaded = load(folder, today=folders.today(arguments), allow_empty=arguments.allow_empty)
    for finding in loaded.findings:
        sys.stderr.write(finding.render() + "\n")
    sys.stderr.write(summary(loaded.files, loaded.findings) + "\n")
    if loaded.policy is None or errors(loaded.findings):
        raise NetguardError(f"not applied; {_in_force(node.guard_socket)}")
    failed = [outcome for outcome in judge(loaded.policy, loaded.cases) if not outcome.passed]
    for outcome in failed:
        sys.stderr.write(outcome.render() + "\n")
    if failed:
        words = f"{len(failed)} of {len(loaded.cases)} cases failed"
        raise NetguardError(f"{words}, not applied; {_in_force(node.guard_socket)}")
    return loaded.policy


def _tell_changes(arguments: argparse.Namespace, node: Settings, policy: Policy) -> None:
    """Print what the folder changes against what is in force; nothing where that cannot be read."""
    try:
        found, flows = planning.pending(arguments, node, policy)
    except (NetguardError, OSError):
        return
    if found is not None:
        planning.print_changes(found, flows, [])


def _handed(
    arguments: argparse.Namespace, node: Settings, path: Path, folder: Folder, within: float | None
) -> control.Message:
    """Give guard the bytes of a folder; raises Refused with what stays in force."""
    commit, edited = _commit(path)
    try:
        return control.call(
            node.guard_socket,
            "apply",
            APPLY_TIMEOUT,
            # Messages and explain name the file as an engineer knows it, wherever the copy lies.
            name=path.resolve().name,
            folder=str(path.resolve()),
            files={name: base64.b64encode(data).decode() for name, data in folder.files.items()},
            by=arguments.by or folders.user(),
            commit=commit,
            edited=edited,
            allow_empty=arguments.allow_empty,
            confirm_shrink=arguments.confirm_shrink,
            confirm_within=within,
            note=arguments.note,
        )
    except Refused as error:
        raise Refused(f"{error}\nnot applied; {_in_force(node.guard_socket)}") from error


def _probed(
    arguments: argparse.Namespace,
    node: Settings,
    policy: Policy,
    before: Sequence[Probe],
    within: float,
) -> list[dict[str, Any]]:
    """Keep the plan when its probes pass; raises Refused when they do not, and it is taken back."""
    seen, wrong = probing.healthy(node, policy, before, within)
    for probe in seen:
        if probe.ok or probe in wrong:
            sys.stderr.write(f"{probe}\n")
    by = f"{arguments.by or folders.user()} (probes)"
    if not wrong:
        control.call(node.guard_socket, "confirm", APPLY_TIMEOUT, by=by, note=arguments.note)
        sys.stderr.write(f"{sum(probe.ok for probe in seen)} probes pass: the plan is kept\n")
        return [asdict(probe) for probe in seen]
    note = f"probe failed: {wrong[0].kind}, {wrong[0].subject}: {wrong[0].found}"[:200]
    back = control.call(node.guard_socket, "rollback", APPLY_TIMEOUT, by=by, note=note, number=None)
    count = f"{len(wrong)} probe{'s' if len(wrong) > 1 else ''} failed"
    raise Refused(f"{count}: plan {back['number']} is in force again, instead of {back['from']}")


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
