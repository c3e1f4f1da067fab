"""One MAC in two hands: two sessions of a tablet that carry traffic by turns, at two access points.

A tablet that roams leaves its session behind: it ends, or stands still. Two sessions whose packets both
grow, one after the other and then the first again, are two devices with one address (RFC 2866 5.5: a
session has its own Acct-Session-Id; 5.12 counts its packets). A controller that keeps one session over a
roam has one id, and is never taken for two. One late report of the old access point proves nothing: each
of the two must have grown after the other had, and nobody may have associated meanwhile.
"""

from collections import deque
from dataclasses import dataclass, field

from netguard.core.evidence import ASSOCIATED, INTERIM, ROAMED, START, STOP, Event

# Two reports of each, at the usual five minutes, and one that comes late.
WINDOW = 1500.0
# Turns A B A B: three changes of hand.
CHANGES = 3
# Sessions of one MAC that are remembered, and MACs: a clone has two, a flood must not grow.
MOST_SESSIONS, MOST_TABLETS = 8, 20_000


@dataclass(frozen=True, slots=True)
class Clone:
    """A MAC that is in use twice: where each of the two was heard last, and when (engine's clock)."""

    mac: str
    at: float
    places: tuple[tuple[str, str], tuple[str, str]]  # (site, AP) of either


@dataclass(slots=True)
class _Session:
    site: str
    ap: str
    packets: int


@dataclass(slots=True)
class _Tablet:
    sessions: dict[tuple[str, str], _Session] = field(default_factory=dict)
    # When which session carried traffic, only where it changes.
    turns: deque[tuple[float, tuple[str, str]]] = field(
        default_factory=lambda: deque(maxlen=CHANGES + 1)
    )


class Clones:
    """Follows the accounting of each tablet; bounded."""

    def __init__(self) -> None:
        self._tablets: dict[str, _Tablet] = {}

    def tell(self, event: Event) -> Clone | None:
        """Take one piece of evidence; return what it shows, None where it shows nothing new."""
        if event.kind in {START, ASSOCIATED, ROAMED} and event.mac in self._tablets:
            # Whoever goes to and fro at the edge of two cells associates each time.
            self._tablets[event.mac].turns.clear()
        if event.kind not in {START, INTERIM, STOP} or not event.session:
            return None
        tablet = self._tablet(event.mac)
        key = event.nas, event.session
        if event.kind == STOP:
            tablet.sessions.pop(key, None)
            return None
        known = tablet.sessions.get(key)
        grown = known is not None and event.packets is not None and event.packets > known.packets
        while known is None and len(tablet.sessions) >= MOST_SESSIONS:
            del tablet.sessions[next(iter(tablet.sessions))]
        packets = event.packets or 0
        tablet.sessions[key] = _Session(
            event.site, event.ap, max(packets, known.packets if known else 0)
        )
        return self._turn(event, tablet, key) if grown else None

    def _turn(self, event: Event, tablet: _Tablet, key: tuple[str, str]) -> Clone | None:
        turns = tablet.turns
        if turns and turns[-1][1] == key:
            turns[-1] = event.at, key
            return None
        turns.append((event.at, key))
        if len(turns) <= CHANGES or event.at - turns[0][0] > WINDOW:
            return None
        one, other = turns[-2][1], key
        if {each for _, each in turns} != {one, other}:
            return None
        first, second = tablet.sessions.get(one), tablet.sessions[other]
        if first is None or (first.site, first.ap) == (second.site, second.ap):
            return None
        turns.clear()
        return Clone(event.mac, event.at, ((first.site, first.ap), (second.site, second.ap)))

    def _tablet(self, mac: str) -> _Tablet:
        found = self._tablets.get(mac)
        if found is None:
            while len(self._tablets) >= MOST_TABLETS:
                del self._tablets[next(iter(self._tablets))]
            found = self._tablets[mac] = _Tablet()
        return found
