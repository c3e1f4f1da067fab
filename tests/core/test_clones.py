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


def arrivals(*rows):
    found = Clones()
    told = [
        found.tell(Event(at, kind, MAC, ap=ap, nas=f"wlc-{site}", site=site, session="s"))
        for at, kind, site, ap in rows
    ]
    return [clone for clone in told if clone is not None]


def test_nobody_is_at_another_site_within_minutes():
    (clone,) = arrivals((0, ASSOCIATED, "pellegrin", "AP-1"), (1, START, "pellegrin", "AP-1"),
                        (200, ASSOCIATED, "haut-leveque", "AP-9"))  # fmt: skip
    assert clone.places == (("pellegrin", "AP-1"), ("haut-leveque", "AP-9"))
    assert clone.at == 200


def test_who_takes_the_tram_roams_within_a_site_or_names_no_site_is_one_device():
    a, b = "pellegrin", "haut-leveque"
    assert arrivals((0, ASSOCIATED, a, "AP-1"), (301, ASSOCIATED, b, "AP-9")) == []
    assert arrivals((0, ASSOCIATED, a, "AP-1"), (1, ASSOCIATED, a, "AP-2")) == []
    assert arrivals((0, ASSOCIATED, a, "AP-1"), (1, ASSOCIATED, "", "AP-9")) == []
    assert arrivals((500, ASSOCIATED, a, "AP-1"), (400, ASSOCIATED, b, "AP-9")) == [], (
        "a late record"
    )
    reported = (0, ASSOCIATED, a, "AP-1"), (290, INTERIM, a, "AP-1"), (400, START, b, "AP-9")
    assert arrivals(*reported) == [], "a report is of a while ago, and no arrival"


def test_sessions_of_one_mac_are_bounded_the_oldest_goes():
    found = Clones()
    for number in range(3 * clones.MOST_SESSIONS):
        found.tell(
            Event(
                number, INTERIM, MAC, ap="AP-1", nas="w", site="p", session=f"s{number}", packets=1
            )
        )
    (tablet,) = found._tablets.values()
    assert list(tablet.sessions)[-1] == ("w", f"s{3 * clones.MOST_SESSIONS - 1}")
    assert len(tablet.sessions) == clones.MOST_SESSIONS


# Two wards a minute apart; all others of the site may be neighbours.
def walk(one, other):
    here, there = sorted((one[:4], other[:4]))
    return 0.0 if here == there else 60.0 if (here, there) == ("AP-A", "AP-B") else None


def hops(*rows):
    """Associations at one site are (at, AP); return when a clone was told, and between which APs."""
    found = Clones()
    told = [
        found.tell(Event(at, ASSOCIATED, MAC, ap=ap, nas="wlc-1", site="pellegrin"), walk)
        for at, ap in rows
    ]
    return [(c.at, tuple(ap for _, ap in c.places)) for c in told if c is not None]


def test_who_is_in_two_areas_by_turns_faster_than_a_walk_is_two_devices():
    assert hops((0, "AP-A1"), (20, "AP-B1"), (40, "AP-A2"), (60, "AP-B1")) == [
        (60, ("AP-A2", "AP-B1"))
    ]
    # As often as before it is told again.
    rows = [(20 * n, "AP-A1" if n % 2 else "AP-B1") for n in range(10)]
    assert [at for at, _ in hops(*rows)] == [60, 120, 180]
    # Several access points of one area on the way are one area.
    assert hops(
        (0, "AP-A1"), (5, "AP-A2"), (20, "AP-B1"), (25, "AP-B2"), (40, "AP-A1"), (60, "AP-B1")
    )


def test_a_walk_a_late_record_and_neighbours_are_one_device():
    # To and fro, each time as fast as one walks.
    assert hops(*[(60 * n, "AP-A1" if n % 2 else "AP-B1") for n in range(20)]) == []
    # It has walked to B, and what was said of A comes late, twice.
    late = [(0, "AP-A1"), (180, "AP-B1"), (185, "AP-A1"), (186, "AP-A1"), (200, "AP-B2")]
    assert hops(*late, (260, "AP-B1"), (400, "AP-A1")) == []
    # Areas without a walk may be neighbours: at the edge of two cells it goes to and fro.
    assert hops(*[(n, "AP-A1" if n % 2 else "AP-C1") for n in range(20)]) == []
    assert hops(*[(n, ("AP-A1", "AP-C1", "AP-B1", "AP-C1")[n % 4]) for n in range(20)]) == []
    # A record that is older than the one before it.
    assert hops((100, "AP-A1"), (120, "AP-B1"), (90, "AP-A1"), (130, "AP-B1"), (140, "AP-A1")) == []


def test_hops_end_where_the_tablet_is_at_another_site_or_at_none():
    found = Clones()
    rows = [("pellegrin", "AP-A1"), ("pellegrin", "AP-B1"), ("", "AP-A1"), ("pellegrin", "")]
    rows += [("haut-leveque", "AP-X"), ("pellegrin", "AP-A1"), ("pellegrin", "AP-B1")]
    told = [
        found.tell(
            Event(400.0 * (n > 3) * (n - 3) + n, ASSOCIATED, MAC, ap=ap, nas="w", site=site), walk
        )
        for n, (site, ap) in enumerate(rows)
    ]
    assert told == [None] * len(rows)


def test_three_areas_by_turns_are_a_way_and_no_two_hands():
    def three(one, other):
        return 0.0 if one == other else 60.0

    found = Clones()
    for n in range(30):
        event = Event(n, ASSOCIATED, MAC, ap="abc"[n % 3], nas="w", site="p")
        assert found.tell(event, three) is None
