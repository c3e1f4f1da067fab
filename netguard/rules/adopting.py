"""Another MAC for a tablet of tablets.csv: one cell of one row, all else stays as it stands in the file."""

import csv
import io

from netguard.core.names import Mac
from netguard.errors import BadValue

_PRIVATE = "private-address"


def adopted(text: str, tablet: str, mac: Mac) -> str:
    """Return the table with a tablet's MAC replaced; a private one is marked as accepted.

    Columns, their order, the separator and rows of others stay, also columns that are not ours. Raises BadValue
    where the tablet has no row.
    """
    mark, body = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    end = "\r\n" if "\r\n" in body else "\n"
    head = body.split("\n", 1)[0]
    separator = ";" if head.count(";") > head.count(",") else ","
    rows = list(csv.reader(io.StringIO(body, newline=""), delimiter=separator))
    names = [name.strip().lower() for name in rows[0]] if rows else []
    if "id" not in names or "mac" not in names:
        raise BadValue("row-shape", "tablets.csv has no columns id and mac")
    if mac.is_local and _PRIVATE not in names:
        rows = [[*row, _PRIVATE if not n else ""] if row else row for n, row in enumerate(rows)]
        names.append(_PRIVATE)
    at = next((row for row in rows[1:] if row and row[names.index("id")].strip() == tablet), None)
    if at is None:
        raise BadValue("unknown-ref", f"tablets.csv has no row of {tablet}")
    at[names.index("mac")] = str(mac)
    if _PRIVATE in names:
        at[names.index(_PRIVATE)] = "accepted" if mac.is_local else ""
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator=end).writerows(rows)
    return mark + out.getvalue()
