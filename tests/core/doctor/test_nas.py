"""NASes judged by what they sent: each row is a capture in a few lines, and the one finding it has to give."""

import io
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import radius
from netguard.core.doctor import heard as hearing
from netguard.core.doctor import nas
from netguard.core.doctor.findings import Outcome
from netguard.core.doctor.frames import Datagram, Macs
from netguard.core.doctor.heard import Client, Ear, Neighbours
from netguard.core.doctor.nas import Probe
from netguard.core.radius import Type
from tests.core.doctor.captures import BEGIN, SECRET, SERVER, packets

OK, WARNING, FAILED, UNCHECKED = Outcome.OK, Outcome.WARNING, Outcome.FAILED, Outcome.UNCHECKED
MAC, OTHER, PRIVATE = "64:1b:2f:00:00:01", "64:1b:2f:00:00:02", "66:1b:2f:00:00:03"
HEALTHY = [
    f"0 10.1.2.10 ask {MAC}",
    f"1 10.1.2.10 start {MAC}",
    f"301 10.1.2.10 interim {MAC}",
    f"601 10.1.2.10 interim {MAC}",
]


def client(name="wlc-1", address="10.1.2.10/32", secret=SECRET, **more):
    given = {
        "vendor": "cisco-9800",
        "message_authenticator": "required",
        "ssid_needed": True,
        **more,
    }
    return Client(
        name, "nord", ip_network(address), ssid="CHU-TABLETTES", interim=300, secret=secret, **given
    )


def listen(lines, *clients, end=None):
    ear = Ear(clients or (client(),))
    for row in packets(lines):
        ear.take(Datagram(*row))
    ear.finish(BEGIN + end if end is not None else ear.end)
    return ear


def judge(lines, *clients, probes=None, end=None, neighbours=None):
    ear = listen(lines, *clients, end=end)
    return nas.judge(ear, probes or {}, neighbours or Neighbours([]), {MAC: "T-001"})


def told(findings, code):
    return [(finding.outcome, finding.text) for finding in findings if finding.code == code]


def cries(findings):
    return {finding.code for finding in findings if finding.cries}


def test_a_nas_that_is_set_up_right_gives_no_finding():
    found = judge(HEALTHY, probes={"wlc-1": Probe("nak", 3799, 503)})
    assert not cries(found)
    assert {f.code for f in found} == {f"NG-D3{n:02}" for n in range(1, 13)}
    assert all(f.outcome is OK for f in found), [f for f in found if f.outcome is not OK]


LOOKS = {
    # what was sent, what differs of the client, when it ends, the code, the outcome, words of the finding
    "nothing": ([], {}, 60, "NG-D301", UNCHECKED, "no MAC authentication was seen"),
    "only 802.1X": ([f"0 10.1.2.10 ask {MAC} eap"], {}, 200, "NG-D301", UNCHECKED, "in 3 min, 1 request of 802.1X"),
    "vendor attributes": (
        [f"0 10.1.2.10 ask {MAC} vendor=aruba-controller"], {"vendor": "aruba-instant"}, 1, "NG-D301", OK, "Aruba",
    ),
    "another vendor": (
        [f"0 10.1.2.10 ask {MAC} vendor=aruba-controller"], {}, 1, "NG-D301", WARNING, "'cisco-9800', its attributes are those of Aruba",
    ),
    "another secret": ([f"0 10.1.2.10 ask {MAC} wrong no-answer"], {}, 1, "NG-D303", FAILED, "1 of 1 packet made"),
    "another secret, unsigned": (
        [f"0 10.1.2.10 ask {MAC} wrong unsigned"], {"message_authenticator": "never"}, 1, "NG-D303", FAILED, "1 of 1",
    ),
    "our secret, unsigned": (
        [f"0 10.1.2.10 ask {MAC} unsigned"], {"message_authenticator": "never"}, 1, "NG-D303", OK, "1 packet made",
    ),
    "another secret in accounting": ([f"0 10.1.2.10 start {MAC} wrong no-answer"], {}, 1, "NG-D303", FAILED, "1 of 1"),
    "secret unknown here in accounting": (
        [f"0 10.1.2.10 start {MAC} wrong"],
        {"secret": None},
        1,
        "NG-D303",
        UNCHECKED,
        "not known here",
    ),
    "secret unknown here": ([f"0 10.1.2.10 ask {MAC}"], {"secret": None}, 1, "NG-D303", UNCHECKED, "not known here"),
    "unsigned and required": ([f"0 10.1.2.10 ask {MAC} unsigned no-answer"], {}, 9, "NG-D304", FAILED, "in silence"),
    "unsigned and optional": (
        [f"0 10.1.2.10 ask {MAC} unsigned"], {"message_authenticator": "optional"}, 1, "NG-D304", WARNING, "CVE-2024-3596",
    ),
    "unsigned and never": (
        [f"0 10.1.2.10 ask {MAC} unsigned"], {"message_authenticator": "never"}, 1, "NG-D304", OK, "never",
    ),
    "signed and optional": (
        [f"0 10.1.2.10 ask {MAC}"], {"message_authenticator": "optional"}, 1, "NG-D304", WARNING, "the rules say 'optional'",
    ),
    "no request to judge": ([f"0 10.1.2.10 stop {MAC}"], {}, 1, "NG-D304", UNCHECKED, "no request was seen"),
    "no SSID, needed": ([f"0 10.1.2.10 ask {MAC} no-ssid"], {}, 1, "NG-D305", FAILED, "such as '70-3a-0e-00-00-01'"),
    "no SSID": ([f"0 10.1.2.10 ask {MAC} no-ssid"], {"ssid_needed": False}, 1, "NG-D305", WARNING, "without an SSID"),
    "SSID elsewhere": ([f"0 10.1.2.10 ask {MAC} vendor=aruba-controller"], {}, 1, "NG-D305", OK, "access point and SSID"),
    "nothing of its place": ([f"0 10.1.2.10 ask {MAC} no-ap"], {}, 1, "NG-D305", FAILED, "without an SSID:"),
    "SSID without an access point": (
        [f"0 10.1.2.10 ask {MAC} no-ap vendor=ruckus"], {}, 1, "NG-D305", WARNING, "no area is known",
    ),
    "no MAC": ([f"0 10.1.2.10 ask {MAC} no-calling"], {}, 1, "NG-D306", FAILED, "without a MAC"),
    "private": ([f"0 10.1.2.10 ask {PRIVATE} reject"], {}, 1, "NG-D306", WARNING, "1 device with"),
    "no accounting": ([f"0 10.1.2.10 ask {MAC}"], {}, 30, "NG-D307", FAILED, "1 tablet admitted and no accounting"),
    "too early for accounting": ([f"0 10.1.2.10 ask {MAC}"], {}, 10, "NG-D307", UNCHECKED, "15 s before the end"),
    "accounting of few": (
        [*(f"{n} 10.1.2.10 ask 64:1b:2f:00:01:0{n}" for n in range(4)), "4 10.1.2.10 start 64:1b:2f:00:01:00"],
        {}, 60, "NG-D307", WARNING, "of 1 of 4 admitted tablets",
    ),
    "accounting not acknowledged": ([f"0 10.1.2.10 start {MAC} no-answer"], {}, 9, "NG-D307", FAILED, "none of 1"),
    "accounting": (HEALTHY, {}, 700, "NG-D307", OK, "3 records"),
    "no interim": ([f"0 10.1.2.10 start {MAC}"], {}, 460, "NG-D308", FAILED, "more than 450 s"),
    "too early for interim": ([f"0 10.1.2.10 start {MAC}"], {}, 300, "NG-D308", UNCHECKED, "for 450 s"),
    "ended before interim": (
        [f"0 10.1.2.10 start {MAC}", f"9 10.1.2.10 stop {MAC}"], {}, 900, "NG-D308", UNCHECKED, "for 450 s",
    ),
    "one interim": ([f"0 10.1.2.10 interim {MAC}"], {}, 9, "NG-D308", OK, "Interim-Updates come"),
    "rare interims": (
        [f"0 10.1.2.10 start {MAC}", f"900 10.1.2.10 interim {MAC}"], {}, 900, "NG-D308", WARNING, "every 900 s",
    ),
    "interims": (HEALTHY, {}, 700, "NG-D308", OK, "every 300 s"),
    "clock right": (HEALTHY, {}, 700, "NG-D309", OK, "right to 5 s"),
    "clock off": ([f"0 10.1.2.10 start {MAC} ahead=-40"], {}, 1, "NG-D309", WARNING, "-40 s off"),
    "clock far off": ([f"0 10.1.2.10 start {MAC} ahead=4000"], {}, 1, "NG-D309", FAILED, "ignores CoA"),
    "no clock": ([f"0 10.1.2.10 start {MAC} no-stamp"], {}, 1, "NG-D309", UNCHECKED, "no Event-Timestamp"),
    "no answers": ([f"0 10.1.2.10 ask {MAC} no-answer again=2"], {}, 9, "NG-D310", FAILED, "2 were sent again"),
    "some answers": (
        [f"0 10.1.2.10 ask {MAC} no-answer", f"1 10.1.2.10 ask {OTHER}"], {}, 9, "NG-D310", WARNING, "1 request without",
    ),
    "not waited long enough": ([f"0 10.1.2.10 ask {MAC} no-answer"], {}, 3, "NG-D310", OK, "0 answers"),
    "sent again": ([f"0 10.1.2.10 ask {MAC} again=3"], {}, 9, "NG-D310", WARNING, "3 sent again"),
    "late": ([f"0 10.1.2.10 ask {MAC} late=0.8"], {}, 9, "NG-D310", WARNING, "slowest 0.8 s"),
    "answers": (HEALTHY, {}, 700, "NG-D310", OK, "4 answers"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOKS)
def test_what_a_nas_sends_is_told_as_what_it_is(name):
    lines, more, end, code, outcome, words = LOOKS[name]
    findings = judge(lines, client(**more), end=end)
    ((found, text),) = told(findings, code)
    assert (found, words in text) == (outcome, True), text
    for finding in findings:
        assert bool(finding.mend) or not finding.cries


def test_what_a_wrong_secret_brings_along_is_not_cried_again():
    found = judge([f"0 10.1.2.10 ask {MAC} wrong no-answer again=2"], end=30)
    assert cries(found) == {"NG-D303"}
    assert [out for code in ("NG-D307", "NG-D308", "NG-D310") for out, _ in told(found, code)] == [
        UNCHECKED
    ] * 3


def test_what_a_missing_signature_brings_along_is_not_cried_again():
    found = judge([f"0 10.1.2.10 ask {MAC} unsigned no-answer again=2"], end=30)
    assert cries(found) == {"NG-D304"}


def test_chap_shows_no_secret():
    ear = Ear([client(message_authenticator="never")])
    for row in packets([f"0 10.1.2.10 ask {MAC} unsigned"]):
        payload = row[5].replace(bytes([2, 18]), bytes([3, 18]), 1)
        ear.take(Datagram(*row[:5], payload))
    found = nas.judge(ear, {}, Neighbours([]), {})
    assert told(found, "NG-D303")[0][0] is UNCHECKED


@pytest.mark.parametrize(
    ("probe", "outcome", "words"),
    [
        (Probe("nak", 3799, 503), OK, "Error-Cause 503"),
        (Probe("ack", 1700), OK, "udp/1700 answers"),
        (Probe("refused", 3799), FAILED, "is closed"),
        (Probe("silent", 3799), FAILED, "is silent"),
        (Probe("forged", 3799), FAILED, "another secret"),
        (Probe("", why="its access points are a network"), UNCHECKED, "are a network"),
    ],
)
def test_the_coa_port_is_told_as_it_answered(probe, outcome, words):
    ((found, text),) = told(judge([], probes={"wlc-1": probe}), "NG-D311")
    assert (found, words in text) == (outcome, True), text


def test_answers_to_coa_in_a_capture_are_proof_enough():
    ((outcome, text),) = told(judge(["0 10.1.2.10 nak", "1 10.9.9.9 nak"]), "NG-D311")
    assert outcome is OK
    assert "1 answer to CoA" in text
    assert not told(judge(HEALTHY), "NG-D311"), "a capture cannot be knocked at"


def test_the_smallest_network_names_the_nas():
    aps = client("aps", "10.1.0.0/16")
    ear = listen([f"0 10.1.2.10 ask {MAC}", f"1 10.1.9.9 ask {OTHER}"], aps, client())
    assert {name: h.counts["requests"] for name, h in ear.heard.items()} == {"aps": 1, "wlc-1": 1}
    assert str(aps) == "aps (10.1.0.0/16)"
    assert not ear.unknown


def test_senders_that_no_rule_names_are_listed_and_bounded(monkeypatch):
    monkeypatch.setattr(hearing, "MAX_SENDERS", 22)
    lines = [f"{n} 10.7.7.{n} ask {MAC} no-answer" for n in range(1, 31)]
    found = judge([*lines, f"40 10.7.7.1 ask {OTHER} no-answer"])
    rows = told(found, "NG-D302")
    assert len(rows) == 21
    assert "10.7.7.1 sent 2 requests" in rows[0][1]
    assert "10 more senders" in rows[-1][1]
    ear = listen(
        [f"{n / 100} 10.8.{n // 250}.{n % 250 + 1} ask {MAC} no-answer" for n in range(200)]
    )
    assert sum(ear.unknown.values()) + ear.overflow == 200


def test_retransmits_are_one_request_and_a_copy_of_the_wire_is_none():
    rows = packets([f"0 10.1.2.10 ask {MAC} again=1"])
    ear = Ear([client()])
    for at, *rest in rows:
        ear.take(Datagram(at, *rest))
        # The same packet on the VLAN and on what carries it.
        ear.take(Datagram(at + 0.001, *rest))
    counts = ear.heard["wlc-1"].counts
    assert counts["requests"] == 1
    assert counts["answered"] == 1


def test_an_identifier_that_is_used_again_ends_the_wait_of_the_one_before():
    rows = packets([f"0 10.1.2.10 ask {MAC} no-answer"])
    later = packets([f"9 10.1.2.10 ask {OTHER}"])
    ear = Ear([client()])
    for row in (*rows, *later):
        ear.take(Datagram(*row))
    ear.finish(BEGIN + 20)
    counts = ear.heard["wlc-1"].counts
    assert (counts["requests"], counts["unanswered"], counts["answered"]) == (2, 1, 1)


def test_all_that_is_kept_is_bounded(monkeypatch):
    for name in ("MAX_OPEN", "MAX_KEPT"):
        monkeypatch.setattr(hearing, name, 5)
    lines = [f"{n} 10.1.2.10 ask 66:1b:2f:00:00:{n:02x}" for n in range(20)]
    lines += [f"{30 + n} 10.1.2.10 start 64:1b:2f:00:00:{n:02x}" for n in range(20)]
    ear = Ear([client()])
    for row in packets(lines):
        # Each from a port of its own: nothing ends the wait of another.
        at, source, sport, destination, dport, payload = row
        if sport == 40000:
            sport = 40000 + int(at - BEGIN)
        else:
            dport = 40000 + int(at - BEGIN)
        ear.take(Datagram(at, source, sport, destination, dport, payload))
    heard = ear.heard["wlc-1"]
    assert heard.counts["answered"] == 40
    for kept in (heard.private, heard.accepted, heard.accounted, heard.sessions, ear._open):
        assert len(kept) <= 5
    ear.finish(ear.end)
    assert not ear._open


def test_other_traffic_and_rubbish_are_passed_over():
    ear = Ear([client()])
    ear.take(Datagram(1.0, "10.1.2.10", 1, "10.1.2.1", 53, b"x"))
    ear.take(Datagram(1.0, "10.1.2.10", 1, "10.1.2.1", 1812, b"x"))
    # A Status-Server, an answer that nobody waits for, a request that goes the wrong way.
    for source, sport, dport, code in (
        ("10.1.2.10", 4, 1812, 12),
        (SERVER, 1812, 4, 2),
        (SERVER, 1812, 4, 1),
    ):
        other = SERVER if source != SERVER else "10.1.2.10"
        ear.take(Datagram(2.0, source, sport, other, dport, bytes([code, 1, 0, 20]) + bytes(16)))
    assert ear.unread == 1
    assert sum(h.counts.total() for h in ear.heard.values()) == 0


@given(
    st.lists(
        st.tuples(st.sampled_from([1812, 1813, 3799]), st.booleans(), st.binary(max_size=80)),
        max_size=8,
    )
)
def test_any_payload_is_counted_or_passed_over(rows):
    ear = Ear([client()])
    for port, to, tail in rows:
        for code in (1, 2, 4, 5, 42):
            payload = bytes([code, 1]) + (20 + len(tail)).to_bytes(2) + bytes(16) + tail
            ends = (40000, port) if to else (port, 40000)
            for data in (payload, tail):
                ear.take(Datagram(1.0, "10.1.2.10", ends[0], "10.1.2.10", ends[1], data))
    ear.finish(100.0)
    nas.judge(ear, {}, Neighbours([]), {})


def accounting(number, *attributes):
    packet = radius.accounting_request(number, SECRET, attributes)
    return Datagram(BEGIN + number, "10.1.2.10", 40000, SERVER, 1813, packet)


def test_odd_attributes_are_counted_and_lead_nowhere():
    calling = radius.text(Type.CALLING_STATION_ID, b"\xff no mac")
    ear = Ear([client()])
    on = radius.number(Type.ACCT_STATUS_TYPE, 7)
    start = radius.number(Type.ACCT_STATUS_TYPE, 1)
    user = radius.text(Type.USER_NAME, MAC)
    short, alien = (26, b"abc"), radius.vendor(4242, 1, "x")
    ear.take(accounting(1, on, short, alien))
    ear.take(accounting(2, start, calling, user, (int(Type.EVENT_TIMESTAMP), b"ab")))
    # A Start that is told anew is no new session, and a status that nobody knows none at all.
    ear.take(accounting(3, start, user))
    ear.take(accounting(4, radius.number(Type.ACCT_STATUS_TYPE, 99), user))
    heard = ear.heard["wlc-1"]
    assert heard.counts["accounting"] == 4
    assert heard.accounted == {MAC}
    assert list(heard.sessions.values()) == [(BEGIN + 2, BEGIN + 2)]
    assert not heard.vendors
    assert not heard.skews


def test_frames_from_tablet_to_tablet_refute_isolation_and_nothing_proves_it():
    seen = Neighbours([MAC, OTHER])
    seen.take(Macs(MAC, "02:00:00:00:00:99"))
    ((outcome, text),) = told(judge(HEALTHY, neighbours=seen), "NG-D312")
    assert outcome is OK
    assert "not provable from here: 1 frame of" in text
    seen.take(Macs(MAC, OTHER))
    seen.take(Macs("02:00:00:00:00:98", OTHER))
    ((outcome, text),) = told(judge(HEALTHY, neighbours=seen), "NG-D312")
    assert outcome is FAILED
    assert "1 frame from tablet to tablet seen, such as T-001 to 64:1b:2f:00:00:02" in text
    found = nas.judge(Ear([]), {}, seen, {})
    assert told(found, "NG-D312")[0][0] is FAILED


def test_another_server_that_does_not_sign_is_named():
    ear = Ear([client()])
    for row in packets([f"0 10.1.2.10 ask {MAC}"]):
        payload = row[5]
        if row[2] == 1812:
            payload = bytes([2, payload[1], 0, 20]) + payload[4:20]
        ear.take(Datagram(*row[:5], payload))
    ear.finish(BEGIN + 9)
    ((outcome, text),) = told(nas.judge(ear, {}, Neighbours([]), {}), "NG-D310")
    assert outcome is WARNING
    assert "another server answers" in text


def test_no_mac_and_no_secret_are_in_what_is_told():
    found = judge([f"0 10.1.2.10 ask {MAC} wrong no-ssid", f"1 10.1.2.10 start {MAC}"], end=30)
    out = io.StringIO()
    for finding in found:
        out.write(finding.text + finding.mend)
    assert MAC not in out.getvalue()
    assert SECRET.decode() not in out.getvalue()
