"""The engine, on streams of a few lines: each row is somebody's bug report or a rule of ours."""

import pytest

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.presence import Alert, Model, State, Transition, due, dump, load, step
from netguard.core.presence.model import AreaModel, SiteModel, TabletModel

T0 = 1_767_600_000.0
ONE, TWO = "aa:bb:cc:00:00:01", "aa:bb:cc:00:00:02"


def model_of(tablets=20, **site):
    """Two sites: `main` with ward, hall (an edge) and stock, `other` with a ward."""
    names = {f"aa:bb:cc:00:00:{i:02x}": f"T-{i:03}" for i in range(1, tablets + 1)}
    return Model(
        sites={name: SiteModel(name, **site) for name in ("main", "other")},
        areas=(
            AreaModel("main", "ward", ("w1", "w2", "w3")),
            AreaModel("main", "hall", ("h1", "h2"), edge=True),
            AreaModel("main", "stock", ("s1",), expected_silent=True),
            AreaModel("other", "ward", ("o1",)),
        ),
        nas={"wlc": "main", "wlc-2": "other"},
        tablets={mac: TabletModel(id_, mac, "main", "ward", "tab") for mac, id_ in names.items()},
    )


class Run:
    """One engine; times are seconds after T0."""

    def __init__(self, **site):
        self.model, self.state, self.actions = model_of(**site), State(), []

    def on(self, at, kind, mac=ONE, ap="w1", **more):
        more = {"nas": "wlc", "site": "main", "source": "radius", **more}
        if "received" in more:
            more["received"] += T0
        self.actions += step(self.model, self.state, Event(T0 + at, kind, mac, ap, **more))
        return self

    def until(self, at):
        """Let time pass as a daemon does: it asks every few seconds."""
        start = int(self.state.now - T0) if self.state.now else 0
        for each in range(start + 10, at, 10):
            self.actions += due(self.model, self.state, T0 + each)
        self.actions += due(self.model, self.state, T0 + at)
        return self

    def beats(self, start, end, mac=ONE, ap="w1", every=60):
        for at in range(start, end, every):
            self.on(at, evidence.HEARD, mac, ap)
        return self

    @property
    def states(self):
        return [(a.before, a.after) for a in self.actions if isinstance(a, Transition)]

    def state_of(self, mac=ONE):
        return self.state.tablets[mac].state

    def alerts(self, cause=None, kind=None):
        return [
            a
            for a in self.actions
            if isinstance(a, Alert) and cause in {None, a.cause} and kind in {None, a.kind}
        ]


@pytest.fixture
def run():
    return Run()


def test_a_late_disconnect_of_the_old_ap_changes_nothing(run):
    """openwrt-ha-device-tracker #46, com.ubnt.unifi #29: connect at the new AP, then the old one's goodbye."""
    run.on(0, evidence.ASSOCIATED, ap="w1").on(100, evidence.ASSOCIATED, ap="w2")
    run.on(100, evidence.DISASSOCIATED, ap="w1").on(101, evidence.DISASSOCIATED, ap="w1").until(500)
    assert run.states == []
    assert run.state.tablets[ONE].ap == "w2"


def test_silence_at_an_exit_is_theft_after_the_time_of_the_rules(run):
    """The baseline of presence.yaml needs no history."""
    run.on(0, evidence.ASSOCIATED, ap="h1").until(178)
    assert run.alerts() == []
    run.until(200)
    (alert,) = run.alerts()
    assert (alert.cause, alert.kind, alert.area, alert.silent_since) == (
        "taken",
        "raised",
        "hall",
        T0,
    )
    assert run.states == [("present", "quiet"), ("quiet", "missing")]
    run.on(300, evidence.HEARD)
    assert run.states[2:] == [("missing", "returned"), ("returned", "present")]
    assert [a.kind for a in run.alerts()] == ["raised", "cleared"]
    assert run.state.false_alarms == 1


def test_a_state_survives_its_bytes(run):
    run.beats(0, 6000).on(6000, evidence.ASSOCIATED, ap="h1").on(6000, evidence.HEARD, TWO, "w2")
    run.on(6010, evidence.FEED_LOST, "", "", source="dhcp").until(6100)
    again = load(dump(run.state), run.model)
    assert dump(again) == dump(run.state)
    run.on(6200, evidence.FEED_BACK, "", "", source="dhcp")
    other = Run()
    other.state = again
    other.on(6200, evidence.FEED_BACK, "", "", source="dhcp")
    run.actions.clear()
    other.actions.clear()
    assert run.until(9000).actions == other.until(9000).actions
    assert run.alerts("taken")
