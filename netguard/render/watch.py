"""The rules as watch holds them (watch.json): whom to look for, where, whom to believe, how long to keep.

A file of its own, so that watch starts and goes on without guard. No secret is in it, and nothing that
watch could use to open anything.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeAlias

from netguard.core import controllers
from netguard.core.names import Network, parse_network
from netguard.core.policy import (
    AlertRule,
    Feeds,
    MessageLine,
    Policy,
    Receiver,
    TrapUser,
    Webhook,
)
from netguard.core.presence import Model, compile_model, read_model, write_model
from netguard.errors import BadValue

VERSION = 2
# Of a loan: since when, and until when, in seconds since 1970; None: without end.
Terms: TypeAlias = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Tablet:
    """What people know of a tablet beside what the engine needs."""

    id: str
    group: str
    home: str
    model: str
    # Its fixed IPv4 address by site.
    addresses: Mapping[str, str]
    serial: str = ""
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Nas:
    """Who sends for a NAS; `apart` where many APs are one NAS."""

    name: str
    site: str
    address: Network
    vendor: str

    @property
    def apart(self) -> bool:
        """Say whether the APs of this NAS ask by themselves, so that each restarts alone."""
        return self.address.num_addresses > 1


@dataclass(frozen=True, slots=True)
class Book:
    """Everything watch knows of the rules in force; `text` tells one from another."""

    digest: str
    sites: tuple[str, ...]
    model: Model
    tablets: Mapping[str, Tablet]
    loans: Mapping[str, str]
    # Where a tablet is about to go, SITE/AREA, and until when (seconds since 1970).
    moves: Mapping[str, tuple[str, float]]
    nas: tuple[Nas, ...]
    parsers: Mapping[str, tuple[controllers.Parser, ...]]
    feeds: Feeds
    syslog_rate: float
    trap_rate: float
    stale_after: float
    incident_path: float
    recording: float | None
    alerts: tuple[AlertRule, ...]
    receivers: Mapping[str, Receiver]
    # By SITE/AREA and by SITE: what people call it. By site: its time zone. By group: who owns it.
    labels: Mapping[str, str]
    zones: Mapping[str, str]
    owners: Mapping[str, str]
    # By severity: the profile that is on and holds such alerts back.
    silenced: Mapping[str, str]
    # Tablets in quarantine, whatever else is said of them.
    quarantined: frozenset[str] = frozenset()
    # MACs of clinical devices, which have no business on the tablets' network.
    clinical: frozenset[str] = frozenset()
    # Of the loans that run; None while guard cannot read them.
    lent: Mapping[str, Terms] | None = field(default_factory=dict)

    @property
    def apart(self) -> frozenset[str]:
        """Return the NASes whose APs ask by themselves."""
        return frozenset(nas.name for nas in self.nas if nas.apart)

    def sender(self, address: IPv4Address | IPv6Address) -> Nas | None:
        """Return the NAS that an address is: the smallest network that holds it."""
        found = [nas for nas in self.nas if address in nas.address]
        return max(found, key=lambda nas: nas.address.prefixlen, default=None)


@dataclass(frozen=True, slots=True)
class Said:
    """What people have said beside loans and moves; the fields are those of Book."""

    silenced: Mapping[str, str] = field(default_factory=dict)
    quarantined: Iterable[str] = ()
    lent: Mapping[str, Terms] | None = field(default_factory=dict)


def render(
    policy: Policy,
    plan: str,
    sites: tuple[str, ...],
    loans: Mapping[str, str],
    moves: Mapping[str, tuple[str, float]],
    messages: Mapping[str, tuple[MessageLine, ...]],
    said: Said = Said(),
) -> str:
    """Return watch.json; `messages` are the lines that netguard brings along."""
    feeds = policy.feeds
    vendors = sorted({*messages, *feeds.messages})
    body = {
        "version": VERSION,
        "plan": plan,
        "sites": sorted(set(sites) & set(policy.sites)),
        "presence": write_model(compile_model(policy)),
        "tablets": {
            id_: [
                tablet.group,
                "/".join(tablet.home),
                tablet.model,
                {
                    name: str(address)
                    for name, site in sorted(policy.sites.items())
                    if (address := policy.address_of(tablet, site)) is not None
                },
                tablet.serial,
                str(tablet.mac),
            ]
            for id_, tablet in sorted(policy.tablets.items())
        },
        "loans": dict(sorted(loans.items())),
        "quarantined": sorted(said.quarantined),
        "lent": None
        if said.lent is None
        else {id_: list(terms) for id_, terms in sorted(said.lent.items())},
        "clinical": sorted(map(str, policy.never.macs)),
        "moves": {id_: list(move) for id_, move in sorted(moves.items())},
        "nas": [
            [nas.name, name, str(nas.address), nas.vendor]
            for name, site in sorted(policy.sites.items())
            for _, nas in sorted(site.nas.items())
        ],
        # What the rules add comes first.
        "messages": {
            vendor: [
                [each.line, each.kind, each.ap, list(each.more)]
                for each in (*feeds.messages.get(vendor, ()), *messages.get(vendor, ()))
            ]
            for vendor in vendors
        },
        "feeds": {
            "stale_after": feeds.stale_after.total_seconds(),
            "syslog_sources": [str(network) for network in feeds.syslog_sources],
            "syslog_rate": feeds.syslog_rate.per_day / 86400,
            "trap_sources": [str(network) for network in feeds.trap_sources],
            "trap_rate": feeds.trap_rate.per_day / 86400,
            "community_file": feeds.community_file,
            "trap_users": [asdict(each) for each in feeds.trap_users],
            "webhooks": [asdict(each) for _, each in sorted(feeds.webhooks.items())],
        },
        "retention": {
            "incident_path": policy.retention.incident_path.total_seconds(),
            "recording": policy.retention.recording.total_seconds()
            if policy.retention.recording is not None
            else None,
        },
        "alerts": [asdict(rule) for rule in policy.alerts],
        "receivers": {name: asdict(each) for name, each in sorted(policy.receivers.items())},
        "labels": {
            place: label
            for name, site in sorted(policy.sites.items())
            for place, label in (
                (name, site.label),
                *((f"{name}/{area.name}", area.label) for area in site.areas.values()),
            )
        },
        "zones": {name: site.time_zone for name, site in sorted(policy.sites.items())},
        "owners": {
            name: group.notify for name, group in sorted(policy.groups.items()) if group.notify
        },
        "silenced": dict(sorted(said.silenced.items())),
    }
    return json.dumps(body, sort_keys=True, indent=1) + "\n"


def _lent(body: Mapping[str, list[Any]] | None) -> dict[str, Terms] | None:
    return None if body is None else {id_: (since, end) for id_, (since, end) in body.items()}


def read(text: str) -> Book:
    """Read watch.json. Raises ValueError (KeyError for a missing key) when it is not ours."""
    body: dict[str, Any] = json.loads(text)
    if body["version"] != VERSION:
        raise BadValue(
            "syntax", f"watch.json has version {body['version']}, this program reads {VERSION}"
        )
    feeds = body["feeds"]
    return Book(
        digest=body["plan"],
        sites=tuple(body["sites"]),
        model=read_model(body["presence"]),
        tablets={id_: Tablet(id_, *row) for id_, row in body["tablets"].items()},
        loans=body["loans"],
        moves={id_: (area, until) for id_, (area, until) in body["moves"].items()},
        nas=tuple(
            Nas(name, site, parse_network(address), vendor)
            for name, site, address, vendor in body["nas"]
        ),
        parsers={
            vendor: tuple(controllers.parser(*row) for row in rows)
            for vendor, rows in body["messages"].items()
        },
        feeds=Feeds(
            syslog_sources=tuple(map(parse_network, feeds["syslog_sources"])),
            trap_sources=tuple(map(parse_network, feeds["trap_sources"])),
            community_file=feeds["community_file"],
            trap_users=tuple(TrapUser(**row) for row in feeds["trap_users"]),
            webhooks={row["name"]: Webhook(**row) for row in feeds["webhooks"]},
        ),
        syslog_rate=feeds["syslog_rate"],
        trap_rate=feeds["trap_rate"],
        stale_after=feeds["stale_after"],
        incident_path=body["retention"]["incident_path"],
        recording=body["retention"]["recording"],
        # An older guard wrote none of what follows.
        alerts=tuple(AlertRule(**row | {"to": tuple(row["to"])}) for row in body.get("alerts", ())),
        receivers={
            name: Receiver(
                **row
                | {
                    "alertmanager": tuple(row["alertmanager"]),
                    "actions": tuple(row.get("actions", ())),
                }
            )
            for name, row in body.get("receivers", {}).items()
        },
        labels=body.get("labels", {}),
        zones=body.get("zones", {}),
        owners=body.get("owners", {}),
        silenced=body.get("silenced", {}),
        quarantined=frozenset(body.get("quarantined", ())),
        clinical=frozenset(body.get("clinical", ())),
        lent=_lent(body.get("lent", {})),
    )
