"""One MAC in two hands: two sessions of a tablet that carry traffic by turns, at two access points.

A tablet that roams leaves its session behind: it ends, or stands still. Two sessions whose packets both
grow, one after the other and then the first again, are two devices with one address (RFC 2866 5.5: a
session has its own Acct-Session-Id; 5.12 counts its packets). A controller that keeps one session over a
roam has one id, and is never taken for two. One late report of the old access point proves nothing: each
of the two must have grown after the other had, and nobody may have associated meanwhile.

Nor does anybody associate at one site and minutes later at another. Within one site the rules may say how long a walk
between two of its areas takes (`walks`): who associates here, there, here and there again, each time faster than
anybody walks, is two. One association in too little time proves nothing: a late or doubled record, or an old access
point that has not noticed yet. Between areas without a walk there is no such rule: they may be neighbours, and a tablet
at the edge of two cells goes to and fro within a second.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from netguard.core.evidence import ASSOCIATED, INTERIM, ROAMED, START, STOP, Event

# Two reports of each, at the usual five minutes, and one that comes late.
WINDOW = 1500.0
# From one site to the next nobody walks in less.
SITES_APART = 300.0
# Turns A B A B: three changes of hand.
CHANGES = 3
# The least seconds on foot from one AP to another of one site: 0 within one area, None where nobody has said.
Walk = Callable[[str, str], float | None]
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
    # Where it associated last, and when.
    arrived: tuple[str, str, float] | None = None
    # The last associations at one site, each sooner than the walk from the one before takes: (AP, when).
    hops: list[tuple[str, float]] = field(default_factory=list)
    sessions: dict[tuple[str, str], _Session] = field(default_factory=dict)
    # When which session carried traffic, only where it changes.
    turns: deque[tuple[float, tuple[str, str]]] = field(
        default_factory=lambda: deque(maxlen=CHANGES + 1)
    )


class Clones:
    """Follows the accounting of each tablet; bounded."""

    def __init__(self) -> None:
        self._tablets: dict[str, _Tablet] = {}

    def tell(self, event: Event, walk: Walk = lambda _one, _other: None) -> Clone | None:
        """Take one piece of evidence; return what it shows, None where it shows nothing new."""
        if event.kind in {START, ASSOCIATED, ROAMED}:
            here = self._tablet(event.mac)
            # Whoever goes to and fro at the edge of two cells associates each time.
            here.turns.clear()
            leap = _leap(here, event) or _to_and_fro(here, event, walk)
            if event.site:
                here.arrived = event.site, event.ap, event.at
            if leap is not None:
                return leap
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


def _leap(tablet: _Tablet, event: Event) -> Clone | None:
    """Return what shows that a tablet came from one site to another faster than anybody walks."""
    if tablet.arrived is None or not event.site:
        return None
    site, ap, at = tablet.arrived
    if site == event.site or not 0 <= event.at - at < SITES_APART:
        return None
    return Clone(event.mac, event.at, ((site, ap), (event.site, event.ap)))


def _to_and_fro(tablet: _Tablet, event: Event, walk: Walk) -> Clone | None:
    """Return what shows that a tablet is in two areas of a site by turns, faster than anybody walks."""
    if not event.site or not event.ap:
        return None
    hops, here = tablet.hops, (event.ap, event.at)
    if tablet.arrived is None or tablet.arrived[0] != event.site or not hops:
        tablet.hops = [here]
        return None
    before, at = hops[-1]
    takes = walk(before, event.ap)
    if takes == 0:
        hops[-1] = here
    elif takes is None or not 0 <= event.at - at < takes:
        tablet.hops = [here]
    elif len(hops) > 1 and walk(hops[-2][0], event.ap) != 0:
        # A third area: what was seen of the first says nothing of these two.
        tablet.hops = [hops[-1], here]
    else:
        hops.append(here)
    if len(tablet.hops) <= CHANGES:
        return None
    tablet.hops = [here]
    return Clone(event.mac, event.at, ((event.site, before), (event.site, event.ap)))
