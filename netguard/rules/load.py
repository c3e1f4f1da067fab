"""A rules folder to a Policy: the one way in, used by check, apply, guard, tests and benches.

Every fault of every file is collected in one go, sorted by file and line. The day comes in as an
argument: a feed grows stale by the calendar, and a check must give the same answer tomorrow.
"""

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from netguard.core.cases import Case
from netguard.core.names import Mac
from netguard.core.policy import Policy, Tablet
from netguard.rules import inventory, lint, schema, schema_feeds, schema_watch
from netguard.rules.build import build
from netguard.rules.cases import judge_cases
from netguard.rules.documents import Documents, names_of
from netguard.rules.findings import ERROR, Finding
from netguard.rules.folder import Folder
from netguard.rules.review import Review
from netguard.rules.source import Source, parse
from netguard.rules.typed import Document, typed
from netguard.rules.words import Model

M = TypeVar("M", bound=Model)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What came out: the policy (None when there is any error), the findings, the files read, the cases."""

    policy: Policy | None
    findings: tuple[Finding, ...]
    files: int
    cases: tuple[Case, ...] = ()


def load(
    folder: Folder,
    *,
    today: datetime.date,
    allow_empty: bool = False,
    previous: Mapping[str, Mac] | None = None,
    require_addresses: bool = True,
) -> Loaded:
    """Judge a folder and build its Policy.

    `allow_empty` lets an inventory without tablets pass; `previous` (tablets by id of what is in
    force) makes an inventory that shrank by a fifth an error; without `require_addresses` nothing
    is said about allotted addresses, for `allot` is about to write them.
    """
    reader = _Reader(folder)
    documents = reader.read(allow_empty=allow_empty)
    review = Review(documents, reader.findings)
    cases = judge_cases(review)
    policy = build(review, require_addresses=require_addresses)
    findings = [*review.findings, *lint.lint(reader.whole(documents), policy, today)]
    if policy is not None and previous is not None:
        findings.extend(lint.shrink(previous, policy, reader.tablets_name))
    refused = any(finding.level == ERROR for finding in findings)
    kept = tuple(sorted(set(_without_afterthoughts(findings))))
    return Loaded(None if refused else policy, kept, len(folder.files), cases)


def _without_afterthoughts(findings: list[Finding]) -> Iterator[Finding]:
    """Leave out a warning about a value that is an error already: it will be another value."""
    wrong = {(f.file, f.line, f.column) for f in findings if f.level == ERROR and f.column}
    for finding in findings:
        if finding.level == ERROR or (finding.file, finding.line, finding.column) not in wrong:
            yield finding


class _Reader:
    """Reads each file of a folder by its kind."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self.findings: list[Finding] = list(folder.faults)
        self.tablets_name = folder.shown("tablets.csv")
        self._unreadable = {fault.file for fault in folder.faults if fault.level == ERROR}
        self._sources: dict[str, Source] = {}
        self._partial: set[str] = set()

    def read(self, *, allow_empty: bool) -> Documents:
        """Read all files; what is wrong in their shape is in `findings`."""
        documents = Documents(
            netguard=self._yaml("netguard.yaml", schema.NetguardFile),
            sites=self._yaml("sites.yaml", schema.SitesFile),
            protected=self._yaml("protected.yaml", schema.ProtectedFile),
            groups=self._yaml("groups.yaml", schema.GroupsFile),
            presence=self._optional("presence.yaml", schema_watch.PresenceFile),
            alerts=self._optional("alerts.yaml", schema_watch.AlertsFile),
            told=self._optional("feeds.yaml", schema_feeds.FeedsFile),
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
        whole = self._tablets(documents, allow_empty=allow_empty)
        self._allotted(documents)
        self._macs(documents)
        tablets = frozenset(documents.tablets) if whole else None
        documents.names = names_of(self._sources, tablets)
        return documents

    def whole(self, documents: Documents) -> Documents:
        """Return the documents without those of faulty files: no warning follows from an error."""
        partial = self._partial
        # Without all cases nobody can say which group has none.
        groups = any(file == "groups.yaml" or file.startswith("tests/") for file in partial)
        return replace(
            documents,
            sites=None if "sites.yaml" in partial else documents.sites,
            groups=None if groups else documents.groups,
            alerts=None if "alerts.yaml" in partial else documents.alerts,
        )

    def _yaml(self, file: str, model: type[M]) -> Document[M] | None:
        shown = self.folder.shown(file)
        if file not in self.folder.files:
            self._missing(shown, file)
            return None
        if shown in self._unreadable:
            self._sources[file] = Source(shown, (), None)
            self._partial.add(file)
            return None
        source = parse(self.folder.files[file], shown)
        result = typed(source, model)
        self._sources[file] = source
        self.findings.extend(result.findings)
        if not result.whole:
            self._partial.add(file)
        return result.document

    def _optional(self, file: str, model: type[M]) -> Document[M] | None:
        return self._yaml(file, model) if file in self.folder.files else None

    def _missing(self, shown: str, file: str) -> None:
        id_, text = "missing-file", f"file is missing; 'netguard init' shows what '{file}' holds"
        if file == "protected.yaml":
            id_ = "protected-missing"
            text = "file is missing; it is mandatory and names the clinical networks no tablet may reach"
        self.findings.append(Finding(shown, 0, 0, ERROR, id_, text))

    def _tablets(self, documents: Documents, *, allow_empty: bool) -> bool:
        """Read the inventory; say whether all of it could be read."""
        files = self.folder.files
        if "tablets.yaml" in files:
            self.tablets_name = self.folder.shown("tablets.yaml")
        if "tablets.csv" in files and "tablets.yaml" in files:
            text = "both tablets.csv and tablets.yaml are here, keep one"
            self.findings.append(Finding(self.tablets_name, 0, 0, ERROR, "duplicate-name", text))
        elif "tablets.yaml" in files:
            self._tablets_yaml(documents)
        elif "tablets.csv" not in files:
            text = "file is missing; write tablets.csv or tablets.yaml"
            self.findings.append(Finding(self.tablets_name, 0, 0, ERROR, "missing-file", text))
        elif self.tablets_name not in self._unreadable:
            table = inventory.read_tablets(self.tablets_name, files["tablets.csv"])
            documents.tablets, documents.tablet_lines, findings = table
            self._cells(findings)
        if any(f.file == self.tablets_name and f.level == ERROR for f in self.findings):
            documents.tablets = {}
            return False
        if not documents.tablets and not allow_empty:
            text = "0 tablets: nobody would be watched; --allow-empty if that is meant"
            self.findings.append(Finding(self.tablets_name, 1, 0, ERROR, "shrink", text, cell=True))
        return True

    def _tablets_yaml(self, documents: Documents) -> None:
        document = self._yaml("tablets.yaml", schema.TabletsFile)
        if document is None:
            return
        for index, row in enumerate(document.model.tablets):
            at = ("tablets", index)
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
            documents.tablet_lines[row.id] = document.origin(*at)

    def _allotted(self, documents: Documents) -> None:
        shown = self.folder.shown("allotted.csv")
        if shown in self._unreadable:
            documents.allotted_whole = False
        elif "allotted.csv" in self.folder.files:
            table = inventory.read_allotted(shown, self.folder.files["allotted.csv"])
            documents.allotted, documents.allotted_lines, findings = table
            documents.allotted_whole = not any(f.level == ERROR for f in findings)
            self._cells(findings)

    def _macs(self, documents: Documents) -> None:
        doc = documents.protected
        file = doc.model.never.macs if doc else None
        if doc is None or file is None:
            return
        shown = self.folder.shown(file)
        if file not in self.folder.files:
            text = f"no file '{file}' in the rules folder"
            self.findings.append(doc.error("missing-file", text, "never", "macs"))
        elif shown not in self._unreadable:
            table = inventory.read_macs(shown, self.folder.files[file])
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
