"""A tablet that is said to be stolen is out, at once and for good, until it is said to be found.

Every test starts from a hospital whose tablets are free to join, and leaves it so.
"""

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

from netguard.adapters import control
from netguard.adapters.store import GUARD

MEDIA = ("udp", "170.114.10.7", "8801")


@pytest.fixture
def guard(hospital):
    """Ask guard."""
    path = hospital.settings.parent / "run" / "guard.sock"
    return lambda verb, **words: control.call(path, verb, 60.0, **words)


@pytest.fixture
def state(hospital):
    """Return the folder of guard's state."""
    return hospital.settings.parent / "state"


@pytest.fixture
def tablet(hospital, netguard):
    """Return t1, joined, with its address; whatever is said of it in the test is taken back."""
    said = netguard("tablet", "T-001", "found")
    assert said.returncode == 0, said.stderr
    assert hospital.join("t1")["answer"] == "accept"
    hospital.dhcp("t1")
    assert reaches(hospital, "t1")
    yield "t1"
    if hospital.pid("guard") is None:
        hospital.start("guard")
    assert netguard("tablet", "T-001", "found").returncode == 0


def reaches(hospital, tablet):
    return hospital.probe(tablet, *MEDIA, "--timeout", "1")["ok"]


def settled(hospital, seconds=30.0):
    """Wait until status finds nothing wrong."""
    end = monotonic() + seconds
    while (done := hospital.exec("gw", ["netguard", "status", "--json"])).returncode:
        assert monotonic() < end, done.stdout
        sleep(0.2)


def test_a_stolen_tablet_is_cut_at_once_and_rejected_until_it_is_found(hospital, netguard, tablet):
    hospital.join("t2")
    hospital.dhcp("t2")
    done = netguard("tablet", "T-001", "stolen", "--note", "left the ward", "--by", "alice")
    assert done.returncode == 0, done.stderr
    assert not reaches(hospital, tablet)
    assert hospital.probe(tablet, "dns", "zoom.us")["outcome"] not in {"noerror", "refused"}
    assert reaches(hospital, "t2"), "another tablet must not notice"
    answer = hospital.join("t1")
    assert (answer["answer"], answer["vlan"]) == ("reject", None)
    shown = json.loads(netguard("tablet", "T-001", "--json").stdout)
    assert shown["loan"]["state"] == "stolen"
    assert (shown["loan"]["who"], shown["loan"]["note"]) == ("alice", "left the ward")
    assert shown["refused"] is True
    explained = netguard("explain", "T-001", "zoom.us", "tcp/443")
    assert explained.returncode == 1
    assert "by loan" in explained.stdout
    assert netguard("tablet", "T-001", "found").returncode == 0
    assert hospital.join("t1")["answer"] == "accept"
    hospital.dhcp("t1")
    assert reaches(hospital, tablet)


def test_the_reason_of_a_reject_is_in_the_event_log_and_watch_knows_it(hospital, netguard, tablet):
    netguard("tablet", "T-001", "stolen")
    assert hospital.join("t1")["answer"] == "reject"
    end = monotonic() + 20
    while True:
        seen = json.loads(netguard("tablet", "T-001", "--json").stdout)["last_admission"]
        if seen["answer"] == "reject":
            break
        assert monotonic() < end, seen
        sleep(0.1)
    assert seen["rule"] == "loan/stolen"


def test_a_loan_survives_the_end_of_guard_a_kill_and_an_apply(
    hospital, netguard, guard, tablet, state
):
    netguard("tablet", "T-001", "stolen")
    for number in (signal.SIGTERM, signal.SIGKILL):
        hospital.kill("guard", number)
        assert not reaches(hospital, tablet), "the kernel holds while nobody guards"
        assert hospital.join("t1")["answer"] == "reject"
        hospital.start("guard")
        assert guard("loans")["loans"]["T-001"] == "stolen"
        assert not reaches(hospital, tablet)
        assert hospital.join("t1")["answer"] == "reject"
    assert netguard("apply", hospital.record.rules).returncode == 0
    assert not reaches(hospital, tablet)
    assert hospital.join("t1")["answer"] == "reject"
    settled(hospital)


def test_killed_right_after_the_store_guard_enforces_at_its_next_start(
    hospital, guard, tablet, state
):
    """What is stored and not yet in force is a crash between the two."""
    hospital.kill("guard")
    with sqlite3.connect(state / "guard.db") as connection:
        connection.execute(
            "INSERT OR REPLACE INTO loan VALUES ('T-001', 'stolen', 't', 'alice', '', '')"
        )
    connection.close()
    assert reaches(hospital, tablet), "the kernel cannot know yet"
    hospital.start("guard")
    settled(hospital)
    assert not reaches(hospital, tablet)
    assert hospital.join("t1")["answer"] == "reject"


def test_killed_between_the_file_and_its_load_a_fresh_reload_is_no_proof(
    hospital, netguard, guard, tablet, state
):
    """FreeRADIUS ignores a reload that follows another closely, and answers by the old file."""
    file = state.parent / "radius" / "tablets"
    netguard("tablet", "T-001", "stolen")
    refusing = file.read_text()
    netguard("tablet", "T-001", "found")
    hospital.kill("guard")
    with sqlite3.connect(state / "guard.db") as connection:
        connection.execute("UPDATE loan SET state = 'stolen' WHERE tablet = 'T-001'")
    connection.close()
    file.write_text(refusing)
    hospital.start("guard")
    assert hospital.join("t1")["answer"] == "reject"
    assert not reaches(hospital, tablet)


def test_killed_at_any_moment_of_a_change_the_tablet_is_refused_afterwards(
    hospital, netguard, guard, tablet
):
    """The caller is not answered: whether it is stored or not, kernel, store and answer agree."""
    for pause in (0.05, 0.15, 0.3, 0.5):
        word = "stolen" if guard("loans")["loans"].get("T-001") != "stolen" else "lost"
        change = threading.Thread(target=netguard, args=("tablet", "T-001", word))
        change.start()
        sleep(pause)
        hospital.kill("guard")
        change.join()
        hospital.start("guard")
        settled(hospital)
        held = guard("loans")["loans"].get("T-001", "stock")
        refused = held in {"lost", "stolen", "retired"}
        assert reaches(hospital, tablet) is not refused
        assert (hospital.join("t1")["answer"] == "reject") is refused
        if not refused:
            hospital.dhcp("t1")


def test_the_note_is_kept_without_a_store_and_status_says_so(
    hospital, netguard, guard, tablet, state
):
    netguard("tablet", "T-001", "stolen")
    hospital.kill("guard")
    (state / "guard.db").write_bytes(b"")
    hospital.start("guard")
    try:
        assert guard("loans")["loans"] == {"T-001": "stolen"}
        assert not reaches(hospital, tablet)
        assert hospital.join("t1")["answer"] == "reject"
        done = netguard("status")
        assert done.returncode == 1
        assert "guard.db.damaged-1" in done.stdout
    finally:
        for file in state.glob("guard.db.damaged-*"):
            file.unlink()
    settled(hospital)


def test_with_nothing_left_that_says_who_is_refused_nothing_opens(
    hospital, netguard, guard, tablet, state
):
    netguard("tablet", "T-001", "stolen")
    kept = state.parent / "kept"
    hospital.kill("guard")
    shutil.copytree(state, kept, symlinks=True)
    try:
        (state / "guard.db").write_bytes(b"rubbish" * 1000)
        (state / "refused.json").unlink()
        hospital.start("guard")
        assert "Nobody knows who is refused" in netguard("status").stdout
        assert not reaches(hospital, tablet), "the kernel keeps what it has"
        assert hospital.join("t1")["answer"] == "reject", "and FreeRADIUS its last files"
        assert netguard("apply", hospital.record.rules).returncode != 0
        assert not reaches(hospital, tablet)
        assert hospital.join("t1")["answer"] == "reject"
    finally:
        # A sound copy put back: what the message asks for. What SQLite has not checkpointed yet is in its -wal.
        for file in state.glob("guard.db*"):
            file.unlink()
        for file in (*kept.glob("guard.db*"), kept / "refused.json"):
            shutil.copy2(file, state / file.name)
            shutil.chown(state / file.name, "netguard-guard", "netguard-guard")
        shutil.rmtree(kept)
    settled(hospital)
    assert guard("loans")["loans"]["T-001"] == "stolen"


def test_guard_ends_with_3_before_a_newer_store_and_the_tablets_stay_as_they_are(
    hospital, netguard, tablet, state
):
    netguard("tablet", "T-001", "stolen")
    hospital.kill("guard", signal.SIGTERM)
    with sqlite3.connect(state / "guard.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0099'")
        connection.execute("INSERT INTO program VALUES ('0099', '7.3.0', 't')")
    connection.close()
    ended = netguard("guard")
    try:
        assert ended.returncode == 3
        assert "install netguard 7.3.0 or newer" in ended.stderr
        assert not reaches(hospital, tablet)
        assert hospital.join("t1")["answer"] == "reject"
    finally:
        with sqlite3.connect(state / "guard.db") as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (GUARD.head,))
            connection.execute("DELETE FROM program WHERE step = '0099'")
        connection.close()
        hospital.start("guard")


def test_a_stolen_tablet_that_left_the_inventory_is_stolen_when_it_comes_back(
    hospital, netguard, guard, tablet
):
    netguard("tablet", "T-001", "stolen")
    folder = hospital.settings.parent / "without"
    shutil.copytree(hospital.record.rules, folder)
    try:
        table = folder / "tablets.csv"
        lines = table.read_text().splitlines(keepends=True)
        table.write_text("".join(line for line in lines if not line.startswith("T-001,")))
        for case in (folder / "tests").glob("*.yaml"):
            case.write_text(case.read_text().replace("T-001", "T-002"))
        done = netguard("apply", str(folder))
        assert done.returncode == 0, done.stderr
        known = json.loads(netguard("tablet", "T-001", "--json").stdout)
        assert (known["inventory"], known["loan"]["state"]) == (None, "stolen")
    finally:
        shutil.rmtree(folder)
        assert netguard("apply", hospital.record.rules).returncode == 0
    assert guard("loans")["loans"]["T-001"] == "stolen"
    assert not reaches(hospital, tablet)
    assert hospital.join("t1")["answer"] == "reject"


def test_status_says_when_freeradius_did_not_reload_and_it_is_tried_again(
    hospital, netguard, tablet
):
    hospital.stop("freeradius")
    done = netguard("tablet", "T-001", "stolen")
    assert done.returncode == 1
    assert "warning: radius:" in done.stderr
    assert not reaches(hospital, tablet), "the kernel does not wait for FreeRADIUS"
    assert "radius: " in netguard("status").stdout
    hospital.start("freeradius")
    settled(hospital)
    assert hospital.join("t1")["answer"] == "reject"


def test_unknown_macs_are_lines_for_the_inventory_that_check_refuses_until_they_are_filled(
    hospital, netguard, tmp_path
):
    assert hospital.join("stranger")["answer"] == "reject"
    mac = hospital.record.macs["stranger"]
    end = monotonic() + 20
    while mac not in (done := netguard("unknown", "--since", "1h")).stdout:
        assert monotonic() < end, done.stderr
        sleep(0.1)
    line = next(line for line in done.stdout.splitlines() if mac in line)
    assert line.startswith("NEW-")
    assert f"{mac}  " in done.stderr
    assert "not in tablets.csv" in done.stderr
    folder = tmp_path / "rules"
    shutil.copytree(hospital.record.rules, folder)
    with (folder / "tablets.csv").open("a") as table:
        table.write(line + "\n")
    words = [sys.executable, "-m", "netguard", "check", str(folder)]
    checked = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 1
    assert "'?'" in checked.stdout
    assert "columns" not in checked.stdout, "the line has the columns of the file"


def test_what_is_read_from_the_event_log_counts_once_when_watch_is_killed(hospital, netguard):
    mac = hospital.record.macs["stranger"]

    def count():
        found = json.loads(netguard("unknown", "--json").stdout)["unknown"]
        return next((each["count"] for each in found if each["mac"] == mac), 0)

    def arrives(wanted):
        end = monotonic() + 20
        while (seen := count()) != wanted:
            assert monotonic() < end, (seen, wanted)
            assert seen < wanted
            sleep(0.1)

    hospital.join("stranger")
    end = monotonic() + 20
    while not (before := count()):
        assert monotonic() < end
        sleep(0.1)
    sleep(1.0)
    before = count()
    for joined in range(1, 4):
        hospital.kill("watch")
        hospital.join("stranger")
        hospital.start("watch")
        arrives(before + joined)


def test_who_did_what_can_be_looked_up(hospital, netguard, tablet):
    assert netguard("apply", hospital.record.rules).returncode == 0
    netguard("tablet", "T-001", "stolen", "--by", "alice", "--note", "x\ny")
    lines = json.loads(netguard("audit", "--json", "--subject", "T-001").stdout)["audit"]
    assert lines[0]["who"] == "alice"
    assert (lines[0]["before"]["state"], lines[0]["after"]["state"]) == ("stock", "stolen")
    assert lines[0]["after"]["note"] == "x y"
    applied = json.loads(netguard("audit", "--json").stdout)["audit"]
    apply = next(line for line in applied if line["verb"] == "apply")
    assert {"number", "rules", "plan"} <= set(apply["after"])
    assert "T-001" in netguard("audit").stdout
    assert netguard("audit", "--since", "soon").returncode == 2


def test_lines_older_than_the_rules_keep_them_go_with_an_apply(hospital, netguard, guard, state):
    with sqlite3.connect(state / "guard.db") as connection:
        connection.execute(
            "INSERT INTO audit (at, who, verb, subject, before, after)"
            " VALUES ('2020-01-01T00:00:00+00:00', 'alice', 'loan', 'T-old', '{}', '{}')"
        )
    connection.close()
    assert len(guard("audit", subject="T-old")["audit"]) == 1
    assert netguard("apply", hospital.record.rules).returncode == 0
    assert guard("audit", subject="T-old")["audit"] == []
    assert guard("audit")["audit"], "those that are newer stay"


def test_an_apply_that_failed_is_in_the_audit_too(hospital, netguard, guard):
    """The address of a file that guard has to write is taken by a folder."""
    hosts = hospital.settings.parent / "dhcp" / "hosts.d" / "netguard"
    kept = hosts.read_bytes()
    folder = hospital.settings.parent / "fewer"
    shutil.copytree(hospital.record.rules, folder)
    table = folder / "tablets.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    hosts.unlink()
    hosts.mkdir()
    try:
        done = netguard("apply", str(folder))
        assert done.returncode != 0
        assert "hosts.d/netguard cannot be written" in done.stderr
        lines = json.loads(netguard("audit", "--json").stdout)["audit"]
        assert [line["verb"] for line in lines[:2]] == ["apply-undone", "apply"]
        assert lines[0]["before"] == lines[1]["after"]
    finally:
        hosts.rmdir()
        hosts.write_bytes(kept)
        shutil.chown(hosts, "netguard-guard", "netguard-dhcp")
        shutil.rmtree(folder)
        assert netguard("apply", hospital.record.rules).returncode == 0
    settled(hospital)


def test_a_word_that_is_none_changes_nothing(hospital, netguard, guard):
    before = guard("loans")["loans"]
    assert netguard("tablet", "T-001", "stollen").returncode == 2
    assert "did you mean" in netguard("tablet", "T-01", "stolen").stderr
    for wrong in ("gone", "", "STOLEN"):
        with pytest.raises(control.Refused):
            guard("tablet", tablet="T-001", state=wrong)
    assert guard("loans")["loans"] == before


def test_metrics_count_loans_and_are_clean(hospital, netguard, tablet):
    netguard("tablet", "T-001", "stolen")
    with urlopen(f"{hospital.web}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['netguard_loans{state="stolen"}']) == 1
    assert 'netguard_problem{enforcer="store"}' in values
    assert "netguard_store_failures_total" in values
    assert "netguard_unknown_macs" in values
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_length_that_cannot_be_meant_is_refused_with_what_to_write(netguard):
    for wrong, said in (
        ("2m", "m are minutes"),
        ("0s", "from 1h to 366d"),
        ("soon", "not a duration"),
    ):
        done = netguard("lend", "T-060", "--for", wrong)
        assert done.returncode != 0
        assert said in done.stderr


def test_a_loan_that_is_over_is_told_once_and_ends_with_the_return(
    hospital, netguard, guard, state
):
    """A tablet that no other test is about, which guard and watch know through a kill of each."""

    def until(look, wanted):
        end = monotonic() + 30
        while (seen := look()) != wanted:
            assert monotonic() < end, seen
            sleep(0.2)

    def known():
        return json.loads(netguard("tablet", "T-060", "--json").stdout)

    def overdue():
        rows = json.loads(netguard("tablets", "--overdue", "--json").stdout)["tablets"]
        return [row["tablet"] for row in rows]

    def told():
        rows = json.loads(netguard("alerts", "--all", "--json").stdout)["alerts"]
        return [row["open"] for row in rows if (row["tablet"], row["code"]) == ("T-060", "NG-1113")]

    assert netguard("return", "T-060").returncode == 0
    done = netguard("lend", "T-060", "--for", "3d", "--by", "alice")
    assert done.returncode == 0, done.stderr
    first = known()
    due, since = (datetime.fromisoformat(first[key]) for key in ("due", "lent_since"))
    assert (due - since, first["overdue"]) == (timedelta(days=3), False)
    assert f"due back {first['due']}" in done.stdout
    (line, *_) = json.loads(netguard("audit", "--json", "--subject", "T-060").stdout)["audit"]
    assert (line["who"], line["after"]["until"]) == ("alice", first["due"])
    until(lambda: f"due back {first['due']}" in netguard("tablets").stdout, True)
    # Four days later.
    hospital.kill("guard")
    with sqlite3.connect(state / "guard.db") as connection:
        days = [(moment - timedelta(days=4)).isoformat() for moment in (since, due)]
        connection.execute("UPDATE loan SET at = ?, until = ? WHERE tablet = 'T-060'", days)
    connection.close()
    hospital.start("guard")
    try:
        settled(hospital)
        assert known()["overdue"]
        assert f"overdue since {days[1]}" in netguard("tablet", "T-060").stdout
        until(overdue, ["T-060"])
        assert "; 1 overdue" in netguard("status").stdout
        until(told, [True])
        with urlopen(f"{hospital.web}/metrics", timeout=10) as answer:
            assert 'netguard_loans_overdue{site="pellegrin"} 1.0' in answer.read().decode()
        hospital.kill("watch")
        hospital.start("watch")
        until(overdue, ["T-060"])
        sleep(12)
        assert told() == [True], "two looks later it is told no second time"
        assert netguard("lend", "T-060", "--for", "2h").returncode == 0
        until(told, [False])
        assert overdue() == []
    finally:
        assert netguard("return", "T-060").returncode == 0
    assert (known()["lent_since"], known()["due"]) == ("", "")
