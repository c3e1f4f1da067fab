"""Packets on their way through a listed ruleset, and what a rule can ask of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from netguard.core import regions
from netguard.core.loaded.listing import Json, Part, part
from netguard.core.names import Address
from netguard.core.regions import ANYTHING, EVERYWHERE, Box, Region, Span, Spans
from netguard.core.verdict import NEW

_PORTS, _PROTOCOLS = (0, 0xFFFF), (0, 0xFF)
_WORDS = {**regions.PROTOCOLS, "ipv6-icmp": regions.PROTOCOLS["icmpv6"]}


class Strange(Exception):
    """A value, a question or a statement that is not understood."""


class Broken(Exception):
    """The rule ends here, as if it had not matched: what it looks up or changes is not there."""


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
    """Packets on their way: which, what they were sent as when they were changed since, and what was assumed.

    `moved`: which sides of the region were changed, "address" and "port". `mark`, `ct_mark`: None where they may be any. `rules`: what decided or changed something so far.
    """

    region: Region
    origin: Region | None = None
    moved: frozenset[str] = frozenset()
    mark: int | None = 0
    ct_mark: int | None = 0
    state: str = NEW
    guesses: tuple[tuple[str, bool], ...] = ()
    doubts: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def sent(self) -> Region:
        """Return the packets as they were sent: what they are now, but for the sides that were changed."""
        if self.origin is None:
            return self.region
        if self.moved >= {"address", "port"}:
            return self.origin
        kept = tuple(
            Box(EVERYWHERE, box.services)
            if "address" in self.moved
            else Box(box.addresses, ANYTHING)
            for box in self.region
        )
        return regions.both(self.origin, merged_boxes(kept))

    @property
    def ways(self) -> tuple[object, ...]:
        """Return all that tells these packets from others but which they are and what decided so far."""
        return (
            self.origin, self.moved, self.mark, self.ct_mark, self.state, self.guesses, self.doubts,
        )  # fmt: skip

    def with_region(self, region: Region) -> "At":
        """Return some of these packets."""
        return self if region == self.region else replace(self, region=region)

    def guessing(self, key: str, answer: bool) -> "At":
        """Return those whose free field is so."""
        return replace(self, guesses=tuple(sorted({*self.guesses, (key, answer)})))

    def doubting(self, doubt: str) -> "At":
        """Return the same, of which it is not sure that they come this way."""
        return replace(self, doubts=tuple(dict.fromkeys((*self.doubts, doubt))))

    def by(self, *rules: str) -> "At":
        """Return the same, after these rules."""
        return replace(self, rules=tuple(dict.fromkeys((*self.rules, *rules))))


@dataclass(frozen=True, slots=True)
class Field:
    """What a test looks at: one known value, a side of the region (`axis`), or neither: anything.

    `axis`: "address", "protocol" or "port". `within`: the protocols that have such a field at all.
    """

    value: Json = None
    axis: str = ""
    within: Spans = ANYTHING

    def box(self, spans: Spans) -> Region:
        """Return the packets whose field lies in spans."""
        if self.axis == "address":
            return regions.box(spans, ANYTHING)
        if self.axis == "protocol":
            services = regions.union((first << 16, last << 16 | 0xFFFF) for first, last in spans)
        else:
            services = regions.union(
                (number << 16 | first, number << 16 | last)
                for number in protocols_in(self.within)
                for first, last in spans
            )
        return regions.box(EVERYWHERE, services)


def protocols_in(services: Spans) -> list[int]:
    """Return the numbers of the protocols of which there is something."""
    found: set[int] = set()
    for first, last in services:
        found.update(range(first >> 16, (last >> 16) + 1))
    return sorted(found)


def spans_of(each: Part, field: Field) -> Span:
    """Return a value as an interval of a side of the region. Raises Strange."""
    if each == "*":
        return {"address": (0, regions.EVERY6[0][1]), "port": _PORTS}.get(field.axis, _PROTOCOLS)
    if isinstance(each, str):
        if field.axis != "protocol" or each not in _WORDS:
            raise Strange(f"'{each}' as a {field.axis}")
        return _WORDS[each], _WORDS[each]
    if field.axis == "address":
        return each
    most = _PORTS[1] if field.axis == "port" else _PROTOCOLS[1]
    if each[0] > most:
        raise Strange(f"{each[0]} as a {field.axis}")
    return each[0], min(each[1], most)


def kind_of(expression: Mapping[str, Json]) -> str:
    """Return the one word under which nft prints an expression."""
    return next(iter(expression))


def interval(value: Json) -> Span:
    """Return what a packet is changed to, as an interval. Raises Strange for what is no number."""
    found = part(value)
    if isinstance(found, str):
        raise Strange(f"changes to {value}")
    return found


def box_of(parts: Sequence[Part], fields: Sequence[Field]) -> tuple[Region | None, bool]:
    """Return the packets that an element holds, None where none of this sender; and whether that is sure."""
    region: Region = regions.box(EVERYWHERE, ANYTHING)
    sure = True
    for each, field in zip(parts, fields, strict=True):
        if field.axis:
            region = regions.both(region, field.box((spans_of(each, field),)))
        elif field.value is None:
            sure = False
        elif not part_is(each, field.value):
            return None, True
    return region, sure


def part_is(each: Part, value: Json) -> bool:
    """Say whether a value is, or lies in, a part of an element."""
    if isinstance(each, str):
        # The end of an interface's name, or any value at all.
        return str(value).startswith(each[:-1]) if each.endswith("*") else bool(each == value)
    return isinstance(value, int) and each[0] <= value <= each[1]


def merged(found: Iterable[At], *, by_rule: bool = False) -> list[At]:
    """Join packets that differ in nothing that is still asked: a hundred services would double them each."""
    groups: dict[tuple[object, ...], At] = {}
    for at in found:
        key = at.ways, at.rules[-1:] if by_rule else ()
        known = groups.get(key)
        groups[key] = at if known is None else known.with_region(_joined(known.region, at.region))
    return list(groups.values())


def merged_boxes(boxes: Region) -> Region:
    """Return the same packets without boxes that lie in another one."""
    return _joined((), boxes)


def _joined(one: Region, other: Region) -> Region:
    boxes = list(one)
    for each in other:
        if any(_inside(each, known) for known in boxes):
            continue
        boxes = [known for known in boxes if not _inside(known, each)]
        boxes.append(each)
    return tuple(boxes)


def _inside(one: Box, other: Box) -> bool:
    return regions.inside(one.services, other.services) and regions.inside(
        one.addresses, other.addresses
    )
