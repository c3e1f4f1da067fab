"""What goes wrong around the fence: ends in the middle, lost news, links that go; nothing ever opens.

Every test starts from a hospital whose tablets are free to join, and leaves it so.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest

from netguard.adapters import control

MEDIA = ("udp", "170.114.10.7", "8801")
PACS = ("tcp", "10.10.0.5", "104")
UNLISTED = ("tcp", "8.8.8.8", "443")


@pytest.fixture
def guard(hospital):
    """Ask guard."""
    path = hospital.settings.parent / "run" / "guard.sock"
    return lambda verb, **words: control.call(path, verb, 60.0, **words)


@pytest.fixture
def tablet(hospital):
    """Return t1, joined and with its address, beside a guard that runs."""
    assert hospital.join("t1")["answer"] == "accept"
    hospital.dhcp("t1")
    yield "t1"
    if hospital.pid("guard") is None:
        hospital.start("guard")


def wait_until(happened, patience=120.0):
    limit = monotonic() + patience
    while not happened():
        assert monotonic() < limit, "it did not happen"
        sleep(0.05)


def nothing_is_open(hospital, tablet):
    """I1 and I2: whatever has happened, this never passes."""
    for words in (PACS, UNLISTED):
        assert not hospital.probe(tablet, *words, "--timeout", "0.5")["ok"], words


def sound(hospital, tablet):
    """All is as it was: the listed passes, the rest does not, and status knows of nothing wrong."""
    wait_until(
        lambda: hospital.exec("gw", ["netguard", "status", "--json"]).returncode == 0, patience=60
    )
    assert hospital.probe(tablet, *MEDIA)["ok"]
    nothing_is_open(hospital, tablet)


def test_guard_and_its_loader_killed_at_any_moment_of_an_apply_open_nothing(
    hospital, tablet, guard, tmp_path
):
    """The copy in force is the old one or the new one, and the kernel holds one of them whole."""
    folder = hospital.settings.parent / f"edited-{tmp_path.name}"
    shutil.copytree(hospital.record.rules, folder)
    groups = folder / "groups.yaml"
    groups.write_text(groups.read_text().replace("deny: reject", "deny: drop"))
    turns = [folder, hospital.record.rules]
    try:
        for number, pause in enumerate((0.02, 0.08, 0.15, 0.25, 0.4, 0.6)):
            words = ["netguard", "apply", str(turns[number % 2])]
            apply = threading.Thread(target=hospital.exec, args=("gw", words))
            apply.start()
            sleep(pause)
            loaders = loading(hospital)
            hospital.kill("guard")
            for pid in loaders:
                end(pid)
            apply.join()
            nothing_is_open(hospital, tablet)
            table = hospital.exec("gw", ["nft", "list", "chain", "inet", "netguard", "forward"])
            assert "policy drop" in table.stdout
            hospital.start("guard")
            sound(hospital, tablet)
    finally:
        if hospital.pid("guard") is None:
            hospital.start("guard")
        assert hospital.exec("gw", ["netguard", "apply", hospital.record.rules]).returncode == 0


def loading(hospital):
    """Return the pids of the nft processes that guard has started."""
    pid = hospital.pid("guard")
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def test_a_stopped_guard_changes_nothing_for_tablets_and_repairs_when_it_goes_on(
    hospital, tablet, guard
):
    before = guard("status")["drifts"]
    hospital.kill("guard", signal.SIGSTOP)
    try:
        assert hospital.probe(tablet, *MEDIA)["ok"]
        assert hospital.join("t2")["answer"] == "accept"
        hospital.exec("gw", ["nft", "flush", "ruleset"])
        assert not hospital.probe(tablet, *MEDIA, "--timeout", "0.5")["ok"], "the belt"
        nothing_is_open(hospital, tablet)
    finally:
        hospital.kill("guard", signal.SIGCONT)
    wait_until(lambda: guard("status")["drifts"] > before)
    sound(hospital, tablet)


def test_news_that_was_lost_is_made_up_for_by_comparing(hospital, tablet, guard):
    """More transactions than the kernel keeps for a guard that stands still (ENOBUFS)."""
    before = guard("status")["drifts"]
    addresses = ", ".join(
        f"10.{a}.{b}.{c}" for a in range(4) for b in range(64) for c in range(250)
    )
    hospital.kill("guard", signal.SIGSTOP)
    try:
        flood = (
            "add table ip flood; add set ip flood s { type ipv4_addr; };"
            f" add element ip flood s {{ {addresses} }}"
        )
        file = hospital.settings.parent / "flood.nft"
        file.write_text(flood)
        for _ in range(3):
            done = hospital.exec("gw", ["nft", "-f", str(file)])
            assert done.returncode == 0, done.stderr
            hospital.exec("gw", ["nft", "delete", "table", "ip", "flood"])
        hospital.exec("gw", ["nft", "insert", "rule", "inet", "netguard", "forward", "accept"])
    finally:
        hospital.kill("guard", signal.SIGCONT)
    wait_until(lambda: guard("status")["drifts"] > before)
    assert guard("status")["drift"][-1]["repaired"]
    sound(hospital, tablet)


def test_a_renamed_link_opens_nothing_is_named_and_taken_back(hospital, tablet, guard):
    ip = ["ip", "link", "set"]
    hospital.exec("gw", [*ip, "tab0", "down"])
    hospital.exec("gw", [*ip, "tab0", "name", "other0"])
    hospital.exec("gw", [*ip, "other0", "up"])
    try:
        wait_until(lambda: "tab0 is missing" in guard("status")["problems"].get("network", ""))
        nothing_is_open(hospital, tablet)
        assert not hospital.probe(tablet, *MEDIA, "--timeout", "0.5")["ok"]
    finally:
        hospital.exec("gw", [*ip, "other0", "down"])
        hospital.exec("gw", [*ip, "other0", "name", "tab0"])
    sound(hospital, tablet)


def test_a_table_stands_before_a_link_comes_up_and_anything_is_forwarded(hospital, tablet, guard):
    """A boot: nothing of ours in the kernel, the tablets' link down, forwarding off."""
    hospital.kill("guard", signal.SIGTERM)
    for words in (
        ["nft", "flush", "ruleset"],
        ["ip", "rule", "del", "pref", "10"],
        ["ip", "link", "set", "tab0", "down"],
        ["sysctl", "-qw", "net.ipv4.ip_forward=0"],
    ):
        assert hospital.exec("gw", words).returncode == 0
    seen = subprocess.Popen(
        ["ip", "netns", "exec", hospital.layout.namespace("gw"), sys.executable, "-c", ORDER],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert seen.stdout is not None
    assert seen.stdout.readline() == "listening\n"
    hospital.start("guard")
    out, _ = seen.communicate(timeout=60)
    order = json.loads(out)
    assert order.index("table") < order.index("rule") < order.index("link up")
    assert order.index("link up") < order.index("forwarding")
    sound(hospital, tablet)


# Which came first: netlink hands out its news in the order of what happened, socket by socket; the table
# is asked for first each time, so that one that is there counts as earlier only if it was.
ORDER = textwrap.dedent("""
    import errno, json, select, socket, struct, time
    route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    route.bind((0, 1 | 1 << 7))
    nft = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    nft.bind((0, 1 << 6))
    print("listening", flush=True)
    order, end = [], time.monotonic() + 50
    def note(word):
        if word not in order:
            order.append(word)
    while time.monotonic() < end and "forwarding" not in order:
        select.select([route, nft], [], [], 0.002)
        while True:
            try:
                nft.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except OSError as error:
                # More news than there was room for is news of a table all the same.
                assert error.errno == errno.ENOBUFS
            note("table")
        forwarding = open("/proc/sys/net/ipv4/ip_forward").read().strip() == "1"
        while True:
            try:
                data = route.recv(1 << 16, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            kind = struct.unpack_from("=H", data, 4)[0]
            if kind == 32:
                note("rule")
            # RTM_NEWLINK with IFF_UP of a link that is not the loopback one.
            if kind == 16 and struct.unpack_from("=BxHiI", data, 16)[3] & 1 and b"tab0" in data:
                note("link up")
        if forwarding:
            note("forwarding")
    print(json.dumps(order))
""")


def test_a_ruleset_flushed_again_during_a_repair_is_repaired_and_ends_nobody(
    hospital, tablet, guard
):
    """Also between two looks of guard's at one table: it is there, and gone when it is read."""
    pid = hospital.pid("guard")
    for _ in range(6):
        count = guard("status")["drifts"]
        hospital.kill("guard", signal.SIGSTOP)
        hospital.exec("gw", ["nft", "flush", "ruleset"])
        hospital.kill("guard", signal.SIGCONT)
        wait_until(lambda count=count: guard("status")["drifts"] > count)
        # At once, while what follows a repair goes on.
        hospital.exec("gw", ["nft", "flush", "ruleset"])
        wait_until(lambda count=count: guard("status")["drifts"] > count + 1)
    wait_until(lambda: hospital.probe(tablet, *MEDIA, "--timeout", "1")["ok"])
    assert hospital.pid("guard") == pid
