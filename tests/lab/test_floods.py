"""Floods: whoever floods is refused where he knocks, others notice nothing, memory is bounded, one alert says it."""

import json
import re
import threading
from pathlib import Path
from time import monotonic, sleep

import pytest

from netguard.adapters import control
from netguard.daemon.watch import TROUBLE_INTERVAL
from netguard.lab import floods

DEVICES = 100_000


def resident(hospital, name):
    """Return the memory of a daemon in MiB."""
    text = Path("/proc", str(hospital.pid(name)), "status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) / 1024


def alerts(netguard, code):
    rows = json.loads(netguard("alerts", "--json").stdout)["alerts"]
    return [row for row in rows if row["code"] == code]


def until(what, seconds=90.0):
    end = monotonic() + seconds
    while not (found := what()):
        assert monotonic() < end, "it does not happen"
        sleep(0.5)
    return found


@pytest.fixture
def watching(joined):
    """The hospital with its tablets on the air, and watch up to date."""
    until(lambda: not joined.watch("status")["problems"])
    # A flood is what grows between two looks: one comes first.
    sleep(2 * TROUBLE_INTERVAL)
    return joined


def test_a_hundred_thousand_unknown_devices_are_one_alert(watching, netguard):
    """Refused one by one; a tablet joins among them; what is kept of them is bounded."""
    before = {name: resident(watching, name) for name in ("guard", "dns", "watch")}
    counted = {}
    flood = threading.Thread(target=lambda: counted.update(floods.devices(watching, DEVICES)))
    flood.start()
    joins = []
    while flood.is_alive():
        joins.append(watching.join("t1")["answer"])
        sleep(1)
    flood.join()
    assert counted == {"rejected": DEVICES, "accepted": 0, "silent": 0}
    assert set(joins) == {"accept"}
    (alert,) = until(lambda: alerts(netguard, "NG-1304"), 120.0)
    assert "wlc-1" in json.dumps(alert)
    assert (
        len(json.loads(netguard("unknown", "--since", "1h", "--json").stdout)["unknown"]) <= 10_000
    )
    grown = {name: resident(watching, name) - mib for name, mib in before.items()}
    assert max(grown.values()) < 64, grown


def test_a_tunnel_through_names_asks_nobody_and_disturbs_nobody(watching, netguard):
    """Thirty thousand ever new names from one tablet: none leaves, its neighbour is answered, one alert."""
    socket = watching.settings.parent / "run" / "dns.sock"
    before, memory = control.call(socket, "status"), resident(watching, "dns")
    tunnel = threading.Thread(target=floods.names, args=(watching, "t1", "10.99.0.1", 30_000))
    tunnel.start()
    answers = []
    while tunnel.is_alive():
        answers.append(watching.probe("t2", "dns", "zoom.us")["outcome"])
    tunnel.join()
    assert set(answers) == {"noerror"}
    after = control.call(socket, "status")
    asked = sum(server["answers"] for server in after["upstream"])
    # What the neighbour's questions cost, at most: nothing of the tunnel's went out.
    assert asked - sum(server["answers"] for server in before["upstream"]) <= 2 * len(answers)
    assert after["in_vain"]["T-001"] - before["in_vain"].get("T-001", 0) > 20_000
    assert resident(watching, "dns") - memory < 32
    (alert,) = until(lambda: alerts(netguard, "NG-1305"))
    assert "T-001" in json.dumps(alert)
