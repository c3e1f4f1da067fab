"""Sets of packets as unions of boxes: addresses times protocols and ports, decided exactly.

A packet is two numbers here: its destination (IPv4 first, IPv6 after a gap) and its protocol with its
port. A box is a set of the one times a set of the other; cutting a box out of a box leaves at most two.
Nothing is sampled: what is empty is empty for every packet.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import chain
from typing import NamedTuple

from netguard.core.names import Address, Network, Ports

# Sorted, apart and not touching; both ends included.
Span = tuple[int, int]
Spans = tuple[Span, ...]

# A gap, so that the last IPv4 address and the first IPv6 address never make one span.
_SIX = 1 << 33
EVERY4: Spans = ((0, (1 << 32) - 1),)
EVERY6: Spans = ((_SIX, _SIX + (1 << 128) - 1),)
EVERYWHERE: Spans = EVERY4 + EVERY6
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "icmpv6": 58}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
ANYTHING: Spans = ((0, (256 << 16) - 1),)


class Box(NamedTuple):
    """Addresses times protocols with ports."""

    addresses: Spans
    services: Spans


Region = tuple[Box, ...]


def union(spans: Iterable[Span]) -> Spans:
    """Return the union of spans in any order."""
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return tuple(found)


def meet(one: Spans, other: Spans) -> Spans:
    """Return what both hold."""
    if one is other or other is EVERYWHERE or other is ANYTHING:
        return one
    if one is EVERYWHERE or one is ANYTHING:
        return other
    # A proof asks this a million times, mostly of what lies apart.
    if not one or not other or one[-1][1] < other[0][0] or other[-1][1] < one[0][0]:
        return ()
    found: list[Span] = []
    ours, theirs = iter(one), iter(other)
    a, b = next(ours)
    c, d = next(theirs)
    try:
        while True:
            if b < c:
                a, b = next(ours)
            elif d < a:
                c, d = next(theirs)
            elif b < d:
                found.append((max(c, a), b))
                a, b = next(ours)
            else:
                found.append((max(c, a), d))
                c, d = next(theirs)
    except StopIteration:
        return tuple(found)


def less(one: Spans, other: Spans) -> Spans:
    """Return what the first holds and the second does not."""
    found: list[Span] = []
    j = 0
    for first, last in one:
        at = first
        while j < len(other) and other[j][1] < at:
            j += 1
        k = j
        while k < len(other) and other[k][0] <= last:
            if other[k][0] > at:
                found.append((at, other[k][0] - 1))
            at = max(at, other[k][1] + 1)
            k += 1
        if at <= last:
            found.append((at, last))
    return tuple(found)


def inside(one: Spans, other: Spans) -> bool:
    """Say whether the second holds all of the first."""
    j = 0
    for first, last in one:
        while j < len(other) and other[j][1] < first:
            j += 1
        if j == len(other) or first < other[j][0] or other[j][1] < last:
            return False
    return True


def size(spans: Spans) -> int:
    """Return how many numbers are in it."""
    return sum(last - first + 1 for first, last in spans)


def number_of(address: Address) -> int:
    """Return an address as the number it is here."""
    return int(address) + (_SIX if address.version == 6 else 0)


def address_of(number: int) -> Address:
    """Return the address that a number is."""
    return IPv6Address(number - _SIX) if number >= _SIX else IPv4Address(number)


def of_networks(networks: Iterable[Network]) -> Spans:
    """Return the addresses of networks."""
    return union((number_of(n.network_address), number_of(n.broadcast_address)) for n in networks)


def of_addresses(addresses: Iterable[Address]) -> Spans:
    """Return addresses as spans."""
    return union((number, number) for number in map(number_of, addresses))


def of_ports(ports: Iterable[Ports]) -> Spans:
    """Return protocols with ports."""
    return union(
        (PROTOCOLS[p.protocol] << 16 | p.first, PROTOCOLS[p.protocol] << 16 | p.last) for p in ports
    )


def of_protocol(protocol: str) -> Spans:
    """Return everything of a protocol, by its name or number."""
    number = PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)
    return ((number << 16, number << 16 | 0xFFFF),)


def service_of(number: int) -> tuple[str, int]:
    """Return protocol and port that a number is."""
    protocol = number >> 16
    return _NAMES.get(protocol, str(protocol)), number & 0xFFFF


def shown(spans: Spans) -> str:
    """Return protocols and ports as the rules write them."""
    words = []
    for first, last in spans:
        protocol, port = service_of(first)
        end = last & 0xFFFF
        if protocol not in {"tcp", "udp"}:
            words.append(protocol)
        else:
            words.append(f"{protocol}/{port}" if port == end else f"{protocol}/{port}-{end}")
    return ", ".join(words)


def box(addresses: Spans, services: Spans) -> Region:
    """Return a region of one box; none where a side is empty."""
    return (Box(addresses, services),) if addresses and services else ()


def both(one: Region, other: Region) -> Region:
    """Return the packets of both regions."""
    found: list[Box] = []
    for addresses, services in one:
        for theirs in other:
            shared = meet(addresses, theirs.addresses)
            if shared and (ports := meet(services, theirs.services)):
                found.append(Box(shared, ports))
    return tuple(found)


def without(one: Region, others: Iterable[Box]) -> Region:
    """Return the packets of a region that are in none of the boxes."""
    left: Sequence[Box] = one
    for cut in others:
        left = tuple(chain.from_iterable(_cut(each, cut) for each in left))
        if not left:
            break
    return tuple(left)


def _cut(one: Box, cut: Box) -> Iterator[Box]:
    shared = meet(one.addresses, cut.addresses)
    if not shared or not meet(one.services, cut.services):
        yield one
        return
    yield from box(less(one.addresses, cut.addresses), one.services)
    yield from box(shared, less(one.services, cut.services))


def example(region: Region) -> tuple[Address, str, int] | None:
    """Return one packet of a region as (destination, protocol, port), None where it is empty."""
    if not region:
        return None
    first = min(region, key=lambda each: each.addresses[0])
    protocol, port = service_of(first.services[0][0])
    return address_of(first.addresses[0][0]), protocol, port


def holds(region: Region, address: Address, protocol: str, port: int) -> bool:
    """Say whether a packet is in a region."""
    at = number_of(address)
    what = of_protocol(protocol)[0][0] | port
    return any(
        any(a <= at <= b for a, b in each.addresses)
        and any(a <= what <= b for a, b in each.services)
        for each in region
    )
