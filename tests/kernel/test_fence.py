"""Changes of the plan in the kernel: groups and services forward and back, lost tablets both ways."""

import json
import sys
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from itertools import count, cycle

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netguard.core.denials import REASONS
from netguard.core.plan import compile_plan
from netguard.core.verdict import Flow
from netguard.render import nft_names, nftables

LEARNED = {"whatsapp": ["157.240.0.60"], "zoom": ["52.84.1.1"], "plumbing-push": ["157.240.0.60"]}
# A media server of an allowed service.
SERVER = ip_address("170.114.10.7")
PORTS = count(40001)


@pytest.fixture(scope="module")
def plan(example):
    # Every seventh tablet is gone, one state after the other.
    gone = sorted(example.tablets)[::7]
    states = dict(zip(gone, cycle(["lost", "stolen", "retired"]), strict=False))
    return compile_plan(example, ["pellegrin"], states)


def load(bench, plan, change=lambda text: text):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    text = nftables.render(plan)
    bench.nft(change(text))
    learn(bench)


def learn(bench):
    for service, addresses in LEARNED.items():
        for name in nft_names.learned_sets_of(service, 4):
            bench.nft(f"add element inet netguard {name} {{ {', '.join(addresses)} }}")


def marked(number):
    return b"NETGUARD" + number.to_bytes(4, "big")


def counted(bench, plan):
    rows = json.loads(bench.run(bench.gw, "nft", "-j", "list", "counters").stdout)["nftables"]
    rules = nftables.counters(plan)
    found = Counter()
    for row in (row["counter"] for row in rows if "counter" in row):
        rule = rules[row["name"]]
        reason = rule.rpartition("/")[2]
        found[reason if reason in REASONS else rule] += row["packets"]
    return +found


def test_a_change_of_groups_and_services_goes_forward_and_back(bench, example, plan):
    load(bench, plan)
    group = example.groups["patients"]
    smaller = compile_plan(
        replace(example, groups={**example.groups, "patients": replace(group, allow=("jitsi",))}),
        ["pellegrin"],
    )
    quiet = frozenset(nftables.learned_sets(plan)) | frozenset(nftables.learned_sets(smaller))

    def digest(what):
        code = (
            "import asyncio, sys, json\n"
            "from netguard.adapters import nft\n"
            "held = asyncio.run(nft.read('inet', 'netguard', frozenset(json.loads(sys.argv[1]))))\n"
            "print(json.dumps([held.digest, held.chains, held.sets, list(held.counters)]))"
        )
        done = bench.run(bench.gw, sys.executable, "-c", code, json.dumps(sorted(what)))
        return json.loads(done.stdout)

    first = digest(quiet)
    for wanted in (smaller, plan):
        _, chains, sets, counters = digest(quiet)
        stale = nftables.leftovers(wanted, chains, [tuple(s) for s in sets], counters)
        bench.nft(nftables.render(wanted, stale))
        again = digest(quiet)
        bench.nft(nftables.render(wanted, stale=[]))
        assert digest(quiet)[0] == again[0], "applied twice, something moved"
    assert digest(quiet)[0] == first[0], "forward and back is not where it started"


def test_a_table_that_goes_between_two_looks_is_one_that_is_not_there(bench):
    """nft lists the tables, then ours; here the first look is that of a moment ago."""
    bench.run(bench.gw, "nft", "flush", "ruleset")
    code = (
        "import asyncio\n"
        "from netguard.adapters import nft\n"
        "now = nft._tables\n"
        "async def before():\n"
        "    nft._tables = now\n"
        "    return [('inet', 'netguard')]\n"
        "nft._tables = before\n"
        "print(asyncio.run(nft.read('inet', 'netguard', frozenset())))"
    )
    assert bench.run(bench.gw, sys.executable, "-c", code).stdout == "None\n"


JUDGED = """
import asyncio, datetime, json, subprocess, sys
from pathlib import Path
from netguard.adapters import nft
from netguard.core.plan import compile_plan
from netguard.daemon.fence import Fence
from netguard.rules.folder import read_folder
from netguard.rules.load import load

folder, state, what = sys.argv[1:]
policy = load(read_folder(Path(folder)), today=datetime.date(2026, 7, 1)).policy

async def main():
    fence = Fence(Path(state))
    before, after = (compile_plan(policy, ["pellegrin"], lost) for lost in ({}, {"T-001": "stolen"}))
    await fence.bring(before)
    await fence.bring(after)  # elements alone: what the table is now, nobody has read yet
    if what != "nothing":
        subprocess.run(["nft", *what.split()], check=True)
    drift = await fence.judge(None, after)
    rules = subprocess.run(["nft", "list", "chain", "inet", "netguard", "forward"], capture_output=True, text=True)
    again = await fence.judge([], after, whole=True)
    print(json.dumps([drift is not None and drift.repaired, sum(line.strip() == "accept" for line in rules.stdout.splitlines()), again is None]))

asyncio.run(main())
"""


@pytest.mark.parametrize("what", ["nothing", "insert rule inet netguard forward accept"])
def test_a_table_that_nobody_has_read_since_is_not_trusted_once_news_was_lost(
    bench, tmp_path, what
):
    """Between a loan, which loads elements alone, and the next audit there is nothing to compare rules with."""
    bench.run(bench.gw, "nft", "flush", "ruleset")
    try:
        done = bench.run(bench.gw, sys.executable, "-c", JUDGED, "rules", str(tmp_path), what)
        repaired, accepting, settled = json.loads(done.stdout.splitlines()[-1])
    finally:
        bench.run(bench.gw, "nft", "flush", "ruleset")
        bench.run(bench.gw, "sh", "-c", "ip rule del pref 10; ip -6 rule del pref 10", check=False)
    assert repaired
    assert settled, "what was loaded anew is known"
    assert accepting == 0, "the rule of somebody else is gone"


WATCHED = (
    JUDGED.replace("    fence = Fence", "    monitor = nfnetlink.Monitor()\n    fence = Fence")
    .replace("fence.judge(None, after)", "fence.judge(monitor.changes(), after)")
    .replace("import nft\n", "import nfnetlink, nft\n")
)


@pytest.mark.parametrize("container", [(), ("unshare", "--pid", "--fork", "--mount-proc")])
@pytest.mark.parametrize("what", ["nothing", "insert rule inet netguard forward accept"])
def test_a_loan_is_no_change_by_somebody_else_also_in_a_container(bench, tmp_path, container, what):
    """The kernel names pids of the whole machine: in a container each theft raised NG-1403 as well."""
    bench.run(bench.gw, "nft", "flush", "ruleset")
    try:
        words = (*container, sys.executable, "-c", WATCHED, "rules", str(tmp_path), what)
        done = bench.run(bench.gw, *words)
        repaired, accepting, _ = json.loads(done.stdout.splitlines()[-1])
    finally:
        bench.run(bench.gw, "nft", "flush", "ruleset")
        bench.run(bench.gw, "sh", "-c", "ip rule del pref 10; ip -6 rule del pref 10", check=False)
    assert repaired == (what != "nothing")
    assert accepting == 0


def neighbours(bench):
    """Write the neighbours down, so that no ARP stands between a packet and its way."""
    mac = {}
    for name, host, device in (
        ("tablet", bench.tablet, "eth0"),
        ("tab0", bench.gw, "tab0"),
        ("up0", bench.gw, "up0"),
        ("outside", bench.outside, "eth0"),
    ):
        mac[name] = bench.run(host, "cat", f"/sys/class/net/{device}/address").stdout.strip()
    return mac


def reachable(bench, address, mac, device):
    words = ("ip", "neigh", "replace", address, "lladdr", mac, "dev", device, "nud", "permanent")
    bench.run(bench.gw, *words)


@pytest.mark.parametrize("masquerade", [False, True])
@pytest.mark.parametrize("state", ["lost", "stolen", "retired"])
def test_a_running_call_of_a_lost_tablet_ends_in_both_directions(
    bench, arrivals, example, state, masquerade
):
    site = replace(example.sites["pellegrin"], nat="masquerade" if masquerade else "none")
    policy = replace(example, sites={**example.sites, "pellegrin": site})
    plain = compile_plan(policy, ["pellegrin"])
    lost = compile_plan(policy, ["pellegrin"], {"T-001": state})
    ours, other = (next(b for b in plain.bindings if b.tablet == t) for t in ("T-001", "T-002"))
    # Flows of their own: the kernel remembers how it translated an earlier test's.
    port_of = {"T-001": next(PORTS), "T-002": next(PORTS)}
    mac = neighbours(bench)
    reachable(bench, "10.255.0.1", mac["outside"], "up0")
    for binding in (ours, other):
        reachable(bench, str(binding.address), mac["tablet"], "tab0")

    def outwards(number, binding):
        flow = Flow("tab0", binding.mac, binding.address, SERVER, "udp", 8801)
        head = Ether(src=str(flow.mac), dst=mac["tab0"])
        head /= IP(src=str(flow.source), dst=str(flow.destination))
        port = port_of[binding.tablet]
        return bytes(head / UDP(sport=port, dport=8801) / Raw(marked(number)))

    def inwards(number, binding):
        target = "10.255.0.2" if masquerade else str(binding.address)
        head = Ether(src=mac["outside"], dst=mac["up0"]) / IP(src=str(SERVER), dst=target)
        port = port_of[binding.tablet]
        return bytes(head / UDP(sport=8801, dport=port) / Raw(marked(number)))

    def works(binding):
        out = arrivals([outwards(1, binding)])
        back = arrivals([inwards(2, binding)], inwards=True)
        return out == {1}, back == {2}

    load(bench, plain)
    assert works(ours) == works(other) == (True, True)
    bench.nft(nftables.render(lost))
    assert works(ours) == (False, False)
    assert works(other) == (True, True), "another tablet must not notice"
    assert counted(bench, lost)["loan"] == 2
    # From outside first: nothing of its own has opened the way again.
    assert arrivals([inwards(3, ours)], inwards=True) == set()
    bench.nft(nftables.render(plain))
    assert works(ours) == (True, True)


def test_a_packet_from_outside_to_a_lost_tablet_never_passes(bench, arrivals, plan):
    """Also with a fault planted before it: its own rule holds, not the one for inbound flows."""
    mac = neighbours(bench)
    gone = plan.lost[0]
    reachable(bench, str(gone.address), mac["tablet"], "tab0")

    def open_inbound(text):
        changed = text.replace("counter name c_inbound drop", "accept")
        assert changed != text
        return changed

    head = Ether(src=mac["outside"], dst=mac["up0"]) / IP(src=str(SERVER), dst=str(gone.address))
    frames = [bytes(head / UDP(sport=8801, dport=4000) / Raw(marked(1)))]
    load(bench, plan, open_inbound)
    assert arrivals(frames, inwards=True) == set()
    bare = "ip daddr @lost4 goto x_loan"
    load(bench, plan, lambda text: open_inbound(text).replace(bare, ""))
    assert arrivals(frames, inwards=True) == {1}, "the packet never came: this shows nothing"
