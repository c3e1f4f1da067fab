"""Our sockets: who may say what, and what a broken caller gets."""

import asyncio
import json
import socket

import pytest

from netguard.adapters import control
from netguard.adapters.control import Offer
from netguard.errors import BadValue, NotReachable, Refused, StoreError


def served(path, offers, calls):
    """Run a server, and `calls` in a thread beside it; return what they return and what was logged."""
    logged = []

    async def both():
        server = await control.serve(path, offers, logged.append)
        async with server:
            return await asyncio.to_thread(calls)

    return asyncio.run(both()), logged


async def echo(caller, message):
    return {"said": message.get("word"), "uid": caller.uid}


async def refuse(caller, message):
    raise BadValue("x", "no\nsuch thing")


def test_a_verb_answers_and_knows_who_asks(tmp_path):
    import os

    path = tmp_path / "s"
    answer, _ = served(path, {"echo": Offer(echo)}, lambda: control.call(path, "echo", word="hi"))
    assert answer == {"said": "hi", "uid": os.getuid()}


def test_an_unknown_verb_is_told_the_known_ones(tmp_path):
    path = tmp_path / "s"

    def calls():
        with pytest.raises(Refused, match="known: echo"):
            control.call(path, "ecko")

    served(path, {"echo": Offer(echo)}, calls)


def test_a_refusal_carries_its_reason_and_is_logged(tmp_path):
    path = tmp_path / "s"

    def calls():
        with pytest.raises(Refused, match="such thing"):
            control.call(path, "no")

    _, logged = served(path, {"no": Offer(refuse)}, calls)
    assert len(logged) == 1


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (StoreError("the disk is full"), True),
        (Refused("not yet", again=True), True),
        (Refused("no"), False),
        (BadValue("x", "no such tablet"), False),
    ],
)
def test_a_refusal_says_whether_it_is_worth_asking_again(tmp_path, error, again):
    async def fail(caller, message):
        raise error

    def calls():
        with pytest.raises(Refused) as refused:
            control.call(tmp_path / "s", "fail")
        return refused.value.again

    said, _ = served(tmp_path / "s", {"fail": Offer(fail)}, calls)
    assert said is again


@pytest.mark.parametrize(
    "data", [b"\n", b"[]\n", b"{}\n", b'{"verb":[]}\n', b"\xff\n", b"[" * 100000 + b"\n"]
)
def test_rubbish_gets_an_answer_and_no_crash(tmp_path, data):
    path = tmp_path / "s"

    def calls():
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.sendall(data)
            return json.loads(caller.makefile().readline())

    answer, _ = served(path, {"echo": Offer(echo)}, calls)
    assert answer["ok"] is False


def test_a_caller_that_hangs_up_is_survived(tmp_path):
    path = tmp_path / "s"

    def calls():
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
        return control.call(path, "echo", word="still here")

    answer, _ = served(path, {"echo": Offer(echo)}, calls)
    assert answer["said"] == "still here"


def test_silence_is_not_reachable(tmp_path):
    with pytest.raises(NotReachable, match="is the daemon running"):
        control.call(tmp_path / "none", "status")
    with pytest.raises(NotReachable):
        asyncio.run(control.call_async(tmp_path / "none", "status"))
    mute = tmp_path / "mute"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(mute))
        listener.listen()
        with pytest.raises(NotReachable):
            control.call(mute, "status", patience=0.1)
        with pytest.raises(NotReachable, match="no answer in time"):
            asyncio.run(control.call_async(mute, "status", patience=0.1))
