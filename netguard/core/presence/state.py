"""What the engine remembers: tablets, APs, NASes, sites, feeds, what was learned, timers by due time.

A state belongs to one engine and is changed in place; `dump` and `load` carry it over a restart.
Nothing in it says where a tablet was for longer than a quarter of an hour, unless an incident is
open.
"""

import base64
import json
from collections.abc import Mapping
from heapq import heappush
from typing import Any

from netguard.core.presence.actions import PRESENT
from netguard.core.presence.curves import SIZE, Pool
from netguard.core.presence.model import NOWHERE, AreaModel, Model, TabletModel
from netguard.core.presence.stays import SIZE as STAYS
from netguard.errors import BadValue

VERSION = 6
# A state of version 2 knows nothing of `watched`, one of version 3 nothing of `disputed`, one of version 4
# nothing of `since` and `witness`, one of version 5 nothing of spans: all that it has learned is of the one before.
_READ = (2, 3, 4, 5, VERSION)
# Of the way of a tablet so many seconds before its last sighting are kept.
PATH_SPAN = 900.0
# Bands of the peak probability of silences that ended by themselves, in quarters of a nat of log odds.
PEAKS = 41
# What is heard of a place is counted in spans of so many seconds.
SLOT = 300.0


class Seen:
    """One tablet. Times in seconds since 1970; `last` is the last sighting."""

    __slots__ = (
        "aged",
        "alert",
        "alert_at",
        "ap",
        "area",
        "candidate",
        "cause",
        "closed",
        "context",
        "counted",
        "curve",
        "disputed",
        "due",
        "entered",
        "first",
        "goodbye",
        "goodbye_at",
        "heard_at",
        "last",
        "loan",
        "mac",
        "miss_of",
        "misses",
        "moved",
        "nas",
        "packets",
        "path",
        "peak",
        "placed",
        "planned",
        "probability",
        "reported",
        "session",
        "site",
        "state",
        "tablet",
        "watched",
    )  # fmt: skip

    def __init__(self, tablet: TabletModel) -> None:
        self.tablet = tablet
        self.mac = tablet.mac
        self.state = PRESENT
        self.cause = ""
        self.probability = 0.0
        self.last = 0.0
        self.first = 0.0
        self.due = 0.0
        # When it was heard at the AP that is taken for its own as long as it has not associated.
        self.placed = 0.0
        self.ap = self.nas = self.session = self.goodbye = self.loan = ""
        self.site = tablet.site
        self.area: AreaModel = NOWHERE
        self.goodbye_at = self.heard_at = self.reported = self.entered = 0.0
        self.packets = -1
        self.closed: tuple[str, ...] = ()
        self.candidate: tuple[str, int, float] = ("", -1, 0.0)
        self.path: tuple[tuple[float, str], ...] = ()
        # The last sighting whose silence was seen to begin: somebody else was heard after it.
        self.watched = 0.0
        self.misses = 0
        self.miss_of = 0.0
        self.context = self.counted = 0
        # Its silences that were longer, by context and length; and what of it is of the span before this one.
        self.curve = bytearray(SIZE)
        self.aged = bytearray(SIZE)
        self.peak = 0.0
        self.alert = ""
        self.alert_at = 0.0
        self.planned: tuple[str, float] = ("", 0.0)
        # When to tell that only a controller has heard it since its alarm, 0 once told; and who, where.
        self.disputed: tuple[float, str] = (0.0, "")
        self.moved = ""

    def way(self) -> tuple[tuple[float, str], ...]:
        """Return where it came from and when, as far back as that is kept; the last step is where it is."""
        if not self.path or self.path[0][0] >= self.last - PATH_SPAN:
            return self.path
        recent = tuple(step for step in self.path[:-1] if step[0] >= self.last - PATH_SPAN)
        return (*recent, self.path[-1])


class Place:
    """An AP, a NAS, a site or a feed: whether it is heard, how often it usually is, since when not."""

    __slots__ = (
        "alarms", "alert", "alert_at", "count", "counts", "down", "due", "fell", "gap", "gaps", "hold", "kind", "last",
        "name", "since", "site", "slot", "tablets", "thaw", "who", "witness",
    )  # fmt: skip

    def __init__(self, kind: str, name: str, site: str) -> None:
        self.kind, self.name, self.site = kind, name, site
        self.last = self.due = self.thaw = self.hold = self.alert_at = self.slot = 0.0
        self.count = 0
        self.counts: tuple[int, ...] = ()
        self.gap = 0.0
        self.gaps: tuple[float, ...] = ()
        self.down = ""
        # Since when it is down, and the end of the MAC that alone has been heard there since.
        self.since = 0.0
        self.witness = ""
        self.alert = ""
        # The end of the MAC that was heard last: tells two devices apart, and names neither.
        self.who = ""
        self.tablets: set[str] = set()
        self.fell: tuple[tuple[float, str], ...] = ()
        self.alarms: tuple[float, ...] = ()


class State:
    """Everything the engine remembers."""

    __slots__ = (
        "alarms", "answers", "aps", "around", "back", "blind", "false_alarms", "fleet", "groups", "heap", "ignored",
        "nases", "now", "open", "past_days", "peaks", "sequence", "settled", "since", "sites", "stays", "tablets",
        "thaw", "turned",
    )  # fmt: skip

    def __init__(self) -> None:
        self.now = 0.0
        self.since = 0.0
        self.thaw = 0.0
        # Whether events are received at times that have been before.
        self.back = False
        self.tablets: dict[str, Seen] = {}
        self.aps: dict[str, Place] = {}
        self.nases: dict[str, Place] = {}
        # What nases_of has found, by site and NAS of a tablet.
        self.around: dict[tuple[str, str], tuple[Place, ...]] = {}
        self.sites: dict[str, Place] = {}
        # Feeds that somebody has declared lost: (feed, site or "") to since when.
        self.blind: dict[tuple[str, str], float] = {}
        self.fleet = Pool()
        self.groups: dict[str, Pool] = {}
        # When the span began into which silences are counted now, and how many tablet-days were seen that are
        # forgotten (retention.py).
        self.turned = 0.0
        self.past_days = 0.0
        self.answers: dict[str, tuple[int, int]] = {}
        self.peaks = [0.0] * PEAKS
        self.stays = [0.0] * STAYS
        # Incidents told as taken: when each is settled, tablet, alert, stated; and, of those settled,
        # how many there were, how many were expected to be gone, how many were (record.py).
        self.open: list[tuple[float, str, str, float]] = []
        self.settled: tuple[int, float, int] = (0, 0.0, 0)
        self.alarms: dict[str, int] = {}
        self.false_alarms = 0
        self.ignored: dict[str, int] = {}
        self.heap: list[tuple[float, int, Seen | Place]] = []
        self.sequence = 0

    def wake(self, thing: Seen | Place, due: float) -> None:
        """Set the one timer of a tablet or a place; an older, later one is forgotten when it comes."""
        thing.due = due
        self.sequence += 1
        heappush(self.heap, (due, self.sequence, thing))

    def nases_of(self, seen: Seen) -> tuple[Place, ...]:
        """Return the controllers by which a tablet can be heard: its site's, and the one it was heard by.

        One controller may serve the access points of several sites.
        """
        key = (seen.site, seen.nas)
        found = self.around.get(key)
        if found is None:
            found = self.around[key] = tuple(
                place
                for place in self.nases.values()
                if place.site == seen.site or place.name == seen.nas
            )
        return found

    def add_nas(self, place: Place) -> Place:
        """Take in a controller that is heard for the first time."""
        self.nases[place.name] = place
        self.around.clear()
        return place

    def group(self, name: str) -> Pool:
        """Return a group, made when it is first asked for."""
        found = self.groups.get(name)
        if found is None:
            found = self.groups[name] = Pool()
        return found


_SEEN = (
    "state", "cause", "probability", "last", "first", "placed", "due", "ap", "nas", "session",
    "goodbye", "loan", "site", "goodbye_at", "heard_at", "reported", "entered", "packets", "closed", "candidate", "path",
    "misses", "miss_of", "context", "counted", "peak", "alert", "alert_at", "planned", "moved",
    "watched", "disputed",
)  # fmt: skip
_PLACE = (
    "kind", "name", "site", "last", "due", "thaw", "hold", "alert_at", "slot", "count", "counts", "gap", "gaps",
    "down", "alert", "fell", "alarms", "who", "since", "witness",
)  # fmt: skip
_PLAIN = (
    "now", "since", "thaw", "back", "answers", "open", "peaks", "settled", "stays", "alarms", "false_alarms", "ignored",
    "turned", "past_days",
)  # fmt: skip


def dump(state: State) -> bytes:
    """Return a state as bytes; equal states give equal bytes."""
    body: dict[str, Any] = {name: getattr(state, name) for name in _PLAIN}
    body["version"] = VERSION
    body["blind"] = [[*key, since] for key, since in sorted(state.blind.items())]
    body["pools"] = {
        name: [pool.tablets, pool.first_sum, pool.counts, pool.aged]
        for name, pool in [("", state.fleet), *sorted(state.groups.items())]
    }
    body["places"] = [
        [getattr(place, name) for name in _PLACE]
        for places in (state.aps, state.nases, state.sites)
        for _, place in sorted(places.items())
    ]
    body["tablets"] = {
        mac: [*_plain(seen), *(base64.b64encode(each).decode() for each in (seen.curve, seen.aged))]
        for mac, seen in sorted(state.tablets.items())
    }
    return json.dumps(body, separators=(",", ":"), sort_keys=True).encode()


def _plain(seen: Seen) -> list[Any]:
    return [seen.way() if name == "path" else getattr(seen, name) for name in _SEEN]


def load(data: bytes, model: Model) -> State:
    """Read what `dump` wrote; tablets that the rules no longer have are left out. Raises BadValue."""
    try:
        body = json.loads(data)
        if body["version"] not in _READ:
            raise BadValue("syntax", f"the state has version {body['version']}, not {VERSION}")
        if body["version"] < VERSION:
            _without_spans(body)
        return _read(body, model)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise BadValue("syntax", f"not a state of presence: {error!r}") from None


def _without_spans(body: dict[str, Any]) -> None:
    """Make what a version before 6 has learned that of the span before this one."""
    body["turned"], body["past_days"] = body["now"], 0.0
    for pool in body["pools"].values():
        pool.append(pool[2])
    for row in body["tablets"].values():
        row.append(row[-1])


def _read(body: Mapping[str, Any], model: Model) -> State:
    state = State()
    for name in _PLAIN:
        setattr(state, name, body[name])
    state.open = [(at, mac, alert, stated) for at, mac, alert, stated in body["open"]]
    state.settled = tuple(body["settled"])
    state.answers = {name: (pair[0], pair[1]) for name, pair in body["answers"].items()}
    state.blind = {(feed, site): since for feed, site, since in body["blind"]}
    for name, (tablets, first_sum, counts, aged) in body["pools"].items():
        pool = state.fleet if name == "" else state.group(name)
        pool.tablets, pool.first_sum, pool.counts, pool.aged = (
            tablets,
            first_sum,
            list(counts),
            list(aged),
        )
    for row in body["places"]:
        if not len(_PLACE) - 2 <= len(row) <= len(_PLACE):
            raise ValueError("a place of another length")
        _place(state, dict(zip(_PLACE, row, strict=False)))
    for mac, row in body["tablets"].items():
        tablet = model.tablets.get(mac)
        if tablet is not None:
            _tablet(state, model, tablet, row)
    return state


def _place(state: State, row: dict[str, Any]) -> None:
    place = Place(row["kind"], row["name"], row["site"])
    for name, value in row.items():
        setattr(place, name, tuple(value) if isinstance(value, list) else value)
    place.fell = tuple((at, mac) for at, mac in place.fell)
    if place.kind == "nas":
        state.add_nas(place)
    else:
        {"ap": state.aps, "site": state.sites}[place.kind][place.name] = place
    if place.due:
        state.wake(place, place.due)


def _tablet(state: State, model: Model, tablet: TabletModel, row: list[Any]) -> None:
    seen = Seen(tablet)
    # Older versions lack the last ones before the curves, and there only.
    *plain, curve, aged = row
    if not len(_SEEN) - 2 <= len(plain) <= len(_SEEN):
        raise ValueError("a tablet of another length")
    for name, value in zip(_SEEN, plain, strict=False):
        setattr(seen, name, tuple(value) if isinstance(value, list) else value)
    seen.path = tuple((at, ap) for at, ap in seen.path)
    seen.curve, seen.aged = (bytearray(base64.b64decode(e, validate=True)) for e in (curve, aged))
    if len(seen.curve) != SIZE or len(seen.aged) != SIZE:
        raise ValueError("a curve of another length")
    seen.area = model.area_of(seen.ap)
    state.tablets[tablet.mac] = seen
    if seen.ap in state.aps:
        state.aps[seen.ap].tablets.add(tablet.mac)
    if seen.due:
        state.wake(seen, seen.due)
