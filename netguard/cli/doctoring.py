"""doctor: what is wrong with this node and its cabling, each with its code and the line that mends it."""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence

from netguard.adapters import clock
from netguard.cli import folders
from netguard.cli.parser import settings_file
from netguard.core.doctor.findings import Finding, Outcome, exit_code, many
from netguard.daemon.doctor import cabling, checks, node
from netguard.daemon.doctor.known import Known
from netguard.errors import UsageError

_ORDER = (Outcome.FAILED, Outcome.WARNING, Outcome.UNCHECKED, Outcome.OK)
_COLOURS = {Outcome.FAILED: 31, Outcome.WARNING: 33, Outcome.UNCHECKED: 36, Outcome.OK: 32}


def doctor(arguments: argparse.Namespace) -> int:
    """Look; 0 when all was checked and is well, 1 when not."""
    if arguments.about == "radius":
        from netguard.cli import doctoring_radius

        return doctoring_radius.radius(arguments)
    for flag, given in (("--for", arguments.within), ("--pcap", arguments.pcap)):
        if given is not None:
            raise UsageError(f"{flag} belongs to 'netguard doctor radius'")
    begin = clock.monotonic()
    known = Known(folders.settings(arguments), settings_file(arguments))
    all_ = [*node.checks(known), *cabling.checks(known)]
    found = checks.run(all_, _Progress(len(all_)))
    return report(arguments, found, known.settings.node, clock.monotonic() - begin)


class _Progress:
    """One line that is written over, on a terminal; nothing elsewhere."""

    def __init__(self, count: int) -> None:
        self._count, self._ended = count, 0

    def __call__(self, found: list[Finding]) -> None:
        self._ended += 1
        if sys.stderr.isatty():
            end = "\r\033[K" if self._ended == self._count else ""
            sys.stderr.write(f"\r{self._ended} of {self._count} checks{end}")
            sys.stderr.flush()


def report(
    arguments: argparse.Namespace, found: Sequence[Finding], about: str, seconds: float
) -> int:
    """Print findings, the worst first; returns the exit code."""
    counts = Counter(finding.outcome for finding in found)
    if arguments.json:
        body = {
            "about": about,
            "fine": exit_code(found) == 0,
            "counts": {str(outcome): counts[outcome] for outcome in _ORDER},
            "findings": [
                {
                    "code": finding.code,
                    "name": finding.name,
                    "outcome": str(finding.outcome),
                    "finding": finding.text,
                    "mend": finding.mend,
                }
                for finding in found
            ],
        }
        sys.stdout.write(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    else:
        shown = [f for f in found if arguments.all or f.outcome is not Outcome.OK]
        shown.sort(key=lambda finding: _ORDER.index(finding.outcome))
        sys.stdout.write("".join(_line(finding) for finding in shown))
    # "warning" alone is a word that is counted: 2 warnings, 1 failed, 3 not checked, 40 ok.
    words = ", ".join(
        many(counts[outcome], str(outcome))
        if outcome is Outcome.WARNING
        else f"{counts[outcome]} {outcome}"
        for outcome in _ORDER
        if counts[outcome]
    )
    sys.stderr.write(f"{about}: {words or 'nothing was looked at'}; {seconds:.1f} s\n")
    return exit_code(found)


def _line(finding: Finding) -> str:
    word = f"{finding.outcome:<11}"
    if sys.stdout.isatty() and "NO_COLOR" not in os.environ:
        word = f"\033[{_COLOURS[finding.outcome]}m{word}\033[0m"
    mend = f"{'':22}mend: {finding.mend}\n" if finding.mend else ""
    return f"{word} {finding.code}  {finding.name}: {finding.text}\n{mend}"
