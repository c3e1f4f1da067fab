"""Tables: taken as a whole or refused, every bad line listed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.rules import inventory
from netguard.rules.inventory import read_allotted, read_macs, read_tablets, write_allotted

HEAD = "id,mac,group,home,model,serial,address\n"
ROW = "T-001,3c:28:6d:aa:01:10,patients,pellegrin/lobby,SM-T510,R52A,\n"


def said(text, read=read_tablets):
    data = text if isinstance(text, bytes) else text.encode()
    return [finding.render() for finding in read("t.csv", data)[-1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + ROW, []),
        ("\ufeff" + HEAD + ROW, []),
        ((HEAD + ROW).replace(",", ";"), []),
        ((HEAD + ROW).replace("\n", "\r\n"), []),
        (HEAD + "\n" + ROW, []),
        (HEAD.replace("mac", "MAC") + ROW.replace("SM-T510", '"SM, T510"'), []),
        (HEAD + '"T-001\n', ["t.csv:2: a quote is opened in this line and not closed"]),
        (HEAD + '"T\n-001",a\n', ["t.csv:2: a quote is opened in this line and not closed"]),
        (HEAD + '"T"x,a\n', ["""t.csv:2: not readable as CSV: ',' expected after '"'"""]),
        ("id,id,mac,group,home\n", ["t.csv:1: a column is named twice"]),
        (
            "id,mak,group,home\n",
            [
                "t.csv:1: column 'mac' is missing, did you mean 'mak'? columns: "
                "id, mac, group, home, model, serial, address, private-address",
                "t.csv:1: warning: column 'mak' is not known and not read, did you mean 'mac'?",
            ],
        ),
        (HEAD + ROW + "T-002,x\n", ["t.csv:3: 2 fields, expected 7: id,mac,group,home,model,serial,address"]),
        (HEAD + ROW.replace("R52A", "R" * 1001), ["t.csv:2: serial, a field is longer than 1000 characters"]),
        (HEAD + ROW.replace("R52A", "R" * 200_000), ["t.csv:2: a field is longer than 1000 characters"]),
        (HEAD + ROW.replace("patients", ""), ["t.csv:2: group, '', expected a name"]),
        (HEAD + ROW.replace("patients", "P"), ["t.csv:2: group, 'P', is not a name, write a lower-case letter, then up to 30 letters, digits or '-'"]),
        (HEAD + ROW.replace("pellegrin/lobby", "lobby"), ["t.csv:2: home, 'lobby', is not SITE/AREA"]),
        (HEAD + ROW.replace("3c:28:6d:aa:01:10", "2.00E+11"), ["t.csv:2: mac, '2.00E+11', format the column as text"]),
        (HEAD + ROW.replace("3c:28:6d:aa:01:10", "10"), ["t.csv:2: mac, '10', expected 12 hexadecimal digits"]),
        (HEAD + ROW + ROW, ["t.csv:3: id, 'T-001', already listed at line 2"]),
        (" \n", ["t.csv:1: empty table; the last good inventory stays in force"]),
        ((HEAD + ROW).encode("utf-16"), ["t.csv:1:1: error: is UTF-16, save it as UTF-8"]),
    ],
)  # fmt: skip
def test_a_table_is_taken_or_its_bad_lines_are_listed(text, expected):
    assert said(text) == expected


def test_too_many_rows_are_refused_before_one_is_judged(monkeypatch):
    monkeypatch.setattr(inventory, "MAX_ROWS", 3)
    assert said(HEAD + "x\n" * 3)[0].startswith("t.csv:2: 1 fields")
    assert said(HEAD + "x\n" * 4) == ["t.csv:5: more than 3 rows, split the fleet by site"]


def test_each_bad_field_of_a_row_is_told():
    rows = said(HEAD + "T 1,x,P,y,,,z\n")
    assert [row.split(",")[0] for row in rows] == [
        "t.csv:2: id", "t.csv:2: mac", "t.csv:2: group", "t.csv:2: home", "t.csv:2: address",
    ]  # fmt: skip


def test_allotted_rows_are_unique_and_whole():
    text = "site,id,address\na,T-1,10.0.0.1\na,T-1,10.0.0.2\nb,T-1,x\nB,T-1,10.0.0.3\n"
    assert said(text, read_allotted) == [
        "t.csv:3: id, 'T-1', already listed at line 2",
        "t.csv:4: address, 'x', is not an IP address",
        "t.csv:5: site, 'B', is not a name, write a lower-case letter, then up to 30 letters, digits or '-'",
    ]


def test_a_list_of_macs_keeps_the_first_place_of_each():
    text = b"mac,label\nf0:e5:c3:00:00:01,Ventilator\nf0e5c3000001,Again\nx,No\n"
    macs, findings = read_macs("m.csv", text)
    assert [(str(mac), origin.line) for mac, origin in macs.items()] == [("f0:e5:c3:00:00:01", 2)]
    assert len(findings) == 1


@given(
    st.dictionaries(
        st.tuples(st.from_regex("[a-z]{1,3}", fullmatch=True), st.from_regex("T-[0-9]{3}", fullmatch=True)),
        st.ip_addresses(v=4),
    )
)  # fmt: skip
def test_what_allot_writes_is_read_back_and_sorted(table):
    written = write_allotted(table)
    assert read_allotted("a.csv", written)[0] == table
    assert written == write_allotted(dict(reversed(table.items())))
