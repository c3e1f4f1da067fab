"""dnspython as the oracle of core/dnswire: whatever ours accepts means the same to it.

Deliberate differences, all of them stricter or of no consequence for what is learned:
- ours refuses pointers in a question, more than 64 in a name, more than 11 CNAMEs, 64 addresses, 256 records;
- ours does not look at the authority and additional sections of an answer, dnspython parses them;
- ours skips records of other types without reading their data, dnspython parses it;
- ours refuses several CNAMEs for one owner that disagree, dnspython chooses none.
So: whatever ours accepts with addresses, and dnspython can read at all, has the same addresses.
"""

import struct

import dns.exception
import dns.inet
import dns.message
import dns.name
import dns.rdatatype

from netguard.core import dnswire
from netguard.core.dnswire import Malformed, parse_answer, parse_question

ZOOM = b"\4zoom\2us\0"
QUESTIONS = {
    kind: parse_question(
        struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + ZOOM + struct.pack("!HH", kind, 1)
    )
    for kind in (dnswire.A, dnswire.AAAA)
}

# What dnspython raises for bytes that it cannot read, and for types that it has no writer for.
UNREADABLE = (
    dns.exception.DNSException,
    ValueError,
    struct.error,
    IndexError,
    NotImplementedError,
)


def addresses(data, kind):
    """What dnspython reads as the addresses of zoom.us in this answer; None where it refuses."""
    try:
        message = dns.message.from_wire(data, one_rr_per_rrset=True, ignore_trailing=True)
    except UNREADABLE:
        return None
    aliases = {}
    for rrset in message.answer:
        if rrset.rdtype == dns.rdatatype.CNAME and rrset.rdclass == 1:
            aliases[rrset.name.canonicalize()] = rrset[0].target.canonicalize()
    name, seen = dns.name.from_text("zoom.us."), set()
    while name in aliases and name not in seen:
        seen.add(name)
        name = aliases[name]
    return {
        dns.inet.inet_pton(dns.inet.AF_INET if kind == 1 else dns.inet.AF_INET6, rdata.address)
        for rrset in message.answer
        if rrset.rdtype == kind and rrset.rdclass == 1 and rrset.name.canonicalize() == name
        for rdata in rrset
    }


def query(data):
    """Compare a query: returns (accepted by ours, compared with theirs)."""
    try:
        question = parse_question(data)
    except Malformed:
        return False, False
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except UNREADABLE:
        return True, False
    if message.opcode() == 0 and message.question:
        theirs = message.question[0]
        wire = theirs.name.canonicalize().to_wire()
        assert dnswire.read_name(wire, 0)[0] == question.name, data.hex()
        assert (theirs.rdtype, theirs.rdclass) == (question.type, question.klass), data.hex()
    return True, True


def answer(data, kind):
    """Compare an answer to a question for zoom.us, A or AAAA."""
    try:
        ours = parse_answer(data, QUESTIONS[kind])
    except Malformed:
        return False, False
    theirs = addresses(data, kind)
    if theirs is None or ours.rcode or ours.truncated:
        return True, False
    assert set(ours.packed) == theirs, data.hex()
    return True, True
