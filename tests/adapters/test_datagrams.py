"""Many datagrams in one call to the kernel: all come, all go, and one that fails stops no other."""

import socket

import pytest

from netguard.adapters import datagrams
from netguard.adapters.datagrams import ADDRESS, Door, host


@pytest.fixture
def opened():
    """Open a socket that tablets ask on, and another one that asks."""
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
    with (
        socket.socket(socket.AF_INET, kind) as here,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as there,
    ):
        here.bind(("127.0.0.1", 0))
        there.bind(("127.0.0.2", 0))
        there.connect(here.getsockname())
        there.settimeout(5)
        yield Door(here), there


def test_what_came_is_read_in_its_order_a_bounded_number_at_a_time(opened):
    door, there = opened
    assert door.receive() == []
    sent = [bytes([n]) * n for n in range(datagrams.MANY + 6)]
    for each in sent:
        there.send(each)
    first, second = door.receive(), door.receive()
    assert [data for data, _ in first] == sent[: datagrams.MANY]
    assert [data for data, _ in second] == sent[datagrams.MANY :]
    assert {host(peer[ADDRESS]) for _, peer in first + second} == {"127.0.0.2"}
    assert door.receive() == []


def test_a_datagram_that_is_too_long_is_cut_and_the_next_one_is_whole(opened):
    door, there = opened
    there.send(b"x" * (datagrams.LONGEST + 100))
    there.send(b"short")
    assert [data for data, _ in door.receive()] == [b"x" * datagrams.LONGEST, b"short"]


def test_answers_go_to_whom_they_are_for_however_many_and_however_long(opened):
    door, there = opened
    there.send(b"?")
    [(_, peer)] = door.receive()
    answers = [b"", b"a", b"y" * 9000, *(b"%d" % n for n in range(2 * datagrams.MANY))]
    for each in answers:
        door.out.append((each, peer))
    door.flush()
    assert door.out == []
    assert [there.recv(10_000) for _ in answers] == answers


def test_one_that_cannot_be_sent_is_passed_over(opened):
    door, there = opened
    there.send(b"?")
    [(_, peer)] = door.receive()
    # Nobody can be reached on port 0; a message of 70,000 bytes is none.
    nobody = peer[:2] + b"\0\0" + peer[4:]
    door.out += [(b"1", nobody), (b"2", peer), (b"z" * 70_000, peer), (b"3", peer), (b"4", nobody)]
    door.flush()
    assert [there.recv(99), there.recv(99)] == [b"2", b"3"]
    door.out += [(b"", nobody), (b"", nobody)]
    door.flush()
    door.out.append((b"5", peer))
    door.flush()
    assert there.recv(99) == b"5"
