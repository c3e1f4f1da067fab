"""A new MAC for one tablet: its cell changes, and nothing else in the file does."""

import pytest

from netguard.core.names import Mac
from netguard.errors import BadValue
from netguard.rules.adopting import adopted

REAL, PRIVATE = Mac.parse("64:1b:2f:00:00:99"), Mac.parse("5a:11:c0:ff:ee:01")
TABLE = (
    'id,mac,group,note\nT-001,64:1b:2f:00:00:01,patients,"a, b"\nT-002,64:1b:2f:00:00:02,demo,x\n'
)


def test_only_the_cell_changes_also_where_columns_are_not_ours():
    after = adopted(TABLE, "T-002", REAL)
    assert after == TABLE.replace("64:1b:2f:00:00:02", "64:1b:2f:00:00:99")


def test_a_private_one_is_marked_and_the_mark_goes_with_it():
    after = adopted(TABLE, "T-001", PRIVATE)
    assert after.splitlines() == [
        "id,mac,group,note,private-address",
        'T-001,5a:11:c0:ff:ee:01,patients,"a, b",accepted',
        "T-002,64:1b:2f:00:00:02,demo,x,",
    ]
    back = adopted(after, "T-001", Mac.parse("64:1b:2f:00:00:01"))
    assert back.splitlines()[1] == 'T-001,64:1b:2f:00:00:01,patients,"a, b",'


def test_a_spreadsheets_file_stays_one():
    text = "\ufeff" + TABLE.replace('"a, b"', "a").replace(",", ";").replace("\n", "\r\n")
    assert adopted(text, "T-002", REAL) == text.replace("64:1b:2f:00:00:02", str(REAL))


@pytest.mark.parametrize("text", ["", "\n", "id,group\nT-001,x\n", "mac,group\n1,2\n"])
def test_a_table_that_is_none_is_an_error(text):
    with pytest.raises(BadValue, match="columns id and mac"):
        adopted(text, "T-001", REAL)


def test_a_tablet_without_a_row_is_an_error():
    with pytest.raises(BadValue, match="no row of T-009"):
        adopted(TABLE + "\n", "T-009", PRIVATE)
