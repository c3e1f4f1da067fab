"""services/*.yaml and their vendor feeds: held against protected networks and names never resolved."""

from collections.abc import Iterator, Mapping

from netguard.core.denials import REASONS
from netguard.core.names import Domain, Network, certain, suggest_of
from netguard.core.policy import Service
from netguard.rules import schema
from netguard.rules.review import Review
from netguard.rules.typed import Document

ServicesDocument = Document[schema.ServicesFile]
# What GROUP/... says beside a service: why something was refused, or how a tablet was admitted.
RESERVED = frozenset({*REASONS, "deny", "admit", "areas", "sites"})
# A network that a service opens, with the file and the place where it is written.
Fed = tuple[Document[schema.FeedFile], tuple[str | int, ...], Network]


def judge_services(review: Review) -> Mapping[str, Service]:
    """Return the services by name."""
    services: dict[str, Service] = {}
    for feed in review.documents.feeds.values():
        # Whether or not a service takes from it: what stands here is the next one's choice.
        for number, chosen in feed.model.sets.items():
            for index, network in enumerate(chosen.networks):
                _network(review, feed, network, "sets", number, "networks", index)
    for doc, unverified in review.documents.services:
        for name, entry in doc.model.services.items():
            if name in services:
                first = review.origins["services", name]
                text = f"service '{name}' is already defined at {first}"
                review.error(doc, "duplicate-name", text, "services", name, key=True)
            else:
                services[name] = _service(review, doc, name, entry, unverified=unverified)
    return services


def fed(
    feeds: Mapping[str, Document[schema.FeedFile]], entry: schema.ServiceModel
) -> Iterator[Fed]:
    """Yield the networks that a service takes from its vendor's feed, with their places."""
    feed = feeds.get(entry.feed) if entry.feed is not None else None
    if feed is None:
        return
    for number in entry.feed_sets:
        chosen = feed.model.sets.get(number)
        for index, network in enumerate(chosen.networks if chosen else ()):
            yield feed, ("sets", number, "networks", index), network


def _service(
    review: Review,
    doc: ServicesDocument,
    name: str,
    entry: schema.ServiceModel,
    *,
    unverified: bool,
) -> Service:
    at = ("services", name)
    review.origins[at] = doc.key_origin(*at)
    if name in RESERVED:
        text = f"'{name}' is a word for refusals in 'group/{name}', choose another name"
        review.error(doc, "bad-name", text, *at, key=True)
    for key, values in (
        ("domains", entry.domains),
        ("networks", entry.networks),
        ("ports", entry.ports),
    ):
        for index, value in enumerate(values):
            review.origins["services", name, key, str(value)] = doc.origin(*at, key, index)
    for key, networks in (("networks", entry.networks), ("allow-private", entry.allow_private)):
        for index, network in enumerate(networks):
            _network(review, doc, network, *at, key, index)
    _never(review, doc, name, entry)
    _shape(review, doc, name, entry)
    _strict(review, doc, name, entry)
    _feed_named(review, doc, name, entry)
    taken = set()
    for feed, loc, network in fed(review.documents.feeds, entry):
        taken.add(network)
        review.origins.setdefault(("services", name, "networks", str(network)), feed.origin(*loc))
    return Service(
        name=name,
        label=entry.label or name,
        domains=tuple(sorted(set(entry.domains))),
        networks=tuple(sorted({*entry.networks, *taken}, key=_order)),
        ports=tuple(sorted(set(entry.ports))),
        allow_private=tuple(sorted(set(entry.allow_private), key=_order)),
        local=entry.local,
        p2p=entry.p2p,
        evidence=entry.evidence or "",
        unverified=unverified,
        sni=entry.sni,
    )


def _network(
    review: Review,
    doc: ServicesDocument | Document[schema.FeedFile],
    network: Network,
    *at: str | int,
) -> None:
    if network.prefixlen == 0:
        text = f"{network} is every address, list the networks of the app"
        review.error(doc, "open-world", text, *at)
        return
    met = review.shield.meeting(network)
    if met is not None:
        relation = "lies inside" if network.prefixlen >= met.prefixlen else "meets"
        text = f"{network} {relation} protected network {review.owner(met)}"
        review.error(doc, "protected-overlap", text, *at)


def _never(review: Review, doc: ServicesDocument, name: str, entry: schema.ServiceModel) -> None:
    protected = review.documents.protected
    never = protected.model.never.domains if protected else []
    for index, domain in enumerate(entry.domains):
        for ban in never:
            if _within(domain, ban):
                text = f"'{domain}' is never resolved for tablets, see '{ban}' under never.domains"
                review.error(doc, "never-domain", text, "services", name, "domains", index)


def _shape(review: Review, doc: ServicesDocument, name: str, entry: schema.ServiceModel) -> None:
    at = ("services", name)
    remote = entry.domains or entry.networks or entry.feed
    if entry.local:
        if remote or entry.ports:
            text = (
                "a local service is answered by the appliance, it has no domains, networks or ports"
            )
            review.error(doc, "missing-key", text, *at, key=True)
        return
    if not remote:
        text = f"service '{name}' needs domains, networks or a feed"
        review.error(doc, "missing-key", text, *at, key=True)
    if not entry.ports:
        text = f"service '{name}' needs ports, such as [tcp/443]"
        review.error(doc, "missing-key", text, *at, key=True)


def _strict(review: Review, doc: ServicesDocument, name: str, entry: schema.ServiceModel) -> None:
    """Refuse what a check of the server's name cannot carry: no name, no TLS, TLS inside QUIC."""
    if entry.sni is None:
        return
    at = ("services", name)
    if not entry.domains:
        text = f"'sni: strict' compares with names, and service '{name}' lists no domains"
        review.error(doc, "sni", text, *at, "sni")
    if not any(ports.protocol == "tcp" for ports in entry.ports):
        text = f"'sni: strict' reads TLS, and service '{name}' lists no tcp port such as tcp/443"
        review.error(doc, "sni", text, *at, "sni")
    for index, ports in enumerate(entry.ports):
        if ports.covers("udp", 443):
            text = "udp/443 is QUIC, whose server name nobody can read: leave it out, apps use TLS"
            review.error(doc, "sni", text, *at, "ports", index)
        elif ports.covers("tcp", 80):
            text = "tcp/80 carries no TLS: give it to a service of its own without 'sni: strict'"
            review.error(doc, "sni", text, *at, "ports", index)


def _feed_named(
    review: Review, doc: ServicesDocument, name: str, entry: schema.ServiceModel
) -> None:
    at = ("services", name)
    if entry.feed is None:
        if entry.feed_sets:
            review.error(doc, "missing-key", "feed-sets without feed", *at, "feed-sets")
        return
    if not entry.feed_sets:
        text = "feed without feed-sets, name the sets of the feed that this app needs"
        review.error(doc, "missing-key", text, *at, "feed")
    review.known("feed", entry.feed, review.documents.names.feeds, doc, *at, "feed")
    feed = review.documents.feeds.get(entry.feed)
    if feed is None or not review.sound(feed):
        return
    for index, number in enumerate(entry.feed_sets):
        if number not in feed.model.sets:
            text = f"feed '{entry.feed}' has no set '{number}'{suggest_of(number, feed.model.sets)}"
            meant = certain(number, feed.model.sets)
            review.error(doc, "unknown-ref", text, *at, "feed-sets", index, instead=meant)


def _within(domain: Domain, ban: Domain) -> bool:
    """Say whether every name that a domain covers is banned."""
    if ban.wildcard:
        return domain.name.endswith("." + ban.name) or (domain.wildcard and domain.name == ban.name)
    return not domain.wildcard and domain.name == ban.name


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
