"""Cables judged: each row is one state of the wires around the appliance."""

import pytest

from netguard.core.doctor import cabling
from netguard.core.doctor.cabling import (
    FORBIDDEN,
    OPEN,
    REFUSED,
    SILENT,
    Asked,
    Back,
    Exit,
    Knock,
    Link,
    Route,
    Timed,
)
from netguard.core.doctor.findings import Outcome

OK, WARNING, FAILED, UNCHECKED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNCHECKED
TAB = Link("tab0", True, True, True, ("10.99.0.1/22",))
UP = Link("up0", True, True, True, ("10.255.0.2/30",))
GONE, DOWN, OUT = Link("x0", False), Link("x0", True), Link("x0", True, up=True)
YES, NO = Asked("10.1.1.53", 3.0), Asked("10.1.1.53", None, "silence")


def back(tablets, uplink=(), masquerade=True, translated=True):
    seen = Back(
        "a", "10.99.0.0/22", "10.99.0.1", masquerade, translated, tuple(tablets), tuple(uplink)
    )
    return cabling.way_back(seen)


def way(*rows, unresolved=(), unprovable=(), names_work=True):
    """One service: rows of target, port, outcome, by."""
    knocks = tuple(Knock("zoom", t, "192.0.2.1", p, o, by) for t, p, o, by in rows)
    seen = Exit("zoom", knocks, unresolved, unprovable)
    return cabling.services([seen], names_work=names_work)


def hop(answers, interface="up0", address="10.255.0.1"):
    return cabling.default_route(UP, Route(interface, address, answers))


ROWS = {
    "side": (cabling.side("a", [TAB]), OK, "tab0 of a"),
    "side missing": (cabling.side("a", [GONE], "told"), FAILED, "missing"),
    "side down": (cabling.side("a", [DOWN]), FAILED, "is down"),
    "side unplugged": (cabling.side("a", [OUT]), FAILED, "no carrier"),
    "side told": (cabling.side("a", [TAB], "tab0 has 10.0.0.1/8"), FAILED, "10.0.0.1/8"),
    "gateway": (cabling.gateways("a", [TAB], ["10.99.0.1/22"]), OK, "10.99.0.1/22 at a"),
    "no gateway": (cabling.gateways("a", [OUT], ["10.99.0.1/22"]), FAILED, "lacks 10.99.0.1/22"),
    "no interface": (cabling.gateways("a", [GONE], ["10.99.0.1/22"]), UNCHECKED, "NG-D201"),
    "alone": (cabling.duplicates([]), OK, "nobody else"),
    "twice": (cabling.duplicates([("tab0", "10.99.0.1", "02:00")]), FAILED, "02:00 answers for"),
    "uplink": (cabling.uplink(UP), OK, "10.255.0.2/30"),
    "uplink out": (cabling.uplink(OUT), FAILED, "no carrier"),
    "uplink bare": (cabling.uplink(Link("up0", True, True, True)), FAILED, "no address"),
    "route": (hop(True), OK, "by 10.255.0.1"),
    "route unasked": (hop(None), OK, "by 10.255.0.1"),
    "route without hop": (hop(None, address=""), OK, "the link itself"),
    "no route": (hop(None, "", ""), FAILED, "no default route"),
    "route elsewhere": (hop(None, "eth7"), FAILED, "leads to eth7"),
    "hop dead": (hop(False), FAILED, "does not answer ARP"),
    "route without uplink": (cabling.default_route(OUT, Route()), UNCHECKED, "NG-D204"),
    "nat": (back([YES]), OK, "by NAT"),
    "routed": (back([YES], masquerade=False, translated=False), OK, "by a route to 10.99.0.0/22"),
    "no rule": (back([YES], translated=False), FAILED, "no rule does it"),
    "no table": (back([YES], translated=None), UNCHECKED, "NG-D111"),
    "all silent": (back([NO], [NO]), UNCHECKED, "NG-D205"),
    "nat fails": (back([NO], [YES]), FAILED, "NAT of 10.99.0.0/22 fails"),
    "no route back": (
        back([NO], [YES], masquerade=False, translated=False),
        FAILED,
        "no route leads back to 10.99.0.0/22",
    ),
    "resolvers": (cabling.resolvers([YES]), OK, "10.1.1.53 in 3 ms"),
    "one dead": (cabling.resolvers([YES, NO]), FAILED, "names take longer"),
    "all dead": (cabling.resolvers([NO]), FAILED, "no name opens"),
    "no clocks": (cabling.time_servers([]), OK, "none named"),
    "clock": (cabling.time_servers([Timed("c", 0.01, 3)]), OK, "c +0.010 s"),
    "clock silent": (cabling.time_servers([Timed("c", None, why="silence")]), FAILED, "silence"),
    "clock unsure": (cabling.time_servers([Timed("c", 0.0, 16)]), WARNING, "not synchronised"),
    "clock off": (cabling.time_servers([Timed("c", 5.0, 3)]), WARNING, "-5.0 s off"),
    "out": (way(("z", "tcp/443", OPEN, "")), OK, "tcp/443 answered by 1 of 1"),
    "closed there": (way(("z", "tcp/443", REFUSED, "")), OK, "answered by 1 of 1"),
    "one silent": (
        way(("z", "tcp/443", OPEN, ""), ("z", "tcp/8801", SILENT, ""), unprovable=("udp/8801",)),
        OK,
        "not provable from here: tcp/8801 (silent), udp/8801",
    ),
    "stun": (way(("z", "udp/3478", OPEN, ""), unprovable=("udp/3478",)), OK, "answered by 1 of 1"),
    "dropped": (way(("z", "tcp/443", SILENT, "")), FAILED, "silence from all 1"),
    "rejected": (
        way(("z", "tcp/443", OPEN, ""), ("z", "tcp/5222", FORBIDDEN, "10.0.0.9")),
        FAILED,
        "tcp/5222 to z is refused by 10.0.0.9",
    ),
    "rejected by nobody known": (way(("z", "tcp/1", FORBIDDEN, "")), FAILED, "a router on the way"),
    "rejected once": (
        way(("z", "tcp/443", FORBIDDEN, "x"), ("y", "tcp/443", OPEN, "")),
        OK,
        "1 of 2",
    ),
    "no address": (way(unresolved=("z",)), WARNING, "z has no address"),
    "no resolver": (way(unresolved=("z",), names_work=False), UNCHECKED, "NG-D207"),
    "no resolver, hosts silent": (
        way(("h", "tcp/443", SILENT, ""), unresolved=("z",), names_work=False),
        UNCHECKED,
        "NG-D207",
    ),
    "only networks": (way(unprovable=("udp/8801",)), OK, "not provable from here: udp/8801"),
    "nothing": (way(), OK, "nothing that answers"),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_cable_is_told_as_what_it_is(name):
    findings, outcome, words = ROWS[name]
    assert [finding.outcome for finding in findings] == [outcome]
    assert words in findings[0].text
    assert bool(findings[0].mend) is findings[0].cries


def test_services_that_do_not_get_out_come_first():
    out = Exit("a", (Knock("a", "t", "192.0.2.1", "tcp/443", OPEN),))
    cut = Exit("b", (Knock("b", "t", "192.0.2.2", "tcp/443", SILENT),))
    assert [f.outcome for f in cabling.services([out, cut])] == [FAILED, OK]
