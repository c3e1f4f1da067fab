"""A rules folder to a Policy: the one way in, used by check, apply, guard, tests and benches.

Every fault of every file is collected in one go, sorted by file and line. The day comes in as an
argument: a feed grows stale by the calendar, and a check must give the same answer tomorrow.
"""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel

from netguard.core.names import Mac
from netguard.core.policy import Origin, Policy, Tablet
from netguard.rules import inventory, lint, schema
from netguard.rules.build import Builder, Documents
from netguard.rules.findings import ERROR, Finding
from netguard.rules.folder import Folder
from netguard.rules.source import parse
from netguard.rules.typed import Document, typed

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came out: the policy (None when there is any error), the findings, the files read."""

    policy: Policy | None
    findings: tuple[Finding, ...]
    files: int


def load(
    folder: Folder,
    *,
    today: datetime.date,
    allow_empty: bool = False,
    previous: Mapping[str, Mac] | None = None,
) -> Loaded:
    """Judge a folder and build its Policy.

    `allow_empty` lets an inventory without tablets pass; `previous` (tablets by id of what is in
    force) makes an inventory that shrank by a fifth an error.
    """
    reader = _Reader(folder)
    documents = reader.read(allow_empty=allow_empty)
    builder = Builder(documents)
    policy = builder.build()
    findings = [*reader.findings, *builder.findings]
    if any(finding.level == ERROR for finding in findings):
        policy = None
    findings.extend(lint.lint(documents, policy, today))
    if policy is not None and previous is not None:
        findings.extend(lint.shrink(previous, policy, reader.tablets_name))
    if any(finding.level == ERROR for finding in findings):
        policy = None
    return Loaded(policy, tuple(sorted(set(findings))), len(folder.files))


class _Reader:
    """Reads each file of a folder by its kind."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.findings: list[Finding] = list(folder.faults)
        self.tablets_name = folder.shown("tablets.csv")

    def read(self, *, allow_empty: bool) -> Documents:
        documents = Documents(
            netguard=self._yaml("netguard.yaml", schema.NetguardFile),
            sites=self._yaml("sites.yaml", schema.SitesFile),
            protected=self._protected(),
            groups=self._yaml("groups.yaml", schema.GroupsFile),
            presence=self._optional("presence.yaml", schema.PresenceFile),
            alerts=self._optional("alerts.yaml", schema.AlertsFile),
        )
        for file in sorted(self.folder.files):
            if file.startswith("services/feeds/"):
                feed = self._yaml(file, schema.FeedFile)
                if feed is not None:
                    documents.feeds[feed.model.feed] = feed
            elif file.startswith("services/"):
                services = self._yaml(file, schema.ServicesFile)
                if services is not None:
                    documents.services.append((services, file.startswith("services/unverified/")))
            elif file.startswith("tests/"):
                cases = self._yaml(file, schema.CasesFile)
                if cases is not None:
                    documents.cases.append(cases)
        self._tablets(documents, allow_empty=allow_empty)
        self._allotted(documents)
        self._macs(documents)
        return documents

    def _yaml(self, file: str, model: type[M]) -> Document[M] | None:
        shown = self.folder.shown(file)
        if file not in self.folder.files:
            self._missing(shown, f"file is missing; 'netguard init' shows what '{file}' holds")
            return None
        if self._unreadable(shown):
            return None
        document, findings = typed(parse(self.folder.files[file], shown), model)
        self.findings.extend(findings)
        # A file with a fault in its shape is not built on: what is left of it may mean something else.
        return document

    def _optional(self, file: str, model: type[M]) -> Document[M] | None:
        return self._yaml(file, model) if file in self.folder.files else None

    def _protected(self) -> Document[schema.ProtectedFile] | None:
        file = "protected.yaml"
        shown = self.folder.shown(file)
        if file not in self.folder.files:
            text = "file is missing; it is mandatory and names the clinical networks no tablet may reach"
            self.findings.append(Finding(shown, 0, 0, ERROR, "protected-missing", text))
            return None
        return self._yaml(file, schema.ProtectedFile)

    def _unreadable(self, shown: str) -> bool:
        return any(fault.file == shown for fault in self.folder.faults)

    def _missing(self, shown: str, text: str) -> None:
        self.findings.append(Finding(shown, 0, 0, ERROR, "missing-file", text))

    def _tablets(self, documents: Documents, *, allow_empty: bool) -> None:
        files = self.folder.files
        if "tablets.csv" in files and "tablets.yaml" in files:
            text = "both tablets.csv and tablets.yaml are here, keep one"
            self.findings.append(
                Finding(self.folder.shown("tablets.yaml"), 0, 0, ERROR, "duplicate-name", text)
            )
        elif "tablets.yaml" in files:
            self.tablets_name = self.folder.shown("tablets.yaml")
            self._tablets_yaml(documents)
        elif "tablets.csv" in files:
            if self._unreadable(self.tablets_name):
                return
            table = inventory.read_tablets(self.tablets_name, files["tablets.csv"])
            documents.tablets, documents.tablet_lines, findings = table
            self._cells(findings)
        else:
            self._missing(self.tablets_name, "file is missing; write tablets.csv or tablets.yaml")
            return
        broken = any(f.file == self.tablets_name and f.level == ERROR for f in self.findings)
        if broken:
            documents.tablets = {}
        elif not documents.tablets and not allow_empty:
            text = "0 tablets: nobody would be watched; --allow-empty if that is meant"
            self.findings.append(Finding(self.tablets_name, 1, 0, ERROR, "shrink", text, cell=True))

    def _tablets_yaml(self, documents: Documents) -> None:
        document = self._yaml("tablets.yaml", schema.TabletsFile)
        for index, row in enumerate(document.model.tablets if document else ()):
            at = ("tablets", index)
            if document is None:
                return
            line, column = document.origin(*at).line, document.origin(*at).column
            if row.id in documents.tablets:
                first = documents.tablet_lines[row.id].line
                text = f"tablet '{row.id}' already listed at line {first}"
                self.findings.append(document.error("duplicate-id", text, *at, "id"))
                continue
            documents.tablets[row.id] = Tablet(
                row.id,
                row.mac,
                row.group,
                row.home,
                row.model or "",
                row.serial or "",
                row.address,
                row.private_address is not None,
            )
            documents.tablet_lines[row.id] = Origin(document.source.name, line, column)

    def _allotted(self, documents: Documents) -> None:
        if "allotted.csv" in self.folder.files:
            shown = self.folder.shown("allotted.csv")
            table = inventory.read_allotted(shown, self.folder.files["allotted.csv"])
            documents.allotted, documents.allotted_lines, findings = table
            self._cells(findings)

    def _macs(self, documents: Documents) -> None:
        doc = documents.protected
        file = doc.model.never.macs if doc else None
        if doc is None or file is None:
            return
        if file not in self.folder.files:
            text = f"no file '{file}' in the rules folder"
            self.findings.append(doc.error("missing-file", text, "never", "macs"))
            return
        table = inventory.read_macs(self.folder.shown(file), self.folder.files[file])
        documents.protected_macs, findings = table
        self._cells(findings)

    def _cells(self, findings: list[Finding]) -> None:
        """Keep the first faults of a table and count the rest: a wrong export has thousands."""
        self.findings.extend(findings[: inventory.SHOWN_FAULTS])
        rest = len(findings) - inventory.SHOWN_FAULTS
        if rest > 0:
            last = findings[inventory.SHOWN_FAULTS - 1]
            text = f"and {rest} more faults in this table, {len(findings)} in all"
            self.findings.append(
                Finding(last.file, last.line, 1, ERROR, "row-shape", text, cell=True)
            )
