"""How good the engine is on a labelled stream, beside what others do with the same stream.

The engine is judged by its theft alarms: how many were false, how many thefts were found and how
long after the last frame, and whether its probabilities mean what they say. Beside it stand fixed
time-outs and a tracker that considers a device at home for three minutes. Several runs are pooled by
adding their observations, never by averaging their figures.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.labels import Label
from netguard.core.presence.actions import CLEARED, TAKEN, Action, Alert, Judgement

# Fixed time-outs in seconds, and the consider-home default of a well-known tracker.
FIXED = {
    "fixed 5 min": 300.0,
    "fixed 15 min": 900.0,
    "fixed 30 min": 1800.0,
    "fixed 60 min": 3600.0,
}
RIVALS = {**FIXED, "consider-home 180 s": 180.0}
BASE = "fixed 15 min"
SIGNS = frozenset(
    {evidence.ASSOCIATED, evidence.ROAMED, evidence.HEARD, evidence.START, evidence.INTERIM}
)
# Probabilities of theft at which the operating points of the engine are shown.
GRID = tuple(1 / (1 + math.exp(-odds / 2)) for odds in range(-14, 11))
_CASE_AT = 300.0
_BINS, _FEWEST = 10, 30
_SOON, _EDGE_SOON = 1200.0, 300.0
_WEEK, _DAY = 7 * 86400.0, 86400.0
# A silence belongs to a theft when its last sighting is not older than this.
_MATCH = 900.0


@dataclass(slots=True)
class Observations:
    """What was seen in some runs; adding two pools them. Delays are seconds, inf for not found."""

    days: float = 0.0
    tablet_days: float = 0.0
    false: int = 0
    delays: list[float] = field(default_factory=list)
    edge_delays: list[float] = field(default_factory=list)
    # Per threshold of GRID: false alarms, and the delays of all thefts.
    grid_false: list[int] = field(default_factory=lambda: [0] * len(GRID))
    grid_delays: list[list[float]] = field(default_factory=lambda: [[] for _ in GRID])
    # Per rival: false alarms and delays.
    rivals: dict[str, tuple[int, list[float]]] = field(default_factory=dict)
    # (stated probability of theft, theft or not): five minutes into each silence; at each alarm.
    cases: list[tuple[float, bool]] = field(default_factory=list)
    alarms: list[tuple[float, bool]] = field(default_factory=list)
    # Why alarms were false, and how thefts were missed, by the label's `how`.
    false_how: dict[str, int] = field(default_factory=dict)
    late_how: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Observations") -> None:
        """Pool another run with this one."""
        self.days += other.days
        self.tablet_days += other.tablet_days
        self.false += other.false
        self.delays += other.delays
        self.edge_delays += other.edge_delays
        self.grid_false = [a + b for a, b in zip(self.grid_false, other.grid_false, strict=True)]
        for mine, theirs in zip(self.grid_delays, other.grid_delays, strict=True):
            mine.extend(theirs)
        for name, (false, delays) in other.rivals.items():
            before = self.rivals.get(name, (0, []))
            self.rivals[name] = (before[0] + false, before[1] + delays)
        self.cases += other.cases
        self.alarms += other.alarms
        for mine_how, how in (
            (self.false_how, other.false_how),
            (self.late_how, other.late_how),
        ):
            for name, count in how.items():
                mine_how[name] = mine_how.get(name, 0) + count


@dataclass(slots=True)
class _Silence:
    """One silence of a tablet as the engine judged it."""

    since: float
    crossed: list[float]
    stated: float = -1.0
    alarm: float = 0.0
    alarm_stated: float = 0.0


class Evaluation:
    """Takes a stream and the engine's actions on it; `result` compares them with the labels."""

    def __init__(self) -> None:
        self._silences: dict[str, list[_Silence]] = {}
        self._last: dict[str, float] = {}
        self._packets: dict[tuple[str, str], int] = {}
        self._gaps: dict[str, list[tuple[float, float]]] = {}
        self._first = self._end = 0.0

    def event(self, event: Event) -> None:
        """Let the rivals see an event: its signs of life, duplicates and stale counters left out."""
        received = event.received or event.at
        self._first = self._first or received
        self._end = max(self._end, received)
        if event.kind not in SIGNS or event.at < received - evidence.HISTORY:
            return
        if event.kind == evidence.INTERIM and event.packets is not None:
            key = (event.mac, event.session)
            if event.packets <= self._packets.get(key, -1):
                return
            self._packets[key] = event.packets
        last = self._last.get(event.mac)
        if last is None or event.at > last:
            if last is not None and event.at - last > min(RIVALS.values()):
                self._gaps.setdefault(event.mac, []).append((last, event.at))
            self._last[event.mac] = event.at

    def actions(self, actions: Iterable[Action]) -> None:
        """Take what the engine (with `trace`) said."""
        for action in actions:
            if isinstance(action, Judgement):
                self._judged(action)
            elif isinstance(action, Alert) and action.tablet:
                self._alerted(action)

    def _judged(self, said: Judgement) -> None:
        silence = self._silence(said.tablet, said.silent_since)
        taken = said.probabilities[0]
        # Nothing is announced in the first minute, whatever the threshold.
        if said.at - said.silent_since >= 60.0:
            while len(silence.crossed) < len(GRID) and taken >= GRID[len(silence.crossed)]:
                silence.crossed.append(said.at)
        if silence.stated < 0 and said.at - said.silent_since >= _CASE_AT:
            silence.stated = taken

    def _alerted(self, said: Alert) -> None:
        if said.cause == TAKEN and said.kind != CLEARED:
            silence = self._silence(said.tablet, said.silent_since)
            if not silence.alarm:
                silence.alarm, silence.alarm_stated = said.at, said.probability

    def _silence(self, tablet: str, since: float) -> _Silence:
        known = self._silences.setdefault(tablet, [])
        if not known or known[-1].since != since:
            known.append(_Silence(since, []))
        return known[-1]

    def result(self, labels: Sequence[Label], tablets: Mapping[str, str]) -> Observations:
        """Compare with what really happened; `tablets` are ids by MAC."""
        seen = Observations(days=(self._end - self._first) / _DAY)
        seen.tablet_days = seen.days * len(tablets)
        thefts = {label.tablet: label for label in labels if label.cause == TAKEN}
        by_tablet: dict[str, list[Label]] = {}
        for label in labels:
            by_tablet.setdefault(label.tablet, []).append(label)
        for tablet, silences in self._silences.items():
            theft = thefts.get(tablet)
            for silence in silences:
                last = silence is silences[-1]
                stolen = theft is not None and last and silence.since >= theft.last_frame - _MATCH
                self._count(seen, silence, theft if stolen else None, by_tablet.get(tablet, []))
        for theft in thefts.values():
            if not any(
                silence.since >= theft.last_frame - _MATCH
                for silence in self._silences.get(theft.tablet, [])[-1:]
            ):
                self._count(seen, _Silence(theft.last_frame, []), theft, [])
        self._rivals(seen, thefts, tablets)
        return seen

    def _count(
        self, seen: Observations, silence: _Silence, theft: Label | None, labels: list[Label]
    ) -> None:
        if silence.stated >= 0:
            seen.cases.append((silence.stated, theft is not None))
        if silence.alarm:
            seen.alarms.append((silence.alarm_stated, theft is not None))
        if theft is None:
            for index in range(len(silence.crossed)):
                seen.grid_false[index] += 1
            if silence.alarm:
                seen.false += 1
                how = _how(labels, silence.since)
                seen.false_how[how] = seen.false_how.get(how, 0) + 1
            return
        for index, delays in enumerate(seen.grid_delays):
            at = silence.crossed[index] if index < len(silence.crossed) else math.inf
            delays.append(max(0.0, at - theft.last_frame))
        delay = max(0.0, silence.alarm - theft.last_frame) if silence.alarm else math.inf
        seen.delays.append(delay)
        if theft.edge:
            seen.edge_delays.append(delay)
        if delay > (_EDGE_SOON if theft.edge else _SOON):
            name = theft.how + (" at an edge" if theft.edge else "")
            seen.late_how[name] = seen.late_how.get(name, 0) + 1

    def _rivals(
        self, seen: Observations, thefts: Mapping[str, Label], tablets: Mapping[str, str]
    ) -> None:
        for name, limit in RIVALS.items():
            false = 0
            delays = []
            for mac, tablet in tablets.items():
                theft = thefts.get(tablet)
                false += sum(end - start > limit for start, end in self._gaps.get(mac, []))
                last = self._last.get(mac)
                if last is None or self._end - last <= limit:
                    continue
                if theft is not None and last >= theft.last_frame - _MATCH:
                    # Given the true last frame, whatever late records it would have believed.
                    delays.append(limit)
                else:
                    false += 1
            seen.rivals[name] = (false, delays + [math.inf] * (len(thefts) - len(delays)))


def _how(labels: list[Label], since: float) -> str:
    near = [
        label for label in labels if label.last_frame - _MATCH <= since <= (label.until or math.inf)
    ]
    return near[-1].how if near else "blip"


def report(seen: Observations) -> dict[str, Any]:
    """Return the figures of some runs, for people and machines alike."""
    base_false, base_delays = seen.rivals.get(BASE, (0, []))
    base_median = percentile(base_delays, 0.5)
    points = [
        {
            "threshold": round(threshold, 4),
            "false_per_week": _per_week(false, seen),
            "median_delay": _finite(percentile(delays, 0.5)),
            "found": share(delays, math.inf),
        }
        for threshold, false, delays in zip(GRID, seen.grid_false, seen.grid_delays, strict=True)
    ]
    return {
        "days": round(seen.days, 2),
        "tablet_days": round(seen.tablet_days, 1),
        "thefts": len(seen.delays),
        "engine": {
            **_figures(seen.false, seen.delays, seen),
            "edge_thefts": len(seen.edge_delays),
            "edge_within_5_min": share(seen.edge_delays, _EDGE_SOON),
            "all_within_20_min": share(seen.delays, _SOON),
            "false_by": dict(sorted(seen.false_how.items())),
            "late_by": dict(sorted(seen.late_how.items())),
        },
        "rivals": {
            name: _figures(false, delays, seen) for name, (false, delays) in seen.rivals.items()
        },
        "at_false_alarms_of_fixed_15": _at_false(seen, base_false, base_median),
        "at_delay_of_fixed_15": _at_delay(seen, base_false, base_median),
        "calibration_at_5_min": calibration(seen.cases),
        "calibration_at_alarm": calibration(seen.alarms),
        "points": points,
    }


def _figures(false: int, delays: list[float], seen: Observations) -> dict[str, Any]:
    return {
        "false_per_week": _per_week(false, seen),
        "false_per_tablet_day": round(false / seen.tablet_days, 6) if seen.tablet_days else None,
        "found": share(delays, math.inf),
        "median_delay": _finite(percentile(delays, 0.5)),
        "delay_95": _finite(percentile(delays, 0.95)),
    }


def _at_false(seen: Observations, false: int, median: float) -> dict[str, Any] | None:
    """Return the operating point with no more false alarms than the base rule: its delay."""
    for index, mine in enumerate(seen.grid_false):
        if mine <= false:
            delay = percentile(seen.grid_delays[index], 0.5)
            ratio = delay / median if math.isfinite(delay) and 0 < median < math.inf else None
            return {"median_delay": _finite(delay), "of_its_delay": _rounded(ratio)}
    return None


def _at_delay(seen: Observations, false: int, median: float) -> dict[str, Any] | None:
    """Return the operating point that is as fast as the base rule: its false alarms."""
    best = None
    for index, mine in enumerate(seen.grid_false):
        if percentile(seen.grid_delays[index], 0.5) <= median:
            best = mine
    if best is None or not false:
        return None
    return {"false_per_week": _per_week(best, seen), "of_its_false_alarms": _rounded(best / false)}


def calibration(cases: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    """Return stated against observed in tenths; a bin with fewer than 30 cases is empty."""
    rows = []
    for index in range(_BINS):
        inside = [
            (stated, true) for stated, true in cases if min(_BINS - 1, int(stated * _BINS)) == index
        ]
        filled = len(inside) >= _FEWEST
        rows.append(
            {
                "from": index / _BINS,
                "cases": len(inside),
                "stated": _mean([stated for stated, _ in inside]) if filled else None,
                "observed": _mean([float(true) for _, true in inside]) if filled else None,
            }
        )
    return rows


def worst_gap(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the largest distance of stated and observed over the filled bins."""
    return max(
        (abs(r["stated"] - r["observed"]) for r in rows if r["stated"] is not None), default=0
    )


def percentile(values: Sequence[float], share_: float) -> float:
    """Return the value that this share does not exceed (nearest rank); inf where there is none."""
    if not values:
        return math.inf
    return sorted(values)[max(0, math.ceil(share_ * len(values)) - 1)]


def share(values: Sequence[float], limit: float) -> float | None:
    """Return the share of finite values up to a limit, None where there is nothing."""
    if not values:
        return None
    return round(sum(v <= limit and math.isfinite(v) for v in values) / len(values), 4)


def _per_week(count: int, seen: Observations) -> float | None:
    return round(count * _WEEK / (seen.days * _DAY), 3) if seen.days else None


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _finite(value: float) -> float | None:
    return round(value, 1) if math.isfinite(value) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
