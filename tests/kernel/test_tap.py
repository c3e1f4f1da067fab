"""The tap in a namespace of its own: the kernel hands over the packets of some ports, and frames between others."""

import json
import subprocess
import sys

import pytest

from tests.kernel.conftest import room

TAP = """
import json, sys, time
from netguard.adapters.tap import Tap
from netguard.core.doctor.frames import ETHERNET, RAW, Frame, datagram, macs
tap = Tap([1812, 1813, 3799], ["tab9"])
print("ready", flush=True)
found = []
for caught in tap.caught(float(sys.argv[1]), 100.0):
    frame = Frame(caught.at, ETHERNET if caught.is_frame else RAW, caught.packet)
    one = macs(frame) if caught.is_frame else datagram(frame)
    if caught.is_frame:
        found.append(["frame", one.source, one.destination, len(caught.packet)])
    else:
        found.append([one.source, one.source_port, one.destination_port] if one else ["odd"])
print(json.dumps([found, tap.dropped(), caught.at > 100.0]))
tap.close()
"""
SEND = """
from scapy.layers.inet import IP, TCP, UDP, ICMP
from scapy.layers.inet6 import IPv6, ICMPv6EchoRequest
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.sendrecv import sendp
from scapy.config import conf
conf.verb = 0
to = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:09")
four, six = IP(src="10.97.0.1", dst="10.97.0.2"), IPv6(src="fd00::1", dst="fd00::2")
body = Raw(b"x" * 200)
sendp([
    # Wanted: each port, from and to, both families, with options.
    to / four / UDP(sport=1, dport=1812) / body,
    to / four / UDP(sport=1813, dport=2) / body,
    to / IP(src="10.97.0.1", dst="10.97.0.2", options=[b"\\x01\\x01\\x01\\x00"]) / UDP(sport=3, dport=3799),
    to / six / UDP(sport=4, dport=1813) / body,
    to / six / UDP(sport=3799, dport=5) / body,
    # Not wanted: other ports, other protocols, later fragments, numbers elsewhere.
    to / four / UDP(sport=1811, dport=1814) / Raw(b"\\x07\\x14" * 20),
    to / four / TCP(sport=1812, dport=1812),
    to / four / ICMP() / Raw(b"\\x07\\x14" * 20),
    to / IP(src="10.97.0.1", dst="10.97.0.2", frag=5, proto=17) / Raw(b"\\x00\\x01\\x07\\x14" * 4),
    to / six / UDP(sport=53, dport=1815) / Raw(b"\\x07\\x14" * 20),
    to / six / ICMPv6EchoRequest(data=b"\\x07\\x14" * 20),
    to / six / TCP(sport=1812, dport=1812),
    Ether(src="02:00:00:00:00:01", dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="10.97.0.2"),
    # From one of the others to another: its head, however long it is.
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / four / UDP(sport=9, dport=9) / body,
], iface="far9")
"""
OWN = "02:00:00:00:00:09"


@pytest.fixture
def inside():
    """A namespace with tab9 of the address above, whose other end far9 is there too, in a second one."""
    with room() as host, room() as other:
        host.ip(f"link add tab9 address {OWN} type veth peer name far9 netns {other.pid}")
        host.ip("link set tab9 up")
        other.ip("link set far9 up")
        yield host, other


def test_only_the_ports_and_frames_between_others_are_handed_over(inside):
    host, other = inside
    words = host.words(sys.executable, "-c", TAP, "6")
    tap = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert tap.stdout.readline() == "ready\n"
    done = other.run(sys.executable, "-c", SEND)
    assert done.returncode == 0, done.stderr
    found, dropped, timed = json.loads(tap.communicate(timeout=60)[0])
    packets = sorted(map(str, (each for each in found if each[0] != "frame")))
    assert packets == sorted(
        map(
            str,
            [
                ["10.97.0.1", 1, 1812],
                ["10.97.0.1", 1813, 2],
                ["10.97.0.1", 3, 3799],
                ["fd00::1", 4, 1813],
                ["fd00::1", 3799, 5],
            ],
        )
    )
    assert [each for each in found if each[0] == "frame"] == [
        ["frame", "02:00:00:00:00:01", "02:00:00:00:00:02", 64]
    ]
    assert dropped == 0
    assert timed


def test_it_needs_the_right_to_listen_and_an_interface_that_is_there(inside):
    host, _ = inside
    code = "from netguard.adapters.tap import Tap; Tap([1812], ['none9'])"
    assert "listening: No such device" in host.run(sys.executable, "-c", code).stderr
    bare = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-all", "--")
    done = host.run(*bare, sys.executable, "-c", code)
    assert "listening needs CAP_NET_RAW, try as root" in done.stderr


INTERRUPTED = """
import socket
from netguard.core.doctor.heard import Ear, Neighbours
from netguard.daemon.doctor.radius import listen

def said(_past):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"no RADIUS", ("127.0.0.1", 1812))
    raise KeyboardInterrupt

ear = Ear([])
listen(ear, Neighbours([]), [], 60.0, said)
print(ear.unread)
"""


def test_what_had_come_before_ctrl_c_is_heard(inside):
    """It waits in the socket at that moment, and nobody has looked at it."""
    host, _ = inside
    host.ip("link set lo up")
    done = host.run(sys.executable, "-c", INTERRUPTED)
    assert (done.stdout, done.returncode) == ("1\n", 0), done.stderr
