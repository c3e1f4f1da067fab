"""A real FreeRADIUS sends each tablet's Wi-Fi key as its NAS takes it; radclient and pyrad read it, not our own code."""

import asyncio
import os
import re
import socket
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from time import monotonic, sleep

import pytest
from pyrad.packet import AuthPacket
from pyrad.packet import Packet as PyradPacket

from netguard.adapters import radius as control
from netguard.core import psk, radius
from netguard.core.plan import compile_plan
from netguard.core.psk import FORMS, Form
from netguard.core.radius import Code, Type
from netguard.daemon import proof, psks
from netguard.daemon.radius_server import RadiusServer
from netguard.render import freeradius
from netguard.settings import Paths, Settings
from tests.radius.conftest import NOBODY, PATIENCE, SECRET, a_server
from tests.radius.test_freeradius import swap

# Every printable character that a network takes, in three keys; the last has what files and unlang make much of.
KEYS = (
    "kchq-p76n-rk4h-qdvm",
    "~}|{zyxwvutsrqponmlkjihgfedcba_^]",
    "a 'b' #c ;d ,e {f} &g @h =i 0x1",
)


@pytest.fixture(scope="module")
def policy(example):
    """One site with a NAS of every product that takes a key, and one that takes none."""
    site = example.sites["pellegrin"]
    (own,) = site.nas.values()
    vendors = (*sorted(FORMS), "unifi")
    nas = {
        vendor: replace(
            own, name=vendor, vendor=vendor, psk=vendor in FORMS, secret_file=vendor,
            address=ip_network(f"127.0.0.{number}"),
        )
        for number, vendor in enumerate(vendors, 1)
    }  # fmt: skip
    groups = {name: replace(group, hours=None) for name, group in example.groups.items()}
    return replace(example, sites={"pellegrin": replace(site, nas=nas)}, groups=groups)


@pytest.fixture(scope="module")
def tablets(policy):
    """Three tablets that may join, by id."""
    may = [t.id for t in policy.tablets.values() if "pellegrin" in policy.groups[t.group].sites]
    return may[:3]


@contextmanager
def running(policy, keys, loans=None):
    plan = compile_plan(policy, ["pellegrin"], loans or {})
    with a_server() as server:
        (server.folder / "secrets").mkdir()
        for name in policy.sites["pellegrin"].nas:
            text = f"secret = {SECRET.decode()}\n"
            (server.folder / "secrets" / f"{name}.conf").write_text(text)
        for name, text in (
            ("tablets", freeradius.tablets(plan)),
            ("areas", freeradius.areas(plan)),
            ("psk", freeradius.psk(plan, keys)),
            ("clients.conf", freeradius.clients(plan, str(server.folder / "secrets"))),
        ):
            (server.data / name).write_text(text)
        server.give_away()
        server.start()
        yield server


@pytest.fixture(scope="module")
def server(policy, tablets):
    with running(policy, dict(zip(tablets, KEYS, strict=True))) as running_server:
        yield running_server


def source(policy, vendor):
    return str(policy.sites["pellegrin"].nas[vendor].address.network_address)


def asked_by_radclient(policy, server, vendor, tablet) -> str:
    """What radclient, which shares no code with ours, shows of the answer."""
    mac = str(policy.tablets[tablet].mac)
    request = (
        f'User-Name = "{mac}"\nCalling-Station-Id = "{mac}"\nUser-Password = "x"\n'
        f"Packet-Src-IP-Address = {source(policy, vendor)}\nMessage-Authenticator = 0x00\n"
    )
    done = subprocess.run(
        ["radclient", "-x", "-r", "1", "-t", "5", f"127.0.0.1:{server.auth}", "auth", SECRET.decode()],
        input=request, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert "Received Access-Accept" in done.stdout, done.stdout + done.stderr
    return done.stdout.split("Received Access-Accept", 1)[1]


def shown(form, ssid, key) -> list[str]:
    """How radclient writes what each product gets."""
    text = key.replace("\\", "\\\\").replace('"', '\\"')
    if form == Form.TUNNEL_PASSWORD:
        return [f'Tunnel-Password:0 = "{text}"']
    if form == Form.CISCO:
        return ['Cisco-AVPair = "psk-mode=ascii"', f'Cisco-AVPair = "psk={text}"']
    if form == Form.ARUBA:
        return [
            f"Aruba-MPSK-Passphrase = 0x{key.encode().hex()}",
            f'Aruba-MPSK-Passphrase = "{text}"',
        ]
    if form == Form.MIKROTIK:
        return [f'Mikrotik-Wireless-PSK = "{text}"']
    return [f"Ruckus-DPSK = 0x{psk.values(form, ssid, key)[0][1].hex()}"]


ATTRIBUTES = ("Tunnel-Password", "psk", "Aruba-MPSK", "Mikrotik-Wireless", "Ruckus-D")


@pytest.mark.parametrize("number", range(len(KEYS)))
@pytest.mark.parametrize("vendor", sorted(FORMS))
def test_each_product_gets_the_key_in_its_attribute_and_in_no_other(
    policy, server, tablets, vendor, number
):
    said = asked_by_radclient(policy, server, vendor, tablets[number])
    lines = [line.strip() for line in said.splitlines()]
    found = [line for line in lines if any(line.lower().startswith(a.lower()) or "psk" in line for a in ATTRIBUTES)]  # fmt: skip
    wanted = shown(FORMS[vendor], policy.sites["pellegrin"].ssid, KEYS[number])
    if FORMS[vendor] == Form.ARUBA:
        # Octets or text, as the dictionary of this FreeRADIUS has it.
        assert len(found) == 1, said
        assert found[0].lower() in {each.lower() for each in wanted}
    else:
        assert [line.lower() for line in found] == [line.lower() for line in wanted]
    assert 'Tunnel-Private-Group-Id:0 = "640"' in lines


@pytest.mark.parametrize("vendor", ["hostapd", "aruba-controller"])
def test_what_is_hidden_is_read_by_pyrad_and_its_salt_is_new_each_time(
    policy, server, tablets, vendor
):
    key, mac = KEYS[0], str(policy.tablets[tablets[0]].mac)
    salts = set()
    for identifier in range(4):
        request = AuthPacket(
            id=identifier, secret=SECRET, authenticator=AuthPacket.CreateAuthenticator()
        )
        packet = radius.access_request(
            identifier, request.authenticator, SECRET,
            (radius.text(Type.USER_NAME, mac), radius.text(Type.CALLING_STATION_ID, mac)), b"x",
        )  # fmt: skip
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nas:
            nas.bind((source(policy, vendor), 0))
            nas.settimeout(5)
            nas.sendto(packet, ("127.0.0.1", server.auth))
            raw = nas.recv(4096)
        reply = radius.decode(raw)
        if vendor == "hostapd":
            hidden = reply.first(Type.TUNNEL_PASSWORD)
            assert hidden[0] == 0, "untagged"
            hidden = hidden[1:]
        else:
            (hidden,) = [v[6:] for v in reply.all(Type.VENDOR_SPECIFIC) if v[:5] == (14823).to_bytes(4) + b"\x2c"]  # fmt: skip
        assert key.encode() not in raw, "it is hidden on the wire"
        reader = PyradPacket(
            code=2, id=identifier, secret=SECRET, authenticator=request.authenticator
        )
        assert reader.SaltDecrypt(hidden) == key.encode()
        salts.add(hidden[:2])
    assert len(salts) > 1


def test_a_nas_without_the_rule_gets_no_key(policy, server, tablets):
    said = asked_by_radclient(policy, server, "unifi", tablets[0])
    assert not [a for a in ATTRIBUTES if a in said]


def ask(policy, server, vendor, tablet):
    return server.ask(str(policy.tablets[tablet].mac), source=source(policy, vendor))


def test_a_tablet_that_has_no_key_is_rejected_where_one_is_wanted(policy, server, tablets):
    other = next(t for t in policy.tablets if t not in tablets and "pellegrin" in policy.groups[policy.tablets[t].group].sites)  # fmt: skip
    reply, event = server.event_of(ask, policy, server, "hostapd", other)
    assert (reply.code, event["rule"]) == (Code.ACCESS_REJECT, "no-psk")
    assert ask(policy, server, "unifi", other).code == Code.ACCESS_ACCEPT


def test_no_key_goes_with_a_reject_or_an_answer_to_accounting(policy, tablets):
    one, other, third = tablets
    keys = dict(zip(tablets, KEYS, strict=True))
    with running(policy, keys, {one: "stolen", other: "quarantined"}) as server:
        for vendor in sorted(FORMS):
            reply = ask(policy, server, vendor, one)
            assert reply.code == Code.ACCESS_REJECT
            assert psk.all_said(reply, server.authenticator, SECRET) == {}
        # In its quarantine VLAN it has to get in.
        reply = ask(policy, server, "hostapd", other)
        assert radius.vlan_of(reply) == "641"
        assert len(psk.all_said(reply, server.authenticator, SECRET)) == 1
        mac = str(policy.tablets[third].mac).upper().replace(":", "-")
        reply = server.account(mac=mac, source=source(policy, "hostapd"))
        assert reply.code == Code.ACCOUNTING_RESPONSE
        assert not reply.attributes


def test_no_key_is_in_what_freeradius_writes_and_the_hostile_find_no_entry(policy, server, tablets):
    for tablet in tablets:
        ask(policy, server, "cisco-9800", tablet)
    for name in ("pellegrin/tunnel-password/3c:28:6d:aa:01:10", "psk", "%{control:Netguard-Psk}"):
        assert server.ask(name, source=source(policy, "hostapd")).code == Code.ACCESS_REJECT
    written = b"".join(server.lines()) + (server.folder / "stdout").read_bytes()
    for key in KEYS:
        assert key.encode() not in written
        assert key.encode().hex().encode() not in written


def test_a_rotated_key_is_sent_after_a_reload_of_its_module_alone(policy, tablets):
    plan = compile_plan(policy, ["pellegrin"])
    with running(policy, {tablets[0]: KEYS[0]}) as server:
        assert key_of(policy, server, tablets[0]) == KEYS[0]
        swap(server.data / "psk", freeradius.psk(plan, {tablets[0]: KEYS[1]}))
        server.give_away()
        end = monotonic() + PATIENCE
        while key_of(policy, server, tablets[0]) != KEYS[1]:
            assert monotonic() < end, "the new key is never sent"
            asyncio.run(control.reload(server.run / "control" / "netguard.sock"))
            sleep(0.25)


def key_of(policy, server, tablet):
    said = asked_by_radclient(policy, server, "hostapd", tablet)
    return re.search(r'Tunnel-Password:0 = "([^"]*)"', said)[1]


def test_guard_sees_that_a_key_is_sent_and_that_another_one_is_not_the_same(policy, tablets):
    """guard's own way: written, loaded through the control socket, and shown by asking."""
    plan = compile_plan(policy, ["pellegrin"])
    held = dict.fromkeys(psks.tablets(plan), KEYS[0])
    with running(policy, held) as server:
        # What guard writes there is its readers' group's.
        os.chown(server.data, -1, NOBODY)
        server.data.chmod(0o2775)
        paths = Paths(
            radius=server.data,
            radius_control=server.run / "control" / "netguard.sock",
            radius_secrets=server.folder / "secrets",
        )
        settings = replace(
            Settings("n", ("pellegrin",)), paths=paths, radius_self=("127.0.0.1", server.own)
        )
        guard = RadiusServer(settings, lambda _: held)
        asyncio.run(guard.bring(plan))
        assert (guard.pending, guard.problems()) == (False, {})
        noted = (server.data / "psk.proven").read_text()
        assert not [key for key in KEYS if key in noted]
        held = {**held, tablets[0]: KEYS[1]}
        asyncio.run(guard.bring(plan))
        assert (guard.pending, key_of(policy, server, tablets[0])) == (False, KEYS[1])
        assert RadiusServer(settings, lambda _: held).pending is False, "the next guard knows"
        subjects = [("pellegrin", str(policy.tablets[t].mac)) for t in tablets]
        assert proof.disagreement(settings, plan, subjects, held) == ""
        assert proof.disagreement(settings, plan, subjects, None) == ""
        wrong = {**held, tablets[1]: KEYS[2]}
        said = proof.disagreement(settings, plan, subjects, wrong)
        assert said.startswith("it sends another Wi-Fi key for ")
        assert not [key for key in KEYS if key in said]
        fewer = {tablet: key for tablet, key in held.items() if tablet != tablets[2]}
        assert "the plan says reject" in proof.disagreement(settings, plan, subjects, fewer)
        # Where nobody can say what the keys are, those that FreeRADIUS has stay.
        before = (server.data / "psk").read_text()
        lost = RadiusServer(settings, lambda _: None)
        asyncio.run(lost.bring(plan))
        assert (server.data / "psk").read_text() == before
        assert key_of(policy, server, tablets[0]) == KEYS[1]
