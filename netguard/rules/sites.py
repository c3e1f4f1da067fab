"""sites.yaml: what only shows when its entries are seen together, and with protected networks."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from netguard.core.names import Address, Network
from netguard.core.policy import Area, Ceiling, Nas, Origin, Site, Walk
from netguard.core.psk import FORMS
from netguard.rules import schema, schema_watch
from netguard.rules.review import Review
from netguard.rules.typed import Document

# How many areas a walk has, and how long one may take.
_ENDS = 2
_SHORTEST, _LONGEST = timedelta(seconds=10), timedelta(hours=1)

SitesDocument = Document[schema.SitesFile]


def judge_sites(review: Review) -> Mapping[str, Site]:
    """Return the sites by name."""
    doc = review.documents.sites
    if doc is None:
        return {}
    if review.documents.names.sites == frozenset():
        review.error(doc, "missing-key", "no site, name at least one", "sites")
    used: dict[str, Origin] = {}
    sites = {}
    for name, entry in doc.model.sites.items():
        _origins(review, doc, name, entry)
        _cabling(review, doc, name, entry, used)
        _addressing(review, doc, name, entry)
        _dhcp(review, doc, name, entry)
        _vlans(review, doc, name, entry)
        _keys(review, doc, name, entry)
        _walks(review, doc, name, entry)
        sites[name] = replace(_site(name, entry), interim=_interim(review, name))
    _nas_apart(review, doc, sites)
    _networks_apart(review, doc, sites)
    return sites


def ceiling(model: schema.CeilingModel | None) -> Ceiling | None:
    """Return a pair of rates as the core's value."""
    return Ceiling(model.down, model.up) if model else None


def reserved(address: Address, networks: tuple[Network, ...]) -> str:
    """Say why no host may have an IPv4 address: it names its network, or is its broadcast."""
    for network in networks:
        if network.version == address.version == 4 and network.prefixlen < 31:
            if address == network.network_address:
                return f"is the network address of {network}"
            if address == network.broadcast_address:
                return f"is the broadcast address of {network}"
    return ""


def _origins(review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel) -> None:
    at = ("sites", name)
    review.origins[at] = doc.key_origin(*at)
    for key in ("ssid", "vlan", "enrolment-vlan", "networks", "gateway", "ipv6", "other-networks"):
        review.origins["sites", name, key] = doc.origin(*at, key)
    for nas in entry.nas:
        review.origins["sites", name, "nas", nas] = doc.key_origin(*at, "nas", nas)
        review.origins["sites", name, "nas", nas, "psk"] = doc.origin(*at, "nas", nas, "psk")
    for area, each in entry.areas.items():
        review.origins["sites", name, "areas", area] = doc.key_origin(*at, "areas", area)
        for index, group in enumerate(each.closed_to):
            place = ("areas", area, "closed-to")
            review.origins["sites", name, *place, group] = doc.origin(*at, *place, index)


def _interim(review: Review, site: str) -> timedelta:
    """Return how often a NAS shall report a session: the site's own span, else the common one."""
    doc = review.documents.presence
    if doc is None:
        return schema_watch.Heartbeat().interim
    own = doc.model.presence.sites.get(site)
    given = (own.heartbeat if own else None) or doc.model.presence.heartbeat
    return (given or schema_watch.Heartbeat()).interim


def _site(name: str, entry: schema.SiteModel) -> Site:
    return Site(
        name=name,
        label=entry.name or name,
        time_zone=entry.time_zone,
        ssid=entry.ssid,
        vlan=entry.vlan,
        quarantine_vlan=entry.quarantine_vlan,
        enrolment_vlan=entry.enrolment_vlan,
        interfaces=tuple(sorted(entry.interfaces)),
        uplink=entry.uplink,
        nat=entry.nat,
        networks=tuple(entry.networks),
        gateways=tuple(entry.gateway),
        addresses=entry.addresses,
        dhcp_servers=tuple(entry.dhcp_server),
        ipv6=entry.ipv6,
        other_networks=entry.other_networks,
        ceiling=ceiling(entry.ceiling),
        nas={
            nas: Nas(
                nas,
                each.address,
                str(each.vendor),
                each.message_authenticator,
                each.secret_file,
                each.psk == "per-tablet" and str(each.vendor) in FORMS,
            )
            for nas, each in entry.nas.items()
        },
        areas={
            area: Area(
                area,
                each.name or area,
                tuple(sorted(each.aps)),
                each.edge,
                each.expected_silent,
                tuple(sorted(set(each.closed_to))),
            )
            for area, each in entry.areas.items()
        },
        walks=tuple(
            sorted(
                Walk((min(each.between), max(each.between)), each.takes)
                for each in entry.walks
                if len(set(each.between)) == _ENDS
            )
        ),
    )


def _walks(review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel) -> None:
    seen: dict[frozenset[str], Origin] = {}
    for index, walk in enumerate(entry.walks):
        at = ("sites", name, "walks", index)
        for number, area in enumerate(walk.between):
            known = review.documents.names.areas.get(name)
            review.known("area", area, known, doc, *at, "between", number)
        ends = frozenset(walk.between)
        if len(walk.between) != _ENDS or len(ends) != _ENDS:
            text = "a walk is between two areas, write [lobby, cardio-3]"
            review.error(doc, "bad-walk", text, *at, "between")
        elif ends in seen:
            text = f"the walk between these areas is already at line {seen[ends].line}"
            review.error(doc, "bad-walk", text, *at, "between")
        seen.setdefault(ends, doc.origin(*at, "between"))
        if not _SHORTEST <= walk.takes <= _LONGEST:
            text = "a walk takes 10s to 1h; leave out areas whose access points are heard in both"
            review.error(doc, "bad-walk", text, *at, "takes")


def _cabling(
    review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel, used: dict[str, Origin]
) -> None:
    at = ("sites", name)
    try:
        ZoneInfo(entry.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = f"unknown time zone '{entry.time_zone}', write an IANA name such as Europe/Paris"
        review.error(doc, "schedule", text, *at, "time-zone")
    if not entry.interfaces:
        text = "no interface, name the interfaces of the tablet VLAN"
        review.error(doc, "missing-key", text, *at, "interfaces")
    for index, interface in enumerate(entry.interfaces):
        if interface in used:
            text = f"interface '{interface}' is already used at line {used[interface].line}"
            review.error(doc, "interface-twice", text, *at, "interfaces", index)
        used.setdefault(interface, doc.origin(*at, "interfaces", index))
    if entry.uplink in entry.interfaces:
        text = f"the uplink '{entry.uplink}' is also an interface of the tablets"
        review.error(doc, "interface-twice", text, *at, "uplink")


def _addressing(review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel) -> None:
    at = ("sites", name)
    if not any(network.version == 4 for network in entry.networks):
        text = "no IPv4 network, write the prefix of the tablet VLAN"
        review.error(doc, "missing-key", text, *at, "networks")
    for version in sorted({network.version for network in entry.networks}):
        if not any(gateway.version == version for gateway in entry.gateway):
            text = f"no IPv{version} gateway for the IPv{version} network"
            review.error(doc, "missing-key", text, *at, "gateway")
    for index, gateway in enumerate(entry.gateway):
        if not any(gateway in n for n in entry.networks if n.version == gateway.version):
            text = f"gateway {gateway} lies in none of the site's networks"
            review.error(doc, "bad-cidr", text, *at, "gateway", index)
        wrong = reserved(gateway, tuple(entry.networks))
        if wrong:
            text = f"gateway {gateway} {wrong}, write an address within"
            review.error(doc, "bad-cidr", text, *at, "gateway", index)


def _dhcp(review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel) -> None:
    at = ("sites", name)
    if entry.addresses == "external" and not entry.dhcp_server:
        text = "addresses are external: name the hospital's DHCP servers, dhcp-server: [10.1.1.67]"
        review.error(doc, "missing-key", text, *at, "addresses")
    for index, server in enumerate(entry.dhcp_server):
        place = (*at, "dhcp-server", index)
        if entry.addresses != "external":
            text = "netguard gives the addresses here: leave dhcp-server out, or write addresses: external"
            review.error(doc, "bad-word", text, *place)
        elif server.version != 4:
            review.error(doc, "bad-address", f"{server}: DHCP is relayed over IPv4", *place)
        elif any(server in n for n in entry.networks if n.version == 4):
            text = f"{server} lies in the tablets' own network; a relay is for a server elsewhere"
            review.error(doc, "bad-address", text, *place)


def _vlans(review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel) -> None:
    protected = review.documents.protected
    never = protected.model.never.vlans if protected else []
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
            review.error(doc, "vlan-clash", text, "sites", name, key)
        if vlan in seen:
            text = f"VLAN {vlan} is also this site's {seen[vlan]}"
            review.error(doc, "vlan-clash", text, "sites", name, key)
        seen.setdefault(vlan, key)


def _keys(review: Review, doc: SitesDocument, name: str, entry: schema.SiteModel) -> None:
    """Refuse a key per tablet where the product is known to take none with an answer of RADIUS."""
    for nas, each in entry.nas.items():
        if each.psk == "per-tablet" and str(each.vendor) not in FORMS:
            text = (
                f"no attribute is known by which '{each.vendor}' takes a key per tablet from RADIUS; write "
                f"psk: shared, or leave it out; these take one: {', '.join(sorted(FORMS))}"
            )
            review.error(doc, "psk-vendor", text, "sites", name, "nas", nas, "psk")


def _nas_apart(review: Review, doc: SitesDocument, sites: Mapping[str, Site]) -> None:
    names: dict[str, str] = {}
    addresses: dict[Network, str] = {}
    for site in sites.values():
        for nas in site.nas.values():
            at = ("sites", site.name, "nas", nas.name)
            if nas.name in names:
                text = f"NAS '{nas.name}' is already a NAS of site '{names[nas.name]}'"
                review.error(doc, "duplicate-name", text, *at, key=True)
            names[nas.name] = site.name
            if nas.address in addresses:
                text = f"{nas.address} is already the address of NAS '{addresses[nas.address]}'"
                review.error(doc, "duplicate-address", text, *at, "address")
            addresses.setdefault(nas.address, nas.name)


def _networks_apart(review: Review, doc: SitesDocument, sites: Mapping[str, Site]) -> None:
    before: list[tuple[Network, str]] = []
    for site in sites.values():
        for index, network in enumerate(site.networks):
            at = ("sites", site.name, "networks", index)
            met = review.shield.meeting(network)
            if met is not None:
                text = f"{network} meets protected network {review.owner(met)}"
                review.error(doc, "protected-overlap", text, *at)
            for other, owner in before:
                if other.version == network.version and other.overlaps(network):
                    text = f"{network} meets {other} of site '{owner}'"
                    review.error(doc, "network-overlap", text, *at)
            before.append((network, site.name))
