"""The hospital works: tablets join through a real FreeRADIUS, get addresses, and reach what the rules list."""

import csv
import json
import socket
from pathlib import Path
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

from netguard.errors import NetguardError, UsageError
from netguard.lab import programs, world
from netguard.lab.shapes import VENDORS

ROOT = Path(__file__).parents[2]


def inventory() -> dict[str, dict[str, str]]:
    with (ROOT / "rules" / "tablets.csv").open(encoding="utf-8", newline="") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


def allotted(tablet: str, site: str) -> str:
    with (ROOT / "rules" / "allotted.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["id"], row["site"]) == (tablet, site)]
    return rows[0]["address"]


def test_every_process_runs_as_a_user_of_its_own_with_no_more_than_it_needs(hospital):
    net_bind, net_admin, net_raw = 1 << 10, 1 << 12, 1 << 13
    wanted = {
        "guard": net_admin,
        "dns": net_admin | net_bind,
        "watch": 0,
        "freeradius": 0,
        "dnsmasq": net_admin | net_bind | net_raw,
        "chronyd": net_bind,
        "haproxy": 0,
    }
    seen = {}
    users = set()
    for process in programs.APPLIANCE:
        pid = hospital.pid(process)
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        users.add(status["Uid"])
        seen[process] = int(status["CapEff"], 16)
        assert status["Uid"].split()[0] != "0"
        assert status["NoNewPrivs"] == "1"
        assert int(status["CapBnd"], 16) == seen[process]
    assert seen == wanted
    assert len(users) == len(wanted)


def test_a_known_tablet_gets_its_vlan_and_its_own_address(joined):
    for host, tablet in joined.record.tablets.items():
        assert joined.record.macs[host] == inventory()[tablet]["mac"]
        assert joined.dhcp(tablet) == allotted(tablet, joined.record.site)
    stations = {each["host"]: each for each in joined.status()["stations"]}
    assert {stations[host]["vlan"] for host in world.TABLETS} == {640}


def test_a_stranger_is_rejected_and_its_port_leads_nowhere(hospital):
    answer = hospital.join("stranger")
    assert answer["answer"] == "reject"
    assert answer["vlan"] is None
    with pytest.raises(NetguardError, match="gets no address"):
        hospital.dhcp("stranger")


@pytest.mark.parametrize("vendor", sorted(VENDORS))
def test_every_vendors_request_is_understood(hospital, vendor):
    assert hospital.join("t3", vendor=vendor)["answer"] == "accept"
    assert hospital.join("stranger", vendor=vendor)["answer"] == "reject"


def test_joining_on_another_network_of_the_hospital_is_rejected(hospital):
    answer = hospital.join("t3", ssid="CHU-INVITES")
    assert answer["answer"] == "reject"
    assert hospital.join("t3")["answer"] == "accept"
    end = monotonic() + 30
    while "CHU-INVITES" not in hospital.exec("gw", ["netguard", "rejects", "T-003"]).stdout:
        assert monotonic() < end, "it is in no report"
        sleep(0.5)


def test_leaving_and_roaming_are_accounted_as_a_controller_does(hospital):
    hospital.join("t3")
    moved = hospital.roam("t3")
    assert (moved["answer"], moved["accounted"]) == ("accept", True)
    assert moved["ap"] != hospital.record.homes["t3"]
    left = hospital.leave("t3", cause="idle")
    assert (left["was"], left["state"], left["accounted"]) == ("joined", "away", True)
    log = hospital.layout.folder / "radius-log"
    lines = [json.loads(line) for file in log.iterdir() for line in file.read_text().splitlines()]
    mac = hospital.record.macs["t3"]
    ours = [each for each in lines if each["mac"] == mac and each["kind"] == "accounting"]
    assert ours[-1]["status"] == "Stop"
    assert ours[-1]["cause"] == "Idle-Timeout"
    assert [each["status"] for each in ours[-3:-1]] == ["Start", "Start"]
    hospital.join("t3")


@pytest.mark.parametrize(
    ("words", "ok"),
    [
        (("dns", "zoom.us"), True),
        (("tcp", "zoom.us", "443"), True),
        (("tcp", "zoom.us", "22"), False),
        (("udp", world.MEDIA, "8801"), True),
        (("udp", world.MEDIA, "9999"), False),
        (("tcp", "web.whatsapp.com", "5222"), True),
        (("tcp", "meet.chu.example", "443"), True),
        (("udp", world.BRIDGE, "10000"), True),
        (("tcp", world.BRIDGE, "22"), False),
        (("dns", "www.example.org"), False),
        (("tcp", world.UNLISTED, "443"), False),
        (("tcp", world.OPEN_RESOLVER, "443"), False),
        (("tcp", world.OPEN_RESOLVER, "853"), False),
        (("tcp", world.PACS, "104"), False),
        (("tcp", world.PRIVATE, "80"), False),
        (("dns", "rebind-pacs.zoom.us"), False),
        (("dns", "rebind-mixed.zoom.us"), False),
        (("dns", "rebind-private.zoom.us"), False),
        (("dns", "rebind-v6.zoom.us", "--type", "AAAA"), False),
    ],
)
def test_a_tablet_reaches_what_is_listed_and_nothing_else(joined, words, ok):
    result = joined.probe("t1", *words, "--timeout", "1")
    assert result["ok"] is ok, result


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("inet", ("tcp", world.VIDEO, "22")),
        ("inet", ("udp", world.MEDIA, "9999")),
        ("inet", ("tcp", world.UNLISTED, "443")),
        ("inet", ("tcp", world.OPEN_RESOLVER, "443")),
        ("core", ("tcp", world.PACS, "104")),
        ("core", ("udp", world.PACS, "104")),
        ("core", ("tcp", world.PRIVATE, "80")),
        ("core", ("dns", "www.example.org", "--server", "10.1.1.53")),
        ("core", ("dns", "rebind-pacs.zoom.us", "--server", "10.1.1.54")),
        ("inet", ("dns", "zoom.us", "--server", world.OPEN_RESOLVER, "--tcp")),
    ],
)
def test_what_is_refused_to_a_tablet_is_there(hospital, host, words):
    """The positive control: the refusals above are the fence's, not a server's that is down."""
    result = hospital.probe(host, *words)
    assert result["ok"], result


def test_the_clinical_servers_see_who_reached_them_and_no_tablet_does(joined):
    before = joined.counts("pacs")["from"]
    joined.probe("t1", "tcp", world.PACS, "104", "--timeout", "0.5")
    joined.probe("t1", "udp", world.PACS, "104", "--timeout", "0.5")
    joined.probe("core", "tcp", world.PACS, "104")
    after = joined.counts("pacs")["from"]
    arrived = {source for source in after if after[source] > before.get(source, 0)}
    assert arrived == {"10.10.0.1"}, "the control arrived, and nobody else"


def test_the_access_point_keeps_tablets_apart(joined):
    address = allotted(joined.record.tablets["t2"], joined.record.site)
    joined.exec("t2", ["ip", "neigh", "flush", "all"])
    result = joined.probe("t1", "tcp", address, "443", "--timeout", "1")
    assert not result["ok"]


def test_the_web_listener_is_reached_from_outside_the_namespaces(hospital):
    with urlopen(f"{hospital.web}/metrics", timeout=10) as page:
        assert b"netguard_" in page.read()


def test_nothing_leads_out_of_the_hospital(hospital):
    """No namespace has an interface whose other end lies in the root namespace."""
    root = {int(path.read_text()) for path in Path("/sys/class/net").glob("*/ifindex")}
    for host in world.HOSTS:
        shown = json.loads(hospital.exec(host, ["ip", "-json", "-d", "link", "show"]).stdout)
        for link in shown:
            assert link.get("link_netnsid") is not None or "link_index" not in link, link
    names = {path.name for path in Path("/sys/class/net").iterdir()}
    assert root
    assert not {name for name in names if name.startswith(("tab", "up0", "p-t", "trunk", "br6"))}


@pytest.mark.parametrize("process", ["guard", "dns", "watch", "freeradius"])
def test_a_killed_process_is_started_again_and_works(hospital, process):
    before = hospital.pid(process)
    hospital.kill(process)
    assert hospital.pid(process) is None
    with pytest.raises(NetguardError, match="does not run"):
        hospital.kill(process)
    hospital.start(process)
    assert hospital.pid(process) not in (None, before)
    with pytest.raises(NetguardError, match="runs already"):
        hospital.start(process)
    assert hospital.join("t3")["answer"] == "accept"


def test_a_word_that_is_wrong_is_answered_with_those_that_are_right(hospital):
    with pytest.raises(UsageError, match="known: "):
        hospital.join("t9")
    with pytest.raises(UsageError, match="guard"):
        hospital.pid("gaurd")
    with pytest.raises(NetguardError, match="hostapd"):
        hospital.join("t3", vendor="nobody")


def test_secrets_are_random_and_closed(hospital):
    folder = hospital.layout.folder / "secrets"
    texts = [path.read_text() for path in folder.iterdir()]
    assert texts
    assert len(set(texts)) == len(texts)
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o640
        secret = path.read_text().split("=")[1].strip()
        assert len(secret) >= 32
        for log in hospital.layout.logs.iterdir():
            assert secret not in log.read_text(errors="replace")


def test_the_probe_names_every_way_to_fail(joined):
    assert joined.probe("t1", "tcp", "10.99.0.1", "9", "--timeout", "1")["outcome"] != "open"
    nothing = joined.probe("t1", "tcp", "www.example.org", "443")
    assert nothing["outcome"] == "no address: refused"
    assert joined.probe("t1", "http", "connectivitycheck.gstatic.com")["ok"]


def test_another_address_of_the_web_port_is_taken_when_the_usual_one_is(hospital):
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            one.bind(("127.0.0.1", hospital.record.port))
