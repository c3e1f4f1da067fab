"""Between two plans: what both allow while an enforcer goes from one to the other, and whose flows are judged anew."""

from dataclasses import replace

from netguard.core.names import Address, Ports
from netguard.core.plan import Plan, ServicePlan, collapsed, in_order, joined_ports


def meet(before: Plan, after: Plan) -> Plan:
    """Return the plan that opens only what both open, and refuses what either refuses.

    An enforcer that looks at several tables for one packet may find one as it was and the next as
    it will be. On the way over this plan no such mixture opens what neither plan does. Where the
    sites themselves change nobody may send in between.
    """
    services = {s.name: s for s in before.services}
    common = tuple(
        _both(services[service.name], service)
        for service in after.services
        if service.name in services
        and services[service.name].local == service.local
        and services[service.name].sni == service.sni
    )
    names = {service.name for service in common}
    old = {group.name: group for group in before.groups}
    groups = tuple(
        replace(
            group,
            services=tuple(
                s for s in group.services if s in names and s in old[group.name].services
            ),
        )
        for group in after.groups
        if group.name in old
    )
    rights = {(group.name, service) for group in groups for service in group.services}
    held = set(before.bindings) if before.sites == after.sites else set()
    return replace(
        after,
        protected=in_order({*before.protected, *after.protected}),
        services=common,
        groups=groups,
        grants=tuple(
            g for g in after.grants if (g.group, g.service) in rights and g in before.grants
        ),
        bindings=tuple(binding for binding in after.bindings if binding in held),
        loans=tuple(sorted({**before.loan, **after.loan}.items())),
    )


def _both(one: ServicePlan, other: ServicePlan) -> ServicePlan:
    networks = tuple(
        a if a.prefixlen >= b.prefixlen else b
        for a in one.networks
        for b in other.networks
        if a.version == b.version and a.overlaps(b)
    )
    ports = tuple(
        Ports(a.protocol, max(a.first, b.first), min(a.last, b.last))
        for a in one.ports
        for b in other.ports
        if a.protocol == b.protocol and max(a.first, b.first) <= min(a.last, b.last)
    )
    domains = tuple(domain for domain in other.domains if domain in one.domains)
    return replace(other, networks=collapsed(networks), ports=joined_ports(ports), domains=domains)


def freed(before: Plan, after: Plan) -> tuple[Address, ...]:
    """Return the addresses of tablets that are lost, gone, or in another group from now on.

    Their connections were judged by what no longer holds for them; the rights may live on for others.
    """
    kept = {
        (b.site, b.mac, b.address, b.group) for b in after.bindings if b.tablet not in after.loan
    }
    left = {
        b.address
        for b in before.bindings
        if b.address is not None
        and b.tablet not in before.loan
        and (b.site, b.mac, b.address, b.group) not in kept
    }
    return tuple(sorted(left, key=lambda a: (a.version, int(a))))
