"""Ways out asked on loopback: what answers, refuses or is silent is told apart; who answers is a real server."""

import socket
import struct
import threading
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from netguard.adapters import knocking
from netguard.adapters.knocking import OPEN, REFUSED, SILENT, Door
from netguard.core.names import Upstream

# What our clock shows in these tests.
NOW = 1796000000.0
HERE = ip_address("127.0.0.1")


@contextmanager
def listening(kind, answer=None):
    """A port that answers datagrams with `answer(data)`, or just listens."""
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            one.listen()
        one.settimeout(5)

        def serve():
            try:
                while True:
                    data, peer = one.recvfrom(2048)
                    one.sendto(answer(data), peer)
            except OSError:
                return

        if answer is not None:
            threading.Thread(target=serve, daemon=True).start()
        yield one.getsockname()[1]


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_open_refused_and_silent_doors_are_told_apart():
    with (
        listening(socket.SOCK_STREAM) as tcp,
        listening(socket.SOCK_DGRAM, lambda data: b"\x01\x01" + data[2:]) as stun,
        listening(socket.SOCK_DGRAM) as silent,
    ):
        closed = free_port()
        doors = [
            Door(HERE, "tcp", tcp),
            Door(HERE, "tcp", closed),
            Door(HERE, "udp", stun),
            Door(HERE, "udp", silent),
            Door(HERE, "udp", closed),
        ]
        found = knocking.knock(doors, "127.0.0.1", 0.5)
    assert found == [(OPEN, ""), (REFUSED, ""), (OPEN, ""), (SILENT, ""), (REFUSED, "")]


def test_a_source_that_is_not_ours_is_no_answer():
    assert knocking.knock([Door(HERE, "tcp", 9)], "192.0.2.1", 0.2) == [(SILENT, "")]
    assert knocking.knock([], "", 0.1) == []


def test_a_resolver_that_is_not_there_says_why():
    # Port 53 of an address of loopback on which nobody listens.
    found, ms, why = knocking.ask_names(Upstream.parse("127.0.0.99"), ["example.com"], 0.3)
    assert (found, ms) == ({}, None)
    assert "refused" in why
    found, ms, why = knocking.ask_names(
        Upstream.parse("tls://127.0.0.99#dns.example.com"), ["example.com"], 0.3
    )
    assert (found, ms) == ({}, None)
    assert "refused" in why


def ntp(stratum, leap=0, ahead=0.0, token=True):
    def answer(data):
        stamp = NOW + ahead + 2208988800
        packet = bytearray(48)
        packet[0] = leap << 6 | 0x24
        packet[1] = stratum
        packet[24:32] = data[40:48] if token else bytes(8)
        struct.pack_into("!II", packet, 40, int(stamp), int(stamp % 1 * 2**32))
        return bytes(packet)

    return answer


@pytest.mark.parametrize(("leap", "stratum"), [(0, 3), (3, 0)])
def test_a_clock_says_how_far_we_are_off(leap, stratum, monkeypatch):
    with listening(socket.SOCK_DGRAM, ntp(3, leap, ahead=100.0)) as port:
        monkeypatch.setattr(knocking, "NTP_PORT", port)
        offset, said, why = knocking.ask_time("127.0.0.1", NOW, 2.0)
    assert offset == pytest.approx(100.0, abs=1.0)
    assert (said, why) == (stratum, "")


def test_a_clock_that_answers_another_question_or_nothing_gives_no_time(monkeypatch):
    with listening(socket.SOCK_DGRAM, ntp(3, token=False)) as port:
        monkeypatch.setattr(knocking, "NTP_PORT", port)
        assert knocking.ask_time("127.0.0.1", NOW, 0.3)[0] is None
    monkeypatch.setattr(knocking, "NTP_PORT", free_port())
    offset, _, why = knocking.ask_time("127.0.0.1", NOW, 0.3)
    assert offset is None
    assert "refused" in why
