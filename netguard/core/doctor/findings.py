"""What every check of the doctor says: a code, an outcome, the finding, the line that mends it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

# Every check by its code. A code is a promise: it is never used again for something else.
CHECKS = {
    "NG-D101": "guard",
    "NG-D102": "name proxy",
    "NG-D103": "watch",
    "NG-D104": "FreeRADIUS",
    "NG-D105": "addresses",
    "NG-D106": "time service",
    "NG-D107": "server names",
    "NG-D110": "plan in force",
    "NG-D111": "ruleset",
    "NG-D112": "belt",
    "NG-D113": "kernel settings",
    "NG-D114": "foreign tables",
    "NG-D115": "connections",
    "NG-D116": "kernel features",
    "NG-D120": "settings",
    "NG-D121": "secrets",
    "NG-D122": "edited rules",
    "NG-D123": "disk",
    "NG-D124": "databases",
    "NG-D125": "clock",
    "NG-D126": "certificates",
    "NG-D127": "programs",
    "NG-D128": "feeds",
    "NG-D201": "tablets' side",
    "NG-D202": "gateway address",
    "NG-D203": "duplicate gateway",
    "NG-D204": "uplink",
    "NG-D205": "default route",
    "NG-D206": "way back",
    "NG-D207": "resolvers",
    "NG-D208": "time servers",
    "NG-D209": "services",
    "NG-D301": "requests",
    "NG-D302": "unknown NAS",
    "NG-D303": "shared secret",
    "NG-D304": "Message-Authenticator",
    "NG-D305": "Called-Station-Id",
    "NG-D306": "Calling-Station-Id",
    "NG-D307": "accounting",
    "NG-D308": "interim updates",
    "NG-D309": "clock of the NAS",
    "NG-D310": "answers",
    "NG-D311": "CoA port",
    "NG-D312": "isolation",
}


class Outcome(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor: `mend` is what to type or to change, empty where nothing is wrong."""

    code: str
    outcome: Outcome
    text: str
    mend: str = ""

    @property
    def name(self) -> str:
        """Return what the check is called."""
        return CHECKS[self.code]

    @property
    def cries(self) -> bool:
        """Say whether something is wrong."""
        return self.outcome in {Outcome.WARNING, Outcome.FAILED}


def ok(code: str, text: str) -> Finding:
    """Return that all is well."""
    return Finding(code, Outcome.OK, text)


def warning(code: str, text: str, mend: str) -> Finding:
    """Return something to look at."""
    return Finding(code, Outcome.WARNING, text, mend)


def failed(code: str, text: str, mend: str) -> Finding:
    """Return something that does not work."""
    return Finding(code, Outcome.FAILED, text, mend)


def unchecked(code: str, why: str, mend: str = "") -> Finding:
    """Return that nobody knows, and why."""
    return Finding(code, Outcome.UNCHECKED, why, mend)


def judged(code: str, wrong: Sequence[Finding], well: str) -> list[Finding]:
    """Return what is wrong, or one line that says what was found well."""
    return list(wrong) or [ok(code, well)]


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by code; of one code, in the order in which they came."""
    return sorted(findings, key=lambda finding: finding.code)


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 0 when everything was checked and is well, else 1."""
    return 0 if all(finding.outcome is Outcome.OK for finding in findings) else 1


def listed(words: Iterable[object], most: int = 6) -> str:
    """Return words joined by commas, of many the first ones and how many more there are."""
    shown = [str(word) for word in words]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def many(number: int, word: str) -> str:
    """Return a number with its word: `1 tablet`, `2 tablets`."""
    return f"{number} {word}{'' if number == 1 else 's'}"
