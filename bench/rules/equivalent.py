"""One policy of many entries, written for netguard, aerleon and foomuuri; what each costs to check, compile, load.

An entry is a prefix that tablets may reach on two ports; ten of them make an app. Fifty-eight clinical
networks are dropped first. Each program runs in processes of its own, one after the other in each round,
and counts its own CPU; the kernel is that of namespaces which are made here and go again. aerleon comes
from requirements/peers.txt; foomuuri is measured where Debian has it (13), as `foomuuri check`, which checks,
compiles and writes the ruleset.
"""

import json
import resource
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
PEERS = HERE.parents[1] / ".cache" / "peers" / "bin" / "python"
CLINICS = [f"10.{number}.0.0/16" for number in range(2, 60)]
TABLETS = "10.96.0.0/16"
EACH = 10
ROUNDS = 5


def apps(entries: int) -> Iterator[tuple[int, list[str]]]:
    """Yield each app with its prefixes."""
    for number in range(entries // EACH):
        high, low = divmod(number, 250)
        yield number, [f"170.{high}.{low}.{16 * n}/28" for n in range(EACH)]


# netguard


def write_ours(folder: Path, entries: int) -> None:
    (folder / "services").mkdir(parents=True)
    (folder / "tests").mkdir()
    texts = {
        "netguard.yaml": "version: 1\norganisation: bench\nresolver: {upstream: [10.1.1.53]}\n",
        "protected.yaml": "protected:\n"
        + "".join(
            f"  clinic-{i}: {{networks: [{n}], owner: bench}}\n" for i, n in enumerate(CLINICS)
        ),
        "sites.yaml": "sites:\n  main:\n    time-zone: Europe/Paris\n    ssid: TABLETS\n    vlan: 640\n"
        f"    networks: [{TABLETS}]\n    gateway: [10.96.0.1]\n    interfaces: [tab0]\n    uplink: up0\n"
        "    ipv6: drop\n    nas:\n      wlc: {address: 10.1.2.10, vendor: other, "
        "message-authenticator: required, secret-file: wlc}\n    areas:\n      a: {edge: true, aps: [AP-1]}\n",
        "groups.yaml": "groups:\n  all:\n    allow: ["
        + ", ".join(f"app-{number}" for number, _ in apps(entries))
        + "]\n",
        "tests/all.yaml": "cases:\n  - {name: none, from: {group: all}, to: {protected: '*'}, expect: never}\n",
        "tablets.csv": "id,mac,group,home\nT-1,3c:28:6d:00:00:01,all,main/a\n",
        "allotted.csv": "site,id,address\nmain,T-1,10.96.0.16\n",
    }
    for number, prefixes in apps(entries):
        name = f"services/part-{number // 50:03}.yaml"
        texts.setdefault(name, "services:\n")
        texts[name] += (
            f"  app-{number}:\n    label: App {number}\n    networks: [{', '.join(prefixes)}]\n"
            f"    ports: [tcp/443, udp/{10000 + number}]\n    evidence: https://example.org\n"
            "    reviewed: 2026-11-20\n"
        )
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


# aerleon


def write_aerleon(folder: Path, entries: int) -> None:
    (folder / "def").mkdir(parents=True)
    networks: dict[str, object] = {"TABLETS": {"values": [{"address": TABLETS}]}}
    networks |= {f"CLINIC_{i}": {"values": [{"address": n}]} for i, n in enumerate(CLINICS)}
    services: dict[str, object] = {"WEB": [{"protocol": "tcp", "port": 443}]}
    clinics = " ".join(f"CLINIC_{i}" for i in range(len(CLINICS)))
    terms: list[dict[str, str]] = [
        {"name": "protected", "destination-address": clinics, "action": "deny"}
    ]
    for number, prefixes in apps(entries):
        networks[f"APP_{number}"] = {"values": [{"address": prefix} for prefix in prefixes]}
        services[f"MEDIA_{number}"] = [{"protocol": "udp", "port": 10000 + number}]
        terms += [
            {
                "name": f"app-{number}-{protocol}", "source-address": "TABLETS",
                "destination-address": f"APP_{number}", "destination-port": port,
                "protocol": protocol, "action": "accept",
            }
            for protocol, port in (("tcp", "WEB"), ("udp", f"MEDIA_{number}"))
        ]  # fmt: skip
    policy = {"filters": [{"header": {"targets": {"nftables": "inet forward"}}, "terms": terms}]}
    # JSON is YAML, and both readers take the same time for it.
    (folder / "def" / "all.yaml").write_text(
        json.dumps({"networks": networks, "services": services})
    )
    (folder / "policy.yaml").write_text(json.dumps(policy))


# foomuuri


def write_foomuuri(folder: Path, entries: int) -> None:
    for name in ("etc", "state", "run"):
        (folder / name).mkdir(parents=True)
    lines = ["zone {", "  localhost", "  tablets tab0", "  public up0", "}", "tablets-public {"]
    lines.append(f"  daddr {' '.join(CLINICS)} drop")
    for number, prefixes in apps(entries):
        listed = " ".join(prefixes)
        lines += [
            f"  tcp 443 daddr {listed} accept",
            f"  udp {10000 + number} daddr {listed} accept",
        ]
    lines += ["  reject", "}"]
    for pair in (
        "localhost-tablets",
        "localhost-public",
        "tablets-localhost",
        "public-localhost",
        "public-tablets",
    ):
        lines += [f"{pair} {{", "  drop", "}"]
    (folder / "etc" / "foomuuri.conf").write_text("\n".join(lines) + "\n")


def run_foomuuri(program: str, folder: Path, out: Path) -> dict[str, float]:
    words = [
        program,
        f"--set=etc_dir={folder}/etc",
        f"--set=state_dir={folder}/state",
        f"--set=run_dir={folder}/run",
    ]
    spent, _ = _cpu([*words, "check"])
    shutil.copy(folder / "state" / "next.fw", out)
    return {"check and compile, its whole process": spent}


# the run


def _cpu(words: list[str]) -> tuple[float, str]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{words[0]}: {done.stderr.strip()[-500:]}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, done.stdout


@contextmanager
def _namespace() -> Iterator[str]:
    name = f"ng-bench-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        # The first look at nftables in a namespace costs the kernel more than the others.
        subprocess.run(["ip", "netns", "exec", name, "nft", "list", "ruleset"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def _load(file: Path) -> float:
    with _namespace() as name:
        return _cpu(["ip", "netns", "exec", name, "nft", "-f", str(file)])[0]


def compare(base: Path, entries: int) -> dict[str, dict[str, float]]:
    """Return CPU seconds by program and stage, the median of all rounds."""
    here = base / f"equivalent-{entries}"
    write_ours(here / "netguard", entries)
    write_aerleon(here / "aerleon", entries)
    program = shutil.which("foomuuri")
    if program:
        write_foomuuri(here / "foomuuri", entries)
    times: dict[str, dict[str, list[float]]] = {}
    for _ in range(ROUNDS):
        for name, python in (("netguard", sys.executable), ("aerleon", str(PEERS))):
            out = here / f"{name}.nft"
            words = [python, str(HERE / f"as_{name}.py"), str(here / name), str(out)]
            whole, said = _cpu(words)
            _note(times, name, {**json.loads(said), "check and compile, its whole process": whole})
        if program:
            out = here / "foomuuri.nft"
            _note(times, "foomuuri", run_foomuuri(program, here / "foomuuri", out))
        for name in times:
            _note(times, name, {"load": _load(here / f"{name}.nft")})
    return {
        name: {stage: median(values) for stage, values in stages.items()}
        for name, stages in times.items()
    }


def _note(times: dict[str, dict[str, list[float]]], name: str, stages: dict[str, float]) -> None:
    for stage, value in stages.items():
        times.setdefault(name, {}).setdefault(stage, []).append(value)
