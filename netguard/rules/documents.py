"""The typed files of one folder, and every name that is written in them.

A name in a file with a fault is still a known name: one typing error in a service must not make
every group that allows the service wrong as well. This module judges nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netguard.core.names import Address, Mac, parse_name
from netguard.core.policy import Origin, Tablet
from netguard.errors import BadValue
from netguard.rules import schema, schema_feeds, schema_watch
from netguard.rules.source import Entries, Items, Node, Source, Text
from netguard.rules.typed import Document

Known = frozenset[str] | None


@dataclass(frozen=True, slots=True)
class Names:
    """The names of each kind; None where not all of them can be known, so none is unknown."""

    sites: Known = None
    areas: Mapping[str, Known] = field(default_factory=dict)
    aps: Known = None
    protected: Known = None
    services: Known = None
    feeds: Known = None
    groups: Known = None
    tablets: Known = None
    alerts: Known = None
    receivers: Known = None
    profiles: Known = None


@dataclass(slots=True)
class Documents:
    """The typed files of one folder; None where a file is missing or nothing of it can be used."""

    netguard: Document[schema.NetguardFile] | None = None
    sites: Document[schema.SitesFile] | None = None
    protected: Document[schema.ProtectedFile] | None = None
    groups: Document[schema.GroupsFile] | None = None
    services: list[tuple[Document[schema.ServicesFile], bool]] = field(default_factory=list)
    feeds: dict[str, Document[schema.FeedFile]] = field(default_factory=dict)
    presence: Document[schema_watch.PresenceFile] | None = None
    alerts: Document[schema_watch.AlertsFile] | None = None
    told: Document[schema_feeds.FeedsFile] | None = None
    cases: list[Document[schema.CasesFile]] = field(default_factory=list)
    tablets: dict[str, Tablet] = field(default_factory=dict)
    tablet_lines: dict[str, Origin] = field(default_factory=dict)
    allotted: dict[tuple[str, str], Address] = field(default_factory=dict)
    allotted_lines: dict[tuple[str, str], Origin] = field(default_factory=dict)
    allotted_whole: bool = True
    protected_macs: dict[Mac, Origin] = field(default_factory=dict)
    names: Names = field(default_factory=Names)


def names_of(sources: Mapping[str, Source], tablets: Known) -> Names:
    """Collect names from the trees of all files, whole or faulty, by their path in the folder."""
    site_nodes = _entries(sources, "sites.yaml", "sites")
    area_nodes = {
        site: _inner(node, "areas")
        for site, node in (site_nodes.values if site_nodes else {}).items()
    }
    catalogue = [
        file
        for file in sources
        if file.startswith("services/") and not file.startswith("services/feeds/")
    ]
    return Names(
        sites=_keys(site_nodes),
        areas={site: _keys(areas) for site, areas in area_nodes.items()},
        aps=_aps(area_nodes.values()) if site_nodes else None,
        protected=_keys(_entries(sources, "protected.yaml", "protected")),
        services=_union(_keys(_entries(sources, file, "services")) for file in catalogue),
        feeds=_union(_feed(source) for file, source in sources.items() if "/feeds/" in file),
        groups=_keys(_entries(sources, "groups.yaml", "groups")),
        tablets=tablets,
        alerts=_keys(_entries(sources, "alerts.yaml", "alerts")),
        receivers=_keys(_entries(sources, "alerts.yaml", "receivers")),
        profiles=_profiles(sources),
    )


def _profiles(sources: Mapping[str, Source]) -> Known:
    # A file without the key has none: whoever names one is told.
    listed = _entries(sources, "groups.yaml", "profiles")
    if listed is None and sources.get("groups.yaml") is not None:
        return frozenset()
    return _keys(listed)


def _entries(sources: Mapping[str, Source], file: str, key: str) -> Entries | None:
    source = sources.get(file)
    return _inner(source.root, key) if source is not None else None


def _inner(node: Node | None, key: str) -> Entries | None:
    found = node.values.get(key) if isinstance(node, Entries) else None
    return found if isinstance(found, Entries) else None


def _keys(node: Entries | None) -> Known:
    """Return the keys of a mapping; one that is no name is a fault, and may be meant as any name."""
    if node is None:
        return None
    try:
        return frozenset(parse_name(key) for key in node.values)
    except BadValue:
        return None


def _union(parts: Iterable[Known]) -> Known:
    """Join the names of several files; one that cannot be read may hold any name."""
    whole: set[str] = set()
    for part in parts:
        if part is None:
            return None
        whole |= part
    return frozenset(whole)


def _feed(source: Source) -> Known:
    name = source.root.values.get("feed") if isinstance(source.root, Entries) else None
    return frozenset({name.value}) if isinstance(name, Text) else None


def _aps(areas: Iterable[Entries | None]) -> Known:
    found: set[str] = set()
    for area in areas:
        if area is None:
            return None
        for entry in area.values.values():
            aps = entry.values.get("aps") if isinstance(entry, Entries) else None
            if not isinstance(aps, Items):
                return None
            found |= {item.value for item in aps.items if isinstance(item, Text)}
    return frozenset(found)
