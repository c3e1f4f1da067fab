"""A Plan as what dnsmasq serves: its configuration, and one reservation per tablet.

dnsmasq hands out addresses and nothing else (port=0: names are the proxy's); only reserved MACs
get an answer. `hosts` is re-read by dnsmasq when it changes (dhcp-hostsdir), the configuration
takes a restart. Format: dnsmasq(8) 2.90.
"""

from collections.abc import Mapping
from types import MappingProxyType

from netguard.core.names import Mac
from netguard.core.plan import Plan, SitePlan

# Seconds. A tablet renews after half of it (RFC 2131 4.4.5), which is a sign of life that costs nothing.
LEASE = 1200


def configuration(plan: Plan, folder: str) -> str:
    """Return dnsmasq.conf; `folder` holds hosts.d/ and the lease file."""
    lines = [
        "# Made by netguard apply.",
        "port=0",
        "no-resolv",
        "no-hosts",
        "bind-dynamic",
        "dhcp-authoritative",
        # A conflict check would delay each answer by 3 s; addresses are fixed, one per tablet.
        "no-ping",
        "dhcp-ignore=tag:!known",
        f"dhcp-hostsdir={folder}/hosts.d",
        f"dhcp-leasefile={folder}/leases",
        "log-dhcp",
        "log-facility=-",
    ]
    for site in plan.sites:
        lines += _site(site) if site.dhcp else _relay(site)
    return "\n".join(lines) + "\n"


def hosts(plan: Plan, holders: Mapping[str, Mac] = MappingProxyType({})) -> str:
    """Return the reservations: MAC,address.

    `holders` says to which MAC an address is leased. Where that is another one's, and no other tablet's
    (a device was replaced, a private MAC adopted), it stands second: dnsmasq then gives up the lease
    when the first one asks, and would keep it until it ends otherwise (dnsmasq(8), --dhcp-host).
    """
    serving = {site.name for site in plan.sites if site.dhcp}
    bound = {binding.mac for binding in plan.bindings}
    lines = []
    for binding in plan.bindings:
        if binding.site in serving and binding.address is not None:
            before = holders.get(str(binding.address), binding.mac)
            macs = f"{binding.mac}" if before in bound else f"{binding.mac},{before}"
            lines.append(f"{macs},{binding.address}\n")
    return "".join(lines)


def taken_over(before: str, after: str) -> list[str]:
    """Return the addresses that went from one MAC to another between two files of reservations.

    dnsmasq takes in what is new and keeps what is gone until it is told to (SIGHUP): it refuses such
    a reservation as a duplicate. A MAC that is gone is refused by FreeRADIUS and by the fence.
    """
    old, new = _reserved(before), _reserved(after)
    return sorted(address for address, mac in new.items() if old.get(address, mac) != mac)


def _reserved(text: str) -> dict[str, str]:
    """Return the MAC for which each address is reserved."""
    rows = [row.split(",") for row in text.split()]
    return {row[-1]: row[0] for row in rows}


def _relay(site: SitePlan) -> list[str]:
    """Relay to the hospital's servers, which answer to the gateway; guard learns from the answers."""
    gateways = [gateway for gateway in site.gateways if gateway.version == 4]
    return [
        *(f"interface={interface}" for interface in site.interfaces),
        *(f"dhcp-relay={g},{server}" for g in gateways for server in site.dhcp_servers),
    ]


def _site(site: SitePlan) -> list[str]:
    lines = [f"interface={interface}" for interface in site.interfaces]
    for network in site.networks:
        gateway = next((g for g in site.gateways if g.version == 4 and g in network), None)
        if network.version != 4 or gateway is None:
            continue
        lines += [
            f"dhcp-range=set:{site.name},{network.network_address},static,{network.netmask},{LEASE}",
            f"dhcp-option=tag:{site.name},option:router,{gateway}",
            f"dhcp-option=tag:{site.name},option:dns-server,{gateway}",
            f"dhcp-option=tag:{site.name},option:ntp-server,{gateway}",
        ]
    return lines
