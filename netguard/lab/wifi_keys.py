"""The lab's controller is switched to a Wi-Fi key per tablet, and back: for the demo and the tests."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from netguard.adapters import control
from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital

_PATIENCE = 60.0
_SAID = "secret-file: nas-wlc-1"


class WifiKeys:
    """Switches it on, shows it, switches it off."""

    def __init__(self, lab: Hospital, vendor: str = "") -> None:
        """`vendor` is what the controller is instead of what the rules say."""
        self.lab, self.vendor = lab, vendor
        self.folder = lab.settings.parent / "rules-with-keys"

    def all(self, claim: Callable[[str, Callable[[], str]], None]) -> None:
        """Show each claim; at the end the rules of the demo are in force again."""
        claim("a Wi-Fi key for each tablet, sent with the Accept", self.sent)
        claim("... another one after a return, the old session ended", self.rotated)
        claim("... and one network for all again", self.shared)

    def on(self) -> None:
        """Put rules in force by which the controller takes a key of each tablet."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.lab.record.rules, self.folder)
        sites = self.folder / "sites.yaml"
        lines = sites.read_text().splitlines(keepends=True)
        sites.write_text("".join(self._keyed(line) if _SAID in line else line for line in lines))
        self.apply(self.folder)

    def _keyed(self, line: str) -> str:
        if self.vendor:
            line = re.sub(r"vendor: [a-z0-9-]+", f"vendor: {self.vendor}", line)
        return line.replace(_SAID, f"{_SAID}, psk: per-tablet")

    def off(self) -> None:
        """Put the lab's own rules in force again, once nobody is to be thrown off the air any more."""
        self.until(
            "the second Disconnect",
            lambda: not any(row["asks"] for row in self.guard("psks")["psks"]),
        )
        self.apply(Path(self.lab.record.rules))
        shutil.rmtree(self.folder, ignore_errors=True)

    def apply(self, folder: Path) -> None:
        """Apply, and start FreeRADIUS anew: only then it reads its clients."""
        self.run("apply", str(folder))
        self.lab.stop("freeradius")
        self.lab.start("freeradius")
        self.until("FreeRADIUS to answer by it", lambda: not self.guard("status")["problems"])

    def sent(self) -> str:
        """Let t1 join and compare the key that its controller got with the one on its card."""
        self.on()
        answer = self.lab.join("t1")
        if answer["answer"] != "accept" or answer.get("key") != self.key():
            raise NetguardError("its controller did not get the key that guard has for it")
        other = self.lab.join("t2").get("key")
        if other in {None, answer["key"]}:
            raise NetguardError("t2 has no key, or the same one")
        return f"t1 {len(answer['key'])} characters, t2 another; sealed in guard.db, in no plan, log or audit"

    def rotated(self) -> str:
        """Lend T-001 and take it back: FreeRADIUS sends another key, and the NAS ends the old session."""
        before = self.lab.join("t1").get("key")
        self.run("lend", "T-001")
        begun = monotonic()
        self.run("return", "T-001")
        self.until("the Disconnect", lambda: self.station("t1")["state"] == "away")
        took = monotonic() - begun
        after = self.lab.join("t1").get("key")
        if after in {None, before} or after != self.key():
            raise NetguardError("FreeRADIUS sends the key that it sent before")
        return f"off the air {took:.1f} s after 'netguard return', a new key when it asks again"

    def shared(self) -> str:
        """Put the old rules in force again, and let both tablets join as before."""
        self.off()
        answers = [self.lab.join(host) for host in ("t1", "t2")]
        if any(each["answer"] != "accept" or "key" in each for each in answers):
            raise NetguardError("a tablet does not join as before")
        self.lab.dhcp("t1")
        return "no key is sent; the sealed ones wait in guard.db"

    def key(self, tablet: str = "T-001") -> str:
        """Return the key that guard has for a tablet."""
        return str(json.loads(self.run("psk", "show", tablet, "--json"))["psk"])

    def station(self, host: str) -> dict[str, Any]:
        """Return what the controller knows of a tablet."""
        stations: list[dict[str, Any]] = self.lab.status()["stations"]
        return next(each for each in stations if each["host"] == host)

    def guard(self, verb: str) -> dict[str, Any]:
        """Ask guard."""
        return control.call(self.lab.settings.parent / "run" / "guard.sock", verb)

    def run(self, *words: str) -> str:
        """Type a command on the appliance. Raises NetguardError with what it says where it fails."""
        done = self.lab.exec("gw", ["netguard", *words], timeout=120)
        if done.returncode:
            raise NetguardError(f"netguard {' '.join(words[:2])}: {done.stdout}{done.stderr}")
        return done.stdout

    def until(self, what: str, happened: Callable[[], bool]) -> None:
        """Wait for something, bounded."""
        end = monotonic() + _PATIENCE
        while not happened():
            if monotonic() > end:
                raise NetguardError(f"{what} never came")
            sleep(0.2)
