"""step and due: evidence in, changes of state and alerts out.

The work for one event does not depend on the fleet. Each tablet and each place has one timer; a
sighting does not touch it: when it comes due it is set anew from what was seen since.
"""

from collections.abc import Callable
from heapq import heappop, heapreplace

from netguard.core import evidence, loans
from netguard.core.evidence import FUTURE, HISTORY, Event
from netguard.core.presence import curves, places, retention, silence, stays
from netguard.core.presence.actions import (
    CLEARED,
    MISSING,
    MOVED,
    PRESENT,
    QUIET,
    RAISED,
    RETURNED,
    TAKEN,
    UNREACHABLE,
    Actions,
    Alert,
)
from netguard.core.presence.curves import EDGE
from netguard.core.presence.judge import (
    ENDED_BY_NAS,
    IDLE,
    changes_of,
    group_of,
    is_home,
)
from netguard.core.presence.model import Model
from netguard.core.presence.state import PATH_SPAN, Place, Seen, State
from netguard.core.presence.threshold import band_of, threshold_of

_INSIDE_LEARN = 512.0
_REORDER = 5.0
_PATH_LONGEST = 12
# A silence of all feeds together for so long, while they used to speak, is a pause of our own.
_PAUSE = 600.0


def step(model: Model, state: State, event: Event) -> Actions:
    """Take one event in the order of receipt; return what follows, timers before it included."""
    at, kind, mac, _, _, _, _, _, _, _, received, _, _ = event
    received = received or at
    out: Actions = []
    if received > state.now:
        if state.back:
            _caught_up(model, state, received)
        heap = state.heap
        if received - state.now > _PAUSE or (heap and heap[0][0] <= received):
            out = due(model, state, received)
        else:
            state.now = received
    elif received < state.now - HISTORY:
        state.back = True
    # While our clock runs through a time that has been, no record can be told from an older one.
    late = state.back or at < state.now - HISTORY
    if late or at > (received if received > 0 else at) + FUTURE:
        why = "late" if late else "future"
        state.ignored[why] = state.ignored.get(why, 0) + 1
        return out
    if kind in _SIGNS:
        places.heard(model, state, event, out)
        handler = _SIGNS[kind]
    elif kind in _ABOUT_PLACES:
        _ABOUT_PLACES[kind](model, state, event, out)
        return out
    else:
        handler = _WORDS[kind]
    seen = state.tablets.get(mac) or _meet(model, state, mac, at)
    if seen is None:
        return out
    if seen.alert and seen.cause == TAKEN and silence.is_hearsay(seen, event):
        handler = silence.dispute
    handler(model, state, seen, event, out)
    return out


def _caught_up(model: Model, state: State, now: float) -> None:
    """Go on after our clock was set back: what came meanwhile was old to us, so we were blind."""
    site = model.site_of("")
    state.back = False
    state.thaw = max(state.thaw, now + site.interim + site.grace)


def due(model: Model, state: State, now: float) -> Actions:
    """Let the time come to `now`: return what the timers until then say."""
    out: Actions = []
    if now - state.now > _PAUSE and places.lively(state):
        # Nobody was heard and nobody asked: we were not looking.
        state.thaw = max(state.thaw, now + model.site_of("").grace)
        places.pause(state, now)
    retention.keep(state, now)
    heap, sites = state.heap, model.sites
    while heap:
        when, _, thing = heap[0]
        if when > now:
            break
        if thing.due != when:
            heappop(heap)
            continue
        state.now = max(state.now, when)
        if isinstance(thing, Seen):
            # Most were heard meanwhile: their timer is moved, and that is all.
            site = sites.get(thing.site) or model.site_of(thing.site)
            heard = thing.last + silence.silent_after(thing, site)
            if state.now < heard:
                thing.due, thing.path = heard, thing.way()
                state.sequence += 1
                heapreplace(heap, (heard, state.sequence, thing))
                continue
            heappop(heap)
            silence.judge(model, state, thing, site, out)
        else:
            heappop(heap)
            places.look(model, state, thing, out)
            _spread(model, state, thing, out)
    state.now = max(state.now, now)
    return out


def next_due(state: State) -> float | None:
    """Return when `due` has something to do next."""
    return state.heap[0][0] if state.heap else None


def figures(model: Model, state: State) -> dict[str, float]:
    """Return the false-alarm budget beside what happened, for metrics."""
    return {
        "alarms": float(state.alarms.get(TAKEN, 0)),
        "false_alarms": float(state.false_alarms),
        "budget_per_day": model.budget,
        "days": max(0.0, (state.now - state.since) / 86400.0) if state.since else 0.0,
        "threshold": threshold_of(model, state),
        "tablet_days": retention.tablet_days(state),
    }


# tablets


def _meet(model: Model, state: State, mac: str, at: float) -> Seen | None:
    """Make the record of a tablet; None for what is none of ours."""
    if mac not in model.tablets:
        return None
    seen = state.tablets[mac] = Seen(model.tablets[mac])
    seen.first = seen.last = at
    state.since = state.since or at
    retention.watch(state, seen)
    state.wake(seen, at + model.site_of(seen.site).quiet_after)
    return seen


def _sighting(model: Model, state: State, seen: Seen, at: float, out: Actions) -> None:
    """Note that a tablet was heard at this moment."""
    gap = at - seen.last
    if gap <= 0:
        return
    if seen.state != PRESENT or gap > _INSIDE_LEARN or seen.counted:
        _back(model, state, seen, at, out)
    seen.last = at


def _back(model: Model, state: State, seen: Seen, at: float, out: Actions) -> None:
    """End a silence that may have meant something: learn from it, close the incident."""
    before = seen.state
    if before != UNREACHABLE:
        _learn(model, state, seen, at)
    seen.counted, seen.peak = 0, 0.0
    if before == PRESENT:
        return
    if before == MISSING:
        silence.change(state, seen, RETURNED, at, out)
    silence.change(state, seen, PRESENT, at, out)
    if seen.alert:
        _clear(state, seen, at, out)
    seen.cause, seen.probability = "", 0.0


def _clear(state: State, seen: Seen, at: float, out: Actions) -> None:
    if seen.cause == TAKEN and seen.loan not in loans.GONE:
        state.false_alarms += 1
    out.append(
        Alert(
            at, CLEARED, seen.alert, seen.cause, seen.probability, seen.tablet.id, seen.mac,
            site=seen.site, area=seen.area.name, ap=seen.ap, silent_since=seen.last,
        )
    )  # fmt: skip
    seen.alert, seen.disputed = "", (0.0, "")


def _learn(model: Model, state: State, seen: Seen, at: float) -> None:
    gap = at - seen.last
    silence.begun(model, state, seen)
    if seen.context == EDGE or seen.goodbye_at >= seen.last or gap > _INSIDE_LEARN:
        pools = (state.fleet, state.group(group_of(seen, seen.context)))
        curves.count(seen.curve, pools, seen.context, seen.counted, curves.passed(gap))
    if seen.misses and seen.miss_of == seen.last and gap < HISTORY:
        missed, answered = state.answers.get(seen.tablet.model, (0, 0))
        state.answers[seen.tablet.model] = (missed + seen.misses, answered + 1)
    if seen.peak > 0 and seen.loan not in loans.GONE:
        state.peaks[band_of(seen.peak)] += 1


def _settle(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    """Take over the place an association names."""
    ap = event.ap
    seen.nas = event.nas or seen.nas
    if ap and ap != seen.ap:
        heard = seen.last
        _sighting(model, state, seen, event.at, out)
        places.left(state, seen)
        seen.ap = ap
        area = model.area_of(ap)
        if area is not seen.area:
            _stayed(state, seen, heard, event.at)
            # Who comes back from a silence elsewhere inside was not seen on its way: it may have been
            # there since.
            back = event.at - heard > _INSIDE_LEARN and not area.edge
            seen.area, seen.entered = area, heard if back else event.at
        seen.site = seen.area.site or event.site or model.nas.get(event.nas, "") or seen.site
        since = event.at - PATH_SPAN
        kept = [step for step in seen.path[1 - _PATH_LONGEST :] if step[0] >= since]
        seen.path = (*kept, (event.at, ap))
        _tell_move(seen, event.at, out)
        if seen.area.edge and seen.due > event.at + silence.EDGE_SILENT:
            state.wake(seen, event.at + silence.EDGE_SILENT)
    else:
        _sighting(model, state, seen, event.at, out)
    places.associated(model, state, seen, event, out)


def _stayed(state: State, seen: Seen, heard: float, at: float) -> None:
    """Learn how long it was where it is not at home; a silence at the end is no stay."""
    until = at if at - heard <= _INSIDE_LEARN else heard
    if seen.area.edge:
        stays.add(state.stays, stays.AT_EDGE, until - seen.entered)
    elif seen.area.name and not is_home(seen):
        stays.add(state.stays, stays.ON_THE_WAY, min(until - seen.entered, stays.ENDS[-1]))


def _tell_move(seen: Seen, at: float, out: Actions) -> None:
    """Tell once that a tablet of one site is heard at another."""
    if seen.site == seen.tablet.site:
        if seen.moved:
            out.append(
                Alert(at, CLEARED, seen.moved, MOVED, 1.0, seen.tablet.id, seen.mac, site=seen.site)
            )
            seen.moved = ""
        return
    if not seen.moved:
        seen.moved = f"{seen.tablet.id}-moved-{int(at)}"
        out.append(
            Alert(
                at, RAISED, seen.moved, MOVED, 1.0, seen.tablet.id, seen.mac,
                site=seen.site, area=seen.area.name, ap=seen.ap, path=seen.path,
                changes=changes_of(MOVED),
            )
        )  # fmt: skip


def _on_associated(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    if event.at <= seen.heard_at:
        return
    seen.heard_at = event.at
    if event.ap != seen.ap and seen.session:
        seen.closed = (*seen.closed[-3:], seen.session)
        seen.session, seen.packets = "", -1
    _settle(model, state, seen, event, out)


def _on_start(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    key = f"{event.nas}/{event.session}"
    if event.at < seen.heard_at and event.ap != seen.ap:
        # A late Start of an older association: its session is not the one that counts.
        seen.closed = (*seen.closed[-3:], key)
        return
    _on_associated(model, state, seen, event, out)
    if event.session:
        if seen.session and seen.session != key:
            seen.closed = (*seen.closed[-3:], seen.session)
        seen.closed = tuple(each for each in seen.closed if each != key)
        seen.session, seen.packets = key, event.packets if event.packets is not None else -1
        seen.reported = event.at


def _on_heard(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    if event.ap and (not seen.ap or (not seen.heard_at and event.at > seen.placed)):
        # Until an association is known, it is where it was heard last, told in whatever order.
        seen.placed = event.at
        _settle(model, state, seen, event, out)
    else:
        _sighting(model, state, seen, event.at, out)


def _on_interim(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    key = f"{event.nas}/{event.session}"
    packets = event.packets
    if key == seen.session or (not event.session and event.ap == seen.ap):
        if packets is None:
            _sighting(model, state, seen, event.at, out)
        elif packets > seen.packets:
            # The frames came at some time since the last report. What was heard in between explains
            # them where it is watched more closely than that: a tablet that left meanwhile has
            # sent some, too.
            watched = seen.area.edge or (seen.misses > 0 and seen.miss_of == seen.last)
            explained = watched and seen.last > seen.reported
            seen.packets, seen.reported = packets, event.at
            if not explained:
                _sighting(model, state, seen, event.at, out)
        elif event.at > seen.reported:
            seen.reported = event.at
        return
    if key in seen.closed or event.at <= seen.last:
        return
    _adopt(model, state, seen, event, key, out)


def _adopt(model: Model, state: State, seen: Seen, event: Event, key: str, out: Actions) -> None:
    """Take over a session whose Start was not seen, once it shows that frames still come."""
    packets = event.packets
    fresh = not seen.session and event.ap in {"", seen.ap} if seen.ap else not seen.session
    known, before, noted = seen.candidate
    # What grew before it associated elsewhere is no sign that it is still there.
    grown = packets is not None and known == key and packets > before
    moving = grown and seen.heard_at <= noted
    # While we were blind it may have associated anywhere: the first session that is heard of is its.
    # What an exit reports of that time may have gone before, and has to grow.
    blind = seen.last < places.thaw_of(state, seen)
    fresh = fresh or (blind and not model.area_of(event.ap).edge)
    if fresh or moving:
        seen.session, seen.packets = key, -1 if packets is None else packets
        seen.heard_at = max(seen.heard_at, event.at)
        _settle(model, state, seen, event, out)
    elif packets is not None and (known != key or grown):
        seen.candidate = (key, packets, event.at)


def _on_stop(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    key = f"{event.nas}/{event.session}"
    if event.session and key != seen.session:
        if key in seen.closed:
            return
        seen.closed = (*seen.closed[-3:], key)
        if seen.session or event.ap != seen.ap:
            return
    elif not event.session and event.ap != seen.ap:
        return
    if event.session:
        seen.closed = (*seen.closed[-3:], key)
        seen.session, seen.packets = "", -1
    _goodbye(model, state, seen, event, out)


def _on_disassociated(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    if event.ap in {"", seen.ap} and event.at >= seen.heard_at:
        _goodbye(model, state, seen, event, out)


def _goodbye(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    """Note that its AP has let it go; nothing changes before the grace is over."""
    at = event.at
    if at < seen.last or (seen.goodbye and at <= seen.goodbye_at + _REORDER):
        return
    reason = event.reason or "unspecified"
    if reason not in IDLE:
        if reason not in ENDED_BY_NAS:
            _sighting(model, state, seen, at, out)
        places.fell(model, state, seen, at, out)
    seen.goodbye, seen.goodbye_at = reason, at
    wake = max(at + _REORDER, seen.last + model.site_of(seen.site).grace)
    if seen.state == PRESENT and wake < seen.due:
        state.wake(seen, wake)


def _on_silent_probe(_model: Model, _state: State, seen: Seen, event: Event, _out: Actions) -> None:
    if event.at <= seen.last:
        return
    if seen.miss_of != seen.last:
        seen.miss_of, seen.misses = seen.last, 0
    seen.misses += 1


def _on_loan(_model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    word = event.reason
    # `netguard found` and `return` both put a tablet into stock; what was in stock before tells nothing.
    back = word in {loans.STOCK, loans.RETIRED} and seen.loan not in {"", word}
    if seen.alert and (back or word == loans.FOUND):
        # By what it was until now: one that was stolen and is found was no false alarm.
        _clear(state, seen, event.at, out)
    seen.loan = "" if word == loans.FOUND else word


def _on_planned(_model: Model, _state: State, seen: Seen, event: Event, _out: Actions) -> None:
    seen.planned = (event.area, event.until or event.at + 86400.0)


# places


def _spread(model: Model, state: State, place: Place, out: Actions) -> None:
    """Tell the tablets of an AP or a NAS at once that it has gone."""
    if not place.down or place.kind != "ap":
        return
    for mac in sorted(place.tablets):
        seen = state.tablets.get(mac)
        if seen is not None and seen.state in {PRESENT, QUIET}:
            silence.unreachable(state, seen, state.now, out)
            state.wake(seen, state.now + model.site_of(seen.site).grace)


def _on_ap(model: Model, state: State, event: Event, out: Actions) -> None:
    place = places.ap_of(model, state, event, out)
    if place is None:
        return
    if event.kind == evidence.AP_DOWN:
        places.lose(model, state, place, places.REPORTED, event.at, out)
        _spread(model, state, place, out)
    else:
        places.regain(model, state, place, event.at, out)


def _on_restart(model: Model, state: State, event: Event, out: Actions) -> None:
    """Accounting-On or -Off: every session of this NAS has ended with it, nobody has left."""
    for seen in state.tablets.values():
        if seen.session.startswith(f"{event.nas}/"):
            seen.closed = (*seen.closed[-3:], seen.session)
            seen.session, seen.packets = "", -1
            if seen.last < event.at and seen.state in {PRESENT, QUIET}:
                silence.unreachable(state, seen, event.at, out)
                state.wake(seen, event.at + 2 * model.site_of(seen.site).grace)
    places.restarted(model, state, event.nas, event.at)


def _on_feed(model: Model, state: State, event: Event, out: Actions) -> None:
    places.feed(model, state, event, out)


Handler = Callable[[Model, State, Seen, Event, Actions], None]

# What shows that a tablet, its AP and its NAS are alive.
_SIGNS: dict[str, Handler] = {
    evidence.HEARD: _on_heard,
    evidence.INTERIM: _on_interim,
    evidence.ASSOCIATED: _on_associated,
    evidence.ROAMED: _on_associated,
    evidence.START: _on_start,
    evidence.STOP: _on_stop,
    evidence.DISASSOCIATED: _on_disassociated,
}
# Other words about a tablet: a question of ours without an answer, and what people say.
_WORDS: dict[str, Handler] = {
    evidence.SILENT_PROBE: _on_silent_probe,
    evidence.LOAN: _on_loan,
    evidence.PLANNED_MOVE: _on_planned,
}
_ABOUT_PLACES = {
    evidence.AP_UP: _on_ap,
    evidence.AP_DOWN: _on_ap,
    evidence.NAS_RESTART: _on_restart,
    evidence.FEED_LOST: _on_feed,
    evidence.FEED_BACK: _on_feed,
}
