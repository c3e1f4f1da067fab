"""Two judges: the core says who is admitted, and a real FreeRADIUS with the rendered files is asked the same."""

import random
from dataclasses import replace
from datetime import date
from ipaddress import ip_network
from pathlib import Path

import pytest

from netguard.core import radius
from netguard.core.admission import Request, decide
from netguard.core.plan import compile_plan
from netguard.core.radius import Code, Type
from netguard.render import freeradius
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from tests.radius.conftest import SECRET, a_server

ROOT = Path(__file__).parents[2]
SOURCES = {}  # NAS -> the loopback address that stands for it


@pytest.fixture(scope="module")
def policy():
    """The example hospital, with its NASes on loopback, and a group that one site refuses."""
    loaded = load(read_folder(ROOT / "rules"), today=date(2026, 11, 20))
    policy = loaded.policy
    assert policy is not None
    sites = {}
    for name, site in policy.sites.items():
        moved = {}
        for nas in site.nas.values():
            SOURCES.setdefault(nas.name, f"127.0.0.{len(SOURCES) + 1}")
            moved[nas.name] = replace(nas, address=ip_network(SOURCES[nas.name]))
        sites[name] = replace(site, nas=moved)
    return replace(policy, sites=sites)


@pytest.fixture(scope="module")
def judged(policy):
    """A FreeRADIUS that answers from what is rendered for this policy."""
    plan = compile_plan(policy, policy.sites)
    with a_server() as server:
        secrets = server.folder / "secrets"
        secrets.mkdir()
        for site in policy.sites.values():
            for nas in site.nas.values():
                text = f"secret = {SECRET.decode()}\n"
                (secrets / f"{nas.secret_file}.conf").write_text(text)
        (server.data / "tablets").write_text(freeradius.tablets(plan))
        (server.data / "areas").write_text(freeradius.areas(plan))
        (server.data / "clients.conf").write_text(freeradius.clients(plan, str(secrets)))
        server.give_away()
        server.start()
        yield server


def requests(policy):
    """Every tablet at every NAS, then requests that are wrong in each way there is."""
    spell = random.Random(7)
    spellings = (
        lambda mac: mac,
        lambda mac: mac.upper(),
        lambda mac: mac.replace(":", "-").upper(),
        lambda mac: mac.replace(":", ""),
        lambda mac: f"{mac[0:2]}{mac[3:5]}.{mac[6:8]}{mac[9:11]}.{mac[12:14]}{mac[15:17]}",
    )
    for site in policy.sites.values():
        for nas in site.nas:
            here = f"70-3A-0E-00-00-01:{site.ssid}"
            for tablet in policy.tablets.values():
                mac = str(tablet.mac)
                user, calling = spell.choice(spellings)(mac), spell.choice(spellings)(mac)
                yield (
                    nas,
                    {"User-Name": user, "Calling-Station-Id": calling, "Called-Station-Id": here},
                )
            known = str(next(iter(policy.tablets.values())).mac)
            both = {"User-Name": known, "Calling-Station-Id": known}
            for called in (
                "70-3A-0E-00-00-01:CHU-INVITES",
                "70:3a:0e:00:00:01",
                "703a0e000001:x:y",
            ):
                yield nas, {**both, "Called-Station-Id": called}
            yield nas, {"User-Name": known}
            yield nas, {**both, "EAP-Message": "eap"}
            yield nas, {**both, "User-Name": "nurse"}
            yield nas, {**both, "Calling-Station-Id": "nothing"}
            for mac in ("3c:28:6d:ff:00:66", "3e:28:6d:ff:00:66"):
                yield nas, {"User-Name": mac, "Calling-Station-Id": mac}


KINDS = {
    "User-Name": Type.USER_NAME,
    "Calling-Station-Id": Type.CALLING_STATION_ID,
    "Called-Station-Id": Type.CALLED_STATION_ID,
    "EAP-Message": Type.EAP_MESSAGE,
}


def test_freeradius_and_the_core_decide_every_request_alike(policy, judged):
    asked = list(requests(policy))
    answers = set()
    for nas, attributes in asked:
        wanted = decide(policy, Request(nas, attributes))
        sent = tuple(radius.text(KINDS[name], value) for name, value in attributes.items())
        password = None if "EAP-Message" in attributes else b"x"
        reply, event = judged.event_of(
            judged.send, Code.ACCESS_REQUEST, sent, source=SOURCES[nas], password=password
        )
        got = "accept" if reply.code == Code.ACCESS_ACCEPT else "reject"
        vlan = radius.vlan_of(reply)
        assert (got, vlan and int(vlan)) == (wanted.answer, wanted.vlan), (nas, attributes, event)
        assert (event["answer"], event["rule"]) == (wanted.answer, wanted.rule), (nas, attributes)
        answers.add(wanted.rule)
    assert {
        "eap",
        "not-mac-authentication",
        "unknown-mac",
        "private-mac",
        "other-network",
    } <= answers
    assert {"patients/admit"} <= answers
    assert any(rule.endswith("/sites") for rule in answers)
