"""Checks side by side: one that hangs or breaks holds up no other, and is told as not checked."""

import threading

from netguard.core.doctor.findings import Outcome, ok
from netguard.daemon.doctor.checks import Check, Once, run
from netguard.errors import EnforcementError


def test_a_check_that_hangs_is_not_checked_and_holds_up_no_other():
    never = threading.Event()
    heard = []

    def hang():
        never.wait(60)
        return [ok("NG-D101", "too late")]

    found = run(
        [
            Check(("NG-D101", "NG-D102"), hang, deadline=0.2),
            Check(("NG-D123",), lambda: [ok("NG-D123", "room")]),
        ],
        heard.append,
    )
    never.set()
    assert [(f.code, f.outcome) for f in found] == [
        ("NG-D101", Outcome.UNCHECKED),
        ("NG-D102", Outcome.UNCHECKED),
        ("NG-D123", Outcome.OK),
    ]
    assert "no answer in" in found[0].text
    assert heard == [[ok("NG-D123", "room")], found[:2]]


def test_a_check_that_cannot_look_says_why():
    def refused():
        raise EnforcementError("nft: needs CAP_NET_ADMIN")

    def broken():
        raise ZeroDivisionError

    found = run([Check(("NG-D111",), refused), Check(("NG-D112",), broken)])
    assert [f.outcome for f in found] == [Outcome.UNCHECKED] * 2
    assert found[0].text == "nft: needs CAP_NET_ADMIN"
    assert "please report it" in found[1].text


def test_a_fact_is_looked_up_once_and_its_error_is_everybodys():
    calls = []
    fact = Once(lambda: calls.append(1) or len(calls))
    fact.begin()
    assert [fact.get(), fact.get()] == [1, 1]

    def fail():
        raise OSError("no such thing")

    broken = Once(fail)
    found = run([Check(("NG-D201",), broken.get), Check(("NG-D204",), broken.get)])
    assert [f.text for f in found] == ["no such thing"] * 2
