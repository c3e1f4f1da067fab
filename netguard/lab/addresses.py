"""The demo's copied and private addresses: one MAC in two wards, and a tablet that hides its own."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital

# Two areas of the example between which it names a walk of two minutes. The last word of it is from its ward: one that
# fell silent at the exit would teach presence, with nearly no history yet, that silences there are normal.
FAR = ("AP-LOB-01", "AP-CAR-301")
# What a tablet makes of its address: the locally administered bit is set.
PRIVATE = "3e:28:6d:0a:0b:0c"
PATIENCE = 60.0


class Addresses:
    """Claims about addresses that are not what they seem."""

    def __init__(self, lab: Hospital) -> None:
        self.lab = lab

    def all(self, claim: Callable[[str, Callable[[], str]], None]) -> None:
        """Show every claim."""
        claim("one MAC in two wards by turns, faster than a walk: told", self.copied)
        claim("a private MAC is refused, and whose it may be is said", self.private)
        claim("... netguard adopt: after a person's yes it is in", self.adopted)

    def copied(self) -> str:
        """Let the controller account for the MAC of t3 here, there, here and there again."""
        mac, start = self.lab.record.macs["t3"], monotonic()
        for number in range(4):
            self.lab.tell(mac, FAR[number % 2], "start", session=f"copy-{number}")
        rows = self._until(lambda: self._alerts("NG-1108", "T-003"), "NG-1108 of T-003")
        for number in range(4):
            self.lab.tell(mac, FAR[number % 2], "stop", session=f"copy-{number}")
        return f"NG-1108 {rows[0]['name']} of T-003 after {monotonic() - start:.1f} s"

    def private(self) -> str:
        """Let t2 fall silent, and ask under another address at the same access point."""
        self.lab.join("t2")
        self.lab.leave("t2")
        answer = self.lab.join("t2", mac=PRIVATE)["answer"]
        if answer != "reject":
            raise NetguardError(f"{PRIVATE} gets {answer}")

        def suggested() -> list[str]:
            said = self.lab.exec("gw", ["netguard", "unknown"]).stderr
            return [line.strip() for line in said.splitlines() if f"{PRIVATE} T-002" in line]

        return f"Access-Reject; {self._until(suggested, 'a suggestion')[0]}"

    def adopted(self) -> str:
        """Adopt it in a copy of the rules, let it in with the tablet's address, and put all back."""
        rules, own = self.lab.other_rules(), self.lab.record.macs["t2"]
        words = ["netguard", "adopt", PRIVATE, "T-002", str(rules), "--yes"]
        done = self.lab.exec("gw", words)
        if done.returncode:
            raise NetguardError(done.stdout + done.stderr)
        try:
            self._apply(rules)
            joined = self.lab.join("t2", mac=PRIVATE)
            old = self.lab.join("t2", mac=own)["answer"]
            if joined["answer"] != "accept" or old != "reject":
                raise NetguardError(f"{joined}; under its old MAC {old}")
            self.lab.join("t2", mac=PRIVATE)
            # Leased to the old MAC a moment ago.
            address = self._address(PRIVATE)
        finally:
            self._apply()
            self.lab.join("t2", mac=own)
            self._address(own)
        said = done.stdout.partition(",")[0]
        return f"{said}; VLAN {joined['vlan']}, {address}; the old MAC is refused"

    def _address(self, mac: str) -> str:
        """Let t2 be this MAC on the air, too, and ask for an address."""
        self.lab.exec("t2", ["ip", "addr", "flush", "dev", "wlan0", "scope", "global"])
        self.lab.exec("t2", ["ip", "link", "set", "wlan0", "address", mac])
        return self.lab.dhcp("t2")

    def _apply(self, rules: Path | None = None) -> None:
        """Apply, and have dnsmasq read its reservations anew, as systemd does for guard on an appliance."""
        self.lab.apply(rules)
        self.lab.kill("dnsmasq", signal.SIGHUP)

    def _alerts(self, code: str, tablet: str) -> list[dict[str, Any]]:
        # While alerts are open it ends with another code than 0.
        rows = json.loads(self.lab.exec("gw", ["netguard", "alerts", "--json"]).stdout)["alerts"]
        return [row for row in rows if (row["code"], row["tablet"]) == (code, tablet)]

    def _until(self, look: Callable[[], list[Any]], what: str) -> list[Any]:
        end = monotonic() + PATIENCE
        while not (found := look()):
            if monotonic() > end:
                raise NetguardError(f"{what} did not come within {PATIENCE:.0f} s")
            sleep(0.3)
        return found
