"""A small first rules folder from a few answers: complete, closed, and without a finding of check.

Pure: texts in, bytes by file name out. Asking and writing are the command's; QUESTIONS says what
to ask, in which order, and how each answer is read.
"""

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from netguard.core.names import (
    Address,
    Mac,
    Network,
    VlanId,
    parse_address,
    parse_fqdn,
    parse_interface,
    parse_ipv4,
    parse_name,
    parse_network,
    parse_unicast_mac,
    parse_vlan,
)
from netguard.errors import BadValue, UsageError
from netguard.rules import words
from netguard.rules.allot import allot
from netguard.rules.findings import errors
from netguard.rules.folder import Folder
from netguard.rules.inventory import write_allotted
from netguard.rules.load import load
from netguard.rules.schema import VENDORS

# The day on which the vendors' pages behind the services below were read.
READ = datetime.date(2026, 11, 20)


@dataclass(frozen=True, slots=True)
class Answers:
    """What only the hospital can know."""

    organisation: str
    site: str
    time_zone: str
    ssid: str
    vlan: VlanId
    network: Network
    gateway: Address
    interface: str
    uplink: str
    nas: str
    nas_address: Network
    nas_vendor: str
    upstream: tuple[Address, ...]
    protected: Mapping[str, Network]
    video_host: str
    video_network: Network | None
    tablets: Mapping[str, Mac]


@dataclass(frozen=True, slots=True)
class Question:
    """One answer: `key` is the field of Answers, and with '-' the flag of the command."""

    key: str
    ask: str
    parse: Callable[[str], object]
    default: str | None = None


def answers(texts: Mapping[str, str]) -> Answers:
    """Read all answers; what has a default may be left out. Raises UsageError with every fault."""
    read: dict[str, object] = {}
    faults = []
    for question in QUESTIONS:
        text = texts.get(question.key, question.default)
        flag = "--" + question.key.replace("_", "-")
        if text is None:
            faults.append(f"{flag} is missing: {question.ask}")
            continue
        try:
            read[question.key] = question.parse(text.strip())
        except BadValue as error:
            faults.append(f"{flag}: {error.text}")
    if faults:
        raise UsageError("\n".join(faults))
    return Answers(**read)  # type: ignore[arg-type]  # each question's parser gives its field's type


def first_folder(given: Answers) -> dict[str, bytes]:
    """Return the files of a first folder; raises UsageError when the answers contradict each other."""
    files = {
        "netguard.yaml": _netguard(given),
        "sites.yaml": _sites(given),
        "protected.yaml": _protected(given),
        "groups.yaml": _GROUPS,
        "services/jitsi.yaml": _jitsi(given),
        "services/plumbing-check.yaml": _CHECK,
        "services/plumbing-push.yaml": _PUSH,
        "services/time.yaml": _TIME,
        "tablets.csv": _tablets(given),
        "tests/first.yaml": _cases(given),
    }
    encoded = {name: text.encode() for name, text in files.items()}
    loaded = load(Folder("", encoded), today=READ, require_addresses=False)
    if loaded.policy is None:
        raise UsageError("\n".join(finding.render() for finding in errors(loaded.findings)))
    return encoded | {"allotted.csv": write_allotted(allot(loaded.policy))}


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _vendor(text: str) -> str:
    if text not in VENDORS:
        raise BadValue("unknown-word", f"'{text}' is none of {', '.join(VENDORS)}")
    return text


def _upstream(text: str) -> tuple[Address, ...]:
    found = tuple(parse_address(part) for part in _listed(text))
    if not found:
        raise BadValue("missing-key", "no resolver, write 10.1.1.53 or several with commas")
    return found


def _pairs(text: str, form: str) -> list[tuple[str, str]]:
    pairs = [tuple(map(str.strip, part.partition("=")[::2])) for part in _listed(text)]
    if any(not value for _, value in pairs):
        raise BadValue("bad-text", f"'{text}' is not a list of {form}")
    return [(name, value) for name, value in pairs]


def _protected_networks(text: str) -> dict[str, Network]:
    found = {
        parse_name(name): parse_network(value)
        for name, value in _pairs(text, "NAME=NETWORK, such as pacs=10.10.0.0/16")
    }
    if not found:
        raise BadValue("protected-missing", "name the clinical networks, pacs=10.10.0.0/16,...")
    return found


def _fleet(text: str) -> dict[str, Mac]:
    found = {
        words.tablet_id(id_): parse_unicast_mac(value)
        for id_, value in _pairs(text, "ID=MAC, such as T-001=3c:28:6d:aa:01:10")
    }
    if not found:
        raise BadValue("shrink", "name one tablet at least, T-001=3c:28:6d:aa:01:10")
    return found


def _network_or_none(text: str) -> Network | None:
    return parse_network(text) if text else None


QUESTIONS = (
    Question("organisation", "short name of the hospital, such as chu-example", parse_name),
    Question("site", "short name of the site", parse_name, "main"),
    Question("time_zone", "time zone of the site", words.zone, "Europe/Paris"),
    Question("ssid", "Wi-Fi network of the tablets", words.ssid),
    Question("vlan", "VLAN of the tablets, 2 to 4094", parse_vlan),
    Question("network", "IPv4 network of that VLAN, such as 10.99.0.0/22", parse_network),
    Question("gateway", "address of this appliance in it, such as 10.99.0.1", parse_ipv4),
    Question("interface", "interface of this appliance in that VLAN", parse_interface),
    Question("uplink", "interface towards the hospital's core", parse_interface),
    Question("nas", "short name of the Wi-Fi controller", parse_name, "wlc-1"),
    Question("nas_address", "its address, or the network of the APs", words.nas_address),
    Question("nas_vendor", f"its vendor: {', '.join(VENDORS)}", _vendor, "other"),
    Question("upstream", "the hospital's resolvers, with commas", _upstream),
    Question(
        "protected",
        "networks that no tablet ever reaches, such as pacs=10.10.0.0/16,staff=10.20.0.0/16",
        _protected_networks,
    ),
    Question("video_host", "name of the hospital's Jitsi server", parse_fqdn),
    Question("video_network", "network of its video bridge, or nothing", _network_or_none, ""),
    Question("tablets", "first tablets, such as T-001=3c:28:6d:aa:01:10", _fleet),
)


def _netguard(given: Answers) -> str:
    upstream = ", ".join(f'"{address}"' for address in given.upstream)
    return f"""\
# The appliance as a whole. rules/README.md lists every key.
version: 1
organisation: {given.organisation}
mode: router
resolver:
  upstream: [{upstream}]
"""


def _sites(given: Answers) -> str:
    return f"""\
# Where tablets are, and how this appliance is cabled there.
sites:
  {given.site}:
    time-zone: {given.time_zone}
    ssid: {json.dumps(given.ssid, ensure_ascii=False)}
    vlan: {given.vlan}
    networks: ["{given.network}"]
    gateway: ["{given.gateway}"]
    interfaces: [{given.interface}]
    uplink: {given.uplink}
    nat: none                   # masquerade where the core has no route back to {given.network}
    addresses: netguard
    ipv6: drop
    nas:
      {given.nas}:
        address: "{given.nas_address}"
        vendor: {given.nas_vendor}
        message-authenticator: required
        secret-file: nas-{given.nas}   # a name under the node's secrets, never the secret
    areas:
      everywhere: {{aps: ["*"]}}  # split it by ward: areas say where a tablet was last heard
    accept:
      no-edge: areas are not written yet
"""


def _protected(given: Answers) -> str:
    entries = "".join(
        f'  {name}: {{networks: ["{network}"], owner: to be named}}\n'
        for name, network in sorted(given.protected.items())
    )
    return f"""\
# What no tablet ever reaches, whatever another file says. Add your public addresses and the networks of
# switches and controllers.
protected:
{entries}"""


_GROUPS = """\
# Who may use what. What is not allowed here is closed.
groups:
  patients:
    allow: [jitsi, plumbing-check, plumbing-push, time]
    rate: {down: 4Mbit, up: 2Mbit}
"""


def _jitsi(given: Answers) -> str:
    networks = ""
    if given.video_network is not None:
        networks = f'    networks: ["{given.video_network}"]\n'
        if given.video_network.is_private:
            networks += f'    allow-private: ["{given.video_network}"]\n'
    return f"""\
# The hospital's own video server. Tablets cannot reach one another: set p2p.enabled=false there.
services:
  jitsi:
    label: Jitsi (own server)
    domains: [{given.video_host}]
{networks}    ports: [tcp/443, udp/10000, tcp/5349, udp/3478]
    p2p: relay-only
    evidence: https://jitsi.github.io/handbook/docs/devops-guide/devops-guide-quickstart
    reviewed: {READ}
"""


_CHECK = f"""\
# Without an answer here a tablet says "connected without Internet" and leaves the Wi-Fi.
services:
  plumbing-check:
    label: Is there an Internet? (Android, Apple)
    domains: [connectivitycheck.gstatic.com, www.gstatic.com, captive.apple.com]
    ports: [tcp/80, tcp/443]
    evidence: https://support.google.com/work/android/answer/10513641 and https://support.apple.com/HT210060
    reviewed: {READ}
"""

_PUSH = f"""\
services:
  plumbing-push:
    label: Push messages (Android)
    domains:
      - mtalk.google.com
      - mtalk4.google.com
      - alt1-mtalk.google.com
      - alt2-mtalk.google.com
      - alt3-mtalk.google.com
      - alt4-mtalk.google.com
      - alt5-mtalk.google.com
      - alt6-mtalk.google.com
      - alt7-mtalk.google.com
      - alt8-mtalk.google.com
      - android.apis.google.com
      - device-provisioning.googleapis.com
      - firebaseinstallations.googleapis.com
    ports: [tcp/443, tcp/5228-5230]
    evidence: https://firebase.google.com/docs/cloud-messaging/network-configuration
    reviewed: {READ}
"""

_TIME = f"""\
# The appliance answers itself; nothing outside is opened.
services:
  time:
    label: Time
    local: ntp
    evidence: served by the appliance itself
    reviewed: {READ}
"""


def _tablets(given: Answers) -> str:
    rows = [
        f"{id_},{mac},patients,{given.site}/everywhere,,,"
        for id_, mac in sorted(given.tablets.items())
    ]
    return "\n".join(["id,mac,group,home,model,serial,address", *rows, ""])


def _cases(given: Answers) -> str:
    return f"""\
# What these rules must do and must not do.
cases:
  - name: a patient joins a call
    from: {{group: patients}}
    to: {{domain: {given.video_host}, port: tcp/443}}
    expect: allow
    by: patients/jitsi
  - name: an unlisted site is closed
    from: {{group: patients}}
    to: {{domain: www.example.org, port: tcp/443}}
    expect: deny
  - {{name: these services and nothing else, from: {{group: patients}}, expect: only,
     services: [jitsi, plumbing-check, plumbing-push, time]}}
  - {{name: nobody reaches a protected network, from: {{group: "*"}}, to: {{protected: "*"}}, expect: never}}
"""
