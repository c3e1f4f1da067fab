"""What outlives the proxy: written, read back, damaged, and held against what the kernel has."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import kept
from netguard.core.held import Memory, Row
from netguard.core.kept import Kept, reconcile
from netguard.core.plan import compile_plan
from netguard.render.names import read, render

ZOOM = ip_address("170.114.52.2").packed
NOW = 500.0


@pytest.fixture(scope="module")
def book(example):
    return read(render(compile_plan(example, ["pellegrin"])))


def row(service="zoom", packed=ZOOM, names=("zoom.us",), until=NOW + 100):
    return Row(service, packed, names, until)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["zoom", "meet"]),
            st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
            st.lists(st.text(max_size=20), max_size=3).map(tuple),
            st.integers(0, 10**6).map(float),
        ).map(lambda each: Row(*each)),
        max_size=20,
    )
)
def test_what_is_written_is_read_back_on_another_clock(rows):
    text = kept.write("plan", rows, {("zoom", "*.zoom.us"): 30.0}, 7.0, 1000.0)
    back = kept.read(text, 400.0)
    assert back.rows == tuple(r._replace(until=r.until + 600) for r in rows)
    assert back.seen == {("zoom", "*.zoom.us"): 630.0}
    assert (back.plan, back.since) == ("plan", 7.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "{}",
        '{"version": 99}',
        '{"version": 1, "plan": "", "since": 0, "seen": [], "elements": [["zoom", "0102", [], 5]]}',
        '{"version": 1, "plan": "", "since": 0, "seen": [], "elements": [["zoom", "zz", [], 5]]}',
        '{"version": 1, "plan": "", "since": 0, "seen": [[1]], "elements": []}',
        '{"version": 1, "plan": "", "since": "x", "seen": [], "elements": []}',
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_one_kind_of_error(text):
    with pytest.raises(ValueError):  # noqa: PT011  # whatever the words: it is put aside
        kept.read(text, 0.0)


def test_a_restart_takes_over_what_both_know_to_the_earlier_end(book):
    result = reconcile(book, Kept(book.plan, (row(),)), {"zoom": {ZOOM: 40.0}}, NOW)
    assert [r.until for r in result.held] == [NOW + 40]
    assert (result.missing, result.gone) == ((), ())


def test_after_a_reboot_the_sets_are_filled_again(book):
    result = reconcile(book, Kept(book.plan, (row(), row(packed=b"\1\1\1\1", until=NOW))), {}, NOW)
    assert [r.packed for r in result.missing] == [ZOOM]


def test_a_clock_that_was_set_back_makes_nothing_live_longer(book):
    result = reconcile(book, Kept(book.plan, (row(until=NOW + 10**6),)), {}, NOW)
    assert result.missing[0].until == NOW + 3660


def test_what_the_rules_no_longer_allow_leaves(book):
    rows = (
        row(names=("evil.example.org",)),
        row(packed=bytes([10, 10, 0, 5])),
        row(service="gone"),
        row(packed=b"\1\2\3\4", names=("evil.example.org",)),
    )
    kernel = {"zoom": {ZOOM: 40.0, bytes([10, 10, 0, 5]): 40.0}}
    result = reconcile(book, Kept(book.plan, rows), kernel, NOW)
    assert result.held == ()
    assert result.missing == ()
    assert sorted(result.gone) == sorted((("zoom", ZOOM), ("zoom", bytes([10, 10, 0, 5]))))


def test_what_only_the_kernel_knows_stays_under_the_same_rules_only(book):
    kernel = {"zoom": {ZOOM: 40.0, bytes([10, 10, 0, 5]): 40.0}}
    same = reconcile(book, Kept(book.plan), kernel, NOW)
    assert [r.packed for r in same.held] == [ZOOM]
    assert same.gone == (("zoom", bytes([10, 10, 0, 5])),)
    other = reconcile(replace(book, plan="other"), Kept(book.plan), kernel, NOW)
    assert other.held == ()
    assert len(other.gone) == 2
    unknown = reconcile(book, Kept(book.plan), {"gone": {ZOOM: 40.0}}, NOW)
    assert (unknown.held, unknown.gone) == ((), (("gone", ZOOM),)), "no rule names that service"


def test_what_lost_its_name_in_a_crash_is_put_back_under_the_same_rules_only(book):
    nameless = (row(names=()),)
    assert len(reconcile(book, Kept(book.plan, nameless), {}, NOW).missing) == 1
    assert reconcile(book, Kept("other", nameless), {}, NOW).missing == ()
    assert reconcile(book, Kept("other", nameless), {"zoom": {ZOOM: 9.0}}, NOW).gone


def test_the_set_of_all_services_gets_the_longest_end():
    memory = Memory()
    for service, span in (("a", 3600.0), ("b", 120.0)):
        change = memory.plan("x.example", (service,), (ZOOM,), NOW, span, NOW + 60)
        memory.confirm(change)
        assert change.adds[0].longest == 3600.0
    assert [add.longest for add in memory.restorable(NOW + 100)] == [3500.0, 3500.0]
    assert len(memory.restorable(NOW + 200)) == 1


def test_what_was_taken_out_while_its_answer_was_on_the_way_is_not_there_again():
    memory = Memory()
    first = memory.plan("x.example", ("a",), (ZOOM,), NOW, 100.0, NOW + 10)
    memory.confirm(first)
    again = memory.plan("y.example", ("a",), (ZOOM,), NOW, 100.0, NOW + 10)
    assert again.empty
    memory.drop("a", ZOOM)
    memory.confirm(again)
    assert list(memory.rows(0.0)) == []
    assert memory.held_until(["a"], [ZOOM]) == 0.0
    assert memory.plan("y.example", ("a",), (ZOOM,), NOW, 100.0, NOW + 10).adds


def test_elements_count_again_only_after_they_were_put_back():
    memory = Memory()
    memory.adopt("a", ZOOM, ("x.example",), NOW + 100)
    assert memory.held_until(["a"], [ZOOM]) == NOW + 100
    memory.purge += 1
    assert memory.held_until(["a"], [ZOOM]) == 0.0
    memory.restored()
    assert memory.held_until(["a"], [ZOOM]) == NOW + 100
    assert memory.held_until(["b"], [ZOOM]) == 0.0
    memory.sweep(NOW + 101)
    assert list(memory.rows(0.0)) == []
    assert memory.restorable(NOW) == ()
