"""What the rules say about names, for whoever asks the desk about them: engineers and ourselves.

Pure; nothing here is on the path of a question.
"""

from netguard.core.desk import Desk
from netguard.core.learning import Book
from netguard.core.names import Domain


def domains(book: Book | None) -> list[tuple[str, Domain]]:
    """Return (service, domain) of all services that some group may use."""
    if book is None:
        return []
    granted = {s for names in book.rules.group_services.values() for s in names}
    every = sorted(book.rules.domains.items())
    return [(service, d) for service, listed in every if service in granted for d in listed]


def exact_names(book: Book | None) -> list[tuple[str, str]]:
    """Return (name, service) of all exact names that some group may use."""
    return sorted(
        (domain.name, service)
        for service, domain in domains(book)
        if book is not None and not domain.wildcard and book.rules.banned(domain.name) is None
    )


def knows_domain(book: Book | None, service: str, domain: str) -> bool:
    """Say whether a service that some group may use still lists a domain."""
    return any(s == service and str(d) == domain for s, d in domains(book))


def why(desk: Desk, group: str, name: str) -> dict[str, object]:
    """Say what a group's tablets are answered to a name, and which line of the rules says so."""
    book = desk.book
    if book is None:
        return {"answer": "refused", "why": "no rules are loaded"}
    match = desk.match(book, group, name)
    if match.kind == "canary":
        return {"answer": "nxdomain", "why": "asks whether DNS may be hidden: no"}
    if match.kind == "time":
        return {"answer": "gateway", "why": "a name of the time; the appliance has the clock"}
    ban = book.rules.banned(name)
    no = "nxdomain" if book.refuse_with_nxdomain else "refused"
    if ban is not None:
        return {"answer": no, "why": f"never resolved, see '{ban}' under never.domains"}
    if match.kind:
        return {"answer": no, "why": "not a name of its services"}
    listed = ", ".join(f"'{domain}' of {service}" for service, domain in match.domains)
    return {"answer": "resolved", "why": listed, "services": list(match.services)}
