"""What is legal in a catalogue and still worth a second look: too wide, too old, said twice."""

import datetime
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache

from publicsuffixlist import PublicSuffixList

from netguard.core.intervals import AddressSet
from netguard.core.learning import may_be_special
from netguard.core.names import Domain, Network, Ports, parse_network
from netguard.rules import schema
from netguard.rules.accepting import Entry
from netguard.rules.documents import Documents
from netguard.rules.findings import Finding
from netguard.rules.services import fed
from netguard.rules.source import Entries, Items, Source, Text
from netguard.rules.typed import Document

STALE_FEED = datetime.timedelta(days=35)
STALE_REVIEW = datetime.timedelta(days=365)

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


def judge_catalogue(documents: Documents, today: datetime.date) -> Iterator[Finding]:
    """Warn about services and feeds."""
    yield from _feed_findings(documents, today)
    for doc, unverified in documents.services:
        for name, service in doc.model.services.items():
            entry = Entry(doc, service.accept, "services", name)
            yield from entry.known_accepts()
            yield from _domain_findings(entry, service)
            yield from _mixed_script(entry, doc.source, name)
            yield from _network_findings(entry, service, documents.feeds)
            yield from _shadowed(entry, service)
            yield from _never_matches(entry, service)
            # An entry under unverified/ says by its place that nobody has read its page yet, and
            # no group may allow it.
            if service.local is None and not unverified:
                yield from _evidence(entry, name, service, today)


def _evidence(
    entry: Entry, name: str, service: schema.ServiceModel, today: datetime.date
) -> Iterator[Finding]:
    if service.evidence is None or service.evidence == "not verified":
        text = f"service '{name}': nobody has read its vendor's page"
        yield from entry.warn("no-evidence", text)
    elif service.reviewed is None:
        text = f"service '{name}' lacks 'reviewed', the day its page was read"
        yield from entry.warn("no-evidence", text)
    if service.reviewed is not None and today - service.reviewed > STALE_REVIEW:
        days = (today - service.reviewed).days
        text = f"reviewed {days} days ago, read the vendor's page again"
        yield from entry.warn("stale-review", text, "reviewed")


# Each costs a tenth of a second to read: only where a name is held against it.
@cache
def _registries() -> PublicSuffixList:
    return PublicSuffixList(only_icann=True)


@cache
def _everyone() -> PublicSuffixList:
    return PublicSuffixList()


def _domain_findings(entry: Entry, service: schema.ServiceModel) -> Iterator[Finding]:
    for index, domain in enumerate(service.domains):
        at = ("domains", index)
        if _registries().publicsuffix(domain.name) == domain.name:
            text = f"'{domain}' is a public suffix, it opens every site below .{domain.name}"
            yield from entry.error("public-suffix", text, *at)
        elif domain.wildcard and (
            _everyone().publicsuffix(domain.name) == domain.name
            or any(domain.name == host or domain.name.endswith("." + host) for host in SHARED_HOSTS)
        ):
            text = f"'{domain}' opens every customer of that host, write the app's own names"
            yield from entry.warn("shared-host", text, *at)
        if any(domain.covers(host) for host in DOH_NAMES):
            text = f"'{domain}' lets tablets resolve names past the proxy (DNS over HTTPS)"
            yield from entry.warn("doh", text, *at)


def _mixed_script(entry: Entry, source: Source, name: str) -> Iterator[Finding]:
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


def _network_findings(
    entry: Entry, service: schema.ServiceModel, feeds: Mapping[str, Document[schema.FeedFile]]
) -> Iterator[Finding]:
    for index, network in enumerate(service.networks):
        for id_, text in _suspicious(network):
            yield from entry.warn(id_, text, "networks", index)
    for feed, loc, network in fed(feeds, service):
        source = Entry(feed, feed.model.accept)
        for id_, text in _suspicious(network):
            # The list is the vendor's: the service that takes it may give the reason as well.
            if not entry.accepts(id_):
                yield from source.warn(id_, text, *loc)


def _suspicious(network: Network) -> Iterator[tuple[str, str]]:
    if 0 < network.prefixlen < (16 if network.version == 4 else 32):
        yield "wide", f"{network} is {network.num_addresses:,} addresses"
    if DOH_ADDRESSES.meeting(network) is not None:
        text = f"{network} holds a public resolver, tablets could resolve names past the proxy"
        yield "doh", text


def _shadowed(entry: Entry, service: schema.ServiceModel) -> Iterator[Finding]:
    """Report what another item of the same list already says: exact algebra, or silence."""
    open_world = any(network.prefixlen == 0 for network in service.networks)
    for index, network in enumerate(service.networks if not open_world else ()):
        around = next((n for n in service.networks if _lies_in(network, n)), None)
        if around is not None:
            yield from entry.warn(
                "shadowed", f"{network} already lies in {around}", "networks", index, instead=""
            )
    for index, ports in enumerate(service.ports):
        wider = next((p for p in service.ports if _covered(ports, p)), None)
        if wider is not None:
            yield from entry.warn(
                "shadowed", f"{ports} already lies in {wider}", "ports", index, instead=""
            )
    for index, domain in enumerate(service.domains):
        wild = next((d for d in service.domains if _matched(domain, d)), None)
        if wild is not None:
            # Not for lint --fix: names without a star are resolved before anybody asks.
            text = f"'{domain}' is already covered by '{wild}'"
            yield from entry.warn("shadowed", text, "domains", index)


def _never_matches(entry: Entry, service: schema.ServiceModel) -> Iterator[Finding]:
    """Report exceptions of the address filter that it never needs: exact, or silence."""
    for index, network in enumerate(service.allow_private):
        text = ""
        # Without names `sni: strict` is an error already.
        if not service.domains and service.sni is None:
            text = f"the service has no names, so no answer is ever held against {network}"
        elif not may_be_special(network):
            text = f"{network} is public: the address filter never refuses it"
        if text:
            yield from entry.warn("never-matches", text, "allow-private", index)


def _lies_in(network: Network, other: Network) -> bool:
    return (
        network != other
        and network.version == other.version
        and network.prefixlen > other.prefixlen
        and network.network_address in other
    )


def _covered(ports: Ports, other: Ports) -> bool:
    return (
        ports != other
        and ports.protocol == other.protocol
        and other.first <= ports.first
        and ports.last <= other.last
    )


def _matched(domain: Domain, other: Domain) -> bool:
    return other.wildcard and domain.name.endswith("." + other.name)


def _feed_findings(documents: Documents, today: datetime.date) -> Iterator[Finding]:
    for name, doc in documents.feeds.items():
        entry = Entry(doc, doc.model.accept)
        yield from entry.known_accepts()
        age = today - doc.model.retrieved
        if age > STALE_FEED:
            text = f"feed '{name}' was retrieved {age.days} days ago, retrieve it again"
            yield from entry.warn("stale-feed", text, "retrieved")
