"""What tablets send anyway, as signs of life: renewals of their leases, and packets of their flows.

Neither costs a packet. A renewal is known to the second; of a flow it is known that it grew between
two looks.
"""

import contextlib
from collections.abc import Iterator, Mapping

from netguard.core.names import Mac
from netguard.errors import BadValue

# Lines of a lease file that are read; a lease file of dnsmasq has one a tablet.
MOST_LEASES = 20_000


def read_leases(text: str) -> dict[Mac, float]:
    """Return when each IPv4 lease of a dnsmasq lease file ends, in seconds since 1970."""
    return {mac: end for end, mac, _ in _leases(text)}


def read_holders(text: str) -> dict[str, Mac]:
    """Return to which MAC each address of a dnsmasq lease file is leased."""
    return {address: mac for _, mac, address in _leases(text)}


def _leases(text: str) -> Iterator[tuple[float, Mac, str]]:
    """Yield expiry, MAC and address of each line.

    A line is `EXPIRY MAC ADDRESS NAME CLIENT-ID` (dnsmasq(8), --dhcp-leasefile); an expiry of 0 has no
    end and tells nothing. Whatever is no such line is left out.
    """
    for line in text.split("\n", MOST_LEASES)[:MOST_LEASES]:
        words = line.split()
        if len(words) < 4 or not words[0].isdecimal() or len(words[0]) > 11 or words[0] == "0":
            continue
        with contextlib.suppress(BadValue):
            yield float(words[0]), Mac.parse(words[1]), words[2]


class Flows:
    """Which addresses have sent since the last look, from packet counts that only grow."""

    def __init__(self) -> None:
        self._known: dict[int, int] | None = None

    def grown(self, flows: Mapping[int, tuple[str, int]]) -> set[str]:
        """Take (opener's address, packets it sent) by flow; return who sent since the last look.

        At the first look nobody has: what was counted before may be old.
        """
        known, self._known = self._known, {id_: packets for id_, (_, packets) in flows.items()}
        if known is None:
            return set()
        return {address for id_, (address, packets) in flows.items() if packets > known.get(id_, 0)}
