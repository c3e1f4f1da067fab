"""The little of DNS that the allow-list proxy needs, parsed with bounds and written by hand.

Reads a question and the address records of an answer, writes refusals and rewritten answers.
Everything else in a message is skipped, never learned from. Wire format: RFC 1035 4; TTLs:
RFC 2181 8. A general library is eight times slower and accepts more; it is the oracle in tests.
"""

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from netguard.core.names import Address

A, CNAME, SOA, PTR, AAAA, SVCB, HTTPS, ANY = 1, 5, 6, 12, 28, 64, 65, 255
IN = 1
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5

MAX_UDP = 4096
MAX_ADDRESSES = 64
MAX_CNAMES = 11
MAX_RECORDS = 256
# A compressed name cannot have more labels than 255 octets allow; each pointer must go backwards.
MAX_POINTERS = 64

_HEADER = struct.Struct("!HHHHHH")
_QUESTION_TAIL = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")


class Malformed(Exception):
    """A message that breaks RFC 1035; `reason` is a short word for counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Question:
    """One question: `name` is lower case without the final dot, `raw` its bytes as asked."""

    id: int
    flags: int
    name: str
    type: int
    klass: int
    raw: bytes
    edns: int | None

    @property
    def opcode(self) -> int:
        """Return the kind of message, 0 for a query."""
        return self.flags >> 11 & 0xF

    @property
    def recursion_desired(self) -> bool:
        """Return the RD bit, which an answer repeats."""
        return bool(self.flags & 0x0100)


@dataclass(frozen=True, slots=True)
class Answer:
    """The address records that the question's CNAME chain reaches, and how it got there."""

    id: int
    rcode: int
    truncated: bool
    chain: tuple[str, ...]
    addresses: tuple[Address, ...]
    ttl: int


def parse_question(data: bytes) -> Question:
    """Parse a query of a tablet. Raises Malformed; `reason` 'ignore' means: do not even answer."""
    if len(data) < 12:
        raise Malformed("ignore")
    id_, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & 0x8000:
        raise Malformed("ignore")
    if questions != 1 or answers or authority or additional > 2:
        raise Malformed("counts")
    name, at = read_name(data, 12)
    if at + 4 > len(data):
        raise Malformed("short")
    type_, klass = _QUESTION_TAIL.unpack_from(data, at)
    edns = _edns(data, at + 4, additional)
    return Question(id_, flags, name, type_, klass, data[12 : at + 4], edns)


def _edns(data: bytes, at: int, additional: int) -> int | None:
    size: int | None = None
    for _ in range(additional):
        owner, at = read_name(data, at)
        if at + 10 > len(data):
            raise Malformed("short")
        type_, klass, _, length = _RECORD.unpack_from(data, at)
        at += 10 + length
        if at > len(data):
            raise Malformed("short")
        if type_ == 41:
            # RFC 6891 6.1.1: one OPT at most, and its owner is the root.
            if size is not None or owner:
                raise Malformed("edns")
            size = max(512, min(klass, MAX_UDP))
    return size


def parse_answer(data: bytes, question: Question) -> Answer:
    """Parse an answer to a question of ours; raises Malformed when it is not exactly that.

    Only the answer section counts, and of it only records that the CNAME chain starting at the
    asked name reaches, with every link in this one message.
    """
    if len(data) < 12:
        raise Malformed("short")
    id_, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if not flags & 0x8000 or flags >> 11 & 0xF:
        raise Malformed("not-an-answer")
    name, at = read_name(data, 12) if questions == 1 else ("", 0)
    if questions != 1 or at + 4 > len(data):
        raise Malformed("counts")
    if (name, *_QUESTION_TAIL.unpack_from(data, at)) != (
        question.name,
        question.type,
        question.klass,
    ):
        raise Malformed("other-question")
    rcode, truncated = flags & 0xF, bool(flags & 0x0200)
    if truncated or rcode != NOERROR:
        return Answer(id_, rcode, truncated, (name,), (), 0)
    if answers > MAX_RECORDS:
        raise Malformed("too-many-records")
    aliases, found = _records(data, at + 4, answers, question.type)
    return _follow(id_, name, aliases, found)


_Aliases = dict[str, tuple[str, int]]
_Found = dict[str, list[tuple[Address, int]]]


def _records(data: bytes, at: int, count: int, wanted: int) -> tuple[_Aliases, _Found]:
    aliases: _Aliases = {}
    found: _Found = {}
    for _ in range(count):
        owner, at = read_name(data, at)
        if at + 10 > len(data):
            raise Malformed("short")
        type_, klass, ttl, length = _RECORD.unpack_from(data, at)
        at += 10
        end = at + length
        if end > len(data):
            raise Malformed("short")
        # RFC 2181 8: a TTL with the top bit set is to be read as zero.
        ttl = 0 if ttl & 0x80000000 else ttl
        if klass == IN and type_ == CNAME:
            target, after = read_name(data, at)
            if after != end or aliases.get(owner, (target, 0))[0] != target:
                raise Malformed("cname")
            aliases[owner] = target, ttl
        elif klass == IN and type_ == wanted and type_ in {A, AAAA}:
            found.setdefault(owner, []).append((_address(type_, data[at:end]), ttl))
        at = end
    return aliases, found


def _address(type_: int, data: bytes) -> Address:
    if len(data) != (4 if type_ == A else 16):
        raise Malformed("rdlength")
    return IPv4Address(data) if type_ == A else IPv6Address(data)


def _follow(id_: int, name: str, aliases: _Aliases, found: _Found) -> Answer:
    chain, ttls = [name], []
    while chain[-1] in aliases:
        target, ttl = aliases[chain[-1]]
        if target in chain or len(chain) > MAX_CNAMES:
            raise Malformed("cname")
        chain.append(target)
        ttls.append(ttl)
    records = found.get(chain[-1], [])
    if len(records) > MAX_ADDRESSES:
        raise Malformed("too-many-addresses")
    addresses = tuple(dict.fromkeys(address for address, _ in records))
    ttls.extend(ttl for _, ttl in records)
    return Answer(id_, NOERROR, False, tuple(chain), addresses, min(ttls, default=0))


def read_name(data: bytes, at: int) -> tuple[str, int]:
    r"""Read a possibly compressed name; returns it in lower case and where it ends.

    Bytes outside printable ASCII, and dots inside labels, are written as \\DDD (RFC 1035 5.1), so
    that a label can never be mistaken for two.
    """
    labels: list[str] = []
    end = 0
    total = 1
    pointers = 0
    while True:
        if at >= len(data):
            raise Malformed("name")
        length = data[at]
        if length & 0xC0 == 0xC0:
            if at + 2 > len(data) or pointers >= MAX_POINTERS:
                raise Malformed("name")
            target = (length & 0x3F) << 8 | data[at + 1]
            # Only backwards: a pointer to itself or ahead can loop.
            if target >= at:
                raise Malformed("name")
            end = end or at + 2
            at, pointers = target, pointers + 1
            continue
        if length & 0xC0:
            raise Malformed("name")
        at += 1
        if not length:
            return ".".join(labels), end or at
        total += length + 1
        if total > 255 or at + length > len(data):
            raise Malformed("name")
        labels.append(_label(data[at : at + length]))
        at += length


def _label(raw: bytes) -> str:
    text = raw.decode("latin-1")
    if text.isascii() and text.replace("-", "a").replace("_", "a").isalnum():
        return text.lower()
    return "".join(
        c.lower() if "!" <= c <= "~" and c not in ".\\" else f"\\{ord(c):03d}" for c in text
    )


def write_name(name: str) -> bytes:
    """Write a plain host name (no escapes) in wire form."""
    labels = name.encode("ascii").split(b".") if name else []
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def ask(id_: int, question: Question) -> bytes:
    """Write the question that goes upstream: same name and type, our own id, plain EDNS."""
    opt = b"\0" + _RECORD.pack(41, 1232, 0, 0)
    return _HEADER.pack(id_, 0x0100, 1, 0, 0, 1) + question.raw + opt


def reply(
    question: Question, rcode: int, addresses: tuple[Address, ...] = (), ttl: int = 0
) -> bytes:
    """Write the answer a tablet gets: the addresses under the asked name, or an rcode alone.

    The CNAME chain is left out: the tablet asked for one name, and gets the addresses that were
    learned for it. A message over the client's size says so with TC (RFC 2181 9).
    """
    kind = A if question.type == A else AAAA
    records = b"".join(
        b"\xc0\x0c" + _RECORD.pack(kind, IN, ttl, len(a.packed)) + a.packed for a in addresses
    )
    opt = b"\0" + _RECORD.pack(41, 1232, 0, 0) if question.edns is not None else b""
    flags = 0x8080 | (0x0100 if question.recursion_desired else 0) | rcode
    head = _HEADER.pack(question.id, flags, 1, len(addresses), 0, 1 if opt else 0)
    return head + question.raw + records + opt


def truncated(question: Question) -> bytes:
    """Write an empty answer that tells the client to ask again over TCP."""
    flags = 0x8280 | (0x0100 if question.recursion_desired else 0)
    return _HEADER.pack(question.id, flags, 1, 0, 0, 0) + question.raw


def format_error(data: bytes) -> bytes:
    """Write FORMERR for a query whose header at least could be read."""
    id_, flags = struct.unpack_from("!HH", data)
    return _HEADER.pack(id_, 0x8080 | (flags & 0x7900) | FORMERR, 0, 0, 0, 0)
