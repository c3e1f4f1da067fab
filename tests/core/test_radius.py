"""The RADIUS codec against two others (scapy and pyrad), and against cut, swollen and forged packets."""

import hmac
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad import dictionary
from pyrad import packet as pyrad
from scapy.layers.radius import Radius

from netguard.core import radius
from netguard.core.radius import Code, Status, Type
from netguard.errors import BadValue

SECRET = b"0123456789abcdef0123"
AUTHENTICATOR = bytes(range(16))
MAB = (
    radius.text(Type.USER_NAME, "3c286daa0110"),
    radius.text(Type.CALLING_STATION_ID, "3C-28-6D-AA-01-10"),
    radius.text(Type.CALLED_STATION_ID, "70-3A-0E-00-00-01:Tablettes"),
    radius.number(Type.NAS_PORT, 7),
)
values = st.lists(
    st.tuples(st.sampled_from([1, 4, 25, 30, 31, 32, 44]), st.binary(min_size=1, max_size=253)),
    max_size=12,
).map(tuple)


def reply_to(request: bytes, code: int, attributes: radius.Attributes, secret=SECRET) -> bytes:
    """Make a reply as a server does; written apart from the codec, after the RFCs."""
    body = b"".join(bytes([kind, len(value) + 2]) + value for kind, value in attributes)
    body += bytes([80, 18]) + bytes(16)
    head = bytes([code, request[1]]) + (20 + len(body)).to_bytes(2)
    body = body[:-16] + hmac.digest(secret, head + request[4:20] + body, "md5")
    return head + md5(head + request[4:20] + body + secret).digest() + body


def a_request(password=b"3c286daa0110"):
    return radius.access_request(9, AUTHENTICATOR, SECRET, MAB, password)


def test_scapy_reads_an_access_request_the_same():
    seen = Radius(a_request())
    assert (seen.code, seen.id, seen.authenticator) == (1, 9, AUTHENTICATOR)
    read = [(item.type, bytes(item)[2:]) for item in seen.attributes]
    assert tuple(read) == radius.decode(a_request()).attributes
    assert read[0][0] == Type.MESSAGE_AUTHENTICATOR
    assert bytes(seen) == a_request()


@pytest.mark.parametrize("password", [b"", b"x", b"3c286daa0110", b"a" * 16, b"b" * 17, b"c" * 128])
def test_pyrad_reads_the_password_and_agrees_on_the_signature(password):
    seen = pyrad.AuthPacket(packet=a_request(password), secret=SECRET, dict=dictionary.Dictionary())
    hidden = radius.decode(a_request(password)).first(Type.USER_PASSWORD)
    assert seen.PwDecrypt(hidden) == password.decode()
    assert seen.verify_message_authenticator(secret=SECRET)


def test_a_password_beyond_128_bytes_is_refused():
    with pytest.raises(BadValue, match="128"):
        a_request(b"d" * 129)


def test_pyrad_accepts_an_accounting_request():
    attributes = (*MAB, radius.number(Type.ACCT_STATUS_TYPE, Status.START))
    request = radius.accounting_request(3, SECRET, attributes)
    seen = pyrad.AcctPacket(packet=request, secret=SECRET, dict=dictionary.Dictionary())
    assert seen.VerifyAcctRequest()
    other = pyrad.AcctPacket(packet=request, secret=b"another secret", dict=dictionary.Dictionary())
    assert not other.VerifyAcctRequest()


@given(values)
def test_what_is_packed_is_read_again(attributes):
    raw = radius.signed(Code.STATUS_SERVER, 5, AUTHENTICATOR, SECRET, attributes)
    seen = radius.decode(raw)
    assert seen.attributes[1:] == attributes
    assert bytes(Radius(raw)) == raw


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw):
    try:
        seen = radius.decode(raw)
    except BadValue:
        return
    assert seen.raw == raw[: len(seen.raw)]


@given(st.integers(0, 120))
def test_a_cut_packet_is_refused(length):
    request = a_request()
    with pytest.raises(BadValue):
        radius.decode(request[: min(length, len(request) - 1)])


def test_padding_after_the_packet_is_no_part_of_it():
    assert radius.decode(a_request() + b"\0" * 9).raw == a_request()


def test_too_many_attributes_and_too_large_packets_are_refused():
    with pytest.raises(BadValue, match="200 attributes"):
        radius.decode(
            radius.accounting_request(1, SECRET, (radius.text(Type.USER_NAME, "x"),) * 201)
        )
    with pytest.raises(BadValue, match="at most 4096"):
        radius.accounting_request(1, SECRET, (radius.text(Type.USER_NAME, "x" * 253),) * 17)
    with pytest.raises(BadValue, match="20 to 4096"):
        radius.decode(bytes(4097))


def test_values_that_do_not_fit_are_refused():
    with pytest.raises(BadValue, match="1 to 253"):
        radius.text(Type.USER_NAME, "")
    with pytest.raises(BadValue, match="1 to 253"):
        radius.text(Type.USER_NAME, "x" * 254)
    with pytest.raises(BadValue, match="1 to 253"):
        radius.vendor(14823, 5, "x" * 254)
    with pytest.raises(BadValue, match="32-bit"):
        radius.number(Type.NAS_PORT, 2**32)
    with pytest.raises(BadValue, match="16 bytes"):
        radius.access_request(1, b"short", SECRET, (), b"")


def test_a_vendor_attribute_is_nested_as_the_standard_says():
    assert radius.vendor(14823, 5, "Tab") == (26, bytes.fromhex("000039e7") + b"\x05\x05Tab")
    assert radius.vendor(14823, 5, b"Tab") == radius.vendor(14823, 5, "Tab")


def test_a_message_authenticator_of_another_length_is_refused():
    raw = radius.accounting_request(1, SECRET, ((Type.MESSAGE_AUTHENTICATOR, b"short"),))
    with pytest.raises(BadValue, match="16 bytes"):
        radius.decode(raw)


TRIPLET = (
    (Type.TUNNEL_TYPE, (13).to_bytes(4)),
    (Type.TUNNEL_MEDIUM_TYPE, (6).to_bytes(4)),
    (Type.TUNNEL_PRIVATE_GROUP_ID, b"640"),
)


def test_a_servers_reply_is_verified():
    reply = radius.decode(reply_to(a_request(), Code.ACCESS_ACCEPT, TRIPLET))
    radius.verify_reply(reply, 9, AUTHENTICATOR, SECRET)
    assert radius.vlan_of(reply) == "640"


@pytest.mark.parametrize(
    ("identifier", "authenticator", "secret", "message"),
    [
        (8, AUTHENTICATOR, SECRET, "another request"),
        (9, bytes(16), SECRET, "another secret"),
        (9, AUTHENTICATOR, b"another", "another secret"),
    ],
)
def test_a_reply_to_somebody_else_is_refused(identifier, authenticator, secret, message):
    reply = radius.decode(reply_to(a_request(), Code.ACCESS_ACCEPT, TRIPLET))
    with pytest.raises(BadValue, match=message):
        radius.verify_reply(reply, identifier, authenticator, secret)


def resigned(reply: bytes) -> radius.Packet:
    """Give a changed reply the Response Authenticator of somebody who can compute MD5 (BlastRADIUS)."""
    return radius.decode(
        reply[:4] + md5(reply[:4] + AUTHENTICATOR + reply[20:] + SECRET).digest() + reply[20:]
    )


def test_an_accept_without_a_message_authenticator_is_refused():
    reply = reply_to(a_request(), Code.ACCESS_ACCEPT, TRIPLET)[:-18]
    reply = reply[:2] + len(reply).to_bytes(2) + reply[4:]
    with pytest.raises(BadValue, match="no Message-Authenticator"):
        radius.verify_reply(resigned(reply), 9, AUTHENTICATOR, SECRET)


def test_a_reject_turned_into_an_accept_is_refused():
    reply = reply_to(a_request(), Code.ACCESS_REJECT, ())
    with pytest.raises(BadValue, match="Message-Authenticator of the reply is wrong"):
        radius.verify_reply(resigned(bytes([2]) + reply[1:]), 9, AUTHENTICATOR, SECRET)


def test_an_accounting_response_needs_no_message_authenticator():
    request = radius.accounting_request(3, SECRET, MAB)
    head = bytes([5, 3]) + (20).to_bytes(2)
    reply = radius.decode(head + md5(head + request[4:20] + SECRET).digest())
    radius.verify_reply(reply, 3, request[4:20], SECRET)


@pytest.mark.parametrize(
    "attributes",
    [
        (),
        TRIPLET[:2],
        TRIPLET[1:],
        (TRIPLET[0], TRIPLET[2]),
        (*TRIPLET[:2], (Type.TUNNEL_PRIVATE_GROUP_ID, b"\x01640")),
        (*TRIPLET[:2], (Type.TUNNEL_PRIVATE_GROUP_ID, b"tablets")),
        ((Type.TUNNEL_TYPE, b"\x01\x00\x00\x0d"), *TRIPLET[1:]),
    ],
)
def test_an_incomplete_or_tagged_triplet_is_no_vlan(attributes):
    reply = radius.decode(reply_to(a_request(), Code.ACCESS_ACCEPT, attributes))
    assert radius.vlan_of(reply) is None


@pytest.mark.parametrize("tail", [b"\x01", b"\x01\x01", b"\x01\x00", b"\x01\x09abc"])
def test_an_attribute_longer_than_the_packet_is_refused(tail):
    raw = bytes([1, 1]) + (20 + len(tail)).to_bytes(2) + AUTHENTICATOR + tail
    with pytest.raises(BadValue, match="is cut"):
        radius.decode(raw)


def test_pyrad_takes_a_disconnect_request_as_ours(monkeypatch):
    request = radius.disconnect_request(7, SECRET, MAB)
    seen = pyrad.CoAPacket(code=40, packet=request, secret=SECRET, dict=dictionary.Dictionary())
    assert seen.VerifyCoARequest()
    assert not pyrad.CoAPacket(
        code=40, packet=request, secret=b"another", dict=dictionary.Dictionary()
    ).VerifyCoARequest()
    # Its Message-Authenticator goes over a zero authenticator (RFC 5176 2.3).
    blank = request[:4] + bytes(16) + request[20:22] + bytes(16) + request[38:]
    assert request[22:38] == hmac.digest(SECRET, blank, "md5")
    packet = radius.decode(request)
    assert radius.is_accounting_signed(packet, SECRET)
    assert not radius.is_accounting_signed(packet, b"another")


def test_what_a_nas_signed_is_told_from_what_another_secret_made():
    packet = radius.decode(a_request())
    assert radius.is_signed(packet, SECRET)
    assert not radius.is_signed(packet, b"another")
    unsigned = radius.decode(radius.access_request(9, AUTHENTICATOR, SECRET, MAB, b"x", sign=False))
    assert unsigned.first(Type.MESSAGE_AUTHENTICATOR) is None
    assert not radius.is_signed(unsigned, SECRET)
    assert radius.is_reply(radius.decode(reply_to(a_request(), 2, ())), AUTHENTICATOR, SECRET)


@pytest.mark.parametrize("password", [b"", b"3c286daa0110", b"b" * 40])
def test_a_password_is_revealed_by_its_secret(password):
    packet = radius.decode(a_request(password))
    assert radius.revealed_password(packet, SECRET) == password
    assert radius.revealed_password(packet, b"another") != password


@pytest.mark.parametrize("hidden", [None, b"", b"x" * 15, b"x" * 17, b"x" * 144])
def test_what_is_no_hidden_password_is_none(hidden):
    attributes = () if not hidden else ((int(Type.USER_PASSWORD), hidden),)
    packet = radius.decode(radius.signed(Code.ACCESS_REQUEST, 1, AUTHENTICATOR, SECRET, attributes))
    assert radius.revealed_password(packet, SECRET) is None
