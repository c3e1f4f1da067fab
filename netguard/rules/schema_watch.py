"""The shape of presence.yaml and alerts.yaml; what presence.yaml means is presence.py's.

Only shapes and words; that a named site or receiver exists is references.py's.
"""

from datetime import timedelta
from typing import Literal

from netguard.rules.words import (
    Boolean,
    Count,
    Endpoint,
    Heartbeats,
    Label,
    Mail,
    Model,
    MoreThan,
    Name,
    NightText,
    Rarely,
    SecretFile,
    Share,
    Span,
    Url,
)


class Heartbeat(Model):
    interim: Span = timedelta(seconds=300)
    dhcp: Boolean = True
    probe: Span = timedelta(seconds=30)


class MissingAfter(Model):
    edge: Span = timedelta(minutes=3)
    area: Span = timedelta(minutes=30)
    default: Span = timedelta(minutes=20)
    night: Span = timedelta(minutes=60)


class EdgePath(Model):
    within: Span | None = None
    aps: Count | None = None


class Outage(Model):
    share: Share | None = None
    at_least: Count | None = None
    window: Span | None = None
    hold: Span | None = None


class Storm(Model):
    alarms: Count | None = None
    per_ap: Span | None = None


class PresenceSite(Model):
    heartbeat: Heartbeat | None = None
    grace: Span | None = None
    quiet_after: Heartbeats | None = None
    missing_after: MissingAfter | None = None
    night: NightText | None = None
    edge_path: EdgePath | None = None
    outage: Outage | None = None
    storm: Storm | None = None
    false_alarms: Rarely | None = None


class PresenceModel(PresenceSite):
    sites: dict[Name, PresenceSite] = {}


class PresenceFile(Model):
    presence: PresenceModel


class AlertWhen(Model):
    presence: Literal["missing", "quiet", "returned", "unreachable"] | None = None
    last_area: Literal["edge", "inside"] | None = None
    cause: Literal["taken", "battery", "asleep", "outage"] | None = None
    feed: Literal["stale"] | None = None
    rule: Label | None = None
    more_than: MoreThan | None = None
    flood: Literal["devices", "names", "messages"] | None = None
    evidence: Literal["clone"] | None = None
    dns: Literal["refused-address"] | None = None
    site: Literal["other"] | None = None
    area: Literal["closed"] | None = None
    network: Literal["other"] | None = None
    loan: Literal["heard", "overdue"] | None = None
    device: Literal["unknown", "clinical"] | None = None
    trouble: Literal["appliance", "quarantine"] | None = None


class AlertModel(Model):
    when: AlertWhen
    severity: Literal["critical", "warning", "info"]
    to: list[Name]
    quarantine: Boolean = False
    above: Share | None = None


class ReceiverModel(Model):
    webhook: Url | None = None
    sign_with: SecretFile | None = None
    repeat: Span | None = None
    syslog: Endpoint | None = None
    format: Literal["rfc5424", "cef"] | None = None
    mail: Mail | None = None
    alertmanager: list[Url] | None = None
    chat: SecretFile | None = None
    language: Literal["fr", "en"] | None = None
    actions: list[Literal["lost-mode", "lock", "locate"]] | None = None


class QuietModel(Model):
    silence: list[Literal["warning", "info"]]


class AlertsFile(Model):
    alerts: dict[Name, AlertModel]
    receivers: dict[Name, ReceiverModel]
    profiles: dict[Name, QuietModel] = {}
