"""SNMPv2c traps of Cisco: what is read of them, checked against scapy."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import snmp
from netguard.errors import BadValue

AIRESPACE = "1.3.6.1.4.1.14179.2.6"
STATION = bytes.fromhex("3c286daa0110")
AP = bytes.fromhex("703a0e000001")


def trap(oid, *bindings, community="c"):
    from scapy.asn1.asn1 import ASN1_OID, ASN1_STRING
    from scapy.layers.snmp import SNMP, SNMPtrapv2, SNMPvarbind

    rows = [SNMPvarbind(oid=ASN1_OID(snmp.TRAP_OID), value=ASN1_OID(oid))]
    rows += [
        SNMPvarbind(
            oid=ASN1_OID(name), value=ASN1_STRING(value) if isinstance(value, bytes) else value
        )
        for name, value in bindings
    ]
    return bytes(SNMP(version=1, community=community, PDU=SNMPtrapv2(varbindlist=rows)))


@pytest.mark.parametrize(
    ("number", "kind"),
    [(1, "disassociated"), (2, "disassociated"), (53, "associated")],
)
def test_what_cisco_says_of_a_station(number, kind):
    from scapy.asn1.asn1 import ASN1_INTEGER

    data = trap(
        f"{AIRESPACE}.3.{number}",
        (f"{AIRESPACE}.2.35.0", AP),
        (f"{AIRESPACE}.2.37.0", ASN1_INTEGER(4)),
        (f"{AIRESPACE}.2.34.0", STATION),
        ("1.3.6.1.4.1.14179.2.2.1.1.3.0", b"AP-CAR-301"),
    )
    seen = snmp.seen(snmp.read(data))
    assert (seen.kind, str(seen.mac), seen.ap, seen.reason) == (
        kind, "3c:28:6d:aa:01:10", "ap-car-301", "4",
    )  # fmt: skip


def test_without_a_name_the_access_point_is_its_mac_and_an_index_does_not_matter():
    index = ".".join(str(byte) for byte in STATION)
    data = trap(
        "1.3.6.1.4.1.9.9.599.0.9",
        (f"1.3.6.1.4.1.9.9.599.1.3.1.1.1.{index}", STATION),
        (f"1.3.6.1.4.1.9.9.599.1.3.1.1.8.{index}", AP),
    )
    seen = snmp.seen(snmp.read(data))
    assert (seen.kind, str(seen.mac), seen.ap) == (
        "associated", "3c:28:6d:aa:01:10", "70:3a:0e:00:00:01",
    )  # fmt: skip


def test_an_object_that_says_nothing_hides_none_that_does():
    data = trap(
        f"{AIRESPACE}.3.1",
        ("1.3.6.1.4.1.14179.2.2.1.1.3.0", b""),
        (f"{AIRESPACE}.2.34.0", STATION),
        (f"{AIRESPACE}.2.35.0", b""),
        ("1.3.6.1.4.1.9.9.599.1.3.1.1.8.0", AP),
    )
    assert snmp.seen(snmp.read(data)).ap == "70:3a:0e:00:00:01"


@pytest.mark.parametrize(
    ("oid", "kind"),
    [
        (f"{AIRESPACE}.3.5", "ap-up"),
        (f"{AIRESPACE}.3.6", "ap-down"),
        (f"{AIRESPACE}.3.7", "ap-up"),
        (f"{AIRESPACE}.3.8", "ap-down"),
        ("1.3.6.1.4.1.9.9.513.0.4", "ap-up"),
    ],
)
@pytest.mark.parametrize(
    ("name", "value", "ap"),
    [
        ("1.3.6.1.4.1.14179.2.2.1.1.3.0", b"AP-1", "ap-1"),
        ("1.3.6.1.4.1.9.9.513.1.1.1.1.5.112.58.14.0.0.1", b"AP-1", "ap-1"),
        # All that bsnAPDisassociated has to carry is the MAC.
        (f"{AIRESPACE}.2.20.0", AP, "70:3a:0e:00:00:01"),
        ("1.3.6.1.4.1.14179.2.2.1.1.1.112.58.14.0.0.1", AP, "70:3a:0e:00:00:01"),
    ],
)
def test_access_points_come_and_go(oid, kind, name, value, ap):
    seen = snmp.seen(snmp.read(trap(oid, (name, value))))
    assert (seen.kind, seen.mac, seen.ap) == (kind, None, ap)


@pytest.mark.parametrize(
    ("number", "objects", "kind"),
    [
        (4, 75, "associated"),
        (9, 71, "associated"),
        (10, 71, "disassociated"),
        (11, 75, "associated"),
    ],
)
def test_a_trap_of_a_new_controller_is_as_long_as_its_mib_says(number, objects, kind):
    """Deauthentications have 71 objects, and more than 64 were called too many: none was ever read."""
    from scapy.asn1.asn1 import ASN1_INTEGER

    index = ".".join(str(byte) for byte in STATION)
    said = [
        (f"1.3.6.1.4.1.9.9.599.1.3.1.1.1.{index}", STATION),
        (f"1.3.6.1.4.1.9.9.599.1.3.1.1.8.{index}", AP),
        ("1.3.6.1.4.1.9.9.599.1.2.3.0", ASN1_INTEGER(4)),
    ]
    rest = [(f"1.3.6.1.4.1.9.9.599.1.3.1.1.{n}.{index}", b"x" * 20) for n in range(100, 200)]
    data = trap(f"1.3.6.1.4.1.9.9.599.0.{number}", *rest[: objects + 1 - len(said)], *said)
    read = snmp.read(data)
    assert len(read.bindings) == objects + 2
    seen = snmp.seen(read)
    assert (seen.kind, str(seen.mac), seen.ap, seen.reason) == (
        kind, "3c:28:6d:aa:01:10", "70:3a:0e:00:00:01", "4",
    )  # fmt: skip


def test_every_trap_that_is_known_is_read_here():
    known = {"disassociated", "associated", "ap-up", "ap-down"}
    assert set(snmp._KINDS.values()) == known
    assert len(snmp._KINDS) == 3 + 5 + 4


def test_other_traps_and_traps_that_name_nobody_say_nothing():
    assert snmp.seen(snmp.read(trap("1.3.6.1.6.3.1.1.5.1"))) is None
    assert snmp.seen(snmp.read(trap(f"{AIRESPACE}.3.1", (f"{AIRESPACE}.2.35.0", AP)))) is None
    assert snmp.seen(snmp.read(trap(f"{AIRESPACE}.3.8"))) is None
    group = bytes.fromhex("01005e000001")
    assert snmp.seen(snmp.read(trap(f"{AIRESPACE}.3.1", (f"{AIRESPACE}.2.34.0", group)))) is None


ARCS = st.lists(st.integers(0, 2**32 - 1), min_size=0, max_size=20)


def tlv(tag, *parts):
    body = b"".join(parts)
    return bytes([tag, len(body)]) + body


def frame(*, number=b"\x01", name=b"\x2b", value=b"\x02\x01\x05", behind=b"", behind_pdu=b""):
    """Write a trap byte by byte: what it is, and one value."""
    kind = tlv(0x30, bytes.fromhex("060a2b060106030101040100"), tlv(6, b"\x2b\x06"))
    binding = tlv(0x30, tlv(6, name), value, behind)
    pdu = tlv(0xA7, tlv(2, number), tlv(2, b"\0"), tlv(2, b"\0"), tlv(0x30, kind, binding))
    return tlv(0x30, tlv(2, b"\x01"), tlv(4, b"c"), pdu, behind_pdu)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(snmp.LONGEST + 1), "too long"),
        (frame(behind_pdu=b"\x05\0"), "bytes behind the PDU"),
        (frame(behind=b"\x05\0"), "bytes behind a value"),
        (frame(value=b"\x02\0"), "a number of no size"),
        (frame(number=b""), "a number of no size"),
        (frame(name=b""), "an empty object identifier"),
        (frame(name=b"\x80\x01"), "an object identifier of no standard"),
        (frame(name=b"\x2b\x86"), "an object identifier that does not end"),
    ],
)
def test_what_is_no_trap_is_refused_with_its_reason(data, words):
    assert snmp.read(frame()).bindings["1.3"] == 5
    with pytest.raises(BadValue, match=words):
        snmp.read(data)


@given(ARCS, st.binary(max_size=200), st.text("abc", max_size=20))
def test_the_bytes_of_another_encoder_are_read_as_it_meant_them(arcs, value, community):
    oid = ".".join(["1.3", *map(str, arcs)])
    found = snmp.read(trap("1.3.6.1", (oid, value), community=community))
    assert found.community == community.encode()
    assert found.bindings[oid] == value


@given(st.binary(max_size=200))
def test_any_bytes_are_a_trap_or_a_refusal_that_names_the_place(data):
    for head in (b"", b"\x30\x20\x02\x01\x01\x04\x01c\xa7"):
        with pytest.raises(BadValue, match="byte"):
            snmp.read(head + data)


@given(st.data())
def test_a_changed_or_cut_trap_is_read_or_refused_and_nothing_else(data):
    good = bytearray(trap(f"{AIRESPACE}.3.1", (f"{AIRESPACE}.2.34.0", STATION)))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(good[: data.draw(st.integers(0, len(good)))])
    with suppress(BadValue):
        snmp.seen(snmp.read(cut))
