"""Labels: what really happened to a tablet, one line of a file each (docs/events.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from netguard.core.evidence import LATEST
from netguard.core.names import shown, suggest_of
from netguard.core.presence.actions import CAUSES
from netguard.errors import BadValue


@dataclass(frozen=True, slots=True)
class Label:
    """What really happened: `last_frame` is the last sign of life, `until` 0 if it never came back.

    `how` is blip, asleep, battery, outage, moved, outside, carried-out, off-on-the-way, off-at-rest.
    """

    tablet: str
    mac: str
    cause: str
    how: str
    last_frame: float
    until: float
    edge: bool


_LABEL = {
    "tablet": str, "mac": str, "cause": str, "how": str,
    "last_frame": float, "until": float, "edge": bool,
}  # fmt: skip


def read_label(row: Mapping[str, Any]) -> Label:
    """Read one line of a file of labels; raises BadValue with what is wrong."""
    if set(row) != set(_LABEL):
        raise BadValue("missing-key", f"a label has {', '.join(_LABEL)}, and nothing else")
    for key, kind in _LABEL.items():
        value = row[key]
        if kind is float:
            # Compared before anything is converted: an integer may be larger than any float.
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not 0 <= value < LATEST:
                raise BadValue("bad-number", f"'{key}' is not a time in seconds since 1970")
        elif not isinstance(value, kind):
            raise BadValue(
                "bad-text", f"'{key}' is not {'a text' if kind is str else 'true or false'}"
            )
    if row["cause"] not in CAUSES:
        text = f"unknown cause {shown(row['cause'])}{suggest_of(row['cause'], CAUSES)}"
        raise BadValue("unknown-word", text)
    return Label(**row)
