"""Intake: durable events a second from event log to state, beside what FreeRADIUS writes in the same run.

    make bench-intake

FreeRADIUS with our configuration answers accounting as fast as it can; then watch's intake reads what it
wrote: read, decode, store with fsync, tell the engine. Beside it FreeRADIUS' own SQL accounting into
SQLite and PostgreSQL (freeradius-postgresql, postgresql), one statement a record, as its packages ship
it. What is not installed is left out and said. The engine alone, with everything learned, is measured by bench/engine
and shown beside them. Ends with one line of JSON.
"""

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import date
from pathlib import Path

from netguard.core import radius
from netguard.core.plan import compile_plan
from netguard.core.radius import Status, Type
from netguard.daemon.intake import Intake
from netguard.lab import shapes
from netguard.render import freeradius, radius_hours
from netguard.render import watch as watch_file
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.rules.messages import lines
from netguard.settings import Paths, Settings

ROOT = Path(__file__).parents[2]
# What starts servers is bench/radius', a folder of scripts.
sys.path.insert(0, str(ROOT / "bench" / "radius"))
servers = importlib.import_module("servers")

RECORDS, OUTSTANDING = 6000, 64
# The log is read so many times over, as if so many servers had written it.
COPIES = 10
# A commit for each record takes its time.
SOME = 600
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:]
SCHEMA = """\
CREATE TABLE radacct (radacctid {serial}, acctsessionid text, acctuniqueid text UNIQUE, username text,
 nasipaddress text, callingstationid text, calledstationid text, acctstarttime bigint, acctupdatetime bigint,
 acctstoptime bigint, acctterminatecause text);
"""
SQL = """\
	expr {{
	}}
	sql {{
		driver = "rlm_sql_{driver}"
		dialect = "{driver}"
{connect}
		acct_table1 = "radacct"
		acct_table2 = "radacct"
		read_clients = no
		pool {{
			start = 4
			min = 1
			max = 4
			spare = 1
		}}
		accounting {{
			reference = "%{{tolower:type.%{{Acct-Status-Type}}.query}}"
			type {{
				start {{
					query = "INSERT INTO radacct (acctsessionid, acctuniqueid, username, nasipaddress, callingstationid, calledstationid, acctstarttime, acctupdatetime) VALUES ('%{{Acct-Session-Id}}', '%{{Acct-Session-Id}}', '%{{User-Name}}', '%{{NAS-IP-Address}}', '%{{Calling-Station-Id}}', '%{{Called-Station-Id}}', %l, %l)"
				}}
				interim-update {{
					query = "UPDATE radacct SET acctupdatetime = %l WHERE acctuniqueid = '%{{Acct-Session-Id}}'"
				}}
				stop {{
					query = "UPDATE radacct SET acctstoptime = %l, acctterminatecause = '%{{Acct-Terminate-Cause}}' WHERE acctuniqueid = '%{{Acct-Session-Id}}'"
				}}
			}}
		}}
	}}"""
LISTEN = """
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = %d
	}
	accounting {
		sql
	}
"""


def records(policy) -> list[bytes]:
    """Make the packets of many sessions: Start, Interim-Update, Stop."""
    tablets = [str(t.mac) for t in policy.tablets.values() if t.home[0] == "pellegrin"]
    aps = [ap for area in policy.sites["pellegrin"].areas.values() for ap in area.aps]
    made = []
    for number in range(RECORDS):
        session, step = divmod(number, 3)
        place = shapes.attributes(
            "meraki", tablets[session % len(tablets)], bssid="70:3a:0e:00:00:01",
            ap=aps[session % len(aps)], ssid="CHU-TABLETTES", nas="wlc-1", address=b"\x7f\0\0\1",
        )  # fmt: skip
        status = (Status.START, Status.INTERIM_UPDATE, Status.STOP)[step]
        attributes = (
            *place,
            radius.number(Type.ACCT_STATUS_TYPE, status),
            radius.text(Type.ACCT_SESSION_ID, f"{session:08x}"),
            radius.number(Type.ACCT_INPUT_PACKETS, number),
        )
        made.append(radius.accounting_request(number % 256, servers.SECRET, attributes))
    return made


def blast(port: int, packets: list[bytes]) -> float:
    """Send all, at most so many unanswered at once; returns answers a second."""
    waiting: dict[int, tuple[bytes, float]] = {}
    left, answered = iter(packets), 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.connect(("127.0.0.1", port))
        nas.settimeout(0.2)
        start = time.perf_counter()
        while answered < len(packets):
            while len(waiting) < OUTSTANDING and (packet := next(left, None)) is not None:
                waiting[packet[1]] = packet, time.perf_counter()
                nas.send(packet)
            try:
                if waiting.pop(nas.recv(4096)[1], None) is not None:
                    answered += 1
            except TimeoutError:
                for packet, _ in waiting.values():
                    nas.send(packet)
            if time.perf_counter() - start > 20:
                break
        if answered < len(packets) / 10:
            sys.stderr.write(f"only {answered} of {len(packets)} records were answered\n")
            return 0.0
        return answered / (time.perf_counter() - start)


def ours(base: Path, policy, packets: list[bytes]) -> tuple[float, float, int]:
    """Return lines a second that FreeRADIUS writes, events a second that intake takes, and how many."""
    plan = compile_plan(policy, ["pellegrin"])
    server = servers.whole(
        "ours", base, freeradius.tablets(plan), freeradius.areas(plan), radius_hours.hours(plan)
    )
    server.start()
    try:
        written = blast(int(server.environment["NETGUARD_RADIUS_ACCT_PORT"]), packets)
    finally:
        server.stop()
    (log,) = (server.folder / "log").glob("events-*.log")
    data = log.read_bytes()
    folder = base / "watch"
    for part in ("log", "state"):
        (folder / part).mkdir(parents=True)
    (folder / "log" / log.name).write_bytes(data * COPIES)
    text = watch_file.render(policy, "x", ("pellegrin",), {}, {}, lines())
    (folder / "state" / "watch.json").write_text(text)
    paths = Paths(state=folder / "state", run=folder, radius_log=folder / "log")
    intake = Intake(replace(Settings("n", ("pellegrin",)), paths=paths))
    intake.open()
    taken, start = 0, time.perf_counter()
    while found := len(intake.take().records):
        taken += found
    seconds = time.perf_counter() - start
    told = intake.told
    intake.close()
    # One that was sent twice is written twice.
    wanted = data.count(b"\n") * COPIES
    if told < wanted or wanted < 0.99 * len(packets) * COPIES:
        sys.exit(f"only {told} of {wanted} events reached the engine")
    return written, taken / seconds, told


def sqlite(base: Path, packets: list[bytes]) -> float | None:
    """Return records a second of rlm_sql into SQLite."""
    if not Path("/usr/lib/freeradius/rlm_sql_sqlite.so").exists():
        return None
    folder = base / "sqlite"
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])",
         folder / "radius.db", SCHEMA.format(serial="integer primary key")],
        check=True,
    )  # fmt: skip
    for path in (folder, folder / "radius.db"):
        os.chown(path, servers.NOBODY, servers.NOBODY)
    connect = (
        f'\t\tsqlite {{\n\t\t\tfilename = "{folder}/radius.db"\n\t\t\tbusy_timeout = 2000\n\t\t}}'
    )
    return sql(base, "sqlite", connect, packets)


def postgresql(base: Path, packets: list[bytes]) -> float | None:
    """Return records a second of rlm_sql into a PostgreSQL of this run's own."""
    if not POSTGRES or not Path("/usr/lib/freeradius/rlm_sql_postgresql.so").exists():
        return None
    folder = base / "pg"
    folder.mkdir()
    os.chown(folder, servers.NOBODY, servers.NOBODY)
    port, tools = servers.free_port(), POSTGRES[0]
    drop = ["setpriv", f"--reuid={servers.NOBODY}", f"--regid={servers.NOBODY}", "--clear-groups"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    data = folder / "data"
    words = [*drop, tools / "initdb", "-D", data, "-U", "radius", "-A", "trust", "-N"]
    subprocess.run(words, check=True, **quiet)
    options = f"-k {folder} -p {port} -c listen_addresses=127.0.0.1 -c fsync=on"
    control = [*drop, tools / "pg_ctl", "-D", data, "-w", "-o", options]
    subprocess.run([*control, "start"], check=True, timeout=60, **quiet)
    try:
        psql = [
            *drop,
            tools / "psql",
            "-h",
            folder,
            "-p",
            str(port),
            "-U",
            "radius",
            "-d",
            "postgres",
        ]
        schema = SCHEMA.format(serial="serial primary key")
        subprocess.run([*psql, "-c", schema], check=True, timeout=60, **quiet)
        connect = (
            f'\t\tserver = "127.0.0.1"\n\t\tport = {port}\n\t\tlogin = "radius"\n'
            '\t\tpassword = ""\n\t\tradius_db = "postgres"'
        )
        return sql(base, "postgresql", connect, packets)
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=False, timeout=60, **quiet)


def sql(base: Path, driver: str, connect: str, packets: list[bytes]) -> float:
    """Return records a second of a plain FreeRADIUS with rlm_sql."""
    module = SQL.format(driver=driver, connect=connect)
    server = servers.plain(f"sql-{driver}", base, module.replace("{", "{{").replace("}", "}}"), "")
    port = servers.free_port()
    path = server.folder / "radiusd.conf"
    text = path.read_text()
    head, end, _ = text.rpartition("}")
    path.write_text(head + LISTEN % port + end + "\n")
    server.start()
    try:
        return blast(port, packets)
    finally:
        server.stop()


def engine_alone() -> dict[str, object]:
    """Return what bench/engine says: events a second with everything learned."""
    words = [sys.executable, ROOT / "bench" / "engine" / "run.py"]
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print."""
    policy = load(read_folder(ROOT / "rules", "rules"), today=date(2026, 11, 22)).policy
    base = Path(tempfile.mkdtemp(prefix="netguard-bench-"))
    base.chmod(0o755)
    try:
        packets = records(policy)
        written, taken, told = ours(base, policy, packets)
        some = packets[:SOME]
        peers = {"sqlite": sqlite(base, some), "postgresql": postgresql(base, some)}
    finally:
        shutil.rmtree(base)
    engine = engine_alone()
    print(f"{RECORDS} records through FreeRADIUS, {told} events to the engine; a second")
    print(f"  {'intake: log to state, durable':40} {taken:9.0f}")
    print(f"  {'FreeRADIUS: our event log':40} {written:9.0f}")
    ratios = {"intake/freeradius": round(taken / written, 2)}
    for name, value in peers.items():
        shown = f"{value:9.0f}" if value else "  not installed or did not answer, left out"
        print(f"  {'FreeRADIUS: rlm_sql, ' + name:40} {shown}")
        if value:
            ratios[f"intake/sql-{name}"] = round(taken / value, 2)
    print(f"  {'the engine alone, all learned':40} {engine['events_per_second']:9.0f}")
    line = {
        "bench": "intake", "ratios": ratios, "engine": engine["events_per_second"], "engine_aim": engine["aim"], "intake": round(taken), "freeradius": round(written),
        "aim": 2.0, "within_aim": taken >= 2 * written and engine["within_aim"],
    }  # fmt: skip
    print(json.dumps(line))


if __name__ == "__main__":
    main()
