"""The places of a simulated hospital, and when which of them is down."""

from bisect import bisect_right
from dataclasses import dataclass, field

from netguard.core.presence.model import AreaModel, Model


class World:
    """The places of the rules: APs of areas, exits, neighbours."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.areas = [area for area in model.areas if area.aps]
        self.sites = sorted({area.site for area in self.areas})
        self.site_of_ap = {ap: area.site for area in self.areas for ap in area.aps}
        self.area_of_ap = {ap: area for area in self.areas for ap in area.aps}
        self.edge_aps = [ap for ap, area in self.area_of_ap.items() if area.edge]
        self.nas = {site: f"nas-{site}" for site in self.sites} | {
            site: nas for nas, site in model.nas.items()
        }

    def inside(self, site: str) -> list[AreaModel]:
        """Return the areas of a site where tablets are used."""
        return [a for a in self.areas if a.site == site and not a.edge and not a.expected_silent]

    def edges(self, site: str) -> list[AreaModel]:
        """Return the areas of a site that are next to an exit."""
        return [area for area in self.areas if area.site == site and area.edge]


@dataclass(slots=True)
class Faults:
    """When which AP or site is down."""

    aps: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    sites: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(
        self, to: dict[str, list[tuple[float, float]]], name: str, at: float, until: float
    ) -> None:
        """Add one outage."""
        to.setdefault(name, []).append((at, until))

    def sort(self) -> None:
        """Put all in order; called once."""
        for spans in (*self.aps.values(), *self.sites.values()):
            spans.sort()

    def next(self, ap: str, site: str, at: float) -> tuple[float, float, bool] | None:
        """Return the next outage at a place, or the one that holds: from, until, whether the AP's."""
        found = [
            (*span, mine)
            for spans, mine in ((self.aps.get(ap, []), True), (self.sites.get(site, []), False))
            for span in spans[max(0, bisect_right(spans, (at, 0.0)) - 1) :][:2]
            if span[1] > at
        ]
        return min(found) if found else None

    def holds(self, ap: str, site: str, at: float) -> bool:
        """Say whether a place is down."""
        coming = self.next(ap, site, at)
        return coming is not None and coming[0] <= at
