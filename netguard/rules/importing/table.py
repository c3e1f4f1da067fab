"""A foreign table: whatever encoding and separator, titles above the header, blank lines, cells of a spreadsheet.

Nothing is guessed about a value. What is unclear in a row is a finding with its line, and then
nothing of the table is taken.
"""

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from netguard.core.names import shown
from netguard.errors import BadValue
from netguard.rules.findings import ERROR, Finding
from netguard.rules.importing.columns import HEADERS, called, folded, places
from netguard.rules.inventory import MAX_ROWS

MAX_BYTES = 32 * 1024 * 1024
# Titles, a date, a blank line: more never stands above a header.
TITLES = 20
SEPARATORS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
# ="00123" keeps a spreadsheet from reading a number; our own export writes a leading ' for the same.
_KEPT_TEXT = re.compile(r'="([^"]*)"')
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\0", "'")


class Refused(Exception):
    """A table of which nothing is taken; `findings` says why."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(finding.text for finding in findings))
        self.findings = findings


@dataclass(frozen=True, slots=True)
class Line:
    """One row: the line it begins on and its cells by field (`columns.HEADERS`)."""

    number: int
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as it was found.

    `taken` is the header of each field, `left` the headers that nothing was read of, `blank` the
    number of empty rows, `encoding` and `separator` how it was read.
    """

    name: str
    rows: tuple[Line, ...]
    taken: Mapping[str, str]
    left: tuple[str, ...]
    blank: int
    encoding: str
    separator: str


def read(
    name: str,
    data: bytes,
    form: str,
    asked: Mapping[str, str] = MappingProxyType({}),
    only: Mapping[str, str] = MappingProxyType({}),
) -> Sheet:
    """Read a table; `form` and `asked` as in `columns.places`, `only` keeps rows with these values.

    Raises Refused.
    """
    text, encoding = _decoded(name, data)
    separator, text, skipped = _separator(text)
    rows = list(_rows(name, text, separator, skipped))
    at = _header(name, rows, form, asked)
    names = [cell.strip() for cell in rows[at][1]]
    try:
        columns = places(names, form, asked)
        kept = {called(header, names, "--only"): value for header, value in only.items()}
    except BadValue as error:
        raise Refused(
            Finding(name, rows[at][0], 0, ERROR, error.finding, error.text, cell=True)
        ) from error
    lines, blank, faults = [], 0, []
    for number, cells in rows[at + 1 :]:
        if not any(cell.strip() for cell in cells):
            blank += 1
            continue
        if any(cell.strip() for cell in cells[len(names) :]):
            text = (
                f"{len(cells)} cells below {len(names)} headers: a separator in a text without "
                "quotes, or a quote that is not closed"
            )
            faults.append(Finding(name, number, 0, ERROR, "row-shape", text, cell=True))
            continue
        # Spreadsheets leave out empty cells at the end of a row.
        full = [*cells, *[""] * (len(names) - len(cells))]
        if all(unwrapped(full[column]) == value for column, value in kept.items()):
            lines.append(
                Line(number, {field: unwrapped(full[column]) for field, column in columns.items()})
            )
    if faults:
        raise Refused(*faults)
    return Sheet(
        name,
        tuple(lines),
        {field: names[column] for field, column in columns.items()},
        tuple(head for i, head in enumerate(names) if head and i not in set(columns.values())),
        blank,
        encoding,
        separator,
    )


def unwrapped(cell: str) -> str:
    """Return what a cell says: ="x" and 'x are x, blanks around it go."""
    text = cell.strip()
    kept = _KEPT_TEXT.fullmatch(text)
    if kept:
        return kept[1].strip()
    return text.removeprefix("'")


def wrapped(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula (OWASP ASVS 5.0, 1.2.10)."""
    return f"'{text}" if text.startswith(_RISKY) else text


def _decoded(name: str, data: bytes) -> tuple[str, str]:
    if data.startswith(_WORKBOOKS):
        text = "is a workbook, not a table: save it as 'CSV UTF-8' and import that"
        raise _fault(name, 0, "not-utf8", text)
    if len(data) > MAX_BYTES:
        raise _fault(name, 0, "size", f"is larger than {MAX_BYTES // 2**20} MiB")
    text, encoding = _text(name, data)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _fault(name, line, "not-utf8", "NUL byte, export the table anew")
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _text(name: str, data: bytes) -> tuple[str, str]:
    """Return the text and its encoding: of a byte order mark, by its NULs, UTF-8, else Windows-1252."""
    mark = next(((bom, encoding) for bom, encoding in _BOMS if data.startswith(bom)), None)
    tried = ["utf-8", "cp1252"]
    if mark is not None:
        data, tried = data.removeprefix(mark[0]), [mark[1]]
    elif data[1:200:2].count(0) > len(data[1:200:2]) * 0.6:
        tried = ["utf-16-le"]
    elif data[0:200:2].count(0) > len(data[0:200:2]) * 0.6:
        tried = ["utf-16-be"]
    line = 1
    for encoding in tried:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
    raise _fault(name, line, "not-utf8", f"is not {tried[-1]} either: save the table as CSV UTF-8")


def _separator(text: str) -> tuple[str, str, int]:
    """Return the separator, the text, and how many lines were taken off: Excel writes `sep=;` on top."""
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r'"?sep=(.)"?', first.strip(), re.IGNORECASE)
    if said and said[1] in SEPARATORS:
        return said[1], rest, 1
    for line in text.split("\n")[:TITLES]:
        counts = {mark: line.count(mark) for mark in SEPARATORS}
        mac = any(folded(cell) in HEADERS["mac"] for cell in re.split(r"[,;\t|]", line))
        if mac and any(counts.values()):
            return max(counts, key=lambda mark: counts[mark]), text, 0
    counts = {mark: text[:4096].count(mark) for mark in SEPARATORS}
    return max(counts, key=lambda mark: counts[mark]), text, 0


def _rows(name: str, text: str, separator: str, skipped: int) -> Sequence[tuple[int, list[str]]]:
    if text.count("\n") > MAX_ROWS + TITLES:
        raise _fault(name, MAX_ROWS + TITLES, "size", f"more than {MAX_ROWS} rows")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows, start = [], 1 + skipped
    try:
        for cells in reader:
            rows.append((start, cells))
            start = reader.line_num + 1 + skipped
    except csv.Error as error:
        # Of a strict reader: an end of the data, or anything but a separator, behind an open quote.
        what = f"a quote is opened in this line and not closed ({error})"
        raise _fault(name, start, "row-shape", what) from error
    return rows


def _header(
    name: str,
    rows: Sequence[tuple[int, list[str]]],
    form: str,
    asked: Mapping[str, str],
) -> int:
    """Return the index of the row with the headers: the first that names a column of MACs."""
    wanted = {folded(asked["mac"])} if asked.get("mac") else set(HEADERS["mac"])
    for index, (_, cells) in enumerate(rows[:TITLES]):
        if any(folded(cell) in wanted for cell in cells):
            return index
    known = next((cells for _, cells in rows if any(cells)), [])
    heads = ", ".join(shown(cell, 30) for cell in known[:20]) or "nothing"
    text = "no column is called MAC, 'Wi-Fi MAC' or 'Adresse MAC'; say which: --column mac=NAME"
    if asked.get("mac"):
        text = f"--column mac: there is no column {shown(asked['mac'])}"
    text += f"; the first line has {heads}"
    raise _fault(name, 1, "row-shape", text)


def _fault(name: str, line: int, id_: str, text: str) -> Refused:
    return Refused(Finding(name, line, 0, ERROR, id_, text, cell=line > 0))
