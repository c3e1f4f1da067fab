"""Strict parsers for the words of the field: MAC, network, VLAN, port, domain, rate, duration.

Everything is text until one of these has read it, and nothing else is accepted afterwards. Each
parser either returns its value or raises `BadValue` with what to write instead. Patterns are ASCII
and used with `fullmatch`: the class of digits knows other scripts and `$` matches before a final
newline.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from difflib import SequenceMatcher, get_close_matches
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import NewType, Self

import idna

from netguard.errors import BadValue

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
VlanId = NewType("VlanId", int)

_HEX = "[0-9A-Fa-f]"
_CANONICAL = re.compile("[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)
# The spellings that NASes and inventories use, and nothing else: a BSSID with its SSID
# ("02-00-5E-10-00-01:Tour") must not pass for a MAC.
_MAC = re.compile(
    rf"{_HEX}{{12}}"
    rf"|{_HEX}{{2}}(?::{_HEX}{{2}}){{5}}"
    rf"|{_HEX}{{2}}(?:-{_HEX}{{2}}){{5}}"
    rf"|{_HEX}{{4}}(?:\.{_HEX}{{4}}){{2}}"
    rf"|{_HEX}{{4}}(?:-{_HEX}{{4}}){{2}}"
    rf"|{_HEX}{{6}}[:-]{_HEX}{{6}}"
)
_NAME = re.compile(r"[a-z](?:-?[a-z0-9]){0,30}")
_INTERFACE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,14}")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(kbit|Mbit|Gbit)")
_FREQUENCY = re.compile(r"([0-9]{1,6})/(s|m|h|d)")
_WEEKLY = re.compile(r"([0-9]{1,6})/w(?:eek)?")
_A_DAY = {"s": 86400.0, "m": 1440.0, "h": 24.0, "d": 1.0, "w": 1 / 7}
_PORT = re.compile(r"(tcp|udp)/([0-9]{1,5})(?:-([0-9]{1,5}))?")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,9}")

_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_BITS = {"kbit": 10**3, "Mbit": 10**6, "Gbit": 10**9}


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `, did you mean 'x'?` when a known word is near, else an empty text."""
    near = get_close_matches(word[:64], list(known), n=1, cutoff=0.6)
    return f", did you mean '{near[0]}'?" if near else ""


def certain(word: str, known: Iterable[str]) -> str | None:
    """Return the one known word that can be meant: much like this one, and no other nearly so."""
    ratios = sorted(
        ((SequenceMatcher(None, word[:64], name).ratio(), name) for name in known), reverse=True
    )
    if not ratios or ratios[0][0] < 0.74 or (len(ratios) > 1 and ratios[1][0] > ratios[0][0] - 0.1):
        return None
    return ratios[0][1]


def suggest_of(word: str, known: Iterable[str], limit: int = 8) -> str:
    """Return the nearest known word as a question and then the known ones, the nearest first."""
    names = sorted(known)
    if not names:
        return ", none is defined"
    near = sorted(names, key=lambda name: (-SequenceMatcher(None, word[:64], name).ratio(), name))
    listed = ", ".join(near[:limit]) + (", ..." if len(near) > limit else "")
    return f"{suggest(word, near) or ','} known: {listed}"


def shown(text: str, limit: int = 64) -> str:
    """Quote hostile text for a message: control characters escaped, length capped."""
    clipped = text if len(text) <= limit else text[:limit] + "..."
    return "'" + "".join(c if c.isprintable() else _escaped(c) for c in clipped) + "'"


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


@dataclass(frozen=True, slots=True, order=True)
class Mac:
    """A hardware address as twelve lower-case digits with colons."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a MAC in any spelling a NAS or an inventory uses (reference: RFC 3580 3.20)."""
        if _CANONICAL.fullmatch(text):
            return cls(text)
        if not _MAC.fullmatch(text):
            raise BadValue("bad-mac", f"{shown(text)} is not a MAC, write 12 hexadecimal digits")
        digits = re.sub("[^0-9a-f]", "", text.lower())
        return cls(":".join(digits[i : i + 2] for i in range(0, 12, 2)))

    @property
    def first(self) -> int:
        """The first byte, which carries the group and the local bit (IEEE 802)."""
        return int(self.text[:2], 16)

    @property
    def is_group(self) -> bool:
        """True for multicast and broadcast: never the address of one tablet."""
        return bool(self.first & 0x01)

    @property
    def is_local(self) -> bool:
        """True for a locally administered address, as private Wi-Fi addresses are."""
        return bool(self.first & 0x02)

    def __str__(self) -> str:
        return self.text


def parse_unicast_mac(text: str) -> Mac:
    """Read the MAC of one device: not multicast, not broadcast, not all zero."""
    mac = Mac.parse(text)
    kind = "the broadcast address" if mac.text == "ff:ff:ff:ff:ff:ff" else ""
    kind = kind or ("a multicast address" if mac.is_group else "")
    kind = kind or ("all zero" if mac.text == "00:00:00:00:00:00" else "")
    if kind:
        raise BadValue("bad-mac", f"{shown(text)} is {kind}, write the device's own address")
    return mac


def parse_name(text: str) -> str:
    """Read a name of the rules: `[a-z][a-z0-9-]{0,30}`, so that no name can carry syntax.

    Each '-' stands alone and inside: kernel names join a group and a service by two underscores,
    and two different pairs must never give one name.
    """
    if len(text) <= 31 and _NAME.fullmatch(text):
        return text
    if len(text) <= 31 and re.fullmatch("[a-z][a-z0-9-]*", text):
        problem = "ends in '-'" if text.endswith("-") else "holds '--'"
        clean = re.sub("-+", "-", text).rstrip("-")
        raise BadValue("bad-name", f"{shown(text)} {problem}, write {clean}")
    raise BadValue(
        "bad-name",
        f"{shown(text)} is not a name, write a lower-case letter, then up to 30 letters, "
        "digits or '-'",
    )


def parse_interface(text: str) -> str:
    """Read the name of a network interface (at most 15 characters, as the kernel allows)."""
    if not _INTERFACE.fullmatch(text):
        raise BadValue("bad-name", f"{shown(text)} is not an interface name of 1 to 15 characters")
    return text


def parse_number(text: str, what: str, low: int, high: int) -> int:
    """Read a decimal number without sign, leading zero or fraction."""
    if not _DECIMAL.fullmatch(text):
        if re.fullmatch("0[0-9]{1,10}", text):
            bare = str(int(text))
            raise BadValue("bad-number", f"{what} '{text}' has a leading zero, write {bare}", bare)
        raise BadValue(
            "bad-number", f"{shown(text)} is not a {what}, write a number from {low} to {high}"
        )
    if not low <= int(text) <= high:
        raise BadValue("bad-number", f"{what} {text} is out of range, {low} to {high}")
    return int(text)


def parse_vlan(text: str) -> VlanId:
    """Read a VLAN id, 2 to 4094 (IEEE 802.1Q; 1 is the default VLAN of switches)."""
    try:
        return VlanId(parse_number(text, "VLAN", 2, 4094))
    except BadValue as error:
        raise BadValue("vlan-range", error.text, error.instead) from error


def parse_address(text: str) -> Address:
    """Read one IP address in its usual spelling, without a zone."""
    if "%" not in text and text.isascii():
        try:
            return ip_address(text)
        except ValueError:
            pass
    raise BadValue("bad-cidr", f"{shown(text)} is not an IP address")


def parse_ipv4(text: str) -> IPv4Address:
    """Read one IPv4 address in its usual spelling."""
    address = parse_address(text)
    if isinstance(address, IPv6Address):
        raise BadValue("bad-cidr", f"{shown(text)} is not an IPv4 address")
    return address


def parse_network(text: str) -> Network:
    """Read a prefix such as 10.60.0.0/24; bits of a host right of the prefix are refused."""
    address, slash, length = text.partition("/")
    try:
        base = parse_address(address)
    except BadValue:
        raise _no_network(text) from None
    if not slash:
        one = f"{base}/{base.max_prefixlen}"
        raise BadValue("bad-cidr", f"{text} has no prefix length, write {one}", one)
    if not _DECIMAL.fullmatch(length) or int(length) > base.max_prefixlen:
        raise _no_network(text)
    loose = ip_network(f"{base}/{length}", strict=False)
    if loose.network_address != base:
        raise BadValue("host-bits", f"{text} has host bits, did you mean {loose}?", str(loose))
    return loose


def _no_network(text: str) -> BadValue:
    return BadValue("bad-cidr", f"{shown(text)} is not a network, write it as 10.60.0.0/24")


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A protocol and an interval of ports, both ends included."""

    protocol: str
    first: int
    last: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `tcp/443` or `udp/3478-3481`."""
        match = _PORT.fullmatch(text)
        if not match:
            raise BadValue(
                "bad-port", f"{shown(text)} is not a port, write tcp/443 or udp/3478-3481"
            )
        first = int(match[2])
        last = int(match[3] or match[2])
        if not (1 <= first <= 65535 and 1 <= last <= 65535):
            raise BadValue("bad-port", f"'{text}' is not a port, ports are 1 to 65535")
        if last < first:
            raise BadValue(
                "bad-port", f"'{text}' ends before it starts, write {match[1]}/{last}-{first}"
            )
        return cls(match[1], first, last)

    def covers(self, protocol: str, port: int) -> bool:
        """Say whether a packet to this port is meant."""
        return protocol == self.protocol and self.first <= port <= self.last

    def __str__(self) -> str:
        interval = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        return f"{self.protocol}/{interval}"


@dataclass(frozen=True, slots=True, order=True)
class Domain:
    """A name that tablets may ask for; `*.x` is one or more labels and not `x` itself."""

    name: str
    wildcard: bool = False

    @classmethod
    def parse(cls, text: str, *, top_level: bool = False) -> Self:
        """Read a host name or `*.` and a host name; IDNA names become their A-label form.

        `top_level` lets `*.internal` pass: right for what is never resolved, too wide to allow.
        """
        if text == "*":
            raise BadValue("open-world", "'*' is every name, write the names of the app")
        if not text.startswith("*."):
            return cls(parse_fqdn(text))
        name = _fqdn(text[2:], text, labels=1)
        if "." not in name and not top_level:
            raise BadValue(
                "public-suffix",
                f"{shown(text)} is a public suffix, it opens every site below .{name}",
            )
        return cls(name, wildcard=True)

    def covers(self, name: str) -> bool:
        """Say whether a queried name (lower case, no trailing dot) is meant."""
        return name.endswith("." + self.name) if self.wildcard else name == self.name

    def __str__(self) -> str:
        return ("*." if self.wildcard else "") + self.name


@dataclass(frozen=True, slots=True, order=True)
class Upstream:
    """A resolver that is asked; with `tls` over TLS, its certificate must bear that name."""

    address: Address
    tls: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `10.1.1.53`, or `tls://10.1.1.53#dns.chu.example` (RFC 7858, port 853)."""
        if "://" not in text:
            return cls(parse_address(text))
        scheme, _, rest = text.partition("://")
        address, hash_, name = rest.partition("#")
        example = "tls://10.1.1.53#dns.chu.example"
        if scheme != "tls":
            raise BadValue(
                "bad-upstream",
                f"{shown(text)}: '{scheme}' is not spoken here, write an address or {example}",
            )
        if not hash_ or not name:
            raise BadValue(
                "bad-upstream",
                f"{shown(text)} lacks the name of the resolver's certificate, write {example}",
            )
        return cls(parse_address(address.strip("[]")), parse_fqdn(name))

    def __str__(self) -> str:
        return f"tls://{self.address}#{self.tls}" if self.tls else str(self.address)


def parse_fqdn(text: str) -> str:
    """Read a fully qualified host name into lower-case A-labels without the trailing dot.

    RFC 1123 2.1 for the alphabet, RFC 1035 2.3.4 for the lengths, RFC 5891 for other scripts.
    """
    return _fqdn(text, text, labels=2)


def _fqdn(text: str, whole: str, labels: int) -> str:
    """Read a host name of at least so many labels; `whole` is how messages call it."""
    problem = _foreign_syntax(text)
    if problem:
        raise BadValue("bad-domain", f"{shown(whole)} {problem}")
    name = text.removesuffix(".").lower()
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise BadValue("bad-domain", f"{shown(whole)} is not a host name: {error}") from error
    problem = _label_fault(name, labels)
    if problem:
        raise BadValue("bad-domain", f"{shown(whole)} {problem}")
    return name


def _foreign_syntax(text: str) -> str:
    if "://" in text:
        return f"has a scheme, write only the host name{_host_of(text)}"
    if "/" in text:
        return f"has a path, write only the host name{_host_of(text)}"
    if re.search(r"\s", text):
        return "has a space in it, write one host name an item"
    try:
        host = ip_address(text.strip("[]"))
    except ValueError:
        pass
    else:
        return f"is an address, use networks: [{host}/{host.max_prefixlen}]"
    if re.fullmatch(r".*:[0-9]+", text):
        return f"has a port, write only the host name{_host_of(text)} and the port under ports"
    if "*" in text:
        return "has a '*' that is not the whole first label, write *.example.org"
    return ""


def _host_of(text: str) -> str:
    host = text.partition("://")[2] or text
    host = re.split("[/:]", host)[0]
    return f" {host}" if host and len(host) < 80 else ""


def _label_fault(name: str, least: int) -> str:
    labels = name.split(".")
    if len(name) > 253:
        return "is longer than 253 characters"
    # A resolver reads a name that ends in a number as an IPv4 address (inet_aton), not as a name.
    if _NUMERIC.fullmatch(labels[-1]):
        return "ends in a number and is no host name; use networks for addresses"
    fault = next((fault for fault in map(_one_label, labels) if fault), "")
    if fault:
        return fault
    if labels[-1] in {"localhost", "local"}:
        return "is a name of the machine or the local link, it has no place in the rules"
    if len(labels) < least:
        return "is a bare label, write the full name"
    return ""


def _one_label(label: str) -> str:
    if not label:
        return "has an empty label, remove the extra dot"
    if len(label) > 63:
        return "has a label of more than 63 characters"
    if "_" in label:
        return "has an underscore, host names have letters, digits and '-'"
    if not _LABEL.fullmatch(label):
        return "has a label that is not letters, digits and inner '-'"
    return ""


def parse_duration(text: str) -> timedelta:
    """Read a span with its unit: 500ms, 60s, 15m, 1h, 30d."""
    match = _DURATION.fullmatch(text)
    if not match:
        hint = f", write {text}s" if _DECIMAL.fullmatch(text) else ", write 60s, 15m, 1h or 30d"
        raise BadValue("bad-duration", f"{shown(text)} is not a duration{hint}")
    # Compared by hand: 999999999d is more than timedelta holds.
    if int(match[1]) > timedelta(days=36500) / _UNITS[match[2]]:
        raise BadValue("bad-duration", f"'{text}' is longer than a hundred years")
    return int(match[1]) * _UNITS[match[2]]


def spelled(span: timedelta) -> str:
    """Return a span as `parse_duration` reads it, in the largest unit that divides it: 14d, 36h."""
    unit = max((u for u in _UNITS if not span % _UNITS[u]), key=_UNITS.__getitem__, default="ms")
    return f"{span // _UNITS[unit]}{unit}"


def parse_rate(text: str) -> int:
    """Read a bandwidth with its unit (500kbit, 4Mbit, 1Gbit) into bits per second."""
    match = _RATE.fullmatch(text)
    if not match or float(match[1]) == 0:
        raise BadValue("bad-rate", f"{shown(text)} is not a rate, write 500kbit, 4Mbit or 1Gbit")
    return round(float(match[1]) * _BITS[match[2]])


@dataclass(frozen=True, slots=True, order=True)
class Frequency:
    """So many times per unit of time, such as 5/s."""

    count: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `5/s`, `10/m`, `1/h` or `1/d`; `1/day` is read as `1/d`."""
        match = _FREQUENCY.fullmatch(text.removesuffix("ay") if text.endswith("/day") else text)
        if not match or int(match[1]) == 0:
            raise BadValue("bad-rate", f"{shown(text)} is not a frequency, write 5/s, 10/m or 1/d")
        return cls(int(match[1]), match[2])

    @classmethod
    def parse_rare(cls, text: str) -> Self:
        """Read `1/week` (or `1/w`), `1/day` and what `parse` reads."""
        match = _WEEKLY.fullmatch(text)
        if match and int(match[1]) > 0:
            return cls(int(match[1]), "w")
        try:
            return cls.parse(text)
        except BadValue:
            text = f"{shown(text)} is not a frequency, write 1/week or 2/day"
            raise BadValue("bad-rate", text) from None

    @property
    def per_day(self) -> float:
        """The same as a number a day."""
        return self.count * _A_DAY[self.unit]

    def __str__(self) -> str:
        return f"{self.count}/{self.unit}"
