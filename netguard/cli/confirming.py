"""confirm, rollback, history, show: keep a plan, take it back, look at those before."""

import argparse
import json
import sys
from dataclasses import asdict

from netguard.adapters import control, files
from netguard.cli import folders
from netguard.cli.applying import APPLY_TIMEOUT
from netguard.cli.planning import as_json, print_changes
from netguard.cli.testing import sound
from netguard.core.changes import changes
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.errors import NotReachable, Refused
from netguard.rules.folder import read_folder


def confirm(arguments: argparse.Namespace) -> int:
    """Keep the plan that waits; 5 when none does."""
    answer = _ask(arguments, "confirm")
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(f"plan {answer['number']} kept\n")
    return 0


def rollback(arguments: argparse.Namespace) -> int:
    """Put an earlier plan in force again."""
    answer = _ask(arguments, "rollback", number=arguments.number)
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
        return 0
    for line in answer["changes"]:
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"plan {answer['number']} is in force again, instead of {answer['from']}\n")
    return 0


def _ask(arguments: argparse.Namespace, verb: str, **words: object) -> control.Message:
    node = folders.settings(arguments)
    by = arguments.by or folders.user()
    return control.call(node.guard_socket, verb, APPLY_TIMEOUT, by=by, note=arguments.note, **words)


def history(arguments: argparse.Namespace) -> int:
    """List the plans that are kept."""
    answer = control.call(folders.settings(arguments).guard_socket, "history")
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
        return 0
    waiting = answer["waiting"]
    for row in answer["plans"]:
        mark = "*" if row["in_force"] else " "
        commit = row["commit"][:12] or "no commit"
        edited = " with edits" if row["edited"] else ""
        late = f"  rolls back at {waiting['until']}" if waiting and row["in_force"] else ""
        sys.stdout.write(
            f"{mark}{row['number']:>5}  {row['at']}  {row['by']}  {commit}{edited}{late}\n"
        )
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Say what a plan is and what it changed."""
    copies = files.Copies(folders.settings(arguments).paths.state)
    try:
        kept = [applied.number for applied in copies.listed()]
        copy = copies.at(arguments.number)
    except OSError as error:
        raise NotReachable(f"the plans that are kept cannot be read: {error}") from error
    if copy is None:
        numbers = ", ".join(map(str, kept)) or "none"
        raise Refused(f"plan {arguments.number} is not kept, these are: {numbers}")
    applied, _ = copy
    policy, plan = _compiled(arguments, copies, arguments.number)
    before = max((number for number in kept if number < arguments.number), default=None)
    old_policy, old = _compiled(arguments, copies, before) if before is not None else (None, None)
    found = changes(old, plan, (old_policy, policy))
    if arguments.json:
        body = {"applied": asdict(applied), "before": before, **as_json(found, {}, [])}
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
        return 0
    sys.stdout.write(
        f"plan {applied.number} of {applied.at} by {applied.by}, from {applied.folder}\n"
        f"commit {applied.commit or 'none'}{' with edits' if applied.edited else ''}\n"
        f"rules sha256 {applied.rules}\nplan sha256 {applied.plan}\n"
        f"against {f'plan {before}' if before is not None else 'nothing'}:\n"
    )
    print_changes(found, {}, [])
    return 0


def _compiled(
    arguments: argparse.Namespace, copies: files.Copies, number: int
) -> tuple[Policy, Plan]:
    copy = copies.at(number)
    if copy is None:
        raise Refused(f"plan {number} is not kept any more")
    applied, folder = copy
    policy = sound(read_folder(folder, applied.name), arguments)[1]
    served = [s for s in folders.settings(arguments).sites if s in policy.sites]
    return policy, compile_plan(policy, served)
