"""A refused packet is read from its first bytes, whatever they are; scapy wrote them."""

from datetime import UTC, datetime
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from netguard.core.denials import read_denial, read_named, rule_of_prefix
from netguard.core.names import Mac

AT = datetime(2026, 11, 22, tzinfo=UTC)
HARDWARE = bytes.fromhex("641b2f000001")


def read(packet, prefix="netguard:patients/deny:", hardware=HARDWARE):
    return read_denial(AT, prefix, "tab0", hardware, bytes(packet))


@given(
    source=st.ip_addresses(v=4),
    destination=st.ip_addresses(v=4),
    port=st.integers(0, 65535),
    kind=st.sampled_from([TCP, UDP]),
)
def test_what_scapy_wrote_is_read_back(source, destination, port, kind):
    packet = IP(src=str(source), dst=str(destination)) / kind(dport=port)
    denial = read(packet)
    assert (denial.source, denial.destination, denial.port) == (source, destination, port)
    assert denial.protocol == ("tcp" if kind is TCP else "udp")
    assert (denial.rule, denial.mac) == ("patients/deny", Mac("64:1b:2f:00:00:01"))


def test_headers_with_options_fragments_and_other_protocols():
    assert read(IP(dst="1.2.3.4", ihl=6) / UDP(dport=53)).port is not None
    assert read(IP(dst="1.2.3.4", frag=10) / UDP(dport=53)).port is None
    assert read(IP(dst="1.2.3.4") / ICMP()).protocol == "icmp"
    assert read(IP(dst="1.2.3.4", proto=47)).protocol == "47"
    six = read(IPv6(dst="fd00:20::1") / TCP(dport=443))
    assert (six.destination, six.port) == (ip_address("fd00:20::1"), 443)


@pytest.mark.parametrize("cut", range(20))
def test_a_cut_header_is_no_denial(cut):
    assert read(bytes(IP(dst="1.2.3.4") / UDP(dport=53))[:cut]) is None


def test_a_cut_transport_header_has_no_port():
    assert read(bytes(IP(dst="1.2.3.4") / UDP(dport=53))[:22]).port is None
    assert read(IP(dst="1.2.3.4") / UDP(), hardware=b"").mac is None


@given(st.binary(max_size=96), st.text(max_size=30))
def test_no_bytes_and_no_prefix_crash_the_reader(packet, prefix):
    read(packet)
    read(packet, prefix)


def test_only_our_prefix_is_ours():
    assert rule_of_prefix("netguard:protected:") == "protected"
    assert rule_of_prefix("netguard:") is None
    assert rule_of_prefix("kernel: ") is None


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b'10.99.0.16 20.1.2.3 443 PR "evil.example"\n', "TLS for 'evil.example'"),
        (b'10.99.0.16 20.1.2.3 443 PR ""\n', "no TLS server name"),
        (b'10.99.0.16 20.1.2.3 443 PR "-"\n', "no TLS server name"),
        (b'10.99.0.16 20.1.2.3 443 PR "a\x1b[31m\xff"\n', "TLS for 'a"),
    ],
)
def test_a_refused_hello_names_its_server(line, why):
    source = ip_address("10.99.0.16")
    denial = read_named(AT, line, {source: "patients/deny"})
    assert (denial.rule, denial.source, denial.port) == ("patients/deny", source, 443)
    assert denial.why.startswith(why)
    assert denial.why.isprintable()
    assert denial.destination == ip_address("20.1.2.3")
    assert read_named(AT, line, {}).rule == "deny"


@given(st.binary(max_size=300))
def test_other_lines_are_no_refusals(data):
    assert read_named(AT, data, {}) is None


@pytest.mark.parametrize(
    "line",
    [
        b'10.99.0.16 20.1.2.3 443 SD "zoom.us"\n',
        b'10.99.0.16 x 443 PR "zoom.us"\n',
        b'10.99.0.16 20.1.2.3 4434343 PR "zoom.us"\n',
        b"[NOTICE] haproxy version",
    ],
)
def test_connections_that_ended_otherwise_are_no_refusals(line):
    assert read_named(AT, line, {}) is None
