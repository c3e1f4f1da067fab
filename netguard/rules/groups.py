"""groups.yaml: who may use what, with `extends` resolved, and profiles that only ever narrow, and lengthen loans."""

from collections.abc import Mapping
from datetime import timedelta

from netguard.core.due import LONGEST, SHORTEST
from netguard.core.names import spelled
from netguard.core.policy import Group, Narrowing, Profile, Service, Site
from netguard.rules import schema
from netguard.rules.hours import check_hours, inherited_hours
from netguard.rules.review import Review
from netguard.rules.sites import ceiling
from netguard.rules.typed import Document

GroupsDocument = Document[schema.GroupsFile]
# A shorter one would keep a whole ward asking all day.
SHORTEST_SESSION = timedelta(minutes=5)
TOO_SHORT = "session-timeout is below 5m, every tablet would ask again all the time"


def judge_groups(
    review: Review, sites: Mapping[str, Site], services: Mapping[str, Service]
) -> tuple[Mapping[str, Group], Mapping[str, Profile]]:
    """Return the groups by name, each with all it allows and all its sites; and the profiles."""
    doc = review.documents.groups
    if doc is None:
        return {}, {}
    for name, entry in doc.model.groups.items():
        review.origins["groups", name] = doc.key_origin("groups", name)
        for key in ("sites", "hours"):
            review.origins["groups", name, key] = doc.origin("groups", name, key)
        _allows(review, doc, name, entry, services)
        for index, site in enumerate(entry.sites or []):
            at = ("groups", name, "sites", index)
            review.known("site", site, review.documents.names.sites, doc, *at)
        if entry.session_timeout is not None and entry.session_timeout < SHORTEST_SESSION:
            review.error(doc, "bad-duration", TOO_SHORT, "groups", name, "session-timeout")
        if entry.notify is not None:
            receivers = review.documents.names.receivers
            review.known("receiver", entry.notify, receivers, doc, "groups", name, "notify")
        _bounded(review, doc, entry.loan_length, "groups", name, "loan-length")
    netguard = review.documents.netguard
    defaults = netguard.model.defaults if netguard else schema.DefaultsModel()
    groups = {
        name: _group(review, doc, name, defaults, tuple(sorted(sites))) for name in doc.model.groups
    }
    for name, group in groups.items():
        check_hours(review, doc, name, group.hours)
    return groups, _profiles(review, doc, groups, services)


def _allows(
    review: Review,
    doc: GroupsDocument,
    name: str,
    entry: schema.GroupModel,
    services: Mapping[str, Service],
) -> None:
    for index, service in enumerate(entry.allow):
        at = ("groups", name, "allow", index)
        review.origins["groups", name, "allow", service] = doc.origin(*at)
        review.known("service", service, review.documents.names.services, doc, *at)
        _verified(review, doc, service, services, *at)


def _verified(
    review: Review,
    doc: GroupsDocument,
    service: str,
    services: Mapping[str, Service],
    *at: str | int,
) -> None:
    if service in services and services[service].unverified:
        text = f"service '{service}' is unverified, nobody has read its vendor's page yet: "
        text += f"see {review.origins['services', service]}"
        review.error(doc, "unverified", text, *at)


def _group(
    review: Review,
    doc: GroupsDocument,
    name: str,
    defaults: schema.DefaultsModel,
    everywhere: tuple[str, ...],
) -> Group:
    deny, timeout = defaults.deny, defaults.session_timeout
    chain = _chain(review, doc, name)
    services = set()
    for ancestor in chain:
        for service in doc.model.groups[ancestor].allow:
            services.add(service)
            origin = review.origins["groups", ancestor, "allow", service]
            review.origins.setdefault(("groups", name, "allow", service), origin)
    inherited = [doc.model.groups[ancestor] for ancestor in chain]
    sites = next((group.sites for group in inherited if group.sites is not None), None)
    return Group(
        name=name,
        sites=tuple(sorted(set(sites))) if sites is not None else everywhere,
        allow=tuple(sorted(services)),
        deny=next((group.deny for group in inherited if group.deny), deny),
        rate=next((ceiling(group.rate) for group in inherited if group.rate), None),
        hours=inherited_hours(inherited),
        session_timeout=next(
            (group.session_timeout for group in inherited if group.session_timeout), timeout
        ),
        notify=next((group.notify for group in inherited if group.notify), None),
        dscp=next((str(group.dscp) for group in inherited if group.dscp), None),
        loan_length=next((group.loan_length for group in inherited if group.loan_length), None),
    )


def _chain(review: Review, doc: GroupsDocument, name: str) -> list[str]:
    """Return a group and what it extends, nearest first; a loop or an unknown name is reported."""
    groups = doc.model.groups
    chain = [name]
    while (parent := groups[chain[-1]].extends) is not None:
        at = ("groups", chain[-1], "extends")
        # Each group reports its own line only, or a loop of three would be told nine times.
        if parent in chain:
            if parent == name:
                text = f"group '{name}' extends itself: {' -> '.join([*chain, name])}"
                review.error(doc, "unknown-ref", text, "groups", name, "extends")
            break
        if parent not in groups:
            if chain == [name]:
                review.known("group", parent, review.documents.names.groups, doc, *at)
            break
        chain.append(parent)
    return chain


def _profiles(
    review: Review,
    doc: GroupsDocument,
    groups: Mapping[str, Group],
    services: Mapping[str, Service],
) -> Mapping[str, Profile]:
    for profile, entries in doc.model.profiles.items():
        review.origins["profiles", profile] = doc.key_origin("profiles", profile)
        for name, change in entries.items():
            at = ("profiles", profile, name)
            review.known("group", name, review.documents.names.groups, doc, *at, key=True)
            for index, service in enumerate(change.allow or []):
                place = (*at, "allow", index)
                review.known("service", service, review.documents.names.services, doc, *place)
                _verified(review, doc, service, services, *place)
            _bounded(review, doc, change.loan_length, *at, "loan-length")
            if name in groups:
                _narrows(review, doc, groups[name], change, services, *at)
                _lengthens(review, doc, groups[name], change, *at)
    silences = _silences(review)
    return {
        profile: Profile(
            profile,
            {name: _narrowing(change) for name, change in sorted(entries.items())},
            silences.get(profile, frozenset()),
        )
        for profile, entries in sorted(doc.model.profiles.items())
    }


def _narrowing(change: schema.ProfileGroup) -> Narrowing:
    allow = frozenset(change.allow) if change.allow is not None else None
    return Narrowing(allow, ceiling(change.rate), change.loan_length)


def _silences(review: Review) -> dict[str, frozenset[str]]:
    """Return the severities that alerts.yaml holds back while a profile is on."""
    doc = review.documents.alerts
    if doc is None:
        return {}
    for profile in doc.model.profiles:
        names = review.documents.names.profiles
        review.known("profile", profile, names, doc, "profiles", profile, key=True)
    return {name: frozenset(entry.silence) for name, entry in doc.model.profiles.items()}


def _narrows(
    review: Review,
    doc: GroupsDocument,
    group: Group,
    change: schema.ProfileGroup,
    services: Mapping[str, Service],
    *at: str | int,
) -> None:
    """Report what a profile would give a group beyond what the group has: it may only take."""
    for index, service in enumerate(change.allow or []):
        if service in services and service not in group.allow:
            text = f"a profile never widens: group '{group.name}' does not allow '{service}'"
            review.error(doc, "profile-widens", text, *at, "allow", index)
    if change.rate is None or group.rate is None:
        return
    for key, new, own in (
        ("down", change.rate.down, group.rate.down),
        ("up", change.rate.up, group.rate.up),
    ):
        if new > own:
            text = f"a profile never widens: the rate of group '{group.name}' is lower"
            review.error(doc, "profile-widens", text, *at, "rate", key)


def _bounded(review: Review, doc: GroupsDocument, length: timedelta | None, *at: str | int) -> None:
    if length is not None and not SHORTEST <= length <= LONGEST:
        text = "loan-length is from 1h to 366d, and m are minutes: write 14d for a fortnight"
        review.error(doc, "bad-duration", text, *at)


def _lengthens(
    review: Review, doc: GroupsDocument, group: Group, change: schema.ProfileGroup, *at: str | int
) -> None:
    """Report loans that a profile would shorten: who has a tablet was told how long it is lent."""
    if change.loan_length is None:
        return
    if group.loan_length is None:
        text = f"a profile never shortens loans: those of group '{group.name}' have no end, "
        text += "write loan-length there first"
    elif change.loan_length < group.loan_length:
        text = f"a profile never shortens loans: those of group '{group.name}' last longer, "
        text += f"write {spelled(group.loan_length)} or more"
    else:
        return
    review.error(doc, "profile-shortens", text, *at, "loan-length")
