"""fmt and schema: how rule files look, and what an editor may know of them."""

import argparse
import json
import sys

from netguard.adapters import files
from netguard.cli import folders
from netguard.rules.folder import read_folder
from netguard.rules.json_schema import schemas
from netguard.rules.layout import Unchanged, laid_out


def fmt(arguments: argparse.Namespace) -> int:
    """Lay out each file anew; 1 when one has faults, or with --check would change."""
    path = folders.rules_path(arguments)
    folder = read_folder(path)
    changed = failed = 0
    for name, data in sorted(folder.files.items()):
        if not name.endswith((".yaml", ".csv")):
            continue
        try:
            text = laid_out(folder.shown(name), data)
        except Unchanged as why:
            sys.stderr.write(f"{folder.shown(name)}: left as it is: {why}\n")
            failed += 1
            continue
        if text != data:
            changed += 1
            sys.stdout.write(f"{folder.shown(name)}\n")
            if not arguments.check:
                files.write(path / name, text)
    verb = "would change" if arguments.check else "changed"
    sys.stderr.write(f"{changed} of {len(folder.files)} files {verb}\n")
    return 1 if failed or (arguments.check and changed) else 0


def schema(arguments: argparse.Namespace) -> int:
    """Write a JSON Schema for each kind of file."""
    for name, body in schemas().items():
        files.write(arguments.out / name, json.dumps(body, indent=1, ensure_ascii=False) + "\n")
        sys.stdout.write(f"{arguments.out / name}\n")
    return 0
