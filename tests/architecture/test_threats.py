"""THREAT_MODEL.md names a test for each threat: each of them exists, and no number is forgotten."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"(tests/[a-z_/]+\.py)(?:::(test_[a-z0-9_]+))?")


def rows():
    text = (ROOT / "THREAT_MODEL.md").read_text()
    table = text.partition("## Each threat and the test")[2]
    return [line for line in table.splitlines() if line.startswith("| T")]


def test_every_test_that_the_threat_model_names_exists():
    named = [each for row in rows() for each in NAMED.findall(row)]
    assert len(named) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and f"def {name}(" not in (ROOT / file).read_text())
    ]
    assert missing == []


def test_every_threat_has_a_row_that_names_a_test_or_says_none():
    numbers = {int(n) for row in rows() for n in re.findall(r"T(\d\d)", row.split("|")[1])}
    assert numbers == set(range(1, 41))
    silent = [row for row in rows() if not NAMED.search(row) and "none" not in row]
    assert silent == []
