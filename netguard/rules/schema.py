"""The shape of each rule file as pydantic models over text.

The reader (source.py) hands over mappings, lists and text; here each key gets its word (words.py).
Nothing outside `rules/` sees these models: build.py turns them into the core's own values. Keys in
files are written with '-', fields here with '_'. The files about silence are schema_watch.py's.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Tag

from netguard.core.names import Frequency
from netguard.rules.words import (
    Accept,
    AddressText,
    Ap,
    BanText,
    Boolean,
    Count,
    Date,
    DaysText,
    DomainText,
    Home,
    HostName,
    Interface,
    Ipv4Text,
    Ipv6,
    Label,
    MacText,
    Model,
    Name,
    NasAddress,
    NetworkText,
    Often,
    PortsText,
    Rate,
    SecretFile,
    Span,
    Ssid,
    TabletId,
    UpstreamText,
    Vlan,
    WindowText,
    Zone,
)

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


class LogDenied(Model):
    rate: Often = Frequency(5, "s")
    burst: Count = 20


class NewFlows(Model):
    rate: Often = Frequency(100, "s")
    burst: Count = 500


class DefaultsModel(Model):
    deny: Literal["reject", "drop"] = "reject"
    unknown_mac: Literal["reject", "enrol"] = "reject"
    session_timeout: Span | None = None
    log_denied: LogDenied = LogDenied()
    new_flows: NewFlows = NewFlows()
    dscp: Literal[DSCP] = "cs1"  # type: ignore[valid-type]  # the tuple is also used in messages


class LearnedModel(Model):
    ttl_floor: Span = timedelta(seconds=60)
    ttl_ceiling: Span = timedelta(hours=1)
    grace: Span = timedelta(seconds=60)
    reply_ttl_ceiling: Span = timedelta(seconds=300)
    addresses_per_name: Count = 100
    addresses_per_service: Count = 4096


class ResolverModel(Model):
    upstream: list[UpstreamText]
    intercept_port_53: Boolean = True
    denied_answer: Literal["refused", "nxdomain"] = "refused"
    canaries: list[Literal["firefox-doh", "icloud-private-relay", "ddr"]] = [
        "firefox-doh",
        "icloud-private-relay",
        "ddr",
    ]
    letter_case: Boolean = False
    cache: Boolean = True
    query_rate: Often = Frequency(50, "s")
    time_names: list[DomainText] | None = None


class TimeModel(Model):
    servers: list[AddressText] = []


class Retention(Model):
    audit: Span = timedelta(days=365)
    incident_path: Span = timedelta(days=30)
    recording: Span | None = None


class NetguardFile(Model):
    version: Literal["1"]
    organisation: Name
    mode: Literal["router"] = "router"
    defaults: DefaultsModel = DefaultsModel()
    learned: LearnedModel = LearnedModel()
    resolver: ResolverModel
    retention: Retention = Retention()
    time: TimeModel = TimeModel()


class CeilingModel(Model):
    down: Rate
    up: Rate


class NasModel(Model):
    address: NasAddress
    vendor: Literal[VENDORS]  # type: ignore[valid-type]  # the tuple is also used in messages
    message_authenticator: Literal["required", "optional", "never"]
    secret_file: SecretFile
    psk: Literal["shared", "per-tablet"] = "shared"


class AreaModel(Model):
    name: Label | None = None
    aps: list[Ap]
    edge: Boolean = False
    expected_silent: Boolean = False
    closed_to: list[Name] = []
    accept: Accept = {}


class WalkModel(Model):
    between: list[Name]
    takes: Span


class SiteModel(Model):
    name: Label | None = None
    time_zone: Zone
    ssid: Ssid
    vlan: Vlan
    quarantine_vlan: Vlan | None = None
    enrolment_vlan: Vlan | None = None
    interfaces: list[Interface]
    uplink: Interface
    nat: Literal["none", "masquerade"] = "none"
    networks: list[NetworkText]
    gateway: list[AddressText]
    addresses: Literal["netguard", "external"] = "netguard"
    dhcp_server: list[AddressText] = []
    ipv6: Ipv6
    ceiling: CeilingModel | None = None
    other_networks: Literal["reject", "ignore"] = "ignore"
    nas: dict[Name, NasModel]
    areas: dict[Name, AreaModel]
    walks: list[WalkModel] = []
    accept: Accept = {}


class SitesFile(Model):
    sites: dict[Name, SiteModel]


class ProtectedModel(Model):
    networks: list[NetworkText]
    owner: Label


class NeverModel(Model):
    domains: list[BanText] = []
    vlans: list[Vlan] = []
    macs: Label | None = None


class ProtectedFile(Model):
    absent: ClassVar[Mapping[str, tuple[str, str]]] = {
        "protected": (
            "protected-missing",
            "no 'protected:' here; it is mandatory and names the clinical networks no tablet may reach",
        )
    }
    protected: dict[Name, ProtectedModel]
    never: NeverModel = NeverModel()


class ServiceModel(Model):
    label: Label | None = None
    domains: list[DomainText] = []
    networks: list[NetworkText] = []
    ports: list[PortsText] = []
    allow_private: list[NetworkText] = []
    feed: Name | None = None
    feed_sets: list[Label] = []
    p2p: Literal["relay-only", "direct", "none"] | None = None
    local: Literal["ntp"] | None = None
    sni: Literal["strict"] | None = None
    evidence: Label | None = None
    reviewed: Date | None = None
    note: Label | None = None
    accept: Accept = {}


class ServicesFile(Model):
    services: dict[Name, ServiceModel]


class FeedSet(Model):
    label: Label | None = None
    networks: list[NetworkText]
    domains: list[DomainText] = []
    ports: list[PortsText] = []


class FeedFile(Model):
    feed: Name
    source: Label
    version: Label
    retrieved: Date
    sets: dict[Label, FeedSet]
    accept: Accept = {}


def _kind_of(value: object) -> str:
    if isinstance(value, dict):
        return "(mapping)"
    return "(list)" if isinstance(value, list) else "(word)"


# One window, several, or either by days of the week.
WindowsOf = Annotated[
    Annotated[WindowText, Tag("(word)")] | Annotated[list[WindowText], Tag("(list)")],
    Discriminator(_kind_of),
]
HoursOf = Annotated[
    Annotated[WindowText, Tag("(word)")]
    | Annotated[list[WindowText], Tag("(list)")]
    | Annotated[dict[DaysText, WindowsOf], Tag("(mapping)")],
    Discriminator(_kind_of),
]


class GroupModel(Model):
    sites: list[Name] | None = None
    allow: list[Name]
    extends: Name | None = None
    rate: CeilingModel | None = None
    hours: HoursOf | None = None
    grace: Span | None = None
    session_timeout: Span | None = None
    deny: Literal["reject", "drop"] | None = None
    dscp: Literal[DSCP] | None = None  # type: ignore[valid-type]  # the tuple is also used in messages
    notify: Name | None = None
    loan_length: Span | None = None
    accept: Accept = {}


class ProfileGroup(Model):
    allow: list[Name] | None = None
    rate: CeilingModel | None = None
    loan_length: Span | None = None


class GroupsFile(Model):
    groups: dict[Name, GroupModel]
    profiles: dict[Name, dict[Name, ProfileGroup]] = {}


class TabletModel(Model):
    id: TabletId
    mac: MacText
    group: Name
    home: Home
    model: Label | None = None
    serial: Label | None = None
    address: Ipv4Text | None = None
    private_address: Literal["accepted"] | None = None


class TabletsFile(Model):
    tablets: list[TabletModel]


class CaseFrom(Model):
    group: Label | None = None
    tablet: TabletId | None = None
    mac: MacText | None = None
    ssid: Ssid | None = None
    site: Name | None = None


class CaseTo(Model):
    domain: HostName | None = None
    address: AddressText | None = None
    protected: Label | None = None
    port: PortsText | None = None


class CaseEvent(Model):
    at: Span
    tablet: TabletId
    ap: Ap | None = None
    gone: Boolean = False


class CaseExpect(Model):
    admission: Literal["accept", "reject"] | None = None
    by: Label | None = None
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
    by: Label | None = None
    services: list[Name] | None = None
    events: list[CaseEvent] | None = None


class CasesFile(Model):
    cases: list[CaseModel]
