"""The node judged: each row is one state of a machine, and what an engineer is told of it."""

import pytest

from netguard.core.doctor import node
from netguard.core.doctor.findings import Outcome
from netguard.core.doctor.node import (
    Clock,
    Daemon,
    Disk,
    InForce,
    Port,
    Secret,
    Server,
    Table,
    Wanted,
)

OK, WARNING, FAILED, UNCHECKED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNCHECKED
MIB = 1 << 20


def radius(*holders, trouble=()):
    ports = tuple(
        Port("10.1.2.1", "udp", 1812 + n, "netguard-radius", who) for n, who in enumerate(holders)
    )
    return node.server(node.RADIUS, Server("FreeRADIUS", "netguard-radius", ports, trouble))


def disk(free, size=1000 * MIB, inodes=500, inodes_of=1000, read_only=False):
    return node.disks([Disk("/var", free, size, inodes, inodes_of, read_only)])


WANTED = [
    Wanted("net/ipv4/ip_forward", 1, False, "nothing is forwarded"),
    Wanted("n/t", 8, True, "few"),
]

ROWS = {
    "guard answers": (node.daemon(node.GUARD, Daemon(True, pid=7)), OK, "pid 7"),
    "guard answers, lock unread": (node.daemon(node.GUARD, Daemon(True)), OK, "answers"),
    "guard ended": (node.daemon(node.GUARD, Daemon(False, "No such file")), FAILED, "does not run"),
    "guard hangs": (node.daemon(node.GUARD, Daemon(False, "timed out", 7)), FAILED, "hangs"),
    "not root": (
        node.daemon(node.DNS, Daemon(False, "guard.sock: Permission denied; try as root")),
        UNCHECKED,
        "try as root",
    ),
    "not root, and it runs": (
        node.daemon(node.DNS, Daemon(False, "tells this user nothing: try as root", 7)),
        UNCHECKED,
        "try as root",
    ),
    "proxy with a trouble": (
        node.daemon(node.DNS, Daemon(True, problems=("nobody listens on tcp/53",))),
        FAILED,
        "tcp/53",
    ),
    "radius runs": (radius("netguard-radius", "netguard-radius"), OK, "udp/1812 of 10.1.2.1"),
    "radius is dead": (radius("", "", trouble=("no answer",)), FAILED, "does not run"),
    "radius takes one port": (radius("netguard-radius", ""), FAILED, "udp/1813"),
    "another radius": (radius("freerad", "netguard-radius"), FAILED, "held by freerad"),
    "radius is behind": (
        radius("netguard-radius", "netguard-radius", trouble=("clients.conf has changed",)),
        FAILED,
        "clients.conf",
    ),
    "nothing applied": (node.in_force(InForce(None)), FAILED, "no plan is in force"),
    "in force": (node.in_force(InForce(4, "today")), OK, "plan 4 since today"),
    "waits": (node.in_force(InForce(4, "today", waiting_until="14:07")), OK, "rolls back at 14:07"),
    "panic": (node.in_force(InForce(4, "today", blocked=True)), FAILED, "panic switch"),
    "resume failed": (node.in_force(InForce(None, problems=("unreadable",))), FAILED, "unreadable"),
    "two plans": (node.in_force(InForce(4, same_names=False)), FAILED, "another plan"),
    "no table": (node.table(Table(False)), FAILED, "no table"),
    "table": (node.table(Table(True)), OK, "as the plan says"),
    "repaired": (node.table(Table(True, repaired=2, last="x by nft")), OK, "2 times and repaired"),
    "forward accepts": (node.table(Table(True, False)), FAILED, "does not drop"),
    "elements": (node.table(Table(True, faults=("bind4 lacks a",))), FAILED, "bind4 lacks a"),
    "unrepaired": (node.table(Table(True, unrepaired="flush by x")), FAILED, "could not repair"),
    "belt": (node.belt([("IPv4", "tab0")], [("IPv4", "tab0")]), OK, "1 routing rules"),
    "no belt": (
        node.belt([("IPv4", "tab0"), ("IPv6", "tab0")], [("IPv6", "tab0")]),
        FAILED,
        "IPv4",
    ),
    "sysctls": (node.sysctls({"net/ipv4/ip_forward": 1, "n/t": 9}, WANTED), OK, "2 settings"),
    "in a namespace": (
        node.sysctls({"net/ipv4/ip_forward": 1, "n/t": None}, WANTED),
        OK,
        "1 settings",
    ),
    "no forwarding": (
        node.sysctls({"net/ipv4/ip_forward": 0, "n/t": 8}, WANTED),
        FAILED,
        "net.ipv4.ip_forward is 0, not 1: nothing is forwarded",
    ),
    "few": (node.sysctls({"net/ipv4/ip_forward": 1, "n/t": 7}, WANTED), FAILED, "at least 8"),
    "no conntrack": (node.connections(None, None, 5), UNCHECKED, "no connection tracking"),
    "full": (node.connections(95, 100, 1), FAILED, "95 of 100"),
    "too small": (node.connections(1, 1000, 150), WARNING, "7500"),
    "room": (node.connections(1, 262144, 150), OK, "1 of 262144"),
    "no tables": (node.foreign([]), OK, "none that matters"),
    "harmless": (node.foreign([("inet x", "")]), OK, "inet x"),
    "foreign": (node.foreign([("inet x, chain f", "can drop")]), WARNING, "can drop"),
    "secrets": (node.secrets([Secret("/a", "", "")]), OK, "1 files"),
    "open secret": (node.secrets([Secret("/a", "everybody", "chmod")]), FAILED, "/a: everybody"),
    "unknown folder": (node.edited("", None), OK, "cannot be read from here"),
    "edited": (node.edited("/r", True), WARNING, "not applied"),
    "same": (node.edited("/r", False), OK, "what is in force"),
    "disk": (disk(500 * MIB), OK, "500 MiB free"),
    "no inodes counted": (disk(500 * MIB, inodes=0, inodes_of=0), OK, "500 MiB free"),
    "disk full": (disk(10 * MIB), FAILED, "full"),
    "large disk full": (disk(100 * MIB, 10_000 * MIB), FAILED, "full"),
    "disk nearly": (disk(90 * MIB), WARNING, "90 MiB of 1000 MiB left"),
    "inodes": (disk(500 * MIB, inodes=1), FAILED, "1 of 1000 inodes"),
    "read only": (disk(500 * MIB, read_only=True), FAILED, "read only"),
    "stores": (node.stores({"/g.db": ""}, ()), OK, "1 databases"),
    "damaged": (node.stores({"/g.db": "is empty"}, ()), FAILED, "/g.db: is empty"),
    "told": (node.stores({}, ("disk full",)), FAILED, "disk full"),
    "chronyd": (node.clock(Clock(False, 4, 1)), OK, "stratum 4"),
    "another service": (node.clock(Clock(True, 10, 0, 0.002)), OK, "0.002 s off"),
    "nobody": (node.clock(Clock(False, 10, 0)), WARNING, "follows nobody"),
    "no answer": (node.clock(Clock(False, None, 1)), UNCHECKED, "does not answer"),
    "alone": (node.clock(Clock(False, 10, 2)), WARNING, "runs freely"),
    "no certificate": (node.certificates({}), OK, "none in use"),
    "certificates": (node.certificates({"/a": 90.0, "/b": 40.4}), OK, "first ends in 40 days"),
    "ends": (node.certificates({"/a": 13.2}), WARNING, "ends in 13 days"),
    "ended": (node.certificates({"/a": -2.0}), FAILED, "ended 2 days ago"),
    "unread": (node.certificates({"/a": "no PEM"}), FAILED, "no PEM"),
    "programs": (node.programs({"nft": (1, 0, 6), "freeradius": (3, 2, 1)}), OK, "nft 1.0.6"),
    "unread version": (node.programs({"nft": (), "freeradius": (3, 2)}), OK, "freeradius 3.2"),
    "missing": (node.programs({"nft": (1, 0, 6)}), FAILED, "freeradius is missing"),
    "too new": (node.programs({"nft": (1, 1), "freeradius": (4, 0)}), WARNING, "below 3.3"),
    "no feeds": (node.feeds({}), OK, "none was heard yet"),
    "feeds": (node.feeds({"a": (False, "now", 0.0), "b": (False, "now", None)}), OK, "2 feeds"),
    "stale": (node.feeds({"a": (True, "", None)}), WARNING, "silent since the start"),
    "skewed": (node.feeds({"a": (False, "now", -90.0)}), WARNING, "is 90 s ahead"),
    "late": (node.feeds({"nas:a": (False, "now", 61.0)}), WARNING, "is 61 s behind"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_state_is_told_as_what_it_is(name):
    findings, outcome, words = ROWS[name]
    assert [finding.outcome for finding in findings] == [outcome]
    assert words in findings[0].text
    # What cries says what mends it; what is well asks for nothing.
    assert bool(findings[0].mend) is findings[0].cries or outcome is UNCHECKED
