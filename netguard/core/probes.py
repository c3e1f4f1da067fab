"""Health probes around an apply: what is looked at before and after, and what of it means "take it back".

A tablet of each group must still be admitted as the new rules say, what is protected still closed in
what the kernel holds, and a service that answered before must still answer. What did not answer before
proves nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from netguard.core.plan import Binding, Plan

ADMITTED, REACHABLE, CLOSED, ENFORCED = "admitted", "reachable", "closed", "enforced"


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing that was looked at: `subject` names it before and after alike, `found` says what was seen."""

    kind: str
    subject: str
    ok: bool
    found: str

    def __str__(self) -> str:
        return f"{'ok   ' if self.ok else 'FAILS'}  {self.kind}: {self.subject}: {self.found}"


def tablets(plan: Plan) -> list[Binding]:
    """Return one tablet of each group at each site that may join: the first by id that is not reported lost."""
    first: dict[tuple[str, str], Binding] = {}
    for binding in sorted(plan.bindings, key=lambda b: b.tablet):
        if binding.tablet not in plan.loan:
            first.setdefault((binding.site, binding.group), binding)
    return [first[key] for key in sorted(first)]


def failures(
    before: Iterable[Probe], after: Sequence[Probe], services: Iterable[str]
) -> list[Probe]:
    """Return the probes that mean the change is not healthy.

    `services` are those that the new rules still grant to somebody: only they must go on.
    """
    answered = {probe.subject for probe in before if probe.kind == REACHABLE and probe.ok}
    granted = set(services)
    return [
        probe
        for probe in after
        if not probe.ok
        and (
            probe.kind != REACHABLE
            or (probe.subject in answered and probe.subject.partition(" ")[0] in granted)
        )
    ]
