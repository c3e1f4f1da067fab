"""netguard tablets: what is said where nothing is to be listed."""

from types import SimpleNamespace

import pytest

from netguard.cli import main, presence

ROW = {
    "tablet": "T-001", "mac": "64:1b:2f:00:00:01", "home": "pellegrin/cardio-3", "presence": "present",
    "cause": "", "probability": 0.0, "site": "pellegrin", "area": "cardio-3", "edge": False, "ap": "AP-CAR-301",
    "last_seen": "", "incident": "", "loan": "lent", "quarantined": False, "lent_since": "", "due": "",
    "overdue": False,
}  # fmt: skip
LEFT = {
    **ROW, "tablet": "T-gone", "mac": "", "home": "", "presence": "not-listed", "site": "", "area": "",
    "ap": "", "due": "2026-11-30T08:00:00+00:00", "overdue": True,
}  # fmt: skip


@pytest.fixture
def lists(monkeypatch, capsys):
    """List what watch answers; return what was printed and what was said beside it."""

    def asked(rows, *words):
        node = SimpleNamespace(watch_socket="watch.sock")
        monkeypatch.setattr(presence.folders, "settings", lambda _: node)
        monkeypatch.setattr(presence.control, "call", lambda *_: {"tablets": rows})
        assert main(["tablets", *words]) == 0
        return tuple(capsys.readouterr())

    return asked


@pytest.mark.parametrize(
    ("rows", "words", "said"),
    [
        ([ROW], ["--overdue"], "no tablet is overdue"),
        ([ROW], ["--state", "missing"], "no tablet is like that"),
        ([ROW], ["--area", "hall"], "no tablet is like that"),
        ([ROW], ["--overdue", "--area", "cardio-3"], "no tablet is like that"),
        ([], [], "no tablets are known"),
        ([], ["--overdue"], "no tablet is overdue"),
    ],
)
def test_where_none_is_listed_it_says_what_none_is(lists, rows, words, said):
    assert lists(rows, *words) == ("", f"{said}\n")


def test_one_that_left_the_inventory_is_listed_with_its_end(lists):
    out, said = lists([ROW, LEFT], "--overdue")
    assert (out.split(), said) == (
        ["T-gone", "not-listed", "-", "-", "lent,", "overdue", "since", LEFT["due"]],
        "",
    )
    assert len(lists([ROW, LEFT], "--state", "lent")[0].splitlines()) == 2
