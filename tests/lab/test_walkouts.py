"""Who walked out: a story in a hospital whose presence runs sixty times as fast, told by real accounting."""

import json
import os

import pytest

from netguard.lab.hospital import Hospital
from netguard.lab.walkouts import Walkouts
from netguard.lab.ward import Ward


@pytest.fixture(scope="module")
def fast():
    lab = Hospital.up(f"w{os.getpid()}", say=print, speed=60)
    try:
        yield lab
    finally:
        lab.down()


def test_a_theft_is_told_and_a_sleeper_a_flat_battery_and_a_dead_ap_are_none(fast):
    shown = {}

    def claim(words, show):
        shown[words] = show()

    Walkouts(fast).all(claim)
    assert all(shown.values()), "each claim comes with its evidence"
    for fact in (
        "taken",
        "surer",
        "syslog alone",
        "sleeps",
        "flat",
        "dead access point",
        "comes back",
        "Alertmanager was told",
        "ends at the Alertmanager",
        "device management, by a signed order",
        "at the device management",
        "feed",
    ):
        assert [words for words in shown if fact in words], f"nothing was claimed of: {fact}"
    # A theft on the first day: without any history a figure that a security officer can believe.
    first = next(said for words, said in shown.items() if "surer" in words)
    assert int(first.partition(" at first")[0].split()[1].rstrip("%")) >= 40


def test_people_ask_and_say_things_of_tablets(fast):
    def netguard(*words):
        return fast.exec("gw", ["netguard", *words], timeout=60)

    ward = Ward(fast, sessions=1000)
    ward.arrive("T-149", mac_of(fast, "T-149"), "AP-NEU-201")
    assert ward.until(lambda: ward.whereabouts("T-149")["presence"] == "present", 600) is not None
    listed = json.loads(netguard("tablets", "--area", "neuro-2", "--json").stdout)["tablets"]
    assert "T-149" in [row["tablet"] for row in listed]
    assert netguard("lend", "T-149", "--by", "ward").returncode == 0
    assert ward.until(lambda: ward.whereabouts("T-149")["loan"] == "lent", 600) is not None
    moved = netguard("move", "T-149", "pellegrin/lobby", "--for", "2h", "--by", "ward")
    assert "pellegrin/lobby" in moved.stdout
    assert netguard("move", "T-149", "pellegrin/nowhere").returncode != 0
    text = netguard("tablet", "T-149").stdout
    # Sixty times as fast: it may have fallen silent while people typed.
    assert any(f"{state}, pellegrin/neuro-2" in text for state in ("present", "quiet"))
    audit = json.loads(netguard("audit", "--subject", "T-149", "--json").stdout)["audit"]
    assert [(line["verb"], line["who"]) for line in audit] == [("move", "ward"), ("loan", "ward")]
    assert netguard("return", "T-149").returncode == 0
    refused = netguard("events", "export")
    assert refused.returncode == 5
    assert "recording: 7d" in refused.stderr


def test_a_controller_that_starts_again_has_lost_nobody(fast):
    ward = Ward(fast, sessions=2000)
    ward.arrive("T-148", mac_of(fast, "T-148"), "AP-NEU-201")
    ward.until(lambda: ward.whereabouts("T-148")["presence"] == "present", 600)
    fast.restart_controller()
    ward.wait(1200)
    assert ward.whereabouts("T-148")["presence"] != "missing"
    # Killed and started again, it knows the same.
    before = ward.whereabouts("T-148")
    fast.kill("watch")
    fast.start("watch")
    after = ward.whereabouts("T-148")
    assert (after["ap"], after["area"]) == (before["ap"], before["area"])
    assert not [i for i in ward.incidents("T-148") if i["cause"] == "taken"]


def mac_of(lab, id_):
    return lab.watch("tablets", tablet=id_)["tablets"][0]["mac"]
