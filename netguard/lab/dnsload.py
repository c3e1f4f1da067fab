"""Programs around a name server under test: what it asks, who asks it, and where its answers lead.

    dnsload upstream ADDRESS             every name its own address below 20.0.0.0/8, for ever
    dnsload echo                         one line for each connection, each datagram back, any address
    dnsload load SERVER NAMES COUNT ...  ask, check every answer, print times as JSON
    dnsload first SERVER TAG COUNT       ask for fresh names, send one packet at once, count what passes
    dnsload call SERVER NAME COUNT ...   open connections with a TLS hello, print times and what came back

Used by tests/kernel and bench/dns, each in namespaces of its own.
"""

import argparse
import hashlib
import json
import selectors
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress

from netguard.core import dnswire

SUFFIX = "names.example"
TTL = 60
_IP_PKTINFO = 8


def address_of(name: str) -> bytes:
    """Return the address that the upstream gives a name: a function of the name alone.

    `x0a0a0005.names.example` is a lie on purpose: 10.10.0.5.
    """
    label = name.partition(".")[0]
    if len(label) == 9 and label[0] == "x" and not label[1:].strip("0123456789abcdef"):
        return bytes.fromhex(label[1:])
    return b"\x14" + hashlib.blake2s(name.encode(), digest_size=3).digest()


def upstream(address: str, ttl: int) -> None:
    """Answer every A question with the name's own address, over UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.bind((address, 53))
        tail = b"\xc0\x0c\0\1\0\1" + struct.pack("!IH", ttl, 4)
        known: dict[bytes, bytes] = {}
        while True:
            data, peer = one.recvfrom(4096)
            end = data.index(b"\0", 12) + 5
            asked = data[12:end]
            packed = known.get(asked)
            if packed is None:
                packed = known[asked] = address_of(dnswire.read_name(data, 12)[0])
            a = data[end - 4 : end - 2] == b"\0\1"
            head = data[:2] + b"\x81\x80\0\1" + (b"\0\1" if a else b"\0\0") + b"\0\0\0\0"
            one.sendto(head + asked + (tail + packed if a else b""), peer)


def echo() -> None:
    """Answer on every address that is routed here."""
    chooser = selectors.DefaultSelector()
    for kind, port in ((socket.SOCK_STREAM, 443), (socket.SOCK_DGRAM, 443)):
        one = socket.socket(socket.AF_INET, kind)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The answer must come from the address that was asked.
        one.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        one.bind(("", port))
        if kind == socket.SOCK_STREAM:
            one.listen(512)
        chooser.register(one, selectors.EVENT_READ)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        for key, _ in chooser.select():
            ready: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
            with suppress(OSError):
                if ready.type == socket.SOCK_STREAM:
                    connection, _ = ready.accept()
                    connection.sendall(b"hello\n")
                    connection.close()
                else:
                    data, told, _, peer = ready.recvmsg(2048, 256)
                    info = told[0][2]
                    source = struct.pack("=I", 0) + info[8:12] + b"\0" * 4
                    ready.sendmsg([data], [(socket.IPPROTO_IP, _IP_PKTINFO, source)], 0, peer)


def question(name: str, id_: int) -> bytes:
    """Return a question as a tablet asks it."""
    return struct.pack("!HHHHHH", id_, 0x0100, 1, 0, 0, 0) + dnswire.write_name(name) + b"\0\1\0\1"


def load(server: str, names: int, count: int, outstanding: int, rate: float) -> dict[str, object]:
    """Ask `count` questions over `names` names; with a rate evenly, else `outstanding` at once."""
    asked = [f"n{n}.{SUFFIX}" for n in range(names)]
    packets = [question(name, 0)[2:] for name in asked]
    expected = [address_of(name) for name in asked]
    sent: dict[int, tuple[int, float]] = {}
    times: list[float] = []
    wrong = done = number = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.connect((server, 53))
        one.settimeout(2.0)
        start = time.perf_counter()
        while done < count:
            now = time.perf_counter()
            while number < count and (
                now - start >= number / rate if rate else len(sent) < outstanding
            ):
                one.send((number & 0xFFFF).to_bytes(2, "big") + packets[number % names])
                sent[number & 0xFFFF] = number, now
                number += 1
            one.settimeout(
                max(0.0005, start + number / rate - now) if rate and number < count else 2.0
            )
            try:
                data = one.recv(4096)
            except TimeoutError:
                if rate and number < count:
                    continue
                # Lost: what is outstanding is given up, and shown.
                done += len(sent)
                wrong += len(sent)
                sent.clear()
                continue
            which, at = sent.pop(int.from_bytes(data[:2], "big"), (-1, 0.0))
            if which < 0:
                continue
            times.append(time.perf_counter() - at)
            done += 1
            wrong += data[3] & 15 != 0 or data[-4:] != expected[which % names]
    times.sort()
    return {
        "asked": count,
        "wrong": wrong,
        "p50_ms": round(times[len(times) // 2] * 1e3, 3) if times else None,
        "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 3) if times else None,
    }


def first(server: str, tag: str, count: int) -> dict[str, object]:
    """Ask for names that nobody asked for before; a packet follows each answer at once."""
    passed = {"tcp": 0, "udp": 0}
    for n in range(count):
        name = f"{tag}{n}.{SUFFIX}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(3.0)
            one.connect((server, 53))
            one.send(question(name, n & 0xFFFF))
            data = one.recv(4096)
        if data[3] & 15 or data[-4:] != address_of(name):
            continue
        target = socket.inet_ntoa(data[-4:]), 443
        kind = "udp" if n % 2 else "tcp"
        passed[kind] += _one_packet(kind, target)
    return {"asked": count, **passed}


def hello(name: str) -> bytes:
    """Return what a TLS client says first; without a name there is none in it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    said = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name or None)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return said.read()


def call(server: str, name: str, count: int, said: list[str]) -> dict[str, object]:
    """Ask for a name and connect to its address so often; `said` are names for the hellos in turn.

    `plain` says something that is no TLS, an empty one leaves the name out.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(3.0)
        one.connect((server, 53))
        one.send(question(name, 1))
        target = socket.inet_ntoa(one.recv(4096)[-4:]), 443
    passed = dict.fromkeys(said, 0)
    times: list[float] = []
    for n in range(count):
        word = said[n % len(said)]
        data = b"GET / HTTP/1.1\r\n\r\n" if word == "plain" else hello(word)
        start = time.perf_counter()
        with suppress(OSError), socket.create_connection(target, 3.0) as one:
            one.settimeout(8.0)
            one.send(data)
            passed[word] += one.recv(99).startswith(b"hello")
            times.append(time.perf_counter() - start)
    times.sort()
    middle = round(times[len(times) // 2] * 1e3, 3) if times else None
    return {"address": target[0], "asked": count, "passed": passed, "p50_ms": middle}


def _one_packet(kind: str, target: tuple[str, int]) -> bool:
    """Send one packet and no second one; a SYN that is lost comes again after a second."""
    stream = kind == "tcp"
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if stream else socket.SOCK_DGRAM) as one:
        one.settimeout(0.3)
        try:
            one.connect(target)
            if stream:
                return True
            one.send(b"first")
            return one.recv(99) == b"first"
        except OSError:
            return False


def main() -> int:
    """Run one of the programs."""
    parser = argparse.ArgumentParser(description="what stands around a name server under test")
    words = parser.add_subparsers(dest="word", required=True)
    one = words.add_parser("upstream")
    one.add_argument("address")
    one.add_argument("--ttl", type=int, default=TTL)
    words.add_parser("echo")
    one = words.add_parser("load")
    one.add_argument("server")
    one.add_argument("names", type=int)
    one.add_argument("count", type=int)
    one.add_argument("--outstanding", type=int, default=40)
    one.add_argument("--rate", type=float, default=0.0)
    one = words.add_parser("first")
    one.add_argument("server")
    one.add_argument("tag")
    one.add_argument("count", type=int)
    one = words.add_parser("call")
    one.add_argument("server")
    one.add_argument("name")
    one.add_argument("count", type=int)
    one.add_argument("said", nargs="+")
    given = parser.parse_args()
    match given.word:
        case "upstream":
            upstream(given.address, given.ttl)
        case "echo":
            echo()
        case "load":
            done = load(given.server, given.names, given.count, given.outstanding, given.rate)
            sys.stdout.write(json.dumps(done) + "\n")
        case "call":
            seen = call(given.server, given.name, given.count, given.said)
            sys.stdout.write(json.dumps(seen) + "\n")
        case _:
            sys.stdout.write(json.dumps(first(given.server, given.tag, given.count)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
