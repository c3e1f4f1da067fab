"""Vendors' lists: read strictly, written so that they come back the same, refused when they are not themselves."""

import datetime
import ipaddress
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.names import Domain, Ports
from netguard.rules import vendor_feeds
from netguard.rules.feed_files import Taker, kept
from netguard.rules.folder import Folder
from netguard.rules.vendor_feeds import NotThisList, Offer, alarming, microsoft_365, prefixes

DAY = datetime.date(2026, 11, 29)
NETWORKS = st.lists(
    st.tuples(st.integers(0x01000000, 0x09FFFFFF), st.integers(8, 32)).map(
        lambda pair: ipaddress.ip_network(pair, strict=False)
    ),
    min_size=1,
    max_size=20,
    unique=True,
)
WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=30
)
LABELS = WORDS.map(str.strip).filter(lambda text: text and text.isprintable())


@given(NETWORKS)
def test_a_list_says_what_it_says(networks):
    text = "".join(f"{network}  # a comment\r\n\n" for network in networks)
    assert set(prefixes(text.encode("utf-8-sig")).networks) == set(networks)


@given(st.one_of(st.binary(max_size=300), WORDS.map(str.encode)))
def test_no_bytes_end_otherwise_than_in_a_list_or_in_its_refusal(data):
    for reader in (prefixes, microsoft_365, vendor_feeds.version_of):
        try:
            assert reader(data)
        except NotThisList as error:
            assert str(error)  # noqa: PT017  # either of the two is right


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["id", "ips", "urls", "tcpPorts", "udpPorts"]) | WORDS,
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_json_ends_otherwise_either(body):
    data = json.dumps(body).encode()
    for reader in (microsoft_365, vendor_feeds.version_of):
        try:
            assert reader(data)
        except NotThisList as error:
            assert str(error)  # noqa: PT017


@given(
    st.dictionaries(LABELS.filter(lambda text: len(text) < 20), NETWORKS, min_size=1, max_size=4),
    LABELS,
    LABELS,
    st.dictionaries(st.sampled_from(["wide", "doh"]), LABELS),
)
def test_a_feed_is_read_back_as_it_was_written(sets, source, version, accept):
    offers = {
        number: Offer("A vendor", vendor_feeds.prefixes("\n".join(map(str, networks)).encode()).networks,
                      (Domain("a.example.org"), Domain("example.org", wildcard=True)),
                      (Ports("tcp", 443, 443), Ports("udp", 3478, 3481)))
        for number, networks in sets.items()
    }  # fmt: skip
    text = vendor_feeds.rendered("lists", source, version, DAY, offers, head="# why", accept=accept)
    file = "services/feeds/lists.yaml"
    (feed,) = kept(Folder("", {file: text.encode()}))
    assert (feed.name, feed.source, feed.version, feed.retrieved) == ("lists", source, version, DAY)
    assert (feed.sets, feed.head, feed.accept) == (offers, "# why", accept)


@pytest.mark.parametrize(
    ("reader", "data", "said"),
    [
        (prefixes, b"\xff\xfe", "it is not UTF-8"),
        (prefixes, b"3.0.0.0/24\n" * 20_001, "more than 20000 prefixes"),
        (prefixes, b"# nothing\n", "an empty list"),
        (
            microsoft_365,
            json.dumps([{"id": 1, "urls": ["x"] * 20_001}]).encode(),
            "more than 20000 entries",
        ),
        (vendor_feeds.version_of, b'{"latest": "1.2"}', "not the version"),
    ],
)
def test_lists_have_bounds(reader, data, said):
    with pytest.raises(NotThisList, match=said):
        reader(data)


def test_the_version_is_read_and_files_of_others_are_left_alone():
    assert (
        vendor_feeds.version_of(b'{"instance": "Worldwide", "latest": "2026112900"}')
        == "2026112900"
    )
    files = {"groups.yaml": b"groups: {}", "services/feeds/bad.yaml": b"feed: x\n"}
    assert list(kept(Folder("", files))) == []


def test_what_is_too_deep_is_refused():
    with pytest.raises(NotThisList, match="not JSON"):
        microsoft_365(b"[" * 100_000)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "a list of sets was expected"),
        ({}, "a list of sets was expected"),
        ([{"id": "11"}], "entry 1 is not a set with a number"),
        ([{"id": 1, "ips": "1.1.1.0/24"}], "'ips' is not a list"),
        ([{"id": 1, "ips": ["1.1.1.1/24"]}], "set 1: 1.1.1.1/24 has host bits"),
        ([{"id": 1, "ips": ["192.168.0.0/24"]}], "is no network of a vendor's"),
        ([{"id": 1, "ips": ["224.0.0.0/8"]}], "is no network of a vendor's"),
        ([{"id": 1, "ips": ["::/0"]}], "is no network of a vendor's"),
        ([{"id": 1, "tcpPorts": "443,70000"}], "ports are 1 to 65535"),
        ([{"id": 1, "tcpPorts": 443}], "'tcpPorts' is not a text"),
        ([{"id": 1}, {"id": 1}], "set 1 is listed twice"),
    ],
)
def test_what_is_not_the_answer_of_the_endpoint_service_is_refused(rows, said):
    with pytest.raises(NotThisList, match=said):
        microsoft_365(json.dumps(rows).encode())


def test_half_and_twice_is_alarming_and_a_set_that_is_gone():
    def some(count):
        return Offer(
            networks=tuple(ipaddress.ip_network((0x03000000 + (n << 8), 24)) for n in range(count))
        )

    old = {"a": some(10).networks}
    assert alarming(old, {"a": some(5)}) == ()
    assert alarming(old, {"a": some(20)}) == ()
    assert alarming(old, {"a": some(4)}) == (
        "set a shrinks from 10 to 4 prefixes", "set a shrinks from 2,560 to 1,024 IPv4 addresses",
    )  # fmt: skip
    assert alarming(old, {"a": some(21)})[0] == "set a grows from 10 to 21 prefixes"
    wide = Offer(networks=(*some(9).networks, ipaddress.ip_network("5.0.0.0/8")))
    assert alarming(old, {"a": wide}) == ("set a grows from 2,560 to 16,779,520 IPv4 addresses",)
    assert alarming(old, {}) == ("set a is gone",)
    assert alarming({}, {"a": some(1)}) == ()


def test_a_service_is_told_what_it_lacks():
    taker = Taker(
        "teams", ("11",), (Domain("example.org", wildcard=True),), (Ports("udp", 3478, 3481),)
    )
    offer = Offer(
        domains=(Domain("a.example.org"), Domain("example.org")),
        ports=(Ports("tcp", 443, 443), Ports("udp", 3479, 3479)),
    )
    assert taker.lacks({"11": offer, "12": Offer(ports=(Ports("tcp", 80, 80),))}) == (
        (Domain("example.org"),), (Ports("tcp", 443, 443),),
    )  # fmt: skip
