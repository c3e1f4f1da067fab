"""A drawn ruleset means the same to a real kernel and to the walk of netguard/core/loaded, packet by packet."""

import json
import random
from collections import Counter
from ipaddress import ip_address

import pytest

from netguard.core import regions
from netguard.core.loaded import listing
from netguard.core.loaded.packets import Sender
from netguard.core.loaded.walk import Walker
from tests.kernel import wire

MARKER = b"NGwalked"
RULESETS, PACKETS = 40, 60
MACS = ["02:00:00:00:00:11", "02:00:00:00:00:12", "02:00:00:00:00:13"]
SOURCES = ["10.99.0.16", "10.99.0.17", "10.99.0.200"]
TARGETS = ["8.8.8.8", "8.8.4.4", "170.114.10.7", "10.10.0.5", "203.0.113.9"]
PORTS = [1, 53, 80, 443, 444, 5000]


class Draw:
    """Draws tables of chains, sets and maps; everything that a hospital's administrator could write."""

    def __init__(self, dice):
        self.dice = dice
        self.exact = True

    def ruleset(self):
        dice = self.dice
        return "\n".join(
            self.table(number, hook, priority)
            for number, (hook, priority) in enumerate(
                dice.sample(
                    [("prerouting", -300), ("prerouting", -150), ("forward", -5), ("forward", 0),
                     ("forward", 10), ("postrouting", 50), ("prerouting", -400)],
                    dice.randrange(1, 4),
                )
            )
        )  # fmt: skip

    def table(self, number, hook, priority):
        dice = self.dice
        self.tracked = priority > -200
        self.rejects = hook == "forward"
        self.family = family = dice.choice(["ip", "inet"])
        addresses = ", ".join(dice.sample(TARGETS, 2))
        between = ", ".join(
            f"{a} . {p}" for a, p in zip(dice.sample(TARGETS, 2), PORTS, strict=False)
        )
        marks = f"{MACS[0]} : 0x1, {MACS[1]} : 0x2"
        verdicts = f"{TARGETS[0]} : jump one, {TARGETS[1]} : drop, {TARGETS[2]} : goto two"
        return f"""table {family} t{number} {{
  set some {{ type ipv4_addr; flags interval; elements = {{ 10.0.0.0/8, {dice.choice(TARGETS[:3])} }}; }}
  set ports {{ type inet_service; flags interval; elements = {{ 80-443, 5000 }}; }}
  set pairs {{ type ipv4_addr . inet_service; elements = {{ {between} }}; }}
  set bound {{ type ether_addr . ipv4_addr; elements = {{ {MACS[0]} . {SOURCES[0]}, {MACS[1]} . {SOURCES[1]} }}; }}
  set few {{ type ipv4_addr; elements = {{ {addresses} }}; }}
  map marks {{ type ether_addr : mark; elements = {{ {marks} }}; }}
  map ways {{ type ipv4_addr : verdict; elements = {{ {verdicts} }}; }}
  chain two {{ {self.rules(2, 0)} }}
  chain one {{ {self.rules(2, 1)} }}
  chain base {{
    type filter hook {hook} priority {priority}; policy {dice.choice(["accept", "accept", "drop"])};
    {self.rules(dice.randrange(2, 7), 2)}
  }}
}}"""

    def rules(self, count, level):
        return "\n".join(self.rule(level) for _ in range(count)) + "\n"

    def rule(self, level):
        dice = self.dice
        asked = [self.question() for _ in range(dice.choice([0, 1, 1, 2]))]
        return " ".join([*asked, self.statement(level, bool(asked))])

    def question(self):
        dice = self.dice
        port, target = dice.choice(PORTS), dice.choice(TARGETS)
        protocol = dice.choice(["tcp", "udp"])
        sometimes = (
            [] if not self.tracked else ["ct state new", "ct state established", "ct mark 0"]
        )
        # A field that may have any value: then the walk says only what may pass.
        if dice.random() < 0.03:
            self.exact = False
            return dice.choice(["icmp type echo-request", "udp sport 20000-20100", "ip ttl > 3"])
        return dice.choice([
            f"ip daddr {target}", f"ip daddr != {target}", "ip daddr 8.8.0.0/16", "ip daddr @some",
            "ip daddr != @few", "ip daddr . th dport @pairs", "ip saddr . ip daddr { 10.99.0.16 . 8.8.8.8 }",
            f"{protocol} dport {port}", f"{protocol} dport != {port}", f"{protocol} dport < {port + 1}",
            f"{protocol} dport >= {port}", f"{protocol} dport @ports", "th dport 53-443",
            f"{protocol} dport {{ 53, 80-90 }}", f"meta l4proto {protocol}", "ip protocol icmp",
            "meta l4proto { tcp, icmp }", f"ether saddr {dice.choice(MACS)}", "ip saddr 10.99.0.16/31",
            "ether saddr . ip saddr @bound", "ether saddr . ip saddr != @bound", 'iifname "tab*"',
            'iifname != "tab0"', "meta mark 0x1", "meta mark & 0x2 == 0x2", "meta mark != 0x0",
            "fib daddr type local" if self.tracked else "meta mark 0x2", "meta nfproto ipv4" if self.family == "inet" else "meta protocol ip", *sometimes,
        ])  # fmt: skip

    def statement(self, level, asked):
        dice = self.dice
        ends = ["accept", "drop", "return", "reject"] if asked else ["return"]
        if not self.rejects:
            ends = [each for each in ends if each != "reject"]
        changes = [
            "meta mark set 0x2",
            "meta mark set ether saddr map @marks",
            "counter",
            "meta mark set meta mark | 0x1",
        ]
        changes += ["ip dscp set cs1", "ct mark set 0x5"] if self.tracked else []
        if dice.random() < 0.15:
            changes += ["ip daddr set 8.8.4.4 accept", "udp dport set 5000", "notrack"][
                : 2 + (not self.tracked)
            ]
        jumps = (
            ["jump one", "goto two", "ip daddr vmap @ways"]
            if level == 2
            else ["jump two"]
            if level
            else []
        )
        maps = [
            "meta mark vmap { 0x1 : drop, 0x2 : accept }",
            "tcp dport vmap { 80 : accept, 443-444 : drop }",
        ]
        if dice.random() < 0.05:
            self.exact = False
            return "limit rate 1/second burst 2 packets " + dice.choice(ends)
        return dice.choice([*ends, *ends, *changes, *jumps, *maps])


def packets(dice, numbers):
    for number in numbers:
        protocol = dice.choice([wire.TCP, wire.UDP, wire.UDP, wire.ICMP])
        source, target = ip_address(dice.choice(SOURCES)), ip_address(dice.choice(TARGETS))
        port, payload = dice.choice(PORTS), MARKER + number.to_bytes(4)
        if protocol == wire.TCP:
            body = wire.tcp(source, target, 20000 + number, port, wire.SYN, payload)
        elif protocol == wire.UDP:
            body = wire.udp(source, target, 20000 + number, port, payload)
        else:
            # Its id is what tells connections apart.
            body, port = wire.icmp(8, 0, number << 16, payload), None
        mac = dice.choice(MACS)
        yield number, mac, source, target, protocol, port, wire.ip4(source, target, protocol, body)


def services(protocol, port):
    """Return where in the region a packet may lie; an echo request has no port, and any stands for it."""
    return protocol << 16 | (port or 0), protocol << 16 | (0xFFFF if port is None else port)


def within(region, address, span):
    at = regions.number_of(address)
    return any(
        any(a <= at <= b for a, b in box.addresses) and regions.meet(box.services, (span,))
        for box in region
    )


def said(passing, packet, now=None):
    """Say whether the walk lets a packet pass, as it arrives `now`, or in any way."""
    _, _, _, target, protocol, port, _ = packet
    found = [at for at in passing if within(at.sent, target, services(protocol, port))]
    if now is None:
        return bool(found)
    return any(within(at.region, now[0], services(protocol, now[1])) for at in found)


@pytest.mark.parametrize("fault", ["", "accept is taken for drop"])
def test_the_kernel_and_the_walk_agree(bench, ends, fault, monkeypatch):
    """The second time with a fault planted in the walk, which has to be found."""
    if fault:
        monkeypatch.setitem(
            __import__("netguard.core.loaded.walk", fromlist=["_"])._FINAL, "accept", "drop"
        )
    first = random.SystemRandom().randrange(2**32)
    gateway = bench.run(bench.gw, "cat", "/sys/class/net/tab0/address").stdout.strip()
    wrong, met, number = [], Counter(), 0
    for seed in range(first, first + RULESETS):
        dice = random.Random(seed)
        draw = Draw(dice)
        text = draw.ruleset()
        bench.run(bench.gw, "nft", "flush", "ruleset")
        done = bench.run(bench.gw, "nft", "-f", "-", stdin=text, check=False)
        if done.returncode:
            # What nft takes for no ruleset (a reject where none is possible) says nothing here.
            met["refused"] += 1
            continue
        rows = json.loads(bench.run(bench.gw, "nft", "-j", "list", "ruleset").stdout)["nftables"]
        walker = Walker(listing.read(rows), {}, "none")
        sent = list(packets(dice, range(number, number + PACKETS)))
        number += PACKETS
        arrived = wire.carried(*ends, [wire.frame(p[1], gateway, p[6]) for p in sent], MARKER)
        known = {}
        for packet in sent:
            sender = Sender("tab0", packet[1], packet[2])
            passing = known.setdefault(sender, None) or walker.passing(sender)
            known[sender] = passing
            assert not walker.strange, walker.strange
            assert not [at for at in passing if at.doubts]
            frame = arrived.get(packet[0])
            if frame is not None:
                now = (
                    ip_address(frame[30:34]),
                    int.from_bytes(frame[36:38]) if packet[5] is not None else None,
                )
                if not said(passing, packet, now):
                    wrong.append(f"seed {seed}: {packet[:6]} arrives as {now}")
            elif draw.exact and packet[5] is not None and said(passing, packet):
                wrong.append(f"seed {seed}: {packet[:6]} does not arrive")
            met[frame is not None, draw.exact] += 1
    assert met["refused"] < RULESETS / 2, met
    assert met[True, True] > 20, met
    assert met[False, True] > 20, met
    assert bool(wrong) is bool(fault), wrong[:5]
