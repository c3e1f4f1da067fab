"""The proxy's decisions as a model: no sockets, a clock that is turned, a kernel that is a dictionary."""

import random
import struct
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import dnswire
from netguard.core.desk import Asked, Desk
from netguard.core.dnswire import Question
from netguard.core.intervals import AddressSet
from netguard.core.names import Mac, parse_network
from netguard.core.plan import compile_plan
from netguard.core.verdict import Flow, verdict
from netguard.render.names import read, render

TABLET, OTHER, STRANGER = "10.99.0.16", "10.99.0.17", "10.99.3.250"


class Model:
    """What daemon/dns_traffic.py does with the desk, step by step, in model time."""

    def __init__(self, book):
        self.now = 1000.0
        self.desk = Desk()
        self.kernel = {}
        self.upstream = {}
        self.asked = []
        self.refuse = False
        self.batches = 0
        self.desk.load(book)

    def query(self, name, type_=1, id_=7, edns=1232, klass=1, flags=0x0100):
        raw = dnswire.write_name(name) + struct.pack("!HH", type_, klass)
        opt = b"" if edns is None else b"\0" + struct.pack("!HHIH", 41, edns, 0, 0)
        head = struct.pack("!HHHHHH", id_, flags, 1, 0, 0, int(edns is not None))
        return head + raw + opt

    def ask(self, name, type_=1, peer=TABLET, **more):
        """Ask as a tablet; returns the reply's bytes."""
        ready = self.desk.quick(self.query(name, type_, **more), peer, self.now)
        if not isinstance(ready, Asked):
            return ready
        answer = self.desk.cached(ready, self.now)
        if answer is None:
            self.asked.append(ready.question.name)
            answer = self.upstream.get((ready.question.name, type_))
            if callable(answer):
                answer = answer()
            if answer is None:
                stale = self.desk.stale(ready, self.now)
                return stale or self.desk.failed(ready, "upstream", self.now)
            self.desk.keep(dnswire.lower(ready.question), answer, self.now)
        change = self.desk.settle(ready, answer, self.now)
        if isinstance(change, bytes):
            return change
        if not change.empty:
            if self.refuse:
                return self.desk.failed(ready, "kernel", self.now)
            self.batches += 1
            for service, packed in change.evicted:
                self.kernel.pop((service, packed), None)
            for service, packed, seconds, longest in change.adds:
                assert 0 < seconds <= longest
                self.kernel[service, packed] = self.now + seconds
        return self.desk.confirm(ready, answer, change, self.now)

    def says(self, name, *addresses, ttl=60, rcode=0):
        """Make upstream answer a name."""
        packed = tuple(ip_address(a).packed for a in addresses)
        kind = 28 if packed and len(packed[0]) == 16 else 1
        answer = dnswire.Answer(0, rcode, False, (name,), packed, ttl)
        self.upstream[name, kind] = answer
        return answer

    def open(self, service, address):
        """Say whether the kernel lets a new flow to an address pass now."""
        return self.kernel.get((service, ip_address(address).packed), 0) > self.now


def parsed(reply, name, type_=1):
    """Read a reply as a tablet does."""
    raw = dnswire.write_name(name) + struct.pack("!HH", type_, 1)
    return dnswire.parse_answer(reply, Question(0, 0, name, type_, 1, raw, None))


@pytest.fixture
def model(example):
    return Model(read(render(compile_plan(example, ["pellegrin"]))))


CORPUS = [
    line.split("\t")[0]
    for line in (Path(__file__).parents[1] / "data/rebinding.txt").read_text().splitlines()
    if not line.startswith("#")
]


def rcode(reply):
    return reply[3] & 0xF


def changed(model, **learned):
    book = model.desk.book
    return replace(book, learned=replace(book.learned, **learned))


def test_an_answer_is_in_the_kernel_before_it_leaves_and_outlives_it(model):
    model.says("zoom.us", "170.114.52.2", ttl=5)
    reply = model.ask("zoom.us")
    answer = parsed(reply, "zoom.us")
    assert [str(a) for a in answer.addresses] == ["170.114.52.2"]
    assert model.kernel["zoom", ip_address("170.114.52.2").packed] == model.now + 120
    assert answer.ttl == 5


def test_a_kernel_that_says_no_holds_the_answer_back(model):
    model.says("zoom.us", "170.114.52.2")
    model.refuse = True
    assert rcode(model.ask("zoom.us")) == dnswire.SERVFAIL
    model.refuse = False
    assert rcode(model.ask("zoom.us")) == dnswire.NOERROR
    assert model.open("zoom", "170.114.52.2")


def test_a_cached_answer_counts_down_and_goes_upstream_when_it_has_ended(model):
    model.says("zoom.us", "170.114.52.2", ttl=100)
    for passed, ttl, asked in ((0, 100, 1), (40, 60, 1), (59, 1, 1), (2, 100, 2)):
        model.now += passed
        assert parsed(model.ask("zoom.us", id_=3), "zoom.us").ttl == ttl
        assert len(model.asked) == asked
        assert model.open("zoom", "170.114.52.2")


def test_the_prepared_answer_is_the_one_that_is_computed(model):
    model.says("zoom.us", "170.114.52.2", "170.114.52.3", ttl=100)
    first, second = model.ask("zoom.us", id_=1), model.ask("zoom.us", id_=2)
    assert first[2:] == second[2:]
    assert second[:2] == b"\0\2"
    assert model.desk.counts["cached", ""] == 1
    assert model.ask("zoom.us", peer=OTHER, id_=1) == first


def test_a_cached_answer_renews_what_somebody_else_has_removed(model):
    model.says("zoom.us", "170.114.52.2", ttl=100)
    model.ask("zoom.us")
    model.kernel.clear()
    model.desk.purged()
    model.ask("zoom.us")
    assert model.open("zoom", "170.114.52.2")
    assert len(model.asked) == 1


def test_a_cached_answer_is_filtered_again_under_other_rules(model):
    model.says("zoom.us", "170.114.52.2", ttl=100)
    model.ask("zoom.us")
    rules = replace(model.desk.book.rules, protected=AddressSet([parse_network("170.114.0.0/16")]))
    gone = model.desk.load(replace(model.desk.book, rules=rules))
    assert gone == (("zoom", ip_address("170.114.52.2").packed),)
    assert rcode(model.ask("zoom.us")) == dnswire.REFUSED


def test_a_name_withdrawn_leaves_the_sets_and_is_denied(model):
    model.says("zoom.us", "170.114.52.2", ttl=100)
    model.ask("zoom.us")
    rules = model.desk.book.rules
    domains = {k: tuple(d for d in v if d.name != "zoom.us") for k, v in rules.domains.items()}
    gone = model.desk.load(replace(model.desk.book, rules=replace(rules, domains=domains)))
    assert [service for service, _ in gone] == ["zoom"]
    assert rcode(model.ask("zoom.us")) == dnswire.REFUSED


def test_nothing_denied_is_remembered_and_a_no_only_briefly(model):
    model.says("gone.zoom.us", rcode=dnswire.NXDOMAIN)
    assert rcode(model.ask("gone.zoom.us")) == dnswire.NXDOMAIN
    model.ask("gone.zoom.us")
    assert len(model.asked) == 1
    model.now += 16
    model.ask("gone.zoom.us")
    assert len(model.asked) == 2
    model.ask("www.example.org")
    assert model.desk.entry("www.example.org", 1) is None
    assert len(model.asked) == 2


@pytest.mark.parametrize(
    ("name", "type_", "more", "expected"),
    [
        ("www.example.org", 1, {}, dnswire.REFUSED),
        ("use-application-dns.net", 1, {}, dnswire.NXDOMAIN),
        ("zoom.us", 65, {}, dnswire.NOERROR),
        ("zoom.us", 64, {}, dnswire.NOERROR),
        ("zoom.us", 16, {}, dnswire.NOERROR),
        ("zoom.us", 255, {}, dnswire.REFUSED),
        ("zoom.us", 252, {}, dnswire.REFUSED),
        ("zoom.us", 1, {"klass": 3}, dnswire.REFUSED),
        ("zoom.us", 1, {"flags": 0x2800}, dnswire.NOTIMP),
        ("zoom.us", 1, {"peer": STRANGER}, dnswire.REFUSED),
        ("x.chu.internal", 1, {}, dnswire.REFUSED),
    ],
)
def test_what_needs_nobody_is_answered_at_once(model, name, type_, more, expected):
    reply = model.ask(name, type_, **more)
    assert rcode(reply) == expected
    assert reply[6:8] == b"\0\0", "no records"
    assert model.asked == []


def test_nxdomain_may_be_chosen_for_denials(model):
    model.desk.load(replace(model.desk.book, refuse_with_nxdomain=True))
    assert rcode(model.ask("www.example.org")) == dnswire.NXDOMAIN


def test_before_any_rules_everybody_is_refused(model):
    model.desk.book = None
    assert rcode(model.ask("zoom.us")) == dnswire.REFUSED
    assert model.desk.quick(b"\0" * 5, TABLET, 0.0) is None
    assert model.desk.why("patients", "zoom.us")["answer"] == "refused"
    assert model.desk.exact_names() == []
    assert model.desk.domains() == []


@pytest.mark.parametrize("text", CORPUS)
def test_every_line_of_the_rebinding_corpus_leaves_the_sets_unchanged(model, text):
    address = ip_address(text)
    kind = 28 if address.version == 6 else 1
    public = "2606:4700::1111" if kind == 28 else "170.114.52.2"
    for answers in ([text], [public, text], [text, public]):
        model.says("zoom.us", *answers)
        assert rcode(model.ask("zoom.us", kind)) == dnswire.REFUSED
    assert model.kernel == {}
    assert sum(n for (kind_, _), n in model.desk.counts.items() if kind_ == "refused-address") == 3


def test_names_of_the_time_are_answered_with_the_gateway(model):
    for name in ("time.google.com", "2.android.pool.ntp.org", "time.apple.com"):
        assert [str(a) for a in parsed(model.ask(name), name).addresses] == ["10.99.0.1"]
        assert parsed(model.ask(name, 28), name, 28).addresses == ()
    assert model.kernel == {}
    assert model.desk.why("patients", "time.google.com")["answer"] == "gateway"


def test_a_tablet_over_its_rate_is_silence_for_it_alone(model):
    model.desk.load(replace(model.desk.book, query_rate=2.0))
    answers = [model.ask("www.example.org") for _ in range(30)]
    assert sum(answer is not None for answer in answers) == 20
    assert model.desk.limited["T-001"] == 10
    assert model.ask("www.example.org", peer=OTHER) is not None
    model.now += 1
    assert [model.ask("www.example.org") is not None for _ in range(3)] == [True, True, False]


def test_a_call_longer_than_any_ttl_keeps_its_address_while_it_is_asked_for(model):
    """The kernel side: established flows pass by their mark; here new flows pass all day."""
    model.says("zoom.us", "170.114.52.2", ttl=30)
    for _ in range(24 * 60):
        reply = parsed(model.ask("zoom.us"), "zoom.us")
        for second in (0, reply.ttl):
            assert model.kernel["zoom", reply.packed[0]] > model.now + second
        model.now += 60


def test_a_name_whose_addresses_rotate_works_for_an_hour(model):
    """Every second another answer; whoever was told an address may use it as long as told."""
    promised = {}
    counter = iter(range(10**6))

    def rotating():
        n = next(counter)
        return dnswire.Answer(
            0, 0, False, ("zoom.us",), (bytes([170, 114, n >> 8 & 255, n & 255]),), 0
        )

    model.upstream["zoom.us", 1] = rotating
    for _ in range(3600):
        answer = parsed(model.ask("zoom.us"), "zoom.us")
        promised[answer.packed[0]] = model.now + answer.ttl
        for packed, until in list(promised.items()):
            if until < model.now:
                del promised[packed]
            else:
                assert model.kernel["zoom", packed] > model.now
        model.now += 1
        if int(model.now) % 30 == 0:
            model.desk.sweep(model.now)
            model.kernel = {k: v for k, v in model.kernel.items() if v > model.now}
    assert len(model.kernel) <= model.desk.memory.per_name


def test_a_name_keeps_its_last_hundred_addresses_and_shares_with_others(model):
    model.desk.load(changed(model, addresses_per_name=3))
    model.says("a.zoom.us", "170.114.0.1", "170.114.0.2", "170.114.0.3", ttl=0)
    model.says("b.zoom.us", "170.114.0.1", ttl=0)
    model.ask("a.zoom.us")
    model.ask("b.zoom.us")
    model.says("a.zoom.us", "170.114.0.4", "170.114.0.5", ttl=0)
    model.ask("a.zoom.us")
    assert model.open("zoom", "170.114.0.1"), "another name has it too"
    assert not model.open("zoom", "170.114.0.2")
    assert model.open("zoom", "170.114.0.3")
    assert model.open("zoom", "170.114.0.5")


def test_a_full_service_gives_up_what_ends_first(model):
    model.desk.load(changed(model, addresses_per_service=3))
    for n, ttl in ((1, 3000), (2, 60), (3, 3000), (4, 3000)):
        model.says(f"n{n}.zoom.us", f"170.114.0.{n}", ttl=ttl)
        model.ask(f"n{n}.zoom.us")
    assert sorted(p[3] for _, p in model.kernel) == [1, 3, 4]
    assert model.desk.counts["evicted", ""] == 1
    # The cached answer of what was given up does not leave without its address.
    model.ask("n2.zoom.us")
    assert model.open("zoom", "170.114.0.2")


def test_while_nobody_upstream_answers_what_is_known_is_kept_to_its_end_and_not_beyond(model):
    model.says("zoom.us", "170.114.52.2", ttl=60)
    model.ask("zoom.us")
    end = model.kernel["zoom", ip_address("170.114.52.2").packed]
    model.upstream.clear()
    model.now += 61
    stale = parsed(model.ask("zoom.us"), "zoom.us")
    assert stale.addresses
    assert model.now + stale.ttl < end
    model.now = end - 1
    assert rcode(model.ask("zoom.us")) == dnswire.SERVFAIL
    model.says("zoom.us", "170.114.52.2", ttl=60)
    assert rcode(model.ask("zoom.us")) == dnswire.NOERROR


def test_denials_are_counted_in_a_bounded_list(model):
    for n in range(1000):
        model.now += 1
        model.ask(f"n{n}.example.org")
        model.ask("often.example.org")
    name, entry = model.desk.denied.top(1)[0]
    assert name == "often.example.org"
    assert entry.count - entry.error <= 1000 <= entry.count
    assert entry.last.tablet == "T-001"
    assert len(model.desk.denied.top(10**6)) <= 256
    assert len(model.desk.notes) <= 500


def test_why_names_the_line_that_decides(model):
    assert model.desk.why("patients", "us02web.zoom.us")["services"] == ["zoom"]
    assert "never.domains" in model.desk.why("patients", "x.chu.internal")["why"]
    assert model.desk.why("patients", "mask.icloud.com")["answer"] == "nxdomain"
    assert model.desk.why("patients", "www.example.org")["answer"] == "refused"


def test_used_domains_are_known_and_flushing_asks_again(model):
    model.says("us02web.zoom.us", "170.114.52.2")
    model.ask("us02web.zoom.us")
    assert ("zoom", "*.zoom.us") in model.desk.seen
    assert model.desk.knows_domain("zoom", "*.zoom.us")
    assert not model.desk.knows_domain("jitsi", "*.zoom.us")
    assert model.desk.flush("us02web.zoom.us") == 1
    model.ask("us02web.zoom.us")
    assert len(model.asked) == 2
    assert ("meet.chu.example", "jitsi") in model.desk.exact_names()


def test_bounds_of_every_memory_hold(model, monkeypatch):
    for name in ("MAX_CACHED", "MAX_READY", "MAX_MATCHES", "MAX_VERDICTS", "MAX_CLIENTS"):
        monkeypatch.setattr(f"netguard.core.desk.{name}", 3)
    monkeypatch.setattr("netguard.core.held.MAX_NAMES", 3)
    for n in range(20):
        model.says(f"n{n}.zoom.us", f"170.114.0.{n}")
        model.ask(f"n{n}.zoom.us", peer=f"10.99.0.{16 + n}")
        model.ask(f"n{n}.zoom.us", peer=f"10.99.0.{16 + n}", id_=9)
        model.ask(f"n{n}.zoom.us", peer=f"10.99.0.{16 + n}", edns=4000)
    for held in ("_cache", "_ready", "_matches", "_verdicts", "_budgets"):
        assert len(getattr(model.desk, held)) <= 3


@pytest.fixture(scope="module")
def plan(example):
    return compile_plan(example, ["pellegrin"])


ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=4, network="10.0.0.0/8"),
    st.sampled_from(CORPUS).map(ip_address).filter(lambda a: a.version == 4),
    st.ip_addresses(v=4, network="170.114.0.0/16"),
)


@given(
    script=st.lists(
        st.tuples(
            st.sampled_from(["zoom.us", "a.zoom.us", "meet.chu.example", "meet.google.com"]),
            st.lists(ADDRESSES, min_size=1, max_size=4),
            st.integers(0, 2**32),
            st.integers(0, 5000),
        ),
        max_size=12,
    )
)
def test_no_sequence_of_answers_opens_a_protected_address(plan, script):
    """On `verdict`: whatever upstream says, no packet of a tablet reaches what is protected."""
    model = Model(read(render(plan)))
    rng = random.Random(len(script))
    seen = set()
    for name, addresses, ttl, passed in script:
        model.now += passed
        model.says(name, *map(str, addresses), ttl=ttl)
        model.desk.flush(name)
        model.ask(name)
        seen |= set(addresses)
    learned: dict = {}
    for service, packed in model.kernel:
        learned.setdefault(service, set()).add(dnswire.unpacked(packed))
    frozen = {service: frozenset(found) for service, found in learned.items()}
    inside = plan.site["pellegrin"].interfaces[0]
    tablet = next(b for b in plan.bindings if str(b.address) == TABLET)
    for address in seen:
        if plan.shield.covering(address):
            assert all(address not in found for found in frozen.values())
            for protocol, port in (("tcp", 443), ("udp", 8801), ("tcp", rng.randrange(1, 65536))):
                flow = Flow(inside, tablet.mac, tablet.address, address, protocol, port)
                assert verdict(plan, flow, frozen).action == "drop"
    assert isinstance(tablet.mac, Mac)
    assert timedelta(0) < plan.learned.grace


def test_an_ended_answer_is_no_answer_under_rules_that_refuse_it(model):
    model.says("zoom.us", "170.114.52.2", ttl=60)
    model.ask("zoom.us")
    model.upstream.clear()
    model.now += 61
    rules = model.desk.book.rules
    shield = AddressSet([parse_network("170.114.0.0/16")])
    model.desk.load(replace(model.desk.book, rules=replace(rules, protected=shield)))
    assert rcode(model.ask("zoom.us")) == dnswire.SERVFAIL


def test_an_ended_answer_whose_addresses_have_left_is_no_answer(model):
    model.says("zoom.us", "170.114.52.2", ttl=60)
    model.ask("zoom.us")
    model.upstream.clear()
    model.desk.purged()
    model.now += 61
    assert rcode(model.ask("zoom.us")) == dnswire.SERVFAIL


def test_without_a_cache_every_question_goes_upstream(model):
    model.desk.load(replace(model.desk.book, cache=False))
    model.says("zoom.us", "170.114.52.2")
    model.ask("zoom.us")
    model.ask("zoom.us")
    assert len(model.asked) == 2
    assert model.batches == 1, "the kernel is not asked again"


def test_a_question_of_our_own_teaches_and_answers_nobody(model):
    raw = dnswire.write_name("zoom.us") + b"\0\1\0\1"
    own = Asked(Question(0, 0x100, "zoom.us", 1, 1, raw, 1232), None, ("zoom",))
    answer = model.says("zoom.us", "170.114.52.2")
    change = model.desk.settle(own, answer, model.now)
    assert model.desk.confirm(own, answer, change, model.now) == b""
    assert model.desk.memory.held_until(["zoom"], answer.packed) > model.now
    model.desk.book = None
    assert rcode(model.desk.settle(own, answer, model.now)) == dnswire.SERVFAIL


def test_what_has_ended_is_forgotten(model):
    model.says("zoom.us", "170.114.52.2", ttl=60)
    model.ask("zoom.us")
    model.desk.sweep(model.now + 200)
    assert model.desk.entry("zoom.us", 1) is None
    model.desk.book = None
    model.desk.sweep(model.now)


def test_an_answer_larger_than_the_client_takes_is_not_prepared(model):
    model.says("zoom.us", *(f"170.114.1.{n}" for n in range(60)))
    model.ask("zoom.us", edns=None)
    assert model.desk._ready == {}


def test_a_name_outside_the_frequent_ones_is_not_in_the_list(model):
    assert model.desk.denied.get("never.example.org") is None
