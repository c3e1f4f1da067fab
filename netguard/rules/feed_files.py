"""The files of services/feeds/ in a rules folder: what they hold, how old they are, which services take from them."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from netguard.core.names import Domain, Network, Ports
from netguard.rules import schema
from netguard.rules.folder import Folder
from netguard.rules.source import Entries, parse
from netguard.rules.typed import typed
from netguard.rules.vendor_feeds import Offer

FOLDER = "services/feeds/"


@dataclass(frozen=True, slots=True)
class Kept:
    """A feed as the folder has it: its file, its sets, what people wrote above it and accepted."""

    file: str
    name: str
    source: str
    version: str
    retrieved: datetime.date
    sets: Mapping[str, Offer]
    head: str
    accept: Mapping[str, str]

    @property
    def networks(self) -> dict[str, Sequence[Network]]:
        """Return the networks of each set."""
        return {number: offer.networks for number, offer in self.sets.items()}


@dataclass(frozen=True, slots=True)
class Taker:
    """A service that takes sets of a feed, with the names and ports that it allows."""

    name: str
    sets: tuple[str, ...]
    domains: tuple[Domain, ...]
    ports: tuple[Ports, ...]

    def lacks(self, offers: Mapping[str, Offer]) -> tuple[tuple[Domain, ...], tuple[Ports, ...]]:
        """Return the names and ports of its sets that the vendor lists and this service does not allow."""
        mine = [offers[number] for number in self.sets if number in offers]
        names = {name for offer in mine for name in offer.domains if not self._allows(name)}
        ports = {port for offer in mine for port in offer.ports if not self._opens(port)}
        return tuple(sorted(names)), tuple(sorted(ports))

    def _allows(self, name: Domain) -> bool:
        return any(
            name == own or (own.wildcard and name.name.endswith(f".{own.name}"))
            for own in self.domains
        )

    def _opens(self, port: Ports) -> bool:
        return any(
            own.protocol == port.protocol and own.first <= port.first and port.last <= own.last
            for own in self.ports
        )


def kept(folder: Folder) -> Iterator[Kept]:
    """Yield the feeds of a folder whose files can be read; `check` speaks of the others."""
    for file, data in sorted(folder.files.items()):
        if not file.startswith(FOLDER):
            continue
        result = typed(parse(data, folder.shown(file)), schema.FeedFile)
        if result.document is not None and result.whole:
            model = result.document.model
            yield Kept(
                file,
                model.feed,
                model.source,
                model.version,
                model.retrieved,
                {
                    number: Offer(
                        chosen.label or "",
                        tuple(chosen.networks),
                        tuple(chosen.domains),
                        tuple(chosen.ports),
                    )
                    for number, chosen in model.sets.items()
                },
                _head(data),
                dict(model.accept),
            )


def takers(folder: Folder, feed: str) -> Iterator[Taker]:
    """Yield the services of a folder that take from a feed."""
    for file, data in sorted(folder.files.items()):
        if not file.startswith("services/") or file.startswith(FOLDER):
            continue
        result = typed(parse(data, folder.shown(file)), schema.ServicesFile)
        for name, entry in result.document.model.services.items() if result.document else ():
            if entry.feed == feed:
                yield Taker(name, tuple(entry.feed_sets), tuple(entry.domains), tuple(entry.ports))


def _head(data: bytes) -> str:
    """Return the comment above the first key of a file."""
    source = parse(data, "")
    root = source.root
    first = (
        min((at.line for at in root.keys.values()), default=1) if isinstance(root, Entries) else 1
    )
    return "\n".join(data.decode().splitlines()[: first - 1])
