"""The last refused packets, kept in memory for whoever asks; counters keep the number of all.

Bounded: the kernel logs at the rate of the rules, HAProxy says each refused server name, and only the
newest records stay.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from netguard.adapters import clock, listening, nflog
from netguard.core.denials import Denial, read_denial, read_named
from netguard.core.names import Address, Mac
from netguard.render.nftables import LOG_GROUP

KEPT = 1000
# Of one look: a flood of refused hellos does not keep guard from its work.
_AT_ONCE = 200
# Whose rule a tablet's address falls under, for what the kernel does not refuse itself.
Rules = Callable[[], Mapping[Address, str]]


class Refusals:
    """Reads the kernel's log and HAProxy's and keeps the newest records, numbered."""

    def __init__(self, named: Path, rules: Rules, tell: Callable[[Denial], None]) -> None:
        self._log = nflog.Log(LOG_GROUP)
        self._kept: deque[tuple[int, Denial]] = deque(maxlen=KEPT)
        self._number = 0
        self._rules = rules
        self._tell = tell
        self.named = 0
        loop = asyncio.get_running_loop()
        loop.add_reader(self._log.socket, self._take)
        self._path = named
        self._named: socket.socket | None = listening.lines(named)
        if self._named is not None:
            loop.add_reader(self._named, self._take_named, self._named)

    def close(self) -> None:
        """Stop reading."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._log.socket)
        self._log.close()
        if self._named is not None:
            loop.remove_reader(self._named)
            self._named.close()
            self._path.unlink(missing_ok=True)

    def _take(self) -> None:
        at = clock.now()
        for logged in self._log.packets():
            denial = read_denial(
                at, logged.prefix, logged.interface, logged.hardware, logged.packet
            )
            if denial is not None:
                self._keep(denial)

    def _take_named(self, sock: socket.socket) -> None:
        at, rules = clock.now(), self._rules()
        for _ in range(_AT_ONCE):
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return
            denial = read_named(at, data, rules)
            if denial is not None:
                self.named += 1
                self._keep(denial)

    def _keep(self, denial: Denial) -> None:
        self._number += 1
        self._kept.append((self._number, denial))
        self._tell(denial)

    def last_of(self, mac: Mac) -> Denial | None:
        """Return the last packet of a MAC that was refused, among those that are kept."""
        return next((d for _, d in reversed(self._kept) if d.mac == mac), None)

    def since(
        self, number: int, tablets: Mapping[Mac, str], addresses: Mapping[Address, str]
    ) -> dict[str, Any]:
        """Return records after a number, oldest first, with the tablet of each MAC or address."""
        rows = [
            {
                "number": each,
                "at": denial.at.isoformat(timespec="milliseconds"),
                "tablet": tablets.get(denial.mac, "")
                if denial.mac
                else addresses.get(denial.source, ""),
                "mac": str(denial.mac or ""),
                "source": str(denial.source),
                "destination": str(denial.destination),
                "port": denial.protocol + (f"/{denial.port}" if denial.port is not None else ""),
                "rule": denial.rule,
                "interface": denial.interface,
                "why": denial.why,
            }
            for each, denial in self._kept
            if each > number
        ]
        return {
            "denials": rows,
            "last": self._number,
            "lost": self._log.lost,
            "server_names": self.named,
        }
