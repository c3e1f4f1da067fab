"""Where a MAC is on the air, from records of the event log in their order."""

import math
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import sessions
from netguard.errors import BadValue

MAC = "3c:28:6d:aa:01:10"
NOW = 2_000_000_000.0


def record(kind="accounting", **more):
    base = {
        "t": "1999999990", "kind": kind, "nas": "wlc-1", "site": "pellegrin", "mac": MAC,
        "called": "70-3A-0E-00-00-01:Tablettes", "ap": "AP-1", "src": "10.1.2.10", "nas_ip": "10.1.2.10",
    }  # fmt: skip
    return {**base, **more}


ACCEPT = record("admission", answer="accept", vlan="640")
START = record(status="Start", session="2a")


def found(*records):
    return sessions.changes(records, NOW)


def test_an_admission_and_its_start_are_one_place_with_the_vlan_of_the_admission():
    rows = found(ACCEPT, START)
    assert {key[2]: live.vlan for key, live in rows.items()} == {"": "640", "2a": ""}
    live = rows["wlc-1", MAC, "2a"]
    assert (live.source, live.nas_ip, live.bssid) == ("10.1.2.10", "10.1.2.10", "70:3a:0e:00:00:01")
    assert (live.at, live.key) == (1999999990.0, ("wlc-1", MAC, "2a"))


def test_a_session_knows_when_it_began_where_its_start_was_heard():
    report = record(status="Interim-Update", session="2a", t="1999999995")
    (live,) = found(START, report).values()
    assert (live.since, live.at) == (1999999990.0, 1999999995.0)
    (live,) = found(report).values()
    assert live.since == 0.0
    (live,) = found({**START, "delay": "30"}).values()
    assert live.since == 1999999960.0, "what a NAS tells late began before"
    (live,) = found({**START, "delay": "-x"}).values()
    assert live.since == live.at


def test_what_an_older_watch_tells_is_read_and_no_moment_is_none():
    (live,) = found(START).values()
    row = asdict(live)
    assert sessions.read([row]) == [live]
    del row["since"]
    assert sessions.read([row]) == [replace(live, since=0.0)]
    for bad in ("x", math.nan, math.inf, None, 10**400, -(10**400)):
        with pytest.raises(BadValue, match="since: no moment"):
            sessions.read([row | {"since": bad}])
        with pytest.raises(BadValue, match="at: no moment"):
            sessions.read([row | {"at": bad}])


def test_what_is_no_session_is_refused_and_ends_nobody():
    """Who tells it may be hijacked: half a character could not be sent, and ended guard."""
    row = asdict(next(iter(found(START).values())))
    for bad in ({"session": "\ud800"}, {"session": "a\nb"}, {"ap": "x" * 129}, {"nas": 1}):
        with pytest.raises(BadValue, match="printable characters"):
            sessions.read([row | bad])
    for rows in ([row] * 5, {}, [[]], [row | {"more": ""}]):
        with pytest.raises(BadValue):
            sessions.read(rows)


def test_a_stop_ends_both_and_a_late_stop_of_another_session_ends_only_itself():
    assert set(found(ACCEPT, START, record(status="Stop", session="2a")).values()) == {None}
    rows = found(START, record(status="Stop", session="1"))
    assert rows["wlc-1", MAC, "2a"] is not None


@pytest.mark.parametrize("status", ["Accounting-On", "Accounting-Off"])
def test_a_nas_that_starts_again_has_nobody(status):
    rows = found(START, record(nas="wlc-2", status="Start"), record(status=status, mac=""))
    assert rows["wlc-1", "", ""] is None
    assert ("wlc-1", MAC, "2a") not in rows
    assert rows["wlc-2", MAC, ""] is not None
    rows = found(record(status=status, mac=""), START)
    assert list(rows) == [("wlc-1", "", ""), ("wlc-1", MAC, "2a")], "and what comes after it counts"


def test_one_of_many_access_points_under_one_name_that_starts_again_has_nobody_and_others_do():
    other = record(status="Start", session="7", mac="3c:28:6d:aa:01:11", src="10.1.2.11")
    restart = record(status="Accounting-On", mac="")
    rows = sessions.changes([START, other, restart], NOW, frozenset({"wlc-1"}))
    assert rows["wlc-1", "", "10.1.2.10"] is None
    assert {key[1:] for key, live in rows.items() if live} == {("3c:28:6d:aa:01:11", "7")}
    # Who does not say where it comes from ends nothing.
    rows = sessions.changes([START, restart | {"src": ""}], NOW, frozenset({"wlc-1"}))
    assert rows["wlc-1", MAC, "2a"] is not None
    assert len(rows) == 1


@pytest.mark.parametrize(
    "bad",
    [
        None,
        record("admission", answer="reject"),
        record(status="Unknown"),
        record(status="Start", mac=""),
        record(status="Start", mac="ff:ff:ff:ff:ff:ff"),
        record(status="Start", nas=""),
        record(status="Accounting-On", nas=""),
        {},
    ],
)
def test_what_says_nothing_of_a_place_changes_nothing(bad):
    assert found(bad) == {}


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ({"src": "hostile", "nas_ip": "999.1.1.1"}, ("", "", "70:3a:0e:00:00:01")),
        ({"src": "2001:DB8::1", "nas_ip": ""}, ("2001:db8::1", "", "70:3a:0e:00:00:01")),
        ({"called": "703a0e000001:x"}, ("10.1.2.10", "10.1.2.10", "70:3a:0e:00:00:01")),
        ({"called": "AP-1:x", "ap": "70:3a:0e:00:00:02"}, ("10.1.2.10", "10.1.2.10", "70:3a:0e:00:00:02")),
        ({"called": ""}, ("10.1.2.10", "10.1.2.10", "")),
    ],
)  # fmt: skip
def test_addresses_are_typed_or_empty(fields, seen):
    (live,) = found({**START, **fields}).values()
    assert (live.source, live.nas_ip, live.bssid) == seen


@pytest.mark.parametrize("moment", ["", "x", "99999999999", "2999999999", "-1"])
def test_a_moment_that_is_odd_or_to_come_is_now(moment):
    (live,) = found({**START, "t": moment}).values()
    assert live.at == NOW


@given(st.dictionaries(st.sampled_from(list({**START, **ACCEPT})), st.text(max_size=300)))
def test_no_field_can_break_it(fields):
    for live in found({**START, **fields}, {**ACCEPT, **fields}).values():
        assert live is None or all(len(each) <= 128 for each in live.key)
