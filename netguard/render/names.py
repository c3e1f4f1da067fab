"""A Plan as what the name proxy holds: who may resolve what, and into which sets it goes.

A file of its own (dns.json) so that the proxy starts and goes on without guard, and never waits
for a compile.
"""

import json
from datetime import timedelta
from typing import Any

from netguard.core.intervals import AddressSet
from netguard.core.learning import NameRules, canary_names
from netguard.core.names import Address, Domain, parse_address, parse_network
from netguard.core.plan import Plan
from netguard.core.policy import Learned

VERSION = 1


def render(plan: Plan) -> str:
    """Return dns.json."""
    learned = plan.learned
    body = {
        "version": VERSION,
        "plan": plan.digest,
        "listen": [str(g) for site in plan.sites for g in site.gateways if g.version == 4],
        "upstream": [str(address) for address in plan.resolver.upstream],
        "denied_answer": plan.resolver.denied_answer,
        "canaries": sorted(canary_names(plan.resolver.canaries)),
        "never": [str(domain) for domain in plan.never_domains],
        "protected": [str(network) for network in plan.protected],
        "own": [str(network) for site in plan.sites for network in site.networks],
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
            str(binding.address): [binding.tablet, binding.group]
            for binding in plan.bindings
            if binding.address is not None
        },
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


class Names:
    """dns.json, read back."""

    def __init__(self, text: str) -> None:
        """Read dns.json. Raises ValueError (KeyError for a missing key) when it is not ours."""
        body: dict[str, Any] = json.loads(text)
        if body["version"] != VERSION:
            raise ValueError(
                f"dns.json has version {body['version']}, this program reads {VERSION}"
            )
        services = body["services"]
        self.plan: str = body["plan"]
        self.listen: list[str] = body["listen"]
        self.upstream: list[str] = body["upstream"]
        self.refuse_with_nxdomain: bool = body["denied_answer"] == "nxdomain"
        self.tablets: dict[Address, tuple[str, str]] = {
            parse_address(address): (tablet, group)
            for address, (tablet, group) in body["tablets"].items()
        }
        self.learned = _learned(body["learned"])
        self.rules = NameRules(
            domains={n: tuple(Domain.parse(d) for d in s["domains"]) for n, s in services.items()},
            allow_private={
                name: AddressSet(parse_network(n) for n in service["allow_private"])
                for name, service in services.items()
            },
            group_services={group: tuple(names) for group, names in body["groups"].items()},
            never=tuple(Domain.parse(domain) for domain in body["never"]),
            canaries=frozenset(body["canaries"]),
            protected=AddressSet(parse_network(network) for network in body["protected"]),
            own=AddressSet(parse_network(network) for network in body["own"]),
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
