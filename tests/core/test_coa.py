"""Recipes for throwing a tablet off the air: packets as scapy and pyrad read them, and what follows each answer."""

import hmac
from hashlib import md5
from ipaddress import ip_address

import pytest
from pyrad import dictionary
from pyrad import packet as pyrad
from scapy.layers.radius import Radius

from netguard.core import coa, radius
from netguard.core.coa import Answer, Exchange, Item, Outcome, Session, Way, Word
from netguard.core.doctor.products import PRODUCTS
from netguard.core.names import Mac
from netguard.core.radius import Code
from netguard.errors import BadValue

SECRET = b"0123456789abcdef0123"
NOW = 1795964380
FULL = Session(
    mac=Mac.parse("3c:28:6d:aa:01:10"),
    server=ip_address("10.20.2.11"),
    nas_ip=ip_address("10.20.2.77"),
    id="0000002a",
    bssid=Mac.parse("70:3a:0e:00:00:01"),
    address=ip_address("10.99.0.10"),
)
KNOWN_LEAST = Session(FULL.mac, FULL.server)
DASHED, PLAIN = b"3C-28-6D-AA-01-10", b"3c286daa0110"
CALLING = (31, DASHED)
AT_THE_AP, AT_THE_SERVER = (4, bytes([10, 20, 2, 77])), (4, bytes([10, 20, 2, 11]))
REAUTHENTICATE = (26, b"\x00\x00\x00\x09\x01\x23subscriber:command=reauthenticate")
# By vendor: (code, port, attributes) of each way, written from the vendors' documents and not from the recipes.
CISCO = [
    (40, 3799, [CALLING, AT_THE_AP, (6, bytes([0, 0, 0, 1]))]),
    (40, 3799, [CALLING, AT_THE_AP]),
    (40, 1700, [CALLING, AT_THE_AP, (6, bytes([0, 0, 0, 1]))]),
    (43, 1700, [CALLING, AT_THE_AP, REAUTHENTICATE]),
]
# A Service-Type is refused by what knows none (401).
BASE = (40, 3799, [CALLING, AT_THE_AP])
BARE = (40, 3799, [CALLING])
WANTED = {
    "cisco-aireos": CISCO,
    "cisco-9800": CISCO,
    "meraki": [
        (40, 1700, [CALLING, AT_THE_AP]),
        (43, 1700, [CALLING, AT_THE_AP, REAUTHENTICATE]),
    ],
    "aruba-controller": [BARE, BASE],
    "aruba-instant": [
        (40, 3799, [(31, PLAIN), (1, PLAIN)]),
        (40, 5999, [(31, PLAIN), (1, PLAIN)]),
    ],
    "ruckus": [(40, 3799, [CALLING, AT_THE_AP, (1, PLAIN)]), BASE],
    "unifi": [(40, 3799, [CALLING, (32, b"703a0e000001")]), BARE],
    "mist": [(40, 3799, [CALLING, AT_THE_AP, (44, b"0000002a")]), BASE],
    "fortigate": [
        (40, 3799, [(44, b"0000002a"), (1, PLAIN), (8, bytes([10, 99, 0, 10]))]),
        BASE,
        BARE,
    ],
    "extreme": [BASE, BARE],
    "mikrotik": [
        BASE,
        (40, 1700, [CALLING, AT_THE_AP]),
        (40, 3799, [(44, b"0000002a"), CALLING]),
    ],
    "hostapd": [BARE, (40, 3799, [CALLING, (44, b"0000002a")])],
    "other": [BASE, BARE],
}


def made(vendor, session=FULL):
    return [(way, coa.request(way, session, 7, SECRET, NOW)) for way in coa.ways(vendor, session)]


def test_every_vendor_of_the_rules_has_a_recipe_or_takes_what_the_rfc_says():
    assert set(coa.RECIPES) == set(WANTED)
    for vendor in PRODUCTS:
        assert coa.recipe(vendor) is coa.RECIPES.get(vendor, coa.RECIPES["other"])
    for vendor, product in PRODUCTS.items():
        assert coa.recipe(vendor).ways[0].port == product.coa, "doctor knocks where we will"


@pytest.mark.parametrize("vendor", WANTED)
def test_scapy_reads_each_request_as_the_vendor_wants_it(vendor):
    seen = []
    for way, raw in made(vendor):
        read = Radius(raw)
        assert read.id == 7
        assert bytes(read) == raw
        attributes = [(item.type, bytes(item)[2:]) for item in read.attributes]
        assert attributes[0][0] == 80, "the Message-Authenticator goes first"
        assert attributes[-1] == (55, NOW.to_bytes(4)), "and every request has its moment"
        seen.append((read.code, way.port, attributes[1:-1]))
    assert seen == WANTED[vendor]


@pytest.mark.parametrize("vendor", WANTED)
def test_pyrad_agrees_on_both_signatures(vendor):
    names = dictionary.Dictionary()
    for _, raw in made(vendor):
        read = pyrad.CoAPacket(packet=raw, secret=SECRET, dict=names)
        assert read.VerifyCoARequest()
        assert read.verify_message_authenticator(secret=SECRET)
        other = pyrad.CoAPacket(packet=raw, secret=b"another secret..", dict=names)
        assert not other.VerifyCoARequest()


@pytest.mark.parametrize("vendor", WANTED)
def test_what_is_not_known_is_left_out_and_something_can_always_be_sent(vendor):
    ways = coa.ways(vendor, KNOWN_LEAST)
    assert ways
    for way in ways:
        assert not {Item.SESSION, Item.FRAMED, Item.NAS_IS_AP} & set(way.items)
        read = radius.decode(coa.request(way, KNOWN_LEAST, 1, SECRET, NOW))
        for value in read.all(4):
            assert (4, value) == AT_THE_SERVER
        assert read.first(31) in {DASHED, PLAIN}


def test_a_recipe_of_which_nothing_is_known_falls_back_to_the_mac(monkeypatch):
    only = coa.Recipe((Way(Code.DISCONNECT_REQUEST, 3799, (Item.SESSION,)),))
    monkeypatch.setattr(coa, "RECIPES", {**coa.RECIPES, "odd": only})
    assert [way.items for way in coa.ways("odd", KNOWN_LEAST)] == [(Item.CALLING,)]


def test_an_ipv6_nas_is_named_by_its_own_attribute_and_a_tablet_by_ipv4_only():
    far = ip_address("2001:db8::11")
    session = Session(FULL.mac, far, id="1", address=far)
    read = radius.decode(coa.request(coa.ways("other", session)[0], session, 1, SECRET, NOW))
    assert (read.first(4), read.first(95)) == (None, far.packed)
    assert all(Item.FRAMED not in way.items for way in coa.ways("fortigate", session))


@pytest.mark.parametrize("id_", ["x" * 254, "é" * 127, "\ufffd" * 128, "a\ufffd"])
def test_a_session_id_that_cannot_be_given_back_is_not_named(id_):
    """Of a NAS whose ids are no text no session could be ended, nor of the tablet anywhere else."""
    session = Session(FULL.mac, FULL.server, id=id_)
    assert made("mist", session) == made("mist", Session(FULL.mac, FULL.server))
    assert made("fortigate", session)


def test_what_fits_no_attribute_is_an_error():
    with pytest.raises(BadValue, match="254 bytes"):
        radius.text(radius.Type.ACCT_SESSION_ID, "x" * 254)


# answers


def reply(raw, code, attributes=(), secret=SECRET, *, sign=False):
    """Answer as a NAS does, written apart from the codec after RFC 5176 2.3 and 3.4."""
    body = b"".join(bytes([kind, len(value) + 2]) + value for kind, value in attributes)
    if sign:
        body = bytes([80, 18]) + bytes(16) + body
    head = bytes([code, raw[1]]) + (20 + len(body)).to_bytes(2)
    if sign:
        body = body[:2] + hmac.digest(secret, head + raw[4:20] + body, "md5") + body[18:]
    return head + md5(head + raw[4:20] + body + secret).digest() + body


def a_request(code=Code.DISCONNECT_REQUEST):
    way = Way(code, 3799, (Item.CALLING,))
    return coa.request(way, FULL, 9, SECRET, NOW)


@pytest.mark.parametrize("sign", [False, True])
@pytest.mark.parametrize(
    ("code", "ack", "nak"), [(Code.DISCONNECT_REQUEST, 41, 42), (Code.COA_REQUEST, 44, 45)]
)
def test_answers_are_read_with_and_without_a_message_authenticator(code, ack, nak, sign):
    raw = a_request(code)
    assert coa.read(reply(raw, ack, sign=sign), raw, SECRET) == (True, None)
    cause = (101, (503).to_bytes(4))
    assert coa.read(reply(raw, nak, [cause], sign=sign), raw, SECRET) == (False, 503)
    assert coa.read(reply(raw, nak, [(101, b"\x01")], sign=sign), raw, SECRET) == (False, None)


def test_what_anybody_could_have_sent_is_no_answer():
    raw = a_request()
    other = coa.request(Way(Code.DISCONNECT_REQUEST, 3799, (Item.CALLING,)), FULL, 10, SECRET, NOW)
    good = reply(raw, 41, sign=True)
    for forged in (
        b"",
        good[:15],
        reply(raw, 41, secret=b"another secret.."),
        reply(other, 41),
        reply(raw, 44),
        reply(raw, 2),
        reply(raw, 41, [(80, bytes(16))]),
        reply(raw, 41, [(80, bytes(16)), (80, bytes(16))]),
    ):
        assert coa.read(forged, raw, SECRET) is None
    assert coa.read(good, raw, SECRET) == (True, None)


def run(vendor, *answers, session=FULL):
    """Answer one request after another; returns the ports that were asked, and how it ended."""
    exchange, asked = Exchange(coa.ways(vendor, session)), []
    for answer in answers:
        assert isinstance(exchange, Exchange), f"it had ended: {exchange}"
        asked.append((exchange.way.code.value, exchange.way.port))
        exchange = coa.follow(exchange, answer)
    return asked, exchange


ACK, SILENT, REFUSED = Answer(Word.ACK), Answer(Word.SILENT), Answer(Word.REFUSED)


def nak(cause):
    return Answer(Word.NAK, cause)


def test_an_ack_ends_it():
    asked, end = run("cisco-9800", ACK)
    assert (end.word, end.sent, end.is_done) == (Word.ACK, 1, True)
    assert asked == [(40, 3799)]


def test_silence_is_asked_three_times_then_the_other_port_then_a_coa():
    asked, end = run("cisco-9800", *[SILENT] * 6)
    assert asked == [(40, 3799)] * 3 + [(40, 1700)] * 3
    assert (end.word, end.is_done, end.sent) == (Word.SILENT, False, 6)
    asked, end = run("cisco-9800", SILENT, SILENT, SILENT, nak(501), ACK)
    assert asked[-2:] == [(40, 1700), (43, 1700)]
    assert (end.word, end.way.code, end.sent) == (Word.ACK, Code.COA_REQUEST, 5)


def test_a_closed_port_is_not_knocked_at_twice():
    asked, end = run("cisco-9800", REFUSED, REFUSED)
    assert asked == [(40, 3799), (40, 1700)]
    assert (end.word, end.sent) == (Word.REFUSED, 2)


def test_a_refused_attribute_is_left_out_in_the_next_way():
    _, end = run("fortigate", nak(401), nak(403), ACK)
    assert (end.word, end.way.items) == (Word.ACK, (Item.CALLING,))
    _, end = run("extreme", nak(403), nak(407))
    assert (end.word, end.cause, end.is_done) == (Word.NAK, 403, False)


def test_who_is_not_there_is_off_the_air_once_every_spelling_was_tried():
    _, end = run("other", nak(503), nak(503))
    assert (end.word, end.cause, end.is_done) == (Word.ABSENT, 503, True)
    _, end = run("aruba-controller", nak(503), ACK)
    assert end.word == Word.ACK
    _, end = run("other", nak(503), nak(401))
    assert end.word == Word.ABSENT


def test_of_several_sessions_only_a_way_that_names_one_can_help():
    _, end = run("hostapd", nak(508), ACK)
    assert end.way.items == (Item.CALLING, Item.SESSION)
    _, end = run("extreme", nak(508))
    assert (end.word, end.cause, end.sent) == (Word.NAK, 508, 1)


def test_a_busy_nas_is_asked_again_the_same_way():
    _, end = run("extreme", nak(506), nak(506), ACK)
    assert (end.sent, end.way.items) == (3, (Item.CALLING, Item.NAS_IP))
    _, end = run("extreme", *[nak(506)] * 3, ACK)
    assert end.way.items == (Item.CALLING,)


@pytest.mark.parametrize("vendor", WANTED)
@pytest.mark.parametrize("answer", [SILENT, REFUSED, nak(401), nak(506), nak(None), nak(999)])
def test_every_recipe_ends_within_a_few_requests(vendor, answer):
    exchange = Exchange(coa.ways(vendor, FULL))
    for count in range(1, 20):
        exchange = coa.follow(exchange, answer)
        if isinstance(exchange, Outcome):
            assert exchange.sent == count <= 3 * len(coa.ways(vendor, FULL))
            return
    pytest.fail("it goes on for ever")


def test_answers_have_bounded_labels_and_words_for_people():
    assert [a.label for a in (ACK, SILENT, REFUSED, nak(503), nak(999), nak(None))] == [
        "ack", "silent", "refused", "nak-503", "nak", "nak",
    ]  # fmt: skip
    assert nak(503).text == "NAK 503, session context not found"
    assert "does not know" in nak(999).text
    assert (nak(None).text, ACK.text) == ("nak", "ack")
