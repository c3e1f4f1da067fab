"""alerts, ack, snooze, silence: what is wrong, and what people say about it."""

import argparse
import json
import sys
from typing import Any

from netguard.adapters import control
from netguard.cli import folders
from netguard.errors import UsageError

_WHAT = ("site", "area", "tablet", "code")


def listed(arguments: argparse.Namespace) -> int:
    """Print the alerts that are open; 1 when there is one. Or what became of their letters."""
    node = folders.settings(arguments)
    if arguments.revive:
        count = control.call(node.watch_socket, "revive")["revived"]
        _print(arguments, {"revived": count}, f"{count} alerts are sent once more")
        return 0
    if arguments.waiting:
        return _letters(arguments)
    rows = control.call(node.watch_socket, "alerts", all=arguments.all)["alerts"]
    if arguments.json:
        sys.stdout.write(json.dumps({"alerts": rows}, indent=1) + "\n")
    else:
        for row in rows:
            sys.stdout.write(_line(row) + "\n")
        if not rows:
            sys.stderr.write("nothing is wrong\n" if not arguments.all else "no alert is kept\n")
    return 1 if any(row["open"] for row in rows) else 0


def _line(row: dict[str, Any]) -> str:
    place = "/".join(filter(None, (row["site"], row["area"]))) or "-"
    sure = f" {row['probability']:.0%}" if row["tablet"] and row["probability"] else ""
    said = ""
    if row["acknowledged"]:
        said = f"  acknowledged by {row['acknowledged']}"
    elif row["snoozed"]:
        said = f"  snoozed until {row['snoozed']}"
    over = "" if row["open"] else f"  over {row['cleared']}"
    return (
        f"{row['code']} {row['tablet'] or row['subject'] or '-':16} {row['cause'] + sure:28} "
        f"{place:24} since {row['silent_since'] or row['at']}{said}{over}  {row['incident']}"
    )


def _letters(arguments: argparse.Namespace) -> int:
    node = folders.settings(arguments)
    rows = control.call(node.watch_socket, "letters")["letters"]
    if arguments.json:
        sys.stdout.write(json.dumps({"letters": rows}, indent=1) + "\n")
        return 0
    for row in rows:
        why = f"  {row['why']}" if row["why"] else ""
        sys.stdout.write(
            f"{row['state']:8} {row['receiver']}/{row['channel']:14} {row['code']} {row['incident']}  "
            f"since {row['at']}, {row['attempts']} attempts{why}\n"
        )
    if not rows:
        sys.stderr.write("every alert has arrived\n")
    return 0


def acknowledge(arguments: argparse.Namespace) -> int:
    """Say that somebody looks after an alert."""
    return _speak(arguments, "acknowledge", {})


def snooze(arguments: argparse.Namespace) -> int:
    """Have an alert not repeated for a while."""
    return _speak(arguments, "snooze", {"seconds": folders.seconds(arguments.within, "--for")})


def _speak(arguments: argparse.Namespace, verb: str, words: dict[str, Any]) -> int:
    node = folders.settings(arguments)
    by = arguments.by or folders.user()
    body = {"incident": arguments.alert, "note": arguments.note, "by": by, **words}
    answer = control.call(node.watch_socket, verb, **body)
    done = {"acknowledge": "acknowledged", "snooze": "snoozed"}[verb]
    _print(arguments, answer, f"{answer['incident']} {done} by {by}")
    return 0


def silence(arguments: argparse.Namespace) -> int:
    """Make a silence, end one, or list them."""
    node = folders.settings(arguments)
    what = {key: getattr(arguments, key) for key in _WHAT if getattr(arguments, key)}
    words: dict[str, Any] = {"by": arguments.by or folders.user(), "note": arguments.note}
    if arguments.end is not None:
        answer = control.call(node.watch_socket, "silence", end=arguments.end, **words)
        _print(arguments, answer, f"silence {answer['silence']} ({answer['what']}) has ended")
        return 0
    if not what and not arguments.everything:
        if arguments.within:
            raise UsageError(
                "say what to silence: --site, --area, --tablet, --code or --everything"
            )
        return _silences(arguments)
    if not arguments.within:
        raise UsageError("say for how long: --for 2h; a silence without an end is forgotten")
    words |= what | {"seconds": folders.seconds(arguments.within, "--for")}
    if arguments.after:
        words["after"] = folders.seconds(arguments.after, "--from")
    answer = control.call(node.watch_socket, "silence", **words)
    text = f"silence {answer['silence']}: {answer['what']}, until {answer['ends']}"
    _print(arguments, answer, text)
    return 0


def _silences(arguments: argparse.Namespace) -> int:
    node = folders.settings(arguments)
    rows = control.call(node.watch_socket, "silences", all=arguments.all)["silences"]
    if arguments.json:
        sys.stdout.write(json.dumps({"silences": rows}, indent=1) + "\n")
        return 0
    for row in rows:
        note = f', "{row["note"]}"' if row["note"] else ""
        sys.stdout.write(
            f"{row['id']:4} {row['what']}: {row['begins']} to {row['ends']}, by {row['who']}{note}\n"
        )
    if not rows:
        sys.stderr.write("nothing is silenced\n")
    return 0


def _print(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> None:
    sys.stdout.write((json.dumps(answer) if arguments.json else text) + "\n")
