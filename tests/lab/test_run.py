"""`netguard run`: guard, dns and watch from one command, for whoever tries things by hand."""

import os
import threading
from time import monotonic, sleep

import pytest

from netguard.adapters import control
from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital


@pytest.fixture
def lab():
    """A hospital of its own: what root starts in it leaves root's files behind."""
    lab = Hospital.up(f"r{os.getpid()}", say=lambda text: None)
    try:
        yield lab
    finally:
        lab.down()


def test_all_three_run_and_end_together(lab):
    for name in ("watch", "dns", "guard"):
        lab.stop(name)
    done = {}
    run = threading.Thread(
        target=lambda: done.update(
            run=lab.exec("gw", ["timeout", "-s", "TERM", "20", "netguard", "run"], timeout=90)
        )
    )
    run.start()
    end = monotonic() + 60
    while not answers(lab):
        assert monotonic() < end, "they do not come up"
        assert run.is_alive(), done
        sleep(0.1)
    lab.join("t1")
    lab.dhcp("t1")
    assert lab.probe("t1", "tcp", "zoom.us", "443")["ok"]
    run.join()
    assert not answers(lab), "ending it leaves nothing running"
    assert lab.probe("t1", "udp", "170.114.10.7", "8801")["ok"], "and the kernel goes on"
    for name in ("guard", "dns", "watch"):
        assert f"{name} ended" in done["run"].stderr


def answers(lab):
    run = lab.settings.parent / "run"
    try:
        for name in ("guard", "dns"):
            control.call(run / f"{name}.sock", "status", 5.0)
    except NetguardError:
        return False
    return True
