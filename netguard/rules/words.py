"""The words of rule files as types: each text goes through one strict parser of core/names.py.

Which key takes which word is schema.py's; a word here knows neither file nor place.
"""

import datetime
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator

from netguard.core.names import (
    Address,
    Domain,
    Frequency,
    Mac,
    Network,
    Ports,
    Upstream,
    VlanId,
    parse_address,
    parse_duration,
    parse_fqdn,
    parse_interface,
    parse_ipv4,
    parse_name,
    parse_network,
    parse_number,
    parse_rate,
    parse_unicast_mac,
    parse_vlan,
    shown,
)
from netguard.core.week import Window, parse_days
from netguard.errors import BadValue

T = TypeVar("T")


def read_by(parse: Callable[[str], T]) -> PlainValidator:
    """Make a pydantic type of a parser: one text in, its value out."""

    def validate(value: object) -> T:
        if not isinstance(value, str):
            raise BadValue("syntax", f"expected one value, not a {_kind(value)}")
        return parse(value)

    return PlainValidator(validate)


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping"


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise BadValue(
            "bad-boolean", f"{shown(text)} is neither true nor false, write true or false"
        )
    return text == "true"


def _date(text: str) -> datetime.date:
    try:
        if len(text) != 10:
            raise ValueError
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise BadValue("bad-date", f"{shown(text)} is not a date, write 2026-11-20") from None


def label(text: str) -> str:
    """Read a text for people, on one line."""
    if not text or len(text) > 200 or not text.isprintable():
        raise BadValue("bad-text", f"{shown(text)} is not a text of 1 to 200 printable characters")
    return text


def ssid(text: str) -> str:
    """Read the name of a Wi-Fi network."""
    # IEEE 802.11: 1 to 32 octets; the others would be a program in a file of FreeRADIUS.
    if not 1 <= len(text.encode()) <= 32 or not text.isprintable() or set(text) & set('"\\$%`'):
        raise BadValue(
            "bad-text", f'{shown(text)} is not an SSID of 1 to 32 bytes without any of " \\ $ % `'
        )
    return text


_AP_PATTERN = re.compile(r"(?:[0-9A-Fa-f]{2}:){1,5}\*|\*")


def _ap(text: str) -> str:
    if "*" in text:
        # A pattern ends at the border of an octet, so that FreeRADIUS can look it up.
        if not _AP_PATTERN.fullmatch(text):
            raise BadValue(
                "bad-text", f"{shown(text)} is not a BSSID pattern, write 70:3a:0e:* or * for all"
            )
        return text.lower()
    if not 1 <= len(text) <= 64 or not text.isprintable():
        raise BadValue("bad-text", f"{shown(text)} is not an AP name of 1 to 64 characters")
    return text


def home(text: str) -> tuple[str, str]:
    """Read the place where a tablet belongs, SITE/AREA."""
    site, slash, area = text.partition("/")
    if not slash:
        raise BadValue("unknown-ref", f"{shown(text)} is not SITE/AREA")
    return parse_name(site), parse_name(area)


def _heartbeats(text: str) -> int | timedelta:
    count, _, unit = text.partition("x ")
    return parse_number(count, "count", 1, 100) if unit == "heartbeat" else parse_duration(text)


def _share(text: str) -> float:
    try:
        value = float(text) if text.isascii() and len(text) < 8 else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise BadValue("bad-number", f"{shown(text)} is not a share, write 0.6")
    return value


def _more_than(text: str) -> str:
    count, slash, span = text.partition("/")
    if not slash:
        raise BadValue("bad-rate", f"{shown(text)} is not a count in a span, write 10/1m")
    parse_number(count, "count", 1, 1_000_000)
    parse_duration(span)
    return text


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise BadValue("bad-port", f"{shown(text)} lacks a port, write 10.1.1.20:6514")
    parse_number(port, "port", 1, 65535)
    try:
        parse_address(host.strip("[]"))
    except BadValue:
        parse_fqdn(host)
    return text


def _http_url(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    if (
        not mark
        or scheme not in {"https", "http"}
        or not rest
        or not text.isprintable()
        or " " in text
    ):
        raise BadValue("bad-url", f"{shown(text)} is not a URL, write https://host/path")
    return text


def _days(text: str) -> str:
    parse_days(text)
    return text


def _mail(text: str) -> str:
    user, at, host = text.partition("@")
    if not user or not at or not user.isprintable() or " " in user:
        raise BadValue("bad-text", f"{shown(text)} is not a mail address")
    parse_fqdn(host)
    return text


def _ports_word(text: str) -> Ports:
    if text == "any":
        raise BadValue("bad-port", "'any' does not exist, list the ports of the app")
    return Ports.parse(text)


def zone(text: str) -> str:
    """Read the name of a time zone."""
    # Existence is judged in build.py, which may read the time zone data.
    if not text.isascii() or not text.isprintable() or ".." in text or len(text) > 64:
        raise BadValue("schedule", f"{shown(text)} is not a time zone, write Europe/Paris")
    return text


def _ipv6(text: str) -> str:
    if text == "full":
        raise BadValue(
            "unknown-word",
            "'full' is not built yet, write drop: IPv6 of tablets is dropped and counted",
        )
    if text != "drop":
        raise BadValue(
            "unknown-word", f"{shown(text)} is not what a site does with IPv6, write drop"
        )
    return text


def _secret_file(text: str) -> str:
    try:
        return parse_name(text)
    except BadValue:
        raise BadValue(
            "bad-name",
            f"{shown(text)} names no credential; secret-file is a plain name, never a secret or path",
        ) from None


def nas_address(text: str) -> Network:
    """Read one address or a network, as a network."""
    return (
        parse_network(text)
        if "/" in text
        else parse_network(f"{text}/{parse_address(text).max_prefixlen}")
    )


def tablet_id(text: str) -> str:
    """Read a tablet's number: 1 to 32 letters, digits, '-', '_' or '.', starting with a letter or digit."""
    if not (1 <= len(text) <= 32 and text.isascii() and text[0].isalnum()) or not all(
        c.isalnum() or c in "-_." for c in text
    ):
        raise BadValue("bad-name", f"{shown(text)} is not a tablet id such as T-001")
    return text


Name = Annotated[str, read_by(parse_name)]
Label = Annotated[str, read_by(label)]
Boolean = Annotated[bool, read_by(_boolean)]
Date = Annotated[datetime.date, read_by(_date)]
Vlan = Annotated[VlanId, read_by(parse_vlan)]
NetworkText = Annotated[Network, read_by(parse_network)]
AddressText = Annotated[Address, read_by(parse_address)]
UpstreamText = Annotated[Upstream, read_by(Upstream.parse)]
Ipv4Text = Annotated[Address, read_by(parse_ipv4)]
DomainText = Annotated[Domain, read_by(Domain.parse)]
BanText = Annotated[Domain, read_by(lambda text: Domain.parse(text, top_level=True))]
PortsText = Annotated[Ports, read_by(_ports_word)]
Rate = Annotated[int, read_by(parse_rate)]
Span = Annotated[timedelta, read_by(parse_duration)]
Often = Annotated[Frequency, read_by(Frequency.parse)]
Rarely = Annotated[Frequency, read_by(Frequency.parse_rare)]
Count = Annotated[int, read_by(lambda text: parse_number(text, "count", 1, 1_000_000))]
WindowText = Annotated[Window, read_by(Window.parse)]
NightText = Annotated[Window, read_by(lambda text: Window.parse(text, over_midnight=True))]
DaysText = Annotated[str, read_by(_days)]
MacText = Annotated[Mac, read_by(parse_unicast_mac)]
Home = Annotated[tuple[str, str], read_by(home)]
Accept = dict[Name, Label]
Ssid = Annotated[str, read_by(ssid)]
Ap = Annotated[str, read_by(_ap)]
Ipv6 = Annotated[str, read_by(_ipv6)]
Zone = Annotated[str, read_by(zone)]
Interface = Annotated[str, read_by(parse_interface)]
SecretFile = Annotated[str, read_by(_secret_file)]
NasAddress = Annotated[Network, read_by(nas_address)]
HostName = Annotated[str, read_by(parse_fqdn)]
TabletId = Annotated[str, read_by(tablet_id)]
Share = Annotated[float, read_by(_share)]
MoreThan = Annotated[str, read_by(_more_than)]
Heartbeats = Annotated[int | timedelta, read_by(_heartbeats)]
Endpoint = Annotated[str, read_by(_endpoint)]
Url = Annotated[str, read_by(_http_url)]
Mail = Annotated[str, read_by(_mail)]


class Model(BaseModel):
    """Every key is known, every value is text until its parser has read it.

    `absent` gives finding and text for a missing key where "is missing" would say too little,
    `nothing` the text about a file in which nothing is written.
    """

    nothing: ClassVar[str] = "no rules in this file; the last good policy stays in force"
    absent: ClassVar[Mapping[str, tuple[str, str]]] = {}
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.rstrip("_").replace("_", "-"),
    )
