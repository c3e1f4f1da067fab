"""A whole ruleset as the kernel lists it (`nft -j list ruleset`): tables, chains, sets and maps of everybody.

Format: libnftables-json(5). What is not known here is kept by name, so that nobody takes it for harmless.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, TypeAlias

from netguard.core import regions

# Whatever nft prints.
Json: TypeAlias = Any
# A part of an element: an interval of numbers, or a word (an interface, a MAC).
Part = tuple[int, int] | str
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
# The families whose chains see a packet of each IP version, beside those of a device.
FAMILIES = {4: ("ip", "inet"), 6: ("ip6", "inet")}
HOOKS = ("ingress", "prerouting", "forward", "postrouting", "egress")
# What a listing holds that decides about no packet.
_HARMLESS = frozenset({"metainfo", "table", "counter", "quota", "limit", "secmark"})


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it stands, and its expressions as nft prints them."""

    family: str
    table: str
    chain: str
    handle: int
    expressions: tuple[Mapping[str, Json], ...]

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.chain} #{self.handle}"


@dataclass(slots=True)
class Chain:
    """A chain; one without a hook is only jumped to."""

    family: str
    table: str
    name: str
    kind: str = ""
    hook: str = ""
    priority: int = 0
    policy: str = "accept"
    devices: tuple[str, ...] = ()
    rules: list[Rule] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"


@dataclass(frozen=True, slots=True)
class Elements:
    """A set or a map: its elements, each with what it maps to; `strange` says what is not understood of them."""

    elements: tuple[tuple[tuple[Part, ...], Json], ...]
    strange: str = ""


Key = tuple[str, str, str]


@dataclass(slots=True)
class Listing:
    """All that a kernel holds; `strange` names what is in it that nobody here understands."""

    chains: dict[Key, Chain] = field(default_factory=dict)
    sets: dict[Key, Elements] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)

    def at(self, hook: str, version: int, device: str) -> Iterator[Chain]:
        """Yield the base chains that a packet meets at a hook, in their order."""
        found = [
            chain for chain in self.chains.values()
            if chain.hook == hook
            and (chain.family in FAMILIES[version] or chain.family == "netdev")
            and (not chain.devices or not device or device in chain.devices)
        ]  # fmt: skip
        yield from sorted(found, key=lambda chain: chain.priority)

    def rules(self) -> Iterator[Rule]:
        """Yield every rule."""
        for chain in self.chains.values():
            yield from chain.rules


def read(rows: Iterable[Mapping[str, Json]]) -> Listing:
    """Read the rows below "nftables" of a listing."""
    found = Listing()
    asleep = set()
    for row in rows:
        ((kind, body),) = row.items()
        if kind == "table":
            flags = set(_list(body.get("flags", ())))
            if "dormant" in flags:
                asleep.add((body["family"], body["name"]))
            elif flags - {"owner", "persist"}:
                # nft 1.0.6 prints another word for them all: the table may be dormant.
                found.strange.append(f"the flags of table {body['family']} {body['name']}")
        elif kind not in {"chain", "rule", "set", "map", "flowtable", *_HARMLESS}:
            found.strange.append(f"{kind} {body.get('name', '')} in table {body.get('table', '')}")
        elif (
            kind in {"chain", "rule", "set", "map"}
            and (body["family"], body["table"]) not in asleep
        ):
            _READ[kind](found, body)
    return found


def _chain(found: Listing, body: Mapping[str, Json]) -> None:
    chain = Chain(
        body["family"], body["table"], body["name"], body.get("type", ""), body.get("hook", ""),
        body.get("prio", 0), body.get("policy", "accept"), tuple(_list(body.get("dev", ()))),
    )  # fmt: skip
    found.chains[chain.family, chain.table, chain.name] = chain
    if chain.family == "bridge" and chain.hook:
        found.strange.append(f"bridge table {chain.table}, chain {chain.name}")


def _rule(found: Listing, body: Mapping[str, Json]) -> None:
    key = body["family"], body["table"], body["chain"]
    found.chains[key].rules.append(Rule(*key, body["handle"], tuple(body["expr"])))


def _set(found: Listing, body: Mapping[str, Json]) -> None:
    key = body["family"], body["table"], body["name"]
    try:
        found.sets[key] = Elements(elements(body.get("elem", ()), "map" in body))
    except ValueError as error:
        found.sets[key] = Elements((), f"@{body['name']}: {error}")


_READ = {"chain": _chain, "rule": _rule, "set": _set, "map": _set}


def _list(value: Json) -> list[Json]:
    return list(value) if isinstance(value, list | tuple) else [value]


def elements(
    rows: Iterable[Json], mapped: bool = False
) -> tuple[tuple[tuple[Part, ...], Json], ...]:
    """Return the elements of a set or map, its own or one written in a rule."""
    found = []
    for row in rows:
        key, value = row if mapped else (row, None)
        if isinstance(key, dict) and "elem" in key:
            key = key["elem"]["val"]
        if isinstance(key, dict) and "concat" in key:
            parts = tuple(part(each) for each in key["concat"])
        else:
            parts = (part(key),)
        found.append((parts, value))
    return tuple(found)


def part(value: Json) -> Part:
    """Return one value as an interval of numbers, or as a word. Raises ValueError for what is neither.

    Addresses are numbers of regions.py: both families on one line.
    """
    if isinstance(value, int):
        return value, value
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, dict) and "prefix" in value:
        network = ip_network(f"{value['prefix']['addr']}/{value['prefix']['len']}", strict=False)
        ((first, last),) = regions.of_networks([network])
        return first, last
    if isinstance(value, dict) and "range" in value:
        low, high = (part(each) for each in value["range"])
        if not isinstance(low, str) and not isinstance(high, str):
            return low[0], high[1]
    raise ValueError(f"not understood as a value: {value}")


@lru_cache(4096)
def _word(word: str) -> Part:
    # What begins with a letter and has no colon, and a MAC, is no address: asking takes long.
    if (word[:1].isdigit() or ":" in word) and not _MAC.fullmatch(word):
        try:
            number = regions.number_of(ip_address(word))
        except ValueError:
            return _number(word)
        return number, number
    return word.lower()


def _number(word: str) -> Part:
    try:
        return (int(word, 0),) * 2
    except ValueError:
        return _moment(word)


def _moment(word: str) -> Part:
    """Return a date of `meta time` as seconds of Unix time: nft was asked in UTC."""
    try:
        moment = datetime.strptime(word, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return word.lower()
    return (int(moment.timestamp()),) * 2
