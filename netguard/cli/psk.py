"""psk list, show, rotate, card: the Wi-Fi key that each tablet has for itself. Only show and card give one away."""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from netguard.adapters import control, files, qr
from netguard.adapters.notify import catalogues
from netguard.cli import folders
from netguard.cli.tablets import CHANGE_TIMEOUT
from netguard.core.psk import BITS, wifi_text
from netguard.errors import UsageError
from netguard.render import card as cards

# Problems that a change of keys has to wait for.
_LATE = frozenset({"enforce", "psk", "radius", "radius-clients", "store"})
# What a printer's computer is given: nobody else on it needs to read it.
_MODE = 0o600


def list_(arguments: argparse.Namespace) -> int:
    """Say which tablets have a key of their own, and where old sessions may go on. 1 when something is wrong."""
    node = folders.settings(arguments)
    answer = control.call(node.guard_socket, "psks")
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
    else:
        for row in answer["psks"]:
            since = f"since {row['since']} by {row['by']}" if row["since"] else "no key yet"
            left = ", the old session is still to be ended" if row["asks"] else ""
            said = f": {row['said']}" if row["said"] else ""
            sys.stdout.write(
                f"{row['tablet']:16} {since}, at {', '.join(row['sites'])}{left}{said}\n"
            )
        if not answer["psks"]:
            sys.stderr.write(
                "no tablet has a Wi-Fi key of its own: psk: per-tablet below a NAS in sites.yaml\n"
            )
    missing = any(not row["since"] for row in answer["psks"])
    return 1 if _lags(answer["problems"]) or missing else 0


def show(arguments: argparse.Namespace) -> int:
    """Print the key of a tablet, to be typed in."""
    found = _asked(arguments, "show")
    if arguments.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(found["psk"] + "\n")
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """Give a tablet, or all, another key. 1 when FreeRADIUS does not answer by it yet."""
    if bool(arguments.tablet) == bool(arguments.all):
        raise UsageError("name one tablet, or say --all: netguard psk rotate T-001 --why TEXT")
    if not (arguments.why or "").strip():
        raise UsageError("say why, for the audit: netguard psk rotate ID --why TEXT")
    node = folders.settings(arguments)
    answer = control.call(
        node.guard_socket,
        "psk-rotate",
        CHANGE_TIMEOUT,
        tablet=arguments.tablet or "",
        all=bool(arguments.all),
        why=arguments.why,
        by=arguments.by or folders.user(),
    )
    if arguments.json:
        sys.stdout.write(json.dumps(answer, indent=1) + "\n")
    else:
        count = len(answer["rotated"])
        which = answer["rotated"][0] if count == 1 else f"{count} tablets"
        example = answer["rotated"][0] if count == 1 else "ID"
        sys.stdout.write(
            f"rotated {which}, {BITS:.0f} bits each; old sessions are ended now and again in 35 s\n"
            f"the tablet needs the new one: netguard psk card {example} --out {example}.html\n"
        )
    return 1 if _lags(answer["problems"]) else 0


def card(arguments: argparse.Namespace) -> int:
    """Write the card of a tablet, with a QR code for each of its networks, for root alone to read."""
    target = Path(arguments.out)
    if target.suffix not in {".html", ".svg"}:
        raise UsageError(f"--out {target}: write a name that ends in .html or .svg")
    if target.exists() and not arguments.force:
        raise UsageError(f"{target} is there already; --force writes over it")
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: no such folder")
    languages = ["en", *catalogues.languages()]
    if arguments.language not in languages:
        known = ", ".join(languages)
        raise UsageError(f"no texts in '{arguments.language[:20]}', there are: {known}")
    found = _asked(arguments, "card")
    key = found["psk"]
    names = dict.fromkeys(network["ssid"] for network in found["networks"])
    networks = [cards.Network(ssid, qr.svg_tail(wifi_text(ssid, key))) for ssid in names]
    draw = cards.svg if target.suffix == ".svg" else cards.html
    text = draw(found["tablet"], key, networks, catalogues.translator(arguments.language))
    try:
        files.write(target, text, _MODE)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from error
    if arguments.json:
        body = {"tablet": found["tablet"], "file": str(target), "networks": list(names)}
        sys.stdout.write(json.dumps(body) + "\n")
    else:
        sys.stdout.write(f"{target}: card of {found['tablet']} for {', '.join(names)}\n")
        sys.stdout.write("print it, hand it out with the tablet, then remove the file\n")
    return 0


def _asked(arguments: argparse.Namespace, purpose: str) -> dict[str, Any]:
    node = folders.settings(arguments)
    who = arguments.by or folders.user()
    return control.call(
        node.guard_socket, "psk-show", tablet=arguments.tablet, purpose=purpose, by=who
    )


def _lags(problems: Mapping[str, str]) -> bool:
    late = {name: why for name, why in problems.items() if name in _LATE}
    for name, why in late.items():
        sys.stderr.write(f"warning: {name}: {why}\n")
    return bool(late)
