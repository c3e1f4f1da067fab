"""Disconnects on the wire: against the lab's stand-in NAS, which keeps hostapd's contract, and against liars.

A real hostapd is asked in tests/kernel/test_das.py.
"""

import asyncio
import os
import socket
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from ipaddress import ip_address
from itertools import count
from threading import Thread

import pytest

from netguard.adapters import clock, coa
from netguard.core import radius
from netguard.core.coa import Session, Word
from netguard.core.names import Mac
from netguard.lab import das

SECRET = b"0123456789abcdef0123"
MAC = Mac.parse("3c:28:6d:aa:01:10")
# An address of 127/8 for each test: ports of recipes are fixed.
_numbers = count(1)


@dataclass
class Nas:
    """A controller with sessions, as the lab's stand-in asks for them."""

    address: str
    secret: bytes = SECRET
    ahead: int = 0
    name: str = "wlc-1"
    here: dict = field(default_factory=lambda: {"0000002a": str(MAC)})
    thrown: list = field(default_factory=list)

    @property
    def identity(self):
        return self.name, self.address

    def disconnect(self, mac, session):
        found = [s for s, m in self.here.items() if mac in {m, ""} and session in {s, ""}]
        if len(found) == 1:
            self.thrown.append(found[0])
            del self.here[found[0]]
        return len(found)


def now():
    return int(clock.now().timestamp())


@contextmanager
def nas(port=das.PORT, answer=None, **words):
    """Serve a stand-in; `answer` says something else to each datagram. Yields it and what it was sent."""
    number = next(_numbers)
    one = Nas(f"127.9.{os.getpid() % 250}.{number}", **words)
    sent = []

    def said(data):
        if answer is not None:
            return answer(data, len(sent))
        reply = das.answer(one, data, now())
        return [] if reply is None else [reply]

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind((one.address, port))

        def serve():
            while True:
                try:
                    data, peer = door.recvfrom(4096)
                except OSError:
                    return
                if not data:
                    return
                sent.append((data, peer))
                for each in said(data):
                    door.sendto(each, peer)

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield one, sent
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", (one.address, port))
            thread.join(5)


def throw(one, vendor="hostapd", *, secret=SECRET, patience=0.15, **words):
    """Throw the tablet off; returns the outcome, and the labels of all answers."""
    told = []
    session = Session(MAC, ip_address(one.address), **words)
    outcome = asyncio.run(
        coa.throw_off(vendor, session, secret, now, lambda _, a: told.append(a.label), patience)
    )
    return outcome, told


def test_a_session_is_ended_once_and_absent_afterwards():
    with nas() as (one, sent):
        outcome, told = throw(one)
        assert (outcome.word, told, one.thrown) == (Word.ACK, ["ack"], ["0000002a"])
        outcome, told = throw(one)
        assert (outcome.word, outcome.is_done, told) == (Word.ABSENT, True, ["nak-503"])
    assert len({peer for _, peer in sent}) == 2, "each exchange has a socket of its own"


@pytest.mark.parametrize("vendor", ["other", "extreme", "mist", "aruba-controller"])
def test_recipes_that_name_nothing_hostapd_does_not_know_end_it_at_once(vendor):
    with nas() as (one, _):
        outcome, _ = throw(one, vendor, id="0000002a")
        assert (outcome.word, outcome.sent) == (Word.ACK, 1)


def test_401_an_attribute_that_it_does_not_know_goes_on_to_the_next_way():
    with nas() as (one, _):
        outcome, told = throw(one, "fortigate", id="0000002a", address=ip_address("10.99.0.10"))
        assert told == ["nak-401", "ack"]
        assert outcome.word == Word.ACK


def test_403_another_nas_ip_address_is_left_out_in_the_next_way():
    with nas() as (one, _):
        _, told = throw(one, "other", nas_ip=ip_address("10.9.9.9"))
        assert told == ["nak-403", "ack"]


def test_407_and_whatever_else_it_says_is_named():
    with nas(answer=lambda data, _: [nak(data, 407)]) as (one, _):
        outcome, told = throw(one)
        assert (outcome.word, outcome.cause, told) == (Word.NAK, 407, ["nak-407"])


def test_508_two_sessions_are_told_apart_by_their_id():
    here = {"0000002a": str(MAC), "0000002b": str(MAC)}
    with nas(here=dict(here)) as (one, _):
        outcome, told = throw(one, id="0000002b")
        assert told == ["nak-508", "ack"]
        assert one.thrown == ["0000002b"]
    with nas(here=dict(here)) as (one, _):
        outcome, told = throw(one)
        assert (outcome.cause, told) == (508, ["nak-508"])


@pytest.mark.parametrize(
    "words", [{"ahead": 400}, {"ahead": -400}, {"secret": b"another secret.."}]
)
def test_a_clock_that_is_off_or_another_secret_is_silence_and_every_retry_has_a_new_id(words):
    with nas(**words) as (one, sent):
        outcome, told = throw(one)
        assert (outcome.word, told) == (Word.SILENT, ["silent"] * 3)
        assert one.thrown == []
    assert len(sent) == 3
    # Identifiers are drawn: that all three are one again and again is no accident of this run.
    assert len({data[4:20] for data, _ in sent}) + len({data[1] for data, _ in sent}) > 2


def test_a_closed_port_is_known_at_once_and_the_next_port_is_tried():
    with nas(port=1700) as (one, _):
        outcome, told = throw(one, "mikrotik")
        assert told == ["refused", "ack"]
        assert outcome.way.port == 1700


def test_a_nas_without_a_route_is_silent():
    session = Session(MAC, ip_address("255.255.255.255"))
    outcome = asyncio.run(coa.throw_off("hostapd", session, SECRET, now, None, 0.05))
    assert outcome.word == Word.SILENT


def test_forged_and_late_answers_are_read_past_and_a_flood_of_them_ends_nothing():
    forged = [b"", b"\x29", bytes(20), bytes(4096)] * 50

    def answer(data, _):
        late = bytes([data[0] + 1, (data[1] + 1) % 256]) + data[2:4]
        return [*forged[:10], ack(late + data[4:], data), ack(data, data)]

    with nas(answer=answer) as (one, _):
        assert throw(one, patience=2.0)[0].word == Word.ACK
    with nas(answer=lambda data, _: forged) as (one, _):
        outcome, told = throw(one)
        assert (outcome.word, told) == (Word.SILENT, ["silent"] * 3)


def test_what_comes_second_counts_when_the_first_request_was_lost():
    with nas(answer=lambda data, number: [ack(data, data)] if number == 2 else []) as (one, sent):
        outcome, told = throw(one)
        assert (outcome.word, outcome.sent, told) == (Word.ACK, 2, ["silent", "ack"])
        first, second = (radius.decode(data) for data, _ in sent)
        assert first.first(31) == second.first(31)


def ack(named, request, code=41, body=b""):
    head = bytes([code, named[1]]) + (20 + len(body)).to_bytes(2)
    return head + md5(head + request[4:20] + body + SECRET).digest() + body


def nak(data, cause):
    return ack(data, data, 42, bytes([101, 6]) + cause.to_bytes(4))
