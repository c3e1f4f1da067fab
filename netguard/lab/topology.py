"""The cables and addresses of the lab: network namespaces, veths inside them, one bridge per VLAN.

Nothing is ever made in the root namespace, and no route leads there. One veth stands for one VLAN
of the trunk: the kernel needs no 802.1Q for it. Where the rules name a sub-interface (`tab0.640`) the veth is
a real trunk, and guard makes the sub-interface. Ports of tablets are isolated from each other, as an
SSID with client isolation does it, and belong to no bridge until the NAS admits the tablet.
"""

import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path

from netguard.errors import NetguardError
from netguard.lab import world
from netguard.lab.layout import Layout


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the rules say about the tablets' side."""

    tablet_interface: str
    uplink: str
    vlans: tuple[int, ...]  # the first is the tablets'
    nas_address: str
    nas_gateway: str
    resolvers: tuple[str, ...]
    macs: dict[str, str]  # host -> MAC


def build(layout: Layout, wiring: Wiring) -> None:
    """Make all namespaces, links and addresses."""
    for host in world.HOSTS:
        _ip("netns", "add", layout.namespace(host))
    _appliance(layout, wiring)
    _outside(layout, wiring)
    _access(layout, wiring)
    for host in world.HOSTS:
        _set(layout, host, {"net.ipv4.ip_unprivileged_port_start": "0" if host != "gw" else "1024"})
        _batch(layout, host, ["link set lo up"])


def remove(layout: Layout) -> None:
    """Remove every namespace of the lab, also those of a lab that was built half."""
    for host in world.HOSTS:
        if _exists(layout, host):
            _ip("netns", "delete", layout.namespace(host))


def leftovers(layout: Layout) -> list[str]:
    """Return the hosts whose namespaces exist."""
    return [host for host in world.HOSTS if _exists(layout, host)]


def admit(port: str, vlan: int) -> None:
    """Put a tablet's port into the bridge of a VLAN; run inside the access point's namespace."""
    _ip("link", "set", port, "master", bridge_of(vlan))
    _run("bridge", "link", "set", "dev", port, "isolated", "on")
    _ip("link", "set", port, "up")


def dismiss(port: str) -> None:
    """Take a tablet's port out of its VLAN; the tablet sees its link go down."""
    _ip("link", "set", port, "down")
    _ip("link", "set", port, "nomaster")


def bridge_of(vlan: int) -> str:
    """Return the bridge of a VLAN."""
    return f"br{vlan}"


def port_of(host: str) -> str:
    """Return the access point's end of a tablet's link."""
    return f"p-{host}"


def _is_tagged(wiring: Wiring) -> bool:
    return "." in wiring.tablet_interface


def _trunk(wiring: Wiring) -> str:
    return "trunk" if _is_tagged(wiring) else f"trunk{wiring.vlans[0]}"


def _appliance(layout: Layout, wiring: Wiring) -> None:
    ap, core = layout.namespace("ap"), layout.namespace("core")
    tablets, uplink, trunk = wiring.tablet_interface, wiring.uplink, _trunk(wiring)
    parent = tablets.partition(".")[0]
    near, far = world.UPLINK
    management = IPv4Interface(wiring.nas_gateway)
    _batch(
        layout,
        "gw",
        [
            f"link add {parent} type veth peer name {trunk} netns {ap}",
            f"link add {uplink} type veth peer name gw0 netns {core}",
            f"link add mgmt0 type veth peer name mgmt0 netns {ap}",
            f"addr add {far} dev {uplink}",
            f"addr add {management} dev mgmt0",
            # The tablets' side is brought up by guard, once its table stands.
            *(f"link set {name} up" for name in (uplink, "mgmt0", parent) if name != tablets),
            f"route add default via {near.split('/')[0]}",
        ],
    )
    # IPv6 would be forwarded here: that none of the tablets' is has to be the fence's doing.
    _set(layout, "gw", {"net.ipv6.conf.all.forwarding": "1"})


def _outside(layout: Layout, wiring: Wiring) -> None:
    lines = [f"addr add {world.UPLINK[0]} dev gw0", "link set gw0 up"]
    for link in world.LINKS:
        lines += [
            f"link add {link.interface} type veth peer name eth0 netns {layout.namespace(link.host)}",
            f"addr add {link.near} dev {link.interface}",
            f"link set {link.interface} up",
        ]
    servers = (*wiring.resolvers, world.ALERTMANAGER)
    lines += [f"addr add {address}/32 dev lo" for address in servers]
    inet = next(link for link in world.LINKS if link.host == "inet")
    lines += [
        f"route add {world.PRIVATE}/32 via {world.PACS}",
        f"route add default via {inet.far.split('/')[0]}",
    ]
    for host in world.OUTSIDE:
        _set(layout, host, {"net.ipv6.conf.all.disable_ipv6": "1"})
    _batch(layout, "core", lines)
    _set(layout, "core", {"net.ipv4.ip_forward": "1"})
    for link in world.LINKS:
        local = {each.address for each in world.LISTENERS if each.host == link.host}
        if link.host == "inet":
            local |= {world.NAMESERVER, world.OPEN_RESOLVER}
        local.discard(link.far.split("/")[0])
        _batch(
            layout,
            link.host,
            [
                f"addr add {link.far} dev eth0",
                "link set eth0 up",
                *(f"addr add {address}/32 dev lo" for address in sorted(local)),
                f"route add default via {link.near.split('/')[0]}",
            ],
        )


def _access(layout: Layout, wiring: Wiring) -> None:
    length = IPv4Interface(wiring.nas_gateway).network.prefixlen
    _set(layout, "ap", {"net.ipv6.conf.all.disable_ipv6": "1"})
    lines = [f"addr add {wiring.nas_address}/{length} dev mgmt0", "link set mgmt0 up"]
    for vlan in wiring.vlans:
        name = bridge_of(vlan)
        # No spanning tree and no forwarding delay: a port works when it is up.
        lines += [
            f"link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"link set {name} up",
        ]
    trunk = _trunk(wiring)
    lines.append(f"link set {trunk} up")
    if _is_tagged(wiring):
        for vlan in wiring.vlans:
            lines += [
                f"link add link {trunk} name {trunk}.{vlan} type vlan id {vlan}",
                f"link set {trunk}.{vlan} master {bridge_of(vlan)}",
                f"link set {trunk}.{vlan} up",
            ]
    else:
        lines.append(f"link set {trunk} master {bridge_of(wiring.vlans[0])}")
    for host, mac in wiring.macs.items():
        lines.append(
            f"link add {port_of(host)} type veth"
            f" peer name wlan0 address {mac} netns {layout.namespace(host)}"
        )
    _batch(layout, "ap", lines)
    for host in wiring.macs:
        _batch(layout, host, ["link set wlan0 up"])


def add_addresses(layout: Layout, host: str, addresses: Iterable[str]) -> None:
    """Give a host more addresses of its own."""
    _batch(layout, host, [f"addr add {address}/32 dev lo" for address in addresses])


def _exists(layout: Layout, host: str) -> bool:
    return Path("/run/netns", layout.namespace(host)).exists()


def _set(layout: Layout, host: str, values: dict[str, str]) -> None:
    words = [f"{key}={value}" for key, value in values.items()]
    _ip("netns", "exec", layout.namespace(host), "sysctl", "-q", "-w", *words)


def _batch(layout: Layout, host: str, lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    _run("ip", "-n", layout.namespace(host), "-batch", "-", text=text)


def _ip(*words: str) -> None:
    _run("ip", *words)


def _run(*words: str, text: str = "") -> None:
    done = subprocess.run(
        words, input=text, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode:
        raise NetguardError(f"{' '.join(words)}: {done.stderr.strip() or 'failed'}")
