"""Units beside ours: what is due is done once, tried again when it fails, and known after a crash."""

import asyncio
from dataclasses import replace

import pytest

from netguard.adapters import services
from netguard.daemon.units import DHCP, RADIUS, RELOAD, RESTART, Units
from netguard.errors import EnforcementError
from netguard.settings import Paths, Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(node="n", sites=("s",), paths=Paths(state=tmp_path), service_manager="systemd")


class Manager:
    def __init__(self):
        self.told, self.broken = [], False

    async def __call__(self, verb, unit):
        self.told.append((verb, unit))
        if self.broken:
            raise EnforcementError(f"systemctl {verb} {unit}: access denied")


def test_a_unit_is_told_once(settings):
    manager = Manager()
    units = Units(settings, manager)
    units.want(RELOAD, DHCP, "addresses changed")
    units.want(RESTART, DHCP, "dnsmasq.conf changed")
    units.want(RELOAD, DHCP, "addresses changed")
    assert asyncio.run(units.bring()) == {DHCP}
    assert asyncio.run(units.bring()) == set()
    assert manager.told == [(RESTART, "netguard-dhcp.service")]
    assert not units.pending


def test_what_fails_stays_due_and_is_a_problem_until_it_works(settings):
    manager = Manager()
    manager.broken = True
    units = Units(settings, manager)
    units.want(RESTART, RADIUS, "clients.conf changed")
    assert asyncio.run(units.bring()) == set()
    assert "access denied" in units.problems()["radius-unit"]
    manager.broken = False
    assert asyncio.run(units.bring()) == {RADIUS}
    assert units.problems() == {}


def test_a_guard_that_was_killed_in_between_knows_what_is_due(settings):
    Units(settings, Manager()).want(RESTART, RADIUS, "clients.conf changed")
    manager = Manager()
    assert asyncio.run(Units(settings, manager).bring()) == {RADIUS}
    assert manager.told == [(RESTART, "netguard-radius.service")]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"sshd": "restart"}', '{"netguard-radius": "stop"}', '{"netguard-radius": 1}'],
)
def test_a_damaged_note_restarts_nothing(settings, text):
    (settings.paths.state / "units.json").write_text(text)
    assert not Units(settings, Manager()).pending


def test_without_a_service_manager_nobody_is_told(settings, tmp_path):
    manager = Manager()
    units = Units(replace(settings, service_manager="none"), manager)
    units.want(RESTART, RADIUS, "clients.conf changed")
    assert asyncio.run(units.bring()) == set()
    assert manager.told == []
    assert not (tmp_path / "units.json").exists()


def test_a_systemctl_that_says_no_is_an_error_with_its_words(tmp_path, monkeypatch):
    (tmp_path / "systemctl").write_text('#!/bin/sh\necho "Access denied: $*" >&2\nexit 4\n')
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(EnforcementError, match="Access denied: --no-ask-password restart -- a"):
        asyncio.run(services.tell("restart", "a.service"))


def test_a_systemctl_that_hangs_is_given_up(tmp_path, monkeypatch):
    (tmp_path / "systemctl").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(services, "PATIENCE", 0.2)
    with pytest.raises(EnforcementError, match="not done within"):
        asyncio.run(services.tell("restart", "a.service"))


def test_a_machine_without_systemctl_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnforcementError, match="cannot be started"):
        asyncio.run(services.tell("restart", "a.service"))
