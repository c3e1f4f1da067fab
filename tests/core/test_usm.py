"""SNMPv3 traps: what pysnmp sends is opened, and whatever is changed, repeated or weaker is not believed."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netguard.core import snmp, usm
from netguard.core.usm import Clocks, User
from netguard.errors import BadValue

HERE = Path(__file__).parent
AUTH, PRIVACY = b"correct horse", b"battery staple"


def user(auth="sha256", name="wlc", auth_password=AUTH, privacy_password=PRIVACY):
    return {name: User(name, auth, auth_password, "aes128", privacy_password)}


def sent(folder, auth="sha256", level="authPriv"):
    """Let pysnmp send a trap over loopback, and return its bytes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        subprocess.run(
            [sys.executable, HERE / "send_trap.py", str(receiver.getsockname()[1]), auth, level],
            check=True,
            timeout=60,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        return receiver.recv(4096)


@pytest.fixture(scope="module")
def trap(tmp_path_factory):
    return sent(tmp_path_factory.mktemp("pysnmp"))


@pytest.mark.parametrize("auth", sorted(usm.AUTH))
def test_what_pysnmp_sends_is_opened(tmp_path, auth):
    data = sent(tmp_path, auth)
    assert usm.is_v3(data)
    seen = snmp.seen(usm.read(data, user(auth), Clocks(), 0.0))
    assert (seen.kind, str(seen.mac), seen.ap) == (
        "disassociated",
        "3c:28:6d:aa:01:10",
        "ap-car-301",
    )


@pytest.mark.parametrize(
    ("users", "why"),
    [
        ({}, "unknown-user"),
        (user(name="other"), "unknown-user"),
        (user("sha1"), "wrong-digest"),
        (user(auth_password=b"something else"), "wrong-digest"),
        (user(privacy_password=b"something else"), "not-readable"),
    ],
)
def test_only_a_user_of_the_rules_with_its_passwords_is_believed(trap, users, why):
    with pytest.raises(usm.Untrusted) as caught:
        usm.read(trap, users, Clocks(), 0.0)
    assert caught.value.why == why


@pytest.mark.parametrize("level", ["noAuthNoPriv", "authNoPriv"])
def test_nothing_weaker_than_authpriv_is_believed(tmp_path, level):
    with pytest.raises(usm.Untrusted, match="not-authpriv"):
        usm.read(sent(tmp_path, level=level), user(), Clocks(), 0.0)


def test_a_short_password_is_an_error(trap):
    with pytest.raises(BadValue, match="fewer than 8"):
        usm.read(trap, user(auth_password=b"short"), Clocks(), 0.0)


def test_every_changed_byte_is_noticed(trap):
    """Of the whole message: header, sender, clock, sealed content."""
    clocks, believed = Clocks(), []
    for at in range(len(trap)):
        changed = bytearray(trap)
        changed[at] ^= 0x04
        with suppress(BadValue):
            usm.read(bytes(changed), user(), clocks, 0.0)
            believed.append(at)
    assert believed == []
    assert clocks.engines == {}, "nobody who is not believed sets a clock"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_it(data):
    with pytest.raises(BadValue):
        usm.read(data, user(), Clocks(), 0.0)


def test_a_cut_message_is_no_message(trap):
    for end in range(len(trap)):
        with pytest.raises(BadValue):
            usm.read(trap[:end], user(), Clocks(), 0.0)
    with pytest.raises(BadValue):
        usm.read(trap + b"\0", user(), Clocks(), 0.0)
    with pytest.raises(BadValue, match="too long"):
        usm.read(trap + bytes(snmp.LONGEST), user(), Clocks(), 0.0)


def test_what_pysnmp_sends_as_v2c_is_read_too(tmp_path):
    data = sent(tmp_path, level="v2c")
    assert not usm.is_v3(data)
    trap = snmp.read(data)
    seen = snmp.seen(trap)
    assert (trap.community, seen.kind, str(seen.mac), seen.ap) == (
        b"trap-secret",
        "disassociated",
        "3c:28:6d:aa:01:10",
        "ap-car-301",
    )


def test_v2c_is_not_v3():
    assert not usm.is_v3(bytes.fromhex("3003020101"))
    with pytest.raises(BadValue):
        usm.is_v3(b"GET / HTTP/1.1")


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        # (boots, time, when it comes), one after the other.
        ([(3, 1000, 0.0), (3, 1000, 0.0), (3, 990, 1.0)], [True, True, True]),
        ([(3, 1000, 0.0), (3, 850, 0.0), (3, 849, 0.0)], [True, True, False]),
        # A message kept back for three minutes is a replay, whatever it says.
        ([(3, 1000, 0.0), (3, 1000, 150.0), (3, 1000, 151.0)], [True, True, False]),
        # After a restart of the sender what it said before is no longer believed.
        ([(3, 1000, 0.0), (4, 5, 1.0), (3, 1001, 2.0), (4, 6, 2.0)], [True, True, False, True]),
        ([(2**31 - 1, 5, 0.0)], [False]),
    ],
)
def test_a_replay_is_not_believed(said, believed):
    clocks = Clocks()
    assert [clocks.timely(b"engine", boots, time, now) for boots, time, now in said] == believed


def test_a_replayed_trap_is_refused_and_the_number_of_senders_is_bounded(trap):
    clocks = Clocks()
    usm.read(trap, user(), clocks, 0.0)
    with pytest.raises(usm.Untrusted, match="not-in-time"):
        usm.read(trap, user(), clocks, 151.0)
    full = Clocks({bytes([n % 256, n // 256]): (1, 1, 0.0) for n in range(1000)})
    with pytest.raises(usm.Untrusted, match="not-in-time"):
        usm.read(trap, user(), full, 0.0)


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        # RFC 3414 A.3.2.
        ("sha1", "6695febc9288e36282235fc7151f128497b38f3f"),
    ],
)
def test_keys_are_those_of_the_rfc(kind, key):
    engine = bytes.fromhex("000000000000000000000002")
    assert usm.localized(kind, b"maplesyrup", engine).hex() == key
