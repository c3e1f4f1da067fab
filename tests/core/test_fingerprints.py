"""How a tablet asks for its address, compared with how it always did; requests as scapy writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP

from netguard.core import fingerprints
from netguard.core.fingerprints import LEARNED_IN, MOST, Past, Way, read_request
from netguard.errors import BadValue

MAC = "3c:28:6d:aa:01:10"
ANDROID = Way((1, 3, 6, 15, 26, 28, 51, 58, 59, 43), "android-dhcp-13", "Galaxy-Tab")
LINUX = Way((1, 28, 2, 3, 15, 6, 119, 12), "", "laptop")


def packet(way=ANDROID, kind="discover", port=67, mac=MAC, **more):
    options = [("message-type", kind), ("param_req_list", list(way.wanted))]
    if way.vendor:
        options.append(("vendor_class_id", way.vendor.encode()))
    if way.name:
        options.append(("hostname", way.name.encode()))
    bootp = BOOTP(op=more.pop("op", 1), chaddr=bytes.fromhex(mac.replace(":", "")), **more)
    request = IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=port) / bootp
    return bytes(request / DHCP(options=[*options, "pad", "pad", "end"]))


@pytest.mark.parametrize("kind", ["discover", "request"])
@pytest.mark.parametrize("way", [ANDROID, LINUX, Way((), "", "")])
def test_a_request_is_read_as_scapy_wrote_it(kind, way):
    asked = read_request(packet(way, kind))
    if not way.wanted:
        assert asked is not None
        return
    assert (str(asked.mac), asked.way) == (MAC, way)


@pytest.mark.parametrize(
    "other",
    [
        b"",
        b"\x45",
        packet()[:100],
        b"\x65" + packet()[1:],
        b"\x41" + packet()[1:],
        packet()[:9] + b"\x06" + packet()[10:],
        packet(port=68),
        packet(kind="inform"),
        packet(kind="ack", op=2),
        packet(op=2),
        packet().replace(b"\x63\x82\x53\x63", b"\0\0\0\0"),
    ],
)
def test_what_is_no_request_of_a_client_is_not_read(other):
    assert read_request(other) is None


def test_a_name_cannot_break_a_line_and_cut_options_end_the_walk():
    hostile = Way((1,), "", "a\x1b[31m\nb\u00e9")
    assert read_request(packet(hostile)).way.name == "a?[31m?b??"
    raw = packet(Way((1,), "", "tablet"))
    cut = raw[: raw.index(b"tablet") + 2]
    assert read_request(cut).way == Way((1,), "", "")
    assert read_request(raw[: raw.index(b"tablet") - 1]).way.name == ""


@given(st.binary(max_size=700))
def test_no_bytes_can_break_it(data):
    raw = packet()
    for each in (data, raw[:28] + data, raw[: 28 + 240] + data):
        read_request(each)


def told(*rows, since=0.0):
    past = Past(since)
    return [bool(past.tell(way, at)) for at, way in rows]


def test_the_first_minutes_are_learned_and_a_new_way_is_strange_once():
    late = LEARNED_IN + 1
    assert told((0, ANDROID), (10, LINUX), (late, ANDROID), (late, LINUX)) == [False] * 4
    past = Past(0.0)
    assert past.tell(ANDROID, 0.0) == ""
    why = past.tell(LINUX, late)
    assert why == (
        "asks for an address as another device: before options 1,3,6,15,26,28,51,58,59,43, class "
        "android-dhcp-13, name Galaxy-Tab; now options 1,28,2,3,15,6,119,12, name laptop"
    )
    assert past.tell(ANDROID, late + 1) == past.tell(LINUX, late + 2) == ""
    assert "options none; now" in Past(0.0, [Way((), "", "")]).tell(LINUX, late)


def test_the_first_word_of_a_tablet_and_a_clock_that_was_set_back_are_nothing_strange():
    assert told((5000, ANDROID)) == [False]
    assert told((0, ANDROID), (-5000, LINUX)) == [False, False]


def test_ways_of_one_tablet_are_bounded():
    past = Past(0.0)
    for number in range(100):
        past.tell(Way((number,), "", ""), 5000.0)
    assert len(past.ways) == MOST


def test_what_is_written_is_read_again():
    pasts = {MAC: Past(5.0, [ANDROID, LINUX])}
    assert fingerprints.read(fingerprints.write(pasts)) == pasts


@pytest.mark.parametrize(
    "body", [[], {"x": [1, []]}, {MAC: 1}, {MAC: [1]}, {MAC: ["x", []]}, {MAC: [1, [[1]]]}, None]
)
def test_what_is_none_of_ours_is_an_error(body):
    with pytest.raises(BadValue):
        fingerprints.read(body)
