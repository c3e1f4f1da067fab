"""A signed webhook: Alertmanager's webhook JSON (version 4), with the headers of Standard Webhooks.

`webhook-id` is the id of the first notice and the same at every attempt, `webhook-timestamp` the moment of
this attempt, `webhook-signature` "v1," and base64 of HMAC-SHA256 over "ID.TIMESTAMP.BODY" with the secret
that both sides know (standardwebhooks.com). Whoever receives one refuses what is unsigned or minutes old.
"""

import base64
import hmac
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from netguard.adapters.notify.outgoing import Outgoing, post, secret
from netguard.core.alerting import CLEARED, CODES, Message, Notice
from netguard.core.policy import Receiver


async def send(
    outgoing: Outgoing, receiver: Receiver, told: Sequence[tuple[Notice, Message]], now: float
) -> None:
    """Post the notices in one body; `now` in seconds since 1970. Raises Undelivered."""
    body = json.dumps(payload(receiver, told), ensure_ascii=False).encode()
    id_, at = told[0][0].id, str(int(now))
    headers = {"webhook-id": id_, "webhook-timestamp": at}
    if receiver.secret_file:
        key = secret(outgoing.secrets, receiver.secret_file)
        headers["webhook-signature"] = signature(key, id_, at, body)
    await post(outgoing, receiver.webhook, body, headers)


def signature(key: bytes, id_: str, at: str, body: bytes) -> str:
    """Return the value of webhook-signature."""
    digest = hmac.new(key, f"{id_}.{at}.".encode() + body, sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def payload(receiver: Receiver, told: Sequence[tuple[Notice, Message]]) -> dict[str, Any]:
    """Return the body: Alertmanager's webhook message, whose alerts carry what netguard knows besides."""
    alerts = [_alert(notice, message, receiver.actions) for notice, message in told]
    firing = any(alert["status"] == "firing" for alert in alerts)
    common = {
        key: value
        for key, value in alerts[0]["labels"].items()
        if all(alert["labels"].get(key) == value for alert in alerts)
    }
    return {
        "version": "4",
        "groupKey": told[0][0].matter.incident if len(told) == 1 else told[0][0].id,
        "status": "firing" if firing else "resolved",
        "receiver": receiver.name,
        "groupLabels": {"code": told[0][0].matter.code},
        "commonLabels": common,
        "commonAnnotations": {},
        "externalURL": "",
        "alerts": alerts,
    }


def _alert(notice: Notice, message: Message, actions: Sequence[str]) -> dict[str, Any]:
    matter, place = notice.matter, notice.matter.place
    labels = {
        "alertname": CODES[matter.code].name,
        "code": matter.code,
        "severity": notice.severity,
        "site": place.site,
        "area": place.area,
        "tablet": matter.tablet,
        "subject": matter.subject,
    }
    return {
        "status": "resolved" if matter.kind == CLEARED else "firing",
        "labels": {key: value for key, value in labels.items() if value},
        "annotations": {
            "summary": message.title,
            "description": message.text,
            "advice": message.advice,
        },
        "startsAt": _stamp(matter.since or matter.at),
        "endsAt": _stamp(matter.at) if matter.kind == CLEARED else "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": notice.id,
        # Beyond Alertmanager's own: what a machine needs to act on it.
        "netguard": {
            "id": notice.id,
            "incident": matter.incident,
            "kind": matter.kind,
            "cause": matter.fields.get("cause", ""),
            "probability": matter.probability,
            "reasons": [
                {"name": name, "weight": weight, "detail": detail}
                for name, weight, detail in matter.reasons
            ],
            "path": [{"at": _stamp(at), "ap": ap} for at, ap in matter.path],
            "ap": place.ap,
            "silent_since": _stamp(matter.since) if matter.since else "",
            **(_do(notice, actions) if actions and matter.tablet else {}),
        },
    }


def _do(notice: Notice, actions: Sequence[str]) -> dict[str, Any]:
    """Return what a device management is to do, and with which device; at the end it undoes it."""
    matter = notice.matter
    known = {key: matter.fields.get(key, "") for key in ("serial", "mac", "model")}
    return {
        "phase": "end" if matter.kind == CLEARED else "begin",
        "actions": list(actions),
        "device": {"tablet": matter.tablet, **known},
    }


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
