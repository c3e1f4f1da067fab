"""Typed documents to one Policy, and every error that only shows when files are seen together.

The judges run in the order in which one needs what another understood; this module only puts their
answers together. Warnings are lint.py's.
"""

from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType

from netguard.core.names import Network
from netguard.core.policy import Defaults, Learned, Never, Policy, Protected, Resolver, Retention
from netguard.rules import schema
from netguard.rules.alerts import judge_alerts
from netguard.rules.feeds import judge_feeds
from netguard.rules.findings import ERROR
from netguard.rules.groups import SHORTEST_SESSION, TOO_SHORT, judge_groups
from netguard.rules.presence import judge_presence
from netguard.rules.references import judge_references
from netguard.rules.review import Review
from netguard.rules.services import judge_services
from netguard.rules.sites import judge_sites
from netguard.rules.tablets import judge_addresses, judge_tablets

# The kernel's set of learned addresses is created with this size at most.
MAX_ADDRESSES_PER_SERVICE = 65535


def build(review: Review, *, require_addresses: bool) -> Policy | None:
    """Judge all documents; return the Policy, or None when any finding is an error."""
    documents = review.documents
    review.protect(_protected(review))
    _bounds(review)
    sites = judge_sites(review)
    services = judge_services(review)
    groups, profiles = judge_groups(review, sites, services)
    judge_tablets(review)
    judge_addresses(review, sites, groups, require_addresses=require_addresses)
    judge_references(review)
    presence = judge_presence(review, sites)
    feeds = judge_feeds(review)
    alerts, receivers = judge_alerts(review)
    faulty = any(finding.level == ERROR for finding in review.findings)
    # A missing file is an error too; the types do not know that.
    if faulty or documents.netguard is None or documents.protected is None:
        return None
    head, never = documents.netguard.model, documents.protected.model.never
    return Policy(
        organisation=head.organisation,
        defaults=_defaults(head.defaults),
        learned=_learned(head.learned),
        resolver=_resolver(head.resolver),
        sites=sites,
        protected=review.protected,
        never=Never(
            tuple(sorted(never.domains)),
            tuple(sorted(never.vlans)),
            frozenset(documents.protected_macs),
        ),
        services=services,
        groups=groups,
        tablets=documents.tablets,
        allotted=documents.allotted,
        presence=presence,
        time_servers=tuple(sorted(head.time.servers, key=str)),
        retention=Retention(**dict(head.retention)),
        feeds=feeds,
        alerts=alerts,
        receivers=receivers,
        profiles=profiles,
        origins=MappingProxyType(review.origins),
    )


def _protected(review: Review) -> Mapping[str, Protected]:
    doc = review.documents.protected
    if doc is None:
        return {}
    if review.documents.names.protected == frozenset():
        text = "no protected networks; name the clinical networks that no tablet may reach"
        review.error(doc, "protected-missing", text, "protected")
    protected = {}
    for name, entry in doc.model.protected.items():
        protected[name] = Protected(name, _sorted(entry.networks), entry.owner)
        review.origins["protected", name] = doc.key_origin("protected", name)
        for index, network in enumerate(entry.networks):
            origin = doc.origin("protected", name, "networks", index)
            review.origins["protected", name, "networks", str(network)] = origin
        if not entry.networks:
            text = f"'{name}' lists no network"
            review.error(doc, "protected-missing", text, "protected", name)
    return protected


def _sorted(networks: list[Network]) -> tuple[Network, ...]:
    return tuple(sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen)))


def _bounds(review: Review) -> None:
    doc = review.documents.netguard
    if doc is None:
        return
    timeout = doc.model.defaults.session_timeout
    if timeout is not None and timeout < SHORTEST_SESSION:
        review.error(doc, "bad-duration", TOO_SHORT, "defaults", "session-timeout")
    given = doc.model.learned
    if given.ttl_floor < timedelta(seconds=1):
        text = "ttl-floor is below a second, DNS counts lifetimes in seconds: write 60s"
        review.error(doc, "bad-duration", text, "learned", "ttl-floor")
    if given.ttl_floor > given.ttl_ceiling:
        text = "ttl-floor is longer than ttl-ceiling"
        review.error(doc, "bad-duration", text, "learned", "ttl-floor")
    if given.addresses_per_service > MAX_ADDRESSES_PER_SERVICE:
        text = f"addresses-per-service is out of range, 1 to {MAX_ADDRESSES_PER_SERVICE}"
        review.error(doc, "bad-number", text, "learned", "addresses-per-service")


def _defaults(given: schema.DefaultsModel) -> Defaults:
    return Defaults(
        given.deny,
        given.unknown_mac,
        given.log_denied.rate,
        given.log_denied.burst,
        str(given.dscp),
        given.session_timeout,
        given.new_flows.rate,
        given.new_flows.burst,
    )


def _learned(given: schema.LearnedModel) -> Learned:
    return Learned(
        given.ttl_floor,
        given.ttl_ceiling,
        given.grace,
        given.reply_ttl_ceiling,
        given.addresses_per_name,
        given.addresses_per_service,
    )


def _resolver(given: schema.ResolverModel) -> Resolver:
    return Resolver(
        tuple(given.upstream),
        given.intercept_port_53,
        given.denied_answer,
        tuple(sorted(given.canaries)),
        given.letter_case,
        given.cache,
        given.query_rate,
        None if given.time_names is None else tuple(sorted(set(given.time_names))),
    )
