"""Where a request comes from: the AP it names, and the area that AP belongs to.

Every vendor names the AP elsewhere and spells it its own way. The candidates are looked at in a
fixed order, and the first that the site's areas know decides; what they do not know is no area,
never a guess.
"""

from collections.abc import Iterator, Mapping

from netguard.core.names import Mac
from netguard.core.policy import Area, Policy, Site
from netguard.errors import BadValue

# Vendors that have an attribute for the AP's name say it better than Called-Station-Id.
AP_NAME_ATTRIBUTES = ("Aruba-Location-Id", "Meraki-Ap-Name", "Fortinet-AP-Name")


def canonical_ap(text: str) -> str:
    """Return one spelling of an AP's name: a MAC with colons, all else in lower case."""
    try:
        return str(Mac.parse(text))
    except BadValue:
        return text.lower()


def split_called_station(text: str) -> tuple[str, str | None]:
    """Split a Called-Station-Id into AP and SSID; the SSID is None where there is none.

    A MAC first (it may hold colons, and so may the SSID after it), else AP-NAME:SSID at the first
    colon, else the whole text is the AP (RFC 3580 3.20).
    """
    if _is_mac(text):
        return text, None
    for at, character in enumerate(text[:18]):
        if character == ":" and _is_mac(text[:at]):
            return text[:at], text[at + 1 :] or None
    name, colon, ssid = text.partition(":")
    return (name, ssid or None) if colon else (text, None)


def _is_mac(text: str) -> bool:
    try:
        Mac.parse(text)
    except BadValue:
        return False
    return True


def ap_candidates(attributes: Mapping[str, str]) -> Iterator[str]:
    """Yield the canonical names by which a request may name its AP, best first."""
    for name in AP_NAME_ATTRIBUTES:
        if attributes.get(name):
            yield canonical_ap(attributes[name])
    called = attributes.get("Called-Station-Id", "")
    if called:
        yield canonical_ap(split_called_station(called)[0])
    identifier = attributes.get("NAS-Identifier", "")
    if identifier:
        # Meraki writes AP-MAC:vapN.
        yield canonical_ap(split_called_station(identifier)[0])
    if attributes.get("NAS-IP-Address"):
        yield attributes["NAS-IP-Address"]


def area_of(site: Site, attributes: Mapping[str, str]) -> Area | None:
    """Return the area of the first candidate that the site knows, or None."""
    return next((area for ap in ap_candidates(attributes) if (area := _area(site, ap))), None)


def _area(site: Site, ap: str) -> Area | None:
    """Find an AP by its name, else by the longest BSSID pattern; the first area by name wins."""
    best: tuple[int, Area] | None = None
    for _, area in sorted(site.areas.items()):
        for listed in area.aps:
            known = canonical_ap(listed)
            if known == ap:
                return area
            if (
                known.endswith("*")
                and ap.startswith(known[:-1])
                and (not best or len(known) > best[0])
            ):
                best = len(known), area
    return best[1] if best else None


def enrolment_vlan(policy: Policy, site: Site) -> int | None:
    """Return the VLAN of MACs that are not in the inventory, where the rules give them one."""
    return site.enrolment_vlan if policy.defaults.unknown_mac == "enrol" else None
