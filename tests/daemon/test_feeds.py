"""Controllers' own words, over real sockets on loopback: who may speak, how much, and what comes of it."""

import asyncio
import hmac
import json
import socket
import ssl
import subprocess
from dataclasses import replace
from datetime import date
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path

import aiohttp
import pytest

from netguard.adapters import clock, listening, web
from netguard.core.policy import Feeds as Rules
from netguard.core.policy import TrapUser, Webhook
from netguard.daemon.feeds import Feeds
from netguard.daemon.intake import Intake
from netguard.errors import UsageError
from netguard.render import watch as watch_file
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.rules.messages import lines
from netguard.settings import Paths, Settings
from tests.core.test_usm import sent

RULES = Path(__file__).parents[2] / "rules"
WLC = ip_address("10.1.2.10")  # wlc-1 of the example, a cisco-9800
LINE = "%CLIENT_ORCH_LOG-6-CLIENT_ADDED_TO_RUN_STATE: R0/0: wncd: joined with ssid (S) for device with MAC: {} on AP AP-CAR-301"


@pytest.fixture(scope="module")
def policy():
    return load(read_folder(RULES, "rules"), today=date(2026, 11, 22)).policy


@pytest.fixture
def feeds(tmp_path, policy):
    for name in ("log", "state", "secrets"):
        (tmp_path / name).mkdir()
    (tmp_path / "secrets" / "traps").write_text("trap-secret\n")
    (tmp_path / "secrets" / "v3-auth").write_text("correct horse\n")
    (tmp_path / "secrets" / "v3-privacy").write_text("battery staple\n")
    (tmp_path / "secrets" / "mist").write_bytes(b"a-secret-of-the-hospital")
    rules = Rules(
        community_file="traps",
        trap_users=(
            TrapUser("gone", "sha256", "no-such-file", "aes128", "v3-privacy"),
            TrapUser("wlc", "sha256", "v3-auth", "aes128", "v3-privacy"),
        ),
        syslog_sources=(ip_network("127.0.0.0/8"),),
        webhooks={"cloud": Webhook("cloud", "mist", "pellegrin", "mist")},
    )
    text = watch_file.render(replace(policy, feeds=rules), "x", ("pellegrin",), {}, {}, lines())
    (tmp_path / "state" / "watch.json").write_text(text)
    paths = Paths(state=tmp_path / "state", run=tmp_path, radius_log=tmp_path / "log")
    intake = Intake(replace(Settings("n", ("pellegrin",)), paths=paths))
    intake.take()
    yield Feeds(intake, tmp_path / "secrets")
    intake.close()


def mac_of(policy):
    return str(policy.tablets["T-001"].mac)


def test_a_controller_speaks_and_the_engine_hears(feeds, policy):
    feeds.syslog(f"<190>Nov 22 06:00:00 UTC: {LINE.format(mac_of(policy))}".encode(), WLC)
    feeds._intake.take()
    seen = feeds._intake.presence.state.tablets[mac_of(policy)]
    assert (seen.ap, seen.area.name) == ("ap-car-301", "cardio-3")
    (name,) = feeds.look()
    assert name == "syslog:wlc-1"
    assert feeds.look()[name][2] is not None


def test_a_stranger_is_not_read_and_a_flood_is_cut_and_counted(feeds, monkeypatch):
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)
    feeds.syslog(b"<190>x: y", ip_address("192.0.2.1"))
    assert feeds._intake.dropped["unknown-sender"] == 1
    for number in range(2000):
        feeds.syslog(f"<190>wlc: {number}".encode(), WLC)
    dropped = feeds._intake.dropped
    assert dropped["rate"] + dropped["unparsed"] == 2000
    # In one moment a sender may say what it may say in two seconds.
    assert dropped["rate"] == 1000
    assert len(feeds.unparsed) == 50


def test_what_is_not_understood_is_shown_and_changes_nothing(feeds):
    feeds.syslog(b"<190>wlc: \x1b[31mhello", WLC)
    feeds.syslog(b"no priority", WLC)
    assert "\\x1b" in feeds.unparsed[0]
    assert all(text.isprintable() for text in feeds.unparsed)
    assert len(feeds._intake._waiting) == 0


def test_a_feed_that_falls_silent_is_stale(feeds, monkeypatch):
    feeds.syslog(b"<190>wlc: hello", WLC)
    assert not feeds.look()["syslog:wlc-1"][1]
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 3600)
    assert feeds.look()["syslog:wlc-1"][1]


def posted(feeds, *, key=b"a-secret-of-the-hospital"):
    """Return what a webhook of the cloud that is signed with a key is answered."""
    body = b'{"topic": "client-join", "events": []}'
    return feeds.webhook(
        "cloud", body, {"x-mist-signature-v2": hmac.new(key, body, sha256).hexdigest()}
    )


def test_what_nobody_has_signed_neither_keeps_a_feed_fresh_nor_takes_its_rate(feeds, monkeypatch):
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)
    assert [posted(feeds, key=b"x"), feeds.webhook("cloud", b"{}", {})] == [401, 401]
    feeds.trap(b"\x30", WLC)
    feeds.syslog(b"no priority", WLC)
    assert feeds.look() == {}
    assert posted(feeds) == 200
    monkeypatch.setattr(clock, "monotonic", lambda: 2500.0)
    assert {posted(feeds, key=b"x") for _ in range(2000)} == {401}
    assert feeds.look()["webhook:cloud"][1]
    # In one moment a sender may say what it may say in two seconds.
    assert [posted(feeds) for _ in range(1001)] == [200] * 1000 + [429]
    assert not feeds.look()["webhook:cloud"][1]


def test_so_much_in_vain_is_not_even_looked_at(feeds, monkeypatch):
    monkeypatch.setattr(clock, "monotonic", lambda: 1000.0)
    assert [posted(feeds, key=b"x") for _ in range(4001)] == [401] * 4000 + [429]
    assert posted(feeds) == 429
    for _ in range(4001):
        feeds.trap(b"\x30", WLC)
    assert feeds._intake.dropped["rate"] == 3
    monkeypatch.setattr(clock, "monotonic", lambda: 1001.0)
    assert posted(feeds) == 200


def test_who_is_no_longer_in_the_rules_is_not_silent(feeds, monkeypatch):
    """NG-1203 was raised until watch was restarted."""
    posted(feeds)
    for address in (WLC, ip_address("127.0.0.1")):
        feeds.syslog(b"<190>wlc: hello", address)
    assert sorted(feeds.look()) == ["syslog:127.0.0.1", "syslog:wlc-1", "webhook:cloud"]
    book = feeds._intake.book
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 3600)
    feeds._intake.book = replace(
        book, feeds=replace(book.feeds, syslog_sources=(ip_network("127.0.0.0/30"),), webhooks={})
    )
    assert sorted(feeds.look()) == ["syslog:127.0.0.1", "syslog:wlc-1"]
    feeds._intake.book = replace(book, nas=(), feeds=replace(book.feeds, syslog_sources=()))
    assert feeds.look() == {}


def test_of_many_senders_the_one_that_is_silent_longest_is_forgotten(feeds, monkeypatch):
    """A thousand addresses of a network, once each, kept every later one out for ever."""
    monkeypatch.setattr("netguard.daemon.feeds.MOST_SENDERS", 4)
    posted(feeds)
    feeds.syslog(b"<190>wlc: hello", WLC)
    for number in (1, 2, 1, 3, 4):
        feeds.syslog(b"<190>x: hello", ip_address(f"127.0.0.{number}"))
    left = ["syslog:127.0.0.3", "syslog:127.0.0.4", "syslog:wlc-1", "webhook:cloud"]
    assert sorted(feeds.look()) == left
    # What was never believed goes first.
    feeds.syslog(b"no priority", ip_address("127.0.0.5"))
    feeds.syslog(b"<190>x: hello", ip_address("127.0.0.6"))
    assert sorted(feeds.look()) == [*left[1:2], "syslog:127.0.0.6", *left[2:]]
    monkeypatch.setattr("netguard.daemon.feeds.MOST_SENDERS", 2)
    for number in (4, 6):
        del feeds._senders[f"syslog:127.0.0.{number}"]
    feeds.syslog(b"<190>x: hello", ip_address("127.0.0.7"))
    assert feeds._intake.dropped["too-many-senders"] == 1
    assert sorted(feeds.look()) == left[2:]


def test_a_trap_of_version_3_needs_a_user_whose_secrets_are_in_their_files(feeds, tmp_path):
    data = sent(tmp_path)
    feeds.trap(data, WLC)
    assert feeds.counts["snmp"] == 1
    feeds.trap(data[:-1] + bytes([data[-1] ^ 1]), WLC)
    feeds.trap(sent(tmp_path, level="authNoPriv"), WLC)
    dropped = feeds._intake.dropped
    assert (dropped["wrong-digest"], dropped["not-authpriv"]) == (1, 1)
    (tmp_path / "secrets" / "v3-auth").unlink()
    feeds.trap(data, WLC)
    assert dropped["unknown-user"] == 1
    assert feeds.counts["snmp"] == 1


def test_a_trap_needs_the_community(feeds, policy):
    from scapy.asn1.asn1 import ASN1_INTEGER

    from tests.core.test_snmp import AIRESPACE, trap

    mac = bytes.fromhex(mac_of(policy).replace(":", ""))
    bindings = (f"{AIRESPACE}.2.34.0", mac), ("1.3.6.1.4.1.14179.2.2.1.1.3.0", b"AP-CAR-301")
    let_go = (*bindings, (f"{AIRESPACE}.2.37.0", ASN1_INTEGER(4)))
    feeds.trap(trap(f"{AIRESPACE}.3.53", *bindings, community="public"), WLC)
    assert feeds._intake.dropped["wrong-community"] == 1
    feeds.trap(trap(f"{AIRESPACE}.3.53", *bindings, community="trap-secret"), WLC)
    assert [event.kind for event in feeds._intake._waiting] == ["associated"]
    feeds.trap(trap(f"{AIRESPACE}.3.1", *let_go, community="trap-secret"), WLC)
    assert feeds._intake._waiting[-1].reason == "inactivity"
    feeds.trap(b"\x30", WLC)
    assert "cut off" in feeds.unparsed[-1]


def listen(run):
    """Run with a free port of loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = free.getsockname()
    return asyncio.run(run(where))


async def until(done):
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110  # it is looked at from outside
            await asyncio.sleep(0.01)


def test_syslog_comes_by_udp_tcp_and_tls(feeds, policy, tmp_path):
    mac = mac_of(policy)
    line = f"<30>Nov 22 06:00:00 AP-CAR-302 hostapd: wlan0: AP-STA-CONNECTED {mac}".encode()
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=n"),
            *("-keyout", tmp_path / "tls.key", "-out", tmp_path / "tls.crt", "-days", "2"),
        ],
        check=True,
        capture_output=True,
    )
    waiting = feeds._intake._waiting

    async def run(where):
        transport = await listening.datagrams(where, feeds.syslog)
        plain = await listening.streams(where, feeds.stream)
        tls = await listening.streams(("127.0.0.1", 0), feeds.stream, listening.tls_of(tmp_path))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(line, where)
        await until(lambda: len(waiting) == 1)
        _, writer = await asyncio.open_connection(*where)
        writer.write(line + b"\n" + str(len(line)).encode() + b" " + line)
        await until(lambda: len(waiting) == 3)
        writer.close()
        context = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
        context.check_hostname = False
        reader, writer = await asyncio.open_connection(*tls.sockets[0].getsockname(), ssl=context)
        writer.write(line + b"\n999999999 x")
        await until(lambda: len(waiting) == 4)
        # A length that is none: hung up on.
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
        for server in (plain, tls):
            server.close()
        transport.close()

    listen(run)
    assert {event.ap for event in waiting} == {"ap-car-302"}
    with pytest.raises(UsageError, match=r"tls\.crt"):
        listening.tls_of(tmp_path / "log")


def test_webhooks_are_believed_only_when_signed(feeds, policy):
    event = {"mac": mac_of(policy), "ap_name": "AP-CAR-303", "timestamp": 1795000000}
    good = json.dumps({"topic": "client-join", "events": [event]}).encode()
    key = b"a-secret-of-the-hospital"

    async def run(where):
        runner = await web.serve_webhooks(where, feeds.webhook)

        async def post(body, *, name="cloud", content="application/json", secret=key):
            headers = {
                "Content-Type": content,
                "X-Mist-Signature-v2": hmac.new(secret, body, sha256).hexdigest(),
            }
            url = f"http://127.0.0.1:{where[1]}/webhook/{name}"
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=body, headers=headers) as answer,
            ):
                return answer.status

        found = [
            await post(good),
            await post(good, name="other"),
            await post(good, content="text/plain"),
            await post(good, secret=b"x"),
            await post(b"{"),
            await post(b"x" * 70_000),
        ]
        await runner.cleanup()
        return found

    assert listen(run) == [200, 404, 415, 401, 422, 413]
    assert [(each.kind, each.ap, each.site) for each in feeds._intake._waiting] == [
        ("associated", "ap-car-303", "pellegrin")
    ]


def test_addresses_are_what_people_write():
    assert str(listening.plain("::ffff:10.1.2.10")) == "10.1.2.10"
    assert str(listening.plain("fe80::1%eth0")) == "fe80::1"
