"""`netguard doctor radius` beside a real FreeRADIUS: what the lab's controller is set up wrong in is named."""

import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from netguard.lab import world
from netguard.lab.hospital import Hospital
from netguard.lab.nas import call

STRANGER = "10.1.2.99"
ASK = """
import os, socket
from netguard.core import radius
from netguard.lab import shapes
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("10.1.2.99", 0))
sent = shapes.attributes("hostapd", "3c:28:6d:aa:01:10", bssid="70:3a:0e:00:00:01", ap="x",
                         ssid="CHU-TABLETTES", nas="x", address=bytes(4))
for number in range(3):
    packet = radius.access_request(number, os.urandom(16), b"0123456789abcdef", sent, b"x")
    sock.sendto(packet, ("10.1.2.1", 1812))
"""


@pytest.fixture(scope="module")
def lab():
    lab = Hospital.up(f"e{os.getpid()}", say=print)
    try:
        for tablet in world.TABLETS:
            lab.join(tablet)
            lab.dhcp(tablet)
        yield lab
    finally:
        lab.down()


def listeners(lab):
    """How many packet sockets there are on the node."""
    return len(lab.exec("gw", ["cat", "/proc/net/packet"]).stdout.splitlines())


@contextmanager
def heard(lab, seconds, *words):
    """Listen while the block acts; then the list it yields holds what is cried of, and all by code."""
    before = listeners(lab)
    argv = ["netguard", "doctor", "radius", "--for", f"{seconds}s", "--json", *words]
    result = []
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lab.exec, "gw", argv, timeout=seconds + 60)
        end = time.monotonic() + 30
        # One for the ports, one for the tablets' interface.
        while listeners(lab) < before + 2 and time.monotonic() < end:
            time.sleep(0.05)
        yield result
        done = waiting.result()
    assert done.stdout, done.stderr
    body = json.loads(done.stdout)
    found = {}
    for finding in body["findings"]:
        found.setdefault(finding["code"], []).append(finding)
    cries = {f["code"] for f in body["findings"] if f["outcome"] in {"failed", "warning"}}
    result += [cries, found]


@pytest.fixture
def behaving(lab):
    """A controller that behaves again afterwards, with its tablets on the air."""
    yield lab
    lab.behave()
    for tablet in world.TABLETS:
        assert lab.join(tablet)["answer"] == "accept"


def test_a_controller_that_is_set_up_right_gives_no_finding(lab):
    with heard(lab, 8) as result:
        for tablet in world.TABLETS:
            lab.roam(tablet)
        lab.leave("t1")
        lab.join("t1")
    cries, found = result
    assert not cries, {code: found[code] for code in cries}
    assert "Error-Cause 503" in found["NG-D311"][0]["finding"]
    assert "made with our secret" in found["NG-D303"][0]["finding"]
    assert "every sender is a NAS" in found["NG-D302"][0]["finding"]
    stations = {each["host"]: each["state"] for each in lab.status()["stations"]}
    assert {stations[host] for host in world.TABLETS} == {"joined"}, "nobody was thrown off the air"


def test_no_signature_a_wrong_clock_and_a_closed_coa_port_are_named(behaving):
    behaving.behave(sign=0, ahead=40, disconnects=0)
    with heard(behaving, 8) as result:
        behaving.leave("t2")
        assert behaving.join("t1")["answer"] == "timeout"
    cries, found = result
    assert cries == {"NG-D304", "NG-D309", "NG-D311"}, found
    assert "drops them in silence" in found["NG-D304"][0]["finding"]
    # Event-Timestamp counts in whole seconds.
    assert re.search(r"\+(39|40) s off", found["NG-D309"][0]["finding"])
    assert "udp/3799 is closed" in found["NG-D311"][0]["finding"]
    assert "dynamic-author" in found["NG-D311"][0]["mend"]


def test_another_secret_is_named_and_its_own_is_not_told(behaving):
    behaving.behave(secret="another-secret-of-theirs")
    with heard(behaving, 10) as result:
        behaving.leave("t2")
        assert behaving.join("t1")["answer"] == "timeout"
    cries, found = result
    # With another secret it does not take our Disconnect either: in silence, as RFC 5176 wants it.
    assert cries == {"NG-D303", "NG-D311"}, found
    assert "another secret than ours" in found["NG-D303"][0]["finding"]
    assert "another-secret" not in json.dumps(found)


def test_no_ssid_and_a_stranger_are_named(behaving):
    python = str(behaving.layout.folder / "venv" / "bin" / "python")
    assert (
        behaving.exec("ap", ["ip", "addr", "add", f"{STRANGER}/24", "dev", "mgmt0"]).returncode == 0
    )
    behaving.behave(name_ssid=0)
    try:
        with heard(behaving, 6, "--no-probe") as result:
            # No SSID is no ground to reject: that is why it has to be said.
            assert behaving.join("t1")["answer"] == "accept"
            done = behaving.exec("ap", [python, "-c", ASK])
            assert done.returncode == 0, done.stderr
    finally:
        behaving.exec("ap", ["ip", "addr", "del", f"{STRANGER}/24", "dev", "mgmt0"])
    cries, found = result
    assert cries == {"NG-D302", "NG-D305"}, found
    assert STRANGER in found["NG-D302"][0]["finding"]
    assert "call-station-id ap-macaddress-ssid" in found["NG-D305"][0]["mend"]
    assert "NG-D311" not in found


def test_no_accounting_and_no_isolation_are_named(behaving):
    behaving.behave(account=0)
    # A switch that floods shows us what goes from tablet to tablet.
    open_ = "bridge link set dev p-{} isolated off; ip link set br640 type bridge ageing_time {}"
    shut = "bridge link set dev p-{} isolated on; ip link set br640 type bridge ageing_time {}"
    with heard(behaving, 20) as result:
        for tablet in ("t1", "t2"):
            assert behaving.join(tablet)["answer"] == "accept"
            behaving.dhcp(tablet)
            behaving.exec("ap", ["sh", "-c", open_.format(tablet, 0)])
        address = behaving.exec("t2", ["ip", "-j", "-4", "addr", "show", "dev", "wlan0"]).stdout
        other = json.loads(address)[0]["addr_info"][0]["local"]
        assert behaving.probe("t1", "udp", other, "9", "--timeout", "1")
    for tablet in ("t1", "t2"):
        behaving.exec("ap", ["sh", "-c", shut.format(tablet, 30000)])
    cries, found = result
    assert cries == {"NG-D307", "NG-D312"}, found
    assert "no accounting came" in found["NG-D307"][0]["finding"]
    assert "T-001 to T-002" in json.dumps(found["NG-D312"]) or "T-002 to T-001" in json.dumps(
        found["NG-D312"]
    )
    assert "peer-blocking" in found["NG-D312"][0]["mend"]


def test_ctrl_c_gives_what_was_heard_so_far(lab):
    before = listeners(lab)
    words, environment = lab._command(
        "gw", ["netguard", "doctor", "radius", "--for", "10m", "--no-probe"]
    )
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    end = time.monotonic() + 30
    while listeners(lab) < before + 2 and time.monotonic() < end:
        time.sleep(0.05)
    # A socket begins by throwing away what came before its filter: what comes in that moment, too.
    time.sleep(0.5)
    lab.roam("t1")
    # nsenter, unshare and sh have become the command itself: its number is the process's.
    process.send_signal(2)
    out, err = process.communicate(timeout=30)
    assert "lab-1:" in err, err
    assert process.returncode == 1, "interim updates were not seen"
    assert "NG-D308" in out
    assert listeners(lab) == before


def test_a_real_session_is_ended_by_a_disconnect_and_only_that_one(lab):
    """The fake controller keeps hostapd's contract: what the probe relies on is really so."""
    station = next(each for each in lab.status()["stations"] if each["host"] == "t3")
    code = f"""
import time
from pathlib import Path
from netguard.adapters import clock, machine, radius_client
from netguard.core import radius
secret = machine.radius_secret(Path("{lab.layout.folder}/secrets/nas-wlc-1.conf"))
stamp = radius.number(55, int(clock.now().timestamp()))
mac = radius.text(31, "{station["mac"]}")
for sent in ((mac,), (mac, stamp, radius.number(6, 1)), (mac, stamp), (mac, stamp)):
    print(radius_client.disconnect_nobody(("10.1.2.10", 3799), secret, sent, 0.5))
    time.sleep(1)
"""
    python = str(lab.layout.folder / "venv" / "bin" / "python")
    done = lab.exec("gw", [python, "-c", code])
    assert done.stdout.splitlines() == [
        "('silent', None)",
        "('nak', 401)",
        "('ack', None)",
        "('nak', 503)",
    ]
    after = {
        each["host"]: each["state"] for each in call(lab.layout.socket("nas"), "status")["stations"]
    }
    assert (after["t3"], after["t2"]) == ("away", "joined")
    assert lab.join("t3")["answer"] == "accept"
