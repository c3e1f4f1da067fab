"""Events of a case played through the engine of presence, on a clock of their own.

A tablet that is on the air is heard at the pace of its site's heartbeat, as a real one is; one that is
gone is not heard any more. Who is told goes by core/alerting, as in a running watch.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from zoneinfo import ZoneInfo

from netguard.core.alerting import CLEARED, Place, matter_of, notices_of
from netguard.core.areas import canonical_ap
from netguard.core.evidence import ASSOCIATED, DISASSOCIATED, HEARD, Event
from netguard.core.policy import Policy
from netguard.core.presence import Action, Alert, State, compile_model, due, step

# A Monday, ten in the morning where the first tablet is at home: no night, no change of clocks.
_START = datetime(2026, 1, 5, 10)  # noqa: DTZ001  # given its zone below
_PATIENCE = 3600.0
_LOOK = 10.0


@dataclass(frozen=True, slots=True)
class Happening:
    """At so many seconds a tablet is at an AP, or gone."""

    at: float
    tablet: str
    ap: str | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """A receiver was told by a rule of alerts.yaml, so many seconds after the last event."""

    rule: str
    to: str
    tablet: str
    after: float

    def __str__(self) -> str:
        who = f" of {self.tablet}" if self.tablet else ""
        return f"{self.rule}{who} to {self.to} after {self.after:.0f} s"


def tell(policy: Policy, events: tuple[Happening, ...], within: float | None) -> list[Told]:
    """Play events and return who was told what, until so long after the last one (an hour)."""
    return _Story(policy, events, within).told()


class _Story:
    """One story on its way."""

    def __init__(self, policy: Policy, events: tuple[Happening, ...], within: float | None) -> None:
        self.policy, self.events = policy, events
        self.model, self.state = compile_model(policy), State()
        home = policy.tablets[events[0].tablet].home[0]
        self.start = _START.replace(tzinfo=ZoneInfo(policy.sites[home].time_zone)).timestamp()
        self.last = max(event.at for event in events)
        self.until = self.last + (within if within is not None else _PATIENCE)

    def told(self) -> list[Told]:
        """Play it to its end."""
        found: list[Told] = []
        now = 0.0
        for event in self._heard():
            while now + _LOOK < event.at - self.start:
                now += _LOOK
                found += self._told(due(self.model, self.state, self.start + now))
            found += self._told(step(self.model, self.state, event))
        while now < self.until:
            now = min(now + _LOOK, self.until)
            found += self._told(due(self.model, self.state, self.start + now))
        return found

    def _heard(self) -> Iterator[Event]:
        """Yield what the appliance hears, in order."""
        ids = dict.fromkeys(event.tablet for event in self.events)
        streams = (self._of_one([e for e in self.events if e.tablet == id_]) for id_ in ids)
        yield from merge(*streams, key=lambda event: event.at)

    def _of_one(self, events: list[Happening]) -> Iterator[Event]:
        mac, ap = str(self.policy.tablets[events[0].tablet].mac), ""
        ordered = sorted(events, key=lambda event: event.at)
        ends = [event.at for event in ordered[1:]] + [self.until]
        for event, end in zip(ordered, ends, strict=True):
            at = self.start + event.at
            if event.gone:
                yield Event(at, DISASSOCIATED, mac, ap)
                continue
            ap = canonical_ap(str(event.ap))
            site = self.model.area_of(ap).site
            yield Event(at, ASSOCIATED, mac, ap, site=site)
            beat = self.policy.sites[site].interim.total_seconds()
            while (at := at + beat) < self.start + end:
                yield Event(at, HEARD, mac, ap, site=site)

    def _told(self, actions: list[Action]) -> Iterator[Told]:
        policy, areas = self.policy, self.model.areas
        for action in actions:
            if not isinstance(action, Alert) or action.kind == CLEARED:
                continue
            where = action.site, action.area
            edge = any(area.edge for area in areas if (area.site, area.name) == where)
            matter = matter_of(action, Place(action.site, action.area, action.ap, edge), 0.0)
            tablet = policy.tablets.get(action.tablet)
            owner = policy.groups[tablet.group].notify if tablet is not None else None
            notices = notices_of(matter, policy.alerts, action.at, [owner] if owner else ())
            for notice in notices:
                after = action.at - self.start - self.last
                yield Told(notice.rule, notice.receiver, action.tablet, after)
