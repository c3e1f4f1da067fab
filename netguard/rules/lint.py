"""What is legal and still worth a second look, and the few errors that need outside data.

Each warning belongs to one entry (a service, a site, an area, a group) and that entry may accept
it with a reason: `accept: {shared-host: "the app has no other name"}`. Errors cannot be accepted.
Silence is better than a false alarm: an area without a tablet of its own is no finding, a lobby has
none.
"""

import datetime
from collections.abc import Iterator, Mapping
from functools import cache

from netguard.core.clocks import changes
from netguard.core.names import Mac
from netguard.core.policy import Policy
from netguard.core.week import wall_clock
from netguard.rules import schema
from netguard.rules.accepting import Entry
from netguard.rules.documents import Documents
from netguard.rules.findings import ERROR, Finding
from netguard.rules.hours import written_times
from netguard.rules.lint_services import judge_catalogue
from netguard.rules.makers import judge_makers
from netguard.rules.typed import Document

SHRINK = 0.2


def lint(documents: Documents, policy: Policy | None, today: datetime.date) -> list[Finding]:
    """Return the warnings that no entry accepts, and the errors that need outside data."""
    return [
        *judge_catalogue(documents, today),
        *_site_findings(documents),
        *_group_findings(documents, today),
        *_closed_to_nobody(documents),
        *_unused_services(documents),
        *_unused_receivers(documents),
        *(judge_makers(documents) if policy is not None else ()),
    ]


def _site_findings(documents: Documents) -> Iterator[Finding]:
    doc = documents.sites
    if doc is None:
        return
    for name, site in doc.model.sites.items():
        entry = Entry(doc, site.accept, "sites", name)
        yield from entry.known_accepts()
        if not any(area.edge for area in site.areas.values()):
            text = f"site '{name}' has no edge area, no area next to an exit"
            yield from entry.warn("no-edge", text, "areas")
        yield from _area_findings(doc, name, site)


def _area_findings(
    doc: Document[schema.SitesFile], name: str, site: schema.SiteModel
) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for area_name, area in site.areas.items():
        at = ("sites", name, "areas", area_name)
        yield from Entry(doc, area.accept, *at).known_accepts()
        entry = Entry(doc, {**site.accept, **area.accept}, *at)
        if not area.aps:
            yield from entry.warn("area-empty", f"area '{area_name}' has no AP")
        for index, ap in enumerate(area.aps):
            other = first.setdefault(ap.lower(), area_name)
            if other != area_name:
                text = f"AP '{ap}' is also in area '{other}'"
                yield from entry.warn("ap-twice", text, "aps", index)


def _group_findings(documents: Documents, today: datetime.date) -> Iterator[Finding]:
    doc = documents.groups
    if doc is None:
        return
    tested = {case.from_.group for d in documents.cases for case in d.model.cases if case.from_}
    zones = _zones(documents)
    for name, group in doc.model.groups.items():
        entry = Entry(doc, group.accept, "groups", name)
        yield from entry.known_accepts()
        if name not in tested and "*" not in tested:
            yield from entry.warn("no-case", f"group '{name}' has no case under tests/")
        elif name not in tested and group.allow:
            text = f"group '{name}' allows services and no case under tests/ names it"
            yield from entry.warn("no-case", text)
        yield from _skipped_hours(entry, group, zones, today)


def _skipped_hours(
    entry: Entry, group: schema.GroupModel, zones: list[str], today: datetime.date
) -> Iterator[Finding]:
    """Report beginnings and ends that the clocks jump over on one of their days."""
    told: set[tuple[str, int]] = set()
    for weekday, minute, path in written_times(group.hours) if group.hours is not None else ():
        for zone in zones:
            day = _skipped(zone, weekday, minute, today)
            if day is not None and (zone, minute) not in told:
                told.add((zone, minute))
                text = f"{wall_clock(minute)} does not exist on {day} in {zone} (clock change)"
                yield from entry.error("schedule", text, "hours", *path)


def _closed_to_nobody(documents: Documents) -> Iterator[Finding]:
    """Report areas that are closed to a group which may not be at their site at all."""
    if documents.sites is None or documents.groups is None:
        return
    sites = {n: group.sites for n, group in documents.groups.model.groups.items()}
    extends = {n: group.extends for n, group in documents.groups.model.groups.items()}
    for site_name, site in documents.sites.model.sites.items():
        for area_name, area in site.areas.items():
            at = ("sites", site_name, "areas", area_name)
            entry = Entry(documents.sites, {**site.accept, **area.accept}, *at)
            for index, group in enumerate(area.closed_to):
                where = sites.get(group) or sites.get(extends.get(group) or "")
                if where is not None and site_name not in where:
                    text = f"'{group}' may not be at site '{site_name}' at all (its 'sites')"
                    yield from entry.warn("never-matches", text, "closed-to", index)


def _zones(documents: Documents) -> list[str]:
    sites = documents.sites.model.sites.values() if documents.sites else ()
    return sorted({site.time_zone for site in sites})


@cache
def _skipped(
    zone_name: str, weekday: int, minute: int, today: datetime.date
) -> datetime.date | None:
    """Return a day of the coming year on which the clocks jump over this time of day, or None."""
    start = datetime.datetime.combine(today, datetime.time(), datetime.UTC)
    try:
        found = list(changes(zone_name, start, start + datetime.timedelta(days=366)))
    except (ValueError, OSError, KeyError):
        return None
    for change in found:
        first = change.at + datetime.timedelta(seconds=change.before)
        last = change.at + datetime.timedelta(seconds=change.after)
        # What ends with the day ends when that is over, whatever it skips.
        skipped = first.hour * 60 + first.minute <= minute < last.hour * 60 + last.minute
        if first.weekday() == weekday and skipped:
            return first.date()
    return None


def _unused_services(documents: Documents) -> Iterator[Finding]:
    """Report services that no group allows.

    The catalogue ships more than a hospital allows: an entry with a label, or put aside on purpose
    (unverified), needs no remark.
    """
    if documents.groups is None:
        return
    used = {name for group in documents.groups.model.groups.values() for name in group.allow}
    for doc, unverified in documents.services:
        for name, service in doc.model.services.items():
            if name not in used and not unverified and not service.label:
                entry = Entry(doc, service.accept, "services", name)
                yield from entry.warn("unused", f"no group allows service '{name}'")


def _unused_receivers(documents: Documents) -> Iterator[Finding]:
    """Report receivers that no alert and no group uses."""
    alerts, groups = documents.alerts, documents.groups
    if alerts is None or groups is None:
        return
    called = {name for alert in alerts.model.alerts.values() for name in alert.to}
    called |= {group.notify for group in groups.model.groups.values() if group.notify}
    for name in alerts.model.receivers:
        if name not in called:
            text = f"no alert and no group uses receiver '{name}'"
            yield alerts.warning("unused", text, "receivers", name, key=True)


def shrink(previous: Mapping[str, Mac], now: Policy, name: str) -> list[Finding]:
    """Report an inventory that lost more than a fifth of its tablets against the one in force."""
    gone = len(set(previous) - set(now.tablets))
    if previous and gone > SHRINK * len(previous):
        text = (
            f"{gone} of {len(previous)} tablets are gone against the inventory in force, "
            "apply with --confirm-shrink if that is meant"
        )
        return [Finding(name, 0, 0, ERROR, "shrink", text)]
    return []
