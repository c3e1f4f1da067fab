"""Two judges: the core says who is admitted, and a real FreeRADIUS with the rendered files is asked the same."""

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from ipaddress import ip_network
from types import MappingProxyType

import pytest

from netguard.adapters import clock
from netguard.core import psk, radius
from netguard.core.admission import Request, decide, mac_of
from netguard.core.names import Mac
from netguard.core.plan import compile_plan
from netguard.core.policy import Area
from netguard.core.radius import Code, Type
from netguard.core.week import Hours, Window
from netguard.lab import shapes
from netguard.lab.world import midday
from netguard.render import freeradius, radius_hours
from tests.radius.conftest import SECRET, a_server

REQUESTS = 1200
LOANS = MappingProxyType(
    {
        "T-001": "lost",
        "T-002": "stolen",
        "T-003": "retired",
        "T-004": "lent",
        "T-005": "quarantined",
        "T-006": "quarantined",
    }
)
# Written as a NAS would name them, plain and less so.
NAMES = ["AP-CAR-301", "Étage 3, aile B", "bat:3", "AP_%2A", "ap.icu-1", "AP-OPEN", "3c286d-aa0110"]
BSSIDS = ["70:3a:0e:00:00:01", "70:3a:0e:11:22:33", "70:3a:0e:11:99:01", "88:99:aa:bb:cc:dd", "02:00:00:00:00:01"]  # fmt: skip
SSIDS = ["CHU-TABLETTES", "CHU-TABLETTES", "CHU-TABLETTES", "CHU-INVITES", "chu-tablettes", "CHU:TABLETTES", "a:b:c", "Hôpital", "CHU-TABLETTES ", 'say "x"', "back\\slash", "CHU-TABLETTES\n", "x" * 33, "%{User-Name}"]  # fmt: skip


def spelled(mac: str) -> list[str]:
    digits = mac.replace(":", "")
    quads = [digits[0:4], digits[4:8], digits[8:12]]
    found = [mac, mac.replace(":", "-"), digits, ".".join(quads), "-".join(quads)]
    found += [f"{digits[:6]}-{digits[6:]}", f"{digits[:6]}:{digits[6:]}"]
    return found + [text.upper() for text in found]


def no_mac(mac: str) -> list[str]:
    digits = mac.replace(":", "")
    return [
        digits[:-1],
        digits + "0",
        mac.replace(":", "-", 1),
        mac.replace(":", "."),
        mac + "\n",
        mac + "\0",
        digits + "\n",
        mac.replace(":", "-") + "\n",
        f"{mac}:CHU",
        "meraki_8021x_test",
        "dummy",
        "automate-tester",
        "nurse",
    ]


@dataclass(frozen=True)
class Asked:
    """One request as it is sent, and as the judge reads it."""

    nas: str
    sent: radius.Attributes
    password: bytes | None
    read: dict[str, tuple[str, ...]]


PLAIN = {
    Type.USER_NAME: "User-Name",
    Type.CALLING_STATION_ID: "Calling-Station-Id",
    Type.CALLED_STATION_ID: "Called-Station-Id",
    Type.NAS_IDENTIFIER: "NAS-Identifier",
    Type.EAP_MESSAGE: "EAP-Message",
}
VENDOR = {
    (14823, 6): "Aruba-Location-Id",
    (29671, 3): "Meraki-Ap-Name",
    (12356, 8): "Fortinet-AP-Name",
    (14823, 5): "Aruba-Essid-Name",
    (25053, 3): "Ruckus-SSID",
    (12356, 7): "Fortinet-SSID",
}


def read(sent: radius.Attributes) -> dict[str, tuple[str, ...]]:
    """What the judge sees of what is sent, under the names of FreeRADIUS' dictionaries."""
    found: dict[str, tuple[str, ...]] = {}
    for kind, value in sent:
        name, data = PLAIN.get(kind, ""), value
        if kind == Type.VENDOR_SPECIFIC:
            name, data = VENDOR[int.from_bytes(value[:4]), value[4]], value[6:]
        text = data.decode("utf-8", "surrogateescape")
        if kind == Type.NAS_IP_ADDRESS:
            name, text = "NAS-IP-Address", ".".join(map(str, value))
        if name:
            found[name] = (*found.get(name, ()), text)
    return found


def nases(own: str, site: str) -> dict[str, str]:
    """The NASes of a site by name, each with its vendor where tablets have a key of their own."""
    vendors = ("cisco-9800", "ruckus", "hostapd", "aruba-controller", "mikrotik", "meraki")
    return {own: "", **{f"{site}-{vendor}": vendor for vendor in vendors}}


def hospital(policy, sources: dict[str, str]):
    """The example hospital with everything that can decide: areas closed to a group by name, by BSSID
    and by pattern, an enrolment VLAN at one site, a site that lets other networks be, a short session."""
    sites = {}
    for name, site in sorted(policy.sites.items()):
        (own,) = site.nas.values()
        # Its own NAS gives no tablet a key, the others each in the form of its product.
        sites[name] = replace(
            site,
            nas={
                nas: replace(
                    own,
                    name=nas,
                    address=ip_network(sources[nas]),
                    vendor=vendor or own.vendor,
                    psk=bool(vendor),
                )
                for nas, vendor in nases(own.name, site.name).items()
            },
        )
    first, second = (sites[name] for name in sorted(sites, key=lambda name: sites[name].vlan))
    first = replace(
        first,
        enrolment_vlan=642,
        other_networks="reject",
        interim=timedelta(seconds=600),
        areas={
            "closed-name": Area(
                "closed-name", "", ("ap.icu-1", "Étage 3, aile B", "10.1.2.77"), closed_to=("demo",)
            ),
            "closed-bssid": Area(
                "closed-bssid", "", ("70-3A-0E-11-22-33",), closed_to=("demo", "patients")
            ),
            "closed-pattern": Area(
                "closed-pattern", "", ("70:3a:0e:11:*", "bat:3"), closed_to=("patients",)
            ),
            "cardio": Area("cardio", "", ("AP-CAR-301", "AP_%2A", "70:3a:*")),
        },
    )
    second = replace(
        second,
        enrolment_vlan=None,
        other_networks="allow",
        areas={
            "entrance": Area("entrance", "", ("AP-OPEN",), closed_to=("family-room",)),
            "cardio": Area("cardio", "", ("AP-CAR-301",)),
        },
    )
    groups = {
        **policy.groups,
        "demo": replace(policy.groups["demo"], hours=None, session_timeout=timedelta(hours=2)),
        "family-room": replace(policy.groups["family-room"], hours=None),
    }
    defaults = replace(policy.defaults, unknown_mac="enrol")
    return replace(
        policy,
        sites={first.name: first, second.name: second},
        groups=groups,
        defaults=defaults,
    )


@pytest.fixture(scope="module")
def sources(example):
    return addresses(example)


def addresses(example) -> dict[str, str]:
    """An address on loopback for each NAS."""
    names = sorted(
        nas for site in example.sites.values() for own in site.nas for nas in nases(own, site.name)
    )
    return {name: f"127.0.0.{number + 1}" for number, name in enumerate(names)}


@pytest.fixture(scope="module")
def policy(example, sources):
    return elsewhere(hospital(example, sources), midday(clock.now().hour))


def elsewhere(policy, zone: str):
    """The same with all its sites in a time zone."""
    sites = {name: replace(site, time_zone=zone) for name, site in policy.sites.items()}
    return replace(policy, sites=sites)


def keys(policy) -> dict[str, str]:
    """A key for each tablet, the same in every call."""
    dice = random.Random(2868)
    return {id_: psk.generate(dice.choice) for id_ in sorted(policy.tablets)}


@contextmanager
def answering(
    policy,
    change: Callable[[str, str], str] = lambda _, text: text,
    through: tuple[str, ...] = (),
):
    """A FreeRADIUS that answers from what is rendered for this policy; `change` may plant a difference."""
    plan = compile_plan(policy, policy.sites, LOANS)
    with a_server() as server:
        secrets = server.folder / "secrets"
        secrets.mkdir()
        for site in policy.sites.values():
            for nas in site.nas.values():
                text = f"secret = {SECRET.decode()}\n"
                (secrets / f"{nas.secret_file}.conf").write_text(text)
        for name, text in (
            ("tablets", freeradius.tablets(plan)),
            ("areas", freeradius.areas(plan)),
            ("hours", radius_hours.hours(plan)),
            ("psk", freeradius.psk(plan, keys(policy))),
            ("clients.conf", freeradius.clients(plan, str(secrets))),
        ):
            (server.data / name).write_text(change(name, text))
        server.through = through
        server.give_away()
        server.start()
        yield server


@pytest.fixture(scope="module")
def judged(policy):
    with answering(policy) as server:
        yield server


def generated(policy, dice: random.Random, count: int) -> list[Asked]:
    """Requests of every vendor, most of them right, each wrong in some way now and then."""
    nases = sorted(nas for site in policy.sites.values() for nas in site.nas)
    tablets = sorted(str(tablet.mac) for tablet in policy.tablets.values())
    lost = [str(policy.tablets[id_].mac) for id_ in LOANS]
    vendors = sorted(shapes.VENDORS)
    return [
        one_request(dice, vendors[number % len(vendors)], dice.choice(nases), tablets, lost)
        for number in range(count)
    ]


def one_request(dice, vendor, nas, tablets, lost) -> Asked:
    mac = dice.choice(tablets)
    if dice.random() < 0.1:
        mac = dice.choice([*lost, "3c:28:6d:ff:00:66", "3e:28:6d:ff:00:66", "00:00:00:00:00:00"])
    ap, bssid, ssid = dice.choice(NAMES), dice.choice(BSSIDS), dice.choice(SSIDS)
    sent = list(
        shapes.attributes(
            vendor,
            mac,
            bssid=bssid,
            ap=ap,
            ssid=ssid[:32],
            nas=dice.choice([*NAMES, *spelled(bssid), f"{bssid}:vap3", "wlc", "bat:3", ":x", "n" * 65]),
            address=bytes(dice.choice([(10, 1, 2, 10), (10, 1, 2, 77)])),
        )
    )  # fmt: skip
    for _ in range(dice.choice([0, 0, 0, 1, 1, 2, 3])):
        dice.choice(
            [spell_again, break_the_mac, call_otherwise, repeat, leave_out, name_the_ap, network]
        )(dice, sent, mac, ap, bssid, ssid)
    password: bytes | None = dice.choice([shapes.password(vendor, mac), b"", b"fixed", b"p" * 128])
    if dice.random() < 0.03:
        sent.append(radius.text(Type.EAP_MESSAGE, bytes([2, 1, 0, 17, 1]) + b"3c286daa0110"))
        password = None
    return Asked(nas, tuple(sent), password, read(tuple(sent)))


def put(sent, kind, text: str) -> None:
    """Replace the first attribute of a kind, or add it."""
    made = radius.text(kind, text.encode("utf-8", "surrogateescape")[:253])
    at = next((n for n, (known, _) in enumerate(sent) if known == kind), len(sent))
    sent[at : at + 1] = [made]


def spell_again(dice, sent, mac, *_):
    put(sent, Type.USER_NAME, dice.choice(spelled(mac)))
    put(sent, Type.CALLING_STATION_ID, dice.choice(spelled(mac)))


def break_the_mac(dice, sent, mac, *_):
    kind = dice.choice([Type.USER_NAME, Type.CALLING_STATION_ID])
    put(sent, kind, dice.choice(no_mac(mac)))


def call_otherwise(dice, sent, mac, ap, bssid, ssid):
    head = dice.choice([ap, *spelled(bssid), *no_mac(bssid)[:4], "n" * 65, "", "\xc9tage"])
    tail = dice.choice([f":{ssid}", f":{ssid}", "", ":"])
    put(sent, Type.CALLED_STATION_ID, (head + tail) or ":")


def repeat(dice, sent, mac, ap, bssid, ssid):
    """A second and third value of an attribute, before or behind the first."""
    kind, texts = dice.choice(
        [
            (Type.CALLING_STATION_ID, [*spelled(mac), "10.0.0.7", "02:11:22:33:44:55"]),
            (Type.CALLED_STATION_ID, [f"{ap}:{ssid}", f"{bssid}:{ssid}", bssid, ap, "10.1.2.3"]),
            (Type.USER_NAME, spelled("02:11:22:33:44:55")),
            (Type.NAS_IDENTIFIER, [ap, bssid]),
        ]
    )
    for _ in range(dice.choice([1, 1, 2, 3])):
        at = dice.choice([0, len(sent)])
        sent.insert(at, radius.text(kind, dice.choice(texts)))


def leave_out(dice, sent, *_):
    if len(sent) > 1:
        del sent[dice.randrange(len(sent))]


def name_the_ap(dice, sent, mac, ap, bssid, ssid):
    attribute = dice.choice([(14823, 6), (29671, 3), (12356, 8)])
    name = dice.choice([ap, *spelled(bssid), "n" * 65, 'q"', "b\\", "nul\0", "70:3a:0e:11:zz", "70:3a:*", "*", "ÉTAGE 3, aile b", ap.upper()])  # fmt: skip
    sent.insert(dice.choice([0, len(sent)]), radius.vendor(*attribute, name))


def network(dice, sent, mac, ap, bssid, ssid):
    attribute = dice.choice([(14823, 5), (25053, 3), (12356, 7)])
    sent.insert(dice.choice([0, len(sent)]), radius.vendor(*attribute, ssid))


def difference(policy, server, asked: Asked, sources, rules: Counter) -> str:
    """Ask both; return in which word they differ, or an empty text."""
    wanted = decide(policy, Request(asked.nas, asked.read), LOANS, clock.now())
    reply, event = server.event_of(
        server.send,
        Code.ACCESS_REQUEST,
        asked.sent,
        source=sources[asked.nas],
        password=asked.password,
    )
    rules[wanted.rule] += 1
    if reply is None or event is None:
        return f"no answer or no line, wanted {wanted.answer} by {wanted.rule}"
    vlan = radius.vlan_of(reply)
    got = (
        "accept" if reply.code == Code.ACCESS_ACCEPT else "reject",
        int(vlan) if vlan else None,
        event["rule"],
        number(reply, Type.ACCT_INTERIM_INTERVAL),
    )
    said = (wanted.answer, wanted.vlan, wanted.rule, wanted.interim)
    if got != said or (event["answer"], event["vlan"]) != (got[0], vlan or ""):
        return f"{got} and {event}, wanted {said}"
    sent = psk.all_said(reply, server.authenticator, SECRET)
    if sent != (said_keys := key_of(policy, asked, wanted)):
        return f"Wi-Fi key {sent}, wanted {said_keys}"
    # A second may pass on either side between the two looks at the clock.
    after = decide(policy, Request(asked.nas, asked.read), LOANS, clock.now())
    timeout = number(reply, Type.SESSION_TIMEOUT)
    most, least = wanted.session_timeout, after.session_timeout
    if (timeout is None) != (most is None):
        return f"Session-Timeout {timeout}, wanted {most}"
    if timeout is not None and not (least or 0) - 1 <= timeout <= (most or 0) + 1:
        return f"Session-Timeout {timeout}, wanted {least} to {most}"
    return ""


def key_of(policy, asked: Asked, wanted) -> dict:
    """What the answer to a request has to carry of Wi-Fi keys: that of its tablet, in the NAS's form."""
    if wanted.psk is None:
        return {}
    mac = mac_of(asked.read)
    tablet = next(t.id for t in policy.tablets.values() if t.mac == mac)
    ssid = next(site.ssid for site in policy.sites.values() if asked.nas in site.nas)
    return {wanted.psk: psk.values(wanted.psk, ssid, keys(policy)[tablet])}


def number(reply: radius.Packet, kind: int) -> int | None:
    value = reply.first(kind)
    return int.from_bytes(value) if value is not None else None


def seed() -> int:
    return int(os.environ.get("NETGUARD_SEED", random.randrange(2**32)))


def differences(policy, server, start: int, count: int, sources) -> tuple[list[str], Counter]:
    """Ask both judges the same."""
    rules, found = Counter(), []
    for asked in generated(policy, random.Random(start), count):
        words = difference(policy, server, asked, sources, rules)
        if words:
            found.append(f"{asked.nas} {asked.read}: {words}")
    return found, rules


def test_freeradius_and_the_core_decide_every_request_alike(policy, judged, sources, capsys):
    start = seed()
    with capsys.disabled():
        print(f" NETGUARD_SEED={start}", end=" ")
    found, rules = differences(policy, judged, start, REQUESTS, sources)
    assert not found, f"{len(found)} differences, NETGUARD_SEED={start}\n" + "\n".join(found[:5])
    assert sum(rules.values()) >= 1000
    assert not ALL_RULES - set(rules), rules


ALL_RULES = {
    "eap",
    "not-mac-authentication",
    "unknown-mac",
    "private-mac",
    "other-network",
    "loan/lost",
    "loan/stolen",
    "loan/retired",
    "loan/quarantined",
    "patients/admit",
    "patients/areas",
    "demo/admit",
    "preparation/sites",
}


def night(server_hour: int) -> str:
    """A time zone in which it is three in the morning now."""
    # -12 to 11 hours ahead of UTC; the names have the sign of POSIX.
    return f"Etc/GMT{-((3 - server_hour + 12) % 24 - 12):+d}"


def test_outside_the_hours_of_a_group_freeradius_rejects_by_them(policy, sources):
    dark = elsewhere(policy, night(clock.now().hour))
    with answering(dark) as server:
        found, rules = differences(dark, server, seed(), 300, sources)
    assert not found, found[:3]
    assert rules["patients/hours"] > 20
    assert not rules["patients/admit"]
    assert rules["demo/admit"], "a group without hours joins at night"


def first_entry(tablets: str, policy, group: str) -> str:
    """The key of the first admitted tablet of a group, at the site with the closed areas."""
    rule = f'Netguard-Rule := "{group}/admit"'
    (site,) = (site.name for site in policy.sites.values() if "closed-bssid" in site.areas)
    lines = (line for line in tablets.splitlines() if line.startswith(f"{site}/"))
    line = next(line for line in lines if rule in line)
    return line.split(" ", 1)[0]


def another_vlan(policy, name, text):
    if name != "tablets":
        return text
    key = first_entry(text, policy, "patients")
    head, tail = text.split(f"{key} ", 1)
    return f"{head}{key} " + tail.replace('Group-Id = "', 'Group-Id = "1', 1)


def one_entry_less(policy, name, text):
    if name != "tablets":
        return text
    key = first_entry(text, policy, "patients")
    kept, skipping = [], False
    for line in text.splitlines(keepends=True):
        skipping = line.startswith(f"{key} ") or (skipping and line.startswith("\t"))
        if not skipping:
            kept.append(line)
    return "".join(kept)


def one_area_entry_less(policy, name, text):
    if name != "areas":
        return text
    lines = text.splitlines(keepends=True)
    planted = next(line for line in lines if "closed-bssid/patients" in line)
    return "".join(line for line in lines if line != planted)


def open_at_night_only(policy, name, text):
    """The windows of the patients twelve hours off."""
    if name != "hours":
        return text
    lines = [line for line in text.splitlines() if not line.startswith("hours/patients ")]
    nights = radius_hours.openings("patients", Hours.of([Window.parse("00:00-06:00")]))
    return "\n".join([*lines, *nights, ""])


def no_hours(policy, name, text):
    return re.sub(r', Login-Time := "[^"]*"', "", text) if name == "tablets" else text


@pytest.mark.parametrize(
    ("plant", "bssid"),
    [
        (another_vlan, "88:99:aa:bb:cc:dd"),
        (one_entry_less, "88:99:aa:bb:cc:dd"),
        (no_hours, "88:99:aa:bb:cc:dd"),
        (open_at_night_only, "88:99:aa:bb:cc:dd"),
        (one_area_entry_less, "70:3a:0e:11:22:33"),
    ],
)
def test_a_planted_difference_is_found(policy, judged, sources, plant, bssid):
    plan = compile_plan(policy, policy.sites, LOANS)
    texts = {
        "tablets": freeradius.tablets(plan),
        "areas": freeradius.areas(plan),
        "hours": radius_hours.hours(plan),
    }
    assert any(plant(policy, name, text) != text for name, text in texts.items())
    site_name, digits = first_entry(texts["tablets"], policy, "patients").split("/")
    site = policy.sites[site_name]
    sent = shapes.attributes(
        "hostapd",
        str(Mac.parse(digits)),
        bssid=bssid,
        ap="x",
        ssid=site.ssid,
        nas="x",
        address=bytes([10, 1, 2, 10]),
    )
    asked = Asked(next(iter(site.nas)), sent, b"x", read(sent))
    assert not difference(policy, judged, asked, sources, Counter()), "none where none is planted"
    with answering(policy, lambda name, text: plant(policy, name, text)) as server:
        assert difference(policy, server, asked, sources, Counter())
