"""Ten thousand tablets that start at the same moment: each asks its names, and asks again as a tablet does.

    crowd INTERFACE SERVER SERVER-MAC FILE NAME ...

FILE holds a tablet a line, its address and MAC. Frames are written and read by hand: one namespace is all
of them. Prints how many questions were answered at which try, and how many never.
"""

import argparse
import json
import selectors
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path

from netguard.core import dnswire
from netguard.lab.dnsload import question

# What a stub resolver does (Android: 5 s, then again): bounded tries, an increasing pause.
TRIES, PAUSE = 3, 5.0
_FORCE_RCVBUF = 33
_BUFFER = 256 << 20
_PACKET_ADD_MEMBERSHIP, _MR_PROMISC, _SOL_PACKET = 1, 1, 263
_FIRST_PORT = 20_000


def frame(source_mac: bytes, target_mac: bytes, source: bytes, target: bytes, port: int, data: bytes) -> bytes:  # fmt: skip
    """Return a question as an Ethernet frame (RFC 894, RFC 791, RFC 768 without a checksum)."""
    udp = struct.pack("!HHHH", port, 53, 8 + len(data), 0) + data
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0, source, target
    )
    total = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    check = ~(total + (total >> 16)) & 0xFFFF
    head = head[:10] + struct.pack("!H", check) + head[12:]
    return target_mac + source_mac + b"\x08\x00" + head + udp


class Crowd:
    """All tablets and their open questions."""

    def __init__(
        self, interface: str, server: str, mac: bytes, file: Path, names: list[str]
    ) -> None:
        self.server = socket.inet_aton(server)
        self.open: dict[tuple[bytes, int], bytes] = {}
        for line in file.read_text().splitlines():
            address, own = line.split()
            source, source_mac = socket.inet_aton(address), bytes.fromhex(own.replace(":", ""))
            for number, name in enumerate(names):
                port = _FIRST_PORT + number
                data = question(name, port)
                self.open[source, port] = frame(source_mac, mac, source, self.server, port, data)
        self.asked = len(self.open)
        self.answered: Counter[int] = Counter()
        self.refused = 0
        self.wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self.wire.setsockopt(socket.SOL_SOCKET, _FORCE_RCVBUF, _BUFFER)
        self.wire.bind((interface, 0x0800))
        index = socket.if_nametoindex(interface)
        everything = struct.pack("iHH8s", index, _MR_PROMISC, 0, b"")
        self.wire.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, everything)
        self.chooser = selectors.DefaultSelector()
        self.chooser.register(self.wire, selectors.EVENT_READ)

    def run(self) -> dict[str, object]:
        """Ask, wait, ask again what is open."""
        for attempt in range(1, TRIES + 1):
            for packet in list(self.open.values()):
                self.wire.send(packet)
            end = time.monotonic() + PAUSE * attempt
            while self.open and (left := end - time.monotonic()) > 0:
                if self.chooser.select(left):
                    self._take(self.wire.recv(2048), attempt)
            if not self.open:
                break
        self.wire.close()
        return {
            "asked": self.asked,
            "answered": {str(attempt): count for attempt, count in sorted(self.answered.items())},
            "refused": self.refused,
            "never": len(self.open),
        }

    def _take(self, packet: bytes, attempt: int) -> None:
        if len(packet) < 54 or packet[23] != 17 or packet[26:30] != self.server:
            return
        port = int.from_bytes(packet[36:38], "big")
        if self.open.pop((packet[30:34], port), None) is None:
            return
        self.answered[attempt] += 1
        # Rcode, and at least one address.
        self.refused += packet[45] & 15 != dnswire.NOERROR or packet[48:50] == b"\0\0"


def main() -> int:
    """Let them all start."""
    parser = argparse.ArgumentParser(description="many tablets that start at once")
    parser.add_argument("interface")
    parser.add_argument("server")
    parser.add_argument("mac")
    parser.add_argument("file", type=Path)
    parser.add_argument("names", nargs="+")
    given = parser.parse_args()
    mac = bytes.fromhex(given.mac.replace(":", ""))
    crowd = Crowd(given.interface, given.server, mac, given.file, given.names)
    sys.stdout.write(json.dumps(crowd.run()) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
