"""What leaves for the resolvers, and what upstream may do to the sets: real datagrams, real kernel."""

import json
import random
import signal
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from itertools import pairwise
from pathlib import Path

import pytest

from netguard.core.learning import special
from netguard.render import names, nftables

sys.path.insert(0, str(Path(__file__).parents[2] / "bench" / "dns"))
import field as names_field

ROOT = Path(__file__).parents[2]
RESOLVER = "10.255.0.9"
LIE = "20.66.66.66"
TABLET = """
import json, random, socket, struct, sys, time
from netguard.lab.dnsload import _one_packet, address_of, question
q = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); q.settimeout(5); q.connect(("10.99.0.1", 53))
def ask(name, n=1):
    q.send(question(name, n & 0xFFFF)); d = q.recv(4096)
    return d[3] & 15, d[-4:]
"""


def resolver(made, code, *words):
    """Start a resolver of the test's own, and return it once it listens."""
    made.run(made.outside, "ip", "address", "add", f"{RESOLVER}/32", "dev", "lo")
    process = made.open(made.outside, sys.executable, "-c", code, *words)
    assert process.stdout.readline() == "ready\n"
    return process


# Answers each question truly, but only after four answers that are none: from another address, from
# another port, with another id, and to another open port of the asker. Prints what came at the end.
FORGES = """
import json, socket, struct, sys
from netguard.lab.dnsload import address_of
from netguard.core import dnswire
def bound(*where):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(where); return s
asked, other, elsewhere = bound("10.255.0.9", 53), bound("10.255.0.9", 5353), bound("10.255.0.7", 53)
came, before = [], None
print("ready", flush=True)
while True:
    data, peer = asked.recvfrom(4096)
    end = data.index(b"\\0", 12) + 5
    name = dnswire.read_name(data, 12)[0]
    if name == "end.names.example":
        print(json.dumps(came), flush=True); continue
    def answer(id_, packed):
        return id_ + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + data[12:end] + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + packed
    lie, id_ = socket.inet_aton("20.66.66.66"), int.from_bytes(data[:2], "big")
    elsewhere.sendto(answer(data[:2], lie), peer)
    other.sendto(answer(data[:2], lie), peer)
    asked.sendto(answer((id_ ^ 0x0101).to_bytes(2, "big"), lie), peer)
    if before is not None and before != peer:
        asked.sendto(answer(data[:2], lie), before)
    asked.sendto(answer(data[:2], address_of(name)), peer)
    if name.startswith("w"):
        came.append((peer[1], id_)); before = peer
"""
WATCHED = 600


def test_questions_leave_with_random_ids_from_random_ports_and_nobody_else_answers_them():
    """RFC 5452 4.5: what a forger would have to guess is taken from what really was on the wire."""
    with names_field.Field(names_field.plan_of(cache=False, upstream=RESOLVER), 1) as made:
        made.run(made.outside, "ip", "address", "add", "10.255.0.7/32", "dev", "lo")
        upstream = resolver(made, FORGES)
        made.proxy()
        code = TABLET + (
            f"got = [ask(f'w{{n}}.names.example', n) == (0, address_of(f'w{{n}}.names.example')) for n in range({WATCHED})]\n"
            "q.send(question('end.names.example', 9)); print(sum(got))"
        )
        assert made.run(next(iter(made.tablets)), sys.executable, "-c", code).strip() == str(
            WATCHED
        )
        came = json.loads(upstream.stdout.readline())
        assert LIE not in made.run(made.gw, "nft", "list", "table", "inet", "netguard")
    ports, ids = [port for port, _ in came], [id_ for _, id_ in came]
    assert len(came) >= WATCHED
    # Each bit of an id as often set as not; hardly any id twice; no step from one to the next.
    for bit in range(16):
        assert 0.4 < sum(id_ >> bit & 1 for id_ in ids) / len(ids) < 0.6, f"bit {bit}"
    assert len(set(ids)) > 0.97 * len(ids)
    steps = Counter((b - a) % 65536 for a, b in pairwise(ids))
    assert steps.most_common(1)[0][1] <= 3
    # Ports from all of the unprivileged range, many open at once, none of them the next one's too.
    used = Counter(ports)
    assert len(used) >= 56
    assert min(used) >= 1024
    assert all(sum(at <= p < at + 16128 for p in used) > 4 for at in range(1024, 65536, 16128))
    assert used.most_common(1)[0][1] < len(ports) / 16
    assert sum(a == b for a, b in pairwise(ports)) < len(ports) / 16


ROTATES = """
import socket, struct
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); one.bind(("10.255.0.9", 53)); n = 0
print("ready", flush=True)
while True:
    data, peer = one.recvfrom(4096); end = data.index(b"\\0", 12) + 5
    if data[12:].startswith(b"\\x08rotating"):
        n += 1
        tail = b"\\xc0\\x0c\\0\\1\\0\\1" + struct.pack("!IH", 1, 4) + bytes([20, 50, n >> 8 & 255, n & 255])
        one.sendto(data[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + data[12:end] + tail, peer)
    else:
        one.sendto(data[:2] + b"\\x81\\x83\\0\\1\\0\\0\\0\\0\\0\\0" + data[12:end], peer)
"""
# Asks a thousand times, sends a first packet to each address, and keeps every fortieth as a call.
FOLLOWS = (
    TABLET
    + """
calls, passed, spoken, heard, told = [], 0, 0, 0, set()
start = time.monotonic()
for n in range(1000):
    rcode, packed = ask("rotating.names.example", n)
    told.add(packed)
    target = socket.inet_ntoa(packed), 443
    passed += rcode == 0 and _one_packet("udp" if n % 2 else "tcp", target)
    if n % 40 == 0:
        call = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); call.settimeout(2); call.connect(target); calls.append(call)
    call = calls[n % len(calls)]
    spoken += 1
    call.send(b"x"); heard += call.recv(9) == b"x"
    time.sleep(max(0.0, start + n / 50 - time.monotonic()))
for call in calls:
    spoken += 1
    call.send(b"y"); heard += call.recv(9) == b"y"
print(json.dumps([passed, spoken - heard, len(calls), len(told), time.monotonic() - start]))
"""
)


def test_a_name_whose_addresses_rotate_at_every_answer_works_on_the_kernel():
    """An hour, scaled: an element lives three seconds, the run is seven lives long, answers come faster
    than the limit of addresses of a name allows to keep them."""
    plan = names_field.plan_of(cache=False, upstream=RESOLVER)
    short = replace(
        plan.learned, ttl_floor=timedelta(seconds=1), ttl_ceiling=timedelta(seconds=1), grace=timedelta(seconds=2)
    )  # fmt: skip
    with names_field.Field(replace(plan, learned=short), 1) as made:
        resolver(made, ROTATES)
        made.proxy(wait=False)
        time.sleep(1.5)
        tablet = made.open(next(iter(made.tablets)), sys.executable, "-c", FOLLOWS)
        sizes = []
        while tablet.poll() is None:
            sizes.append((made.held("s_zoom_dns4"), made.held("learned4")))
            time.sleep(0.3)
        told = tablet.stdout.read()
    passed, lost, calls, addresses, seconds = json.loads(told)
    print(f"{seconds:.0f} s, {len(sizes)} looks, at most {max(sizes)} held")
    assert (passed, lost, calls, addresses) == (1000, 0, 25, 1000)
    assert len(sizes) > 10
    assert max(own for own, _ in sizes) <= short.addresses_per_name
    assert max(every for _, every in sizes) <= short.addresses_per_service
    assert max(own for own, _ in sizes) > 20, "the addresses did come and go"


# Asks for each address that the test wants learned, and sends to each, told or not, over UDP and TCP.
TRIES = (
    TABLET
    + """
said = {}
for address in json.loads(sys.argv[1]):
    rcode, packed = ask(f"x{socket.inet_aton(address).hex()}.names.example")
    said[address] = rcode == 0 and socket.inet_ntoa(packed) == address
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
for address in said:
    for port in (443, 8801):
        try: u.sendto(b"x", (address, port))
        except OSError: pass
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as t:
        t.settimeout(0.02)
        try: t.connect((address, 443))
        except OSError: pass
print(json.dumps(said))
"""
)
CORPUS = [
    line.split("\t")[0]
    for line in (ROOT / "tests/data/rebinding.txt").read_text().splitlines()
    if not line.startswith("#") and ":" not in line
]


def shielded(plan, rng):
    """The same hospital with protected networks drawn anew, some of them public ones of its own."""
    drawn = [
        ip_network((int(ip_address(base)) + rng.randrange(1 << 24), length), strict=False)
        for base, length in (
            (rng.choice(("10.0.0.0", "20.0.0.0", "20.0.0.0")), rng.randint(10, 30))
            for _ in range(rng.randint(2, 12))
        )
    ]
    # Not what the bench itself stands on.
    ours = [ip_network(n) for n in ("10.99.0.0/22", "10.255.0.0/24", "20.200.0.0/16")]
    kept = [n for n in drawn if not any(n.overlaps(o) for o in ours)]
    return replace(plan, protected=tuple(sorted({*plan.protected, *kept}, key=str)))


def drawn(rng, plan):
    """Addresses that upstream answers with: in and around what is protected, the corpus, and good ones."""
    shield = [n for n in plan.protected if n.version == 4]
    near = []
    for network in rng.sample(shield, min(8, len(shield))):
        near += [network[0], network[-1], network[rng.randrange(network.num_addresses)]]
        near += [network[0] - 1, network[-1] + 1]
    good = [ip_address(int(ip_address("20.0.0.0")) + rng.randrange(1 << 24)) for _ in range(12)]
    good += [ip_address("20.200.0.0") + rng.randrange(1 << 16) for _ in range(4)]
    found = {*map(str, near), *map(str, good), *rng.sample(CORPUS, 8)}
    return rng.sample(sorted(found), len(found))


@pytest.mark.parametrize("seed", range(5))
def test_under_any_rules_and_answers_no_packet_reaches_a_protected_address(seed):
    """Plans and answers are drawn; then `protected` grows over what was learned, and it is asked again."""
    rng = random.Random(seed)
    plan = shielded(names_field.plan_of(), rng)
    with names_field.Field(plan, 1) as made:
        made.proxy()
        tablet = next(iter(made.tablets))
        asked = drawn(rng, plan)
        learned = _tried(made, tablet, asked, plan)
        more = tuple(ip_network(f"{address}/32") for address in learned if rng.random() < 0.5)
        grown = replace(plan, protected=tuple(sorted({*plan.protected, *more}, key=str)))
        made.run(made.gw, "nft", "-f", "-", stdin=nftables.render(grown))
        (made.folder / "state" / "dns.json").write_text(names.render(grown))
        told = (
            "from pathlib import Path; from netguard.adapters import control\n"
            f"control.call(Path('{made.folder}/run/dns.sock'), 'reload')"
        )
        made.run(made.gw, sys.executable, "-c", told)
        again = _tried(made, tablet, rng.sample(asked, len(asked)), grown)
        assert set(again) == set(learned) - {str(n.network_address) for n in more}


def _tried(made, tablet, asked, plan):
    """Ask and send; returns what was learned. Counts at the far side what came for whom."""
    shield = [n for n in plan.protected if n.version == 4]
    inside = {a for a in asked if any(ip_address(a) in n for n in shield)}
    lists = {"lie": inside | set(CORPUS), "good": set(asked) - inside - set(CORPUS)}
    watch = "table ip seen\ndelete table ip seen\ntable ip seen {\n counter lie { }\n counter good { }\n"
    watch += " chain c {\n type filter hook prerouting priority raw;\n"
    for name, addresses in lists.items():
        listed = ", ".join(sorted(addresses))
        watch += f' iifname "eth0" ip daddr {{ {listed} }} counter name {name}\n'
    made.run(made.outside, "nft", "-f", "-", stdin=watch + " }\n}\n")
    said = json.loads(made.run(tablet, sys.executable, "-c", TRIES, json.dumps(asked)))
    learned = sorted(address for address, yes in said.items() if yes)
    assert not inside & set(learned)
    fine = {a for a in asked if a not in inside and not special(ip_address(a))}
    assert set(learned) == fine
    seen = made.run(made.outside, "nft", "-j", "list", "counters", "table", "ip", "seen")
    counted = {
        row["counter"]["name"]: row["counter"]["packets"]
        for row in json.loads(seen)["nftables"]
        if "counter" in row
    }
    assert counted["lie"] == 0
    assert counted["good"] >= len(learned) > 0
    return learned


ELSEWHERE = (
    TABLET
    + """
def over(kind, name):
    with socket.socket(socket.AF_INET, kind) as one:
        one.settimeout(3); one.connect(("8.8.8.8", 53)); asked = question(name, 7)
        if kind == socket.SOCK_DGRAM:
            one.send(asked); d = one.recv(4096)
        else:
            one.sendall(struct.pack("!H", len(asked)) + asked); f = one.makefile("rb")
            d = f.read(struct.unpack("!H", f.read(2))[0])
        return [d[3] & 15, d[-4:] == address_of(name)]
names = ("n1.names.example", "www.example.org")
print(json.dumps([over(kind, name) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM) for name in names]))
"""
)


def test_a_resolver_that_a_tablet_chose_itself_is_answered_for_by_ours():
    """Over datagrams and streams; where it leads to hears nothing, and it is counted."""
    with names_field.Field(names_field.plan_of(), 1) as made:
        watch = 'table ip seen {\n counter out { }\n chain c {\n type filter hook prerouting priority raw;\n iifname "eth0" ip daddr 8.8.8.8 counter name out\n }\n}\n'
        made.run(made.outside, "nft", "-f", "-", stdin=watch)
        made.proxy()
        told = made.run(next(iter(made.tablets)), sys.executable, "-c", ELSEWHERE)
        assert json.loads(told) == [[0, True], [5, False]] * 2
        out = made.run(made.outside, "nft", "list", "counter", "ip", "seen", "out")
        assert "packets 0" in out
        counted = made.run(made.gw, "nft", "list", "counter", "inet", "netguard", "c_intercepted")
        # The first packet of each of the four.
        assert "packets 4" in counted


# Two resolvers that are each silent, slow, broken, wrong and right in turns, never both at once.
FLAPS = """
import random, select, socket, struct, sys, time
from netguard.core import dnswire
from netguard.lab.dnsload import address_of
rng = random.Random(3); later = []
def bound(address):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((address, 53)); return s
both = [bound("10.255.0.9"), bound("10.255.0.8")]
print("ready", flush=True)
start = time.monotonic()
while True:
    ready, _, _ = select.select(both, [], [], 0.02)
    now = time.monotonic()
    for s, data, peer in [each[1:] for each in later if each[0] <= now]: s.sendto(data, peer)
    later = [each for each in later if each[0] > now]
    for s in ready:
        data, peer = s.recvfrom(4096); end = data.index(b"\\0", 12) + 5; asked = data[12:end]
        name = dnswire.read_name(data, 12)[0]
        good = data[:2] + b"\\x81\\x80\\0\\1\\0\\1\\0\\0\\0\\0" + asked + b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4" + address_of(name)
        lie = good[:-4] + bytes([20, 66, 66, 66])
        well = both.index(s) == int((now - start) / 2) % 2
        if well:
            s.sendto(good, peer); continue
        match rng.randrange(8):
            case 0: pass
            case 1: later.append((now + 0.3, s, good, peer))
            case 2: s.sendto(rng.randbytes(rng.randrange(200)), peer)
            case 3: s.sendto(data[:2] + rng.randbytes(60), peer)
            case 4: s.sendto(data[:2] + b"\\x81\\x82\\0\\1\\0\\0\\0\\0\\0\\0" + asked, peer)
            case 5: s.sendto(lie[:12] + b"\\x05wrong" + asked[asked[0] + 1:] + lie[end:], peer)
            case 6: s.sendto(good[:rng.randrange(12, len(good))], peer)
            case 7: s.sendto(good[:-6] + b"\\0\\3" + good[-4:], peer)
"""
PERSISTS = (
    TABLET
    + """
right = wrong = passed = 0; start = time.monotonic(); n = 0
while time.monotonic() < start + 15:
    n += 1; name = f"f{n}.names.example"
    q.settimeout(4)
    try: rcode, packed = ask(name, n)
    except OSError: continue
    if rcode: continue
    good = packed == address_of(name)
    right += good; wrong += not good
    passed += _one_packet("tcp" if n % 2 else "udp", (socket.inet_ntoa(packed), 443))
    time.sleep(0.02)
print(json.dumps([n, right, wrong, passed]))
"""
)


def test_resolvers_that_flap_lie_and_stammer_and_a_proxy_that_is_killed_open_nothing_wrong():
    """What is answered is true and open at once; what is not, is not; a lie is in no set."""
    plan = names_field.plan_of(cache=False, upstream=RESOLVER)
    second = replace(plan.resolver.upstream[0], address=ip_address("10.255.0.8"))
    resolvers = replace(plan.resolver, upstream=(*plan.resolver.upstream, second))
    with names_field.Field(replace(plan, resolver=resolvers), 1) as made:
        made.run(made.outside, "ip", "address", "add", "10.255.0.8/32", "dev", "lo")
        resolver(made, FLAPS)
        process = made.proxy(wait=False)
        time.sleep(1.5)
        tablet = made.open(next(iter(made.tablets)), sys.executable, "-c", PERSISTS)
        time.sleep(6)
        made.stop(process, signal.SIGKILL)
        again = made.proxy(wait=False)
        asked, right, wrong, passed = json.loads(tablet.stdout.read())
        print(f"{asked} asked, {right} right, {passed} first packets")
        assert wrong == 0
        assert passed == right
        assert right > 0.8 * asked > 40
        assert again.poll() is None
        listed = made.run(made.gw, "nft", "list", "table", "inet", "netguard")
        assert LIE not in listed
        made.answering(again)
