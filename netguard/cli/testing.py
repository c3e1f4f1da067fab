"""test: the cases that a rules folder carries, for people, for machines and for CI."""

import argparse
import json
import sys
from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from netguard.adapters import files
from netguard.cli import folders
from netguard.core.cases import Outcome, judge
from netguard.core.policy import Policy
from netguard.errors import NetguardError
from netguard.rules.findings import errors
from netguard.rules.folder import Folder
from netguard.rules.load import Loaded, load


def test(arguments: argparse.Namespace) -> int:
    """Run the cases; 1 when one fails."""
    loaded, policy = sound(folders.rules_folder(arguments), arguments)
    outcomes = []
    for outcome in judge(policy, loaded.cases):
        outcomes.append(outcome)
        if arguments.format == "text":
            word = f"ok      {outcome.case.name}" if outcome.passed else outcome.render()
            sys.stdout.write(word + "\n")
    if arguments.format == "json":
        sys.stdout.write(as_json(outcomes) + "\n")
    elif arguments.format == "junit":
        sys.stdout.write(as_junit(outcomes))
    if arguments.junit is not None:
        files.write(arguments.junit, as_junit(outcomes))
    failed = sum(not outcome.passed for outcome in outcomes)
    sys.stderr.write(f"{len(outcomes) - failed} passed, {failed} failed\n")
    if not outcomes:
        sys.stderr.write("no case under tests/: rules/README.md shows how one is written\n")
    return 1 if failed else 0


def sound(folder: Folder, arguments: argparse.Namespace) -> tuple[Loaded, Policy]:
    """Load a folder that must be without errors; prints them and raises NetguardError otherwise."""
    loaded = load(folder, today=folders.today(arguments), allow_empty=True)
    if loaded.policy is None:
        for finding in errors(loaded.findings):
            sys.stderr.write(finding.render() + "\n")
        raise NetguardError("the folder has errors, 'netguard check' lists them")
    return loaded, loaded.policy


def as_json(outcomes: Sequence[Outcome]) -> str:
    """Return the stable JSON form."""
    failed = sum(not outcome.passed for outcome in outcomes)
    rows = [
        {
            "name": o.case.name,
            "passed": o.passed,
            "file": o.case.origin.file,
            "line": o.case.origin.line,
            "column": o.case.origin.column,
            "expected": o.expected,
            "found": o.found,
            "rule": o.rule,
            "origins": [str(origin) for origin in o.origins],
        }
        for o in outcomes
    ]
    body = {"passed": len(outcomes) - failed, "failed": failed, "cases": rows}
    return json.dumps(body, ensure_ascii=False, indent=1)


def as_junit(outcomes: Sequence[Outcome]) -> str:
    """Return JUnit XML as CI systems read it: one test case a case, its file as the class."""
    failed = sum(not outcome.passed for outcome in outcomes)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuite name="netguard rules" tests="{len(outcomes)}" failures="{failed}">',
    ]
    for o in outcomes:
        origin = o.case.origin
        head = (
            f"  <testcase name={quoteattr(_legal(o.case.name))} "
            f'classname={quoteattr(origin.file)} file={quoteattr(origin.file)} line="{origin.line}"'
        )
        if o.passed:
            lines.append(head + "/>")
        else:
            text = quoteattr(_legal(f"expected {o.expected}, found {o.found}"))
            lines.append(f"{head}><failure message={text}/></testcase>")
    return "\n".join([*lines, "</testsuite>"]) + "\n"


def _legal(text: str) -> str:
    """Leave out what XML 1.0 has no character for."""
    return "".join(c if c.isprintable() else " " for c in text)
