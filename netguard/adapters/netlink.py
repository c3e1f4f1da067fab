"""Links, addresses, routes and routing rules through pyroute2; only this module imports it.

The belt: what passed our ruleset carries a mark; whatever comes in on a tablet interface without it
finds its destination unreachable, in both families, also when nftables is empty. Interfaces are known
by name, never by index: one that goes and comes back has another.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netguard.core.links import Link
from netguard.errors import EnforcementError

PRIORITY = 10
_FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))
_UNREACHABLE = 7  # FR_ACT_UNREACHABLE, linux/fib_rules.h
_MAIN, _KERNEL, _SCOPE_LINK = 254, 2, 253  # linux/rtnetlink.h
_MAIN_PRIORITY = 32766  # ip-rule(8)
_UP = 1  # IFF_UP, linux/if.h
# RTNLGRP_*, linux/rtnetlink.h: links, and addresses, routes and rules of both families. Not of traffic
# control: whoever looks at a queueing discipline makes news of it, and would look again.
_NEWS = (1, 5, 7, 8, 9, 11, 19)
# After the table stands and never before: until then nothing may be forwarded at all.
_FORWARDING = ("net/ipv4/ip_forward", "1")
# What each flow has sent is a sign of life of its tablet.
_COUNTED = ("net/netfilter/nf_conntrack_acct", "1")
# A gateway that tablets must not be able to talk into another route or address.
_OF_INTERFACE = (
    ("net/ipv4/conf/{}/accept_redirects", "0"),
    ("net/ipv4/conf/{}/send_redirects", "0"),
    ("net/ipv4/conf/{}/accept_source_route", "0"),
    ("net/ipv4/conf/{}/proxy_arp", "0"),
    ("net/ipv6/conf/{}/accept_ra", "0"),
    ("net/ipv6/conf/{}/accept_redirects", "0"),
)
# Of the whole machine and no namespace's own: only seen where the machine's own network is.
_NEIGHBOURS = ("net/ipv4/neigh/default/gc_thresh{}", "net/ipv6/neigh/default/gc_thresh{}")
_SYSCTL = Path("/proc/sys")


@dataclass(slots=True)
class Done:
    """What was changed and what could not be, in words for people; both empty when all was in place."""

    changed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class News:
    """Tells that links, addresses, routes or rules have changed; what has is looked up."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self.socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self.socket.bind((0, sum(1 << (group - 1) for group in _NEWS)))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def drain(self) -> None:
        """Read past what has come; lost news is news all the same."""
        while True:
            try:
                self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise


def ensure_belt(interfaces: Iterable[str], mark: int) -> list[str]:
    """Put the belt's rules where they are missing, remove those of other interfaces.

    Returns what was changed, as words for people; an empty list when all was in place.
    """
    wanted = {(family, name) for family in _FAMILIES for name in interfaces}
    changed: list[str] = []
    with _said("routing rules"), IPRoute() as route:
        held = {key for family in _FAMILIES for key in _held(route, family, mark)}
        for family, name in sorted(wanted - held):
            _rule(route, "add", family, name, mark)
            changed.append(f"added {_shown(family, name)}")
        for family, name in sorted(held - wanted):
            _rule(route, "del", family, name, mark)
            changed.append(f"removed {_shown(family, name)}")
        for family in _FAMILIES:
            # `ip rule flush` takes the kernel's own along, and with it every route of the machine.
            if not any(_is_main(rule) for rule in route.get_rules(family=family)):
                route.rule("add", family=family, priority=_MAIN_PRIORITY, table=_MAIN)
                changed.append(f"added the {_version(family)} rule for the main table")
    return changed


def _is_main(rule: Any) -> bool:  # noqa: ANN401  # a message of pyroute2
    return bool(rule.get("FRA_TABLE") == _MAIN and rule.get("FRA_PRIORITY") == _MAIN_PRIORITY)


def _version(family: int) -> str:
    return "IPv4" if family == socket.AF_INET else "IPv6"


def ensure_links(links: Iterable[Link]) -> Done:
    """Make sub-interfaces, give addresses, bring links up, put connected routes back, forward.

    Nothing is taken away: an address of somebody else on one of these links is said. A link that is
    missing and cannot be made is a problem, and the others are brought up all the same.
    """
    done = Done()
    with _said("links"), IPRoute() as route:
        for link in links:
            index = _index(route, link.name) or _make(route, link, done)
            if index is None:
                continue
            _of_interface(link.name, done)
            _address(route, link, index, done)
            _up(route, link, index, done)
            _routes(route, link, index, done)
    _write(*_COUNTED, done)
    _write(*_FORWARDING, done)
    return done


def ensure_neighbours(thresholds: tuple[int, int, int], done: Done, sysctl: Path = _SYSCTL) -> None:
    """Raise gc_thresh1 to 3 of both families where they are lower; somebody's larger table stays.

    Where they cannot be written, the problem says what follows. A namespace does not show them.
    """
    own = Done(changed=done.changed)
    for path in _NEIGHBOURS:
        for number, wanted in enumerate(thresholds, 1):
            _write(path.format(number), str(wanted), own, sysctl, least=True)
    done.problems += [f"{each}; too few neighbours for all tablets" for each in own.problems]


def _index(route: IPRoute, name: str) -> int | None:
    return next(iter(route.link_lookup(ifname=name)), None)


def _make(route: IPRoute, link: Link, done: Done) -> int | None:
    parent = _index(route, link.parent) if link.parent else None
    if parent is None:
        what = f"{link.name} is missing" + (f", and so is {link.parent}" if link.parent else "")
        done.problems.append(what)
        return None
    try:
        route.link("add", ifname=link.name, kind="vlan", link=parent, vlan_id=link.vlan)
    except NetlinkError as error:
        if error.code != errno.EOPNOTSUPP:
            raise
        done.problems.append(
            f"{link.name} is missing and this kernel makes no VLAN sub-interfaces (802.1Q): "
            "load 8021q, or name an interface that is there"
        )
        return None
    done.changed.append(f"made {link.name}, VLAN {link.vlan} of {link.parent}")
    return _index(route, link.name)


def _of_interface(name: str, done: Done) -> None:
    for path, value in _OF_INTERFACE:
        _write(path.format(name), value, done)


def _write(
    path: str, value: str, done: Done, sysctl: Path = _SYSCTL, *, least: bool = False
) -> None:
    file = sysctl / path
    try:
        held = file.read_text().strip()
        if held == value or (least and int(held) >= int(value)):
            return
        file.write_text(value)
    except FileNotFoundError:
        # A kernel without that family.
        return
    except OSError as error:
        done.problems.append(f"{path} cannot be set to {value}: {error.strerror}")
        return
    done.changed.append(f"set {path} to {value}")


def _address(route: IPRoute, link: Link, index: int, done: Done) -> None:
    held = {
        (str(row.get("IFA_ADDRESS")), int(row["prefixlen"]))
        for row in route.get_addr(index=index)
        if row["scope"] != _SCOPE_LINK
    }
    wanted = {(str(each.ip), each.network.prefixlen) for each in link.addresses}
    for address, length in sorted(wanted - held):
        route.addr("add", index=index, address=address, prefixlen=length)
        done.changed.append(f"gave {link.name} the address {address}/{length}")
    for address, length in sorted(held - wanted):
        done.problems.append(f"{link.name} has {address}/{length}, which no rule says: take it off")


def _up(route: IPRoute, link: Link, index: int, done: Done) -> None:
    (row,) = route.get_links(index)
    if not row["flags"] & _UP:
        route.link("set", index=index, state="up")
        done.changed.append(f"brought {link.name} up")


def _routes(route: IPRoute, link: Link, index: int, done: Done) -> None:
    """Put back the routes that an address brings along, and that somebody has deleted."""
    for each in link.addresses:
        if each.version != 4 or _has_route(route, each, index):
            continue
        route.route(
            "add",
            dst=str(each.network),
            oif=index,
            proto=_KERNEL,
            scope=_SCOPE_LINK,
            prefsrc=str(each.ip),
        )
        done.changed.append(f"added the route to {each.network} by {link.name}")


def _has_route(route: IPRoute, address: IPv4Interface | IPv6Interface, index: int) -> bool:
    rows = route.get_routes(family=_FAMILIES[0], table=_MAIN, oif=index)
    network = str(address.network.network_address), address.network.prefixlen
    return any((row.get("RTA_DST"), row["dst_len"]) == network for row in rows)


# NUD_*, linux/neighbour.h.
_REACHABLE, _PROBE, _FAILED = 0x02, 0x10, 0x20
# ndm_confirmed counts in clock ticks of user space (time(7)).
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Neighbour:
    """What the kernel knows of one address: `age` is how many seconds ago it was heard to answer."""

    mac: str
    address: str
    failed: bool
    age: float


def probe(asked: Iterable[tuple[str, str, str]]) -> None:
    """Let the kernel ask (interface, address, MAC) by ARP, each on its own; answers come in seconds.

    Three questions, a second apart, to the MAC itself; then the neighbour is reachable or failed.
    """
    with _said("asking tablets"), IPRoute() as route:
        for interface, address, mac in asked:
            index = next(iter(route.link_lookup(ifname=interface)), None)
            if index is not None:
                entry = {"dst": address, "lladdr": mac, "ifindex": index}
                route.neigh("replace", **entry, state=_PROBE)


def neighbours(interfaces: Iterable[str]) -> list[Neighbour]:
    """Return the IPv4 neighbours on these interfaces."""
    found = []
    with _said("reading neighbours"), IPRoute() as route:
        for interface in interfaces:
            index = next(iter(route.link_lookup(ifname=interface)), None)
            if index is None:
                continue
            for row in route.get_neighbours(family=socket.AF_INET, ifindex=index):
                mac, state = row.get("NDA_LLADDR"), row["state"]
                cache = row.get("NDA_CACHEINFO") or {}
                if mac and state & (_REACHABLE | _FAILED | 0x04 | 0x08 | _PROBE):
                    age = cache.get("ndm_confirmed", 0) / _TICKS
                    failed = bool(state & _FAILED)
                    found.append(Neighbour(mac, str(row.get("NDA_DST")), failed, age))
    return found


@contextlib.contextmanager
def _said(what: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        words = "needs CAP_NET_ADMIN" if error.code == errno.EPERM else str(error)
        raise EnforcementError(f"{what}: {words}") from error


def _held(route: IPRoute, family: int, mark: int) -> set[tuple[int, str]]:
    return {
        (family, str(rule.get("FRA_IIFNAME")))
        for rule in route.get_rules(family=family)
        if rule["action"] == _UNREACHABLE
        and rule.get("FRA_PRIORITY") == PRIORITY
        # Another mark or mask would let more pass; the kernel leaves a mark of 0 out.
        and (rule.get("FRA_FWMARK") or 0, rule.get("FRA_FWMASK")) == (0, mark)
    }


def _rule(route: IPRoute, command: str, family: int, name: str, mark: int) -> None:
    route.rule(
        command,
        family=family,
        priority=PRIORITY,
        iifname=name,
        fwmark=0,
        fwmask=mark,
        action=_UNREACHABLE,
    )


def _shown(family: int, name: str) -> str:
    return f"{_version(family)} rule for {name}"
