"""Tables of the rules folder: tablets.csv, allotted.csv and lists of MACs.

The csv module accepts much that an inventory must not hold: a NUL, a row that is too short, an
unclosed quote that swallows the next rows. The whole table is taken or refused, and every bad
line is listed.
"""

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from netguard.core.names import (
    Address,
    Mac,
    parse_ipv4,
    parse_name,
    parse_unicast_mac,
    shown,
    suggest,
)
from netguard.core.policy import Origin, Tablet
from netguard.errors import BadValue
from netguard.rules.findings import ERROR, WARNING, Finding
from netguard.rules.source import Unreadable, decode
from netguard.rules.words import home, tablet_id

MAX_ROWS = 100_000
MAX_FIELD = 1000
SHOWN_FAULTS = 50

TABLET_COLUMNS = ("id", "mac", "group", "home", "model", "serial", "address", "private-address")
ALLOTTED_COLUMNS = ("site", "id", "address")
MAC_COLUMNS = ("mac", "label")

SPREADSHEET = re.compile(r"[0-9](?:[.,][0-9]+)?E\+?[0-9]{1,3}", re.IGNORECASE)
V = TypeVar("V")

# What a field holds, for the message about an empty one.
_EXPECTED = {
    "id": "a tablet id such as T-001",
    "mac": "12 hexadecimal digits",
    "group": "a name",
    "home": "SITE/AREA",
    "site": "a name",
    "address": "an IPv4 address",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: its number and its fields by column name."""

    line: int
    fields: Mapping[str, str]


class Table:
    """A CSV file read strictly; `rows` are the readable ones, `findings` what was wrong."""

    def __init__(
        self, name: str, data: bytes, columns: Sequence[str], required: Sequence[str]
    ) -> None:
        self.name = name
        self.findings: list[Finding] = []
        self.rows: list[Row] = []
        try:
            text = decode(data, name)
        except Unreadable as error:
            self.findings.append(error.finding)
            return
        self._read(text, columns, required)

    def fault(self, line: int, id_: str, column: str, value: str, expected: str) -> None:
        """Report one field: column, value, what is expected."""
        text = f"{column}, {shown(value)}, {expected.removeprefix(shown(value) + ' ')}"
        self.findings.append(Finding(self.name, line, 0, ERROR, id_, text, cell=True))

    def field(self, row: Row, column: str, parse: Callable[[str], V]) -> V | None:
        """Parse one field of a row, or report it and return None."""
        value = row.fields.get(column, "").strip()
        try:
            return parse(value)
        except BadValue as error:
            if not value:
                self.fault(row.line, error.finding, column, value, f"expected {_EXPECTED[column]}")
            elif SPREADSHEET.fullmatch(value):
                self.fault(row.line, "spreadsheet", column, value, "format the column as text")
            elif "hexadecimal" in error.text:
                text = "expected 12 hexadecimal digits"
                self.fault(row.line, error.finding, column, value, text)
            else:
                self.fault(row.line, error.finding, column, value, error.text)
            return None

    def _read(self, text: str, columns: Sequence[str], required: Sequence[str]) -> None:
        if not text.strip():
            self._shape(1, "empty table; the last good inventory stays in force", "row-shape")
            return
        # Counted before anything is parsed: a million rows are refused at once.
        if text.count("\n") > MAX_ROWS + 1:
            self._shape(MAX_ROWS + 2, f"more than {MAX_ROWS} rows, split the fleet by site", "size")
            return
        header = text.split("\n", 1)[0].strip("\r")
        delimiter = ";" if header.count(";") > header.count(",") else ","
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if not self._header(names, columns, required):
            return
        for number, cells in self._cells(text, delimiter):
            if cells and self._fits(number, cells, names):
                self.rows.append(Row(number, dict(zip(names, cells, strict=True))))

    def _header(self, names: list[str], columns: Sequence[str], required: Sequence[str]) -> bool:
        for name in required:
            if name not in names:
                text = f"column '{name}' is missing{suggest(name, names) or ','} columns: {', '.join(columns)}"
                self._shape(1, text, "row-shape")
        if len(set(names)) != len(names):
            self._shape(1, "a column is named twice", "row-shape")
        for name in names:
            if name not in columns:
                text = f"column {shown(name)} is not known and not read{suggest(name, columns)}"
                self.findings.append(
                    Finding(self.name, 1, 0, WARNING, "unknown-column", text, cell=True)
                )
        return not any(f.level == ERROR for f in self.findings)

    def _cells(self, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        line = 1
        try:
            for index, cells in enumerate(reader):
                start, line = line, reader.line_num + 1
                # A quoted line break has no place here: it is a quote that somebody forgot to close.
                if reader.line_num > start:
                    self._shape(start, "a quote is opened in this line and not closed", "row-shape")
                    return
                if index:
                    yield start, cells
        except csv.Error as error:
            if "field larger" in str(error):
                self._shape(line, f"a field is longer than {MAX_FIELD} characters", "row-shape")
            elif "end of data" in str(error) or "NUL" in str(error):
                self._shape(line, "a quote is opened in this line and not closed", "row-shape")
            else:
                self._shape(line, f"not readable as CSV: {error}", "row-shape")

    def _fits(self, line: int, cells: list[str], names: list[str]) -> bool:
        long = next(
            (name for name, cell in zip(names, cells, strict=False) if len(cell) > MAX_FIELD), None
        )
        if long:
            self._shape(line, f"{long}, a field is longer than {MAX_FIELD} characters", "row-shape")
        elif len(cells) != len(names):
            text = f"{len(cells)} fields, expected {len(names)}: {','.join(names)}"
            self._shape(line, text, "row-shape")
        return not long and len(cells) == len(names)

    def _shape(self, line: int, text: str, id_: str) -> None:
        self.findings.append(Finding(self.name, line, 0, ERROR, id_, text, cell=True))


def read_tablets(
    name: str, data: bytes
) -> tuple[dict[str, Tablet], dict[str, Origin], list[Finding]]:
    """Read tablets.csv; returns tablets by id, their lines, and what was wrong."""
    table = Table(name, data, TABLET_COLUMNS, ("id", "mac", "group", "home"))
    tablets: dict[str, Tablet] = {}
    lines: dict[str, Origin] = {}
    for row in table.rows:
        tablet = _tablet(table, row)
        if tablet is None:
            continue
        if tablet.id in tablets:
            first = lines[tablet.id].line
            table.fault(
                row.line, "duplicate-id", "id", tablet.id, f"already listed at line {first}"
            )
            continue
        tablets[tablet.id] = tablet
        lines[tablet.id] = Origin(name, row.line)
    return tablets, lines, table.findings


def _tablet(table: Table, row: Row) -> Tablet | None:
    before = len(table.findings)
    id_ = table.field(row, "id", tablet_id)
    mac = table.field(row, "mac", parse_unicast_mac)
    group = table.field(row, "group", parse_name)
    place = table.field(row, "home", home)
    own = row.fields.get("address", "").strip()
    address = table.field(row, "address", parse_ipv4) if own else None
    private = table.field(row, "private-address", _accepted)
    if id_ is None or mac is None or group is None or place is None:
        return None
    if len(table.findings) > before:
        return None
    model, serial = row.fields.get("model", "").strip(), row.fields.get("serial", "").strip()
    return Tablet(id_, mac, group, place, model, serial, address, bool(private))


def _accepted(text: str) -> bool:
    if text not in {"", "accepted"}:
        raise BadValue("unknown-word", "expected 'accepted' or nothing")
    return text == "accepted"


def read_allotted(
    name: str, data: bytes
) -> tuple[dict[tuple[str, str], Address], dict[tuple[str, str], Origin], list[Finding]]:
    """Read allotted.csv; returns addresses by (site, tablet id), their lines, and what was wrong."""
    table = Table(name, data, ALLOTTED_COLUMNS, ALLOTTED_COLUMNS)
    allotted: dict[tuple[str, str], Address] = {}
    lines: dict[tuple[str, str], Origin] = {}
    for row in table.rows:
        site = table.field(row, "site", parse_name)
        id_ = table.field(row, "id", tablet_id)
        address = table.field(row, "address", parse_ipv4)
        if site is None or id_ is None or address is None:
            continue
        if (site, id_) in allotted:
            first = lines[site, id_].line
            table.fault(row.line, "duplicate-id", "id", id_, f"already listed at line {first}")
            continue
        allotted[site, id_] = address
        lines[site, id_] = Origin(name, row.line)
    return allotted, lines, table.findings


def read_macs(name: str, data: bytes) -> tuple[dict[Mac, Origin], list[Finding]]:
    """Read a list of MACs, such as the clinical equipment; returns them with their lines."""
    table = Table(name, data, MAC_COLUMNS, ("mac",))
    macs: dict[Mac, Origin] = {}
    for row in table.rows:
        mac = table.field(row, "mac", parse_unicast_mac)
        if mac is not None:
            macs.setdefault(mac, Origin(name, row.line))
    return macs, table.findings


def write_allotted(allotted: Mapping[tuple[str, str], Address]) -> bytes:
    """Return allotted.csv, sorted by site and tablet, as `allot` writes it."""
    rows = (f"{site},{id_},{allotted[site, id_]}" for site, id_ in sorted(allotted))
    return "\n".join((",".join(ALLOTTED_COLUMNS), *rows, "")).encode()
