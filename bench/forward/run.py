"""What forwarding costs: CPU time per small packet through a router between two namespaces.

Every candidate has a router of its own and all take turns, so that a noisy machine hits them alike.
One thread on one CPU sends; the kernel routes and filters within the call that sends, on the same
CPU, so this thread's CPU time is the cost of the whole way (the sender's share is the same for all).
The interface counters show that what was sent went through, or did not. Peers: no firewall; a
firewall of two rules that keeps state; a rule for each MAC; ipset, where it is installed.
"""

import ctypes
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from ipaddress import IPv4Address, ip_address, ip_network
from pathlib import Path
from statistics import median

from netguard.core.names import Mac, Ports
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Group, Policy, Tablet
from netguard.render import nftables
from netguard.rules.folder import read_folder
from netguard.rules.load import load

ROOT = Path(__file__).parents[2]
FLOWS, BATCH, ROUNDS = 200, 6_000, 15
SERVER, NOBODY, CLINICAL = (IPv4Address(t) for t in ("170.114.10.7", "8.8.8.8", "10.10.0.5"))
# Frames to a MAC that is not the receiver's end there, at once.
NEXT_HOP = "02:00:00:00:00:99"
AIMS = {
    "10,000 tablets / two rules": (">=", 0.7),
    "10,000 tablets / 200 tablets": ("<=", 1.05),
    "200 services / 10 services": ("<=", 1.3),
    "first packets, 200 services / 10": ("<=", 1.3),
    "denied / allowed": ("<=", 2.0),
}
TWO_RULES = """table inet two {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "tab0" ip daddr 170.114.0.0/16 ct state new accept
  }
}
"""


def sh(*words: str, text: str | None = None) -> None:
    subprocess.run(words, check=True, input=text, text=True, capture_output=True)


# frames


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(
    hop: bytes, mac: bytes, one: IPv4Address, other: IPv4Address, ports: tuple[int, int]
) -> bytes:
    """Build a UDP packet of 64 bytes without a checksum of its own (RFC 768 allows that)."""
    head = struct.pack("!BBHHHBBH", 0x45, 0, 50, 0, 0, 64, 17, 0) + one.packed + other.packed
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    return hop + mac + b"\x08\x00" + head + struct.pack("!HHHH", *ports, 30, 0) + bytes(22)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    # struct mmsghdr of recvmmsg(2), 64-bit
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.POINTER(_Vector)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("sent", ctypes.c_uint),
    )


_LIBC = ctypes.CDLL(None, use_errno=True)


class Burst:
    """Frames ready to be sent, many in one call."""

    def __init__(self, frames: list[bytes]) -> None:
        self.count = len(frames)
        self._kept = [ctypes.create_string_buffer(each, len(each)) for each in frames]
        self._vectors = (_Vector * self.count)()
        self._messages = (_Message * self.count)()
        for vector, message, kept in zip(self._vectors, self._messages, self._kept, strict=True):
            vector.base, vector.length = ctypes.addressof(kept), len(kept)
            message.vectors, message.count = ctypes.pointer(vector), 1

    def send(self, sock: socket.socket) -> None:
        done = 0
        while done < self.count:
            at = ctypes.byref(self._messages, done * ctypes.sizeof(_Message))
            sent = _LIBC.sendmmsg(sock.fileno(), at, min(256, self.count - done), 0)
            if sent <= 0:
                raise OSError(ctypes.get_errno(), "sendmmsg")
            done += sent


# routers


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    own, other = Path("/proc/self/ns/net"), Path("/run/netns", namespace)
    with own.open() as back, other.open() as there:
        if _LIBC.setns(there.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            _LIBC.setns(back.fileno(), 0x40000000)


@dataclass
class Router:
    """One candidate: tablets - gateway - outside, and what it cost so far."""

    name: str
    plan: Plan | None
    script: str
    iptables: str = ""
    tablets: int = FLOWS
    times: dict[str, list[float]] = field(default_factory=dict)

    @property
    def who(self) -> list[int]:
        """Return the numbers of the tablets that send, spread over all of them."""
        return [n * self.tablets // FLOWS for n in range(FLOWS)]

    def up(self) -> None:
        tag = uuid.uuid4().hex[:6]
        self.spaces = [f"ngb-{tag}-{end}" for end in ("tab", "gw", "out")]
        for space in self.spaces:
            sh("ip", "netns", "add", space)
            sh("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        tab, gw, out = self.spaces
        for here, name, there in ((gw, "tab0", tab), (gw, "up0", out)):
            words = ("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", there)
            sh("ip", "-n", here, *words)
            sh("ip", "-n", here, "link", "set", name, "up")
            sh("ip", "-n", there, "link", "set", "eth0", "up")
        sh("ip", "-n", gw, "address", "add", "10.99.0.1/16", "dev", "tab0")
        sh("ip", "-n", gw, "address", "add", "10.255.0.2/30", "dev", "up0")
        sh("ip", "-n", gw, "route", "add", "default", "via", "10.255.0.1")
        neighbour = ("neigh", "replace", "10.255.0.1", "lladdr", NEXT_HOP, "dev", "up0")
        sh("ip", "-n", gw, *neighbour, "nud", "permanent")
        for key in ("ip_forward=1", "conf.all.rp_filter=0", "conf.tab0.rp_filter=0"):
            sh("ip", "netns", "exec", gw, "sysctl", "-qw", f"net.ipv4.{key}")
        if self.script:
            sh("ip", "netns", "exec", gw, "nft", "-f", "-", text=self.script)
        if self.iptables:
            sh("ip", "netns", "exec", gw, "sh", "-e", text=self.iptables)
        # Nobody answers ARP there, and an error about it would leave by the other side.
        known = "".join(
            f"neigh replace {address(n)} lladdr {NEXT_HOP} dev tab0 nud permanent\n"
            for n in self.who
        )
        sh("ip", "-n", gw, "-batch", "-", text=known)
        self.sender, self.hop = self._socket(tab, gw, "tab0")
        self.outside, self.way_back = self._socket(out, gw, "up0")

    def _socket(self, space: str, gateway: str, device: str) -> tuple[socket.socket, bytes]:
        with inside(space):
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sock.bind(("eth0", 0))
        words = ["ip", "-n", gateway, "-j", "link", "show", device]
        shown = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        return sock, bytes.fromhex(shown[0]["address"].replace(":", ""))

    def down(self) -> None:
        for sock in (getattr(self, "sender", None), getattr(self, "outside", None)):
            if sock is not None:
                sock.close()
        for space in getattr(self, "spaces", ()):
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)

    def burst(self, to: IPv4Address, sports: list[int]) -> "Burst":
        """Build a packet of one tablet after the other for each source port."""
        macs = [bytes.fromhex(str(mac(n)).replace(":", "")) for n in self.who]
        own = [address(n) for n in self.who]
        return Burst(
            [
                frame(self.hop, macs[n % FLOWS], own[n % FLOWS], to, (sport, 8801))
                for n, sport in enumerate(sports)
            ]
        )

    def answers(self) -> "Burst":
        """Build the server's answer to each running flow."""
        back = self.way_back
        return Burst([frame(back, back, SERVER, address(n), (8801, 900)) for n in self.who])

    def forwarded(self) -> int:
        """Return how many packets left towards the outside."""
        words = ["ip", "-n", self.spaces[1], "-j", "-s", "link", "show", "up0"]
        shown = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
        return int(shown[0]["stats64"]["tx"]["packets"])


def measured(router: Router, kind: str, burst: Burst, *, passes: bool) -> None:
    """Send a burst and note CPU microseconds per packet; stop when packets went elsewhere."""
    before = router.forwarded()
    started = time.thread_time()
    burst.send(router.sender)
    spent = time.thread_time() - started
    gone = router.forwarded() - before
    if gone != (burst.count if passes else 0):
        sys.exit(f"{router.name}, {kind}: {gone} of {burst.count} packets were forwarded")
    router.times.setdefault(kind, []).append(spent / burst.count * 1e6)


# what is compared


def policy(base: Policy, tablets: int, services: int, deny: str) -> Policy:
    """One site with so many tablets in one group that has so many services; the call's sorts last."""
    zoom = base.services["zoom"]
    more = {
        f"app-{n}": replace(
            zoom,
            name=f"app-{n}",
            networks=(ip_network(f"198.18.{n}.0/24"),),
            ports=(Ports("tcp", 443, 443), Ports("udp", 10000 + n, 10000 + n)),
        )
        for n in range(services - 1)
    }
    site = replace(base.sites["pellegrin"], nat="none", networks=(ip_network("10.99.0.0/16"),))
    group = Group("patients", ("pellegrin",), tuple(sorted([*more, "zoom"])), deny, None, None)
    inventory = {
        f"T-{n:05}": Tablet(f"T-{n:05}", mac(n), "patients", ("pellegrin", "cardio-3"))
        for n in range(tablets)
    }
    return replace(
        base,
        sites={"pellegrin": site},
        services={**more, "zoom": zoom},
        groups={"patients": group},
        tablets=inventory,
        allotted={("pellegrin", id_): address(n) for n, id_ in enumerate(inventory)},
        origins={},
    )


def mac(number: int) -> Mac:
    return Mac.parse(f"3c:28:6d:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}")


def address(number: int) -> IPv4Address:
    return IPv4Address(int(ip_address("10.99.0.16")) + number)


def ours(base: Policy, name: str, tablets: int, services: int, deny: str = "reject") -> Router:
    plan = compile_plan(policy(base, tablets, services, deny), ["pellegrin"])
    # First packets are measured at full speed: the limit itself stays in their way.
    plan = replace(plan, new_flow_rate="1000000/s", new_flow_burst=1_000_000)
    return Router(name, plan, nftables.render(plan), tablets=tablets)


def linear(tablets: int) -> str:
    rules = "".join(
        f'    iifname "tab0" ether saddr {mac(n)} ip saddr {address(n)} '
        "ip daddr 170.114.0.0/16 accept\n"
        for n in range(tablets)
    )
    return (
        "table inet linear {\n  chain forward {\n"
        "    type filter hook forward priority filter; policy drop;\n"
        f'    iifname "up0" ct state established,related accept\n{rules}  }}\n}}\n'
    )


def ipset(tablets: int) -> str:
    members = "".join(f"add lent {address(n)},{mac(n)}\n" for n in range(tablets))
    return (
        f"ipset restore <<END\ncreate lent bitmap:ip,mac range 10.99.0.0/16\n{members}END\n"
        "iptables -P FORWARD DROP\n"
        "iptables -A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
        "iptables -A FORWARD -i tab0 -m set --match-set lent src,src -d 170.114.0.0/16 -j ACCEPT\n"
    )


def candidates(base: Policy) -> list[Router]:
    routers = [
        Router("no firewall", None, ""),
        Router("two rules", None, TWO_RULES),
        ours(base, "200 tablets", 200, 10),
        ours(base, "10,000 tablets", 10_000, 10),
        ours(base, "200 services", 10_000, 200),
        ours(base, "200 services, drop", 10_000, 200, "drop"),
        Router("a rule per MAC, 200", None, linear(200)),
        Router("a rule per MAC, 1,000", None, linear(1_000), tablets=1_000),
    ]
    if shutil.which("ipset") and shutil.which("iptables"):
        routers.append(Router("ipset, 10,000 tablets", None, "", ipset(10_000), 10_000))
    else:
        print("ipset and iptables are not installed (scripts/packages.sh bench): left out")
    return routers


def run(routers: list[Router]) -> None:
    ports = iter(range(1024, 10**9))
    for router in routers:
        router.up()
    for turn in range(ROUNDS):
        for router in routers:
            running = [900] * BATCH
            if turn == 0:
                router.burst(SERVER, running[:FLOWS]).send(router.sender)
                router.answers().send(router.outside)
            measured(router, "running", router.burst(SERVER, running), passes=True)
            first = [1024 + next(ports) % 60000 for _ in range(BATCH // 3)]
            measured(router, "first", router.burst(SERVER, first), passes=True)
            if router.script or router.iptables:
                measured(router, "denied", router.burst(NOBODY, first), passes=False)
            if router.plan is not None:
                measured(router, "protected", router.burst(CLINICAL, first), passes=False)


def report(routers: list[Router]) -> None:
    cost = {
        router.name: {kind: median(times) for kind, times in router.times.items()}
        for router in routers
    }
    kinds = ("running", "first", "denied", "protected")
    print(f"CPU microseconds per packet, median of {ROUNDS} rounds in turn")
    print(f"  {'':24}" + "".join(f"{kind:>11}" for kind in kinds))
    for name, found in cost.items():
        cells = "".join(f"{found[k]:11.2f}" if k in found else f"{'-':>11}" for k in kinds)
        print(f"  {name:24}{cells}")
    wide = cost["200 services"]
    ratios = {
        "10,000 tablets / two rules": cost["two rules"]["running"]
        / cost["10,000 tablets"]["running"],
        "10,000 tablets / 200 tablets": cost["10,000 tablets"]["running"]
        / cost["200 tablets"]["running"],
        "200 services / 10 services": wide["running"] / cost["10,000 tablets"]["running"],
        "first packets, 200 services / 10": wide["first"] / cost["10,000 tablets"]["first"],
        "denied / allowed": wide["denied"] / wide["running"],
        "denied (drop) / allowed": cost["200 services, drop"]["denied"] / wide["running"],
    }
    for name in cost:
        ratios[f"two rules / {name}"] = cost["two rules"]["running"] / cost[name]["running"]
    within = {
        name: ratios[name] >= aim if sign == ">=" else ratios[name] <= aim
        for name, (sign, aim) in AIMS.items()
    }
    for name, (sign, aim) in AIMS.items():
        print(
            f"  {name:36} {ratios[name]:6.2f}  aim {sign} {aim}  {'ok' if within[name] else 'missed'}"
        )
    line = {
        "bench": "forward",
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "microseconds": {n: {k: round(v, 2) for k, v in c.items()} for n, c in cost.items()},
        "within_aims": within,
    }
    print(json.dumps(line))


def main() -> None:
    if os.geteuid() != 0:
        sys.exit("bench/forward makes network namespaces: run it as root")
    loaded = load(read_folder(ROOT / "rules", "rules"), today=date(2026, 11, 22))
    if loaded.policy is None:
        sys.exit("the example rules are not right: netguard check rules")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    routers = candidates(loaded.policy)
    try:
        run(routers)
    finally:
        for router in routers:
            router.down()
    report(routers)


if __name__ == "__main__":
    main()
