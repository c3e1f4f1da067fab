"""The event log: whole lines once each, hostile ones put aside."""

import json
from urllib.parse import quote

from netguard.adapters.radius import EventLog


def line(**fields):
    return json.dumps({key: quote(value, safe="") for key, value in fields.items()}) + "\n"


def test_each_line_comes_once_and_a_half_line_waits(tmp_path):
    log = EventLog(tmp_path)
    file = tmp_path / "events-20261122.log"
    file.write_text(line(kind="admission", ssid="A B:C") + '{"kind":"adm')
    assert list(log.lines()) == [{"kind": "admission", "ssid": "A B:C"}]
    assert list(log.lines()) == []
    with file.open("a") as more:
        more.write('ission"}\n')
    assert list(log.lines()) == [{"kind": "admission"}]


def test_the_next_days_file_follows_and_the_old_one_is_not_read_again(tmp_path):
    log = EventLog(tmp_path)
    (tmp_path / "events-20261122.log").write_text(line(n="1"))
    assert len(list(log.lines())) == 1
    (tmp_path / "events-20261123.log").write_text(line(n="2"))
    assert list(log.lines()) == [{"n": "2"}]
    assert list(log.lines()) == []


def test_starting_at_the_end_skips_what_was_before(tmp_path):
    (tmp_path / "events-20261122.log").write_text(line(n="1"))
    log = EventLog(tmp_path)
    log.start_at_end()
    assert list(log.lines()) == []
    EventLog(tmp_path / "missing").start_at_end()
    assert list(EventLog(tmp_path / "missing").lines()) == []


def test_what_is_no_record_is_put_aside_and_the_next_line_counts(tmp_path):
    rubbish = ["not json", "[]", '"text"', '{"a":1}', "[" * 5000, "x" * 20000, ""]
    (tmp_path / "events-1.log").write_text("\n".join(rubbish) + "\n" + line(n="1"))
    found = list(EventLog(tmp_path).lines())
    assert found[-1] == {"n": "1"}
    assert found[:-1] == [None] * (len(rubbish))


def test_a_line_without_an_end_does_not_hold_up_for_ever(tmp_path):
    (tmp_path / "events-1.log").write_bytes(b"\xff" * 20000)
    log = EventLog(tmp_path)
    assert list(log.lines()) == [None]
    with (tmp_path / "events-1.log").open("a") as more:
        more.write("\n" + line(n="2"))
    assert list(log.lines())[-1] == {"n": "2"}
