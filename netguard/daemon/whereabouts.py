"""What the engine of presence knows, as answers for people and as numbers for metrics.

Times of the engine are told as times of the wall clock as it is now; between two turns of the intake.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from netguard.adapters import clock, store
from netguard.core.areas import canonical_ap
from netguard.core.loans import LENT
from netguard.core.presence.actions import MISSING, PRESENT, UNREACHABLE
from netguard.core.presence.state import Seen
from netguard.core.private_macs import Silent, suggest
from netguard.core.records import Stranger
from netguard.daemon.intake import Intake
from netguard.metrics import View
from netguard.render.watch import Terms

# A site and an access point in it.
_Place: TypeAlias = tuple[str, str]


def tablets(intake: Intake, word: str = "") -> list[dict[str, Any]]:
    """Return a row for each tablet of the rules, by id; of one where `word` is its id or MAC.

    One that is lent and left the inventory has a row, too: it may have to be asked back.
    """
    with intake.busy:
        if intake.presence is None or intake.book is None:
            return []
        wall = clock.now().timestamp()
        ahead = wall - intake.now()
        rows, lent = [], dict(intake.book.lent or {})
        for mac, tablet in intake.presence.model.tablets.items():
            terms = lent.pop(tablet.id, None)
            if word in {"", tablet.id, mac}:
                seen = intake.presence.state.tablets.get(mac)
                loan = intake.book.loans.get(tablet.id, "")
                apart = tablet.id in intake.book.quarantined
                row = {"tablet": tablet.id, "mac": mac, "home": f"{tablet.site}/{tablet.area}"}
                row |= _shown(seen, ahead) | {"loan": loan, "quarantined": apart}
                rows.append(row | _terms(terms, wall))
        for id_, terms in lent.items():
            if word in {"", id_}:
                apart = id_ in intake.book.quarantined
                left: dict[str, Any] = {"tablet": id_, "mac": "", "home": ""}
                left |= _shown(None, ahead) | {"presence": "not-listed"}
                left |= {"loan": LENT, "quarantined": apart}
                rows.append(left | _terms(terms, wall))
    return sorted(rows, key=lambda row: str(row["tablet"]))


def _terms(lent: Terms | None, wall: float) -> dict[str, Any]:
    since, end = lent or (None, None)
    return {
        "lent_since": clock.stamp(since) if since is not None else "",
        "due": clock.stamp(end) if end is not None else "",
        "overdue": end is not None and end <= wall,
    }


def _shown(seen: Seen | None, ahead: float) -> dict[str, Any]:
    if seen is None:
        return {
            "presence": "never-seen", "cause": "", "probability": 0.0, "site": "", "area": "",
            "edge": False, "ap": "", "last_seen": "", "incident": "",
        }  # fmt: skip
    return {
        "presence": seen.state,
        "cause": seen.cause,
        "probability": round(seen.probability, 3),
        "site": seen.area.site or seen.site,
        "area": seen.area.name,
        "edge": seen.area.edge,
        "ap": seen.ap,
        "last_seen": clock.stamp(seen.last + ahead) if seen.last else "",
        "incident": seen.alert,
    }


def perhaps(intake: Intake, strangers: Sequence[Stranger]) -> list[list[dict[str, Any]]]:
    """Return for each stranger the tablets that a private MAC may be: they fell silent beside it."""
    beside = _silent(intake) if any(each.mac.is_local for each in strangers) else {}
    return [_suggested(each, beside) if each.mac.is_local else [] for each in strangers]


def _suggested(stranger: Stranger, beside: Mapping[_Place, list[Silent]]) -> list[dict[str, Any]]:
    site, ap = stranger.site, canonical_ap(stranger.ap)
    first, last = stranger.first_at.timestamp(), stranger.last_at.timestamp()
    return [asdict(each) for each in suggest(site, ap, first, last, beside.get((site, ap), ()))]


def _silent(intake: Intake) -> dict[_Place, list[Silent]]:
    """Return where each tablet was heard last: once for a question, since the intake waits meanwhile."""
    found: dict[_Place, list[Silent]] = {}
    with intake.busy:
        if intake.presence is None or intake.book is None:
            return {}
        ahead = clock.now().timestamp() - intake.now()
        known = intake.book.tablets
        for seen in intake.presence.state.tablets.values():
            site, tablet = seen.area.site or seen.site, seen.tablet.id
            model = known[tablet].model if tablet in known else ""
            silent = Silent(tablet, site, seen.ap, seen.last + ahead, model)
            found.setdefault((site, seen.ap), []).append(silent)
    return found


def incident(intake: Intake, row: store.Incident) -> dict[str, Any]:
    """Return one incident with its reasons, for people and machines."""
    ahead = clock.now().timestamp() - intake.now()
    body: dict[str, Any] = json.loads(row.body)
    moments = {"at": row.at, "silent_since": body.get("silent_since"), "cleared": row.cleared}
    told = {key: clock.stamp(at + ahead) if at else "" for key, at in moments.items()}
    path = [[clock.stamp(at + ahead), ap] for at, ap in body.get("path", ())]
    return body | told | {"open": row.cleared is None, "path": path}


def nases(
    intake: Intake, clocks: Mapping[str, float]
) -> dict[str, tuple[float, bool, float | None]]:
    """Return each NAS of the rules as a feed: when it was last heard, whether it is silent, how far its clock is behind.

    The engine never forgets one; the silence of one that the rules no longer have is no fault.
    """
    with intake.busy:
        if intake.presence is None:
            return {}
        ahead = clock.now().timestamp() - intake.now()
        known, model = intake.presence.state.nases, intake.presence.model
        return {
            f"nas:{name}": (place.last + ahead, bool(place.down), clocks.get(name))
            for name, place in sorted(known.items())
            if place.last and name in model.nas
        }


def measure(intake: Intake, view: View) -> None:
    """Count tablets by site, area and presence; no label names one of them."""
    with intake.busy:
        if intake.presence is None or intake.book is None:
            return
        counts: Counter[tuple[str, str, str]] = Counter()
        for area in intake.presence.model.areas:
            for state in (PRESENT, MISSING, UNREACHABLE):
                counts[area.site, area.name, state] += 0
        for mac, tablet in intake.presence.model.tablets.items():
            seen = intake.presence.state.tablets.get(mac)
            if seen is None:
                counts[tablet.site, "", "never-seen"] += 1
            else:
                counts[seen.area.site or seen.site, seen.area.name, seen.state] += 1
        view.presence = counts
        view.told, view.dropped = intake.told, dict(intake.dropped)
        view.false_alarms = intake.presence.state.false_alarms
        view.budget = intake.presence.model.budget
