"""Rows of a foreign table to the inventory that follows: what is added, changed, gone, and why not.

An inventory (`csv`) is the whole truth: who is not in it is gone. An export of an MDM (`mdm`) knows
devices and not wards: it adds, it corrects, and it takes nobody away.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from netguard.core.names import (
    Address,
    Mac,
    parse_ipv4,
    parse_name,
    parse_unicast_mac,
    shown,
    suggest_of,
)
from netguard.core.policy import Policy, Tablet
from netguard.errors import BadValue
from netguard.rules.findings import ERROR, Finding
from netguard.rules.importing.advice import advice
from netguard.rules.importing.changes import Change
from netguard.rules.importing.table import Line, Refused, Sheet
from netguard.rules.inventory import MAX_FIELD, SPREADSHEET
from netguard.rules.words import tablet_id

V = TypeVar("V")

_PAIRS = re.compile(r"[0-9A-Fa-f]{2}(?:\s[0-9A-Fa-f]{2}){5}")
# What exports write where they know no address. Android tells apps the last one since version 6.
_NO_MAC = {"", "-", "n/a", "na", "none", "null", "unknown", "not available", "inconnu", "inconnue"}
_ANDROID_DUMMY = "02:00:00:00:00:00"
_NUMBERED = re.compile(r"(.*?)([0-9]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person said for rows that do not say it: group, home, first id; what to let pass."""

    group: str = ""
    home: str = ""
    first_id: str = ""
    accept_private: bool = False
    skip_incomplete: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """The inventory that follows.

    `lines` says which line of the table each tablet comes from, `twice` which lines repeat another
    one word for word, `skipped` which were left out and why, `unseen` which tablets the table does
    not name (`mdm`), `private` the tablets with an address that was accepted though it is private.
    """

    tablets: tuple[Tablet, ...]
    changes: tuple[Change, ...]
    lines: Mapping[str, int]
    twice: tuple[int, ...] = ()
    skipped: tuple[tuple[int, str], ...] = ()
    unseen: tuple[str, ...] = ()
    private: tuple[str, ...] = ()


def merge(
    sheet: Sheet, form: str, policy: Policy, before: Sequence[Tablet], wishes: Wishes
) -> Merged:
    """Return what follows of a table ("csv" or "mdm") and the inventory before it.

    `policy` names sites, areas and groups. Raises Refused with every fault.
    """
    return _Merge(sheet, form, policy, before, wishes).run()


class _Merge:
    def __init__(
        self,
        sheet: Sheet,
        form: str,
        policy: Policy,
        before: Sequence[Tablet],
        wishes: Wishes,
    ) -> None:
        self.sheet, self.form, self.policy, self.wishes = sheet, form, policy, wishes
        self.before = list(before)
        self.faults: list[Finding] = []
        self.skipped: list[tuple[int, str]] = []
        self.twice: list[int] = []
        self.private: list[tuple[Tablet, Line]] = []
        self.by_id = {tablet.id: tablet for tablet in before}
        self.by_mac = {tablet.mac: tablet for tablet in before}
        self.by_serial = {tablet.serial: tablet for tablet in before if tablet.serial}
        named = {line.cells.get("id", "") for line in sheet.rows}
        self.ids = _Ids({tablet.id for tablet in before} | named, wishes.first_id)

    def run(self) -> Merged:
        seen: dict[tuple[tuple[str, str], ...], int] = {}
        after: dict[str, Tablet] = {}
        lines: dict[str, int] = {}
        first: dict[tuple[str, str], int] = {}
        for line in self._named_first():
            same = tuple(sorted(line.cells.items()))
            if same in seen:
                self.twice.append(line.number)
                continue
            seen[same] = line.number
            tablet = self._tablet(line)
            if tablet is None:
                continue
            if self._clashes(tablet, line, first):
                continue
            after[tablet.id] = tablet
            lines[tablet.id] = line.number
            if tablet.mac.is_local and not tablet.private_address:
                self.private.append((tablet, line))
        self.faults.extend(self._private_faults())
        if self.faults:
            raise Refused(*sorted(self.faults))
        return self._merged(after, lines)

    def _named_first(self) -> Iterator[Line]:
        """Yield rows that name their tablet before those that get a free number."""
        named = [line for line in self.sheet.rows if line.cells.get("id") or self._known(line)]
        names = {line.number for line in named}
        yield from named
        yield from (line for line in self.sheet.rows if line.number not in names)

    def _merged(self, after: dict[str, Tablet], lines: dict[str, int]) -> Merged:
        unseen = tuple(tablet.id for tablet in self.before if tablet.id not in after)
        if self.form == "mdm":
            after = {**{tablet.id: tablet for tablet in self.before}, **after}
        # Whoever was there keeps its line: a change is one line in git.
        kept = [after[tablet.id] for tablet in self.before if tablet.id in after]
        new = sorted(
            (tablet for id_, tablet in after.items() if id_ not in self.by_id),
            key=lambda tablet: lines[tablet.id],
        )
        changes = [
            Change(tablet.id, tablet, after.get(tablet.id))
            for tablet in self.before
            if after.get(tablet.id) != tablet
        ]
        changes += [Change(tablet.id, None, tablet) for tablet in new]
        return Merged(
            (*kept, *new),
            tuple(changes),
            MappingProxyType(lines),
            tuple(self.twice),
            tuple(self.skipped),
            unseen if self.form == "mdm" else (),
            tuple(tablet.id for tablet in after.values() if tablet.mac.is_local),
        )

    # one row

    def _known(self, line: Line) -> Tablet | None:
        """Return the tablet of the inventory that a row is about: by id, else serial, else MAC."""
        id_ = line.cells.get("id", "")
        if id_ in self.by_id:
            return self.by_id[id_]
        if id_ and self.form == "csv":
            return None
        serial = self.by_serial.get(line.cells.get("serial", ""))
        if serial is not None:
            return serial
        try:
            return self.by_mac.get(Mac.parse(_joined(line.cells["mac"])))
        except BadValue:
            return None

    def _tablet(self, line: Line) -> Tablet | None:
        before = len(self.faults)
        known = self._known(line)
        mac = self._mac(line)
        if mac is None and len(self.faults) == before:
            return None  # left out, as asked for
        cell = line.cells
        group = self._field(line, "group", self._group, known.group if known else self.wishes.group)
        place = self._home(line, known)
        address = known.address if known else None
        if "address" in cell:
            address = self._field(line, "address", _ipv4) if cell["address"] else None
        private = bool(cell.get("private-address")) and self._field(
            line, "private-address", _accepted
        )
        id_ = known.id if known else self._id(line)
        model, serial = self._words(cell, known)
        for name, text in (("model", model), ("serial", serial)):
            if "\n" in text or len(text) > MAX_FIELD:
                self._fault(line, name, text, f"is longer than a line of {MAX_FIELD} characters")
        wrong = len(self.faults) > before
        if wrong or mac is None or id_ is None or group is None or place is None:
            return None
        accepted = bool(private) or (self.wishes.accept_private and mac.is_local)
        if known is not None and "private-address" not in cell and known.mac == mac:
            accepted = accepted or known.private_address
        return Tablet(id_, mac, group, place, model, serial, address, accepted)

    def _words(self, cell: Mapping[str, str], known: Tablet | None) -> tuple[str, str]:
        """Return model and serial: an MDM fills in what is missing, an inventory says what is so."""
        model, serial = cell.get("model", ""), cell.get("serial", "")
        if known is None:
            return model, serial
        if self.form == "mdm":
            return known.model or model, known.serial or serial
        return (
            model if "model" in cell else known.model,
            serial if "serial" in cell else known.serial,
        )

    def _mac(self, line: Line) -> Mac | None:
        text = _joined(line.cells["mac"])
        if text.lower() in _NO_MAC or text.replace("-", ":") == "00:00:00:00:00:00":
            if self.wishes.skip_incomplete:
                self.skipped.append((line.number, "no MAC"))
                return None
            hint = "a device that never was on Wi-Fi; --skip-incomplete leaves such rows out"
            self._fault(line, "mac", text, f"no MAC: {hint}")
            return None
        if text.replace("-", ":") == _ANDROID_DUMMY:
            self._fault(
                line, "mac", text, "is what Android tells apps instead of the address: read it in "
                "Settings > About tablet > Status, or in the MDM's device details",
            )  # fmt: skip
            return None
        if text.startswith("="):
            self._fault(line, "mac", text, "is a formula; copy the column and paste its values")
            return None
        return self._field(line, "mac", parse_unicast_mac, text=text)

    def _home(self, line: Line, known: Tablet | None) -> tuple[str, str] | None:
        default = "/".join(known.home) if known else self.wishes.home
        text = line.cells.get("home", "") or default
        places = self._places()
        if not text:
            self._fault(
                line, "home", text, "expected SITE/AREA; --home SITE/AREA for all such rows"
            )
            return None
        # An inventory of a ward says "Cardiology, level 3": its area, if only one is called so.
        here = [
            (site, area)
            for site, area, label in places
            if text == f"{site}/{area}" or text.casefold() in {area, label.casefold()}
        ]
        if len(here) == 1:
            return here[0]
        if here:
            choice = ", ".join("/".join(place) for place in here)
            self._fault(line, "home", text, f"more than one area is called so: {choice}")
        else:
            names = [f"{site}/{area}" for site, area, _ in places]
            self._fault(line, "home", text, f"unknown area{suggest_of(text, names)}")
        return None

    def _group(self, text: str) -> str:
        name = parse_name(text)
        groups = self.policy.groups
        if name not in groups:
            raise BadValue("unknown-ref", f"unknown group{suggest_of(name, groups)}")
        return name

    def _places(self) -> list[tuple[str, str, str]]:
        return [
            (site.name, area.name, area.label)
            for site in self.policy.sites.values()
            for area in site.areas.values()
        ]

    def _id(self, line: Line) -> str | None:
        text = line.cells.get("id", "")
        if text:
            return self._field(line, "id", tablet_id)
        return self.ids.next()

    def _field(
        self,
        line: Line,
        column: str,
        parse: Callable[[str], V],
        default: str = "",
        text: str | None = None,
    ) -> V | None:
        """Parse a cell, or `text` in its place; `default` stands for an empty one."""
        value = (line.cells.get(column, "") if text is None else text) or default
        try:
            return parse(value)
        except BadValue as error:
            if not value:
                self._fault(line, column, value, f"missing; --{column} NAME for all such rows")
            elif SPREADSHEET.fullmatch(value):
                self._fault(line, column, value, "format the column as text and export it anew")
            else:
                self._fault(line, column, value, error.text.removeprefix(f"{shown(value)} "))
            return None

    def _fault(
        self, line: Line, column: str, value: str, text: str, id_: str = "row-shape"
    ) -> None:
        said = f"{column}, {shown(value)}, {text}"
        self.faults.append(Finding(self.sheet.name, line.number, 0, ERROR, id_, said, cell=True))

    # rows among themselves

    def _clashes(self, tablet: Tablet, line: Line, first: dict[tuple[str, str], int]) -> bool:
        before = len(self.faults)
        for column, value in (
            ("id", tablet.id), ("mac", str(tablet.mac)), ("serial", tablet.serial)
        ):  # fmt: skip
            earlier = first.setdefault((column, value), line.number) if value else line.number
            if earlier != line.number:
                text = f"stands in line {earlier} too, with other data: keep one"
                self._fault(line, column, value, text, f"duplicate-{column}")
        return len(self.faults) > before

    def _private_faults(self) -> Iterator[Finding]:
        """Name each private address, and below the first of a system what to do there."""
        told: Counter[str] = Counter()
        for tablet, line in self.private:
            system, what = advice(tablet, line.cells.get("system", ""))
            told[system] += 1
            text = f"mac, '{tablet.mac}', is a private (random) address of {tablet.id}, {system}"
            if told[system] == 1:
                text += f": {what}; --accept-private if it is fixed for this network"
            yield Finding(self.sheet.name, line.number, 0, ERROR, "private-mac", text, cell=True)


class _Ids:
    """Free numbers in the way the inventory counts: after T-150 comes T-151."""

    def __init__(self, used: set[str], first: str) -> None:
        last = first or max(used - {""}, default="T-000", key=lambda id_: (len(id_), id_))
        match = _NUMBERED.fullmatch(last)
        self.prefix, digits = (match[1], match[2]) if match else (f"{last}-", "0")
        self.width = len(digits)
        self.number = int(digits) - (1 if first else 0)
        self.used = set(used)

    def next(self) -> str:
        while True:
            self.number += 1
            id_ = f"{self.prefix}{self.number:0{self.width}}"
            if id_ not in self.used:
                self.used.add(id_)
                return id_


def _joined(text: str) -> str:
    """Return a MAC written with blanks between its pairs as one with colons."""
    return ":".join(text.split()) if _PAIRS.fullmatch(text) else text


def _ipv4(text: str) -> Address:
    address: Address = parse_ipv4(text)
    return address


def _accepted(text: str) -> bool:
    if text != "accepted":
        raise BadValue("unknown-word", "expected 'accepted' or nothing")
    return True
