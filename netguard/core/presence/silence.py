"""What a tablet's silence leads to: when to look and to ask again, and what is said of it.

A silence is weighed (judge.py) each time its timer comes due. It is told once a cause is sure enough: theft above the
threshold that the budget sets (threshold.py), before anything is learned by the times of presence.yaml.
"""

from netguard.core import evidence
from netguard.core.evidence import HISTORY, Event
from netguard.core.presence import curves, places, record, retention
from netguard.core.presence.actions import (
    CAUSES,
    MISSING,
    OUTAGE,
    PRESENT,
    QUIET,
    RAISED,
    RETURNED,
    TAKEN,
    UNREACHABLE,
    UPDATED,
    Actions,
    Alert,
    Judgement,
    Probe,
    Reason,
    Transition,
)  # fmt: skip
from netguard.core.presence.curves import EDGE, NIGHT, WAY
from netguard.core.presence.judge import (
    IDLE,
    Verdict,
    changes_of,
    context_of,
    group_of,
    verdict,
    walked_to_edge,
)  # fmt: skip
from netguard.core.presence.model import Model, SiteModel
from netguard.core.presence.state import Seen, State
from netguard.core.presence.threshold import threshold_of

EDGE_SILENT = 30.0
EDGE_PROBE = 10.0
_ASK_FOR = 14400.0
_RARELY = 3600.0
# So many graces must pass before theft is said: most dozing tablets answer by then.
_SOONEST = 2.0
# From so many tablet-days on the learned curves decide, before that the times of presence.yaml.
LEARNED_DAYS = 300.0
# Less than this is never called theft.
_LEAST_SAID = 0.2
# A tablet that is back has asked RADIUS, or has been heard in its VLAN, within so many seconds.
_CONFIRM = 30.0
# A normal silence this rare a tablet-day is told even if nobody took the tablet.
_RARE = 0.01
_HEARD = frozenset({evidence.ASSOCIATED, evidence.ROAMED, evidence.HEARD})


def judge(model: Model, state: State, seen: Seen, site: SiteModel, out: Actions) -> None:
    """Look at a tablet that is silent: what may that mean."""
    now = state.now
    threshold = silent_after(seen, site)
    silent = now - seen.last
    down = places.why_unreachable(state, seen)
    if down:
        unreachable(state, seen, now, out)
        state.wake(seen, now + site.grace)
        return
    counts_from = max(seen.last, places.thaw_of(state, seen))
    elapsed = now - counts_from
    least = min(threshold, site.grace)
    if elapsed < least:
        state.wake(seen, max(now + 1.0, counts_from + least))
        return
    if silent < _ASK_FOR:
        out.append(Probe(now, seen.tablet.id, seen.mac, seen.site))
    _weigh(model, state, seen, site, elapsed, out)
    state.wake(seen, now + _pause(seen, site, silent))


def silent_after(seen: Seen, site: SiteModel) -> float:
    """Return after how many seconds without a sign of life a tablet is looked at where it is."""
    if seen.area.edge:
        return EDGE_SILENT
    if seen.goodbye_at >= seen.last and seen.goodbye:
        return site.grace
    return site.quiet_after


def _pause(seen: Seen, site: SiteModel, silent: float) -> float:
    """Return when to look and to ask again: often at first, and at an edge."""
    if seen.area.edge and silent < HISTORY:
        return EDGE_PROBE
    return min(_RARELY, max(site.probe, silent / 10))


def unreachable(state: State, seen: Seen, now: float, out: Actions) -> None:
    """Say that a tablet cannot be heard for another reason than itself; what is missing stays missing."""
    if seen.state in {UNREACHABLE, MISSING}:
        return
    _forget_counts(state, seen)
    seen.cause, seen.probability = OUTAGE, 1.0
    change(state, seen, UNREACHABLE, now, out)


def _forget_counts(state: State, seen: Seen) -> None:
    """Take back what an open silence has taught: it is no normal one."""
    if seen.counted:
        pools = (state.fleet, state.group(group_of(seen, seen.context)))
        curves.uncount(seen.curve, pools, seen.context, seen.counted)
        seen.counted = 0


def _weigh(
    model: Model, state: State, seen: Seen, site: SiteModel, elapsed: float, out: Actions
) -> None:
    now = state.now
    unseen = begun(model, state, seen)
    _count_open(state, seen, elapsed)
    if not model.trace and _too_soon(model, seen, site, elapsed):
        return
    judged = verdict(model, state, seen, now, elapsed, unseen=unseen)
    taken = judged.probabilities[0]
    soonest = _SOONEST * site.grace
    if elapsed >= soonest:
        seen.peak = max(seen.peak, taken)
    if model.trace:
        limit = threshold_of(model, state)
        out.append(
            Judgement(
                now,
                seen.tablet.id,
                seen.last,
                judged.probabilities,
                limit,
                seen.area.edge,
                judged.context,
            )
        )
    if elapsed < site.grace:
        return
    if seen.state in {PRESENT, UNREACHABLE}:
        seen.cause, seen.probability = CAUSES[judged.best], judged.probabilities[judged.best]
        change(state, seen, QUIET, now, out)
        places.fell(model, state, seen, seen.last, out)
        if seen.state != QUIET:
            return
    cause = _decide(model, state, seen, site, judged, elapsed)
    if cause is not None:
        _announce(model, state, seen, judged, cause, out)


def _too_soon(model: Model, seen: Seen, site: SiteModel, elapsed: float) -> bool:
    """Say whether no verdict could change anything yet."""
    if elapsed < site.grace:
        return True
    if elapsed >= _SOONEST * site.grace or seen.state not in {QUIET, MISSING} or seen.alert:
        return False
    return elapsed < _missing_after(model, seen, site)


def _count_open(state: State, seen: Seen, elapsed: float) -> None:
    """Count an open silence as longer than what it has passed, unless it is thought a theft."""
    passed = curves.passed(elapsed)
    if seen.cause != TAKEN and passed > seen.counted:
        pools = (state.fleet, state.group(group_of(seen, seen.context)))
        curves.count(seen.curve, pools, seen.context, seen.counted, passed)
        seen.counted = passed


def _decide(
    model: Model,
    state: State,
    seen: Seen,
    site: SiteModel,
    judged: Verdict,
    elapsed: float,
) -> int | None:
    """Return the cause with which a tablet is missing now, or None; once something is told only theft.

    CAUSES has theft first: 0.
    """
    taken = judged.probabilities[0]
    # The threshold is never lower than `smallest`, and not looked for below that.
    told = taken >= model.weights.smallest and elapsed >= _SOONEST * site.grace
    if told and taken >= threshold_of(model, state):
        return 0
    if seen.alert:
        # Told by the baseline before it was sure: whoever was told hears how sure it has become.
        return 0 if seen.cause == TAKEN else None
    if seen.area.expected_silent:
        return None
    if elapsed < _missing_after(model, seen, site):
        return None
    edge = judged.context == EDGE
    if edge and CAUSES[judged.best] == OUTAGE and elapsed < site.missing_default:
        # So sure is one of an outage at an exit only while the NAS or the AP pauses: it speaks again soon,
        # or is told as down itself. What is told now stays, though the theft would be likelier in a moment.
        return None
    learned = retention.tablet_days(state) >= LEARNED_DAYS
    if not learned:
        # The baseline: at an edge silence is theft, unless nearly all speaks against it; elsewhere it
        # is what is most likely.
        plausible = CAUSES[judged.best] != OUTAGE and not (
            seen.planned[0] and seen.planned[1] >= state.now
        )
        return 0 if edge and plausible and taken >= _LEAST_SAID else judged.best_but_theft
    if judged.normal > _RARE and not (edge and elapsed >= site.missing_default):
        return None
    return judged.best_but_theft


def _missing_after(model: Model, seen: Seen, site: SiteModel) -> float:
    if seen.context == EDGE:
        half = 0.5 if walked_to_edge(model, seen) else 1.0
        return max(_SOONEST * site.grace, site.missing_edge * half)
    # At rest the context says so already.
    if seen.context == NIGHT or (seen.context == WAY and model.is_night(seen.site, seen.last)):
        return site.missing_night
    return site.missing_area if seen.area.name else site.missing_default


def _announce(
    model: Model, state: State, seen: Seen, judged: Verdict, cause: int, out: Actions
) -> None:
    now = state.now
    word, sure = CAUSES[cause], judged.probabilities[cause]
    tell_at, said = seen.disputed
    disputed = 0.0 < tell_at <= now
    if not disputed and seen.alert and seen.cause == word and not _surer(seen.probability, sure):
        return
    fresh = not seen.alert
    new = word == TAKEN and (fresh or seen.cause != TAKEN)
    if new:
        if places.storm(model, state, seen, now, out):
            unreachable(state, seen, now, out)
            return
        _forget_counts(state, seen)
        state.alarms[TAKEN] = state.alarms.get(TAKEN, 0) + 1
    elif fresh:
        state.alarms[word] = state.alarms.get(word, 0) + 1
    seen.cause, seen.probability = word, sure
    if fresh:
        seen.alert = f"{seen.tablet.id}-{int(seen.last)}"
        seen.alert_at = now
        change(state, seen, MISSING, now, out)
    if new:
        record.told(state, seen.mac, seen.alert, sure)
    reasons = judged.reasons(CAUSES.index(word))
    if said and tell_at <= now:
        seen.disputed = (0.0, said)
        reasons = (Reason("disputed", 0.0, said), *reasons)
    out.append(
        Alert(
            now, RAISED if fresh else UPDATED, seen.alert, word, sure, seen.tablet.id, seen.mac,
            site=seen.site, area=seen.area.name, ap=seen.ap, silent_since=seen.last,
            reasons=reasons, path=seen.way(), changes=changes_of(word),
        )
    )  # fmt: skip


def is_hearsay(seen: Seen, event: Event) -> bool:
    """Say whether an event is a sign of life by a controller's word, where others would have seen it, too.

    Those are RADIUS, that has had a session of it, and we ourselves, whom it did not answer. Where neither
    is to be had, a controller is all there is, and is believed.
    """
    if not event.source.startswith(evidence.CONTROLLERS):
        return False
    if not (seen.session or seen.closed or (seen.misses and seen.miss_of == seen.last)):
        return False
    return event.kind in _HEARD or (
        event.kind == evidence.DISASSOCIATED and event.reason not in IDLE
    )


def dispute(_model: Model, state: State, seen: Seen, event: Event, out: Actions) -> None:
    """Ask a tablet that was told as taken and that a controller has heard; tell it if nobody else has.

    A forged or a lying controller could end an alarm. Who is back asks RADIUS to be let in, gets its
    address, or answers: that ends it at once. Where it is said to be is no place of it.
    """
    if event.at <= seen.last or seen.disputed[1]:
        return
    where = event.ap or event.nas
    seen.disputed = (event.at + _CONFIRM, f"{event.source}: {where}" if where else event.source)
    out.append(Probe(event.at, seen.tablet.id, seen.mac, seen.site))
    if seen.due > event.at + _CONFIRM:
        state.wake(seen, event.at + _CONFIRM)


def _surer(before: float, now: float) -> bool:
    """Say whether a probability is worth telling again: a tenth more, or half the doubt."""
    return now >= before + 0.1 or 1 - now <= (1 - before) / 2


def begun(model: Model, state: State, seen: Seen) -> bool:
    """Fix the context in which a silence began; say whether we saw nobody then.

    Who was heard until we went blind, and not since, has had the time to go anywhere: that it was at
    an exit says nothing. Who was silent there while others were heard was seen to be silent there.
    """
    unseen = False
    if seen.watched != seen.last:
        site = model.site_of(seen.site)
        unseen = places.blind_until(state, seen) - seen.last > site.interim
        looked_for = EDGE_SILENT if seen.area.edge else site.interim
        if not unseen and places.others_heard(state, seen, seen.last + looked_for):
            seen.watched = seen.last
        if unseen and seen.context in {EDGE, WAY}:
            _forget_counts(state, seen)
    if not seen.counted:
        seen.context = context_of(model, seen, unseen=unseen)
    return unseen


def change(state: State, seen: Seen, after: str, at: float, out: Actions) -> None:
    """Bring a tablet into another state, and tell it."""
    silent = 0.0 if after in {PRESENT, RETURNED} else seen.last
    out.append(
        Transition(
            at, seen.tablet.id, seen.mac, seen.state, after, seen.cause, seen.probability,
            seen.site, seen.area.name, seen.ap, silent,
        )
    )  # fmt: skip
    seen.state = after
