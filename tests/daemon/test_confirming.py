"""What waits to be confirmed: on disk, across a restart, with damage."""

import json

import pytest

from netguard.adapters import clock, files
from netguard.daemon import confirming
from netguard.daemon.confirming import Confirmation
from netguard.errors import BadValue, Refused


def test_what_waits_survives_a_restart(tmp_path):
    one = Confirmation(tmp_path)
    waiting = one.begin(7, 6, 60.0, "ada")
    assert not one.is_over()
    other = Confirmation(tmp_path)
    assert other.shown() is None
    other.resume(7)
    assert other.waiting == waiting
    assert other.shown()["back"] == 6
    assert not other.is_over()
    other.end()
    again = Confirmation(tmp_path)
    again.resume(7)
    assert again.waiting is None


def test_time_runs_out_while_nobody_looks(tmp_path):
    one = Confirmation(tmp_path)
    one.begin(7, 6, -1.0, "ada")
    assert one.is_over()
    other = Confirmation(tmp_path)
    other.resume(7)
    assert other.is_over()


def test_what_never_came_into_force_waits_no_more(tmp_path):
    Confirmation(tmp_path).begin(7, 6, 60.0, "ada")
    other = Confirmation(tmp_path)
    other.resume(6)
    assert other.waiting is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"number": 7, "back": 6, "until": "soon", "by": ""}']
)
def test_a_damaged_file_takes_nothing_back(tmp_path, text):
    (tmp_path / "waiting.json").write_text(text)
    one = Confirmation(tmp_path)
    one.resume(7)
    assert (one.waiting, one.is_over()) == (None, False)


def test_a_clock_that_went_back_does_not_make_it_wait_for_ever(tmp_path, monkeypatch):
    body = {"number": 7, "back": 6, "until": "2999-01-01T00:00:00+00:00", "by": "ada"}
    (tmp_path / "waiting.json").write_text(json.dumps(body))
    one = Confirmation(tmp_path)
    one.resume(7)
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + confirming.LONGEST + 1)
    assert one.is_over()


@pytest.mark.parametrize("value", [4, 86401, "60", [], True])
def test_a_span_that_is_none_is_refused(value):
    with pytest.raises(BadValue, match="5 s to 24 h"):
        confirming.seconds({"confirm_within": value})


def test_one_waits_at_a_time_and_only_where_there_is_a_way_back(tmp_path):
    assert confirming.seconds({}) is None
    assert confirming.seconds({"confirm_within": 120}) == 120.0
    confirming.refuse(None, 60.0, 3)
    confirming.refuse(None, None, None)
    with pytest.raises(Refused, match="nothing is in force to go back to"):
        confirming.refuse(None, 60.0, None)
    waiting = Confirmation(tmp_path).begin(7, 6, 60.0, "ada")
    with pytest.raises(Refused, match="plan 7 waits until"):
        confirming.refuse(waiting, None, 7)


def test_copies_are_listed_in_their_order(tmp_path):
    copies = files.Copies(tmp_path)
    for number in (1, 2, 10):
        applied = files.Applied(number, "", "ada", "rules", "", "", False, "", "")
        copies.store(applied, {"a.yaml": b"x"})
    assert [applied.number for applied in copies.listed()] == [1, 2, 10]
    assert copies.at(10)[1].joinpath("a.yaml").read_bytes() == b"x"
    assert copies.at(3) is None
