"""Silences: what a person does not want to be told of for a while, a planned maintenance for example."""

from collections.abc import Iterable
from dataclasses import dataclass

KEYS = ("site", "area", "tablet", "code")


@dataclass(frozen=True, slots=True)
class Silence:
    """What is not told between two moments (seconds since 1970); an empty field fits everything.

    `area` is SITE/AREA. A silence without any field fits all: a whole appliance in maintenance.
    """

    id: int
    begins: float
    ends: float
    who: str
    note: str
    site: str = ""
    area: str = ""
    tablet: str = ""
    code: str = ""

    def fits(self, at: float, code: str, site: str, area: str, tablet: str) -> bool:
        """Say whether what happens at this moment is within this silence."""
        if not self.begins <= at < self.ends:
            return False
        said = (self.site, self.area, self.tablet, self.code)
        there = (site, f"{site}/{area}" if area else "", tablet, code)
        return all(wanted in {"", found} for wanted, found in zip(said, there, strict=True))


def silenced(
    silences: Iterable[Silence], at: float, code: str, site: str, area: str, tablet: str
) -> Silence | None:
    """Return the first silence that what happens is within."""
    return next((each for each in silences if each.fits(at, code, site, area, tablet)), None)
