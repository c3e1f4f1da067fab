"""The words of the field: what is read, what is refused, and what a refusal says."""

from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core.names import (
    Domain,
    Frequency,
    Mac,
    Ports,
    Upstream,
    parse_address,
    parse_duration,
    parse_fqdn,
    parse_interface,
    parse_ipv4,
    parse_name,
    parse_network,
    parse_number,
    parse_rate,
    parse_unicast_mac,
    parse_vlan,
    shown,
    spelled,
    suggest,
    suggest_of,
)
from netguard.errors import BadValue

macs = st.binary(min_size=6, max_size=6)


def spellings(raw):
    h = raw.hex()
    pairs = [h[i : i + 2] for i in range(0, 12, 2)]
    quads = [h[i : i + 4] for i in range(0, 12, 4)]
    return [
        h,
        ":".join(pairs),
        "-".join(pairs),
        ".".join(quads),
        "-".join(quads),
        f"{h[:6]}-{h[6:]}",
        f"{h[:6]}:{h[6:]}",
    ]


def refused(parse, text):
    with pytest.raises(BadValue) as caught:
        parse(text)
    return caught.value.finding, caught.value.text


@given(macs, st.booleans())
def test_every_spelling_of_a_mac_is_the_same_mac(raw, upper):
    read = {Mac.parse(s.upper() if upper else s) for s in spellings(raw)}
    assert read == {Mac(raw.hex(":"))}
    assert str(read.pop()) == raw.hex(":")


@given(st.text(alphabet="0123456789abcdefABCDEFg:-. \n٠", max_size=20))
def test_whatever_passes_for_a_mac_has_twelve_digits_and_nothing_else(text):
    with suppress(BadValue):
        mac = Mac.parse(text)
        assert text.translate(str.maketrans("", "", ":-.")).lower() == mac.text.replace(":", "")


@pytest.mark.parametrize(
    "text",
    ["", "10", "10.0.0", "2aabbccddee", "02-00-5E-10-00-01:Tour", "02:00:5e:10:00:01\n",
     "02:00:5e-10-00-01", "2:0:5e:10:0:1", "02:00:5e:10:00:01:02", "02:00:5e:10:00:٠١"],
)  # fmt: skip
def test_nothing_else_is_a_mac(text):
    assert refused(Mac.parse, text)[0] == "bad-mac"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ff:ff:ff:ff:ff:ff", "the broadcast address"),
        ("01:00:5e:00:00:fb", "a multicast address"),
        ("000000000000", "all zero"),
    ],
)
def test_an_address_of_no_device_is_refused_by_its_kind(text, kind):
    assert refused(parse_unicast_mac, text) == (
        "bad-mac",
        f"'{text}' is {kind}, write the device's own address",
    )


def test_the_mac_of_a_device_is_read_and_its_bits_are_known():
    mac = parse_unicast_mac("0228.6daa.0110")
    assert (mac.is_local, mac.is_group) == (True, False)
    assert not parse_unicast_mac("3c:28:6d:aa:01:10").is_local


@given(st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True))
def test_two_pairs_of_names_never_give_one_kernel_name(text):
    hyphens = text.endswith("-") or "--" in text
    if hyphens:
        assert refused(parse_name, text)[0] == "bad-name"
    else:
        assert parse_name(text) == text
        assert "__" not in text.replace("-", "_")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a-", "'a-' ends in '-', write a"),
        ("x--y", "'x--y' holds '--', write x-y"),
        ("Cardio", "'Cardio' is not a name, write a lower-case letter"),
        ("8x8", "'8x8' is not a name"),
        ("a\n", r"'a\n' is not a name"),
        ("a" * 32, "is not a name"),
        ("}; flush ruleset; #", "is not a name"),
        ("", "'' is not a name"),
    ],
)
def test_a_name_cannot_carry_syntax(text, said):
    finding, message = refused(parse_name, text)
    assert finding == "bad-name"
    assert said in message


def test_an_interface_has_at_most_fifteen_characters():
    assert parse_interface("eth0.640") == "eth0.640"
    assert refused(parse_interface, "a" * 16)[0] == "bad-name"


@given(st.integers(0, 99_999))
def test_a_number_is_read_as_it_is_written(number):
    assert parse_number(str(number), "count", 0, 99_999) == number


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0640", "VLAN '0640' has a leading zero, write 640"),
        ("1", "VLAN 1 is out of range, 2 to 4094"),
        ("4095", "VLAN 4095 is out of range, 2 to 4094"),
        ("-1", "'-1' is not a VLAN, write a number from 2 to 4094"),
        ("30.5", "is not a VLAN"),
        ("٦٤٠", "is not a VLAN"),
    ],
)
def test_a_vlan_is_2_to_4094(text, said):
    finding, message = refused(parse_vlan, text)
    assert finding == "vlan-range"
    assert said in message
    assert parse_vlan("640") == 640


@given(st.ip_addresses())
def test_an_address_is_read_in_its_usual_spelling(address):
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    "text", ["10.0.0", "10.0.0.01", "0x0a.0.0.1", "fe80::1%eth0", "", "١٠.0.0.1"]
)
def test_nothing_else_is_an_address(text):
    assert refused(parse_address, text)[0] == "bad-cidr"


def test_where_only_ipv4_will_do_ipv6_is_refused():
    assert parse_ipv4("10.0.0.1") == ip_address("10.0.0.1")
    assert refused(parse_ipv4, "fd00::1") == ("bad-cidr", "'fd00::1' is not an IPv4 address")


@given(st.ip_addresses(), st.integers(0, 128))
def test_a_network_has_no_bits_right_of_its_prefix(address, length):
    length = min(length, address.max_prefixlen)
    network = ip_network(f"{address}/{length}", strict=False)
    assert parse_network(str(network)) == network
    if network.network_address != address:
        finding, message = refused(parse_network, f"{address}/{length}")
        assert finding == "host-bits"
        assert message.endswith(f"did you mean {network}?")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10.0.0.1", "10.0.0.1 has no prefix length, write 10.0.0.1/32"),
        ("fd00::1", "write fd00::1/128"),
        ("10.0.0", "'10.0.0' is not a network"),
        ("10.0.0.0/33", "'10.0.0.0/33' is not a network"),
        ("10.0.0.0/08", "is not a network"),
        ("10.0.0.0/", "is not a network"),
        ("10.0.0.0/255.0.0.0", "is not a network"),
    ],
)
def test_nothing_else_is_a_network(text, said):
    finding, message = refused(parse_network, text)
    assert finding == "bad-cidr"
    assert said in message


@given(st.sampled_from(["tcp", "udp"]), st.integers(1, 65535), st.integers(1, 65535))
def test_ports_are_read_back_as_they_are_shown(protocol, one, other):
    ports = Ports(protocol, min(one, other), max(one, other))
    assert Ports.parse(str(ports)) == ports
    assert ports.covers(protocol, one)
    assert not ports.covers("tcp" if protocol == "udp" else "udp", one)
    assert not ports.covers(protocol, ports.last + 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("22:30", "write tcp/443"),
        ("443", "write tcp/443"),
        ("icmp/1", "write tcp/443"),
        ("tcp/0", "ports are 1 to 65535"),
        ("udp/3478-99999", "'udp/3478-99999' is not a port, ports are 1 to 65535"),
        ("udp/20-10", "ends before it starts, write udp/10-20"),
    ],
)
def test_nothing_else_is_a_port(text, said):
    finding, message = refused(Ports.parse, text)
    assert finding == "bad-port"
    assert said in message


labels = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True).filter(
    lambda label: not label.startswith("xn--") and label not in {"local", "localhost"}
)
names = st.lists(labels, min_size=2, max_size=4).map(".".join)


@given(names)
def test_a_host_name_is_read_lower_case_and_without_the_last_dot(name):
    assert parse_fqdn(name.upper() + ".") == name


@given(names, names)
def test_a_wildcard_covers_what_is_below_and_not_the_name_itself(name, below):
    wild = Domain.parse(f"*.{name}")
    assert str(wild) == f"*.{name}"
    assert wild.covers(f"{below}.{name}")
    assert not wild.covers(name)
    assert not wild.covers(f"x{name}")
    assert Domain.parse(name).covers(name)
    assert not Domain.parse(name).covers(f"{below}.{name}")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://zoom.us/j", "'https://zoom.us/j' has a scheme, write only the host name zoom.us"),
        ("zoom.us/j", "has a path, write only the host name zoom.us"),
        ("/", "'/' has a path, write only the host name"),
        ("zoom.us:443", "has a port, write only the host name zoom.us and the port under ports"),
        ("zoom us", "has a space"),
        ("10.60.0.40", "is an address, use networks: [10.60.0.40/32]"),
        ("[fd00::1]", "is an address, use networks: [fd00::1/128]"),
        ("a.*.org", "write *.example.org"),
        ("a..org", "empty label"),
        ("", "empty label"),
        ("a" * 64 + ".org", "more than 63"),
        ("a_b.org", "underscore"),
        ("-a.org", "inner '-'"),
        ("localhost", "the machine or the local link"),
        ("printer.local", "the machine or the local link"),
        ("meet", "'meet' is a bare label"),
        (".".join(["a" * 60] * 5), "longer than 253"),
        ("10.0.0", "'10.0.0' ends in a number and is no host name; use networks for addresses"),
        ("0x0a.0.0.1", "use networks"),
        ("meet.0x1f", "use networks"),
        ("\u0644.\u0644\u200d.org", "is not a host name"),
        ("*.a..org", "'*.a..org' has an empty label"),
        ("*.https://a", "'*.https://a' has a scheme"),
        ("*.\u200d.org", r"'*.\u200d.org' "),
    ],
)
def test_what_is_no_host_name_is_refused_by_its_kind(text, said):
    finding, message = refused(Domain.parse, text)
    assert finding == "bad-domain"
    assert said in message


def test_a_name_in_another_script_becomes_its_ascii_form():
    assert parse_fqdn("chаt.example.org") == "xn--cht-7cd.example.org"


def test_a_wildcard_on_a_top_level_domain_is_a_public_suffix_and_only_right_in_a_ban():
    assert refused(Domain.parse, "*.fr") == (
        "public-suffix",
        "'*.fr' is a public suffix, it opens every site below .fr",
    )
    assert refused(Domain.parse, "*")[0] == "open-world"
    assert Domain.parse("*.internal", top_level=True) == Domain("internal", wildcard=True)


@given(st.integers(0, 10**9 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_duration_is_its_number_of_units_up_to_a_hundred_years(count, unit):
    seconds = count * {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}[unit]
    if seconds > 36500 * 86400:
        assert refused(parse_duration, f"{count}{unit}")[0] == "bad-duration"
    else:
        assert parse_duration(f"{count}{unit}") == timedelta(seconds=seconds)


@given(st.integers(0, 999_999_999))
def test_a_span_is_spelled_as_it_is_read(milliseconds):
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(spelled(span)) == span


def test_a_span_is_spelled_in_the_largest_unit_that_divides_it():
    words = ["14d", "36h", "90m", "61s", "1500ms"]
    assert [spelled(parse_duration(word)) for word in words] == words
    assert spelled(parse_duration("48h")) == "2d"


def test_a_duration_needs_its_unit():
    assert refused(parse_duration, "60")[1] == "'60' is not a duration, write 60s"
    assert "write 60s, 15m, 1h or 30d" in refused(parse_duration, "soon")[1]


@pytest.mark.parametrize(
    ("text", "bits"), [("500kbit", 500_000), ("1.5Mbit", 1_500_000), ("1Gbit", 10**9)]
)
def test_a_rate_is_bits_per_second(text, bits):
    assert parse_rate(text) == bits


@pytest.mark.parametrize("text", ["4M", "4", "0Mbit", "-1Mbit", "4Mbits"])
def test_nothing_else_is_a_rate(text):
    assert refused(parse_rate, text)[0] == "bad-rate"


@given(st.integers(1, 999_999), st.sampled_from("smhd"))
def test_a_frequency_is_read_back_as_it_is_shown(count, unit):
    assert str(Frequency.parse(f"{count}/{unit}")) == f"{count}/{unit}"


def test_a_day_may_be_written_out_and_never_is_no_frequency():
    assert Frequency.parse("1/day") == Frequency(1, "d")
    assert refused(Frequency.parse, "0/s")[0] == "bad-rate"
    assert refused(Frequency.parse, "5")[0] == "bad-rate"


def test_the_nearest_known_word_is_offered():
    assert suggest("zooom", ["zoom", "teams"]) == ", did you mean 'zoom'?"
    assert suggest("xyz", ["zoom"]) == ""


def test_known_words_are_listed_the_nearest_first_and_not_without_end():
    assert suggest_of("zooom", []) == ", none is defined"
    assert suggest_of("zooom", ["teams", "zoom"]) == ", did you mean 'zoom'? known: zoom, teams"
    assert suggest_of("q", ["b", "a"]) == ", known: a, b"
    assert suggest_of("q", "abcdefghij", limit=3) == ", known: a, b, c, ..."


def test_hostile_text_is_shown_escaped_and_clipped():
    assert shown("a\x1b[31m\n") == r"'a\x1b[31m\n'"
    assert shown("a" * 100) == "'" + "a" * 64 + "...'"


@pytest.mark.parametrize("text", ["10.1.1.53", "2001:db8::53", "tls://10.1.1.53#dns.chu.example"])
def test_an_upstream_reads_back_as_it_is_written(text):
    assert str(Upstream.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://10.1.1.53", "'https' is not spoken here"),
        ("tls://10.1.1.53", "lacks the name of the resolver's certificate"),
        ("tls://10.1.1.53#", "lacks the name of the resolver's certificate"),
        ("tls://dns.chu.example#dns.chu.example", "is not an IP address"),
        ("tls://10.1.1.53#bad name", "has a space"),
        ("10.1.1.530", "is not an IP address"),
    ],
)
def test_an_upstream_that_is_none_says_what_to_write(text, words):
    with pytest.raises(BadValue, match=words):
        Upstream.parse(text)
