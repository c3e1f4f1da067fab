"""netguard tablets and events: what is said where nothing is to be listed, and what an export tells of whom."""

import json
from types import SimpleNamespace

import pytest

from netguard.cli import main, presence
from netguard.core.evidence import read_event
from netguard.core.usage import read_seen

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


MAC, OTHER = "64:1b:2f:00:00:01", "64:1b:2f:00:00:02"
TOLD = [
    {"at": 5, "kind": "session-start", "mac": MAC, "ap": "ap-car-301", "nas": "wlc-1", "site": "pellegrin",
     "source": "radius", "session": "0042", "packets": 0},
    {"at": 6, "kind": "heard", "mac": MAC, "ap": "ap-car-301", "nas": "wlc-1", "site": "pellegrin",
     "source": "syslog:wlc-1"},
    {"at": 7, "kind": "heard", "mac": OTHER, "source": "snmp:10.1.2.20"},
    {"at": 8, "kind": "ap-down", "ap": "ap-car-301", "site": "pellegrin", "source": "webhook:cloud"},
    {"at": 9, "kind": "moved-planned", "mac": MAC, "area": "pellegrin/cardio-3", "until": 99},
    {"at": 3600, "kind": "admission", "mac": OTHER, "site": "pellegrin", "nas": "wlc-1", "ap": "AP-CAR-301",
     "ssid": "CHU-TABLETTES", "answer": "allowed", "rule": "patients/admit", "vlan": "640"},
]  # fmt: skip
SECRET = (
    MAC, OTHER, "car-301", "wlc-1", "pellegrin", "0042", "10.1.2.20", "cloud", "cardio", "CHU-TABLETTES",
)  # fmt: skip


@pytest.fixture
def exported(monkeypatch, capsys):
    """Export what watch has recorded; return its lines as objects."""

    def export(*words):
        blocks = ["\n".join(map(json.dumps, TOLD[:2])), "\n".join(map(json.dumps, TOLD[2:]))]

        def call(socket, verb, patience, *, seconds, after):
            return {"recorded": blocks[after : after + 1], "last": after + 1}

        node = SimpleNamespace(watch_socket="watch.sock")
        monkeypatch.setattr(presence.folders, "settings", lambda _: node)
        monkeypatch.setattr(presence.control, "call", call)
        assert main(["events", "export", *words]) == 0
        said = capsys.readouterr()
        assert said.err == f"{len(TOLD)} events\n"
        return [json.loads(line) for line in said.out.splitlines()]

    return export


def test_an_export_is_what_was_recorded(exported):
    assert exported("--since", "7d") == TOLD


def test_under_other_names_nothing_says_who_or_where_and_the_same_is_the_same(exported):
    """The names of feeds said which controller, and its address."""
    rows = exported("--since", "7d", "--pseudonymise")
    text = json.dumps(rows)
    assert [word for word in SECRET if word.lower() in text.lower()] == []
    for row, plain in zip(rows, TOLD, strict=True):
        read = read_seen if row["kind"] == "admission" else read_event
        assert read(row)
        assert (row["kind"], row["at"], set(row)) == (plain["kind"], plain["at"], set(plain))
    start, heard, other, down, _, admitted = rows
    assert start["mac"] == heard["mac"] != other["mac"] == admitted["mac"]
    assert start["ap"] == heard["ap"] == down["ap"]
    assert heard["source"] == f"syslog:{start['nas']}"
    # With a key of its own each time: two exports cannot be laid side by side.
    again = exported("--since", "7d", "--pseudonymise")
    assert again[0]["mac"] != start["mac"]
