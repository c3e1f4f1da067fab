"""What a question is to a group of tablets, decided once and remembered until the rules change.

Pure data of core/desk.py. A route is found by the bytes of a question as they came, so that the same
question costs one look instead of a parse, a match, and a filter.
"""

from typing import NamedTuple

from netguard.core import dnswire
from netguard.core.dnswire import Question
from netguard.core.learning import Book, Client


class Route:
    """One allowed question of a group, and what was answered to it last.

    `pieces` is that answer as bytes but for id and TTL, for the addresses `packed`. It counts while
    `epoch` is the desk's, for as long as the kernel holds its addresses (`held`), and from the cache
    until `expires`. `limit` is how many bytes the asker takes in a datagram.
    """

    __slots__ = (
        "book",
        "domains",
        "epoch",
        "expires",
        "group",
        "held",
        "key",
        "limit",
        "lowered",
        "packed",
        "pieces",
        "question",
        "services",
        "tally",
        "used",
    )

    def __init__(
        self,
        question: Question,
        group: str,
        services: tuple[str, ...],
        domains: tuple[tuple[str, str], ...],
        book: Book | None,
    ) -> None:
        self.question = question._replace(id=0)
        self.lowered = dnswire.lower(question)
        self.key = question.name, question.type
        self.group, self.services, self.domains, self.book = group, services, domains, book
        self.limit = question.edns or 512
        self.tally = "allowed", group
        self.epoch = -1
        self.expires = self.held = self.used = 0.0
        self.packed: tuple[bytes, ...] = ()
        self.pieces: list[bytes] = []


class Seat:
    """One tablet at the desk: how many questions it may ask now, and how many are under way."""

    __slots__ = ("at", "client", "open", "routes", "tokens")

    def __init__(self, client: Client, routes: dict[bytes, Route], tokens: float) -> None:
        self.client, self.routes, self.tokens = client, routes, tokens
        self.at = float("-inf")
        self.open = 0


class Asked:
    """A question that may be asked upstream: its id as bytes, and whose; ours have no seat.

    `to` belongs to the caller: where the reply goes.
    """

    __slots__ = ("id", "route", "seat", "to")

    def __init__(self, id_: bytes, seat: Seat | None, route: Route) -> None:
        self.id, self.seat, self.route = id_, seat, route
        self.to: object = None

    @property
    def question(self) -> Question:
        """Return what is asked, without its id."""
        return self.route.question

    @property
    def tablet(self) -> str:
        """Return whose question it is, empty for our own."""
        return self.seat.client.tablet if self.seat is not None else ""


class Match(NamedTuple):
    """What a name is to a group: `kind` is canary, time, denied, or empty for its services'."""

    kind: str
    services: tuple[str, ...]
    domains: tuple[tuple[str, str], ...]


class Index:
    """Domains of all services by name, so that a question costs its labels and not the catalogue."""

    def __init__(self, book: Book) -> None:
        self.exact: dict[str, list[tuple[str, str]]] = {}
        self.wild: dict[str, list[tuple[str, str]]] = {}
        for service, domains in sorted(book.rules.domains.items()):
            for domain in domains:
                kind = self.wild if domain.wildcard else self.exact
                kind.setdefault(domain.name, []).append((service, str(domain)))

    def of(self, name: str) -> list[tuple[str, str]]:
        """Return (service, domain) of all that cover a name."""
        found = list(self.exact.get(name, ()))
        rest = name.partition(".")[2]
        while rest:
            found += self.wild.get(rest, ())
            rest = rest.partition(".")[2]
        return found
