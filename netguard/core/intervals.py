"""Sets of addresses as sorted, disjoint intervals: membership and overlap by bisection.

The standard library tests one network against another; a policy asks the same of thousands of
networks and a handful of protected ones, so the protected side is sorted once.
"""

from bisect import bisect_right
from collections.abc import Iterable

from netguard.core.names import Address, Network


class AddressSet:
    """An immutable set of networks that remembers which network an address lies in."""

    __slots__ = ("_ends", "_networks", "_starts")

    def __init__(self, networks: Iterable[Network]) -> None:
        self._starts: dict[int, list[int]] = {4: [], 6: []}
        self._ends: dict[int, list[int]] = {4: [], 6: []}
        self._networks: dict[int, list[Network]] = {4: [], 6: []}
        for network in sorted(set(networks), key=_order):
            version = network.version
            first, last = int(network.network_address), int(network.broadcast_address)
            # Sorted by start, wider first: two prefixes nest or are apart, never half over.
            if self._ends[version] and first <= self._ends[version][-1]:
                continue
            self._starts[version].append(first)
            self._ends[version].append(last)
            self._networks[version].append(network)

    def covering(self, address: Address) -> Network | None:
        """Return the network of this set that holds the address, or None."""
        return self._meets(address.version, int(address), int(address))

    def meeting(self, network: Network) -> Network | None:
        """Return a network of this set that shares an address with the given one, or None."""
        first, last = int(network.network_address), int(network.broadcast_address)
        return self._meets(network.version, first, last)

    def _meets(self, version: int, first: int, last: int) -> Network | None:
        at = bisect_right(self._starts[version], last) - 1
        if at >= 0 and self._ends[version][at] >= first:
            return self._networks[version][at]
        return None


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
