"""Links, addresses, routes and rules as `ip` prints them, and ARP questions of our own. Read only.

The doctor looks with another program than the one that guard sets them with: what guard believes of
itself is not asked here.
"""

import json
import select
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from netguard.errors import EnforcementError

_TIMEOUT = 2.5
_ETH_ARP = 0x0806
# RFC 826: Ethernet, IPv4, request or reply.
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_REQUEST, _REPLY = 1, 2
_BROADCAST = b"\xff" * 6


@dataclass(frozen=True, slots=True)
class Seen:
    """One interface."""

    name: str
    up: bool
    carrier: bool
    mac: str
    addresses: tuple[str, ...]


def links() -> dict[str, Seen]:
    """Return every interface of this network namespace by name."""
    found = {}
    for row in _ip("address", "show"):
        flags = row.get("flags", [])
        addresses = [
            f"{each['local']}/{each['prefixlen']}"
            for each in row.get("addr_info", [])
            if each.get("scope") != "link" and "local" in each
        ]
        found[row["ifname"]] = Seen(
            row["ifname"],
            "UP" in flags,
            "LOWER_UP" in flags and "NO-CARRIER" not in flags,
            row.get("address", ""),
            tuple(addresses),
        )
    return found


def default_route() -> tuple[str, str]:
    """Return interface and next hop of the IPv4 default route that counts; empty texts without one."""
    rows = _ip("-4", "route", "show", "default")
    best = min(rows, key=lambda row: int(row.get("metric", 0)), default={})
    return str(best.get("dev", "")), str(best.get("gateway", ""))


def belt(priority: int, mask: int) -> list[tuple[str, str]]:
    """Return where unmarked packets are unreachable: (IPv4 or IPv6, interface)."""
    found = []
    for flag, family in (("-4", "IPv4"), ("-6", "IPv6")):
        for row in _ip(flag, "rule", "show"):
            mark = int(str(row.get("fwmark", "0")), 0), int(str(row.get("fwmask", "0")), 0)
            unreachable = (row.get("action"), row.get("priority")) == ("unreachable", priority)
            if unreachable and mark == (0, mask):
                found.append((family, str(row.get("iif", ""))))
    return found


def _ip(*words: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(  # noqa: S603  # a fixed program, words of ours
            ["ip", "-json", *words],  # noqa: S607  # of the distribution
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
        rows: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise EnforcementError(f"ip {' '.join(words)}: {error}") from error
    if done.returncode:
        raise EnforcementError(f"ip {' '.join(words)}: {done.stderr.strip()[:200]}")
    return [row for row in rows if row]


def arp(interface: str, wanted: str, source: str = "", patience: float = 0.6) -> list[str]:
    """Ask who has an IPv4 address; returns the MACs that answer, without our own.

    Without a source it is the probe of RFC 5227 2.1.1, which nobody learns from, and all answers are
    waited for; else the first one ends it. Raises EnforcementError where it cannot be asked.
    """
    try:
        with socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.htons(_ETH_ARP)
        ) as wire:
            wire.bind((interface, _ETH_ARP))
            own = bytes(wire.getsockname()[4])
            sender, asked = IPv4Address(source or 0).packed, IPv4Address(wanted).packed
            question = _ARP.pack(1, 0x0800, 6, 4, _REQUEST, own, sender, bytes(6), asked)
            frame = _BROADCAST + own + struct.pack("!H", _ETH_ARP) + question
            wire.send(frame)
            return _answers(wire, asked, own, frame, patience, first=bool(source))
    except PermissionError as error:
        raise EnforcementError("an ARP question needs CAP_NET_RAW, try as root") from error
    except (OSError, ValueError) as error:
        raise EnforcementError(f"ARP on {interface}: {error}") from error


def _answers(
    wire: socket.socket, asked: bytes, own: bytes, frame: bytes, patience: float, *, first: bool
) -> list[str]:
    """Collect answers; the question is sent once more in between, for the one that was lost."""
    found: dict[str, None] = {}
    begin = time.monotonic()
    again = begin + patience / 2
    while (now := time.monotonic()) < begin + patience and not (first and found):
        if now >= again:
            wire.send(frame)
            again = begin + patience
        if not select.select([wire], [], [], max(0.0, min(again, begin + patience) - now))[0]:
            continue
        data = wire.recv(256)
        if len(data) < 14 + _ARP.size:
            continue
        *_, kind, mac, address, _, _ = _ARP.unpack_from(data, 14)
        if kind == _REPLY and address == asked and mac != own:
            found[mac.hex(":")] = None
    return list(found)
