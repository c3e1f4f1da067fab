"""A Plan as what the name proxy holds: who may resolve what, and into which sets it goes.

A file of its own (dns.json) so that the proxy starts and goes on without guard, and never waits
for a compile.
"""

import json
from datetime import timedelta
from typing import Any

from netguard.core.intervals import AddressSet
from netguard.core.learning import TIME_NAMES, Book, Client, NameRules, canary_names
from netguard.core.names import Address, Domain, Upstream, parse_address, parse_network
from netguard.core.plan import Plan
from netguard.core.policy import Learned

VERSION = 2
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def render(plan: Plan) -> str:
    """Return dns.json."""
    learned = plan.learned
    body = {
        "version": VERSION,
        "plan": plan.digest,
        "listen": [str(g) for site in plan.sites for g in site.gateways if g.version == 4],
        "upstream": [str(address) for address in plan.resolver.upstream],
        "denied_answer": plan.resolver.denied_answer,
        "letter_case": plan.resolver.letter_case,
        "cache": plan.resolver.cache,
        "query_rate": plan.resolver.query_rate.count / _SECONDS[plan.resolver.query_rate.unit],
        "time_names": list(TIME_NAMES)
        if plan.resolver.time_names is None
        else [str(domain) for domain in plan.resolver.time_names],
        "canaries": sorted(canary_names(plan.resolver.canaries)),
        "never": [str(domain) for domain in plan.never_domains],
        "protected": [str(network) for network in plan.protected],
        # What a name must never lead to although no rule protects it.
        "own": sorted(
            {str(network) for site in plan.sites for network in site.networks}
            | {_host(gateway) for site in plan.sites for gateway in site.gateways}
            | {_host(upstream.address) for upstream in plan.resolver.upstream}
        ),
        "services": {
            service.name: {
                "domains": [str(domain) for domain in service.domains],
                "allow_private": [str(network) for network in service.allow_private],
                "local": service.local,
            }
            for service in plan.services
        },
        "groups": {group.name: list(group.services) for group in plan.groups},
        "tablets": {
            str(binding.address): [binding.tablet, binding.group, binding.site]
            for binding in plan.bindings
            if binding.address is not None
        },
        "gateways": {site.name: [str(g) for g in site.gateways] for site in plan.sites},
        "learned": {
            "ttl_floor": learned.ttl_floor.total_seconds(),
            "ttl_ceiling": learned.ttl_ceiling.total_seconds(),
            "grace": learned.grace.total_seconds(),
            "reply_ttl_ceiling": learned.reply_ttl_ceiling.total_seconds(),
            "addresses_per_name": learned.addresses_per_name,
            "addresses_per_service": learned.addresses_per_service,
        },
    }
    return json.dumps(body, sort_keys=True, indent=1) + "\n"


def _host(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def read(text: str) -> Book:
    """Read dns.json. Raises ValueError (KeyError for a missing key) when it is not ours."""
    body: dict[str, Any] = json.loads(text)
    if body["version"] != VERSION:
        raise ValueError(f"dns.json has version {body['version']}, this program reads {VERSION}")
    gateways = {
        site: tuple(map(parse_address, addresses)) for site, addresses in body["gateways"].items()
    }
    local = {name for name, service in body["services"].items() if service["local"] == "ntp"}
    return Book(
        plan=body["plan"],
        listen=tuple(body["listen"]),
        upstream=tuple(map(Upstream.parse, body["upstream"])),
        refuse_with_nxdomain=body["denied_answer"] == "nxdomain",
        letter_case=body["letter_case"],
        cache=body["cache"],
        query_rate=body["query_rate"],
        time_names=tuple(map(Domain.parse, body["time_names"])),
        timed=frozenset(g for g, names in body["groups"].items() if local & set(names)),
        clients={
            address: Client(tablet, group, gateways[site])
            for address, (tablet, group, site) in body["tablets"].items()
        },
        learned=_learned(body["learned"]),
        rules=_rules(body),
    )


def _rules(body: dict[str, Any]) -> NameRules:
    services = body["services"]
    return NameRules(
        domains={n: tuple(map(Domain.parse, s["domains"])) for n, s in services.items()},
        allow_private={
            name: AddressSet(map(parse_network, service["allow_private"]))
            for name, service in services.items()
        },
        group_services={group: tuple(names) for group, names in body["groups"].items()},
        never=tuple(Domain.parse(domain, top_level=True) for domain in body["never"]),
        canaries=frozenset(body["canaries"]),
        protected=AddressSet(map(parse_network, body["protected"])),
        own=AddressSet(map(parse_network, body["own"])),
    )


def _learned(body: dict[str, Any]) -> Learned:
    spans = {
        key: timedelta(seconds=body[key])
        for key in ("ttl_floor", "ttl_ceiling", "grace", "reply_ttl_ceiling")
    }
    return Learned(
        **spans,
        addresses_per_name=body["addresses_per_name"],
        addresses_per_service=body["addresses_per_service"],
    )
