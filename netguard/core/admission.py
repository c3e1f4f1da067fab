"""Who is admitted, and where: the reference meaning of a Policy for an Access-Request.

FreeRADIUS answers from generated files (render/freeradius.py, radius_hooks/); this is what its
answers are compared with, and what `explain --radius` prints. No request of a live network ever
waits for this code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from netguard.core.loans import REFUSED, Loans, rule_of, why_of
from netguard.core.names import Mac, shown
from netguard.core.policy import Origin, Policy, Site
from netguard.errors import BadValue

ACCEPT, REJECT = "accept", "reject"
# Attribute names are spelled as FreeRADIUS' dictionaries spell them.
Attributes = Mapping[str, str]
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


def decide(policy: Policy, request: Request, loans: Loans = _NO_LOANS) -> Admission:
    """Decide one request; the same request and loans are always decided the same way."""
    steps: list[Step] = []

    def passed(rule: str, why: str, origin: Origin | None = None) -> None:
        steps.append(Step(rule, decided=False, why=why, origin=origin))

    def answered(
        answer: str, rule: str, why: str, origin: Origin | None = None, vlan: int | None = None
    ) -> Admission:
        steps.append(Step(rule, decided=True, why=why, origin=origin))
        return Admission(answer, vlan, rule, why, origin, tuple(steps))

    site = site_of_nas(policy, request.nas)
    if site is None:
        return answered(REJECT, "unknown-nas", f"no site has a NAS {shown(request.nas)}")
    origin = policy.where("sites", site.name, "nas", request.nas)
    passed("nas", f"{request.nas} is a NAS of site '{site.name}'", origin)
    if "EAP-Message" in request.attributes:
        return answered(REJECT, "eap", "EAP is not authentication by MAC")
    mac = mac_of(request.attributes)
    if mac is None:
        why = "User-Name and Calling-Station-Id do not spell one MAC"
        return answered(REJECT, "not-mac-authentication", why)
    passed("mac-authentication", f"authentication by MAC, {mac}")
    tablet = next((t for t in policy.tablets.values() if t.mac == mac), None)
    if tablet is None:
        if mac.is_local:
            why = f"{mac} is a private (random) address, turn it off on the tablet"
            return answered(REJECT, "private-mac", why)
        return answered(REJECT, "unknown-mac", f"{mac} is not in the inventory")
    listed = policy.where("tablets", tablet.id)
    passed("inventory", f"{mac} is {tablet.id}, group '{tablet.group}'", listed)
    state = loans.get(tablet.id, "")
    if state in REFUSED:
        # Before anything its group may do: a stolen tablet is refused at every site alike.
        return answered(REJECT, rule_of(state), why_of(tablet.id, state), listed)
    group = policy.groups[tablet.group]
    if site.name not in group.sites:
        why = f"group '{group.name}' has no access at site '{site.name}'"
        return answered(
            REJECT, f"{group.name}/sites", why, policy.where("groups", group.name, "sites")
        )
    ssid = ssid_of(request.attributes)
    if site.other_networks == "reject" and ssid is not None and ssid != site.ssid:
        why = f"SSID {shown(ssid)} is not the tablets' network '{site.ssid}'"
        return answered(
            REJECT, "other-network", why, policy.where("sites", site.name, "other-networks")
        )
    why = f"{tablet.id} of group '{group.name}' joins the tablet VLAN of '{site.name}'"
    origin = policy.where("sites", site.name, "vlan")
    return answered(ACCEPT, f"{group.name}/admit", why, origin, site.vlan)


def site_of_nas(policy: Policy, nas: str) -> Site | None:
    """Return the site a NAS belongs to."""
    return next((site for site in policy.sites.values() if nas in site.nas), None)


def mac_of(attributes: Attributes) -> Mac | None:
    """Return the MAC that asks to be admitted by its address alone, or None.

    MAC authentication is recognised by content, since vendors disagree on Service-Type: User-Name
    is the same MAC as Calling-Station-Id, or the latter is absent.
    """
    user = _mac(attributes.get("User-Name", ""))
    if "Calling-Station-Id" not in attributes:
        return user
    calling = _mac(attributes["Calling-Station-Id"])
    return calling if calling == user else None


def _mac(text: str) -> Mac | None:
    try:
        return Mac.parse(text)
    except BadValue:
        return None


def ssid_of(attributes: Attributes) -> str | None:
    """Return the SSID of a Called-Station-Id such as AA-BB-CC-DD-EE-FF:SSID, or None.

    An SSID may hold colons; a MAC with colons is tried before the text after it.
    """
    called = attributes.get("Called-Station-Id", "")
    colons = (at for at, character in enumerate(called[:18]) if character == ":")
    return next((called[at + 1 :] or None for at in colons if _mac(called[:at])), None)
