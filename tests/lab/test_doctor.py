"""`netguard doctor` in the example hospital: healthy it cries of nothing, each planted fault is found by its code.

Every fault is one that an engineer meets: a cable, a process, a route, a file. What else is cried
beside it fails the test: who is woken must be told one thing.
"""

import json
import os
import shutil
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from netguard.adapters import control
from netguard.lab import jail, world
from netguard.lab.hospital import Hospital
from netguard.lab.jail import Program
from netguard.lab.programs import program

RULES = Path(__file__).parents[2] / "rules"
CLOCK = "10.255.0.1"
CHRONY = """\
local stratum 3
allow all
cmdport 0
bindcmdaddress /
pidfile {folder}/timeserver.pid
"""


def doctor(hospital, *words):
    """Run it on the node; return what it cries of, everything it found by code, and the exit code."""
    done = hospital.exec("gw", ["netguard", "doctor", "--json", *words], timeout=60)
    assert done.stdout, done.stderr
    body = json.loads(done.stdout)
    cries = {f["code"] for f in body["findings"] if f["outcome"] in {"failed", "warning"}}
    found = {}
    for finding in body["findings"]:
        found.setdefault(finding["code"], []).append(finding)
    assert done.returncode == (0 if body["fine"] else 1)
    return cries, found


def sh(hospital, host, line):
    done = hospital.exec(host, ["sh", "-c", line])
    assert done.returncode == 0, f"{line}: {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """A hospital of its own, with a clock that its appliance follows."""
    rules = tmp_path_factory.mktemp("doctor") / "rules"
    shutil.copytree(RULES, rules)
    with (rules / "netguard.yaml").open("a") as file:
        file.write(f"\ntime: {{servers: [{CLOCK}]}}\n")
    lab = Hospital.up(f"d{os.getpid()}", rules, say=print)
    try:
        config = lab.layout.folder / "timeserver.conf"
        config.write_text(CHRONY.format(folder=lab.layout.folder))
        ours = program(lab.layout, lab.record, "chronyd")
        argv = (ours.argv[0], "-n", "-x", "-U", "-u", "root", "-f", str(config))
        jail.spawn(lab.layout, lab.record.token, Program("timeserver", "core", argv))
        # chronyd asks a server that did not answer again after a minute: it meets it at its start.
        lab.stop("chronyd")
        lab.start("chronyd")
        for tablet in world.TABLETS:
            lab.join(tablet)
            lab.dhcp(tablet)
        end = time.monotonic() + 60
        while doctor(lab)[0] and time.monotonic() < end:
            time.sleep(0.5)
        yield lab
    finally:
        lab.down()


def test_a_healthy_node_gives_no_finding(node):
    cries, found = doctor(node)
    assert not cries, {code: found[code] for code in cries}
    assert all(f["outcome"] == "ok" for rows in found.values() for f in rows), found
    # Every check of the node and its cables has spoken.
    assert {code for code in found if code < "NG-D3"} >= {
        *(f"NG-D10{n}" for n in range(1, 8)),
        *(f"NG-D11{n}" for n in range(7)),
        *(f"NG-D12{n}" for n in range(9)),
        *(f"NG-D20{n}" for n in range(1, 10)),
    }
    shown = node.exec("gw", ["netguard", "doctor"])
    assert (shown.returncode, shown.stdout) == (0, "")
    assert "ok" in shown.stderr


def test_whoever_may_not_look_is_told_so_and_nothing_is_cried(node):
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]
    done = node.exec("gw", [*nobody, "netguard", "doctor", "--json"])
    body = json.loads(done.stdout)
    found = {f["code"]: f for f in body["findings"] if f["outcome"] != "ok"}
    assert {f["outcome"] for f in found.values()} == {"not checked"}, found
    assert done.returncode == 1
    assert "try as root" in found["NG-D101"]["finding"]


@contextmanager
def killed(hospital, *processes, number=signal.SIGKILL):
    for process in processes:
        hospital.kill(process, number)
    try:
        yield
    finally:
        for process in processes:
            if number == signal.SIGSTOP:
                hospital.kill(process, signal.SIGCONT)
            else:
                hospital.start(process)


@contextmanager
def planted(hospital, host, plant, restore):
    sh(hospital, host, plant)
    try:
        yield
    finally:
        sh(hospital, host, restore)


def healthy_again(hospital):
    """Wait until what was repaired has been noticed by all."""
    end = time.monotonic() + 30
    while doctor(hospital)[0] and time.monotonic() < end:
        time.sleep(0.5)


def test_processes_that_are_dead_are_each_named(node):
    with killed(node, "dns", "watch", "freeradius", "dnsmasq", "chronyd"):
        cries, found = doctor(node)
        assert cries == {"NG-D102", "NG-D103", "NG-D104", "NG-D105", "NG-D106"}, found
        assert "systemctl restart netguard-dns" in found["NG-D102"][0]["mend"]
        assert "udp/67" in found["NG-D105"][0]["finding"]
        assert found["NG-D128"][0]["outcome"] == "not checked"
    healthy_again(node)


def test_guard_that_hangs_is_told_from_one_that_is_dead(node):
    with killed(node, "guard", number=signal.SIGSTOP):
        cries, found = doctor(node)
        assert cries == {"NG-D101"}, found
        assert "hangs" in found["NG-D101"][0]["finding"]
        assert str(node.pid("guard")) in found["NG-D101"][0]["finding"]


def test_what_was_changed_while_guard_is_dead_is_found_without_it(node):
    table = "nft list table inet netguard >/dev/null"
    with killed(node, "guard"):
        assert doctor(node)[0] == {"NG-D101"}
        sh(node, "gw", "sysctl -qw net.ipv4.ip_forward=0; ip rule del pref 10 iif tab0")
        sh(node, "gw", "nft add element inet netguard tablets { 'tab0' . 02:00:00:00:00:99 }")
        cries, found = doctor(node)
        assert cries == {"NG-D101", "NG-D111", "NG-D112", "NG-D113"}, found
        assert "IPv4 for tab0" in found["NG-D112"][0]["finding"]
        assert "net.ipv4.ip_forward is 0" in found["NG-D113"][0]["finding"]
        assert "tablets has" in found["NG-D111"][0]["finding"]
        sh(node, "gw", "ip addr del 10.99.0.1/22 dev tab0")
        cries, found = doctor(node)
        assert cries == {"NG-D101", "NG-D111", "NG-D112", "NG-D113", "NG-D202"}, found
        sh(node, "gw", "ip addr add 10.99.0.1/22 dev tab0")
        sh(node, "gw", "nft flush chain inet netguard nat_out")
        cries, found = doctor(node)
        assert cries == {"NG-D101", "NG-D111", "NG-D112", "NG-D113", "NG-D206"}, found
        sh(node, "gw", f"{table}; nft flush ruleset")
        cries, found = doctor(node)
        assert cries - {"NG-D102"} == {"NG-D101", "NG-D111", "NG-D112", "NG-D113"}, found
        # A name that is renewed just now finds no set to go into, and then the name proxy says just that.
        for said in found["NG-D102"] if "NG-D102" in cries else ():
            assert "the kernel takes no address" in said["finding"]
        assert found["NG-D206"][0]["outcome"] == "not checked"
    sh(node, "gw", "sysctl -qw net.ipv4.ip_forward=1")
    healthy_again(node)
    assert not doctor(node)[0]


@pytest.mark.parametrize(
    ("host", "plant", "restore", "code", "words"),
    [
        ("ap", "ip link set trunk640 down", "ip link set trunk640 up", "NG-D201", "no carrier"),
        (
            "t1",
            "ip addr add 10.99.0.1/32 dev wlan0",
            "ip addr del 10.99.0.1/32 dev wlan0",
            "NG-D203",
            "answers for 10.99.0.1 on tab0",
        ),
        (
            "core",
            "ip link set gw0 down",
            "ip link set gw0 up; ip route add 10.99.0.0/22 via 10.255.0.2 || true; "
            "ip route del 10.99.0.0/22",
            "NG-D204",
            "no carrier",
        ),
        (
            "gw",
            "ip route del default",
            "ip route add default via 10.255.0.1",
            "NG-D205",
            "no default route",
        ),
        (
            "gw",
            "ip route replace default via 10.255.0.2",
            "ip route replace default via 10.255.0.1",
            "NG-D205",
            "",
        ),
        (
            "core",
            "ip addr del 10.1.1.54/32 dev lo",
            "ip addr add 10.1.1.54/32 dev lo",
            "NG-D207",
            "10.1.1.54",
        ),
        (
            "core",
            "nft add table ip fw; nft 'add chain ip fw f { type filter hook forward priority 0; }'; "
            "nft add rule ip fw f ip daddr { CHAT } drop",
            "nft delete table ip fw",
            "NG-D209",
            "'whatsapp': silence",
        ),
        (
            "core",
            "nft add table ip fw; nft 'add chain ip fw f { type filter hook forward priority 0; }'; "
            "nft add rule ip fw f tcp dport 5222 ip daddr { CHAT } reject with icmp type admin-prohibited",
            "nft delete table ip fw",
            "NG-D209",
            "refused by 10.255.0.1",
        ),
        (
            "gw",
            "nft add table inet intruder; "
            "nft 'add chain inet intruder f { type filter hook forward priority -5; }'",
            "nft delete table inet intruder",
            "NG-D114",
            "inet intruder",
        ),
    ],
    ids=["side", "duplicate", "uplink", "no-route", "wrong-hop", "resolver", "dropped", "rejected",
         "foreign"],
)  # fmt: skip
def test_a_fault_is_found_by_its_code_alone(node, host, plant, restore, code, words):
    chat = {world.CHAT, *node.probe("core", "dns", "wa.me", "--server", "10.1.1.53")["addresses"]}
    with planted(node, host, plant.replace("CHAT", ", ".join(chat)), restore):
        cries, found = doctor(node)
        assert cries == {code}, found
        wrong = next(f for f in found[code] if f["outcome"] in {"failed", "warning"})
        assert words in wrong["finding"]
        assert wrong["mend"]


def test_the_panic_switch_is_named_alone_although_no_learned_address_goes_into_the_kernel(node):
    with planted(node, "gw", "netguard fence block", "netguard fence restore"):
        dns = node.settings.parent / "run" / "dns.sock"
        end = time.monotonic() + 60
        while "kernel" not in control.call(dns, "status")["problems"] and time.monotonic() < end:
            node.probe("t1", "dns", "zoom.us", "--timeout", "1")
        assert "kernel" in control.call(dns, "status")["problems"]
        cries, found = doctor(node)
        assert cries == {"NG-D110"}, found
        assert "panic switch" in found["NG-D110"][0]["finding"]
        wrong = json.loads(node.exec("gw", ["netguard", "status", "--json"]).stdout)["wrong"]
        assert wrong == [
            "the fence is blocked by hand, nothing of the tablets passes: netguard fence restore"
        ]
    healthy_again(node)


def test_a_clock_and_every_resolver_that_are_silent_are_named(node):
    timeserver = jail.recorded(node.layout, "timeserver").pid
    assert jail.send(node.record.token, timeserver, signal.SIGSTOP)
    try:
        with killed(node, "unbound"):
            cries, found = doctor(node)
    finally:
        jail.send(node.record.token, timeserver, signal.SIGCONT)
    assert cries == {"NG-D207", "NG-D208"}, found
    assert len(found["NG-D207"]) == 2
    assert "no resolver answers" in json.dumps(found["NG-D209"])
    healthy_again(node)


def test_without_nat_the_hospital_needs_a_route_back(node):
    sites = Path(node.record.rules) / "sites.yaml"
    before = sites.read_text()
    try:
        sites.write_text(before.replace("nat: masquerade", "nat: none", 1))
        sh(node, "gw", f"netguard apply {node.record.rules}")
        cries, found = doctor(node)
        assert cries == {"NG-D206"}, found
        assert "no route leads back to 10.99.0.0/22" in found["NG-D206"][0]["finding"]
        assert found["NG-D209"][0]["outcome"] == "not checked"
        with planted(
            node,
            "core",
            "ip route add 10.99.0.0/22 via 10.255.0.2",
            "ip route del 10.99.0.0/22",
        ):
            # Every host behind it has core as its router.
            cries, found = doctor(node)
            assert not cries, found
            assert "by a route to 10.99.0.0/22" in found["NG-D206"][0]["finding"]
    finally:
        sites.write_text(before)
        sh(node, "gw", f"netguard apply {node.record.rules}")
    healthy_again(node)


def test_files_that_are_not_as_they_must_be_are_named(node):
    folder = node.layout.folder
    secret = folder / "secrets" / "nas-wlc-1.conf"
    rule = Path(node.record.rules) / "groups.yaml"
    text, words = secret.read_text(), rule.read_text()
    node.settings.chmod(0o666)
    rule.write_text(words + "\n# an edit\n")
    secret.write_text("secret = testing123\n")
    try:
        cries, found = doctor(node)
        assert cries == {"NG-D120", "NG-D121", "NG-D122"}, found
        assert "everybody knows" in found["NG-D121"][0]["finding"]
        assert "testing123" not in json.dumps(found)
        secret.chmod(0o644)
        assert "everybody may read it" in doctor(node)[1]["NG-D121"][0]["finding"]
    finally:
        node.settings.chmod(0o644)
        rule.write_text(words)
        secret.write_text(text)
        secret.chmod(0o640)


def test_a_port_that_somebody_else_holds_is_named_with_its_holder(node):
    node.stop("dnsmasq")
    holder = node.exec(
        "gw",
        [
            "sh",
            "-c",
            'python3 -c "import socket,time; s=socket.socket(socket.AF_INET, socket.SOCK_DGRAM); '
            "s.bind(('0.0.0.0', 67)); time.sleep(60)\" >/dev/null 2>&1 & echo $!",
        ],
    ).stdout.strip()
    try:
        end = time.monotonic() + 10
        while ":0043 " not in sh(node, "gw", "cat /proc/net/udp") and time.monotonic() < end:
            time.sleep(0.05)
        cries, found = doctor(node)
        assert cries == {"NG-D105"}, found
        assert "held by root" in found["NG-D105"][0]["finding"]
    finally:
        os.kill(int(holder), signal.SIGKILL)
        node.start("dnsmasq")
    healthy_again(node)
