"""How lines on the air are told: what fails is tried once more, and what no time was left for is no success."""

import subprocess
from pathlib import Path
from time import monotonic

import pytest

from tests.wifi import claims
from tests.wifi.claims import Claim, Claims, Failed


class Told(Claims):
    """A story without radios: what each line does when it is shown, time after time."""

    def __init__(self, **does):
        super().__init__(None, None, None, [])
        self.does = does

    def recorded(self):
        return []

    def __getattr__(self, name):
        def show():
            found = self.does[name].pop(0)
            if found != "ok":
                raise Failed(found)
            return "seen"

        return show


@pytest.fixture
def story(monkeypatch):
    told = ((Claim("first", "one"), Claim("second", "two")), (Claim("third", "three"),))
    monkeypatch.setattr(claims, "STORY", told)


def lines(capsys):
    return [line.split("  [")[0].split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("story")
def test_a_line_that_fails_is_tried_again_at_the_end_of_its_part(capsys):
    told = Told(one=["busy", "ok"], two=["ok"], three=["ok"])
    told.all(monotonic() + 60)
    assert lines(capsys) == [
        ["again", "first", "busy"],
        ["ok", "second", "seen"],
        ["ok", "first", "seen"],
        ["ok", "third", "seen"],
    ]
    assert told.summary() == "3 lines ok, 1 of them on the second try"
    assert (told.failed, told.unproven) == (0, 0)


@pytest.mark.usefixtures("story")
def test_a_line_that_fails_twice_has_failed(capsys):
    told = Told(one=["busy", "gone"], two=["ok"], three=["ok"])
    told.all(monotonic() + 60)
    assert ["FAIL", "first", "gone"] in lines(capsys)
    assert (told.failed, told.summary()) == (1, "2 lines ok, 1 FAILED")


@pytest.mark.usefixtures("story")
def test_without_time_nothing_is_begun_and_nothing_is_proven(capsys):
    told = Told()
    told.all(monotonic() - 1)
    assert {line[0] for line in lines(capsys)} == {"late"}
    assert (told.failed, told.unproven) == (0, 3)
    assert told.summary() == "0 lines ok, 3 unproven, the time was up"


@pytest.mark.usefixtures("story")
def test_what_failed_and_has_no_time_for_a_second_try_has_failed(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 1.0, 99.0, 99.0])
    monkeypatch.setattr(claims, "monotonic", lambda: next(clock))
    told = Told(one=["busy"], two=["ok"], three=["ok"])
    told.all(10.0)
    assert [line[0] for line in lines(capsys)] == ["again", "ok", "late", "late"]
    assert (told.failed, told.unproven) == (1, 1)


def test_every_line_of_the_story_can_be_shown():
    named = [each for part in claims.STORY for each in part]
    assert len(named) == len({each.words for each in named}) == 19
    assert all(callable(getattr(Claims, each.show)) for each in named)


def test_without_time_for_a_guest_every_claim_is_named_as_unproven():
    words = [Path(__file__).with_name("run"), "--within", "1", "roam", "quarantine"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 125, done.stderr
    assert done.stdout.splitlines() == [
        "wifi: the guest's kernel was not ready early enough within 1 s; unproven:",
        "wifi:   a roam keeps the call and raises nothing",
        "wifi:   quarantine: a real Disconnect, then another VLAN",
    ]
