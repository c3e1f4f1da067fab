"""A network namespace with a tablet on one side and the hospital on the other, for one module."""

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel import wire

HERE = Path(__file__).parent


def ip(*words, check=True):
    return subprocess.run(["ip", *words], check=check, capture_output=True, text=True)


class Bench:
    """Three namespaces: tablet - gw - outside; `tab0` and `up0` are the gateway's interfaces."""

    def __init__(self):
        tag = uuid.uuid4().hex[:6]
        self.tablet, self.gw, self.outside = (f"ngk-{tag}-{name}" for name in ("tab", "gw", "out"))

    def up(self):
        for name in (self.tablet, self.gw, self.outside):
            ip("netns", "add", name)
            self.run(name, "ip", "link", "set", "lo", "up")
        self.link(self.gw, "tab0", self.tablet, "eth0")
        self.link(self.gw, "up0", self.outside, "eth0")
        self.run(self.gw, "ip", "address", "add", "10.99.0.1/22", "dev", "tab0")
        self.run(self.gw, "ip", "address", "add", "10.255.0.2/30", "dev", "up0")
        self.run(self.outside, "ip", "address", "add", "10.255.0.1/30", "dev", "eth0")
        self.run(self.gw, "ip", "route", "add", "default", "via", "10.255.0.1")
        self.run(self.outside, "ip", "route", "add", "10.99.0.0/22", "via", "10.255.0.2")
        # Neighbour discovery of the tablet's own stack would be counted with what is sent on purpose.
        self.run(self.tablet, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        self.run(self.gw, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        self.run(self.gw, "sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0")

    def link(self, one, one_name, other, other_name):
        ip(
            "-n",
            one,
            "link",
            "add",
            one_name,
            "type",
            "veth",
            "peer",
            "name",
            other_name,
            "netns",
            other,
        )
        self.run(one, "ip", "link", "set", one_name, "up")
        self.run(other, "ip", "link", "set", other_name, "up")

    def run(self, where, *command, stdin=None, check=True):
        return subprocess.run(
            ["ip", "netns", "exec", where, *command],
            check=check,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=60,
        )

    def nft(self, script):
        return self.run(self.gw, "nft", "-f", "-", stdin=script)

    def down(self):
        for name in (self.tablet, self.gw, self.outside):
            ip("netns", "del", name, check=False)


class Room:
    """A network namespace without a name: it lasts as long as its process."""

    def __init__(self, pid):
        self.pid = pid

    def words(self, *command):
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", *command]

    def run(self, *command):
        return subprocess.run(
            self.words(*command), capture_output=True, text=True, check=False, timeout=60
        )

    def ip(self, line):
        done = self.run("ip", *line.split())
        assert done.returncode == 0, (line, done.stderr)


@contextmanager
def room():
    """Make a room; until its own shell has said so, the namespace of its process is still ours."""
    words = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo made && exec sleep 300"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "made\n"
            yield Room(process.pid)
        finally:
            process.kill()


def observe(bench, frames, *, inwards=False):
    """Send frames from the tablets' side; return the numbers that arrive outside, or inwards."""
    sender, receiver = bench.tablet, bench.outside
    if inwards:
        sender, receiver = receiver, sender
    command = [
        "ip",
        "netns",
        "exec",
        receiver,
        sys.executable,
        str(HERE / "listen.py"),
        "eth0",
    ]
    listener = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert listener.stdout.readline() == "ready\n"
        text = "\n".join(frame.hex() for frame in frames) + "\n"
        bench.run(sender, sys.executable, str(HERE / "send.py"), "eth0", stdin=text)
        out, _ = listener.communicate("", timeout=60)
    finally:
        listener.kill()
        listener.wait()
    return {int(line) for line in out.split()}


@contextmanager
def standing():
    """Put a bench up, and take it down whatever happens."""
    assert os.geteuid() == 0, "tests of the kernel need root"
    bench = Bench()
    try:
        bench.up()
        yield bench
    finally:
        bench.down()


@pytest.fixture
def own_bench():
    with standing() as bench:
        yield bench


@pytest.fixture
def ends(bench):
    """Both ends of the bench, with every neighbour written down: no ARP stands in the way."""
    tablet = wire.End(bench.tablet, "eth0", "10.99.0.1")
    outside = wire.End(bench.outside, "eth0", "10.255.0.2")
    mine, theirs = tablet.mac.hex(":"), outside.mac.hex(":")
    known = [f"neigh replace 10.255.0.1 lladdr {theirs} dev up0 nud permanent"]
    known += [
        f"neigh replace 10.99.0.{n} lladdr {mine} dev tab0 nud permanent" for n in range(2, 254)
    ]
    bench.run(bench.gw, "ip", "-batch", "-", stdin="\n".join(known))
    yield tablet, outside
    tablet.close()
    outside.close()


@pytest.fixture(scope="module")
def bench():
    with standing() as bench:
        yield bench


@pytest.fixture
def arrivals(bench):
    """Return a function that sends frames and says which of them arrive outside."""
    return lambda frames, **way: observe(bench, frames, **way)
