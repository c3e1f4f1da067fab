"""What check prints: as a compiler does, as JSON, or on a pull request."""

import json

from netguard.rules.findings import Finding, as_github, as_json, errors, summary

ERROR = Finding(
    "rules/groups.yaml", 4, 20, "error", "unknown-ref", "unknown 'zooom'", "  allow: [zooom]"
)
CELL = Finding("rules/tablets.csv", 21, 0, "error", "bad-mac", "mac, 'x', expected", cell=True)
WARNING = Finding("t.csv", 2, 0, "warning", "private-mac", "mac", cell=True)


def test_a_finding_quotes_its_line_with_a_caret():
    text = ERROR.render().splitlines()
    assert text[0] == "rules/groups.yaml:4:20: error: unknown 'zooom'"
    assert text[1] == "      allow: [zooom]"
    assert text[2].index("^") == 4 + 19


def test_a_finding_about_a_row_or_a_whole_file_has_no_caret():
    assert CELL.render() == "rules/tablets.csv:21: mac, 'x', expected"
    assert WARNING.render() == "t.csv:2: warning: mac"
    assert Finding("f", 0, 0, "error", "size", "too large").render() == "f: error: too large"
    assert Finding("f", 1, 2, "error", "size", "x").render() == "f:1:2: error: x"


def test_a_long_or_hostile_line_does_not_fill_the_terminal():
    found = Finding("f", 1, 500, "error", "x", "y", "a\x1b" * 400)
    quoted, caret = found.render().splitlines()[1:]
    assert len(quoted) == 164
    assert "\x1b" not in quoted
    assert caret.index("^") == 4 + 79


def test_the_summary_counts():
    assert summary(9, [ERROR, CELL, WARNING]) == "9 files, 2 errors, 1 warning"
    assert summary(1, []) == "1 file, 0 errors, 0 warnings"
    assert errors([WARNING, CELL]) == [CELL]


def test_the_json_form_is_stable():
    read = json.loads(as_json(2, [ERROR, WARNING]))
    assert (read["files"], read["errors"], read["warnings"]) == (2, 1, 1)
    assert read["findings"][0] == {
        "file": "rules/groups.yaml", "line": 4, "column": 20, "level": "error",
        "finding": "unknown-ref", "text": "unknown 'zooom'", "instead": None,
    }  # fmt: skip


def test_nothing_in_a_finding_becomes_a_command_of_the_workflow():
    hostile = Finding("a,b:c", 0, 0, "error", "x", "100%\n::set-env name=A::b")
    assert as_github([hostile]) == (
        "::error file=a%2Cb%3Ac,line=1,col=1,title=x::100%25%0A::set-env name=A::b"
    )
