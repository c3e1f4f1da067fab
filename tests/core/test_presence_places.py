"""What is down, what is blind, and whom that excuses: the borders of core/presence/places.py."""

import pytest

from netguard.core import evidence
from netguard.core.presence import places
from netguard.core.presence.state import SLOT, Place
from tests.core.test_presence import ONE, T0, TWO, Run

A, H, I, S = evidence.ASSOCIATED, evidence.HEARD, evidence.INTERIM, evidence.START  # noqa: E741


@pytest.fixture
def run():
    return Run()


@pytest.mark.parametrize(
    ("counts", "gaps", "seconds"),
    [
        ((), (), 0),
        ((40,), (10,), 0),
        ((3, 40), (10, 10), 0),
        ((4, 40), (10, 10), places.SURPRISE * SLOT / 4),
        ((400, 500), (10, 10), places.SOONEST),
        ((400, 500), (10, 200), 300),
    ],
)
def test_how_long_a_place_may_be_silent_before_it_is_thought_down(counts, gaps, seconds):
    """By its quietest slot, and by the longest pause it made; not at all where it is hardly ever heard."""
    place = Place("nas", "wlc", "main")
    place.counts, place.gaps = counts, gaps
    assert places.patience(place) == seconds


def test_the_longest_pause_of_each_slot_is_noted(run):
    """Of the first slot nothing is known: it may have been silent before."""
    for at in (0, 10, 200, 310, 450, 460, 599, 610, 650):
        run.on(at, H, ONE if at % 20 else TWO)
    assert run.state.nases["wlc"].gaps == (SLOT, 140.0)
    assert run.state.nases["wlc"].gap == 40.0


@pytest.mark.parametrize(("grown", "down"), [(0, True), (1, False)])
def test_a_count_that_stands_still_does_not_vouch_for_an_access_point(run, grown, down):
    for number, mac in enumerate((ONE, TWO)):
        run.on(0, S, mac, session=f"s{number}", packets=5)
    run.on(50, evidence.AP_DOWN, "", "w1")
    # What is counted a first time may tell of before.
    for at, packets in ((100, 9), (400, 9 + grown)):
        for number, mac in enumerate((ONE, TWO)):
            run.on(at + number, I, mac, session=f"s{number}", packets=packets)
    assert bool(run.state.aps["w1"].down) == down


def test_who_hears_nothing_of_an_access_point_excuses_its_tablets_when_it_speaks_again(run):
    for at in range(0, 900, 5):
        run.on(at, H, ONE if at % 10 else TWO, "w1", nas="")
    assert run.state.aps["w1"].thaw == 0.0
    limit = places.patience(run.state.aps["w1"])
    run.on(895 + int(limit) + 10, H, ONE, "w1", nas="")
    at = run.state.aps["w1"].last
    assert run.state.aps["w1"].thaw == at + run.model.site_of("main").grace


@pytest.mark.parametrize(("after", "told"), [(-5, 1), (5, 2)])
def test_an_outage_is_told_once_within_its_hold(run, after, told):
    """One that flaps is not told again and again; one that comes later is."""
    hold = int(run.model.site_of("main").outage_hold)
    run.on(0, A).on(10, evidence.AP_DOWN, "", "w1").on(20, evidence.AP_UP, "", "w1")
    again = 20 + hold + after
    run.on(again, evidence.AP_DOWN, "", "w1").on(again + 1, evidence.AP_UP, "", "w1")
    outages = run.alerts("outage", "raised")
    assert len(outages) == told
    assert {each.probability for each in outages} == {1.0}


@pytest.mark.parametrize(
    ("site", "after"), [("", "unreachable"), ("main", "unreachable"), ("other", "quiet")]
)
def test_a_lost_feed_hides_the_tablets_of_its_site(run, site, after):
    run.on(0, A).on(1, A, TWO, "w2")
    run.on(10, evidence.FEED_LOST, "", "", source="radius", site=site).until(800)
    assert run.state_of() == after
    (told,) = run.alerts("blind", "raised")
    assert told.probability == 1.0


def test_after_a_lost_feed_everybody_has_one_grace(run):
    run.on(0, A).on(10, evidence.FEED_LOST, "", "", source="radius", site="main")
    run.on(900, evidence.FEED_BACK, "", "", source="radius", site="main")
    assert run.state.thaw == T0 + 900 + run.model.site_of("main").grace


@pytest.mark.parametrize("fewer", [0, 1])
def test_so_many_that_fall_silent_together_are_an_outage(run, fewer):
    """As many as presence.yaml says, and as large a share of those at the access point."""
    site = run.model.site_of("main")
    count = site.outage_at_least - fewer
    for number, mac in enumerate(sorted(run.model.tablets)[:count]):
        run.on(number, A, mac, "w2")
    run.until(3000)
    assert len(run.alerts("outage", "raised")) == 1 - fewer
