"""What the operator pages tell people to type on an appliance, typed there: page by page, line by line."""

import re
import shlex

import pytest
from documents import ROOT, commands, elsewhere, is_a_name
from machine import await_, run

# Not beside the others: the pages rotate, restore, retire and roll back, and leave the appliance to nobody after them.
pytestmark = pytest.mark.pages
WORK = "/var/tmp/pages"
RESTORE = "/opt/netguard/current/share/netguard/systemd/restore"
TYPED = [
    (page, words) for page, words in commands() if not elsewhere(words) and not is_a_name(words)
]
# What a page leaves to its reader, as it is on this appliance.
MEANT = {
    r"\bT-017\b": "T-004",
    r"\bID\b": "T-004",
    r"\bNAME\b": "zoom.us",
    r"\bNAS\b": "wlc-1",
    r"\bSITE\b": "pellegrin",
    r"\bAREA\b": "cardio-3",
    r"\bMAC\b": "64-1b-2f-6a-d5-79",
    r"\bFILE\b": "/etc/netguard/settings.yaml",
    r"(?<=apply )DIR\b": "rules/",
    r"(?<=backup )DIR\b|(?<=restore )DIR\b": "copy",
    # It ends by itself, or by Ctrl-C.
    r"(?<=doctor radius )--for \d+m": "--for 3s",
    r"--follow": "--follow & sleep 2; kill $!",
}
# Which ends are no fault: what is found is told so, too.
ENDS = {
    "netguard plan": {0, 3},
    "netguard status": {0, 1},
    "netguard doctor": {0, 1},
    "netguard alerts": {0, 1},
    # Nothing is wrong with the tablet that the page names.
    "netguard ack": {0, 5},
    "netguard snooze": {0, 5},
    # Out of a sentence: the daemons run. The block of recovery.md stops them first.
    "netguard restore copy": {2},
}
# Each page has a folder of rules to edit and an inventory to take over; a plan that waits for its yes has it.
BEGIN = (
    f"netguard confirm; netguard fence restore; netguard release T-004; netguard found T-004; netguard found T-001; "
    f"netguard apply /etc/netguard/rules; rm -rf {WORK}; mkdir -p {WORK} /opt/netguard/0.9.0; cd {WORK} && "
    "cp -r /etc/netguard/rules rules && sed -i 's/secret-file: nas-wlc-1/&, psk: per-tablet/' rules/sites.yaml && "
    "{ cat rules/tablets.csv; echo T-900,00:1b:63:00:09:00,patients,pellegrin/cardio-3,,,; } > pile.csv && "
    "netguard backup copy"
)


@pytest.fixture(scope="module")
def kept(appliance):
    """Keep all of the appliance's state and put it back, by the means of an appliance; returns the copy's name."""
    sh = appliance.machine.sh
    made = sh("/opt/netguard/current/share/netguard/systemd/backup").split()[-1]
    name = made.rpartition("/")[2]
    try:
        yield name
    finally:
        sh(
            f"{RESTORE} {made}; rm -rf {WORK} /opt/netguard/0.9.0 /var/backups/netguard/before-upgrade"
        )
        await_(
            "all is as it was",
            lambda: "wrong      nothing" in appliance.netguard("status", check=False).stdout,
        )


@pytest.mark.parametrize("page", sorted({page for page, _ in TYPED}))
def test_each_line_of_a_page_ends_as_it_should(appliance, kept, page):
    machine = appliance.machine
    machine.sh(BEGIN)
    version = machine.path("/opt/netguard/current").readlink().name
    meant = MEANT | {"20261129-032000": kept, r"\b1\.0\.0\b": version}
    for words in (words for each, words in TYPED if each == page):
        line = shlex.join(words)
        for left, here in meant.items():
            line = re.sub(left, here, line)
        done = machine.exec("sh", "-c", f"cd {WORK} && {line}", check=False)
        ends = next((ends for start, ends in ENDS.items() if line.startswith(start)), {0})
        assert done.returncode in ends, (
            line,
            done.returncode,
            done.stdout[-500:],
            done.stderr[-500:],
        )


def test_a_line_that_is_none_is_found(appliance):
    done = appliance.machine.exec("sh", "-c", "netguard lend T-001 --till tomorrow", check=False)
    assert done.returncode not in {0, 1, 3, 5}


def test_the_sum_of_the_bundle_is_right(appliance):
    (line,) = [words for _, words in commands() if words[0] == "sha256sum"]
    assert appliance.bundle.parent == ROOT / "dist"
    assert f"{appliance.bundle.name}: OK" in run("sh", "-c", " ".join(line), cwd=ROOT).stdout
