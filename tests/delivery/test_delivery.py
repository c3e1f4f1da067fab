"""At least once, in order for each tablet, under a stable id: whatever receivers do, and wherever we are killed."""

import asyncio
import itertools
import sys

import pytest
import sqlalchemy as sa

from netguard.adapters import clock
from netguard.adapters.store import Letter, WatchStore
from netguard.core.presence.actions import CLEARED, UPDATED
from netguard.daemon import delivery
from netguard.errors import StoreError
from tests.delivery.conftest import Failing, desk, serving, wait_until


def play(make, story, modes=()):
    """Run a story against a webhook that fails as `modes` say; returns the hand and the receiver."""
    failing = Failing()
    failing.modes = list(modes)

    async def go():
        async with serving(failing) as port:
            hand = make(desk(webhook=f"http://127.0.0.1:{port}/x"))
            await story(hand, failing)
            return hand

    return asyncio.run(go()), failing


@pytest.mark.parametrize("mode", [500, 502, 503, 429, 408, "cut", "taken and cut"])
def test_what_may_pass_is_tried_again_under_the_same_id(hand, mode):
    async def story(hand, failing):
        id_ = hand.post()
        await hand.turn()
        assert hand.states() == ["waiting"]
        await hand.turn()
        assert hand.states() == ["waiting"], "it rests first"
        hand.now += 1.1
        await hand.turn()
        assert hand.states() == ["sent"]
        assert set(failing.ids()) == {id_}

    _, failing = play(hand, story, [mode])
    assert len(failing.ids()) == (2 if mode == "taken and cut" else 1)


@pytest.mark.parametrize("mode", [400, 401, 404, 410, 413, 301, 307])
def test_what_never_will_pass_is_a_dead_letter_with_its_reason_and_holds_nobody_back(hand, mode):
    async def story(hand, failing):
        hand.post("T-001")
        hand.post("T-002")
        await hand.turn()
        assert hand.states() == ["dead", "sent"]
        (dead,) = hand.store.letters(("dead",))
        assert str(mode) in dead.why
        assert hand.store.revive() == 1
        await hand.turn()
        assert hand.states() == ["sent", "sent"]

    play(hand, story, [mode])


def test_a_receiver_that_does_not_answer_is_given_up_on(hand, monkeypatch):
    monkeypatch.setattr("netguard.adapters.notify.outgoing.PATIENCE", 0.3)

    async def story(hand, failing):
        hand.post()
        await hand.turn()
        (row,) = hand.store.letters(("waiting",))
        assert "no answer within" in row.why

    play(hand, story, ["slow"])


def test_a_receiver_that_was_down_for_an_hour_gets_everything_in_order(hand):
    posted = []

    async def story(hand, failing):
        for minute in range(60):
            tablet = f"T-{minute % 7:03}"
            kind = (UPDATED, CLEARED)[minute // 7 % 2]
            posted.append((tablet, hand.post(tablet, kind, at=100.0 + minute)))
            for _ in range(6):
                failing.modes = [503] * 9
                await hand.turn()
                hand.now += 10
        assert failing.ids() == []
        assert hand.delivery.failing()
        failing.modes = []
        for _ in range(80):
            hand.now += 61
            await hand.turn()

    hand, failing = play(hand, story)
    assert sorted(failing.ids()) == sorted(id_ for _, id_ in posted)
    for tablet in {tablet for tablet, _ in posted}:
        got = [i for i, t in zip(failing.ids(), failing.tablets(), strict=True) if t == tablet]
        assert got == [id_ for t, id_ in posted if t == tablet], "in order for each tablet"
    assert hand.delivery.failing() == {}
    assert set(hand.states()) == {"sent"}


def test_the_rest_grows_to_a_minute_and_no_further(hand):
    async def story(hand, failing):
        hand.post()
        tries = []
        for second in range(600):
            failing.modes = [503]
            before = hand.store.letters(("waiting",))[0].attempts
            await hand.turn()
            if hand.store.letters(("waiting",))[0].attempts > before:
                tries.append(second)
            hand.now += 1
        gaps = [b - a for a, b in itertools.pairwise(tries)]
        assert gaps[:5] == [1, 2, 4, 8, 16]
        assert max(gaps) == 60

    play(hand, story)


def test_a_letter_that_fails_for_ever_does_not_hold_back_other_tablets(hand):
    async def story(hand, failing):
        poison, healthy = hand.post("T-001"), hand.post("T-002")
        for _ in range(delivery.PATIENT):
            failing.modes = [500]
            await hand.turn()
            hand.now += 61
        failing.modes = [500]
        await hand.turn()
        assert healthy in failing.ids()
        assert poison not in failing.ids()

    play(hand, story)


def test_after_five_minutes_the_next_channel_is_used_and_the_first_gets_it_all_the_same(
    hand, exim, mail_server, certificate
):
    failing = Failing()

    async def go():
        async with serving(failing) as port:
            made = hand(
                desk(webhook=f"http://127.0.0.1:{port}/x", mail="desk@chu.example"),
                mail=mail_server(exim.port),
                authorities=certificate / "good.crt",
            )
            made.post()
            for _ in range(5):
                failing.modes = [503]
                await made.turn()
                await made.turn("mail")
                assert made.states() == ["waiting"]
                made.now += 61
            failing.modes = [503]
            await made.turn()
            await made.turn("mail")
            assert "sent" in made.states()
            await asyncio.to_thread(wait_until, exim.mails)
            made.now += 61
            failing.modes = []
            await made.turn()
            await made.turn("mail")
            return made

    made = asyncio.run(go())
    assert len(failing.ids()) == 1
    assert len(exim.mails()) == 1
    assert failing.ids()[0] in exim.mails()[0], "the same id on every channel"
    assert made.states() == ["sent", "sent"]


def test_a_flood_is_one_message_and_keeps_every_id(hand):
    async def story(hand, failing):
        ids = [hand.post(f"T-{n:03}") for n in range(90)]
        last = hand.post("T-000", CLEARED, at=300.0)
        await hand.turn()
        await hand.turn()
        assert len(failing.seen) == 2
        assert sorted(failing.ids()[:-1]) == sorted(ids)
        assert failing.ids()[-1] == last, "what came later about one of them comes later"

    hand, _ = play(hand, story)
    assert set(hand.states()) == {"sent"}


def test_one_refused_notice_does_not_take_a_flood_with_it(hand):
    async def story(hand, failing):
        ids = [hand.post(f"T-{n:03}") for n in range(8)]
        # The eight together are refused, then the first of them alone.
        failing.modes = [400, 400]
        await hand.turn()
        assert hand.states() == ["dead", *["sent"] * 7]
        assert failing.ids() == ids[1:]

    play(hand, story)


def test_what_a_way_did_not_foresee_is_a_failure_and_not_the_end_of_watch(hand):
    made = hand(desk(chat_file="chat"))
    made.secrets.joinpath("chat").write_bytes(b"\xff\xfe not a URL")
    made.post()
    asyncio.run(made.turn())
    (row,) = made.store.letters(("dead", "waiting"))
    assert row.why
    assert sum(made.delivery.counts.failed.values()) == 1


def test_the_same_notice_is_one_letter_however_often_it_is_written(hand):
    async def story(hand, failing):
        assert hand.post() == hand.post()
        await hand.turn()
        hand.post()
        await hand.turn()
        assert len(failing.ids()) == 1

    play(hand, story)


def test_what_the_rules_no_longer_name_is_a_dead_letter(hand):
    async def story(hand, failing):
        hand.post()
        await hand.delivery.turn(hand.store, {}, ("desk", "webhook"))
        (row,) = hand.store.letters(("dead",))
        assert "no longer name" in row.why

    play(hand, story)


def test_a_letter_of_another_version_is_put_aside(hand):
    async def story(hand, failing):
        hand.store.post([Letter("n", "desk", "webhook", "i", "k", "NG-1101", "waiting", 1.0, "{}")])
        hand.post()
        await hand.turn()
        assert hand.states() == ["dead", "sent"]

    play(hand, story)


class Killed(BaseException):
    """The end of the process, at this very point."""


def steps_of(hand, at):
    """Kill at the nth statement that the store executes from now on."""
    count = iter(range(10_000))

    def before(*_):
        if next(count) == at:
            raise Killed

    sa.event.listen(hand.store._engine, "before_cursor_execute", before)
    return lambda: sa.event.remove(hand.store._engine, "before_cursor_execute", before)


def test_killed_at_any_step_of_delivery_nothing_is_lost_and_a_duplicate_has_its_id(hand):
    """A sweep over every statement of a turn, before and after the receiver has taken the letter."""

    async def story(hand, failing):
        swept = 0
        for at in range(40):
            id_ = hand.post(f"T-{at:03}", at=100.0 + at)
            undo = steps_of(hand, at)
            try:
                await hand.turn()
                killed = False
            except Killed:
                killed = True
            finally:
                undo()
            hand.delivery = hand.fresh()
            await hand.turn()
            assert failing.ids().count(id_) in ({1, 2} if killed else {1}), at
            assert set(hand.states()) == {"sent"}
            swept += killed
            if not killed:
                break
        assert swept >= 4, "the sweep met the store's statements"

    play(hand, story)


DELIVERER = """
import asyncio, os, signal, sys
from dataclasses import replace
from pathlib import Path
import sqlalchemy as sa
from netguard.adapters import clock, notify
from netguard.adapters.store import WatchStore
from netguard.core.policy import Receiver
from netguard.daemon.delivery import Delivery
from netguard.settings import Settings
folder, url, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
def point(*words):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
store = WatchStore.open(folder / "watch.db", clock.now())
for name in ("before_cursor_execute", "after_cursor_execute", "commit", "begin"):
    sa.event.listen(store._engine, name, point)
real = notify.webhook.send
async def send(*words):
    point(); await real(*words); point()
notify.webhook.send = send
delivery = Delivery(Settings("gw-1", ()), outgoing=notify.Outgoing(folder, anywhere=True))
receiver = Receiver("desk", webhook=url)
asyncio.run(delivery.turn(store, {"desk": receiver}, ("desk", "webhook")))
point()
store.close()
"""


def test_a_sweep_of_sigkill_over_a_whole_process_loses_nothing_either(hand, tmp_path):
    async def story(hand, failing):
        url = hand.receiver.webhook
        posted, killed = [], 0
        for at in range(1, 60):
            posted.append(hand.post(f"T-{at:03}", at=100.0 + at))
            hand.store.close()
            words = [sys.executable, "-c", DELIVERER, str(tmp_path), url, str(at)]
            process = await asyncio.create_subprocess_exec(*words, stderr=asyncio.subprocess.PIPE)
            _, said = await process.communicate()
            hand.store = WatchStore.open(tmp_path / "watch.db", clock.now())
            assert process.returncode in {0, -9}, said.decode()
            killed += process.returncode == -9
            if process.returncode == 0:
                break
        assert killed >= 8, "the sweep met the steps"
        await hand.turn()
        assert set(failing.ids()) == set(posted)
        assert set(hand.states()) == {"sent"}

    play(hand, story)


def test_a_store_that_cannot_note_it_sends_once_and_after_a_restart_under_the_same_id(
    hand, monkeypatch
):
    async def story(hand, failing):
        hand.post()
        real = hand.store.settle

        def full(*_args, **_more):
            raise StoreError("the disk is full")

        monkeypatch.setattr(hand.store, "settle", full)
        for _ in range(5):
            with pytest.raises(StoreError):
                await hand.turn()
        assert len(failing.ids()) == 1, "a full disk is no flood"
        # Killed now, nobody knows that it was taken.
        hand.delivery = hand.fresh()
        monkeypatch.setattr(hand.store, "settle", real)
        await hand.turn()
        await hand.turn()
        assert len(failing.ids()) == 2
        assert len(set(failing.ids())) == 1
        assert hand.states() == ["sent"]

    play(hand, story)


def test_an_end_goes_to_whoever_heard_the_beginning_and_to_nobody_else(hand):
    async def story(hand, failing):
        hand.post("T-001")
        await hand.turn()
        hand.post("T-001", CLEARED, at=200.0)
        hand.post("T-002")
        hand.store.settle(hand.store.letters(("waiting",))[:1], "held")
        hand.post("T-002", CLEARED, at=200.0)
        await hand.turn()
        assert failing.tablets() == ["T-001", "T-001"]
        assert hand.states() == ["sent", "sent", "held", "held"]

    play(hand, story)
