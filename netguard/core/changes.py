"""What a change of the rules means: for each group what opens and what closes, before any native text.

Two plans (and the policies they come from) in, lines out. A line that opens something is marked: whoever
reviews looks at those first. Addresses are counted by exact algebra over the networks that the rules
name; what names may open is told as names.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import summarize_address_range
from typing import Any

from netguard.core import reach, regions
from netguard.core.fronts import newly_shared
from netguard.core.names import Domain, spelled
from netguard.core.plan import Binding, Grant, GroupPlan, Plan, ServicePlan
from netguard.core.policy import Nas, Policy
from netguard.core.regions import Region, Spans
from netguard.core.week import Hours

MORE, LESS, OTHER = "+", "-", "~"
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """One difference: `+` more, `-` less, `~` another; `widens` where a tablet may reach more."""

    sign: str
    what: str
    detail: str = ""
    widens: bool = False


@dataclass(frozen=True, slots=True)
class GroupChange:
    """What changes for one group; `lost` are the rights whose running calls end."""

    name: str
    tablets: int
    lines: tuple[Line, ...]
    lost: tuple[Grant, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """What changes: for all, for each group, for single tablets; empty where nothing does."""

    general: tuple[Line, ...] = ()
    groups: tuple[GroupChange, ...] = ()
    tablets: tuple[Line, ...] = ()
    shared: tuple[Line, ...] = ()
    # Groups that are as they were.
    same: tuple[str, ...] = field(default=(), compare=False)

    @property
    def lines(self) -> tuple[Line, ...]:
        """Return all lines."""
        of_groups = tuple(line for group in self.groups for line in group.lines)
        return self.general + of_groups + self.tablets + self.shared

    @property
    def widens(self) -> bool:
        """Say whether anything opens."""
        return any(line.widens for line in self.lines)


def changes(
    before: Plan | None,
    after: Plan,
    policies: tuple[Policy | None, Policy],
) -> Changes:
    """Compare what is in force (None: nothing) with what would be."""
    general = [*_general(before, after), *_watched(*policies), *_loans(*policies)]
    groups, same = [], []
    old = before.group if before is not None else {}
    for name in sorted({*old, *after.group}):
        lines = tuple(_group(before, after, name))
        lost = tuple(_lost(before, after, name))
        if lines or lost:
            count = len({b.tablet for b in after.bindings if b.group == name})
            groups.append(GroupChange(name, count, lines, lost))
        else:
            same.append(name)
    shared = tuple(Line(MORE, "shared", str(s), widens=True) for s in newly_shared(before, after))
    tablets = tuple(_tablets(before, after))
    return Changes(tuple(general), tuple(groups), tablets, shared, tuple(same))


# for all


def _general(before: Plan | None, after: Plan) -> Iterator[Line]:
    if before is None:
        yield Line(MORE, "all", "nothing is in force yet", widens=True)
    old = set(before.protected) if before is not None else set()
    new = set(after.protected)
    yield from (
        Line(LESS, "protected", f"{n} is not protected any more", widens=True)
        for n in _by(old - new)
    )
    yield from (Line(MORE, "protected", f"{n} is protected") for n in _by(new - old))
    if before is None:
        return
    bans, now = set(before.never_domains), set(after.never_domains)
    yield from (
        Line(LESS, "never", f"'{d}' is not banned any more", widens=True)
        for d in sorted(bans - now)
    )
    yield from (Line(MORE, "never", f"'{d}' is never resolved") for d in sorted(now - bans))
    yield from _sites(before, after)
    for name, what in _REST.items():
        was, is_ = getattr(before, name), getattr(after, name)
        if was != is_:
            yield Line(OTHER, what, _shown(was, is_))


_REST = {
    "resolver": "resolver",
    "time_servers": "time servers",
    "learned": "learned addresses",
    "log_rate": "log of refusals",
    "log_burst": "log of refusals, at once",
    "new_flow_rate": "new flows of a tablet",
    "new_flow_burst": "new flows of a tablet, at once",
    "dscp": "dscp",
}


def _shown(was: object, is_: object) -> str:
    fields = getattr(was, "__dataclass_fields__", None)
    if fields is None:
        return f"{_word(was)} -> {_word(is_)}"
    differ = (name for name in fields if getattr(was, name) != getattr(is_, name))
    return "; ".join(
        f"{name.replace('_', '-')} {_word(getattr(was, name))} -> {_word(getattr(is_, name))}"
        for name in differ
    )


def _word(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_word, value)) or "none"
    down, up = getattr(value, "down", None), getattr(value, "up", None)
    if down is not None and up is not None:
        return f"{down:,} bit/s down, {up:,} up"
    return "none" if value is None else str(value)


def _sites(before: Plan, after: Plan) -> Iterator[Line]:
    for name in sorted({*before.site, *after.site}):
        was, is_ = before.site.get(name), after.site.get(name)
        if was is None or is_ is None:
            yield Line(MORE if was is None else LESS, f"site {name}", widens=was is None)
            continue
        for key in was.__dataclass_fields__:
            if key not in {"areas", "nas"} and getattr(was, key) != getattr(is_, key):
                word = key.replace("_", "-")
                widens = key == "refuse_other_networks" and not is_.refuse_other_networks
                text = f"{word} {_shown(getattr(was, key), getattr(is_, key))}"
                yield Line(OTHER, f"site {name}", text, widens)
        old, new = {n.name: n for n in was.nas}, {n.name: n for n in is_.nas}
        for nas in sorted({*old, *new}):
            if old.get(nas) != new.get(nas):
                sign = MORE if nas not in old else LESS if nas not in new else OTHER
                # A MAC that somebody copied is enough again where tablets have no key of their own.
                opens = sign == OTHER and old[nas].psk and not new[nas].psk
                yield Line(
                    sign, f"site {name}", f"NAS {nas}{_keyed(old, new, nas)}", sign == MORE or opens
                )
        aps, now = {a.name: a.aps for a in was.areas}, {a.name: a.aps for a in is_.areas}
        for area in sorted({*aps, *now}):
            if aps.get(area) != now.get(area):
                sign = MORE if area not in aps else LESS if area not in now else OTHER
                yield Line(sign, f"site {name}", f"area {area}: {_word(now.get(area, ()))}")


def _keyed(old: Mapping[str, Nas], new: Mapping[str, Nas], nas: str) -> str:
    was, is_ = (nas in each and each[nas].psk for each in (old, new))
    if was == is_:
        return ""
    return ": a Wi-Fi key per tablet" if is_ else ": no Wi-Fi key per tablet any more"


_WATCHED = {
    "presence": "presence.yaml",
    "alerts": "alerts.yaml",
    "receivers": "alerts.yaml, receivers",
    "feeds": "feeds.yaml",
    "retention": "retention",
    "sites": "labels and edges of areas",
}


def _watched(before: Policy | None, after: Policy) -> Iterator[Line]:
    """Yield what watch alone goes by: no packet passes or is refused for it."""
    if before is None:
        return
    for name, file in _WATCHED.items():
        was, is_ = getattr(before, name), getattr(after, name)
        if name == "sites":
            was, is_ = _labels(before), _labels(after)
        if was != is_:
            yield Line(OTHER, "watch", f"{file}{_which(was, is_)}")


def _loans(before: Policy | None, after: Policy) -> Iterator[Line]:
    """Yield how long tablets are lent: nothing is refused for it, people are told."""
    if before is None:
        return
    was, is_ = _lengths(before), _lengths(after)
    for who in sorted({*was, *is_}):
        if was.get(who) != is_.get(who):
            text = f"{who}: {was.get(who, 'none')} -> {is_.get(who, 'none')}"
            yield Line(OTHER, "loan-length", text)


def _lengths(policy: Policy) -> dict[str, str]:
    found = {name: each.loan_length for name, each in policy.groups.items()}
    found |= {
        f"{name} while profile {profile.name} is on": change.loan_length
        for profile in policy.profiles.values()
        for name, change in profile.groups.items()
    }
    return {who: spelled(length) for who, length in found.items() if length is not None}


def _which(was: Any, is_: Any) -> str:  # noqa: ANN401  # a mapping, or something that has no keys
    if not (hasattr(was, "keys") and hasattr(is_, "keys")):
        return ""
    names = sorted(k for k in {*was, *is_} if was.get(k) != is_.get(k))
    return f": {', '.join(map(str, names))}"


def _labels(policy: Policy) -> dict[str, object]:
    return {
        f"{site.name}/{area.name}": (site.label, area.label, area.edge, area.expected_silent)
        for site in policy.sites.values()
        for area in site.areas.values()
    }


# for a group


def _group(before: Plan | None, after: Plan, name: str) -> Iterator[Line]:
    old = before.group.get(name) if before is not None else None
    new = after.group.get(name)
    if new is None:
        yield Line(LESS, "group", "its tablets reach nothing any more")
        return
    if old is None or before is None:
        yield Line(MORE, "group", "is new", widens=bool(new.services))
    yield from _members(before, after, name)
    yield from _areas(before, after, name)
    if old is not None:
        yield from _terms(old, new)
    yield from _services(before, after, old, new)
    yield from _addresses(before, after, name)


def _members(before: Plan | None, after: Plan, name: str) -> Iterator[Line]:
    old = {b.tablet for b in before.bindings if b.group == name} if before is not None else set()
    new = {b.tablet for b in after.bindings if b.group == name}
    if new - old:
        yield Line(MORE, "tablets", _few(new - old), widens=True)
    if old - new:
        yield Line(LESS, "tablets", _few(old - new))


def _areas(before: Plan | None, after: Plan, name: str) -> Iterator[Line]:
    def closed(plan: Plan | None) -> set[str]:
        return {
            f"{site.name}/{area.name}"
            for site in (plan.sites if plan is not None else ())
            for area in site.areas
            if name in area.closed_to
        }

    old, new = closed(before), closed(after)
    if new - old:
        yield Line(LESS, "areas", f"refused in {_few(new - old)}")
    if old - new:
        yield Line(MORE, "areas", f"admitted in {_few(old - new)}", widens=True)


def _terms(old: GroupPlan, new: GroupPlan) -> Iterator[Line]:
    for key in ("hours", "rate", "session_timeout", "deny"):
        was, is_ = getattr(old, key), getattr(new, key)
        if was != is_:
            word = key.replace("_", "-")
            widens = key == "hours" and not _inside(was, is_)
            yield Line(OTHER, word, f"{_word(was)} -> {_word(is_)}", widens)


def _inside(was: Hours | None, is_: Hours | None) -> bool:
    """Say whether the hours that are to be lie inside those that were; none are all hours."""
    if was is None:
        return True
    return is_ is not None and is_.zone == was.zone and is_.within(was)


def _services(
    before: Plan | None, after: Plan, old: GroupPlan | None, new: GroupPlan
) -> Iterator[Line]:
    had = set(old.services) if old is not None else set()
    for name in sorted(set(new.services) - had):
        service = after.service[name]
        yield Line(MORE, f"service {name}", _ports(service), widens=True)
        yield from _domains(name, (), service.domains)
    for name in sorted(had - set(new.services)):
        yield Line(LESS, f"service {name}")
    for name in sorted(had & set(new.services)):
        assert before is not None  # noqa: S101  # for the type checker: it had services
        yield from _service(before.service[name], after.service[name])


def _service(was: ServicePlan, is_: ServicePlan) -> Iterator[Line]:
    title = f"service {is_.name}"
    yield from _domains(is_.name, was.domains, is_.domains)
    old, new = regions.of_ports(was.ports), regions.of_ports(is_.ports)
    if more := regions.less(new, old):
        yield Line(MORE, title, regions.shown(more), widens=True)
    if less := regions.less(old, new):
        yield Line(LESS, title, regions.shown(less))
    if was.allow_private != is_.allow_private:
        more_private = regions.less(
            regions.of_networks(is_.allow_private), regions.of_networks(was.allow_private)
        )
        text = f"allow-private {_word(was.allow_private)} -> {_word(is_.allow_private)}"
        yield Line(OTHER, title, text, widens=bool(more_private))
    if was.local != is_.local:
        yield Line(OTHER, title, f"local {_word(was.local)} -> {_word(is_.local)}", widens=True)
    if was.sni != is_.sni:
        yield Line(
            OTHER, title, f"sni {_word(was.sni)} -> {_word(is_.sni)}", widens=is_.sni is None
        )


def _domains(name: str, was: Sequence[Domain], is_: Sequence[Domain]) -> Iterator[Line]:
    title = f"service {name}"
    for sign, names in ((MORE, set(is_) - set(was)), (LESS, set(was) - set(is_))):
        hosts = sorted(str(d) for d in names if not d.wildcard)
        if hosts:
            noun = "name" if len(hosts) == 1 else "names"
            yield Line(sign, title, f"{noun} {', '.join(hosts)}", widens=sign == MORE)
        for domain in sorted(d for d in names if d.wildcard):
            yield Line(sign, title, f"every name below {domain.name}", widens=sign == MORE)


def _addresses(before: Plan | None, after: Plan, name: str) -> Iterator[Line]:
    """Count what named networks open and close on any port, exactly."""
    old, new = _static(before, name), _static(after, name)
    for sign, more, less, words in (
        (MORE, new, old, "more"),
        (LESS, old, new, "less"),
    ):
        left = regions.without(more, less)
        if left:
            spans = regions.union(span for box in left for span in box.addresses)
            ports = regions.union(span for box in left for span in box.services)
            prefixes = _prefixes(spans)
            widest = min(prefixes, key=lambda n: n.prefixlen - n.max_prefixlen)
            count = _counted(regions.size(spans), "address", "addresses")
            text = f"{count} {words} reachable in {_counted(len(prefixes), 'prefix', 'prefixes')}"
            detail = f"{text}, widest {widest}; on {regions.shown(ports)}"
            yield Line(sign, "addresses", detail, widens=sign == MORE)


def _static(plan: Plan | None, name: str) -> Region:
    """Return what the networks of a group's services open, at any of its sites."""
    if plan is None or name not in plan.group:
        return ()
    sender = reach.Sender(plan.sites[0].name, name)
    found = reach.opened(reach.rules_of(plan, sender, {}))
    return tuple(box for region in found.values() for box in region)


def _prefixes(spans: Spans) -> list[Any]:
    return [
        prefix
        for first, last in spans
        for prefix in summarize_address_range(regions.address_of(first), regions.address_of(last))
    ]


def _lost(before: Plan | None, after: Plan, name: str) -> Iterator[Grant]:
    kept = {grant.mark for grant in after.grants}
    for grant in before.grants if before is not None else ():
        if grant.group == name and grant.mark not in kept:
            yield grant


# for single tablets


def _tablets(before: Plan | None, after: Plan) -> Iterator[Line]:
    """Yield tablets that get another group, VLAN or address."""
    if before is None:
        return
    old = {(b.site, b.tablet): b for b in before.bindings}
    new = {(b.site, b.tablet): b for b in after.bindings}
    for key in sorted(old.keys() & new.keys()):
        text = "; ".join(_moved(before, after, old[key], new[key]))
        if text:
            widens = old[key].group != new[key].group
            yield Line(OTHER, f"tablet {key[1]}", f"{text}, at {key[0]}", widens)


def _moved(before: Plan, after: Plan, was: Binding, is_: Binding) -> Iterator[str]:
    vlans = before.site[was.site].vlan, after.site[is_.site].vlan
    if vlans[0] != vlans[1]:
        yield f"VLAN {vlans[0]} -> {vlans[1]}"
    for key in ("group", "mac", "address"):
        if getattr(was, key) != getattr(is_, key):
            yield f"{key} {getattr(was, key)} -> {getattr(is_, key)}"


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    rest = len(listed) - _SHOWN
    return ", ".join(listed[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _ports(service: ServicePlan) -> str:
    if service.local is not None:
        return "from the appliance"
    return ", ".join(map(str, service.ports))


def _by(networks: Iterable[Any]) -> list[Any]:
    return sorted(networks, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
