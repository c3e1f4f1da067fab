"""Who walked out: presence of each tablet, why it is silent, and how sure that is.

`step(model, state, event)` and `due(model, state, now)` return actions; time comes in with the
event, and nothing here reads a clock, a file or a random number.
"""

from netguard.core.presence.actions import Action, Alert, Judgement, Probe, Reason, Transition
from netguard.core.presence.engine import due, figures, next_due, step
from netguard.core.presence.model import Model, compile_model, read_model, write_model
from netguard.core.presence.state import State, dump, load

__all__ = [
    "Action",
    "Alert",
    "Judgement",
    "Model",
    "Probe",
    "Reason",
    "State",
    "Transition",
    "compile_model",
    "due",
    "dump",
    "figures",
    "load",
    "next_due",
    "read_model",
    "step",
    "write_model",
]
