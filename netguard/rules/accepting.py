"""One entry of a rule file that may accept a warning about itself, with a reason.

Errors cannot be accepted, and neither can a finding that belongs to no entry.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from netguard.core.names import certain, suggest
from netguard.rules.findings import Finding
from netguard.rules.typed import Document

ACCEPTABLE = frozenset(
    {
        "ap-twice",
        "area-empty",
        "doh",
        "mixed-script",
        "never-matches",
        "no-case",
        "no-edge",
        "no-evidence",
        "shadowed",
        "shared-host",
        "stale-feed",
        "stale-review",
        "unused",
        "wide",
    }
)


class Entry:
    """One entry of a file: makes its findings and knows which of them it accepts."""

    def __init__(
        self,
        doc: Document[Any],
        accept: Mapping[str, str],
        *path: str | int,
    ) -> None:
        self._doc = doc
        self._accept = accept
        self._path = path

    def accepts(self, id_: str) -> bool:
        """Say whether this entry has a reason for a finding."""
        return id_ in self._accept

    def warn(
        self, id_: str, text: str, *loc: str | int, key: bool = False, instead: str | None = None
    ) -> Iterator[Finding]:
        """Warn about a value of the entry, or about the entry, unless it accepts that."""
        if id_ not in self._accept:
            yield self._doc.warning(
                id_, text, *self._path, *loc, key=key or not loc, instead=instead
            )

    def error(self, id_: str, text: str, *loc: str | int) -> Iterator[Finding]:
        """Report an error about a value of the entry."""
        yield self._doc.error(id_, text, *self._path, *loc)

    def known_accepts(self) -> Iterator[Finding]:
        """Report accepted findings that do not exist: a typo would silence nothing."""
        for id_ in self._accept:
            if id_ not in ACCEPTABLE:
                text = f"'{id_}' is no finding that can be accepted{suggest(id_, ACCEPTABLE)}"
                yield self._doc.warning(
                    "unknown-ref", text, *self._path, "accept", id_, key=True,
                    instead=certain(id_, ACCEPTABLE),
                )  # fmt: skip
