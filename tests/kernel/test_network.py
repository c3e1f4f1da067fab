"""Links, routes, rules and ARP questions, read in a namespace of their own in which `ip` plants what is seen."""

import json
import sys

import pytest

from tests.kernel.conftest import room

LOOK = """
import json
from dataclasses import asdict
from netguard.adapters import network
links = {n: asdict(l) for n, l in network.links().items()}
print(json.dumps([links, network.default_route(), network.belt(10, 1)]))
"""
ASK = """
import json, sys
from netguard.adapters import network
print(json.dumps(network.arp(sys.argv[1], sys.argv[2])))
"""


@pytest.fixture
def inside():
    """A namespace with tab9, whose other end is in a second one with the address 10.97.0.1."""
    with room() as host, room() as other:
        host.ip(f"link add tab9 type veth peer name far9 netns {other.pid}")
        other.ip("addr add 10.97.0.1/22 dev far9")
        other.ip("link set far9 up")
        yield host.run


def look(inside):
    done = inside(sys.executable, "-c", LOOK)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_link_shows_whether_it_is_up_and_has_a_carrier(inside):
    links, route, belt = look(inside)
    assert (links["tab9"]["up"], links["tab9"]["carrier"]) == (False, False)
    assert route == ["", ""]
    assert belt == []
    inside("ip", "link", "set", "tab9", "up")
    inside("ip", "addr", "add", "10.97.0.2/22", "dev", "tab9")
    links, _, _ = look(inside)
    assert (links["tab9"]["up"], links["tab9"]["carrier"]) == (True, True)
    assert links["tab9"]["addresses"] == ["10.97.0.2/22"]


def test_the_default_route_that_counts_and_the_belt_are_read(inside):
    inside("ip", "link", "set", "tab9", "up")
    inside("ip", "addr", "add", "10.97.0.2/22", "dev", "tab9")
    for metric, hop in ((200, "10.97.0.9"), (100, "10.97.0.1")):
        inside("ip", "route", "add", "default", "via", hop, "metric", str(metric))
    rule = "rule add pref 10 iif tab9 fwmark 0/0x1 unreachable"
    inside("ip", *rule.split())
    inside("ip", "-6", *rule.split())
    # Another mask lets more pass: that is no belt.
    inside("ip", *["rule", "add", "pref", "10", "iif", "tab8", "fwmark", "0/0x3", "unreachable"])
    _, route, belt = look(inside)
    assert route == ["tab9", "10.97.0.1"]
    assert belt == [["IPv4", "tab9"], ["IPv6", "tab9"]]


def test_whoever_has_an_address_answers_and_nobody_answers_for_another(inside):
    inside("ip", "link", "set", "tab9", "up")

    def ask(address):
        done = inside(sys.executable, "-c", ASK, "tab9", address)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    found = ask("10.97.0.1")
    assert len(found) == 1
    assert found[0].count(":") == 5
    assert ask("10.97.0.7") == []
    missing = inside(sys.executable, "-c", ASK, "none9", "10.97.0.1")
    assert "ARP on none9" in missing.stderr


def test_chains_are_read_with_their_policies_and_a_table_that_is_not_there_is_none(inside):
    code = """
import asyncio, json
from netguard.adapters import nft
rows = [asyncio.run(nft.policies("inet", name)) for name in ("netguard", "other")]
print(json.dumps([*rows, asyncio.run(nft.rules("inet", "netguard", "nat_out"))]))
"""
    ruleset = (
        "add table inet netguard; "
        "add chain inet netguard forward { type filter hook forward priority 0; policy drop; }; "
        "add chain inet netguard nat_out { type nat hook postrouting priority 100; }; "
        "add chain inet netguard g_x; "
        'add rule inet netguard nat_out oifname "up0" masquerade'
    )
    assert inside("nft", ruleset).returncode == 0
    done = inside(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    ours, other, rules = json.loads(done.stdout)
    assert ours == {"forward": "drop", "nat_out": "accept", "g_x": ""}
    assert other is None
    assert [list(each) for each in rules[0]["expr"]] == [["match"], ["masquerade"]]
