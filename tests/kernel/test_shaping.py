"""Ceilings on the kernel: our encoder writes what tc reads, and each tablet's packets go into its class.

The oracle is iproute2's tc, which has a decoder of its own. How much passes is measured by bench/ceilings.
"""

import json
import re
import sys
from dataclasses import replace
from ipaddress import ip_address

import pytest

from netguard.core.plan import compile_plan
from netguard.core.shaping import MAJOR, ShapedClass, Shaper, class_numbers, shapers
from netguard.render import nftables
from tests.kernel import wire

BRING = """
import json, sys
from netguard.adapters import shaping
from netguard.core.shaping import ShapedClass, Shaper
wanted = [Shaper(name, tuple(ShapedClass(*c) for c in classes)) for name, classes in json.load(sys.stdin)]
done = shaping.ensure(wanted)
print(json.dumps({"changed": done.changed, "problems": done.problems}))
"""
MARK = b"ceiling:"
SITE = ShapedClass(1, 0, 20_000_000, 20_000_000, 25_000, 0)


def tablet(number, ceil=4_000_000, parent=1):
    return ShapedClass(0x100 + number, parent, 400_000, ceil, 5_000, 100_000)


def bring(bench, *wanted):
    text = json.dumps([[shaper.interface, shaper.classes] for shaper in wanted])
    return json.loads(bench.run(bench.gw, sys.executable, "-c", BRING, stdin=text).stdout)


CLASS = re.compile(
    r"class htb [0-9a-f]+:(?P<minor>[0-9a-f]+) (root|parent [0-9a-f]+:(?P<parent>[0-9a-f]+)) .*?"
    r"rate (?P<rate>\S+) ceil (?P<ceil>\S+) .*?\n Sent \d+ bytes (?P<packets>\d+) pkt"
)
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def tc(bench, *words):
    return bench.run(bench.gw, "tc", *words).stdout


def bits(text):
    number, unit = re.fullmatch(r"(\d+)([KMG]?)bit", text).groups()
    return int(number) * UNITS[unit]


def queues(bench, device):
    """Return (kind, where) of what stands on an interface, as tc says it."""
    return set(
        re.findall(
            r"^qdisc (\S+) \S+ (?:root|parent (\S+))",
            tc(bench, "qdisc", "show", "dev", device),
            re.MULTILINE,
        )
    )


def shown(bench, device="tab0"):
    """Return what tc says of the classes: parent, rate, ceil by number."""
    return {
        int(c["minor"], 16): (int(c["parent"] or "0", 16), bits(c["rate"]), bits(c["ceil"]))
        for c in CLASS.finditer(tc(bench, "-s", "class", "show", "dev", device))
    }


def packets(bench, device, numbers):
    """Return how many packets have gone through these classes."""
    found = {
        int(c["minor"], 16): int(c["packets"])
        for c in CLASS.finditer(tc(bench, "-s", "class", "show", "dev", device))
    }
    return {number: found[number] for number in numbers}


@pytest.fixture
def clean(bench):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    yield bench
    bring(bench)
    assert "htb" not in {kind for kind, _ in queues(bench, "tab0")}


def mac_of(bench, device):
    return json.loads(bench.run(bench.gw, "ip", "-j", "link", "show", device).stdout)[0]["address"]


def said(classes):
    return {c.minor: (c.parent, c.rate, c.ceil) for c in classes}


def test_tc_reads_what_was_asked_for(clean):
    classes = (SITE, tablet(0), tablet(1, 2_000_000), tablet(2, 30_000_000, 0))
    assert bring(clean, Shaper("tab0", classes))["problems"] == []
    assert shown(clean) == said(classes)
    held = {where for kind, where in queues(clean, "tab0") if kind == "tbf"}
    assert held == {f"{MAJOR:x}:{c.minor:x}" for c in classes if c.queue}


def test_more_than_32_bits_of_bytes_a_second_are_written_whole(clean):
    whole = SITE._replace(rate=100_000_000_000, ceil=100_000_000_000)
    bring(clean, Shaper("tab0", (whole,)))
    assert shown(clean) == said([whole])


def test_what_is_there_already_is_left_alone(clean):
    classes = (SITE, tablet(0), tablet(1))
    bring(clean, Shaper("tab0", classes))
    assert bring(clean, Shaper("tab0", classes)) == {"changed": [], "problems": []}


def test_looking_makes_no_news_that_guard_would_look_for_again(clean):
    """A guard at rest rests: what wakes it must not be its own look at the ceilings."""
    classes = (SITE, tablet(0))
    bring(clean, Shaper("tab0", classes))
    code = (
        "import select\nfrom netguard.adapters import netlink, shaping\n"
        "news = netlink.News()\n"
        # The links of the bench find their IPv6 addresses meanwhile, and say so, but not for ever: what a look
        # brings about comes with every look.
        "for _ in range(20):\n"
        "    news.drain()\n"
        "    for _ in range(3):\n        shaping.ensure(())\n"
        "    heard = select.select([news.socket], [], [], 0.5)[0]\n"
        "    if not heard:\n        break\n"
        "print(len(heard))\n"
    )
    assert clean.run(clean.gw, sys.executable, "-c", code).stdout.strip() == "0"


def test_one_ceiling_changes_without_the_others(clean):
    bring(clean, Shaper("tab0", (SITE, tablet(0), tablet(1), tablet(2))))
    after = (SITE, tablet(0), tablet(1, 1_000_000), tablet(3))
    told = bring(clean, Shaper("tab0", after))
    assert told["changed"] == ["ceilings of tab0: 1 new, 1 changed, 1 gone"]
    assert shown(clean) == said(after)


def test_a_site_whose_ceiling_goes_leaves_its_tablets_theirs(clean):
    bring(clean, Shaper("tab0", (SITE, tablet(0), tablet(1))))
    after = (tablet(0, parent=0), tablet(1, parent=0))
    assert bring(clean, Shaper("tab0", after))["problems"] == []
    assert shown(clean) == said(after)
    back = (SITE, tablet(0), tablet(1))
    bring(clean, Shaper("tab0", back))
    assert shown(clean) == said(back)


def test_an_interface_that_is_not_named_any_more_loses_what_is_ours(clean):
    bring(clean, Shaper("tab0", (SITE, tablet(0))), Shaper("up0", (SITE, tablet(0))))
    told = bring(clean, Shaper("up0", (SITE, tablet(0))), Shaper("tab0", ()))
    assert told == {"changed": ["took the ceilings off tab0"], "problems": []}
    assert bring(clean)["changed"] == ["took the ceilings off up0"]


def test_a_discipline_of_somebody_else_stays_and_is_said(clean):
    words = ("root", "handle", "7:", "tbf", "rate", "1mbit", "burst", "10k", "latency", "50ms")
    clean.run(clean.gw, "tc", "qdisc", "add", "dev", "tab0", *words)
    try:
        told = bring(clean, Shaper("tab0", (SITE, tablet(0))), Shaper("up0", (SITE, tablet(0))))
        assert told["changed"] == ["ceilings of up0: 2 new, 0 changed, 0 gone"]
        (problem,) = told["problems"]
        assert "tab0 has the queueing discipline tbf 7: of somebody else" in problem
        assert queues(clean, "tab0") == {("tbf", "")}
    finally:
        clean.run(clean.gw, "tc", "qdisc", "del", "dev", "tab0", "root")


def test_a_missing_interface_and_a_refusing_kernel_are_problems(clean):
    idle = tablet(0)._replace(rate=0)
    told = bring(clean, Shaper("none0", (SITE,)), Shaper("tab0", (SITE, idle)))
    missing, refused = sorted(told["problems"])
    assert missing == "none0 is missing, no ceiling holds there"
    assert refused.startswith("tab0: the kernel refuses a ceiling")


def test_each_way_a_tablets_packets_are_in_its_class_and_nobody_elses(clean, ends, example):
    """Real packets through the rendered table: counted by the class that they went through."""
    inside, outside = ends
    site = replace(example.sites["pellegrin"], nat="none")
    plan = compile_plan(replace(example, sites={**example.sites, "pellegrin": site}), ["pellegrin"])
    numbers = class_numbers(plan)
    clean.nft(nftables.render(plan))
    assert bring(clean, *shapers(plan))["problems"] == []
    mine, other = [b for b in plan.bindings if b.group == "patients" and b.address][:2]
    me, to, port = mine.address, ip_address("170.114.10.7"), 8801
    hop, way_back = mac_of(clean, "tab0"), mac_of(clean, "up0")

    def frames(count, way, source, destination, ports):
        bodies = (wire.udp(source, destination, *ports, MARK + n.to_bytes(4)) for n in range(count))
        return [wire.frame(*way, wire.ip4(source, destination, wire.UDP, body)) for body in bodies]

    out = frames(30, (str(mine.mac), hop), me, to, (5000, port))
    back = frames(20, (outside.mac.hex(":"), way_back), to, me, (port, 5000))
    assert len(wire.carry(inside, outside, out, MARK)) == 30
    assert len(wire.carry(outside, inside, back, MARK)) == 20

    both = numbers[mine.address], numbers[other.address]
    assert packets(clean, "up0", both) == dict(zip(both, (30, 0), strict=True))
    assert packets(clean, "tab0", both) == dict(zip(both, (20, 0), strict=True))
