"""alerts.yaml: who is told of what, and over which channels."""

from collections.abc import Mapping
from types import MappingProxyType

from netguard.core.policy import AlertRule, Receiver
from netguard.rules import schema_watch
from netguard.rules.review import Review
from netguard.rules.typed import Document

_CHANNELS = ("webhook", "syslog", "mail", "alertmanager", "chat")
# What a channel needs beside itself, and what makes no sense without it.
_BELONGS = (("sign_with", "webhook"), ("format", "syslog"), ("actions", "webhook"))

# What is said of one tablet, so that it is clear which one a quarantine is for.
_TABLETS = (
    "presence: missing",
    "evidence: clone",
    "site: other",
    "area: closed",
    "network: other",
    "loan: heard",
)

File = Document[schema_watch.AlertsFile]


def judge_alerts(review: Review) -> tuple[tuple[AlertRule, ...], MappingProxyType[str, Receiver]]:
    """Return the rules in the order of their names, and the receivers."""
    doc = review.documents.alerts
    if doc is None:
        return (), MappingProxyType({})
    rules = []
    for name, entry in sorted(doc.model.alerts.items()):
        when = entry.when.model_dump(exclude_none=True)
        if not when:
            text = "when is empty, say what is told: {presence: missing}"
            review.error(doc, "missing", text, "alerts", name, "when")
        if {"rule", "flood"} <= when.keys():
            text = "rule and flood are two alerts: one counts packets, the other who asks"
            review.error(doc, "duplicate", text, "alerts", name, "when")
        elif bool({"rule", "flood"} & when.keys()) != ("more_than" in when):
            text = (
                "rule (or flood) and more-than belong together: {rule: protected, more-than: 10/1m}"
            )
            review.error(doc, "missing", text, "alerts", name, "when")
        if not entry.to:
            review.error(doc, "missing", "to names no receiver", "alerts", name, "to")
        if entry.quarantine and not _of_a_tablet(when):
            text = f"quarantine is for what is about one tablet: {', '.join(_TABLETS)}"
            review.error(doc, "unused", text, "alerts", name, "quarantine", key=True)
        if entry.above is not None and when.get("presence") != "missing":
            text = "above is for what has a probability: presence: missing"
            review.error(doc, "unused", text, "alerts", name, "above", key=True)
        if "cause" in when and when.get("presence") != "missing":
            text = "cause is for presence: missing"
            review.error(doc, "unused", text, "alerts", name, "when")
        to, above = tuple(entry.to), entry.above or 0.0
        rules.append(AlertRule(name, when, entry.severity, to, entry.quarantine, above))
    receivers = {name: _receiver(review, doc, name) for name in sorted(doc.model.receivers)}
    return tuple(rules), MappingProxyType(receivers)


def _of_a_tablet(when: Mapping[str, str]) -> bool:
    return any(f"{key}: {value}" in _TABLETS for key, value in when.items())


def _receiver(review: Review, doc: File, name: str) -> Receiver:
    given = doc.model.receivers[name]
    if not any(getattr(given, channel) for channel in _CHANNELS):
        text = f"receiver '{name}' has no channel, write one of {', '.join(_CHANNELS)}"
        review.error(doc, "missing", text, "receivers", name, key=True)
    for key, channel in _BELONGS:
        if getattr(given, key) is not None and getattr(given, channel) is None:
            word = key.replace("_", "-")
            text = f"{word} is for {channel}, and receiver '{name}' has none"
            review.error(doc, "unused", text, "receivers", name, word, key=True)
    if given.actions and given.sign_with is None:
        text = f"receiver '{name}' has actions and no sign-with: nobody else may ask for a lock"
        review.error(doc, "missing", text, "receivers", name, "actions", key=True)
    return Receiver(
        name=name,
        alertmanager=tuple(given.alertmanager or ()),
        webhook=given.webhook or "",
        secret_file=given.sign_with or "",
        syslog=given.syslog or "",
        format=given.format or "rfc5424",
        mail=given.mail or "",
        chat_file=given.chat or "",
        repeat=given.repeat.total_seconds() if given.repeat is not None else None,
        language=given.language or "en",
        actions=tuple(given.actions or ()),
    )
