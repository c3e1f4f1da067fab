"""The life of one tablet: it is at rest, walks, visits, sleeps, is carried off; and what is heard.

It behaves towards the network as real hostapd 2.10 was seen to: a roam is silent, the old AP's
session goes on with a packet count that stands still and ends by Idle-Timeout; a radio that is
switched off says goodbye; an AP without power says nothing.
"""

from collections.abc import Iterator
from typing import Any

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.labels import Label
from netguard.core.presence.model import AreaModel, TabletModel
from netguard.core.simulation.draws import Draws
from netguard.core.simulation.parameters import Parameters
from netguard.core.simulation.world import Faults, World

DAY = 86400.0
# From this length on a silence gets a label.
LABELLED = 300.0
_TWO_HOURS = 7200.0
# When a running system asks a silent tablet: until so long after the first question, every so often.
_ASKED_EDGE = ((600.0, 10.0), (1800.0, 30.0), (7200.0, 300.0))
_ASKED_INSIDE = ((600.0, 30.0), (3600.0, 120.0), (14400.0, 600.0))


class Gone(Exception):  # a fact, not an error
    """The recording ends, or the tablet never comes back."""


class Walker:
    """One tablet. `told` fills with what the network hears; `at` is how far its life is told."""

    def __init__(
        self,
        world: World,
        parameters: Parameters,
        faults: Faults,
        tablet: TabletModel,
        draws: Draws,
        labels: list[Label],
    ) -> None:
        self.world, self.p, self.faults, self.draws = world, parameters, faults, draws
        self.tablet, self.labels = tablet, labels
        self.told: list[Event] = []
        self.at = parameters.start + draws.unit() * 600
        self.end = parameters.start + parameters.days * DAY
        self.home = next(
            (a for a in world.areas if (a.site, a.name) == (tablet.site, tablet.area)),
            world.areas[0],
        )
        self.sleeper = draws.chance(parameters.sleepers)
        self.theft = self._when_stolen()
        self.ap, self.session, self.packets, self.sessions = "", "", 0, 0
        self.next_interim = self.next_dhcp = self.at
        self.last = self.at

    def _when_stolen(self) -> float:
        """Draw the moment of a theft: by day, and only where there is an exit."""
        if not self.world.edges(self.home.site) or self.home.expected_silent:
            return self.end + DAY
        at = self.p.start + self.draws.wait(1 / self.p.thefts) * DAY
        day = (at - self.p.start) // DAY
        return self.p.start + day * DAY + self.draws.between(self.p.day)

    # the life

    def live(self) -> Iterator[bool]:
        """Live, a piece at a time, until the recording ends or the tablet is gone."""
        try:
            self._associate(self.draws.one_of(self.home.aps))
            while True:
                self._at_rest()
                yield True
        except Gone:
            self.at = max(self.at, self.end)

    def _at_rest(self) -> None:
        """Be in the home area until something happens; then let it happen."""
        d, p = self.draws, self.p
        walking = not self.home.expected_silent
        rates = (
            p.gaps,
            p.sleeper_gaps if self.sleeper else 0.0,
            p.roams,
            p.visits * 1.6 if walking and self.world.edges(self.home.site) else 0.0,
            p.walks * 1.6 if walking and len(self.world.inside(self.home.site)) > 1 else 0.0,
            p.ward_moves if walking else 0.0,
            p.other_site if walking and len(self.world.sites) > 1 else 0.0,
        )
        total = sum(rates)
        until = self.at + d.wait(DAY / total)
        if self.theft <= until:
            self._beat(max(self.theft, self.at))
            self._stolen()
        self._beat(until)
        what = d.index([rate / total for rate in rates])
        day = p.day[0] <= (self.at - p.start) % DAY < p.day[1]
        if what == 0:
            self._gap(self._gap_length())
        elif what == 1:
            self._gap(d.between(p.sleeper_gap), doze=True)
        elif what == 2:
            self._roam(d.one_of(self.home.aps))
        elif day and what == 3:
            self._visit()
        elif day and what == 4:
            self._walk()
        elif day and what == 5:
            self._move(d.one_of(self.world.inside(self.home.site)))
        elif day and what == 6:
            other = d.one_of([site for site in self.world.sites if site != self.home.site])
            self._ride(d.one_of(self.world.inside(other)))

    def _gap_length(self) -> float:
        which = self.draws.index(self.p.gap_shares)
        return self.draws.log_between(*self.p.gap_ends[which : which + 2])

    # presence

    def _tell(self, at: float, kind: str, source: str, ap: str = "", **more: Any) -> None:  # noqa: ANN401  # fields of Event
        """Say one thing: late now and then, twice now and then, not at all while the site is down."""
        ap = ap or self.ap
        site = self.world.site_of_ap[ap]
        if self.faults.holds(ap, site, at):
            return
        d, p = self.draws, self.p
        event = Event(
            at, kind, self.tablet.mac, ap, self.world.nas[site], site, source=source, **more
        )
        if source == "syslog":
            if site == self.world.sites[-1]:
                event = event._replace(at=at - p.skew, received=at)
            self.told.append(event)
            if d.chance(p.duplicates):
                self.told.append(event)
            return
        if source == "radius" and d.chance(p.late):
            event = event._replace(received=at + d.unit() * p.late_by)
        self.told.append(event)

    def _associate(self, ap: str) -> None:
        d = self.draws
        if self.at >= self.end:
            raise Gone
        self.ap = ap
        self.sessions += 1
        self.session, self.packets = f"{self.tablet.id}-{self.sessions}", 10
        self._tell(self.at, evidence.ASSOCIATED, "syslog")
        started = self.at + 0.2 + 1.1 * d.unit()
        self._tell(started, evidence.START, "radius", session=self.session, packets=0)
        self._tell(started + 1, evidence.HEARD, "dhcp")
        self.next_interim = started + self.p.interim
        self.next_dhcp = started + self.p.dhcp * (0.9 + 0.2 * d.unit())
        self.last = self.at = started + 1

    def _beat(self, until: float) -> None:
        """Be at the present AP until then, through whatever outage comes."""
        while True:
            site = self.world.site_of_ap[self.ap]
            coming = self.faults.next(self.ap, site, self.at)
            if coming is None or coming[0] > until:
                break
            self._frames(coming[0])
            self._outage(site, coming[1], own=coming[2])
        self._frames(until)
        if self.at >= self.end:
            raise Gone

    def _frames(self, until: float) -> None:
        edge = self.world.area_of_ap[self.ap].edge
        if edge:
            self._edge_frames(until)
        while self.next_interim <= until:
            at = self.next_interim
            self.packets += 20 + int(self.draws.unit() * 200)
            self._tell(at, evidence.INTERIM, "radius", session=self.session, packets=self.packets)
            self.next_interim = at + self.p.interim
            self.last = max(self.last, at)
        while self.next_dhcp <= until:
            self._tell(self.next_dhcp, evidence.HEARD, "dhcp")
            self.last = max(self.last, self.next_dhcp)
            self.next_dhcp += self.p.dhcp * (0.9 + 0.2 * self.draws.unit())
        self.at = max(self.at, until)

    def _edge_frames(self, until: float) -> None:
        d, p = self.draws, self.p
        at = self.at
        doze_at = at + d.wait(3600 / p.dozes)
        while at < until:
            if at >= doze_at:
                end = min(until, at + d.wait(p.doze))
                asked = at + 30
                while asked < end:
                    if d.chance(p.probe_miss):
                        self._tell(asked, evidence.SILENT_PROBE, "probe")
                    else:
                        self._tell(asked, evidence.HEARD, "probe")
                        self.last = asked
                    asked += 10
                at = end
                doze_at = at + d.wait(3600 / p.dozes)
            else:
                self._tell(at, evidence.HEARD, "gateway")
                self.last = at
                at += d.between(p.edge_frame)

    def _roam(self, ap: str) -> None:
        """Go to another AP: the old one does not notice, and says so late."""
        if ap == self.ap:
            return
        old, session, packets = self.ap, self.session, self.packets
        left, interim = self.at, self.next_interim
        self._associate(ap)
        self._tail(old, session, packets, left, interim, self.p.late_goodbye)

    def _tail(
        self,
        ap: str,
        session: str,
        packets: int,
        left: float,
        interim: float,
        goodbye: float = 0.0,
    ) -> None:
        """Let an AP that was left in silence go on: Interims that stand still, then the Stop."""
        d, p = self.draws, self.p
        # What it sent since the last report is reported after it has left.
        packets += 5 + int(d.unit() * 20)
        idle = left + p.idle_timeout + d.unit() * p.idle_spread
        if d.chance(goodbye):
            at = left + d.unit() * p.idle_timeout
            self._tell(at, evidence.DISASSOCIATED, "syslog", ap, reason="inactivity")
        while interim < idle:
            self._tell(interim, evidence.INTERIM, "radius", ap, session=session, packets=packets)
            interim += p.interim
        self._tell(
            idle, evidence.STOP, "radius", ap, session=session, packets=packets,
            reason="idle-timeout",
        )  # fmt: skip

    # silence

    def _silent(self, until: float, *, goodbye: str, asked_from: float = 0.0) -> None:
        """Be silent from now until then (0: for good); `goodbye` empty means without a word."""
        start, ap = self.at, self.ap
        end = until or self.end + DAY
        edge = self.world.area_of_ap[ap].edge
        if goodbye in {"user-request", "leaving", "unspecified", "handshake"}:
            self._tell(start, evidence.DISASSOCIATED, "syslog", reason=goodbye)
            self._tell(
                start + self.draws.unit(), evidence.STOP, "radius", session=self.session,
                packets=self.packets, reason="user-request",
            )  # fmt: skip
        else:
            idle = start + self.p.idle_timeout
            if goodbye and idle < end:
                self._tell(idle, evidence.DISASSOCIATED, "syslog", reason="inactivity")
            if idle + self.p.idle_spread < end:
                self._tail(ap, self.session, self.packets, start, self.next_interim)
        first = 30.0 if edge else 90.0 if goodbye else 600.0
        self._asked(start + (asked_from or first), end, edge=edge)
        self.last = start
        self.at = end

    def _asked(self, at: float, until: float, *, edge: bool) -> None:
        first = at
        for span, period in _ASKED_EDGE if edge else _ASKED_INSIDE:
            while at < min(until, first + span, self.end):
                self._tell(at, evidence.SILENT_PROBE, "probe")
                at += period

    def _label(self, cause: str, how: str, until: float, *, edge: bool | None = None) -> None:
        at_edge = self.world.area_of_ap[self.ap].edge if edge is None else edge
        self.labels.append(
            Label(self.tablet.id, self.tablet.mac, cause, how, self.last, until, at_edge)
        )

    def _gap(self, length: float, *, doze: bool = False) -> None:
        """Fall silent for a while, and come back."""
        d, p = self.draws, self.p
        self.last = self.at
        if doze or d.chance(p.goodbye_missing):
            goodbye = ""
        elif length <= 60:
            goodbye = ("unspecified", "handshake", "leaving")[d.index((0.55, 0.35, 0.10))]
        else:
            goodbye = ("inactivity", "leaving", "unspecified")[d.index((0.45, 0.35, 0.20))]
        if length >= LABELLED:
            flat = length > _TWO_HOURS and d.chance(p.battery)
            how = "battery" if flat else "asleep"
            goodbye = "" if flat else goodbye
            self._label("battery" if flat else "asleep", how, self.at + length)
        self._silent(self.at + length, goodbye=goodbye)
        self._associate(self._place_of_return(length))

    def _place_of_return(self, length: float) -> str:
        d, p = self.draws, self.p
        if length <= 1800:
            return self.ap
        where = d.index((p.return_same, p.return_near, 1.0))
        area = self.world.area_of_ap[self.ap]
        near = [ap for ap in area.aps if ap != self.ap] or list(area.aps)
        if where == 2:
            others = [each for each in self.world.inside(area.site) if each is not area]
            near = list(d.one_of(others or [area]).aps)
        return self.ap if where == 0 else d.one_of(near)

    def _outage(self, site: str, until: float, *, own: bool) -> None:
        """Lose the AP or the controller: find another AP, or wait until it is back."""
        d, p = self.draws, self.p
        area = self.world.area_of_ap[self.ap]
        near = [ap for ap in area.aps if ap != self.ap and not self.faults.holds(ap, site, self.at)]
        self.last = self.at
        if own and near and d.chance(p.ap_roam):
            self.at += d.between((2, 60))
            self._associate(d.one_of(near))
            return
        # Nobody hears an answer; the question is told by the gateway, which is up.
        end = until + d.between((1, 120))
        self._label("outage", "outage", end)
        at = self.at + (30 if area.edge else 600)
        for _ in range(60):
            if at >= end:
                break
            self.told.append(
                Event(
                    at, evidence.SILENT_PROBE, self.tablet.mac, self.ap, site=site, source="probe"
                )
            )
            at += 10 if area.edge else 60
        self.at = end
        while self.faults.holds(self.ap, site, self.at):
            self.at += 60
        self._associate(self.ap)

    # walks

    def _way(self, to: AreaModel) -> None:
        """Walk through up to two areas that lie between."""
        d = self.draws
        between = [a for a in self.world.inside(to.site) if a.name not in {self.home.name, to.name}]
        for _ in range(1 + int(d.unit() * 2)):
            if between:
                self._roam(d.one_of(d.one_of(between).aps))
                self._stay(d.between(self.p.leg))

    def _stay(self, span: float) -> None:
        """Be somewhere else than at home; now and then fall silent there, too."""
        d, p = self.draws, self.p
        wait = d.wait(DAY / (p.gaps * p.away_gaps))
        if wait < span:
            self._beat(self.at + wait)
            self._gap(self._gap_length())
        else:
            self._beat(self.at + span)

    def _visit(self) -> None:
        d, p = self.draws, self.p
        edge = d.one_of(self.world.edges(self.home.site))
        self._way(edge)
        self._roam(d.one_of(edge.aps))
        until = self.at + d.wait(p.visit)
        while self.at < until:
            self._stay(min(until - self.at, d.wait(600)))
            if self.at < until and self.world.area_of_ap[self.ap].edge:
                self._roam(d.one_of(edge.aps))
        if d.chance(p.steps_outside) and self.world.area_of_ap[self.ap].edge:
            self.last = self.at
            end = self.at + d.log_between(*p.step_outside)
            self._label("asleep", "outside", end)
            self._silent(end, goodbye="")
            self._associate(d.one_of(edge.aps))
        self._way(self.home)
        self._roam(d.one_of(self.home.aps))

    def _walk(self) -> None:
        d = self.draws
        there = d.one_of(self.world.inside(self.home.site))
        self._way(there)
        self._roam(d.one_of(there.aps))
        self._stay(d.wait(self.p.walk_stay))
        self._way(self.home)
        self._roam(d.one_of(self.home.aps))

    def _move(self, to: AreaModel) -> None:
        """Move to another ward for good; half of the moves are planned."""
        if self.draws.chance(0.5):
            self._plan(to)
        self._way(to)
        self.home = to
        self._roam(self.draws.one_of(to.aps))

    def _plan(self, to: AreaModel) -> None:
        self.told.append(
            Event(
                self.at, evidence.PLANNED_MOVE, self.tablet.mac, site=to.site, source="people",
                area=f"{to.site}/{to.name}", until=self.at + 6 * 3600,
            )
        )  # fmt: skip

    def _ride(self, to: AreaModel) -> None:
        """Go to the other site, by an exit and a drive, with an order."""
        d = self.draws
        self._plan(to)
        for edge in self.world.edges(self.home.site)[:1]:
            self._way(edge)
            self._roam(d.one_of(edge.aps))
            self._beat(self.at + d.between(self.p.exit_dwell))
        self.last = self.at
        until = self.at + d.between((1200, 3600))
        self._label("moved", "moved", until)
        self._silent(until, goodbye="")
        self.home = to
        self._associate(d.one_of(to.aps))

    # theft

    def _stolen(self) -> None:
        """Be carried off. What the thief does with the radio decides what can be seen."""
        d, p = self.draws, self.p
        how = ("off-at-rest", "off-on-the-way", "carried-out")[
            d.index((p.off_at_rest, p.off_on_the_way, 1.0))
        ]
        if how != "off-at-rest":
            edge = d.one_of(self.world.edges(self.home.site))
            self._way(edge)
            if how == "carried-out" or d.chance(0.5):
                self._roam(d.one_of(edge.aps))
                self._beat(self.at + d.between(p.exit_dwell))
        self.last = max(self.last, self.at) if how != "carried-out" else self.last
        self._label("taken", how, 0.0)
        report = self.at + d.between(p.reported)
        self._silent(0.0, goodbye="" if how == "carried-out" else "leaving")
        self.told.append(
            Event(report, evidence.LOAN, self.tablet.mac, reason="stolen", source="people")
        )
        raise Gone
