"""Findings: what `check` and `lint` say, in the compiler's shape, as JSON or on a pull request.

A finding names the place, the problem and what to write instead. This module only holds and
prints them; it decides nothing.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

ERROR = "error"
WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault; `cell` when it stands in a table (CSV).

    `instead` is what to write in place of what stands there, where only one thing can be meant; an
    empty text takes the item out of its list.
    """

    file: str
    line: int
    column: int
    level: str
    id: str
    text: str
    source: str = field(default="", compare=False)
    cell: bool = field(default=False, compare=False)
    instead: str | None = field(default=None, compare=False)

    def render(self) -> str:
        """Return the finding as text: the message, the line it is about, a caret below."""
        if self.cell:
            level = "" if self.level == ERROR else f"{self.level}: "
            return f"{self.file}:{self.line}: {level}{self.text}"
        if self.line == 0:
            return f"{self.file}: {self.level}: {self.text}"
        head = f"{self.file}:{self.line}:{self.column}: {self.level}: {self.text}"
        if not self.source:
            return head
        quoted = _printable(self.source)
        # A minified or hostile line must not fill the terminal: quote the part around the caret.
        start = max(0, self.column - 80) if len(quoted) > 160 else 0
        caret = " " * (4 + self.column - 1 - start) + "^"
        return f"{head}\n    {quoted[start : start + 160]}\n{caret}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that stop the rules from entering into force."""
    return [finding for finding in findings if finding.level == ERROR]


def summary(files: int, findings: Sequence[Finding]) -> str:
    """Return `9 files, 2 errors, 1 warning`."""
    wrong = len(errors(findings))
    warned = len(findings) - wrong
    return f"{_count(files, 'file')}, {_count(wrong, 'error')}, {_count(warned, 'warning')}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def as_json(
    files: int, findings: Sequence[Finding], more: Mapping[str, object] | None = None
) -> str:
    """Return the stable JSON form: one object with a list of findings, and what else was found."""
    rows = [
        {
            "file": f.file,
            "line": f.line,
            "column": f.column,
            "level": f.level,
            "finding": f.id,
            "text": f.text,
            "instead": f.instead,
        }
        for f in findings
    ]
    wrong = len(errors(findings))
    return json.dumps(
        {
            "files": files,
            "errors": wrong,
            "warnings": len(rows) - wrong,
            "findings": rows,
            **(more or {}),
        },
        ensure_ascii=False,
        indent=2,
    )


def as_github(findings: Iterable[Finding]) -> str:
    """Return workflow commands that put each finding on its line of the diff."""
    return "\n".join(
        f"::{f.level} file={_property(f.file)},line={max(f.line, 1)},col={max(f.column, 1)},"
        f"title={_property(f.id)}::{_data(f.text)}"
        for f in findings
    )


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
