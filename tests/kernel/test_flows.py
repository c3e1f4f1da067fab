"""What each connection has sent, as the kernel counts it: read back through ctnetlink."""

import json
import sys

import pytest

READ = """
import json
from netguard.adapters import conntrack
print(json.dumps(sorted(conntrack.flows().values())))
"""
FORGET = """
from ipaddress import ip_address
from netguard.adapters import conntrack
conntrack.forget([ip_address("10.99.0.16")])
"""
OPEN = """
import socket, sys
kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}[sys.argv[2]]
with socket.socket(type=kind) as one:
    one.bind((sys.argv[1], 0))
    one.settimeout(1)
    one.connect(("10.255.0.1", 9))
    one.send(b"x")
"""
TRACKED = """
table inet t {
  chain f {
    type filter hook forward priority 0;
    ct state new accept
  }
}
"""


@pytest.fixture
def counted(bench):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    # A table with a rule on the state of connections is what makes the kernel track them.
    bench.nft(TRACKED)
    bench.run(bench.tablet, "ip", "address", "replace", "10.99.0.16/22", "dev", "eth0")
    bench.run(bench.tablet, "ip", "route", "replace", "default", "via", "10.99.0.1")
    bench.run(bench.gw, sys.executable, "-c", FORGET)
    yield bench
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.run(bench.gw, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=0")
    bench.run(bench.tablet, "ip", "address", "flush", "dev", "eth0")


def send(bench, packets):
    """Send so many datagrams on one connection."""
    script = f"import socket; s = socket.socket(type=2); [s.sendto(b'x', ('10.255.0.1', 9)) for _ in range({packets})]"
    # Port 9 is closed: a refusal comes back and ends nothing.
    bench.run(bench.tablet, sys.executable, "-c", script, check=False)


def flows(bench):
    return json.loads(bench.run(bench.gw, sys.executable, "-c", READ).stdout)


def test_packets_of_the_opener_are_counted_by_its_address(counted):
    counted.run(counted.gw, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
    before = flows(counted)
    send(counted, 3)
    found = [packets for address, packets in flows(counted) if address == "10.99.0.16"]
    assert [row for row in before if row[0] == "10.99.0.16"] == []
    assert found == [3]


def test_where_the_kernel_does_not_count_nobody_is_heard(counted):
    counted.run(counted.gw, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=0")
    send(counted, 1)
    assert [row for row in flows(counted) if row[0] == "10.99.0.16" and row[1]] == []


def test_what_one_address_has_opened_is_forgotten_and_nothing_else(counted):
    counted.run(counted.gw, "sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1")
    counted.run(counted.tablet, "ip", "address", "add", "10.99.0.17/22", "dev", "eth0")
    for source in ("10.99.0.16", "10.99.0.17"):
        for kind in ("udp", "tcp"):
            words = ("-c", OPEN, source, kind)
            counted.run(counted.tablet, sys.executable, *words, check=False)
        counted.run(counted.tablet, "ping", "-c1", "-W1", "-I", source, "10.255.0.1", check=False)
    before = [address for address, _ in flows(counted)]
    assert before.count("10.99.0.16") == before.count("10.99.0.17") > 1
    counted.run(counted.gw, sys.executable, "-c", FORGET)
    after = [address for address, _ in flows(counted)]
    assert after.count("10.99.0.16") == 0
    assert after.count("10.99.0.17") == before.count("10.99.0.17")
    # There is nothing left to forget, which is what is wanted.
    counted.run(counted.gw, sys.executable, "-c", FORGET)
