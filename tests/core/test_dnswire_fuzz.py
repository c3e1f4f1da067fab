"""Mutated messages against dnspython: no crash, and no difference in what is accepted but those listed.

A fuzzer of our own, structure-aware: it starts from valid messages and the hostile corpus, and changes
fields, lengths, pointers, counts and records. `NETGUARD_FUZZ=2000000` lets it run longer (make nightly).

Deliberate differences, all of them stricter or of no consequence for what is learned:
- ours refuses pointers in a question, more than 64 in a name, more than 11 CNAMEs, 64 addresses, 256 records;
- ours does not look at the authority and additional sections of an answer, dnspython parses them;
- ours skips records of other types without reading their data, dnspython parses it;
- ours refuses several CNAMEs for one owner that disagree, dnspython chooses none.
So: whatever ours accepts with addresses, and dnspython can read at all, has the same addresses.
"""

import os
import random
import struct
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdatatype
import dns.rrset

from netguard.core import dnswire
from netguard.core.dnswire import Malformed, parse_answer, parse_question

COUNT = int(os.environ.get("NETGUARD_FUZZ", "150000"))
CORPUS = [
    (path.read_text().partition(":")[0], bytes.fromhex(path.with_suffix(".hex").read_text()))
    for path in sorted((Path(__file__).parents[1] / "bad/dns").glob("*.expect"))
]
ZOOM = b"\4zoom\2us\0\0\1\0\1"
QUESTION = parse_question(struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + ZOOM)


def seeds():
    request = dns.message.from_wire(struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + ZOOM)
    for rrsets in (
        [("zoom.us.", 60, "IN", "A", "1.2.3.4", "5.6.7.8")],
        [
            ("zoom.us.", 60, "IN", "CNAME", "a.b.example."),
            ("a.b.example.", 5, "IN", "A", "1.2.3.4"),
        ],
        [("zoom.us.", 60, "IN", "TXT", '"x"'), ("zoom.us.", 60, "IN", "A", "1.2.3.4")],
    ):
        response = dns.message.make_response(request)
        response.answer.extend(dns.rrset.from_text(*each) for each in rrsets)
        yield "answer", response.to_wire()
    for edns in (None, 0):
        yield "query", dns.message.make_query("zoom.us", "A", use_edns=edns).to_wire()
    yield from ((kind, data) for kind, data in CORPUS if 11 < len(data) < 600 and kind != "answer6")


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(7):
            case 0 if data:
                data[at] = rng.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, rng.randrange(256)))
            case 1 if data:
                del data[at : at + rng.randrange(1, 6)]
            case 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 3 if len(data) > 14:
                data[at : at + 2] = struct.pack("!H", 0xC000 | rng.randrange(0, len(data)))
            case 4 if len(data) > 12:
                field = 4 + 2 * rng.randrange(4)
                data[field : field + 2] = struct.pack("!H", rng.choice((0, 1, 2, 3, 255, 65535)))
            case 5 if len(data) > 40:
                start = rng.randrange(12, len(data))
                data += data[start : start + rng.randrange(4, 30)]
            case _:
                data = data[: max(0, at)]
    return bytes(data)


# What dnspython raises for bytes that it cannot read, and for types that it has no writer for.
UNREADABLE = (
    dns.exception.DNSException,
    ValueError,
    struct.error,
    IndexError,
    NotImplementedError,
)


def oracle(data):
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
        rdata.address
        for rrset in message.answer
        if rrset.rdtype == 1 and rrset.rdclass == 1 and rrset.name.canonicalize() == name
        for rdata in rrset
    }


def test_mutated_messages_read_as_dnspython_reads_them():
    rng = random.Random(20261122)
    pool = list(seeds())
    accepted = compared = 0
    for _ in range(COUNT):
        kind, seed = pool[rng.randrange(len(pool))]
        data = mutated(rng, seed)
        if kind == "query":
            try:
                question = parse_question(data)
            except Malformed:
                continue
            accepted += 1
            try:
                message = dns.message.from_wire(data, ignore_trailing=True)
            except UNREADABLE:
                continue
            compared += 1
            if message.opcode() == 0 and message.question:
                theirs = message.question[0]
                wire = theirs.name.canonicalize().to_wire()
                assert dnswire.read_name(wire, 0)[0] == question.name
                assert (theirs.rdtype, theirs.rdclass) == (question.type, question.klass)
            continue
        try:
            answer = parse_answer(data, QUESTION)
        except Malformed:
            continue
        accepted += 1
        theirs = oracle(data)
        if theirs is None or answer.rcode or answer.truncated:
            continue
        compared += 1
        assert {str(a) for a in answer.addresses} == theirs, data.hex()
    assert accepted > COUNT // 50
    assert compared > COUNT // 100
