"""From the event log to the engine: each record once, over kills, full disks and stepped clocks."""

import asyncio
import json
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from netguard.adapters import clock, store
from netguard.core.evidence import Event, read_event
from netguard.core.names import parse_network
from netguard.core.presence import dump
from netguard.core.usage import read_seen
from netguard.daemon import whereabouts
from netguard.daemon.intake import Intake
from netguard.daemon.pace import Pace
from netguard.daemon.watch import Watch
from netguard.errors import Refused, StoreError
from netguard.metrics import View
from netguard.render import watch as watch_file
from netguard.rules.messages import lines

MAC = "64:1b:2f:6a:d5:79"


@pytest.fixture
def told(monkeypatch):
    """What the engine is told, whoever tells it."""
    from netguard.daemon import presence

    found = []
    plain = presence.step

    def step(model, state, event):
        found.append(event)
        return plain(model, state, event)

    monkeypatch.setattr(presence, "step", step)
    return found


def write_rules(settings, policy, loans=None, moves=None, **said):
    words = (loans or {}, moves or {}, lines(), watch_file.Said(**said))
    text = watch_file.render(policy, "digest", settings.sites, *words)
    path = settings.paths.state / "watch.json"
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").rename(path)


def accounting(time, status="Start", mac=MAC, ap="AP-CAR-301", **more):
    return {
        "t": str(int(time.wall)), "kind": "accounting", "nas": "wlc-1", "site": "pellegrin",
        "mac": mac, "ap": ap, "status": status, "session": "1", "cause": "", "delay": "0",
        "in_packets": "", **more,
    }  # fmt: skip


def admission(time, mac, **more):
    return {
        "t": str(int(time.wall)), "kind": "admission", "nas": "wlc-1", "site": "pellegrin",
        "mac": mac, "ap": "AP-CAR-301", **more,
    }  # fmt: skip


def write(settings, *records, file="events-20261122.log"):
    with (settings.paths.radius_log / file).open("a") as log:
        for record in records:
            log.write(json.dumps(record) + "\n")


def row(intake, mac=MAC):
    return whereabouts.tablets(intake, mac)[0]


def test_a_session_is_presence_and_the_last_word_survives_a_restart(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    assert intake.take().records == ()
    assert row(intake)["presence"] == "never-seen"
    write(settings, accounting(time))
    time.on(1)
    intake.take()
    found = row(intake)
    assert (found["tablet"], found["presence"], found["area"], found["ap"]) == (
        "T-001", "present", "cardio-3", "ap-car-301",
    )  # fmt: skip
    before = dump(intake.presence.state)
    intake.close()
    again = Intake(settings)
    again.take()
    assert dump(again.presence.state) == before
    assert row(again) == found
    again.close()


def test_what_a_nas_delays_happened_earlier_and_a_stepped_clock_changes_nothing(
    settings, policy, time, told
):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    told.clear()
    start = intake.now()
    write(settings, accounting(time, delay="67"))
    intake.take()
    assert told[-1].at == pytest.approx(start - 67, abs=1.1)
    for step in (3600, -7200, 86400):
        time.wall += step
        time.on(10)
        write(settings, accounting(time, "Interim-Update"))
        intake.take()
        assert told[-1].at == pytest.approx(intake.now(), abs=1.1)
        assert told[-1].kind == "session-interim"
    # Ten seconds were added three times, and no hour.
    assert intake.now() - start == pytest.approx(30, abs=1.5)
    intake.close()


def test_a_log_that_grew_while_nobody_read_is_told_at_its_own_times(settings, policy, time, told):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    intake.close()
    told.clear()
    start = time.wall
    for _ in range(3):
        time.on(100)
        write(settings, accounting(time, "Interim-Update"))
    again = Intake(settings)
    again.take()
    times = [event.at - start for event in told if event.kind == "session-interim"]
    assert times == pytest.approx([100, 200, 300], abs=1.5)
    again.close()


def test_who_is_in_no_inventory_and_our_own_questions_are_no_evidence(settings, policy, time, told):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    told.clear()
    admission = accounting(time) | {
        "kind": "admission",
        "answer": "accept",
        "rule": "patients/admit",
    }
    write(
        settings,
        admission | {"nas": "self.pellegrin"},
        admission | {"answer": "reject", "rule": "unknown-mac"},
        admission | {"answer": "reject", "rule": "loan/stolen"},
        admission,
        accounting(time, "Accounting-On", mac=""),
    )
    intake.take()
    assert [event.kind for event in told] == ["heard", "associated", "nas-restart"]
    intake.close()


def test_what_people_say_is_told_once_and_again_after_it_has_changed(settings, policy, time, told):
    write_rules(settings, policy, {"T-001": "lent"}, {"T-002": ("pellegrin/stock", time.wall + 60)})
    intake = Intake(settings)
    for _ in range(3):
        intake.take()
    assert [(e.kind, e.reason, e.area) for e in told] == [
        ("loan", "lent", ""), ("moved-planned", "", "pellegrin/stock"),
    ]  # fmt: skip
    write_rules(settings, policy, {"T-001": "stolen"})
    for _ in range(3):
        intake.take()
    assert [e.reason for e in told if e.kind == "loan"] == ["lent", "stolen"]
    assert row(intake)["loan"] == "stolen"
    intake.close()


def test_rules_that_change_keep_what_is_known(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    write(settings, accounting(time))
    intake.take()
    fewer = replace(policy, tablets={k: v for k, v in policy.tablets.items() if k != "T-002"})
    write_rules(settings, fewer)
    intake.take()
    assert row(intake)["presence"] == "present"
    assert whereabouts.tablets(intake, "T-002") == []
    (settings.paths.state / "watch.json").write_text("{")
    intake.take()
    assert "watch.json" in intake.book_problem
    assert row(intake)["presence"] == "present"
    intake.close()


def test_a_machine_that_was_off_heard_nothing(settings, policy, time, told, monkeypatch):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    write(settings, accounting(time))
    intake.take()
    intake.close()
    time.on(5000)
    monkeypatch.setattr(clock, "booted", lambda: time.wall - 60)
    told.clear()
    again = Intake(settings)
    again.take()
    assert {"feed-lost", "feed-back"} <= {event.kind for event in told}
    assert row(again)["presence"] != "missing"
    again.close()


def test_nobody_ran_for_a_while_and_nobody_is_missing(settings, policy, time, told):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    write(settings, accounting(time, ap="AP-LOB-01"))
    intake.take()
    time.on(7200)
    taken = intake.take()
    assert "feed-lost" in {event.kind for event in told}
    assert [a for a in taken.actions if getattr(a, "after", "") == "missing"] == []
    intake.close()


def test_an_access_point_of_a_network_that_starts_again_ends_its_own_sessions_only(
    settings, policy, time
):
    site = policy.sites["pellegrin"]
    nas = {"wlc-1": replace(site.nas["wlc-1"], address=parse_network("10.1.2.0/24"))}
    write_rules(
        settings, replace(policy, sites={**policy.sites, "pellegrin": replace(site, nas=nas)})
    )
    intake = Intake(settings)
    intake.take()
    other = str(policy.tablets["T-002"].mac)
    write(
        settings,
        accounting(time, src="10.1.2.7"),
        accounting(time, mac=other, src="10.1.2.8"),
    )
    intake.take()
    write(settings, accounting(time, "Accounting-On", mac="", src="10.1.2.7"))
    intake.take()
    assert intake.store.sessions(policy.tablets["T-001"].mac) == []
    assert len(intake.store.sessions(policy.tablets["T-002"].mac)) == 1
    intake.close()


def test_what_is_too_old_makes_nobody_deaf(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    time.on(3600)
    intake.take()
    intake.presence.tell([Event(1.0, "heard", mac=MAC, received=time.wall - 1800)], intake.now())
    assert intake.presence.state.ignored == {"late": 1}
    time.on(10)
    write(settings, accounting(time))
    intake.take()
    assert row(intake)["presence"] == "present"
    intake.close()


def tell_all(intake):
    """Take turns until the log is read; returns how many it took."""
    turns = 1
    while intake.take().more:
        turns += 1
    return turns


def test_what_people_said_does_not_overtake_a_long_log(settings, policy, time):
    """A loan told at the start must not make all that the log still holds old news."""
    write_rules(settings, policy, {"T-001": "lent"})
    intake = Intake(settings)
    intake.take()
    intake.close()
    others = [str(policy.tablets[f"T-{n:03d}"].mac) for n in range(1, 11)]
    for n in range(600):
        time.on(20)
        rows = [
            accounting(
                time, "Interim-Update", mac, session=mac, in_packets=str(n), called="x" * 150
            )
            for mac in others
        ]
        write(settings, *rows)
    again = Intake(settings)
    assert tell_all(again) > 1
    assert again.presence.state.ignored == {}
    assert again.presence.state.tablets[MAC].loan == "lent"
    assert row(again)["last_seen"] == clock.stamp(time.wall)
    again.close()


@pytest.mark.parametrize("how", ["replaced", "damaged"])
def test_a_log_that_is_read_again_brings_nobody_back(settings, policy, time, how):
    write_rules(settings, policy, {"T-001": "lent"})
    intake = Intake(settings)
    intake.take()
    write(settings, accounting(time))
    intake.take()
    for n in range(120):
        time.on(30)
        write(
            settings,
            *(
                accounting(time, "Interim-Update", str(policy.tablets[f"T-{each:03d}"].mac),
                           session=str(each), in_packets=str(n))
                for each in range(2, 10)
            ),
        )  # fmt: skip
        intake.take()
    before = row(intake)
    assert before["presence"] == "missing"
    if how == "replaced":
        log = settings.paths.radius_log / "events-20261122.log"
        copy = log.with_suffix(".copy")
        copy.write_bytes(log.read_bytes())
        copy.rename(log)
    else:
        path = settings.watch_state / "watch.db"
        kept = path.read_bytes()[:4096]
        intake.store.close()
        intake.store = None
        path.write_bytes(kept + b"\xff" * 100_000)
    time.on(20)
    tell_all(intake)
    assert intake.presence.state.ignored == {}
    assert (row(intake)["presence"], row(intake)["last_seen"]) == ("missing", before["last_seen"])
    # What comes after it counts as ever.
    time.on(20)
    write(settings, accounting(time, session="2"))
    intake.take()
    assert row(intake)["presence"] == "present"
    intake.close()


@pytest.mark.parametrize("ended", ["once", "twice"])
def test_a_log_that_is_read_again_brings_nobody_back_when_watch_is_killed_meanwhile(
    settings, policy, time, ended
):
    """The rest of the old records counted as heard at the restart, and the alarm of a theft ended."""
    write_rules(settings, policy, {"T-001": "lent"})
    intake = Intake(settings)
    intake.take()
    others = [str(policy.tablets[f"T-{n:03d}"].mac) for n in range(2, 12)]
    for n in range(200):
        time.on(30)
        if n < 100:
            # The last of it lies behind the first part of 1 MB.
            write(settings, accounting(time))
        for mac in others:
            more = {"session": mac, "in_packets": str(n), "called": "x" * 1000}
            write(settings, accounting(time, "Interim-Update", mac, **more))
        intake.take()
    before = row(intake)
    assert (before["presence"], before["last_seen"]) == ("missing", clock.stamp(time.wall - 3000))
    log = settings.paths.radius_log / "events-20261122.log"
    copy = log.with_suffix(".copy")
    copy.write_bytes(log.read_bytes())
    copy.rename(log)
    for _ in range({"once": 1, "twice": 2}[ended]):
        time.on(1)
        assert intake.take().more
        # As after kill -9: nothing is closed in order.
        intake.store.close()
        intake = Intake(settings)
    time.on(1)
    tell_all(intake)
    assert (row(intake)["presence"], row(intake)["last_seen"]) == ("missing", before["last_seen"])
    assert intake.store.read_again("radius") == 0
    # What comes after it counts as ever, whatever the clock has said meanwhile.
    time.wall -= 7200
    time.on(20)
    write(settings, accounting(time, session="2"))
    intake.take()
    assert row(intake)["presence"] == "present"
    intake.close()


def test_a_silent_tablet_at_an_exit_is_an_incident_once(settings, policy, time):
    write_rules(settings, policy, {"T-001": "lent"})
    intake = Intake(settings)
    intake.take()
    alerts = []

    def turn(seconds):
        for _ in range(int(seconds // 10)):
            time.on(10)
            if int(time.steady) % 60 == 0:
                # Others are heard: it is not the network that is silent.
                for n in range(1, 9):
                    mac = str(policy.tablets[f"T-{n + 1:03d}"].mac)
                    write(settings, accounting(time, "Interim-Update", mac, session=str(n)))
            alerts.extend(a for a in intake.take().actions if hasattr(a, "reasons"))

    write(settings, accounting(time))
    turn(1200)
    write(settings, accounting(time, ap="AP-LOB-01"))
    turn(60)
    write(settings, accounting(time, "Stop", ap="AP-LOB-01", cause="Lost-Carrier"))
    turn(3600)
    raised = [alert for alert in alerts if alert.kind == "raised" and alert.tablet == "T-001"]
    assert len(raised) == 1
    stored = intake.store.incidents(tablet="T-001")
    assert [each.id for each in stored] == [raised[0].id]
    shown = whereabouts.incident(intake, stored[0])
    assert shown["open"]
    assert shown["reasons"]
    # As after kill -9: nothing is raised again.
    intake.close()
    again = Intake(settings)
    assert [a for a in again.take().actions if getattr(a, "kind", "") == "raised"] == []
    assert [each.id for each in again.store.incidents(tablet="T-001")] == [raised[0].id]
    write(settings, accounting(time, "Start", session="9"))
    again.take()
    assert again.store.incidents(tablet="T-001")[0].cleared is not None
    again.close()


def test_what_cannot_be_stored_is_not_told(settings, policy, time, told, monkeypatch):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    told.clear()
    write(settings, accounting(time))
    intake.offer(Event(intake.now(), "heard", mac=MAC))
    take = store.WatchStore.take

    def full(*words, **more):
        raise StoreError("watch.db: the disk is full")

    monkeypatch.setattr(store.WatchStore, "take", full)
    for _ in range(2):
        with pytest.raises(StoreError):
            intake.take()
    assert told == []
    monkeypatch.setattr(store.WatchStore, "take", take)
    intake.take()
    assert sorted(event.kind for event in told) == ["heard", "session-start"]
    intake.close()


def test_a_snapshot_empties_the_journal_and_tells_the_same(settings, policy, time, monkeypatch):
    write_rules(settings, policy)
    intake = Intake(settings)
    for number in range(5):
        write(settings, accounting(time, session=str(number)))
        time.on(100)
        intake.take()
    state, _, journal = intake.store.remembered()
    assert state is not None
    assert len(journal) < 5
    before = dump(intake.presence.state)
    intake.close()
    again = Intake(settings)
    again.take()
    assert dump(again.presence.state) == before
    again.close()


def test_more_than_may_wait_pushes_out_the_oldest(settings, policy, time, told, monkeypatch):
    monkeypatch.setattr("netguard.daemon.intake.MOST_WAITING", 3)
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    for number in range(5):
        intake.offer(Event(intake.now(), "heard", mac=MAC, reason=str(number)))
    intake.take()
    assert [event.reason for event in told if event.kind == "heard"] == ["2", "3", "4"]
    assert intake.dropped["queue"] == 2
    intake.close()


def test_recording_is_off_until_the_rules_say_so_and_reads_back(settings, policy, time):
    write_rules(settings, policy)
    watch = Watch(settings)
    watch.intake.take()

    async def ask(**words):
        return await watch.recorded(None, words)

    with pytest.raises(Refused, match="recording: 7d"):
        asyncio.run(ask())
    write(settings, accounting(time))
    watch.intake.take()
    kept = replace(policy.retention, recording=timedelta(days=7))
    write_rules(settings, replace(policy, retention=kept))
    watch.intake.take()
    write(settings, accounting(time, "Stop", cause="User-Request"))
    time.on(2)
    watch.intake.take()
    answer = asyncio.run(ask())
    rows = [
        read_event(json.loads(line)) for block in answer["recorded"] for line in block.split("\n")
    ]
    assert [(each.kind, each.mac, each.reason) for each in rows] == [
        ("session-stop", MAC, "user-request")
    ]
    time.on(8 * 86400)
    watch.intake.tidy()
    assert watch.intake.store.recorded(0.0) == []
    watch.intake.close()


def test_requests_are_recorded_by_the_hour_and_strangers_under_another_address(
    settings, policy, time
):
    kept = replace(policy.retention, recording=timedelta(days=7))
    write_rules(settings, replace(policy, retention=kept))
    intake = Intake(settings)
    intake.take()
    stranger = "3c:28:6d:11:22:33"
    asked = {"ssid": "CHU-TABLETTES", "answer": "accept", "rule": "patients/admit", "vlan": "640"}
    refused = {"ssid": "CHU-TABLETTES", "answer": "reject", "rule": "unknown-mac"}
    for _ in range(3):
        write(settings, admission(time, MAC, **asked))
    write(settings, admission(time, stranger, **refused))
    intake.take()
    assert [line for _, line in intake.store.recorded(0.0) if '"admission"' in line] == []
    intake.used.told([flow_line(), "{", 7, '{"kind":"flow"}', flow_line()])
    time.on(3700)
    intake.take()
    (block,) = [lines for _, lines in intake.store.recorded(0.0) if '"admission"' in lines]
    rows = [read_seen(json.loads(line)) for line in block.split("\n")]
    assert [(row.kind, row.answer, row.times) for row in rows] == [
        ("admission", "allowed", 3), ("admission", "refused", 1), ("flow", "refused", 8),
    ]  # fmt: skip
    assert rows[0].mac == MAC
    assert rows[1].mac.startswith("3c:28:6d:")
    assert rows[1].mac != stranger
    assert stranger not in block
    assert all(row.at % 3600 == 0 for row in rows)
    # What an hour has so far is written when it ends, or when we do.
    write(settings, admission(time, MAC, **asked))
    intake.take()
    intake.close()
    intake.open()
    assert sum('"admission"' in lines for _, lines in intake.store.recorded(0.0)) == 2
    intake.close()


def test_what_is_told_while_an_hour_is_written_is_not_lost(settings, policy, time, monkeypatch):
    """One thread takes what the daemons tell, another writes it down: as in a running watch."""
    monkeypatch.setattr("netguard.daemon.usage.MOST", 10**6)
    kept = replace(policy.retention, recording=timedelta(days=7))
    write_rules(settings, replace(policy, retention=kept))
    intake = Intake(settings)
    intake.take()
    done = threading.Event()
    row = {"kind": "name", "group": "g", "answer": "refused", "rule": "r"}

    def tell():
        for n in range(3000):
            intake.take_use([json.dumps({**row, "name": f"n{n}"})])
        done.set()

    thread = threading.Thread(target=tell)
    thread.start()
    while not done.is_set():
        intake.write_use_now()
    thread.join()
    intake.write_use_now()
    lines: list[str] = []
    after = 0
    while rows := intake.store.recorded(0.0, after):
        lines += [line for _, block in rows for line in block.split("\n")]
        after = rows[-1][0]
    assert len(lines) == len(set(lines)) == 3000
    intake.close()


def recorded_flows(intake):
    """Return how often each flow was seen, of what is written down."""
    blocks = [lines for _, lines in intake.store.recorded(0.0)]
    lines = [json.loads(line) for block in blocks for line in block.split("\n")]
    return [line["times"] for line in lines if line["kind"] == "flow"]


def test_an_hour_of_use_that_a_full_disk_refuses_is_written_later(
    settings, policy, time, monkeypatch
):
    kept = replace(policy.retention, recording=timedelta(days=7))
    write_rules(settings, replace(policy, retention=kept))
    intake = Intake(settings)
    intake.take()
    intake.take_use([flow_line()])
    take = store.WatchStore.take

    def full(self, feed, positions, *more, **words):
        if "told" in words and '"flow"' in words["told"].recorded:
            raise StoreError("database or disk is full")
        return take(self, feed, positions, *more, **words)

    with monkeypatch.context() as patch:
        patch.setattr(store.WatchStore, "take", full)
        time.on(3700)
        intake.take()
        assert recorded_flows(intake) == []
    time.on(60)
    intake.take()
    assert recorded_flows(intake) == [4]
    intake.close()


def test_nothing_of_use_is_kept_where_the_rules_want_no_recording(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    write(settings, admission(time, MAC, answer="accept", rule="patients/admit"))
    intake.take()
    time.on(3700)
    intake.take()
    assert intake.store.recorded(0.0) == []
    intake.close()


def flow_line():
    return json.dumps(
        {"kind": "flow", "group": "patients", "site": "pellegrin", "answer": "refused",
         "rule": "patients/deny", "protocol": "tcp", "address": "203.0.112.9", "port": 443, "times": 4}
    )  # fmt: skip


def test_metrics_name_sites_and_areas_and_no_tablet(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    write(settings, accounting(time))
    intake.take()
    view = View()
    whereabouts.measure(intake, view)
    assert view.presence["pellegrin", "cardio-3", "present"] == 1
    assert sum(view.presence.values()) == len(policy.tablets)
    intake.close()


def test_each_nas_is_a_feed_with_a_state_and_a_clock(settings, policy, time):
    """Of a NAS that speaks RADIUS only nobody said whether it is heard, and how wrong its clock is."""
    write_rules(settings, policy)
    watch = Watch(settings)
    watch._take(watch.intake.take())
    write(settings, accounting(time, stamp=str(int(time.wall) - 95)))
    watch._take(watch.intake.take())
    feeds = asyncio.run(watch.status(None, {}))["feeds"]
    assert (feeds["nas:wlc-1"]["stale"], feeds["nas:wlc-1"]["skew"]) == (False, 95)
    asyncio.run(watch._refresh())
    registry = CollectorRegistry()
    registry.register(watch.collector)
    told = generate_latest(registry).decode()
    assert 'netguard_feed_clock_skew_seconds{feed="nas:wlc-1"} 95.0' in told
    assert 'netguard_feed_stale{feed="nas:wlc-1"} 0.0' in told
    assert 'netguard_feed_last_event_timestamp_seconds{feed="nas:wlc-1"}' in told
    # One alert tells of a silent NAS: the engine's.
    assert "nas:wlc-1" not in watch._told_feeds()
    # So much silence of a NAS that had a rhythm is no good sign.
    macs = [str(tablet.mac) for tablet in policy.tablets.values()]
    for turn in range(160):
        time.on(20)
        if turn < 80:
            write(settings, accounting(time, "Interim-Update", macs[turn % 40]))
        watch._take(watch.intake.take())
    assert asyncio.run(watch.status(None, {}))["feeds"]["nas:wlc-1"]["stale"]
    watch.intake.close()


def test_a_nas_that_left_the_rules_is_no_silent_feed(settings, policy, time):
    """The engine keeps it for ever: so did the metric, as a feed that is silent for too long."""
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    write(settings, accounting(time))
    intake.take()
    assert "nas:wlc-1" in whereabouts.nases(intake, {})
    site = policy.sites["pellegrin"]
    kept = {name: nas for name, nas in site.nas.items() if name != "wlc-1"}
    fewer = replace(policy, sites=policy.sites | {"pellegrin": replace(site, nas=kept)})
    write_rules(settings, fewer)
    intake.take()
    assert whereabouts.nases(intake, {}) == {}
    intake.close()


def test_when_a_nas_was_heard_is_told_by_the_clock_on_the_wall(settings, policy, time):
    """The engine's goes on as if nobody had set it: an hour on, each NAS was last heard an hour ago."""
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    time.wall += 3600
    time.on(10)
    write(settings, accounting(time))
    intake.take()
    heard, _, _ = whereabouts.nases(intake, {})["nas:wlc-1"]
    assert heard == pytest.approx(time.wall, abs=1.5)
    intake.close()


def test_the_pace_drifts_to_the_wall_clock_and_never_goes_back():
    pace = Pace.begun(1000.0, 0.0, 5000.0)
    assert pace.now(1000.0, 0.0) == 5000.0
    times = [pace.now(1000.0 + t, float(t)) for t in range(0, 1000, 10)]
    assert times == sorted(times)
    pace = Pace.begun(1000.0, 0.0, 0.0)
    assert pace.now(1100.0, 10.0) == pytest.approx(1010.1)


# killed at each step

# Which turns (kill_sweep.py, 20 s each) hear what: at rest, to the exit, gone; and back when that was told.
EXIT, BACK = 52, 63


def script_of_a_theft(policy):
    """Return what FreeRADIUS writes in each turn; others go on, and strangers ask to join."""
    moment = type("Moment", (), {"wall": 0.0})
    others = [str(policy.tablets[f"T-{n:03d}"].mac) for n in range(2, 10)]
    turns = []
    for turn in range(65):
        said = [
            accounting(moment, "Interim-Update", mac, session=f"{mac}", in_packets=str(turn + 1))
            for mac in others[turn % 3 :: 3]
        ]
        if turn < EXIT:
            said.append(accounting(moment, "Interim-Update", in_packets=str(10 * turn)))
        if turn == EXIT:
            said.append(accounting(moment, "Start", ap="AP-LOB-01", session="2"))
        if turn == EXIT + 1:
            said.append(
                accounting(moment, "Stop", ap="AP-LOB-01", session="2", cause="Lost-Carrier")
            )
        if turn == BACK:
            said.append(accounting(moment, "Start", session="3"))
        if turn % 4 == 0:
            stranger = {"answer": "reject", "rule": "unknown-mac"}
            said.append(admission(moment, "3c:28:6d:ff:00:66", **stranger))
        turns.append([{key: row[key] for key in row if key != "t"} for row in said])
    return turns


@pytest.fixture
def in_memory():
    """Return a folder that is on no disk: what was written outlives a process all the same."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


# Some 250 lives, each a process: of the processor a third of a minute, and whatever else runs comes in between.
@pytest.mark.timeout(420)
def test_killed_at_every_step_nothing_is_lost_and_nothing_doubled(
    settings, policy, tmp_path, in_memory
):
    """A theft is stored, told, and over; killed anywhere, what is left is what an undisturbed reading leaves."""
    kept = replace(policy, retention=replace(policy.retention, recording=timedelta(days=7)))
    settings.watch_state.mkdir()
    write_rules(settings, kept, {"T-001": "lent"})
    base, script = in_memory / "node", tmp_path / "script.json"
    for part in ("log", "state"):
        shutil.copytree(tmp_path / part, base / part)
    script.write_text(json.dumps(script_of_a_theft(policy)))
    words = [sys.executable, "-m", "tests.daemon.kill_sweep", base, script]
    done = subprocess.run(words, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["wrong"] == []
    assert said["kills"] == said["steps"] > 80
    # The undisturbed life had all of it: each record once, one incident that is over, its letters, one stranger.
    wanted = said["wanted"]
    recorded = [tuple(row) for row in wanted["recorded"]]
    assert len(recorded) == len(set(recorded)) > 150
    assert [(row[1], row[2]) for row in wanted["incidents"] if row[1]] == [("T-001", False)]
    assert [row for row in wanted["letters"] if row[0] == wanted["incidents"][0][0]]
    assert wanted["strangers"] == [["3c:28:6d:ff:00:66", 17]]


FULL = """
    import json, subprocess, sys
    from dataclasses import replace
    from pathlib import Path
    folder = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", folder / "state" / "watch"], check=True)
    from netguard.daemon.intake import Intake
    from netguard.errors import StoreError
    from netguard.settings import Paths, Settings
    paths = Paths(state=folder / "state", run=folder, radius_log=folder / "log")
    settings = replace(Settings("n", ("pellegrin",)), paths=paths)
    intake = Intake(settings)
    intake.take()
    ballast = folder / "state" / "watch" / "ballast"
    log = folder / "log" / "events-20261122.log"
    record = json.loads(sys.argv[2])
    faults = stored = 0
    for turn in range(200):
        with log.open("a") as stream:
            for n in range(50):
                stream.write(json.dumps(record | {"session": f"{turn}-{n}"}) + "\\n")
        try:
            stored += len(intake.take().records)
        except StoreError as error:
            assert "full" in str(error), error
            faults += 1
            if faults == 3:
                break
    before = stored
    subprocess.run(["mount", "-o", "remount,size=16m", folder / "state" / "watch"], check=True)
    while True:
        found = intake.take()
        stored += len(found.records)
        if not found.more and not found.records:
            break
    lines = [json.loads(row) for block in intake.store.remembered()[2] for row in block.split("\\n")]
    told = [row[8] for row in lines if isinstance(row, list) and row[1] == "session-start"]
    print(json.dumps([faults, before, stored, (turn + 1) * 50, len(told), len(set(told))]))
"""


@pytest.mark.usefixtures("root")
def test_on_a_full_disk_nothing_counts_as_read_and_afterwards_all_is_there(
    settings, policy, tmp_path
):
    settings.watch_state.mkdir()
    write_rules(settings, policy)
    moment = type("Moment", (), {"wall": clock.now().timestamp()})
    record = json.dumps(accounting(moment))
    words = ["unshare", "--mount", sys.executable, "-c", textwrap.dedent(FULL), tmp_path, record]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    faults, before, stored, written, told, different = json.loads(done.stdout)
    assert faults == 3
    assert before < written
    assert stored == written == told == different
