"""The demo's bad day: a tablet that takes all it can get or comes at the wrong time, an uplink in need, floods."""

import json
import re
import threading
from collections.abc import Callable
from time import monotonic, sleep

from netguard.core.shaping import MAJOR
from netguard.errors import NetguardError
from netguard.lab import floods, world
from netguard.lab.hospital import Hospital

# What is asked for in bits per second, for how long, and what of it is not counted.
ASKED, SECONDS, SETTLE = 8_000_000, 20.0, 2.0
# A ceiling holds within this share.
SLACK = 0.1
# More than the rules of the example let pass in five minutes, and until when that must have been told.
DEVICES, NAMES, PATIENCE = 3_000, 10_000, 60.0
# It is midday in the lab: between two visiting hours.
HOURS, VISITS, OPENS = "hours: 07:00-22:00", "hours: [07:00-11:00, 14:00-20:00]", "14:00"
OTHER = "CHU-INVITES"
# One of the patients' that no other claim is about.
LENT = "T-060"
_FLOOD = """
import socket, sys, time
to, port, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.setblocking(False)
start, sent = time.monotonic(), 0
while (now := time.monotonic() - start) < seconds:
    while sent * 1442 * 8 < now * rate:
        try:
            out.sendto(bytes(1400), (to, port))
        except BlockingIOError:
            pass
        sent += 1
    time.sleep(0.002)
"""
_CLASS = re.compile(r"ceil (?P<ceil>\d+)(?P<unit>[KMG]?)bit .*?\n Sent (?P<bytes>\d+) bytes")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class BadDay:
    """Claims about what a tablet may take and when, about a profile, and about floods."""

    def __init__(self, lab: Hospital) -> None:
        self.lab = lab

    def all(self, claim: Callable[[str, Callable[[], str]], None]) -> None:
        """Show every claim."""
        claim("a tablet that sends all it can keeps to its ceiling", self.ceiling)
        claim("profile crisis: video off, the hospital's own chat stays, longer loans", self.crisis)
        claim("... and off again", self.calm)
        claim(f"{DEVICES:,} unknown devices ask at once: refused, one alert", self.device_flood)
        claim("a tablet asks for ever new names: one alert, not ours", self.name_flood)
        claim("between visiting hours: nothing, in the air and on the wire", self.hours)
        claim("... and within them all is as before", self.open_again)
        claim("on another network of the hospital: refused, and told", self.elsewhere)

    def ceiling(self) -> str:
        """Let t1 send four times what it may have, and count what leaves the appliance."""
        python = str(self.lab.layout.folder / "venv" / "bin" / "python")
        words = [python, "-c", _FLOOD, world.MEDIA, "8801", str(ASKED), str(SECONDS + 2 * SETTLE)]
        sender = threading.Thread(target=self.lab.exec, args=("t1", words))
        sender.start()
        sleep(SETTLE)
        start, (ceil, before) = monotonic(), self._class("up0")
        sleep(SECONDS)
        took, (_, after) = monotonic() - start, self._class("up0")
        sender.join()
        rate = (after - before) * 8 / took
        if abs(rate / ceil - 1) > SLACK:
            raise NetguardError(f"{rate / 1e6:.2f} of {ceil / 1e6:.0f} Mbit/s left in {took:.0f} s")
        return f"{ASKED / 1e6:.0f} Mbit/s asked, {rate / 1e6:.2f} of {ceil / 1e6:.0f} left in {took:.0f} s"

    def crisis(self) -> str:
        """Switch the profile on; what it takes is shut, what it leaves is open, and loans end later."""
        before = self._due("lend")
        done = self.lab.exec("gw", ["netguard", "profile", "crisis", "on", "--for", "1h"])
        if done.returncode:
            raise NetguardError(done.stdout + done.stderr)
        if self.lab.probe("t1", "udp", world.MEDIA, "8801", "--timeout", "1")["ok"]:
            raise NetguardError("the video call goes on")
        chat = self.lab.probe("t1", "tcp", "meet.chu.example", "443")
        if not chat["ok"]:
            raise NetguardError(f"meet.chu.example: {chat['outcome']}")
        ceil, _ = self._class("up0")
        after = self._due("tablet")
        if not before < after:
            raise NetguardError(f"{LENT} was due {before}, and is due {after}")
        shut = f"zoom refused, meet.chu.example open, ceiling {ceil / 1000:.0f} kbit/s"
        return f"{shut}; {LENT} due {before} -> {after}"

    def _due(self, word: str) -> str:
        """Return the day on which a loan ends, by a word that says so."""
        done = self.lab.exec("gw", ["netguard", word, LENT, "--json"])
        # 1 where an enforcer lags: no loan has to do with that.
        if done.returncode > 1:
            raise NetguardError(done.stdout + done.stderr)
        return str(json.loads(done.stdout)["due"]).partition("T")[0]

    def calm(self) -> str:
        """Switch it off; all is as before."""
        done = self.lab.exec("gw", ["netguard", "profile", "crisis", "off"])
        self.lab.exec("gw", ["netguard", "return", LENT])
        call = self.lab.probe("t1", "udp", world.MEDIA, "8801")
        if done.returncode or not call["ok"]:
            raise NetguardError(f"{call['outcome']}; {done.stdout}{done.stderr}")
        return f"the call passes again, {done.stdout.strip()}"

    def device_flood(self) -> str:
        """Let them ask while a tablet joins."""
        counted: dict[str, int] = {}
        flood = threading.Thread(target=lambda: counted.update(floods.devices(self.lab, DEVICES)))
        start = monotonic()
        flood.start()
        joined = self.lab.join("t1")
        flood.join()
        took = monotonic() - start
        if counted != {"rejected": DEVICES, "accepted": 0, "silent": 0}:
            raise NetguardError(f"of {DEVICES} devices: {counted}")
        if joined["answer"] != "accept":
            raise NetguardError(f"t1 meanwhile: {joined}")
        return f"all in {took:.1f} s, t1 joined in {joined['ms']} ms; {self._told('NG-1304')}"

    def name_flood(self) -> str:
        """Let t2 tunnel, and its neighbour ask for what is its."""
        tunnel = threading.Thread(
            target=floods.names, args=(self.lab, "t2", "10.99.0.1", NAMES), daemon=True
        )
        tunnel.start()
        outcomes = set()
        while tunnel.is_alive():
            outcomes.add(self.lab.probe("t1", "dns", "zoom.us")["outcome"])
        if outcomes != {"noerror"}:
            raise NetguardError(f"t1 meanwhile: {', '.join(sorted(outcomes))}")
        return f"{NAMES:,} of T-002 refused, T-001 is answered; {self._told('NG-1305')}"

    def hours(self) -> str:
        """Give the patients visiting hours, put them in force, and try while they are closed."""
        rules = self.lab.other_rules()
        groups = rules / "groups.yaml"
        text = groups.read_text()
        if HOURS not in text:
            raise NetguardError(f"the example has no '{HOURS}' any more")
        groups.write_text(text.replace(HOURS, VISITS, 1))
        self.lab.apply(rules)
        if self.lab.probe("t1", "udp", world.MEDIA, "8801", "--timeout", "1")["ok"]:
            raise NetguardError("the video call goes on")
        answer = self.lab.join("t1")["answer"]
        words = ["netguard", "explain", "T-001", "zoom.us", "tcp/443"]
        explained = self.lab.exec("gw", words).stdout
        if (
            answer != "reject"
            or "patients/hours" not in explained
            or f" at {OPENS}" not in explained
        ):
            raise NetguardError(f"FreeRADIUS: {answer}; {explained}")
        return f"kernel and FreeRADIUS refuse, patients/hours; explain: again at {OPENS}"

    def open_again(self) -> str:
        """Put the rules of the lab in force again."""
        self.lab.apply()
        joined = self.lab.join("t1")
        self.lab.dhcp("t1")
        call = self.lab.probe("t1", "udp", world.MEDIA, "8801")
        if joined["answer"] != "accept" or not call["ok"]:
            raise NetguardError(f"{joined}; {call['outcome']}")
        return f"Access-Accept, the call's media in {call['ms']} ms"

    def elsewhere(self) -> str:
        """Let t3 try the guests' network, and read the report."""
        answer = self.lab.join("t3", ssid=OTHER)["answer"]
        if answer != "reject":
            raise NetguardError(f"{OTHER} says {answer}")
        end = monotonic() + PATIENCE
        while OTHER not in self.lab.exec("gw", ["netguard", "rejects", "T-003"]).stdout:
            if monotonic() > end:
                raise NetguardError("it is in no report")
            sleep(0.5)
        back = self.lab.join("t3")["answer"]
        return f"Access-Reject on {OTHER}, in 'netguard rejects T-003'; on its own: {back}"

    def _told(self, code: str) -> str:
        """Wait for the one alert of a flood."""
        end = monotonic() + PATIENCE
        while True:
            text = self.lab.exec("gw", ["netguard", "alerts", "--json"]).stdout
            rows = [row for row in json.loads(text)["alerts"] if row["code"] == code]
            if len(rows) == 1:
                return f"{code} {rows[0]['name']}"
            if rows or monotonic() > end:
                raise NetguardError(f"{len(rows)} alerts {code}")
            sleep(0.5)

    def _class(self, interface: str) -> tuple[int, int]:
        """Return the ceiling of t1 in bits per second, and the bytes that its class has sent."""
        shown = self.lab.exec("t1", ["ip", "-j", "-4", "address", "show", "dev", "wlan0"]).stdout
        own = json.loads(shown)[0]["addr_info"][0]["local"]
        words = ["nft", "get", "element", "inet", "netguard", "class4", f"{{ {own} }}"]
        number = re.search(rf": ({MAJOR:x}:[0-9a-f]+)", self.lab.exec("gw", words).stdout)
        if number is None:
            raise NetguardError(f"{own} has no class")
        words = ["tc", "-s", "class", "show", "dev", interface, "classid", number[1]]
        text = self.lab.exec("gw", words).stdout
        found = _CLASS.search(text)
        if found is None:
            raise NetguardError(f"tc does not know {number[1]}: {text}")
        return int(found["ceil"]) * _UNITS[found["unit"]], int(found["bytes"])
