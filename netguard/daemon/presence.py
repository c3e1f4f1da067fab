"""The engine of presence in a running watch: told what was stored, in the order it was stored.

What the engine is told is in the journal first, together with how far the event log is read; then
it is told. Killed in between, it is told again from the journal, and says the same again: an
incident has its name from what it is about, so none is lost and none is doubled.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict

from netguard.adapters.store import Incident
from netguard.core.evidence import Event, write_event
from netguard.core.presence import (
    Action,
    Alert,
    Model,
    Probe,
    State,
    Transition,
    due,
    dump,
    load,
    next_due,
    step,
)
from netguard.core.presence.actions import CLEARED, RAISED

# Replaying this much at a start takes a second or two.
MOST_SINCE_SNAPSHOT = 100_000


def journal(events: Sequence[Event], now: float) -> str:
    """Return what the engine is about to be told: the events, then how late it is."""
    rows = [json.dumps(event, separators=(",", ":")) for event in events]
    return "\n".join([*rows, json.dumps(now)])


def recording(events: Iterable[Event]) -> str:
    """Return events as lines for `netguard replay`."""
    return "\n".join(json.dumps(write_event(event)) for event in events)


class Presence:
    """The engine with its state; not thread-safe, one caller at a time."""

    def __init__(self, model: Model, snapshot: bytes | None = None) -> None:
        self.model = model
        self.state = load(snapshot, model) if snapshot is not None else State()
        # How many events have been told since the last snapshot.
        self.since = 0

    def use(self, model: Model) -> None:
        """Go on with other rules."""
        self.model = model

    def replay(self, lines: Iterable[str]) -> Iterator[Action]:
        """Be told again what the journal holds."""
        for block in lines:
            for line in block.split("\n"):
                row = json.loads(line)
                if isinstance(row, list):
                    self.since += 1
                    yield from step(self.model, self.state, Event(*row))
                else:
                    yield from due(self.model, self.state, row)

    def tell(self, events: Iterable[Event], now: float) -> list[Action]:
        """Take events in order, then all that is due; what was journaled just before."""
        actions: list[Action] = []
        for event in events:
            self.since += 1
            actions += step(self.model, self.state, event)
        actions += due(self.model, self.state, now)
        return actions

    def waits(self, now: float) -> bool:
        """Say whether nothing is due yet."""
        first = next_due(self.state)
        return first is None or first > now

    def snapshot(self) -> bytes:
        """Return the whole state."""
        self.since = 0
        return dump(self.state)


def incidents(actions: Iterable[Action]) -> list[Incident]:
    """Return the incidents that actions speak of, each as it is last."""
    found: dict[str, Incident] = {}
    for action in actions:
        if not isinstance(action, Alert):
            continue
        before = found.get(action.id)
        raised = action.at if action.kind == RAISED or before is None else before.at
        cleared = action.at if action.kind == CLEARED else None
        body = json.dumps(asdict(action))
        found[action.id] = Incident(action.id, action.tablet, raised, cleared, body)
    return list(found.values())


def probes(actions: Iterable[Action]) -> list[Probe]:
    """Return the tablets to ask."""
    return [action for action in actions if isinstance(action, Probe)]


def alerts(actions: Iterable[Action]) -> list[Alert]:
    """Return what was raised, changed or cleared."""
    return [action for action in actions if isinstance(action, Alert)]


def transitions(actions: Iterable[Action]) -> list[Transition]:
    """Return the changes of state."""
    return [action for action in actions if isinstance(action, Transition)]
