"""A Policy compiled for the sites of one node: what every enforcer has to hold, and nothing else.

A Plan has no files and lines and no order of its own: everything in it is sorted, so that moving
lines or files about gives the same bytes. Renderers turn it into native text; `verdict` and
`decide` say what it means.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType

from netguard.core.areas import canonical_ap, enrolment_vlan, quarantine_vlan
from netguard.core.intervals import AddressSet
from netguard.core.loans import REFUSED, Loans, rule_of
from netguard.core.names import Address, Domain, Mac, Network, Ports
from netguard.core.policy import (
    Ceiling,
    Group,
    Learned,
    Nas,
    Policy,
    Resolver,
    Service,
    Site,
    Tablet,
)
from netguard.core.psk import Form
from netguard.core.territories import Territory, territories
from netguard.core.week import Hours
from netguard.errors import BadValue

_NO_LOANS: Loans = MappingProxyType({})
# What the hospital's own DHCP has given, by site and MAC, where it serves the tablets.
Leases = Mapping[tuple[str, Mac], Address]
_NO_LEASES: Leases = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class AreaPlan:
    """One area: its APs (canonical names and BSSID patterns), and the groups it is closed to."""

    name: str
    aps: tuple[str, ...]
    closed_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SitePlan:
    """How one site is cabled and addressed."""

    name: str
    ssid: str
    vlan: int
    interfaces: tuple[str, ...]
    uplink: str
    masquerade: bool
    networks: tuple[Network, ...]
    gateways: tuple[Address, ...]
    dhcp: bool
    dhcp_servers: tuple[Address, ...]
    refuse_other_networks: bool
    enrolment_vlan: int | None
    quarantine_vlan: int | None
    time_zone: str
    interim: int
    ceiling: Ceiling | None
    areas: tuple[AreaPlan, ...]
    nas: tuple[Nas, ...]

    @property
    def forms(self) -> tuple[Form, ...]:
        """Return how its NASes take the key of a tablet, sorted; none where tablets have no key."""
        return tuple(sorted({nas.form for nas in self.nas if nas.form is not None}))


@dataclass(frozen=True, slots=True)
class ServicePlan:
    """What one service opens for whoever is granted it."""

    name: str
    domains: tuple[Domain, ...]
    networks: tuple[Network, ...]
    ports: tuple[Ports, ...]
    allow_private: tuple[Network, ...]
    local: str | None
    sni: str | None = None

    @property
    def strict(self) -> bool:
        """Say whether its TLS passes only to servers that a hello names."""
        return self.sni == "strict"


@dataclass(frozen=True, slots=True)
class Grant:
    """A group may use a service; `mark` tells its flows apart in the kernel."""

    group: str
    service: str
    mark: int

    @property
    def rule(self) -> str:
        """Return the id of the rule: GROUP/SERVICE."""
        return f"{self.group}/{self.service}"


@dataclass(frozen=True, slots=True)
class GroupPlan:
    """One group: its grants by service name, and what a tablet sees of a refusal."""

    name: str
    deny: str
    services: tuple[str, ...]
    rate: Ceiling | None
    hours: Hours | None
    session_timeout: int | None
    # The traffic class that is written on its packets, by nft's word (RFC 2474).
    dscp: str

    @property
    def number(self) -> int:
        """Return what tells packets of this group apart in the kernel; never that of another group."""
        return number_of(self.name)


@dataclass(frozen=True, slots=True)
class Binding:
    """One tablet at one site: its MAC, its group, and its address where we hand it out."""

    site: str
    mac: Mac
    tablet: str
    group: str
    address: Address | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A tablet of the inventory that a site does not admit, and the rule that says so.

    `vlan` is where it is put instead, None where it is rejected: a tablet in quarantine, at a site that
    has a VLAN for it.
    """

    site: str
    mac: Mac
    rule: str
    vlan: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything the enforcers of one node hold; equal policies give equal plans, byte for byte."""

    sites: tuple[SitePlan, ...]
    protected: tuple[Network, ...]
    never_domains: tuple[Domain, ...]
    services: tuple[ServicePlan, ...]
    groups: tuple[GroupPlan, ...]
    grants: tuple[Grant, ...]
    bindings: tuple[Binding, ...]
    refusals: tuple[Refusal, ...]
    # Tablets of the inventory that people have reported lost, stolen or retired: (id, state).
    loans: tuple[tuple[str, str], ...]
    resolver: Resolver
    time_servers: tuple[Address, ...]
    learned: Learned
    log_rate: str
    log_burst: int
    new_flow_rate: str
    new_flow_burst: int
    dscp: str

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the plan's canonical text: the plan's name everywhere."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()

    @cached_property
    def shield(self) -> AddressSet:
        """Return the protected networks as a set."""
        return AddressSet(self.protected)

    @cached_property
    def service(self) -> dict[str, ServicePlan]:
        """Return services by name."""
        return {service.name: service for service in self.services}

    @cached_property
    def group(self) -> dict[str, GroupPlan]:
        """Return groups by name."""
        return {group.name: group for group in self.groups}

    @cached_property
    def territories(self) -> dict[str, tuple[Territory, ...]]:
        """Return, by group, the IPv4 addresses of its services that are elsewhere, as ranges apart."""
        return {
            group.name: territories(
                (name, self.service[name].networks)
                for name in group.services
                if self.service[name].local is None
            )
            for group in self.groups
        }

    @cached_property
    def site(self) -> dict[str, SitePlan]:
        """Return sites by name."""
        return {site.name: site for site in self.sites}

    @cached_property
    def site_of_interface(self) -> dict[str, SitePlan]:
        """Return the site that a tablet interface belongs to."""
        return {interface: site for site in self.sites for interface in site.interfaces}

    @cached_property
    def binding(self) -> dict[tuple[str, Mac], Binding]:
        """Return bindings by site and MAC."""
        return {(binding.site, binding.mac): binding for binding in self.bindings}

    @cached_property
    def loan(self) -> dict[str, str]:
        """Return the states of the refused tablets by id."""
        return dict(self.loans)

    @cached_property
    def lost(self) -> tuple[Binding, ...]:
        """Return the bindings of the tablets that are refused for their loan state."""
        return tuple(binding for binding in self.bindings if binding.tablet in self.loan)

    @cached_property
    def lost_by_mac(self) -> dict[Mac, str]:
        """Return the ids of those tablets by MAC."""
        return {binding.mac: binding.tablet for binding in self.lost}


def compile_plan(
    policy: Policy,
    serves: Iterable[str],
    loans: Loans = _NO_LOANS,
    leases: Leases = _NO_LEASES,
) -> Plan:
    """Compile a policy for the sites a node serves, with what people say of its tablets.

    `leases` are the addresses of tablets where the hospital's own DHCP gives them.

    Raises BadValue when a site is unknown, when a group with hours is at sites of two time zones, or
    when two grants or two groups hash to one mark (rename a group).
    """
    sites = tuple(policy.sites[name] for name in sorted(set(serves)) if _served(policy, name))
    groups = sorted(
        name for name, group in policy.groups.items() if set(group.sites) & {s.name for s in sites}
    )
    used = sorted({service for name in groups for service in policy.groups[name].allow})
    grants = tuple(
        Grant(name, service, mark_of(name, service, strict=bool(policy.services[service].sni)))
        for name in groups
        for service in sorted(policy.groups[name].allow)
    )
    _refuse_collisions((grant.mark, grant.rule) for grant in grants)
    _refuse_collisions((number_of(name), name) for name in groups)
    zones = _time_zones(policy, sites, groups)
    lost = {
        id_: state for id_, state in loans.items() if state in REFUSED and id_ in policy.tablets
    }
    return Plan(
        sites=tuple(_site(policy, site) for site in sites),
        protected=in_order({n for entry in policy.protected.values() for n in entry.networks}),
        never_domains=policy.never.domains,
        services=tuple(_service(policy.services[name]) for name in used),
        groups=tuple(
            _group(policy.groups[name], policy.defaults.dscp, zones.get(name, ""))
            for name in groups
        ),
        grants=grants,
        bindings=tuple(sorted(_bindings(policy, sites, leases), key=lambda b: (b.site, b.mac))),
        refusals=tuple(sorted(_refusals(policy, sites, lost), key=lambda r: (r.site, r.mac))),
        loans=tuple(sorted(lost.items())),
        resolver=policy.resolver,
        time_servers=policy.time_servers,
        learned=policy.learned,
        log_rate=str(policy.defaults.log_rate),
        log_burst=policy.defaults.log_burst,
        new_flow_rate=str(policy.defaults.new_flow_rate),
        new_flow_burst=policy.defaults.new_flow_burst,
        dscp=policy.defaults.dscp,
    )


def mark_of(group: str, service: str, *, strict: bool = False) -> int:
    """Return the conntrack mark of a grant: 31 bits of a hash, never 0.

    A hash and not a number in order: a service added tomorrow must not give its number, and with
    it its right, to a flow that was opened today. Nor does a flow that nobody has looked into pass
    for one whose server name was checked.
    """
    return _hashed(f"{group}/{service}" + ("/sni" if strict else ""))


def number_of(group: str) -> int:
    """Return the packet mark of a group: 31 bits of a hash, never 0.

    A packet that is being judged while a plan is loaded may find the number in a map as it will be
    and the rules as they were: with numbers in order it would get another group's rights.
    """
    return _hashed(group)


def _hashed(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") >> 1 or 1


def canonical(plan: Plan) -> str:
    """Return a plan as one canonical JSON text."""
    return json.dumps(_jsonable(plan), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _jsonable(value: object) -> object:
    if isinstance(value, Hours):
        return value.plain()
    found = getattr(value, "__dataclass_fields__", None)
    if found is not None:
        return {
            name: _jsonable(getattr(value, name))
            for name, field in found.items()
            if not field.metadata.get("later") or getattr(value, name) != field.default
        }
    if isinstance(value, tuple):
        return [_jsonable(item) for item in value]
    return value if isinstance(value, int | bool | None) else str(value)


def _served(policy: Policy, name: str) -> bool:
    if name not in policy.sites:
        known = ", ".join(sorted(policy.sites))
        raise BadValue("unknown-ref", f"this node serves site '{name}', the rules know: {known}")
    return True


def _refuse_collisions(marks: Iterable[tuple[int, str]]) -> None:
    for (one, name), (other, second) in pairwise(sorted(marks)):
        if one == other:
            raise BadValue(
                "mark-collision", f"{name} and {second} have the same mark, rename one group"
            )


def _time_zones(policy: Policy, sites: tuple[Site, ...], groups: list[str]) -> dict[str, str]:
    """Return the time zone of each group with hours, where the node's sites have several.

    The kernel tells flows apart by group, not by site: one group opens and closes at one moment.
    """
    if len({site.time_zone for site in sites}) < 2:
        return {}
    found = {}
    for name in groups:
        group = policy.groups[name]
        zones = sorted({site.time_zone for site in sites if site.name in group.sites})
        if group.hours is not None and len(zones) > 1:
            raise BadValue(
                "schedule",
                f"group '{name}' has hours and is at sites of this node in {', '.join(zones)}: "
                "write a group for each time zone, with its own 'sites'",
            )
        found[name] = zones[0]
    return found


def _group(group: Group, dscp: str, zone: str) -> GroupPlan:
    timeout = group.session_timeout
    return GroupPlan(
        group.name,
        group.deny,
        group.allow,
        group.rate,
        replace(group.hours, zone=zone) if group.hours is not None else None,
        int(timeout.total_seconds()) if timeout is not None else None,
        group.dscp or dscp,
    )


def _site(policy: Policy, site: Site) -> SitePlan:
    return SitePlan(
        name=site.name,
        ssid=site.ssid,
        vlan=site.vlan,
        interfaces=tuple(sorted(site.interfaces)),
        uplink=site.uplink,
        masquerade=site.nat == "masquerade",
        networks=in_order(site.networks),
        gateways=tuple(sorted(site.gateways, key=lambda a: (a.version, int(a)))),
        dhcp=site.addresses == "netguard",
        dhcp_servers=tuple(sorted(site.dhcp_servers)),
        refuse_other_networks=site.other_networks == "reject",
        enrolment_vlan=enrolment_vlan(policy, site),
        quarantine_vlan=site.quarantine_vlan,
        time_zone=site.time_zone,
        interim=int(site.interim.total_seconds()),
        ceiling=site.ceiling,
        areas=tuple(
            AreaPlan(
                area.name, tuple(sorted({canonical_ap(ap) for ap in area.aps})), area.closed_to
            )
            for area in sorted(site.areas.values(), key=lambda area: area.name)
        ),
        nas=tuple(sorted(site.nas.values(), key=lambda nas: nas.name)),
    )


def _service(service: Service) -> ServicePlan:
    return ServicePlan(
        service.name,
        service.domains,
        collapsed(service.networks),
        joined_ports(service.ports),
        service.allow_private,
        service.local,
        service.sni,
    )


def _bindings(policy: Policy, sites: tuple[Site, ...], leases: Leases) -> Iterable[Binding]:
    for tablet in policy.tablets.values():
        for site in sites:
            if site.name in policy.groups[tablet.group].sites:
                yield _binding(policy, tablet, site, leases)


def _refusals(policy: Policy, sites: tuple[Site, ...], lost: Loans) -> Iterable[Refusal]:
    for tablet in policy.tablets.values():
        for site in sites:
            if tablet.id in lost:
                yield Refusal(
                    site.name,
                    tablet.mac,
                    rule_of(lost[tablet.id]),
                    quarantine_vlan(policy, site, tablet, lost[tablet.id]),
                )
            elif site.name not in policy.groups[tablet.group].sites:
                yield Refusal(site.name, tablet.mac, f"{tablet.group}/sites")


def _binding(policy: Policy, tablet: Tablet, site: Site, leases: Leases) -> Binding:
    given = leases.get((site.name, tablet.mac))
    address = policy.address_of(tablet, site) if site.addresses == "netguard" else given
    return Binding(site.name, tablet.mac, tablet.id, tablet.group, address)


def in_order(networks: Iterable[Network]) -> tuple[Network, ...]:
    """Return networks by version, address and length: equal plans are equal bytes."""
    return tuple(sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen)))


def collapsed(networks: tuple[Network, ...]) -> tuple[Network, ...]:
    """Drop networks that lie in a wider one: the kernel's interval sets refuse overlaps."""
    kept: list[Network] = []
    last = (0, 0)
    for version, first, length, index in sorted(
        (n.version, int(n.network_address), n.prefixlen, i) for i, n in enumerate(networks)
    ):
        end = first + (1 << ((32 if version == 4 else 128) - length))
        if (version, end) > last:
            kept.append(networks[index])
            last = version, end
    return tuple(kept)


def joined_ports(ports: tuple[Ports, ...]) -> tuple[Ports, ...]:
    """Join intervals that overlap or touch: the kernel's interval sets refuse overlaps."""
    joined: list[Ports] = []
    for each in sorted(ports):
        last = joined[-1] if joined else None
        if last is not None and last.protocol == each.protocol and each.first <= last.last + 1:
            joined[-1] = Ports(last.protocol, last.first, max(last.last, each.last))
        else:
            joined.append(each)
    return tuple(joined)
