"""Namespaces for the bench and the kernel's tests of names: tablets - gw - outside, rules loaded.

`tablet` asks, `gw` holds the kernel's sets and the name server under test, `outside` has the resolver
10.255.0.1 and answers on all of 20.0.0.0/8.
"""

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

from netguard.core.names import Domain, Mac, Ports, Upstream
from netguard.core.plan import Binding, Plan, compile_plan
from netguard.lab.dnsload import SUFFIX
from netguard.render import haproxy, names, nftables
from netguard.rules.folder import read_folder
from netguard.rules.load import load

ROOT = Path(__file__).parents[2]
RESOLVER = "10.255.0.1"
GATEWAY = "10.99.0.1"
SERVICE = "zoom"


def strict(plan: Plan) -> Plan:
    """The same, and the TLS of the service passes by its server's name only."""
    services = tuple(
        replace(s, sni="strict", ports=(Ports("tcp", 443, 443), Ports("udp", 8801, 8810)))
        if s.name == SERVICE
        else s
        for s in plan.services
    )
    return replace(plan, services=services)


def plan_of(*, cache: bool = True, upstream: str = RESOLVER) -> Plan:
    """The example hospital with one more name, its resolver outside, and no limit in the way."""
    policy = load(read_folder(ROOT / "rules", "rules"), today=date(2026, 11, 22)).policy
    assert policy is not None
    plan = compile_plan(policy, ["pellegrin"])
    services = tuple(
        replace(s, domains=(*s.domains, Domain(SUFFIX, wildcard=True)), ports=(*s.ports, Ports("udp", 443, 443)))
        if s.name == SERVICE
        else s
        for s in plan.services
    )  # fmt: skip
    rate = replace(plan.resolver.query_rate, count=999_999)
    resolver = replace(plan.resolver, upstream=(Upstream.parse(upstream),), cache=cache, query_rate=rate)  # fmt: skip
    return replace(plan, services=services, resolver=resolver)


def crowd_of(count: int) -> Plan:
    """So many tablets of one group in a network that holds them, each with its own address and MAC."""
    plan = plan_of()
    network = ip_network("10.99.0.0/18")
    bindings = tuple(
        Binding(
            "pellegrin",
            Mac(f"64:1b:2f:{n >> 16:02x}:{n >> 8 & 255:02x}:{n & 255:02x}"),
            f"T-{n:05}",
            "patients",
            network[n],
        )
        for n in range(16, 16 + count)
    )
    return replace(plan, sites=(replace(plan.sites[0], networks=(network,)),), bindings=bindings)


class Field:
    """The namespaces and the processes in them; leaves nothing behind."""

    def __init__(self, plan: Plan, tablets: int = 1) -> None:
        tag = uuid.uuid4().hex[:6]
        self.gw, self.outside = (f"ngn-{tag}-{name}" for name in ("gw", "out"))
        bound = [b for b in plan.bindings if b.group == "patients" and b.address is not None]
        self.tablets = {f"ngn-{tag}-t{n}": b for n, b in enumerate(bound[:tablets])}
        self.plan = plan
        self.length = plan.sites[0].networks[0].prefixlen
        self.folder = Path(tempfile.mkdtemp(prefix="netguard-names-"))
        self.refused: socket.socket | None = None
        self._running: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        self._wire()
        self.run(self.gw, "nft", "-f", "-", stdin=nftables.render(self.plan))
        self.start(self.outside, sys.executable, "-m", "netguard.lab.dnsload", "upstream", RESOLVER)
        self.start(self.outside, sys.executable, "-m", "netguard.lab.dnsload", "echo")
        return self

    def __exit__(self, *_: object) -> None:
        if self.refused is not None:
            self.refused.close()
        for process in self._running:
            self.stop(process)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        for name in (*self.tablets, self.gw, self.outside):
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["rm", "-r", str(self.folder)], check=False)

    def _wire(self) -> None:
        ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True)  # noqa: E731
        for name in (*self.tablets, self.gw, self.outside):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        inside = self.plan.sites[0].interfaces[0]
        uplink = self.plan.sites[0].uplink
        ip("-n", self.gw, "link", "add", inside, "type", "bridge")
        for number, (name, binding) in enumerate(self.tablets.items()):
            ip(
                "-n",
                self.gw,
                "link",
                "add",
                f"p{number}",
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                name,
            )
            ip("-n", self.gw, "link", "set", f"p{number}", "master", inside, "up")
            ip("-n", name, "link", "set", "eth0", "address", str(binding.mac), "up")
            ip("-n", name, "address", "add", f"{binding.address}/{self.length}", "dev", "eth0")
            ip("-n", name, "route", "add", "default", "via", GATEWAY)
        ip("-n", self.gw, "address", "add", f"{GATEWAY}/{self.length}", "dev", inside)
        ip("-n", self.gw, "link", "set", inside, "up")
        ip(
            "-n",
            self.gw,
            "link",
            "add",
            uplink,
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            self.outside,
        )
        for name, device, address in (
            (self.gw, uplink, "10.255.0.2/30"),
            (self.outside, "eth0", "10.255.0.1/30"),
        ):
            ip("-n", name, "link", "set", device, "up")
            ip("-n", name, "address", "add", address, "dev", device)
        ip("-n", self.gw, "route", "add", "default", "via", RESOLVER)
        ip(
            "-n",
            self.outside,
            "route",
            "add",
            str(self.plan.sites[0].networks[0]),
            "via",
            "10.255.0.2",
        )
        ip("-n", self.outside, "route", "add", "local", "20.0.0.0/8", "dev", "lo")
        self.run(self.gw, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0")

    def run(self, where: str, *command: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            ["ip", "netns", "exec", where, *command],
            input=stdin, capture_output=True, text=True, timeout=300, check=False, cwd=ROOT,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
        return done.stdout

    def load(self, tablet: int, *words: str) -> dict[str, Any]:
        """Run the load generator in a tablet's namespace."""
        name = list(self.tablets)[tablet]
        out = self.run(name, sys.executable, "-m", "netguard.lab.dnsload", *words)
        return dict(json.loads(out))

    def start(self, where: str, *command: str) -> subprocess.Popen[str]:
        with (self.folder / f"{len(self._running)}.log").open("w") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", where, *command],
                stdout=log,
                stderr=log,
                text=True,
                cwd=ROOT,
            )
        self._running.append(process)
        return process

    def open(self, where: str, *command: str) -> subprocess.Popen[str]:
        """Start a program that is talked to over its input and output."""
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            ["ip", "netns", "exec", where, *command], stdin=pipe, stdout=pipe, text=True, cwd=ROOT
        )
        self._running.append(process)
        return process

    def stop(self, process: subprocess.Popen[str], how: int = signal.SIGTERM) -> None:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                process.send_signal(how)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def proxy(self, *, wait: bool = True, **settings: str) -> subprocess.Popen[str]:
        """Start `netguard dns` with this plan's names."""
        state = self.folder / "state"
        for each in (state / "dns", self.folder / "run"):
            each.mkdir(parents=True, exist_ok=True)
        (state / "dns.json").write_text(names.render(self.plan))
        more = "".join(f"  {key}: {value}\n" for key, value in settings.items())
        (self.folder / "settings.yaml").write_text(
            f"version: 1\nnode: n\nsites: [pellegrin]\npaths:\n  state: {state}\n  run: {self.folder}/run\n{more}"
        )
        process = self.start(
            self.gw, sys.executable, "-m", "netguard", "--settings", str(self.folder / "settings.yaml"), "dns"
        )  # fmt: skip
        if wait:
            self.answering(process)
        return process

    def crowd(self, *names: str) -> dict[str, Any]:
        """Let all tablets of the plan ask for names at the same moment."""
        file = self.folder / "crowd"
        every = [(str(b.address), str(b.mac)) for b in self.plan.bindings]
        file.write_text("".join(f"{address} {mac}\n" for address, mac in every))
        # Nobody answers for their addresses: the gateway knows them, as it does after their DHCP.
        inside = self.plan.sites[0].interfaces[0]
        known = "".join(
            f"neigh replace {a} lladdr {m} dev {inside} nud permanent\n" for a, m in every
        )
        self.run(self.gw, "ip", "-batch", "-", stdin=known)
        mac = self.run(self.gw, "cat", f"/sys/class/net/{inside}/address").strip()
        module = ("-m", "netguard.lab.crowd")
        out = self.run(
            next(iter(self.tablets)),
            sys.executable,
            *module,
            "eth0",
            GATEWAY,
            mac,
            str(file),
            *names,
        )
        return dict(json.loads(out))

    def haproxy(self, alive: str = haproxy.ALIVE) -> subprocess.Popen[str]:
        """Start HAProxy with this plan's server names; what it refuses comes to `refused`.

        `alive` scales after how long a silent tablet is asked whether it is there.
        """
        self.refused = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.refused.bind(str(self.folder / haproxy.LOG))
        path = self.folder / haproxy.CONFIGURATION
        text = haproxy.configuration(self.plan, str(self.folder))
        asked = f"clitcpka-idle {alive}\n  clitcpka-intvl {alive}"
        path.write_text(text.replace(f"clitcpka-idle {haproxy.ALIVE}", asked))
        process = self.start(
            self.gw, "haproxy", "-W", "-S", str(self.folder / haproxy.MASTER), "-f", str(path)
        )
        for _ in range(200):
            if process.poll() is not None:
                raise RuntimeError(
                    "\n".join(p.read_text()[-1500:] for p in self.folder.glob("*.log"))
                )
            if ":6" in self.run(self.gw, "ss", "-ltnH", "sport >= :61000"):
                return process
            time.sleep(0.05)
        raise RuntimeError("HAProxy does not listen")

    def answering(self, process: subprocess.Popen[str]) -> None:
        """Wait until a server answers."""
        for _ in range(100):
            if process.poll() is not None:
                log = "\n".join(p.read_text()[-1500:] for p in self.folder.glob("*.log"))
                raise RuntimeError(f"the server ended: {log}")
            with suppress(RuntimeError):
                if self.load(0, "load", GATEWAY, "1", "1")["wrong"] == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError("the server does not answer")

    def held(self, name: str) -> int:
        """Count what a set holds."""
        text = self.run(self.gw, "nft", "-j", "list", "set", "inet", "netguard", name)
        found = next(r["set"] for r in json.loads(text)["nftables"] if "set" in r)
        return len(found.get("elem", []))


def cpu_of(pid: int) -> float:
    """Return the CPU seconds of all threads of a process."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((t / "schedstat").read_text().split()[0]) for t in tasks.iterdir()) / 1e9
