"""How each product is told to throw a tablet off the air: recipes as data, packets, and what follows an answer.

RFC 5176: a Disconnect-Request ends a session, a CoA-Request changes it. Vendors differ in the port, in
what names the session, and in how it is spelled; so a product is a list of ways, tried one after another
until one of them is acknowledged. Every request carries an Event-Timestamp and a Message-Authenticator, and
every one that is sent again has a new identifier. Pure: moments, identifiers and answers come in.

Sources: RFC 5176; PacketFence's modules of each vendor (WLC.pm, MR_v2.pm, Aruba.pm, Instant.pm,
SmartZone.pm, Unifi.pm, Mist.def, FortiGate.pm, Extreme/AP.pm); hostapd 2.10, src/radius/radius_das.c; RouterOS'
manual. Only hostapd was measured; MikroTik's recipe is from its manual's outline, tried by nobody yet.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from netguard.core import radius
from netguard.core.names import Address, Mac
from netguard.core.radius import Attribute, Attributes, Code, Packet, Type
from netguard.errors import BadValue

# RFC 5176 2; Cisco's and Meraki's own.
PORT, PORT_CISCO, PORT_INSTANT = 3799, 1700, 5999
# How often one way is tried before the next one is.
TRIES = 3
_CISCO = 9
_AVPAIR = 1
_LOGIN = 1
# RFC 2865 5: what an attribute takes.
_LONGEST = 253

# RFC 5176 3.6, all of it: what a NAK says.
CAUSES: Mapping[int, str] = {
    201: "residual session context removed",
    202: "invalid EAP packet",
    401: "unsupported attribute",
    402: "missing attribute",
    403: "NAS identification mismatch",
    404: "invalid request",
    405: "unsupported service",
    406: "unsupported extension",
    407: "invalid attribute value",
    501: "administratively prohibited",
    502: "request not routable",
    503: "session context not found",
    504: "session context not removable",
    505: "other proxy processing error",
    506: "resources unavailable",
    507: "request initiated",
    508: "multiple session selection unsupported",
}
_ABSENT, _BUSY, _SEVERAL = 503, 506, 508


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a tablet on the air: where a request goes, and what names it there.

    `server` is who takes requests: the controller, or the access point where each asks by itself.
    `nas_ip` is the NAS-IP-Address of its own requests, `id` its Acct-Session-Id, `bssid` the radio that
    it is at, `address` its own IPv4 address; what is not known is None or empty.
    """

    mac: Mac
    server: Address
    nas_ip: Address | None = None
    id: str = ""
    bssid: Mac | None = None
    address: Address | None = None


class Item(StrEnum):
    """One attribute of a recipe, in the spelling that its vendor wants."""

    CALLING = "Calling-Station-Id AA-BB-CC-DD-EE-FF"
    CALLING_PLAIN = "Calling-Station-Id aabbccddeeff"
    USER_PLAIN = "User-Name aabbccddeeff"
    NAS_IP = "NAS-IP-Address"
    NAS_IS_AP = "NAS-Identifier, the AP's MAC without colons"
    SESSION = "Acct-Session-Id"
    FRAMED = "Framed-IP-Address"
    LOGIN = "Service-Type Login-User"
    REAUTHENTICATE = "Cisco-AVPair subscriber:command=reauthenticate"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do it: which request, to which port, with which attributes."""

    code: Code
    port: int
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """One product: its ways, the best first, and what an engineer does where none works."""

    ways: tuple[Way, ...]
    note: str = ""


def _off(*items: Item, port: int = PORT) -> Way:
    return Way(Code.DISCONNECT_REQUEST, port, items)


_BASE = _off(Item.CALLING, Item.NAS_IP)
_BARE = _off(Item.CALLING)
_CISCO_OFF = (Item.CALLING, Item.NAS_IP, Item.LOGIN)
# A CoA judges anew on the air, and some products change no VLAN by it: after the Disconnects.
_ANEW = Way(Code.COA_REQUEST, PORT_CISCO, (Item.CALLING, Item.NAS_IP, Item.REAUTHENTICATE))
_WLC = Recipe(
    (_off(*_CISCO_OFF), _BASE, _off(*_CISCO_OFF, port=PORT_CISCO), _ANEW),
    "some releases ignore port 3799: allow this appliance as dynamic-author client",
)
_INSTANT = (Item.CALLING_PLAIN, Item.USER_PLAIN)

RECIPES: Mapping[str, Recipe] = {
    "cisco-aireos": _WLC,
    "cisco-9800": _WLC,
    "meraki": Recipe(
        (_off(Item.CALLING, Item.NAS_IP, port=PORT_CISCO), _ANEW),
        "not on repeaters; Access control > RADIUS CoA support must be enabled",
    ),
    # With an Acct-Session-Id beside it, it finds nobody.
    "aruba-controller": Recipe(
        (_BARE, _BASE), "campus APs in tunnel or decrypt-tunnel mode only, aaa rfc-3576-server"
    ),
    "aruba-instant": Recipe((_off(*_INSTANT), _off(*_INSTANT, port=PORT_INSTANT))),
    "ruckus": Recipe(
        (_off(Item.CALLING, Item.NAS_IP, Item.USER_PLAIN), _BASE),
        "proxy mode only; in non-proxy mode nobody takes it: POST portalintf, RequestType Disconnect",
    ),
    "unifi": Recipe(
        (_off(Item.CALLING, Item.NAS_IS_AP), _BARE),
        "the access point takes it where its firmware does; else the controller's kick-sta",
    ),
    "mist": Recipe((_off(Item.CALLING, Item.NAS_IP, Item.SESSION), _BASE)),
    "fortigate": Recipe((_off(Item.SESSION, Item.USER_PLAIN, Item.FRAMED), _BASE, _BARE)),
    "extreme": Recipe((_BASE, _BARE), "permit dynamic change of authorization messages (CoA)"),
    # RouterOS 6 came with 1700, 7 with 3799.
    "mikrotik": Recipe(
        (_BASE, _off(Item.CALLING, Item.NAS_IP, port=PORT_CISCO), _off(Item.SESSION, Item.CALLING)),
        "/radius incoming set accept=yes",
    ),
    # It refuses whatever it does not know, and a NAS-IP-Address that is not its own_ip_addr.
    "hostapd": Recipe(
        (_BARE, _off(Item.CALLING, Item.SESSION)), "radius_das_port and radius_das_client"
    ),
    "other": Recipe((_BASE, _BARE)),
}


def recipe(vendor: str) -> Recipe:
    """Return how a vendor's product is told; what is not known takes what the RFC says."""
    return RECIPES.get(vendor, RECIPES["other"])


# packets


def _ip(address: Address) -> Attribute:
    return int(
        Type.NAS_IP_ADDRESS if address.version == 4 else Type.NAS_IPV6_ADDRESS
    ), address.packed


_MAKES: Mapping[Item, Callable[[Session], Attribute | None]] = {
    Item.CALLING: lambda s: radius.text(Type.CALLING_STATION_ID, _dashed(s.mac)),
    Item.CALLING_PLAIN: lambda s: radius.text(Type.CALLING_STATION_ID, _plain(s.mac)),
    Item.USER_PLAIN: lambda s: radius.text(Type.USER_NAME, _plain(s.mac)),
    Item.NAS_IP: lambda s: _ip(s.nas_ip or s.server),
    Item.NAS_IS_AP: lambda s: (
        radius.text(Type.NAS_IDENTIFIER, _plain(s.bssid)) if s.bssid is not None else None
    ),
    Item.SESSION: lambda s: radius.text(Type.ACCT_SESSION_ID, s.id) if _is_whole(s.id) else None,
    Item.FRAMED: lambda s: (
        (int(Type.FRAMED_IP_ADDRESS), s.address.packed)
        if s.address is not None and s.address.version == 4
        else None
    ),
    Item.LOGIN: lambda _: radius.number(Type.SERVICE_TYPE, _LOGIN),
    Item.REAUTHENTICATE: lambda _: radius.vendor(
        _CISCO, _AVPAIR, "subscriber:command=reauthenticate"
    ),
}


def ways(vendor: str, session: Session) -> tuple[Way, ...]:
    """Return the ways that can be gone for a session: those of which everything is known.

    Never none: what the RFC asks for at least, a Calling-Station-Id, is always known.
    """
    found = tuple(
        way
        for way in recipe(vendor).ways
        if all(_MAKES[item](session) is not None for item in way.items)
    )
    return found or (_BARE,)


def request(way: Way, session: Session, identifier: int, secret: bytes, now: int) -> bytes:
    """Make the packet of one way; `now` is in seconds since 1970. Raises BadValue for what is too long."""
    made = [_MAKES[item](session) for item in way.items]
    stamp = radius.number(Type.EVENT_TIMESTAMP, now)
    attributes: Attributes = (*(each for each in made if each is not None), stamp)
    return radius.change_request(way.code, identifier, secret, attributes)


def read(raw: bytes, sent: bytes, secret: bytes) -> tuple[bool, int | None] | None:
    """Read what came back to a request: (acknowledged, Error-Cause); None where it answers something else.

    An answer must have the request's identifier, be made with the secret, and bear no wrong
    Message-Authenticator: whoever can send a packet must not be able to say that it is done.
    """
    try:
        reply = radius.decode(raw)
    except BadValue:
        return None
    acks = {Code.DISCONNECT_REQUEST: (41, 42), Code.COA_REQUEST: (44, 45)}[Code(sent[0])]
    if reply.code not in acks or not radius.is_change_reply(reply, sent, secret):
        return None
    return reply.code == acks[0], _cause(reply)


def _cause(reply: Packet) -> int | None:
    value = reply.first(Type.ERROR_CAUSE)
    return int.from_bytes(value) if value is not None and len(value) == 4 else None


def _is_whole(session: str) -> bool:
    """Say whether an id can be given back as its NAS chose it: bytes that are no text were replaced when it was read."""
    return 1 <= len(session.encode(errors="replace")) <= _LONGEST and "\ufffd" not in session


def _dashed(mac: Mac) -> str:
    return str(mac).upper().replace(":", "-")


def _plain(mac: Mac) -> str:
    return str(mac).replace(":", "")


# what follows an answer


class Word(StrEnum):
    """What one request brought, and what the whole exchange did."""

    ACK = "ack"
    NAK = "nak"
    # Nobody has the port open (ICMP).
    REFUSED = "refused"
    SILENT = "silent"
    # It says that it has no such session: there is nobody to throw off.
    ABSENT = "absent"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request brought."""

    word: Word
    cause: int | None = None

    @property
    def label(self) -> str:
        """Return it as a label of a metric: bounded by the table of causes."""
        if self.word != Word.NAK:
            return str(self.word)
        return f"nak-{self.cause}" if self.cause in CAUSES else "nak"

    @property
    def text(self) -> str:
        """Return it for people."""
        if self.word != Word.NAK or self.cause is None:
            return str(self.word)
        return f"NAK {self.cause}, {CAUSES.get(self.cause, 'a cause that RFC 5176 does not know')}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended: the best word, its cause, by which way, after how many requests."""

    word: Word
    cause: int | None
    way: Way
    sent: int

    @property
    def is_done(self) -> bool:
        """Say whether the tablet is off the air there: thrown off, or not there."""
        return self.word in {Word.ACK, Word.ABSENT}


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where one exchange stands: the way that is gone now, how often it was, and what was said so far."""

    ways: tuple[Way, ...]
    index: int = 0
    tries: int = 0
    sent: int = 0
    said: Answer | None = None
    said_at: int = 0

    @property
    def way(self) -> Way:
        """Return the way that is gone now."""
        return self.ways[self.index]


# Of several answers the one that says most is what is told at the end; of two that say as much, the first: the
# other port of a recipe is often closed.
_WEIGHT = {Word.SILENT: 0, Word.REFUSED: 0, Word.NAK: 1, Word.ABSENT: 2}


def follow(exchange: Exchange, answer: Answer) -> Exchange | Outcome:
    """Return what comes after an answer: the same way once more, the next way, or the end."""
    sent = exchange.sent + 1
    if answer.word == Word.ACK:
        return Outcome(Word.ACK, answer.cause, exchange.way, sent)
    heard = Answer(Word.ABSENT, _ABSENT) if answer == Answer(Word.NAK, _ABSENT) else answer
    said, at = exchange.said, exchange.said_at
    if said is None or _WEIGHT[heard.word] > _WEIGHT[said.word]:
        said, at = heard, exchange.index
    tries = exchange.tries + 1
    again = answer.word == Word.SILENT or answer == Answer(Word.NAK, _BUSY)
    if again and tries < TRIES:
        return replace(exchange, tries=tries, sent=sent, said=said, said_at=at)
    index = _next(exchange, answer)
    if index is None:
        return Outcome(said.word, said.cause, exchange.ways[at], sent)
    return replace(exchange, index=index, tries=0, sent=sent, said=said, said_at=at)


def _next(exchange: Exchange, answer: Answer) -> int | None:
    """Return the next way that can do better; after a port that says nothing, only another port can."""
    shut = answer.word in {Word.SILENT, Word.REFUSED}
    for index in range(exchange.index + 1, len(exchange.ways)):
        way = exchange.ways[index]
        if shut and way.port == exchange.way.port:
            continue
        # Several sessions of one tablet: only one that names its session can tell them apart.
        if answer.cause == _SEVERAL and Item.SESSION not in way.items:
            continue
        return index
    return None
