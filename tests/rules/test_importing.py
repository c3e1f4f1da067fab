"""Import and export: any table, whole or not at all, and back the same."""

import csv
import datetime
import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netguard.core.names import Mac
from netguard.core.policy import Tablet
from netguard.rules.folder import read_folder
from netguard.rules.importing.advice import advice
from netguard.rules.importing.changes import written
from netguard.rules.importing.columns import HEADERS, folded, places
from netguard.rules.importing.merge import Wishes, merge
from netguard.rules.importing.table import Refused, read, unwrapped, wrapped
from netguard.rules.load import load

BASE = Path(__file__).parents[1] / "bad" / "base"
POLICY = load(read_folder(BASE), today=datetime.date(2026, 11, 22)).policy
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=20
).map(str.strip)
HOMES = [(site.name, area) for site in POLICY.sites.values() for area in site.areas]


@st.composite
def inventories(draw):
    numbers = draw(st.lists(st.integers(1, 99_999), max_size=8, unique=True))
    return [
        Tablet(
            f"T-{number:05}",
            Mac.parse(f"3c286d{number:06x}"),
            draw(st.sampled_from(sorted(POLICY.groups))),
            draw(st.sampled_from(HOMES)),
            draw(TEXT),
            draw(TEXT.map(lambda text, number=number: f"{text}{number}")),
            private_address=draw(st.booleans()),
        )
        for number in numbers
    ]


@given(
    inventories(),
    st.sampled_from([",", ";"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_exported_comes_back_the_same(before, separator, encoding, end):
    text = written(before, separator=separator, safe=True).replace("\n", end)
    data = text.encode(encoding)
    sheet = read("x.csv", data, "csv")
    assert merge(sheet, "csv", POLICY, [], Wishes()).tablets == tuple(before)
    assert merge(sheet, "csv", POLICY, before, Wishes()).changes == ()


@given(inventories())
def test_a_spreadsheet_sees_no_formula_in_what_is_exported(before):
    text = written(before, separator=";", safe=True)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=";"))
    assert len(rows) == len(before) + 1
    assert not any(
        cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row
    )


@given(TEXT)
def test_a_wrapped_cell_says_what_it_said(text):
    assert unwrapped(wrapped(text)) == text


@settings(max_examples=300)
@given(st.one_of(st.binary(max_size=400), TEXT.map(lambda text: ("mac,id\n" + text).encode())))
def test_no_bytes_end_otherwise_than_in_a_table_or_in_findings(data):
    for form in ("csv", "mdm"):
        findings = refusals(data, form)
        assert findings is None or findings
        assert all(finding.level == "error" and finding.text for finding in findings or ())


def refusals(data, form):
    try:
        merge(read("x.csv", data, form), form, POLICY, [], Wishes())
    except Refused as error:
        return error.findings
    return None


def test_each_header_is_written_as_it_is_compared():
    for headers in HEADERS.values():
        assert [folded(header) for header in headers] == list(headers)
        assert len(set(headers)) == len(headers)


def test_the_address_of_wi_fi_goes_before_others_and_a_number_of_an_mdm_is_none_of_ours():
    names = ["ID", "Ethernet MAC", "MAC address", "Wi-Fi MAC", "N° de série", "Location"]
    assert places(names, "mdm") == {"mac": 3, "serial": 4}
    assert places(names, "csv") == {"mac": 3, "serial": 4, "id": 0}
    assert places(names, "mdm", {"id": "ID", "serial": ""}) == {"mac": 3, "id": 0}


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"PK\x03\x04" + b"x" * 30, "is a workbook"),
        (b"\xd0\xcf\x11\xe0", "is a workbook"),
        (b"", "no column is called MAC"),
        (b"mac,id\n3c:28:6d:00:00:01,T\x00-1\n", "NUL byte"),
        (b"mac,id\n\x81\xff,T-1\n", "save the table as CSV UTF-8"),
        (b"mac,id\n" + b"\n" * 100_100, "more than"),
        (b"mac,mac\n1,2\n", "2 columns are called 'mac'"),
        (b"mac,id\n" + b"x" * (32 * 1024 * 1024), "is larger than 32 MiB"),
        (b'mac,id\n"a"b,c\n', "a quote is opened in this line and not closed"),
    ],
)
def test_a_table_that_is_none_is_refused_with_its_reason(data, said):
    with pytest.raises(Refused, match=said):
        read("x.csv", data, "csv")


def test_a_shorter_row_ends_in_empty_cells_and_sep_names_the_separator():
    data = b"sep=|\r\nmac|id|group|model\r\n3c:28:6d:00:00:01|T-1|patients\r\n\r\n"
    sheet = read("x.csv", data, "csv")
    assert [(row.number, row.cells["model"]) for row in sheet.rows] == [(3, "")]
    assert (sheet.separator, sheet.blank) == ("|", 1)


def merged(text, form="csv", before=(), **wishes):
    return merge(read("x.csv", text.encode(), form), form, POLICY, list(before), Wishes(**wishes))


def test_an_inventory_takes_away_what_it_lacks_and_an_mdm_does_not():
    before = list(POLICY.tablets.values())
    text = "id,mac,group,home\nT-001,64:1b:2f:00:00:01,patients,pellegrin/cardio-3\n"
    gone = [change.id for change in merged(text, before=before).changes]
    assert gone == ["T-002", "T-003", "T-004", "T-005"]
    kept = merged("mac\n64:1b:2f:00:00:01\n", "mdm", before)
    assert kept.changes == ()
    assert kept.unseen == tuple(gone)


def test_an_mdm_fills_in_what_is_missing_and_changes_no_ward():
    before = [Tablet("T-1", Mac.parse("641b2f000001"), "patients", HOMES[0])]
    text = "mac,model,serial,group,home\n641B2F000001,SM-T510,R52A,other,nowhere\n"
    (change,) = merged(text, "mdm", before).changes
    assert change.columns() == {"model": ("", "SM-T510"), "serial": ("", "R52A")}


def test_rows_without_a_number_get_the_next_free_one():
    text = "mac,id\n3c:28:6d:00:00:01,\n3c:28:6d:00:00:02,TAB-010\n3c:28:6d:00:00:03,\n"
    wishes = {"group": "patients", "home": "pellegrin/cardio-3"}
    assert [each.id for each in merged(text, **wishes).tablets] == ["TAB-011", "TAB-010", "TAB-012"]
    given_ids = merged(text, first_id="TAB-009", **wishes).tablets
    assert [each.id for each in given_ids] == ["TAB-009", "TAB-010", "TAB-011"]


def test_a_private_address_that_is_accepted_is_written_down():
    text = "id,mac,group,home\nT-1,da:28:6d:00:00:01,patients,pellegrin/cardio-3\n"
    after = merged(text, accept_private=True)
    assert after.private == ("T-1",)
    assert written(after.tablets).splitlines()[1].endswith(",accepted")
    # The next inventory does not know of it: the word stays with the address.
    assert merged(text, before=after.tablets).changes == ()


@pytest.mark.parametrize(
    ("columns", "row", "said"),
    [
        ("model", "x" * 1001, "model, .* is longer than a line of 1000 characters"),
        ("serial", '"a\nb"', "serial, .* is longer than a line"),
        (
            "home",
            "ward",
            "more than one area is called so: ",
        ),
        ("private-address", "yes", "expected 'accepted' or nothing"),
        ("address", "fd00::1", "is not an IPv4 address"),
        ("address", "10.99.0.12", ""),
    ],
)
def test_a_cell_is_judged_by_what_it_is(columns, row, said):
    text = f"mac,{columns}\n3c:28:6d:00:00:01,{row}\n"
    wishes = Wishes("patients", "pellegrin/cardio-3", "T-1")
    names = {("pellegrin", "cardio-3"), ("haut-leveque", "entrance")}
    sites = {
        name: replace(site, areas={
            a: replace(area, label="Ward") if (name, a) in names else area
            for a, area in site.areas.items()
        })
        for name, site in POLICY.sites.items()
    }  # fmt: skip
    rules = replace(POLICY, sites=sites)
    sheet = read("x.csv", text.encode(), "csv")
    if not said:
        assert merge(sheet, "csv", rules, [], wishes).tablets[0].address is not None
        return
    with pytest.raises(Refused, match=said):
        merge(sheet, "csv", rules, [], wishes)


def test_the_advice_for_a_system_that_nobody_knows_is_general():
    tablet = Tablet("T-1", Mac.parse("da286d000001"), "patients", HOMES[0], "Nokia T20")
    assert advice(tablet, "")[0] == "other systems"
    assert advice(tablet, "Android 13")[0] == "Android"
    assert advice(replace(tablet, model="Surface Go"), "")[0] == "Windows"
