"""From a matter to notices: by which rules of alerts.yaml, to which receivers, under which stable id.

A matter is one thing that is so: a tablet that is missing, an access point that is down, a daemon that
does not answer. It is raised, perhaps updated and repeated, and cleared; all notices of it carry its
incident, so that a receiver can put them together, and an id of their own, the same whenever the same is
said again: whoever gets one twice can tell.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from netguard.core.alerting.codes import CODES, code_of
from netguard.core.policy import AlertRule
from netguard.core.presence.actions import BLIND, CLEARED, MOVED, OUTAGE, RAISED, UPDATED, Alert

REPEATED = "repeated"
KINDS = (RAISED, UPDATED, REPEATED, CLEARED)
# From the mildest to the worst; of several rules that fit, the worst counts for a receiver.
SEVERITIES = ("info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is: `label` for people, `zone` the IANA time zone of the site."""

    site: str = ""
    area: str = ""
    ap: str = ""
    edge: bool = False
    label: str = ""
    zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Matter:
    """What is so, at a moment of the engine's clock, and what its words are made of.

    `about` are the keys of `when` that it answers to, with their values. `fields` are texts and numbers;
    none names a patient, since netguard knows none.
    """

    incident: str
    code: str
    kind: str
    at: float
    about: Mapping[str, str]
    place: Place = field(default_factory=Place)
    tablet: str = ""
    subject: str = ""
    probability: float | None = None
    since: float = 0.0
    fields: Mapping[str, str] = field(default_factory=dict)
    reasons: tuple[tuple[str, float, str], ...] = ()
    path: tuple[tuple[float, str], ...] = ()
    changes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Return what its notices are ordered by: the tablet, or what else it is about."""
        return self.tablet or self.subject or self.incident


@dataclass(frozen=True, slots=True)
class Notice:
    """What one receiver is told of a matter. Moments are seconds since 1970, of the wall clock."""

    id: str
    receiver: str
    severity: str
    rule: str
    matter: Matter


def matter_of(alert: Alert, place: Place, ahead: float) -> Matter:
    """Return what the engine says as a matter; `ahead` is the wall clock less the engine's."""
    code = code_of(alert.cause, alert.tablet, alert.subject)
    about: dict[str, str] = {}
    if alert.cause == MOVED:
        about["site"] = "other"
    elif alert.tablet:
        about |= {"presence": "missing", "last_area": "edge" if place.edge else "inside"}
        about["cause"] = alert.cause
    elif alert.cause == OUTAGE:
        about["presence"] = "unreachable"
    elif alert.cause == BLIND:
        about["feed"] = "stale"
    return Matter(
        incident=alert.id,
        code=code.code,
        kind=alert.kind,
        at=alert.at + ahead,
        about=about,
        place=place,
        tablet=alert.tablet,
        subject=alert.subject,
        probability=alert.probability if alert.tablet and alert.cause != MOVED else None,
        since=alert.silent_since + ahead if alert.silent_since else 0.0,
        fields={"cause": alert.cause, "tablets": str(alert.tablets)},
        reasons=tuple((r.name, r.weight, r.detail) for r in alert.reasons),
        path=tuple((at + ahead, ap) for at, ap in alert.path),
        changes=alert.changes,
    )


def notices_of(
    matter: Matter, rules: Iterable[AlertRule], number: float, owners: Iterable[str] = ()
) -> list[Notice]:
    """Return a notice for each receiver that a rule sends the matter to, in the order of their names.

    `number` tells one kind of saying from the next of the same incident: the moment on the engine's
    clock. `owners` are told as well (a group's `notify`), with the worst severity of the rules that fit.
    """
    severities: dict[str, tuple[int, str]] = {}
    for rule in rules:
        if _fits(rule, matter):
            found = SEVERITIES.index(rule.severity), rule.name
            for receiver in rule.to:
                severities[receiver] = max(found, severities.get(receiver, found))
    if severities:
        worst = max(severities.values())
        for owner in owners:
            severities.setdefault(owner, worst)
    return [
        Notice(_id(matter, number), receiver, SEVERITIES[severity], name, matter)
        for receiver, (severity, name) in sorted(severities.items())
    ]


def quarantine_of(matter: Matter, rules: Iterable[AlertRule]) -> str:
    """Return the name of the rule that puts the matter's tablet into quarantine; "" for none."""
    if not matter.tablet or matter.kind == CLEARED:
        return ""
    return next((rule.name for rule in rules if rule.quarantine and _fits(rule, matter)), "")


def _fits(rule: AlertRule, matter: Matter) -> bool:
    """Say whether all that the rule's `when` names is so. A return is told to who was told of the absence."""
    when = dict(rule.when)
    if when.get("presence") == "returned":
        if matter.kind != CLEARED:
            return False
        when["presence"] = "missing"
    elif matter.kind == CLEARED:
        # It ends whatever it was called last, and however sure it was.
        when.pop("cause", None)
    elif (matter.probability or 0.0) < rule.above:
        return False
    return bool(when) and all(matter.about.get(key) == value for key, value in when.items())


def _id(matter: Matter, number: float) -> str:
    text = f"{matter.incident}\n{matter.kind}\n{number:.3f}"
    return sha256(text.encode()).hexdigest()[:24]


def write_notice(notice: Notice) -> str:
    """Return a notice as one line of JSON."""
    return json.dumps(asdict(notice), sort_keys=True, separators=(",", ":"))


def read_notice(text: str) -> Notice:
    """Read what `write_notice` has written. Raises ValueError, KeyError or TypeError where it is not that."""
    body: dict[str, Any] = json.loads(text)
    matter = dict(body["matter"])
    if matter["code"] not in CODES or matter["kind"] not in KINDS:
        raise ValueError(f"no alert of ours: {matter['code']} {matter['kind']}")
    tuples: dict[str, Callable[[Any], Any]] = {
        "reasons": lambda rows: tuple((str(n), float(w), str(d)) for n, w, d in rows),
        "path": lambda rows: tuple((float(at), str(ap)) for at, ap in rows),
        "changes": tuple,
        "place": lambda row: Place(**row),
    }
    for key, read in tuples.items():
        matter[key] = read(matter[key])
    return Notice(**(body | {"matter": Matter(**matter)}))
