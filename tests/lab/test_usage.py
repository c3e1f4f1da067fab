"""What tablets asked for and sent is recorded without a tablet, and answered again by other rules."""

import json
import shutil
import sys
from time import monotonic, sleep

import pytest


@pytest.fixture
def recording(joined, netguard, tmp_path):
    """Return a rules folder in force that wants recordings; the old one comes back afterwards."""
    folder = joined.settings.parent / f"recording-{tmp_path.name}"
    shutil.copytree(joined.record.rules, folder)
    file = folder / "netguard.yaml"
    text = file.read_text()
    assert "retention:\n" in text
    file.write_text(text.replace("retention:\n", "retention:\n  recording: 7d\n", 1))
    done = netguard("apply", str(folder))
    assert done.returncode == 0, done.stderr
    yield folder
    assert netguard("apply", joined.record.rules).returncode == 0
    shutil.rmtree(folder)


def test_an_hour_of_use_is_recorded_and_judged_by_other_rules(
    joined, netguard, recording, tmp_path
):
    def used():
        done = netguard("events", "export", "--since", "1h")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return [row for row in rows if row["kind"] in {"admission", "name", "flow"}]

    def seen(rows):
        return {
            (r["kind"], r["answer"], r.get("name") or r.get("address") or r.get("mac"))
            for r in rows
        }

    wanted = {
        ("name", "allowed", "zoom.us"),
        ("name", "refused", "www.example.org"),
        ("flow", "allowed", "170.114.10.7"),
        ("flow", "refused", "10.10.0.5"),
    }
    end = monotonic() + 120
    while True:
        joined.probe("t1", "tcp", "zoom.us", "443")
        joined.probe("t1", "udp", "170.114.10.7", "8801")
        joined.probe("t1", "dns", "www.example.org")
        joined.probe("t1", "tcp", "10.10.0.5", "104", "--timeout", "1")
        rows = used()
        if wanted <= seen(rows):
            break
        assert monotonic() < end, seen(rows)
        sleep(3)
    assert not any("mac" in row or "tablet" in row for row in rows if row["kind"] != "admission")
    # The same day under rules that withdraw zoom.
    events = recording.parent / f"{tmp_path.name}.jsonl"
    events.write_text("".join(json.dumps(row) + "\n" for row in rows))
    other = recording.parent / f"other-{tmp_path.name}"
    shutil.copytree(recording, other)
    groups = other / "groups.yaml"
    groups.write_text(groups.read_text().replace("zoom, ", ""))
    shutil.rmtree(other / "tests")
    done = netguard(
        "replay", str(events), "--rules", str(recording), "--diff", str(other), "--json"
    )
    assert done.returncode == 1, done.stderr
    closed = {
        (row["kind"], row.get("name") or row.get("address"))
        for row in map(json.loads, done.stdout.splitlines())
        if row["change"] == "closes"
    }
    assert closed >= {("name", "zoom.us"), ("flow", "170.114.10.7")}
    assert " judged: " in done.stderr
    shutil.rmtree(other)
    events.unlink()


ASKS = """
import json, sys
from netguard.adapters import control
from netguard.errors import NetguardError
try:
    print(json.dumps(sorted(control.call(sys.argv[1], "used"))))
except NetguardError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("user", "expected"),
    [("netguard-watch", '["dropped", "used"]'), ("netguard-dhcp", ""), ("netguard-radius", "")],
)
@pytest.mark.parametrize("daemon", ["guard", "dns"])
def test_only_watch_may_take_what_was_used(hospital, daemon, user, expected):
    """What tablets call is told to nobody but the process that writes it down."""
    path = hospital.settings.parent / "run" / f"{daemon}.sock"
    words = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
    done = hospital.exec("gw", [*words, sys.executable, "-c", ASKS, str(path)])
    assert done.returncode == 0, done.stderr
    if expected:
        assert done.stdout.strip() == expected
    else:
        assert "may not" in done.stdout or "Permission denied" in done.stdout, done.stdout
