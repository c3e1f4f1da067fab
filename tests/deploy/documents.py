"""What the operator pages tell people to type."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "docs" / f"{name}.md"
    for name in (
        "install", "first-tablets", "day-two", "controllers", "hardening", "privacy", "upgrade", "recovery", "runbook",
        "psk",
    )
]  # fmt: skip
# Commands that are whole with one word; of others a word alone is a name in a sentence.
ALONE = {
    "status",
    "doctor",
    "alerts",
    "unknown",
    "tablets",
    "denials",
    "version",
    "confirm",
    "history",
    "audit",
}
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(netguard [a-z][^`]*)`")


def commands() -> list[tuple[str, list[str]]]:
    """Return every command of every page: the page, and its words. Also `netguard ...` within a sentence."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        lines = [
            line for block in _BLOCK.findall(text) for line in block.splitlines() if line.strip()
        ]
        for line in [*lines, *_INLINE.findall(_BLOCK.sub("", text))]:
            # A shell runs both sides of it.
            found += [(page.name, shlex.split(each, comments=True)) for each in line.split("&&")]
    return found
