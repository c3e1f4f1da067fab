"""Tablets as the cells of tablets.csv: what differs between two of them, and the whole table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netguard.core.policy import Tablet
from netguard.rules.importing.table import wrapped
from netguard.rules.inventory import TABLET_COLUMNS


@dataclass(frozen=True, slots=True)
class Change:
    """One tablet before and after; None where it was not, or is no more."""

    id: str
    before: Tablet | None
    after: Tablet | None

    @property
    def kind(self) -> str:
        """Return "added", "changed" or "gone"."""
        return "added" if self.before is None else "gone" if self.after is None else "changed"

    def columns(self) -> Mapping[str, tuple[str, str]]:
        """Return what differs, by column: (before, after)."""
        old = cells(self.before) if self.before else dict.fromkeys(TABLET_COLUMNS, "")
        new = cells(self.after) if self.after else dict.fromkeys(TABLET_COLUMNS, "")
        return {name: (old[name], new[name]) for name in TABLET_COLUMNS if old[name] != new[name]}


def cells(tablet: Tablet) -> dict[str, str]:
    """Return a tablet as the cells of tablets.csv."""
    return {
        "id": tablet.id,
        "mac": str(tablet.mac),
        "group": tablet.group,
        "home": "/".join(tablet.home),
        "model": tablet.model,
        "serial": tablet.serial,
        "address": str(tablet.address or ""),
        "private-address": "accepted" if tablet.private_address else "",
    }


def written(tablets: Sequence[Tablet], *, separator: str = ",", safe: bool = False) -> str:
    """Return tablets.csv; `safe` keeps a spreadsheet from taking a cell for a formula.

    The two columns that few need are left out where nobody has them.
    """
    rows = [cells(tablet) for tablet in tablets]
    names = [
        name
        for name in TABLET_COLUMNS
        if name != "private-address" or any(row[name] for row in rows)
    ]
    lines = [separator.join(names)]
    for row in rows:
        texts = (wrapped(row[name]) if safe else row[name] for name in names)
        lines.append(separator.join(_quoted(text, separator) for text in texts))
    return "\n".join((*lines, ""))


def _quoted(text: str, separator: str) -> str:
    if separator in text or '"' in text:
        return '"' + text.replace('"', '""') + '"'
    return text
