"""The tablets' links: made, addressed, brought up and put back; what is not ours is said and left."""

import json
import sys

import pytest

from tests.kernel.conftest import room

CODE = """
import json, sys
from ipaddress import ip_interface
from netguard.adapters import netlink
from netguard.core.links import Link
links = [Link(n, p, v, tuple(map(ip_interface, a))) for n, p, v, a in json.loads(sys.argv[1])]
done = netlink.ensure_links(links)
print(json.dumps([done.changed, done.problems]))
"""
ONE = ["tab9", "", None, ["10.97.0.1/22"]]


@pytest.fixture
def inside():
    """Run commands in a namespace of this test's own, with one end of a cable called tab9."""
    with room() as host:
        host.ip("link add tab9 type veth peer name far9")
        yield host.run


def ensure(inside, *links):
    done = inside(sys.executable, "-c", CODE, json.dumps(links))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def shown(inside, *words):
    return inside("ip", *words).stdout


def test_a_link_gets_its_address_comes_up_and_is_left_alone_then(inside):
    changed, problems = ensure(inside, ONE)
    assert problems == []
    assert "gave tab9 the address 10.97.0.1/22" in changed
    assert "brought tab9 up" in changed
    assert changed[-1] == "set net/ipv4/ip_forward to 1", "forwarding comes last"
    assert "10.97.0.1/22" in shown(inside, "-4", "addr", "show", "dev", "tab9")
    assert inside("cat", "/proc/sys/net/ipv4/conf/tab9/send_redirects").stdout == "0\n"
    assert ensure(inside, ONE) == [[], []]


def test_what_somebody_takes_away_is_put_back(inside):
    ensure(inside, ONE)
    inside("ip", "route", "del", "10.97.0.0/22")
    assert ensure(inside, ONE) == [["added the route to 10.97.0.0/22 by tab9"], []]
    assert "10.97.0.0/22 dev tab9" in shown(inside, "route")
    inside("ip", "addr", "flush", "dev", "tab9")
    inside("ip", "link", "set", "tab9", "down")
    changed, _ = ensure(inside, ONE)
    assert changed == ["gave tab9 the address 10.97.0.1/22", "brought tab9 up"]
    assert "10.97.0.0/22 dev tab9" in shown(inside, "route")


def test_an_address_of_somebody_else_is_said_and_left(inside):
    inside("ip", "addr", "add", "192.0.2.1/24", "dev", "tab9")
    _, problems = ensure(inside, ONE)
    assert problems == ["tab9 has 192.0.2.1/24, which no rule says: take it off"]
    assert "192.0.2.1/24" in shown(inside, "-4", "addr", "show", "dev", "tab9")


def test_a_missing_link_is_named_and_the_others_work(inside):
    changed, problems = ensure(inside, ["tab8", "", None, ["10.96.0.1/22"]], ONE)
    assert problems == ["tab8 is missing"]
    assert "brought tab9 up" in changed


def test_a_sub_interface_is_made_where_the_kernel_has_802_1q_and_else_it_says_so(inside):
    probe = inside("ip", "link", "add", "link", "tab9", "name", "x9", "type", "vlan", "id", "7")
    inside("ip", "link", "del", "x9")
    changed, problems = ensure(inside, ["tab9.640", "tab9", 640, ["10.96.0.1/22"]])
    if probe.returncode == 0:
        assert "made tab9.640, VLAN 640 of tab9" in changed
        assert "vlan protocol 802.1Q id 640" in shown(inside, "-d", "link", "show", "tab9.640")
    else:
        assert len(problems) == 1
        assert "tab9.640 is missing and this kernel makes no VLAN sub-interfaces" in problems[0]
    _, problems = ensure(inside, ["nic7.640", "nic7", 640, []])
    assert problems == ["nic7.640 is missing, and so is nic7"]
