"""Routing rules through pyroute2: the belt that holds when nftables is empty.

Only this module imports pyroute2. What passed our ruleset carries a mark; whatever comes in on a
tablet interface without it finds its destination unreachable, in both families.
"""

import errno
import socket
from collections.abc import Iterable

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from netguard.errors import EnforcementError

PRIORITY = 10
_FAMILIES = (int(socket.AF_INET), int(socket.AF_INET6))
_UNREACHABLE = 7  # FR_ACT_UNREACHABLE, linux/fib_rules.h


def ensure_belt(interfaces: Iterable[str], mark: int) -> list[str]:
    """Put the belt's rules where they are missing, remove those of other interfaces.

    Returns what was changed, as words for people; an empty list when all was in place.
    """
    wanted = {(family, name) for family in _FAMILIES for name in interfaces}
    changed: list[str] = []
    try:
        with IPRoute() as route:
            held = {key for family in _FAMILIES for key in _held(route, family)}
            for family, name in sorted(wanted - held):
                _rule(route, "add", family, name, mark)
                changed.append(f"added {_shown(family, name)}")
            for family, name in sorted(held - wanted):
                _rule(route, "del", family, name, mark)
                changed.append(f"removed {_shown(family, name)}")
    except NetlinkError as error:
        words = "needs CAP_NET_ADMIN" if error.code == errno.EPERM else str(error)
        raise EnforcementError(f"routing rules: {words}") from error
    return changed


def belt(interfaces: Iterable[str]) -> bool:
    """Say whether every rule of the belt is in place."""
    with IPRoute() as route:
        held = {key for family in _FAMILIES for key in _held(route, family)}
    return all((family, name) in held for family in _FAMILIES for name in interfaces)


def _held(route: IPRoute, family: int) -> set[tuple[int, str]]:
    return {
        (family, str(rule.get("FRA_IIFNAME")))
        for rule in route.get_rules(family=family)
        if rule["action"] == _UNREACHABLE and rule.get("FRA_PRIORITY") == PRIORITY
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
    return f"IPv{4 if family == socket.AF_INET else 6} rule for {name}"
