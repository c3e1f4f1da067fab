"""A tablet in quarantine: kernel, FreeRADIUS, the controller, and the proof; and back. With real parts and real seconds.

The controller is the lab's, which takes Disconnects as hostapd does and keeps an admission for half a minute as
hostapd does.
"""

import json
import shutil
import sqlite3
import threading
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

from netguard.adapters import control
from netguard.core.removal import AGAIN, DISCONNECT, DONE, FAILED, KERNEL, PROOF, RADIUS

MEDIA = ("udp", "170.114.10.7", "8801")
# The cache of the NAS, what is watched after it, and a machine that is busy.
OFF_THE_AIR = 120.0


@pytest.fixture
def guard(hospital):
    """Ask guard."""
    path = hospital.settings.parent / "run" / "guard.sock"
    return lambda verb, **words: control.call(path, verb, 60.0, **words)


@pytest.fixture
def tablet(hospital, netguard):
    """Return t1, joined, with its address; whatever is said of it in the test is taken back."""
    assert netguard("release", "T-001").returncode == 0
    assert netguard("tablet", "T-001", "found").returncode == 0
    assert hospital.join("t1")["answer"] == "accept"
    hospital.dhcp("t1")
    assert reaches(hospital)
    yield "t1"
    if hospital.pid("guard") is None:
        hospital.start("guard")
    hospital.behave()
    assert netguard("release", "T-001").returncode == 0
    assert netguard("tablet", "T-001", "found").returncode == 0


def reaches(hospital, tablet="t1"):
    return hospital.probe(tablet, *MEDIA, "--timeout", "1")["ok"]


def station(hospital, host="t1"):
    return next(each for each in hospital.status()["stations"] if each["host"] == host)


def state_of(guard, name):
    removal = guard("tablet", tablet="T-001")["removal"]
    return next(step for step in removal["steps"] if step["step"] == name)


def until(what, seconds=OFF_THE_AIR):
    end = monotonic() + seconds
    while not (seen := what()):
        assert monotonic() < end, "it did not happen"
        sleep(0.2)
    return seen


def settled(hospital):
    until(lambda: hospital.exec("gw", ["netguard", "status", "--json"]).returncode == 0, 40.0)


def test_from_the_kernel_to_the_proof_and_back(hospital, netguard, guard, tablet):
    hospital.join("t2")
    hospital.dhcp("t2")
    before = guard("status")["coa"]
    done = netguard("quarantine", "T-001", "--why", "sends spam", "--by", "alice", "--json")
    assert done.returncode == 0, done.stderr
    assert not reaches(hospital), "the kernel does not wait for anybody"
    assert reaches(hospital, "t2"), "another tablet must not notice"
    until(lambda: station(hospital)["state"] == "away", 20.0)
    answer = hospital.join("t1")
    site = json.loads((hospital.settings.parent / "nas.json").read_text())
    assert (answer["answer"], answer["vlan"]) == ("accept", 641), site["vlans"]
    assert not reaches(hospital), "its VLAN leads nowhere"
    shown = netguard("quarantine", "T-001", "--why", "sends spam", "--by", "alice", "--wait")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "it was so already" in shown.stdout
    for word in (KERNEL, RADIUS, DISCONNECT, AGAIN, PROOF):
        assert f"{word:10} ok" in shown.stdout
    sent = {tuple(row[:3]): row[3] for row in guard("status")["coa"]}
    assert sent["wlc-1", "disconnect", "sent"] >= 2
    assert sent["wlc-1", "disconnect", "ack"] >= 1
    assert before != guard("status")["coa"]
    known = netguard("tablet", "T-001").stdout
    assert "in quarantine since" in known
    assert "refused everywhere" in known
    assert "T-001" in netguard("quarantine").stdout
    with urlopen(f"{hospital.web}/metrics", timeout=10) as page:
        metrics = page.read().decode()
    assert 'netguard_coa_requests_total{kind="disconnect",nas="wlc-1",outcome="ack"}' in metrics
    assert "netguard_quarantined 1.0" in metrics
    back = netguard("release", "T-001", "--note", "cleaned", "--by", "bob")
    assert back.stdout == "T-001 is released\n"
    assert hospital.join("t1")["vlan"] == 640
    hospital.dhcp("t1")
    assert reaches(hospital)
    audit = json.loads(netguard("audit", "--subject", "T-001", "--json").stdout)["audit"]
    verbs = [line["verb"] for line in audit]
    assert verbs[:3] == ["release", "off-the-air", "quarantine"]
    assert (audit[0]["who"], audit[2]["who"]) == ("bob", "alice")
    assert netguard("release", "T-001").stdout == "T-001 was not in quarantine\n"


def test_lost_is_thrown_off_the_air_too_and_rejected(hospital, netguard, guard, tablet):
    assert netguard("lost", "T-001").returncode == 0
    until(lambda: station(hospital)["state"] == "away", 20.0)
    assert hospital.join("t1")["answer"] == "reject"
    assert "ack" in state_of(guard, DISCONNECT)["why"]
    assert netguard("found", "T-001").returncode == 0
    assert guard("tablet", tablet="T-001")["removal"] is None


def test_a_controller_that_takes_nothing_is_named_and_alerted_while_the_kernel_holds(
    hospital, netguard, guard, tablet
):
    hospital.behave(secret="another secret, of 24 ch")
    assert netguard("quarantine", "T-001", "--why", "test").returncode == 0
    assert not reaches(hospital)
    failed = until(lambda: (s := state_of(guard, DISCONNECT))["state"] == FAILED and s)
    assert failed["why"].startswith("wlc-1: silent")
    assert "T-001 may still be on the air, disconnect: wlc-1: silent" in netguard("status").stdout

    def told():
        rows = json.loads(netguard("alerts", "--json").stdout)["alerts"]
        return [row for row in rows if row["code"] == "NG-1109" and row["tablet"] == "T-001"]

    until(told)
    hospital.behave()
    # Its next try, half a minute later, is taken; then nothing more is heard.
    until(lambda: state_of(guard, AGAIN)["state"] == DONE)


def test_killed_at_any_moment_it_goes_on_with_the_step_that_is_due(
    hospital, netguard, guard, tablet
):
    for pause in (0.05, 0.3, 1.0, 3.0):
        words = ("quarantine", "T-001", "--why", f"killed after {pause}")
        change = threading.Thread(target=netguard, args=words)
        change.start()
        sleep(pause)
        hospital.kill("guard")
        change.join()
        hospital.start("guard")
        settled_quarantine = {row["tablet"] for row in guard("quarantines")["quarantines"]}
        if "T-001" not in settled_quarantine:
            assert reaches(hospital), "neither stored nor in force"
            continue
        until(lambda: state_of(guard, KERNEL)["state"] == DONE, 30.0)
        assert not reaches(hospital)
        until(lambda: state_of(guard, DISCONNECT)["state"] == DONE, 40.0)
        until(lambda: station(hospital)["state"] == "away", 10.0)
    assert "T-001" in {row["tablet"] for row in guard("quarantines")["quarantines"]}


def test_killed_after_the_store_the_next_start_finishes_all_steps(hospital, guard, tablet):
    hospital.kill("guard")
    path = hospital.settings.parent / "state" / "guard.db"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "INSERT INTO quarantine VALUES ('T-001', '2026-01-01T00:00:00+00:00', 'alice', 'x', '', '')"
        )
    connection.close()
    assert reaches(hospital), "the kernel cannot know yet"
    hospital.start("guard")
    until(lambda: guard("tablet", tablet="T-001")["removal"]["over"])
    assert not reaches(hospital)
    assert station(hospital)["state"] == "away"


def test_who_is_released_is_brought_out_of_the_quarantine_vlan(hospital, netguard, guard, tablet):
    """It stayed in a network that leads nowhere until it joined anew by itself."""
    assert netguard("quarantine", "T-001", "--why", "x").returncode == 0
    until(lambda: station(hospital)["state"] == "away", 20.0)
    until(lambda: hospital.join("t1")["vlan"] == 641, 20.0)
    shown = netguard("quarantine", "T-001", "--why", "x", "--wait")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    # It was thrown off once more when the NAS had forgotten its last answer, and comes back.
    assert hospital.join("t1")["vlan"] == 641
    assert station(hospital)["state"] != "away"
    assert netguard("release", "T-001").returncode == 0
    until(lambda: station(hospital)["state"] == "away", 60.0)
    until(lambda: hospital.join("t1")["vlan"] == 640, 20.0)
    hospital.dhcp("t1")
    assert reaches(hospital)


def test_it_ends_by_itself_at_its_time(hospital, netguard, guard, tablet):
    assert netguard("quarantine", "T-001", "--why", "short", "--for", "5s").returncode == 0
    assert not reaches(hospital)
    until(lambda: guard("quarantines")["quarantines"] == [], 40.0)
    until(lambda: hospital.join("t1")["vlan"] == 640, 20.0)
    hospital.dhcp("t1")
    assert reaches(hospital)


def test_watch_can_ask_for_what_the_rules_want_and_end_nothing(hospital, tmp_path):
    """As the user of watch itself, at guard's real socket."""
    program = (
        "import json, socket, sys; s = socket.socket(socket.AF_UNIX);"
        f" s.connect('{hospital.settings.parent}/run/guard.sock');"
        " s.sendall(sys.argv[1].encode() + b'\\n'); print(s.makefile().readline())"
    )

    def ask(**words):
        argv = ["setpriv", "--reuid=netguard-watch", "--regid=netguard-watch", "--clear-groups"]
        done = hospital.exec("gw", [*argv, "/usr/bin/python3", "-c", program, json.dumps(words)])
        return json.loads(done.stdout)

    for words in (
        {"verb": "release", "tablet": "T-001"},
        {"verb": "tablet", "tablet": "T-001", "state": "found"},
        {"verb": "quarantines"},
    ):
        assert "may not call" in ask(**words)["error"]
    for words in ({}, {"rule": "missing"}, {"rule": "clone-suspect"}, {"incident": "x"}):
        said = ask(verb="quarantine", tablet="T-002", why="because", **words)
        assert "a rule of alerts.yaml wants" in said["error"]


def test_words_that_make_no_sense_change_nothing(hospital, netguard, guard):
    for words in (
        ("quarantine", "T-001"),
        ("quarantine", "T-001", "--why", " "),
        ("quarantine", "T-001", "--why", "x", "--for", "soon"),
        ("quarantine", "T-001", "--why", "x", "--until", "tomorrow"),
        ("quarantine", "T-001", "--why", "x", "--until", "2020-01-01T00:00+00:00"),
        ("quarantine", "T-001", "--why", "x", "--for", "1h", "--until", "2030-01-01"),
        ("quarantine", "--why", "x"),
        ("quarantine", "T-nobody", "--why", "x"),
    ):
        done = netguard(*words)
        assert done.returncode in {1, 2, 5}, (words, done.stdout)
        assert done.stderr
    assert guard("quarantines")["quarantines"] == []


def test_a_tablet_that_asks_for_its_address_as_another_device_is_a_clone_suspect(
    hospital, netguard, guard, tablet
):
    """A real DHCP client with other options and another name, at the real dnsmasq."""
    path = hospital.settings.parent / "state" / "fingerprints.json"
    mac = hospital.record.macs["t1"]
    until(lambda: path.exists() and mac in json.loads(path.read_text()), 10.0)
    hospital.kill("guard")
    known = json.loads(path.read_text())
    known[mac][0] -= 3600
    path.write_text(json.dumps(known))
    hospital.start("guard")
    settled(hospital)
    hospital.dhcp("t1")

    # Other evidence may be there of what ran before.
    def by_dhcp():
        return [row for row in guard("status")["suspects"] if row["kind"] == "dhcp"]

    assert by_dhcp() == [], "the same client is nothing strange"
    hospital.dhcp("t1", "-O", "43", "-O", "119", "-x", "hostname:laptop")
    (row,) = until(by_dhcp, 10.0)
    assert row["tablet"] == "T-001"
    assert "name laptop" in row["why"]

    def told():
        rows = json.loads(netguard("alerts", "--json").stdout)["alerts"]
        return [each for each in rows if (each["code"], each["tablet"]) == ("NG-1110", "T-001")]

    until(told, 30.0)
    taken = hospital.probe("t1", *MEDIA, "--timeout", "1")
    assert taken["ok"], "a suspicion alone refuses nothing: no rule asks for it"


def test_a_second_address_is_a_clone_suspect(hospital, guard, tablet):
    argv = ["ip", "addr", "add", "10.99.3.77/22", "dev", "wlan0"]
    assert hospital.exec("t1", argv).returncode == 0
    try:
        sent = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            f" s.bind(('10.99.3.77', 0)); s.sendto(b'x', ('{MEDIA[1]}', 8801))"
        )
        hospital.exec("t1", ["/usr/bin/python3", "-c", sent])

        def seen():
            return [r for r in guard("status")["suspects"] if "sends from 10.99.3.77" in r["why"]]

        (row,) = until(seen, 10.0)
        assert (row["tablet"], row["kind"]) == ("T-001", "address")
    finally:
        hospital.exec("t1", ["ip", "addr", "del", "10.99.3.77/22", "dev", "wlan0"])


def quarantines(guard, tablet):
    """Return the quarantines of one tablet."""
    return [row for row in guard("quarantines")["quarantines"] if row["tablet"] == tablet]


def test_what_a_rule_wants_is_put_into_quarantine_and_not_twice(hospital, netguard, guard):
    """A second address of a tablet, with `quarantine: true` at the rule about clones."""
    rules = hospital.settings.parent / "strict-rules"
    shutil.copytree(hospital.record.rules, rules)
    alerts = rules / "alerts.yaml"
    text = alerts.read_text()
    old = "{evidence: clone}, severity: critical,"
    assert old in text
    alerts.write_text(text.replace(old, f"{old} quarantine: true,"))
    try:
        assert netguard("apply", str(rules)).returncode == 0
        assert hospital.join("t2")["answer"] == "accept"
        hospital.dhcp("t2")
        argv = ["ip", "addr", "add", "10.99.3.78/22", "dev", "wlan0"]
        assert hospital.exec("t2", argv).returncode == 0
        sent = (
            "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
            f" s.bind(('10.99.3.78', 0)); s.sendto(b'x', ('{MEDIA[1]}', 8801))"
        )
        hospital.exec("t2", ["/usr/bin/python3", "-c", sent])
        # Alerts of other tablets may be open under this rule too; theirs are not looked at.
        (row,) = until(lambda: quarantines(guard, "T-002"), 60.0)
        assert row["who"] == "alert rule clone-suspect"
        assert not reaches(hospital, "t2")
        assert netguard("release", "T-002").returncode == 0
        hospital.kill("watch")
        hospital.start("watch")
        # Its alert is still open, and watch asks again: a person has ended that.
        until(lambda: guard("audit", subject="T-002")["audit"], 5.0)
        sleep(12)
        assert quarantines(guard, "T-002") == []
    finally:
        hospital.exec("t2", ["ip", "addr", "del", "10.99.3.78/22", "dev", "wlan0"])
        assert netguard("apply", hospital.record.rules).returncode == 0
        for row in guard("quarantines")["quarantines"]:
            assert netguard("release", row["tablet"]).returncode == 0
        shutil.rmtree(rules)
