"""The demo: the example hospital, and one line per claim with the evidence beside it.

    python -m netguard.lab.demo            what `make demo` runs
    python -m netguard.lab.demo --name x   in a lab of another name

Exit code 0 only if every line is ok. A refusal counts only together with the counter of the rule that
refused and, where the claim is "nothing arrives", with a control that something can.
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from netguard.adapters import control
from netguard.errors import NetguardError
from netguard.lab import world
from netguard.lab.addresses import Addresses
from netguard.lab.bad_day import BadDay
from netguard.lab.hospital import Hospital
from netguard.lab.walkouts import Walkouts
from netguard.lab.wifi_keys import WifiKeys

# Seconds after which something that should have happened has not.
PATIENCE = 20.0
SHORT = ("--timeout", "1")
# Seconds of presence in one of ours: half an hour of silence has to be shown.
SPEED = 60


class Failed(Exception):
    """A claim that did not hold; the text says what was seen instead."""


class Demo:
    """Runs the claims against one hospital."""

    def __init__(self, lab: Hospital) -> None:
        self.lab = lab
        self.run = lab.settings.parent / "run"
        self.failed = 0

    # what a claim is made of

    def claim(self, words: str, show: Callable[[], str]) -> None:
        """Print one line: whether the claim held, and what was seen."""
        try:
            result, evidence = "ok", show()
        except (Failed, NetguardError, OSError, subprocess.TimeoutExpired) as error:
            result, evidence = "FAIL", str(error) or repr(error)
            self.failed += 1
        sys.stdout.write(f"{result:<5} {words:<58} {evidence}\n")
        sys.stdout.flush()

    def guard(self, verb: str) -> dict[str, Any]:
        """Ask guard."""
        return control.call(self.run / "guard.sock", verb)

    def packets(self, rule: str) -> int:
        """Return how many packets a rule has counted, for whichever group."""
        counters: dict[str, list[int]] = self.guard("counters")["counters"]
        return sum(
            counted[0]
            for name, counted in counters.items()
            if name == rule or name.endswith(f"/{rule}")
        )

    def opens(self, host: str, *words: str) -> str:
        """Show that a probe works; returns what was reached."""
        result = self.lab.probe(host, *words)
        if not result["ok"]:
            raise Failed(f"{' '.join(words)}: {result['outcome']}")
        return f"{words[0]} {result.get('address', words[1])}:{words[2]} in {result['ms']} ms"

    def refused(self, rule: str, host: str, *words: str) -> str:
        """Show that a probe does not work, and that this rule is why."""
        before = self.packets(rule)
        result = self.lab.probe(host, *words, *SHORT)
        after = self.packets(rule)
        if result["ok"]:
            raise Failed(f"{' '.join(words)} works")
        if after == before:
            raise Failed(f"{result['outcome']}, but not by {rule}")
        return f"{result['outcome']} by {rule}{self._place(rule, words)}"

    def _place(self, rule: str, words: tuple[str, ...]) -> str:
        """Return where the rules say so, as explain does."""
        done = self.lab.exec(
            "gw", ["netguard", "explain", "T-001", words[1], f"{words[0]}/{words[2]}"]
        )
        place = done.stdout.partition("\n")[0].partition(f"by {rule}")[2].strip()
        return f"  ({place})" if place else ""

    def until(self, what: str, happened: Callable[[], bool]) -> float:
        """Wait until something has happened; returns the seconds it took."""
        start = monotonic()
        while not happened():
            if monotonic() - start > PATIENCE:
                raise Failed(f"{what} did not happen within {PATIENCE:.0f} s")
            sleep(0.02)
        return monotonic() - start

    # the claims

    def all(self) -> int:
        """Show every claim; returns how many failed."""
        self.claim("a known tablet joins and gets the tablet VLAN", self.joins)
        self.claim("DHCP gives it the address that is its own", self.own_address)
        self.claim(
            "it resolves and reaches its chat (TCP)", lambda: self.named("web.whatsapp.com", "5222")
        )
        self.claim(
            "it resolves and reaches its video call (TCP)",
            lambda: self.named("us02web.zoom.us", "443"),
        )
        self.claim(
            "the call's media pass (UDP)", lambda: self.opens("t1", "udp", world.MEDIA, "8801")
        )
        self.claim("the hospital's own video server and its bridge", self.jitsi)
        self.claim("why? explain names the line", self.explains)
        deny = "patients/deny"
        self.claim(
            "refused: the same host on another port",
            lambda: self.refused(deny, "t1", "tcp", world.VIDEO, "22"),
        )
        self.claim(
            "refused: a raw address", lambda: self.refused(deny, "t1", "tcp", world.UNLISTED, "443")
        )
        self.claim("refused: an unlisted site is not even resolved", self.unlisted)
        self.claim(
            "refused: DNS over HTTPS at 8.8.8.8",
            lambda: self.refused(deny, "t1", "tcp", "8.8.8.8", "443"),
        )
        self.claim("refused: 8.8.8.8 as resolver, ours answers instead", self.foreign_resolver)
        self.claim("refused: the PACS, and nothing arrives there", self.pacs)
        self.claim("refused: another tablet, the AP keeps them apart", self.isolated)
        self.claim("... and where a frame comes to us all the same", self.hairpin)
        self.claim("refused: answers with private or protected addresses", self.rebinding)
        self.claim("refused: a MAC outside the inventory", self.stranger)
        BadDay(self.lab).all(self.claim)
        Addresses(self.lab).all(self.claim)
        self.claim("quarantine: cut off, thrown off the air, another VLAN", self.quarantined)
        self.claim("... and released it is as before", self.released)
        WifiKeys(self.lab).all(self.claim)
        self.claim("netguard killed (-9): the fence holds", self.killed)
        self.claim("... FreeRADIUS goes on answering", self.admits_alone)
        self.claim("... and it resumes", self.resumes)
        self.claim("the ruleset flushed by hand: nothing opens", self.flushed)
        self.claim("... and it is repaired", self.repaired)
        self.claim("metrics and status are there to be read", self.metrics)
        Walkouts(self.lab).all(self.claim)
        return self.failed

    def joins(self) -> str:
        """Join t1."""
        joined = self.lab.join("t1")
        if joined["answer"] != "accept" or joined.get("vlan") != 640:
            raise Failed(str(joined))
        return f"Access-Accept, VLAN {joined['vlan']}, in {joined['ms']} ms"

    def own_address(self) -> str:
        """Ask for an address and compare it with the allotted one."""
        address = self.lab.dhcp("t1")
        wanted = _allotted(
            Path(self.lab.record.rules), self.lab.record.site, self.lab.record.tablets["t1"]
        )
        if address != wanted:
            raise Failed(f"{address}, allotted.csv says {wanted}")
        return f"{address}, as in allotted.csv"

    def quarantined(self) -> str:
        """Put t1 into quarantine while it is on the air; its NAS throws it off, and it comes back elsewhere."""
        self.opens("t1", "udp", world.MEDIA, "8801")
        done = self.lab.exec("gw", ["netguard", "quarantine", "T-001", "--why", "demo"])
        if done.returncode:
            raise Failed(done.stdout + done.stderr)
        if self.lab.probe("t1", "udp", world.MEDIA, "8801", *SHORT)["ok"]:
            raise Failed("it still reaches its video call")
        took = self.until("the Disconnect", lambda: self._station("t1")["state"] == "away")
        answer = self.lab.join("t1")
        if answer.get("vlan") in {None, 640}:
            raise Failed(f"it came back as {answer}")
        return f"off the air {took:.1f} s after, back in VLAN {answer['vlan']}, which leads nowhere"

    def released(self) -> str:
        """End it."""
        done = self.lab.exec("gw", ["netguard", "release", "T-001"])
        self.until("the old VLAN", lambda: self.lab.join("t1").get("vlan") == 640)
        self.lab.dhcp("t1")
        return f"{done.stdout.strip()}, {self.opens('t1', 'udp', world.MEDIA, '8801')}"

    def _station(self, host: str) -> dict[str, Any]:
        stations: list[dict[str, Any]] = self.lab.status()["stations"]
        return next(each for each in stations if each["host"] == host)

    def named(self, name: str, port: str) -> str:
        """Reach a server by its name, first packet included."""
        return f"{name}: {self.opens('t1', 'tcp', name, port)}"

    def jitsi(self) -> str:
        """Reach the on-premises server, whose address is private and allowed by rule."""
        self.opens("t1", "tcp", "meet.chu.example", "443")
        return f"meet.chu.example, {self.opens('t1', 'udp', world.BRIDGE, '10000')}"

    def explains(self) -> str:
        """Ask explain about a running call."""
        done = self.lab.exec("gw", ["netguard", "explain", "T-001", "us02web.zoom.us", "tcp/443"])
        if done.returncode or "expires in" not in done.stdout or "counter" not in done.stdout:
            raise Failed(done.stdout + done.stderr)
        return done.stdout.partition("\n")[0]

    def unlisted(self) -> str:
        """Ask for a name of no service."""
        result = self.lab.probe("t1", "dns", "www.example.org")
        if result["outcome"] != "refused":
            raise Failed(f"www.example.org: {result['outcome']}")
        control_ = self.lab.probe("core", "dns", "www.example.org", "--server", "10.1.1.53")
        if not control_["ok"]:
            raise Failed("the hospital's resolver does not know it either: this shows nothing")
        return f"REFUSED; the hospital's resolver says {control_['addresses'][0]}"

    def foreign_resolver(self) -> str:
        """Ask 8.8.8.8 for a name that it would answer."""
        before = self.packets("intercepted")
        result = self.lab.probe("t1", "dns", "www.example.org", "--server", "8.8.8.8")
        if result["outcome"] != "refused" or self.packets("intercepted") == before:
            raise Failed(f"8.8.8.8: {result['outcome']}")
        return "intercepted, REFUSED by the appliance"

    def pacs(self) -> str:
        """Knock at the PACS; nothing may arrive, and the control must."""
        self.lab.counts("pacs", reset=True)
        shown = self.refused("protected", "t1", "tcp", world.PACS, "104")
        self.lab.probe("t1", "udp", world.PACS, "104", *SHORT)
        seen = _received(self.lab.counts("pacs"))
        self.opens("core", "tcp", world.PACS, "104")
        control_ = _received(self.lab.counts("pacs"))
        if seen or not control_:
            raise Failed(f"{seen} packets arrived; control {control_}")
        return f"{shown}; 0 arrived (control: {control_})"

    def isolated(self) -> str:
        """Let a second tablet join and look for the first."""
        self.lab.join("t2")
        self.lab.dhcp("t2")
        result = self.lab.probe("t2", "tcp", self._address("t1"), "9", *SHORT)
        control_ = self.lab.probe("t2", "dns", "zoom.us")
        if result["ok"] or result["outcome"] == "refused":
            raise Failed(f"t2 reaches t1: {result['outcome']}")
        if not control_["ok"]:
            raise Failed("t2 has no network at all: this shows nothing")
        return f"{result['outcome']}; the same tablet resolves zoom.us"

    def hairpin(self) -> str:
        """Send the second tablet's packet for the first one through the gateway."""
        first, gateway = self._address("t1"), "10.99.0.1"
        self.lab.exec("t2", ["ip", "route", "replace", f"{first}/32", "via", gateway])
        try:
            return self.refused("isolation", "t2", "tcp", first, "443")
        finally:
            self.lab.exec("t2", ["ip", "route", "del", f"{first}/32", "via", gateway])

    def rebinding(self) -> str:
        """Ask for names of an allowed service whose answers point inside."""
        words = []
        for name, kind in (
            ("rebind-private", "A"),
            ("rebind-pacs", "A"),
            ("rebind-mixed", "A"),
            ("rebind-v6", "AAAA"),
        ):
            result = self.lab.probe("t1", "dns", f"{name}.zoom.us", "--type", kind)
            known = self.lab.probe(
                "core", "dns", f"{name}.zoom.us", "--type", kind, "--server", "10.1.1.53"
            )
            if result["outcome"] != "refused" or not known["ok"]:
                raise Failed(f"{name}: tablet {result['outcome']}, resolver {known['outcome']}")
            words.append(name.removeprefix("rebind-"))
        self.refused("protected", "t1", "tcp", world.PACS, "443")
        return f"REFUSED: {', '.join(words)}; PACS stays shut"

    def stranger(self) -> str:
        """Let a device join that is in no inventory."""
        joined = self.lab.join("stranger")
        if joined["answer"] != "reject":
            raise Failed(str(joined))
        done = self.lab.exec(
            "gw",
            [
                "netguard",
                "explain",
                "--nas",
                "wlc-1",
                "--radius",
                f"Calling-Station-Id={world.STRANGER_MAC}",
            ],
        )
        return f"Access-Reject; {done.stdout.partition(chr(10))[0].strip()}"

    def killed(self) -> str:
        """Kill all three daemons; what was open stays open, what was shut stays shut."""
        for name in ("guard", "dns", "watch"):
            self.lab.kill(name, signal.SIGKILL)
        self.lab.counts("pacs", reset=True)
        self.opens("t1", "udp", world.MEDIA, "8801")
        for words in (
            ("tcp", world.PACS, "104"),
            ("tcp", world.UNLISTED, "443"),
            ("tcp", world.VIDEO, "22"),
        ):
            if self.lab.probe("t1", *words, *SHORT)["ok"]:
                raise Failed(f"{words[1]} is open")
        if _received(self.lab.counts("pacs")):
            raise Failed("packets arrive at the PACS")
        return "the call goes on; PACS, raw addresses, other ports refused"

    def admits_alone(self) -> str:
        """Let a third tablet join while nothing of ours runs."""
        joined = self.lab.join("t3")
        if joined["answer"] != "accept":
            raise Failed(str(joined))
        return f"{self.lab.record.tablets['t3']}: Access-Accept, VLAN {joined['vlan']}, in {joined['ms']} ms"

    def resumes(self) -> str:
        """Start the three again; names open again."""
        start = monotonic()
        for name in ("guard", "dns", "watch"):
            self.lab.start(name)
        self.opens("t1", "tcp", "g.whatsapp.net", "5222")
        number = self.guard("status")["applied"]["number"]
        return f"plan {number} again in force after {monotonic() - start:.1f} s, names answered"

    def flushed(self) -> str:
        """Flush all of nftables while guard is stopped: only the belt is left."""
        self.lab.kill("guard", signal.SIGSTOP)
        try:
            self.lab.exec("gw", ["nft", "flush", "ruleset"])
            self.lab.counts("pacs", reset=True)
            for words in (
                ("tcp", world.PACS, "104"),
                ("tcp", world.UNLISTED, "443"),
                ("tcp", world.VIDEO, "443"),
            ):
                if self.lab.probe("t1", *words, *SHORT)["ok"]:
                    raise Failed(f"{words[1]} is open")
            if _received(self.lab.counts("pacs")):
                raise Failed("packets arrive at the PACS")
        finally:
            self.lab.kill("guard", signal.SIGCONT)
        return "guard stopped (SIGSTOP), no ruleset: PACS and Internet unreachable"

    def repaired(self) -> str:
        """Wait for the repair, then flush once more and take the time."""
        self.until("the repair", lambda: self.guard("status")["drifts"] > 0)
        count = self.guard("status")["drifts"]
        self.lab.exec("gw", ["nft", "flush", "ruleset"])
        took = self.until("the second repair", lambda: self.guard("status")["drifts"] > count)
        self.opens("t1", "tcp", world.VIDEO, "443")
        self.refused("protected", "t1", "tcp", world.PACS, "104")
        last = self.guard("status")["drift"][-1]
        return f"in {took * 1000:.0f} ms, learned addresses put back; it was {last['by']}"

    def metrics(self) -> str:
        """Scrape the metrics and ask for the status."""
        from http.client import HTTPConnection

        connection = HTTPConnection("127.0.0.1", self.lab.record.port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.request("GET", "/readyz")
        ready = connection.getresponse().status
        done = self.lab.exec("gw", ["netguard", "status"])
        if "netguard_plan_in_force 1.0" not in text or ready != 200 or done.returncode:
            raise Failed(f"readyz {ready}; {done.stdout}{done.stderr}")
        series = sum(1 for line in text.splitlines() if not line.startswith("#"))
        return f"{series} series, ready, nothing wrong"

    def _address(self, host: str) -> str:
        tablet = self.lab.record.tablets[host]
        return _allotted(Path(self.lab.record.rules), self.lab.record.site, tablet)


def _allotted(rules: Path, site: str, tablet: str) -> str:
    """Read a tablet's address from the rules themselves, not through the code under test."""
    for line in (rules / "tablets.csv").read_text().splitlines():
        cells = line.split(",")
        if cells[0] == tablet and len(cells) > 6 and cells[6]:
            return cells[6]
    for line in (rules / "allotted.csv").read_text().splitlines():
        if line.startswith(f"{site},{tablet},"):
            return line.split(",")[2]
    raise Failed(f"no address of {tablet} in {rules}")


def _received(counts: dict[str, Any]) -> int:
    """Return how many packets have arrived at a host's interface."""
    return int(counts["packets"])


def main() -> int:
    """Build the hospital, show every claim, leave it up."""
    parser = argparse.ArgumentParser(prog="make demo", description="The example hospital, shown.")
    parser.add_argument("--name", default="demo", help="name of the lab (default: demo)")
    words = parser.parse_args()
    start = monotonic()
    try:
        lab = Hospital.up(words.name, speed=SPEED)
    except NetguardError as error:
        sys.stderr.write(f"demo: {error}\n")
        return error.exit_code
    sys.stdout.write("\n")
    failed = Demo(lab).all()
    took = monotonic() - start
    verdict = "every line is ok" if not failed else f"{failed} lines FAILED"
    sys.stdout.write(f"\n{verdict}, {took:.0f} s\n\n{lab.guide()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
