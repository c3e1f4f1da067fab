"""The rules as the engine needs them: tablets by MAC, APs, NASes and sites, all spans in seconds.

A Model is compiled from a Policy and is as cheap to rebuild as the inventory is long. It has a form
of plain values (`write_model`), so that whoever holds the rules can hand it to whoever runs the
engine.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

from netguard.core.areas import canonical_ap
from netguard.core.policy import Policy, PresencePolicy
from netguard.core.presence.weights import Weights
from netguard.errors import BadValue

VERSION = 1
_HOUR, _DAY = 3600, 86400


@dataclass(frozen=True, slots=True)
class SiteModel:
    """One site: its words of presence.yaml, in seconds; `night` in seconds of the local day."""

    name: str
    time_zone: str = "UTC"
    interim: float = 300.0
    dhcp: bool = True
    probe: float = 30.0
    grace: float = 60.0
    quiet_after: float = 600.0
    missing_edge: float = 180.0
    missing_area: float = 1800.0
    missing_default: float = 1200.0
    missing_night: float = 3600.0
    night: tuple[int, int] = (22 * _HOUR, 6 * _HOUR)
    path_within: float = 600.0
    path_aps: int = 2
    outage_share: float = 0.6
    outage_at_least: int = 5
    outage_window: float = 60.0
    outage_hold: float = 900.0
    storm_alarms: int = 3
    storm_per_ap: float = 600.0
    budget: float = 1 / 7


@dataclass(frozen=True, slots=True)
class AreaModel:
    """One area of a site: its APs as the rules spell them, canonical."""

    site: str
    name: str
    aps: tuple[str, ...]
    edge: bool = False
    expected_silent: bool = False


@dataclass(frozen=True, slots=True)
class TabletModel:
    """One tablet: where it belongs, and what may be learned from its likes."""

    id: str
    mac: str
    site: str
    area: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class WalkModel:
    """The least seconds on foot between two areas of a site, which are sorted."""

    site: str
    areas: tuple[str, str]
    takes: float


NOWHERE = AreaModel("", "", ())


@dataclass(frozen=True)
class Model:
    """Everything the engine knows before the first event. `trace` makes it tell each judgement."""

    sites: Mapping[str, SiteModel]
    areas: tuple[AreaModel, ...]
    nas: Mapping[str, str]
    tablets: Mapping[str, TabletModel]
    weights: Weights = field(default_factory=Weights)
    trace: bool = False
    walks: tuple[WalkModel, ...] = ()

    @cached_property
    def budget(self) -> float:
        """Return the false alarms a day that the whole fleet may raise."""
        return min((site.budget for site in self.sites.values()), default=_NO_SITE.budget)

    @cached_property
    def by_id(self) -> dict[str, str]:
        """Return MACs by tablet id."""
        return {tablet.id: mac for mac, tablet in self.tablets.items()}

    @cached_property
    def _exact(self) -> dict[str, AreaModel]:
        found: dict[str, AreaModel] = {}
        for area in self.areas:
            for ap in area.aps:
                if not ap.endswith("*"):
                    found.setdefault(ap, area)
        return found

    @cached_property
    def _patterns(self) -> tuple[tuple[str, AreaModel], ...]:
        found = [(ap[:-1], area) for area in self.areas for ap in area.aps if ap.endswith("*")]
        return tuple(sorted(found, key=lambda each: -len(each[0])))

    def lists(self, ap: str) -> bool:
        """Say whether the rules name a canonical AP itself; a pattern of BSSIDs names none."""
        return ap in self._exact

    def area_of(self, ap: str) -> AreaModel:
        """Return the area of a canonical AP: by its name, else by the longest BSSID pattern."""
        area = self._exact.get(ap)
        if area is not None:
            return area
        for prefix, area in self._patterns:
            if ap.startswith(prefix) and (not prefix or ":" in ap):
                return area
        return NOWHERE

    def walk(self, one: str, other: str) -> float | None:
        """Return the least seconds on foot from one canonical AP to another, 0 within one area.

        None where the rules name no walk between their areas: they may be neighbours. Where they do,
        several walks one after the other may be shorter than the one that is written.
        """
        here, there = self.area_of(one), self.area_of(other)
        if NOWHERE in {here, there} or here.site != there.site:
            return None
        if here.name == there.name:
            return 0.0
        return self._walks.get((here.site, here.name, there.name))

    @cached_property
    def _walks(self) -> dict[tuple[str, str, str], float]:
        """Return each walk that is written, both ways, as the shortest way over all of its site (Floyd-Warshall)."""
        written = {
            (walk.site, *ends): walk.takes
            for walk in self.walks
            for ends in (walk.areas, walk.areas[::-1])
        }
        least = dict(written)
        areas = {(walk.site, area) for walk in self.walks for area in walk.areas}
        for site, middle in sorted(areas):
            into = [(a, takes) for (s, a, b), takes in least.items() if (s, b) == (site, middle)]
            for start, first in into:
                for end, second in into:
                    if start != end:
                        way = site, start, end
                        least[way] = min(first + second, least.get(way, math.inf))
        return {ends: least[ends] for ends in written}

    def site_of(self, name: str) -> SiteModel:
        """Return a site, or the words of the first one for what belongs to none."""
        found = self.sites.get(name)
        return found if found is not None else next(iter(self.sites.values()), _NO_SITE)

    def is_night(self, site: str, at: float) -> bool:
        """Say whether it is night at a site, in its local time."""
        words = self.site_of(site)
        second = (int(at) + _offset(words.time_zone, int(at) // 900)) % _DAY
        start, end = words.night
        return start <= second < end if start <= end else second >= start or second < end


_NO_SITE = SiteModel("")
_OFFSETS: dict[tuple[str, int], int] = {}


def _offset(zone: str, quarter: int) -> int:
    """Return the seconds a zone is ahead of UTC; clocks change at full quarters of an hour."""
    found = _OFFSETS.get((zone, quarter))
    if found is None:
        moment = datetime.fromtimestamp(quarter * 900, UTC).astimezone(ZoneInfo(zone))
        found = int((moment.utcoffset() or timedelta()).total_seconds())
        if len(_OFFSETS) > 10_000:
            _OFFSETS.clear()
        _OFFSETS[zone, quarter] = found
    return found


def compile_model(policy: Policy, *, trace: bool = False) -> Model:
    """Compile the rules for the engine."""
    sites = {
        name: _site(name, site.time_zone, policy.presence.get(name, PresencePolicy()))
        for name, site in sorted(policy.sites.items())
    }
    areas = tuple(
        AreaModel(
            name,
            area.name,
            tuple(sorted({canonical_ap(ap) for ap in area.aps})),
            area.edge,
            area.expected_silent,
        )
        for name, site in sorted(policy.sites.items())
        for _, area in sorted(site.areas.items())
    )
    nas = {nas: name for name, site in sorted(policy.sites.items()) for nas in sorted(site.nas)}
    tablets = {
        str(tablet.mac): TabletModel(id_, str(tablet.mac), *tablet.home, tablet.model)
        for id_, tablet in sorted(policy.tablets.items())
    }
    walks = tuple(
        WalkModel(name, walk.areas, walk.takes.total_seconds())
        for name, site in sorted(policy.sites.items())
        for walk in site.walks
    )
    return Model(sites, areas, nas, tablets, trace=trace, walks=walks)


def _site(name: str, zone: str, words: PresencePolicy) -> SiteModel:
    interim = words.interim.total_seconds()
    quiet = words.quiet_after
    return SiteModel(
        name=name,
        time_zone=zone,
        interim=interim,
        dhcp=words.dhcp,
        probe=words.probe.total_seconds(),
        grace=words.grace.total_seconds(),
        quiet_after=quiet.total_seconds() if quiet else words.quiet_heartbeats * interim,
        missing_edge=words.missing_edge.total_seconds(),
        missing_area=words.missing_area.total_seconds(),
        missing_default=words.missing_default.total_seconds(),
        missing_night=words.missing_night.total_seconds(),
        night=(
            words.night.start * 60,
            words.night.end * 60,
        ),
        path_within=words.path_within.total_seconds(),
        path_aps=words.path_aps,
        outage_share=words.outage_share,
        outage_at_least=words.outage_at_least,
        outage_window=words.outage_window.total_seconds(),
        outage_hold=words.outage_hold.total_seconds(),
        storm_alarms=words.storm_alarms,
        storm_per_ap=words.storm_per_ap.total_seconds(),
        budget=words.false_alarms.per_day,
    )


def write_model(model: Model) -> dict[str, Any]:
    """Return a model as plain values, for JSON."""
    return {
        "version": VERSION,
        "sites": [asdict(site) for site in model.sites.values()],
        "areas": [asdict(area) for area in model.areas],
        "nas": dict(model.nas),
        "tablets": [asdict(tablet) for tablet in model.tablets.values()],
        "walks": [asdict(walk) for walk in model.walks],
    }


def read_model(body: Mapping[str, Any]) -> Model:
    """Read what `write_model` returned; raises BadValue for anything else."""
    try:
        if body["version"] != VERSION:
            raise BadValue("syntax", f"the model has version {body['version']}, not {VERSION}")
        sites = {
            row["name"]: replace(SiteModel(**row), night=tuple(row["night"]))
            for row in body["sites"]
        }
        areas = tuple(replace(AreaModel(**row), aps=tuple(row["aps"])) for row in body["areas"])
        tablets = {row["mac"]: TabletModel(**row) for row in body["tablets"]}
        # One that was written before there were walks has none.
        walks = tuple(
            replace(WalkModel(**row), areas=tuple(row["areas"])) for row in body.get("walks", ())
        )
        return Model(sites, areas, dict(body["nas"]), tablets, walks=walks)
    except (KeyError, TypeError, ValueError) as error:
        raise BadValue("syntax", f"not a model of presence: {error!r}") from None
