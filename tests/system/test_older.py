"""An upgrade from v0.1 and the way back keep what its daemons wrote, and the fence stands meanwhile."""

import json
import shutil

import pytest
from appliance import Intruder, recap
from machine import await_
from older import Older

# What is the node's own state; all else below /var/lib/netguard is made from it.
KEPT = "guard.db plans current dns.json refused.json watch.json watch dns"
STOP = "systemctl stop netguard-watch netguard-dns netguard-guard"
CLEAR = (
    "cd /var/lib/netguard && rm -rf guard.db* plans current dns.json refused.json watch.json && "
    "find watch dns -mindepth 1 -delete"
)


@pytest.fixture
def older(appliance, tmp_path):
    """Let v0.1's own daemons write, in a hospital of their own; the machine's state is put back at the end."""
    old = Older(tmp_path, f"{appliance.machine.name}o")
    sh = appliance.machine.sh
    try:
        yield old
    finally:
        sh(
            f"[ ! -e /var/tmp/kept.tar ] || {{ {STOP} && {CLEAR} && tar -xf /var/tmp/kept.tar && rm /var/tmp/kept.tar; }}; "
            "rm -rf /var/tmp/v0.1; systemctl start netguard-guard netguard-dns netguard-watch"
        )
        old("down")


def known(appliance):
    """Return what the appliance knows, in the words of `old_hospital.facts`."""

    def asked(*words):
        return json.loads(appliance.netguard(*words, "--json", check=False).stdout)

    rows = {row["tablet"]: row for row in asked("tablets")["tablets"]}
    return {
        "loans": {name: asked("tablet", name)["loan"] for name in ("T-001", "T-009")},
        "heard at": {name: rows[name]["ap"] for name in ("T-001", "T-002")},
        "alerts": asked("alerts")["alerts"],
    }


def within(part, whole):
    """Say whether all of `part` is in `whole`, which may know more of it."""
    if isinstance(part, dict):
        return all(key in whole and within(each, whole[key]) for key, each in part.items())
    if isinstance(part, list):
        return all(any(within(each, other) for other in whole) for each in part)
    return part == whole


def test_what_v0_1_wrote_is_kept_and_can_be_given_back(appliance, older):
    """v0.1 had neither role nor units: its state is made by its own daemons in its own lab, and put in place.

    Then the role and the daemons of today run on it. For the way back, v0.1's daemons get first the new
    databases, which they refuse, then the copies that the upgrade has kept.
    """
    machine = appliance.machine
    before = older("up")
    older("stop")
    shutil.copytree(older.state, machine.path("/var/tmp/v0.1"), symlinks=True)
    with Intruder(appliance.lab) as intruder:
        machine.sh(
            f"{STOP}; cd /var/lib/netguard && tar --ignore-failed-read -cf /var/tmp/kept.tar {KEPT} && {CLEAR} && "
            f"cp -r /var/tmp/v0.1/. . && chown -hR netguard-guard:netguard-guard {KEPT} && "
            "chown -R netguard-watch:netguard-watch watch && chown -R netguard-dns:netguard-dns dns"
        )
        told = appliance.play(
            "from v0.1", "--tags", "netguard_install,netguard_configure,netguard_run"
        )
    assert recap(told)["failed"] == 0
    assert intruder.through == []
    await_(
        "nothing is wrong",
        lambda: "wrong      nothing" in appliance.netguard("status", check=False).stdout,
    )
    assert within(before, known(appliance)), (before, known(appliance))
    # What v0.1 put into force, then what the role did.
    plans = json.loads(appliance.netguard("history", "--json").stdout)["plans"]
    assert [each["by"] for each in plans] == ["root", "ansible"]
    await_("a call gets through", lambda: appliance.lab.probe("t1", "tcp", "zoom.us", "443")["ok"])

    # The way back.
    machine.sh(STOP)
    ours = machine.path("/var/lib/netguard")
    for name in ("guard.db", "watch/watch.db"):
        shutil.copyfile(ours / name, older.state / name)
    assert "or newer" in older("refused")["why"]
    for name in ("guard.db", "watch/watch.db"):
        (copy,) = ours.glob(f"{name}.before-*")
        for left in older.state.glob(f"{name}-*"):
            left.unlink()
        shutil.copyfile(copy, older.state / name)
    older("start")
    assert older("facts") == before
