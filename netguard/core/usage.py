"""What tablets asked for and sent, as it is recorded: counted, written, read.

A recording says of an hour which requests to join were answered how (`admission`), which names were
answered or refused (`name`), which flows passed or were refused (`flow`), each once, with how often.
Names and flows are recorded by group, never by tablet: who called whom is nobody's business.
"""

import json
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from netguard.core.names import parse_address, parse_unicast_mac, shown
from netguard.errors import BadValue

ADMISSION, NAME, FLOW = "admission", "name", "flow"
KINDS = frozenset({ADMISSION, NAME, FLOW})
ALLOWED, REFUSED = "allowed", "refused"
# Different things in one answer of a daemon.
MOST_AT_ONCE = 2000
# Whoever gathers asks each half minute. What was counted while nobody did is nobody's: it is thrown away.
ASKED_WITHIN = 300.0
_LONGEST = 253

K = TypeVar("K", bound=Hashable)


class Tally(Generic[K]):
    """How often each of many things was seen; what is beyond `most` different ones is only counted."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: Counter[K] = Counter()
        self.dropped = 0

    def add(self, key: K, count: int = 1) -> None:
        """Count a thing once more, or so often."""
        if key in self._counts or len(self._counts) < self._most:
            self._counts[key] += count
        else:
            self.dropped += count

    def take(self) -> list[tuple[K, int]]:
        """Return what was seen since the last time, and begin anew."""
        taken, self._counts = self._counts, Counter()
        return sorted(taken.items(), key=str)


class Seen(NamedTuple):
    """One recorded thing. Texts that it has no use for are empty.

    `at` is the hour it was recorded in, seconds since 1970; `answer` ALLOWED or REFUSED, by `rule`.
    """

    kind: str
    site: str = ""
    group: str = ""
    answer: str = ""
    rule: str = ""
    mac: str = ""
    nas: str = ""
    ap: str = ""
    ssid: str = ""
    vlan: str = ""
    name: str = ""
    protocol: str = ""
    address: str = ""
    port: int = 0
    times: int = 1
    at: float = 0.0

    def line(self) -> str:
        """Return the line of a recording."""
        row = {key: value for key, value in self._asdict().items() if value not in ("", 0)}
        return json.dumps(row, separators=(",", ":"))


def read_seen(row: Mapping[str, Any]) -> Seen:
    """Read one line of a recording; keys that are not known are ignored. Raises BadValue."""
    texts: dict[str, Any] = {}
    for key in Seen._fields[:13]:
        value = row.get(key, "")
        if not isinstance(value, str) or len(value) > _LONGEST or not value.isprintable():
            raise BadValue("bad-text", f"'{key}' is not a printable text of at most {_LONGEST}")
        texts[key] = value
    numbers: dict[str, Any] = {}
    for key, most in (("port", 65535), ("times", 2**53), ("at", 2**40)):
        value = row.get(key, 1 if key == "times" else 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise BadValue("bad-number", f"'{key}' is not a number from 0 to {most}")
        numbers[key] = float(value) if key == "at" else int(value)
    seen = Seen(**texts, **numbers)
    if seen.answer not in {ALLOWED, REFUSED}:
        raise BadValue("unknown-word", f"answer {shown(seen.answer)}, write allowed or refused")
    if seen.kind == ADMISSION:
        parse_unicast_mac(seen.mac)
    elif seen.kind == FLOW:
        parse_address(seen.address)
    elif not seen.name:
        raise BadValue("missing-key", "'name' lacks 'name'")
    return seen


def add(counts: Counter[Seen], seen: Seen) -> None:
    """Add a recorded thing to what other hours had of it."""
    counts[seen._replace(times=1, at=0.0)] += seen.times
