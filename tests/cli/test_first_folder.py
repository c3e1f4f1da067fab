"""netguard init as a person types it: on a terminal, question by question."""

import os
import pty
import subprocess
import sys

from netguard.rules.init import QUESTIONS

ANSWERS = {
    "organisation": "chu-example", "site": "", "time_zone": "", "ssid": "TABLETS", "vlan": "640",
    "network": "10.99.0.0/22", "gateway": "10.99.0.1", "interface": "tab0", "uplink": "up0", "nas": "",
    "nas_address": "10.1.2.10", "nas_vendor": "cisco-9800", "upstream": "10.1.1.53",
    "protected": "pacs=10.10.0.0/16", "video_host": "meet.chu-example.fr", "video_network": "",
    "tablets": "T-001=3c:28:6d:aa:01:10",
}  # fmt: skip


def typed(folder, *words, lines=None):
    """Run a command, on a terminal where there are lines to type; returns what it printed and its code."""
    here, there = pty.openpty()
    if lines is not None:
        os.write(here, "".join(f"{line}\n" for line in lines).encode())
    done = subprocess.run(
        [sys.executable, "-m", "netguard", *words], cwd=folder, timeout=60, check=False,
        stdin=subprocess.DEVNULL if lines is None else there, capture_output=True, text=True,
    )  # fmt: skip
    os.close(here)
    os.close(there)
    return done


def test_a_first_folder_is_made_by_asking_on_a_terminal(tmp_path):
    """As docs/install.md has it: made, checked, tried and proven; what cannot be is asked again."""
    answers = [ANSWERS[question.key] for question in QUESTIONS]
    vlan = [question.key for question in QUESTIONS].index("vlan")
    answers.insert(vlan, "9999")
    done = typed(tmp_path, "init", "rules/", lines=answers)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("VLAN of the tablets") == 2
    assert "rules/tablets.csv" in done.stdout
    for words in ("check", "test", "prove"):
        done = typed(tmp_path, words, "rules/")
        assert done.returncode == 0, done.stdout + done.stderr


def test_an_input_that_ends_early_leaves_no_folder(tmp_path):
    done = typed(tmp_path, "init", "rules/", lines=["chu-example", "\x04"])
    assert done.returncode == 2
    assert "nothing written" in done.stderr
    assert not (tmp_path / "rules").exists()
