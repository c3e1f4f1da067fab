"""SNMPv3 traps: who sent them, that nobody changed or repeated them, and what they hold.

User-based security at the level authPriv, nothing weaker (RFC 3412, 3414, 3826, 7860). The sender of a
trap is the authoritative engine: its boots and time come with the message, and what is older than
150 s by its own clock, or from before its last start, is a replay. Informs are not answered.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import new
from itertools import cycle, islice

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from netguard.core import snmp
from netguard.errors import BadValue

# Protocol: hash and length of its check (RFC 3414 6, RFC 7860 4). MD5 and DES are not offered: who can
# say authPriv today can say these.
AUTH = {
    "sha1": ("sha1", 12),
    "sha256": ("sha256", 24),
    "sha512": ("sha512", 48),
}
PRIVACY = {"aes128": 16}
_V3, _USM = 3, 3
_AUTH_FLAG, _PRIV_FLAG = 1, 2
_MEGABYTE = 1 << 20
WINDOW = 150
_MOST_ENGINES = 1000
_LONGEST_BOOTS = 2**31 - 1
SHORTEST_PASSWORD = 8


class Untrusted(BadValue):
    """The message is not from a user of the rules, was changed, or is a replay; `why` is one word."""

    def __init__(self, why: str) -> None:
        super().__init__("snmp", f"an SNMPv3 message is not believed: {why}")
        self.why = why


@dataclass(frozen=True, slots=True)
class User:
    """One user of the rules with its passwords (RFC 3414 A.2)."""

    name: str
    auth: str
    auth_password: bytes
    privacy: str
    privacy_password: bytes


@dataclass(frozen=True, slots=True)
class _Sealed:
    flags: int
    engine: bytes
    boots: int
    time: int
    user: bytes
    check: tuple[int, int]
    salt: bytes
    sealed: bytes


@dataclass(slots=True)
class Clocks:
    """What each sender's own clock last said: (boots, time, when that was, in our seconds)."""

    engines: dict[bytes, tuple[int, int, float]] = field(default_factory=dict)

    def timely(self, engine: bytes, boots: int, time: int, now: float) -> bool:
        """Say whether a message of a sender is no replay, and keep the newest time (RFC 3414 3.2 7b).

        The first one of a sender sets its clock. `now` is monotonic.
        """
        known = self.engines.get(engine)
        if boots >= _LONGEST_BOOTS:
            return False
        if known is None:
            if len(self.engines) >= _MOST_ENGINES:
                return False
            self.engines[engine] = boots, time, now
            return True
        last_boots, last_time, at = known
        if boots < last_boots or (boots == last_boots and time < last_time + (now - at) - WINDOW):
            return False
        if boots > last_boots or time > last_time:
            self.engines[engine] = boots, time, now
        return True


def is_v3(data: bytes) -> bool:
    """Say whether a message claims to be SNMPv3; raises BadValue where it is none at all."""
    return snmp.version(data) == _V3


def read(data: bytes, users: Mapping[str, User], clocks: Clocks, now: float) -> snmp.Trap:
    """Open an SNMPv3 trap. Raises Untrusted, or BadValue (`snmp`) for what is no such message."""
    sealed = _outer(data)
    if sealed.flags & (_AUTH_FLAG | _PRIV_FLAG) != _AUTH_FLAG | _PRIV_FLAG:
        raise Untrusted("not-authpriv")
    user = users.get(sealed.user.decode("utf-8", "replace"))
    if user is None:
        raise Untrusted("unknown-user")
    kind, size = AUTH[user.auth]
    key = localized(kind, user.auth_password, sealed.engine)
    start, end = sealed.check
    blank = data[:start] + bytes(end - start) + data[end:]
    wanted = hmac.new(key, blank, kind).digest()[:size]
    if end - start != size or not hmac.compare_digest(wanted, data[start:end]):
        raise Untrusted("wrong-digest")
    if not clocks.timely(sealed.engine, sealed.boots, sealed.time, now):
        raise Untrusted("not-in-time")
    return _opened(sealed, localized(kind, user.privacy_password, sealed.engine))


def _opened(sealed: _Sealed, key: bytes) -> snmp.Trap:
    if len(sealed.salt) != 8:
        raise Untrusted("wrong-salt")
    start = sealed.boots.to_bytes(4, "big") + sealed.time.to_bytes(4, "big") + sealed.salt
    cipher = Cipher(algorithms.AES(key[: PRIVACY["aes128"]]), CFB(start))
    reader = cipher.decryptor()
    plain = reader.update(sealed.sealed) + reader.finalize()
    try:
        return snmp.scoped(plain)
    except BadValue as error:
        # Opened with the wrong key it is noise.
        raise Untrusted("not-readable") from error


def _outer(data: bytes) -> _Sealed:
    if len(data) > snmp.LONGEST:
        raise snmp.bad(snmp.LONGEST, "too long")
    at, end = snmp.sequence(data, 0, len(data))
    if end != len(data):
        raise snmp.bad(end, "bytes behind the message")
    version, at = snmp.number(data, at, end)
    if version != _V3:
        raise snmp.bad(0, f"version {version} is not SNMPv3")
    head, stop = snmp.sequence(data, at, end)
    _, head = snmp.number(data, head, stop)  # msgID
    _, head = snmp.number(data, head, stop)  # msgMaxSize
    first, last = snmp.octets(data, head, stop)
    flags = data[first] if last == first + 1 else 0
    model, head = snmp.number(data, last, stop)
    if head != stop or model != _USM:
        raise snmp.bad(head, "not the user-based security model")
    outer, after = snmp.octets(data, stop, end)
    inner, inner_end = snmp.sequence(data, outer, after)
    first, last = snmp.octets(data, inner, inner_end)
    engine = data[first:last]
    boots, inner = snmp.number(data, last, inner_end)
    time, inner = snmp.number(data, inner, inner_end)
    if not (5 <= len(engine) <= 32 and 0 <= boots <= _LONGEST_BOOTS and 0 <= time < 2**31):
        raise snmp.bad(outer, "an engine that is none")
    first, last = snmp.octets(data, inner, inner_end)
    user = data[first:last]
    check = snmp.octets(data, last, inner_end)
    first, last = snmp.octets(data, check[1], inner_end)
    salt = data[first:last]
    if last != inner_end or inner_end != after:
        raise snmp.bad(last, "bytes behind the security parameters")
    if not flags & _PRIV_FLAG:
        # In the clear a sequence stands here; it is refused before it is looked at.
        return _Sealed(flags, engine, boots, time, user, check, salt, b"")
    first, last = snmp.octets(data, after, end)
    if last != end:
        raise snmp.bad(last, "bytes behind the sealed PDU")
    return _Sealed(flags, engine, boots, time, user, check, salt, data[first:last])


@lru_cache(maxsize=4 * _MOST_ENGINES)
def localized(kind: str, password: bytes, engine: bytes) -> bytes:
    """Return the key of a password at one engine (RFC 3414 2.6, A.2.2)."""
    if len(password) < SHORTEST_PASSWORD:
        raise BadValue("snmp", f"a password of fewer than {SHORTEST_PASSWORD} characters")
    return new(kind, _long(kind, password) + engine + _long(kind, password)).digest()


@lru_cache(maxsize=64)
def _long(kind: str, password: bytes) -> bytes:
    """Return the digest of the password written over and over for a megabyte."""
    return new(kind, bytes(islice(cycle(password), _MEGABYTE))).digest()
