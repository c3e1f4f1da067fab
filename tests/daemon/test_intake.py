"""watch reads each record once, whenever it is killed, and waits when it cannot store."""

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netguard.adapters import clock, store
from netguard.daemon.intake import Intake
from netguard.daemon.watch import Watch
from netguard.errors import DamagedStore, Refused, StoreError
from netguard.settings import Paths, Settings
from tests.daemon.test_presence_intake import write_rules

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "state").mkdir()
    paths = Paths(state=tmp_path / "state", run=tmp_path, radius_log=tmp_path / "log")
    return replace(Settings("n", ("pellegrin",)), paths=paths)


def write(settings, *records, file="events-20261122.log"):
    with (settings.paths.radius_log / file).open("a") as log:
        for record in records:
            log.write(json.dumps(record) + "\n")


def asked(mac="3c:28:6d:ff:00:66", rule="unknown-mac", answer="reject", **more):
    return {
        "t": "1795000000", "kind": "admission", "mac": mac, "site": "pellegrin", "nas": "wlc-1",
        "ap": "AP-1", "ssid": "CHU", "answer": answer, "rule": rule, "vlan": "", **more,
    }  # fmt: skip


def counts(intake):
    return {str(s.mac)[-2:]: s.count for s in intake.store.strangers(LONG_AGO)}


def test_the_first_start_reads_the_newest_file_from_its_beginning(settings):
    write(settings, asked(), file="events-20261121.log")
    write(settings, asked(), asked())
    intake = Intake(settings)
    assert len(intake.take().records) == 2
    assert counts(intake) == {"66": 2}
    intake.close()


def test_each_record_counts_once_over_restarts_and_what_came_meanwhile_too(settings):
    intake = Intake(settings)
    assert intake.take().records == ()
    for _ in range(3):
        write(settings, asked(), asked())
        intake.take()
        # As after kill -9: nothing but the file is left.
        intake.close()
        write(settings, asked())
        intake = Intake(settings)
    write(settings, asked(), file="events-20261123.log")
    intake.take()
    assert counts(intake) == {"66": 10}
    intake.close()


def test_what_cannot_be_stored_is_read_again(settings, monkeypatch):
    intake = Intake(settings)
    intake.take()
    write(settings, asked())
    take = store.WatchStore.take

    def full(*words):
        raise StoreError("watch.db: the disk is full")

    monkeypatch.setattr(store.WatchStore, "take", full)
    for _ in range(2):
        with pytest.raises(StoreError):
            intake.take()
    monkeypatch.setattr(store.WatchStore, "take", take)
    assert len(intake.take().records) == 1
    assert counts(intake) == {"66": 1}
    intake.close()


def test_a_tablet_is_told_from_a_stranger_and_a_stranger_that_was_entered_is_forgotten(settings):
    intake = Intake(settings)
    write(
        settings,
        asked("3c:28:6d:aa:01:10", "patients/admit", "accept", vlan="640"),
        asked("3c:28:6d:aa:01:11", "loan/stolen"),
        asked("3e:28:6d:aa:01:12", "private-mac"),
        asked("", "not-mac-authentication"),
        {"kind": "accounting", "mac": "3c:28:6d:aa:01:13"},
        asked("3c:28:6d:aa:01:14"),
        asked("3c:28:6d:aa:01:14", "patients/admit", "accept"),
    )
    with (settings.paths.radius_log / "events-20261122.log").open("a") as log:
        log.write("rubbish\n")
    intake.take()
    assert counts(intake) == {"12": 1}
    write(settings, asked("3e:28:6d:aa:01:12", "patients/admit", "accept"))
    intake.take()
    assert counts(intake) == {}
    intake.close()


def test_a_damaged_store_is_put_aside_and_the_newest_file_read_anew(settings):
    write(settings, asked())
    intake = Intake(settings)
    intake.take()
    intake.close()
    path = settings.watch_state / "watch.db"
    path.write_bytes(b"")
    intake = Intake(settings)
    intake.take()
    assert counts(intake) == {"66": 1}
    assert Path(f"{path}.damaged-1").exists()
    intake.close()


def test_a_store_that_goes_bad_meanwhile_is_put_aside_the_same_day(settings):
    write(settings, asked())
    intake = Intake(settings)
    intake.take()
    path = settings.watch_state / "watch.db"
    os.truncate(path, 0)
    Path(f"{path}-wal").unlink()
    with pytest.raises(DamagedStore, match="not netguard's"):
        intake.tidy()
    intake.take()
    assert counts(intake) == {"66": 1}
    assert Path(f"{path}.damaged-1").exists()
    intake.tidy()
    intake.close()


def test_a_damaged_store_is_let_go_of_between_two_batches_and_not_within_one(settings):
    """The daily look runs in a thread of its own: it took the store away from who was storing in it."""
    write(settings, asked())
    intake = Intake(settings)
    intake.take()
    (settings.watch_state / "watch.db").unlink()
    with ThreadPoolExecutor(1) as pool:
        with intake.busy:
            looked = pool.submit(intake.tidy)
            assert wait([looked], timeout=0.5).not_done
            assert intake.store is not None
        with pytest.raises(DamagedStore, match="was gone"):
            looked.result(timeout=30)
    assert intake.store is None
    intake.take()
    intake.tidy()
    intake.close()


def test_what_a_tablet_was_answered_last_can_be_asked(settings):
    watch = Watch(settings)
    write(settings, asked("3c:28:6d:aa:01:10", "loan/stolen"))
    watch.intake.take()

    async def ask(verb, **words):
        return await getattr(watch, verb)(None, words)

    seen = asyncio.run(ask("seen", mac="3C286DAA0110"))["seen"]
    assert (seen["answer"], seen["rule"], seen["mac"]) == (
        "reject", "loan/stolen", "3c:28:6d:aa:01:10",
    )  # fmt: skip
    assert asyncio.run(ask("seen", mac="3c:28:6d:aa:01:99")) == {"seen": None}
    with pytest.raises(Refused):
        asyncio.run(ask("seen", mac="nobody"))
    watch.intake.close()


def test_strangers_can_be_asked_since_a_while(settings):
    watch = Watch(settings)
    old = str(int((clock.now() - timedelta(days=2)).timestamp()))
    write(settings, asked(t=old), asked("3c:28:6d:ff:00:67", t="odd"))
    watch.intake.take()

    async def ask(**words):
        return (await watch.unknown(None, words))["unknown"]

    assert [each["mac"][-2:] for each in asyncio.run(ask(seconds=86400))] == ["67"]
    for odd in ({}, {"seconds": "x"}, {"seconds": -1}, {"seconds": 1e300}):
        assert len(asyncio.run(ask(**odd))) == 2
    watch.intake.close()


def test_where_a_tablet_was_refused_can_be_asked_by_its_id(settings, policy):
    write_rules(settings, policy)
    watch = Watch(settings)
    tablet, other = policy.tablets["T-001"], policy.tablets["T-002"]
    write(
        settings,
        asked(str(tablet.mac), "other-network", ap="AP-LOB-01", ssid="CHU-STAFF"),
        asked(str(tablet.mac), "other-network", ap="AP-LOB-01", ssid="CHU-STAFF"),
        asked(str(other.mac), "loan/lost", ap="AP-CAR-301"),
        asked(str(other.mac), "patients/admit", "accept"),
    )
    watch.intake.take()

    async def ask(**words):
        return (await watch.rejects(None, words))["rejects"]

    (mine,) = asyncio.run(ask(tablet="T-001"))
    assert (mine["tablet"], mine["count"], mine["rule"]) == ("T-001", 2, "other-network")
    assert (mine["area"], mine["ap"], mine["ssid"]) == ("lobby", "AP-LOB-01", "CHU-STAFF")
    assert {row["tablet"] for row in asyncio.run(ask())} == {"T-001", "T-002"}
    assert asyncio.run(ask(seconds=1)) == []
    with pytest.raises(Refused, match="did you mean 'T-001'"):
        asyncio.run(ask(tablet="T-0001"))
    watch.intake.close()
