"""One MAC in two hands is told from a tablet that roams, reports late or restarts."""

import random

from netguard.core import clones
from netguard.core.clones import Clones
from netguard.core.evidence import ASSOCIATED, INTERIM, START, STOP, Event

MAC = "64:1b:2f:00:00:01"


def said(*reports):
    """Reports are (at, kind, session, AP, packets); return when a clone was told."""
    found = Clones()
    rows = [
        found.tell(
            Event(
                at,
                kind,
                MAC,
                ap=ap,
                nas="wlc-1",
                site="pellegrin",
                session=session,
                packets=packets,
            )
        )
        for at, kind, session, ap, packets in reports
    ]
    return [row for row in rows if row is not None]


TWO = [
    (0, START, "a", "AP-1", None), (10, START, "b", "AP-2", None),
    (300, INTERIM, "a", "AP-1", 100), (310, INTERIM, "b", "AP-2", 50),
    (600, INTERIM, "a", "AP-1", 200), (610, INTERIM, "b", "AP-2", 90),
]  # fmt: skip


def test_two_sessions_that_carry_traffic_by_turns_are_two_devices():
    (clone,) = said(*TWO)
    assert (clone.mac, clone.at) == (MAC, 610)
    assert clone.places == (("pellegrin", "AP-1"), ("pellegrin", "AP-2"))


def test_a_session_that_stands_still_or_has_ended_is_a_roam():
    still = [(*row[:4], 100) if row[2] == "a" and row[0] > 300 else row for row in TWO]
    assert said(*still) == []
    ended = [*TWO[:4], (320, STOP, "a", "AP-1", 100), *TWO[4:]]
    assert said(*ended) == []


def test_the_last_reports_of_the_old_access_point_prove_nothing():
    assert said(*TWO[:5]) == []
    roam = [
        (0, START, "a", "AP-1", None), (300, INTERIM, "a", "AP-1", 100), (305, START, "b", "AP-2", None),
        (330, INTERIM, "a", "AP-1", 130), (600, INTERIM, "b", "AP-2", 90), (900, INTERIM, "b", "AP-2", 190),
    ]  # fmt: skip
    assert said(*roam) == []


def test_to_and_fro_at_the_edge_of_two_cells_is_one_device():
    """Each access point goes on with its own session; each time the tablet associates anew."""
    to_and_fro = []
    for at in range(300, 3000, 60):
        ap = "ab"[at // 60 % 2]
        to_and_fro += [
            (at, ASSOCIATED, "", f"AP-{ap}", None),
            (at + 5, INTERIM, ap, f"AP-{ap}", at),
        ]
    assert said(*TWO[:2], *to_and_fro) == []


def test_one_session_that_moves_with_its_tablet_is_one_device():
    reports = [(t, INTERIM, "a", f"AP-{t // 300 % 2}", t) for t in range(300, 3000, 300)]
    assert said((0, START, "a", "AP-1", None), *reports) == []


def test_two_sessions_at_one_access_point_are_one_device_that_came_back():
    assert said(*[(*row[:3], "AP-1", row[4]) for row in TWO]) == []


def test_turns_that_are_far_apart_are_none():
    assert said(*[(row[0] * 5, *row[1:]) for row in TWO]) == []


def test_three_sessions_are_not_two_hands():
    reports = [(0, START, s, f"AP-{s}", None) for s in "abc"]
    reports += [(100 * n, INTERIM, s, f"AP-{s}", n) for n, s in enumerate("abcabc", 1)]
    assert said(*reports) == []


def test_a_clone_is_told_again_only_after_as_many_turns():
    more = [(t, INTERIM, s, f"AP-{1 + (s == 'b')}", t) for t in range(900, 2100, 300) for s in "ab"]
    assert len(said(*TWO, *more)) == 3


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(clones, "MOST_TABLETS", 100)
    found, dice = Clones(), random.Random(1)
    for n in range(5000):
        mac = f"64:1b:2f:00:{dice.randrange(256):02x}:{dice.randrange(4):02x}"
        kind = dice.choice([START, INTERIM, STOP, ASSOCIATED])
        found.tell(
            Event(
                float(n), kind, mac, session=str(dice.randrange(30)), packets=dice.choice([None, n])
            )
        )
    assert len(found._tablets) <= 100
    assert all(len(t.sessions) <= clones.MOST_SESSIONS for t in found._tablets.values())
    assert all(len(t.turns) <= clones.CHANGES + 1 for t in found._tablets.values())
