"""Webhooks of Mist and Meraki: is it really theirs, and what does it say of stations and APs.

A body is judged in this order: its size, its signature over the very bytes (Mist: HMAC-SHA256 in
`X-Mist-Signature-v2`) or its shared secret (Meraki: `sharedSecret`), its shape. Nothing is read before
it is known who wrote it, but for Meraki, whose secret is inside.
"""

import hmac
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from netguard.core.areas import canonical_ap
from netguard.core.controllers import Seen
from netguard.core.names import Mac
from netguard.errors import BadValue

LONGEST = 64 * 1024
_MOST_EVENTS = 1000
VENDORS = ("mist", "meraki")


class Unsigned(BadValue):
    """The signature or the secret is missing or wrong."""

    def __init__(self) -> None:
        super().__init__("webhook", "the signature or the secret is missing or wrong")


@dataclass(frozen=True, slots=True)
class Said:
    """One event of a body, and when the sender says it was (seconds since 1970), where it does."""

    seen: Seen
    told: float | None


def read(vendor: str, body: bytes, headers: Mapping[str, str], secret: bytes) -> tuple[Said, ...]:
    """Return what a body says. Raises Unsigned, or BadValue (`webhook`) naming the JSON path.

    `headers` are by lower-case name.
    """
    if vendor == "mist":
        given = headers.get("x-mist-signature-v2", "")
        wanted = hmac.new(secret, body, sha256).hexdigest()
        if not secret or not hmac.compare_digest(given.lower().encode(), wanted.encode()):
            raise Unsigned
        return tuple(_mist(_object(body)))
    content = _object(body)
    shared = content.get("sharedSecret")
    if (
        not secret
        or not isinstance(shared, str)
        or not hmac.compare_digest(shared.encode(), secret)
    ):
        raise Unsigned
    return tuple(_meraki(content))


def _object(body: bytes) -> dict[str, Any]:
    if not body or len(body) > LONGEST:
        raise _bad("$", f"1 to {LONGEST} bytes are due")
    try:
        content = json.loads(
            body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant
        )
        # What cannot be written again must not reach a metric or a log.
        json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        if isinstance(error, BadValue):
            raise
        raise _bad("$", "not JSON in UTF-8") from error
    if not isinstance(content, dict):
        raise _bad("$", "an object is due")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _bad("$", "one key twice")
    return found


def _no_constant(word: str) -> None:
    raise _bad("$", f"{word} is no number")


# Mist: {"topic": "...", "events": [...]}. client-join, client-sessions, device-updowns, device-events.
_MIST_DEVICES = {
    "AP_CONNECTED": "ap-up",
    "AP_DISCONNECTED": "ap-down",
    "AP_RESTARTED": "ap-up",
}


def _mist(content: dict[str, Any]) -> Iterator[Said]:
    topic = content.get("topic")
    if not isinstance(topic, str):
        raise _bad("$.topic", "a text is due")
    for index, event in enumerate(_events(content)):
        at = f"$.events[{index}]"
        told = _seconds(event.get("timestamp"))
        ap = _ap(event.get("ap_name")) or _ap(event.get("ap"))
        if topic in {"device-updowns", "device-events"}:
            kind = _MIST_DEVICES.get(str(event.get("type")))
            if kind is not None and ap:
                yield Said(Seen(kind, None, ap, ""), told)
        elif topic == "client-join":
            yield Said(Seen("associated", _mac(event, "mac", at), ap, ""), told)
        elif topic == "client-sessions":
            mac, reason = _mac(event, "mac", at), event.get("termination_reason")
            after = _ap(event.get("next_ap"))
            if reason == 3 and after:
                yield Said(Seen("roamed", mac, after, "roamed", ap), told)
            elif reason in {1, 2}:
                words = {1: "disassociate", 2: "inactive"}[reason]
                yield Said(Seen("disassociated", mac, ap, words), told)


# Meraki: {"version": "0.1", "alertType": "APs went down", "deviceName": ..., "occurredAt": ...}.
_MERAKI = {"APs went down": "ap-down", "APs came up": "ap-up"}


def _meraki(content: dict[str, Any]) -> Iterator[Said]:
    kind = _MERAKI.get(str(content.get("alertType")))
    if kind is None:
        return
    ap = _ap(content.get("deviceName")) or _ap(content.get("deviceMac"))
    if not ap:
        raise _bad("$.deviceName", "the name of an access point is due")
    told = None
    text = content.get("occurredAt")
    if isinstance(text, str) and len(text) <= 40:
        try:
            moment = datetime.fromisoformat(text)
            told = moment.timestamp() if moment.tzinfo else None
        except (ValueError, OverflowError):
            told = None
    yield Said(Seen(kind, None, ap, ""), told)


def _events(content: dict[str, Any]) -> list[dict[str, Any]]:
    events = content.get("events")
    if not isinstance(events, list) or len(events) > _MOST_EVENTS:
        raise _bad("$.events", f"a list of at most {_MOST_EVENTS} is due")
    for index, event in enumerate(events):
        if not isinstance(event, dict):
            raise _bad(f"$.events[{index}]", "an object is due")
    return events


def _mac(event: Mapping[str, Any], key: str, at: str) -> Mac:
    value = event.get(key)
    if not isinstance(value, str):
        raise _bad(f"{at}.{key}", "a MAC is due")
    try:
        return Mac.parse(value)
    except BadValue as error:
        raise _bad(f"{at}.{key}", error.text) from error


def _ap(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 64 or not value.isprintable():
        return ""
    return canonical_ap(value)


def _seconds(value: object) -> float | None:
    # bool is an int; times beyond 2100 are none.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 4.2e9:
        return None
    return float(value)


def _bad(path: str, words: str) -> BadValue:
    return BadValue("webhook", f"{path}: {words}")
