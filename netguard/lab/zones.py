"""The lab's names: the root zone for the authoritative server, and the configurations of nsd and unbound. Pure."""

from collections.abc import Iterable
from ipaddress import ip_address

from netguard.core.policy import Policy
from netguard.lab import world

# A public range that the address filter accepts; the lab's hosts answer for it.
_POOL = "151.101"
TTL = 60


def names_of(policy: Policy) -> dict[str, tuple[str, ...]]:
    """Return every name the lab answers: the fixed ones, then one address for each other name."""
    names = dict(world.NAMES)
    wanted = sorted(
        {
            str(domain)
            for service in policy.services.values()
            if not service.unverified
            for domain in service.domains
        }
    )
    for number, name in enumerate(name for name in wanted if name not in names):
        names[name] = (f"{_POOL}.{number // 250}.{number % 250 + 1}",)
    return names


def pooled(names: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the addresses that were made up, for the host that answers them."""
    return sorted({a for each in names.values() for a in each if a.startswith(f"{_POOL}.")})


def root_zone(names: dict[str, tuple[str, ...]]) -> str:
    """Return the whole Internet of the lab as one zone."""
    lines = [
        f"$TTL {TTL}",
        ". IN SOA ns.root. hostmaster.root. 1 3600 600 86400 5",
        ". IN NS ns.root.",
        f"ns.root. IN A {world.NAMESERVER}",
    ]
    for name, addresses in sorted(names.items()):
        for address in addresses:
            kind = "A" if ip_address(address).version == 4 else "AAAA"
            lines.append(f"{name}. IN {kind} {address}")
    return "\n".join(lines) + "\n"


def nsd(folder: str, *, database: bool) -> str:
    """Return nsd.conf; nsd before 4.8 keeps a database on disk unless it is told not to."""
    without = '    database: ""\n' if database else ""
    return f"""\
server:
    ip-address: {world.NAMESERVER}
    username: ""
    zonesdir: "{folder}"
    pidfile: ""
{without}    xfrdfile: "{folder}/xfrd.state"
    zonelistfile: "{folder}/zone.list"
    xfrdir: "{folder}"
    server-count: 1
    hide-version: yes
remote-control:
    control-enable: no
zone:
    name: "."
    zonefile: "root.zone"
"""


def unbound(addresses: Iterable[str], folder: str) -> str:
    """Return unbound.conf for a resolver that asks the lab's root and nobody else."""
    interfaces = "".join(f"    interface: {address}\n" for address in addresses)
    return f"""\
server:
{interfaces}    username: ""
    chroot: ""
    directory: "{folder}"
    pidfile: ""
    logfile: ""
    use-syslog: no
    do-daemonize: no
    do-ip6: no
    num-threads: 1
    module-config: "iterator"
    qname-minimisation: no
    access-control: 0.0.0.0/0 allow
    cache-max-negative-ttl: 5
    local-zone: "10.in-addr.arpa." nodefault
    do-not-query-localhost: no
remote-control:
    control-enable: no
stub-zone:
    name: "."
    stub-addr: {world.NAMESERVER}
"""
