"""Admission: CPU per request of our whole configuration beside what else one could use, 10,000 MACs.

The limit is a FreeRADIUS that does one lookup in a `files` module and signs its answer. Round robin in one
run, 32 requests outstanding, every reply verified; the CPU time of all threads, and of a back end where
there is one. Then, as root: admission in the lab while netguard runs, is stopped, is killed, beside a plain
FreeRADIUS in the same namespace. One JSON line at the end holds the ratios, which mean the same on any
machine; the aims are 0.7 without the decision record and 0.5 with it.
"""

import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from statistics import median

import servers
from servers import ROOT, SECRET, Server, cpu_of

from netguard.adapters import clock
from netguard.core import radius
from netguard.core.names import Mac
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Area, Policy, Tablet
from netguard.core.radius import Attributes, Code
from netguard.core.week import Hours
from netguard.lab import shapes
from netguard.lab.hospital import Hospital
from netguard.lab.load import Load, prepare
from netguard.lab.world import midday
from netguard.render import freeradius, radius_hours
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.rules.settings_file import read_settings

MACS, APS, AREAS = 10_000, 2_000, 50
ROUNDS, EACH, EACH_OF_SLOW = 40, 500, 100
WARM = 2  # rounds until pools and caches are warm
AIMS = {"whole_without_record": 0.7, "whole_with_record": 0.5}
SQL = Path("/etc/freeradius/3.0/mods-config/sql/main/sqlite")
SSID = "CHU-TABLETTES"


@dataclass
class Candidate:
    """One server, what is counted with it, and what it has used."""

    server: Server
    requests: int = EACH
    backend: subprocess.Popen[bytes] | None = None
    cpu: list[float] = field(default_factory=list)

    def spent(self) -> float:
        return self.server.cpu() + (cpu_of(self.backend.pid) if self.backend else 0.0)

    @property
    def mean(self) -> float:
        return sum(self.cpu) / len(self.cpu)


def mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x3C, 0x28, 0x6D, *number.to_bytes(3, "big")))


def plan_of(*, hours: bool = False, closed: bool = False) -> Plan:
    """A plan of 10,000 tablets at one site with 2,000 APs, made of the example hospital's."""
    policy = load(read_folder(ROOT / "rules", "rules"), today=date(2026, 11, 22)).policy
    assert policy is not None
    return compile_plan(_large(policy, hours=hours, closed=closed), ["pellegrin"])


def _large(policy: Policy, *, hours: bool, closed: bool) -> Policy:
    site = policy.sites["pellegrin"]
    areas = {
        f"area-{n}": Area(
            f"area-{n}",
            "",
            tuple(f"AP-{ap:04}" for ap in range(n, APS, AREAS)),
            closed_to=("patients",) if closed and n == AREAS - 1 else (),
        )
        for n in range(AREAS)
    }
    nas = {"wlc-1": replace(site.nas["wlc-1"], address=ip_network("127.0.0.1"))}
    site = replace(site, areas=areas, nas=nas, networks=(ip_network("10.96.0.0/16"),), addresses="external", time_zone=midday(clock.now().hour))  # fmt: skip
    group = replace(
        policy.groups["patients"], sites=("pellegrin",), hours=Hours.parse("01:00-23:00") if hours else None
    )  # fmt: skip
    tablets = {
        f"T-{n:05}": Tablet(f"T-{n:05}", Mac.parse(mac(n)), "patients", ("pellegrin", "area-1"))
        for n in range(MACS)
    }
    return replace(
        policy,
        sites={"pellegrin": site},
        groups={"patients": group},
        tablets=tablets,
        allotted={},
    )


def asked(count: int, dice: random.Random) -> Iterator[tuple[Attributes, bytes]]:
    """Requests as hostapd and most controllers write them, each from some tablet at some AP."""
    for _ in range(count):
        tablet, ap = mac(dice.randrange(MACS)), dice.randrange(APS - 1)
        sent = shapes.attributes(
            "hostapd",
            tablet,
            bssid=f"70:3a:0e:00:{ap >> 8:02x}:{ap & 255:02x}",
            ap=f"AP-{ap // AREAS * AREAS:04}",
            ssid=SSID,
            nas=f"AP-{ap // AREAS * AREAS:04}",
            address=bytes([127, 0, 0, 1]),
        )
        yield sent, shapes.password("hostapd", tablet)


# the peers

REPLY = ("Tunnel-Type = VLAN", "Tunnel-Medium-Type = IEEE-802", 'Tunnel-Private-Group-Id = "640"', "Acct-Interim-Interval = 300")  # fmt: skip


def bare(base: Path) -> Server:
    entries = (
        f"{mac(n).replace(':', '')} Auth-Type := Accept\n"
        + ",\n".join(f"\t{item}" for item in REPLY)
        + "\n"
        for n in range(MACS)
    )
    return servers.hospital("bare", base, "".join(entries), None)


def sqlite(base: Path) -> Server:
    """The stock SQL module on SQLite, with its stock queries and indexes."""
    module = """\texpr {{
\t}}
\tsql {{
\t\tdialect = "sqlite"
\t\tdriver = "rlm_sql_sqlite"
\t\tsqlite {{
\t\t\tfilename = "{folder}/radius.db"
\t\t}}
\t\tacct_table1 = "radacct"
\t\tacct_table2 = "radacct"
\t\tpostauth_table = "radpostauth"
\t\tauthcheck_table = "radcheck"
\t\tgroupcheck_table = "radgroupcheck"
\t\tauthreply_table = "radreply"
\t\tgroupreply_table = "radgroupreply"
\t\tusergroup_table = "radusergroup"
\t\tread_groups = yes
\t\tread_profiles = yes
\t\tgroup_attribute = "SQL-Group"
\t\tclient_table = "nas"
\t\tpool {{
\t\t\tstart = 2
\t\t\tmin = 1
\t\t\tmax = 4
\t\t\tspare = 1
\t\t\tuses = 0
\t\t\tlifetime = 0
\t\t\tidle_timeout = 0
\t\t}}
\t\t$INCLUDE {folder}/queries.conf
\t}}"""
    server = servers.plain("sqlite", base, module, "\t\tsql")
    shutil.copy(SQL / "queries.conf", server.folder)
    with sqlite3.connect(server.folder / "radius.db") as db:
        db.executescript((SQL / "schema.sql").read_text())
        names = [mac(n).replace(":", "") for n in range(MACS)]
        check = "INSERT INTO radcheck (username, attribute, op, value) VALUES (?, ?, ?, ?)"
        db.executemany(check, [(name, "Auth-Type", ":=", "Accept") for name in names])
        reply = "INSERT INTO radreply (username, attribute, op, value) VALUES (?, ?, ?, ?)"
        for item in REPLY:
            attribute, value = item.replace('"', "").split(" = ")
            db.executemany(reply, [(name, attribute, "=", value) for name in names])
    db.close()
    return server


def rest(base: Path) -> tuple[Server, subprocess.Popen[bytes]]:
    """The REST module, and a Python service that looks the MAC up in a dictionary."""
    port = free_tcp_port()
    module = f"""\trest {{{{
\t\tconnect_uri = "http://127.0.0.1:{port}"
\t\tauthorize {{{{
\t\t\turi = "${{{{..connect_uri}}}}/authorize/%{{{{User-Name}}}}"
\t\t\tmethod = "get"
\t\t}}}}
\t\tpool {{{{
\t\t\tstart = 4
\t\t\tmin = 2
\t\t\tmax = 8
\t\t\tspare = 2
\t\t\tuses = 0
\t\t\tlifetime = 0
\t\t\tidle_timeout = 0
\t\t}}}}
\t}}}}"""
    server = servers.plain("rest", base, module, "\t\trest")
    script = Path(__file__).with_name("rest_service.py")
    backend = subprocess.Popen([sys.executable, str(script), str(port), str(MACS)])
    end = time.monotonic() + 30
    while not tcp_listens(port):
        time.sleep(0.05)
        if backend.poll() is not None or time.monotonic() > end:
            sys.exit("the REST service did not start")
    return server, backend


def free_tcp_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def tcp_listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def whole(name: str, base: Path, plan: Plan, edit: Callable[[Path], None] | None = None) -> Server:
    return servers.whole(
        name, base, freeradius.tablets(plan), freeradius.areas(plan), radius_hours.hours(plan), edit
    )


def ours(base: Path) -> list[Candidate]:
    """Our configuration with and without its record, beside the limit."""
    plan = plan_of()
    return [
        Candidate(bare(base)),
        Candidate(whole("whole_without_record", base, plan, servers.without_record)),
        Candidate(whole("whole_with_record", base, plan)),
    ]


def others(base: Path, limit: Server) -> list[Candidate]:
    """What else is asked of it, and what else one could use."""
    found = [
        Candidate(limit),
        Candidate(whole("with record, hours", base, plan_of(hours=True))),
        Candidate(whole("with record, closed area", base, plan_of(closed=True))),
    ]
    if Path("/usr/lib/freeradius/rlm_rest.so").exists():
        server, backend = rest(base)
        found.append(Candidate(server, EACH_OF_SLOW, backend))
    else:
        print("rlm_rest is not installed (freeradius-rest): left out")
    if Path("/usr/lib/freeradius/rlm_sql_sqlite.so").exists() and SQL.exists():
        found.append(Candidate(sqlite(base), EACH_OF_SLOW))
    else:
        print("rlm_sql_sqlite is not installed: left out")
    return found


def measure(found: list[Candidate]) -> None:
    """Ask each in turn, round after round."""
    dice = random.Random(7)
    for number in range(WARM + ROUNDS):
        for one in found:
            packets = list(prepare(asked(one.requests, dice), SECRET))
            before = one.spent()
            outcomes = Load(one.server.address, SECRET).run(packets)
            spent = one.spent() - before
            for outcome in outcomes:
                reply = outcome.reply
                if reply is None or reply.code != Code.ACCESS_ACCEPT:
                    sys.exit(f"{one.server.name}: request {outcome.number} was not accepted")
                if radius.vlan_of(reply) != "640":
                    sys.exit(f"{one.server.name}: VLAN {radius.vlan_of(reply)}")
            if number >= WARM:
                one.cpu.append(spent / one.requests * 1e6)


def report(found: list[Candidate]) -> dict[str, float]:
    print(f"  {'':26}{'mean':>9}{'median':>9}{'ratio':>8}")
    ratios = {}
    for one in found:
        name = one.server.name
        ratios[name] = round(found[0].mean / one.mean, 3)
        aim = f"  aim {AIMS[name]}" if name in AIMS else ""
        words = f"{one.mean:7.1f}us{median(one.cpu):7.1f}us{ratios[name]:8.2f}{aim}"
        print(f"  {name:26}{words}")
    return ratios


def unchanged(base: Path) -> dict[str, object]:
    """Admission while netguard runs, is stopped, is killed; the same bytes, and how long they took."""
    name = f"bench{os.getpid() % 100000}"
    lab = Hospital.up(name)
    daemons = ("guard", "dns", "watch")
    found: dict[str, dict[str, dict[str, object]]] = {}
    try:
        node = read_settings(lab.settings)
        words = [sys.executable, str(Path(__file__).with_name("inside.py")), str(node.paths.radius), str(base / "inside")]  # fmt: skip

        def look(state: str) -> None:
            done = lab.exec("gw", words, timeout=120)
            if done.returncode:
                sys.exit(f"{state}: {done.stdout}{done.stderr}")
            found[state] = json.loads(done.stdout)

        look("running")
        for process in daemons:
            lab.kill(process, signal.SIGSTOP)
        look("stopped")
        for process in daemons:
            lab.kill(process, signal.SIGKILL)
        look("killed")
    finally:
        lab.down()
    print("\nadmission in the lab, 300 requests a second; milliseconds")
    print(
        f"  {'netguard':10}{'asked for':12}{'p50':>8}{'p99':>8}   {'plain p50':>10}{'p99':>8}   bytes"
    )
    first = found["running"]
    equal = True
    for state, kinds in found.items():
        for kind, row in kinds.items():
            same = row["bytes"] == first[kind]["bytes"]
            equal = equal and same
            print(
                f"  {state:10}{kind:12}{row['p50']:8.2f}{row['p99']:8.2f}   {row['plain_p50']:10.2f}"
                f"{row['plain_p99']:8.2f}   {'the same' if same else 'OTHERS'}"
            )
    return {"bytes_equal": equal, "milliseconds": found}


def main() -> None:
    base = Path(tempfile.mkdtemp(prefix="netguard-bench-"))
    base.chmod(0o755)
    first: list[Candidate] = []
    second: list[Candidate] = []
    lab: dict[str, object] = {}
    try:
        print(f"CPU per request, {MACS} MACs, {ROUNDS} rounds of {EACH} requests in turn")
        first = ours(base)
        for one in first:
            one.server.start()
        measure(first)
        ratios = report(first)
        for one in first[1:]:
            one.server.stop()
        second = others(base, first[0].server)
        for one in second[1:]:
            one.server.start()
        measure(second)
        beside = report(second)
        for one in second:
            one.server.stop()
        if os.geteuid() == 0:
            lab = unchanged(base)
        else:
            print("not root: the lab is left out")
    finally:
        for one in (*first, *second):
            one.server.stop()
            if one.backend is not None:
                one.backend.terminate()
                one.backend.wait()
        shutil.rmtree(base)
    line = {
        "bench": "radius",
        "ratios": {name: ratios[name] for name in AIMS},
        "beside": beside,
        "microseconds": {one.server.name: round(one.mean, 1) for one in (*first, *second)},
        "aims": AIMS,
        "within_aim": all(ratios[name] >= aim for name, aim in AIMS.items()),
        "lab": lab,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
