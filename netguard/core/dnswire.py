"""The little of DNS that the allow-list proxy needs, parsed with bounds and written by hand.

Reads a question and the address records of an answer, writes refusals and rewritten answers.
Everything else in a message is skipped, never learned from. Wire format: RFC 1035 4; TTLs:
RFC 2181 8. A general library is eight times slower and accepts more; it is the oracle in tests.
"""

import re
import struct
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

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
_REPLY_HEAD = struct.Struct("!HHHHH")
_ID = struct.Struct("!H")
_TTL = struct.Struct("!I")
# Our own OPT record: 1,232 octets (DNS flag day 2020), no option, version 0.
_OPT = b"\0" + _RECORD.pack(41, 1232, 0, 0)
# RD, one question, one additional record.
_ASK_HEAD = _REPLY_HEAD.pack(0x0100, 1, 0, 0, 1)
_PLAIN = re.compile(rb"[A-Za-z0-9_.-]*")
_A_OWNER = b"\xc0\x0c" + struct.pack("!HH", A, IN)
_AAAA_OWNER = b"\xc0\x0c" + struct.pack("!HH", AAAA, IN)

# Makes a named tuple at half the cost of calling its class.
_new: Callable[..., "Answer"] = tuple.__new__
# The second to the fourth word of a message with one question and one answer: no error, not cut.
_ONE = struct.pack("!HHH", 0x8180, 1, 1)
# An address record whose owner is a pointer to the question.
_SHAPES = {
    A: (struct.Struct("!6sIH4s"), _A_OWNER, 4),
    AAAA: (struct.Struct("!6sIH16s"), _AAAA_OWNER, 16),
}


class Malformed(Exception):
    """A message that breaks RFC 1035; `reason` is a short word for counters."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Question(NamedTuple):
    """One question: `name` is lower case without the final dot, `raw` its bytes as asked.

    A tuple, as Answer is: two of each are made for every packet.
    """

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


class Answer(NamedTuple):
    """The address records that the question's CNAME chain reaches, and how it got there.

    `packed` are addresses as 4 or 16 bytes, as they came and as the kernel wants them.
    """

    id: int
    rcode: int
    truncated: bool
    chain: tuple[str, ...]
    packed: tuple[bytes, ...]
    ttl: int

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Return the addresses as such."""
        return tuple(map(unpacked, self.packed))


def unpacked(packed: bytes) -> Address:
    """Return 4 or 16 bytes as an address."""
    return IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed)


def parse_question(data: bytes) -> Question:
    """Parse a query of a tablet. Raises Malformed; `reason` 'ignore' means: do not even answer."""
    if len(data) < 12:
        raise Malformed("ignore")
    id_, flags, questions, answers, authority, additional = _HEADER.unpack_from(data)
    if flags & 0x8000:
        raise Malformed("ignore")
    if questions != 1 or answers or authority or additional > 2:
        raise Malformed("counts")
    name, at = _asked_name(data)
    if at + 4 > len(data):
        raise Malformed("short")
    type_, klass = _QUESTION_TAIL.unpack_from(data, at)
    edns = _edns(data, at + 4, additional) if additional else None
    return Question(id_, flags, name, type_, klass, data[12 : at + 4], edns)


def _asked_name(data: bytes) -> tuple[str, int]:
    """Read the name of a query: there is nothing before it that a pointer could point to."""
    at, end = 12, len(data)
    while at < end and (length := data[at]):
        if length > 63:
            raise Malformed("name")
        at += length + 1
    return read_name(data, 12)[0], at + 1


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


def parse_answer(data: bytes, question: Question, same_case: bool = False) -> Answer:
    """Parse an answer to a question of ours; raises Malformed when it is not exactly that.

    Only the answer section counts, and of it only records that the CNAME chain starting at the
    asked name reaches, with every link in this one message. `same_case` demands the letters of
    the question as they were sent.
    """
    _, _, name, type_, _, raw, _ = question
    # Most answers are one address, in a message that begins as every resolver writes it.
    if data[2:8] == _ONE and type_ in _SHAPES and data.startswith(raw, 12):
        at = 12 + len(raw)
        shape, owner, size = _SHAPES[type_]
        if len(data) >= at + shape.size:
            head, ttl, length, address = shape.unpack_from(data, at)
            if head == owner and length == size:
                ttl = 0 if ttl & 0x80000000 else ttl
                return _new(Answer, (0, NOERROR, False, (name,), (address,), ttl))
    return _any_answer(data, question, same_case)


def _any_answer(data: bytes, question: Question, same_case: bool) -> Answer:
    if len(data) < 12:
        raise Malformed("short")
    id_, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if not flags & 0x8000 or flags >> 11 & 0xF:
        raise Malformed("not-an-answer")
    if questions == 1 and data.startswith(question.raw, 12):
        at = 12 + len(question.raw)
    elif same_case:
        raise Malformed("other-question")
    else:
        at = _after_question(data, questions, question)
    rcode, truncated = flags & 0xF, bool(flags & 0x0200)
    if truncated or rcode != NOERROR:
        return Answer(id_, rcode, truncated, (question.name,), (), 0)
    if 0 < answers <= MAX_ADDRESSES and question.type in _SHAPES:
        direct = _direct(data, at, answers, question)
        if direct is not None:
            return direct
    if answers > MAX_RECORDS:
        raise Malformed("too-many-records")
    aliases, found = _records(data, at, answers, question)
    return _follow(id_, question.name, aliases, found)


def _direct(data: bytes, at: int, count: int, question: Question) -> Answer | None:
    """Read an answer of nothing but addresses of the asked name, as most are; None: it is another."""
    shape, owner, size = _SHAPES[question.type]
    end = at + count * shape.size
    if end > len(data):
        return None
    least, packed = 0xFFFFFFFF, []
    for where in range(at, end, shape.size):
        head, ttl, length, address = shape.unpack_from(data, where)
        if head != owner or length != size:
            return None
        # RFC 2181 8: a TTL with the top bit set is to be read as zero.
        least = min(least, 0 if ttl & 0x80000000 else ttl)
        packed.append(address)
    every = tuple(dict.fromkeys(packed))
    return Answer(0, NOERROR, False, (question.name,), every, least)


def _after_question(data: bytes, questions: int, question: Question) -> int:
    """Return where the answers begin, when the question is ours in other letters."""
    name, at = read_name(data, 12) if questions == 1 else ("", 0)
    if questions != 1 or at + 4 > len(data):
        raise Malformed("counts")
    type_, klass = _QUESTION_TAIL.unpack_from(data, at)
    if (name, type_, klass) != (question.name, question.type, question.klass):
        raise Malformed("other-question")
    return at + 4


_Aliases = dict[str, tuple[str, int]]
_Found = dict[str, list[tuple[bytes, int]]]


def _records(data: bytes, at: int, count: int, question: Question) -> tuple[_Aliases, _Found]:
    aliases: _Aliases = {}
    found: _Found = {}
    wanted = question.type
    for _ in range(count):
        # Most owners are a pointer to the question.
        if data.startswith(b"\xc0\x0c", at):
            owner, at = question.name, at + 2
        else:
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
            if length != (4 if type_ == A else 16):
                raise Malformed("rdlength")
            found.setdefault(owner, []).append((data[at:end], ttl))
        at = end
    return aliases, found


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
    packed = tuple(dict.fromkeys(address for address, _ in records))
    ttls.extend(ttl for _, ttl in records)
    return Answer(id_, NOERROR, False, tuple(chain), packed, min(ttls, default=0))


def read_name(data: bytes, at: int) -> tuple[str, int]:
    r"""Read a possibly compressed name; returns it in lower case and where it ends.

    Bytes outside printable ASCII, and dots inside labels, are written as \\DDD (RFC 1035 5.1), so
    that a label can never be mistaken for two.
    """
    labels: list[bytes] = []
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
            return _joined(labels), end or at
        total += length + 1
        if total > 255 or at + length > len(data):
            raise Malformed("name")
        labels.append(data[at : at + length])
        at += length


def _joined(labels: list[bytes]) -> str:
    # Most names are plain: one look at all of it instead of one at each label.
    whole = b".".join(labels)
    if _PLAIN.fullmatch(whole) and whole.count(b".") == max(0, len(labels) - 1):
        return whole.decode("ascii").lower()
    return ".".join(map(_label, labels))


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


def ask(id_: bytes, question: Question) -> bytes:
    """Write the question that goes upstream: same name and type, our own id, plain EDNS."""
    return id_ + _ASK_HEAD + question.raw + _OPT


def lower(question: Question) -> Question:
    """Return the question in lower case and without the client's own bits, as we ask it."""
    raw = question.raw[:-4].lower() + question.raw[-4:]
    return Question(0, 0, question.name, question.type, question.klass, raw, None)


def mixed(question: Question, noise: bytes) -> Question:
    """Return the question with the case of its letters taken from noise (0x20 bits).

    draft-vixie-dnsext-dns0x20: an answer must repeat them. `noise` has one bit a byte of the name.
    """
    name = bytearray(question.raw[:-4])
    for at, byte in enumerate(name):
        # Lengths are at most 63 and so never taken for a letter.
        if 97 <= byte | 0x20 <= 122 and byte > 63 and noise[at >> 3] >> (at & 7) & 1:
            name[at] = byte ^ 0x20
    return question._replace(raw=bytes(name) + question.raw[-4:])


def reply(
    question: Question, rcode: int, addresses: tuple[Address, ...] = (), ttl: int = 0
) -> bytes:
    """Write the answer a tablet gets: the addresses under the asked name, or an rcode alone.

    The CNAME chain is left out: the tablet asked for one name, and gets the addresses that were
    learned for it.
    """
    pieces = reply_pieces(question, rcode, tuple(a.packed for a in addresses))
    return _ID.pack(question.id) + _TTL.pack(ttl).join(pieces)


def reply_pieces(question: Question, rcode: int, packed: tuple[bytes, ...]) -> list[bytes]:
    """Write an answer without its id, cut where a TTL belongs: joined by one, it is whole."""
    opt = _OPT if question.edns is not None else b""
    flags = 0x8080 | (question.flags & 0x0100) | rcode
    head = _REPLY_HEAD.pack(flags, 1, len(packed), 0, 1 if opt else 0) + question.raw
    if not packed:
        return [head + opt]
    owner = _A_OWNER if question.type == A else _AAAA_OWNER
    size = b"\0\4" if question.type == A else b"\0\x10"
    last = size + packed[-1] + opt
    return [head + owner, *[size + each + owner for each in packed[:-1]], last]


def truncated(question: Question) -> bytes:
    """Write an empty answer that tells the client to ask again over TCP."""
    flags = 0x8280 | (0x0100 if question.recursion_desired else 0)
    return _HEADER.pack(question.id, flags, 1, 0, 0, 0) + question.raw


def format_error(data: bytes) -> bytes:
    """Write FORMERR for a query whose header at least could be read."""
    id_, flags = struct.unpack_from("!HH", data)
    return _HEADER.pack(id_, 0x8080 | (flags & 0x7900) | FORMERR, 0, 0, 0, 0)
