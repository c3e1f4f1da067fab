"""A plan that takes itself back: in time, at a start after guard was killed, or because somebody says so."""

import json
import shutil
import signal
from time import monotonic, sleep

import pytest

from netguard.adapters import control

MEDIA = ("udp", "170.114.10.7", "8801")


def wait_until(happened, patience=40.0):
    end = monotonic() + patience
    while not happened():
        assert monotonic() < end, "it did not happen"
        sleep(0.1)


@pytest.fixture
def guard(hospital):
    path = hospital.settings.parent / "run" / "guard.sock"
    return lambda verb, **words: control.call(path, verb, **words)


@pytest.fixture
def without_zoom(joined, netguard, tmp_path):
    """Return rules that withdraw a service; what was in force comes back afterwards."""
    folder = joined.settings.parent / f"edited-{tmp_path.name}"
    shutil.copytree(joined.record.rules, folder)
    groups = folder / "groups.yaml"
    groups.write_text(groups.read_text().replace("zoom, ", ""))
    # Its cases say otherwise, and would stop it.
    shutil.rmtree(folder / "tests")
    yield folder
    if joined.pid("guard") is None:
        joined.start("guard")
    netguard("confirm")
    assert netguard("apply", joined.record.rules).returncode == 0
    shutil.rmtree(folder)


def calls(hospital):
    return hospital.probe("t1", *MEDIA, "--timeout", "1")["ok"]


def audited(netguard, verb):
    rows = json.loads(netguard("audit", "--json").stdout)["audit"]
    return next(row for row in rows if row["verb"] == verb)


def test_what_nobody_confirms_is_taken_back(joined, guard, netguard, without_zoom):
    before = guard("status")["applied"]["number"]
    assert calls(joined)
    done = netguard("apply", str(without_zoom), "--confirm-within", "15s", "--note", "a test")
    assert done.returncode == 0, done.stderr
    assert "unless: netguard confirm" in done.stdout
    assert not calls(joined)
    assert "rolls back at" in netguard("status").stdout
    second = netguard("apply", joined.record.rules)
    assert second.returncode == 5
    assert "netguard confirm, or netguard rollback, comes first" in second.stderr
    wait_until(lambda: guard("status")["applied"]["number"] == before)
    assert calls(joined)
    assert guard("status")["waiting"] is None
    assert audited(netguard, "apply")["after"]["note"] == "a test"
    assert "-patients: service zoom" in "".join(
        audited(netguard, "apply")["after"]["changes"]
    ).replace("- ", "-")
    assert audited(netguard, "not-confirmed")["after"]["number"] == before
    assert netguard("confirm").returncode == 5


def test_what_is_confirmed_stays_until_somebody_rolls_it_back(
    joined, guard, netguard, without_zoom
):
    before = guard("status")["applied"]["number"]
    pending = netguard("plan", str(without_zoom))
    assert pending.returncode == 3, pending.stderr
    assert "running calls of patients/zoom will be cut" in pending.stdout
    assert netguard("apply", str(without_zoom), "--confirm-within", "8s").returncode == 0
    number = guard("status")["applied"]["number"]
    assert netguard("confirm").stdout == f"plan {number} kept\n"
    sleep(10)
    assert guard("status")["applied"]["number"] == number
    assert netguard("plan", str(without_zoom)).returncode == 0
    assert "service zoom" in netguard("show", str(number)).stdout
    listed = json.loads(netguard("history", "--json").stdout)["plans"]
    assert [row["number"] for row in listed if row["in_force"]] == [number]
    done = netguard("rollback", "--note", "calls failed")
    assert done.returncode == 0, done.stderr
    assert f"plan {before} is in force again, instead of {number}" in done.stdout
    assert calls(joined)
    assert audited(netguard, "rollback")["after"]["note"] == "calls failed"
    assert netguard("rollback", "999").returncode == 5


def test_a_guard_that_was_killed_takes_back_what_ran_out_meanwhile(
    joined, guard, netguard, without_zoom
):
    before = guard("status")["applied"]["number"]
    assert netguard("apply", str(without_zoom), "--confirm-within", "6s").returncode == 0
    joined.kill("guard")
    sleep(7)
    assert not calls(joined), "nobody was there to take it back"
    joined.start("guard")
    wait_until(lambda: guard("status")["applied"]["number"] == before)
    assert calls(joined)
    assert guard("status")["waiting"] is None


def test_probes_keep_a_plan_that_is_well(joined, guard, netguard, without_zoom):
    done = netguard("apply", str(without_zoom), "--confirm-within", "1m", "--probe")
    assert done.returncode == 0, done.stderr
    assert "probes pass: the plan is kept" in done.stderr
    # One tablet of each group at each site, what the kernel holds, the services that answer here.
    assert done.stderr.count("ok     admitted: ") >= 4
    assert "ok     closed: kernel: " in done.stderr
    assert "ok     reachable: jitsi " in done.stderr
    assert guard("status")["waiting"] is None
    assert audited(netguard, "confirm")["who"].endswith("(probes)")
    # It says what it changes, first.
    assert done.stdout.index("service zoom") < done.stdout.index("applied plan")


@pytest.mark.parametrize("fault", ["a tablet is refused", "a hole in the kernel"])
def test_a_probe_that_fails_takes_the_plan_back(joined, guard, netguard, without_zoom, fault):
    before = guard("status")["applied"]["number"]
    undo = FAULTS[fault](joined)
    try:
        done = netguard("apply", str(without_zoom), "--confirm-within", "90s", "--probe")
    finally:
        undo()
    assert done.returncode == 5, done.stderr
    assert f"plan {before} is in force again" in done.stderr
    assert "FAILS  " in done.stderr
    assert SAID[fault] in done.stderr
    assert guard("status")["applied"]["number"] == before
    row = audited(netguard, "rollback")
    assert row["who"].endswith("(probes)")
    assert row["after"]["note"].startswith("probe failed: ")


def hole(hospital):
    """Somebody else's table forwards what comes from tablets before ours sees it."""
    script = (
        "table netdev hole {\n chain c {\n  type filter hook ingress device tab0 priority 0;\n"
        '  ip daddr 10.10.0.5 fwd to "up0"\n }\n}\n'
    )
    done = hospital.exec("gw", ["nft", script])
    assert done.returncode == 0, done.stderr
    return lambda: hospital.exec("gw", ["nft", "delete", "table", "netdev", "hole"])


def silence(hospital):
    """FreeRADIUS hangs: it holds the plan, and answers nobody."""
    hospital.kill("freeradius", signal.SIGSTOP)
    return lambda: hospital.kill("freeradius", signal.SIGCONT)


FAULTS = {"a tablet is refused": silence, "a hole in the kernel": hole}
SAID = {"a tablet is refused": "admitted: ", "a hole in the kernel": "closed: kernel: "}
