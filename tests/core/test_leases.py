"""What is read of a DHCP server's answer, beside scapy; what is no whole answer is none."""

from dataclasses import replace
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import IP, UDP

from netguard.core.leases import Ack, read_ack, site_of
from netguard.core.names import Mac
from netguard.core.plan import compile_plan

MAC = Mac.parse("64:1b:2f:00:00:01")


def answer(kind="ack", lease=3600, mac=MAC, op=2, source=67, **more):
    options = [("message-type", kind), ("server_id", "10.1.1.67")]
    options += [("lease_time", lease)] if lease is not None else []
    body = {"op": op, "yiaddr": "10.99.0.17", "giaddr": "10.99.0.1", **more}
    head = IP(src="10.1.1.67", dst="10.99.0.1") / UDP(sport=source, dport=67)
    chaddr = bytes.fromhex(str(mac).replace(":", ""))
    return bytes(head / BOOTP(chaddr=chaddr, **body) / DHCP(options=[*options, "end"]))


def test_an_acknowledgement_is_read_as_scapy_wrote_it():
    assert read_ack(answer()) == Ack(
        ip_address("10.1.1.67"), ip_address("10.99.0.1"), MAC, ip_address("10.99.0.17"), 3600
    )


def test_a_lease_for_ever_is_a_week():
    read = read_ack(answer(lease=0xFFFFFFFF))
    assert read is not None
    assert read.seconds == 7 * 86400


@pytest.mark.parametrize(
    "packet",
    [
        answer("nak"),
        answer("offer"),
        answer(lease=None),
        answer(lease=0),
        answer(op=1),
        answer(source=68),
        answer(yiaddr="0.0.0.0"),
        answer(htype=6),
        answer(hlen=16),
        b"",
        b"\x45",
        b"\x65" + answer()[1:],
        b"\x4f" + answer()[1:],
        answer().replace(b"\x63\x82\x53\x63", b"\x63\x82\x53\x64"),
    ],
    ids=lambda packet: packet[:4].hex() + str(len(packet)),
)
def test_anything_else_is_no_acknowledgement(packet):
    assert read_ack(packet) is None


@pytest.mark.parametrize("pads", [0, 1, 2, 3])
def test_padding_and_an_option_that_ends_with_the_packet_are_read(pads):
    """RFC 2132 3.1, 3.2: pads stand anywhere; some servers leave the end out."""
    packet = answer()
    options = packet.index(b"\x63\x82\x53\x63") + 4
    body = packet[options:].rstrip(b"\0").removesuffix(b"\xff")
    read = read_ack(packet[:options] + b"\0" * pads + body)
    assert read == read_ack(packet)
    assert read is not None
    # One byte less, and the lease time is no whole one.
    assert read_ack(packet[:options] + b"\0" * pads + body[:-1]) is None


def test_every_cut_of_an_answer_is_none_or_the_answer():
    whole = answer()
    assert {read_ack(whole[:size]) for size in range(len(whole))} <= {None, read_ack(whole)}


@given(st.binary(max_size=600))
def test_no_bytes_break_it(data):
    read_ack(data)
    read_ack(answer()[:260] + data)


def test_only_what_gives_a_tablet_of_the_site_an_address_there_is_taken(small):
    plan = compile_plan(small(), ["pellegrin"])
    site = plan.sites[0]
    server, gateway = ip_address("10.1.1.67"), site.gateways[0]
    plan = replace(plan, sites=(replace(site, dhcp=False, dhcp_servers=(server,)),))
    free = list(ip_network(site.networks[0]).hosts())[300]
    good = Ack(server, gateway, MAC, free, 3600)
    assert site_of(plan, good) == plan.sites[0]
    for wrong in (
        replace(good, server=ip_address("10.1.1.68")),
        replace(good, relay=ip_address("10.99.8.1")),
        replace(good, mac=Mac.parse("64:1b:2f:00:00:99")),
        replace(good, address=ip_address("10.10.0.5")),
        replace(good, address=gateway),
    ):
        assert site_of(plan, wrong) is None


def test_a_lease_is_the_address_of_a_tablet_where_the_hospital_serves_dhcp(small):
    policy = small()
    site = replace(
        policy.sites["pellegrin"], addresses="external", dhcp_servers=(ip_address("10.1.1.67"),)
    )
    policy = replace(policy, sites={**policy.sites, "pellegrin": site})
    address = ip_address("10.99.0.99")
    plan = compile_plan(policy, ["pellegrin"], {}, {("pellegrin", MAC): address})
    assert plan.binding["pellegrin", MAC].address == address
    others = {b.address for b in plan.bindings if b.mac != MAC}
    assert others == {None}
