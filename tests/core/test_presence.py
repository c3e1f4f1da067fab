"""The engine, on streams of a few lines: each row is somebody's bug report or a rule of ours."""

from dataclasses import replace

import pytest

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.presence import (
    Alert,
    Model,
    Probe,
    State,
    Transition,
    due,
    dump,
    load,
    places,
    step,
)
from netguard.core.presence.actions import Reason
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
    assert [a.kind for a in run.alerts() if a.kind != "updated"] == ["raised", "cleared"]
    assert run.state.false_alarms == 1


@pytest.mark.parametrize("probed", [False, True])
def test_whoever_was_told_early_hears_how_sure_it_has_become(run, probed):
    """The baseline tells of a theft before the evidence is strong: the figure must not stay as it was."""
    run.beats(0, 7200).on(7200, evidence.ASSOCIATED, ap="h1").on(7230, evidence.ASSOCIATED, ap="h2")
    for at in range(7260, 9000, 10):
        run.until(at)
        if probed and at > 7290:
            run.on(at, evidence.SILENT_PROBE, ap="h2")
    told = [(alert.kind, alert.cause) for alert in run.alerts()]
    assert told[0] == ("raised", "taken")
    assert set(told[1:]) == {("updated", "taken")}
    sure = [alert.probability for alert in run.alerts()]
    assert sure == sorted(sure)
    # Believable at once, without any history, and half the doubt is gone in the end.
    assert 0.5 <= sure[0] <= 0.95
    assert 1 - sure[-1] <= (1 - sure[0]) / 2
    assert run.state.alarms == {"taken": 1}, "one alarm, however often it is updated"


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


A, D, H, S, I, X = (  # noqa: E741  # one letter a column of the table
    evidence.ASSOCIATED, evidence.DISASSOCIATED, evidence.HEARD, evidence.START, evidence.INTERIM, evidence.STOP,
)  # fmt: skip
QUIET = [("present", "quiet")]

# What happened, the lines (at, kind, more), until when, the changes of state of the one tablet.
STREAMS = {
    "openwrt #46: goodbye of the old AP": ([(0, A, {}), (9, A, {"ap": "w2"}), (9, D, {"ap": "w1"})], 400, []),
    "PF 6536: a minimal Start is a sighting": ([(0, S, {"nas": "", "site": ""}), (590, S, {"nas": ""})], 900, []),
    "PF 2113: an Interim after the Stop does not reopen": (
        [(0, S, {"session": "a"}), (50, X, {"session": "a"}), (60, I, {"session": "a", "packets": 9})], 130, QUIET),
    "PF 1169: a session id that is used again": (
        [(0, S, {"session": "a"}), (50, X, {"session": "a"}), (60, S, {"session": "a"}),
         (400, I, {"session": "a", "packets": 3})], 900, []),
    "PF 1169: the old session's Stop comes late": (
        [(0, S, {"session": "a"}), (90, S, {"ap": "w2", "session": "b"}),
         (400, X, {"session": "a", "reason": "idle-timeout"})], 600, []),
    "OWR 437: a Start elsewhere is a move": ([(0, S, {"session": "a"}), (99, S, {"ap": "w2", "session": "b"})], 600, []),
    "HA 33460: grace is never bypassed": ([(0, A, {}), (10, D, {}), (10, D, {})], 69, []),
    "HA 33460: after the grace it is quiet": ([(0, A, {}), (10, D, {})], 75, QUIET),
    "HA 33460: disconnect and connect in one second": ([(0, A, {}), (10, D, {}), (10.5, A, {})], 600, []),
    "HA 51709: evidence of any AP re-arms": (
        [(0, A, {}), (5, A, {"ap": "w2"}), *((at, H, {"ap": "w3"}) for at in range(300, 2000, 300))], 2000, []),
    "HA 29167: quiet after two heartbeats": ([(0, A, {})], 599, []),
    "HA 29167: and not later": ([(0, A, {})], 605, QUIET),
    "a duplicate changes nothing": ([(0, A, {}), (0, A, {}), (500, H, {}), (500, H, {})], 1090, []),
    "a late record changes nothing": ([(0, A, {}), (1, H, {"received": 700})], 800, QUIET),
    "a record of the future changes nothing": ([(0, A, {}), (5000, H, {"received": 10})], 700, QUIET),
    "a late association does not move it back": (
        [(0, A, {}), (60, A, {"ap": "w2"}), (30, A, {"ap": "w1", "received": 70}), (80, D, {"ap": "w1"})], 600, []),
    "packets that stand still are no sign of life": (
        [(0, S, {"session": "a", "packets": 0}), (300, I, {"session": "a", "packets": 50}),
         (600, I, {"session": "a", "packets": 50}), (900, I, {"session": "a", "packets": 50})], 920, QUIET),
    "packets that move are": (
        [(0, S, {"session": "a", "packets": 0}), *((t, I, {"session": "a", "packets": t}) for t in range(300, 1800, 300))],
        2000, []),
    "an Interim of the old AP after a roam is no news": (
        [(0, S, {"session": "a", "packets": 0}), (10, S, {"ap": "w2", "session": "b", "packets": 0}),
         (300, I, {"session": "a", "packets": 9}), (600, I, {"session": "a", "packets": 9})], 620, QUIET),
    "a Start that was not seen: the session is taken over when it moves": (
        [(0, A, {}), (300, I, {"ap": "w2", "session": "z", "packets": 5}), (500, I, {"ap": "w2", "session": "z", "packets": 9})],
        1050, []),
    "a session without a Start": ([(0, I, {"session": "q"}), (300, I, {"session": "q"})], 850, []),
    "a Stop without a session id": ([(0, A, {}), (30, X, {}), (31, X, {"ap": "w2"})], 100, QUIET),
    "idle: the last frame was long before": ([(0, A, {}), (400, D, {"reason": "inactivity"})], 410, QUIET),
    "a Stop of a session nobody knows": ([(0, A, {}), (5, S, {"session": "a"}), (30, X, {"ap": "w3", "session": "k"})], 500, []),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_stream(name):
    lines, end, states = STREAMS[name]
    run = Run()
    for at, kind, more in lines:
        run.on(at, kind, **more)
    assert run.until(end).states == states


def test_inside_the_other_causes_come_first(run):
    run.on(0, A).until(1700)
    assert run.states == QUIET
    run.until(1900)
    (alert,) = run.alerts()
    assert alert.cause != "taken"
    assert run.state_of() == "missing"
    assert alert.reasons
    assert alert.changes


def test_where_tablets_sleep_nothing_is_missing(run):
    run.on(0, A, ap="s1").until(20_000)
    assert run.states == QUIET
    assert run.state.tablets[ONE].cause == "asleep"


def test_an_ap_that_is_down_makes_its_tablets_unreachable_at_once(run):
    """OWM #307: neither present nor missing."""
    run.on(0, A).on(0, A, TWO, "w2").on(100, evidence.AP_DOWN, "", "w1").until(3000)
    assert run.state_of() == "unreachable"
    assert run.state_of(TWO) == "missing"
    assert next((a.subject, a.tablets) for a in run.alerts(None, "raised")) == ("ap w1", 1)
    run.on(3010, evidence.AP_UP, "", "w1").until(3060)
    assert run.state_of() == "unreachable"
    run.until(4000)
    assert run.state_of() == "quiet"
    assert not run.alerts("taken")


def test_an_ap_that_takes_an_association_is_up(run):
    run.on(0, A).on(100, evidence.AP_DOWN, "", "w1").on(110, A, TWO, "w1")
    assert [a.kind for a in run.alerts()] == ["raised", "cleared"]


@pytest.mark.parametrize("kind", [evidence.AP_DOWN, evidence.AP_UP, H, A])
@pytest.mark.parametrize("source", ["syslog:wlc", "snmp:wlc", "webhook:cloud"])
def test_a_controllers_word_makes_no_access_point_that_nobody_knows(run, kind, source):
    """Anybody can send syslog in its name: a thousand names were a thousand outages, and stayed for ever."""
    run.on(0, A)
    for number in range(1000):
        run.on(number + 1, kind, "3a:00:00:00:00:01", f"x{number}", source=source)
    assert (set(run.state.aps), run.alerts()) == ({"w1"}, [])
    # One that the rules name is believed, and so is one that RADIUS has named.
    run.on(1100, H, "3a:00:00:00:00:01", "room-2")
    for ap in ("w2", "room-2"):
        run.on(1110, evidence.AP_DOWN, "", ap, source=source)
    assert [(a.subject, a.kind) for a in run.alerts()] == [
        ("ap w2", "raised"),
        ("ap room-2", "raised"),
    ]


def test_a_pattern_of_the_rules_names_no_access_point(run):
    areas = (*run.model.areas, AreaModel("main", "annexe", ("70:3a:0e:*",)))
    run.model = replace(run.model, areas=areas)
    down = evidence.AP_DOWN, "", "70:3a:0e:00:00:01"
    run.on(0, *down, source="syslog:wlc")
    assert (run.state.aps, run.alerts()) == ({}, [])
    run.on(10, A, ap="70:3a:0e:00:00:01").on(20, *down, source="syslog:wlc")
    assert [a.area for a in run.alerts("outage")] == ["annexe"]


def test_a_tablet_that_only_a_controller_has_placed_counts_there_once_radius_names_the_place(run):
    run.on(0, A, ap="room-2", source="syslog:wlc")
    assert (run.state.tablets[ONE].ap, run.state.aps) == ("room-2", {})
    run.on(5, S, ap="room-2").on(60, evidence.AP_DOWN, "", "room-2", source="syslog:wlc")
    assert run.state_of() == "unreachable"


def test_access_points_are_bounded_and_those_with_tablets_stay(run, monkeypatch):
    monkeypatch.setattr(places, "MOST_APS", 4)
    run.on(0, A, ap="old").on(10, H, "3a:00:00:00:00:01", "w2").on(20, evidence.AP_DOWN, "", "w2")
    for number in range(6):
        run.on(30 + number, H, "3a:00:00:00:00:01", f"x{number}")
    assert set(run.state.aps) == {"old", "w2", "x4", "x5"}
    run.on(40, A, TWO, "x4").on(41, A, "aa:bb:cc:00:00:03", "x5")
    run.on(50, H, "3a:00:00:00:00:01", "x6")
    # Whose outage nobody can follow any more is not told as open for ever.
    assert set(run.state.aps) == {"old", "x4", "x5", "x6"}
    assert [(a.subject, a.kind) for a in run.alerts()] == [
        ("ap w2", "raised"),
        ("ap w2", "cleared"),
    ]
    run.until(5000)
    assert set(run.state.aps) == {"old", "x4", "x5", "x6"}


def at_w1(run, start, end, macs, every=60, **more):
    """Tablets report from w1 that frames still come."""
    for at in range(start, end, every):
        for number, mac in enumerate(macs):
            run.on(at + number, I, mac, **{"session": f"of-{mac}", "packets": at, **more})
    return run


def test_an_access_point_whose_tablets_report_on_is_not_down(run):
    """The word that it is up was lost, or the one that it is down forged: a theft there was never told."""
    macs = sorted(run.model.tablets)[:5]
    for mac in macs:
        run.on(0, S, mac, session=f"of-{mac}", packets=0)
    at_w1(run, 60, 3600, macs).on(3610, evidence.AP_DOWN, "", "w1")
    assert run.state_of() == "unreachable"
    at_w1(run, 3660, 6500, macs[1:])
    assert [(a.kind, a.at - T0 < 3800) for a in run.alerts("outage")] == [
        ("raised", True),
        ("cleared", True),
    ]
    assert run.state_of() == "missing"


@pytest.mark.parametrize(
    "reported",
    {
        "one tablet": lambda run, macs: at_w1(run, 960, 1500, macs[:1]),
        "no frames": lambda run, macs: [
            at_w1(run, at, at + 1, macs, packets=5) for at in (960, 1020, 1080)
        ],
        "once, it may tell of before": lambda run, macs: at_w1(run, 960, 961, macs),
        "goodbyes": lambda run, macs: [run.on(990, X, mac, session=f"of-{mac}") for mac in macs],
        "a controller": lambda run, macs: [
            run.on(990, H, mac, source="syslog:wlc") for mac in macs
        ],
        "under way": lambda run, macs: [run.on(904, H, f"3a:00:00:00:00:0{n}") for n in range(3)],
        "elsewhere": lambda run, macs: [run.on(990, H, mac, "w2") for mac in macs],
    }.items(),
    ids=lambda each: each[0],
)
def test_an_access_point_that_was_reported_down_stays_so(run, reported):
    macs = sorted(run.model.tablets)[:3]
    for mac in macs:
        run.on(0, S, mac, session=f"of-{mac}", packets=0)
    at_w1(run, 60, 900, macs).on(900, evidence.AP_DOWN, "", "w1")
    reported[1](run, macs)
    assert (run.state.aps["w1"].down, run.alerts(None, "cleared")) == ("reported down", [])


def dark(run, *, reported, radius=True):
    """Eight tablets at w1, of which RADIUS has sessions or a controller alone has told, and an outage of it."""
    macs = sorted(run.model.tablets)[:8]
    for mac in macs:
        if radius:
            run.on(0, S, mac, session=f"of-{mac}", packets=0)
        else:
            run.on(0, A, mac, source="syslog:wlc")
    for number, mac in enumerate(macs):
        if not reported:
            run.on(100 + number, D, mac, "w1", source="radius" if radius else "syslog:wlc")
    run.until(110)
    if reported:
        run.on(110, evidence.AP_DOWN, "", "w1", source="snmp:wlc")
    run.until(400)
    assert [(a.subject, a.kind) for a in run.alerts("outage")][:1] == [("ap w1", "raised")]
    return run


OUTAGES = pytest.mark.parametrize("reported", [True, False], ids=["reported", "all silent"])


@OUTAGES
@pytest.mark.parametrize("source", ["syslog:wlc", "snmp:wlc", "webhook:mist"])
@pytest.mark.parametrize("kind", [A, evidence.ROAMED, H])
def test_an_association_by_a_controllers_word_alone_ends_no_outage(run, reported, kind, source):
    """Anybody can send it, and the tablets without power were told as taken one after the other."""
    dark(run, reported=reported)
    run.on(400, kind, source=source).on(401, kind, "aa:bb:cc:00:00:20", source=source)
    assert (bool(run.state.aps["w1"].down), run.alerts("outage", "cleared")) == (True, [])
    # RADIUS has news of it: that counts as before.
    run.on(410, A, TWO)
    assert (run.state.aps["w1"].down, len(run.alerts("outage", "cleared"))) == ("", 1)


@OUTAGES
def test_where_nobody_but_a_controller_tells_of_an_access_point_it_ends_an_outage(run, reported):
    dark(run, reported=reported, radius=False).on(400, A, source="syslog:wlc")
    assert (run.state.aps["w1"].down, len(run.alerts("outage", "cleared"))) == ("", 1)


@OUTAGES
@pytest.mark.parametrize(
    ("nas", "ended"),
    [("other", "other/of"), ("wlc", "other/of"), ("wlc", "wlc/of"), ("", "wlc/of")],
)
def test_sessions_that_tablets_had_at_another_nas_make_no_hearsay_of_a_controllers_word(
    run, reported, nas, ended
):
    dark(run, reported=reported, radius=False)
    seen = run.state.tablets[sorted(run.model.tablets)[1]]
    assert seen.ap == "w1"
    seen.closed = (ended,)
    run.on(400, A, source="syslog:wlc", nas=nas)
    hearsay = ended.startswith(f"{nas}/") or not nas
    assert bool(run.state.aps["w1"].down) == hearsay


@OUTAGES
def test_an_open_session_makes_hearsay_of_it_whichever_nas_the_sender_pretends_to_be(run, reported):
    dark(run, reported=reported).on(400, A, source="syslog:wlc", nas="other")
    assert run.state.aps["w1"].down


def test_the_controller_that_reported_an_outage_ends_it_by_its_own_report(run):
    dark(run, reported=True).on(400, evidence.AP_UP, "", "w1", source="snmp:wlc")
    assert [a.kind for a in run.alerts("outage")] == ["raised", "cleared"]


def test_phones_that_ask_radius_at_an_access_point_show_that_it_is_up_over_a_restart_too(run):
    run.on(0, A).on(100, evidence.AP_DOWN, "", "w1").on(200, H, "3a:00:00:00:00:01")
    run.state = load(dump(run.state), run.model)
    run.on(210, H, "3a:00:00:00:00:01")
    assert run.state.aps["w1"].down
    run.on(220, H, "3a:00:00:00:00:02")
    assert [a.kind for a in run.alerts()] == ["raised", "cleared"]


def test_a_nas_restart_makes_its_tablets_unreachable_and_no_others(run):
    """OWR #617: a power cut leaves sessions open."""
    run.on(0, S, session="a").on(0, S, TWO, "w2", nas="wlc-2", session="b")
    run.on(100, evidence.NAS_RESTART, "", "").until(110)
    assert run.state_of() == "unreachable"
    assert run.state_of(TWO) == "present"
    run.on(120, I, session="a", packets=5)
    assert run.state_of() == "unreachable"
    run.on(130, S, session="a")
    assert run.state_of() == "present"
    assert not run.alerts()


def fleet(run, until, edge=()):
    """Everybody is heard every half minute, one after the other, those of `edge` at an exit."""
    macs = sorted(run.model.tablets)
    for at in range(0, until, 30):
        for number, mac in enumerate(macs):
            run.on(at + number, A if at == 0 else H, mac, "h1" if mac in edge else "w1")
    return run


def test_a_flapping_feed_is_told_once(run):
    """OWM #493: hundreds of sessions a day."""
    fleet(run, 1800)
    at = 1800
    for _ in range(20):
        run.on(at, H).until(at + 100)
        at += 100
    assert len(run.alerts("blind", "raised")) == 1
    assert run.alerts("taken") == []


def test_a_silent_controller_makes_us_blind_and_nobody_missing(run):
    """HA #47677: the connection to the controller is lost: all away."""
    fleet(run, 1800, edge={ONE, TWO}).until(5400)
    assert [a.cause for a in run.alerts(None, "raised")] == ["blind"]
    assert {seen.state for seen in run.state.tablets.values()} == {"unreachable"}
    for mac in run.model.tablets:
        run.on(5410, H, mac)
    assert [a.kind for a in run.alerts("blind")] == ["raised", "cleared"]
    assert run.state_of() == "present"


def test_a_controller_of_two_sites_makes_us_blind_for_both(run):
    """A tablet at another site's access point, heard by this site's controller, is not missing either."""
    fleet(run, 900, edge={ONE})
    run.on(901, A, TWO, "o1", site="other")
    for at in range(930, 1800, 30):
        for number, mac in enumerate(sorted(run.model.tablets)):
            run.on(at + number, H, mac)
    run.until(9000)
    assert [a.cause for a in run.alerts(None, "raised") if a.cause != "moved"] == ["blind"]
    assert {seen.state for seen in run.state.tablets.values()} == {"unreachable"}


def test_a_lost_feed_freezes_silences_and_they_start_anew(run):
    """Silent at the exit while another was heard: that it left there was seen, and counts on."""
    run.on(0, A, ap="h1").on(0, A, TWO).until(40).on(45, H, TWO).until(55)
    run.on(55, evidence.FEED_LOST, "", "", source="radius").until(2000)
    assert run.state_of() == "unreachable"
    run.on(2000, evidence.FEED_BACK, "", "", source="radius").on(
        2000, evidence.FEED_BACK, "", "", source="x"
    ).until(2200)
    assert not run.alerts("taken")
    run.until(2300)
    assert [a.at - T0 >= 2240 for a in run.alerts("taken")] == [True]
    assert [a.kind for a in run.alerts("blind")] == ["raised", "cleared"]


@pytest.mark.parametrize("dies", [True, False])
def test_an_exit_without_power_that_nobody_reports_is_no_theft(run, dies):
    """What an access point gave before it fell silent says how surprising its silence is, also after a slot.

    Two tablets walk there, and phones of others are heard by it. It dies with them, comes back before ten minutes are over, and its
    tablets some seconds later than others. Where it lives on, who fell silent is a theft.
    """
    fleet(run, 2940)
    phones = [f"3a:00:00:00:00:{number:02x}" for number in range(5)]
    macs = sorted(run.model.tablets)
    walked = set(macs[:2])
    for at in range(2940, 7000, 10):
        dead = 5400 <= at < 5960
        if at in {5340, 5360}:
            for number, mac in enumerate(sorted(walked)):
                run.on(at + number, A, mac, "w3" if at == 5340 else "h2")
        if at % 20 == 0 and not (dies and dead):
            run.on(at, I, phones[at // 20 % 5], "h2")
        if at > 5360 and not dead and not 5960 <= at < 6010:
            for number, mac in enumerate(sorted(walked)):
                run.on(at + 2 + number, H, mac, "h2")
        if at % 30 == 0:
            for number, mac in enumerate(macs if at < 5340 else macs[2:]):
                run.on(at + 4 + number, H, mac)
        run.until(at + 9)
    taken = {a.mac for a in run.alerts("taken", "raised") + run.alerts("taken", "updated")}
    assert taken == (set() if dies else walked)
    assert {run.state_of(mac) for mac in walked} == {"present"}


def test_a_controller_that_pauses_for_breath_makes_no_outage_of_a_theft(run):
    """At the very moment at which a theft would be told it says nothing for some seconds: it is told when it goes on."""
    fleet(run, 2940).on(2960, A, ap="h1").on(2965, A, ap="h2")
    others = sorted(run.model.tablets)[1:]
    for at in range(2970, 3600, 30):
        if at != 3120:
            for number, mac in enumerate(others):
                run.on(at + number, H, mac)
        run.until(at + 29)
    assert [(a.cause, a.kind) for a in run.alerts()][:1] == [("taken", "raised")]
    assert 3150 <= run.alerts()[0].at - T0 < 3170


@pytest.mark.parametrize("blind", ["feed", "controller", "old-data", "clock", "pause"])
def test_who_was_at_an_exit_when_we_went_blind_may_have_gone_anywhere(run, blind):
    """It was carried back unseen, and fell silent before we could hear again: no theft."""
    fleet(run, 2940).on(2960, A, ap="h1").on(2990, H, ap="h1")
    others = sorted(run.model.tablets)[1:]
    step_ = -3600 if blind == "clock" else 0
    if blind == "feed":
        run.on(3001, evidence.FEED_LOST, "", "", source="radius").until(6590)
        run.on(6600, evidence.FEED_BACK, "", "", source="radius")
    elif blind == "controller":
        run.until(6590)
    for at in range(3010, 6600, 30):
        for number, mac in enumerate(others):
            if blind == "old-data":
                run.on(at - 3600 + number, H, mac, received=at + number)
            elif blind == "clock":
                run.on(at - 3600 + number, H, mac)
    for at in range(6600, 14_000, 30):
        for number, mac in enumerate(others):
            run.on(at + step_ + number, H, mac)
    assert not run.alerts("taken")
    assert [a.cause for a in run.alerts(None, "raised") if a.tablet] == ["asleep"]
    assert run.state_of() == "missing"
    (alert,) = [a for a in run.alerts(None, "raised") if a.tablet]
    length = next(reason for reason in alert.reasons if reason.name == "length")
    assert length.detail.endswith("nothing could be heard, it may have gone anywhere")


def test_a_session_that_starts_while_the_clock_is_wrong_is_no_late_one(run):
    """Its Start bears a time before the last association: after that its reports were not believed."""
    run.on(0, S, session="a").on(2990, S, ap="h1", session="b").on(3000, H, ap="h1")
    run.on(-600, H, ap="h1").on(2600, S, ap="w2", session="c", packets=0)
    run.on(3050, I, ap="w2", session="c", packets=9)
    assert run.state.tablets[ONE].ap == "w2"
    assert run.state.ignored == {"late": 2}


def test_what_an_exit_reports_first_after_a_blind_time_is_no_sighting(run):
    """The AP of the exit still counts what the tablet sent there before it was carried back."""
    run.on(0, S, session="a", packets=0).on(0, S, TWO, session="c", packets=0)
    run.on(10, evidence.FEED_LOST, "", "", source="radius")
    run.on(2000, evidence.FEED_BACK, "", "", source="radius")
    run.on(2010, I, ap="h1", session="b", packets=40).on(
        2010, I, TWO, "w2", session="d", packets=40
    )
    assert run.state.tablets[ONE].ap == "w1"
    assert run.state.tablets[TWO].ap == "w2", "a ward is no place to slip away from"
    run.on(2300, I, ap="h1", session="b", packets=41)
    assert run.state.tablets[ONE].ap == "h1", "it grows: it is there"


def test_a_short_pause_of_the_feeds_lets_nobody_get_away(run):
    """What a tablet does in a minute and a half it does at the exit."""
    fleet(run, 2940).on(2960, A, ap="h1").on(2990, H, ap="h1")
    run.on(3001, evidence.FEED_LOST, "", "", source="radius").until(3090)
    run.on(3090, evidence.FEED_BACK, "", "", source="radius")
    for at in range(3100, 4000, 30):
        for number, mac in enumerate(sorted(run.model.tablets)[1:]):
            run.on(at + number * 1.5, H, mac)
    assert len(run.alerts("taken", "raised")) == 1


@pytest.mark.parametrize(("version", "lacks"), [(2, 2), (3, 1), (4, 0), (5, 0)])
def test_a_state_of_a_version_before_is_read(run, version, lacks):
    import json

    run.beats(0, 600)
    body = json.loads(dump(run.state))
    body["version"] = version
    body["tablets"] = {mac: [*row[: -2 - lacks], row[-2]] for mac, row in body["tablets"].items()}
    body["pools"] = {name: row[:-1] for name, row in body["pools"].items()}
    body["places"] = [row[: None if version > 4 else -2] for row in body["places"]]
    del body["turned"], body["past_days"]
    again = load(json.dumps(body).encode(), run.model)
    assert again.tablets[ONE].last == run.state.tablets[ONE].last
    assert (again.tablets[ONE].disputed, lacks < 2 or again.tablets[ONE].watched == 0.0) == (
        (0.0, ""),
        True,
    )
    assert (again.aps["w1"].who, again.aps["w1"].witness) == (run.state.aps["w1"].who, "")
    # What it had learned is of the span before this one, and forgotten with it.
    assert (again.turned, again.past_days) == (run.state.now, 0.0)
    assert again.fleet.aged == again.fleet.counts == run.state.fleet.counts
    assert again.tablets[ONE].aged == run.state.tablets[ONE].curve


@pytest.mark.parametrize("step_", [3600, -3600])
def test_a_clock_step_raises_nothing(run, step_):
    fleet(run, 3000, edge={ONE})
    for at in range(3000 + step_, 4000 + step_, 30):
        received = max(at, 3000)
        for mac in run.model.tablets:
            run.on(at, H, mac, "h1" if mac == ONE else "w1", received=received)
    assert not run.alerts("taken")


def test_a_pause_of_the_host_raises_nothing(run):
    fleet(run, 1800, edge={ONE})
    run.actions += due(run.model, run.state, T0 + 9000)
    assert not run.alerts("taken")
    assert not run.alerts("blind")


def test_most_tablets_of_an_ap_at_once_are_one_outage(run):
    macs = sorted(run.model.tablets)[:6]
    for mac in macs:
        run.on(0, A, mac, "w2")
    for number, mac in enumerate(macs):
        run.on(100 + number, D, mac, "w2")
    run.until(2000)
    raised = run.alerts(None, "raised")
    assert [(a.cause, a.subject) for a in raised][:1] == [("outage", "ap w2")]
    assert not run.alerts("taken")


# What else may know of a tablet that is told as taken: RADIUS, that says it has stopped or says no more, and our questions.
OTHERS = {
    "RADIUS says Stop": lambda run: run.on(0, S, ap="h1", session="a").on(1, X, ap="h1", session="a", reason="lost-carrier"),
    "its session stands still": lambda run: run.on(0, S, ap="h1", session="a"),
    "it gives no answer": lambda run: run.on(0, A, ap="h1").on(40, evidence.SILENT_PROBE, ap=""),
}  # fmt: skip


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize(
    ("kind", "source", "more"),
    [
        (A, "syslog:wlc", {"ap": "w1"}),
        (H, "snmp:wlc", {"ap": "w1"}),
        (D, "syslog:wlc", {"ap": "h1", "reason": "left"}),
        (evidence.ROAMED, "webhook:mist", {"ap": "w2"}),
    ],
)
def test_a_controller_alone_ends_no_alarm_of_theft(run, kind, source, more, others):
    """T17: a false "seen" by syslog while others disagree; the alarm stays, marked as disputed."""
    OTHERS[others](run).until(300)
    (raised,) = run.alerts("taken", "raised")
    run.actions.clear()
    run.on(300, kind, source=source, **more)
    assert [(a.tablet, a.at) for a in run.actions if isinstance(a, Probe)] == [("T-001", T0 + 300)]
    run.until(325)
    assert run.state_of() == "missing"
    assert not any(r.name == "disputed" for a in run.alerts() for r in a.reasons)
    for at in range(326, 400, 2):
        run.on(at, kind, source=source, **more)
    told = [a for a in run.alerts() if a.reasons and a.reasons[0].name == "disputed"]
    assert {(a.id, a.kind, a.area) for a in told} == {(raised.id, "updated", "hall")}
    assert {a.reasons[0] for a in told} == {Reason("disputed", 0.0, f"{source}: {more['ap']}")}
    again = load(dump(run.state), run.model)
    assert again.tablets[ONE].disputed == (0.0, f"{source}: {more['ap']}")
    # Whatever it goes on saying; RADIUS or the tablet's own traffic ends it.
    run.on(410, H, source="neighbours", ap="")
    assert run.alerts()[-1].kind == "cleared"
    assert (run.state_of(), run.state.tablets[ONE].disputed) == ("present", (0.0, ""))


def test_a_goodbye_for_idleness_is_no_claim_that_it_is_there(run):
    run.on(0, S, ap="h1", session="a").until(300)
    run.actions.clear()
    run.on(300, D, ap="h1", source="syslog:wlc", reason="ageout")
    assert run.actions == []
    assert run.state.tablets[ONE].disputed == (0.0, "")


def test_where_nobody_else_speaks_a_controller_is_believed(run):
    """A site, or a recording, that has syslog and nothing beside it: its alarms must end."""
    run.on(0, A, ap="h1", source="syslog:wlc").until(300)
    run.on(300, A, source="syslog:wlc")
    assert [a.kind for a in run.alerts("taken") if a.kind != "updated"] == ["raised", "cleared"]
    assert run.state_of() == "present"


def test_an_answer_that_it_owed_us_in_an_earlier_silence_says_nothing_of_this_one(run):
    run.on(0, A, ap="h1").on(40, evidence.SILENT_PROBE, ap="").on(50, H, ap="h1").until(400)
    assert (run.state_of(), run.state.tablets[ONE].cause) == ("missing", "taken")
    assert run.state.tablets[ONE].misses == 1
    run.on(400, A, source="syslog:wlc")
    assert run.state_of() == "present"


@pytest.mark.parametrize("source", ["radius", "neighbours", "dhcp", "dns", "flows"])
def test_who_is_back_and_is_heard_by_others_too_is_not_disputed(run, source):
    run.on(0, S, ap="h1", session="a").until(300)
    run.on(300, A, source="syslog:wlc").on(302, H, source=source).until(400)
    assert [a.kind for a in run.alerts("taken") if a.kind != "updated"] == ["raised", "cleared"]
    assert not any(r.name == "disputed" for a in run.alerts() for r in a.reasons)


def test_a_storm_of_alarms_is_one_outage(run):
    for number, mac in enumerate(sorted(run.model.tablets)[:8]):
        run.on(number * 61, A, mac, "h1")
    run.until(1100)
    assert len(run.alerts("taken", "raised")) == 3
    assert [a.subject for a in run.alerts("outage", "raised")] == ["ap h1"]


def test_a_tablet_of_one_site_at_another_has_moved(run):
    run.on(0, A).on(500, A, ap="o1", nas="wlc-2", site="other").on(900, H, ap="o1", site="other")
    (alert,) = run.alerts()
    assert (alert.cause, alert.kind, alert.site) == ("moved", "raised", "other")
    assert run.states == []
    run.on(1000, A)
    assert [a.kind for a in run.alerts("moved")] == ["raised", "cleared"]


def test_a_planned_move_is_no_theft(run):
    run.on(0, evidence.PLANNED_MOVE, ap="", area="other/ward", until=T0 + 9000)
    run.on(10, A, ap="h1").until(1000)
    assert [a.cause for a in run.alerts(None, "raised")] == ["moved"]


def test_people_confirm_or_end_an_incident(run):
    run.on(0, A, ap="h1").until(400).on(500, evidence.LOAN, reason="stolen").on(600, H)
    assert run.state.false_alarms == 0
    assert [a.kind for a in run.alerts("taken")][-1] == "cleared"
    run.on(700, A, TWO, "h1").until(1200).on(1200, evidence.LOAN, TWO, reason="found")
    assert run.alerts("taken")[-1].kind == "cleared"
    assert run.state.tablets[TWO].loan == ""


@pytest.mark.parametrize("was", ["lent", "lost", "stolen"])
@pytest.mark.parametrize("word", ["found", "stock", "retired"])
def test_what_is_found_returned_or_retired_ends_its_alert(run, was, word):
    """`netguard found` and `return` are stored as stock."""
    run.on(0, evidence.LOAN, ap="", reason="lent").on(1, A, ap="h1").until(400)
    run.on(500, evidence.LOAN, ap="", reason=was).on(600, evidence.LOAN, ap="", reason=word)
    assert run.alerts("taken")[-1].kind == "cleared"
    assert run.state.tablets[ONE].loan == ("" if word == "found" else word)
    assert run.state.false_alarms == (1 if was == "lent" else 0)


def test_what_was_in_stock_before_ends_nothing(run):
    run.on(0, evidence.LOAN, ap="", reason="stock").on(1, A, ap="h1").until(3000)
    open_before = [a.kind for a in run.alerts()]
    run.on(3000, evidence.LOAN, ap="", reason="stock")
    assert [a.kind for a in run.alerts()] == open_before


def test_a_sleeper_that_is_known_is_not_missing():
    """NetAlertX #1567: deep sleep for minutes, again and again."""
    run = Run()
    for day in range(20):
        for mac in run.model.tablets:
            run.on(day * 86400 + 40_000, A, mac)
            run.on(day * 86400 + 40_060, D, mac, reason="leaving")
    run.actions.clear()
    run.until(20 * 86400 + 10_000)
    assert not run.alerts("taken")


def test_a_silent_tablet_is_asked_and_its_answer_ends_it(run):
    from netguard.core.presence import Probe

    run.on(0, A, ap="h1").until(55)
    asked = [a.at - T0 for a in run.actions if isinstance(a, Probe)]
    assert asked == [30, 40, 50]
    for at in (31, 41, 51, 61, 71):
        run.on(at, evidence.SILENT_PROBE)
    run.on(20, evidence.SILENT_PROBE, received=72)
    run.until(80).on(81, H)
    assert run.states == [("present", "quiet"), ("quiet", "present")]
    assert run.state.answers == {"tab": (6, 1)}


def test_a_stranger_shows_only_that_its_ap_lives(run):
    run.on(0, H, "3a:00:00:00:00:01", "w1")
    assert run.state.tablets == {}
    assert run.state.aps["w1"].last == T0


def test_the_budget_sets_the_threshold(run):
    from netguard.core.presence import figures
    from netguard.core.presence.threshold import band_of, threshold_of

    state = run.state
    assert threshold_of(run.model, state) == run.model.weights.unlearned
    state.since, state.now = T0, T0 + 28 * 86400
    assert threshold_of(run.model, state) == run.model.weights.smallest
    state.peaks[band_of(0.4)] = 7
    tight = threshold_of(run.model, state)
    assert run.model.weights.smallest < tight < run.model.weights.largest
    loose = replace(run.model, sites={"main": SiteModel("main", budget=2.0)})
    assert threshold_of(loose, state) == run.model.weights.smallest
    state.peaks[band_of(0.99)] = 60
    assert threshold_of(run.model, state) == run.model.weights.largest
    assert figures(run.model, state)["budget_per_day"] == pytest.approx(1 / 7)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"version": 7}', b"\xff"])
def test_what_is_no_state_is_refused(data):
    from netguard.errors import BadValue

    with pytest.raises(BadValue):
        load(data, model_of())


def test_ten_thousand_tablets_fit_into_memory():
    import tracemalloc

    model = Model(
        {"main": SiteModel("main")},
        (AreaModel("main", "ward", tuple(f"w{n}" for n in range(2000))),),
        {"wlc": "main"},
        {f"m{n}": TabletModel(f"T-{n}", f"m{n}", "main", "ward", "tab") for n in range(10_000)},
    )
    tracemalloc.start()
    state = State()
    for at in (0, 400, 9000):
        for number, mac in enumerate(model.tablets):
            ap = f"w{(number + at) % 2000}"
            step(
                model,
                state,
                Event(T0 + at + number / 100, S, mac, ap, "wlc", session=f"{at}-{number}"),
            )
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert taken < 200e6
    # One timer each, and few that are overtaken.
    assert len(state.heap) < 40_000


def test_the_work_for_one_event_does_not_depend_on_the_fleet():
    """Counted in calls, not in seconds: the engine looks at the one tablet that was heard."""
    import sys

    def calls(tablets):
        run = Run()
        run.model = model_of(tablets)
        for number, mac in enumerate(run.model.tablets):
            run.on(number * 0.01, A, mac)
        count = 0

        def note(_frame, what, _arg):
            nonlocal count
            count += what == "call"

        event = Event(T0 + 30, H, ONE, "w1", "wlc", "main")
        sys.setprofile(note)
        step(run.model, run.state, event)
        sys.setprofile(None)
        return count

    assert calls(20) == calls(200) > 0


@pytest.mark.parametrize(
    ("days", "peaks", "threshold"),
    [
        (2.9, {}, 0.7),
        (3.0, {}, 0.25),
        # In the first week the budget is that of a whole one, and one deviation more is chance: two
        # peaks above are borne, three are not.
        (3.1, {0.4: 2}, 0.25),
        (3.1, {0.4: 3}, 0.4378),
        (14, {0.4: 3}, 0.25),
        (14, {0.4: 4}, 0.4378),
        (14, {0.4: 1, 0.43: 3}, 0.4378),
        (14, {0.99: 4}, 0.5),
        (14, {0.1: 1000}, 0.25),
    ],
)  # fmt: skip
def test_the_lowest_threshold_within_the_budget(days, peaks, threshold):
    from netguard.core.presence.threshold import band_of, threshold_of

    state = State()
    state.since, state.now = T0, T0 + days * 86400
    for peak, count in peaks.items():
        state.peaks[band_of(peak)] += count
    assert threshold_of(model_of(), state) == pytest.approx(threshold, abs=1e-3)
    assert [band_of(p) for p in (0.0, 0.5, 0.6792, 1.0)] == [0, 20, 23, 39]
