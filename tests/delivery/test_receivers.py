"""What real receivers make of our alerts: Alertmanager, rsyslog, Exim, webhooks, Apprise."""

import asyncio
import base64
import email
import hmac
import json
import ssl
import urllib.request
from email import policy
from hashlib import sha256
from pathlib import Path

import pytest

from netguard.core.presence.actions import CLEARED, UPDATED
from netguard.errors import Undelivered
from tests.delivery.conftest import (
    Failing,
    an_alertmanager,
    desk,
    free_port,
    serving,
    wait_until,
)

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def test_an_alertmanager_holds_a_theft_with_its_cause_and_lets_go_of_it_when_it_is_over(
    hand, alertmanager
):
    hand = hand(desk(alertmanager=(alertmanager.url,)))
    hand.post()
    asyncio.run(hand.turn())
    (alert,) = alertmanager.alerts()
    assert alert["labels"]["alertname"] == "NetguardTabletTaken"
    assert alert["labels"]["tablet"] == "T-001"
    assert (alert["labels"]["severity"], alert["labels"]["code"]) == ("critical", "NG-1101")
    assert (alert["annotations"]["probability"], alert["annotations"]["cause"]) == ("0.83", "taken")
    assert "it walked to an exit" in alert["annotations"]["description"]
    assert alert["status"]["state"] == "active"
    # Firing is sent again before it would end by itself, also after a start.
    asyncio.run(hand.turn())
    hand.delivery = hand.fresh()
    asyncio.run(begin_and_resend(hand))
    (again,) = alertmanager.alerts()
    assert again["fingerprint"] == alert["fingerprint"]
    assert again["endsAt"] >= alert["endsAt"]
    hand.post(kind=CLEARED, at=200.0)
    asyncio.run(hand.turn())
    assert alertmanager.alerts() == []
    assert hand.states() == ["sent", "sent"]


@pytest.mark.parametrize("restarted", [False, True])
def test_an_incident_that_goes_on_under_another_name_is_one_alert(hand, alertmanager, restarted):
    """First an outage, then a theft: for an Alertmanager these are two, and the first has to end."""
    hand = hand(desk(alertmanager=(alertmanager.url,)))
    hand.post(cause="outage")
    asyncio.run(hand.turn())
    assert [a["labels"]["code"] for a in alertmanager.alerts()] == ["NG-1104"]
    if restarted:
        hand.delivery = hand.fresh()
        asyncio.run(begin_and_resend(hand))
    hand.post(kind=UPDATED, at=110.0)
    asyncio.run(hand.turn())
    assert [a["labels"]["code"] for a in alertmanager.alerts()] == ["NG-1101"]
    # It is heard again elsewhere: what ends is what was said, whatever the end says of the place.
    hand.post(kind=CLEARED, at=120.0, area="cardio-3")
    asyncio.run(hand.turn())
    assert alertmanager.alerts() == []


async def begin_and_resend(hand):
    from netguard.adapters.store import Incident, Told

    row = Incident("T-001-90", "T-001", 90.0, None, "{}")
    hand.store.take("radius", {}, told=Told(at=0.0, incidents=(row,)))
    await hand.delivery._begin(hand.store, {"desk": hand.receiver})
    hand.now += 61
    assert hand.delivery._resending({"desk": hand.receiver}) == {("desk", "alertmanager")}
    await hand.turn()


def test_one_of_two_alertmanagers_is_enough(hand, alertmanager):
    hand = hand(desk(alertmanager=("http://127.0.0.1:1", alertmanager.url)))
    hand.post()
    asyncio.run(hand.turn())
    assert len(alertmanager.alerts()) == 1
    assert hand.states() == ["sent"]


@pytest.mark.parametrize("form", ["rfc5424", "cef"])
def test_rsyslog_understands_every_field(hand, rsyslog, form):
    hand = hand(desk(syslog=f"127.0.0.1:{rsyslog.plain}", format=form))
    notice = hand.post()
    asyncio.run(hand.turn())
    row = json.loads(wait_until(rsyslog.lines)[0])
    assert (row["pri"], row["host"], row["app"], row["id"]) == (
        "106",
        "gw-1",
        "netguard",
        "NG-1101",
    )
    if form == "cef":
        assert row["msg"].lstrip().startswith("CEF:0|netguard|netguard|")
        assert "|NG-1101|Tablet T-001 was probably taken|9|" in row["msg"]
        assert f"externalId={notice}" in row["msg"]
        assert "cs3=pellegrin/lobby/AP-LOB-01" in row["msg"]
    else:
        assert f'notice="{notice}"' in row["data"]
        assert 'tablet="T-001"' in row["data"]
        assert "Tablet T-001 was probably taken" in row["msg"]
    assert hand.states() == ["sent"]


def test_rsyslog_over_tls_and_not_with_a_certificate_that_nobody_vouches_for(
    hand, rsyslog, certificate, monkeypatch
):
    from netguard.adapters.notify import siem

    monkeypatch.setattr(siem, "TLS_PORT", rsyslog.tls)
    hand = hand(desk(syslog=f"localhost:{rsyslog.tls}"), authorities=certificate / "good.crt")
    hand.post()
    asyncio.run(hand.turn())
    assert "NG-1101" in wait_until(rsyslog.lines)[0]
    from dataclasses import replace

    hand.outgoing = replace(hand.outgoing, authorities=None)
    hand.delivery = hand.fresh()
    hand.post("T-002")
    asyncio.run(hand.turn())
    assert hand.states() == ["sent", "waiting"]
    assert len(rsyslog.lines()) == 1


def test_mail_goes_over_tls_with_a_password_as_one_thread(hand, exim, mail_server, certificate):
    hand = hand(
        desk(mail="desk@chu.example", language="fr"),
        mail=mail_server(exim.port),
        authorities=certificate / "good.crt",
    )
    hand.post()
    hand.post(kind=CLEARED, at=200.0)
    asyncio.run(hand.turn())
    found = wait_until(lambda: len(mails := exim.mails()) == 2 and mails)
    first, last = sorted(
        (email.message_from_string(text, policy=policy.default) for text in found),
        key=lambda mail: mail["In-Reply-To"] is not None,
    )
    assert first["Subject"] == "[netguard][CRITICAL] La tablette T-001 a sans doute été emportée"
    assert last["Subject"].endswith("La tablette T-001 est revenue")
    assert last["In-Reply-To"] == first["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"
    assert "Probabilité\u202f: 83\u202f%" in first.get_content()
    assert hand.states() == ["sent", "sent"]


@pytest.mark.parametrize(
    ("mail", "server", "state", "why"),
    [
        ("nobody@chu.example", {}, "dead", "nobody of that name"),
        ("desk@chu.example", {"password_file": "webhook-key"}, "waiting", "535"),
        ("desk@chu.example", {"user": "", "password_file": ""}, "dead", "sign in first"),
        ("desk@chu.example", {"tls": "tls"}, "waiting", ""),
    ],
)
def test_a_mail_server_that_says_no_is_believed_once_or_asked_again(
    hand, exim, mail_server, certificate, mail, server, state, why
):
    hand = hand(
        desk(mail=mail), mail=mail_server(exim.port, **server), authorities=certificate / "good.crt"
    )
    hand.post()
    asyncio.run(hand.turn())
    (row,) = hand.store.letters((state,))
    assert why in row.why
    assert exim.mails() == []


def test_without_a_mail_server_the_letter_waits_and_says_why(hand):
    hand = hand(desk(mail="desk@chu.example"))
    hand.post()
    asyncio.run(hand.turn())
    (row,) = hand.store.letters(("waiting",))
    assert "docs/settings.md" in row.why


def test_a_webhook_is_signed_and_everything_that_a_machine_needs_is_in_it(hand):
    async def go(hand, failing):
        async with serving(failing) as port:
            hand = hand(desk(webhook=f"http://127.0.0.1:{port}/x", secret_file="webhook-key"))
            id_ = hand.post()
            await hand.turn()
            return id_

    failing = Failing()
    id_ = asyncio.run(go(hand, failing))
    headers, body = failing.headers[0]
    key = b"a-key-of-the-hospital"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == expected
    assert headers["webhook-id"] == id_
    (told,) = failing.seen
    assert (told["version"], told["status"]) == ("4", "firing")
    (alert,) = told["alerts"]
    assert alert["netguard"]["probability"] == 0.83
    assert alert["netguard"]["reasons"] == [{"name": "walked-to-edge", "weight": 0.9, "detail": ""}]
    assert "3c:28:6d" not in body.decode(), "a MAC is nobody's business outside"


def test_a_webhook_over_tls_that_has_ended_is_not_trusted(hand, certificate):
    async def go(name):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / f"{name}.crt", certificate / f"{name}.key")
        failing = Failing()
        async with serving(failing, context) as port:
            made = hand(
                desk(webhook=f"https://localhost:{port}/x"), authorities=certificate / f"{name}.crt"
            )
            made.post("T-" + name)
            await made.turn()
            made.store.close()
            return len(failing.seen)

    assert asyncio.run(go("good")) == 1
    assert asyncio.run(go("ended")) == 0


def test_chat_goes_through_apprise(hand):
    async def go(failing):
        async with serving(failing) as port:
            made = hand(desk(chat_file="chat"))
            made.secrets.joinpath("chat").write_text(f"json://127.0.0.1:{port}/hook\n")
            made.post()
            await made.turn()
            failing.modes = [500]
            made.post("T-002")
            await made.turn()
            return made.states()

    failing = Failing()
    failing.ids = list
    assert asyncio.run(go(failing)) == ["sent", "waiting"]
    assert failing.seen[0]["title"] == "Tablet T-001 was probably taken"
    assert "Probability: 83 %" in failing.seen[0]["message"]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1:9/x", "no address that a receiver can have"),
        ("http://localhost:9/x", "no address that a receiver can have"),
        ("http://[::1]:9/x", "no address that a receiver can have"),
        ("http://[::ffff:127.0.0.1]:9/x", "no address that a receiver can have"),
        ("http://169.254.169.254/latest", "no address that a receiver can have"),
        ("http://0.0.0.0:9/", "no address that a receiver can have"),
        ("http://224.0.0.1/", "no address that a receiver can have"),
        ("http://2130706433:9/", ""),
    ],
)
def test_a_webhook_never_leads_back_into_the_appliance(hand, url, why):
    hand = hand(desk(webhook=url), anywhere=False)
    hand.post()
    asyncio.run(hand.turn())
    (row,) = hand.store.letters(("dead", "waiting"))
    assert why in row.why
    assert row.state == "dead" or why == ""


def test_the_appliances_own_address_is_none(monkeypatch):
    from netguard.adapters.notify import outgoing

    monkeypatch.setattr(outgoing, "_is_own", lambda *_: True)
    with pytest.raises(Undelivered, match="the appliance itself"):
        outgoing.refuse("10.1.2.3")


def test_a_name_is_judged_by_what_it_resolves_to_at_each_connection(hand, monkeypatch):
    """DNS rebinding: the first answer is fine, the second leads to the metadata service."""
    answers = ["192.0.2.1", "169.254.169.254"]

    async def getaddrinfo(self, host, port, **_):
        import socket

        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    from netguard.adapters.notify.outgoing import _Checked

    async def go():
        checked = _Checked()
        first = await checked.resolve("alerts.chu.example", 443)
        assert first[0]["host"] == "192.0.2.1"
        with pytest.raises(Undelivered, match=r"169\.254"):
            await checked.resolve("alerts.chu.example", 443)

    asyncio.run(go())


def test_who_is_blind_gives_one_message_the_shipped_configuration_holds_back_the_tablets(tmp_path):
    """150 tablets and the feed they are behind, posted to a real Alertmanager with our configuration."""
    names = [("NetguardBlind", "")] + [("NetguardTabletSilent", f"T-{n:03}") for n in range(150)]
    body = [
        {
            "labels": {
                "alertname": name,
                "site": "pellegrin",
                "tablet": tablet,
                "severity": "critical",
            }
        }
        for name, tablet in names
    ]
    body.append(
        {"labels": {"alertname": "NetguardTabletSilent", "site": "haut-leveque", "tablet": "T-900"}}
    )
    config = Path(__file__).parents[2] / "deploy" / "prometheus" / "alertmanager.yml"
    with an_alertmanager(tmp_path, free_port(), config) as manager:
        request = urllib.request.Request(
            f"{manager.url}/api/v2/alerts",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request, timeout=10).close()

        def states():
            found = {True: [], False: []}
            for alert in manager.alerts():
                tablet = alert["labels"].get("tablet", "the feed")
                found[bool(alert["status"]["inhibitedBy"])].append(tablet)
            return found

        wait_until(lambda: len(states()[True]) == 150)
        assert sorted(states()[False]) == ["T-900", "the feed"], "another site is another story"
