"""explain: what happens to a packet or a request, and which line of the rules does it."""

import argparse
import json
import sys
from datetime import datetime
from typing import Any

from netguard.adapters import clock, control, files
from netguard.cli import folders
from netguard.core.admission import Admission, Request, decide
from netguard.core.explain import (
    Explanation,
    Line,
    as_json,
    explain_address,
    explain_name,
    find_tablet,
)
from netguard.core.hours import next_opening, open_for
from netguard.core.loans import why_of
from netguard.core.names import Address, Mac, Ports, parse_address, parse_fqdn, shown, suggest
from netguard.core.plan import compile_plan
from netguard.core.policy import Policy
from netguard.core.profiles import under
from netguard.core.verdict import Flow
from netguard.core.week import DAYS
from netguard.errors import BadValue, NetguardError, UsageError
from netguard.rules.findings import errors
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load
from netguard.settings import Settings

Live = dict[str, Any]


def explain(arguments: argparse.Namespace) -> int:
    """Explain; 0 when it is allowed, 1 when it is not."""
    node = folders.settings_if_any(arguments)
    policy = policy_in_force(arguments, node)
    if arguments.radius is not None:
        # Everything after --radius is an attribute; words before it would be a packet's.
        return _radius(arguments, node, policy)
    if not (arguments.tablet and arguments.destination and arguments.port):
        raise UsageError("explain needs TABLET DESTINATION PORT, or --radius ATTRIBUTE=VALUE ...")
    try:
        explanation, live = _packet(arguments, node, policy)
    except BadValue as error:
        raise UsageError(str(error)) from error
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(explanation, live), indent=1) + "\n")
    else:
        _print(explanation, live)
    return 0 if explanation.allowed else 1


def policy_in_force(arguments: argparse.Namespace, node: Settings | None) -> Policy:
    """Load the rules that are meant: those named, those in force, or the folder here."""
    folder = _folder(arguments, node)
    loaded = load(folder, today=folders.today(arguments), allow_empty=True)
    if loaded.policy is None:
        listed = "\n".join(finding.render() for finding in errors(loaded.findings)[:5])
        raise NetguardError(f"these rules have errors, 'netguard check' lists them all:\n{listed}")
    return loaded.policy


def _folder(arguments: argparse.Namespace, node: Settings | None) -> Folder:
    if arguments.rules is not None:
        return read_folder(arguments.rules)
    if node is not None and not arguments.offline:
        try:
            current = files.Copies(node.paths.state).current()
        except OSError:
            current = None
        if current is not None:
            applied, path = current
            return read_folder(path, applied.name)
    arguments.folder = None
    return read_folder(folders.rules_path(arguments))


# packets


def _packet(
    arguments: argparse.Namespace, node: Settings | None, policy: Policy
) -> tuple[Explanation, Live]:
    tablet = find_tablet(policy, arguments.tablet)
    site_name = arguments.site or tablet.home[0]
    if site_name not in policy.sites:
        raise BadValue(
            "unknown-ref", f"unknown site {shown(site_name)}{suggest(site_name, policy.sites)}"
        )
    known = loans_in_force(arguments, node)
    policy = under(policy, known.get("profiles", ()))
    plan = compile_plan(
        policy,
        {site_name, *(s for s in (node.sites if node else ()) if s in policy.sites)},
        known.get("loans", {}),
    )
    address = policy.address_of(tablet, policy.sites[site_name])
    if site_name not in policy.groups[tablet.group].sites or address is None:
        line = Line(
            f"{tablet.group}/sites", True, f"{tablet.id} is not admitted at '{site_name}'", ()
        )
        refused = Explanation(
            tablet.id,
            site_name,
            arguments.destination,
            arguments.port,
            "reject",
            line.rule,
            (line,),
        )
        return refused, {}
    port = _port(arguments.port)
    target = _address(arguments.destination)
    left = open_for(plan, clock.now()) if _is_live(arguments, node) else {}
    live = _live(arguments, node, target, arguments.destination)
    live |= {key: why for key, why in known.items() if why and key in {"unreachable", "profiles"}}
    if target is not None:
        interface = plan.site[site_name].interfaces[0]
        flow = Flow(interface, tablet.mac, address, target, port.protocol, port.first)
        judged, lines = explain_address(policy, plan, flow, _learned(live), left)
        action, rule = judged.action, judged.rule
    elif tablet.id in plan.loan:
        # Its question does not even reach the name proxy.
        action, rule = "drop", "loan"
        lines = (Line(rule, True, why_of(tablet.id, plan.loan[tablet.id]), ()),)
    elif left.get(tablet.group) == 0:
        action, rule = "drop", f"{tablet.group}/hours"
        origin = policy.where("groups", tablet.group, "hours")
        why = f"outside the hours {plan.group[tablet.group].hours}"
        lines = (Line(rule, True, why, (origin,) if origin else ()),)
    else:
        name = parse_fqdn(arguments.destination)
        action, rule, lines = explain_name(policy, plan, tablet.group, name, port)
    live |= _counter(arguments, node, tablet.group, rule)
    if rule == f"{tablet.group}/hours" and (opens := next_opening(plan, tablet.group, clock.now())):
        live["opens"] = opens.isoformat(timespec="minutes")
    explained = Explanation(
        tablet.id, site_name, arguments.destination, arguments.port, action, rule, lines
    )
    return explained, live


def _is_live(arguments: argparse.Namespace, node: Settings | None) -> bool:
    """Say whether it is about this node now, and not about a folder of rules."""
    return node is not None and not arguments.offline and arguments.rules is None


def loans_in_force(arguments: argparse.Namespace, node: Settings | None) -> Live:
    """Ask guard who is lost; silence is said, not guessed over."""
    if node is None or not _is_live(arguments, node):
        return {}
    try:
        answer = control.call(node.guard_socket, "loans")
    except NetguardError as error:
        return {"unreachable": str(error)}
    return {"loans": answer["loans"] or {}, "profiles": answer.get("profiles", [])}


def _port(text: str) -> Ports:
    if text == "icmp":
        return Ports("icmp", 0, 0)
    port = Ports.parse(text)
    if port.first != port.last:
        raise BadValue(
            "bad-port", f"'{text}' is several ports, explain one: {port.protocol}/{port.first}"
        )
    return port


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except BadValue:
        return None


def _learned(live: Live) -> dict[str, frozenset[Address]]:
    learned: dict[str, set[Address]] = {}
    for row in live.get("learned", ()):
        learned.setdefault(row["service"], set()).add(parse_address(row["address"]))
    return {service: frozenset(addresses) for service, addresses in learned.items()}


def _live(
    arguments: argparse.Namespace, node: Settings | None, target: Address | None, word: str
) -> Live:
    """Ask the name proxy what it has learned; silence is said, not guessed over."""
    if node is None or not _is_live(arguments, node):
        return {}
    try:
        if target is not None:
            answer = control.call(node.dns_socket, "learned", address=str(target))
        else:
            answer = control.call(node.dns_socket, "learned", name=parse_fqdn(word))
    except BadValue:
        raise
    except NetguardError as error:
        return {"unreachable": str(error)}
    return {key: answer[key] for key in ("learned", "denied") if key in answer}


def _counter(arguments: argparse.Namespace, node: Settings | None, group: str, rule: str) -> Live:
    if node is None or not _is_live(arguments, node):
        return {}
    try:
        counters = control.call(node.guard_socket, "counters")["counters"]
    except NetguardError as error:
        return {"unreachable": str(error)}
    # A refusal is counted for the tablet's group.
    counted = counters.get(f"{group}/{rule}") or counters.get(rule)
    return {"packets": counted[0], "bytes": counted[1]} if counted else {}


def _print(explanation: Explanation, live: Live) -> None:
    word = "allow" if explanation.allowed else f"deny ({explanation.action})"
    decided = explanation.lines[-1]
    places = ", ".join(str(origin) for origin in decided.origins)
    lines = [f"{word}  by {explanation.rule}  {places}".rstrip(), f"  {decided.why}"]
    lines += [
        f"  {row['address']}  learned for '{row['service']}' from {row['name']}, "
        f"expires in {row['expires_seconds']:.0f} s"
        for row in live.get("learned", ())
    ]
    if "packets" in live:
        lines.append(
            f"  counter {explanation.rule}: {live['packets']:,} packets, {live['bytes']:,} bytes"
        )
    if "denied" in live:
        row = live["denied"]
        lines.append(f"  refused by name {row['count']} times, last {row['at']} to {row['tablet']}")
    if "opens" in live:
        opens = datetime.fromisoformat(live["opens"])
        lines.append(f"  open again on {DAYS[opens.weekday()]} {opens:%Y-%m-%d} at {opens:%H:%M}")
    if "profiles" in live:
        lines.append(f"  while this is on: profile {', '.join(live['profiles'])}")
    if "unreachable" in live:
        lines.append(f"  live state unknown: {live['unreachable']}")
    before = explanation.lines[:-1]
    if before:
        lines.append("  looked at before:")
        width = max(len(line.rule) for line in before)
        lines += [f"    {line.rule:<{width}}  {line.why}" for line in before]
    sys.stdout.write("\n".join(lines) + "\n")


# requests


def _radius(arguments: argparse.Namespace, node: Settings | None, policy: Policy) -> int:
    attributes: dict[str, str] = {}
    for word in arguments.radius:
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f"{shown(word)} is not ATTRIBUTE=VALUE, such as Calling-Station-Id=3c-28-6d-aa-01-10"
            )
        # A repeated attribute: the first one counts, as in FreeRADIUS.
        attributes.setdefault(name, value.strip("'\""))
    if "User-Name" not in attributes and "Calling-Station-Id" in attributes:
        # MAC authentication names the device twice; on the command line once is enough.
        attributes["User-Name"] = _as_mac(attributes["Calling-Station-Id"])
    nas = arguments.nas or attributes.get("NAS-Identifier") or _only_nas(policy)
    known = loans_in_force(arguments, node)
    decided = decide(policy, Request(nas, attributes), known.get("loans", {}))
    if arguments.json:
        sys.stdout.write(json.dumps(_admission(decided), indent=1) + "\n")
    else:
        where = f"  {decided.origin}" if decided.origin else ""
        vlan = f", VLAN {decided.vlan}" if decided.vlan is not None else ""
        lines = [f"{decided.answer}{vlan}  by {decided.rule}{where}", f"  {decided.reason}"]
        lines += [
            f"    {step.rule}  {step.why}" + (f"  {step.origin}" if step.origin else "")
            for step in decided.steps[:-1]
        ]
        if "unreachable" in known:
            lines.append(f"  loans unknown: {known['unreachable']}")
        sys.stdout.write("\n".join(lines) + "\n")
    return 0 if decided.answer == "accept" else 1


def _as_mac(text: str) -> str:
    try:
        return str(Mac.parse(text))
    except BadValue:
        return text


def _only_nas(policy: Policy) -> str:
    names = sorted(nas for site in policy.sites.values() for nas in site.nas)
    if len(names) != 1:
        raise UsageError(f"which NAS asks? --nas {' | '.join(names)}")
    return names[0]


def _admission(decided: Admission) -> dict[str, object]:
    return {
        "answer": decided.answer,
        "vlan": decided.vlan,
        "rule": decided.rule,
        "reason": decided.reason,
        "origin": str(decided.origin) if decided.origin else None,
        "steps": [
            {
                "rule": s.rule,
                "decided": s.decided,
                "why": s.why,
                "origin": str(s.origin) if s.origin else None,
            }
            for s in decided.steps
        ],
    }
