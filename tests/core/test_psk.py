"""Wi-Fi keys: what is made, in which attribute it goes, what is read back; pyrad and segno are the oracles."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrad.packet import Packet as PyradPacket
from segno import helpers

from netguard.core import psk, radius
from netguard.core.coa import RECIPES
from netguard.core.psk import Form
from netguard.core.radius import Code, Type
from netguard.errors import BadValue
from netguard.rules.schema import VENDORS

SECRET, AUTHENTICATOR = b"0123456789abcdef0123", bytes(range(16))
PRINTABLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=8, max_size=63)


@given(st.randoms(use_true_random=False))
def test_a_key_can_be_typed_by_a_person_and_is_taken_by_every_network(dice):
    key = psk.generate(dice.choice)
    assert re.fullmatch(r"([a-z0-9]{4}-){3}[a-z0-9]{4}", key)
    assert not set(key) & set("b8il1o0s5z2")
    assert psk.check(key) == key


def test_nobody_guesses_a_key_and_no_two_are_alike():
    assert len(set(psk.ALPHABET)) == len(psk.ALPHABET) == 25
    assert 74 < psk.BITS < 75
    dice = random.Random(1)
    assert len({psk.generate(dice.choice) for _ in range(5000)}) == 5000


@pytest.mark.parametrize(
    "key", ["", "seven77", "x" * 64, "tab\there1", "caféléger", "null\0null", "new\nline0"]
)
def test_what_no_network_takes_is_refused_and_not_repeated(key):
    with pytest.raises(BadValue, match="8 to 63 printable") as refused:
        psk.check(key)
    assert not key or key not in str(refused.value)


def test_every_product_is_one_that_the_rules_know():
    assert set(psk.FORMS) <= set(VENDORS)
    assert set(psk.FORMS) <= set(RECIPES)
    assert set(psk.FORMS.values()) == set(Form)
    # Of these nobody has shown an attribute.
    assert set(VENDORS) - set(psk.FORMS) == {"unifi", "mist", "extreme", "huawei", "other"}


def hidden(value: bytes, salt=None) -> bytes:
    """What pyrad makes of a value that is hidden with a salt (RFC 2868 3.5)."""
    packet = PyradPacket(code=2, id=1, secret=SECRET, authenticator=AUTHENTICATOR)
    made = packet.SaltCrypt(value)
    return made if isinstance(made, bytes) else bytes(made)


@given(PRINTABLE)
def test_what_pyrad_hides_is_read(key):
    raw = hidden(key.encode())
    assert radius.shown_password(raw, SECRET, AUTHENTICATOR) == key.encode()


@given(st.binary(max_size=80))
def test_hostile_bytes_are_refused_or_read_as_something_short(raw):
    try:
        found = radius.shown_password(raw, SECRET, AUTHENTICATOR)
    except BadValue:
        return
    assert len(found) < len(raw)


@pytest.mark.parametrize(
    "raw", [b"", b"\x80", b"\x80\0", b"\0\0" + bytes(16), b"\x80\0" + bytes(15)]
)
def test_what_cannot_be_hidden_text_is_refused(raw):
    with pytest.raises(BadValue):
        radius.shown_password(raw, SECRET, AUTHENTICATOR)


def test_another_secret_reads_no_key():
    raw = hidden(b"kchq-p76n-rk4h-qdvm")
    # One length in seven or so is possible by chance; then what is read is another text.
    for other in (b"another-secret-00", b"another-secret-01", b"another-secret-02"):
        try:
            assert radius.shown_password(raw, other, AUTHENTICATOR) != b"kchq-p76n-rk4h-qdvm"
        except BadValue:
            continue


def reply(*attributes) -> radius.Packet:
    raw = radius._packed(Code.ACCESS_ACCEPT, 1, bytes(16), attributes)
    return radius.decode(raw)


SENT = {
    Form.TUNNEL_PASSWORD: lambda v: [(int(Type.TUNNEL_PASSWORD), b"\0" + hidden(v[0][1]))],
    Form.CISCO: lambda v: [radius.vendor(9, 1, raw) for _, raw in v],
    Form.ARUBA: lambda v: [radius.vendor(14823, 44, hidden(v[0][1]))],
    Form.RUCKUS: lambda v: [radius.vendor(25053, 142, v[0][1])],
    Form.MIKROTIK: lambda v: [radius.vendor(14988, 16, v[0][1])],
}


@pytest.mark.parametrize("form", Form)
@given(key=PRINTABLE)
def test_each_form_is_read_back_and_taken_for_no_other(form, key):
    wanted = psk.values(form, "CHU-TABLETTES", key)
    found = psk.all_said(
        reply(*SENT[form](wanted), radius.vendor(9, 1, "other=1")), AUTHENTICATOR, SECRET
    )
    assert found == {form: wanted}


def test_the_master_key_is_that_of_the_standard():
    """IEEE 802.11-2020, J.4.2, the first test vector."""
    ((name, value),) = psk.values(Form.RUCKUS, "IEEE", "password")
    assert name == "Ruckus-DPSK"
    wanted = "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e"
    assert value.hex() == "00" + wanted


SSID = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x2FF, exclude_categories=("Cs", "Cc", "Zs")),
    min_size=1,
    max_size=32,
)


@given(SSID, PRINTABLE)
def test_the_text_of_the_code_is_what_segno_writes(ssid, key):
    """But for the comma, which ZXing's page names among what is escaped: see the test below."""
    ssid, key = ssid.replace(",", "."), key.replace(",", ".")
    assert psk.wifi_text(ssid, key) == helpers.make_wifi_data(
        ssid=ssid, password=key, security="WPA"
    )


@given(SSID, PRINTABLE)
def test_a_reader_finds_network_and_key_whatever_they_hold(ssid, key):
    head, rest = psk.wifi_text(ssid, key).split(":", 1)
    fields = re.findall(r"([TSP]):((?:\\.|[^\\;])*);", rest)
    found = {name: re.sub(r"\\(.)", r"\1", value) for name, value in fields}
    assert (head, found) == ("WIFI", {"T": "WPA", "S": ssid, "P": key})
