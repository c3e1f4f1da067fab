"""Alertmanager's API v2: firing alerts sent again and again, resolved ones until it has heard them.

Labels are the identity of an alert, annotations its text (prometheus/alertmanager docs, alerts_api). All
peers of a cluster are told, never a balancer before them: one alert twice is better than none. It is
delivered when one of them has taken it.
"""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from netguard.adapters.notify.outgoing import Outgoing, post
from netguard.core.alerting import CLEARED, CODES, Message, Notice
from netguard.core.policy import Receiver
from netguard.errors import Undelivered

# Firing alerts end by themselves if nobody says any more that they fire: longer than a restart takes.
ENDS_AFTER = 900.0


async def send(
    outgoing: Outgoing, receiver: Receiver, told: Sequence[tuple[Notice, Message]], now: float
) -> None:
    """Tell all peers; `now` in seconds since 1970. Raises Undelivered when none has taken it."""
    body = json.dumps([_alert(notice, message, now) for notice, message in told]).encode()
    done = await asyncio.gather(
        *(_one(outgoing, url, body) for url in receiver.alertmanager), return_exceptions=True
    )
    failures = [each for each in done if isinstance(each, BaseException)]
    for failure in failures:
        if not isinstance(failure, Undelivered):
            raise failure
    if len(failures) == len(done):
        final = all(isinstance(each, Undelivered) and each.final for each in failures)
        raise Undelivered("; ".join(map(str, failures)), final=final)


async def _one(outgoing: Outgoing, url: str, body: bytes) -> None:
    await post(outgoing, f"{url.rstrip('/')}/api/v2/alerts", body)


def labels_of(notice: Notice) -> dict[str, str]:
    """Return what an Alertmanager knows an alert by: another label, another alert."""
    matter = notice.matter
    labels = {
        "alertname": CODES[matter.code].name,
        "code": matter.code,
        "incident": matter.incident,
        "severity": notice.severity,
        "site": matter.place.site,
        "area": matter.place.area,
        "tablet": matter.tablet,
        "subject": matter.subject,
    }
    # An empty label is none.
    return {key: value for key, value in labels.items() if value}


def _alert(notice: Notice, message: Message, now: float) -> dict[str, Any]:
    matter = notice.matter
    started = matter.since or matter.at
    ends = matter.at if matter.kind == CLEARED else now + ENDS_AFTER
    annotations = {
        "summary": message.title,
        "description": message.text,
        "advice": message.advice,
        "probability": "" if matter.probability is None else f"{matter.probability:.2f}",
        "cause": matter.fields.get("cause", ""),
        "reasons": ", ".join(name for name, weight, _ in matter.reasons if weight > 0),
        "notice": notice.id,
    }
    return {
        "labels": labels_of(notice),
        "annotations": {key: value for key, value in annotations.items() if value},
        "startsAt": _stamp(min(started, matter.at)),
        "endsAt": _stamp(max(ends, min(started, matter.at))),
        "generatorURL": "",
    }


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
