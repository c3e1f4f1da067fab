"""presence.yaml: one complete policy of presence for each site."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from netguard.core.policy import PresencePolicy
from netguard.rules import schema_watch
from netguard.rules.review import Review
from netguard.rules.words import Model

Given = schema_watch.PresenceSite
# The groups of keys below `presence`, and how their keys begin in PresencePolicy.
_GROUPS = {
    "heartbeat": "",
    "missing_after": "missing_",
    "edge_path": "path_",
    "outage": "outage_",
    "storm": "storm_",
}


def judge_presence(review: Review, sites: Iterable[str]) -> Mapping[str, PresencePolicy]:
    """Return the policy of each site: key by key its own word, else the common one, else ours."""
    doc = review.documents.presence
    if doc is None:
        return MappingProxyType({site: PresencePolicy() for site in sites})
    common = doc.model.presence
    found = {}
    told = False
    for site in sites:
        own = common.sites.get(site)
        found[site] = PresencePolicy(**(_said(common) | (_said(own) if own else {})))
        apart = own is not None and bool(own.model_fields_set & {"grace", "missing_after"})
        if found[site].missing_edge < found[site].grace and (apart or not told):
            text = (
                f"missing-after.edge of '{site}' is {_seconds(found[site].missing_edge)}s and grace "
                f"{_seconds(found[site].grace)}s; nothing changes before the grace is over"
            )
            place = ("presence", "sites", site) if apart else ("presence",)
            review.error(doc, "bad-duration", text, *place)
            # What the common words do wrong is told of one site.
            told = told or not apart
    return MappingProxyType(found)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())


def _said(given: Given) -> dict[str, Any]:
    """Return what is written, under the names of PresencePolicy."""
    said: dict[str, Any] = {}
    for key in given.model_fields_set - {"sites"}:
        value = getattr(given, key)
        if isinstance(value, Model):
            each = {inner: getattr(value, inner) for inner in value.model_fields_set}
            said |= {_GROUPS[key] + inner: word for inner, word in each.items()}
        elif key == "quiet_after" and isinstance(value, int):
            said |= {"quiet_heartbeats": value, "quiet_after": None}
        else:
            said[key] = value
    return said
