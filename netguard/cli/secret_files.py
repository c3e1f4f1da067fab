"""secrets list, make, rotate, show: the files of secrets that the rules name. Only `show` prints one."""

import argparse
import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from netguard.adapters import clock, secret_files, services
from netguard.cli import folders
from netguard.core.secret_files import RADIUS, SecretFile, wanted
from netguard.errors import UsageError
from netguard.rules.findings import errors
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.settings import Settings

# FreeRADIUS reads its clients when it starts.
_UNIT = "netguard-radius.service"


def list_(arguments: argparse.Namespace) -> int:
    """Say which files are needed, by whom, and whether they are there. Exit 1 when one is not right."""
    node, files = _wanted(arguments)
    rows = []
    for each in files:
        state, at = secret_files.look(_path(node, each), _group(node, each))
        since = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d") if at is not None else ""
        rows.append(
            {
                "name": each.name,
                "for": each.purpose,
                "file": str(_path(node, each)),
                "since": since,
                "state": state,
            }
        )
    if arguments.json:
        sys.stdout.write(json.dumps({"secrets": rows}) + "\n")
    else:
        for row in rows:
            sys.stdout.write(
                f"{row['name']:24} {row['since'] or '-':10}  {row['state']}: {row['for']}\n"
            )
        if not rows:
            sys.stdout.write("the rules name no secret\n")
    return 0 if all(row["state"] == "ok" for row in rows) else 1


def make(arguments: argparse.Namespace) -> int:
    """Make the files that are missing; those that are there stay as they are."""
    node, files = _wanted(arguments)
    left = 0
    for each in files:
        path = _path(node, each)
        if path.exists():
            continue
        if not each.made:
            sys.stderr.write(f"{path}: write it yourself, it is the {each.purpose}\n")
            left += 1
            continue
        _put(node, each, secret_files.new())
        sys.stdout.write(f"made {each.name}: {each.purpose}; netguard secrets show {each.name}\n")
    return 1 if left else 0


def rotate(arguments: argparse.Namespace) -> int:
    """Give one file another secret and let its reader take it."""
    node, files = _wanted(arguments)
    each = _named(files, arguments.name)
    if arguments.source is None and not each.made:
        raise UsageError(f"'{each.name}' is the {each.purpose}: give the new one, --from FILE")
    secret = secret_files.new() if arguments.source is None else _given(arguments.source, each)
    _put(node, each, secret)
    sys.stdout.write(f"rotated {each.name}: {each.purpose}\n")
    if each.reader == RADIUS:
        if node.service_manager == "systemd":
            asyncio.run(services.tell("restart", _UNIT))
            sys.stdout.write("netguard-radius was restarted, requests sent meanwhile are retried\n")
        else:
            sys.stdout.write("restart FreeRADIUS: it reads its clients when it starts\n")
    if arguments.source is None:
        sys.stdout.write(f"now the other side: netguard secrets show {each.name}\n")
    for side in each.sides:
        sys.stdout.write(f"enter it at {side}\n")
    if each.sides:
        sys.stdout.write("what still has the old secret is not answered (docs/controllers.md)\n")
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print one secret, to be typed in on the other side."""
    node, files = _wanted(arguments)
    each = _named(files, arguments.name)
    text = secret_files.read(_path(node, each))
    shown = text.partition("=")[2].strip() if each.reader == RADIUS else _line(text)
    sys.stdout.write(f"{shown}\n")
    return 0


def _wanted(arguments: argparse.Namespace) -> tuple[Settings, list[SecretFile]]:
    node = folders.settings(arguments)
    folder = arguments.rules or node.paths.rules
    loaded = load(read_folder(Path(folder)), today=clock.today())
    if loaded.policy is None:
        first = errors(loaded.findings)[0].render()
        raise UsageError(f"{first}\nthe rules have errors: netguard check {folder}")
    password = node.mail.password_file if node.mail is not None else ""
    return node, wanted(loaded.policy, node.sites, password)


def _named(files: list[SecretFile], name: str) -> SecretFile:
    for each in files:
        if each.name == name:
            return each
    known = ", ".join(each.name for each in files) or "none"
    raise UsageError(f"the rules name no secret '{name}', they name: {known}")


def _path(node: Settings, each: SecretFile) -> Path:
    paths = node.paths
    return (paths.radius_secrets if each.reader == RADIUS else paths.watch_secrets) / each.file


def _group(node: Settings, each: SecretFile) -> str:
    return node.users.radius if each.reader == RADIUS else node.users.watch


def _put(node: Settings, each: SecretFile, secret: str) -> None:
    text = f"secret = {secret}\n" if each.reader == RADIUS else f"{secret}\n"
    secret_files.write(_path(node, each), text, _group(node, each))


def _given(source: str, each: SecretFile) -> str:
    text = sys.stdin.read() if source == "-" else secret_files.read(Path(source))
    secret = text.strip() if each.reader == RADIUS else _line(text)
    if len(secret) < each.least or not secret.strip() or not secret.isprintable():
        least = f" of at least {each.least} characters" if each.least > 1 else ""
        made = "; one is made without --from" if each.made else ""
        raise UsageError(f"'{each.name}' is the {each.purpose}: one printable line{least}{made}")
    # One that FreeRADIUS would read as something else is refused rather than quoted.
    if each.reader == RADIUS and any(not c.isascii() or c in " \"'#\\{}$" for c in secret):
        raise UsageError("a RADIUS secret is ASCII, and holds no blank and none of \" ' # \\ { } $")
    return secret


def _line(text: str) -> str:
    """Return what watch reads of a file: blanks at its ends may belong to a password."""
    return text.removesuffix("\n").removesuffix("\r")
