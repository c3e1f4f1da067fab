"""Our configuration in a real FreeRADIUS: who is admitted, what an answer carries, what is written down."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from time import monotonic, sleep

import pytest

from netguard.core import radius
from netguard.core.radius import Code, Status, Type

MAC = "3c:28:6d:aa:01:10"
SPELLINGS = [
    "3c286daa0110",
    "3C286DAA0110",
    "3c:28:6d:aa:01:10",
    "3C-28-6D-AA-01-10",
    "3c-28-6d-aa-01-10",
    "3c28.6daa.0110",
    "3C28-6DAA-0110",
    "3c286d-aa0110",
    "3C286D:AA0110",
]
NO_MACS = [
    "3c286daa011",
    "3c286daa01100",
    "3c:28:6d-aa:01:10",
    "3c.28.6d.aa.01.10",
    "3c28.6daa-0110",
    "3:28:6d:aa:01:10",
    "3c286daa0110\n",
    "3c286daa0110\0",
    "3c:28:6d:aa:01:10:Tablettes",
    "３c286daa0110",
    "meraki_8021x_test",
    'x" || 1 == 1',
    "%{User-Password}",
    "\\",
]
HOSTILE = [
    b'quote " quote',
    b"back \\ slash \\\\ \\",
    b'line\n{"t":"0","kind":"admission","answer":"accept"}\n',
    b"carriage\r\nreturn",
    b"nul \0 byte",
    bytes(range(1, 33)),
    bytes(range(127, 256)),
    b"\xff\xfe\xfd",
    b"\x1b[31mred\x1b[0m",
    "Hôpital \u202e override".encode(),
    b"%{User-Password} %{exec:/bin/true} $ENV{PATH} `id`",
    b"%41%0a%%",
    b"x" * 253,
    b"\n" * 253,
    b'"' * 253,
    b"\xc3" * 253,
]


def called(text: str | bytes) -> radius.Attribute:
    return radius.text(Type.CALLED_STATION_ID, text)


def is_tablet_accept(reply: radius.Packet) -> bool:
    return (
        reply.code == Code.ACCESS_ACCEPT
        and radius.vlan_of(reply) == "640"
        and len(reply.all(Type.MESSAGE_AUTHENTICATOR)) == 1
    )


def test_the_configuration_is_accepted_by_freeradius_itself(fresh):
    done = fresh.checked()
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Configuration appears to be OK" in done.stdout


def test_a_known_mac_gets_the_whole_triplet_untagged_and_nothing_else(server):
    reply = server.ask("3c286daa0110", "3C-28-6D-AA-01-10")
    assert reply.code == Code.ACCESS_ACCEPT
    kinds = sorted(kind for kind, _ in reply.attributes)
    assert kinds == sorted(
        [
            Type.TUNNEL_TYPE,
            Type.TUNNEL_MEDIUM_TYPE,
            Type.TUNNEL_PRIVATE_GROUP_ID,
            Type.MESSAGE_AUTHENTICATOR,
        ]
    )
    assert reply.first(Type.TUNNEL_PRIVATE_GROUP_ID) == b"640"
    assert reply.first(Type.TUNNEL_TYPE) == bytes([0, 0, 0, 13])
    assert reply.first(Type.TUNNEL_MEDIUM_TYPE) == bytes([0, 0, 0, 6])


@pytest.mark.parametrize("user", SPELLINGS)
@pytest.mark.parametrize("calling", [*SPELLINGS, None])
def test_every_spelling_of_a_nas_is_the_same_tablet(server, user, calling):
    reply, event = server.event_of(server.ask, user, calling)
    assert is_tablet_accept(reply)
    assert event["mac"] == MAC
    assert (event["user"], event["calling"]) == (user, calling or "")


@pytest.mark.parametrize("text", NO_MACS)
@pytest.mark.parametrize("where", ["user", "calling", "both"])
def test_what_is_no_mac_is_no_tablet(server, text, where):
    user = text if where in ("user", "both") else "3c286daa0110"
    calling = text if where in ("calling", "both") else "3C-28-6D-AA-01-10"
    reply, event = server.event_of(server.ask, user, calling)
    assert reply.code == Code.ACCESS_REJECT
    assert event["rule"] == "not-mac-authentication"
    assert text not in (event["user"], event["calling"])


@pytest.mark.parametrize("password", [b"", b"3c286daa0110", b"fixed", b"p" * 128])
def test_the_password_does_not_matter(server, password):
    assert is_tablet_accept(server.ask("3c286daa0110", "3C-28-6D-AA-01-10", password=password))


@pytest.mark.parametrize("own_challenge", [True, False])
@pytest.mark.parametrize("password", [b"3c286daa0110", b"", b"fixed"])
def test_mac_authentication_by_chap_is_the_same_tablet(server, password, own_challenge):
    """RFC 2865 5.3: without a CHAP-Challenge the Request Authenticator is the challenge."""
    challenge = os.urandom(16)
    proof = hashlib.md5(b"\x07" + password + challenge, usedforsecurity=False).digest()
    chap = [radius.text(Type.CHAP_PASSWORD, b"\x07" + proof)]
    if own_challenge:
        chap.append(radius.text(Type.CHAP_CHALLENGE, challenge))
    reply, event = server.event_of(
        server.ask, "3c286daa0110", "3C-28-6D-AA-01-10", *chap, password=None
    )
    assert is_tablet_accept(reply)
    assert (event["answer"], event["mac"]) == ("accept", MAC)


@pytest.mark.parametrize("mac", ["3c286daa0110", "3c286daaffff"])
def test_what_proxies_added_comes_back_unchanged_and_in_order(server, mac):
    """RFC 2865 5.33, in an Accept and in a Reject."""
    states = [b"first", b"\x00\xff", b"first"]
    sent = [radius.text(Type.PROXY_STATE, state) for state in states]
    reply = server.ask(mac, None, *sent)
    assert list(reply.all(Type.PROXY_STATE)) == states
    assert len(reply.all(Type.MESSAGE_AUTHENTICATOR)) == 1


def test_accounting_gives_back_what_proxies_added_too(server):
    states = [b"one", b"two"]
    reply = server.account(Status.START, *(radius.text(Type.PROXY_STATE, s) for s in states))
    assert reply.code == Code.ACCOUNTING_RESPONSE
    assert reply.all(Type.PROXY_STATE) == states


def test_an_unsigned_proxy_state_is_dropped_by_versions_that_can(server):
    """CVE-2024-3596; `limit_proxy_state` came with 3.2.5, an older version knows no such item."""
    state = radius.text(Type.PROXY_STATE, b"from a controller")
    assert is_tablet_accept(server.ask(MAC, MAC, state, source="127.0.0.2", signed=True))
    assert is_tablet_accept(server.ask(MAC, MAC, source="127.0.0.2", signed=False))
    unsigned = server.ask(MAC, MAC, state, source="127.0.0.2", signed=False, patience=1)
    if version() >= (3, 2, 5):
        assert unsigned is None
    else:
        assert is_tablet_accept(unsigned)


def version() -> tuple[int, ...]:
    text = subprocess.run(["freeradius", "-v"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"FreeRADIUS Version (\d+)\.(\d+)\.(\d+)", text)
    assert found, text
    return tuple(map(int, found.groups()))


@pytest.mark.parametrize(
    "user", ["dummy", "automate-tester", "meraki_8021x_test", "radius-test", "probe@wlc"]
)
def test_a_controllers_health_check_is_answered_and_becomes_no_tablet(server, user):
    reply, event = server.event_of(server.ask, user, None)
    assert reply.code == Code.ACCESS_REJECT
    assert (event["mac"], event["user"], event["rule"]) == ("", "", "not-mac-authentication")


def test_the_first_calling_station_id_that_is_a_mac_counts(server):
    second = radius.text(Type.CALLING_STATION_ID, "3C-28-6D-AA-01-10")
    reply, event = server.event_of(server.ask, "3c286daa0110", "10.0.0.7", second)
    assert is_tablet_accept(reply)
    assert event["calling"] == "3C-28-6D-AA-01-10"


def test_another_mac_in_user_name_is_not_mac_authentication(server):
    reply, event = server.event_of(server.ask, "3c286daa0111", "3C-28-6D-AA-01-10")
    assert reply.code == Code.ACCESS_REJECT
    assert event["rule"] == "not-mac-authentication"


@pytest.mark.parametrize(
    ("mac", "rule"),
    [
        ("3c286daaffff", "unknown-mac"),
        ("3e286daaffff", "private-mac"),
        ("ffffffffffff", "private-mac"),
        ("000000000000", "unknown-mac"),
    ],
)
def test_a_mac_outside_the_inventory_is_rejected_and_the_reject_is_signed(server, mac, rule):
    reply, event = server.event_of(server.ask, mac, mac)
    assert reply.code == Code.ACCESS_REJECT
    assert [kind for kind, _ in reply.attributes] == [Type.MESSAGE_AUTHENTICATOR]
    assert (event["answer"], event["rule"], event["vlan"]) == ("reject", rule, "")


def test_an_eap_request_is_not_mac_authentication_even_for_a_tablet(server):
    identity = bytes([2, 1, 0, 17, 1]) + b"3c286daa0110"
    eap = radius.text(Type.EAP_MESSAGE, identity)
    reply, event = server.event_of(
        server.ask, "3c286daa0110", "3C-28-6D-AA-01-10", eap, password=None
    )
    assert reply.code == Code.ACCESS_REJECT
    assert event["rule"] == "eap"


@pytest.mark.parametrize("mac", ["3c286daa0111", "3c286daa0112"])
def test_an_entry_without_its_whole_vlan_triplet_is_rejected(server, mac):
    reply, event = server.event_of(server.ask, mac, mac)
    assert reply.code == Code.ACCESS_REJECT
    assert [kind for kind, _ in reply.attributes] == [Type.MESSAGE_AUTHENTICATOR]
    assert (event["answer"], event["rule"]) == ("reject", "no-vlan")


def test_a_tablet_of_another_site_is_unknown_here_and_at_home_there(server):
    here, event = server.event_of(server.ask, "3c286daa0120", "3c286daa0120")
    assert here.code == Code.ACCESS_REJECT
    assert event["rule"] == "unknown-mac"
    there, event = server.event_of(server.ask, "3c286daa0120", "3c286daa0120", source="127.0.0.3")
    assert radius.vlan_of(there) == "642"
    assert (event["site"], event["nas"]) == ("arcachon", "wlc-arcachon")


def test_a_request_without_message_authenticator_is_dropped_where_it_is_required(server):
    assert server.ask("3c286daa0110", signed=False, patience=0.5) is None
    assert is_tablet_accept(server.ask("3c286daa0110", signed=False, source="127.0.0.2"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("70-3A-0E-00-00-01:Tablettes", Code.ACCESS_ACCEPT),
        ("70-3A-0E-00-00-01:Visiteurs", Code.ACCESS_REJECT),
        ("ap-chir-3:Tablettes", Code.ACCESS_ACCEPT),
        ("70-3A-0E-00-00-01", Code.ACCESS_ACCEPT),
        ("70:3A:0E:00:00:01", Code.ACCESS_ACCEPT),
        ("bat:3:Tablettes", Code.ACCESS_ACCEPT),
        ('703a0e000001:a " quote', Code.ACCESS_REJECT),
        ("70-3A-0E-00-00-01:" + "x" * 200, Code.ACCESS_REJECT),
    ],
)
def test_a_site_that_lets_tablets_join_their_own_network_only_admits_on_no_other(
    server, text, code
):
    reply, event = server.event_of(
        server.ask, "3c286daa0110", "3C-28-6D-AA-01-10", called(text), source="127.0.0.2"
    )
    assert reply.code == code
    assert event["rule"] == ("patients/admit" if code == Code.ACCESS_ACCEPT else "other-network")


@pytest.mark.parametrize(
    ("attributes", "ap", "ssid"),
    [
        ([called("70-3A-0E-00-00-01:Tablettes")], "70:3a:0e:00:00:01", "Tablettes"),
        ([called("70:3a:0e:00:00:01:Tab:lettes")], "70:3a:0e:00:00:01", "Tab:lettes"),
        ([called("703a0e000001:Tablettes")], "70:3a:0e:00:00:01", "Tablettes"),
        ([called("703a-0e00-0001:Hôpital")], "70:3a:0e:00:00:01", "Hôpital"),
        ([called("70:3A:0E:00:00:01")], "70:3a:0e:00:00:01", ""),
        ([called("ap-chir-3:Tablettes")], "ap-chir-3", "Tablettes"),
        ([called("ap-chir-3")], "ap-chir-3", ""),
        ([], "", ""),
        (
            [called("70-3A-0E-00-00-01"), radius.vendor(14823, 5, "Tablettes")],
            "70:3a:0e:00:00:01",
            "Tablettes",
        ),
        (
            [called("70-3A-0E-00-00-01:Tablettes"), radius.vendor(14823, 6, "ap-chir-3")],
            "ap-chir-3",
            "Tablettes",
        ),
        ([radius.vendor(25053, 3, "Tablettes")], "", "Tablettes"),
        ([radius.vendor(29671, 3, "ap-chir-3")], "ap-chir-3", ""),
        (
            [radius.vendor(12356, 7, "Tablettes"), radius.vendor(12356, 8, "ap-chir-3")],
            "ap-chir-3",
            "Tablettes",
        ),
    ],
)
def test_each_vendors_way_to_name_the_ap_and_the_ssid_is_understood(server, attributes, ap, ssid):
    _, event = server.event_of(server.ask, "3c286daa0110", "3C-28-6D-AA-01-10", *attributes)
    assert (event["ap"], event["ssid"]) == (ap, ssid)


def test_accounting_is_written_down_and_answered(server):
    reply, event = server.event_of(
        server.account,
        Status.STOP,
        called("70-3A-0E-00-00-01:Tablettes"),
        radius.text(Type.ACCT_SESSION_ID, "00000001/3c:28:6d:aa:01:10/7"),
        radius.number(Type.ACCT_TERMINATE_CAUSE, 4),
        radius.number(Type.ACCT_DELAY_TIME, 2),
        radius.number(Type.ACCT_INPUT_PACKETS, 4242),
        # Beyond 2038: a date of RADIUS has 32 bits without a sign.
        radius.number(Type.EVENT_TIMESTAMP, 4_000_000_000),
    )
    assert reply.code == Code.ACCOUNTING_RESPONSE
    assert reply.attributes == ()
    moment = event.pop("t")
    assert moment.isdigit()
    assert event == {
        "kind": "accounting",
        "nas": "wlc-1",
        "site": "pellegrin",
        "mac": MAC,
        "user": "3c286daa0110",
        "calling": "3C-28-6D-AA-01-10",
        "called": "70-3A-0E-00-00-01:Tablettes",
        "ssid": "Tablettes",
        "ap": "70:3a:0e:00:00:01",
        "status": "Stop",
        "session": "00000001/3c:28:6d:aa:01:10/7",
        "cause": "Idle-Timeout",
        "delay": "2",
        "in_packets": "4242",
        "stamp": "4000000000",
        "src": "127.0.0.1",
        "nas_ip": "",
    }


def test_a_nas_that_goes_on_or_off_is_written_down_without_a_tablet(server):
    attributes = (radius.number(Type.ACCT_STATUS_TYPE, Status.ACCOUNTING_ON),)
    reply, event = server.event_of(server.send, Code.ACCOUNTING_REQUEST, attributes)
    assert reply.code == Code.ACCOUNTING_RESPONSE
    assert (event["status"], event["mac"], event["nas"]) == ("Accounting-On", "", "wlc-1")


def test_other_peoples_sessions_are_answered_and_not_kept(server):
    reply, event = server.event_of(server.account, mac="3C-28-6D-AA-FF-FF")
    assert reply.code == Code.ACCOUNTING_RESPONSE
    assert event is None


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_breaks_no_line_and_forges_none(server, text):
    before = len(server.lines())
    hostile = (
        called(text),
        called(text),
        radius.text(Type.NAS_IDENTIFIER, text),
        radius.vendor(14823, 5, text[:247]),
        radius.vendor(14823, 6, text[:247]),
        radius.text(Type.REPLY_MESSAGE, text),
    )
    accepted = server.ask("3c286daa0110", "3C-28-6D-AA-01-10", *hostile)
    assert is_tablet_accept(accepted), "hostile text must not change the answer"
    stranger = server.ask(text, text, *hostile)
    assert stranger.code == Code.ACCESS_REJECT
    session = radius.text(Type.ACCT_SESSION_ID, text)
    assert server.account(Status.START, session, *hostile).code == Code.ACCOUNTING_RESPONSE
    lines = server.lines()[before:]
    assert len(lines) == 3
    for line in lines:
        assert line.rstrip().endswith(b"}")
        assert len(line) in (512, 1024, 2048)
        assert all(0x20 <= byte < 0x7F for byte in line[:-1])
        assert json.loads(line)["nas"] == "wlc-1"
    admitted, rejected, accounted = server.events()[before:]
    assert (admitted["answer"], rejected["answer"]) == ("accept", "reject")
    # What fits is kept exactly; what cannot be an identifier of that kind is left out.
    kept = text.decode(errors="replace") if len(text) <= 96 and b"\0" not in text else None
    if kept is not None:
        assert admitted["called"] == kept
        assert accounted["session"] == kept
    assert accounted["status"] == "Start"


def test_a_retransmitted_request_gets_the_same_bytes(server):
    raw = radius.access_request(
        77,
        bytes(16),
        b"0123456789abcdef0123",
        (radius.text(Type.USER_NAME, "3c286daa0110"),),
        b"x",
    )
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
        nas.bind(("127.0.0.1", 0))
        nas.connect(("127.0.0.1", server.auth))
        nas.settimeout(1)
        nas.send(raw)
        first = nas.recv(4096)
        before = len(server.lines())
        # While the server still tidies up after the first one it drops a repeat: a NAS repeats.
        for _ in range(10):
            nas.send(raw)
            try:
                again = nas.recv(4096)
                break
            except TimeoutError:
                continue
        assert again == first
        assert len(server.lines()) == before


def test_a_broken_file_of_tablets_is_refused_and_the_old_answers_go_on(fresh):
    fresh.start()
    tablets = fresh.data / "tablets"
    good = tablets.read_text()
    swap(tablets, "pellegrin/3c:28:6d:aa:01:10 Auth-Type := Accept,,, nonsense\n")
    done = hup_when_due(fresh)
    assert done.returncode != 0
    assert is_tablet_accept(fresh.ask("3c286daa0110"))
    swap(tablets, good.replace('"640"', '"641"'))
    end = monotonic() + 20
    while radius.vlan_of(fresh.ask("3c286daa0110")) != "641":
        assert monotonic() < end, "the repaired file is never loaded"
        radmin(fresh)
        sleep(0.2)
    assert not list(fresh.log.glob("*core*"))


def swap(path: Path, text: str) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(text)
    if os.geteuid() == 0:
        os.chown(beside, 65534, 65534)
    beside.replace(path)


def radmin(server) -> subprocess.CompletedProcess:
    return subprocess.run(
        server.command("radmin", "-f", server.run / "control" / "netguard.sock", "-e", "hup netguard_tablets"),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )  # fmt: skip


def hup_when_due(server) -> subprocess.CompletedProcess:
    """Reload until the server does it: within 2 s of the last load it only pretends to."""
    end = monotonic() + 20
    while True:
        done = radmin(server)
        if done.returncode != 0 or monotonic() > end:
            return done
        sleep(0.2)


def test_a_decision_whose_line_cannot_be_written_is_answered_but_accounting_is_not(fresh):
    fresh.log.chmod(0o555)
    if os.geteuid() == 0:
        os.chown(fresh.log, 0, 0)
    fresh.start()
    assert is_tablet_accept(fresh.ask("3c286daa0110"))
    assert fresh.ask("3c286daaffff").code == Code.ACCESS_REJECT
    assert fresh.account(patience=0.5) is None
    if os.geteuid() == 0:
        os.chown(fresh.log, 65534, 65534)
    fresh.log.chmod(0o755)
    assert fresh.account().code == Code.ACCOUNTING_RESPONSE
    assert [event["kind"] for event in fresh.events()] == ["accounting"]


@pytest.mark.usefixtures("root")
def test_on_a_full_disk_only_what_was_stored_is_answered(fresh):
    """The log folder is a file system of 64 KiB, seen by the server alone (root only)."""
    shutil.rmtree(fresh.log)
    fresh.log.mkdir()
    plain = fresh.command
    mount = f'mount -t tmpfs -o size=64k,mode=777 none {fresh.log} && exec "$@"'
    fresh.command = lambda *words: ["unshare", "--mount", "sh", "-c", mount, "sh", *plain(*words)]
    fresh.start()
    answered = 0
    for number in range(300):
        session = radius.text(Type.ACCT_SESSION_ID, f"{number:08x}")
        reply = fresh.account(Status.INTERIM_UPDATE, session, patience=0.3)
        answered += reply is not None
        if reply is None:
            break
    inside = Path(f"/proc/{fresh.process.pid}/root{fresh.log}")
    stored = [
        line for path in inside.glob("events-*.log") for line in path.read_bytes().splitlines(True)
    ]
    assert {len(line) for line in stored} == {512}, "no line is cut"
    assert 0 < answered == len(stored) < 300
    assert [json.loads(line)["session"] for line in stored] == [f"{n:08x}" for n in range(answered)]
    assert is_tablet_accept(fresh.ask("3c286daa0110")), "a full disk must not change an answer"
