"""Feeds that are looked at: when each last heard a tablet, and whether it can still be read."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from netguard.adapters import clock, control
from netguard.core.plan import compile_plan
from netguard.daemon.asking import LOOK_EVERY, MOST_UNANSWERED, Asking, owner_of
from netguard.daemon.heartbeats import Heartbeats
from netguard.settings import Paths, Settings

MAC = "64:1b:2f:11:22:33"


class Heard:
    """Stands for the intake: keeps what it is offered."""

    def __init__(self):
        self.book = SimpleNamespace(model=SimpleNamespace(by_id={"T-001": MAC}), recording=None)
        self.events = []

    def offer(self, event):
        self.events.append(event)

    def now(self):
        return clock.now().timestamp()


async def answering(path, **answers):
    async def answer(_caller, message):
        return answers[message["verb"]]

    offers = {verb: control.Offer(answer) for verb in answers}
    return await control.serve(path, offers, lambda _line: None)


@pytest.fixture
def asking(tmp_path):
    paths = Paths(state=tmp_path, run=tmp_path)
    return Asking(replace(Settings("n", ("main",)), paths=paths), Heard())


def listened(asking, guard, dns):
    """Let one look pass, with the daemons that are there."""

    async def run():
        servers = []
        if guard is not None:
            servers.append(await answering(asking._guard, heartbeats={"heartbeats": guard}))
        if dns is not None:
            servers.append(await answering(asking._dns, heard={"heard": dns}))
        await asking._listen(35.0)
        for server in servers:
            server.close()

    asyncio.run(run())


def test_each_feed_that_is_looked_at_has_a_state_of_its_own(asking, monkeypatch):
    assert asking.look() == dict.fromkeys(("dns", "flows", "neighbours"), (0.0, False, None))
    listened(asking, {"dhcp": {MAC: 10.0}, "flows": {}}, {"T-001": 2.0, "T-999": 1.0})
    seen = asking.look()
    assert list(seen) == ["dhcp", "dns", "flows", "neighbours"]
    now = clock.now().timestamp()
    assert seen["dhcp"][0] == pytest.approx(now - 10, abs=5)
    assert seen["dns"][0] == pytest.approx(now - 2, abs=5)
    # Nobody was heard by it, and it can be read: it is fresh.
    assert seen["flows"] == (0.0, False, None)
    assert [event.source for event in asking._intake.events] == ["dhcp", "dns"]
    began = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: began + MOST_UNANSWERED * LOOK_EVERY - 1)
    # guard answers, but cannot read the flows; dns is away.
    listened(asking, {"dhcp": {}}, None)
    monkeypatch.setattr(clock, "monotonic", lambda: began + MOST_UNANSWERED * LOOK_EVERY + 5)
    assert {feed: stale for feed, (_, stale, _) in asking.look().items()} == {
        "dhcp": False,
        "dns": True,
        "flows": True,
        "neighbours": True,
    }
    # What was heard before stays known.
    assert asking.look()["dhcp"][0] == seen["dhcp"][0]


def test_a_feed_that_never_answers_is_stale(asking, monkeypatch):
    began = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: began + MOST_UNANSWERED * LOOK_EVERY + 5)
    assert {feed for feed, (_, stale, _) in asking.look().items() if stale} == {
        "dns", "flows", "neighbours",
    }  # fmt: skip


def test_a_feed_is_fresh_again_when_it_answers(asking, monkeypatch):
    listened(asking, {"flows": {}}, None)
    began = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: began + 1000)
    assert asking.look()["flows"][1]
    listened(asking, {"flows": {MAC: 0.0}}, None)
    assert not asking.look()["flows"][1]


def test_whose_feed_it_is():
    owners = {
        feed: owner_of(feed) for feed in ("dhcp", "flows", "neighbours", "dns", "syslog:wlc-1")
    }
    assert owners == {
        "dhcp": "guard", "flows": "guard", "neighbours": "guard", "dns": "dns", "syslog:wlc-1": "",
    }  # fmt: skip


def test_leases_that_cannot_be_read_are_not_nobody(policy, tmp_path):
    plan = compile_plan(policy, ["pellegrin"])
    heartbeats = Heartbeats(tmp_path / "leases")
    assert "dhcp" not in heartbeats.look(plan)
    (tmp_path / "leases").write_text("")
    assert heartbeats.look(plan)["dhcp"] == {}
