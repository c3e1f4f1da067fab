"""What is legal and still worth a second look, and the few errors that need outside data.

Each warning belongs to one entry (a service, a site, an area, a group) and that entry may accept
it with a reason: `accept: {shared-host: "the app has no other name"}`. Errors cannot be accepted.
"""

import datetime
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from publicsuffixlist import PublicSuffixList

from netguard.core.intervals import AddressSet
from netguard.core.names import Mac, parse_network, suggest
from netguard.core.policy import Policy, Tablet
from netguard.rules import schema
from netguard.rules.build import Documents
from netguard.rules.findings import ERROR, WARNING, Finding
from netguard.rules.source import Entries, Items, Source, Text
from netguard.rules.typed import Document

STALE_FEED = datetime.timedelta(days=35)
STALE_REVIEW = datetime.timedelta(days=365)
SHRINK = 0.2

# Names and addresses of public DoH resolvers: whoever may reach one has names without our proxy.
DOH_NAMES = (
    "dns.google",
    "dns64.dns.google",
    "cloudflare-dns.com",
    "one.one.one.one",
    "dns.quad9.net",
    "doh.opendns.com",
    "dns.nextdns.io",
    "dns.adguard-dns.com",
    "doh.cleanbrowsing.org",
    "mozilla.cloudflare-dns.com",
)
DOH_ADDRESSES = AddressSet(
    parse_network(f"{address}/32")
    for address in ("8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "149.112.112.112")
)
# Hosts shared by all customers of a cloud that the public suffix list does not know as such.
SHARED_HOSTS = ("googleusercontent.com", "googleapis.com", "gstatic.com", "amazonaws.com")

# What the IEEE registry calls the makers of the tablets that inventories name by model.
_MAKERS = {
    "sm-": ("samsung",),
    "galaxy": ("samsung",),
    "ipad": ("apple",),
    "iphone": ("apple",),
    "tb-": ("lenovo",),
    "tab m": ("lenovo",),
    "mediapad": ("huawei",),
    "matepad": ("huawei",),
    "ags": ("huawei",),
    "redmi": ("xiaomi",),
    "pixel": ("google",),
    "surface": ("microsoft",),
}


def lint(documents: Documents, policy: Policy | None, today: datetime.date) -> list[Finding]:
    """Return the warnings that no entry accepts, and the errors that need outside data."""
    return [
        *_service_findings(documents, today),
        *_feed_findings(documents, today),
        *_site_findings(documents),
        *_group_findings(documents, today),
        *_unused(documents),
        *_makers(documents, policy),
    ]


class _Entry:
    """One entry of a file: makes its findings and knows which of them it accepts."""

    def __init__(
        self,
        doc: Document[Any],
        accept: Mapping[str, str],
        *path: str | int,
    ) -> None:
        self._doc = doc
        self._accept = accept
        self._path = path

    def warn(self, id_: str, text: str, *loc: str | int, key: bool = False) -> Iterator[Finding]:
        if id_ not in self._accept:
            yield self._doc.warning(id_, text, *self._path, *loc, key=key or not loc)

    def error(self, id_: str, text: str, *loc: str | int) -> Iterator[Finding]:
        yield self._doc.error(id_, text, *self._path, *loc)

    def known_accepts(self) -> Iterator[Finding]:
        """Report accepted findings that do not exist: a typo would silence nothing."""
        for id_ in self._accept:
            if id_ not in ACCEPTABLE:
                text = f"'{id_}' is no finding that can be accepted{suggest(id_, ACCEPTABLE)}"
                yield self._doc.warning("unknown-ref", text, *self._path, "accept", id_, key=True)


ACCEPTABLE = frozenset(
    {
        "ap-twice",
        "area-empty",
        "doh",
        "ipv6-full",
        "mixed-script",
        "no-case",
        "no-edge",
        "no-evidence",
        "shadowed",
        "shared-host",
        "stale-feed",
        "stale-review",
        "unused",
        "wide",
    }
)


# services


def _service_findings(documents: Documents, today: datetime.date) -> Iterator[Finding]:
    for doc, unverified in documents.services:
        for name, service in doc.model.services.items():
            entry = _Entry(doc, service.accept, "services", name)
            yield from entry.known_accepts()
            yield from _domain_findings(entry, service)
            yield from _mixed_script(entry, doc.source, name)
            yield from _network_findings(entry, service)
            yield from _shadowed(entry, service)
            # An entry under unverified/ says by its place that nobody has read its page yet, and
            # no group may allow it.
            if service.local is not None or unverified:
                continue
            if service.evidence is None or service.evidence == "not verified":
                yield from entry.warn(
                    "no-evidence", f"service '{name}': nobody has read its vendor's page"
                )
            elif service.reviewed is None:
                yield from entry.warn(
                    "no-evidence", f"service '{name}' lacks 'reviewed', the day its page was read"
                )
            if service.reviewed is not None and today - service.reviewed > STALE_REVIEW:
                days = (today - service.reviewed).days
                text = f"reviewed {days} days ago, read the vendor's page again"
                yield from entry.warn("stale-review", text, "reviewed")


@cache
def _suffixes() -> tuple[PublicSuffixList, PublicSuffixList]:
    return PublicSuffixList(only_icann=True), PublicSuffixList()


def _domain_findings(entry: _Entry, service: schema.ServiceModel) -> Iterator[Finding]:
    registries, everyone = _suffixes()
    for index, domain in enumerate(service.domains):
        at = ("domains", index)
        if registries.publicsuffix(domain.name) == domain.name:
            text = f"'{domain}' is a public suffix, it opens every site below .{domain.name}"
            yield from entry.error("public-suffix", text, *at)
        elif domain.wildcard and (
            everyone.publicsuffix(domain.name) == domain.name
            or any(domain.name == host or domain.name.endswith("." + host) for host in SHARED_HOSTS)
        ):
            text = f"'{domain}' opens every customer of that host, write the app's own names"
            yield from entry.warn("shared-host", text, *at)
        if any(domain.covers(host) for host in DOH_NAMES):
            text = f"'{domain}' lets tablets resolve names past the proxy (DNS over HTTPS)"
            yield from entry.warn("doh", text, *at)


def _mixed_script(entry: _Entry, source: Source, name: str) -> Iterator[Finding]:
    """Show the IDNA form of names whose letters come from several scripts (a Cyrillic a)."""
    root = source.root
    services = root.values.get("services") if isinstance(root, Entries) else None
    service = services.values.get(name) if isinstance(services, Entries) else None
    domains = service.values.get("domains") if isinstance(service, Entries) else None
    for index, item in enumerate(domains.items if isinstance(domains, Items) else ()):
        if isinstance(item, Text) and not item.value.isascii():
            scripts = {unicodedata.name(c, "?").split()[0] for c in item.value if c.isalpha()}
            if len(scripts) > 1:
                shown = ".".join(
                    label if label.isascii() else "xn--" + label.encode("punycode").decode()
                    for label in item.value.split(".")
                )
                text = f"'{item.value}' mixes scripts ({', '.join(sorted(scripts))}), it is {shown}"
                yield from entry.warn("mixed-script", text, "domains", index)


def _network_findings(entry: _Entry, service: schema.ServiceModel) -> Iterator[Finding]:
    for index, network in enumerate(service.networks):
        wide = network.prefixlen < (16 if network.version == 4 else 32)
        if wide and network.prefixlen > 0:
            text = f"{network} is {network.num_addresses:,} addresses"
            yield from entry.warn("wide", text, "networks", index)
        if DOH_ADDRESSES.meeting(network) is not None:
            text = f"{network} holds a public resolver, tablets could resolve names past the proxy"
            yield from entry.warn("doh", text, "networks", index)


def _shadowed(entry: _Entry, service: schema.ServiceModel) -> Iterator[Finding]:
    """Report what another item of the same list already says: exact algebra, or silence."""
    for index, network in enumerate(service.networks):
        for other in service.networks:
            if other != network and other.version == network.version and network.subnet_of(other):  # type: ignore[arg-type]  # same version
                yield from entry.warn(
                    "shadowed", f"{network} already lies in {other}", "networks", index
                )
                break
    for index, ports in enumerate(service.ports):
        for wider in service.ports:
            same = wider.protocol == ports.protocol and wider != ports
            if same and wider.first <= ports.first and ports.last <= wider.last:
                yield from entry.warn(
                    "shadowed", f"{ports} already lies in {wider}", "ports", index
                )
                break
    for index, domain in enumerate(service.domains):
        for wild in service.domains:
            if wild != domain and wild.wildcard and domain.name.endswith("." + wild.name):
                yield from entry.warn(
                    "shadowed", f"'{domain}' is already covered by '{wild}'", "domains", index
                )
                break


def _feed_findings(documents: Documents, today: datetime.date) -> Iterator[Finding]:
    for name, doc in documents.feeds.items():
        entry = _Entry(doc, doc.model.accept)
        yield from entry.known_accepts()
        age = today - doc.model.retrieved
        if age > STALE_FEED:
            text = f"feed '{name}' was retrieved {age.days} days ago, retrieve it again"
            yield from entry.warn("stale-feed", text, "retrieved")


# sites, areas


def _site_findings(documents: Documents) -> Iterator[Finding]:
    doc = documents.sites
    if doc is None:
        return
    for name, site in doc.model.sites.items():
        entry = _Entry(doc, site.accept, "sites", name)
        yield from entry.known_accepts()
        if site.ipv6 == "full":
            text = "this release drops and counts all IPv6 of tablets, also where it says full"
            yield from entry.warn("ipv6-full", text, "ipv6")
        if not any(area.edge for area in site.areas.values()):
            yield from entry.warn(
                "no-edge", f"site '{name}' has no edge area, no area next to an exit", "areas"
            )
        aps: dict[str, str] = {}
        for area_name, area in site.areas.items():
            inner = _Entry(doc, {**site.accept, **area.accept}, "sites", name, "areas", area_name)
            yield from _Entry(doc, area.accept, "sites", name, "areas", area_name).known_accepts()
            if not area.aps:
                yield from inner.warn("area-empty", f"area '{area_name}' has no AP")
            for index, ap in enumerate(area.aps):
                first = aps.setdefault(ap.lower(), area_name)
                if first != area_name:
                    text = f"AP '{ap}' is also in area '{first}'"
                    yield from inner.warn("ap-twice", text, "aps", index)


# groups


def _group_findings(documents: Documents, today: datetime.date) -> Iterator[Finding]:
    doc = documents.groups
    if doc is None:
        return
    tested = {case.from_.group for d in documents.cases for case in d.model.cases if case.from_}
    for name, group in doc.model.groups.items():
        entry = _Entry(doc, group.accept, "groups", name)
        yield from entry.known_accepts()
        if name not in tested and "*" not in tested:
            yield from entry.warn("no-case", f"group '{name}' has no case under tests/")
        elif name not in tested and group.allow:
            yield from entry.warn(
                "no-case", f"group '{name}' allows services and no case under tests/ names it"
            )
        if group.hours is not None and documents.sites is not None:
            for site in documents.sites.model.sites.values():
                for hour in (group.hours.start, group.hours.end):
                    skipped = _skipped(site.time_zone, hour, today)
                    if skipped is not None:
                        text = f"{hour:%H:%M} does not exist on {skipped} in {site.time_zone} (clock change)"
                        yield from entry.error("schedule", text, "hours")


def _skipped(zone_name: str, hour: datetime.time, today: datetime.date) -> datetime.date | None:
    """Return a day of the coming year on which the clocks jump over this time of day, or None."""
    try:
        zone = ZoneInfo(zone_name)
    except (ValueError, OSError, KeyError):
        return None
    for days in range(366):
        day = today + datetime.timedelta(days=days)
        local = datetime.datetime.combine(day, hour, zone)
        if local.astimezone(datetime.UTC).astimezone(zone).time() != hour:
            return day
    return None


def _unused(documents: Documents) -> Iterator[Finding]:
    """Report services that no group allows and receivers that no alert and no group uses."""
    if documents.groups is None:
        return
    groups = documents.groups.model
    used = {service for group in groups.groups.values() for service in group.allow}
    for profile in groups.profiles.values():
        used |= {service for change in profile.values() for service in change.allow or []}
    for doc, unverified in documents.services:
        for name, service in doc.model.services.items():
            # The catalogue ships more than a hospital allows: only an entry that somebody
            # put aside on purpose (unverified) or that another file mentions needs no remark.
            if name not in used and not unverified and not service.label:
                entry = _Entry(doc, service.accept, "services", name)
                yield from entry.warn("unused", f"no group allows service '{name}'")
    if documents.alerts is not None:
        alerts = documents.alerts.model
        called = {name for alert in alerts.alerts.values() for name in alert.to}
        called |= {group.notify for group in groups.groups.values() if group.notify}
        for name in alerts.receivers:
            if name not in called:
                text = f"no alert and no group uses receiver '{name}'"
                yield documents.alerts.warning("unused", text, "receivers", name, key=True)


# inventory


def _makers(documents: Documents, policy: Policy | None) -> Iterator[Finding]:
    if policy is None:
        return
    for tablet in policy.tablets.values():
        maker = _maker(tablet.mac.text[:8].upper().replace(":", "-"))
        expected = _expected_maker(tablet)
        if maker and expected and not any(word in maker.lower() for word in expected):
            origin = documents.tablet_lines[tablet.id]
            text = f"mac, '{tablet.mac}', is registered to {maker}, the model says {tablet.model}"
            yield Finding(origin.file, origin.line, 0, WARNING, "oui-model", text, cell=True)


def _expected_maker(tablet: Tablet) -> tuple[str, ...]:
    model = tablet.model.lower()
    return next((makers for prefix, makers in _MAKERS.items() if model.startswith(prefix)), ())


@cache
def _maker(prefix: str) -> str:
    """Return the registered maker of an OUI, or an empty text; the registry is netaddr's."""
    from netaddr import OUI, NotRegisteredError  # noqa: PLC0415  # 0.2 s that only tables of MACs pay

    try:
        return str(OUI(prefix).registration()["org"])
    except NotRegisteredError:
        return ""


def shrink(previous: Mapping[str, Mac], now: Policy, name: str) -> list[Finding]:
    """Report an inventory that lost more than a fifth of its tablets against the one in force."""
    gone = len(set(previous) - set(now.tablets))
    if previous and gone > SHRINK * len(previous):
        text = (
            f"{gone} of {len(previous)} tablets are gone against the inventory in force, "
            "apply with --confirm-shrink if that is meant"
        )
        return [Finding(name, 0, 0, ERROR, "shrink", text)]
    return []
