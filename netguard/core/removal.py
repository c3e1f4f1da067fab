"""Getting a tablet off the air: which step comes when, and what it takes for it to be over.

The kernel first, then what FreeRADIUS answers, then the NAS that has it on the air; once more when the NAS has
forgotten its last answer, since until then it lets in whom it let in before; at last the proof that nothing
more is heard of it, which is looked for until a session that was left open would have spoken. Every step may be done again, so a process that ended in the middle goes on with the
step that is due. Pure: moments (seconds since 1970) and what was found come in.
"""

import json
from dataclasses import asdict, dataclass, replace

from netguard.errors import BadValue

KERNEL, RADIUS, DISCONNECT, AGAIN, PROOF = "kernel", "radius", "disconnect", "again", "proof"
STEPS = (KERNEL, RADIUS, DISCONNECT, AGAIN, PROOF)
PENDING, DONE, FAILED = "pending", "done", "failed"
STATES = (PENDING, DONE, FAILED)

# hostapd 2.10 keeps an answer for 30 s, measured; a few seconds more for its own clock.
CACHED_FOR = 35.0
# From the last request on: long enough for a tablet to come back (1.5 s, measured) and say something.
WATCHED_FOR = 20.0
# What was sent before the NAS had taken the request is no proof of anything.
SETTLES = 5.0
# For so long FreeRADIUS may take; then the NAS is asked all the same, and once more when it has followed.
RADIUS_TAKES = 20.0
# For so long the proof is looked for again, each LATER: a session that the NAS has acknowledged to have ended, and
# has not, says so with its next Interim-Update (every 5 or 10 minutes with most; RFC 2869, 5.16).
LISTENED_FOR = 900.0
# What the row of a removal says when its tablet was released, until it is out of the quarantine VLAN.
RELEASED = "released"
# How often a step that failed is tried again: one of ours, and one that sends packets.
SOON, LATER = 5.0, 60.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step: pending, done or failed, since when, and why or how."""

    name: str
    state: str = PENDING
    at: float = 0.0
    why: str = ""


@dataclass(frozen=True, slots=True)
class Removal:
    """One tablet that has to go: the state it counts as, since when, and its steps in their order."""

    tablet: str
    state: str
    since: float
    steps: tuple[Step, ...] = tuple(Step(name) for name in STEPS)

    def step(self, name: str) -> Step:
        """Return one step."""
        return self.steps[STEPS.index(name)]

    @property
    def is_over(self) -> bool:
        """Say whether it is refused everywhere and proven to be off the air.

        One request that no NAS has taken is no matter any more: the proof needs the other one (`judge`).
        """
        return all(self.step(name).state == DONE for name in (KERNEL, RADIUS, PROOF))

    @property
    def failed(self) -> tuple[Step, ...]:
        """Return the steps that have failed so far."""
        return tuple(step for step in self.steps if step.state == FAILED)


def due(removal: Removal, now: float) -> str | None:
    """Return the step to try now; None where nothing is."""
    for name in (KERNEL, RADIUS):
        step = removal.step(name)
        if step.state != DONE and (step.state == PENDING or _past(step.at, SOON, now)):
            return name
    if not _may_ask(removal, now):
        return None
    asked, again, proof = (removal.step(name) for name in (DISCONNECT, AGAIN, PROOF))
    if asked.state == PENDING:
        return DISCONNECT
    if again.state == PENDING:
        return AGAIN if _past(asked.at, CACHED_FOR, now) else None
    if proof.state == PENDING:
        return PROOF if _past(again.at, WATCHED_FOR, now) else None
    if not _past(proof.at, LATER, now):
        return None
    if proof.state == FAILED:
        return AGAIN
    return PROOF if now < again.at + LISTENED_FOR else None


def tried(removal: Removal, name: str, state: str, why: str, now: float) -> Removal:
    """Return the removal after a step was tried; what has to follow it is pending again."""
    follows: tuple[str, ...] = ()
    before = removal.step(name)
    if name == AGAIN:
        follows = (PROOF,)
    elif name == RADIUS and state == DONE and before.state == FAILED:
        # Whoever came back meanwhile was let in by the old answer.
        follows = (DISCONNECT, AGAIN, PROOF)
    # A failure that goes on keeps its first moment only in the audit: the last try counts here.
    new = Step(name, state, now, why)
    return replace(
        removal,
        steps=tuple(
            new if step.name == name else Step(step.name) if step.name in follows else step
            for step in removal.steps
        ),
    )


def judge(removal: Removal, heard: str) -> tuple[str, str]:
    """Return state and words of the proof; `heard` says what was heard of the tablet, "" for nothing."""
    if heard:
        return FAILED, heard
    if DONE not in {removal.step(DISCONNECT).state, removal.step(AGAIN).state}:
        why = removal.step(AGAIN).why
        return FAILED, f"nothing is heard of it, but no NAS has taken the request: {why}"
    return DONE, "no packet, no session, no admission"


def write(removal: Removal) -> str:
    """Return the steps as JSON."""
    return json.dumps([asdict(step) for step in removal.steps])


def read(tablet: str, state: str, since: float, text: str) -> Removal:
    """Read the steps again. Raises BadValue for what is none of ours."""
    try:
        steps = tuple(
            Step(str(row["name"]), str(row["state"]), float(row["at"]), str(row["why"]))
            for row in json.loads(text)
        )
    except (ValueError, TypeError, KeyError) as error:
        raise BadValue("syntax", f"the steps of {tablet} cannot be read: {error!r}") from error
    if tuple(step.name for step in steps) != STEPS or {s.state for s in steps} - set(STATES):
        raise BadValue("syntax", f"the steps of {tablet} are not {', '.join(STEPS)}")
    return Removal(tablet, state, since, steps)


def _may_ask(removal: Removal, now: float) -> bool:
    """Say whether the NAS may be asked: FreeRADIUS has followed, or takes too long."""
    return removal.step(RADIUS).state == DONE or _past(removal.since, RADIUS_TAKES, now)


def _past(at: float, span: float, now: float) -> bool:
    """Say whether so long has passed; a clock that was set back lets nobody wait for ever."""
    return now >= at + span or now < at - 1.0
