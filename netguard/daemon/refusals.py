"""The last refused packets, kept in memory for whoever asks; counters keep the number of all.

Bounded: the kernel logs at the rate of the rules, and only the newest records stay.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

from netguard.adapters import clock, nflog
from netguard.core.denials import Denial, read_denial
from netguard.core.names import Mac
from netguard.render.nftables import LOG_GROUP

KEPT = 1000


class Refusals:
    """Reads the kernel's log and keeps the newest records, numbered."""

    def __init__(self) -> None:
        self._log = nflog.Log(LOG_GROUP)
        self._kept: deque[tuple[int, Denial]] = deque(maxlen=KEPT)
        self._number = 0
        asyncio.get_running_loop().add_reader(self._log.socket, self._take)

    def close(self) -> None:
        """Stop reading."""
        asyncio.get_running_loop().remove_reader(self._log.socket)
        self._log.close()

    def _take(self) -> None:
        at = clock.now()
        for logged in self._log.packets():
            denial = read_denial(
                at, logged.prefix, logged.interface, logged.hardware, logged.packet
            )
            if denial is not None:
                self._number += 1
                self._kept.append((self._number, denial))

    def since(self, number: int, tablets: Mapping[Mac, str]) -> dict[str, Any]:
        """Return records after a number, oldest first, with the tablet that each MAC is."""
        rows = [
            {
                "number": each,
                "at": denial.at.isoformat(timespec="milliseconds"),
                "tablet": tablets.get(denial.mac, "") if denial.mac else "",
                "mac": str(denial.mac or ""),
                "source": str(denial.source),
                "destination": str(denial.destination),
                "port": denial.protocol + (f"/{denial.port}" if denial.port is not None else ""),
                "rule": denial.rule,
                "interface": denial.interface,
            }
            for each, denial in self._kept
            if each > number
        ]
        return {"denials": rows, "last": self._number, "lost": self._log.lost}
