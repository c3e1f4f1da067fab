"""Random policies and random packets near every border, and what connection tracking says of them.

The model of connection tracking is the kernel's own table of flags (nf_conntrack_proto_tcp.c,
nf_conntrack_proto_icmp.c), as far as packets here need it.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from itertools import cycle

from netguard.adapters import clock
from netguard.core.names import Domain, Mac, Ports
from netguard.core.policy import Group, Protected, Service, Tablet
from netguard.core.verdict import ESTABLISHED, INVALID, NEW, RELATED, Flow
from netguard.core.week import Hours, Window
from tests.kernel import wire

OUT, IN = b"NGoutwrd", b"NGinward"
NUMBERS = {"tcp": wire.TCP, "udp": wire.UDP, "icmp": wire.ICMP, "icmpv6": wire.ICMP6}
ZERO, GATEWAY = ip_address("0.0.0.0"), ip_address("10.99.0.1")
ON_LINK = [ip_address(text) for text in ("255.255.255.255", "10.99.3.255", "224.0.0.1")]
CLINICAL = ["10.10.0.0/16", "10.10.3.0/24", "203.0.112.64/26", "170.114.10.8/30", "10.20.0.1/32"]
MEDIA = ["170.114.0.0/16", "170.114.10.0/24", "203.0.112.0/24", "52.84.1.1/32", "10.60.0.40/31"]
# Flags that conntrack knows, without PSH, ECE and CWR, and those of them that open a connection.
VALID = {
    wire.SYN,
    wire.SYN | wire.URG,
    wire.SYN | wire.ACK,
    wire.RST,
    wire.RST | wire.ACK,
    wire.FIN | wire.ACK,
    wire.FIN | wire.ACK | wire.URG,
    wire.ACK,
    wire.ACK | wire.URG,
}
OPENING = {wire.SYN, wire.SYN | wire.URG, wire.ACK, wire.ACK | wire.URG}
ASKING = {8, 13, 15, 17}


def policy_of(dice, base):
    """Draw a policy: services whose networks nest, touch protected ones and share addresses."""
    services = {}
    for number in range(dice.randrange(3, 8)):
        name = f"app-{number}"
        networks = dice.sample(MEDIA, dice.randrange(0, 3))
        first = dice.choice([1, 53, 67, 80, 443, 3478, 8801, 65535])
        ports = {Ports("tcp", first, first)}
        if dice.random() < 0.8:
            start = dice.randrange(1, 65000)
            ports.add(Ports("udp", start, min(65535, start + dice.choice([0, 1, 500]))))
        services[name] = Service(
            name=name,
            label=name,
            domains=(Domain.parse(f"{name}.example.org"),),
            networks=tuple(sorted(ip_network(text) for text in networks)),
            ports=tuple(sorted(ports)),
            allow_private=(),
            local=None,
            p2p=None,
            evidence="x",
            unverified=False,
        )
    services["time"] = replace(services["app-0"], name="time", domains=(), networks=(), local="ntp")
    groups = {}
    for name in ("ward", "lobby", "night", "shelf"):
        chosen = dice.sample(sorted(services), dice.randrange(0, len(services)))
        hours = Hours.parse("07:00-22:00") if name in {"night", "lobby"} else None
        if name == "lobby":
            hours = replace(hours, grace=timedelta(minutes=10))
        if name == "night":
            hours = Hours.of([Window.parse("00:00-06:00"), Window.parse("20:00-24:00")])
        sites = ("haut-leveque",) if name == "shelf" else tuple(sorted(base.sites))
        deny = dice.choice(["reject", "drop"])
        groups[name] = Group(name, sites, tuple(sorted(chosen)), deny, None, hours)
    tablets, allotted = {}, {}
    of = cycle(groups)
    for number in range(16):
        id_ = f"T-{number:03}"
        mac = Mac.parse(f"3c:28:6d:00:00:{number:02x}")
        tablets[id_] = Tablet(id_, mac, next(of), ("pellegrin", "cardio-3"))
        allotted["pellegrin", id_] = ip_address(f"10.99.0.{16 + number}")
        allotted["haut-leveque", id_] = ip_address(f"10.99.8.{16 + number}")
    clinical = dice.sample(CLINICAL, dice.randrange(1, 4))
    networks = tuple(ip_network(text) for text in [*clinical, "fd00:20::/48"])
    return replace(
        base,
        protected={"clinical": Protected("clinical", networks, "x")},
        services=services,
        groups=groups,
        tablets=tablets,
        allotted=allotted,
        origins={},
    )


def learned_of(dice, plan):
    """Draw what was learned; also what must not have been: a protected address."""
    pool = [ip_address(t) for t in ("157.240.0.60", "52.84.1.1", "8.8.4.4", "170.114.10.7")]
    pool += [n.network_address for n in plan.protected if n.version == 4]
    remote = [s.name for s in plan.services if s.local is None]
    return {name: frozenset(dice.sample(pool, dice.randrange(0, 3))) for name in remote}


@dataclass(frozen=True)
class Packet:
    """A flow as the judge sees it, and the packets that are sent for it (several: fragments)."""

    flow: Flow
    packets: tuple[bytes, ...]
    # None where nothing comes of it: some fragments never arrive, so nobody judges it.
    judged: bool = True


class Draw:
    """Draws packets for one plan; numbers and ports are its own, so that no flow meets another."""

    def __init__(self, dice, plan, learned, numbers):
        self.dice, self.plan, self.learned, self.numbers = dice, plan, learned, numbers
        self.bindings = [b for b in plan.bindings if b.site == "pellegrin"]
        self.others = [b for b in plan.bindings if b.site != "pellegrin"]
        self.destinations = self._destinations()
        ports = {e for s in plan.services for p in s.ports for e in (p.first, p.last)}
        near = {e + d for e in ports for d in (-1, 0, 1)} | {
            1,
            22,
            53,
            67,
            123,
            137,
            443,
            5353,
            65535,
        }
        self.ports = sorted(port for port in near if 0 < port < 65536)

    def _destinations(self):
        found = {a for held in self.learned.values() for a in held}
        # The border of the network that is protected here, and of those that services name.
        for network in [*self.plan.protected, *(n for s in self.plan.services for n in s.networks)]:
            if network.version == 4:
                first, last = int(network.network_address), int(network.broadcast_address)
                found |= {ip_address(n) for n in (first - 1, first, first + 1, last, last + 1)}
        found |= {ip_address(t) for t in ("8.8.8.8", "10.99.0.17", "10.99.8.17", "10.255.0.1")}
        return [*sorted(found), *ON_LINK, GATEWAY]

    def outward(self):
        """Draw the first packet of something from a tablet, honest or not."""
        dice, number = self.dice, next(self.numbers)
        binding = dice.choice(self.bindings)
        mac, source = binding.mac, binding.address
        trick = dice.random()
        if trick < 0.04:
            others = [*(b.address for b in self.bindings), GATEWAY]
            odd = ("10.10.0.5", "127.0.0.1", "8.8.8.8", "224.0.0.1")
            source = dice.choice([*others, *map(ip_address, odd)])
        elif trick < 0.08:
            mac = dice.choice([Mac.parse("64:1b:2f:00:00:99"), *(b.mac for b in self.others)])
        elif trick < 0.11:
            return self._six(number, mac)
        elif trick < 0.13:
            source = ZERO
        destination = ON_LINK[0] if source == ZERO else dice.choice(self.destinations)
        protocol = dice.choice(["tcp", "tcp", "udp", "udp", "udp", "icmp", "253"])
        if protocol == "icmp":
            return self._icmp(number, mac, source, destination)
        if protocol == "253":
            body = wire.ip4(source, destination, 253, OUT + number.to_bytes(4))
            return self._made(mac, source, destination, "253", (body,))
        return self._transport(number, mac, source, destination, protocol)

    def clock(self):
        """Let each tablet ask the appliance for the time: what only some groups are given."""
        found = []
        for number, binding in zip(self.numbers, self.bindings, strict=False):
            mac, source, sport = binding.mac, binding.address, 1024 + number % 60000
            body = wire.udp(source, GATEWAY, sport, 123, OUT + number.to_bytes(4))
            packet = wire.ip4(source, GATEWAY, wire.UDP, body)
            found.append(self._made(mac, source, GATEWAY, "udp", (packet,), 123, sport))
        return found

    def _transport(self, number, mac, source, destination, protocol):
        dice = self.dice
        port = dice.choice(self.ports)
        sport = 67 if dice.random() < 0.04 else 1024 + number % 60000
        payload, state = OUT + number.to_bytes(4), NEW
        broken = dice.random() < 0.03
        if protocol == "tcp":
            flags = wire.SYN if dice.random() < 0.75 else dice.randrange(256)
            bare = flags & ~(wire.PSH | wire.ECE | wire.CWR)
            state = NEW if bare in VALID & OPENING and not broken else INVALID
            body = wire.tcp(source, destination, sport, port, flags, payload, broken=broken)
        else:
            cut = dice.random() < 0.08
            payload += bytes(1400) if cut else b""
            body = wire.udp(source, destination, sport, port, payload, broken=broken)
            state = INVALID if broken else NEW
            if cut:
                pieces = wire.fragments(source, destination, wire.UDP, body, number & 0xFFFF)
                whole = dice.random() < 0.7
                kept = tuple(dice.sample(pieces, len(pieces) if whole else 1))
                return self._made(
                    mac, source, destination, "udp", kept, port, sport, state, judged=whole
                )
        packet = wire.ip4(source, destination, NUMBERS[protocol], body)
        return self._made(mac, source, destination, protocol, (packet,), port, sport, state)

    def _icmp(self, number, mac, source, destination):
        # The appliance answers few echo requests a second: these go elsewhere.
        elsewhere = [a for a in self.destinations if a != GATEWAY and a not in ON_LINK]
        if destination not in elsewhere:
            destination = self.dice.choice(elsewhere)
        kind = self.dice.choice([8, 8, 8, 0, 3, 5, 9, 13, 42])
        quoted = wire.ip4(destination, source, wire.UDP, b"\x22\x61\x0f\xa0\0\x08\0\0")
        rest = 0 if kind in {3, 5} else (number & 0xFFFF) << 16
        body = wire.icmp(
            kind, 0, rest, (quoted if kind in {3, 5} else b"") + OUT + number.to_bytes(4)
        )
        state = NEW if kind in ASKING else INVALID
        packet = wire.ip4(source, destination, wire.ICMP, body)
        return self._made(mac, source, destination, "icmp", (packet,), state=state)

    def _six(self, number, mac):
        dice = self.dice
        source = ip_address("fe80::5")
        to = ["ff02::1", "2001:4860:4860::8888", "fd00:20::9", "fd00:21::", "fe80::1"]
        destination = ip_address(dice.choice(to))
        mark = OUT + number.to_bytes(4)
        protocol = dice.choice(["udp", "icmpv6", "icmpv6"])
        if protocol == "udp":
            sport, port = dice.choice([(547, 546), (5000, 53), (546, 547)])
            body = wire.udp(source, destination, sport, port, mark)
        else:
            sport, port = 0, dice.choice([134, 134, 135, 128, 143])
            body = wire.icmp6(source, destination, port, bytes(12) + mark)
        packet = wire.ip6(source, destination, NUMBERS[protocol], body)
        return self._made(mac, source, destination, protocol, (packet,), port, sport)

    def _made(  # noqa: PLR0913, PLR0917  # a packet has many fields
        self, mac, source, destination, protocol, packets, port=0, sport=0, state=NEW, judged=True
    ):
        flow = Flow("tab0", mac, source, destination, protocol, port, sport, state)
        return Packet(flow, packets, judged)

    def inward(self, outside_mac):
        """Draw a packet from outside that no tablet has asked for."""
        dice, number = self.dice, next(self.numbers)
        clinical = [n.network_address for n in self.plan.protected if n.version == 4]
        reachable = [a for a in self.destinations if a not in (*ON_LINK, GATEWAY)]
        source = dice.choice([a for a in reachable if not str(a).startswith("10.99.")])
        destination = dice.choice([*(b.address for b in self.bindings), *clinical])
        sport, port = 1024 + number % 60000, dice.choice(self.ports)
        mark = IN + number.to_bytes(4)
        body = wire.udp(source, destination, sport, port, mark)
        packet = wire.ip4(source, destination, wire.UDP, body)
        flow = Flow("up0", outside_mac, source, destination, "udp", port, sport, NEW)
        return Packet(flow, (packet,))


@dataclass
class Running:
    """A flow that was let in: its mark, and whether the other side has answered."""

    flow: Flow
    mark: int
    answered: bool = False

    def reply(self, number, outside_mac):
        """Build the other side's answer."""
        flow, mark = self.flow, IN + number.to_bytes(4)
        one, other = flow.destination, flow.source
        if flow.protocol == "tcp":
            flags = wire.ACK if self.answered else wire.SYN | wire.ACK
            seq = 5000 + 13 * self.answered
            body = wire.tcp(one, other, flow.port, flow.source_port, flags, mark, seq, 1001)
        else:
            body = wire.udp(one, other, flow.port, flow.source_port, mark)
        packet = wire.ip4(one, other, NUMBERS[flow.protocol], body)
        back = Flow(
            "up0",
            outside_mac,
            one,
            other,
            flow.protocol,
            flow.source_port,
            flow.port,
            ESTABLISHED,
            self.mark,
        )
        self.answered = True
        return Packet(back, (packet,))

    def more(self, number):
        """Build the tablet's next packet of it."""
        flow, mark = self.flow, OUT + number.to_bytes(4)
        if flow.protocol == "tcp":
            flags, seq = (wire.ACK, 1013) if self.answered else (wire.SYN, 1000)
            ack = 5013 if self.answered else 0
            body = wire.tcp(
                flow.source, flow.destination, flow.source_port, flow.port, flags, mark, seq, ack
            )
        else:
            body = wire.udp(flow.source, flow.destination, flow.source_port, flow.port, mark)
        packet = wire.ip4(flow.source, flow.destination, NUMBERS[flow.protocol], body)
        state = ESTABLISHED if self.answered else NEW
        return Packet(replace(flow, state=state, mark=self.mark), (packet,))

    def error(self, number, outside_mac, router, *, known=True):
        """Build an ICMP error from somewhere on the way, about this flow or about one nobody knows."""
        flow = self.flow
        sport = flow.source_port if known else (flow.source_port + 7) % 65536
        head = sport.to_bytes(2) + flow.port.to_bytes(2) + bytes.fromhex("000003e8")
        quoted = wire.ip4(flow.source, flow.destination, NUMBERS[flow.protocol], head + bytes(12))
        body = wire.icmp(3, 1, 0, quoted + IN + number.to_bytes(4))
        packet = wire.ip4(router, flow.source, wire.ICMP, body)
        state, mark = (RELATED, self.mark) if known else (INVALID, 0)
        about = Flow("up0", outside_mac, router, flow.source, "icmp", 0, 0, state, mark)
        return Packet(about, (packet,))

    def complaint(self, number):
        """Build the tablet's ICMP error about a packet of the other side."""
        flow = self.flow
        head = flow.port.to_bytes(2) + flow.source_port.to_bytes(2) + bytes.fromhex("000003e8")
        quoted = wire.ip4(flow.destination, flow.source, NUMBERS[flow.protocol], head + bytes(12))
        body = wire.icmp(3, 3, 0, quoted + OUT + number.to_bytes(4))
        packet = wire.ip4(flow.source, flow.destination, wire.ICMP, body)
        about = replace(flow, protocol="icmp", port=0, source_port=0, state=RELATED, mark=self.mark)
        return Packet(about, (packet,))


def opened(left):
    """Return openings, now, of groups that have so many seconds left; others lie before and behind."""
    now = int(clock.now().timestamp())
    current = {
        name: ((now - 600, now + seconds),) if seconds else () for name, seconds in left.items()
    }
    return {
        name: ((now - 9000, now - 8000), *spans, (now + 9000, now + 9600))
        for name, spans in current.items()
    }
