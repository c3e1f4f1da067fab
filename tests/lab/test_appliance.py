"""The appliance at work: apply and its refusals, names, drift, ends and starts.

Every test starts from a hospital whose rules are the example's and leaves it so.
"""

import json
import re
import shutil
import signal
import sys
import threading
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from zoneinfo import ZoneInfo

import pytest

from netguard.adapters import clock, control
from netguard.daemon.guard import RETRY_INTERVAL

ROOT = Path(__file__).parents[2]


@pytest.fixture
def guard(hospital):
    """Ask guard."""
    return lambda verb: control.call(hospital.settings.parent / "run" / "guard.sock", verb)


@pytest.fixture
def tablet(on_the_air):
    """Return t1, joined and with its address."""
    on_the_air("t1")
    return "t1"


@pytest.fixture
def rules(hospital, tmp_path):
    """Return a copy of the rules to edit; what was in force before comes back afterwards."""
    # Below the lab's folder, where the appliance's host sees it.
    folder = hospital.settings.parent / f"edited-{tmp_path.name}"
    shutil.copytree(hospital.record.rules, folder)
    yield folder
    done = hospital.exec("gw", ["netguard", "apply", hospital.record.rules], timeout=120)
    shutil.rmtree(folder)
    assert done.returncode == 0, done.stderr


def apply(hospital, folder, *flags):
    return hospital.exec("gw", ["netguard", "apply", str(folder), *flags], timeout=120)


# A look takes up to a second, on a machine that does other things too.
SLOW = 10


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_rules_with_an_error_are_refused_and_the_last_ones_stay(hospital, guard, tablet, rules):
    before = guard("status")["applied"]
    edit(rules / "groups.yaml", "allow: [jitsi", "alow: [jitsi")
    done = apply(hospital, rules)
    assert done.returncode == 1
    assert "did you mean 'allow'" in done.stderr
    assert f"plan {before['number']} of {before['at']} stays in force" in done.stderr
    assert guard("status")["applied"] == before
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]


def test_guard_judges_again_and_does_not_trust_the_caller(hospital, guard):
    import base64

    files = {"netguard.yaml": base64.b64encode(b"version: 1\n").decode()}
    path = hospital.settings.parent / "run" / "guard.sock"
    before = guard("status")["applied"]["number"]
    for body in (
        {"files": files},
        {"files": {"../../etc/x": ""}},
        {"files": {"/etc/x": ""}},
        {"files": {"a\nb": ""}},
        {"files": {"netguard.yaml": "***"}},
        {"files": {"netguard.yaml": 7}},
        {"files": []},
        {},
    ):
        with pytest.raises(control.Refused):
            control.call(path, "apply", **body)
    assert guard("status")["applied"]["number"] == before


def zoom(rules):
    """Withdraw the service from everybody."""
    edit(rules / "groups.yaml", "zoom, ", "")
    # Its cases say otherwise, and would stop it.
    shutil.rmtree(rules / "tests")


def quarantine(rules):
    """Put the one tablet into a group without services; others keep the right."""
    row = next(r for r in (rules / "tablets.csv").read_text().splitlines() if r[:6] == "T-001,")
    edit(rules / "tablets.csv", row, row.replace(",patients,", ",quarantine,"))
    shutil.rmtree(rules / "tests")


@pytest.mark.parametrize("change", [zoom, quarantine])
def test_what_is_withdrawn_ends_running_calls_and_comes_back(hospital, tablet, rules, change):
    heard = {}
    call = threading.Thread(
        target=lambda: heard.update(
            out=hospital.exec(tablet, [sys.executable, "-c", CALL], timeout=60).stdout
        )
    )
    assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]
    change(rules)
    call.start()
    done = apply(hospital, rules)
    call.join()
    assert done.returncode == 0, done.stderr
    answers = heard["out"].split()
    assert answers.count("1") > 0, "the call never ran: this shows nothing"
    assert answers[-5:] == ["0"] * 5, "the call goes on after its service was withdrawn"
    assert not hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]
    assert hospital.probe(tablet, "dns", "zoom.us")["outcome"] == "refused"


# 20 datagrams a second until it has been silent for half a second, or for 20 s.
CALL = """
import socket, time
wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
wire.settimeout(0.05)
wire.connect(("170.114.10.7", 8801))
silent = 0
for number in range(400):
    wire.send(b"x")
    try:
        wire.recv(99)
        silent = 0
        print(1, flush=True)
    except OSError:
        silent += 1
        print(0, flush=True)
    if silent == 10:
        break
    time.sleep(0.05)
"""


def hours(rules, first, last):
    groups = rules / "groups.yaml"
    text, count = re.subn(
        r"hours: [0-9:]+-[0-9:]+", f"hours: {first:%H:%M}-{last:%H:%M}", groups.read_text()
    )
    assert count, "the example's groups have hours"
    groups.write_text(text)


def talks(hospital, tablet):
    return hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]


def test_outside_its_hours_a_group_gets_nothing_and_the_kernel_opens_and_closes_without_guard(
    hospital, tablet, rules
):
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]
    noon = clock.now().astimezone(ZoneInfo(hospital.record.zone))
    opening = monotonic() + 60 - noon.second
    hours(rules, noon + timedelta(minutes=1), noon + timedelta(minutes=2))
    assert apply(hospital, rules).returncode == 0
    while monotonic() < opening - 8:
        assert not talks(hospital, tablet)
        explained = hospital.exec("gw", ["netguard", "explain", "T-001", "zoom.us", "tcp/443"])
        assert explained.returncode == 1
        assert "patients/hours" in explained.stdout
        assert f" at {noon + timedelta(minutes=1):%H:%M}\n" in explained.stdout
        sleep(2)
    # The kernel goes on by its own clock: nothing of ours reloads anything.
    hospital.kill("guard", signal.SIGSTOP)
    try:
        wait_until(lambda: talks(hospital, tablet), patience=90)
        assert abs(monotonic() - opening) < SLOW, "it did not open by the clock"
        assert hospital.join(tablet)["answer"] == "accept", "FreeRADIUS goes by the same hours"
        wait_until(lambda: not talks(hospital, tablet), patience=90)
        assert monotonic() > opening + 60 - SLOW, "it closed before its end"
    finally:
        hospital.kill("guard", signal.SIGCONT)
    wait_until(lambda: hospital.exec("gw", ["netguard", "status"]).returncode == 0)
    assert not talks(hospital, tablet)


def test_a_tablet_taken_off_the_inventory_is_out_everywhere(hospital, tablet, rules):
    table = rules / "tablets.csv"
    gone = next(line for line in table.read_text().splitlines() if line.startswith("T-001,"))
    edit(table, gone + "\n", "")
    # The example's cases speak of this tablet.
    for case in (rules / "tests").glob("*.yaml"):
        case.write_text(case.read_text().replace("T-001", "T-002"))
    assert apply(hospital, rules).returncode == 0
    assert not hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]
    assert hospital.join("t1")["answer"] == "reject"
    assert apply(hospital, Path(hospital.record.rules)).returncode == 0
    assert hospital.join("t1")["answer"] == "accept"
    hospital.dhcp("t1")
    assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]


def test_an_inventory_that_shrinks_needs_a_word(hospital, guard, rules):
    table = rules / "tablets.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:40]) + "\n")
    done = apply(hospital, rules)
    assert done.returncode == 5
    assert "--confirm-shrink" in done.stderr
    assert apply(hospital, rules, "--confirm-shrink").returncode == 0
    assert guard("status")["tablets"]["pellegrin"] == 39
    assert apply(hospital, hospital.record.rules).returncode == 0


def test_a_change_of_a_sets_size_is_taken_and_calls_go_on(hospital, tablet, rules):
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]
    edit(rules / "netguard.yaml", "addresses-per-service: 4096", "addresses-per-service: 2048")
    done = apply(hospital, rules)
    assert done.returncode == 0, done.stderr
    assert (
        "2048"
        in hospital.exec("gw", ["nft", "list", "set", "inet", "netguard", "s_zoom_dns4"]).stdout
    )
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]


def test_status_says_that_the_folder_was_edited_and_not_applied(hospital, rules):
    assert apply(hospital, rules).returncode == 0
    status = json.loads(hospital.exec("gw", ["netguard", "status", "--json"]).stdout)
    assert status["edited_not_applied"] is False
    edit(rules / "netguard.yaml", "version: 1", "version: 1  # a remark")
    shown = hospital.exec("gw", ["netguard", "status"])
    assert "edited, not applied" in shown.stdout


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (["dns", "use-application-dns.net"], "nxdomain"),
        (["dns", "mask.icloud.com"], "nxdomain"),
        (["dns", "_dns.resolver.arpa"], "nxdomain"),
        (["dns", "zoom.us", "--type", "HTTPS"], "empty"),
        (["dns", "zoom.us", "--type", "TXT"], "empty"),
        (["dns", "evilzoom.us"], "refused"),
        (["dns", "x.chu.internal"], "refused"),
        (["dns", "zoom.us", "--tcp"], "noerror"),
        (["dns", "ZOOM.us"], "noerror"),
        (["dns", "zoom.us", "--server", "8.8.8.8"], "noerror"),
        (["dns", "zoom.us", "--server", "8.8.8.8", "--tcp"], "noerror"),
    ],
)
def test_names_get_the_answer_that_the_rules_give(hospital, tablet, words, outcome):
    result = hospital.probe(tablet, *words)
    assert result["outcome"] == outcome, result


def test_the_first_packet_after_an_answer_passes_for_fresh_names(hospital, tablet):
    code = (
        "import sys\n"
        "from netguard.lab.probe import dns, tcp\n"
        "passed = 0\n"
        "for n in range(150):\n"
        "    found = dns(f'n{n}-'+sys.argv[1]+'.zoom.us', '10.99.0.1', 'A', 3.0)\n"
        "    passed += tcp(found['addresses'][0], 443, 2.0)['ok']\n"
        "print(passed)\n"
    )
    done = hospital.exec(tablet, [sys.executable, "-c", code, "fresh"], timeout=120)
    assert done.stdout.strip() == "150", done.stderr[-800:]


def test_when_the_resolvers_are_silent_the_tablet_gets_servfail_and_calls_go_on(hospital, tablet):
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]
    hospital.kill("unbound", signal.SIGSTOP)
    try:
        assert (
            hospital.probe(tablet, "dns", "never-asked-before.zoom.us", "--timeout", "8")["outcome"]
            == "servfail"
        )
        assert hospital.probe(tablet, "tcp", "170.114.52.2", "443")["ok"]
    finally:
        hospital.kill("unbound", signal.SIGCONT)
    assert hospital.probe(tablet, "dns", "zoom.us", "--timeout", "8")["ok"]


def test_the_kernel_refuses_so_the_answer_is_held_back(hospital, tablet, guard):
    hospital.kill("guard", signal.SIGSTOP)
    try:
        hospital.exec("gw", ["nft", "delete", "table", "inet", "netguard"])
        result = hospital.probe(tablet, "dns", "held-back.zoom.us")
        assert result["outcome"] == "servfail"
    finally:
        hospital.kill("guard", signal.SIGCONT)
    wait_until(
        lambda: hospital.exec("gw", ["nft", "list", "table", "inet", "netguard"]).returncode == 0
    )
    # Before any other answer has shown that the kernel takes addresses again.
    wait_until(lambda: hospital.exec("gw", ["netguard", "status"]).returncode == 0)
    assert hospital.probe(tablet, "dns", "held-back.zoom.us")["ok"]


def wait_until(happened, patience=30.0):
    from time import monotonic, sleep

    end = monotonic() + patience
    while not happened():
        assert monotonic() < end, "it did not happen"
        sleep(0.05)


@pytest.mark.parametrize(
    "command",
    [
        ["nft", "flush", "ruleset"],
        ["nft", "add", "rule", "inet", "netguard", "forward", "accept"],
        ["nft", "insert", "rule", "inet", "netguard", "forward", "accept"],
        ["nft", "flush", "chain", "inet", "netguard", "from_tablet"],
        ["nft", "add", "element", "inet", "netguard", "grants", "{ 77 }"],
        ["nft", "flush", "set", "inet", "netguard", "protected4"],
        ["nft", "add", "chain", "inet", "netguard", "forward", "{ policy accept; }"],
        ["ip", "rule", "del", "pref", "10"],
        ["ip", "-6", "rule", "del", "pref", "10"],
        ["ip", "rule", "flush"],
        ["ip", "route", "del", "10.99.0.0/22"],
        ["ip", "addr", "flush", "dev", "tab0"],
        ["ip", "link", "set", "tab0", "down"],
        ["sysctl", "-qw", "net.ipv4.ip_forward=0"],
        ["nft", "delete", "table", "inet", "netguard"],
        ["nft", "delete", "element", "inet", "netguard", "tablet_if", "{ tab0 }"],
        ["nft", "flush", "set", "inet", "netguard", "bind4"],
    ],
)
def test_what_somebody_else_changes_is_repaired_and_named(hospital, tablet, guard, command):
    before = guard("status")["drifts"]
    assert hospital.exec("gw", command).returncode == 0
    wait_until(lambda: guard("status")["drifts"] > before)
    status = guard("status")
    assert status["drift"][-1]["repaired"]
    if command[0] == "nft":
        assert "nft (pid" in status["drift"][-1]["by"]
    rules = hospital.exec("gw", ["nft", "list", "chain", "inet", "netguard", "forward"]).stdout
    assert "policy drop" in rules
    assert not [line for line in rules.splitlines() if line.strip() == "accept"]
    assert not hospital.probe(tablet, "tcp", "10.10.0.5", "104", "--timeout", "1")["ok"]
    assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]


def test_a_foreign_table_is_named_with_what_it_could_do_and_left_alone(hospital, tablet, guard):
    hospital.exec("gw", ["nft", "add", "table", "ip", "somebodys"])
    try:
        wait_until(lambda: guard("status")["foreign"])
        assert "table ip somebodys\n" in hospital.exec("gw", ["netguard", "status"]).stdout
        for chain, hook in (
            ("out", "{ type nat hook postrouting priority 100; }"),
            ("early", "{ type filter hook prerouting priority -310; }"),
            ("late", "{ type filter hook forward priority 10; }"),
            ("ours", "{ type filter hook output priority 0; }"),
        ):
            words = ["nft", "add", "chain", "ip", "somebodys", chain, hook]
            assert hospital.exec("gw", words).returncode == 0
        wait_until(lambda: len(guard("status")["foreign"]) == 3)
        shown = hospital.exec("gw", ["netguard", "status"]).stdout
        assert "ip somebodys, chain out (nat, postrouting, 100): can rewrite" in shown
        assert "chain early (filter, prerouting, -310): can set the marks" in shown
        assert "chain ours" not in shown
        assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]
    finally:
        hospital.exec("gw", ["nft", "delete", "table", "ip", "somebodys"])
    wait_until(lambda: guard("status")["foreign"] == [])


def test_an_end_in_order_leaves_the_rules_and_a_start_resumes(hospital, tablet, guard):
    before = guard("status")["applied"]
    for name in ("guard", "dns", "watch"):
        hospital.stop(name)
    try:
        assert (
            "chain forward"
            in hospital.exec("gw", ["nft", "list", "table", "inet", "netguard"]).stdout
        )
        assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]
        status = hospital.exec("gw", ["netguard", "status"])
        assert status.returncode == 4
        assert "the kernel keeps the last plan" in status.stderr
    finally:
        for name in ("guard", "dns", "watch"):
            hospital.start(name)
    assert guard("status")["applied"] == before
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]


def test_a_second_guard_is_told_that_one_runs(hospital):
    done = hospital.exec("gw", ["netguard", "guard"], timeout=60)
    assert done.returncode == 2
    assert f"pid {hospital.pid('guard')}" in done.stderr


def test_only_root_and_guard_may_apply(hospital, rules):
    words = [
        "setpriv",
        "--reuid",
        "netguard-watch",
        "--regid",
        "netguard-watch",
        "--clear-groups",
        "--",
    ]
    done = hospital.exec("gw", [*words, "netguard", "apply", str(rules)], timeout=60)
    assert done.returncode == 5
    assert "user 'netguard-watch' may not call 'apply'" in done.stderr


def test_metrics_are_clean_and_count(hospital, tablet):
    import subprocess
    from urllib.request import urlopen

    hospital.probe(tablet, "dns", "www.example.org")
    with urlopen(f"{hospital.web}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['netguard_dns_queries_total{result="denied"}']) >= 1
    assert values["netguard_plan_in_force"] == "1.0"
    assert values['netguard_up{daemon="dns"}'] == "1.0"
    macs = [mac for mac in hospital.record.macs.values() if mac in text]
    assert macs == [], "a MAC is no label"


def test_the_panic_switch_blocks_all_holds_over_a_crash_and_is_in_the_books(
    hospital, tablet, guard
):
    assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]
    done = hospital.exec("gw", ["netguard", "fence", "block", "--note", "worm", "--by", "anna"])
    try:
        assert done.returncode == 0, done.stderr
        assert guard("status")["fence_blocked"]
        for words in (["udp", "170.114.10.7", "8801"], ["tcp", "10.60.0.40", "443"]):
            assert not hospital.probe(tablet, *words, "--timeout", "1")["ok"]
        status = hospital.exec("gw", ["netguard", "status"])
        assert status.returncode == 1
        assert "netguard fence restore" in status.stdout
        hospital.kill("guard")
        hospital.start("guard")
        assert not hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]
        assert apply(hospital, hospital.record.rules).returncode == 0
        assert not hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]
        hospital.exec("gw", ["nft", "flush", "ruleset"])
        wait_until(lambda: guard("status")["drifts"] > 0)
        assert not hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]
    finally:
        hospital.exec("gw", ["netguard", "fence", "restore"])
    assert hospital.probe(tablet, "tcp", "zoom.us", "443")["ok"]
    book = json.loads(hospital.exec("gw", ["netguard", "audit", "--json"]).stdout)
    lines = [line for line in book["audit"] if line["verb"] == "fence"]
    assert {"fence": "blocked", "note": "worm"} in [line["after"] for line in lines]
    assert "anna" in [line["who"] for line in lines]


def test_the_panic_switch_needs_no_disk_and_says_what_a_restart_would_not_know(hospital, tablet):
    state = hospital.settings.parent / "state"
    mode = state.stat().st_mode
    state.chmod(0o555)
    try:
        assert hospital.exec("gw", ["netguard", "fence", "block"]).returncode == 0
        assert not hospital.probe(tablet, "udp", "170.114.10.7", "8801", "--timeout", "1")["ok"]
        done = hospital.exec("gw", ["netguard", "status"])
        assert done.returncode == 1
        assert "a restart would not know it" in done.stdout
    finally:
        state.chmod(mode)
        assert hospital.exec("gw", ["netguard", "fence", "restore"]).returncode == 0
    assert hospital.probe(tablet, "udp", "170.114.10.7", "8801")["ok"]
    # What could not be written down meanwhile is not written down later.
    sleep(RETRY_INTERVAL + 1)
    assert not (state / "fence-blocked").exists()


def test_a_refused_packet_is_shown_with_tablet_rule_and_place(hospital, tablet):
    def rows():
        done = hospital.exec("gw", ["netguard", "denials", "--tablet", "T-001", "--json"])
        return [json.loads(line) for line in done.stdout.splitlines()]

    def shown(destination, port, rule):
        # What is over the rules' rate is counted and not logged: it is tried until it is.
        hospital.probe(tablet, "tcp", destination, port, "--timeout", "1")
        found = {(row["destination"], row["port"], row["rule"]) for row in rows()}
        return (destination, f"tcp/{port}", rule) in found

    wait_until(lambda: shown("10.10.0.5", "104", "protected"))
    wait_until(lambda: shown("93.184.215.14", "443", "patients/deny"))
    assert {row["tablet"] for row in rows()} == {"T-001"}
    assert all(row["ap"] for row in rows())


def test_a_flood_of_refusals_is_logged_at_the_rules_rate_and_counted_in_full(
    hospital, tablet, guard
):
    path = hospital.settings.parent / "run" / "guard.sock"
    before = guard("counters")["counters"]["patients/deny"][0]
    seen = control.call(path, "denials", after=0)["last"]
    code = (
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        "for n in range(2000):\n"
        "    try: s.sendto(b'x',('93.184.215.14',10000+n))\n"
        "    except OSError: s.sendto(b'x',('93.184.215.14',10000+n))\n"
    )
    hospital.exec(tablet, [sys.executable, "-c", code], timeout=60)
    after = guard("counters")["counters"]["patients/deny"][0]
    logged = control.call(path, "denials", after=seen)["last"] - seen
    assert after - before >= 2000
    assert 0 < logged < 200


def test_what_the_kernel_holds_is_proved_and_a_hole_is_refuted(hospital, guard):
    def prove():
        done = hospital.exec("gw", ["netguard", "prove", hospital.record.rules, "--live", "--json"])
        return done.returncode, {
            c["subject"]: c["outcome"] for c in json.loads(done.stdout)["claims"]
        }

    code, outcomes = prove()
    assert (code, set(outcomes.values())) == (0, {"proved"})
    hole = """\
table ip theirs {
  chain c {
    type filter hook postrouting priority 50
    iifname "tab0" ip daddr set 10.10.0.5
  }
}
"""
    file = hospital.settings.parent / "hole.nft"
    file.write_text(hole)
    assert hospital.exec("gw", ["nft", "-f", str(file)]).returncode == 0
    try:
        code, outcomes = prove()
        assert (code, outcomes["pacs"]) == (1, "refuted")
    finally:
        hospital.exec("gw", ["nft", "delete", "table", "ip", "theirs"])
        file.unlink()
