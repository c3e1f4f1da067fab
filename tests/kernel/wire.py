"""Frames in bulk: built from headers, sent into one namespace and seen in another, by this process.

Scapy is the oracle of the builders (test_wire.py); it takes a millisecond a frame, this some
microseconds. Formats: RFC 791, RFC 8200, RFC 9293, RFC 768, RFC 792, RFC 4443.
"""

import ctypes
import os
import socket
import struct
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from time import monotonic

ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = (1 << bit for bit in range(8))
_NEW_NET = 0x40000000
_IGNORE_OUTGOING = 23
_LIBC = ctypes.CDLL(None, use_errno=True)


def checksum(data):
    """Return the Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def hardware(text):
    """Return the bytes of a MAC."""
    return bytes.fromhex(str(text).replace(":", ""))


def tcp(  # noqa: PLR0913, PLR0917  # a header has many fields
    source, destination, sport, dport, flags, payload, seq=1000, ack=0, broken=False
):
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 64240, 0, 0)
    return _summed(source, destination, TCP, head + payload, 16, broken)


def udp(source, destination, sport, dport, payload, broken=False):
    head = struct.pack("!HHHH", sport, dport, 8 + len(payload), 0)
    return _summed(source, destination, UDP, head + payload, 6, broken)


def icmp(kind, code, rest, payload, broken=False):
    body = struct.pack("!BBHI", kind, code, 0, rest) + payload
    return _filled(body, 2, checksum(body) ^ broken)


def icmp6(source, destination, kind, payload):
    return _summed(source, destination, ICMP6, bytes([kind, 0, 0, 0]) + payload, 2, False)


def _summed(source, destination, protocol, segment, at, broken):
    pseudo = source.packed + destination.packed
    if source.version == 4:
        pseudo += struct.pack("!BBH", 0, protocol, len(segment))
    else:
        pseudo += struct.pack("!II", len(segment), protocol)
    return _filled(segment, at, (checksum(pseudo + segment) or 0xFFFF) ^ broken)


def _filled(data, at, value):
    return data[:at] + struct.pack("!H", value) + data[at + 2 :]


def ip4(source, destination, protocol, payload, *, id_=0, offset=0, more=False, ttl=64):
    """Build a packet; `offset` is that of a fragment, in bytes."""
    word = offset // 8 | (0x2000 if more else 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), id_, word, ttl, protocol, 0)
    head += source.packed + destination.packed
    return _filled(head, 10, checksum(head)) + payload


def fragments(source, destination, protocol, payload, id_, size=512):
    """Build a packet in fragments."""
    return [
        ip4(
            source,
            destination,
            protocol,
            payload[at : at + size],
            id_=id_,
            offset=at,
            more=at + size < len(payload),
        )
        for at in range(0, len(payload), size)
    ]


def ip6(source, destination, protocol, payload):
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255)
    return head + source.packed + destination.packed + payload


def frame(source, destination, packet):
    """Put a packet behind an Ethernet header."""
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00"
    return hardware(destination) + hardware(source) + kind + packet


@contextmanager
def inside(namespace):
    """Let this thread make its sockets in a namespace."""
    with Path("/proc/self/ns/net").open() as own, Path("/run/netns", namespace).open() as other:
        _enter(other)
        try:
            yield
        finally:
            _enter(own)


def _enter(file):
    if _LIBC.setns(file.fileno(), _NEW_NET):
        raise OSError(ctypes.get_errno(), "setns")


class End:
    """One end of the wire: a raw socket on an interface of a namespace."""

    def __init__(self, namespace, interface, gateway):
        """Open an end; `gateway` is the address next door that answers ARP."""
        self.gateway = ip_address(gateway)
        with inside(namespace):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 256 << 20)  # SO_RCVBUFFORCE
        self.sock.setsockopt(263, _IGNORE_OUTGOING, 1)  # SOL_PACKET
        self.sock.bind((interface, 0))
        self.mac = self.sock.getsockname()[4]

    def close(self):
        self.sock.close()

    def received(self):
        """Return the frames that are here."""
        self.sock.setblocking(False)
        found = []
        while True:
            try:
                found.append(self.sock.recv(65535))
            except BlockingIOError:
                return found

    def barrier(self):
        """Wait until all that was sent from here has been dealt with; returns what came meanwhile.

        The answer to an ARP question stands in the same queue of the same CPU, behind them.
        """
        ask = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + self.mac + bytes(4)
        ask += bytes(6) + self.gateway.packed
        self.sock.send(b"\xff" * 6 + self.mac + b"\x08\x06" + ask)
        found, end = [], monotonic() + 30
        while monotonic() < end:
            self.sock.settimeout(max(0.001, end - monotonic()))
            got = self.sock.recv(65535)
            if got[12:14] == b"\x08\x06" and got[20:22] == b"\0\2":
                return found
            found.append(got)
        raise TimeoutError("the gateway answers no ARP")


@contextmanager
def one_cpu():
    """Stay on one CPU: packets of a veth are dealt with on the CPU that sends them, in order."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def carry(sender, receiver, frames, marker):
    """Send frames; return the numbers of those that arrive, by what follows the marker."""
    return set(carried(sender, receiver, frames, marker))


def carried(sender, receiver, frames, marker):
    """Send frames; return those that arrive, as they are then, by their numbers."""
    arrived = {}

    def note(seen):
        for each in seen:
            at = each.find(marker)
            if at >= 0:
                arrived[int.from_bytes(each[at + len(marker) :][:4])] = each

    with one_cpu():
        receiver.received()
        sender.received()
        for start in range(0, len(frames), 256):
            for each in frames[start : start + 256]:
                sender.sock.send(each)
            sender.barrier()
            note(receiver.received())
    return arrived
