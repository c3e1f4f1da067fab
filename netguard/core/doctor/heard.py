"""What each NAS was heard to send, counted: packets go in one by one, nothing of them is kept but counts.

Everything is bounded: senders, open requests, sessions, samples. MACs are held to tell tablets and
sessions apart while it listens, and never come out.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address

from netguard.core import radius
from netguard.core.areas import split_called_station
from netguard.core.doctor.frames import Datagram, Macs
from netguard.core.names import Mac, Network, shown
from netguard.core.radius import Code, Packet, Status, Type
from netguard.errors import BadValue

AUTH_PORTS, ACCT_PORTS = frozenset({1812, 1645}), frozenset({1813, 1646})
COA_PORTS = frozenset({3799, 1700})
PORTS = AUTH_PORTS | ACCT_PORTS | COA_PORTS
MAX_SENDERS, MAX_OPEN, MAX_KEPT, SAMPLES = 256, 8192, 16384, 512
# A request that has no answer after this is unanswered, one that waits longer than `SLOW` is late.
PATIENCE, SLOW = 5.0, 0.5
# A packet that is seen on two interfaces of one cable, such as a VLAN and what carries it.
_COPY = 0.05
_VENDORS = {
    9: "Cisco", 2011: "Huawei", 12356: "Fortinet", 14179: "Cisco Airespace", 14823: "Aruba",
    14988: "MikroTik", 25053: "Ruckus", 26928: "Aerohive", 29671: "Meraki",
}  # fmt: skip
_SSID = frozenset({(14823, 5), (25053, 3), (12356, 7)})
_AP_NAME = frozenset({(14823, 6), (29671, 3), (12356, 8)})


# Sender, its port, server, its port, identifier.
_Key = tuple[str, int, str, int, int]


@dataclass(frozen=True, slots=True)
class Client:
    """One NAS as the rules name it; `secret` None where it cannot be read here."""

    name: str
    site: str
    address: Network
    vendor: str
    message_authenticator: str
    ssid: str
    ssid_needed: bool
    interim: int
    secret: bytes | None = None

    def __str__(self) -> str:
        single = self.address.prefixlen == self.address.max_prefixlen
        return f"{self.name} ({self.address.network_address if single else self.address})"


@dataclass(slots=True)
class Heard:
    """What one NAS sent, and what it got for an answer."""

    first: float = 0.0
    last: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    called: Counter[str] = field(default_factory=Counter)
    example: str = ""
    vendors: Counter[str] = field(default_factory=Counter)
    private: set[str] = field(default_factory=set)
    accepted: dict[str, float] = field(default_factory=dict)
    accounted: set[str] = field(default_factory=set)
    # Session and MAC: when it began, when its last word came.
    sessions: OrderedDict[tuple[bytes, str], tuple[float, float]] = field(
        default_factory=OrderedDict
    )
    intervals: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    skews: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    slowest: float = 0.0


@dataclass(slots=True)
class _Open:
    heard: Heard
    authenticator: bytes
    at: float
    code: int
    mac: str
    answered: bool = False

    def close(self) -> None:
        """Count it, where nobody has answered."""
        self.heard.counts["unanswered"] += not self.answered


class Ear:
    """Listens for a number of NASes."""

    def __init__(self, clients: Sequence[Client]) -> None:
        self.clients = tuple(clients)
        self.heard: dict[str, Heard] = {client.name: Heard() for client in clients}
        # Senders that no rule names: how often each asked.
        self.unknown: Counter[str] = Counter()
        self.overflow = 0
        self.unread = 0
        self.begin = self.end = 0.0
        self._known: dict[str, Client | None] = {}
        self._open: OrderedDict[_Key, _Open] = OrderedDict()

    def take(self, datagram: Datagram) -> None:
        """Take one datagram of a RADIUS port; all else is passed over."""
        to, from_ = datagram.destination_port in PORTS, datagram.source_port in PORTS
        if not (to or from_):
            return
        try:
            packet = radius.decode(datagram.payload)
        except BadValue:
            self.unread += 1
            return
        self.begin = self.begin or datagram.at
        self.end = max(self.end, datagram.at)
        if packet.code in {Code.ACCESS_REQUEST, Code.ACCOUNTING_REQUEST} and to:
            self._request(datagram, packet)
        elif packet.code in radius.ANSWERS and from_:
            self._answer(datagram, packet)
        elif packet.code in radius.CHANGED and from_:
            client = self._client(datagram.source)
            if client is not None:
                self.heard[client.name].counts["coa-answers"] += 1

    def _client(self, address: str) -> Client | None:
        """Return the NAS of an address; the smallest network that holds it counts."""
        if address not in self._known:
            if len(self._known) >= MAX_SENDERS * 4:
                self._known.clear()
            one = ip_address(address)
            fits = [
                c for c in self.clients if c.address.version == one.version and one in c.address
            ]
            self._known[address] = max(fits, key=lambda c: c.address.prefixlen, default=None)
        return self._known[address]

    # requests

    def _request(self, datagram: Datagram, packet: Packet) -> None:
        client = self._client(datagram.source)
        if client is None:
            if datagram.source in self.unknown or len(self.unknown) < MAX_SENDERS:
                self.unknown[datagram.source] += 1
            else:
                self.overflow += 1
            return
        heard = self.heard[client.name]
        heard.first, heard.last = heard.first or datagram.at, datagram.at
        key = (
            datagram.source,
            datagram.source_port,
            datagram.destination,
            datagram.destination_port,
            packet.identifier,
        )
        before = self._open.get(key)
        if before is not None and before.authenticator == packet.authenticator:
            heard.counts["retransmits"] += datagram.at - before.at > _COPY
            return
        self._forget(key, before)
        mac = _mac_of(packet)
        self._open[key] = _Open(heard, packet.authenticator, datagram.at, packet.code, mac)
        _look_at_vendors(packet, heard)
        if packet.code == Code.ACCESS_REQUEST:
            _look_at_access(packet, client, heard, mac)
        else:
            _look_at_accounting(packet, client, heard, mac, datagram.at)

    def _forget(self, key: _Key, before: _Open | None) -> None:
        """Make room for a request: what it replaces, or the oldest, has been waited for long enough."""
        if before is not None:
            del self._open[key]
            before.close()
        while len(self._open) >= MAX_OPEN:
            _, oldest = self._open.popitem(last=False)
            oldest.close()

    # answers

    def _answer(self, datagram: Datagram, packet: Packet) -> None:
        key = (
            datagram.destination,
            datagram.destination_port,
            datagram.source,
            datagram.source_port,
            packet.identifier,
        )
        asked = self._open.get(key)
        if asked is None or asked.answered:
            return
        heard = asked.heard
        asked.answered = True
        took = datagram.at - asked.at
        heard.counts["answered"] += 1
        heard.counts["late"] += took > SLOW
        heard.slowest = max(heard.slowest, took)
        if packet.code == Code.ACCESS_ACCEPT and asked.mac:
            if len(heard.accepted) < MAX_KEPT:
                heard.accepted.setdefault(asked.mac, datagram.at)
            heard.counts["accepts"] += 1
            heard.counts["accepts-unsigned"] += packet.first(Type.MESSAGE_AUTHENTICATOR) is None
        elif packet.code == Code.ACCESS_REJECT:
            heard.counts["rejects"] += 1
        elif packet.code == Code.ACCOUNTING_RESPONSE:
            heard.counts["acknowledged"] += 1

    def finish(self, end: float) -> None:
        """End listening at a moment: what waits for longer than it should is unanswered."""
        self.end = max(self.end, end)
        for one in self._open.values():
            if one.at < self.end - PATIENCE:
                one.close()
        self._open.clear()


def _mac_of(packet: Packet) -> str:
    """Return the MAC that a request is about: Calling-Station-Id, else User-Name; empty without one."""
    for kind in (Type.CALLING_STATION_ID, Type.USER_NAME):
        for value in packet.all(kind):
            try:
                return str(Mac.parse(value.decode("ascii")))
            except (BadValue, UnicodeDecodeError):
                continue
    return ""


def _vendor_attributes(packet: Packet) -> Iterable[tuple[int, int]]:
    """Yield vendor and number of each vendor attribute (RFC 2865 5.26)."""
    for value in packet.all(Type.VENDOR_SPECIFIC):
        if len(value) >= 6:
            yield int.from_bytes(value[:4]), value[4]


def _look_at_vendors(packet: Packet, heard: Heard) -> None:
    for vendor in {vendor for vendor, _ in _vendor_attributes(packet)}:
        name = _VENDORS.get(vendor)
        if name is not None:
            heard.vendors[name] += 1


def _look_at_access(packet: Packet, client: Client, heard: Heard, mac: str) -> None:
    counts = heard.counts
    if packet.first(Type.EAP_MESSAGE) is not None:
        # Somebody else's, on a server that is shared: none of our business.
        counts["eap"] += 1
        return
    counts["requests"] += 1
    signatures = packet.all(Type.MESSAGE_AUTHENTICATOR)
    counts["unsigned"] += not signatures
    if client.secret is not None:
        if signatures:
            right = radius.is_signed(packet, client.secret)
            counts["secret-right" if right else "secret-wrong"] += 1
        elif (text := radius.revealed_password(packet, client.secret)) is not None:
            # What another secret hides comes out as noise.
            right = all(32 <= byte < 127 for byte in text)
            counts["secret-right" if right else "secret-wrong"] += 1
    if not mac:
        counts["no-mac"] += 1
    elif int(mac[1], 16) & 2 and len(heard.private) < MAX_KEPT:
        heard.private.add(mac)
    heard.called[_called_form(packet)] += 1
    if not heard.example:
        value = packet.first(Type.CALLED_STATION_ID)
        heard.example = shown(value.decode("utf-8", "replace"), 64) if value else ""


def _called_form(packet: Packet) -> str:
    """Say what a request tells of its place: `ap-ssid`, `ap`, `ssid` or `nothing`."""
    named = set(_vendor_attributes(packet))
    ssid, ap = bool(named & _SSID), bool(named & _AP_NAME)
    for value in packet.all(Type.CALLED_STATION_ID)[:2]:
        place, network = split_called_station(value.decode("utf-8", "replace"))
        ap, ssid = ap or bool(place), ssid or network is not None
    if ap:
        return "ap-ssid" if ssid else "ap"
    return "ssid" if ssid else "nothing"


def _look_at_accounting(packet: Packet, client: Client, heard: Heard, mac: str, at: float) -> None:
    counts = heard.counts
    counts["accounting"] += 1
    if client.secret is not None:
        right = radius.is_accounting_signed(packet, client.secret)
        counts["secret-right" if right else "secret-wrong"] += 1
    status = _number(packet, Type.ACCT_STATUS_TYPE)
    counts[f"status-{status}"] += 1
    stamp = _number(packet, Type.EVENT_TIMESTAMP)
    if stamp is not None:
        # The time of the event, which the NAS may have tried to tell for a while (RFC 2869 5.3).
        delay = min(_number(packet, Type.ACCT_DELAY_TIME) or 0, 86400)
        heard.skews.append(stamp - (at - delay))
    if not mac:
        return
    if len(heard.accounted) < MAX_KEPT:
        heard.accounted.add(mac)
    _look_at_session(packet, heard, mac, at, status)


def _look_at_session(packet: Packet, heard: Heard, mac: str, at: float, status: int | None) -> None:
    key = (packet.first(Type.ACCT_SESSION_ID) or b"", mac)
    known = heard.sessions.get(key)
    if status == Status.STOP:
        heard.sessions.pop(key, None)
    elif status == Status.START and known is None:
        heard.sessions[key] = at, at
    elif status == Status.INTERIM_UPDATE:
        if known is not None:
            heard.intervals.append(at - known[1])
        # Of one that began before we listened, the first only says when the second is due.
        heard.sessions[key] = (known[0] if known else at, at)
    while len(heard.sessions) > MAX_KEPT:
        heard.sessions.popitem(last=False)


def _number(packet: Packet, kind: int) -> int | None:
    value = packet.first(kind)
    return int.from_bytes(value) if value is not None and len(value) == 4 else None


# tablets among themselves


class Neighbours:
    """Frames from one tablet to another that reach us: the proof that nothing keeps them apart."""

    def __init__(self, tablets: Iterable[str]) -> None:
        self._tablets = frozenset(tablets)
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.heard = 0

    def take(self, seen: Macs) -> None:
        """Take one frame."""
        if seen.source not in self._tablets:
            return
        self.heard += 1
        pair = (seen.source, seen.destination)
        if seen.destination in self._tablets and (pair in self.pairs or len(self.pairs) < SAMPLES):
            self.pairs[pair] += 1
