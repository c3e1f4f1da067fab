"""Our frames against scapy's."""

import random
from ipaddress import ip_address

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_RA, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.kernel import wire

ONE, OTHER = ip_address("10.99.0.16"), ip_address("170.114.10.7")
SIX, SEVEN = ip_address("fe80::1"), ip_address("ff02::1")
HEAD = IP(src=str(ONE), dst=str(OTHER), id=0)
BODY = b"some payload"


@pytest.mark.parametrize("flags", [wire.SYN, wire.SYN | wire.ACK, 0, 255, wire.FIN | wire.URG])
def test_tcp(flags):
    ours = wire.ip4(ONE, OTHER, wire.TCP, wire.tcp(ONE, OTHER, 1234, 443, flags, BODY, 7, 8))
    theirs = TCP(sport=1234, dport=443, flags=flags, seq=7, ack=8, window=64240)
    assert ours == bytes(HEAD / theirs / Raw(BODY))


def test_udp_of_both_families():
    dice = random.Random(1)
    for _ in range(50):
        body = dice.randbytes(dice.randrange(40))
        ours = wire.ip4(ONE, OTHER, wire.UDP, wire.udp(ONE, OTHER, 67, 1, body))
        assert ours == bytes(HEAD / UDP(sport=67, dport=1) / Raw(body))
        six = wire.ip6(SIX, SEVEN, wire.UDP, wire.udp(SIX, SEVEN, 547, 546, body))
        theirs = (
            IPv6(src=str(SIX), dst=str(SEVEN), hlim=255) / UDP(sport=547, dport=546) / Raw(body)
        )
        assert six == bytes(theirs)


def test_icmp():
    ours = wire.ip4(ONE, OTHER, wire.ICMP, wire.icmp(8, 0, 0x00070009, BODY))
    assert ours == bytes(HEAD / ICMP(type=8, id=7, seq=9) / Raw(BODY))
    quoted = HEAD / UDP(sport=1, dport=2) / Raw(BODY)
    ours = wire.ip4(ONE, OTHER, wire.ICMP, wire.icmp(3, 1, 0, bytes(quoted)))
    assert ours == bytes(HEAD / ICMP(type=3, code=1) / quoted)


def test_icmp6():
    head = IPv6(src=str(SIX), dst=str(SEVEN), hlim=255)
    echo = bytes(head / ICMPv6EchoRequest(id=1, seq=2, data=BODY))
    assert wire.ip6(SIX, SEVEN, wire.ICMP6, wire.icmp6(SIX, SEVEN, 128, b"\0\1\0\2" + BODY)) == echo
    seen = IPv6(wire.ip6(SIX, SEVEN, wire.ICMP6, wire.icmp6(SIX, SEVEN, 134, bytes(12))))
    assert seen[ICMPv6ND_RA].type == 134


def test_fragments():
    segment = wire.udp(ONE, OTHER, 5, 6, b"x" * 1200)
    whole = IP(src=str(ONE), dst=str(OTHER), id=9) / UDP(sport=5, dport=6) / Raw(b"x" * 1200)
    theirs = [bytes(each) for each in fragment(whole, fragsize=512)]
    assert wire.fragments(ONE, OTHER, wire.UDP, segment, 9) == theirs


def test_a_broken_checksum_is_broken_and_a_frame_has_its_type():
    fine = wire.udp(ONE, OTHER, 5, 6, BODY)
    assert wire.udp(ONE, OTHER, 5, 6, BODY, broken=True) != fine
    packet = wire.ip4(ONE, OTHER, wire.UDP, fine)
    ours = wire.frame("02:00:00:00:00:01", "02:00:00:00:00:02", packet)
    head = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    assert ours == bytes(head / IP(packet))
    assert wire.frame("02:00:00:00:00:01", "02:00:00:00:00:02", b"\x60")[12:14] == b"\x86\xdd"
