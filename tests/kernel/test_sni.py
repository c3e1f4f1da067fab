"""Services of `sni: strict` with the real kernel and the real HAProxy: the name in a hello decides."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "dns"))
import field as names_field

from netguard.core import sni
from netguard.core.denials import read_named
from netguard.core.verdict import Flow, verdict

NAME = "n1.names.example"


@pytest.fixture(scope="module")
def field():
    with names_field.Field(names_field.strict(names_field.plan_of()), 1) as made:
        made.proxy()
        made.server = made.haproxy()
        yield made


def call(field, *said, name=NAME):
    return field.load(0, "call", names_field.GATEWAY, name, str(len(said)), *said)


def refused(field):
    lines = []
    while True:
        try:
            lines.append(field.refused.recv(4096))
        except BlockingIOError:
            return lines


def test_names_of_the_group_pass_and_another_name_on_the_same_address_is_refused_and_named(field):
    refused(field)
    seen = call(field, NAME, NAME.upper(), "us02web.zoom.us", "meet.chu.example", "evil.example")
    assert seen["passed"] == {
        NAME: 1,
        NAME.upper(): 1,
        "us02web.zoom.us": 1,
        "meet.chu.example": 1,
        "evil.example": 0,
    }
    at = datetime(2026, 11, 22, tzinfo=UTC)
    found = [d for line in refused(field) if (d := read_named(at, line, {}))]
    tablet = next(iter(field.tablets.values()))
    assert [(d.source, str(d.destination), d.port, d.why) for d in found] == [
        (tablet.address, seen["address"], 443, "TLS for 'evil.example'")
    ]


def test_a_hello_without_a_name_and_what_is_no_hello_are_refused(field):
    assert call(field, "", "plain")["passed"] == {"": 0, "plain": 0}


def test_names_that_are_never_resolved_and_names_that_only_end_alike_are_refused(field):
    said = ("x.chu.internal", "evilnames.example", "names.example", "zoom.us.evil.example")
    assert set(call(field, *said)["passed"].values()) == {0}


def test_quic_to_it_is_refused_and_other_datagrams_of_the_service_pass(field):
    address = call(field, NAME)["address"]
    tablet = next(iter(field.tablets))
    code = (
        "import socket,sys\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1)\n"
        "try:\n s.connect((sys.argv[1],int(sys.argv[2]))); s.send(b'x'); print(s.recv(9))\n"
        "except OSError as e: print(type(e).__name__)\n"
    )
    asked = field.run(tablet, sys.executable, "-c", code, address, "443").strip()
    assert asked == "OSError", "no route: refused by the kernel, not silence"
    plan = field.plan
    binding = field.tablets[tablet]
    learned = {names_field.SERVICE: frozenset({ip_address(address)})}
    inside = plan.sites[0].interfaces[0]

    def judged(protocol, port):
        flow = Flow(inside, binding.mac, binding.address, ip_address(address), protocol, port)
        return verdict(plan, flow, learned)

    assert not judged("udp", 443).allowed
    assert "QUIC" in judged("udp", 443).reason
    assert judged("udp", 8801).allowed
    assert judged("tcp", 443).allowed
    assert "must name the server" in judged("tcp", 443).reason


def test_the_port_of_the_check_is_no_way_in_by_itself(field):
    tablet = next(iter(field.tablets))
    port = sni.ports(field.plan)["patients"]
    code = (
        "import socket,sys\n"
        "try: socket.create_connection(('10.99.0.1',int(sys.argv[1])),1); print('in')\n"
        "except OSError as e: print('out')\n"
    )
    assert field.run(tablet, sys.executable, "-c", code, str(port)).strip() == "out"


def test_a_withdrawn_grant_lets_nothing_in(field):
    grant = next(
        g for g in field.plan.grants if (g.group, g.service) == ("patients", names_field.SERVICE)
    )
    field.run(
        field.gw, "nft", "delete", "element", "inet", "netguard", "grants", f"{{ {grant.mark:#x} }}"
    )
    assert call(field, NAME)["passed"] == {NAME: 0}
    field.run(
        field.gw, "nft", "add", "element", "inet", "netguard", "grants", f"{{ {grant.mark:#x} }}"
    )
    assert call(field, NAME)["passed"] == {NAME: 1}


def test_without_haproxy_the_service_is_closed(field):
    assert call(field, NAME)["passed"] == {NAME: 1}
    field.stop(field.server)
    seen = call(field, NAME, NAME)
    assert seen["passed"] == {NAME: 0}
    field.refused.close()
    (field.folder / "log.sock").unlink()
    field.server = field.haproxy()
    assert call(field, NAME)["passed"] == {NAME: 1}


def test_the_mark_of_a_strict_grant_is_another_one(field):
    """A flow that was let in before nobody had looked into it does not go on as one that was."""
    loose = replace(field.plan, services=names_field.plan_of().services)
    assert sni.ports(loose) == {}
    assert set(sni.ports(field.plan)) == {"demo", "family-room", "patients"}
