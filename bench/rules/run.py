"""Rules of a large hospital: 10,000 tablets, 2,000 APs, 1,000 services read, checked and compiled.

Prints CPU seconds per stage. The peer of the same run is what a script without any check would do:
PyYAML's C loader on the same inventory as YAML, then ipaddress and netaddr on each value. One JSON
line at the end holds the ratios, which mean the same on any machine; the aim is at most one second
of CPU for reading, checking and compiling. At the end a kernel gets 10,000 tablets and 200 services,
and what it then holds is proved (aim: five seconds of CPU, without nft's own).
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
TABLETS, APS, SERVICES, GROUPS = 10_000, 2_000, 1_000, 20
# What is proved of a kernel, in a namespace of the bench's own.
LOADED_SERVICES = 200
ROUNDS = 5
AIM, LOADED_AIM = 1.0, 5.0
# The same policy written for others (equivalent.py); the aim is to be faster in each stage.
ENTRIES = (1_000, 10_000)

started = time.process_time()
import datetime  # noqa: E402

from netguard.core.cases import Case, Outcome, judge  # noqa: E402
from netguard.core.loaded import listing  # noqa: E402
from netguard.core.loaded.proof import prove as prove_loaded  # noqa: E402
from netguard.core.plan import compile_plan  # noqa: E402
from netguard.core.policy import Policy  # noqa: E402
from netguard.core.proof import prove  # noqa: E402
from netguard.render import nft_names, nftables  # noqa: E402
from netguard.rules.folder import read_folder  # noqa: E402
from netguard.rules.load import load  # noqa: E402

IMPORTS = time.process_time() - started

import ipaddress  # noqa: E402

import netaddr  # noqa: E402
import yaml  # noqa: E402
from equivalent import compare  # noqa: E402

TODAY = datetime.date(2026, 11, 22)


def mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x3C, 0x28, 0x6D, *number.to_bytes(3, "big")))


def address(site: int, number: int) -> str:
    return str(ipaddress.ip_address(f"10.{96 + site}.0.16") + number)


def tablets() -> list[dict[str, str]]:
    """Every second tablet lives at the first site; each belongs to one of the groups."""
    return [
        {
            "id": f"T-{number:05}",
            "mac": mac(number),
            "group": f"ward-{number % GROUPS}",
            "home": f"site-{number % 2}/area-{number % 50}",
            "model": "Pixel Tablet",
            "serial": f"S{number:08}",
            "address": address(number % 2, number),
        }
        for number in range(TABLETS)
    ]


def write(folder: Path, services: int = SERVICES) -> None:
    (folder / "services").mkdir(parents=True)
    (folder / "tests").mkdir()
    texts = {
        "netguard.yaml": "version: 1\norganisation: bench\nresolver: {upstream: [10.1.1.53]}\n",
        "protected.yaml": "protected:\n"
        + "".join(
            f"  clinic-{n}: {{networks: [10.{n}.0.0/16], owner: bench}}\n" for n in range(2, 60)
        ),
        "sites.yaml": "sites:\n" + "".join(site(number) for number in range(2)),
        "groups.yaml": "groups:\n"
        + "".join(group(number, services // GROUPS) for number in range(GROUPS)),
        "tests/all.yaml": "cases:\n"
        + "".join(
            f"  - {{name: ward {n}, from: {{group: ward-{n}}}, to: {{protected: '*'}}, expect: never}}\n"
            for n in range(GROUPS)
        ),
    }
    for first in range(0, services, 50):
        texts[f"services/part-{first:04}.yaml"] = "services:\n" + "".join(
            service(number) for number in range(first, first + 50)
        )
    rows = tablets()
    texts["tablets.csv"] = "\n".join([",".join(rows[0]), *(",".join(r.values()) for r in rows), ""])
    allotted = (f"site-{1 - n % 2},T-{n:05},{address(1 - n % 2, n)}" for n in range(TABLETS))
    texts["allotted.csv"] = "\n".join(["site,id,address", *allotted, ""])
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def site(number: int) -> str:
    each = APS // 2 // 50
    areas = "".join(
        f"      area-{area}: {{edge: {'true' if area < 2 else 'false'}, aps: ["
        + ", ".join(f"AP-{number}-{area:02}-{ap:02}" for ap in range(each))
        + "]}\n"
        for area in range(50)
    )
    return (
        f"  site-{number}:\n    time-zone: Europe/Paris\n    ssid: TABLETS\n    vlan: {640 + number}\n"
        f"    networks: [10.{96 + number}.0.0/16]\n    gateway: [10.{96 + number}.0.1]\n"
        f"    interfaces: [tab{number}]\n    uplink: up0\n    ipv6: drop\n    nas:\n"
        f"      wlc-{number}: {{address: 10.1.2.{number + 10}, vendor: other, "
        f"message-authenticator: required, secret-file: wlc-{number}}}\n    areas:\n{areas}"
    )


def service(number: int) -> str:
    high, low = divmod(number, 250)
    return (
        f"  app-{number}:\n    label: App {number}\n"
        f"    domains: [app-{number}.example.org, '*.app-{number}.example.net']\n"
        f"    networks: [170.{high}.{low}.0/24]\n    ports: [tcp/443, udp/{10000 + number}]\n"
        "    evidence: https://example.org/ports\n    reviewed: 2026-11-20\n"
    )


def group(number: int, each: int) -> str:
    allow = ", ".join(f"app-{n}" for n in range(number * each, (number + 1) * each))
    return (
        f"  ward-{number}:\n    allow: [{allow}]\n    hours: 07:00-22:00\n"
        "    rate: {down: 4Mbit, up: 2Mbit}\n"
    )


def peer(path: Path) -> None:
    """Read the inventory as most scripts do: no position, no check, no cross reference."""
    loaded = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)  # the safe one, in C
    for row in loaded["tablets"]:
        netaddr.EUI(row["mac"])
        ipaddress.ip_address(row["address"])


def timed(times: dict[str, list[float]], stage: str, work: Callable[[], object]) -> object:
    before = time.process_time()
    result = work()
    times.setdefault(stage, []).append(time.process_time() - before)
    return result


def run_cases(policy: Policy, cases: Sequence[Case]) -> list[Outcome]:
    return list(judge(policy, cases))


def measure(folder: Path, inventory: Path) -> dict[str, float]:
    times: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        read = timed(times, "read", partial(read_folder, folder, "rules"))
        loaded = timed(times, "load and check", partial(load, read, today=TODAY))
        if loaded.policy is None or loaded.findings:
            sys.exit("\n".join(finding.render() for finding in loaded.findings[:10]))
        policy = loaded.policy
        plan = timed(times, "compile", partial(compile_plan, policy, list(policy.sites)))
        timed(times, "render nftables", partial(nftables.render, plan))
        claims = timed(times, "prove", partial(prove, policy, plan))
        if not all(claim.holds for claim in claims):
            sys.exit("a sound plan was not proved")
        outcomes = timed(times, "cases", partial(run_cases, policy, loaded.cases))
        if not all(outcome.passed for outcome in outcomes):
            sys.exit("a case of the bench failed")
        timed(times, "peer: CSafeLoader, netaddr, ipaddress", partial(peer, inventory))
    return {stage: median(values) for stage, values in times.items()} | {
        "first load and check": times["load and check"][0]
    }


def in_kernel(folder: Path) -> dict[str, float]:
    """Load a plan into a namespace's kernel, and prove what that says it holds."""
    policy = load(read_folder(folder, "rules"), today=TODAY).policy
    if policy is None:
        sys.exit("the rules of the bench are not sound")
    plan = compile_plan(policy, list(policy.sites))
    name = f"ng-bench-{uuid.uuid4().hex[:8]}"
    inside = ["ip", "netns", "exec", name, "nft"]
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        text = nftables.render(plan)
        subprocess.run([*inside, "-f", "-"], input=text, text=True, check=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        listed = subprocess.run(
            [*inside, "-j", "list", "ruleset"], stdout=subprocess.PIPE, check=True
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)
    times: dict[str, list[float]] = {}
    body = timed(times, "loaded: parse JSON", partial(json.loads, listed.stdout))
    rows = timed(times, "loaded: read", partial(listing.read, body["nftables"]))
    learned = nftables.learned_sets(plan)
    held = partial(prove_loaded, policy, plan, rows, nft_names.TABLE, learned)
    claims = timed(times, "loaded: prove", held)
    if not all(claim.holds for claim in claims):
        sys.exit("\n".join(str(claim) for claim in claims if not claim.holds))
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"loaded: nft lists": spent, **{stage: value for stage, (value,) in times.items()}}


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("bench rules needs root: it makes a network namespace")
    base = Path(tempfile.mkdtemp(prefix="netguard-bench-"))
    try:
        write(base / "rules")
        inventory = base / "inventory.yaml"
        rows = "".join(f"  - {json.dumps(row)}\n" for row in tablets())
        inventory.write_text(f"tablets:\n{rows}", encoding="utf-8")
        seconds = measure(base / "rules", inventory)
        write(base / "fewer", LOADED_SERVICES)
        loaded = in_kernel(base / "fewer")
        beside = {entries: compare(base, entries) for entries in ENTRIES}
    finally:
        shutil.rmtree(base)
    print(f"{TABLETS} tablets, {APS} APs, {SERVICES} services, {GROUPS} groups; CPU seconds")
    print(f"  {'import (once per process)':40} {IMPORTS:6.3f}")
    for stage, value in seconds.items():
        print(f"  {stage:40} {value:6.3f}")
    ours = seconds["read"] + seconds["load and check"] + seconds["compile"]
    theirs = seconds["peer: CSafeLoader, netaddr, ipaddress"]
    print(f"  {'read, load, check, compile':40} {ours:6.3f}  aim {AIM}")
    for stage, value in loaded.items():
        print(f"  {stage:40} {value:6.3f}")
    proof = sum(value for stage, value in loaded.items() if "nft" not in stage)
    words = f"loaded: all of ours, {LOADED_SERVICES} services"
    print(f"  {words:40} {proof:6.3f}  aim {LOADED_AIM}")
    ratios = {"ours/peer": round(ours / theirs, 3)}
    for entries, programs in beside.items():
        mine = programs["netguard"]
        print(f"{entries} entries, the same policy; CPU seconds (ours / theirs, aim below 1)")
        for name, stages in programs.items():
            for stage, value in stages.items():
                ratio = f"{mine[stage] / value:6.2f}" if name != "netguard" else ""
                print(f"  {name:9} {stage:40} {value:6.3f}  {ratio}".rstrip())
                if ratio:
                    short = stage.partition(",")[0].replace(" ", "-")
                    ratios[f"{short}/{name}/{entries}"] = round(mine[stage] / value, 3)
    if "foomuuri" not in beside[ENTRIES[0]]:
        print("  foomuuri  not on this machine: Debian 13 has it")
    line = {
        "bench": "rules",
        "ratios": ratios,
        "seconds": {stage: round(value, 4) for stage, value in seconds.items()},
        "import": round(IMPORTS, 4),
        "aim": AIM,
        "within_aim": ours <= AIM,
        "loaded": {stage: round(value, 4) for stage, value in loaded.items()},
        "loaded_within_aim": proof <= LOADED_AIM,
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
