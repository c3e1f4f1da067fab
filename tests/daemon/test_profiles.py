"""What is on is on disk first; damaged, unknown, timed and repeated profiles are what people would expect."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from netguard.adapters.store import Entry
from netguard.core.policy import Narrowing, Profile
from netguard.daemon import profiles
from netguard.daemon.profiles import Profiles
from netguard.errors import BadValue, Refused

NOW = datetime(2026, 11, 29, 8, tzinfo=UTC)


def line(name="crisis", at=NOW):
    return Entry(at.isoformat(timespec="seconds"), "anna", "profile", name, "{}", "{}")


def switch(held, policy, name="crisis", *, on=True, **words):
    """Do what guard does with a message; False where it was so already."""
    change = profiles.wanted({"name": name, "on": on, **words}, policy, held.active, line(name))
    if change is not None:
        held.set(change[0])
    return change is not None


def test_what_is_on_is_on_again_after_a_restart(tmp_path, example):
    held = Profiles(tmp_path)
    held.load()
    assert (held.active, held.problems(example)) == ({}, {})
    assert switch(held, example, seconds=3600, note="one line\nleft")
    again = Profiles(tmp_path)
    again.load()
    (crisis,) = again.active.values()
    assert (crisis.since, crisis.who, crisis.why) == (NOW.isoformat(), "anna", "one line left")
    assert again.over(NOW + timedelta(minutes=59)) == []
    assert again.over(NOW + timedelta(hours=1)) == [crisis]
    again.set(profiles.ended(again.active, [crisis]))
    last = Profiles(tmp_path)
    last.load()
    assert last.active == {}


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"name": "crisis"}]', '{"a": 1}', "[{}]"])
def test_a_damaged_file_is_said_and_nothing_is_on(tmp_path, example, text):
    (tmp_path / "profiles.json").write_text(text)
    held = Profiles(tmp_path)
    held.load()
    assert held.active == {}
    assert "cannot be read, so no profile is on" in held.problems(example)["profiles"]
    switch(held, example)
    assert held.problems(example) == {}


def test_a_second_time_changes_nothing_but_a_new_time_does(tmp_path, example):
    held = Profiles(tmp_path)
    assert switch(held, example, seconds=3600)
    assert not switch(held, example, seconds=3600)
    assert switch(held, example, seconds=7200)
    assert held.active["crisis"].since == NOW.isoformat()
    assert switch(held, example, on=False)
    assert not switch(held, example, on=False)


def test_what_cannot_be_meant_is_refused(tmp_path, example):
    held = Profiles(tmp_path)
    with pytest.raises(BadValue, match="did you mean 'crisis'"):
        switch(held, example, "crisi")
    with pytest.raises(BadValue, match="unknown profile"):
        switch(held, example, "nothing", on=False)
    with pytest.raises(BadValue, match="true or false"):
        profiles.wanted({"name": "crisis"}, example, {}, line())
    with pytest.raises(Refused, match="no rules are in force"):
        switch(held, None)
    for seconds in (0, 59, 31 * 86400, True, "1h"):
        with pytest.raises(BadValue, match="1 minute to 30 days"):
            switch(held, example, seconds=seconds)
    assert not (tmp_path / "profiles.json").exists()


def test_a_profile_that_the_rules_lose_stays_and_is_said(tmp_path, example):
    held = Profiles(tmp_path)
    switch(held, example)
    without = replace(example, profiles={"night": Profile("night", {}, frozenset({"info"}))})
    assert "netguard profile crisis off" in held.problems(without)["profiles"]
    rows = {row["name"]: row for row in held.shown(without)}
    assert (rows["crisis"]["on"], rows["crisis"]["known"]) == (True, False)
    assert (rows["night"]["on"], rows["night"]["silences"]) == (False, ["info"])
    assert held.shown(None) == [rows["crisis"]]
    assert switch(held, without, on=False)


def test_the_audit_says_how_it_was_before(example):
    change = profiles.wanted({"name": "crisis", "on": True, "seconds": 60}, example, {}, line())
    active, entry = change
    assert json.loads(entry.after)["until"] == (NOW + timedelta(minutes=1)).isoformat()
    _, entry = profiles.wanted({"name": "crisis", "on": False}, example, active, line())
    assert json.loads(entry.before)["who"] == "anna"
    assert entry.after == "{}"


def test_what_lengthens_loans_is_shown_and_is_no_narrowing(tmp_path, example):
    longer = Narrowing(loan_length=timedelta(days=60))
    slower = Narrowing(allow=frozenset())
    crisis = Profile("crisis", {"patients": longer, "demo": slower})
    (row,) = Profiles(tmp_path).shown(replace(example, profiles={"crisis": crisis}))
    assert (row["groups"], row["loan_lengths"]) == (["demo"], {"patients": 60 * 86400.0})
