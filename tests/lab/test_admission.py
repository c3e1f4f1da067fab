"""What FreeRADIUS answers is proven by asking it: after a change, and by hand."""

import json
import shutil
import signal
from time import monotonic, sleep

import pytest

from netguard.adapters import control
from netguard.lab import shapes


def ask(hospital, *words):
    done = hospital.exec("gw", ["netguard", "radius", "ask", *words, "--json"])
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def problems(hospital):
    path = hospital.settings.parent / "run" / "guard.sock"
    return control.call(path, "status", 30.0)["problems"]


def wait_until(happened, patience=60.0):
    end = monotonic() + patience
    while not happened():
        assert monotonic() < end, "it did not happen"
        sleep(0.1)


@pytest.mark.parametrize("vendor", sorted(shapes.VENDORS))
def test_every_vendors_request_gets_what_the_rules_say(hospital, vendor):
    code, said = ask(hospital, "T-001", "--vendor", vendor, "--ap", "AP-CAR-301")
    assert code == 0, said
    assert said["agree"]
    assert (said["freeradius"]["answer"], said["freeradius"]["vlan"]) == ("accept", 640)
    assert said["freeradius"]["interim"] == 300


def test_a_mac_of_no_inventory_and_another_network_are_rejected(hospital):
    assert ask(hospital, "3c:28:6d:ff:00:67")[1]["rules"]["rule"] == "unknown-mac"
    code, said = ask(hospital, "T-001", "--ssid", "STAFF")
    assert code == 1
    assert said["rules"]["rule"] == "other-network"
    assert said["agree"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["T-9999"], "unknown tablet 'T-9999'"),
        (["T-001", "--vendor", "cicso-9800"], "did you mean 'cisco-9800'?"),
        (
            ["T-001", "--site", "nowhere"],
            "this node serves no site 'nowhere', it serves: pellegrin",
        ),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_ones(hospital, words, said):
    code, err = ask(hospital, *words)
    assert code == 2
    assert said in err


def test_our_own_questions_are_no_admissions(hospital):
    def known():
        shown = json.loads(hospital.exec("gw", ["netguard", "tablet", "T-002", "--json"]).stdout)
        sleep(1)
        # That a silence has become one in the meantime is no sighting.
        return shown | {"presence": {key: shown["presence"][key] for key in ("last_seen", "ap")}}

    # What the tablet itself did a moment ago may still be on its way into the books.
    wait_until(lambda: known() == known())
    before = known()
    ask(hospital, "T-002")
    sleep(1)
    assert before == known()


def test_a_block_that_freeradius_does_not_show_is_said_and_tried_again(hospital):
    hospital.kill("freeradius", signal.SIGSTOP)
    try:
        done = hospital.exec("gw", ["netguard", "tablet", "T-003", "stolen"], timeout=120)
        assert done.returncode == 1, "not yet refused everywhere"
        assert "warning: radius: FreeRADIUS does not answer by the last change" in done.stderr
        assert "FreeRADIUS" in problems(hospital)["radius"]
        shown = hospital.exec("gw", ["netguard", "status"])
        assert shown.returncode == 1
        assert "FreeRADIUS" in shown.stdout
        rules = hospital.exec("gw", ["nft", "list", "set", "inet", "netguard", "lost_mac"]).stdout
        assert hospital.record.macs["t3"] in rules, "the kernel does not wait for FreeRADIUS"
    finally:
        hospital.kill("freeradius", signal.SIGCONT)
    wait_until(lambda: "radius" not in problems(hospital))
    code, said = ask(hospital, "T-003")
    assert (code, said["rules"]["rule"], said["agree"]) == (1, "loan/stolen", True)
    assert hospital.exec("gw", ["netguard", "tablet", "T-003", "found"]).returncode == 0
    assert ask(hospital, "T-003")[0] == 0


def test_new_clients_wait_for_a_restart_and_a_stolen_tablet_does_not(hospital, tmp_path):
    folder = hospital.settings.parent / f"edited-{tmp_path.name}"
    shutil.copytree(hospital.record.rules, folder)
    sites = folder / "sites.yaml"
    sites.write_text(
        sites.read_text().replace("authenticator: required", "authenticator: optional")
    )
    try:
        done = hospital.exec("gw", ["netguard", "apply", str(folder)], timeout=120)
        assert done.returncode == 0, done.stderr
        assert "restart netguard-radius" in problems(hospital)["radius-clients"]
        hospital.exec("gw", ["netguard", "tablet", "T-002", "stolen"], timeout=60)
        assert hospital.join("t2")["answer"] == "reject"
        assert "restart netguard-radius" in problems(hospital)["radius-clients"]
        hospital.exec("gw", ["netguard", "tablet", "T-002", "found"], timeout=60)
        assert hospital.join("t2")["answer"] == "accept"
        restart(hospital)
        wait_until(lambda: problems(hospital) == {})
        # Seen once; each further look would be a line in FreeRADIUS's log.
        assert (hospital.settings.parent / "radius" / "clients.unread").read_text() == ""
    finally:
        hospital.exec("gw", ["netguard", "apply", hospital.record.rules], timeout=120)
        shutil.rmtree(folder)
    restart(hospital)
    wait_until(lambda: problems(hospital) == {})


def restart(hospital):
    hospital.stop("freeradius")
    hospital.start("freeradius")


def test_servers_of_other_networks_find_the_lent_macs(hospital):
    lent = (hospital.settings.parent / "radius" / "lent").read_text()
    for host in ("t1", "t2", "t3"):
        assert hospital.record.macs[host] in lent
    assert hospital.record.macs["stranger"] not in lent
    assert 'Netguard-Network += "CHU-TABLETTES"' in lent
