"""A Plan as ceilings: to which class of HTB the packets of each tablet belong, and what a class may have.

A tablet has one class each way: on the interfaces of its site (down) and on the uplink (up). The kernel
puts a packet into a class by its priority (`meta priority`, a map by address in our table); a packet
without one is never held up. What a class guarantees is a share of its site's ceiling, so that all
tablets together stay below it, whatever they do (tc-htb(8): a class may always send at its own rate).
"""

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address
from typing import NamedTuple

from netguard.core.names import Address
from netguard.core.plan import Binding, Plan
from netguard.core.policy import Ceiling
from netguard.errors import BadValue

# The major number of our queueing disciplines: "NG". Below the first minor number are the sites; above
# the last one are the handles of the tablets' own queues.
MAJOR = 0x4E47
FIRST_TABLET = 0x100
MOST_TABLETS = 0x3FFF - FIRST_TABLET
# In bits per second: the kernel counts whole bytes, and takes no class without a rate.
LEAST_RATE = 8
# A burst is what goes at once after a pause: 10 ms at the ceiling, two frames at the least.
_BURST_SECONDS, _LEAST_BURST = 0.01, 3_100
# What waits before packets are dropped: a tenth of a second at the ceiling, twenty frames at the least.
_QUEUE_SECONDS, _LEAST_QUEUE = 0.1, 32_768


class ShapedClass(NamedTuple):
    """One class of HTB: guaranteed `rate` and `ceil` in bits per second; burst and queue in bytes.

    A site's class has no queue of its own: 0.
    """

    minor: int
    parent: int
    rate: int
    ceil: int
    burst: int
    queue: int


class Shaper(NamedTuple):
    """What one interface has to hold, parents first; without classes it holds nothing of ours."""

    interface: str
    classes: tuple[ShapedClass, ...]


def class_numbers(plan: Plan) -> dict[Address, int]:
    """Return the minor number of each tablet's class by its address.

    Raises BadValue where there are more tablets than numbers.
    """
    sites = {site.name for site in plan.sites if site.ceiling is not None}
    addresses = [
        binding.address
        for binding in plan.bindings
        if isinstance(binding.address, IPv4Address)
        and (binding.site in sites or plan.group[binding.group].rate is not None)
    ]
    if len(addresses) > MOST_TABLETS:
        raise BadValue("too-many", f"one node holds ceilings for at most {MOST_TABLETS} tablets")
    return {address: FIRST_TABLET + rank for rank, address in enumerate(sorted(addresses, key=int))}


def shapers(plan: Plan) -> tuple[Shaper, ...]:
    """Return what each interface of the plan has to hold, by name."""
    numbers = class_numbers(plan)
    down: dict[str, list[ShapedClass]] = {i: [] for site in plan.sites for i in site.interfaces}
    up: dict[str, list[ShapedClass]] = {site.uplink: [] for site in plan.sites}
    for minor, site in enumerate(plan.sites, 1):
        bindings = [b for b in plan.bindings if b.site == site.name and b.address in numbers]
        for interface in site.interfaces:
            # The site's ceiling is for all its interfaces together; they cannot borrow from each other.
            share = _share(site.ceiling, len(site.interfaces))
            down[interface] += _classes(plan, bindings, numbers, minor, share, "down")
        up[site.uplink] += _classes(plan, bindings, numbers, minor, site.ceiling, "up")
    return tuple(Shaper(name, tuple(held)) for name, held in sorted({**up, **down}.items()))


def _share(ceiling: Ceiling | None, interfaces: int) -> Ceiling | None:
    if ceiling is None:
        return None
    return Ceiling(ceiling.down // interfaces, ceiling.up // interfaces)


def _classes(
    plan: Plan,
    bindings: Sequence[Binding],
    numbers: dict[Address, int],
    minor: int,
    ceiling: Ceiling | None,
    way: str,
) -> Iterator[ShapedClass]:
    whole = _of(ceiling, way)
    if whole is not None:
        yield ShapedClass(minor, 0, whole, whole, _burst(whole), 0)
    for binding in bindings:
        own = _of(plan.group[binding.group].rate, way)
        ceil = min(each for each in (own, whole) if each is not None)
        rate = ceil if whole is None else min(ceil, max(whole // len(bindings), LEAST_RATE))
        queue = max(int(ceil / 8 * _QUEUE_SECONDS), _LEAST_QUEUE)
        parent = minor if whole is not None else 0
        number = numbers[binding.address] if binding.address is not None else 0
        yield ShapedClass(number, parent, rate, ceil, _burst(ceil), queue)


def _of(ceiling: Ceiling | None, way: str) -> int | None:
    if ceiling is None:
        return None
    return ceiling.down if way == "down" else ceiling.up


def _burst(rate: int) -> int:
    return max(int(rate / 8 * _BURST_SECONDS), _LEAST_BURST)
