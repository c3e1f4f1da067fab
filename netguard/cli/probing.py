"""apply --probe: look before and after, keep the plan when all is well, take it back when it is not.

Run by the command that applied: when it ends, or its terminal is lost, nobody confirms, and guard takes
the plan back by itself.
"""

import sys
import time
from collections.abc import Sequence

from netguard.adapters import control, knocking
from netguard.cli import proving
from netguard.cli.radius import as_hostapd
from netguard.core.admission import ACCEPT
from netguard.core.doctor import exits
from netguard.core.names import Address
from netguard.core.plan import Plan, compile_plan
from netguard.core.policy import Policy
from netguard.core.probes import ADMITTED, CLOSED, ENFORCED, REACHABLE, Probe, failures, tablets
from netguard.errors import NetguardError
from netguard.settings import Settings

# Enforcers that were told to reload do so within a second or two: what fails is looked at again.
AGAIN, PAUSE = 5, 2.0
_NAMES, _KNOCKS = 2.0, 3.0


def reachable(node: Settings, policy: Policy) -> list[Probe]:
    """Knock at the services that some group may use, as the appliance, before and after alike."""
    plan = compile_plan(policy, list(node.sites))
    wanted = exits.wishes(plan)
    names = [name for wish in wanted for name in wish.names]
    found: dict[str, list[Address]] = {}
    for server in plan.resolver.upstream:
        answers, _, _ = knocking.ask_names(
            server, names, _NAMES, authorities=node.paths.resolver_authorities
        )
        found = {**answers, **found}
    tries = [each for each in exits.tries(wanted, found) if each.protocol == "tcp"]
    doors = [knocking.Door(each.address, each.protocol, each.port) for each in tries]
    return [
        Probe(
            REACHABLE,
            f"{each.service} {each.target} {each.protocol}/{each.port}",
            how == knocking.OPEN,
            f"{how}{f' by {by}' if by else ''}",
        )
        for each, (how, by) in zip(tries, knocking.knock(doors, "", _KNOCKS), strict=True)
    ]


def healthy(
    node: Settings, policy: Policy, before: Sequence[Probe], seconds: float
) -> tuple[list[Probe], list[Probe]]:
    """Look until all is well, or nothing changes any more; return what was seen, and what fails.

    It looks for at most half of the `seconds` that the plan waits.
    """
    end = time.monotonic() + seconds / 2
    plan = compile_plan(policy, list(node.sites))
    granted = {grant.service for grant in plan.grants}
    for left in reversed(range(AGAIN)):
        seen = _looked(node, policy, plan)
        wrong = failures(before, seen, granted)
        if not wrong or not left or time.monotonic() + PAUSE > end:
            return seen, wrong
        sys.stderr.write(f"probes: {len(wrong)} fail, looking again\n")
        time.sleep(PAUSE)
    raise AssertionError("the last look returns")


def _looked(node: Settings, policy: Policy, plan: Plan) -> list[Probe]:
    return [
        *_enforced(node),
        *_admitted(node, policy, plan),
        *_closed(policy, plan),
        *reachable(node, policy),
    ]


def _enforced(node: Settings) -> list[Probe]:
    problems = control.call(node.guard_socket, "status")["problems"]
    # A NAS that does not end an old session says nothing of the plan.
    problems.pop("psk-sessions", None)
    if not problems:
        return [Probe(ENFORCED, "enforcers", True, "all hold the plan")]
    return [Probe(ENFORCED, name, False, str(why)) for name, why in sorted(problems.items())]


def _admitted(node: Settings, policy: Policy, plan: Plan) -> list[Probe]:
    found = []
    for binding in tablets(plan):
        subject = f"{binding.tablet} of {binding.group} at {binding.site}"
        try:
            said, wanted = as_hostapd(node, policy, policy.sites[binding.site], binding.mac)
        except NetguardError as error:
            found.append(Probe(ADMITTED, subject, False, str(error)))
            continue
        same = (said.answer, said.vlan) == (wanted.answer, wanted.vlan)
        what = f"VLAN {said.vlan}" if said.answer == ACCEPT else said.answer
        rules = f"VLAN {wanted.vlan}" if wanted.answer == ACCEPT else wanted.answer
        found.append(
            Probe(ADMITTED, subject, same, what if same else f"{what}, the rules say {rules}")
        )
    return found


def _closed(policy: Policy, plan: Plan) -> list[Probe]:
    """Prove what the kernel holds: what is protected is closed, each group has its services."""
    try:
        claims = proving.live(policy, plan)
    except NetguardError as error:
        return [Probe(CLOSED, "kernel", False, str(error))]
    wrong = [claim for claim in claims if not claim.holds]
    if not wrong:
        return [Probe(CLOSED, "kernel", True, f"{len(claims)} claims proved of what it holds")]
    return [Probe(CLOSED, "kernel", False, str(claim)) for claim in wrong]
