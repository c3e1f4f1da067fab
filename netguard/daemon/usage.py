"""What tablets asked for and sent, for `netguard replay --diff`: gathered where it is seen, written by the hour.

Only where the rules want recordings (`retention.recording`). guard knows flows, the name proxy names, the
event log admissions; watch puts them together. Bounded: so many different things an hour, what is beyond
is counted. Names and flows carry no tablet; a MAC outside the inventory is written under another one,
made with a key that ends with the process.
"""

import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from ipaddress import IPv4Address
from typing import Any

from netguard.adapters import conntrack
from netguard.core.denials import Denial
from netguard.core.evidence import parsed
from netguard.core.names import Mac
from netguard.core.plan import Plan
from netguard.core.records import Asked
from netguard.core.usage import (
    ADMISSION,
    ALLOWED,
    ASKED_WITHIN,
    FLOW,
    KINDS,
    MOST_AT_ONCE,
    REFUSED,
    Seen,
    Tally,
    read_seen,
)
from netguard.errors import BadValue

HOUR = 3600.0
# A ward of a hundred tablets has some hundred different things an hour.
MOST = 5000
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp"}


class FlowUse:
    """guard's part: flows that were opened, and packets that were refused, since the last look."""

    def __init__(self) -> None:
        self._tally: Tally[Seen] = Tally(MOST_AT_ONCE)
        self._known: frozenset[int] = frozenset()
        self._taken = float("-inf")

    def refused(self, plan: Plan | None, denial: Denial) -> None:
        """Count a refused packet of a tablet of a group."""
        site = plan.site_of_interface.get(denial.interface) if plan is not None else None
        if plan is None or site is None or denial.mac is None:
            return
        binding = plan.binding.get((site.name, denial.mac))
        if binding is not None:
            to, port = str(denial.destination), denial.port or 0
            place = site.name, binding.group
            self._tally.add(_flow(*place, REFUSED, denial.rule, denial.protocol, to, port))

    def take(
        self, plan: Plan | None, connections: Sequence[conntrack.Opened], now: float
    ) -> dict[str, Any]:
        """Return what was refused, and the connections that were not there the last time.

        `now` is monotonic; asked for the first time in a while, it only begins to count.
        """
        gathered = now - self._taken <= ASKED_WITHIN
        self._taken = now
        known, self._known = self._known, frozenset(each.id for each in connections)
        if plan is not None and gathered:
            for seen in _opened(plan, (each for each in connections if each.id not in known)):
                self._tally.add(seen)
        rows = self._tally.take()
        lines = [seen._replace(times=times).line() for seen, times in rows]
        return {"used": lines if gathered else [], "dropped": self._tally.dropped}


def _opened(plan: Plan, connections: Iterable[conntrack.Opened]) -> Iterator[Seen]:
    rules = {grant.mark: grant.rule for grant in plan.grants}
    who = {b.address: b for b in plan.bindings if b.address is not None}
    for each in connections:
        binding, rule = who.get(IPv4Address(each.source)), rules.get(each.mark)
        if binding is not None and rule is not None:
            protocol = _PROTOCOLS.get(each.protocol, str(each.protocol))
            to = str(IPv4Address(each.destination))
            yield _flow(binding.site, binding.group, ALLOWED, rule, protocol, to, each.port)


def _flow(
    site: str, group: str, answer: str, rule: str, protocol: str, address: str, port: int
) -> Seen:
    return Seen(FLOW, site, group, answer, rule, protocol=protocol, address=address, port=port)


class UseRecorder:
    """watch's part: an hour of what guard, dns and the event log have seen, then its lines."""

    def __init__(self) -> None:
        self._tallies = {kind: Tally[Seen](MOST) for kind in sorted(KINDS)}
        self._hour = 0.0
        self._key = secrets.token_bytes(32)
        self.dropped = 0

    def admissions(self, every: Iterable[Asked], tablets: Mapping[str, object]) -> None:
        """Count requests to join; `tablets` holds the MACs of the inventory."""
        for asked in every:
            mac = str(asked.mac) if str(asked.mac) in tablets else self._stranger(asked.mac)
            said = ALLOWED if asked.answer == "accept" else REFUSED
            self._tallies[ADMISSION].add(
                Seen(
                    ADMISSION, asked.site, "", said, asked.rule,
                    mac, asked.nas, asked.ap, asked.ssid, asked.vlan,
                )
            )  # fmt: skip

    def told(self, lines: Sequence[object]) -> None:
        """Count what guard or dns tell; a line that is none is left out."""
        for line in lines[:MOST_AT_ONCE]:
            try:
                seen = read_seen(_object(line))
            except BadValue:
                continue
            self._tallies[seen.kind].add(seen._replace(times=1, at=0.0), seen.times)

    def lines(self, now: float, *, at_once: bool = False) -> str:
        """Return the lines of the hour that has ended (or of this one so far), once; nothing else."""
        hour = now - now % HOUR
        if not at_once and hour == self._hour:
            return ""
        at, self._hour = self._hour or hour, hour
        rows = [
            seen._replace(times=times, at=at).line()
            for tally in self._tallies.values()
            for seen, times in tally.take()
        ]
        self.dropped = sum(tally.dropped for tally in self._tallies.values())
        return "\n".join(rows)

    def _stranger(self, mac: Mac) -> str:
        """Return another MAC of the same maker and kind: what rules go by stays, the device does not."""
        digits = hmac.new(self._key, str(mac).encode(), sha256).hexdigest()
        return f"{str(mac)[:8]}:{digits[:2]}:{digits[2:4]}:{digits[4:6]}"


def _object(line: object) -> dict[str, Any]:
    if not isinstance(line, str):
        raise BadValue("syntax", "not a line")
    return parsed(line)
