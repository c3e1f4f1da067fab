"""A small RADIUS codec: what a NAS sends and how it checks what comes back (RFC 2865, 2866, 2869, 3579).

Pure: identifiers and authenticators come in as arguments, nothing is sent here. Everything is
bounded: a packet has at most 4,096 bytes and 200 attributes, and each length is checked before it
is used. It is the NAS's half and not a server; FreeRADIUS answers, nothing of ours does.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import IntEnum
from struct import Struct

from netguard.errors import BadValue

MAX_PACKET = 4096
MAX_ATTRIBUTES = 200
_HEADER = Struct("!BBH16s")
_ZERO = bytes(16)


class Code(IntEnum):
    """Packet codes (RFC 2865 4, RFC 2866 4, RFC 5997 3, RFC 5176 3)."""

    ACCESS_REQUEST = 1
    ACCESS_ACCEPT = 2
    ACCESS_REJECT = 3
    ACCOUNTING_REQUEST = 4
    ACCOUNTING_RESPONSE = 5
    ACCESS_CHALLENGE = 11
    STATUS_SERVER = 12
    DISCONNECT_REQUEST = 40
    DISCONNECT_ACK = 41
    DISCONNECT_NAK = 42
    COA_REQUEST = 43
    COA_ACK = 44
    COA_NAK = 45


# What a server answers to a NAS, and a NAS to a server that changes a session (RFC 5176).
ANSWERS = frozenset({2, 3, 5, 11})
CHANGED = frozenset({41, 42, 44, 45})


class Type(IntEnum):
    """Attribute types, by their names in FreeRADIUS' dictionaries with `_` for `-`."""

    USER_NAME = 1
    USER_PASSWORD = 2
    CHAP_PASSWORD = 3
    NAS_IP_ADDRESS = 4
    NAS_PORT = 5
    SERVICE_TYPE = 6
    FRAMED_IP_ADDRESS = 8
    REPLY_MESSAGE = 18
    VENDOR_SPECIFIC = 26
    SESSION_TIMEOUT = 27
    CALLED_STATION_ID = 30
    CALLING_STATION_ID = 31
    NAS_IDENTIFIER = 32
    PROXY_STATE = 33
    ACCT_STATUS_TYPE = 40
    ACCT_DELAY_TIME = 41
    ACCT_SESSION_ID = 44
    ACCT_SESSION_TIME = 46
    ACCT_INPUT_PACKETS = 47
    ACCT_OUTPUT_PACKETS = 48
    ACCT_TERMINATE_CAUSE = 49
    EVENT_TIMESTAMP = 55
    CHAP_CHALLENGE = 60
    NAS_PORT_TYPE = 61
    TUNNEL_TYPE = 64
    TUNNEL_MEDIUM_TYPE = 65
    TUNNEL_PASSWORD = 69
    EAP_MESSAGE = 79
    MESSAGE_AUTHENTICATOR = 80
    TUNNEL_PRIVATE_GROUP_ID = 81
    ACCT_INTERIM_INTERVAL = 85
    NAS_IPV6_ADDRESS = 95
    ERROR_CAUSE = 101


class Status(IntEnum):
    """Acct-Status-Type (RFC 2866 5.1)."""

    START = 1
    STOP = 2
    INTERIM_UPDATE = 3
    ACCOUNTING_ON = 7
    ACCOUNTING_OFF = 8


TUNNEL_VLAN = 13
TUNNEL_IEEE_802 = 6

# Type and value as they are on the wire; several of one type are legal and keep their order.
Attribute = tuple[int, bytes]
Attributes = tuple[Attribute, ...]


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet as it was read; `raw` is what the checks run over."""

    code: int
    identifier: int
    authenticator: bytes
    attributes: Attributes
    raw: bytes

    def all(self, kind: int) -> list[bytes]:
        """Return every value of one attribute, in order."""
        return [value for known, value in self.attributes if known == kind]

    def first(self, kind: int) -> bytes | None:
        """Return the first value of one attribute."""
        return next(iter(self.all(kind)), None)


def text(kind: int, value: str | bytes) -> Attribute:
    """Make an attribute of text; bytes stay as they are."""
    data = value.encode() if isinstance(value, str) else value
    if not 1 <= len(data) <= 253:
        raise BadValue("bad-radius", f"attribute {kind} has {len(data)} bytes, it takes 1 to 253")
    return int(kind), data


def number(kind: int, value: int) -> Attribute:
    """Make an attribute of a 32-bit number."""
    if not 0 <= value < 2**32:
        raise BadValue("bad-radius", f"attribute {kind}: {value} is no 32-bit number")
    return int(kind), value.to_bytes(4)


def vendor(number_of_vendor: int, kind: int, value: str | bytes) -> Attribute:
    """Make a vendor-specific attribute (RFC 2865 5.26)."""
    data = value.encode() if isinstance(value, str) else value
    inner = bytes([kind, min(len(data) + 2, 255)]) + data
    return text(Type.VENDOR_SPECIFIC, number_of_vendor.to_bytes(4) + inner)


def hide_password(password: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Hide a User-Password (RFC 2865 5.2)."""
    if len(password) > 128:
        raise BadValue("bad-radius", "a password has at most 128 bytes")
    padded = password.ljust(max(16, -(-len(password) // 16) * 16), b"\0")
    hidden, before = b"", authenticator
    for start in range(0, len(padded), 16):
        mask = _md5(secret + before)
        before = bytes(a ^ b for a, b in zip(padded[start : start + 16], mask, strict=True))
        hidden += before
    return hidden


def access_request(
    identifier: int,
    authenticator: bytes,
    secret: bytes,
    attributes: Attributes,
    password: bytes,
    *,
    sign: bool = True,
) -> bytes:
    """Make an Access-Request with PAP; the Message-Authenticator goes first (CVE-2024-3596).

    Without `sign` there is none, as old controllers do it.
    """
    hidden = (int(Type.USER_PASSWORD), hide_password(password, secret, authenticator))
    if not sign:
        return _packed(Code.ACCESS_REQUEST, identifier, authenticator, (*attributes, hidden))
    return signed(Code.ACCESS_REQUEST, identifier, authenticator, secret, (*attributes, hidden))


def signed(
    code: Code, identifier: int, authenticator: bytes, secret: bytes, attributes: Attributes
) -> bytes:
    """Make a request with a Message-Authenticator over all of it (RFC 3579 3.2)."""
    blank = (int(Type.MESSAGE_AUTHENTICATOR), _ZERO)
    packet = _packed(code, identifier, authenticator, (blank, *attributes))
    digest = hmac.digest(secret, packet, "md5")
    return packet[:22] + digest + packet[38:]


def accounting_request(identifier: int, secret: bytes, attributes: Attributes) -> bytes:
    """Make an Accounting-Request; its authenticator signs the packet (RFC 2866 3)."""
    packet = _packed(Code.ACCOUNTING_REQUEST, identifier, _ZERO, attributes)
    return packet[:4] + _md5(packet + secret) + packet[20:]


def decode(raw: bytes) -> Packet:
    """Read a packet, or say what is wrong with it; nothing is verified yet."""
    if not _HEADER.size <= len(raw) <= MAX_PACKET:
        raise BadValue("bad-radius", f"a packet has 20 to {MAX_PACKET} bytes, this has {len(raw)}")
    code, identifier, length, authenticator = _HEADER.unpack_from(raw)
    # Bytes beyond the length are padding (RFC 2865 3); a packet shorter than it says is cut.
    if not _HEADER.size <= length <= len(raw):
        raise BadValue("bad-radius", f"the packet says {length} bytes and has {len(raw)}")
    attributes = _read(raw[_HEADER.size : length])
    return Packet(code, identifier, authenticator, attributes, raw[:length])


def verify_reply(reply: Packet, identifier: int, authenticator: bytes, secret: bytes) -> None:
    """Check that a reply answers the request with this authenticator, and was made with the secret.

    A reply to an Access-Request must carry a Message-Authenticator: without it a forger on the way
    can turn a reject into an accept (CVE-2024-3596).
    """
    if reply.identifier != identifier:
        raise BadValue("bad-radius", "the reply answers another request")
    raw = reply.raw
    if not is_reply(reply, authenticator, secret):
        raise BadValue("bad-radius", "the reply was made with another secret")
    if reply.code == Code.ACCOUNTING_RESPONSE:
        return
    signature = reply.all(Type.MESSAGE_AUTHENTICATOR)
    if len(signature) != 1:
        raise BadValue("bad-radius", "the reply has no Message-Authenticator")
    if not hmac.compare_digest(_reply_signature(raw, authenticator, secret), signature[0]):
        raise BadValue("bad-radius", "the Message-Authenticator of the reply is wrong")


def disconnect_request(identifier: int, secret: bytes, attributes: Attributes) -> bytes:
    """Make a Disconnect-Request (RFC 5176 3.1)."""
    return change_request(Code.DISCONNECT_REQUEST, identifier, secret, attributes)


def change_request(code: Code, identifier: int, secret: bytes, attributes: Attributes) -> bytes:
    """Make a Disconnect- or CoA-Request, signed twice (RFC 5176 2.3, 3.5).

    By its authenticator as accounting is, and by a Message-Authenticator that goes first.
    """
    blank = (int(Type.MESSAGE_AUTHENTICATOR), _ZERO)
    packet = _packed(code, identifier, _ZERO, (blank, *attributes))
    packet = packet[:22] + hmac.digest(secret, packet, "md5") + packet[38:]
    return packet[:4] + _md5(packet[:4] + _ZERO + packet[20:] + secret) + packet[20:]


def is_signed(packet: Packet, secret: bytes) -> bool:
    """Say whether an Access-Request bears one Message-Authenticator, made with the secret (RFC 3579 3.2)."""
    signatures = packet.all(Type.MESSAGE_AUTHENTICATOR)
    expected = _reply_signature(packet.raw, packet.authenticator, secret)
    return len(signatures) == 1 and hmac.compare_digest(expected, signatures[0])


def is_accounting_signed(packet: Packet, secret: bytes) -> bool:
    """Say whether a request without an authenticator of its own was made with the secret (RFC 2866 3)."""
    raw = packet.raw
    expected = _md5(raw[:4] + _ZERO + raw[20:] + secret)
    return hmac.compare_digest(expected, packet.authenticator)


def revealed_password(packet: Packet, secret: bytes) -> bytes | None:
    """Return the User-Password of an Access-Request, as the secret reveals it (RFC 2865 5.2)."""
    hidden = packet.first(Type.USER_PASSWORD)
    if hidden is None or not 16 <= len(hidden) <= 128 or len(hidden) % 16:
        return None
    plain, before = b"", packet.authenticator
    for start in range(0, len(hidden), 16):
        block = hidden[start : start + 16]
        plain += bytes(a ^ b for a, b in zip(block, _md5(secret + before), strict=True))
        before = block
    return plain.rstrip(b"\0")


def shown_password(hidden: bytes, secret: bytes, authenticator: bytes) -> bytes:
    """Return what a salted value of a reply hides (RFC 2868 3.5); `authenticator` is the request's.

    `hidden` is the salt and what follows, without a tag. Raises BadValue for what cannot be one.
    """
    salt, body = hidden[:2], hidden[2:]
    # The first bit of a salt is set, so that nobody takes it for a tag.
    if not body or len(body) % 16 or not salt[0] & 0x80:
        raise BadValue("bad-radius", "a hidden value is a salt and blocks of 16 bytes")
    plain, before = b"", authenticator + salt
    for start in range(0, len(body), 16):
        block = body[start : start + 16]
        plain += bytes(a ^ b for a, b in zip(block, _md5(secret + before), strict=True))
        before = block
    length = plain[0]
    if length > len(plain) - 1:
        raise BadValue("bad-radius", "a hidden value is shorter than it says: another secret?")
    return plain[1 : 1 + length]


def is_reply(reply: Packet, authenticator: bytes, secret: bytes) -> bool:
    """Say whether a reply was made with the secret, for the request with this authenticator (RFC 2865 3)."""
    raw = reply.raw
    expected = _md5(raw[:4] + authenticator + raw[20:] + secret)
    return hmac.compare_digest(expected, reply.authenticator)


def is_change_reply(reply: Packet, request: bytes, secret: bytes) -> bool:
    """Say whether a reply answers this Disconnect- or CoA-Request and was made with the secret.

    A Message-Authenticator need not be there (RFC 5176 3.4); one that is there must be right.
    """
    authenticator = request[4:20]
    if reply.identifier != request[1] or not is_reply(reply, authenticator, secret):
        return False
    expected = _reply_signature(reply.raw, authenticator, secret)
    signatures = reply.all(Type.MESSAGE_AUTHENTICATOR)
    return len(signatures) < 2 and all(hmac.compare_digest(expected, s) for s in signatures)


def vlan_of(reply: Packet) -> str | None:
    """Return the VLAN of an Access-Accept, when the triplet is complete and untagged."""
    group = reply.first(Type.TUNNEL_PRIVATE_GROUP_ID)
    if (
        reply.first(Type.TUNNEL_TYPE) != TUNNEL_VLAN.to_bytes(4)
        or reply.first(Type.TUNNEL_MEDIUM_TYPE) != TUNNEL_IEEE_802.to_bytes(4)
        or group is None
    ):
        return None
    # A first byte up to 0x1F is a tag (RFC 2868 3.6); a VLAN is digits, and nothing else.
    return group.decode("ascii") if group.isdigit() else None


def _reply_signature(raw: bytes, authenticator: bytes, secret: bytes) -> bytes:
    """Compute the Message-Authenticator of a reply: over the *request's* authenticator."""
    body, blanked, place = raw[20:], b"", 0
    while place < len(body):
        kind, length = body[place], body[place + 1]
        value = _ZERO if kind == Type.MESSAGE_AUTHENTICATOR else body[place + 2 : place + length]
        blanked += bytes([kind, length]) + value
        place += length
    return hmac.digest(secret, raw[:4] + authenticator + blanked, "md5")


def _packed(code: Code, identifier: int, authenticator: bytes, attributes: Attributes) -> bytes:
    if len(authenticator) != 16:
        raise BadValue("bad-radius", "an authenticator has 16 bytes")
    body = b"".join(bytes([kind, len(value) + 2]) + value for kind, value in attributes)
    length = _HEADER.size + len(body)
    if length > MAX_PACKET:
        raise BadValue("bad-radius", f"a packet has at most {MAX_PACKET} bytes, not {length}")
    return _HEADER.pack(code, identifier, length, authenticator) + body


def _read(body: bytes) -> Attributes:
    attributes: list[Attribute] = []
    place = 0
    while place < len(body):
        length = body[place + 1] if place + 1 < len(body) else 0
        if length < 2 or place + length > len(body):
            raise BadValue("bad-radius", f"attribute at byte {place + 20} is cut")
        if len(attributes) == MAX_ATTRIBUTES:
            raise BadValue("bad-radius", f"a packet has at most {MAX_ATTRIBUTES} attributes")
        value = body[place + 2 : place + length]
        if body[place] == Type.MESSAGE_AUTHENTICATOR and len(value) != 16:
            raise BadValue("bad-radius", "a Message-Authenticator has 16 bytes")
        attributes.append((body[place], value))
        place += length
    return tuple(attributes)


def _md5(data: bytes) -> bytes:
    # RADIUS is defined with MD5; the secret is what protects, and the management network.
    return hashlib.md5(data, usedforsecurity=False).digest()
