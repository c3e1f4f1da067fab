"""netguard adopt: written after a yes and only when the folder stays right."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASE = Path(__file__).parents[1] / "bad" / "base"


@pytest.fixture
def rules(tmp_path):
    folder = tmp_path / "rules"
    shutil.copytree(BASE, folder)
    return folder


def adopt(*words):
    argv = [sys.executable, "-m", "netguard", "adopt", *words]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )


def test_with_a_yes_it_is_written_and_check_agrees(rules):
    done = adopt("5A-11-C0-FF-EE-01", "T-002", str(rules), "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "tablet": "T-002", "before": "64:1b:2f:00:00:02", "after": "5a:11:c0:ff:ee:01", "written": True,
    }  # fmt: skip
    assert "netguard apply" in done.stderr
    assert "T-002,5a:11:c0:ff:ee:01," in (rules / "tablets.csv").read_text()
    argv = [sys.executable, "-m", "netguard", "check", str(rules)]
    checked = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert checked.returncode == 0, checked.stdout
    assert "private" in checked.stdout, "it is still named as one that may be lost"


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (("5a:11:c0:ff:ee:01", "T-002"), "a person's yes", 2),
        (("rubbish", "T-002", "--yes"), "hexadecimal", 2),
        (("64:1b:2f:00:00:01", "T-002", "--yes"), "nothing written", 1),
        (("64:1b:2f:00:00:02", "T-002", "--yes"), "already", 1),
        (("5a:11:c0:ff:ee:01", "T-02", "--yes"), "did you mean", 1),
    ],
)
def test_without_a_yes_or_where_it_would_be_wrong_nothing_is_written(rules, words, said, code):
    before = (rules / "tablets.csv").read_bytes()
    mac, tablet, *rest = words
    done = adopt(mac, tablet, str(rules), *rest)
    assert said in done.stderr
    assert done.returncode == code
    assert (rules / "tablets.csv").read_bytes() == before
