"""What vendors publish of their networks, as a file of services/feeds/ that people review like any rule.

Two forms are read: the answer of Microsoft's endpoint service (learn.microsoft.com/microsoft-365/enterprise/
microsoft-365-ip-web-service: a list of sets with `id`, `urls`, `ips`, `tcpPorts`, `udpPorts`) and lists with
one prefix a line, as Zoom publishes them (support.zoom.com KB0060548). Nothing here fetches or applies.
"""

import datetime
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from netguard.core.names import Domain, Network, Ports, parse_network, shown
from netguard.errors import BadValue, NetguardError

MICROSOFT, PREFIXES = "microsoft-365", "prefixes"
# Five times what any of them has: a list that is longer is not the list.
MAX_BYTES = 8 * 1024 * 1024
MAX_NETWORKS = 20_000
# A list of half or of twice as much is a mistake until somebody says that it is none.
SHRINK, GROW = 0.5, 2.0


# What needs no quotes in YAML: a text that begins with a letter, an IPv4 prefix, a date.
_PLAIN = re.compile(r'[A-Za-z][^\n"\x00-\x1f]*|[0-9.]+/[0-9]+', re.ASCII)
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


@dataclass(frozen=True, slots=True)
class Known:
    """A feed whose address netguard knows: its form, the URL of each set ("" for all), of the version."""

    form: str
    urls: Mapping[str, str]
    version: str = ""


_ZOOM = "https://assets.zoom.us/docs/ipranges/"
KNOWN: Mapping[str, Known] = MappingProxyType(
    {
        "microsoft-365": Known(
            MICROSOFT,
            {"": "https://endpoints.office.com/endpoints/worldwide?clientrequestid={client}"},
            "https://endpoints.office.com/version/worldwide?clientrequestid={client}",
        ),
        "zoom": Known(
            PREFIXES,
            {"meetings": f"{_ZOOM}ZoomMeetings.txt", "phone": f"{_ZOOM}ZoomPhone.txt"},
        ),
    }
)


class NotThisList(NetguardError):
    """What was read is not the vendor's list, or not one that anybody should take as it is."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One set of a vendor: its networks; names and ports as it says them; what nobody can write as a rule."""

    label: str = ""
    networks: tuple[Network, ...] = ()
    domains: tuple[Domain, ...] = ()
    ports: tuple[Ports, ...] = ()
    odd: tuple[str, ...] = ()


def microsoft_365(data: bytes) -> dict[str, Offer]:
    """Return the sets of an answer of the endpoint service, by id. Raises NotThisList."""
    rows = _json(data)
    if not isinstance(rows, list) or not rows:
        raise NotThisList("not the answer of the endpoint service: a list of sets was expected")
    sets: dict[str, Offer] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or not isinstance(row.get("id"), int):
            raise NotThisList(f"entry {index + 1} is not a set with a number")
        number = str(row["id"])
        where = f"set {number}"
        odd: list[str] = []
        domains = set()
        for url in _texts(row, "urls", where):
            try:
                domains.add(Domain.parse(url.lower()))
            except BadValue:
                odd.append(url)  # `*-files.sharepoint.com`: no rule can say that
        ports = {
            port
            for protocol in ("tcp", "udp")
            for port in _ports(row.get(f"{protocol}Ports", ""), protocol, where)
        }
        networks = [_network(text, where) for text in _texts(row, "ips", where)]
        if number in sets:
            raise NotThisList(f"{where} is listed twice")
        sets[number] = Offer(
            str(row.get("serviceAreaDisplayName") or row.get("serviceArea") or "")[:80],
            _sorted(networks),
            tuple(sorted(domains)),
            tuple(sorted(ports)),
            tuple(odd),
        )
    return sets


def version_of(data: bytes) -> str:
    """Return the version that the endpoint service names. Raises NotThisList."""
    body = _json(data)
    latest = body.get("latest") if isinstance(body, dict) else None
    if (
        not isinstance(latest, str)
        or not latest.isascii()
        or not latest.isdigit()
        or len(latest) > 20
    ):
        raise NotThisList(
            "not the version of the endpoint service: {'latest': DIGITS} was expected"
        )
    return latest


def prefixes(data: bytes) -> Offer:
    """Return a list with one prefix a line; `#` begins a comment. Raises NotThisList."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotThisList("not a list of prefixes: it is not UTF-8") from error
    networks = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if word:
            networks.append(_network(word, f"line {number}"))
        if len(networks) > MAX_NETWORKS:
            raise NotThisList(f"more than {MAX_NETWORKS} prefixes")
    if not networks:
        raise NotThisList("an empty list of prefixes")
    return Offer(networks=_sorted(networks))


def digest(parts: Iterable[bytes]) -> str:
    """Return a version for lists that have none: the beginning of the hash of their bytes."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(hashlib.sha256(part).digest())
    return f"sha256-{whole.hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class Difference:
    """What one set gains and loses, in networks and in IPv4 addresses."""

    set: str
    gained: tuple[Network, ...]
    lost: tuple[Network, ...]
    before: int
    after: int


def differences(
    old: Mapping[str, Sequence[Network]], new: Mapping[str, Offer]
) -> tuple[Difference, ...]:
    """Return the sets that differ, those of `old` first."""
    found = []
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = set(old.get(name, ())), set(new[name].networks if name in new else ())
        if before != after or name not in new or name not in old:
            found.append(
                Difference(
                    name,
                    _sorted(after - before),
                    _sorted(before - after),
                    addresses(before),
                    addresses(after),
                )
            )
    return tuple(found)


def alarming(old: Mapping[str, Sequence[Network]], new: Mapping[str, Offer]) -> tuple[str, ...]:
    """Say what makes a list one that nobody should take without looking; none where `old` is empty."""
    said = []
    for name, networks in old.items():
        if name not in new:
            said.append(f"set {name} is gone")
            continue
        for what, before, after in (
            ("prefixes", len(networks), len(new[name].networks)),
            ("IPv4 addresses", addresses(networks), addresses(new[name].networks)),
        ):
            if before and after < before * SHRINK:
                said.append(f"set {name} shrinks from {before:,} to {after:,} {what}")
            elif before and after > before * GROW:
                said.append(f"set {name} grows from {before:,} to {after:,} {what}")
    return tuple(said)


def addresses(networks: Iterable[Network]) -> int:
    """Return how many IPv4 addresses these are (no prefix of a feed lies in another often enough to matter)."""
    return sum(network.num_addresses for network in networks if network.version == 4)


def rendered(
    name: str,
    source: str,
    version: str,
    day: datetime.date,
    sets: Mapping[str, Offer],
    *,
    head: str = "",
    accept: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return the file of a feed; `head` is what people wrote above it, `accept` what they accepted."""
    lines = [*([head.rstrip("\n")] if head else []), f"feed: {name}", f"source: {_quoted(source)}"]
    lines += [f"version: {_quoted(version)}", f"retrieved: {day.isoformat()}", "sets:"]
    for number, offer in sets.items():
        lines.append(f"  {_quoted(number)}:")
        if offer.label:
            lines.append(f"    label: {_quoted(offer.label)}")
        for key, values in (
            ("networks", offer.networks),
            ("domains", offer.domains),
            ("ports", offer.ports),
        ):
            if values or key == "networks":
                lines.append(f"    {key}:" + ("" if values else " []"))
                lines += [f"      - {_quoted(str(value))}" for value in values]
    if accept:
        lines += ["accept:", *(f"  {id_}: {_quoted(reason)}" for id_, reason in accept.items())]
    return "\n".join((*lines, ""))


def _quoted(text: str) -> str:
    """Return a text as a YAML scalar that every YAML tool reads as text, quoted only where it has to be."""
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    if plain and not any(mark in text for mark in (": ", " #")) and text[-1] not in ": ":
        return text
    return json.dumps(text, ensure_ascii=False)


def _sorted(networks: Iterable[Network]) -> tuple[Network, ...]:
    return tuple(
        sorted(set(networks), key=lambda n: (n.version, int(n.network_address), n.prefixlen))
    )


def _json(data: bytes) -> Any:  # noqa: ANN401  # it is told apart by its readers
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise NotThisList(f"not JSON: {error}") from error


def _texts(row: Mapping[str, Any], key: str, where: str) -> list[str]:
    values = row.get(key, [])
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise NotThisList(f"{where}: '{key}' is not a list of texts")
    if len(values) > MAX_NETWORKS:
        raise NotThisList(f"{where}: '{key}' has more than {MAX_NETWORKS} entries")
    return values


def _ports(text: object, protocol: str, where: str) -> Iterable[Ports]:
    if not isinstance(text, str):
        raise NotThisList(f"{where}: '{protocol}Ports' is not a text")
    for word in filter(None, (part.strip() for part in text.split(","))):
        try:
            yield Ports.parse(f"{protocol}/{word}")
        except BadValue as error:
            raise NotThisList(f"{where}: {error.text}") from error


def _network(text: str, where: str) -> Network:
    try:
        network = parse_network(text)
    except BadValue as error:
        raise NotThisList(f"{where}: {error.text}") from error
    # A vendor has no network inside of anybody's house; /7 and wider is half the world.
    if network.prefixlen < 8 or network.is_private or network.is_multicast or network.is_reserved:
        raise NotThisList(f"{where}: {shown(text)} is no network of a vendor's")
    return network
