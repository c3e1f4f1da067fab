"""APs, NASes, sites and feeds: what is down, and what we cannot see.

A NAS or a site that is silent for much longer than its rhythm is down or its feed is: we are blind
there, and no silence behind it means anything. An AP is down when it is reported so or when most of
its tablets fall silent together. What comes back gives everybody one grace before time counts.
"""

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.presence.actions import (
    BLIND,
    CLEARED,
    OUTAGE,
    RAISED,
    Actions,
    Alert,
    Reason,
)
from netguard.core.presence.judge import changes_of
from netguard.core.presence.model import Model
from netguard.core.presence.state import SLOT, Place, Seen, State

_SLOTS = 3
# Why an AP is down by somebody's word: no hold ends that.
REPORTED = "reported down"
# A silence that a living place would show once in e^SURPRISE tries; never sooner than SOONEST.
SURPRISE, SOONEST = 14.0, 45.0
_FEWEST = 4
# More APs than the largest hospital has, each with several BSSIDs; those with tablets are kept beyond it.
MOST_APS = 10_000
_REPORTS = frozenset({evidence.AP_UP, evidence.AP_DOWN})
# What was under way when an AP was reported down arrives within so many seconds.
_UNDER_WAY = 5.0
# What a device does that is at an AP now; a Stop or a goodbye may be of one that has just died.
_ARRIVALS = frozenset({evidence.ASSOCIATED, evidence.ROAMED, evidence.HEARD, evidence.START})


def ap_of(model: Model, state: State, event: Event, out: Actions) -> Place | None:
    """Return the record of the AP of an event, made when it is first named; None where nobody knows it.

    Anybody can send syslog in a controller's name: its word makes no AP that neither the rules name nor
    RADIUS has named, and that an AP is up or down is news of one that is known.
    """
    place = state.aps.get(event.ap)
    if place is not None:
        return place
    hearsay = event.kind in _REPORTS or event.source.startswith(evidence.CONTROLLERS)
    if hearsay and not model.lists(event.ap):
        return None
    if len(state.aps) >= MOST_APS:
        _forget_one(model, state, out)
    place = state.aps[event.ap] = Place("ap", event.ap, model.area_of(event.ap).site)
    place.slot = state.now
    return place


def _forget_one(model: Model, state: State, out: Actions) -> None:
    """Make room: forget the AP without tablets that was not heard for the longest time, one that is up first."""
    empty = (place for place in state.aps.values() if not place.tablets)
    place = min(empty, key=lambda each: (each.down != "", each.last, each.name), default=None)
    if place is None:
        return
    regain(model, state, place, state.now, out)
    del state.aps[place.name]
    # Its timer, if it has one, is passed over when it comes.
    place.due = 0.0


def _nas(model: Model, state: State, name: str) -> Place:
    place = state.nases.get(name)
    if place is None:
        place = state.add_nas(Place("nas", name, model.nas.get(name, "")))
        place.slot = state.now
        state.wake(place, state.now + SLOT)
    return place


def heard(model: Model, state: State, event: Event, out: Actions) -> None:
    """Note that an AP and a NAS have said something."""
    at, _, mac, ap, nas, *_ = event
    who = mac[-2:]
    if ap:
        access_point = state.aps.get(ap) or ap_of(model, state, event, out)
        if access_point is not None:
            _spoke(model, access_point, at, who)
            if access_point.down == REPORTED:
                _vouch(model, state, access_point, event, out)
    if nas:
        place = state.nases.get(nas) or _nas(model, state, nas)
        gap = _spoke(model, place, at, who)
        if gap > 0 and place.down:
            regain(model, state, place, at, out)
        elif gap > place.gap:
            place.gap = gap


def _vouch(model: Model, state: State, place: Place, event: Event, out: Actions) -> None:
    """Take back what was reported of an AP once RADIUS has had news of two devices that are there since.

    The word that it is up again may be lost, and the one that it is down forged: its tablets would be
    called unreachable for ever. A controller's word ends no outage, no more than one device alone.
    """
    if event.source.startswith(evidence.CONTROLLERS) or event.at < place.since + _UNDER_WAY:
        return
    if event.kind not in _ARRIVALS and not _grown(state, event, place.since):
        return
    who = event.mac[-2:]
    if place.witness in {"", who}:
        place.witness = who
        return
    regain(model, state, place, event.at, out)


def _grown(state: State, event: Event, since: float) -> bool:
    """Say whether an Interim counts more than one that is itself later than a moment: the first may tell of before."""
    seen = state.tablets.get(event.mac)
    if (
        seen is None
        or event.kind != evidence.INTERIM
        or seen.session != f"{event.nas}/{event.session}"
    ):
        return False
    return (
        seen.reported >= since and event.packets is not None and event.packets > seen.packets >= 0
    )


def _spoke(model: Model, place: Place, at: float, who: str) -> float:
    """Note that a place has said something; return after how much silence, 0 for what is old.

    Of one device in a row it has said one thing: the silence of one is no silence of the place.
    """
    gap = at - place.last
    if gap <= 0:
        return 0.0
    if gap > SOONEST:
        _excuse(model, place, at, gap)
    place.last = at
    if at >= place.slot + SLOT:
        _next_slot(place, at)
    if who != place.who:
        place.who = who
        place.count += 1
    return gap


def _excuse(model: Model, place: Place, at: float, gap: float) -> None:
    """Excuse the tablets of what was down without anybody telling: they get the time to come back."""
    if not place.down and 0.0 < patience(place) < gap:
        place.thaw = at + model.site_of(place.site).grace


def _next_slot(place: Place, at: float) -> None:
    """Let the slots before this moment count, those without a word, too, unless it is down.

    Only who speaks gets here: how surprising a silence is must be told from what was before it.
    """
    if place.down:
        return
    passed = int((at - place.slot) // SLOT)
    empty = (0,) * min(_SLOTS, passed - 1)
    place.counts = (*place.counts, place.count, *empty)[-_SLOTS:]
    place.gaps = (*place.gaps[1 - _SLOTS :], min(place.gap, SLOT))
    place.slot += passed * SLOT
    place.count, place.gap = 0, 0.0


def lively(state: State) -> bool:
    """Say whether there was always somebody to be heard until now."""
    return any(place.counts and min(place.counts) >= 2 for place in state.nases.values())


def pause(state: State, now: float) -> None:
    """Excuse the places for a time in which we were not looking."""
    for place in (*state.aps.values(), *state.nases.values()):
        place.last = max(place.last, now)
        place.slot = now
        place.count = 0
    for place in state.nases.values():
        state.wake(place, now + SLOT)


def look(model: Model, state: State, place: Place, out: Actions) -> None:
    """See whether a NAS is silent for too long, and whether what is down is held for long enough."""
    now = state.now
    if place.down and place.hold and now >= place.hold:
        regain(model, state, place, now, out)
    wake = now + SLOT
    limit = patience(place)
    if place.kind == "nas" and limit and not place.down:
        if now >= place.last + limit:
            lose(model, state, place, "silent", place.last, out)
        else:
            wake = min(wake, place.last + limit)
    if place.down and place.hold:
        wake = min(wake, place.hold)
    if place.down or place.kind == "nas":
        state.wake(place, max(wake, now + 1.0))


def patience(place: Place) -> float:
    """Return after how much silence a place is thought down; 0 where its rhythm is not known."""
    if len(place.counts) < 2 or min(place.counts) < _FEWEST:
        return 0.0
    # Tablets that came back together report together, with long pauses in between.
    return max(SOONEST, SURPRISE * SLOT / min(place.counts), 1.5 * max(place.gaps))


def lose(model: Model, state: State, place: Place, why: str, since: float, out: Actions) -> None:
    """Note that a place is down; say so once, and not again within the hold."""
    hold = model.site_of(place.site).outage_hold
    if place.down:
        return
    place.down = why
    place.hold = state.now + hold if place.kind == "ap" and why != REPORTED else 0.0
    place.since, place.witness = since, ""
    state.wake(place, place.hold or state.now + SLOT)
    if place.alert_at and state.now < place.alert_at + hold:
        return
    place.alert = f"{place.kind}-{place.name}-{int(since)}"
    place.alert_at = state.now
    out.append(_alert(state, place, RAISED, why, since, model))


def _alert(state: State, place: Place, kind: str, why: str, since: float, model: Model) -> Alert:
    cause = OUTAGE if place.kind == "ap" else BLIND
    return Alert(
        state.now, kind, place.alert, cause, 1.0, subject=f"{place.kind} {place.name}",
        site=place.site, area=model.area_of(place.name).name if place.kind == "ap" else "",
        ap=place.name if place.kind == "ap" else "", silent_since=since,
        reasons=(Reason(why.replace(" ", "-"), 0.0),), changes=changes_of(cause),
        tablets=len(place.tablets),
    )  # fmt: skip


def regain(model: Model, state: State, place: Place, at: float, out: Actions) -> None:
    """Note that a place is back: silences behind it start anew after one grace."""
    if not place.down:
        return
    site = model.site_of(place.site)
    place.down, place.hold = "", 0.0
    place.thaw = at + site.grace
    # The time in which it was down is no slot of its rhythm.
    place.slot = max(place.slot, state.now - SLOT)
    if place.alert:
        out.append(_alert(state, place, CLEARED, "heard again", at, model))
        place.alert, place.alert_at = "", at


def restarted(model: Model, state: State, nas: str, at: float) -> None:
    """Give the tablets of a NAS that has started one grace to come back."""
    place = _nas(model, state, nas)
    place.thaw = max(place.thaw, at + model.site_of(place.site).grace)


def associated(model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    """Note that an AP takes associations: it is not down, whatever was said."""
    place = state.aps.get(seen.ap)
    if place is None:
        return
    # It was there before anybody who is believed had named the AP.
    place.tablets.add(seen.mac)
    if place.down and event.at > place.last - 1 and not _is_hearsay(state, place, event):
        regain(model, state, place, event.at, out)


def _is_hearsay(state: State, place: Place, event: Event) -> bool:
    """Say whether an association is told by a controller alone, where RADIUS would hear of it, too.

    Anybody can send syslog in its name, and end an outage under whose tablets nobody is missed yet. Where RADIUS
    has no session of a tablet of this AP and has had none at the NAS that tells, a controller is all there is,
    and is believed.
    """
    if not event.source.startswith(evidence.CONTROLLERS):
        return False
    known = (state.tablets.get(mac) for mac in place.tablets)
    # One that is open is at this AP, whichever NAS the sender pretends to be. Those that have ended may have
    # been where a tablet came from, under another NAS.
    of_nas = f"{event.nas}/" if event.nas else ""
    return any(
        seen is not None and (seen.session or any(s.startswith(of_nas) for s in seen.closed))
        for seen in known
    )


def left(state: State, seen: Seen) -> None:
    """Note that a tablet is at another AP."""
    place = state.aps.get(seen.ap)
    if place is not None:
        place.tablets.discard(seen.mac)


def fell(model: Model, state: State, seen: Seen, at: float, out: Actions) -> None:
    """Note that a tablet of this AP fell silent; when most do together it is the AP."""
    place = state.aps.get(seen.ap)
    if place is None or place.down:
        return
    site = model.site_of(seen.site)
    if state.now - at > site.quiet_after + site.outage_window:
        return
    others = (each for each in place.fell if each[1] != seen.mac)
    near = (each for each in others if abs(each[0] - at) <= site.outage_window)
    place.fell = (*near, (at, seen.mac))
    down = len(place.fell)
    if down >= site.outage_at_least and down >= site.outage_share * len(place.tablets):
        lose(model, state, place, "most tablets silent", at, out)
        # Told to its tablets by its timer, which is due at once.
        state.wake(place, state.now)


def storm(model: Model, state: State, seen: Seen, now: float, out: Actions) -> bool:
    """Count an alarm of an AP; say whether there are so many that it must be the AP."""
    place = state.aps.get(seen.ap)
    if place is None:
        return False
    site = model.site_of(seen.site)
    place.alarms = (*(each for each in place.alarms if each > now - site.storm_per_ap), now)
    if len(place.alarms) <= site.storm_alarms:
        return False
    lose(model, state, place, "storm of alarms", now, out)
    return True


def why_unreachable(state: State, seen: Seen) -> str:
    """Say why a tablet cannot be heard, if there is a reason other than itself."""
    place = state.aps.get(seen.ap)
    if place is not None and place.down:
        return place.down
    for place in state.nases_of(seen):
        if place.down:
            return place.down
    if state.blind and any(site in {"", seen.site} for _, site in state.blind):
        return BLIND
    return ""


def thaw_of(state: State, seen: Seen) -> float:
    """Return from when on a tablet's silence counts, after what was down is back."""
    place = state.aps.get(seen.ap)
    return max(blind_until(state, seen), place.thaw if place is not None else 0.0)


def blind_until(state: State, seen: Seen) -> float:
    """Return until when nobody could be heard where a tablet is; 0 where that was never so.

    An AP that was down is no such time: its tablets would have been heard elsewhere.
    """
    until = state.thaw
    for place in state.nases_of(seen):
        until = max(until, place.thaw)
    return until


def others_heard(state: State, seen: Seen, since: float) -> bool:
    """Say whether somebody was heard after a moment where a tablet is."""
    return any(place.last > since for place in state.nases_of(seen))


def feed(model: Model, state: State, event: Event, out: Actions) -> None:
    """Somebody who knows says that a feed is lost, or back."""
    key = (event.source, event.site)
    alert = f"feed-{event.source}{'-' + event.site if event.site else ''}"
    since = state.blind.get(key)
    if event.kind == evidence.FEED_LOST:
        if since is None:
            state.blind[key] = event.at
            out.append(_feed_alert(event, RAISED, alert, event.at))
        return
    if since is None:
        return
    del state.blind[key]
    state.thaw = max(state.thaw, event.at + model.site_of(event.site).grace)
    out.append(_feed_alert(event, CLEARED, alert, since))


def _feed_alert(event: Event, kind: str, alert: str, since: float) -> Alert:
    return Alert(
        event.at, kind, f"{alert}-{int(since)}", BLIND, 1.0, subject=f"feed {event.source}",
        site=event.site, silent_since=since, changes=changes_of(BLIND),
    )  # fmt: skip
