"""Does the kernel's table hold the elements of the plan? What `nft -j list table` prints, beside what we load.

Chains are compared by their digest since the load (adapters/nft.py); elements are many, move in single
steps, and are compared with the plan itself. nft prints a range as a prefix where it can, and numbers in
decimal: both sides become first and last of what they mean.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any

from netguard.core.hours import Openings
from netguard.core.plan import Plan
from netguard.render.nft_sets import elements

_NUMBER = re.compile(r"0x[0-9a-f]+|[0-9]+")
# Moments as they are loaded, in Unix time, and as nft prints them, in the time zone that it runs in: UTC.
_MOMENTS = re.compile(r"([0-9]+)-([0-9]+)")
_DATES = re.compile(r"([0-9]{4}-[0-9-]{5} [0-9:]{8})-([0-9]{4}-[0-9-]{5} [0-9:]{8})")
_SHOWN = 3
# A key of one or more parts, and what a map says of it.
Meaning = tuple[tuple[object, ...], str]


def faults(plan: Plan, openings: Openings, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return in words where the elements of sets and maps are not those of the plan."""
    held = {
        body["name"]: body.get("elem", [])
        for row in rows
        for kind, body in row.items()
        if kind in {"set", "map"}
    }
    found: list[str] = []
    for name, wanted in elements(plan, openings).items():
        if name not in held:
            found.append(f"{name} is missing")
            continue
        planned = {_planned(text) for text in wanted}
        there = {_listed(element) for element in held[name]}
        found += _words(name, "lacks", planned - there)
        found += _words(name, "has", there - planned)
    return found


def _words(name: str, verb: str, meanings: set[Meaning]) -> list[str]:
    shown = sorted(map(str, meanings))[:_SHOWN]
    more = f" and {len(meanings) - _SHOWN} more" if len(meanings) > _SHOWN else ""
    return [f"{name} {verb} {', '.join(shown)}{more}"] if meanings else []


def _planned(text: str) -> Meaning:
    key, _, value = text.partition(" : ")
    return tuple(_atom(part) for part in key.split(" . ")), _value(value)


def _listed(element: Any) -> Meaning:  # noqa: ANN401  # whatever nft prints
    value = ""
    if isinstance(element, list):
        element, said = element
        value = _value(said if isinstance(said, int | str) else _verdict(said))
    if isinstance(element, dict) and "elem" in element:
        element = element["elem"]["val"]
    parts = element["concat"] if isinstance(element, dict) and "concat" in element else [element]
    return tuple(_atom(part) for part in parts), value


def _verdict(said: Mapping[str, Any]) -> str:
    ((verb, body),) = said.items()
    return f"{verb} {body['target']}" if body else verb


def _value(said: str | int) -> str:
    text = str(said)
    return str(int(text, 0)) if _NUMBER.fullmatch(text) else text


def _atom(part: Any) -> object:  # noqa: ANN401  # as above, or a word of ours
    if isinstance(part, dict):
        if "prefix" in part:
            return _range(f"{part['prefix']['addr']}/{part['prefix']['len']}")
        first, last = part["range"]
        return _range(f"{first}-{last}")
    text = str(part).strip('"')
    if _NUMBER.fullmatch(text):
        return int(text, 0)
    try:
        return _range(text)
    except ValueError:
        return text


def _range(text: str) -> tuple[int, int]:
    if _MOMENTS.fullmatch(text):
        first, last = text.split("-")
        return int(first), int(last)
    if moments := _DATES.fullmatch(text):
        return _moment(moments[1]), _moment(moments[2])
    if "-" in text:
        first, last = text.split("-")
        return int(ip_address(first)), int(ip_address(last))
    network = ip_network(text, strict=False)
    return int(network.network_address), int(network.broadcast_address)


def _moment(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
