"""plan: what would change if these rules were applied, against what is in force."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from difflib import unified_diff
from typing import Any

from netguard.adapters import control, files
from netguard.cli import folders
from netguard.cli.testing import sound
from netguard.core.changes import Changes, GroupChange, Line, changes
from netguard.core.loans import Loans
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.core.profiles import under
from netguard.errors import BadValue, NotReachable, UsageError
from netguard.render import dhcp, freeradius, haproxy, names, nftables, ntp, radius_hours
from netguard.rules.folder import read_folder
from netguard.settings import Settings

PENDING = 3


def plan(arguments: argparse.Namespace) -> int:
    """Say what would change; 3 when something would, 0 when nothing would."""
    node = folders.settings_if_any(arguments)
    _, policy = sound(folders.rules_folder(arguments), arguments)
    running = arguments.against is None
    if running and node is None:
        raise UsageError("nothing runs here to compare with: netguard plan DIR --against DIR2")
    loans, on = _said(node) if running and node else ({}, ())
    in_force = (
        sound(read_folder(arguments.against), arguments)[1]
        if arguments.against is not None
        else _in_force(arguments, node)
    )
    policy = under(policy, on)
    sites = _sites(node, policy)
    after = compile_plan(policy, sites, loans)
    before = None
    if in_force is not None:
        in_force = under(in_force, on)
        known = _sites(node, in_force) if node else sorted(in_force.sites)
        before = compile_plan(in_force, known, loans)
    found = changes(before, after, (in_force, policy))
    flows = _flows(node, found) if running and node else {}
    native = list(_native(before, after)) if arguments.native or arguments.json else []
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(found, flows, native), indent=1) + "\n")
    else:
        print_changes(found, flows, native)
    differs = found.lines or any(group.lost for group in found.groups) or _digests(before, after)
    return PENDING if differs else 0


def pending(
    arguments: argparse.Namespace, node: Settings, policy: Policy
) -> tuple[Changes | None, dict[str, int]]:
    """Return what a policy would change on a running node, and the calls it cuts; None before the first."""
    in_force = _in_force(arguments, node)
    if in_force is None:
        return None, {}
    loans, on = _said(node)
    in_force, policy = under(in_force, on), under(policy, on)
    before = compile_plan(in_force, _sites(node, in_force), loans)
    found = changes(before, compile_plan(policy, _sites(node, policy), loans), (in_force, policy))
    return found, _flows(node, found)


def _said(node: Settings) -> tuple[Loans, list[str]]:
    """Return what people have said on a running node: who is lost, and which profiles are on."""
    answer = control.call(node.guard_socket, "loans")
    # An older guard knows no profiles.
    return answer["loans"] or {}, answer.get("profiles", [])


def _digests(before: Plan | None, after: Plan) -> bool:
    return before is None or before.digest != after.digest


def _sites(node: Settings | None, policy: Policy) -> list[str]:
    served = list(node.sites) if node is not None else sorted(policy.sites)
    missing = [site for site in served if site not in policy.sites]
    if missing:
        known = ", ".join(sorted(policy.sites))
        raise BadValue(
            "unknown-ref", f"this node serves site '{missing[0]}', the rules know: {known}"
        )
    return served


def _in_force(arguments: argparse.Namespace, node: Settings | None) -> Policy | None:
    """Load guard's copy of what is in force; None before the first apply."""
    assert node is not None  # noqa: S101  # for the type checker: the caller has seen to it
    try:
        current = files.Copies(node.paths.state).current()
    except OSError as error:
        raise NotReachable(f"the rules in force cannot be read: {error}") from error
    if current is None:
        return None
    applied, path = current
    return sound(read_folder(path, applied.name), arguments)[1]


def _flows(node: Settings, found: Changes) -> dict[str, int]:
    """Return how many running calls each right that goes has, by its rule."""
    lost = {grant.rule: grant.mark for group in found.groups for grant in group.lost}
    if not lost:
        return {}
    counted = control.call(node.guard_socket, "flows")["flows"]
    return {rule: int(counted.get(str(mark), 0)) for rule, mark in lost.items()}


def _native(before: Plan | None, after: Plan) -> Iterator[tuple[str, list[str]]]:
    """Yield (file, unified diff) for each enforcer whose text differs."""
    old = dict(_texts(before)) if before is not None else {}
    for name, text in _texts(after):
        lines = unified_diff(
            old.get(name, "").splitlines(),
            text.splitlines(),
            f"a/{name}",
            f"b/{name}",
            "",
            "",
            1,
            "",
        )
        listed = list(lines)
        if listed:
            yield name, listed


def _texts(plan_: Plan) -> Iterator[tuple[str, str]]:
    yield "nftables", "\n".join(_spread(nftables.render(plan_)))
    yield "freeradius/tablets", freeradius.tablets(plan_)
    yield "freeradius/areas", freeradius.areas(plan_)
    yield "freeradius/hours", radius_hours.hours(plan_)
    yield "freeradius/lent", freeradius.lent(plan_)
    yield "freeradius/clients", freeradius.clients(plan_, "SECRETS")
    yield "dhcp/dnsmasq.conf", dhcp.configuration(plan_, "DHCP")
    yield "dhcp/hosts", dhcp.hosts(plan_)
    yield "names/dns.json", names.render(plan_)
    yield "sni/haproxy.cfg", haproxy.configuration(plan_, "SNI")
    yield "time/chrony.conf", ntp.configuration(plan_, "TIME")


def _spread(text: str) -> Iterator[str]:
    """Yield the lines of a ruleset, each element on its own: a tablet more is one line more."""
    for line in text.splitlines():
        head, brace, rest = line.partition(" { ")
        if not brace or not line.startswith("add element "):
            yield line
            continue
        for element in rest.removesuffix(" }").split(", "):
            yield f"{head} {{ {element} }}"


def print_changes(
    found: Changes, flows: dict[str, int], native: list[tuple[str, list[str]]]
) -> None:
    """Print changes as text."""
    out: list[str] = [_line(line) for line in found.general]
    for group in found.groups:
        noun = "tablet" if group.tablets == 1 else "tablets"
        out.append(f"group {group.name}, {group.tablets} {noun}")
        out += [f"  {_line(line)}" for line in group.lines]
        out += [f"  {words}" for words in _cut(group, flows)]
    out += [_line(line) for line in (*_together(found.tablets), *found.shared)]
    if found.same and out:
        out.append(f"unchanged: {', '.join(found.same)}")
    for name, lines in native:
        out += [f"native: {name}", *lines]
    text = "\n".join(out) or "no change: nothing is pending"
    sys.stdout.write(text + "\n")
    opening = sum(line.widens for line in found.lines)
    if opening:
        sys.stderr.write(
            f"{opening} of {len(found.lines)} changes open something, marked with '!'\n"
        )


def _together(lines: tuple[Line, ...]) -> Iterator[Line]:
    """Yield one line for all tablets of which the same is said."""
    for detail in dict.fromkeys(line.detail for line in lines):
        alike = [line for line in lines if line.detail == detail]
        if len(alike) == 1:
            yield alike[0]
            continue
        ids = [line.what.partition(" ")[2] for line in alike]
        rest = f" and {len(ids) - 5} more" if len(ids) > 5 else ""
        words = f"{detail}: {', '.join(ids[:5])}{rest}"
        yield Line(alike[0].sign, f"{len(ids)} tablets", words, any(a.widens for a in alike))


def _line(line: Line) -> str:
    mark = "!" if line.widens else " "
    return f"{line.sign}{mark} {line.what:<16} {line.detail}".rstrip()


def _cut(group: GroupChange, flows: dict[str, int]) -> Iterator[str]:
    for grant in group.lost:
        count = flows.get(grant.rule)
        calls = "running calls" if count is None else f"{count} running calls"
        yield f"-  calls            {calls} of {grant.rule} will be cut"


def as_json(
    found: Changes, flows: dict[str, int], native: list[tuple[str, list[str]]]
) -> dict[str, Any]:
    """Return changes in their stable JSON form."""
    return {
        "changed": bool(found.lines),
        "widens": found.widens,
        "general": [asdict(line) for line in found.general],
        "groups": {
            group.name: {
                "tablets": group.tablets,
                "changes": [asdict(line) for line in group.lines],
                "calls_cut": {grant.rule: flows.get(grant.rule) for grant in group.lost},
            }
            for group in found.groups
        },
        "tablets": [asdict(line) for line in found.tablets],
        "newly_shared": [asdict(line) for line in found.shared],
        "unchanged": list(found.same),
        "native": dict(native),
    }
