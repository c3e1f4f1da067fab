"""What is in force and what is wrong, told over guard's socket."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass

from netguard.adapters import control
from netguard.core.plan import Plan
from netguard.daemon.confirming import Confirmation
from netguard.daemon.fence import Fence
from netguard.daemon.loan_verbs import LoanVerbs
from netguard.daemon.plan_verbs import State
from netguard.daemon.profiles import Profiles
from netguard.daemon.register import Register
from netguard.daemon.removals import Removals
from netguard.daemon.suspects import Suspects
from netguard.daemon.traffic_verbs import TrafficVerbs
from netguard.settings import Settings


@dataclass(frozen=True, slots=True)
class StatusParts:
    """What of guard is told."""

    settings: Settings
    state: State
    confirmation: Confirmation
    register: Register
    removals: Removals
    loan_verbs: LoanVerbs
    suspects: Suspects
    profiles: Profiles
    traffic: TrafficVerbs
    fence: Fence
    problems: Callable[[], dict[str, str]]


class StatusVerbs:
    """Says how guard is; root, guard itself and watch may ask."""

    def __init__(self, parts: StatusParts) -> None:
        self._parts = parts

    def offers(self) -> dict[str, control.Offer]:
        """Return the verbs, and who beside root and guard itself may call them."""
        watch = frozenset({self._parts.settings.users.watch})
        return {"status": control.Offer(self.status, watch)}

    async def status(self, caller: control.Caller, message: control.Message) -> control.Message:
        """Say what is in force, and what is wrong."""
        parts = self._parts
        state, refusals = parts.state, parts.traffic.refusals
        plan = state.plan
        return {
            "node": parts.settings.node,
            "state": "guarding" if plan is not None else "blocked",
            "applied": asdict(state.applied) if state.applied else None,
            "waiting": parts.confirmation.shown(),
            "plan": plan.digest if plan is not None else None,
            "loans": dict(Counter((parts.register.loans or {}).values())),
            "overdue": parts.loan_verbs.overdue(),
            "quarantined": sorted(parts.register.quarantines),
            "removals": [each for each in parts.removals.shown() if not each["over"]],
            "coa": parts.removals.asked(),
            "suspects": parts.suspects.shown(),
            "tablets": _tablets(plan),
            "sites": [site.name for site in plan.sites] if plan else [],
            "profiles": [asdict(each) for _, each in sorted(parts.profiles.active.items())],
            "server_names_refused": refusals.named if refusals is not None else 0,
            **parts.fence.shown(),
            "problems": parts.problems(),
        }


def _tablets(plan: Plan | None) -> dict[str, int]:
    counts: dict[str, int] = {}
    for binding in plan.bindings if plan else ():
        counts[binding.site] = counts.get(binding.site, 0) + 1
    return counts
