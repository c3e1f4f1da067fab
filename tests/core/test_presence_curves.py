"""core/presence/curves.py beside the same figures worked out step by step."""

import pytest

from netguard.core.presence import curves
from netguard.core.presence.curves import CONTEXTS, DAY, EDGE, LENGTHS, NIGHT, PRIOR

BINS = len(LENGTHS)


def by_hand(at, own, fleet, group, itself):
    """Draw the fleet towards the trace, the group towards the fleet, a tablet towards the group.

    `own`, `fleet` and `group` are (silences, tablet-days); `itself` is 1 where they hold the one that is judged.
    """
    wide = (fleet[0] - itself + 150 * PRIOR[at]) / (fleet[1] + 150)
    pseudo = max(100, 2 / wide)
    near = (group[0] - itself + pseudo * wide) / (group[1] + pseudo)
    pseudo = max(10, 1 / near)
    return (own[0] - itself + pseudo * near) / (own[1] + pseudo)


def learned(count_own, count_fleet, count_group):
    own, fleet, group = bytearray(curves.SIZE), curves.Pool(), curves.Pool()
    for at in range(curves.SIZE):
        own[at], fleet.counts[at], group.counts[at] = count_own, count_fleet, count_group
    return own, fleet, group


@pytest.mark.parametrize("context", range(CONTEXTS))
@pytest.mark.parametrize("k", [0, 5, BINS - 1])
@pytest.mark.parametrize("counts", [(3, 40, 10), (1, 1, 1), (200, 9000, 900)])
@pytest.mark.parametrize("itself", [0, 1])
def test_a_rate_is_drawn_towards_ever_wider_circles(context, k, counts, itself):
    """The silence that is judged counts for the lengths it has passed, and never for its own verdict."""
    own, fleet, group = learned(*counts)
    found = curves.rate(own, 20.0, ((fleet, 400.0), (group, 90.0)), context, LENGTHS[k], k + itself)
    wanted = by_hand(context * BINS + k, (counts[0], 20), (counts[1], 400), (counts[2], 90), itself)
    assert found == pytest.approx(wanted)


def test_between_two_lengths_a_rate_falls_by_a_power_of_the_length():
    own, fleet, group = learned(0, 0, 0)
    circles = ((fleet, 10.0), (group, 10.0))

    def rate(length, counted=0):
        return curves.rate(own, 1.0, circles, EDGE, length, counted)

    between = (LENGTHS[3] * LENGTHS[4]) ** 0.5
    assert rate(between) == pytest.approx((rate(LENGTHS[3]) * rate(LENGTHS[4])) ** 0.5)
    # Shorter than the first one it is its rate, longer than the last it falls as the length grows.
    assert rate(5.0) == rate(LENGTHS[0])
    assert rate(4 * LENGTHS[-1]) == pytest.approx(rate(LENGTHS[-1]) / 4)
    own, fleet, group = learned(9, 9, 9)
    circles = ((fleet, 10.0), (group, 10.0))
    # Past the fourth length and not the fifth: of those the silence itself is in four.
    ends = [curves.rate(own, 1.0, circles, EDGE, LENGTHS[3], 4), rate(LENGTHS[4], 4)]
    assert rate(between, 4) == pytest.approx((ends[0] * ends[1]) ** 0.5)
    assert rate(LENGTHS[4], 5) < rate(LENGTHS[4], 4)


@pytest.mark.parametrize(
    ("length", "count"), [(0.0, 0), (31.9, 0), (32.0, 1), (63.0, 1), (64.0, 2), (1e9, BINS)]
)
def test_a_silence_has_passed_the_lengths_that_are_not_longer(length, count):
    assert curves.passed(length) == count == sum(each <= length for each in LENGTHS)


def test_what_is_counted_can_be_taken_back_and_is_never_less_than_nothing():
    own, pool = bytearray(curves.SIZE), curves.Pool()
    curves.count(own, (pool,), NIGHT, 0, 3)
    curves.count(own, (pool,), NIGHT, 2, 4)
    base = NIGHT * BINS
    assert list(own[base : base + 5]) == pool.counts[base : base + 5] == [1, 1, 2, 1, 0]
    curves.uncount(own, (pool,), NIGHT, 4)
    assert list(own[base : base + 5]) == pool.counts[base : base + 5] == [0, 0, 1, 0, 0]
    curves.uncount(own, (pool,), NIGHT, 4)
    assert sum(own) == sum(pool.counts) == 0
    assert not any(own[DAY * BINS : base])


def test_a_tablet_counts_no_further_than_a_byte_holds():
    own, pool = bytearray(curves.SIZE), curves.Pool()
    for _ in range(300):
        curves.count(own, (pool,), DAY, 0, 1)
    assert (own[0], pool.counts[0]) == (250, 300.0)


def test_a_pool_has_watched_each_of_its_tablets_since_its_first_word():
    pool = curves.Pool()
    assert pool.days(86400.0) == 0.0
    pool.tablets, pool.first_sum = 2, 0.0 + 86400.0
    assert pool.days(3 * 86400.0) == 5.0
