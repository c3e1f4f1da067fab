"""What ceilings are worth: 50 tablets that take all they can get, and a clinical flow on the same bottleneck.

    tablets - tab0 [appliance] up0 - [core router] ==== 50 Mbit ==== internet, imaging
                            clinical host - [core router]

The appliance holds our ruleset and our HTB classes; the bottleneck is a link behind it, 50 Mbit/s each way,
that a clinical host uses with 20 Mbit/s of UDP, and whose queue is asked for its delay 50 times a second.
In one run: the clinical flow alone, beside 50 tablets without ceilings (the peer: a router that fences and
does not shape), and with them. Each takes 25 s, the first 5 are not counted. iperf3 sends and counts what
arrives; what the site's class of HTB let pass is read from the kernel.
"""

import json
import re
import subprocess
import sys
import textwrap
import time
import uuid
from dataclasses import dataclass, replace
from datetime import date
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from netguard.core.names import Mac, Ports
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Ceiling, Group, Policy, Tablet
from netguard.core.shaping import MAJOR
from netguard.render import nftables
from netguard.rules.folder import read_folder
from netguard.rules.load import load

ROOT = Path(__file__).parents[2]
TABLETS, SECONDS, SETTLE = 50, 25, 5
BOTTLENECK, CLINICAL = "50mbit", 20_000_000
SITE = Ceiling(down=20_000_000, up=10_000_000)
TABLET = Ceiling(down=4_000_000, up=2_000_000)
SERVER, IMAGING = "198.18.0.2", "198.18.0.6"
FIRST_PORT = 5201
# Payload of a full frame of TCP with timestamps, and of our datagrams, of what HTB counts.
PAYLOAD, DATAGRAM = 1448 / 1514, 1400 / 1442
AIMS = {
    "clinical throughput, ceilings / alone": (">=", 0.95),
    "clinical p99 delay up, alone / ceilings": (">=", 0.95),
    "site's ceiling down, reached": ("about", 0.10),
    "site's ceiling up, reached": ("about", 0.10),
    "one tablet's ceiling down, reached": ("about", 0.10),
    "one tablet's ceiling up, reached": ("about", 0.10),
}
# Each way apart, for both ends share a clock: only the way up passes our ceiling before the bottleneck.
DELAY = """
import socket, struct, sys, time
to, seconds = sys.argv[1], float(sys.argv[2])
there = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
there.settimeout(1)
up, down = [], []
n = 0
end = time.monotonic() + seconds
while time.monotonic() < end:
    n += 1
    there.sendto(struct.pack("!Id", n, time.monotonic()), (to, 7777))
    try:
        while True:
            number, sent, turned = struct.unpack("!Idd", there.recv(64))
            if number == n:
                up.append(turned - sent)
                down.append(time.monotonic() - turned)
                break
    except TimeoutError:
        up.append(1.0)
        down.append(1.0)
    time.sleep(0.01)
for found in (up, down):
    found.sort()
    print(found[len(found) // 2], found[int(len(found) * 0.99)])
"""
ECHO = """
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 7777))
while True:
    data, who = s.recvfrom(64)
    s.sendto(data + struct.pack("!d", time.monotonic()), who)
"""
# They only wait for the network, not for a turn on a CPU that a hundred programs want.
AT_ONCE = ("chrt", "-f", "50", sys.executable, "-c")


def sh(*words: str, text: str | None = None) -> str:
    done = subprocess.run(words, check=False, input=text, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def plan() -> Plan:
    loaded = load(read_folder(ROOT / "rules"), today=date(2026, 7, 1))
    assert loaded.policy is not None
    return compile_plan(policy(loaded.policy), ["pellegrin"])


def policy(base: Policy) -> Policy:
    site = replace(
        base.sites["pellegrin"], nat="none", networks=(ip_network("10.99.0.0/22"),), ceiling=SITE
    )
    ports = tuple(Ports(kind, FIRST_PORT, FIRST_PORT + TABLETS) for kind in ("tcp", "udp"))
    zoom = replace(base.services["zoom"], networks=(ip_network("198.18.0.0/30"),), ports=ports)
    return replace(
        base,
        sites={"pellegrin": site},
        services={"zoom": zoom},
        groups={"patients": Group("patients", ("pellegrin",), ("zoom",), "reject", TABLET, None)},
        tablets={
            f"T-{n:03}": Tablet(f"T-{n:03}", mac(n), "patients", ("pellegrin", "cardio-3"))
            for n in range(TABLETS)
        },
        allotted={("pellegrin", f"T-{n:03}"): address(n) for n in range(TABLETS)},
        profiles={},
        origins={},
    )


def mac(number: int) -> Mac:
    return Mac.parse(f"3c:28:6d:00:00:{number:02x}")


def address(number: int) -> IPv4Address:
    return IPv4Address(int(IPv4Address("10.99.0.16")) + number)


@dataclass
class Network:
    """The namespaces of one candidate."""

    ceilings: bool

    def __post_init__(self) -> None:
        tag = uuid.uuid4().hex[:5]
        names = ("gw", "core", "net", "clin", "sw", *(f"t{n}" for n in range(TABLETS)))
        self.spaces = {name: f"ngc-{tag}-{name}" for name in names}

    def inside(self, name: str, *words: str, text: str | None = None) -> str:
        return sh("ip", "netns", "exec", self.spaces[name], *words, text=text)

    def link(self, one: str, a: str, other: str, b: str) -> None:
        words = ("link", "add", a, "type", "veth", "peer", "name", b, "netns", self.spaces[other])
        sh("ip", "-n", self.spaces[one], *words)
        for space, device in ((one, a), (other, b)):
            sh("ip", "-n", self.spaces[space], "link", "set", device, "up")

    def up(self) -> None:
        for space in self.spaces.values():
            sh("ip", "netns", "add", space)
        for name in ("gw", "core"):
            self.inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")
            self.inside(name, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")
        self.link("gw", "up0", "core", "gw0")
        self.link("core", "wan0", "net", "eth0")
        self.link("core", "clin0", "clin", "eth0")
        sh("ip", "-n", self.spaces["sw"], "link", "add", "name", "br0", "type", "bridge")
        sh("ip", "-n", self.spaces["sw"], "link", "set", "br0", "up")
        self.link("gw", "tab0", "sw", "gw")
        sh("ip", "-n", self.spaces["sw"], "link", "set", "gw", "master", "br0")
        for space, device, held in (
            ("gw", "tab0", "10.99.0.1/22"),
            ("gw", "up0", "10.255.0.2/30"),
            ("core", "gw0", "10.255.0.1/30"),
            ("core", "wan0", "198.18.0.1/24"),
            ("core", "clin0", "10.10.0.1/24"),
            ("net", "eth0", f"{SERVER}/24"),
            ("net", "eth0", f"{IMAGING}/24"),
            ("clin", "eth0", "10.10.0.2/24"),
        ):
            sh("ip", "-n", self.spaces[space], "address", "add", held, "dev", device)
        for space, to, via in (
            ("gw", "default", "10.255.0.1"),
            ("core", "10.99.0.0/22", "10.255.0.2"),
            ("net", "default", "198.18.0.1"),
            ("clin", "default", "10.10.0.1"),
        ):
            sh("ip", "-n", self.spaces[space], "route", "add", to, "via", via)
        for n in range(TABLETS):
            name = f"t{n}"
            self.link(name, "eth0", "sw", name)
            sh("ip", "-n", self.spaces["sw"], "link", "set", name, "master", "br0")
            sh("ip", "-n", self.spaces[name], "link", "set", "eth0", "address", str(mac(n)))
            held = f"{address(n)}/22"
            sh("ip", "-n", self.spaces[name], "address", "add", held, "dev", "eth0")
            sh("ip", "-n", self.spaces[name], "route", "add", "default", "via", "10.99.0.1")
        for space, device in (("core", "wan0"), ("net", "eth0")):
            self._bottleneck(space, device)
        self.inside("gw", "nft", "-f", "-", text=nftables.render(plan()))
        if self.ceilings:
            code = (
                "import sys; sys.path.insert(0, sys.argv[1])\n"
                "from bench.ceilings.run import plan\n"
                "from netguard.adapters import shaping\nfrom netguard.core.shaping import shapers\n"
                "done = shaping.ensure(shapers(plan()))\nassert not done.problems, done\n"
            )
            self.inside("gw", sys.executable, "-c", code, str(ROOT))

    def passed(self) -> tuple[int, int]:
        """Return how many bytes the site's classes have let pass, down and up."""
        found = []
        for device in ("tab0", "up0"):
            shown = self.inside(
                "gw", "tc", "-s", "class", "show", "dev", device, "classid", f"{MAJOR:x}:1"
            )
            sent = re.search(r"Sent (\d+) bytes", shown)
            found.append(int(sent[1]) if sent else 0)
        return found[0], found[1]

    def _bottleneck(self, space: str, device: str) -> None:
        """Make a link of 50 Mbit/s, that sends what is not of the tablets first, as their DSCP asks for.

        tbf cuts into frames what iperf3 sends in one piece, as a network card does.
        """
        tc = textwrap.dedent(f"""
            qdisc add dev {device} root handle 1: htb default 10
            class add dev {device} parent 1: classid 1:1 htb rate {BOTTLENECK} quantum 1514
            class add dev {device} parent 1:1 classid 1:10 htb rate 40mbit ceil {BOTTLENECK} prio 0 quantum 1514
            class add dev {device} parent 1:1 classid 1:20 htb rate 10mbit ceil {BOTTLENECK} prio 1 quantum 1514
            qdisc add dev {device} parent 1:10 tbf rate 10gbit burst 3100 limit 300k
            qdisc add dev {device} parent 1:20 tbf rate 10gbit burst 3100 limit 300k
            filter add dev {device} parent 1: protocol ip prio 1 u32 match ip tos 0x20 0xfc flowid 1:20
        """)
        self.inside(space, "tc", "-batch", "-", text=tc)

    def down(self) -> None:
        for space in self.spaces.values():
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)


@dataclass
class Seen:
    """Bits per second and seconds: what the clinical host got, and what the tablets did."""

    clinical: float
    p99_up: float
    p99_down: float
    down: list[float]
    up: list[float]
    # What passed the site's classes.
    class_down: float
    class_up: float


def measure(network: Network, *, tablets: int) -> Seen:
    running: list[subprocess.Popen[str]] = []

    def start(name: str, *words: str) -> subprocess.Popen[str]:
        full = ["ip", "netns", "exec", network.spaces[name], *words]
        process = subprocess.Popen(
            full,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process

    try:
        start("net", *AT_ONCE, ECHO)
        for port in range(FIRST_PORT, FIRST_PORT + tablets):
            start("net", "iperf3", "-s", "-1", "-p", str(port))
        start("net", "iperf3", "-s", "-1", "-p", "9000", "-B", IMAGING)
        time.sleep(2)
        # One tablet alone sends twice what it may have; many fill what there is by TCP.
        kind = ("-u", "-b", "8M", "-l", "1400") if tablets == 1 else ()
        often = ("-t", str(SECONDS), "-O", str(SETTLE), "--json")
        clients = [
            start(
                f"t{n}", "iperf3", "-c", SERVER, "-p", str(FIRST_PORT + n), "--bidir", *kind, *often
            )
            for n in range(tablets)
        ]
        words = (
            "iperf3",
            "-u",
            "-c",
            IMAGING,
            "-p",
            "9000",
            "-b",
            str(CLINICAL),
            "-l",
            "1400",
            *often,
        )
        clinical = start("clin", *words)
        time.sleep(SETTLE)
        began, before = time.monotonic(), network.passed()
        delay = start("clin", *AT_ONCE, DELAY, IMAGING, str(SECONDS - SETTLE))
        # Before the first of them has sent all it has to.
        time.sleep(SECONDS - SETTLE - 3)
        lasted, after = time.monotonic() - began, network.passed()
        told = json.loads(clinical.communicate(timeout=120)[0])["end"]["sum_received"]
        _, p99_up, _, p99_down = map(float, delay.communicate(timeout=120)[0].split())
        ups, downs = [], []
        for client in clients:
            told_end = json.loads(client.communicate(timeout=120)[0])["end"]
            ups.append(told_end["sum_received"]["bits_per_second"])
            downs.append(told_end["sum_received_bidir_reverse"]["bits_per_second"])
    finally:
        for process in running:
            process.kill()
            process.communicate()
    passed = ((a - b) * 8 / lasted for a, b in zip(after, before, strict=True))
    return Seen(told["bits_per_second"], p99_up, p99_down, downs, ups, *passed)


def one(ceilings: bool, tablets: int) -> Seen:
    network = Network(ceilings)
    try:
        network.up()
        return measure(network, tablets=tablets)
    finally:
        network.down()


def main() -> int:
    runs = {
        "alone": one(ceilings=False, tablets=0),
        "50 tablets, no ceilings": one(ceilings=False, tablets=TABLETS),
        "50 tablets, ceilings": one(ceilings=True, tablets=TABLETS),
        "1 tablet, ceilings": one(ceilings=True, tablets=1),
    }
    print(f"{'':26}{'clinical':>12}{'p99 up':>12}{'p99 down':>10}{'tablets down':>15}{'up':>10}")
    for name, seen in runs.items():
        print(
            f"{name:26}{seen.clinical / 1e6:>7.2f} Mb/s{seen.p99_up * 1e3:>9.2f} ms"
            f"{seen.p99_down * 1e3:>7.2f} ms{sum(seen.down) / 1e6:>10.2f} Mb/s{sum(seen.up) / 1e6:>5.2f} Mb/s"
        )
    free = runs["50 tablets, no ceilings"]
    alone, shaped, single = runs["alone"], runs["50 tablets, ceilings"], runs["1 tablet, ceilings"]
    ratios = {
        "clinical throughput, ceilings / alone": shaped.clinical / alone.clinical,
        "clinical p99 delay up, alone / ceilings": alone.p99_up / shaped.p99_up,
        "site's ceiling down, reached": shaped.class_down / SITE.down,
        "site's ceiling up, reached": shaped.class_up / SITE.up,
        "of it new data, down": sum(shaped.down) / PAYLOAD / SITE.down,
        "of it new data, up": sum(shaped.up) / PAYLOAD / SITE.up,
        "one tablet's ceiling down, reached": single.down[0] / DATAGRAM / TABLET.down,
        "one tablet's ceiling up, reached": single.up[0] / DATAGRAM / TABLET.up,
        "clinical throughput, no ceilings / alone": free.clinical / alone.clinical,
        "clinical p99 delay up, alone / no ceilings": alone.p99_up / free.p99_up,
        "clinical p99 delay down, ceilings / no ceilings": shaped.p99_down / free.p99_down,
    }
    for name, ratio in ratios.items():
        sign, aim = AIMS.get(name, ("", 0.0))
        met = abs(ratio - 1) <= aim if sign == "about" else ratio >= aim
        words = (
            ""
            if not sign
            else f"  (aim {'1 ±' if sign == 'about' else '≥'} {aim}: {'met' if met else 'missed'})"
        )
        print(f"{name:44}{ratio:>7.3f}{words}")
    print(json.dumps({"bench": "ceilings", "ratios": {k: round(v, 3) for k, v in ratios.items()}}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
