"""The named parameters of a scenario (scenarios.toml); each is documented there."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from netguard.core.names import suggest_of
from netguard.errors import BadValue

Span = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Parameters:
    """One scenario."""

    days: int
    start: float
    day: Span
    gaps: float
    gap_ends: Span
    gap_shares: Span
    battery: float
    away_gaps: float
    sleepers: float
    sleeper_gaps: float
    sleeper_gap: Span
    goodbye_missing: float
    return_same: float
    return_near: float
    interim: float
    dhcp: float
    edge_frame: Span
    dozes: float
    doze: float
    probe_miss: float
    duplicates: float
    late: float
    late_by: float
    late_goodbye: float
    skew: float
    idle_timeout: float
    idle_spread: float
    roams: float
    visits: float
    visit: float
    steps_outside: float
    step_outside: Span
    walks: float
    walk_stay: float
    leg: Span
    ward_moves: float
    other_site: float
    thefts: float
    off_on_the_way: float
    off_at_rest: float
    exit_dwell: Span
    reported: Span
    ap_outages: float
    ap_outage: Span
    ap_told: float
    ap_told_after: Span
    ap_roam: float
    controller_outages: float
    controller_outage: float
    others: Span
    old_data: Span
    clock_step: Span
    power_cut: Span
    controller_cut: Span

    def changed(self, name: str, factor: float) -> "Parameters":
        """Return the same with one parameter multiplied; a span with both its ends."""
        value = getattr(self, name)
        many = isinstance(value, tuple)
        new = tuple(each * factor for each in value) if many else type(value)(value * factor)
        changed: dict[str, Any] = {name: new}
        return replace(self, **changed)


def read_parameters(
    scenarios: Mapping[str, Mapping[str, Any]], name: str, own: Mapping[str, Any] | None = None
) -> Parameters:
    """Return one scenario; `own` overrides single parameters. Raises BadValue."""
    if name not in scenarios:
        text = f"unknown scenario '{name[:40]}'{suggest_of(name, scenarios)}"
        raise BadValue("unknown-word", text)
    values: dict[str, Any] = {}
    seen: list[str] = []
    at: str | None = name
    while at is not None and at in scenarios and at not in seen:
        seen.append(at)
        values = {**scenarios[at], **values}
        at = scenarios[at].get("extends")
    values.pop("extends", None)
    for key, value in (own or {}).items():
        values[key] = _like(key, value, values[key]) if key in values else value
    known = {field.name for field in fields(Parameters)}
    for key in values:
        if key not in known:
            raise BadValue("unknown-key", f"unknown parameter '{key[:40]}'{suggest_of(key, known)}")
    missing = sorted(known - set(values))
    if missing:
        raise BadValue("missing-key", f"scenario '{name}' lacks {', '.join(missing)}")
    for key in _RATES:
        values[key] = values[key] or _NEVER
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Parameters(**plain)


# What is one over a mean: of 0, nothing ever happens.
_RATES = ("gaps", "dozes", "thefts", "ap_outages", "controller_outages")
_NEVER = 1e-12
# Spans that may be missing; only there a number below 0 means something: a clock that is set back.
_FAULTS = ("old_data", "clock_step", "power_cut", "controller_cut")
# What time goes on by: with less a stream would never come to its end.
_LEAST = {
    "interim": 1.0, "dhcp": 1.0, "edge_frame": 1.0, "others": 1.0, "ap_outage": 1.0, "gap_ends": 0.1,
}  # fmt: skip
_MOST_DAYS, _LARGEST = 3660, 1e12


def _like(key: str, value: object, before: object) -> object:
    """Return a value that somebody typed; raises BadValue where it is not what stands in the file."""
    lowest = -_LARGEST if key in _FAULTS else _LEAST.get(key, 0.0)
    if isinstance(before, list):
        lengths = {0, 3} if key in _FAULTS else {len(before)}
        if not isinstance(value, list) or len(value) not in lengths:
            words = " or ".join(map(str, sorted(lengths)))
            raise BadValue("bad-number", f"'{key}' is a list of {words} numbers")
        return [_number(key, each, lowest=lowest) for each in value]
    if key == "days" and (not isinstance(value, int) or not 1 <= value <= _MOST_DAYS):
        raise BadValue("bad-number", f"'days' is a whole number from 1 to {_MOST_DAYS}")
    return _number(key, value, lowest=lowest)


def _number(key: str, value: object, *, lowest: float) -> int | float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not lowest <= value <= _LARGEST
    ):
        raise BadValue("bad-number", f"'{key}' is a number from {lowest:g} to {_LARGEST:g}")
    return value
