"""adopt: give a tablet of the rules folder the MAC under which it really asks, after a person's yes."""

import argparse
import json
import sys
from dataclasses import replace

from netguard.adapters import clock, files
from netguard.cli import folders
from netguard.core.explain import find_tablet
from netguard.core.names import Mac, parse_unicast_mac
from netguard.errors import BadValue, NetguardError, UsageError
from netguard.rules.adopting import adopted
from netguard.rules.findings import errors
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import Loaded, load

TABLE = "tablets.csv"


def adopt(arguments: argparse.Namespace) -> int:
    """Write the new MAC into tablets.csv; nothing is in force before `netguard apply`."""
    path = folders.rules_path(arguments)
    folder = read_folder(path)
    if TABLE not in folder.files:
        raise NetguardError(
            f"{folder.shown(TABLE)} is missing: adopt writes there and nowhere else"
        )
    try:
        mac = parse_unicast_mac(arguments.mac)
    except BadValue as error:
        raise UsageError(f"'{arguments.mac}': {error.text}") from error
    before = _sound(folder)
    assert before.policy is not None  # noqa: S101  # for the type checker: _sound has looked
    tablet = find_tablet(before.policy, arguments.tablet)
    if tablet.mac == mac:
        raise NetguardError(f"{tablet.id} has {mac} already")
    text = adopted(folder.files[TABLE].decode(), tablet.id, mac)
    _sound(replace(folder, files={**folder.files, TABLE: text.encode()}))
    what = f"{tablet.id}: {tablet.mac} -> {mac}{_private(mac)}"
    if not arguments.yes and not _confirmed(what):
        sys.stderr.write("nothing written\n")
        return 1
    files.write(path / TABLE, text)
    if arguments.json:
        body = {"tablet": tablet.id, "before": str(tablet.mac), "after": str(mac), "written": True}
        sys.stdout.write(json.dumps(body) + "\n")
    else:
        sys.stdout.write(f"{what}; {path / TABLE} written\n")
    sys.stderr.write(f"next: netguard plan {path} && netguard apply {path}\n")
    return 0


def _private(mac: Mac) -> str:
    return (
        ", a private address: it is lost when the tablet forgets the network"
        if mac.is_local
        else ""
    )


def _sound(folder: Folder) -> Loaded:
    loaded = load(folder, today=clock.today(), allow_empty=True, require_addresses=False)
    if loaded.policy is None:
        for finding in errors(loaded.findings):
            sys.stderr.write(finding.render() + "\n")
        raise NetguardError("the folder is not right, or would not be: nothing written")
    return loaded


def _confirmed(what: str) -> bool:
    """Ask a person; without one there is no yes."""
    if not sys.stdin.isatty():
        raise UsageError(f"{what}: this needs a person's yes, or --yes")
    sys.stderr.write(f"{what}\nIs it this tablet, seen by your own eyes? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}
