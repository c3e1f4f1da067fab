"""The system users of the appliance's processes: made for the lab where missing, removed with the last lab.

Users that were here before belong to somebody, most likely to an installed netguard: they are used and
never removed.
"""

import json
import pwd
import subprocess
from contextlib import suppress

from netguard.errors import NetguardError
from netguard.lab.layout import USERS, names

GUARD, DNS, WATCH = "netguard-guard", "netguard-dns", "netguard-watch"
RADIUS, DHCP, TIME = "netguard-radius", "netguard-dhcp", "netguard-time"
SNI = "netguard-sni"
ALL = (GUARD, DNS, WATCH, RADIUS, DHCP, TIME, SNI)


def make() -> list[str]:
    """Make the users that are missing; returns their names. The lock on labs is held."""
    made = _made()
    missing = [user for user in ALL if not _exists(user)]
    # Written down first: a user that we wrote down and did not make yet is no harm at removal.
    USERS.write_text(json.dumps(sorted({*made, *missing})) + "\n")
    for user in missing:
        _run(
            "useradd", "--system", "--user-group", "--no-create-home",
            "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin", user,
        )  # fmt: skip
    return missing


def remove() -> None:
    """Remove the users that labs made, when no lab is left."""
    if names():
        return
    for user in _made():
        if _exists(user):
            _run("userdel", user)
    USERS.unlink(missing_ok=True)


def ids(user: str) -> tuple[int, int]:
    """Return the user's number and that of its own group."""
    entry = pwd.getpwnam(user)
    return entry.pw_uid, entry.pw_gid


def _made() -> list[str]:
    try:
        known = json.loads(USERS.read_text())
    except (OSError, ValueError):
        return []
    return [user for user in known if user in ALL]


def _exists(user: str) -> bool:
    with suppress(KeyError):
        pwd.getpwnam(user)
        return True
    return False


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise NetguardError(f"{words[0]} {words[-1]}: {done.stderr.strip()}")
