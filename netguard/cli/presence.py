"""tablets and events: where tablets are, why, and what that was judged by."""

import argparse
import hmac
import json
import secrets
import sys
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from netguard.adapters import control
from netguard.cli import folders
from netguard.errors import NetguardError
from netguard.settings import Settings


def listed(arguments: argparse.Namespace) -> int:
    """Print where each tablet is and what that means."""
    node = folders.settings(arguments)
    rows = control.call(node.watch_socket, "tablets")["tablets"]
    rows = [row for row in rows if _wanted(row, arguments)]
    if arguments.json:
        sys.stdout.write(json.dumps({"tablets": rows}, indent=1) + "\n")
        return 0
    for row in rows:
        place = f"{row['site']}/{row['area']}" if row["area"] else row["ap"] or "-"
        why = f" {row['cause']} {row['probability']:.0%}" if row["cause"] else ""
        sys.stdout.write(
            f"{row['tablet']:10} {row['presence'] + why:24} {place:28} "
            f"{row['last_seen'] or '-':25} {row['loan'] or '-'}{_due(row)}\n"
        )
    if not rows:
        sys.stderr.write(_none(arguments) + "\n")
    return 0


def _none(arguments: argparse.Namespace) -> str:
    if arguments.area is not None or arguments.state is not None:
        return "no tablet is like that"
    return "no tablet is overdue" if arguments.overdue else "no tablets are known"


def _due(row: dict[str, Any]) -> str:
    # An older watch knows no ends.
    if not row.get("due"):
        return ""
    return f", {'overdue since' if row['overdue'] else 'due back'} {row['due']}"


def _wanted(row: dict[str, Any], arguments: argparse.Namespace) -> bool:
    if arguments.overdue and not row.get("overdue"):
        return False
    areas = {row["area"], f"{row['site']}/{row['area']}"}
    return arguments.area in {None, *areas} and arguments.state in {
        None,
        row["presence"],
        row["loan"],
    }


def whereabouts(node: Settings, id_: str) -> dict[str, Any] | str:
    """Return where one tablet is and its last incident; a text where watch cannot say."""
    try:
        rows = control.call(node.watch_socket, "tablets", tablet=id_)["tablets"]
        found = control.call(node.watch_socket, "incidents", tablet=id_)["incidents"]
    except NetguardError as error:
        return f"unknown: {error}"
    if not rows:
        return "unknown: not in the inventory in force"
    # Of one that is over, the audit and the recording tell.
    open_ = [each for each in found if each["open"]]
    # Of the engine's incidents only, what is judged; the others are facts (NG-1107).
    judged = [each for each in open_ if "code" not in each]
    facts = [
        f"{each['code']} {each['cause']} since {each['at']}" for each in open_ if "code" in each
    ]
    return {**rows[0], "incident": judged[0] if judged else None, "facts": facts}


def shown(where: dict[str, Any] | str) -> list[str]:
    """Return where a tablet is as lines: what is said, why, and what would change it."""
    if isinstance(where, str):
        return [f"  presence {where}"]
    place = f"{where['site']}/{where['area']}" if where["area"] else where["ap"] or "nowhere"
    heard = (
        f"last heard {where['last_seen']} at {where['ap']}" if where["last_seen"] else "no word yet"
    )
    lines = [f"  {where['presence']}, {place}, {heard}"]
    lines += [f"  {fact}" for fact in where["facts"]]
    incident = where["incident"]
    if incident is None:
        return lines
    lines.append(
        f"  {incident['cause']} {incident['probability']:.0%} since {incident['silent_since']}"
    )
    for reason in incident["reasons"]:
        side = "for" if reason["weight"] > 0 else "against"
        detail = f": {reason['detail']}" if reason["detail"] else ""
        lines.append(f"    {side:7} {reason['weight']:+.1f} {reason['name']}{detail}")
    return lines + [f"    would change it: {change}" for change in incident["changes"]]


def export(arguments: argparse.Namespace) -> int:
    """Print recorded events, one JSON object a line, as `netguard replay` reads them."""
    node = folders.settings(arguments)
    seconds = folders.seconds(arguments.since)
    key = secrets.token_bytes(32) if arguments.pseudonymise else None
    count = 0
    for line in _recorded(node, seconds):
        sys.stdout.write((pseudonymised(line, key) if key is not None else line) + "\n")
        count += 1
    sys.stderr.write(f"{count} events\n")
    return 0


def _recorded(node: Settings, seconds: float) -> Iterator[str]:
    after = 0
    while True:
        answer = control.call(node.watch_socket, "recorded", 60.0, seconds=seconds, after=after)
        if not answer["recorded"]:
            return
        after = answer["last"]
        for block in answer["recorded"]:
            yield from filter(None, block.split("\n"))


def pseudonymised(line: str, key: bytes) -> str:
    """Return an event under other names: the same within one export, and nobody can go back.

    A MAC becomes a locally administered one; APs, NASes, sites, areas, SSIDs and sessions become numbers,
    and so does the NAS or address that a feed is called after. What is left is when and what.
    """
    row = json.loads(line)
    for name in ("ap", "nas", "session", "site", "area", "ssid"):
        if row.get(name):
            row[name] = f"{name}-{_digest(row[name], key)[:10]}"
    feed, _, sender = row.get("source", "").partition(":")
    if sender:
        # A feed of a NAS stays that of the same NAS.
        row["source"] = f"{feed}:nas-{_digest(sender, key)[:10]}"
    if row.get("mac"):
        digits = _digest(row["mac"], key)[:10]
        row["mac"] = ":".join(["02", *(digits[i : i + 2] for i in range(0, 10, 2))])
    return json.dumps(row)


def _digest(text: str, key: bytes) -> str:
    return hmac.new(key, text.encode(), sha256).hexdigest()
