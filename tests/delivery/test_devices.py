"""A device management is asked for lost mode once a theft is sure enough: signed, again until it answers, and audited."""

import asyncio
import base64
import hmac
import json
from hashlib import sha256

import pytest

from netguard.core.presence.actions import CLEARED, UPDATED
from tests.delivery.conftest import Failing, desk, serving

ACTIONS = ("lost-mode", "locate")


def play(make, story, modes=()):
    failing = Failing()
    failing.modes = list(modes)

    async def go():
        async with serving(failing) as port:
            url = f"http://127.0.0.1:{port}/mdm"
            hand = make(desk(webhook=url, secret_file="webhook-key", actions=ACTIONS))
            await story(hand, failing)

    asyncio.run(go())
    return failing


def test_it_is_asked_once_signed_and_told_of_the_end(hand):
    async def story(hand, failing):
        hand.post()
        await hand.turn()
        hand.now += 2
        await hand.turn()
        hand.post(kind=UPDATED, at=110.0)
        hand.post(kind=CLEARED, at=120.0)
        await hand.turn()
        assert hand.states() == ["sent"] * 3
        lines = hand.store.audit("", "T-001")
        assert [(e.verb, json.loads(e.after)["phase"]) for e in reversed(lines)] == [
            ("device", "begin"), ("device", "begin"), ("device", "end"),
        ]  # fmt: skip
        assert json.loads(lines[-1].after) == {
            "actions": ["lost-mode", "locate"], "phase": "begin", "incident": "T-001-90",
            "probability": 0.83, "rule": "missing",
        }  # fmt: skip
        assert lines[0].who == "receiver desk"

    failing = play(hand, story, [503])
    told = [alert["netguard"] for body in failing.seen for alert in body["alerts"]]
    assert [(each["phase"], each["actions"]) for each in told] == [
        ("begin", list(ACTIONS)), ("begin", list(ACTIONS)), ("end", list(ACTIONS)),
    ]  # fmt: skip
    assert told[0]["device"]["tablet"] == "T-001"
    headers, body = failing.headers[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = hmac.new(b"a-key-of-the-hospital", signed, sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


def test_what_was_not_taken_is_not_in_the_audit_and_what_never_began_does_not_end(hand):
    async def story(hand, failing):
        hand.post(kind=CLEARED, at=120.0)
        await hand.turn()
        assert hand.states() == ["held"]
        hand.post("T-002")
        await hand.turn()
        assert hand.states() == ["held", "dead"]
        assert hand.store.audit("") == []

    assert play(hand, story, [401]).seen == []


def test_without_the_key_nothing_is_asked(hand):
    async def story(hand, failing):
        (hand.secrets / "webhook-key").unlink()
        hand.post()
        await hand.turn()
        assert hand.states() == ["waiting"] or hand.states() == ["dead"]
        assert hand.store.audit("") == []

    assert play(hand, story).seen == []


@pytest.mark.parametrize(
    ("probability", "cause", "kind", "told"),
    [
        (0.83, "taken", "raised", True),
        (0.79, "taken", "raised", False),
        (0.99, "battery", "raised", False),
        (0.10, "battery", "cleared", True),
    ],
)
def test_only_a_theft_that_is_sure_enough_fits_and_every_end_does(probability, cause, kind, told):
    from netguard.core.alerting import matter_of, notices_of
    from netguard.core.policy import AlertRule
    from netguard.core.presence.actions import Alert
    from tests.delivery.conftest import PLACE

    when = {"presence": "missing", "cause": "taken"}
    rule = AlertRule("mdm", when, "critical", ("mdm",), above=0.8)
    alert = Alert(100.0, kind, "T-001-90", cause, probability, "T-001", site="pellegrin")
    matter = matter_of(alert, PLACE, 0.0)
    assert bool(notices_of(matter, [rule], 1.0)) is told
