"""What the doctor knows of a plan without its tablets is what the whole plan says of sites, services and groups."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from netguard.core.doctor.findings import Outcome
from netguard.core.plan import compile_plan
from netguard.daemon.doctor.known import Known, lean
from netguard.daemon.doctor.node import _feeds
from netguard.errors import NetguardError
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load
from netguard.settings import Paths, Settings

RULES = Path(__file__).parents[2] / "rules"


def plan_of(folder):
    loaded = load(folder, today=date(2026, 11, 22), allow_empty=True)
    assert loaded.policy is not None, [finding.render() for finding in loaded.findings]
    return compile_plan(loaded.policy, sorted(loaded.policy.sites))


def test_a_lean_plan_differs_in_tablets_alone():
    folder = read_folder(RULES, "rules")
    whole, without = plan_of(folder), plan_of(lean(folder))
    assert whole.bindings
    assert replace(whole, bindings=(), refusals=()) == without


def test_an_inventory_in_yaml_is_left_out_too(small):
    base = read_folder(Path(__file__).parents[1] / "bad" / "base", "rules")
    text = b"tablets:\n  - {id: T-001, mac: '64:1b:2f:00:00:01', group: patients, home: pellegrin/cardio-3}\n"
    kept = {name: data for name, data in base.files.items() if name != "tablets.csv"}
    slim = lean(Folder("rules", {**kept, "tablets.yaml": text}))
    assert "tablets.yaml" not in slim.files
    assert slim.files["tablets.csv"].count(b"\n") == 1
    assert not [name for name in slim.files if name.startswith("tests/")]


def test_where_nothing_is_in_force_it_says_so(tmp_path):
    paths = Paths(state=tmp_path, run=tmp_path)
    known = Known(Settings("a", ("pellegrin",), paths), tmp_path / "settings.yaml")
    assert known.plan.get() is None
    assert known.whole.get() is None
    assert known.tablets.get() == 0
    with pytest.raises(NetguardError, match="no plan is in force"):
        known.needed()
    assert known.says(known.guard) is None
    assert known.guard_says("network") == []
    found = known.daemon("guard", known.guard.get(), [])
    assert (found.answers, found.pid) == (False, None)


def test_a_nas_is_no_feed_that_sends_to_a_port_of_ours(tmp_path, monkeypatch):
    """The engine tells of its silence, `doctor radius` of its clock: nothing is cried twice."""
    known = Known(
        Settings("a", ("pellegrin",), Paths(state=tmp_path, run=tmp_path)), tmp_path / "s"
    )
    told = {
        "nas:wlc-1": {"stale": True, "heard": "", "skew": 400.0},
        "syslog:wlc-1": {"stale": False, "heard": "now", "skew": 1.0},
    }
    monkeypatch.setattr(known, "says", lambda _daemon: {"feeds": told})
    (found,) = _feeds(known)
    assert (found.outcome, found.text) == (Outcome.OK, "1 feeds are heard")
