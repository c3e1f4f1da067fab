"""The event log: whole lines once each, hostile ones put aside, each file from where it was kept."""

import json
from urllib.parse import quote

import pytest

from netguard.adapters.radius import EventLog


def line(**fields):
    return json.dumps({key: quote(value, safe="") for key, value in fields.items()}) + "\n"


def new_lines(log):
    """Read on and keep what was read, as watch does when it has stored it."""
    batch = log.read()
    log.keep(batch)
    return list(batch.records)


@pytest.fixture
def log(tmp_path):
    """A log that was read before, when it had no file yet."""
    return EventLog(tmp_path, {})


def test_each_line_comes_once_and_a_half_line_waits(log, tmp_path):
    file = tmp_path / "events-20261122.log"
    file.write_text(line(kind="admission", ssid="A B:C") + '{"kind":"adm')
    assert new_lines(log) == [{"kind": "admission", "ssid": "A B:C"}]
    assert new_lines(log) == []
    with file.open("a") as more:
        more.write('ission"}\n')
    assert new_lines(log) == [{"kind": "admission"}]


def test_what_is_not_kept_is_read_again(log, tmp_path):
    (tmp_path / "events-1.log").write_text(line(n="1"))
    assert log.read().records == log.read().records == ({"n": "1"},)
    assert new_lines(log) == [{"n": "1"}]
    assert not log.read().is_news


def test_the_next_days_file_follows_and_the_old_one_is_not_read_again(log, tmp_path):
    (tmp_path / "events-20261122.log").write_text(line(n="1"))
    assert len(new_lines(log)) == 1
    (tmp_path / "events-20261123.log").write_text(line(n="2"))
    assert new_lines(log) == [{"n": "2"}]
    assert new_lines(log) == []


def test_a_line_that_comes_late_to_yesterdays_file_counts(log, tmp_path):
    """Also with a clock that was wrong: FreeRADIUS goes on in a file with an earlier name."""
    old = tmp_path / "events-20261122.log"
    old.write_text(line(n="1"))
    (tmp_path / "events-20990101.log").write_text(line(n="2"))
    assert new_lines(log) == [{"n": "1"}, {"n": "2"}]
    with old.open("a") as more:
        more.write(line(n="3"))
    (tmp_path / "events-20261123.log").write_text(line(n="4"))
    assert new_lines(log) == [{"n": "3"}, {"n": "4"}]


def test_the_first_time_it_begins_with_the_newest_file(tmp_path):
    (tmp_path / "events-20261121.log").write_text(line(n="1"))
    (tmp_path / "events-20261122.log").write_text(line(n="2") + line(n="3"))
    log = EventLog(tmp_path, None)
    assert log.read().records == ({"n": "2"}, {"n": "3"}), "not kept: the same again"
    assert new_lines(log) == [{"n": "2"}, {"n": "3"}]
    assert new_lines(log) == []
    with (tmp_path / "events-20261121.log").open("a") as more:
        more.write(line(n="4"))
    assert new_lines(log) == [{"n": "4"}]


def test_it_goes_on_where_another_process_ended(tmp_path):
    file = tmp_path / "events-1.log"
    file.write_text(line(n="1") + line(n="2"))
    first = EventLog(tmp_path, None)
    positions = first.read().positions
    (tmp_path / "events-2.log").write_text(line(n="3"))
    with file.open("a") as more:
        more.write(line(n="4"))
    assert new_lines(EventLog(tmp_path, positions)) == [{"n": "4"}, {"n": "3"}]


def test_a_file_that_was_cut_or_replaced_is_read_from_its_beginning_and_said(log, tmp_path):
    file = tmp_path / "events-1.log"
    file.write_text(line(n="1") * 3)
    new_lines(log)
    file.write_text(line(n="2"))
    batch = log.read()
    assert (batch.records, batch.replaced) == (({"n": "2"},), ("events-1.log",))
    log.keep(batch)
    (tmp_path / "beside").write_text(line(n="3") * 9)
    (tmp_path / "beside").rename(file)
    batch = log.read()
    assert (len(batch.records), batch.replaced) == (9, ("events-1.log",))


def test_a_file_that_is_gone_is_forgotten(log, tmp_path):
    file = tmp_path / "events-1.log"
    file.write_text(line(n="1"))
    new_lines(log)
    file.unlink()
    assert log.read().gone == ("events-1.log",)
    new_lines(log)
    assert not log.read().is_news
    assert new_lines(EventLog(tmp_path / "missing", None)) == []


def test_a_long_file_comes_in_bounded_pieces_and_nothing_twice(log, tmp_path):
    (tmp_path / "events-1.log").write_text("".join(line(n=str(n) + "x" * 500) for n in range(6000)))
    (tmp_path / "events-2.log").write_text(line(n="last"))
    found = []
    while batch := new_lines(log):
        assert len(batch) < 3000
        found += batch
    numbers = [record["n"].rstrip("x") for record in found]
    assert numbers == [*map(str, range(6000)), "last"]


def test_it_says_whether_there_is_more_however_long_the_lines_are(log, tmp_path):
    """Few long lines were taken for the end of the log, and what came after them was dropped as late."""
    for name in ("events-1.log", "events-2.log"):
        (tmp_path / name).write_text(line(ssid="x" * 3000) * 500)
    found = []
    while not found or found[-1].more:
        found.append(log.read())
        log.keep(found[-1])
    assert sum(len(batch.records) for batch in found) == 1000
    assert len(found) == 3
    assert not log.read().is_news
    with (tmp_path / "events-2.log").open("a") as more:
        more.write(line(n="1"))
    assert (log.read().more, len(log.read().records)) == (False, 1)


def test_what_is_no_record_is_put_aside_and_the_next_line_counts(log, tmp_path):
    rubbish = ["not json", "[]", '"text"', '{"a":1}', "[" * 5000, "x" * 20000, ""]
    (tmp_path / "events-1.log").write_text("\n".join(rubbish) + "\n" + line(n="1"))
    found = new_lines(log)
    assert found[-1] == {"n": "1"}
    assert found[:-1] == [None] * (len(rubbish))


def test_a_line_cut_by_a_power_cut_does_not_take_the_next_one_with_it(log, tmp_path):
    whole = line(t="7", mac="a").replace(" ", "")
    (tmp_path / "events-1.log").write_text('{"t":"6","kind":"admi' + whole)
    assert new_lines(log) == [None, {"t": "7", "mac": "a"}]


def test_a_line_without_an_end_does_not_hold_up_for_ever(log, tmp_path):
    (tmp_path / "events-1.log").write_bytes(b"\xff" * 20000)
    assert new_lines(log) == [None]
    with (tmp_path / "events-1.log").open("a") as more:
        more.write("\n" + line(n="2"))
    assert new_lines(log)[-1] == {"n": "2"}
