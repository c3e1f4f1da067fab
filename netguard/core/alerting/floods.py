"""Too much of something within a span: unknown devices that ask, names asked for in vain, messages dropped.

Whoever floods is refused and limited where he knocks (FreeRADIUS, the name proxy, the feeds); this only
counts, in bounded memory, so that one alert says it, however many packets it were.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from netguard.core.alerting.troubles import Trouble
from netguard.core.names import parse_duration
from netguard.core.policy import AlertRule

DEVICES, NAMES, MESSAGES = "devices", "names", "messages"
# Where only the most frequent are listed: how many there were in all.
ALL = ""
# NASes are those of the rules; a forged name must not grow this.
_MOST_NAS = 2_000
# (seconds, count) of each look within a span, the oldest first.
Since = list[tuple[float, int]]


def grown(since: Since, count: int, now: float, span: float) -> int:
    """Return by how much a count has grown within a span; one that begins anew has grown by itself."""
    if since and count < since[-1][1]:
        since.clear()
    since.append((now, count))
    # One older than the span stays: it is what the newest is compared with.
    while len(since) > 1 and since[1][0] <= now - span:
        since.pop(0)
    return count - since[0][1]


class Floods:
    """Counts what is refused by the hundred; knows no device of it."""

    def __init__(self) -> None:
        self._strangers: Counter[str] = Counter()
        self._since: dict[str, dict[str, Since]] = {}

    def refused(self, nas: str) -> None:
        """Count a device of no inventory that asked a NAS to be let in."""
        if nas in self._strangers or len(self._strangers) < _MOST_NAS:
            self._strangers[nas] += 1

    def look(
        self,
        rules: Iterable[AlertRule],
        asked_in_vain: Mapping[str, int],
        dropped: Mapping[str, int],
        now: float,
    ) -> list[Trouble]:
        """Return the floods that rules of alerts.yaml name and that exceed what these bear.

        `asked_in_vain` are questions of tablets that were refused or dropped, `dropped` messages of
        feeds by reason; both only grow. Where a list has only the most frequent, `ALL` has the whole.
        """
        counts = {
            DEVICES: ("NG-1304", self._strangers),
            NAMES: ("NG-1305", asked_in_vain),
            MESSAGES: ("NG-1306", dropped),
        }
        found = []
        for rule in rules:
            kind = rule.when.get("flood", "")
            if kind in counts:
                code, seen = counts[kind]
                found += self._flood(rule, kind, code, seen, now)
        return found

    def _flood(
        self, rule: AlertRule, kind: str, code: str, seen: Mapping[str, int], now: float
    ) -> list[Trouble]:
        limit = rule.when["more_than"]
        most, _, words = limit.partition("/")
        span = parse_duration(words).total_seconds()
        known = self._since.get(rule.name)
        since = self._since[rule.name] = {
            who: (known or {}).get(who, [(now, 0)] if known is not None else []) for who in seen
        } | {ALL: (known or {}).get(ALL, [])}
        rise = {who: grown(since[who], count, now, span) for who, count in sorted(seen.items())}
        count = rise.pop(ALL) if ALL in seen else grown(since[ALL], sum(seen.values()), now, span)
        if count <= int(most):
            return []
        worst = max(sorted(rise), key=lambda who: rise[who], default="")
        about = {"flood": kind, "more_than": limit}
        fields = {"limit": limit}
        return [Trouble(f"flood-{rule.name}", code, about, worst, fields=fields, lasting=0.0)]
