"""Services of `sni: strict` with the real kernel and the real HAProxy: the name in a hello decides."""

import sys
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, sleep

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "dns"))
import field as names_field

from netguard.core import sni
from netguard.core.denials import read_named
from netguard.core.names import Ports
from netguard.core.verdict import Flow, verdict
from netguard.render import nftables

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


# A server that talks without being asked, once the hello has come, and counts who is connected.
TALKS = """
import socket, threading, time
one = socket.create_server(("", 8443)); live = []
def talk(c):
    live.append(c)
    try:
        c.recv(4096)
        while True: c.sendall(b"x"); time.sleep(0.02)
    except OSError: pass
    live.remove(c); c.close()
def count():
    two = socket.create_server(("127.0.0.1", 8444))
    while True:
        c, _ = two.accept(); c.sendall(str(len(live)).encode()); c.close()
threading.Thread(target=count, daemon=True).start()
while True: threading.Thread(target=talk, args=(one.accept()[0],), daemon=True).start()
"""
CONNECTED = "import socket; print(socket.create_connection(('127.0.0.1', 8444)).recv(9).decode())"
# Says when the first byte came, listens on, and says how much came after a line on its input.
HEARS = """
import socket, sys, threading
from netguard.lab.dnsload import hello
c = socket.create_connection((sys.argv[1], 8443), 5); c.send(hello(sys.argv[2])); c.settimeout(3)
heard, withdrawn = 0, None
def told():
    global withdrawn
    sys.stdin.readline(); withdrawn = heard
    print("noted", flush=True)
threading.Thread(target=told, daemon=True).start()
try:
    while data := c.recv(1):
        heard += 1
        if heard == 5: print("talking", flush=True)
    end = "end"
except OSError as error: end = type(error).__name__
print(heard - withdrawn, end)
"""


# Greets, and is silent from then on; counts who is connected, as the one above does.
GREETS = TALKS.replace(
    'while True: c.sendall(b"x"); time.sleep(0.02)', 'c.sendall(b"xxxxx"); c.recv(9)'
)


def strict():
    """The plan of the field with its service `sni: strict`."""
    loose = names_field.plan_of()
    services = tuple(
        replace(s, sni="strict", ports=(Ports("tcp", 443, 443), Ports("tcp", 8443, 8443)))
        if s.name == names_field.SERVICE
        else s
        for s in loose.services
    )
    return replace(loose, services=services)


def test_a_call_on_which_nobody_says_a_word_ends_on_both_sides_after_a_withdrawal():
    """HAProxy asks a silent tablet whether it is there; scaled from two minutes to a second."""
    with names_field.Field(strict(), 1) as field:
        field.proxy()
        field.haproxy(alive="1s")
        field.start(field.outside, sys.executable, "-c", GREETS)
        address = call(field, NAME)["address"]
        tablet = next(iter(field.tablets))
        patient = HEARS.replace("settimeout(3)", "settimeout(90)")
        listening = field.open(tablet, sys.executable, "-c", patient, address, NAME)
        assert listening.stdout.readline() == "talking\n"
        connected = [sys.executable, "-c", CONNECTED]
        sleep(2.5)
        assert field.run(field.outside, *connected).strip() == "1", "it lives while it is allowed"
        # What a whole apply does where nobody has a strict service afterwards.
        without = replace(field.plan, services=names_field.plan_of().services, grants=())
        field.run(field.gw, "nft", "-f", "-", stdin=nftables.render(without))
        end = monotonic() + 30
        while field.run(field.outside, *connected).strip() != "0":
            assert monotonic() < end, "the server's side is still open"
            sleep(0.1)


def test_a_call_that_is_running_through_haproxy_stops_at_once_on_both_sides():
    """Its tablet hears nothing more, and the server is told: no leg of it stays behind."""
    with names_field.Field(strict(), 1) as field:
        field.proxy()
        field.haproxy()
        field.start(field.outside, sys.executable, "-c", TALKS)
        address = call(field, NAME)["address"]
        tablet = next(iter(field.tablets))
        listening = field.open(tablet, sys.executable, "-c", HEARS, address, NAME)
        assert listening.stdout.readline() == "talking\n"
        connected = [sys.executable, "-c", CONNECTED]
        assert field.run(field.outside, *connected).strip() == "1"
        grant = next(g for g in field.plan.grants if (g.group, g.service) == ("patients", "zoom"))
        field.run(
            field.gw,
            "nft",
            "delete",
            "element",
            "inet",
            "netguard",
            "grants",
            f"{{ {grant.mark:#x} }}",
        )
        out, _ = listening.communicate("now\n", timeout=60)
        after, how = out.splitlines()[-1].split()
        assert (after, how) == ("0", "TimeoutError")
        end = monotonic() + 30
        while field.run(field.outside, *connected).strip() != "0":
            assert monotonic() < end, "the server's side is still open"
            sleep(0.1)
