"""The machine read: ports as ss would name them, secrets judged and never shown, versions, certificates."""

import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from netguard.adapters import machine

NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.mark.parametrize(
    ("family", "kind", "address", "protocol"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "127.0.0.1", "tcp"),
        (socket.AF_INET, socket.SOCK_DGRAM, "127.0.0.1", "udp"),
    ],
)
def test_a_port_that_is_listened_on_is_seen_with_its_user(family, kind, address, protocol):
    with socket.socket(family, kind) as one:
        one.bind((address, 0))
        if protocol == "tcp":
            one.listen()
        port = one.getsockname()[1]
        found = [each for each in machine.listeners() if each.port == port]
        import pwd

        user = pwd.getpwuid(os.getuid()).pw_name
        assert machine.Listener(protocol, address, port, user) in found


def test_addresses_of_both_families_are_read_as_the_kernel_prints_them(tmp_path):
    head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
    row = "   0: {}:0035 {}:0000 {} 00000000:00000000 00:00000000 00000000     0        0 1 2\n"
    one, other = "00000000000000000000000001000000", "0" * 32
    (tmp_path / "udp6").write_text(head + row.format(one, other, "07"))
    # Connected, not listened on.
    (tmp_path / "tcp").write_text(head + row.format("0100007F", "0100007F", "01"))
    assert machine.listeners(tmp_path) == [machine.Listener("udp", "::1", 53, "root")]


def test_what_the_kernel_does_not_have_is_none(tmp_path):
    assert machine.sysctl("net/ipv4/ip_forward") in {0, 1}
    assert machine.sysctl("net/none") is None
    (tmp_path / "odd").write_text("words\n")
    assert machine.sysctl("odd", tmp_path) is None
    assert machine.listeners(tmp_path) == []


def test_room_and_clock_are_read(tmp_path):
    room = machine.room(tmp_path)
    assert 0 <= room.free <= room.size
    assert not room.read_only
    synchronised, error = machine.kernel_clock()
    assert isinstance(synchronised, bool)
    assert error >= 0


def test_a_lock_names_a_process_of_ours_or_nobody(tmp_path):
    lock = tmp_path / "guard.lock"
    assert machine.holder(lock) is None
    lock.write_text("no number")
    assert machine.holder(lock) is None
    # Process 1 is alive and none of ours: the number was used again.
    lock.write_text("1")
    assert machine.holder(lock) is None
    lock.write_text(str(2**22 + 1))
    assert machine.holder(lock) is None


@pytest.mark.parametrize(
    ("text", "mode", "problem"),
    [
        ("secret = 0123456789abcdef0123\n", 0o640, ""),
        ('secret = "0123456789abcdef0123" # x\n', 0o600, ""),
        ("secret = testing123\n", 0o640, "everybody knows"),
        ("secret = short\n", 0o640, "5 characters"),
        ("ipaddr = 10.0.0.1\n", 0o640, "no line 'secret"),
        ("secret = 0123456789abcdef0123\n", 0o644, "everybody may read"),
        ("secret = 0123456789abcdef0123\n", 0o660, "its group may write"),
        ("secret = 0123456789abcdef0123\n", None, "missing"),
    ],
)
def test_a_secret_is_judged_and_never_shown(tmp_path, text, mode, problem):
    path = tmp_path / "nas.conf"
    if mode is not None:
        path.write_text(text)
        path.chmod(mode)
    found, mend = machine.secret(path)
    assert problem in found
    assert bool(found) is bool(problem) is bool(mend)
    assert "0123456789abcdef" not in found + mend
    expected = b"0123456789abcdef0123" if "0123" in text and mode is not None else None
    if expected:
        assert machine.radius_secret(path) == expected


def test_a_snippet_without_a_secret_has_none(tmp_path):
    assert machine.radius_secret(tmp_path / "none") is None
    (tmp_path / "odd").write_bytes(b"\xff")
    assert machine.radius_secret(tmp_path / "odd") is None
    (tmp_path / "empty").write_text("secret = \n")
    assert machine.radius_secret(tmp_path / "empty") is None


def test_versions_are_read_from_what_programs_print():
    assert machine.version("nft", "--version")[0] == 1
    assert machine.version("no-such-program") is None
    assert machine.version("true") == ()


def certificate(days):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


def test_of_several_certificates_the_first_end_counts(tmp_path):
    path = tmp_path / "x.pem"
    path.write_bytes(certificate(30) + certificate(5))
    assert machine.ends_in(path, NOW) == pytest.approx(5)
    path.write_text("rubbish")
    assert machine.ends_in(path, NOW) == "is no certificate in PEM"
    assert "No such file" in machine.ends_in(tmp_path / "none", NOW)
