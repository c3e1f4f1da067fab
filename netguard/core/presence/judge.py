"""Why a tablet is silent: one probability for each cause, and what it is made of.

Each cause starts from a rate a tablet-day (theft: a prior; a normal silence of this length in this
context: learned, curves.py) and gains or loses by the evidence, all in log odds. The probabilities
are what remains after dividing by their sum.
"""

from math import exp, inf, log
from typing import NamedTuple

from netguard.core import loans
from netguard.core.presence import calibration, curves, record, stays
from netguard.core.presence.actions import CAUSES, Reason
from netguard.core.presence.curves import DAY, EDGE, NIGHT, WAY
from netguard.core.presence.model import Model
from netguard.core.presence.state import SLOT, Place, Seen, State
from netguard.core.presence.threshold import learned
from netguard.core.presence.weights import CAP, Row

IDLE = frozenset({"inactivity", "idle-timeout", "idle", "lost-carrier", "inactive", "ageout"})
# What a NAS or a person there has done (RFC 2866, section 5.10; RFC 3580, section 2): no word of the tablet.
ENDED_BY_NAS = frozenset(
    {
        "lost-service", "session-timeout", "admin-reset", "admin-reboot", "port-error", "nas-error", "nas-request",
        "nas-reboot", "port-unneeded", "port-preempted", "port-suspended", "service-unavailable",
        "port-reinitialized", "port-administratively-disabled",
    }
)  # fmt: skip
HANDSHAKE = frozenset({"handshake", "4-way-handshake-timeout", "802.1x-failed"})
_TWO_HOURS, _DAY = 7200.0, 86400.0
_GOODBYES = {
    DAY: "goodbye-at-rest",
    NIGHT: "goodbye-at-rest",
    EDGE: "goodbye-at-edge",
    WAY: "goodbye-on-the-way",
}

# A text is put together when somebody reads it: a template, and what belongs into it.
Detail = tuple[str, tuple[object, ...]]
Piece = tuple[str, Row, Detail]
_NOTHING: Detail = ("", ())
_LENGTH = "{:.0f} s; a silence so long is normal {:.3g} times a day"
_UNSEEN = f"{_LENGTH}; before that nothing could be heard, it may have gone anywhere"


class Verdict(NamedTuple):
    """The probabilities in the order of CAUSES, and the pieces whose sum they are."""

    probabilities: tuple[float, ...]
    pieces: tuple[Piece, ...]
    normal: float
    context: int

    @property
    def best(self) -> int:
        """Return the index of the most probable cause."""
        return max(range(len(CAUSES)), key=self.probabilities.__getitem__)

    @property
    def best_but_theft(self) -> int:
        """Return the index of the most probable of the other causes."""
        return max(range(1, len(CAUSES)), key=self.probabilities.__getitem__)

    def reasons(self, cause: int) -> tuple[Reason, ...]:
        """Return the pieces as reasons for and against one cause, the heaviest first.

        A weight is what the piece adds to the log odds of the cause against its strongest rival.
        """
        rivals = [i for i in range(len(CAUSES)) if i != cause]
        rival = max(rivals, key=self.probabilities.__getitem__)
        found = [
            Reason(name, round(row[cause] - row[rival], 2), template.format(*values))
            for name, row, (template, values) in self.pieces
        ]
        kept = [reason for reason in found if reason.weight]
        return tuple(sorted(kept, key=lambda reason: (-abs(reason.weight), reason.name)))


def context_of(model: Model, seen: Seen, *, unseen: bool = False) -> int:
    """Return the context of a silence that starts at the last sighting, or `unseen` some time after."""
    if unseen:
        return NIGHT if model.is_night(seen.site, seen.last) else DAY
    at_home = is_home(seen)
    if seen.area.edge and (not at_home or walked_to_edge(model, seen)):
        return EDGE
    if not at_home and seen.last - seen.entered < model.site_of(seen.site).path_within:
        return WAY
    return NIGHT if model.is_night(seen.site, seen.last) else DAY


def is_home(seen: Seen) -> bool:
    """Say whether a tablet is in its own area."""
    return (seen.area.site, seen.area.name) == (seen.tablet.site, seen.tablet.area)


def walked_to_edge(model: Model, seen: Seen) -> bool:
    """Say whether the last sighting ends a walk from inside to an edge."""
    if not seen.area.edge:
        return False
    site = model.site_of(seen.site)
    since = seen.last - site.path_within
    aps = {ap for at, ap in seen.path if at >= since}
    inside = any(not model.area_of(ap).edge for at, ap in seen.path if at >= since)
    return inside and len(aps) >= site.path_aps


def rate_of(model: Model, state: State, seen: Seen, context: int, elapsed: float) -> float:
    """Return the learned rate a tablet-day of normal silences this long in this context."""
    now = state.now
    circles: curves.Circles = ((state.fleet, state.fleet.days(now)),)
    group = state.groups.get(group_of(seen, context))
    if group is not None:
        circles = (*circles, (group, group.days(now)))
    own = max(0.0, (now - seen.first) / _DAY)
    return curves.rate(seen.curve, own, circles, context, elapsed, seen.counted)


def group_of(seen: Seen, context: int) -> str:
    """Return whose silences are alike: at rest those of the model, on a walk those of the site."""
    if context in {EDGE, WAY}:
        return f"site:{seen.tablet.site}"
    return f"model:{seen.tablet.model}"


def verdict(
    model: Model, state: State, seen: Seen, now: float, elapsed: float, *, unseen: bool = False
) -> Verdict:
    """Judge one silence of `elapsed` seconds (without what an outage explains).

    `unseen` says that it began while nobody could be heard: then the way there says nothing.
    """
    context = seen.context
    normal = rate_of(model, state, seen, context, elapsed)
    weights = model.weights
    place = state.aps.get(seen.ap)
    usual = log(normal)
    taken, outage, moved = weights.log_rates[context]
    battery, asleep = weights.log_shares
    start: Row = (
        taken,
        usual + battery,
        usual + asleep,
        outage + _quiet_around(state, seen, place, now),
        moved,
    )
    pieces: list[Piece] = [("length", start, (_UNSEEN if unseen else _LENGTH, (elapsed, normal)))]
    for name, detail in _evidence(model, seen, place, now, elapsed, unseen=unseen):
        row = weights.evidence.get(name)
        if row is not None:
            pieces.append((name, row, detail))
    _stay(state, seen, pieces)
    _probes(model, state, seen, pieces)
    _record(state, pieces)
    probabilities = _shares(pieces)
    if weights.calibration and learned(state):
        by = calibration.shift(weights.calibration, context, probabilities[0])
        if by:
            pieces.append(
                ("calibration", (by, 0.0, 0.0, 0.0, 0.0), ("how often such alarms were right", ()))
            )
            probabilities = _moved(probabilities, by)
    return Verdict(probabilities, tuple(pieces), normal, context)


def _shares(pieces: list[Piece]) -> tuple[float, ...]:
    """Return what remains of the sums of all pieces after dividing by their sum."""
    taken = battery = asleep = outage = moved = 0.0
    for _, row, _ in pieces:
        taken += row[0]
        battery += row[1]
        asleep += row[2]
        outage += row[3]
        moved += row[4]
    top = max(taken, battery, asleep, outage, moved)
    a, b, c, d, e = (
        exp(taken - top), exp(battery - top), exp(asleep - top), exp(outage - top), exp(moved - top),
    )  # fmt: skip
    total = a + b + c + d + e
    return a / total, b / total, c / total, d / total, e / total


def _moved(probabilities: tuple[float, ...], by: float) -> tuple[float, ...]:
    """Move the log odds of theft; the other causes keep their order and share the rest."""
    taken = calibration.moved(probabilities[0], by)
    rest = 1 - probabilities[0]
    factor = (1 - taken) / rest if rest > 0 else 1.0
    return (taken, *(each * factor for each in probabilities[1:]))


def _quiet_around(state: State, seen: Seen, ap: Place | None, now: float) -> float:
    """Return how surprising the silence of the whole AP or controller is, in nats, from its rhythm."""
    most = 0.0
    # Inside, an access point may have been left by everybody by now; at an exit others pass.
    longest = inf if seen.context == EDGE else SLOT
    for place in (*state.nases_of(seen), ap):
        if place is not None:
            silent = now - max(seen.last, place.last)
            if 0 < silent < longest:
                most = max(most, rhythm(place) * silent)
    return min(12.0, most)


def rhythm(place: Place) -> float:
    """Return the messages a second that a place gives at least (its quietest slot of late)."""
    return min(place.counts) / SLOT if len(place.counts) > 1 else 0.0


def _evidence(
    model: Model, seen: Seen, place: Place | None, now: float, elapsed: float, *, unseen: bool
) -> list[tuple[str, Detail]]:
    found = _leaving(model, seen, unseen=unseen)
    if place is not None:
        if place.down:
            found.append(("ap-down", ("{}", (place.down,))))
        elif place.last > seen.last + 5:
            found.append(
                ("ap-still-heard", ("{} was heard {:.0f} s ago", (seen.ap, now - place.last)))
            )
    if seen.context == NIGHT:
        found.append(("night-inside", ("at night, away from the exits", ())))
    if seen.area.expected_silent:
        found.append(("sleeps-here", ("tablets sleep in {}", (seen.area.name,))))
    if elapsed > _TWO_HOURS:
        found.append(("over-two-hours", _NOTHING))
    if seen.planned[0] and now <= seen.planned[1]:
        found.append(("planned-move", ("to {}", (seen.planned[0],))))
    if seen.loan in {loans.STOCK, loans.RETIRED}:
        found.append(("in-stock", ("not lent", ())))
    if seen.loan in loans.GONE:
        found.append(("reported-missing", ("people say it is {}", (seen.loan,))))
    return found


def _leaving(model: Model, seen: Seen, *, unseen: bool) -> list[tuple[str, Detail]]:
    found: list[tuple[str, Detail]] = []
    if not unseen and walked_to_edge(model, seen):
        names = " > ".join(ap for _, ap in seen.path[-4:])
        found.append(("walked-to-edge", ("{}", (names,))))
    said = seen.goodbye if seen.goodbye_at >= seen.last else ""
    if said in ENDED_BY_NAS:
        said = ""
    detail: Detail = ("{}", (said,)) if said else _NOTHING
    if seen.context == WAY and (not said or said in IDLE):
        found.append(("silent-on-the-way", detail))
    elif not said:
        found.append(("no-goodbye", detail))
    elif said in HANDSHAKE:
        found.append(("handshake-failed", detail))
    elif said in IDLE:
        found.append(("idle-at-edge" if seen.context == EDGE else "idle-at-rest", detail))
    else:
        found.append((_GOODBYES[seen.context], detail))
    return found


def _stay(state: State, seen: Seen, pieces: list[Piece]) -> None:
    """Add what the length of its stay says, on its way or at an exit."""
    if seen.context not in {EDGE, WAY}:
        return
    where = stays.AT_EDGE if seen.context == EDGE else stays.ON_THE_WAY
    stay = seen.last - seen.entered
    gain, usual = stays.weight(state.stays, where, stay)
    values = (stay, seen.area.name or seen.ap, usual)
    detail = ("{:.0f} s in {}; {:.0%} of the time there is like it", values)
    pieces.append(("stay", (gain, 0.0, 0.0, 0.0, gain), detail))


def _probes(model: Model, state: State, seen: Seen, pieces: list[Piece]) -> None:
    """Add the CUSUM of missed probes; it fades as the curves, which hold it too, are learned."""
    if not seen.misses or seen.miss_of != seen.last:
        return
    missed, answered = state.answers.get(seen.tablet.model, (0, 0))
    q = (missed + 10 * model.weights.probe_miss) / (missed + answered + 10)
    fade = curves.FLEET_DAYS / (curves.FLEET_DAYS + state.fleet.days(state.now))
    gain = min(CAP, seen.misses * log(1 / min(0.99, max(0.05, q)))) * fade
    # A tablet asleep does not answer for long either; what is excluded is that it only dozes.
    row: Row = (gain, gain / 4, 0.0, gain, gain / 4)
    pieces.append(("probes-unanswered", row, ("{} in a row", (seen.misses,))))


def _record(state: State, pieces: list[Piece]) -> None:
    """Add what closed incidents say of how sure one may be."""
    count, expected, gone = state.settled
    if not count:
        return
    row: Row = (record.shift(state), 0.0, 0.0, 0.0, 0.0)
    values = (gone, count, expected)
    pieces.append(("record", row, ("{} of the last {} were gone, {:.1f} expected", values)))


def changes_of(cause: str) -> tuple[str, ...]:
    """Say what would change a verdict."""
    return _CHANGES[cause]


_CHANGES = {
    "taken": (
        "a sign of life at any AP ends it",
        "an order to move makes it moved",
        "its AP, NAS or feed reported down makes it an outage",
    ),
    "battery": (
        "back on the charger it returns",
        "a walk to an exit before the end would say taken",
    ),
    "asleep": (
        "a silence longer than its own learned ones would say battery or taken",
        "a walk to an exit before the end would say taken",
    ),
    "outage": ("other devices heard at the same AP would end the outage",),
    "moved": ("heard at the other place it is there", "the end of the order makes it a silence"),
    "blind": ("fresh records of the feed end it",),
}
