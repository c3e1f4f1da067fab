"""The rules, understood: what `rules/` says as frozen values, with the place of each statement.

A Policy is what people wrote; a Plan (plan.py) is what the enforcers do about it. Only the Policy
knows files and lines: `origins` maps a path such as ("groups", "patients", "allow", "jitsi") to
the place where it stands, and takes no part in comparisons.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from netguard.core.names import (
    Address,
    Domain,
    Frequency,
    Mac,
    Network,
    Ports,
    Upstream,
    VlanId,
)
from netguard.core.psk import FORMS, Form
from netguard.core.week import Hours, Window

Path = tuple[str, ...]

# A field that came later: while it has its default a plan's name is what it was before there was the field, so an
# upgrade changes no plan.
LATER = MappingProxyType({"later": True})


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """A place in a rule file; lines and columns count from 1, column 0 means the whole line."""

    file: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" + (f":{self.column}" if self.column else "")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bits per second towards the tablet (`down`) and from it (`up`)."""

    down: int
    up: int


@dataclass(frozen=True, slots=True)
class Defaults:
    """What holds for all groups unless they say otherwise."""

    deny: str = "reject"
    unknown_mac: str = "reject"
    log_rate: Frequency = field(default_factory=lambda: Frequency(5, "s"))
    log_burst: int = 20
    dscp: str = "cs1"
    session_timeout: timedelta | None = None
    # A call opens some dozens of flows at once (candidate pairs, signalling, pictures), an app that
    # starts a hundred. At this rate one tablet holds at most some 12,000 entries of conntrack.
    new_flow_rate: Frequency = field(default_factory=lambda: Frequency(100, "s"))
    new_flow_burst: int = 500


@dataclass(frozen=True, slots=True)
class Learned:
    """Bounds for addresses learned from DNS answers."""

    ttl_floor: timedelta = timedelta(seconds=60)
    ttl_ceiling: timedelta = timedelta(hours=1)
    grace: timedelta = timedelta(seconds=60)
    reply_ttl_ceiling: timedelta = timedelta(seconds=300)
    addresses_per_name: int = 100
    addresses_per_service: int = 4096


@dataclass(frozen=True, slots=True)
class Resolver:
    """Where the proxy asks, and what it answers to what it does not ask."""

    upstream: tuple[Upstream, ...]
    intercept_port_53: bool = True
    denied_answer: str = "refused"
    canaries: tuple[str, ...] = ("ddr", "firefox-doh", "icloud-private-relay")
    letter_case: bool = False
    cache: bool = True
    query_rate: Frequency = field(default_factory=lambda: Frequency(50, "s"))
    # None: the names that netguard knows, learning.TIME_NAMES.
    time_names: tuple[Domain, ...] | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what was written down is kept."""

    audit: timedelta = timedelta(days=365)
    incident_path: timedelta = timedelta(days=30)
    # None: events are not recorded.
    recording: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """One sender of webhooks: a vendor's cloud, the site it speaks of, its secret's file."""

    name: str
    vendor: str
    site: str
    secret_file: str


@dataclass(frozen=True, slots=True)
class MessageLine:
    """One line that a controller writes, as a template (core/controllers.py)."""

    line: str
    kind: str
    ap: str = ""
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrapUser:
    """One user of SNMPv3 traps (authPriv); the passwords are in files of the node."""

    name: str
    auth: str
    auth_file: str
    privacy: str
    privacy_file: str


@dataclass(frozen=True, slots=True)
class Feeds:
    """What beside RADIUS may tell of tablets. Senders are the NASes, and the networks named here.

    `messages` come before those that netguard brings along, by vendor.
    """

    stale_after: timedelta = timedelta(minutes=15)
    syslog_sources: tuple[Network, ...] = ()
    syslog_rate: Frequency = field(default_factory=lambda: Frequency(500, "s"))
    messages: Mapping[str, tuple[MessageLine, ...]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    trap_sources: tuple[Network, ...] = ()
    trap_rate: Frequency = field(default_factory=lambda: Frequency(500, "s"))
    # None: no trap of v2c is believed.
    community_file: str | None = None
    # Without users none of v3 is.
    trap_users: tuple[TrapUser, ...] = ()
    webhooks: Mapping[str, Webhook] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Nas:
    """One RADIUS client: a controller, or the network of APs that ask by themselves."""

    name: str
    address: Network
    vendor: str
    message_authenticator: str
    secret_file: str
    # Whether its tablets have a Wi-Fi key each, sent with the Access-Accept (core/psk.py).
    psk: bool = field(default=False, metadata=LATER)

    @property
    def form(self) -> Form | None:
        """Return how it takes the key of a tablet; None where tablets have none."""
        return FORMS[self.vendor] if self.psk else None


@dataclass(frozen=True, slots=True)
class Area:
    """A named set of APs; `aps` are names or BSSID patterns that end in `*`."""

    name: str
    label: str
    aps: tuple[str, ...]
    edge: bool = False
    expected_silent: bool = False
    closed_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Walk:
    """The least time on foot between two areas of a site; `areas` are sorted."""

    areas: tuple[str, str]
    takes: timedelta


@dataclass(frozen=True, slots=True)
class Site:
    """One hospital: its tablet VLAN, how the appliance is cabled there, its NASes and areas."""

    name: str
    label: str
    time_zone: str
    ssid: str
    vlan: VlanId
    quarantine_vlan: VlanId | None
    enrolment_vlan: VlanId | None
    interfaces: tuple[str, ...]
    uplink: str
    nat: str
    networks: tuple[Network, ...]
    gateways: tuple[Address, ...]
    addresses: str
    ipv6: str
    other_networks: str
    ceiling: Ceiling | None
    nas: Mapping[str, Nas]
    areas: Mapping[str, Area]
    interim: timedelta = timedelta(seconds=300)
    # Where `addresses` is external: the hospital's DHCP servers, to which we relay.
    dhcp_servers: tuple[Address, ...] = ()
    walks: tuple[Walk, ...] = ()


@dataclass(frozen=True, slots=True)
class PresencePolicy:
    """When silence means something at one site, and how many false alarms its people bear.

    `quiet_after` None means `quiet_heartbeats` times the slowest heartbeat. The defaults are the
    baseline that works without any history.
    """

    interim: timedelta = timedelta(seconds=300)
    dhcp: bool = True
    probe: timedelta = timedelta(seconds=30)
    grace: timedelta = timedelta(seconds=60)
    quiet_heartbeats: int = 2
    quiet_after: timedelta | None = None
    missing_edge: timedelta = timedelta(minutes=3)
    missing_area: timedelta = timedelta(minutes=30)
    missing_default: timedelta = timedelta(minutes=20)
    missing_night: timedelta = timedelta(minutes=60)
    night: Window = field(default_factory=lambda: Window(22 * 60, 6 * 60))
    path_within: timedelta = timedelta(minutes=10)
    path_aps: int = 2
    outage_share: float = 0.6
    outage_at_least: int = 5
    outage_window: timedelta = timedelta(seconds=60)
    outage_hold: timedelta = timedelta(minutes=15)
    storm_alarms: int = 3
    storm_per_ap: timedelta = timedelta(minutes=10)
    false_alarms: Frequency = field(default_factory=lambda: Frequency(1, "w"))


@dataclass(frozen=True, slots=True)
class Protected:
    """Clinical or management networks that no tablet reaches, ever."""

    name: str
    networks: tuple[Network, ...]
    owner: str


@dataclass(frozen=True, slots=True)
class Never:
    """Names that are not resolved, VLANs and MACs that are not given."""

    domains: tuple[Domain, ...] = ()
    vlans: tuple[int, ...] = ()
    macs: frozenset[Mac] = frozenset()


@dataclass(frozen=True, slots=True)
class Service:
    """What an app needs. `networks` include those of its vendor feed."""

    name: str
    label: str
    domains: tuple[Domain, ...]
    networks: tuple[Network, ...]
    ports: tuple[Ports, ...]
    allow_private: tuple[Network, ...]
    local: str | None
    p2p: str | None
    evidence: str
    unverified: bool
    # "strict": its TLS passes only to servers that a hello names.
    sni: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Tablets with one policy; `allow` and `sites` are complete (extends is resolved)."""

    name: str
    sites: tuple[str, ...]
    allow: tuple[str, ...]
    deny: str
    rate: Ceiling | None
    hours: Hours | None
    session_timeout: timedelta | None = None
    # The receiver that owns the group, and is told of its tablets.
    notify: str | None = None
    # Its traffic class, where that is not the one of all.
    dscp: str | None = None
    # How long its tablets are lent before they are asked back; None: without end.
    loan_length: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a profile leaves a group: only these services, at most this rate; None leaves all.

    `loan_length` takes nothing: its loans may last so long meanwhile, though they were to be shorter.
    """

    allow: frozenset[str] | None = None
    rate: Ceiling | None = None
    loan_length: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """Agreed beforehand, switched on by a person: it only ever narrows what tablets reach, and lengthens loans.

    `silences` are the severities of alerts that are held back meanwhile; never `critical`.
    """

    name: str
    groups: Mapping[str, Narrowing]
    silences: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Tablet:
    """One line of the inventory; `home` is (site, area)."""

    id: str
    mac: Mac
    group: str
    home: tuple[str, str]
    model: str = ""
    serial: str = ""
    address: Address | None = None
    private_address: bool = False


@dataclass(frozen=True, slots=True)
class AlertRule:
    """Who is told when something is so: each key of `when` must have its value."""

    name: str
    when: Mapping[str, str]
    severity: str
    to: tuple[str, ...]
    # Whether the tablet that it is about is put into quarantine as well.
    quarantine: bool = False
    # Not told before it is at least so probable; 0 for every one.
    above: float = 0.0


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody who is told, over one channel or several: the first one, the next when it is down.

    `secret_file` holds the key that webhooks are signed with, `chat_file` an Apprise URL; names of
    files of the node's secrets. `repeat` in seconds: an alert that nobody has acknowledged is told again.
    """

    name: str
    alertmanager: tuple[str, ...] = ()
    webhook: str = ""
    secret_file: str = ""
    syslog: str = ""
    format: str = "rfc5424"
    mail: str = ""
    chat_file: str = ""
    repeat: float | None = None
    language: str = "en"
    # What the receiver of the webhook, a device management, is to do with the tablet.
    actions: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels in the order in which they are tried."""
        said = {
            "alertmanager": self.alertmanager,
            "webhook": self.webhook,
            "syslog": self.syslog,
            "mail": self.mail,
            "chat": self.chat_file,
        }
        return tuple(name for name, value in said.items() if value)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything the rules folder says that has a meaning today."""

    organisation: str
    defaults: Defaults
    learned: Learned
    resolver: Resolver
    sites: Mapping[str, Site]
    protected: Mapping[str, Protected]
    never: Never
    services: Mapping[str, Service]
    groups: Mapping[str, Group]
    tablets: Mapping[str, Tablet]
    allotted: Mapping[tuple[str, str], Address]
    retention: Retention = Retention()
    # The hospital's clocks, which ours follows.
    time_servers: tuple[Address, ...] = ()
    feeds: Feeds = field(default_factory=Feeds)
    presence: Mapping[str, PresencePolicy] = field(default_factory=lambda: MappingProxyType({}))
    alerts: tuple[AlertRule, ...] = ()
    receivers: Mapping[str, Receiver] = field(default_factory=lambda: MappingProxyType({}))
    profiles: Mapping[str, Profile] = field(default_factory=lambda: MappingProxyType({}))
    origins: Mapping[Path, Origin] = field(
        default_factory=lambda: MappingProxyType({}), compare=False, repr=False
    )

    def where(self, *path: str) -> Origin | None:
        """Return where a statement stands, or where the nearest one around it does."""
        while path:
            if path in self.origins:
                return self.origins[path]
            path = path[:-1]
        return None

    def address_of(self, tablet: Tablet, site: Site) -> Address | None:
        """Return the fixed IPv4 address of a tablet at a site: its own one, else the allotted."""
        own = tablet.address
        if own is not None and any(own in n for n in site.networks if n.version == own.version):
            return own
        return self.allotted.get((site.name, tablet.id))
