"""Where addresses and the time come from: our own servers, or the hospital's DHCP by relay."""

import shutil
import signal
from time import monotonic, sleep

import pytest

from netguard.adapters import control

MEDIA = ("udp", "170.114.10.7", "8801")
# The hospital's DHCP server, on the host of the clinical network, in the protected 10.10.0.0/16.
SERVER = "10.10.0.5"


@pytest.fixture
def guard(hospital):
    """Ask guard."""
    path = hospital.settings.parent / "run" / "guard.sock"
    return lambda verb, **words: control.call(path, verb, 60.0, **words)


def wait_until(happened, patience=30.0):
    limit = monotonic() + patience
    while not happened():
        assert monotonic() < limit, "it did not happen"
        sleep(0.1)


def test_a_tablet_gets_the_time_from_the_appliance_and_whoever_may_not_gets_none(hospital):
    assert hospital.join("t1")["answer"] == "accept"
    hospital.dhcp("t1")
    asked = hospital.probe("t1", "ntp", "time.android.com")
    assert asked["address"] == "10.99.0.1", "a time name is the gateway"
    assert (asked["ok"], asked["outcome"]) == (True, "stratum 10")
    assert not hospital.probe("t1", "ntp", "8.8.8.8", "--timeout", "1")["ok"]


@pytest.fixture
def external(hospital, tmp_path):
    """The same hospital, whose own DHCP serves the tablets: one server, routed to by the relay."""
    folder = hospital.settings.parent / f"edited-{tmp_path.name}"
    shutil.copytree(hospital.record.rules, folder)
    sites = folder / "sites.yaml"
    text = sites.read_text().replace(
        "    addresses: netguard\n", f"    addresses: external\n    dhcp-server: [{SERVER}]\n", 1
    )
    sites.write_text(text)
    hospital.exec("core", ["ip", "route", "add", "10.99.0.0/22", "via", "10.255.0.2"])
    file = tmp_path / "dnsmasq.conf"
    file.write_text(
        "port=0\nno-ping\ndhcp-authoritative\ninterface=eth0\nbind-interfaces\n"
        f"dhcp-leasefile={tmp_path}/leases\ndhcp-range=10.99.1.50,10.99.1.90,255.255.252.0,2m\n"
        "dhcp-option=option:router,10.99.0.1\ndhcp-option=option:dns-server,10.99.0.1\n"
    )
    pid = tmp_path / "pid"
    words = ["dnsmasq", f"--conf-file={file}", f"--pid-file={pid}", "--user=root"]
    assert hospital.exec("pacs", words).returncode == 0
    done = hospital.exec("gw", ["netguard", "apply", str(folder)], timeout=120)
    assert done.returncode == 0, done.stderr
    hospital.stop("dnsmasq")
    hospital.start("dnsmasq")
    yield hospital
    hospital.exec("pacs", ["kill", pid.read_text().strip()])
    done = hospital.exec("gw", ["netguard", "apply", hospital.record.rules], timeout=120)
    assert done.returncode == 0, done.stderr
    hospital.exec("core", ["ip", "route", "del", "10.99.0.0/22"])
    hospital.stop("dnsmasq")
    hospital.start("dnsmasq")
    (hospital.settings.parent / "state" / "leases.json").unlink(missing_ok=True)
    # What the hospital's server gave is nobody's from now on: the next test starts with a tablet
    # that has left, not with one that seems to be here and has an address of another network.
    hospital.exec("t1", ["ip", "addr", "flush", "dev", "wlan0", "scope", "global"])
    hospital.leave("t1")


def test_a_device_that_replaces_another_has_its_address_at_once(hospital):
    """The lease to the old MAC has twenty minutes to go; dnsmasq gives it up for the new one, and back."""
    rules, own = hospital.settings.parent / "rules-replaced", hospital.record.macs["t2"]
    shutil.copytree(hospital.record.rules, rules)
    tablets = rules / "tablets.csv"
    tablets.write_text(tablets.read_text().replace(own, "3c:28:6d:00:00:77"))

    def takes_over(folder, mac, other):
        done = hospital.exec("gw", ["netguard", "apply", str(folder)], timeout=120)
        assert done.returncode == 0, done.stderr
        # As systemd does for guard on an appliance.
        hospital.kill("dnsmasq", signal.SIGHUP)
        assert hospital.join("t2", mac=other)["answer"] == "reject"
        assert hospital.join("t2", mac=mac)["answer"] == "accept"
        hospital.exec("t2", ["ip", "addr", "flush", "dev", "wlan0", "scope", "global"])
        assert hospital.exec("t2", ["ip", "link", "set", "wlan0", "address", mac]).returncode == 0
        return hospital.dhcp("t2")

    assert hospital.join("t2")["answer"] == "accept"
    address = hospital.dhcp("t2")
    try:
        assert takes_over(rules, "3c:28:6d:00:00:77", own) == address
        assert hospital.probe("t2", *MEDIA)["ok"]
    finally:
        assert takes_over(hospital.record.rules, own, "3c:28:6d:00:00:77") == address
        shutil.rmtree(rules)


def test_an_address_of_the_hospitals_dhcp_is_learned_from_its_answer(external, guard):
    hospital = external
    assert hospital.join("t1")["answer"] == "accept"
    address = hospital.dhcp("t1")
    assert address.startswith("10.99.1.")
    wait_until(lambda: hospital.probe("t1", *MEDIA, "--timeout", "1")["ok"])
    # The name proxy is told after the kernel.
    wait_until(lambda: hospital.probe("t1", "tcp", "zoom.us", "443")["ok"])
    assert not hospital.probe("t1", "udp", SERVER, "104", "--timeout", "1")["ok"]
    # An address that no server has given is nobody's.
    hospital.exec("t1", ["ip", "addr", "add", "10.99.1.200/22", "dev", "wlan0"])
    hospital.exec(
        "t1", ["ip", "route", "replace", "default", "via", "10.99.0.1", "src", "10.99.1.200"]
    )
    assert not hospital.probe("t1", *MEDIA, "--timeout", "1")["ok"]
    hospital.exec("t1", ["ip", "route", "replace", "default", "via", "10.99.0.1", "src", address])
    assert hospital.probe("t1", *MEDIA)["ok"]
    # It holds over a restart of guard, and a stolen tablet is cut by it in both directions.
    hospital.kill("guard")
    hospital.start("guard")
    assert hospital.probe("t1", *MEDIA)["ok"]
    held = hospital.exec("gw", ["nft", "list", "set", "inet", "netguard", "bind4"]).stdout
    assert address in held
    assert hospital.exec("gw", ["netguard", "tablet", "T-001", "stolen"]).returncode == 0
    try:
        lost = hospital.exec("gw", ["nft", "list", "set", "inet", "netguard", "lost4"]).stdout
        assert address in lost
        assert not hospital.probe("t1", *MEDIA, "--timeout", "1")["ok"]
    finally:
        assert hospital.exec("gw", ["netguard", "tablet", "T-001", "found"]).returncode == 0


def test_an_answer_of_somebody_else_is_not_taken(external, guard):
    """A DHCPACK to our very port: from a host that no rule names, and as the control from the one it does."""
    hospital = external
    mac = hospital.record.macs["t1"].replace(":", "")
    python = str(hospital.settings.parent / "venv" / "bin" / "python")

    for host, address in (("dmz", "10.99.1.98"), ("pacs", "10.99.1.99")):
        done = hospital.exec(host, [python, "-c", FORGED, mac, address])
        assert done.returncode == 0, done.stderr

    def bound():
        return hospital.exec("gw", ["nft", "list", "set", "inet", "netguard", "bind4"]).stdout

    wait_until(lambda: "10.99.1.99" in bound())
    assert "10.99.1.98" not in bound()


FORGED = """
import socket, sys
body = bytes([2, 1, 6, 0]) + bytes(12) + socket.inet_aton(sys.argv[2]) + bytes(4)
body += socket.inet_aton("10.99.0.1") + bytes.fromhex(sys.argv[1]) + bytes(202)
body += bytes.fromhex("63825363 350105 330400000e10 ff")
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
wire.bind(("0.0.0.0", 67))
wire.sendto(body, ("10.99.0.1", 67))
"""
