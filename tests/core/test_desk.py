"""The proxy's decisions as a model: no sockets, a clock that is turned, a kernel that is a dictionary."""

import random
import struct
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import dnswire, guide
from netguard.core.desk import Desk
from netguard.core.dnswire import Question
from netguard.core.held import Batch
from netguard.core.intervals import AddressSet
from netguard.core.learning import lifetime, reply_ttl
from netguard.core.names import Mac, parse_network
from netguard.core.plan import compile_plan
from netguard.core.routes import Asked
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
            self.desk.keep(ready.route.lowered, answer, self.now)
        known = self.desk.again(ready, answer, self.now)
        if known is not None:
            return known
        return self.finish(ready, answer)

    def finish(self, ready, answer):
        """Put what an answer needs into the kernel, and only then return the reply."""
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


@pytest.mark.parametrize(
    ("data", "reason", "answered"),
    [
        (b"\0" * 11, "ignore", False),
        (struct.pack("!HHHHHH", 7, 0x8000, 1, 0, 0, 0) + b"\4zoom\2us\0\0\1\0\1", "ignore", False),
        (struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\xc0\x0c\0\1\0\1", "name", False),
        (struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + b"\4zoom\2us\0\0", "short", True),
        (struct.pack("!HHHHHH", 7, 0x0100, 2, 0, 0, 0) + b"\4zoom\2us\0\0\1\0\1" * 2, "counts", True),
    ],
)  # fmt: skip
def test_what_a_tablet_sends_that_is_no_question_is_counted_and_told_so_or_silence(
    model, data, reason, answered
):
    reply = model.desk.quick(data, TABLET, model.now)
    assert model.desk.counts["malformed", reason] == 1
    assert (reply is not None) == answered
    if answered:
        assert (reply[:2], rcode(reply)) == (data[:2], dnswire.FORMERR)
        assert len(reply) <= len(data)
    assert model.asked == []


def test_a_tablet_was_heard_when_it_last_asked_whatever_it_was_told(model):
    assert model.desk.heard(model.now) == {}
    model.ask("www.example.org")
    model.ask("zoom.us", peer=STRANGER)
    assert model.desk.heard(model.now + 5) == {"T-001": 5.0}
    model.now += 10
    model.ask("use-application-dns.net", peer=OTHER)
    assert model.desk.heard(model.now + 1) == {"T-001": 11.0, "T-002": 1.0}


def test_nxdomain_may_be_chosen_for_denials(model):
    model.desk.load(replace(model.desk.book, refuse_with_nxdomain=True))
    assert rcode(model.ask("www.example.org")) == dnswire.NXDOMAIN


def test_before_any_rules_everybody_is_refused(model):
    model.desk = Desk()
    assert rcode(model.ask("zoom.us")) == dnswire.REFUSED
    assert model.desk.quick(b"\0" * 5, TABLET, 0.0) is None
    assert guide.why(model.desk, "patients", "zoom.us")["answer"] == "refused"
    assert guide.exact_names(model.desk.book) == []
    assert guide.domains(model.desk.book) == []


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
    assert guide.why(model.desk, "patients", "time.google.com")["answer"] == "gateway"


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


def test_what_was_asked_is_told_once_by_group_and_name(model):
    model.says("us02web.zoom.us", "170.114.52.2")
    model.ask("before.example.org")
    assert model.desk.used(model.now) == ([], 0), "what was counted while nobody asked is nobody's"
    model.now += 1
    for _ in range(3):
        model.ask("us02web.zoom.us")
        model.ask("www.example.org")
    model.ask("x.chu.internal")
    found, left = model.desk.used(model.now)
    rows = sorted((s.name, s.group, s.answer, s.rule, n) for s, n in found)
    assert rows == [
        ("us02web.zoom.us", "patients", "allowed", "patients/zoom", 1),
        ("www.example.org", "patients", "refused", "patients/deny", 3),
        ("x.chu.internal", "patients", "refused", "never", 1),
    ]
    assert left == 0
    assert model.desk.used(model.now) == ([], 0)
    model.now += 200
    model.says("us02web.zoom.us", "170.114.52.2")
    model.ask("us02web.zoom.us")
    assert [s.name for s, _ in model.desk.used(model.now)[0]] == ["us02web.zoom.us"]


def test_what_is_told_of_names_is_bounded(model):
    model.desk.used(model.now)
    for n in range(2500):
        model.now += 0.1
        model.ask(f"n{n}.example.org")
    model.says("us02web.zoom.us", "170.114.52.2")
    assert parsed(model.ask("us02web.zoom.us", peer=OTHER), "us02web.zoom.us").addresses
    found, left = model.desk.used(model.now)
    assert (len(found), left) == (2000, 501)


def test_why_names_the_line_that_decides(model):
    assert guide.why(model.desk, "patients", "us02web.zoom.us")["services"] == ["zoom"]
    assert "never.domains" in guide.why(model.desk, "patients", "x.chu.internal")["why"]
    assert guide.why(model.desk, "patients", "mask.icloud.com")["answer"] == "nxdomain"
    assert guide.why(model.desk, "patients", "www.example.org")["answer"] == "refused"


def test_used_domains_are_known_and_flushing_asks_again(model):
    model.says("us02web.zoom.us", "170.114.52.2")
    model.ask("us02web.zoom.us")
    assert ("zoom", "*.zoom.us") in model.desk.seen
    assert guide.knows_domain(model.desk.book, "zoom", "*.zoom.us")
    assert not guide.knows_domain(model.desk.book, "jitsi", "*.zoom.us")
    assert model.desk.flush("us02web.zoom.us") == 1
    model.ask("us02web.zoom.us")
    assert len(model.asked) == 2
    assert ("meet.chu.example", "jitsi") in guide.exact_names(model.desk.book)


def test_bounds_of_every_memory_hold(model, monkeypatch):
    for name in ("MAX_CACHED", "MAX_ROUTES", "MAX_MATCHES", "MAX_VERDICTS"):
        monkeypatch.setattr(f"netguard.core.desk.{name}", 3)
    monkeypatch.setattr("netguard.core.held.MAX_NAMES", 3)
    for n in range(20):
        model.says(f"n{n}.zoom.us", f"170.114.0.{n}")
        model.ask(f"n{n}.zoom.us", peer=f"10.99.0.{16 + n}")
        model.ask(f"n{n}.zoom.us", peer=f"10.99.0.{16 + n}", id_=9)
        model.ask(f"n{n}.zoom.us", peer=f"10.99.0.{16 + n}", edns=4000)
    for held in ("_cache", "_matches", "_verdicts"):
        assert len(getattr(model.desk, held)) <= 3
    assert sum(map(len, model.desk._routes.values())) <= 3


@pytest.fixture(scope="module")
def plan(example):
    return compile_plan(example, ["pellegrin"])


ADDRESSES = st.one_of(
    st.ip_addresses(v=4),
    st.ip_addresses(v=4, network="10.0.0.0/8"),
    st.sampled_from(CORPUS).map(ip_address).filter(lambda a: a.version == 4),
    st.ip_addresses(v=4, network="170.114.0.0/16"),
)


# What a hospital may protect, the addresses of its own services among it.
SHIELDS = st.lists(
    st.one_of(
        st.ip_addresses(v=4, network="170.114.0.0/16"),
        st.ip_addresses(v=4, network="10.0.0.0/8"),
        st.ip_addresses(v=4),
    ).flatmap(lambda a: st.integers(15, 32).map(lambda n: ip_network((a, n), strict=False))),
    max_size=4,
)


@given(
    shields=SHIELDS,
    dropped=st.sets(st.sampled_from(["zoom", "meet", "jitsi"])),
    script=st.lists(
        st.tuples(
            st.sampled_from(["zoom.us", "a.zoom.us", "meet.chu.example", "meet.google.com"]),
            st.lists(ADDRESSES, min_size=1, max_size=4),
            st.integers(0, 2**32),
            st.integers(0, 5000),
        ),
        max_size=12,
    ),
)
def test_no_sequence_of_answers_opens_a_protected_address(plan, shields, dropped, script):
    """On `verdict`: whatever is protected, granted and said upstream, no packet reaches what is protected."""
    grants = tuple(g for g in plan.grants if g.service not in dropped)
    groups = tuple(
        replace(g, services=tuple(s for s in g.services if s not in dropped)) for g in plan.groups
    )
    plan = replace(plan, protected=(*plan.protected, *shields), grants=grants, groups=groups)
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
    own = model.desk.own(Question(0, 0x100, "zoom.us", 1, 1, raw, 1232), ("zoom",))
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
    assert [r.packed for routes in model.desk._routes.values() for r in routes.values()] == [()]


def test_a_name_outside_the_frequent_ones_is_not_in_the_list(model):
    assert model.desk.denied.get("never.example.org") is None


@pytest.mark.parametrize("ttl", [0, 1, 59, 60, 61, 299, 300, 301, 3600, 3601, 2**31])
def test_the_times_are_those_of_the_rules(model, ttl):
    model.says("zoom.us", "170.114.52.2", ttl=ttl)
    reply = parsed(model.ask("zoom.us"), "zoom.us")
    learned = model.desk.book.learned
    assert reply.ttl == reply_ttl(learned, ttl)
    held = model.kernel["zoom", reply.packed[0]] - model.now
    assert held == lifetime(learned, ttl).total_seconds()


def test_the_same_answer_again_is_not_judged_again_and_another_is(model):
    model.desk.load(replace(model.desk.book, cache=False))
    model.says("zoom.us", "170.114.52.2", ttl=60)
    first = model.ask("zoom.us")
    model.now += 2
    assert model.ask("zoom.us") == first
    assert model.desk.seen["zoom", "zoom.us"] == model.now
    assert model.batches == 1
    model.now += 60
    assert model.ask("zoom.us") == first
    assert model.batches == 2, "it would outlive its element"
    model.says("zoom.us", "170.114.52.3", ttl=60)
    assert parsed(model.ask("zoom.us"), "zoom.us").packed == (bytes([170, 114, 52, 3]),)
    assert model.batches == 3
    model.desk.purged()
    model.ask("zoom.us")
    assert model.batches == 4, "somebody has emptied the sets"


def test_rules_that_come_while_an_answer_is_on_its_way_count(model):
    asked = model.desk.quick(model.query("zoom.us"), TABLET, model.now)
    answer = model.says("zoom.us", "170.114.52.2")
    rules = model.desk.book.rules
    model.desk.load(replace(model.desk.book))
    change = model.desk.settle(asked, answer, model.now)
    assert rcode(model.desk.confirm(asked, answer, change, model.now)) == dnswire.NOERROR
    domains = {k: tuple(d for d in v if d.name != "zoom.us") for k, v in rules.domains.items()}
    model.desk.load(replace(model.desk.book, rules=replace(rules, domains=domains)))
    assert rcode(model.desk.settle(asked, answer, model.now)) == dnswire.REFUSED
    assert model.desk.stale(asked, model.now) is None
    # A group that lost the service.
    groups = {g: tuple(s for s in of if s != "zoom") for g, of in rules.group_services.items()}
    model.desk.load(replace(model.desk.book, rules=replace(rules, group_services=groups)))
    assert rcode(model.desk.settle(asked, answer, model.now)) == dnswire.REFUSED
    raw = dnswire.write_name("zoom.us") + b"\0\1\0\1"
    own = model.desk.own(Question(0, 0x100, "zoom.us", 1, 1, raw, 1232), ("zoom",))
    model.desk.load(replace(model.desk.book))
    assert model.desk.settle(own, answer, model.now).services == ("zoom",)
    model.desk.book = None
    asked = Asked(b"\0\1", asked.seat, asked.route)
    assert rcode(model.desk.settle(asked, answer, model.now)) == dnswire.SERVFAIL
    asked.seat.routes.clear()
    late = model.desk.quick(model.query("zoom.us"), TABLET, model.now)
    assert rcode(late) == dnswire.SERVFAIL


def test_a_budget_outlives_a_change_of_the_rules(model):
    model.desk.load(replace(model.desk.book, query_rate=2.0))
    assert sum(model.ask("www.example.org") is not None for _ in range(30)) == 20
    model.desk.load(replace(model.desk.book))
    assert model.ask("www.example.org") is None


def test_a_batch_holds_no_address_twice_and_fills_no_set_beyond_its_end(model):
    model.desk.load(changed(model, addresses_per_service=3))
    memory = model.desk.memory

    def planned(name, last, seconds=120.0, service="zoom"):
        packed = (bytes([170, 114, 0, last]),)
        return memory.plan(name, (service,), packed, model.now, seconds, model.now + 61)

    batch = Batch(memory)
    changes = [planned("a", 1), planned("b", 2), planned("c", 3)]
    for change in changes:
        assert batch.fits(change)
        batch.add(change)
    assert not batch.fits(planned("d", 1, 3600.0)), "there already, and for another time"
    assert not batch.fits(planned("d", 4)), "full"
    assert batch.fits(planned("d", 1, service="jitsi"))
    for change in changes:
        memory.confirm(change)
    evicting = planned("e", 5)
    assert evicting.evicted
    other = Batch(memory)
    assert other.fits(evicting)
    other.add(evicting)
    assert not other.fits(planned("f", 6, service="jitsi"))
    third = Batch(memory)
    third.add(planned("f", 6, service="jitsi"))
    assert not third.fits(evicting)


def test_what_the_kernel_will_not_hold_long_enough_is_no_prepared_answer(model):
    model.says("zoom.us", "170.114.52.2", ttl=3600)
    model.ask("zoom.us")
    route = next(iter(model.desk._seats[TABLET].routes.values()))
    route.held = model.now + 10
    model.ask("zoom.us")
    assert model.batches == 1
    assert route.held > model.now + 300, "looked up again"
    assert model.desk.caching
    model.desk.load(replace(model.desk.book, cache=False))
    assert not model.desk.caching


def test_the_same_answer_twice_within_a_second_notes_its_use_once(model):
    model.desk.load(replace(model.desk.book, cache=False))
    model.says("zoom.us", "170.114.52.2", ttl=60)
    for passed in (0, 5, 0.5):
        model.now += passed
        model.ask("zoom.us")
    assert model.desk.seen["zoom", "zoom.us"] == model.now - 0.5


def test_memory_lets_go_of_names_whose_addresses_have_left(model):
    memory = model.desk.memory
    for n in (1, 2):
        packed = (bytes([170, 114, 0, n]),)
        memory.confirm(memory.plan("a", ("zoom",), packed, 0.0, 120.0, 61.0))
    assert memory.size("zoom") == 2
    memory.drop("zoom", bytes([170, 114, 0, 1]))
    memory.drop("zoom", bytes([170, 114, 0, 1]))
    memory.drop("zoom", bytes([170, 114, 0, 2]))
    assert memory.size("zoom") == 0
    assert memory.size("jitsi") == 0
