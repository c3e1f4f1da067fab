"""Packets on their way through a listed ruleset, and what a rule can ask of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from netguard.core import regions
from netguard.core.loaded.listing import Json, Part, part
from netguard.core.names import Address
from netguard.core.regions import ANYTHING, EVERYWHERE, Box, Region, Spans
from netguard.core.verdict import NEW


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends: the interface a packet comes in by, its MAC and source, its connection's state and mark.

    `ct_mark` None: it may be any.
    """

    interface: str
    mac: str
    source: Address
    state: str = NEW
    ct_mark: int | None = 0


@dataclass(frozen=True, slots=True)
class At:
    """Packets on their way: which, what they were sent as when they were changed since, and what was assumed."""

    region: Region
    origin: Region | None = None
    mark: int | None = 0
    ct_mark: int | None = 0
    state: str = NEW
    guesses: tuple[tuple[str, bool], ...] = ()
    doubts: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def sent(self) -> Region:
        """Return the packets as they were sent."""
        return self.region if self.origin is None else self.origin


class Strange(Exception):
    """A value or a statement that is not understood."""


@dataclass(frozen=True, slots=True)
class Field:
    """What a test looks at: one known value, a side of the region (`axis`), or neither: anything.

    `within`: the protocols that have such a field at all.
    """

    value: Json = None
    axis: str = ""
    within: Spans = ANYTHING


def kind_of(expression: Mapping[str, Json]) -> str:
    """Return the one word under which nft prints an expression."""
    return next(iter(expression))


def interval(value: Json) -> tuple[int, int]:
    """Return what a packet is changed to, as an interval. Raises Strange for what is no number."""
    found = part(value)
    if isinstance(found, str):
        raise Strange(f"not understood as a target: {value}")
    return found


def axis_box(field: Field, spans: Spans) -> Region:
    """Return the packets whose field lies in spans."""
    if field.axis == "address":
        return regions.box(spans, ANYTHING)
    if field.axis == "protocol":
        services = regions.union((first << 16, last << 16 | 0xFFFF) for first, last in spans)
    else:
        protocols = [number for number in range(256) if _has(field, number)]
        services = regions.union(
            (number << 16 | first, number << 16 | last)
            for number in protocols
            for first, last in spans
        )
    return regions.box(EVERYWHERE, services)


def _has(field: Field, number: int) -> bool:
    return bool(regions.meet(field.within, ((number << 16, number << 16 | 0xFFFF),)))


def box_of(parts: tuple[Part, ...], fields: list[Field]) -> tuple[Region | None, bool]:
    """Return the packets that an element holds, None where none of this sender; and whether that is sure."""
    region: Region = regions.box(EVERYWHERE, ANYTHING)
    sure = True
    for each, field in zip(parts, fields, strict=True):
        if field.axis:
            region = regions.both(region, axis_box(field, (_number_of(each, field),)))
        elif field.value is None:
            sure = False
        elif not _is(each, field.value):
            return None, True
    return region, sure


def _number_of(each: Part, field: Field) -> tuple[int, int]:
    if not isinstance(each, str):
        return each
    number = regions.PROTOCOLS.get({"ipv6-icmp": "icmpv6"}.get(each, each))
    if field.axis != "protocol" or number is None:
        raise Strange(f"'{each}' as a {field.axis}")
    return number, number


def _is(each: Part, value: Json) -> bool:
    if isinstance(each, str):
        if each.endswith("*"):
            return str(value).startswith(each[:-1])
        return bool(each == value)
    return isinstance(value, int) and each[0] <= value <= each[1]


def merged(found: Iterable[At], *, by_rule: bool = False) -> list[At]:
    """Join packets that differ in nothing that is still asked: a hundred services would double them each."""
    groups: dict[tuple[object, ...], At] = {}
    for at in found:
        last = at.rules[-1:] if by_rule else ()
        key = at.origin, at.mark, at.ct_mark, at.state, at.guesses, at.doubts, last
        known = groups.get(key)
        if known is None:
            groups[key] = at
        else:
            groups[key] = replace(known, region=_joined(known.region, at.region))
    return list(groups.values())


def _joined(one: Region, other: Region) -> Region:
    boxes = list(one)
    for each in other:
        if any(_inside(each, known) for known in boxes):
            continue
        boxes = [known for known in boxes if not _inside(known, each)]
        boxes.append(each)
    return tuple(boxes)


def _inside(one: Box, other: Box) -> bool:
    return (
        regions.meet(one.addresses, other.addresses) == one.addresses
        and regions.meet(one.services, other.services) == one.services
    )
