"""Who is admitted, and where: the reference meaning of a Policy for an Access-Request.

FreeRADIUS answers from generated files (render/freeradius.py, radius_hooks/); this is what its
answers are compared with, and what `explain --radius` prints. No request of a live network ever
waits for this code.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from netguard.core.areas import Attributes as Attributes  # noqa: PLC0414  # part of a Request
from netguard.core.areas import (
    area_of,
    enrolment_vlan,
    first,
    quarantine_vlan,
    ssid_of,
    values,
)
from netguard.core.hours import seconds_left
from netguard.core.loans import REFUSED, Loans, rule_of, why_of
from netguard.core.names import Mac, shown
from netguard.core.policy import Group, Origin, Policy, Site, Tablet
from netguard.core.psk import Form
from netguard.errors import BadValue

ACCEPT, REJECT = "accept", "reject"
# Some NAS send Calling-Station-Id more than once, in other formats.
CALLING_STATIONS = 3
_NO_LOANS: Loans = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Request:
    """One Access-Request: the NAS it came from (by our name for it) and its attributes."""

    nas: str
    attributes: Attributes


class Step(NamedTuple):
    """One thing that was looked at, whether it decided, and where the rules say so."""

    rule: str
    decided: bool
    why: str
    origin: Origin | None


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer: accept into a VLAN, or reject; by which rule, why, and where that stands."""

    answer: str
    vlan: int | None
    rule: str
    reason: str
    origin: Origin | None
    steps: tuple[Step, ...]
    session_timeout: int | None = None
    interim: int | None = None
    # How the tablet's own Wi-Fi key is sent with it; None where it is not.
    psk: Form | None = None


def decide(
    policy: Policy, request: Request, loans: Loans = _NO_LOANS, at: datetime | None = None
) -> Admission:
    """Decide one request; the same request, loans and moment are always decided the same way.

    Without a moment the hours of a group are not judged.
    """
    return _Case(policy, request, loans, at).of_which_nas()


class _Case:
    """One request on its way; each question either answers it or hands it to the next."""

    def __init__(self, policy: Policy, request: Request, loans: Loans, at: datetime | None) -> None:
        self.policy = policy
        self.request = request
        self.loans = loans
        self.at = at
        self.steps: list[Step] = []

    def passed(self, rule: str, why: str, *path: str) -> None:
        origin = self.policy.where(*path) if path else None
        self.steps.append(Step(rule, decided=False, why=why, origin=origin))

    def answered(self, answer: str, rule: str, why: str, *path: str) -> Admission:
        origin = self.policy.where(*path) if path else None
        self.steps.append(Step(rule, decided=True, why=why, origin=origin))
        return Admission(answer, None, rule, why, origin, tuple(self.steps))

    def of_which_nas(self) -> Admission:
        nas = self.request.nas
        site = site_of_nas(self.policy, nas)
        if site is None:
            return self.answered(REJECT, "unknown-nas", f"no site has a NAS {shown(nas)}")
        self.passed("nas", f"{nas} is a NAS of site '{site.name}'", "sites", site.name, "nas", nas)
        return self.by_mac(site)

    def by_mac(self, site: Site) -> Admission:
        if values(self.request.attributes, "EAP-Message"):
            return self.answered(REJECT, "eap", "EAP is not authentication by MAC")
        mac = mac_of(self.request.attributes)
        if mac is None:
            why = "User-Name and Calling-Station-Id do not spell one MAC"
            return self.answered(REJECT, "not-mac-authentication", why)
        self.passed("mac-authentication", f"authentication by MAC, {mac}")
        tablet = next((t for t in self.policy.tablets.values() if t.mac == mac), None)
        return self.of_tablet(site, tablet) if tablet is not None else self.of_stranger(site, mac)

    def of_stranger(self, site: Site, mac: Mac) -> Admission:
        if mac.is_local:
            why = f"{mac} is a private (random) address, turn it off on the tablet"
            return self.answered(REJECT, "private-mac", why)
        why = f"{mac} is not in the inventory"
        vlan = enrolment_vlan(self.policy, site)
        if vlan is None:
            return self.answered(REJECT, "unknown-mac", why)
        elsewhere = self.on_another_network(site)
        if elsewhere is not None:
            return elsewhere
        path = ("sites", site.name, "enrolment-vlan")
        return replace(
            self.answered(ACCEPT, "unknown-mac", f"{why}, it may enrol", *path), vlan=vlan
        )

    def of_tablet(self, site: Site, tablet: Tablet) -> Admission:
        group = self.policy.groups[tablet.group]
        why = f"{tablet.mac} is {tablet.id}, group '{group.name}'"
        self.passed("inventory", why, "tablets", tablet.id)
        state = self.loans.get(tablet.id, "")
        if state in REFUSED:
            # Before anything its group may do: a stolen tablet is refused at every site alike.
            return self.of_refused(site, tablet, state)
        if site.name not in group.sites:
            why = f"group '{group.name}' has no access at site '{site.name}'"
            return self.answered(REJECT, f"{group.name}/sites", why, "groups", group.name, "sites")
        return self.on_which_network(site, tablet, group)

    def of_refused(self, site: Site, tablet: Tablet, state: str) -> Admission:
        why = why_of(tablet.id, state)
        vlan = quarantine_vlan(self.policy, site, tablet, state)
        if vlan is None:
            return self.answered(REJECT, rule_of(state), why, "tablets", tablet.id)
        elsewhere = self.on_another_network(site)
        if elsewhere is not None:
            return elsewhere
        path = ("sites", site.name, "quarantine-vlan")
        found = replace(self.answered(ACCEPT, rule_of(state), why, *path), vlan=vlan)
        # Without its key it could not even join where it is kept apart.
        return self.with_key(site, found)

    def on_which_network(self, site: Site, tablet: Tablet, group: Group) -> Admission:
        elsewhere = self.on_another_network(site)
        if elsewhere is not None:
            return elsewhere
        area = area_of(site, self.request.attributes)
        place = ("sites", site.name, "areas", area.name) if area is not None else ()
        if area is not None and group.name in area.closed_to:
            why = f"area '{area.name}' is closed to group '{group.name}'"
            return self.answered(
                REJECT, f"{group.name}/areas", why, *place, "closed-to", group.name
            )
        self.passed("area", f"area '{area.name}'" if area else "an AP that no area names", *place)
        return self.at_what_time(site, tablet, group)

    def on_another_network(self, site: Site) -> Admission | None:
        ssid = ssid_of(site, self.request.attributes)
        if site.other_networks != "reject" or ssid is None or ssid == site.ssid:
            return None
        why = f"SSID {shown(ssid)} is not the tablets' network '{site.ssid}'"
        return self.answered(REJECT, "other-network", why, "sites", site.name, "other-networks")

    def at_what_time(self, site: Site, tablet: Tablet, group: Group) -> Admission:
        left = seconds_left(group.hours, self.at, site.time_zone)
        if left == 0:
            why = f"outside the hours {group.hours}"
            return self.answered(REJECT, f"{group.name}/hours", why, "groups", group.name, "hours")
        why = f"{tablet.id} of group '{group.name}' joins the tablet VLAN of '{site.name}'"
        spans = [left] if left is not None else []
        if group.session_timeout is not None:
            spans.append(int(group.session_timeout.total_seconds()))
        found = replace(
            self.answered(ACCEPT, f"{group.name}/admit", why, "sites", site.name, "vlan"),
            vlan=site.vlan,
            session_timeout=min(spans, default=None),
            interim=int(site.interim.total_seconds()),
        )
        return self.with_key(site, found)

    def with_key(self, site: Site, found: Admission) -> Admission:
        """Add in which form the key of the tablet goes with an Accept, where its NAS wants one."""
        nas = site.nas[self.request.nas]
        if nas.form is None:
            return found
        origin = self.policy.where("sites", site.name, "nas", nas.name, "psk")
        step = Step("psk", decided=False, why=f"with its own Wi-Fi key, {nas.form}", origin=origin)
        return replace(found, psk=nas.form, steps=(*found.steps[:-1], step, found.steps[-1]))


def site_of_nas(policy: Policy, nas: str) -> Site | None:
    """Return the site a NAS belongs to."""
    return next((site for site in policy.sites.values() if nas in site.nas), None)


def mac_of(attributes: Attributes) -> Mac | None:
    """Return the MAC that asks to be admitted by its address alone, or None.

    MAC authentication is recognised by content, since vendors disagree on Service-Type: User-Name
    is the same MAC as Calling-Station-Id, or the latter is absent.
    """
    user = _mac(first(attributes, "User-Name"))
    stations = values(attributes, "Calling-Station-Id")[:CALLING_STATIONS]
    if not stations:
        return user
    calling = next((mac for text in stations if (mac := _mac(text))), None)
    return calling if calling == user else None


def _mac(text: str) -> Mac | None:
    try:
        return Mac.parse(text)
    except BadValue:
        return None
