"""What holds for every stream: no change before the grace, duplicates and small disorder change nothing."""

from hypothesis import example, given
from hypothesis import strategies as st

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.presence import Alert, State, Transition, due, step
from netguard.core.presence.model import AreaModel, Model, SiteModel, TabletModel

T0 = 1_767_600_000.0
MACS = [f"aa:bb:cc:00:00:0{n}" for n in range(4)]
MODEL = Model(
    {"main": SiteModel("main")},
    (AreaModel("main", "ward", ("w1", "w2")), AreaModel("main", "hall", ("h1",), edge=True)),
    {"wlc": "main"},
    {mac: TabletModel(f"T-{n}", mac, "main", "ward", "tab") for n, mac in enumerate(MACS)},
)
KINDS = [
    evidence.ASSOCIATED, evidence.HEARD, evidence.DISASSOCIATED, evidence.START, evidence.INTERIM,
    evidence.STOP, evidence.SILENT_PROBE, evidence.AP_DOWN, evidence.AP_UP, evidence.NAS_RESTART,
    evidence.ROAMED,
]  # fmt: skip


@st.composite
def streams(draw, kinds=tuple(KINDS), longest=40):
    at, events = T0, []
    for _ in range(draw(st.integers(1, longest))):
        at += draw(st.sampled_from([1.0, 7.0, 20.0, 45.0, 100.0, 290.0, 700.0, 2000.0]))
        kind = draw(st.sampled_from(kinds))
        packets = draw(st.none() | st.integers(0, 5)) if kind == evidence.INTERIM else None
        events.append(
            Event(
                at, kind, draw(st.sampled_from(MACS)), draw(st.sampled_from(["w1", "w2", "h1"])),
                "wlc", "main", draw(st.sampled_from(["", "leaving", "inactivity"])), "radius",
                draw(st.sampled_from(["", "a", "b"])), packets,
            )
        )  # fmt: skip
    return events


def run(events, end=3600.0):
    state, actions = State(), []
    for event in events:
        actions += step(MODEL, state, event)
    at = state.now
    while at < events[-1].at + end:
        at += 5.0
        actions += due(MODEL, state, at)
    return state, actions


@given(streams())
def test_nothing_gets_worse_before_the_grace(events):
    _, actions = run(events)
    for action in actions:
        if isinstance(action, Transition) and action.after in {"quiet", "missing"}:
            assert action.at - action.silent_since >= MODEL.sites["main"].grace


@given(streams())
def test_alerts_alternate_and_states_follow_each_other(events):
    _, actions = run(events)
    state = dict.fromkeys(MACS, "present")
    opened = set()
    for action in actions:
        if isinstance(action, Transition):
            assert state[action.mac] == action.before != action.after
            state[action.mac] = action.after
        if isinstance(action, Alert) and action.tablet:
            assert (action.id in opened) == (action.kind != "raised")
            (opened.discard if action.kind == "cleared" else opened.add)(action.id)
            assert 0.0 <= action.probability <= 1.0


@given(
    streams(
        (evidence.ASSOCIATED, evidence.HEARD, evidence.DISASSOCIATED, evidence.START, evidence.STOP)
    )
)
def test_duplicates_change_nothing(events):
    once, actions = run(events)
    twice, again = run([each for event in events for each in (event, event)])
    assert [a for a in again if isinstance(a, Transition)] == [
        a for a in actions if isinstance(a, Transition)
    ]
    assert {m: s.ap for m, s in once.tablets.items()} == {m: s.ap for m, s in twice.tablets.items()}


def heard(*moments):
    """The first tablet, heard at an AP each, so many seconds after the first."""
    return [Event(T0 + at, evidence.HEARD, MACS[0], ap, "wlc", "main") for at, ap in moments]


def three(*moments):
    """Three tablets that associate at one AP, so many seconds after the first."""
    return [Event(T0 + at, evidence.ASSOCIATED, MACS[n], "w1", "wlc", "main") for at, n in moments]


@given(
    streams((evidence.ASSOCIATED, evidence.HEARD)),
    st.lists(st.floats(0, 4.9), min_size=40, max_size=40),
)
@example(heard((2, "w1"), (3, "w2")), [2.0, 0.0])
@example(heard((1, "w1"), (4, "w2"), (6, "w1")), [0.0, 4.0, 0.0])
@example(heard((3, "w1"), (4, "w2"), (5, "")), [3.0, 4.0, 0.0])
@example(
    three((1, 0), (101, 1), (102, 0), (202, 1), (302, 0), (303, 1), (304, 2), (311, 0), (601, 0)),
    [0.0, 2.0] + 7 * [0.0],
)
def test_the_order_of_arrival_does_not_matter(events, delays):
    late = [e._replace(received=e.at + d) for e, d in zip(events, delays, strict=False)]
    late.sort(key=lambda event: event.received)
    one, _ = run(events, 3605.0)
    two, _ = run(late)
    # Words of one device in a row count once, so a controller's rhythm does depend on the order: with as few devices as
    # here, whether it is known at all, and with it whether its silence is told.
    same = one.nases["wlc"].down == two.nases["wlc"].down
    for mac, seen in one.tablets.items():
        other = two.tablets[mac]
        assert (seen.ap, seen.last) == (other.ap, other.last)
        assert seen.state == other.state or not same


@given(streams(), st.integers(0, 10))
def test_while_blind_nothing_is_announced(events, at):
    lost = Event(events[0].at, evidence.FEED_LOST, source="radius")
    _, actions = run([lost, *events])
    assert not [a for a in actions if isinstance(a, Alert) and a.tablet]
    assert not [a for a in actions if isinstance(a, Transition) and a.after == "missing"]


def test_a_model_of_nothing_is_harmless():
    empty = Model({}, (), {}, {})
    assert step(empty, State(), Event(T0, evidence.HEARD, MACS[0], "w1", "wlc")) == []
