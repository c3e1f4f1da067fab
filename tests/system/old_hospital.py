"""Runs with the code of an older netguard (tests/system/older.py): a hospital of that version, and what it knows.

    python old_hospital.py NAME up | facts | stop | start | refused | down

Prints one JSON object. Only what v0.1 had is used here.
"""

import json
import sys
from pathlib import Path
from time import monotonic, sleep

from netguard import __file__ as code
from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital

STORED = ("guard", "watch")


def said(text):
    sys.stderr.write(f"old: {text}\n")


def facts(lab):
    """Return what the commands of that version say is known: loans, presence, alerts, changes."""

    def asked(*words):
        return json.loads(lab.exec("gw", ["netguard", *words, "--json"]).stdout)

    rows = {row["tablet"]: row for row in asked("tablets")["tablets"]}
    return {
        "loans": {name: asked("tablet", name)["loan"] for name in ("T-001", "T-009")},
        "heard at": {name: rows[name]["ap"] for name in ("T-001", "T-002")},
        "alerts": asked("alerts")["alerts"],
    }


def up(name):
    """Let tablets in, lend one, report one stolen: until all of it is on disk."""
    lab = Hospital.up(name, say=said)
    for tablet in ("t1", "t2"):
        assert lab.join(tablet)["answer"] == "accept"
        lab.dhcp(tablet)
    assert lab.probe("t1", "tcp", "zoom.us", "443")["ok"]
    lab.exec("gw", ["netguard", "lend", "T-001", "--note", "before the upgrade"])
    lab.exec("gw", ["netguard", "tablet", "T-009", "stolen", "--note", "before the upgrade"])
    end = monotonic() + 60
    while True:
        found = facts(lab)
        if found["alerts"] and all(found["heard at"].values()):
            return found
        if monotonic() > end:
            raise NetguardError(f"never known: {found}")
        sleep(0.5)


def main(name, verb):
    result = {}
    if verb == "up":
        result = up(name)
    elif verb == "facts":
        result = facts(Hospital.attach(name, said))
    elif verb == "stop":
        for process in STORED:
            Hospital.attach(name, said).stop(process)
    elif verb == "start":
        for process in STORED:
            Hospital.attach(name, said).start(process)
    elif verb == "refused":
        try:
            Hospital.attach(name, said).start("guard")
        except NetguardError as error:
            result = {"why": str(error)}
    elif verb == "down":
        Hospital.attach(name, said).down()
    print(json.dumps({"code": str(Path(code).parents[1]), **result}))


if __name__ == "__main__":
    main(*sys.argv[1:])
