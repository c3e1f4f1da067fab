"""What the engine tells the outside: a change of state, an alert, a question to a silent tablet."""

from dataclasses import dataclass

PRESENT, QUIET, UNREACHABLE = "present", "quiet", "unreachable"
MISSING, RETURNED = "missing", "returned"
STATES = (PRESENT, QUIET, UNREACHABLE, MISSING, RETURNED)

TAKEN, BATTERY, ASLEEP, OUTAGE, MOVED = "taken", "battery", "asleep", "outage", "moved"
CAUSES = (TAKEN, BATTERY, ASLEEP, OUTAGE, MOVED)
BLIND = "blind"

RAISED, UPDATED, CLEARED = "raised", "updated", "cleared"


@dataclass(frozen=True, slots=True)
class Reason:
    """One named piece of evidence; `weight` in nats, above 0 for the stated cause, below against.

    Names are stable words (docs/events.md lists them); `detail` is for people.
    """

    name: str
    weight: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Transition:
    """A tablet's state changed. `silent_since` is 0 while it is heard."""

    at: float
    tablet: str
    mac: str
    before: str
    after: str
    cause: str = ""
    probability: float = 0.0
    site: str = ""
    area: str = ""
    ap: str = ""
    silent_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Alert:
    """An incident was raised, changed or cleared.

    `id` is the same from raised to cleared. `cause` is one of CAUSES, or BLIND for a feed that says
    nothing. `tablet` is empty for what concerns an AP, a NAS or a feed; `subject` names that.
    `path` is (time, AP) of the last minutes before the silence, the newest last. `changes` says
    what would change the verdict. `probability` is that of `cause`.
    """

    at: float
    kind: str
    id: str
    cause: str
    probability: float
    tablet: str = ""
    mac: str = ""
    subject: str = ""
    site: str = ""
    area: str = ""
    ap: str = ""
    silent_since: float = 0.0
    reasons: tuple[Reason, ...] = ()
    path: tuple[tuple[float, str], ...] = ()
    changes: tuple[str, ...] = ()
    tablets: int = 0


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask this tablet whether it is there; the answer comes back as `heard` or `silent-probe`."""

    at: float
    tablet: str
    mac: str
    site: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What was thought of a silent tablet at one moment; only given where the model traces."""

    at: float
    tablet: str
    silent_since: float
    probabilities: tuple[float, ...]
    threshold: float
    edge: bool
    context: int = 0


Action = Transition | Alert | Probe | Judgement
Actions = list[Action]
