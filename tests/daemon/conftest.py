"""What the tests of the daemons share: the example's rules, settings of a node in a folder, a clock to turn."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from netguard.adapters import clock
from netguard.rules.folder import read_folder
from netguard.rules.load import load
from netguard.settings import Paths, Settings

RULES = Path(__file__).parents[2] / "rules"


@pytest.fixture(scope="module")
def policy():
    return load(read_folder(RULES, "rules"), today=date(2026, 11, 22)).policy


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "state").mkdir()
    paths = Paths(state=tmp_path / "state", run=tmp_path, radius_log=tmp_path / "log")
    return replace(Settings("n", ("pellegrin",)), paths=paths)


class Clock:
    """A wall clock that anybody may set, and a monotonic one that only goes on."""

    def __init__(self, monkeypatch, wall=1_795_000_000.0):
        self.wall, self.steady = wall, 1000.0
        monkeypatch.setattr(clock, "monotonic", lambda: self.steady)
        monkeypatch.setattr(clock, "booted", lambda: 0.0)
        real = clock.datetime
        monkeypatch.setattr(clock, "now", lambda: real.fromtimestamp(self.wall, clock.UTC))

    def on(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def time(monkeypatch):
    return Clock(monkeypatch)
