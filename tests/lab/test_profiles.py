"""`netguard profile crisis on`: less at once on a running appliance, and as before when it ends."""

import json
import re
import signal
from datetime import datetime, timedelta
from time import monotonic, sleep

import pytest

from netguard.adapters import control

# Of a service that crisis takes from patients, and of one that it leaves them.
TAKEN, LEFT = "zoom.us", "meet.jit.si"
MEDIA = ("udp", "170.114.10.7", "8801")


@pytest.fixture
def calm(joined, netguard):
    """The hospital with its tablets on the air and no profile on; left so."""
    yield joined
    if joined.pid("guard") is None:
        joined.start("guard")
    netguard("profile", "crisis", "off")


def ceiling(hospital):
    """Return the ceiling of t1 towards it, in what tc calls it: of the class that nft sends it to."""
    address = hospital.exec("t1", ["ip", "-j", "-4", "addr", "show", "dev", "wlan0"]).stdout
    (own,) = json.loads(address)[0]["addr_info"]
    words = ["nft", "get", "element", "inet", "netguard", "class4", f"{{ {own['local']} }}"]
    number = re.search(r": (4e47:[0-9a-f]+)", hospital.exec("gw", words).stdout)[1]
    text = hospital.exec("gw", ["tc", "class", "show", "dev", "tab0", "classid", number]).stdout
    return re.search(r"ceil (\S+)", text)[1]


def reaches(hospital):
    return hospital.probe("t1", *MEDIA, "--timeout", "1")["ok"]


def asks(hospital, name):
    return hospital.probe("t1", "dns", name)["outcome"]


def test_a_profile_takes_what_it_names_and_gives_it_back(calm, netguard):
    assert ceiling(calm) == "4Mbit"
    assert reaches(calm)
    on = netguard("profile", "crisis", "on", "--note", "one line left", "--by", "anna")
    assert on.returncode == 0, on.stderr + on.stdout
    assert "until somebody ends it" in on.stdout
    # What ran through it ends, too: its right is gone.
    assert not reaches(calm)
    assert asks(calm, TAKEN) != "noerror"
    assert ceiling(calm) == "1Mbit"
    shown = netguard("status").stdout
    assert "profile    crisis since" in shown
    assert "by anna, until somebody ends it" in shown
    explained = netguard("explain", "T-001", TAKEN, "tcp/443")
    assert explained.returncode == 1
    assert "while this is on: profile crisis" in explained.stdout
    assert netguard("profile", "crisis", "on", "--by", "bert").stdout.startswith(
        "profile crisis was already on"
    )
    off = netguard("profile", "crisis", "off")
    assert off.returncode == 0, off.stderr
    assert ceiling(calm) == "4Mbit"
    assert reaches(calm)
    audit = json.loads(netguard("audit", "--since", "1h", "--json").stdout)["audit"]
    said = [(row["who"], row["verb"]) for row in audit if row["subject"] == "crisis"]
    assert ("anna", "profile") in said


def test_it_holds_while_guard_is_dead_and_over_its_restart(calm, netguard):
    assert netguard("profile", "crisis", "on").returncode == 0
    calm.kill("guard", signal.SIGKILL)
    assert not reaches(calm)
    calm.start("guard")
    assert [row["on"] for row in json.loads(netguard("profile", "--json").stdout)] == [True]
    assert not reaches(calm)
    # Rules that are applied meanwhile are as narrow.
    rules = str(calm.layout.rules)
    done = netguard("apply", rules)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not reaches(calm)
    assert netguard("profile", "crisis", "off").returncode == 0
    assert reaches(calm)


def test_it_ends_by_itself_when_its_time_is_up(calm, netguard):
    socket = calm.settings.parent / "run" / "guard.sock"
    refused = netguard("profile", "crisis", "on", "--for", "10s")
    assert refused.returncode == 5
    assert "1 minute to 30 days" in refused.stderr
    assert netguard("profile", "crisis", "on", "--for", "1m").returncode == 0
    assert not reaches(calm)
    end = monotonic() + 120
    while control.call(socket, "status")["profiles"]:
        assert monotonic() < end, "it does not end"
        sleep(1)
    assert reaches(calm)


def test_a_profile_that_nobody_knows_is_refused_with_what_may_be_meant(calm, netguard):
    done = netguard("profile", "crisi", "on")
    assert done.returncode == 5
    assert "did you mean 'crisis'" in done.stderr
    assert netguard("profile", "crisis").returncode == 2


def test_while_it_is_on_loans_last_longer_and_the_list_says_so(calm, netguard):
    def due():
        return json.loads(netguard("tablet", "T-061", "--json").stdout)["due"]

    assert netguard("lend", "T-061").returncode == 0
    try:
        before = due()
        on = netguard("profile", "crisis", "on", "--for", "1h")
        assert "loans last longer: patients 60d" in on.stdout
        assert "loans last longer: patients 60d" in netguard("profile").stdout
        assert datetime.fromisoformat(due()) - datetime.fromisoformat(before) == timedelta(days=46)
        assert netguard("profile", "crisis", "off").returncode == 0
        assert due() == before
    finally:
        assert netguard("return", "T-061").returncode == 0
