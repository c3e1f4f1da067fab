"""Our own questions: a secret of their own, and only a verified answer counts."""

import socket
import threading
from contextlib import contextmanager, suppress

import pytest

from netguard.adapters import radius_client
from netguard.core import radius
from netguard.core.radius import Code, Type
from netguard.errors import NotReachable
from netguard.lab import das

SECRET = b"5a" * 24
ASKED = (radius.text(Type.USER_NAME, "3c:28:6d:aa:01:10"),)


def test_a_secret_is_read_as_it_was_made(tmp_path):
    text = radius_client.new_secret()
    (tmp_path / "self.conf").write_text(text)
    assert f"secret = {radius_client.read_secret(tmp_path).decode()}\n" == text
    assert radius_client.new_secret() != text


@pytest.mark.parametrize("text", [None, "", "secret = testing123\n", "secret = $ENV{HOME}\n"])
def test_what_is_no_secret_of_ours_is_named(tmp_path, text):
    if text is not None:
        (tmp_path / "self.conf").write_text(text)
    with pytest.raises(NotReachable, match=r"self\.conf"):
        radius_client.read_secret(tmp_path)


def served(answer):
    """Answer one datagram after another with what `answer` makes of it; returns the address."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))
    server.settimeout(10)

    def run():
        with server:
            for _ in range(3):
                try:
                    data, peer = server.recvfrom(4096)
                except TimeoutError:
                    return
                for each in answer(data):
                    server.sendto(each, peer)

    threading.Thread(target=run, daemon=True).start()
    return server.getsockname()


def signed(data, secret=SECRET, code=Code.ACCESS_ACCEPT):
    """Sign a reply as a server does (RFC 2865 3, RFC 3579 3.2)."""
    import hashlib
    import hmac

    body = bytes([80, 18]) + bytes(16)
    head = bytes([code, data[1]]) + (20 + len(body)).to_bytes(2)
    mark = hmac.digest(secret, head + data[4:20] + body, "md5")
    body = bytes([80, 18]) + mark
    return head + hashlib.md5(head + data[4:20] + body + secret).digest() + body


def test_a_verified_answer_is_returned_and_late_ones_are_read_past():
    def answer(data):
        stale = bytearray(signed(data))
        stale[1] = (stale[1] + 1) % 256
        return [bytes(stale), signed(data, code=Code.ACCESS_REJECT)]

    reply = radius_client.ask(served(answer), "127.0.0.1", SECRET, ASKED, b"x")
    assert reply.code == Code.ACCESS_REJECT


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda data: [], "no answer"),
        (lambda data: [b"rubbish"], "20 to 4096 bytes"),
        (lambda data: [signed(data, b"another secret....")], "another secret"),
    ],
)
def test_anything_else_is_no_answer_and_says_why(answer, why):
    with pytest.raises(NotReachable, match=why):
        radius_client.ask(served(answer), "127.0.0.1", SECRET, ASKED, b"x", patience=0.2)


@contextmanager
def answering(answer):
    """A port on loopback that says `answer(request)`; None is silence."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        one.settimeout(5)

        def serve():
            with suppress(OSError):
                while True:
                    data, peer = one.recvfrom(4096)
                    reply = answer(data)
                    if reply is not None:
                        one.sendto(reply, peer)

        threading.Thread(target=serve, daemon=True).start()
        yield one.getsockname()


class Nobody:
    """A controller with no session, as the lab's knows them."""

    secret = b"0123456789abcdef0123"
    ahead = 0
    identity = ("wlc-1", "127.0.0.1")

    def disconnect(self, mac, session):
        return 0


STAMP = radius.number(Type.EVENT_TIMESTAMP, 1_800_000_000)


@pytest.mark.parametrize(
    ("secret", "attributes", "now", "outcome"),
    [
        (Nobody.secret, (STAMP,), 1_800_000_000, ("nak", 503)),
        (Nobody.secret, (STAMP, radius.number(6, 1)), 1_800_000_000, ("nak", 401)),
        (Nobody.secret, (STAMP, radius.text(31, "no mac")), 1_800_000_000, ("nak", 407)),
        (Nobody.secret, (), 1_800_000_000, ("silent", None)),
        (Nobody.secret, (STAMP,), 1_800_000_301, ("silent", None)),
        (b"another secret", (STAMP,), 1_800_000_000, ("silent", None)),
    ],
)
def test_a_disconnect_of_nobody_is_answered_as_hostapd_does(secret, attributes, now, outcome):
    with answering(lambda data: das.answer(Nobody(), data, now)) as server:
        assert radius_client.disconnect_nobody(server, secret, attributes, 0.2) == outcome


def test_a_port_that_is_closed_or_answers_with_rubbish_is_told_apart():
    with answering(lambda data: b"\x2a" + data[1:2] + b"\0\x14" + bytes(16)) as server:
        assert radius_client.disconnect_nobody(server, b"x", (STAMP,), 0.2) == ("forged", None)
    with answering(lambda data: b"rubbish") as server:
        assert radius_client.disconnect_nobody(server, b"x", (STAMP,), 0.2) == ("forged", None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        server = one.getsockname()
    # Nobody has waited in it: it is closed at once.
    assert radius_client.disconnect_nobody(server, b"x", (STAMP,), 0.2) == ("refused", None)
    assert radius_client.disconnect_nobody(("::1", 9), b"x", (STAMP,), 0.2)[0] in {
        "refused",
        "silent",
    }


def test_a_server_that_is_silent_or_has_another_secret_is_not_alive():
    with answering(lambda data: None) as server, pytest.raises(NotReachable, match="silence"):
        radius_client.alive(server, "127.0.0.1", b"x", 0.1)
    with (
        answering(lambda data: b"\x02" + data[1:2] + b"\0\x14" + bytes(16)) as server,
        pytest.raises(NotReachable, match="another secret"),
    ):
        radius_client.alive(server, "127.0.0.1", b"x", 0.1)
    with answering(lambda data: b"rubbish") as server, pytest.raises(NotReachable, match="20 to"):
        radius_client.alive(server, "127.0.0.1", b"x", 0.1)
