"""The hospital: up, down, and what one does in it. The demo, the tests and the benches stand on this.

`up` and `down` hold a lock; `up` first removes what an earlier lab of that name has left, whatever state
it was killed in; `down` leaves no process, namespace, mount, file or user. Nothing waits by the clock:
each step asks whether what it needs is there.
"""

import asyncio
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Self

from netguard.adapters import clock, control
from netguard.core.policy import Policy
from netguard.errors import NetguardError, UsageError
from netguard.lab import (
    casting,
    furnish,
    jail,
    layout,
    nas,
    programs,
    topology,
    users,
    world,
    zones,
)
from netguard.lab.layout import Layout, Record
from netguard.lab.programs import AROUND, PROCESSES

# Seconds until something that does not become ready is a failure; not a measure.
PATIENCE = 120.0
_WEB_PORT = 9869
_TAIL = 15

Say = Callable[[str], None]


def to_stderr(text: str) -> None:
    """Print one line of progress."""
    sys.stderr.write(f"lab: {text}\n")
    sys.stderr.flush()


@dataclass(slots=True)
class Hospital:
    """One lab that is up."""

    layout: Layout
    record: Record
    say: Say = to_stderr
    sockets: list[socket.socket] = field(default_factory=list)

    # up and down

    @classmethod
    def up(
        cls, name: str = "demo", rules: Path | None = None, say: Say = to_stderr, speed: int = 1
    ) -> Self:
        """Build a hospital, start everything, put the rules into force.

        So many seconds of presence pass in one of ours as `speed` says.
        """
        _preflight()
        where = Layout(name)
        folder = (rules or jail.CODE / "rules").resolve()
        policy = casting.policy_of(folder)
        with layout.locked():
            if layout.names().count(name) or topology.leftovers(where):
                say(f"removing what is left of lab '{name}'")
                _remove(where)
            record = Record(name=name, token=secrets.token_hex(16), rules=str(where.rules))
            record.zone, record.speed = world.midday(clock.now().hour), speed
            lab = cls(where, record, say)
            try:
                lab._build(policy, folder)
                lab._start_all()
            except BaseException:
                say("it did not work, taking it down again")
                lab._close()
                _remove(where)
                raise
        lab._close()
        return lab

    @classmethod
    def attach(cls, name: str = "demo", say: Say = to_stderr) -> Self:
        """Take hold of a hospital that is up."""
        _root()
        where = Layout(name)
        record = where.read()
        if record is None or not record.ready:
            raise UsageError(f"no lab '{name}' is up: netguard lab up --name {name}")
        return cls(where, record, say)

    def down(self) -> None:
        """End it and remove every trace."""
        down(self.layout.name, self.say)

    def _build(self, policy: Policy, rules: Path) -> None:
        site = next(iter(policy.sites.values()))
        tablets = casting.three(policy, site)
        record, where = self.record, self.layout
        record.node, record.site, record.since = "lab-1", site.name, clock.now().isoformat()
        record.tablets = {host: t.id for host, t in tablets.items()}
        record.macs = {host: str(t.mac) for host, t in tablets.items()}
        record.macs[world.STRANGER] = world.STRANGER_MAC
        record.homes = {host: casting.home(site, t) for host, t in tablets.items()}
        wiring = casting.wiring(policy, site, record.macs)
        record.nas_gateway = wiring.nas_gateway.split("/")[0]
        where.folder.mkdir(mode=0o755)
        where.write(record)
        self.say(f"rules: a copy of {rules}, in which it is midday")
        furnish.copy_rules(rules, where.rules, record.zone)
        record.port = self._web_socket()
        made = users.make()
        self.say(f"users: {', '.join(made) if made else 'all there'}")
        furnish.furnish(where, record, policy, site)
        where.write(record)
        self.say("network: " + ", ".join(world.HOSTS))
        topology.build(where, wiring)
        topology.add_addresses(where, "inet", zones.pooled(zones.names_of(policy)))

    def _start_all(self) -> None:
        self.say("around it: name servers, resolvers, clinical and Internet servers")
        for process in AROUND[:-1]:
            self._spawn(process)
        for process in AROUND[:-1]:
            self._await(process)
        self.say("appliance: guard, dns, FreeRADIUS")
        for process in ("guard", "dns", "freeradius"):
            self._spawn(process)
        for process in ("guard", "dns", "freeradius"):
            self._await(process)
        self.say(f"applying {self.record.rules}")
        self.apply()
        # New clients and a new dnsmasq.conf count from a start on; `tablets` alone is reloaded.
        self.say("appliance: FreeRADIUS with its clients, dnsmasq, chronyd, HAProxy, watch")
        self.stop("freeradius")
        rest = ("freeradius", "dnsmasq", "chronyd", "haproxy", "watch", "nas")
        for process in rest:
            self._spawn(process)
        for process in rest:
            self._await(process)
        self.record.ready = True
        self.layout.write(self.record)

    # what one does in it

    def apply(self, rules: Path | None = None) -> None:
        """Put a folder of rules into force, without one the lab's own. Raises NetguardError."""
        done = self.exec("gw", ["netguard", "apply", str(rules or self.record.rules)], timeout=180)
        self.layout.log("apply").write_text(done.stdout + done.stderr)
        if done.returncode:
            raise NetguardError(f"netguard apply: {done.stderr.strip()[-2000:]}")

    def other_rules(self) -> Path:
        """Return a copy of the lab's rules, to be changed and applied; the one before is gone."""
        copy = self.layout.folder / "other-rules"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.record.rules, copy)
        return copy

    def exec(
        self, host: str, argv: Sequence[str], timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host as root and return what it printed."""
        words, environment = self._command(host, argv)
        return subprocess.run(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )

    def run(self, host: str, argv: Sequence[str]) -> int:
        """Run a command on a host with this terminal; returns its exit code."""
        words, environment = self._command(host, argv)
        if "TERM" in os.environ:
            environment["TERM"] = os.environ["TERM"]
        return subprocess.run(words, env=environment, check=False).returncode

    def probe(self, host: str, *words: str, timeout: float = 30.0) -> dict[str, Any]:
        """Let a tablet try something: `probe("t1", "tcp", "zoom.us", "443")`."""
        done = self.exec(host, ["probe", *words], timeout)
        try:
            result: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise NetguardError(f"probe on {host}: {done.stderr.strip()[-500:]}") from error
        return result

    def join(
        self, tablet: str, *, ap: str = "", ssid: str = "", vendor: str = "", mac: str = ""
    ) -> dict[str, Any]:
        """Let a tablet associate, under another MAC from now on; returns the answer, the VLAN, how long it took."""
        host = self.host(tablet)
        ap = ap or self.record.homes.get(host, "")
        return self._nas("join", host=host, ap=ap, ssid=ssid, vendor=vendor, mac=mac)

    def leave(self, tablet: str, cause: str = "user") -> dict[str, Any]:
        """Take a tablet off the air."""
        return self._nas("leave", host=self.host(tablet), cause=cause)

    def roam(self, tablet: str, ap: str = "") -> dict[str, Any]:
        """Move a tablet to another access point."""
        return self._nas("roam", host=self.host(tablet), ap=ap)

    def behave(self, **habits: str | int) -> None:
        """Set the controller up wrong (lab/das.py: Habits); without a word, right again."""
        self._nas("behave", **habits)

    def vanish(self, tablet: str) -> dict[str, Any]:
        """Take a tablet off the air without a word."""
        return self._nas("vanish", host=self.host(tablet))

    def tell(self, mac: str, ap: str, status: str, **more: str | int) -> None:
        """Let the controller account for a tablet that is no host here. Raises when nobody stores it."""
        told = self._nas("tell", mac=mac, ap=ap, status=status, **more)
        if not told["accounted"]:
            raise NetguardError(f"accounting of {mac} was not acknowledged")

    def restart_controller(self) -> None:
        """Let the controller say that it has started again."""
        self._nas("restart")

    def syslog(self, text: str) -> None:
        """Let the controller log a line."""
        self._nas("syslog", text=text)

    def watch(self, verb: str, **words: object) -> dict[str, Any]:
        """Ask watch."""
        return control.call(self.layout.folder / "run" / "watch.sock", verb, 20.0, **words)

    def alerts(self) -> list[dict[str, Any]]:
        """Return what the lab's Alertmanager holds: labels, annotations and status of each alert."""
        python = str(self.layout.folder / "venv" / "bin" / "python")
        url = f"http://{world.ALERTMANAGER}:9093/api/v2/alerts"
        code = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=10).read().decode())"
        done = self.exec("core", [python, "-c", code])
        try:
            found: list[dict[str, Any]] = json.loads(done.stdout)
        except ValueError as error:
            raise NetguardError(f"alertmanager: {done.stderr.strip()[-300:]}") from error
        return found

    def dhcp(self, tablet: str, *more: str) -> str:
        """Let a tablet ask for its address, with more words for udhcpc; returns it."""
        host = self.host(tablet)
        script = str(self.layout.folder / "dhcp.sh")
        asked = [
            "udhcpc",
            "-i",
            "wlan0",
            "-f",
            "-q",
            "-n",
            "-t",
            "8",
            "-T",
            "1",
            "-s",
            script,
            *more,
        ]
        done = self.exec(host, asked)
        shown = self.exec(host, ["ip", "-json", "-4", "addr", "show", "dev", "wlan0"])
        found = [
            str(each["local"])
            for link in json.loads(shown.stdout or "[]")
            for each in link.get("addr_info", [])
        ]
        if done.returncode or not found:
            raise NetguardError(f"{host} gets no address: {done.stderr.strip()[-500:]}")
        return found[0]

    def counts(self, host: str, *, reset: bool = False) -> dict[str, Any]:
        """Return what has arrived at pacs, dmz or inet."""
        return nas.call(self.layout.socket(f"servers-{host}"), "reset" if reset else "status")

    def host(self, tablet: str) -> str:
        """Return the host of a tablet named by host or by id."""
        known = {
            **{t: host for host, t in self.record.tablets.items()},
            **{h: h for h in self.record.macs},
        }
        if tablet not in known:
            raise UsageError(f"no tablet '{tablet}' in the lab, known: {', '.join(known)}")
        return known[tablet]

    # its processes

    def pid(self, process: str) -> int | None:
        """Return the process id, or None when it does not run."""
        identity = jail.recorded(self.layout, _known(process))
        return identity.pid if identity else None

    def kill(self, process: str, number: int = signal.SIGKILL) -> None:
        """Signal a process; for SIGKILL and SIGTERM wait until it is gone."""
        identity = jail.recorded(self.layout, _known(process))
        if identity is None or not jail.send(self.record.token, identity.pid, number):
            raise NetguardError(f"{process} does not run")
        if number in {signal.SIGKILL, signal.SIGTERM} and not jail.gone(identity):
            raise NetguardError(f"{process} does not end")

    def stop(self, process: str) -> None:
        """End a process in order, where it runs."""
        if self.pid(process) is not None:
            self.kill(process, signal.SIGTERM)

    def start(self, process: str) -> None:
        """Start a process that does not run, and wait until it works."""
        if self.pid(_known(process)) is not None:
            raise NetguardError(f"{process} runs already")
        try:
            self._spawn(process)
            self._await(process)
        finally:
            self._close()

    def log(self, process: str) -> str:
        """Return what a process has printed."""
        return self.layout.log(process).read_text(errors="replace")

    @property
    def settings(self) -> Path:
        """Return the settings file of the lab's node."""
        return self.layout.settings

    @property
    def web(self) -> str:
        """Return where watch listens, in the root namespace."""
        return f"http://127.0.0.1:{self.record.port}"

    def status(self) -> dict[str, Any]:
        """Return what runs and who is where."""
        try:
            stations = self._nas("status")["stations"]
        except NetguardError:
            stations = []
        return {
            "name": self.record.name,
            "site": self.record.site,
            "since": self.record.since,
            "settings": str(self.settings),
            "web": self.web,
            "tablets": self.record.tablets,
            "processes": {process: self.pid(process) for process in PROCESSES},
            "stations": stations,
        }

    def guide(self) -> str:
        """Return what to open and what to type next."""
        # As it can be typed here: the command is on nobody's PATH in a fresh clone.
        command = "netguard" if shutil.which("netguard") else ".venv/bin/netguard"
        name = "" if self.record.name == "demo" else f" --name {self.record.name}"
        return f"""\
open {self.web}/metrics  {self.web}/readyz
next, for example:
  {command} lab exec{name} t1 probe tcp zoom.us 443
  {command} lab exec{name} gw netguard explain T-001 zoom.us tcp/443
  {command} lab exec{name} gw netguard status
  {command} lab join{name} t2
  {command} lab down{name}
"""

    def _nas(self, verb: str, **words: str | int) -> dict[str, Any]:
        return nas.call(self.layout.socket("nas"), verb, words)

    def _command(self, host: str, argv: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        if host not in world.HOSTS:
            host = self.host(host)
        environment = jail.environment(
            self.layout,
            self.record.token,
            host,
            {"NG_LEASE_RESOLV": str(self.layout.resolv(host))},
        )
        return jail.command(self.layout, host, argv), environment

    def _web_socket(self) -> int:
        """Listen for watch, here in the root namespace where a browser is; returns the port."""
        # While watch is down, somebody else may take its port: then it gets another one.
        wanted = (self.record.port or _WEB_PORT, 0)
        for port in wanted:
            one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                one.close()
                continue
            one.listen(64)
            self.sockets = [one]
            return int(one.getsockname()[1])
        raise NetguardError(f"port {wanted[0]} of 127.0.0.1 is taken")

    def _close(self) -> None:
        """Let go of the listening socket: watch has its own hold of it."""
        for one in self.sockets:
            one.close()
        self.sockets = []

    def _spawn(self, process: str) -> None:
        listen = None
        if process == "watch":
            if not self.sockets:
                self.record.port = self._web_socket()
                self.layout.write(self.record)
            listen = self.sockets[0].fileno()
        program = programs.program(self.layout, self.record, process, listen)
        jail.spawn(self.layout, self.record.token, program)

    def _await(self, process: str) -> None:
        end = monotonic() + PATIENCE
        while not self._ready(process):
            if self.pid(process) is None:
                raise NetguardError(f"{process} has ended: {self._tail(process)}")
            if monotonic() > end:
                raise NetguardError(f"{process} does not become ready: {self._tail(process)}")
            sleep(0.02)

    def _ready(self, process: str) -> bool:
        pid = self.pid(process)
        port = {
            "freeradius": 1812,
            "dnsmasq": 67,
            "chronyd": 123,
            "nsd": 53,
            "unbound": 53,
            "open-resolver": 53,
        }
        try:
            if process in port:
                host = programs.program(self.layout, self.record, process).host
                where = Path("/run/netns", self.layout.namespace(host))
                return pid is not None and _listens(pid, port[process], where)
            if process in {"guard", "dns"}:
                control.call(self.layout.folder / "run" / f"{process}.sock", "status", 5.0)
            elif process == "haproxy":
                asyncio.run(control.tell(self.layout.folder / "sni" / "master.sock", "show proc"))
            elif process == "watch":
                return _answers(self.record.port)
            elif process == "alertmanager":
                self.alerts()
            else:
                nas.call(self.layout.socket(process), "status")
        except NetguardError:
            return False
        return True

    def _tail(self, process: str) -> str:
        lines = self.log(process).splitlines()[-_TAIL:]
        return "\n  ".join(["its last words:", *lines]) if lines else "it printed nothing"


def down(name: str = "demo", say: Say = to_stderr) -> None:
    """Take a lab down, whatever state it is in."""
    _root()
    where = Layout(name)
    with layout.locked():
        if name not in layout.names() and not topology.leftovers(where):
            say(f"there is no lab '{name}'")
        else:
            _remove(where)
            say(f"lab '{name}' is gone")
        users.remove()


def _remove(where: Layout) -> None:
    """Remove every trace of a lab; the lock is held."""
    record = where.read()
    if record is not None:
        jail.end_all(record.token)
    topology.remove(where)
    if where.folder.exists():
        # Never into a mount: were the code still mounted here, removing the tree would remove it.
        for mounted in ("code", "venv"):
            with suppress(FileNotFoundError):
                (where.folder / mounted).rmdir()
        shutil.rmtree(where.folder)
    users.remove()


def _listens(pid: int, port: int, namespace: Path) -> bool:
    """Say whether a process has arrived in its namespace and the UDP port is taken there."""
    try:
        if Path(f"/proc/{pid}/ns/net").stat().st_ino != namespace.stat().st_ino:
            return False
        rows = Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]
    except OSError:
        return False
    return any(int(row.split()[1].rpartition(":")[2], 16) == port for row in rows)


def _answers(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _known(process: str) -> str:
    if process not in PROCESSES:
        raise UsageError(f"no process '{process}' in the lab, known: {', '.join(PROCESSES)}")
    return process


def _root() -> None:
    if os.geteuid() != 0:
        raise UsageError("the lab makes network namespaces, which needs root")


def _preflight() -> None:
    _root()
    missing = [name for name in programs.NEEDED if shutil.which(name, path=_path()) is None]
    if missing:
        raise UsageError(f"missing programs: {', '.join(missing)}; run: scripts/packages.sh demo")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/bin:/bin"
