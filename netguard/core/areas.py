"""Where a request comes from: the AP and the SSID it names, and the area that AP belongs to.

Every vendor names the AP elsewhere and spells it its own way. The candidates are looked at in a
fixed order, and the first that the site's areas know decides; what they do not know is no area,
never a guess. radius_hooks/policy.d/netguard says the same to FreeRADIUS, byte for byte.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from netguard.core.loans import QUARANTINED
from netguard.core.names import Mac
from netguard.core.policy import Area, Policy, Site, Tablet
from netguard.errors import BadValue

# Attribute names are spelled as FreeRADIUS' dictionaries spell them; several values of one
# attribute, in their order, are a tuple.
Attributes = Mapping[str, str | tuple[str, ...]]

# Vendors that have an attribute for the AP's name say it better than Called-Station-Id.
AP_NAME_ATTRIBUTES = ("Aruba-Location-Id", "Meraki-Ap-Name", "Fortinet-AP-Name")
SSID_ATTRIBUTES = ("Aruba-Essid-Name", "Ruckus-SSID", "Fortinet-SSID")
# Some NAS send Called-Station-Id twice, in two formats.
CALLED_STATIONS = 2
# IEEE 802.11 for an SSID; an AP's name is a word of the rules.
_SSID_BYTES, _AP_BYTES = 32, 64
# What could be read again by FreeRADIUS when it is expanded: no name has it.
_UNPLAIN = re.compile(r'[\x00-\x1f\x7f"\\]')
_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


def values(attributes: Attributes, name: str) -> tuple[str, ...]:
    """Return every value of an attribute, in order."""
    found = attributes.get(name, ())
    return (found,) if isinstance(found, str) else found


def first(attributes: Attributes, name: str) -> str:
    """Return the first value of an attribute, or an empty text."""
    return next(iter(values(attributes, name)), "")


@lru_cache(4096)
def canonical_ap(text: str) -> str:
    """Return one spelling of an AP's name: a MAC with colons, all else with small ASCII letters."""
    try:
        return str(Mac.parse(text))
    except BadValue:
        return text.translate(_UPPER)


def split_called_station(text: str) -> tuple[str, str | None]:
    """Split a Called-Station-Id into AP and SSID; the SSID is None where there is none.

    A MAC first (it may hold colons, and so may the SSID after it), else AP-NAME:SSID at the first
    colon, else the whole text is the AP (RFC 3580 3.20).
    """
    bssid = _bssid(text)
    if bssid:
        return bssid, text[len(bssid) + 1 :] or None
    name, colon, ssid = text.partition(":")
    return (name, ssid or None) if colon else (text, None)


def _bssid(text: str) -> str:
    """Return the MAC that a text is, or that stands before a colon at its beginning."""
    for end in (len(text), *(at for at, character in enumerate(text[:18]) if character == ":")):
        if _is_mac(text[:end]):
            return text[:end]
    return ""


def _is_mac(text: str) -> bool:
    try:
        Mac.parse(text)
    except BadValue:
        return False
    return True


def ssid_of(site: Site, attributes: Attributes) -> str | None:
    """Return the SSID where it is certain, else None.

    Certain is what stands behind a BSSID, or behind the name of an AP that an area of the site
    lists, and what a vendor's own attribute says. AP-NAME:SSID alone can be cut in several places.
    """
    for text in values(attributes, "Called-Station-Id")[:CALLED_STATIONS]:
        ap, ssid = split_called_station(text)
        if ssid is not None and (_bssid(text) or (_plain(text) and _known(site, ap))):
            return ssid
    texts = (first(attributes, name) for name in SSID_ATTRIBUTES)
    return next((text for text in texts if _is_ssid(text)), None)


def _is_ssid(text: str) -> bool:
    return 1 <= _bytes(text) <= _SSID_BYTES and "\0" not in text


def _known(site: Site, ap: str) -> bool:
    """Say whether an area lists an AP by this very name."""
    name = canonical_ap(ap)
    listed = (canonical_ap(each) for area in site.areas.values() for each in area.aps)
    return _is_name(ap) and any(name == each for each in listed if not each.endswith("*"))


def _plain(text: str) -> bool:
    return not _UNPLAIN.search(text)


def _is_name(text: str) -> bool:
    return 1 <= _bytes(text) <= _AP_BYTES


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def ap_candidates(attributes: Attributes) -> Iterator[str]:
    """Yield the canonical names by which a request may name its AP, best first."""
    for name in AP_NAME_ATTRIBUTES:
        text = first(attributes, name)
        if _plain(text) and _is_name(text):
            yield canonical_ap(text)
    # Meraki writes AP-MAC:vapN into NAS-Identifier.
    texts = values(attributes, "Called-Station-Id")[:CALLED_STATIONS]
    for text in (*texts, first(attributes, "NAS-Identifier")):
        ap = _bssid(text) if "\0" not in text else ""
        if not ap and _plain(text):
            ap = split_called_station(text)[0]
        if _is_name(ap):
            yield canonical_ap(ap)
    if first(attributes, "NAS-IP-Address"):
        yield first(attributes, "NAS-IP-Address")


def area_of(site: Site, attributes: Attributes) -> Area | None:
    """Return the area of the first candidate that the site knows, or None."""
    return next((area for ap in ap_candidates(attributes) if (area := _area(site, ap))), None)


def _area(site: Site, ap: str) -> Area | None:
    """Find an AP by its name, else a BSSID by the longest pattern; the first area by name wins."""
    best: tuple[int, Area] | None = None
    for _, area in sorted(site.areas.items()):
        for listed in area.aps:
            known = canonical_ap(listed)
            pattern = known.endswith("*")
            if known == ap and not pattern:
                return area
            fits = known == "*" or (_is_mac(ap) and ap.startswith(known[:-1]))
            if pattern and fits and (not best or len(known) > best[0]):
                best = len(known), area
    return best[1] if best else None


def enrolment_vlan(policy: Policy, site: Site) -> int | None:
    """Return the VLAN of MACs that are not in the inventory, where the rules give them one."""
    return site.enrolment_vlan if policy.defaults.unknown_mac == "enrol" else None


def quarantine_vlan(policy: Policy, site: Site, tablet: Tablet, state: str) -> int | None:
    """Return the VLAN that a tablet of this state is put into instead of being rejected, if any.

    Only one in quarantine, only at a site of its group that has such a VLAN: who is lost or stolen gets none.
    """
    at_home = site.name in policy.groups[tablet.group].sites
    return site.quarantine_vlan if state == QUARANTINED and at_home else None
