"""A Wi-Fi key for each tablet, with guard, FreeRADIUS and the controller: sent, proven, rotated, and nowhere else."""

import json
import re

import pytest

from netguard.lab.wifi_keys import WifiKeys

KEY = re.compile(r"([acdefghjkmnpqrtuvwxy34679]{4}-){3}[acdefghjkmnpqrtuvwxy34679]{4}")


@pytest.fixture
def keys(hospital, netguard):
    held = WifiKeys(hospital)
    held.on()
    yield held
    assert netguard("found", "T-001").returncode == 0
    held.off()
    assert "key" not in hospital.join("t1")
    for tablet in ("t1", "t2"):
        assert hospital.join(tablet)["answer"] == "accept"
        hospital.dhcp(tablet)


def test_a_key_is_sent_and_another_one_once_the_tablet_came_back(hospital, keys, netguard):
    assert "t2 another" in keys.sent()
    first = keys.key()
    assert "a new key when it asks again" in keys.rotated()
    second = keys.key()
    assert first != second
    # guard has proven it by asking: what FreeRADIUS sends is what is stored.
    assert keys.guard("status")["problems"] == {}
    done = netguard("psk", "rotate", "T-001", "--why", "the card was lost", "--json")
    assert json.loads(done.stdout) == {"rotated": ["T-001"], "problems": {}}
    third = keys.key()
    assert hospital.join("t1")["key"] == third != second
    said = ""
    for words in (
        ["status", "--json"], ["audit", "--json"], ["psk", "list", "--json"], ["tablet", "T-001", "--json"],
        ["plan", str(keys.folder), "--native"], ["show"], ["export", str(keys.folder)],
    ):  # fmt: skip
        done = netguard(*words)
        said += done.stdout + done.stderr
    said += "".join(hospital.log(name) for name in ("guard", "watch", "dns", "freeradius"))
    assert not KEY.search(said)
    assert not [key for key in (first, second, third) if key.encode().hex() in said]
    base = hospital.settings.parent
    holding = {
        path.name
        for path in base.rglob("*")
        if path.is_file() and any(k.encode() in path.read_bytes() for k in (first, second, third))
    }
    assert holding == {"psk"}


def test_a_killed_guard_ends_the_old_session_when_it_is_back(hospital, keys, netguard):
    assert hospital.join("t1")["answer"] == "accept"
    hospital.behave(disconnects=0)
    assert netguard("psk", "rotate", "T-001", "--why", "x").returncode == 0
    row = next(r for r in keys.guard("psks")["psks"] if r["tablet"] == "T-001")
    hospital.kill("guard")
    hospital.behave()
    hospital.start("guard")
    assert row["asks"] > 0
    keys.until("the Disconnect", lambda: keys.station("t1")["state"] == "away")
    assert hospital.join("t1")["key"] == keys.key()
