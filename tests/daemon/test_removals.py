"""Whom guard asks to throw a tablet off the air, and what it takes as a sign that it is still there."""

import asyncio
import threading
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest

from netguard.adapters import clock
from netguard.adapters.store import Entry, Loan, Quarantine
from netguard.core.names import parse_network
from netguard.core.plan import compile_plan
from netguard.core.removal import STEPS, Removal
from netguard.core.sessions import Live
from netguard.daemon import removals
from netguard.daemon.register import Register
from netguard.daemon.removals import Removals
from netguard.errors import NotReachable
from netguard.settings import Settings


@pytest.fixture
def plan(small):
    return compile_plan(small(), ["pellegrin"])


@pytest.fixture
def mac(plan):
    return next(b.mac for b in plan.bindings if b.tablet == "T-001")


def nas_of(plan):
    return plan.site["pellegrin"].nas[0]


def with_network(plan, text):
    site = plan.site["pellegrin"]
    nas = tuple(replace(each, address=parse_network(text)) for each in site.nas[:1])
    return replace(plan, sites=(replace(site, nas=nas),))


def live(plan, **more):
    nas = nas_of(plan)
    row = Live(
        nas=nas.name, mac="x", session="2a", at=clock.now().timestamp(), site="pellegrin", ap="AP-1",
        bssid="", source=str(nas.address.network_address), nas_ip="", vlan="",
    )  # fmt: skip
    return replace(row, **more)


def asked(plan, mac, *sessions):
    return [
        (nas.name, str(session.server), session.id)
        for nas, session in removals._where(plan, mac, sessions, removals._places(plan))
    ]


def test_the_nas_of_a_session_is_asked_by_its_session_and_once(plan, mac):
    name, address = nas_of(plan).name, str(nas_of(plan).address.network_address)
    assert asked(plan, mac, live(plan), live(plan, session="")) == [(name, address, "2a")]
    assert asked(plan, mac, live(plan, session="")) == [(name, address, "")]


def test_where_nobody_knows_it_each_nas_with_one_address_is_asked(plan, mac):
    wanted = [(n.name, str(n.address.network_address)) for s in plan.sites for n in s.nas]
    every = removals._anywhere(plan, mac, removals._places(plan))
    assert [(nas.name, str(session.server)) for nas, session in every] == wanted
    assert {session.id for _, session in every} == {""}
    old = live(plan, at=clock.now().timestamp() - 2 * removals.STALE)
    assert asked(plan, mac, old) == []
    many = with_network(plan, "10.9.0.0/24")
    assert removals._anywhere(many, mac, removals._places(many)) == []


def thrown_off(register, plan, monkeypatch, answers, told):
    """Throw T-001 off where NASes answer so, by name, and watch tells that; returns state and words."""

    async def watch(*_words, **_more):
        if told is None:
            raise NotReachable("watch is away")
        return {"sessions": told}

    async def play():
        held = Removals(Settings("n", ("pellegrin",)), register, Nothing(), Nothing())

        async def sent(nas, _session):
            return answers[nas.name] != "silent", f"{nas.name}: {answers[nas.name]}"

        monkeypatch.setattr(held, "_sent", sent)
        return await held._throw_off("T-001", plan)

    monkeypatch.setattr(removals.control, "call_async", watch)
    return asyncio.run(play())


def with_two(plan):
    site = plan.site["pellegrin"]
    nas = tuple(
        replace(site.nas[0], name=name, address=parse_network(f"10.9.0.{n}/32"))
        for n, name in enumerate(("a", "b"), 1)
    )
    return replace(plan, sites=(replace(site, nas=nas),))


@pytest.mark.parametrize(
    ("answers", "told", "state"),
    [
        ({"a": "absent", "b": "silent"}, [], "done"),
        ({"a": "silent", "b": "silent"}, [], "failed"),
        # Nobody can say whether one is known: both have to answer.
        ({"a": "absent", "b": "silent"}, None, "failed"),
        ({"a": "absent", "b": "absent"}, None, "done"),
    ],
)
def test_a_nas_that_is_off_the_air_is_no_matter_where_no_session_is_known(
    register, plan, monkeypatch, answers, told, state
):
    found, words = thrown_off(register, with_two(plan), monkeypatch, answers, told)
    assert found == state
    assert words == f"a: {answers['a']}; b: {answers['b']}"


def test_the_nas_of_a_known_session_has_to_answer_itself(register, plan, monkeypatch):
    two = with_two(plan)
    row = asdict(live(two, nas="b", source="10.9.0.2"))
    answers = {"a": "ack", "b": "silent"}
    assert thrown_off(register, two, monkeypatch, answers, [row]) == ("failed", "b: silent")


def test_a_tablet_that_nobody_knows_of_needs_no_request_where_no_nas_has_one_address(
    register, plan, monkeypatch
):
    many = with_network(plan, "10.9.0.0/24")
    state, words = thrown_off(register, many, monkeypatch, {}, [])
    assert (state, "no session of it is known" in words) == ("done", True)
    state, words = thrown_off(register, many, monkeypatch, {}, None)
    assert (state, "nobody knows where it is" in words) == ("failed", True)


def test_what_a_hijacked_watch_tells_is_no_session_and_ends_nothing(register, plan, monkeypatch):
    row = asdict(live(plan))
    for rows in (
        [{**row, "nas": []}],
        [{**row, "at": "x"}],
        [{**row, "at": float("nan")}],
        [{**row, "source": "x" * 1000}],
        [{"nas": "x"}],
        [row] * 5,
        "rubbish",
        None,
    ):
        name = nas_of(plan).name
        _, words = thrown_off(register, plan, monkeypatch, {name: "absent"}, rows)
        assert words == f"{name}: absent"


def test_nobody_but_a_nas_of_the_rules_is_asked_whatever_watch_says(plan, mac):
    """A hijacked watch must not make guard sign requests to others."""
    own = {str(nas.address.network_address) for site in plan.sites for nas in site.nas}
    for hostile in (
        live(plan, source="192.0.2.66"),
        live(plan, nas="nobody", source="192.0.2.66"),
        live(plan, source="hostile"),
    ):
        assert {server for _, server, _ in asked(plan, mac, hostile)} <= own
    many = with_network(plan, "10.9.0.0/24")
    assert asked(many, mac, live(plan, source="10.9.0.7")) == [
        (nas_of(plan).name, "10.9.0.7", "2a")
    ]
    assert asked(many, mac, live(plan, source="10.10.0.7")) == []


def test_what_is_newer_than_the_request_shows_that_it_goes_on(plan):
    now = clock.now().timestamp()
    before, after = live(plan, at=now - 10), live(plan, at=now + 1)
    assert removals._goes_on(plan, [before], now, apart=True) == ""
    assert "session 2a of it is newer" in removals._goes_on(plan, [after], now, apart=True)
    admitted = live(plan, at=now + 1, session="", vlan="640")
    assert "an admission of it is newer" in removals._goes_on(plan, [admitted], now, apart=True)


def test_in_the_quarantine_vlan_it_may_be_heard(plan):
    site = replace(plan.site["pellegrin"], quarantine_vlan=641)
    apart, now = replace(plan, sites=(site,)), clock.now().timestamp()
    admitted = live(plan, at=now + 1, session="", vlan="641")
    assert removals._goes_on(apart, [live(plan, at=now + 2), admitted], now, apart=True) == ""
    assert removals._goes_on(
        apart, [live(plan, at=now + 2), replace(admitted, vlan="640")], now, apart=True
    )


def test_who_is_stolen_may_be_heard_nowhere_also_not_where_it_was_in_quarantine(plan):
    """The NAS took the request and left the session as it was: it was told to be off the air."""
    site = replace(plan.site["pellegrin"], quarantine_vlan=641)
    plan, now = replace(plan, sites=(site,)), clock.now().timestamp()
    admitted = live(plan, at=now - 900, session="", vlan="641")
    rows = [live(plan, at=now + 2), admitted]
    assert removals._goes_on(plan, rows, now, apart=True) == ""
    assert "session 2a of it is newer" in removals._goes_on(plan, rows, now, apart=False)


@pytest.mark.parametrize(("state", "heard"), [("quarantined", ""), ("stolen", "tab1, all refused")])
def test_a_packet_of_who_is_stolen_counts_on_any_interface(
    register, plan, mac, monkeypatch, state, heard
):
    (tab,) = plan.site["pellegrin"].interfaces
    site = replace(plan.site["pellegrin"], quarantine_vlan=641, interfaces=(tab, "tab1"))
    plan = replace(plan, sites=(site,))

    class Refused:
        def last_of(self, _mac):
            return SimpleNamespace(at=clock.now(), interface="tab1")

    async def none(_mac):
        return []

    held = Removals(Settings("n", ("pellegrin",)), register, Nothing(), Nothing())
    monkeypatch.setattr(held, "_sessions", none)
    said = asyncio.run(held._heard(Removal("T-001", state, 0.0), plan, Refused()))
    assert said.endswith(heard)
    assert bool(said) == bool(heard)


def test_packets_count_where_it_is_clear_which_vlan_they_come_from(plan):
    site = plan.site["pellegrin"]
    (tab,) = site.interfaces
    apart = replace(site, quarantine_vlan=641, interfaces=(tab, "tab1"))
    assert removals._is_old(plan, tab)
    assert removals._is_old(plan, "unknown0")
    assert not removals._is_old(replace(plan, sites=(apart,)), tab)


@pytest.fixture
def register(tmp_path):
    held = Register(tmp_path)
    held.open(clock.now())
    yield held
    held.close()


class Nothing:
    """Settings, fence and FreeRADIUS are not asked by a comparison."""


def begun(register):
    async def make():
        return Removals(Nothing(), register, Nothing(), Nothing())

    return asyncio.run(make())


def say(register, tablet, state, at="2026-01-01T00:00:00+00:00"):
    register.change(
        Loan(tablet, state, at, "alice", ""), Entry(at, "a", "loan", tablet, "{}", "{}")
    )


def apart(register, tablet, at="2026-01-01T00:00:00+00:00"):
    row = Quarantine(tablet, at, "alice", "why", "", "")
    register.quarantine(row, Entry(at, "a", "quarantine", tablet, "{}", "{}"))


def test_who_has_to_go_follows_from_what_people_said(register):
    held = begun(register)
    say(register, "T-001", "stolen")
    say(register, "T-002", "lent")
    apart(register, "T-002")
    apart(register, "T-001")
    asyncio.run(held.compare())
    assert {row["tablet"]: row["state"] for row in held.shown()} == {
        "T-001": "stolen",
        "T-002": "quarantined",
    }
    assert [len(row["steps"]) for row in held.shown("T-001")] == [5]
    say(register, "T-001", "stock")
    register.release("T-002", Entry("t", "a", "release", "T-002", "{}", "{}"))
    asyncio.run(held.compare())
    # Still in quarantine, which now counts, and begins anew.
    assert [(row["tablet"], row["state"]) for row in held.shown()] == [("T-001", "quarantined")]
    states = {tablet: row.state for tablet, row in register.removals().items()}
    assert states == {"T-001": "quarantined", "T-002": "released"}


class Freed:
    """T-001 in quarantine, in a VLAN of its own, and released; watch tells `rows`, the NAS answers `done`."""

    def __init__(self, register, plan, monkeypatch):
        site = replace(plan.site["pellegrin"], quarantine_vlan=641)
        self.plan = replace(plan, sites=(site,))
        self.register, self.asked, self.done, self.rows = register, 0, True, self.on_air(641)
        paths = SimpleNamespace(radius_control="control")
        self.radius = SimpleNamespace(pending=False)
        self.settings = SimpleNamespace(paths=paths)
        self.monkeypatch = monkeypatch
        apart(register, "T-001")
        self.begin_anew()
        register.release("T-001", Entry("t", "a", "release", "T-001", "{}", "{}"))
        asyncio.run(self.held.compare())

    def begin_anew(self):
        """Be another process on the same register."""
        self.held = Removals(self.settings, self.register, Nothing(), self.radius)
        self.monkeypatch.setattr(self.held, "_sessions", self.sessions)
        self.monkeypatch.setattr(self.held, "_sent", self.sent)
        asyncio.run(self.held.compare())

    def on_air(self, vlan):
        return [live(self.plan), live(self.plan, session="", vlan=str(vlan))]

    async def sessions(self, _mac):
        return self.rows

    async def sent(self, nas, _session):
        self.asked += 1
        return self.done, nas.name

    def look(self):
        """One look of guard; returns how often the NAS was asked, and whether it is still looked for."""
        for tablet, (after, _) in list(self.held._freed.items()):
            if clock.monotonic() >= after:
                asyncio.run(self.held._let_out(tablet, self.plan))
        return self.asked, "T-001" in self.held._freed


@pytest.fixture
def freed(register, plan, monkeypatch, time):
    found = Freed(register, plan, monkeypatch)
    assert found.look() == (0, True), "it may join anew by itself"
    time.on(6)
    return found


def test_who_is_released_is_brought_out_of_the_quarantine_vlan(freed, time):
    """It stayed in a network that leads nowhere until it joined anew by itself."""
    freed.radius.pending = True
    assert freed.look() == (0, True), "it would be let in there again"
    freed.radius.pending = False
    time.on(6)
    assert freed.look() == (1, True)
    time.on(59)
    assert freed.look() == (1, True)
    # The NAS kept its last answer, or did not do what it acknowledged.
    time.on(2)
    assert freed.look() == (2, True)
    freed.rows = freed.on_air(640)
    time.on(61)
    assert freed.look() == (2, False)


def test_a_restart_of_guard_leaves_nobody_in_the_quarantine_vlan(freed, time):
    """Only the process remembered: it stayed there until it joined anew by itself."""
    time.on(60)
    freed.begin_anew()
    assert freed.look() == (0, True)
    time.on(6)
    assert freed.look() == (1, True)
    # A quarter of an hour is that of the release, not of the start.
    time.on(900 - 60)
    freed.begin_anew()
    assert freed.look() == (1, False)
    assert freed.register.removals() == {}


@pytest.mark.parametrize("then", ["its own VLAN", "in quarantine again"])
def test_who_is_out_or_back_in_quarantine_is_forgotten_as_a_released_one(freed, time, then):
    if then == "its own VLAN":
        freed.rows = freed.on_air(640)
        assert freed.look() == (0, False)
        assert freed.register.removals() == {}
    else:
        apart(freed.register, "T-001")
        asyncio.run(freed.held.compare())
        assert freed.register.removals()["T-001"].state == "quarantined"
    freed.begin_anew()
    assert freed.look() == (0, False)


def test_guard_does_it_by_itself_one_step_at_a_time(freed):
    async def play():
        stop, done = asyncio.Event(), asyncio.Event()
        sent = freed.held._sent

        async def once(nas, session):
            done.set()
            return await sent(nas, session)

        freed.held._sent = once
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
            tasks.create_task(
                freed.held.run(stop, asyncio.Lock(), lambda: freed.plan, lambda: None)
            )
            await done.wait()
            stop.set()

    asyncio.run(play())
    assert freed.asked == 1


@pytest.mark.parametrize("rows", ["none", "its own", "long ago", "elsewhere by now"])
def test_who_is_released_and_not_in_that_vlan_is_left_in_peace(freed, time, rows):
    old = [replace(row, at=0.0) for row in freed.rows]
    # Where it was in quarantine nobody has said that it left.
    moved = [replace(row, nas="wlc-9", at=row.at - 60) for row in freed.rows] + freed.on_air(640)
    freed.rows = {
        "none": [],
        "its own": freed.on_air(640),
        "long ago": old,
        "elsewhere by now": moved,
    }[rows]
    assert freed.look() == (0, False)


def test_who_cannot_be_brought_out_is_said_and_let_be(freed, time, caplog):
    freed.done = False
    for _ in range(20):
        freed.look()
        time.on(60)
    assert freed.look()[1] is False
    assert freed.asked < 20
    assert "in the quarantine VLAN until it joins anew" in caplog.text


def test_while_watch_is_away_nobody_is_thrown_off_and_it_is_asked_again(freed, time):
    rows, freed.rows = freed.rows, None
    assert freed.look() == (0, True)
    freed.rows = rows
    time.on(61)
    assert freed.look() == (1, True)


def test_who_is_refused_again_is_no_more_brought_out(freed, time):
    say(freed.register, "T-001", "stolen")
    asyncio.run(freed.held.compare())
    assert freed.look() == (0, False)


def test_a_restart_goes_on_and_a_new_word_begins_anew(register):
    held = begun(register)
    apart(register, "T-001")
    asyncio.run(held.compare())
    first = held._held["T-001"]
    asyncio.run(held._keep(removals.rules.tried(first, "kernel", "done", "", 5.0)))
    again = begun(register)
    asyncio.run(again.compare())
    assert again._held["T-001"].step("kernel").state == "done"
    apart(register, "T-001", at="2026-01-02T00:00:00+00:00")
    asyncio.run(again.compare())
    assert again._held["T-001"].step("kernel").state == "pending"


def test_steps_that_cannot_be_read_are_begun_anew(register):
    apart(register, "T-001")
    row = removals.RemovalRow("T-001", "quarantined", "x", 1.0, "rubbish")
    register.keep_removal(row)
    held = begun(register)
    asyncio.run(held.compare())
    assert held._held["T-001"].step("kernel").state == "pending"


def test_while_nobody_knows_who_is_refused_nothing_begins_and_nothing_ends(register):
    held = begun(register)
    apart(register, "T-001")
    asyncio.run(held.compare())
    register.loans = None
    asyncio.run(held.compare())
    assert [row["tablet"] for row in held.shown()] == ["T-001"]


def test_a_release_while_a_step_is_stored_leaves_nothing_behind(register, monkeypatch):
    """The thread that writes goes on when its step is called off: what is known must not come back by it."""
    store, written = register.keep_removal, threading.Event()

    def slowly(row):
        if '"done"' in row.steps:
            written.wait(5)
        store(row)

    monkeypatch.setattr(register, "keep_removal", slowly)

    async def play():
        held = Removals(Nothing(), register, Nothing(), Nothing())
        apart(register, "T-001")
        await held.compare()
        step = removals.rules.tried(held._held["T-001"], "kernel", "done", "", 5.0)
        held._tasks["T-001"] = asyncio.get_running_loop().create_task(held._keep(step))
        await asyncio.sleep(0.05)
        register.release("T-001", Entry("t", "a", "release", "T-001", "{}", "{}"))
        await held.compare()
        written.set()
        await asyncio.sleep(0.2)
        for _ in range(3):
            await held.compare()
            assert held.shown() == []
        again = Removals(Nothing(), register, Nothing(), Nothing())
        await again.compare()
        assert again.shown() == []
        # It may still be in the quarantine VLAN: no more is known of it than that.
        assert [row.state for row in register.removals().values()] == ["released"]

    asyncio.run(play())


def proven_without_watch(register, plan, monkeypatch, steps, ago):
    """Look for the proof while watch is away, when these steps were done so long ago; returns the removal."""

    async def silent(*_words, **_more):
        raise NotReachable("watch is away")

    monkeypatch.setattr(removals.control, "call_async", silent)

    async def play():
        held = Removals(Settings("n", ("pellegrin",)), register, Nothing(), Nothing())
        apart(register, "T-001")
        await held.compare()
        now = clock.now().timestamp()
        for name in steps:
            tried = removals.rules.tried(held._held["T-001"], name, "done", "", now - ago)
            await held._keep(tried)
        assert removals.rules.due(held._held["T-001"], now) == "proof"
        await held._do("T-001", "proof", plan, asyncio.Lock(), None)
        return held._held["T-001"]

    return asyncio.run(play())


@pytest.mark.parametrize(("ago", "state"), [(25.0, "pending"), (75.0, "pending"), (85.0, "failed")])
def test_a_proof_waits_a_minute_for_a_watch_that_is_started_anew(
    register, plan, monkeypatch, ago, state
):
    """An upgrade restarts watch: that a tablet is still on the air must not be told for that."""

    proof = proven_without_watch(register, plan, monkeypatch, STEPS[:-1], ago).step("proof")
    assert proof.state == state
    assert ("watch does not answer" in proof.why) == (state == "failed")


def test_a_proof_that_is_there_outlives_a_watch_that_is_started_anew(register, plan, monkeypatch):
    assert proven_without_watch(register, plan, monkeypatch, STEPS, 300.0).is_over
