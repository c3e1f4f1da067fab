"""The lab's other end: servers that answer on the addresses of one host and count what reaches them.

A connection that arrives gets one line that names the address; a datagram comes back. Every IPv4 packet
that reaches the host's interface is counted as well, answered or not: that is how "nothing arrived" is
shown, with a positive control beside it.
"""

import argparse
import selectors
import socket
import struct
import sys
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from netguard.lab.nas import serve
from netguard.lab.world import LISTENERS, Listener

ETH_P_IP = 0x0800
KEPT = 200


class Counts:
    """What has arrived; shared by the threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answered: Counter[str] = Counter()
        self._packets: Counter[str] = Counter()
        self._last: deque[str] = deque(maxlen=KEPT)

    def answered(self, listener: Listener) -> None:
        """Count one connection or datagram."""
        with self._lock:
            self._answered[f"{listener.address} {listener.protocol}/{listener.port}"] += 1

    def seen(self, packet: str) -> None:
        """Count one packet on the wire."""
        with self._lock:
            self._packets[packet.split(" > ", maxsplit=1)[0]] += 1
            self._last.append(packet)

    def shown(self) -> dict[str, Any]:
        """Return all of it."""
        with self._lock:
            return {
                "answered": dict(self._answered),
                "packets": sum(self._packets.values()),
                "from": dict(self._packets),
                "last": list(self._last),
            }

    def reset(self) -> None:
        """Start at nothing again."""
        with self._lock:
            self._answered.clear()
            self._packets.clear()
            self._last.clear()


def described(frame: bytes) -> str | None:
    """Return `source > destination protocol/port` of an IPv4 packet; None when it is none."""
    if len(frame) < 20 or frame[0] >> 4 != 4:
        return None
    header = (frame[0] & 0xF) * 4
    source, destination = socket.inet_ntoa(frame[12:16]), socket.inet_ntoa(frame[16:20])
    names = {1: "icmp", 6: "tcp", 17: "udp"}
    name = names.get(frame[9], str(frame[9]))
    if frame[9] in {6, 17} and len(frame) >= header + 4:
        name += f"/{struct.unpack_from('!H', frame, header + 2)[0]}"
    return f"{source} > {destination} {name}"


def sniff(counts: Counts, interface: str) -> None:
    """Count the IPv4 packets that arrive on an interface, for ever."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)) as wire:
        wire.bind((interface, ETH_P_IP))
        while True:
            frame, (_, _, kind, *_) = wire.recvfrom(256)
            # 4 = PACKET_OUTGOING: what we send ourselves has not arrived.
            if kind != 4 and (packet := described(frame)):
                counts.seen(packet)


def answer_tcp(counts: Counts, listener: Listener, server: socket.socket) -> None:
    """Take one connection and send one line, as HTTP when HTTP was asked."""
    with suppress(OSError):
        connection, _ = server.accept()
        counts.answered(listener)
        Thread(target=_talk, args=(connection, listener), daemon=True).start()


def _talk(connection: socket.socket, listener: Listener) -> None:
    line = f"{listener.host} {listener.address} tcp/{listener.port}\n".encode()
    with connection, suppress(OSError):
        connection.settimeout(5)
        asked = connection.recv(1024)
        if asked.startswith((b"GET ", b"POST ")):
            line = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(line) + line
        connection.sendall(line)
        # A connection stays until the other end has had enough: calls are long.
        while connection.recv(4096):
            connection.settimeout(300)


def answer_udp(counts: Counts, listener: Listener, server: socket.socket) -> None:
    """Send a datagram back."""
    with suppress(OSError):
        data, peer = server.recvfrom(2048)
        counts.answered(listener)
        server.sendto(data, peer)


def run(host: str, control: Path, interface: str, more: tuple[Listener, ...]) -> None:
    """Answer and count until ended."""
    counts = Counts()
    Thread(target=sniff, args=(counts, interface), daemon=True).start()
    chooser = selectors.DefaultSelector()
    for listener in (*(each for each in LISTENERS if each.host == host), *more):
        tcp = listener.protocol == "tcp"
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((listener.address, listener.port))
        if tcp:
            server.listen(64)
        chooser.register(server, selectors.EVENT_READ, listener)

    def command(line: bytes) -> dict[str, Any]:
        if b"reset" in line:
            counts.reset()
        return {"ok": True, **counts.shown()}

    Thread(target=serve, args=(control, command), daemon=True).start()
    while True:
        for key, _ in chooser.select():
            one: socket.socket = key.fileobj  # type: ignore[assignment]  # only sockets are registered
            answering = answer_tcp if key.data.protocol == "tcp" else answer_udp
            answering(counts, key.data, one)


def main() -> int:
    """Run the servers of one host."""
    parser = argparse.ArgumentParser(description="servers of one host of the lab")
    parser.add_argument("--host", required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--more", nargs="*", default=[], metavar="ADDRESS")
    words = parser.parse_args()
    more = tuple(
        Listener(words.host, address, "tcp", port) for address in words.more for port in (80, 443)
    )
    run(words.host, words.socket, words.interface, more)
    return 0


if __name__ == "__main__":
    sys.exit(main())
