"""What the judges of a folder share: its documents, the findings so far, the places of statements.

Each judge (sites.py, services.py, groups.py, tablets.py, references.py) takes a Review, adds what
it finds and returns what it understood. An error that only follows from another error is never
added: whoever reads the list must be able to mend it line by line.
"""

from collections.abc import Mapping
from typing import Any

from netguard.core.intervals import AddressSet
from netguard.core.names import Network, certain, suggest_of
from netguard.core.policy import Origin, Path, Protected
from netguard.rules.documents import Documents, Known
from netguard.rules.findings import ERROR, Finding
from netguard.rules.typed import Document


class Review:
    """One judgement of one folder; starts with what its reading found."""

    def __init__(self, documents: Documents, findings: list[Finding]) -> None:
        self.documents = documents
        self.findings = findings
        self.origins: dict[Path, Origin] = {}
        self.protected: Mapping[str, Protected] = {}
        self.shield = AddressSet(())

    def protect(self, protected: Mapping[str, Protected]) -> None:
        """Remember the protected networks, which everything else is held against."""
        self.protected = protected
        self.shield = AddressSet(n for entry in protected.values() for n in entry.networks)

    def owner(self, network: Network) -> str:
        """Name the protected entry that holds a network, with its place."""
        name = next(name for name, entry in self.protected.items() if network in entry.networks)
        return f"'{name}' ({self.origins['protected', name, 'networks', str(network)]})"

    def error(
        self,
        doc: Document[Any],
        id_: str,
        text: str,
        *at: str | int,
        key: bool = False,
        instead: str | None = None,
    ) -> None:
        """Add an error about one value of a file, or about its key."""
        self.findings.append(doc.error(id_, text, *at, key=key, instead=instead))

    def cell(
        self, origin: Origin, id_: str, column: str, value: object, text: str, level: str = ERROR
    ) -> None:
        """Add a finding about one field of a table."""
        said = f"{column}, '{value}', {text}"
        self.findings.append(Finding(origin.file, origin.line, 0, level, id_, said, cell=True))

    def known(
        self,
        kind: str,
        name: str,
        known: Known,
        doc: Document[Any],
        *at: str | int,
        key: bool = False,
    ) -> None:
        """Add an error when a name is written nowhere."""
        if known is not None and name not in known:
            text = f"unknown {kind} '{name}'{suggest_of(name, known)}"
            self.error(doc, "unknown-ref", text, *at, key=key, instead=certain(name, known))

    def sound(self, doc: Document[Any] | None) -> bool:
        """Say whether a file is there and has no error so far: only then others are held to it."""
        return doc is not None and not any(
            finding.level == ERROR and finding.file == doc.source.name for finding in self.findings
        )
