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
    parse_address,
    parse_name,
    parse_unicast_mac,
    shown,
    suggest,
)
from netguard.core.policy import Origin, Tablet
from netguard.errors import BadValue
from netguard.rules.findings import ERROR, WARNING, Finding
from netguard.rules.schema import tablet_id
from netguard.rules.source import Unreadable, decode

MAX_ROWS = 100_000
MAX_FIELD = 1000
SHOWN_FAULTS = 50

TABLET_COLUMNS = ("id", "mac", "group", "home", "model", "serial", "address", "private-address")
ALLOTTED_COLUMNS = ("site", "id", "address")
MAC_COLUMNS = ("mac", "label")

_SPREADSHEET = re.compile(r"[0-9](?:[.,][0-9]+)?E\+?[0-9]{1,3}", re.IGNORECASE)
V = TypeVar("V")


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
        text = f"{column}, {shown(value)}, {expected}"
        self.findings.append(Finding(self.name, line, 0, ERROR, id_, text, cell=True))

    def field(self, row: Row, column: str, parse: Callable[[str], V]) -> V | None:
        """Parse one field of a row, or report it and return None."""
        value = row.fields.get(column, "").strip()
        try:
            return parse(value)
        except BadValue as error:
            expected = error.text
            if _SPREADSHEET.fullmatch(value):
                self.fault(row.line, "spreadsheet", column, value, "format the column as text")
                return None
            if column == "mac" and error.finding == "bad-mac" and "hexadecimal" in error.text:
                expected = "expected 12 hexadecimal digits"
            self.fault(row.line, error.finding, column, value, expected)
            return None

    def _read(self, text: str, columns: Sequence[str], required: Sequence[str]) -> None:
        lines = text.split("\n")
        header = lines[0].strip("\r") if lines else ""
        if not text.strip():
            self._shape(1, "empty table; the last good inventory stays in force", "row-shape")
            return
        delimiter = ";" if header.count(";") > header.count(",") else ","
        names = [name.strip().strip('"').lower() for name in header.split(delimiter)]
        if not self._header(names, columns, required):
            return
        for number, cells in self._cells(text, delimiter):
            if len(self.rows) >= MAX_ROWS:
                self._shape(number, f"more than {MAX_ROWS} rows, split the fleet by site", "size")
                return
            if cells != [] and self._fits(number, cells, names):
                self.rows.append(Row(number, dict(zip(names, cells, strict=True))))

    def _header(self, names: list[str], columns: Sequence[str], required: Sequence[str]) -> bool:
        for name in required:
            if name not in names:
                text = f"column '{name}' is missing{suggest(name, names)} columns: {', '.join(columns)}"
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
    home = table.field(row, "home", _home)
    address = (
        table.field(row, "address", parse_address)
        if row.fields.get("address", "").strip()
        else None
    )
    private = table.field(row, "private-address", _accepted)
    if len(table.findings) > before or id_ is None or mac is None or group is None or home is None:
        return None
    model, serial = row.fields.get("model", "").strip(), row.fields.get("serial", "").strip()
    return Tablet(id_, mac, group, home, model, serial, address, private or False)


def _home(text: str) -> tuple[str, str]:
    site, slash, area = text.partition("/")
    if not slash:
        raise BadValue("unknown-ref", "expected SITE/AREA")
    return parse_name(site), parse_name(area)


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
        address = table.field(row, "address", parse_address)
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
    """Return allotted.csv, sorted, as `allot` writes it."""
    rows = (f"{site},{id_},{address}" for (site, id_), address in sorted(allotted.items()))
    return "\n".join((",".join(ALLOTTED_COLUMNS), *rows, "")).encode()
