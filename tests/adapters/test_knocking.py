"""Ways out asked on loopback: what answers, refuses or is silent is told apart; who answers is a real server."""

import socket
import ssl
import struct
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import dns.message
import dns.rcode
import dns.rrset
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


NAME = "dns.chu.example"


def resolved(data):
    """Answer a question with an address, as dnspython writes it; what is not known does not exist."""
    asked = dns.message.from_wire(data)
    reply = dns.message.make_response(asked)
    name = asked.question[0].name
    if str(name).startswith("none."):
        reply.set_rcode(dns.rcode.NXDOMAIN)
    else:
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.7"))
    return reply.to_wire()


def test_a_resolver_answers_for_each_name(monkeypatch):
    with listening(socket.SOCK_DGRAM, resolved) as port:
        monkeypatch.setattr(knocking, "DNS_PORT", port)
        names = ["zoom.us", "none.example", "wa.me", "zoom.us"]
        found, ms, why = knocking.ask_names(Upstream.parse("127.0.0.1"), names, 2.0, "127.0.0.1")
    assert found == {
        "zoom.us": [ip_address("192.0.2.7")],
        "none.example": [],
        "wa.me": [ip_address("192.0.2.7")],
    }
    assert ms > 0
    assert why == ""


def test_a_resolver_that_answers_with_rubbish_has_answered_and_said_nothing(monkeypatch):
    with listening(socket.SOCK_DGRAM, lambda data: data[:2] + b"rubbish") as port:
        monkeypatch.setattr(knocking, "DNS_PORT", port)
        found, ms, _ = knocking.ask_names(Upstream.parse("127.0.0.1"), ["zoom.us"], 0.5)
    assert found == {}
    assert ms is not None
    with listening(socket.SOCK_DGRAM, lambda data: b"other id" + data) as port:
        monkeypatch.setattr(knocking, "DNS_PORT", port)
        _, ms, why = knocking.ask_names(Upstream.parse("127.0.0.1"), ["zoom.us"], 0.3)
    assert (ms, why) == (None, "silence for 0.3 s")


@contextmanager
def over_tls(tmp_path, serve):
    """A resolver over TLS that vouches for itself by a certificate of NAME."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    begin = datetime(2020, 1, 1, tzinfo=UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=365 * 60))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "all.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM) + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run():
            with suppress(OSError):
                while True:
                    plain, _ = server.accept()
                    with suppress(OSError), context.wrap_socket(plain, server_side=True) as one:
                        serve(one)

        threading.Thread(target=run, daemon=True).start()
        yield server.getsockname()[1], pem


def one_question(wire):
    length = int.from_bytes(wire.recv(2))
    answer = resolved(wire.recv(length))
    wire.sendall(struct.pack("!H", len(answer)) + answer)


def test_a_resolver_over_tls_is_asked_with_its_certificate(tmp_path, monkeypatch):
    with over_tls(tmp_path, one_question) as (port, pem):
        monkeypatch.setattr(knocking, "TLS_PORT", port)
        right, wrong = (Upstream.parse(f"tls://127.0.0.1#{n}") for n in (NAME, "other.example"))
        found, ms, why = knocking.ask_names(right, ["zoom.us"], 3.0, "", pem)
        assert (found["zoom.us"], why) == ([ip_address("192.0.2.7")], "")
        assert ms > 0
        _, ms, why = knocking.ask_names(wrong, ["zoom.us"], 3.0, "", pem)
        assert ms is None
        assert "its certificate is refused" in why


def test_a_resolver_over_tls_that_hangs_up_says_so(tmp_path, monkeypatch):
    with over_tls(tmp_path, lambda wire: wire.recv(2)) as (port, pem):
        monkeypatch.setattr(knocking, "TLS_PORT", port)
        _, ms, why = knocking.ask_names(
            Upstream.parse(f"tls://127.0.0.1#{NAME}"), ["zoom.us"], 3.0, "", pem
        )
    assert ms is None
    assert why


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
