"""The shape of each rule file as pydantic models over text.

The reader (source.py) hands over mappings, lists and text; here each text is typed by one of the
strict parsers of core/names.py. Nothing outside `rules/` sees these models: build.py turns them
into the core's own values. Keys in files are written with '-', fields here with '_'.
"""

import datetime
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Discriminator, PlainValidator, Tag

from netguard.core.names import (
    Address,
    Domain,
    Frequency,
    Hours,
    Mac,
    Network,
    Ports,
    VlanId,
    parse_address,
    parse_duration,
    parse_fqdn,
    parse_interface,
    parse_name,
    parse_network,
    parse_number,
    parse_rate,
    parse_unicast_mac,
    parse_vlan,
    shown,
)
from netguard.errors import BadValue

T = TypeVar("T")

VENDORS = (
    "hostapd",
    "cisco-aireos",
    "cisco-9800",
    "aruba-controller",
    "aruba-instant",
    "ruckus",
    "meraki",
    "unifi",
    "mist",
    "fortigate",
    "extreme",
    "huawei",
    "mikrotik",
    "other",
)
DSCP = ("cs1", "le", "df", "cs0", "af11", "af12", "af13")


def _typed(parse: Callable[[str], T]) -> PlainValidator:
    def validate(value: object) -> T:
        if not isinstance(value, str):
            raise BadValue("syntax", f"expected one value, not a {_kind(value)}")
        return parse(value)

    return PlainValidator(validate)


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else "mapping"


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise BadValue("bad-boolean", f"{shown(text)} is neither true nor false")
    return text == "true"


def _date(text: str) -> datetime.date:
    try:
        if len(text) != 10:
            raise ValueError
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise BadValue("bad-date", f"{shown(text)} is not a date, write 2026-11-20") from None


def _label(text: str) -> str:
    if not text or len(text) > 200 or not text.isprintable():
        raise BadValue("bad-text", f"{shown(text)} is not a text of 1 to 200 printable characters")
    return text


def _ssid(text: str) -> str:
    # IEEE 802.11: 1 to 32 octets; control characters would break what we generate from it.
    if not 1 <= len(text.encode()) <= 32 or not text.isprintable() or '"' in text or "\\" in text:
        raise BadValue(
            "bad-text", f"{shown(text)} is not an SSID of 1 to 32 bytes without quote or backslash"
        )
    return text


def _ap(text: str) -> str:
    if not 1 <= len(text) <= 64 or not text.isprintable() or "*" in text[:-1]:
        raise BadValue(
            "bad-text", f"{shown(text)} is not an AP name, or a BSSID pattern such as 70:3a:0e:*"
        )
    return text


def _home(text: str) -> tuple[str, str]:
    site, slash, area = text.partition("/")
    if not slash:
        raise BadValue("unknown-ref", f"{shown(text)} is not SITE/AREA")
    return parse_name(site), parse_name(area)


def _heartbeats(text: str) -> str:
    count, _, unit = text.partition("x ")
    if unit == "heartbeat":
        parse_number(count, "count", 1, 100)
    else:
        parse_duration(text)
    return text


def _share(text: str) -> float:
    try:
        value = float(text) if text.isascii() and len(text) < 8 else -1.0
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise BadValue("bad-number", f"{shown(text)} is not a share, write 0.6")
    return value


def _more_than(text: str) -> str:
    count, slash, span = text.partition("/")
    if not slash:
        raise BadValue("bad-rate", f"{shown(text)} is not a count in a span, write 10/1m")
    parse_number(count, "count", 1, 1_000_000)
    parse_duration(span)
    return text


def _endpoint(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise BadValue("bad-port", f"{shown(text)} lacks a port, write 10.1.1.20:6514")
    parse_number(port, "port", 1, 65535)
    try:
        parse_address(host.strip("[]"))
    except BadValue:
        parse_fqdn(host)
    return text


def _http_url(text: str) -> str:
    scheme, mark, rest = text.partition("://")
    if (
        not mark
        or scheme not in {"https", "http"}
        or not rest
        or not text.isprintable()
        or " " in text
    ):
        raise BadValue("bad-url", f"{shown(text)} is not a URL, write https://host/path")
    return text


def _mail(text: str) -> str:
    user, at, host = text.partition("@")
    if not user or not at or not user.isprintable() or " " in user:
        raise BadValue("bad-text", f"{shown(text)} is not a mail address")
    parse_fqdn(host)
    return text


def _ports_word(text: str) -> Ports:
    if text == "any":
        raise BadValue("bad-port", "'any' does not exist, list the ports of the app")
    return Ports.parse(text)


def _zone(text: str) -> str:
    # Existence is judged in build.py, which may read the time zone data.
    if not text.isascii() or not text.isprintable() or ".." in text or len(text) > 64:
        raise BadValue("schedule", f"{shown(text)} is not a time zone, write Europe/Paris")
    return text


def _secret_file(text: str) -> str:
    try:
        return parse_name(text)
    except BadValue:
        raise BadValue(
            "bad-name",
            f"{shown(text)} names no credential; secret-file is a plain name, never a secret or path",
        ) from None


def _nas_address(text: str) -> Network:
    return (
        parse_network(text)
        if "/" in text
        else parse_network(f"{text}/{parse_address(text).max_prefixlen}")
    )


Name = Annotated[str, _typed(parse_name)]
Label = Annotated[str, _typed(_label)]
Boolean = Annotated[bool, _typed(_boolean)]
Date = Annotated[datetime.date, _typed(_date)]
Vlan = Annotated[VlanId, _typed(parse_vlan)]
NetworkText = Annotated[Network, _typed(parse_network)]
AddressText = Annotated[Address, _typed(parse_address)]
DomainText = Annotated[Domain, _typed(Domain.parse)]
PortsText = Annotated[Ports, _typed(_ports_word)]
Rate = Annotated[int, _typed(parse_rate)]
Span = Annotated[timedelta, _typed(parse_duration)]
Often = Annotated[Frequency, _typed(Frequency.parse)]
Count = Annotated[int, _typed(lambda text: parse_number(text, "count", 1, 1_000_000))]
HoursText = Annotated[Hours, _typed(Hours.parse)]
NightText = Annotated[Hours, _typed(lambda text: Hours.parse(text, over_midnight=True))]
MacText = Annotated[Mac, _typed(parse_unicast_mac)]
Home = Annotated[tuple[str, str], _typed(_home)]
Accept = dict[Name, Label]


class Model(BaseModel):
    """Every key is known, every value is text until its parser has read it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=lambda name: name.rstrip("_").replace("_", "-"),
    )


class LogDenied(Model):
    rate: Often = Frequency(5, "s")
    burst: Count = 20


class DefaultsModel(Model):
    deny: Literal["reject", "drop"] = "reject"
    unknown_mac: Literal["reject"] = "reject"
    log_denied: LogDenied = LogDenied()
    dscp: Literal[DSCP] = "cs1"  # type: ignore[valid-type]  # the tuple is also used in messages


class LearnedModel(Model):
    ttl_floor: Span = timedelta(seconds=60)
    ttl_ceiling: Span = timedelta(hours=1)
    grace: Span = timedelta(seconds=60)
    reply_ttl_ceiling: Span = timedelta(seconds=300)
    addresses_per_name: Count = 100
    addresses_per_service: Count = 4096


class ResolverModel(Model):
    upstream: list[AddressText]
    intercept_port_53: Boolean = True
    denied_answer: Literal["refused", "nxdomain"] = "refused"
    canaries: list[Literal["firefox-doh", "icloud-private-relay", "ddr"]] = [
        "firefox-doh",
        "icloud-private-relay",
        "ddr",
    ]


class Retention(Model):
    audit: Span = timedelta(days=365)
    incident_path: Span = timedelta(days=30)


class NetguardFile(Model):
    version: Literal["1"]
    organisation: Name
    mode: Literal["router"] = "router"
    defaults: DefaultsModel = DefaultsModel()
    learned: LearnedModel = LearnedModel()
    resolver: ResolverModel
    retention: Retention = Retention()


class CeilingModel(Model):
    down: Rate
    up: Rate


class NasModel(Model):
    address: Annotated[Network, _typed(_nas_address)]
    vendor: Literal[VENDORS]  # type: ignore[valid-type]  # the tuple is also used in messages
    message_authenticator: Literal["required", "optional", "never"]
    secret_file: Annotated[str, _typed(_secret_file)]


class AreaModel(Model):
    name: Label | None = None
    aps: list[Annotated[str, _typed(_ap)]]
    edge: Boolean = False
    expected_silent: Boolean = False
    accept: Accept = {}


class SiteModel(Model):
    name: Label | None = None
    time_zone: Annotated[str, _typed(_zone)]
    ssid: Annotated[str, _typed(_ssid)]
    vlan: Vlan
    quarantine_vlan: Vlan | None = None
    enrolment_vlan: Vlan | None = None
    interfaces: list[Annotated[str, _typed(parse_interface)]]
    uplink: Annotated[str, _typed(parse_interface)]
    nat: Literal["none", "masquerade"] = "none"
    networks: list[NetworkText]
    gateway: list[AddressText]
    addresses: Literal["netguard", "external"] = "netguard"
    ipv6: Literal["full", "drop"]
    ceiling: CeilingModel | None = None
    other_networks: Literal["reject", "ignore"] = "ignore"
    nas: dict[Name, NasModel]
    areas: dict[Name, AreaModel]
    accept: Accept = {}


class SitesFile(Model):
    sites: dict[Name, SiteModel]


class ProtectedModel(Model):
    networks: list[NetworkText]
    owner: Label


class NeverModel(Model):
    domains: list[DomainText] = []
    vlans: list[Vlan] = []
    macs: Annotated[str, _typed(_label)] | None = None


class ProtectedFile(Model):
    protected: dict[Name, ProtectedModel]
    never: NeverModel = NeverModel()


class ServiceModel(Model):
    label: Label | None = None
    domains: list[DomainText] = []
    networks: list[NetworkText] = []
    ports: list[PortsText] = []
    allow_private: list[NetworkText] = []
    feed: Name | None = None
    feed_sets: list[Annotated[str, _typed(_label)]] = []
    p2p: Literal["relay-only", "direct", "none"] | None = None
    local: Literal["ntp"] | None = None
    evidence: Label | None = None
    reviewed: Date | None = None
    note: Label | None = None
    accept: Accept = {}


class ServicesFile(Model):
    services: dict[Name, ServiceModel]


class FeedSet(Model):
    networks: list[NetworkText]


class FeedFile(Model):
    feed: Name
    source: Label
    version: Label
    retrieved: Date
    sets: dict[Annotated[str, _typed(_label)], FeedSet]
    accept: Accept = {}


class GroupModel(Model):
    sites: list[Name] | None = None
    allow: list[Name]
    extends: Name | None = None
    rate: CeilingModel | None = None
    hours: HoursText | None = None
    deny: Literal["reject", "drop"] | None = None
    notify: Name | None = None
    accept: Accept = {}


class ProfileGroup(Model):
    allow: list[Name] | None = None
    rate: CeilingModel | None = None


class GroupsFile(Model):
    groups: dict[Name, GroupModel]
    profiles: dict[Name, dict[Name, ProfileGroup]] = {}


def tablet_id(text: str) -> str:
    """Read a tablet's number: 1 to 32 letters, digits, '-', '_' or '.', starting with a letter or digit."""
    if not (1 <= len(text) <= 32 and text.isascii() and text[0].isalnum()) or not all(
        c.isalnum() or c in "-_." for c in text
    ):
        raise BadValue("bad-name", f"{shown(text)} is not a tablet id such as T-001")
    return text


class TabletModel(Model):
    id: Annotated[str, _typed(tablet_id)]
    mac: MacText
    group: Name
    home: Home
    model: Label | None = None
    serial: Label | None = None
    address: AddressText | None = None
    private_address: Literal["accepted"] | None = None


class TabletsFile(Model):
    tablets: list[TabletModel]


class Heartbeat(Model):
    interim: Span = timedelta(seconds=300)
    dhcp: Boolean = True
    probe: Span = timedelta(seconds=30)


class MissingAfter(Model):
    edge: Span = timedelta(minutes=3)
    area: Span = timedelta(minutes=30)
    default: Span = timedelta(minutes=20)
    night: Span = timedelta(minutes=60)


class EdgePath(Model):
    within: Span
    aps: Count


class Outage(Model):
    share: Annotated[float, _typed(_share)]
    at_least: Count
    window: Span
    hold: Span


class Storm(Model):
    alarms: Count
    per_ap: Span


class PresenceSite(Model):
    heartbeat: Heartbeat | None = None
    grace: Span | None = None
    quiet_after: Annotated[str, _typed(_heartbeats)] | None = None
    missing_after: MissingAfter | None = None
    night: NightText | None = None
    edge_path: EdgePath | None = None
    outage: Outage | None = None
    storm: Storm | None = None
    false_alarms: Often | None = None


class PresenceModel(PresenceSite):
    sites: dict[Name, PresenceSite] = {}


class PresenceFile(Model):
    presence: PresenceModel


class AlertWhen(Model):
    presence: Literal["missing", "quiet", "returned", "unreachable"] | None = None
    last_area: Literal["edge", "inside"] | None = None
    feed: Literal["stale"] | None = None
    rule: Annotated[str, _typed(_label)] | None = None
    more_than: Annotated[str, _typed(_more_than)] | None = None
    evidence: Literal["clone"] | None = None
    dns: Literal["refused-address"] | None = None


class AlertModel(Model):
    when: AlertWhen
    severity: Literal["critical", "warning", "info"]
    to: list[Name]


class ReceiverModel(Model):
    webhook: Annotated[str, _typed(_http_url)] | None = None
    sign_with: Annotated[str, _typed(_secret_file)] | None = None
    repeat: Span | None = None
    syslog: Annotated[str, _typed(_endpoint)] | None = None
    format: Literal["rfc5424", "cef"] | None = None
    mail: Annotated[str, _typed(_mail)] | None = None
    alertmanager: list[Annotated[str, _typed(_http_url)]] | None = None
    language: Literal["fr", "en"] | None = None


class AlertsFile(Model):
    alerts: dict[Name, AlertModel]
    receivers: dict[Name, ReceiverModel]


class CaseFrom(Model):
    group: Annotated[str, _typed(_label)] | None = None
    tablet: Annotated[str, _typed(tablet_id)] | None = None
    mac: MacText | None = None
    ssid: Annotated[str, _typed(_ssid)] | None = None
    site: Name | None = None


class CaseTo(Model):
    domain: Annotated[str, _typed(parse_fqdn)] | None = None
    address: AddressText | None = None
    protected: Annotated[str, _typed(_label)] | None = None
    port: PortsText | None = None


class CaseEvent(Model):
    at: Span
    tablet: Annotated[str, _typed(tablet_id)]
    ap: Annotated[str, _typed(_ap)] | None = None
    gone: Boolean = False


class CaseExpect(Model):
    admission: Literal["accept", "reject"] | None = None
    by: Annotated[str, _typed(_label)] | None = None
    vlan: Vlan | None = None
    alert: Name | None = None
    to: Name | None = None
    within: Span | None = None


class CaseModel(Model):
    name: Label
    from_: CaseFrom | None = None
    to: CaseTo | None = None
    expect: Annotated[
        Annotated[Literal["allow", "deny", "never", "only", "always"], Tag("(word)")]
        | Annotated[CaseExpect, Tag("(mapping)")],
        Discriminator(lambda value: "(mapping)" if isinstance(value, dict) else "(word)"),
    ]
    by: Annotated[str, _typed(_label)] | None = None
    services: list[Name] | None = None
    events: list[CaseEvent] | None = None


class CasesFile(Model):
    cases: list[CaseModel]
