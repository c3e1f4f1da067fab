"""The small parser against dnspython, and against what is malformed on purpose."""

import struct
from contextlib import suppress
from ipaddress import ip_address

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import dnswire
from netguard.core.dnswire import Malformed, parse_answer, parse_question

LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,14}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=6).map(".".join)


def query(name="zoom.us", rdtype="A", **flags):
    return dns.message.make_query(name, rdtype, **flags)


def answer(request, *rrsets, rcode=dns.rcode.NOERROR):
    response = dns.message.make_response(request)
    response.set_rcode(rcode)
    response.answer.extend(dns.rrset.from_text(*each) for each in rrsets)
    return response.to_wire()


@given(name=NAME, rdtype=st.sampled_from(["A", "AAAA", "HTTPS", "TXT"]), id_=st.integers(0, 65535))
def test_a_question_reads_as_dnspython_wrote_it(name, rdtype, id_):
    message = query(name.upper(), rdtype, id=id_, use_edns=0, payload=1400)
    question = parse_question(message.to_wire())
    assert (question.id, question.name, question.edns) == (id_, name, 1400)
    assert (question.type, question.klass) == (message.question[0].rdtype, 1)
    assert question.recursion_desired
    assert question.opcode == 0


@given(
    name=NAME,
    target=NAME,
    addresses=st.lists(st.ip_addresses(v=4), min_size=1, max_size=20, unique=True),
    ttl=st.integers(0, 2**31 - 1),
)
def test_an_answer_gives_the_addresses_that_the_chain_reaches(name, target, addresses, ttl):
    if name == target:
        return
    request = query(name)
    texts = [str(address) for address in addresses]
    wire = answer(
        request,
        (name + ".", 300, "IN", "CNAME", target + "."),
        (target + ".", ttl, "IN", "A", *texts),
        ("other.example.", 5, "IN", "A", "10.10.0.5"),
    )
    got = parse_answer(wire, parse_question(request.to_wire()))
    assert got.chain == (name, target)
    assert set(got.addresses) == set(addresses)
    assert got.ttl == min(ttl, 300)


@given(name=NAME, addresses=st.lists(st.ip_addresses(v=6), min_size=1, max_size=5, unique=True))
def test_a_reply_of_ours_reads_back_in_dnspython(name, addresses):
    request = query(name, "AAAA", use_edns=0)
    wire = dnswire.reply(parse_question(request.to_wire()), dnswire.NOERROR, tuple(addresses), 77)
    message = dns.message.from_wire(wire)
    assert request.is_response(message)
    assert message.flags & dns.flags.RA
    assert {ip_address(r.address) for rrset in message.answer for r in rrset} == set(addresses)
    assert {rrset.ttl for rrset in message.answer} == {77}


def test_our_question_upstream_is_one_dnspython_accepts():
    question = parse_question(query("Zoom.US").to_wire())
    message = dns.message.from_wire(dnswire.ask((4711).to_bytes(2, "big"), question))
    assert (message.id, str(message.question[0].name), message.payload) == (4711, "Zoom.US.", 1232)


def test_truncated_and_refused_replies_read_back():
    question = parse_question(query().to_wire())
    assert dns.message.from_wire(dnswire.truncated(question)).flags & dns.flags.TC
    refused = dns.message.from_wire(dnswire.reply(question, dnswire.REFUSED))
    assert refused.rcode() == dns.rcode.REFUSED
    error = dns.message.from_wire(dnswire.format_error(query(id=9).to_wire()))
    assert (error.id, error.rcode()) == (9, dns.rcode.FORMERR)


@pytest.mark.parametrize("rcode", [dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL])
def test_an_answer_with_an_error_teaches_nothing(rcode):
    request = query()
    wire = answer(request, ("zoom.us.", 60, "IN", "A", "1.2.3.4"), rcode=rcode)
    got = parse_answer(wire, parse_question(request.to_wire()))
    assert (got.rcode, got.addresses) == (rcode, ())


def test_a_stub_with_tc_teaches_nothing():
    request = query()
    wire = bytearray(answer(request, ("zoom.us.", 60, "IN", "A", "1.2.3.4")))
    wire[2] |= 0x02
    got = parse_answer(bytes(wire), parse_question(request.to_wire()))
    assert got.truncated
    assert got.addresses == ()


HEAD = struct.Struct("!HHHHHH")
ZOOM = b"\x04zoom\x02us\x00\x00\x01\x00\x01"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "ignore"),
        (b"\0" * 11, "ignore"),
        (HEAD.pack(1, 0x8000, 1, 0, 0, 0) + ZOOM, "ignore"),
        (HEAD.pack(1, 0, 0, 0, 0, 0), "counts"),
        (HEAD.pack(1, 0, 2, 0, 0, 0) + ZOOM + ZOOM, "counts"),
        (HEAD.pack(1, 0, 1, 1, 0, 0) + ZOOM, "counts"),
        (HEAD.pack(1, 0, 1, 0, 0, 65535) + ZOOM, "counts"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\x04zoom\x02us\x00\x00", "short"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\xc0\xff\0\1\0\1", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\xc0", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\x41" + b"a" * 65 + b"\0\0\1\0\1", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\x80a\0\0\1\0\1", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\x04zo", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 0) + b"\x04zoom", "name"),
        (HEAD.pack(1, 0, 1, 0, 0, 1) + ZOOM + b"\0\0\x29", "short"),
        (HEAD.pack(1, 0, 1, 0, 0, 1) + ZOOM + b"\0\0\x29\4\0\0\0\0\0\0\x09", "short"),
        (HEAD.pack(1, 0, 1, 0, 0, 2) + ZOOM + b"\0\0\x29\4\0\0\0\0\0\0\0" * 2, "edns"),
        (HEAD.pack(1, 0, 1, 0, 0, 1) + ZOOM + b"\1a\0\0\x29\4\0\0\0\0\0\0\0", "edns"),
    ],
)
def test_a_malformed_question_says_why(data, reason):
    with pytest.raises(Malformed) as caught:
        parse_question(data)
    assert caught.value.reason == reason


def test_edns_sizes_are_bounded_and_other_records_are_skipped():
    for size, seen in ((0, 512), (65535, 4096), (1232, 1232)):
        opt = b"\0" + struct.pack("!HHIH", 41, size, 0, 0)
        assert parse_question(HEAD.pack(1, 0, 1, 0, 0, 1) + ZOOM + opt).edns == seen
    tsig = b"\0" + struct.pack("!HHIH", 250, 255, 0, 2) + b"xx"
    assert parse_question(HEAD.pack(1, 0, 1, 0, 0, 1) + ZOOM + tsig).edns is None


def record(name=b"\xc0\x0c", type_=1, ttl=60, data=b"\1\2\3\4", klass=1, length=None):
    return (
        name
        + struct.pack("!HHIH", type_, klass, ttl, len(data) if length is None else length)
        + data
    )


def response(*records, count=None, flags=0x8180, question=ZOOM, questions=1):
    return (
        HEAD.pack(7, flags, questions, len(records) if count is None else count, 0, 0)
        + question
        + b"".join(records)
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\0" * 5, "short"),
        (response(flags=0x0100), "not-an-answer"),
        (response(flags=0x8800), "not-an-answer"),
        (response(questions=0, question=b""), "counts"),
        (response(question=b"\x04zoom\x02us\x00"), "counts"),
        (response(question=b"\x04evil\x02us\x00\0\1\0\1"), "other-question"),
        (response(question=b"\x04zoom\x02us\x00\0\x1c\0\1"), "other-question"),
        (response(count=65535), "too-many-records"),
        (response(count=3), "name"),
        (response(record(name=b"\x80a\0")), "name"),
        (response(record()[:8], count=1), "short"),
        (response(record(length=400)), "short"),
        (response(record(data=b"\1\2\3")), "rdlength"),
        (response(record(data=b"\1\2\3\4\5")), "rdlength"),
        (response(record(type_=5, data=b"\1a\0x")), "cname"),
        (response(record(type_=5, data=b"\1a\0"), record(type_=5, data=b"\1b\0")), "cname"),
        (response(record(type_=5, data=b"\xc0\x0c")), "cname"),
        (response(*[record(data=bytes([1, 2, n, 4])) for n in range(65)]), "too-many-addresses"),
    ],
)
def test_a_malformed_answer_says_why(data, reason):
    question = parse_question(HEAD.pack(7, 0x100, 1, 0, 0, 0) + ZOOM)
    with pytest.raises(Malformed) as caught:
        parse_answer(data, question)
    assert caught.value.reason == reason


def test_an_answer_to_our_question_in_other_letters_is_ours():
    """Some servers answer in small letters, however they were asked."""
    question = parse_question(HEAD.pack(7, 0x100, 1, 0, 0, 0) + ZOOM)
    got = parse_answer(response(record(), question=ZOOM.replace(b"zoom", b"ZoOm")), question)
    assert got.packed == (b"\1\2\3\4",)


def test_a_cname_chain_of_twelve_is_refused_and_eleven_is_not():
    question = parse_question(HEAD.pack(7, 0x100, 1, 0, 0, 0) + ZOOM)

    def chain(links):
        names = [b"\xc0\x0c", *(bytes([1, 97 + n]) + b"\0" for n in range(links))]
        cnames = [record(names[n], 5, data=names[n + 1]) for n in range(links)]
        return response(*cnames, record(names[-1]))

    assert len(parse_answer(chain(11), question).addresses) == 1
    with pytest.raises(Malformed):
        parse_answer(chain(12), question)


def test_a_ttl_with_the_top_bit_is_zero_and_other_types_teach_nothing():
    question = parse_question(HEAD.pack(7, 0x100, 1, 0, 0, 0) + ZOOM)
    got = parse_answer(
        response(record(ttl=0x80000001), record(type_=65, data=b"\0\1\0"), record(klass=3)),
        question,
    )
    assert (got.ttl, len(got.addresses)) == (0, 1)


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_parser(data):
    for parse in (
        parse_question,
        lambda d: parse_answer(d, parse_question(HEAD.pack(7, 0, 1, 0, 0, 0) + ZOOM)),
    ):
        with suppress(Malformed):
            parse(data)


@given(st.binary(min_size=1, max_size=63))
def test_a_hostile_label_cannot_pass_for_two(raw):
    name, end = dnswire.read_name(bytes([len(raw)]) + raw + b"\0", 0)
    assert end == len(raw) + 2
    assert name.isascii()
    assert name.isprintable()
    assert "." not in name
    assert " " not in name


def test_names_are_written_as_they_are_read():
    assert dnswire.read_name(dnswire.write_name("a.b.example"), 0) == ("a.b.example", 13)
    assert dnswire.write_name("") == b"\0"
