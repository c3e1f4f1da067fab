"""The units beside ours that have to start anew for a plan to count: written down, done, tried again.

What is due is on the disk before anything is tried, so that a guard killed in between knows it. With
`service-manager: none` (the lab, another init) nothing is done and it is said as before.
"""

import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from netguard.adapters import files, services
from netguard.daemon.process import say, warn
from netguard.errors import EnforcementError
from netguard.settings import Settings

RADIUS, DHCP, TIME, SNI = "netguard-radius", "netguard-dhcp", "netguard-time", "netguard-sni"
RESTART, RELOAD = "restart", "reload"
_KNOWN = {RADIUS, DHCP, TIME, SNI}

Tell = Callable[[str, str], Awaitable[None]]


class Units:
    """What is due, by unit."""

    def __init__(self, settings: Settings, tell: Tell = services.tell) -> None:
        self.managed = settings.service_manager == "systemd"
        self._path: Path = settings.paths.state / "units.json"
        self._tell = tell
        self._due = _read(self._path) if self.managed else {}
        self._why: dict[str, str] = {}

    @property
    def pending(self) -> bool:
        """Say whether something is due."""
        return bool(self._due)

    def want(self, verb: str, unit: str, why: str) -> None:
        """Note that a unit has to be restarted or reloaded; a restart does for both."""
        if not self.managed:
            say(f"{why}: {verb} {unit} for it to count")
            return
        if self._due.get(unit) != RESTART:
            self._due[unit] = verb
            self._write()

    async def bring(self) -> set[str]:
        """Do what is due and return the units that followed; what fails stays due."""
        followed = set()
        for unit, verb in list(self._due.items()):
            try:
                await self._tell(verb, f"{unit}.service")
            except EnforcementError as error:
                if self._why.get(unit) != str(error):
                    warn("a unit did not follow, tried again", unit=unit, why=str(error))
                self._why[unit] = str(error)
                continue
            say(f"{verb} of {unit}: done")
            self._why.pop(unit, None)
            del self._due[unit]
            self._write()
            followed.add(unit)
        return followed

    def problems(self) -> dict[str, str]:
        """Return the units that did not follow."""
        return {
            unit.removeprefix("netguard-") + "-unit": f"{why}; {self._due[unit]} it by hand"
            for unit, why in self._why.items()
            if unit in self._due
        }

    def _write(self) -> None:
        # A full disk is told elsewhere, and must not keep a unit from following.
        with contextlib.suppress(OSError):
            files.write(self._path, json.dumps(self._due) + "\n", 0o640)


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(files.text(path) or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {u: v for u, v in found.items() if u in _KNOWN and v in {RESTART, RELOAD}}
