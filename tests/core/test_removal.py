"""A tablet that has to go: each step in its time, again where it failed, and over only when nothing is heard."""

import pytest

from netguard.core import removal
from netguard.core.removal import AGAIN, DISCONNECT, DONE, FAILED, KERNEL, PENDING, PROOF, RADIUS
from netguard.errors import BadValue

BEGIN = 1000.0


def begun():
    return removal.Removal("T-001", "quarantined", BEGIN)


def at(now, *done, of=None):
    """Take steps as done at a moment."""
    found = of or begun()
    for name in done:
        found = removal.tried(found, name, DONE, "", now)
    return found


def test_all_goes_well():
    found, log, now = begun(), [], BEGIN
    while not found.is_over:
        name = removal.due(found, now)
        if name is not None:
            log.append((name, now - BEGIN))
            found = removal.tried(found, name, DONE, "", now)
        else:
            now += 1.0
        assert now < BEGIN + 200
    assert log == [(KERNEL, 0), (RADIUS, 0), (DISCONNECT, 0), (AGAIN, 35), (PROOF, 55)]
    assert removal.due(found, now + 1e6) is None
    assert found.failed == ()


def test_the_nas_is_not_asked_before_freeradius_has_followed():
    found = removal.tried(at(BEGIN, KERNEL), RADIUS, FAILED, "it does not answer", BEGIN)
    assert removal.due(found, BEGIN + 1) is None
    assert removal.due(found, BEGIN + 5) == RADIUS
    assert [step.why for step in found.failed] == ["it does not answer"]


def test_where_freeradius_takes_too_long_the_nas_is_asked_and_once_more_when_it_has_followed():
    found = removal.tried(at(BEGIN, KERNEL), RADIUS, FAILED, "no", BEGIN + 19)
    assert removal.due(found, BEGIN + 21) == DISCONNECT
    found = removal.tried(found, DISCONNECT, DONE, "", BEGIN + 21)
    assert removal.due(found, BEGIN + 24) == RADIUS
    found = removal.tried(found, RADIUS, DONE, "", BEGIN + 24)
    assert found.step(DISCONNECT).state == PENDING
    assert removal.due(found, BEGIN + 24) == DISCONNECT


def test_the_kernel_is_tried_again_and_holds_nothing_up_for_ever():
    found = removal.tried(begun(), KERNEL, FAILED, "nft", BEGIN)
    assert removal.due(found, BEGIN) == RADIUS
    assert removal.due(at(BEGIN, RADIUS, of=found), BEGIN + 1) == DISCONNECT
    assert removal.due(at(BEGIN, RADIUS, DISCONNECT, of=found), BEGIN + 6) == KERNEL


def test_who_is_heard_is_thrown_off_again_every_minute():
    found = at(BEGIN, KERNEL, RADIUS, DISCONNECT)
    found = at(BEGIN + 35, AGAIN, of=found)
    found = removal.tried(found, PROOF, *removal.judge(found, "it sent a packet"), BEGIN + 55)
    assert [(s.name, s.why) for s in found.failed] == [(PROOF, "it sent a packet")]
    assert removal.due(found, BEGIN + 56) is None
    assert removal.due(found, BEGIN + 115) == AGAIN
    found = at(BEGIN + 115, AGAIN, of=found)
    assert found.step(PROOF).state == PENDING
    assert removal.due(found, BEGIN + 135) == PROOF
    found = removal.tried(found, PROOF, *removal.judge(found, ""), BEGIN + 135)
    assert found.is_over


def test_silence_is_no_proof_where_no_nas_has_taken_the_request():
    found = at(BEGIN, KERNEL, RADIUS)
    for name in (DISCONNECT, AGAIN):
        found = removal.tried(found, name, FAILED, "wlc-1: silent", BEGIN)
    state, why = removal.judge(found, "")
    assert state == FAILED
    assert why.endswith("wlc-1: silent")
    assert removal.judge(at(BEGIN, AGAIN, of=found), "")[0] == DONE


@pytest.mark.parametrize("silent", [DISCONNECT, AGAIN])
def test_one_request_that_a_nas_has_taken_is_enough(silent):
    found = at(BEGIN, KERNEL, RADIUS)
    for name in (DISCONNECT, AGAIN):
        state = FAILED if name == silent else DONE
        found = removal.tried(found, name, state, "", BEGIN)
    assert not found.is_over
    found = removal.tried(found, PROOF, *removal.judge(found, ""), BEGIN + 20)
    assert found.is_over


def test_who_is_heard_only_with_the_next_interim_is_thrown_off_again():
    found = at(BEGIN + 35, AGAIN, of=at(BEGIN, KERNEL, RADIUS, DISCONNECT))
    found = at(BEGIN + 55, PROOF, of=found)
    looked, now = [], BEGIN + 55
    while now < BEGIN + 3600:
        if removal.due(found, now) == PROOF:
            looked.append(now - BEGIN)
            found = at(now, PROOF, of=found)
        now += 1.0
    assert looked == list(range(115, 935, 60))
    found = removal.tried(found, PROOF, *removal.judge(found, "session 2a"), now)
    assert not found.is_over
    assert removal.due(found, now + 60) == AGAIN


def test_a_clock_that_was_set_back_lets_nobody_wait():
    found = at(BEGIN, KERNEL, RADIUS, DISCONNECT)
    assert removal.due(found, BEGIN + 1) is None
    assert removal.due(found, BEGIN - 3600) == AGAIN


def test_what_is_written_is_read_again():
    found = removal.tried(begun(), KERNEL, FAILED, "é\n", BEGIN)
    assert removal.read("T-001", "quarantined", BEGIN, removal.write(found)) == found


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "[1]", '[{"name": "kernel"}]', "null", '[{"name": 1, "at": "x"}]']
)
def test_what_is_no_list_of_steps_is_an_error(text):
    with pytest.raises(BadValue, match="T-001"):
        removal.read("T-001", "lost", BEGIN, text)


def test_a_state_that_does_not_exist_is_an_error():
    text = removal.write(removal.tried(begun(), KERNEL, "perhaps", "", BEGIN))
    with pytest.raises(BadValue, match="are not kernel, radius"):
        removal.read("T-001", "lost", BEGIN, text)
