"""Captures read: as scapy reads them, in each format and link layer, and never astray by hostile bytes."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether, Loopback
from scapy.packet import Raw
from scapy.utils import PcapNgReader, PcapReader, PcapWriter

from netguard.core.doctor.frames import (
    ETHERNET,
    LOOPBACK,
    MAX_FRAME,
    RAW,
    SLL,
    SLL2,
    Frame,
    datagram,
    frames,
    macs,
)
from netguard.errors import BadValue
from tests.core.doctor import captures

LINES = [
    "0 10.1.2.10 ask 64:1b:2f:00:00:01",
    "1.25 10.1.2.10 start 64:1b:2f:00:00:01",
    "2.000001 10.1.2.20 ask 64:1b:2f:00:00:02 again=2",
]
PAYLOAD = Raw(b"hello")
FOUR = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1000, dport=1812) / PAYLOAD
SIX = IPv6(src="fd00::1", dst="fd00::2") / UDP(sport=1000, dport=1813) / PAYLOAD


def read(data):
    return list(frames(io.BytesIO(data).read))


@pytest.mark.parametrize(("name", "reader"), [("x.pcap", PcapReader), ("x.pcapng", PcapNgReader)])
def test_both_formats_are_read_as_scapy_reads_them(tmp_path, name, reader):
    path = captures.write(tmp_path / name, LINES)
    ours = read(path.read_bytes())
    with reader(str(path)) as theirs:
        expected = [(float(packet.time), bytes(packet)) for packet in theirs]
    assert [frame.data for frame in ours] == [data for _, data in expected]
    assert [frame.at for frame in ours] == pytest.approx([at for at, _ in expected], abs=2e-6)
    assert {frame.link for frame in ours} == {ETHERNET}
    assert len(ours) == 8
    first = datagram(ours[0])
    assert (first.source, first.destination, first.destination_port) == (
        "10.1.2.10",
        "10.1.2.1",
        1812,
    )


@pytest.mark.parametrize(("endian", "nano"), [("<", False), (">", False), ("<", True), (">", True)])
def test_each_byte_order_and_resolution_of_pcap_is_read(endian, nano):
    out = io.BytesIO()
    PcapWriter(out, linktype=1, endianness=endian, nano=nano, sync=True).write(Ether() / FOUR)
    (frame,) = read(out.getvalue())
    assert datagram(frame).payload == b"hello"


def block(kind, body, order="<"):
    size = 12 + len(body)
    return struct.pack(f"{order}II", kind, size) + body + struct.pack(f"{order}I", size)


def section(order="<"):
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(options=b"", order="<", link=1):
    return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def packet(data, ticks=5, number=0, order="<", claimed=None):
    head = struct.pack(
        f"{order}IIIII", number, 0, ticks, len(data) if claimed is None else claimed, len(data)
    )
    return block(6, head + data + bytes(-len(data) % 4), order)


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        (b"", 5e-6),
        (struct.pack("<HHB3x", 9, 1, 9), 5e-9),
        (struct.pack("<HHB3x", 9, 1, 0x83), 5 / 8),
        (struct.pack("<HH4s", 2, 4, b"eth0") + struct.pack("<HHB3x", 9, 1, 3), 5e-3),
        (struct.pack("<HH", 0, 0) + struct.pack("<HHB3x", 9, 1, 3), 5e-6),
        (struct.pack("<HH", 9, 1), 5e-6),
    ],
)
def test_an_interface_says_how_long_a_tick_is(options, seconds):
    found = read(section() + interface(options) + packet(b"abcd"))
    assert found == [Frame(pytest.approx(seconds), 1, b"abcd")]


def test_sections_have_their_own_order_and_interfaces():
    data = section(">") + interface(order=">") + packet(b"one!", order=">")
    data += section("<") + interface() + interface(link=101) + packet(b"two!", number=1)
    assert [(f.link, f.data) for f in read(data)] == [(1, b"one!"), (101, b"two!")]


def test_what_is_odd_and_harmless_is_passed_over():
    statistics, short = block(5, bytes(12)), block(6, bytes(8))
    data = section() + block(1, b"") + interface() + statistics + short
    data += packet(b"abcd", number=7) + packet(b"abcd", claimed=99) + packet(b"good")
    assert [f.data for f in read(data)] == [b"good"]


PCAP = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is no capture"),
        (b"PK\x03\x04", "is no capture"),
        (PCAP[:12], "head of the capture is cut"),
        (PCAP + struct.pack("<IIII", 0, 0, MAX_FRAME + 1, 0), "frame 1 has"),
        (section()[:8] + b"none" + section()[12:], "no byte order"),
        (section() + struct.pack("<II", 1, 13), "block 2 has 13 bytes"),
        (section() + struct.pack("<II", 1, 8), "block 2 has 8 bytes"),
        (section() + struct.pack("<II", 1, 1 << 30), "damaged"),
        (section() + interface() * 1025, "more than 1024 interfaces"),
    ],
)
def test_what_is_no_capture_is_said(data, words):
    with pytest.raises(BadValue, match=words):
        read(data)


def test_a_capture_that_is_cut_gives_what_it_holds(tmp_path):
    for name in ("x.pcap", "x.pcapng"):
        data = captures.write(tmp_path / name, LINES).read_bytes()
        whole = read(data)
        for cut in range(40 if name == "x.pcap" else 60, len(data), 7):
            found = read(data[:cut])
            assert found == whole[: len(found)]


@pytest.mark.parametrize(
    ("link", "frame", "port"),
    [
        (ETHERNET, Ether() / FOUR, 1812),
        (ETHERNET, Ether() / SIX, 1813),
        (ETHERNET, Ether() / Dot1Q(vlan=640) / FOUR, 1812),
        (ETHERNET, Ether() / Dot1AD(vlan=2) / Dot1Q(vlan=640) / FOUR, 1812),
        (RAW, FOUR, 1812),
        (RAW, SIX, 1813),
        (SLL, CookedLinux(proto=0x0800) / FOUR, 1812),
        (SLL2, CookedLinuxV2(proto=0x86DD) / SIX, 1813),
        (LOOPBACK, Loopback() / FOUR, 1812),
        (
            RAW,
            IP(options=[b"\x01\x01\x01\x00"], src="10.0.0.1") / UDP(sport=1, dport=1812) / PAYLOAD,
            1812,
        ),
        (
            RAW,
            IPv6() / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=1812) / PAYLOAD,
            1812,
        ),
    ],
)
def test_each_link_layer_is_opened(link, frame, port):
    found = datagram(Frame(1.0, link, bytes(frame)))
    assert (found.at, found.destination_port, found.payload) == (1.0, port, b"hello")


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (99, bytes(FOUR)),
        (RAW, b""),
        (RAW, b"\x10" + bytes(40)),
        (RAW, bytes(IP(proto=6) / Raw(bytes(20)))),
        (RAW, bytes(IP(flags="MF") / UDP() / PAYLOAD)),
        (RAW, bytes(IP(frag=3) / UDP() / PAYLOAD)),
        (RAW, bytes(IP(ihl=4) / UDP())),
        (RAW, bytes(FOUR)[:24]),
        (RAW, bytes(SIX)[:39]),
        (RAW, bytes(SIX)[:-1]),
        (RAW, bytes(IPv6() / IPv6ExtHdrFragment() / UDP() / PAYLOAD)),
        (RAW, bytes(IPv6(nh=0) / Raw(b"\x11\xff" + bytes(20)))),
        (RAW, bytes(IPv6(nh=17) / Raw(b"abc"))),
        # More extension headers than anybody needs.
        (RAW, bytes(IPv6(nh=60) / Raw(b"\x3c\0" + bytes(6)) / Raw((b"\x3c\0" + bytes(6)) * 9))),
        (RAW, bytes(IP() / UDP(len=4) / PAYLOAD)),
        (RAW, bytes(IP() / UDP(len=200) / PAYLOAD)),
        (ETHERNET, b"short"),
        (ETHERNET, bytes(Ether(type=0x0806))),
        (ETHERNET, bytes(Ether(type=0x8100))),
    ],
)
def test_what_is_no_whole_datagram_is_none(link, frame):
    assert datagram(Frame(0.0, link, frame)) is None


def test_senders_and_receivers_are_those_of_ethernet():
    frame = bytes(Ether(src="64:1b:2f:00:00:01", dst="64:1b:2f:00:00:02") / FOUR)
    assert macs(Frame(0.0, ETHERNET, frame)) == ("64:1b:2f:00:00:01", "64:1b:2f:00:00:02")
    assert macs(Frame(0.0, RAW, frame)) is None
    assert macs(Frame(0.0, ETHERNET, frame[:13])) is None


whole = section() + interface() + packet(bytes(Ether() / FOUR)) + packet(bytes(Ether() / SIX))


@given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8))
def test_flipped_bytes_are_read_or_refused(flips):
    data = bytearray(whole)
    for place, value in flips:
        data[place] = value
    try:
        for frame in frames(io.BytesIO(bytes(data)).read):
            datagram(frame)
            macs(frame)
    except BadValue:
        pass


@given(st.sampled_from([ETHERNET, RAW, SLL, SLL2, LOOPBACK]), st.binary(max_size=120))
def test_any_frame_is_opened_or_none(link, data):
    found = datagram(Frame(0.0, link, data))
    assert found is None or len(found.payload) <= len(data)
