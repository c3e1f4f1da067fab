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
    values |= own or {}
    known = {field.name for field in fields(Parameters)}
    for key in values:
        if key not in known:
            raise BadValue("unknown-key", f"unknown parameter '{key[:40]}'{suggest_of(key, known)}")
    missing = sorted(known - set(values))
    if missing:
        raise BadValue("missing-key", f"scenario '{name}' lacks {', '.join(missing)}")
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Parameters(**plain)
