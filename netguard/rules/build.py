"""Typed documents to one Policy, and every error that only shows when files are seen together.

References, overlaps with protected networks, duplicates, addresses: each error names both places
where there are two. Warnings are lint.py's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from netguard.core.intervals import AddressSet
from netguard.core.names import Address, Domain, Mac, Network, suggest
from netguard.core.policy import (
    Area,
    Ceiling,
    Defaults,
    Group,
    Learned,
    Nas,
    Never,
    Origin,
    Path,
    Policy,
    Protected,
    Resolver,
    Service,
    Site,
    Tablet,
)
from netguard.rules import schema
from netguard.rules.findings import ERROR, WARNING, Finding
from netguard.rules.typed import Document


@dataclass(slots=True)
class Documents:
    """The typed files of one folder; None where a file is missing or wrong."""

    netguard: Document[schema.NetguardFile] | None = None
    sites: Document[schema.SitesFile] | None = None
    protected: Document[schema.ProtectedFile] | None = None
    groups: Document[schema.GroupsFile] | None = None
    services: list[tuple[Document[schema.ServicesFile], bool]] = field(default_factory=list)
    feeds: dict[str, Document[schema.FeedFile]] = field(default_factory=dict)
    presence: Document[schema.PresenceFile] | None = None
    alerts: Document[schema.AlertsFile] | None = None
    cases: list[Document[schema.CasesFile]] = field(default_factory=list)
    tablets: dict[str, Tablet] = field(default_factory=dict)
    tablet_lines: dict[str, Origin] = field(default_factory=dict)
    tablet_rows: bool = False
    allotted: dict[tuple[str, str], Address] = field(default_factory=dict)
    allotted_lines: dict[tuple[str, str], Origin] = field(default_factory=dict)
    protected_macs: dict[Mac, Origin] = field(default_factory=dict)


class Builder:
    """Builds a Policy out of documents and collects what is wrong on the way."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents
        self.findings: list[Finding] = []
        self.origins: dict[Path, Origin] = {}
        self.sites: dict[str, Site] = {}
        self.protected: dict[str, Protected] = {}
        self.services: dict[str, Service] = {}
        self.service_docs: dict[str, Document[schema.ServicesFile]] = {}
        self.groups: dict[str, Group] = {}

    def build(self) -> Policy | None:
        """Return the Policy, or None when any finding is an error."""
        docs = self.documents
        self._protected()
        self._sites()
        self._services()
        self._groups()
        self._tablets()
        self._allotted()
        self._references()
        if (
            docs.netguard is None
            or docs.sites is None
            or docs.protected is None
            or docs.groups is None
        ):
            return None
        if any(finding.level == ERROR for finding in self.findings):
            return None
        head = docs.netguard.model
        never = docs.protected.model.never
        return Policy(
            organisation=head.organisation,
            defaults=_defaults(head),
            learned=_learned(head),
            resolver=_resolver(head),
            sites=self.sites,
            protected=self.protected,
            never=Never(
                tuple(sorted(never.domains)),
                tuple(sorted(never.vlans)),
                frozenset(docs.protected_macs),
            ),
            services=self.services,
            groups=self.groups,
            tablets=docs.tablets,
            allotted=docs.allotted,
            origins=MappingProxyType(self.origins),
        )

    # protected.yaml

    def _protected(self) -> None:
        doc = self.documents.protected
        if doc is None:
            return
        if not doc.model.protected:
            text = "no protected networks; name the clinical networks that no tablet may reach"
            self.findings.append(doc.error("protected-missing", text, "protected"))
        for name, entry in doc.model.protected.items():
            self.protected[name] = Protected(name, tuple(entry.networks), entry.owner)
            self.origins["protected", name] = doc.key_origin("protected", name)
            for index, network in enumerate(entry.networks):
                loc = ("protected", name, "networks", index)
                self.origins["protected", name, "networks", str(network)] = doc.origin(*loc)
            if not entry.networks:
                self.findings.append(
                    doc.error("protected-missing", f"'{name}' lists no network", "protected", name)
                )

    def _owner(self, network: Network) -> str:
        """Name the protected entry that holds a network, with its place."""
        for name, entry in self.protected.items():
            if network in entry.networks:
                return f"'{name}' ({self.origins['protected', name, 'networks', str(network)]})"
        return f"'{network}'"

    # sites.yaml

    def _sites(self) -> None:
        doc = self.documents.sites
        if doc is None:
            return
        if not doc.model.sites:
            self.findings.append(doc.error("missing-key", "no site, name at least one", "sites"))
        used: dict[str, Origin] = {}
        for name, entry in doc.model.sites.items():
            at = ("sites", name)
            self.origins["sites", name] = doc.key_origin(*at)
            for key in ("ssid", "vlan", "networks", "gateway", "ipv6"):
                self.origins["sites", name, key] = doc.origin(*at, key)
            self._cabling(doc, name, entry, used)
            self._vlans(doc, name, entry)
            nas = {}
            for nas_name, nas_entry in entry.nas.items():
                self.origins["sites", name, "nas", nas_name] = doc.key_origin(*at, "nas", nas_name)
                nas[nas_name] = Nas(
                    nas_name,
                    nas_entry.address,
                    str(nas_entry.vendor),
                    nas_entry.message_authenticator,
                    nas_entry.secret_file,
                )
            areas = {}
            for area, place in entry.areas.items():
                self.origins["sites", name, "areas", area] = doc.key_origin(*at, "areas", area)
                areas[area] = Area(
                    area, place.name or area, tuple(place.aps), place.edge, place.expected_silent
                )
            self.sites[name] = Site(
                name=name,
                label=entry.name or name,
                time_zone=entry.time_zone,
                ssid=entry.ssid,
                vlan=entry.vlan,
                quarantine_vlan=entry.quarantine_vlan,
                enrolment_vlan=entry.enrolment_vlan,
                interfaces=tuple(entry.interfaces),
                uplink=entry.uplink,
                nat=entry.nat,
                networks=tuple(entry.networks),
                gateways=tuple(entry.gateway),
                addresses=entry.addresses,
                ipv6=entry.ipv6,
                other_networks=entry.other_networks,
                ceiling=_ceiling(entry.ceiling),
                nas=nas,
                areas=areas,
            )
        self._nas_names(doc)
        self._site_networks(doc)

    def _cabling(
        self,
        doc: Document[schema.SitesFile],
        name: str,
        entry: schema.SiteModel,
        used: dict[str, Origin],
    ) -> None:
        at = ("sites", name)
        try:
            ZoneInfo(entry.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            text = f"unknown time zone '{entry.time_zone}', write an IANA name such as Europe/Paris"
            self.findings.append(doc.error("schedule", text, *at, "time-zone"))
        if not entry.interfaces:
            text = "no interface, name the interfaces of the tablet VLAN"
            self.findings.append(doc.error("missing-key", text, *at, "interfaces"))
        for index, interface in enumerate(entry.interfaces):
            if interface in used:
                text = f"interface '{interface}' is already used at line {used[interface].line}"
                self.findings.append(doc.error("interface-twice", text, *at, "interfaces", index))
            used.setdefault(interface, doc.origin(*at, "interfaces", index))
        if entry.uplink in entry.interfaces:
            text = f"the uplink '{entry.uplink}' is also an interface of the tablets"
            self.findings.append(doc.error("interface-twice", text, *at, "uplink"))
        if not any(network.version == 4 for network in entry.networks):
            text = "no IPv4 network, write the prefix of the tablet VLAN"
            self.findings.append(doc.error("missing-key", text, *at, "networks"))
        for version in sorted({network.version for network in entry.networks}):
            if not any(gateway.version == version for gateway in entry.gateway):
                text = f"no IPv{version} gateway for the IPv{version} network"
                self.findings.append(doc.error("missing-key", text, *at, "gateway"))
        for index, gateway in enumerate(entry.gateway):
            if not any(gateway in n for n in entry.networks if n.version == gateway.version):
                text = f"gateway {gateway} lies in none of the site's networks"
                self.findings.append(doc.error("bad-cidr", text, *at, "gateway", index))

    def _vlans(self, doc: Document[schema.SitesFile], name: str, entry: schema.SiteModel) -> None:
        never = self.documents.protected.model.never.vlans if self.documents.protected else []
        seen: dict[int, str] = {}
        for key, vlan in (
            ("vlan", entry.vlan),
            ("quarantine-vlan", entry.quarantine_vlan),
            ("enrolment-vlan", entry.enrolment_vlan),
        ):
            if vlan is None:
                continue
            if vlan in never:
                text = f"VLAN {vlan} is one of never.vlans, the clinical ones"
                self.findings.append(doc.error("vlan-clash", text, "sites", name, key))
            if vlan in seen:
                text = f"VLAN {vlan} is also this site's {seen[vlan]}"
                self.findings.append(doc.error("vlan-clash", text, "sites", name, key))
            seen.setdefault(vlan, key)

    def _nas_names(self, doc: Document[schema.SitesFile]) -> None:
        names: dict[str, str] = {}
        addresses: dict[Network, str] = {}
        for site in self.sites.values():
            for nas in site.nas.values():
                at = ("sites", site.name, "nas", nas.name)
                if nas.name in names:
                    text = f"NAS '{nas.name}' is already a NAS of site '{names[nas.name]}'"
                    self.findings.append(doc.error("duplicate-name", text, *at, key=True))
                names[nas.name] = site.name
                if nas.address in addresses:
                    text = f"{nas.address} is already the address of NAS '{addresses[nas.address]}'"
                    self.findings.append(doc.error("duplicate-address", text, *at, "address"))
                addresses.setdefault(nas.address, nas.name)

    def _site_networks(self, doc: Document[schema.SitesFile]) -> None:
        shield = AddressSet(n for entry in self.protected.values() for n in entry.networks)
        before: list[tuple[Network, str]] = []
        for site in self.sites.values():
            for index, network in enumerate(site.networks):
                at = ("sites", site.name, "networks", index)
                met = shield.meeting(network)
                if met is not None:
                    text = f"{network} meets protected network {self._owner(met)}"
                    self.findings.append(doc.error("protected-overlap", text, *at))
                for other, owner in before:
                    if other.version == network.version and other.overlaps(network):
                        text = f"{network} meets {other} of site '{owner}'"
                        self.findings.append(doc.error("network-overlap", text, *at))
            before.extend((network, site.name) for network in site.networks)

    # services/

    def _services(self) -> None:
        shield = AddressSet(n for entry in self.protected.values() for n in entry.networks)
        for doc, unverified in self.documents.services:
            for name, entry in doc.model.services.items():
                at = ("services", name)
                if name in self.services:
                    first = self.origins["services", name]
                    text = f"service '{name}' is already defined at {first}"
                    self.findings.append(doc.error("duplicate-name", text, *at, key=True))
                    continue
                self._service(doc, name, entry, shield, unverified=unverified)

    def _service(
        self,
        doc: Document[schema.ServicesFile],
        name: str,
        entry: schema.ServiceModel,
        shield: AddressSet,
        *,
        unverified: bool,
    ) -> None:
        at = ("services", name)
        self.origins["services", name] = doc.key_origin(*at)
        self.service_docs[name] = doc
        for key, values in (
            ("domains", entry.domains),
            ("networks", entry.networks),
            ("ports", entry.ports),
        ):
            for index, value in enumerate(values):
                self.origins["services", name, key, str(value)] = doc.origin(*at, key, index)
        for key, networks in (("networks", entry.networks), ("allow-private", entry.allow_private)):
            for index, network in enumerate(networks):
                self._service_network(doc, network, shield, *at, key, index)
        self._service_domains(doc, name, entry)
        self._service_shape(doc, name, entry)
        fed = self._feed(doc, name, entry, shield)
        self.services[name] = Service(
            name=name,
            label=entry.label or name,
            domains=tuple(sorted(set(entry.domains))),
            networks=tuple(sorted({*entry.networks, *fed}, key=_network_order)),
            ports=tuple(sorted(set(entry.ports))),
            allow_private=tuple(sorted(set(entry.allow_private), key=_network_order)),
            local=entry.local,
            p2p=entry.p2p,
            evidence=entry.evidence or "",
            unverified=unverified,
        )

    def _service_network(
        self,
        doc: Document[schema.ServicesFile],
        network: Network,
        shield: AddressSet,
        *at: str | int,
    ) -> None:
        if network.prefixlen == 0:
            text = f"{network} is every address, list the networks of the app"
            self.findings.append(doc.error("open-world", text, *at))
            return
        met = shield.meeting(network)
        if met is not None:
            relation = "lies inside" if network.subnet_of(met) else "meets"  # type: ignore[arg-type]  # same version, by meeting()
            text = f"{network} {relation} protected network {self._owner(met)}"
            self.findings.append(doc.error("protected-overlap", text, *at))

    def _service_domains(
        self, doc: Document[schema.ServicesFile], name: str, entry: schema.ServiceModel
    ) -> None:
        never = self.documents.protected.model.never.domains if self.documents.protected else []
        for index, domain in enumerate(entry.domains):
            at = ("services", name, "domains", index)
            for ban in never:
                if _within(domain, ban):
                    text = (
                        f"'{domain}' is never resolved for tablets, see '{ban}' under never.domains"
                    )
                    self.findings.append(doc.error("never-domain", text, *at))

    def _service_shape(
        self, doc: Document[schema.ServicesFile], name: str, entry: schema.ServiceModel
    ) -> None:
        at = ("services", name)
        remote = entry.domains or entry.networks or entry.feed
        if entry.local:
            if remote or entry.ports:
                text = "a local service is answered by the appliance, it has no domains, networks or ports"
                self.findings.append(doc.error("missing-key", text, *at, key=True))
            return
        if not remote:
            text = f"service '{name}' needs domains, networks or a feed"
            self.findings.append(doc.error("missing-key", text, *at, key=True))
        if not entry.ports:
            text = f"service '{name}' needs ports, such as [tcp/443]"
            self.findings.append(doc.error("missing-key", text, *at, key=True))

    def _feed(
        self,
        doc: Document[schema.ServicesFile],
        name: str,
        entry: schema.ServiceModel,
        shield: AddressSet,
    ) -> set[Network]:
        at = ("services", name)
        if entry.feed is None:
            if entry.feed_sets:
                self.findings.append(
                    doc.error("missing-key", "feed-sets without feed", *at, "feed-sets")
                )
            return set()
        feed = self.documents.feeds.get(entry.feed)
        if feed is None:
            known = self.documents.feeds
            text = f"unknown feed '{entry.feed}'{suggest(entry.feed, known)} services/feeds holds: "
            text += ", ".join(sorted(known)) or "none"
            self.findings.append(doc.error("unknown-ref", text, *at, "feed"))
            return set()
        networks: set[Network] = set()
        for index, number in enumerate(entry.feed_sets):
            chosen = feed.model.sets.get(number)
            if chosen is None:
                text = (
                    f"feed '{entry.feed}' has no set '{number}', sets: {', '.join(feed.model.sets)}"
                )
                self.findings.append(doc.error("unknown-ref", text, *at, "feed-sets", index))
                continue
            for position, network in enumerate(chosen.networks):
                loc = ("sets", number, "networks", position)
                self._feed_network(feed, network, shield, *loc)
                self.origins.setdefault(
                    ("services", name, "networks", str(network)), feed.origin(*loc)
                )
                networks.add(network)
        return networks

    def _feed_network(
        self, feed: Document[schema.FeedFile], network: Network, shield: AddressSet, *at: str | int
    ) -> None:
        met = shield.meeting(network)
        if network.prefixlen == 0:
            self.findings.append(feed.error("open-world", f"{network} is every address", *at))
        elif met is not None:
            text = f"{network} meets protected network {self._owner(met)}"
            self.findings.append(feed.error("protected-overlap", text, *at))

    # groups.yaml

    def _groups(self) -> None:
        doc = self.documents.groups
        if doc is None:
            return
        default_deny = (
            self.documents.netguard.model.defaults.deny if self.documents.netguard else "reject"
        )
        for name, entry in doc.model.groups.items():
            self.origins["groups", name] = doc.key_origin("groups", name)
            for index, service in enumerate(entry.allow):
                at = ("groups", name, "allow", index)
                self.origins["groups", name, "allow", service] = doc.origin(*at)
                self._known("service", service, self.services, doc, *at)
                if service in self.services and self.services[service].unverified:
                    text = f"service '{service}' is unverified, nobody has read its vendor's page yet: "
                    text += f"see {self.origins['services', service]}"
                    self.findings.append(doc.error("unverified", text, *at))
            for index, site in enumerate(entry.sites or []):
                if self.documents.sites is not None:
                    self._known("site", site, self.sites, doc, "groups", name, "sites", index)
        for name, entry in doc.model.groups.items():
            chain = self._chain(doc, name)
            services: list[str] = []
            for ancestor in chain:
                for service in doc.model.groups[ancestor].allow:
                    services.append(service)
                    origin = self.origins["groups", ancestor, "allow", service]
                    self.origins.setdefault(("groups", name, "allow", service), origin)
            inherited = [doc.model.groups[ancestor] for ancestor in chain]
            sites = next((group.sites for group in inherited if group.sites is not None), None)
            self.groups[name] = Group(
                name=name,
                sites=tuple(sorted(set(sites if sites is not None else self.sites))),
                allow=tuple(sorted(set(services))),
                deny=next((group.deny for group in inherited if group.deny), default_deny),
                rate=next((_ceiling(group.rate) for group in inherited if group.rate), None),
                hours=next((group.hours for group in inherited if group.hours), None),
            )

    def _chain(self, doc: Document[schema.GroupsFile], name: str) -> list[str]:
        """Return a group and what it extends, nearest first; a loop or an unknown name is reported."""
        chain = [name]
        while True:
            parent = doc.model.groups[chain[-1]].extends
            if parent is None:
                return chain
            at = ("groups", chain[-1], "extends")
            if parent in chain:
                if chain[-1] == name or parent == name:
                    text = f"group '{parent}' extends itself: {' -> '.join([*chain, parent])}"
                    self.findings.append(doc.error("unknown-ref", text, *at))
                return chain
            if parent not in doc.model.groups:
                if len(chain) == 1:
                    self._known("group", parent, doc.model.groups, doc, *at)
                return chain
            chain.append(parent)

    # tablets and their addresses

    def _tablets(self) -> None:
        docs = self.documents
        seen: dict[tuple[str, object], str] = {}
        for tablet in docs.tablets.values():
            origin = docs.tablet_lines[tablet.id]
            self.origins["tablets", tablet.id] = origin
            for kind, column, value in (
                ("duplicate-mac", "mac", tablet.mac),
                ("duplicate-serial", "serial", tablet.serial or None),
                ("duplicate-address", "address", tablet.address),
            ):
                if value is None:
                    continue
                first = seen.setdefault((kind, value), tablet.id)
                if first != tablet.id:
                    line = docs.tablet_lines[first].line
                    self._cell(origin, kind, column, str(value), f"already listed at line {line}")
            self._tablet(tablet, origin)

    def _tablet(self, tablet: Tablet, origin: Origin) -> None:
        docs = self.documents
        if docs.groups is not None and tablet.group not in docs.groups.model.groups:
            self._cell(
                origin,
                "unknown-ref",
                "group",
                tablet.group,
                _known_text("group", tablet.group, docs.groups.model.groups),
            )
        site, area = tablet.home
        if docs.sites is not None:
            if site not in self.sites:
                self._cell(
                    origin,
                    "unknown-ref",
                    "home",
                    f"{site}/{area}",
                    _known_text("site", site, self.sites),
                )
            elif area not in self.sites[site].areas:
                known = self.sites[site].areas
                self._cell(
                    origin,
                    "unknown-ref",
                    "home",
                    f"{site}/{area}",
                    _known_text("area", area, known),
                )
        if tablet.mac in docs.protected_macs:
            text = f"is clinical equipment, see {docs.protected_macs[tablet.mac]}"
            self._cell(origin, "protected-mac", "mac", str(tablet.mac), text)
        if tablet.mac.is_local:
            text = "this tablet rotates its address, turn off the private Wi-Fi address"
            level = WARNING if tablet.private_address else ERROR
            self._cell(origin, "private-mac", "mac", str(tablet.mac), text, level)
        networks = [n for s in self.sites.values() for n in s.networks]
        if tablet.address is not None and self.sites:
            if not any(
                tablet.address in n for n in networks if n.version == tablet.address.version
            ):
                self._cell(
                    origin, "bad-cidr", "address", str(tablet.address), "lies in no site's network"
                )

    def _allotted(self) -> None:
        docs = self.documents
        if docs.sites is None or docs.groups is None:
            return
        taken: dict[Address, tuple[str, Origin]] = {}
        for site in self.sites.values():
            for gateway in site.gateways:
                taken[gateway] = "the gateway", self.origins["sites", site.name, "gateway"]
        for tablet in docs.tablets.values():
            if tablet.address is not None:
                self._take(taken, tablet.address, tablet.id, docs.tablet_lines[tablet.id])
        for (site_name, id_), address in docs.allotted.items():
            origin = docs.allotted_lines[site_name, id_]
            self.origins["allotted", site_name, id_] = origin
            home = self.sites.get(site_name)
            if home is None:
                self._cell(
                    origin,
                    "unknown-ref",
                    "site",
                    site_name,
                    _known_text("site", site_name, self.sites),
                )
            elif id_ not in docs.tablets:
                # A returned tablet keeps its line until the next allot: no fault, no address either.
                continue
            elif not any(address in n for n in home.networks if n.version == address.version):
                self._cell(
                    origin,
                    "bad-cidr",
                    "address",
                    str(address),
                    f"lies in no network of site '{site_name}'",
                )
            else:
                self._take(taken, address, id_, origin)
        self._not_allotted()

    def _take(
        self, taken: dict[Address, tuple[str, Origin]], address: Address, owner: str, origin: Origin
    ) -> None:
        first = taken.setdefault(address, (owner, origin))
        if first[0] != owner:
            text = f"already given to {first[0]} ({first[1]})"
            self._cell(origin, "duplicate-address", "address", str(address), text)

    def _not_allotted(self) -> None:
        docs = self.documents
        for tablet in docs.tablets.values():
            group = self.groups.get(tablet.group)
            for name in group.sites if group else ():
                site = self.sites.get(name)
                if (
                    site is None
                    or site.addresses != "netguard"
                    or (name, tablet.id) in docs.allotted
                ):
                    continue
                own = tablet.address
                if own is None or not any(
                    own in n for n in site.networks if n.version == own.version
                ):
                    text = f"has no address at site '{name}', run: netguard allot"
                    self._cell(docs.tablet_lines[tablet.id], "not-allotted", "id", tablet.id, text)

    def _cell(
        self, origin: Origin, id_: str, column: str, value: str, expected: str, level: str = ERROR
    ) -> None:
        text = f"{column}, '{value}', {expected}"
        self.findings.append(Finding(origin.file, origin.line, 0, level, id_, text, cell=True))

    # references of the files whose meaning comes later

    def _references(self) -> None:
        docs = self.documents
        receivers = docs.alerts.model.receivers if docs.alerts else None
        if docs.groups is not None:
            groups = docs.groups
            for name, group in groups.model.groups.items():
                if group.notify is not None and receivers is not None:
                    self._known(
                        "receiver", group.notify, receivers, groups, "groups", name, "notify"
                    )
            for profile, entries in groups.model.profiles.items():
                for name, change in entries.items():
                    at = ("profiles", profile, name)
                    self._known("group", name, groups.model.groups, groups, *at, key=True)
                    for index, service in enumerate(change.allow or []):
                        self._known("service", service, self.services, groups, *at, "allow", index)
        if docs.presence is not None and docs.sites is not None:
            for site in docs.presence.model.presence.sites:
                at = ("presence", "sites", site)
                self._known("site", site, self.sites, docs.presence, *at, key=True)
        if docs.alerts is not None:
            for name, alert in docs.alerts.model.alerts.items():
                for index, receiver in enumerate(alert.to):
                    at = ("alerts", name, "to", index)
                    self._known("receiver", receiver, docs.alerts.model.receivers, docs.alerts, *at)
        for doc in docs.cases:
            for index, case in enumerate(doc.model.cases):
                self._case(doc, case, "cases", index)

    def _case(
        self, doc: Document[schema.CasesFile], case: schema.CaseModel, *at: str | int
    ) -> None:
        docs = self.documents
        for index, service in enumerate(case.services or []):
            self._known("service", service, self.services, doc, *at, "services", index)
        if case.from_ is not None:
            group = case.from_.group
            if group not in {None, "*"} and docs.groups is not None:
                self._known(
                    "group", str(group), docs.groups.model.groups, doc, *at, "from", "group"
                )
            if case.from_.tablet is not None and docs.tablets:
                self._known("tablet", case.from_.tablet, docs.tablets, doc, *at, "from", "tablet")
            if case.from_.site is not None and self.sites:
                self._known("site", case.from_.site, self.sites, doc, *at, "from", "site")
        if case.to is not None and case.to.protected not in {None, "*"}:
            self._known(
                "protected network",
                str(case.to.protected),
                self.protected,
                doc,
                *at,
                "to",
                "protected",
            )
        aps = {
            ap for site in self.sites.values() for area in site.areas.values() for ap in area.aps
        }
        for index, event in enumerate(case.events or []):
            if docs.tablets:
                self._known(
                    "tablet", event.tablet, docs.tablets, doc, *at, "events", index, "tablet"
                )
            if event.ap is not None and aps:
                self._known("AP", event.ap, aps, doc, *at, "events", index, "ap")
        expect = case.expect
        if isinstance(expect, schema.CaseExpect) and docs.alerts is not None:
            if expect.alert not in {None, "none"}:
                self._known(
                    "alert",
                    str(expect.alert),
                    docs.alerts.model.alerts,
                    doc,
                    *at,
                    "expect",
                    "alert",
                )
            if expect.to is not None:
                self._known(
                    "receiver", expect.to, docs.alerts.model.receivers, doc, *at, "expect", "to"
                )

    def _known(
        self,
        kind: str,
        name: str,
        known: Iterable[str],
        doc: Document[Any],
        *at: str | int,
        key: bool = False,
    ) -> None:
        known = list(known)
        if name not in known:
            text = f"unknown {kind} '{name}'{_known_hint(name, known)}"
            self.findings.append(doc.error("unknown-ref", text, *at, key=key))


def _known_text(kind: str, name: str, known: Mapping[str, object]) -> str:
    return f"unknown {kind}{_known_hint(name, known)}"


def _known_hint(name: str, known: Iterable[str]) -> str:
    near = suggest(name, known)
    if near:
        return near
    names = sorted(known)
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f", known: {listed}" if listed else ", none is defined"


def _within(domain: Domain, ban: Domain) -> bool:
    """Say whether every name that a domain covers is banned."""
    if ban.wildcard:
        return domain.name.endswith("." + ban.name) or (domain.wildcard and domain.name == ban.name)
    return not domain.wildcard and domain.name == ban.name


def _ceiling(model: schema.CeilingModel | None) -> Ceiling | None:
    return Ceiling(model.down, model.up) if model else None


def _network_order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen


def _defaults(head: schema.NetguardFile) -> Defaults:
    given = head.defaults
    return Defaults(
        given.deny,
        given.unknown_mac,
        given.log_denied.rate,
        given.log_denied.burst,
        str(given.dscp),
    )


def _learned(head: schema.NetguardFile) -> Learned:
    given = head.learned
    return Learned(
        given.ttl_floor,
        given.ttl_ceiling,
        given.grace,
        given.reply_ttl_ceiling,
        given.addresses_per_name,
        given.addresses_per_service,
    )


def _resolver(head: schema.NetguardFile) -> Resolver:
    given = head.resolver
    return Resolver(
        tuple(given.upstream),
        given.intercept_port_53,
        given.denied_answer,
        tuple(sorted(given.canaries)),
    )
