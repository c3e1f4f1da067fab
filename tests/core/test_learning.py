"""Which names, and which addresses in their answers."""

from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.learning import canary_names, embedded, lifetime, reply_ttl, special
from netguard.core.plan import compile_plan
from netguard.core.policy import Learned
from netguard.render.names import read, render

# Every line must leave the sets unchanged. dnsmasq's rebind protection or the libraries'
# is_global() let several of these pass.
REBINDING = [
    "10.10.0.5",
    "172.16.0.1",
    "192.168.1.1",
    "127.0.0.1",
    "169.254.1.1",
    "0.0.0.0",
    "255.255.255.255",
    "100.64.1.1",
    "224.0.0.251",
    "192.0.2.7",
    "198.18.0.1",
    "203.0.113.9",
    "240.0.0.1",
    "192.88.99.1",
    "192.0.0.8",
    "::ffff:10.10.0.5",
    "::10.10.0.5",
    "64:ff9b::a0a:5",
    "64:ff9b:1::a0a:5",
    "2002:a0a:5::1",
    "2001:0:a0a:5::1",
    "fd00::1",
    "::1",
    "fe80::1",
    "::",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "3fff::1",
    "5f00::1",
    "100::1",
]


@pytest.fixture(scope="module")
def names(example):
    return read(render(compile_plan(example, ["pellegrin"])))


@pytest.mark.parametrize("text", REBINDING)
def test_an_address_that_is_no_public_one_is_refused(names, text):
    assert names.rules.refusal(("zoom",), ip_address(text))


@pytest.mark.parametrize(
    "text", ["170.114.52.2", "2407:30c0::1", "2606:4700::1111", "157.240.0.60"]
)
def test_a_public_address_is_learned(names, text):
    assert names.rules.refusal(("zoom",), ip_address(text)) == ""


def test_the_hospitals_own_public_range_is_refused_by_name(names):
    assert names.rules.refusal(("zoom",), ip_address("198.51.100.7")) == "protected"


def test_a_private_server_is_learned_only_for_the_service_that_allows_it(names):
    bridge = ip_address("10.60.0.40")
    assert names.rules.refusal(("jitsi",), bridge) == ""
    assert names.rules.refusal(("zoom",), bridge) == "special"
    assert names.rules.refusal(("jitsi", "zoom"), bridge) == "special"


def test_the_tablets_own_network_is_never_learned(names):
    assert names.rules.refusal(("zoom",), ip_address("10.99.0.1")) == "own"


@given(st.ip_addresses(v=4, network="10.10.0.0/16"))
def test_no_disguise_of_a_protected_address_passes(names, address):
    value = int(address)
    disguises = [
        value | 0xFFFF << 32,
        value,
        (0x64FF9B << 96) | value,
        (0x64FF9B0001 << 80) | value,
        (0x2002 << 112) | (value << 80) | 1,
        (0x20010000 << 96) | (value << 64),
        (0x20010000 << 96) | (~value & 0xFFFFFFFF),
    ]
    for disguise in disguises:
        hidden = ip_address(disguise.to_bytes(16, "big"))
        assert names.rules.refusal(("zoom",), hidden), hidden


@given(st.ip_addresses())
def test_only_global_unicast_is_not_special(address):
    inside = any(
        address in ip_network(n)
        for n in ("2000::/3", "0.0.0.0/0")
        if ip_network(n).version == address.version
    )
    if not special(address):
        assert inside
        assert not address.is_private
        assert not address.is_multicast


def test_plain_addresses_embed_nothing():
    assert embedded(ip_address("10.0.0.1")) == ()
    assert embedded(ip_address("2606:4700::1")) == ()


def test_names_are_matched_at_label_borders_and_for_the_group_only(names):
    services = names.rules.services_for
    assert services("patients", "us02web.zoom.us") == ("zoom",)
    assert services("patients", "zoom.us") == ("zoom",)
    assert services("patients", "evilzoom.us") == ()
    assert services("patients", "zoom.us.evil.example") == ()
    assert services("quarantine", "zoom.us") == ()
    assert services("nobody", "zoom.us") == ()


def test_never_wins_over_a_wildcard(names):
    ban = names.rules.never[0]
    assert names.rules.services_for("patients", f"x.{ban.name}") == ()


def test_canaries_are_told_apart(names):
    assert names.rules.is_canary("use-application-dns.net")
    assert not names.rules.is_canary("zoom.us")
    assert canary_names([]) == frozenset()


@given(st.integers(0, 2**32))
def test_an_element_outlives_the_answer_that_announced_it(ttl):
    learned = Learned()
    assert (
        timedelta(seconds=reply_ttl(learned, ttl))
        < lifetime(learned, ttl)
        <= timedelta(seconds=3660)
    )
    assert lifetime(Learned(grace=timedelta(0)), ttl) > timedelta(0)


def test_a_names_file_of_another_version_is_refused(example):
    text = render(compile_plan(example, ["pellegrin"])).replace('"version": 2', '"version": 99')
    with pytest.raises(ValueError, match="version 99"):
        read(text)
