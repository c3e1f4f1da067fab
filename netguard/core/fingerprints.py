"""Whether a MAC still behaves like the device that it belongs to: what its DHCP client asks for, and its name.

A DHCP client lists the options that it wants in an order of its own (RFC 2132 9.8), names its vendor class (9.13)
and often itself (3.14). A copied MAC comes with the client of another device. Compared with the tablet's own past, not with a list
of models: an update changes it as well, so this is a suspicion, told once. Pure; requests are hostile until parsed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from netguard.core import dhcpwire
from netguard.core.names import Mac
from netguard.errors import BadValue

_NAME, _WANTED, _VENDOR = 12, 55, 60
# DHCPDISCOVER and DHCPREQUEST: DHCPINFORM comes from other programs of the same device.
_ASKS = {b"\x01", b"\x03"}
_MOST_WANTED, _LONGEST = 64, 64

# For so long after its first request a tablet is only learned: some ask one way before, one way after.
LEARNED_IN = 600.0
# Ways of one tablet that are remembered.
MOST = 6


@dataclass(frozen=True, slots=True)
class Way:
    """How a device asks: the options it wants in their order, its vendor class, its name."""

    wanted: tuple[int, ...]
    vendor: str
    name: str

    @property
    def text(self) -> str:
        """Return it on one line."""
        words = [f"options {','.join(map(str, self.wanted)) or 'none'}"]
        words += [f"class {self.vendor}"] if self.vendor else []
        return ", ".join([*words, *([f"name {self.name}"] if self.name else [])])


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a DHCP client."""

    mac: Mac
    way: Way


def read_request(packet: bytes) -> Asked | None:
    """Read an IPv4 packet; None when it is no whole DHCPDISCOVER or DHCPREQUEST."""
    message = dhcpwire.read(packet)
    if message is None or (message.port, message.operation) != (
        dhcpwire.SERVER,
        dhcpwire.REQUEST,
    ):
        return None
    options = message.options
    if options.get(dhcpwire.MESSAGE_TYPE) not in _ASKS:
        return None
    wanted = tuple(options.get(_WANTED, b"")[:_MOST_WANTED])
    way = Way(wanted, _text(options.get(_VENDOR, b"")), _text(options.get(_NAME, b"")))
    return Asked(message.mac, way)


def _text(data: bytes) -> str:
    """Return what a device calls itself, printable and bounded."""
    text = data[:_LONGEST].decode("ascii", "replace")
    return "".join(c if c.isprintable() and c != "\N{REPLACEMENT CHARACTER}" else "?" for c in text)


@dataclass(slots=True)
class Past:
    """How one tablet has asked so far, the latest last, and since when it is known (seconds since 1970)."""

    since: float
    ways: list[Way] = field(default_factory=list)

    def tell(self, way: Way, now: float) -> str:
        """Take a request; returns what is strange about it, "" for nothing. Each way is strange once."""
        before = self.ways[-1] if self.ways else None
        if way in self.ways:
            self.ways.remove(way)
            self.ways.append(way)
            return ""
        self.ways = [*self.ways[-MOST + 1 :], way]
        # A clock that was set back: it is learned anew for a while, nothing is told for that.
        if before is None or not now - self.since >= LEARNED_IN:
            return ""
        return f"asks for an address as another device: before {before.text}; now {way.text}"


def write(pasts: Mapping[str, Past]) -> dict[str, object]:
    """Return what is known as JSON can hold it."""
    return {
        mac: [past.since, [[list(w.wanted), w.vendor, w.name] for w in past.ways]]
        for mac, past in sorted(pasts.items())
    }


def read(body: Mapping[str, object]) -> dict[str, Past]:
    """Read what `write` has written. Raises BadValue for what is none of ours."""
    found = {}
    try:
        for mac, (since, ways) in body.items():  # type: ignore[misc]  # anything else raises, too
            rows = [Way(tuple(map(int, w)), str(v), str(n)) for w, v, n in ways]  # type: ignore[has-type]
            found[str(Mac.parse(mac))] = Past(float(since), rows)  # type: ignore[has-type]
    except (TypeError, ValueError, AttributeError) as error:
        raise BadValue("syntax", f"fingerprints cannot be read: {error!r}") from error
    return found
