"""The rules folder that `apply` sends over the socket, rebuilt; hostile until judged."""

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path

from netguard.adapters.control import Message
from netguard.core.cases import Outcome
from netguard.core.proof import Claim
from netguard.errors import BadValue, Refused
from netguard.rules.findings import Finding
from netguard.rules.folder import MAX_FILES, Folder

_SHOWN = 20
_DEEPEST = 3


def folder(message: Message) -> Folder:
    """Rebuild the folder that the caller read. Raises BadValue when it is none."""
    body = message.get("files")
    if not isinstance(body, dict) or not 0 < len(body) <= MAX_FILES:
        raise BadValue("syntax", "apply needs the files of a rules folder")
    contents: dict[str, bytes] = {}
    for name, data in body.items():
        path = Path(name)
        outside = path.is_absolute() or ".." in path.parts or len(path.parts) > _DEEPEST
        if outside or not name.isprintable():
            raise BadValue("syntax", f"{name!r} is no file of a rules folder")
        try:
            contents[name] = base64.b64decode(data, validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise BadValue("syntax", f"{name!r} is not base64") from error
    return Folder(str(message.get("name", "rules"))[:200], contents)


def listed(findings: list[Finding]) -> str:
    """Return the first findings as text, and how many more there are."""
    first = "\n".join(finding.render() for finding in findings[:_SHOWN])
    rest = len(findings) - _SHOWN
    return first + (f"\nand {rest} more" if rest > 0 else "")


def refuse_failing(outcomes: Iterable[Outcome]) -> None:
    """Raise Refused with the cases that fail, where one does."""
    failed = [outcome for outcome in outcomes if not outcome.passed]
    if failed:
        first = "\n".join(outcome.render() for outcome in failed[:_SHOWN])
        rest = len(failed) - _SHOWN
        raise Refused(first + (f"\nand {rest} more" if rest > 0 else ""))


def refuse_unproved(claims: Iterable[Claim]) -> None:
    """Raise Refused with what is not so of what the rules promise, where something is not."""
    wrong = [str(claim) for claim in claims if not claim.holds]
    if wrong:
        raise Refused("\n".join(wrong[:_SHOWN]) + "\n'netguard prove' says which packet passes")
