"""netguard quarantine --wait: it ends when the tablet is off the air, not before, and not never."""

import asyncio
import threading

import pytest

from netguard.adapters import control
from netguard.cli import main, quarantining
from netguard.core.removal import DONE, FAILED, PENDING, STEPS
from netguard.rules.settings_file import read_settings

AT = "2026-11-22T10:00:00+00:00"
HELD = {"tablet": "T-001", "at": AT, "who": "ada", "why": "spam", "until": "", "incident": ""}


def removal(state, since=AT):
    """How far it has come: every step is in one state."""
    at = "" if state == PENDING else since
    steps = [{"step": name, "state": state, "at": at, "why": ""} for name in STEPS]
    return {"tablet": "T-001", "state": "quarantined", "since": since, "over": state == DONE, "steps": steps}  # fmt: skip


class Told:
    """A guard that says how far it is, one look after the other; the last for ever."""

    def __init__(self, path):
        self.path, self.looks, self.seen = path, [], 0

    async def tablet(self, caller, message):
        self.seen += 1
        at = min(self.seen, len(self.looks)) - 1
        return {**self._known(), **self.looks[at]}

    async def quarantine(self, caller, message):
        return {**self._known(), "changed": True}

    def _known(self):
        return {"tablet": "T-001", "quarantine": HELD, "removal": None, "problems": {}}

    async def serve(self, ready):
        offers = {name: control.Offer(getattr(self, name)) for name in ("tablet", "quarantine")}
        self.stop, self.loop = asyncio.Event(), asyncio.get_running_loop()
        async with await control.serve(self.path, offers, lambda _: None):
            ready.set()
            await self.stop.wait()


@pytest.fixture
def guard(tmp_path, monkeypatch):
    path = tmp_path / "netguard.yaml"
    path.write_text(
        f"version: 1\nnode: n\nsites: [pellegrin]\npaths: {{state: {tmp_path}, run: {tmp_path}}}\n"
    )
    monkeypatch.setenv("NETGUARD_SETTINGS", str(path))
    monkeypatch.setattr(quarantining, "sleep", lambda _: None)
    told, ready = Told(read_settings(path).guard_socket), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(told.serve(ready)))
    thread.start()
    assert ready.wait(20)
    yield told
    told.loop.call_soon_threadsafe(told.stop.set)
    thread.join(20)


def wait():
    return main(["quarantine", "T-001", "--why", "spam", "--wait"])


def test_it_waits_for_the_removal_to_begin_and_to_be_over(guard, capsys):
    guard.looks = [
        {}, {},
        # That of a quarantine before, which guard has not taken away yet.
        {"removal": removal(DONE, "2026-11-22T09:00:00+00:00")},
        {"removal": removal(PENDING)},
        {"removal": removal(DONE)},
    ]  # fmt: skip
    assert wait() == 0
    assert guard.seen == 5
    assert "FAILED" not in capsys.readouterr().out


def test_what_fails_or_never_begins_is_no_success(guard, monkeypatch):
    guard.looks = [{"removal": removal(FAILED)}]
    assert wait() == 1
    monkeypatch.setattr(quarantining, "WAIT_AT_MOST", -1.0)
    guard.looks = [{}]
    assert wait() == 1


def test_a_release_ends_the_waiting(guard):
    guard.looks = [{"removal": removal(PENDING)}, {"quarantine": None}]
    assert wait() == 0


def test_who_is_stolen_too_is_off_the_air_for_that(guard):
    """What counts is the loan then, and its removal goes on as it was."""
    guard.looks = [{"removal": removal(DONE, "2026-11-22T09:00:00+00:00") | {"state": "stolen"}}]
    assert wait() == 0
