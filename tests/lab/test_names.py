"""Names on the real kernel: first packets, restarts, faults upstream, and what an engineer asks."""

import json
import signal
from time import monotonic, sleep

import pytest

from netguard.adapters import control


@pytest.fixture
def tablets(on_the_air):
    """Return t1 to t3, joined and with their addresses."""
    here = ("t1", "t2", "t3")
    on_the_air(*here)
    return here


@pytest.fixture
def dns(hospital):
    """Ask the name proxy over its socket."""
    path = hospital.settings.parent / "run" / "dns.sock"
    return lambda verb, **body: control.call(path, verb, **body)


def wait_until(happened, patience=30.0):
    end = monotonic() + patience
    while not happened():
        assert monotonic() < end, "it did not happen"
        sleep(0.05)


def test_a_restart_of_the_proxy_leaves_no_gap(hospital, tablets, dns):
    assert hospital.probe("t1", "tcp", "zoom.us", "443")["ok"]
    before = dns("learned", name="zoom.us")["learned"]
    assert before
    for how in (signal.SIGTERM, signal.SIGKILL):
        # A kill may lose the last seconds of the file, and the kernel's sets say what is open.
        hospital.kill("dns", how)
        assert hospital.probe("t1", "tcp", "170.114.52.2", "443")["ok"], "open without the proxy"
        hospital.start("dns")
        after = dns("learned", address=before[0]["address"])["learned"]
        assert [row["address"] for row in after] == [before[0]["address"]]
        assert after[0]["expires_seconds"] <= before[0]["expires_seconds"] + 3700
        assert hospital.probe("t1", "tcp", "zoom.us", "443")["ok"]


def test_emptied_sets_are_filled_from_the_file_at_the_next_start(hospital, tablets, dns):
    """What a reboot does: the sets are gone, the file is there, nobody has asked yet."""
    held = hospital.probe("t1", "dns", "connectivitycheck.gstatic.com")["addresses"][0]
    hospital.stop("dns")
    hospital.exec("gw", ["nft", "flush", "set", "inet", "netguard", "s_plumbing_check_dns4"])
    listing = ["nft", "list", "set", "inet", "netguard", "s_plumbing_check_dns4"]
    assert held not in hospital.exec("gw", listing).stdout
    hospital.start("dns")
    wait_until(lambda: held in hospital.exec("gw", listing).stdout)


def test_a_proxy_that_was_away_when_the_plan_changed_is_told_when_it_is_back(
    hospital, tablets, dns, netguard
):
    hospital.stop("dns")
    try:
        # A tablet that is stolen makes a new plan.
        netguard("tablet", "T-010", "stolen", "--note", "dns is away")
        told = netguard("status")
        assert (told.returncode, "was not told to reload" in told.stdout) == (1, True)
        hospital.start("dns")
        wait_until(
            lambda: json.loads(netguard("status", "--json").stdout)["guard"]["problems"] == {}
        )
        assert (
            dns("status")["plan"]
            == json.loads(netguard("status", "--json").stdout)["guard"]["plan"]
        )
    finally:
        if hospital.pid("dns") is None:
            hospital.start("dns")
        assert netguard("tablet", "T-010", "found").returncode == 0


def test_a_damaged_file_is_put_aside_and_named(hospital, tablets, dns):
    kept = hospital.settings.parent / "state" / "dns" / "learned.json"
    hospital.stop("dns")
    kept.write_text('{"version": 1, "elements": [')
    hospital.start("dns")
    assert (kept.parent / "learned.json.damaged").exists()
    assert hospital.probe("t1", "dns", "zoom.us")["ok"]


def test_exact_names_are_resolved_before_a_tablet_asks(hospital, tablets, dns):
    wait_until(lambda: dns("why", name="meet.chu.example")["cached"])
    told = dns("why", name="meet.chu.example")
    assert told["learned"]
    assert told["unresolved"] == ""


def test_guard_stopped_or_killed_delays_no_name(hospital, tablets):
    for how, back in ((signal.SIGSTOP, signal.SIGCONT), (signal.SIGKILL, None)):
        hospital.kill("guard", how)
        try:
            for n in range(20):
                found = hospital.probe("t1", "dns", f"g{n}-{how}.zoom.us", "--timeout", "2")
                assert found["ok"], found
        finally:
            if back is None:
                hospital.start("guard")
            else:
                hospital.kill("guard", back)


def test_resolvers_that_fall_silent_are_named_and_come_back(hospital, tablets, dns):
    hospital.kill("unbound", signal.SIGSTOP)
    try:
        for n in range(3):
            hospital.probe("t1", "dns", f"silent{n}.zoom.us", "--timeout", "8")
        wait_until(lambda: "no resolver answers" in dns("status")["problems"].get("resolvers", ""))
        status = hospital.exec("gw", ["netguard", "status"])
        assert status.returncode == 1
        assert "no resolver answers" in status.stdout
    finally:
        hospital.kill("unbound", signal.SIGCONT)
    wait_until(lambda: hospital.probe("t1", "dns", "zoom.us", "--timeout", "8")["ok"])
    wait_until(lambda: dns("status")["problems"] == {})


def test_names_of_the_time_lead_to_the_appliance(hospital, tablets):
    assert hospital.probe("t1", "dns", "time.android.com")["addresses"] == ["10.99.0.1"]


def test_an_engineer_sees_what_is_refused_and_why(hospital, tablets):
    hospital.probe("t1", "dns", "www.example.org")

    def run(*words):
        return hospital.exec("gw", ["netguard", "dns", *words])

    top = json.loads(run("top", "--json").stdout)
    assert "www.example.org" in {row["name"] for row in top["denied"]}
    assert "www.example.org" in run("top").stdout
    lines = [
        json.loads(line) for line in run("tail", "--tablet", "T-001", "--json").stdout.splitlines()
    ]
    assert ("T-001", "www.example.org") in {(row["tablet"], row["name"]) for row in lines}
    allowed, refused = run("why", "zoom.us"), run("why", "www.example.org")
    assert (allowed.returncode, refused.returncode) == (0, 1)
    assert "patients: resolved, 'zoom.us' of zoom" in allowed.stdout
    assert "not a name of its services" in refused.stdout
    assert (
        "refused by name"
        in hospital.exec(
            "gw", ["netguard", "explain", "T-001", "www.example.org", "tcp/443"]
        ).stdout
    )
    hospital.probe("t1", "dns", "zoom.us")
    assert "1 answers forgotten" in run("flush", "zoom.us").stdout
    assert run("why", "not a name").returncode == 5


def test_names_that_nobody_asks_for_are_shown_until_one_does(hospital, tablets):
    """Dead rules: unseen, a list grows until nobody dares to shorten it."""

    def top():
        return json.loads(hospital.exec("gw", ["netguard", "dns", "top", "--json"]).stdout)

    def listed(rows):
        return {(row["service"], row["domain"]) for row in rows}

    used = ("zoom", "zoom.us")
    hospital.probe("t1", "dns", "zoom.us")
    wait_until(lambda: used in listed(top()["seen"]))
    told = top()
    assert used not in listed(told["unused"])
    assert told["unused"]
    assert not listed(told["unused"]) & listed(told["seen"])
    row = told["unused"][0]
    text = hospital.exec("gw", ["netguard", "dns", "top"]).stdout
    assert f"never asked for since {told['since']} ({len(told['unused'])})" in text
    assert f"{row['domain']}  of {row['service']}" in text
