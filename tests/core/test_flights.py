"""Whom to ask upstream, when the next one, which answer counts: on a clock that is turned."""

import gc
import itertools
import struct

import pytest

from netguard.core import dnswire, flights
from netguard.core.dnswire import Question
from netguard.core.flights import Flights


class Wire:
    """Two resolvers as a list of what was sent; ways are (server, number)."""

    def __init__(self, servers=("10.1.1.53", "10.1.1.54")):
        self.now = 100.0
        self.sent = []
        numbers = itertools.count(1)
        self.noise = itertools.cycle(range(7, 250))
        self.flights = Flights(lambda n: bytes(next(self.noise) for _ in range(n)))
        self.numbers = numbers
        self.use(*servers)

    def use(self, *servers):
        def to(server):
            return lambda message, streamed: self._send(server, message, streamed)

        self.flights.use(list(servers), [to(n) for n in range(len(servers))])

    def _send(self, server, message, streamed):
        way = server, next(self.numbers)
        self.sent.append((server, way, message, streamed))
        return way

    def ask(self, name="zoom.us", waiter="w"):
        raw = dnswire.write_name(name) + b"\0\1\0\1"
        question = Question(0, 0, name.lower(), 1, 1, raw, None)
        self.flights.ask((question.name, 1), question, waiter, self.now)

    def answer(self, index, *, rcode=0, flags=0x8180, id_=None, question=None, records=1, way=None):
        _, sent_way, message, _ = self.sent[index]
        asked = message[12 : message.index(b"\0\1\0\1", 12) + 4] if question is None else question
        number = int.from_bytes(message[:2], "big") if id_ is None else id_
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + bytes([170, 114, 52, 2])
        data = struct.pack("!HHHHHH", number, flags | rcode, 1, records, 0, 0) + asked
        return self.flights.received(way or sent_way, data + record * records, self.now)

    def turn(self, seconds):
        """Let time pass in the steps of the daemon's tick; returns what has landed."""
        landed = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.05)
            landed += self.flights.tick(self.now)
        return landed


@pytest.fixture
def wire():
    return Wire()


def test_one_question_is_under_way_for_all_who_wait(wire):
    for n in range(1000):
        wire.ask(waiter=n)
    assert len(wire.sent) == 1
    landed = wire.answer(0)
    assert landed.flight.waiters == list(range(1000))
    assert [str(a) for a in landed.answer.addresses] == ["170.114.52.2"]
    assert len(wire.flights) == 0


def test_the_second_server_is_asked_when_the_first_is_late_and_the_first_answer_counts(wire):
    wire.ask()
    assert wire.turn(0.35) == []
    assert [server for server, *_ in wire.sent] == [0]
    wire.turn(0.1)
    assert [server for server, *_ in wire.sent] == [0, 1]
    assert wire.answer(1).answer is not None
    assert wire.answer(0) is None, "too late: nobody waits any more"
    assert wire.flights.bad["id"] == 1


def test_silence_ends_in_bounded_time_with_bounded_questions(wire):
    wire.ask()
    landed = wire.turn(5)
    assert [each.answer for each in landed] == [None]
    assert len(wire.sent) == flights.TRIES
    assert wire.turn(60) == []


def test_a_server_that_fails_is_asked_last_and_probed_until_it_answers(wire):
    for n in range(flights.DOWN_AFTER):
        wire.ask(f"n{n}.zoom.us")
        wire.turn(0.45)
        wire.answer(len(wire.sent) - 1)
    first, second = wire.flights.servers
    assert first.down
    assert not second.down
    before = len(wire.sent)
    wire.ask("later.zoom.us")
    assert [server for server, *_ in wire.sent[before:]] == [1]
    wire.answer(before)
    assert not wire.flights.probe_due(wire.now)
    wire.turn(flights.PROBE_EVERY)
    assert wire.flights.probe_due(wire.now)
    wire.ask("silent.zoom.us")
    wire.answer(len(wire.sent) - 2)
    way = wire.sent[-1][1]
    assert wire.flights.lost(way, wire.now) == []
    wire.turn(flights.PROBE_EVERY)
    wire.ask("late.zoom.us")
    wire.answer(len(wire.sent) - 2)
    wire.turn(flights.PROBE_EVERY)
    assert first.down
    before = len(wire.sent)
    wire.ask("probe.zoom.us")
    assert [server for server, *_ in wire.sent[before:]] == [1, 0]
    assert wire.answer(before).answer is not None
    assert wire.answer(before + 1) is None, "the question is answered; the server is back"
    assert not first.down
    wire.ask("after.zoom.us")
    assert wire.sent[-1][0] == 0


def test_while_all_are_down_a_tablet_is_told_sooner(wire):
    for n in range(4):
        wire.ask(f"n{n}.zoom.us")
        wire.turn(3)
    assert wire.flights.all_down
    wire.ask("now.zoom.us")
    assert wire.turn(flights.SHORT_PATIENCE - 0.1) == []
    assert [each.answer for each in wire.turn(0.2)] == [None]


def test_a_server_that_comes_back_is_waited_for_as_long_as_any_and_asked_no_more(wire):
    for _ in range(4):
        wire.ask()
        wire.turn(3)
    assert wire.flights.all_down
    before = len(wire.sent)
    wire.ask()
    wire.turn(0.9)
    assert wire.flights.lost(wire.sent[before][1], wire.now) == []
    assert wire.flights.all_down
    other = len(wire.sent)
    assert other == before + flights.TRIES
    wire.ask("other.zoom.us")
    assert wire.answer(other).answer is not None
    assert not wire.flights.all_down
    asked = len(wire.sent)
    assert wire.turn(0.2) == [], "it was to end a second after it began"
    assert len(wire.sent) == asked
    assert [each.answer for each in wire.turn(1)] == [None]


@pytest.mark.parametrize("rcode", [dnswire.SERVFAIL, dnswire.REFUSED])
def test_an_answer_that_is_none_sends_the_question_on_at_once(wire, rcode):
    wire.ask()
    assert wire.answer(0, rcode=rcode) is None
    assert [server for server, *_ in wire.sent] == [0, 1]
    assert wire.answer(1, rcode=rcode) is None
    landed = wire.answer(2, rcode=rcode)
    assert landed.answer is None
    assert len(wire.sent) == flights.TRIES
    for n in range(5):
        wire.ask(f"n{n}.zoom.us")
        for _ in range(flights.TRIES):
            wire.answer(len(wire.sent) - 1, rcode=rcode)
    assert not any(server.down for server in wire.flights.servers), "it answers"


def test_nxdomain_is_an_answer(wire):
    wire.ask()
    assert wire.answer(0, rcode=dnswire.NXDOMAIN).answer.rcode == dnswire.NXDOMAIN


def test_a_stub_is_asked_for_again_over_a_stream_and_teaches_nothing(wire):
    wire.ask()
    assert wire.answer(0, flags=0x8380) is None
    assert [(server, streamed) for server, _, _, streamed in wire.sent] == [(0, False), (0, True)]
    assert wire.answer(1).answer.packed
    wire.ask()
    wire.answer(2, flags=0x8380)
    wire.answer(3, flags=0x8380)
    assert wire.sent[-1][0] == 1, "a stub over a stream is a failure"


@pytest.mark.parametrize(
    "forged",
    [
        {"id_": 1},
        {"way": (0, 999)},
        {"way": (1, 1)},
        {"question": b"\4evil\2us\0\0\1\0\1"},
        {"question": b"\4zoom\2us\0\0\x1c\0\1"},
        {"flags": 0x0100},
    ],
)
def test_what_does_not_match_changes_nothing_and_the_true_answer_still_counts(wire, forged):
    wire.ask()
    assert wire.answer(0, **forged) is None
    assert wire.flights.bad.total() == 1
    index = len(wire.sent) - 1
    assert wire.answer(index).answer is not None


def test_all_ids_from_another_way_leave_the_question_open(wire):
    wire.ask()
    for id_ in range(65536):
        assert wire.answer(0, id_=id_, way=(0, 2)) is None
    assert wire.answer(0).answer is not None


def test_letters_must_come_back_as_they_were_sent_where_that_is_asked():
    wire = Wire()
    wire.flights.same_case = True
    wire.noise = itertools.cycle([0b10101010])
    wire.ask("zoom.us")
    sent = wire.sent[0][2][12:]
    assert sent.lower().startswith(b"\4zoom\2us\0")
    assert not sent.startswith(b"\4zoom\2us\0")
    assert wire.answer(0, question=b"\4zoom\2us\0\0\1\0\1") is None
    assert wire.flights.bad["other-question"] == 1
    assert wire.answer(0).answer.packed


def test_a_broken_way_sends_its_questions_to_the_next_server_at_once(wire):
    wire.ask()
    assert wire.flights.lost(wire.sent[0][1], wire.now) == []
    assert [server for server, *_ in wire.sent] == [0, 1]
    assert wire.flights.lost(wire.sent[1][1], wire.now) == []
    landed = wire.flights.lost(wire.sent[2][1], wire.now)
    assert [each.answer for each in landed] == [None]


def test_other_servers_take_over_what_is_open(wire):
    wire.ask()
    wire.use("10.1.1.55")
    wire.use("10.1.1.55")
    assert wire.answer(0) is None
    wire.turn(0.5)
    assert wire.answer(1).answer is not None
    wire.use()
    wire.ask("nobody.zoom.us")
    assert [each.answer for each in wire.turn(1)] == [None]
    assert not wire.flights.all_down


def test_the_same_way_and_id_twice_is_left_to_the_next_try(wire):
    wire.numbers = itertools.repeat(5)
    wire.noise = itertools.repeat(9)
    wire.ask("a.zoom.us")
    wire.ask("b.zoom.us")
    assert len(wire.flights) == 2
    assert wire.answer(0).flight.key == ("a.zoom.us", 1)
    wire.turn(0.5)
    landed = wire.answer(len(wire.sent) - 1, way=wire.sent[-1][1])
    assert landed.flight.key == ("b.zoom.us", 1)


def test_a_server_that_comes_and_goes_never_loses_a_question_while_the_other_lives(wire):
    for n in range(200):
        wire.ask(f"n{n}.zoom.us")
        landed = None
        for _ in range(60):
            for index in range(len(wire.sent)):
                server = wire.sent[index][0]
                # The first server is up every other ten questions.
                if server == 1 or n // 10 % 2:
                    landed = landed or wire.answer(index)
            if landed:
                break
            wire.turn(0.05)
        assert landed is not None
        assert landed.answer is not None
        wire.sent.clear()


def test_who_waits_is_known_while_a_question_is_open(wire):
    wire.ask()
    assert wire.flights.waiting(("zoom.us", 1)).waiters == ["w"]
    wire.answer(0)
    assert wire.flights.waiting(("zoom.us", 1)) is None


def test_a_refusal_while_another_server_is_asked_waits_for_that_one(wire):
    wire.ask()
    wire.turn(1.1)
    assert len(wire.sent) == flights.TRIES
    assert wire.answer(0, rcode=dnswire.SERVFAIL) is None
    assert wire.answer(1).answer.packed


def test_an_answered_question_leaves_nothing_to_the_collector(wire):
    """50,000 of them once stopped the proxy for 40 to 90 ms: a flight and its attempts named each other."""
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            wire.ask(f"n{number}.zoom.us")
            assert wire.answer(-1).answer.packed
        for number in range(50):
            # Hedged, and lost at last.
            wire.ask(f"x{number}.zoom.us")
        assert len(wire.turn(3.0)) == 50
        wire.sent.clear()
        assert gc.collect() == 0
    finally:
        gc.enable()
