"""How far a tablet that has to go has come, as lines; what guard says of it, for several commands."""

from collections.abc import Mapping
from typing import Any

from netguard.core.removal import DONE


def described(row: Mapping[str, Any]) -> str:
    """Return who is in quarantine as words: since when, by whom, why, until when."""
    until = f", until {row['until']}" if row["until"] else ""
    return f'in quarantine since {row["at"]} by {row["who"]}{until}, "{row["why"]}"'


def steps(removal: Mapping[str, Any] | None) -> list[str]:
    """Return how far a removal has come, a line for each step that was tried."""
    if removal is None:
        return []
    tried = [f"  {step_line(step)}" for step in removal["steps"] if step["at"]]
    waiting = [step["step"] for step in removal["steps"] if not step["at"]]
    return tried + ([f"  still to come: {', '.join(waiting)}"] if waiting else [])


def step_line(step: Mapping[str, Any]) -> str:
    """Return one step as a line."""
    word = "ok" if step["state"] == DONE else "FAILED"
    return f"{step['step']:10} {word:6} {step['at']}  {step['why']}"
