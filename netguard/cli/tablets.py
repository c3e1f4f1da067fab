"""tablet, rejects, unknown, audit: where a tablet is in its life, who knocks, and who changed what."""

import argparse
import csv
import json
import sys
from collections.abc import Mapping
from typing import Any

from netguard.adapters import control, files
from netguard.cli import folders, going, presence
from netguard.core.loans import FOUND, LENT, LOST, STOCK
from netguard.errors import NetguardError, UsageError
from netguard.settings import Settings

# Kernel, names, and the seconds that FreeRADIUS wants between two loads.
CHANGE_TIMEOUT = 60.0
# Problems that a change of one tablet has to wait for.
LATE = frozenset({"enforce", "psk", "radius", "store"})
# What each word makes of a tablet.
_STATES = {"lend": LENT, "return": STOCK, "lost": LOST, "found": FOUND}
_COLUMNS = "id,mac,group,home,model,serial"
_HINTS = {
    "private-mac": "a private (random) address: turn it off on the tablet for this network",
    "unknown-mac": "not in tablets.csv",
}


def tablet(arguments: argparse.Namespace) -> int:
    """Print what is known of a tablet; with a state, record it first. 1 when an enforcer lags."""
    node = folders.settings(arguments)
    body: dict[str, Any] = {"tablet": arguments.tablet}
    if arguments.state is not None:
        body |= {
            "state": arguments.state,
            "note": arguments.note,
            "by": arguments.by or folders.user(),
        }
        # Only `lend` has a length.
        within = getattr(arguments, "within", None)
        if within is not None:
            body["seconds"] = folders.seconds(within, "--for")
    elif arguments.note is not None:
        raise UsageError("--note belongs to a state: netguard tablet ID lost --note TEXT")
    known = control.call(node.guard_socket, "tablet", CHANGE_TIMEOUT, **body)
    known["last_admission"] = _last_admission(node, known)
    known["presence"] = presence.whereabouts(node, known["tablet"]) if known["inventory"] else None
    if arguments.json:
        sys.stdout.write(json.dumps(known, indent=1) + "\n")
    else:
        _print(known, arguments.state)
    late = {k: why for k, why in known["problems"].items() if k in LATE}
    for enforcer, why in late.items():
        sys.stderr.write(f"warning: {enforcer}: {why}\n")
    return 1 if arguments.state is not None and late else 0


def _last_admission(node: Settings, known: Mapping[str, Any]) -> object:
    """Return what watch saw last; a text where it cannot say."""
    if known["inventory"] is None:
        return None
    try:
        return control.call(node.watch_socket, "seen", mac=known["inventory"]["mac"])["seen"]
    except NetguardError as error:
        return f"unknown: {error}"


def _print(known: Mapping[str, Any], state: str | None) -> None:
    loan, entry, seen = known["loan"], known["inventory"], known["last_admission"]
    said = "nothing recorded"
    if loan is not None:
        note = f', "{loan["note"]}"' if loan["note"] else ""
        said = f"{loan['state']} since {loan['at']} by {loan['who']}{note}"
        if state is not None and not known["changed"]:
            said += "; it was so already"
        # An older guard knows no ends.
        if known.get("due"):
            said += f"; {'overdue since' if known['overdue'] else 'due back'} {known['due']}"
    lines = [
        f"{known['tablet']}   {said}",
        "  refused everywhere" if known["refused"] else "  as its group may do",
    ]
    if known["quarantine"] is not None:
        lines.append(f"  {going.described(known['quarantine'])}")
    lines += [f"  {line}" for line in going.steps(known["removal"])]
    # An older guard says nothing of keys.
    if known.get("psk_rotated"):
        id_ = known["tablet"]
        lines.append(f"  has a new Wi-Fi key: netguard psk card {id_} --out {id_}.html")
    if entry is None:
        lines.append("  not in the inventory in force, so its MAC is refused")
    else:
        words = (entry["mac"], f"group {entry['group']}", f"home {entry['home']}")
        more = [word for word in (entry["model"], entry["serial"]) if word]
        lines.append(f"  {', '.join((*words, *more))}   {entry['line']}")
    lines += [f"  {address} at {site}" for site, address in known["addresses"].items()]
    if isinstance(seen, dict):
        vlan = f", VLAN {seen['vlan']}" if seen["vlan"] else ""
        lines.append(
            f"  last {seen['answer']} {seen['at']} by {seen['rule']} at {seen['ap'] or seen['nas']}"
            f", {seen['site']}{vlan}"
        )
    elif entry is not None:
        lines.append(f"  last admission {seen or 'never seen'}")
    if known["presence"] is not None:
        lines += presence.shown(known["presence"])
    sys.stdout.write("\n".join(lines) + "\n")


def said(arguments: argparse.Namespace) -> int:
    """Record what a person says of a tablet; the same as `tablet ID STATE`."""
    arguments.state = _STATES[arguments.command]
    return tablet(arguments)


def move(arguments: argparse.Namespace) -> int:
    """Note that a tablet is about to go to another area."""
    node = folders.settings(arguments)
    answer = control.call(
        node.guard_socket,
        "move",
        CHANGE_TIMEOUT,
        tablet=arguments.tablet,
        area=arguments.area,
        seconds=folders.seconds(arguments.within, "--for"),
        note=arguments.note,
        by=arguments.by or folders.user(),
    )
    if arguments.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(f"{answer['tablet']} goes to {answer['to']}, until {answer['until']}\n")
    return 0


def rejects(arguments: argparse.Namespace) -> int:
    """Print where tablets were refused: outside their fence, or because people reported them."""
    node = folders.settings(arguments)
    span = folders.seconds(arguments.since)
    answer = control.call(node.watch_socket, "rejects", seconds=span, tablet=arguments.tablet or "")
    found = answer["rejects"]
    if arguments.json:
        sys.stdout.write(json.dumps({"rejects": found}, indent=1) + "\n")
        return 0
    for each in found:
        place = "/".join(filter(None, (each["site"], each["area"])))
        where = " ".join(filter(None, (place, each["ap"], each["ssid"])))
        sys.stdout.write(
            f"{each['tablet'] or each['mac']:16} {each['count']:>5} times  {each['rule']:24} {where}  "
            f"{each['first_at']} to {each['last_at']}\n"
        )
    if not found:
        whom = arguments.tablet or "a tablet"
        sys.stderr.write(f"nowhere was {whom} refused since {arguments.since}\n")
    return 0


def unknown(arguments: argparse.Namespace) -> int:
    """Print refused MACs: lines of tablets.csv on standard output, where they were beside it."""
    node = folders.settings(arguments)
    span = folders.seconds(arguments.since)
    found = control.call(node.watch_socket, "unknown", seconds=span)["unknown"]
    for each in found:
        each["hint"] = _HINTS.get(each["reason"], each["reason"])
    if arguments.json:
        sys.stdout.write(json.dumps({"unknown": found}, indent=1) + "\n")
        return 0
    for each in found:
        place = ", ".join(word for word in (each["ap"] or each["nas"], each["ssid"]) if word)
        sys.stderr.write(
            f"{each['mac']}  {each['count']} times, last {each['last_at']} at {place}, "
            f"{each['site']}: {each['hint']}\n"
        )
        # An older watch suggests none.
        for tablet in each.get("perhaps", ()):
            model = f" ({tablet['model']})" if tablet["model"] else ""
            sys.stderr.write(
                f"    perhaps {tablet['tablet']}{model}, which fell silent at this access point within "
                f"{tablet['apart']:.0f} s of it: netguard adopt {each['mac']} {tablet['tablet']}\n"
            )
    pasted = [each["mac"] for each in found if each["reason"] != "private-mac"]
    if not pasted:
        sys.stderr.write(f"no unknown MAC to enter since {arguments.since}\n")
        return 0
    sys.stderr.write("to enter those that are yours, fill in what is marked with ? and the ids:\n")
    header = _header(node)
    delimiter = ";" if header.count(";") > header.count(",") else ","
    names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
    rows = csv.DictWriter(
        sys.stdout, names, restval="", extrasaction="ignore", delimiter=delimiter,
        lineterminator="\n",
    )  # fmt: skip
    for number, mac in enumerate(pasted, 1):
        rows.writerow({"id": f"NEW-{number}", "mac": mac, "group": "?", "home": "?"})
    return 0


def _header(node: Settings) -> str:
    """Return the first line of the inventory in force, so that lines fit the file."""
    try:
        current = files.Copies(node.paths.state).current()
        if current is not None:
            text = (current[1] / "tablets.csv").read_text("utf-8-sig")
            return text.splitlines()[0] if text.strip() else _COLUMNS
    except (OSError, ValueError):
        pass
    return _COLUMNS


def audit(arguments: argparse.Namespace) -> int:
    """Print the lines of the audit, the newest first."""
    node = folders.settings(arguments)
    span = folders.seconds(arguments.since)
    subject = arguments.subject or ""
    found = control.call(node.guard_socket, "audit", seconds=span, subject=subject)["audit"]
    try:
        told = control.call(node.watch_socket, "alert-audit", seconds=span, subject=subject)
        found = sorted([*found, *told["audit"]], key=lambda line: str(line["at"]), reverse=True)
    except NetguardError as error:
        sys.stderr.write(f"warning: who spoke of alerts is unknown: {error}\n")
    if arguments.json:
        sys.stdout.write(json.dumps({"audit": found}, indent=1) + "\n")
        return 0
    for line in found:
        before, after = _short(line["before"]), _short(line["after"])
        sys.stdout.write(
            f"{line['at']}  {line['who']}  {line['verb']} {line['subject']}: "
            f"{before or '-'} -> {after or '-'}\n"
        )
    if not found:
        sys.stderr.write(f"nothing was changed since {arguments.since}\n")
    return 0


def _short(values: Mapping[str, object]) -> str:
    """Print fields on one line; a digest by its first digits, as everywhere else."""
    words = []
    for key, value in values.items():
        text = str(value)
        words.append(f"{key} {text[:12] if len(text) in {40, 64} else text}")
    return ", ".join(words)
