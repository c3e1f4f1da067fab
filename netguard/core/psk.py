"""A Wi-Fi key for each tablet: how it is made, in which attribute each product takes it, and its card.

A MAC is an identifier and easily copied; with a key of its own on the SSID, a copied MAC alone is useless.
FreeRADIUS sends the key in the Access-Accept (render/freeradius.py); nothing here knows a key of a tablet that
exists, they come in as arguments. Pure: who chooses at random comes in as well.

Sources: IEEE 802.11-2020, J.4 (a passphrase has 8 to 63 printable ASCII characters, PMK = PBKDF2-HMAC-SHA1 over
the SSID, 4,096 rounds); RFC 2868 3.5 (Tunnel-Password); PacketFence's modules: WLC.pm (Cisco iPSK), MR_v2.pm
(Meraki), Hostapd.pm, SmartZone.pm (Ruckus DPSK); Aruba's VSA 44 and "Support for Multiple PSK" (InstantOS 8.4 and
later); FortiOS 7.0.2, "MPSK returned through RADIUS"; RouterOS' dictionary (Mikrotik-Wireless-PSK); ZXing's wiki,
"Barcode Contents" (the text of the QR code). Only hostapd was tried, the others are from their documents.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import lru_cache

from netguard.core import radius
from netguard.core.radius import Packet, Type
from netguard.errors import BadValue

# Small letters and digits, without those that are taken for one another, neither of a pair: b and 8, i, l and 1,
# o and 0, s and 5, z and 2.
ALPHABET = "acdefghjkmnpqrtuvwxy34679"
GROUPS, GROUP = 4, 4
# What an attacker has to guess: 16 characters out of 25, 74 bits. The dashes are for people.
BITS = GROUPS * GROUP * math.log2(len(ALPHABET))
SHORTEST, LONGEST = 8, 63


class Form(StrEnum):
    """How a product takes the key of one tablet, by a word that stands in the generated files."""

    TUNNEL_PASSWORD = "tunnel-password"  # noqa: S105  # names of attributes
    CISCO = "cisco-avpair"
    ARUBA = "aruba-mpsk"
    RUCKUS = "ruckus-dpsk"
    MIKROTIK = "mikrotik-psk"


FORMS: Mapping[str, Form] = {
    "hostapd": Form.TUNNEL_PASSWORD,
    "meraki": Form.TUNNEL_PASSWORD,
    "fortigate": Form.TUNNEL_PASSWORD,
    "cisco-aireos": Form.CISCO,
    "cisco-9800": Form.CISCO,
    "aruba-controller": Form.ARUBA,
    "aruba-instant": Form.ARUBA,
    "ruckus": Form.RUCKUS,
    "mikrotik": Form.MIKROTIK,
}
# Sent as it is, not hidden by the secret of the NAS: whoever reads that network reads the key.
CLEAR = frozenset({Form.CISCO, Form.RUCKUS, Form.MIKROTIK})

# (vendor, attribute) where the form is one attribute of a vendor.
_ARUBA, _CISCO, _RUCKUS, _MIKROTIK = (14823, 44), (9, 1), (25053, 142), (14988, 16)


def generate(choose: Callable[[str], str]) -> str:
    """Make a key such as `k7fm-qw3x-9hda-ue4t`; `choose` picks one character of a text, as `secrets.choice`."""
    return "-".join("".join(choose(ALPHABET) for _ in range(GROUP)) for _ in range(GROUPS))


def check(key: str) -> str:
    """Return a key that a network takes. Raises BadValue, which never repeats it."""
    if not SHORTEST <= len(key) <= LONGEST or not all(" " <= c <= "~" for c in key):
        raise BadValue(
            "bad-psk",
            f"a Wi-Fi key has {SHORTEST} to {LONGEST} printable ASCII characters, this one has not",
        )
    return key


@lru_cache(maxsize=65536)
def _pmk(ssid: str, key: str) -> bytes:
    """Return the pairwise master key, 32 bytes; kept, since a fleet's takes a while to work out."""
    return hashlib.pbkdf2_hmac("sha1", key.encode(), ssid.encode(), 4096, 32)


def values(form: Form, ssid: str, key: str) -> tuple[tuple[str, bytes], ...]:
    """Return the attributes that carry a key, by FreeRADIUS' names, with their values as they are sent."""
    check(key)
    if form == Form.CISCO:
        return ("Cisco-AVPair", b"psk-mode=ascii"), ("Cisco-AVPair", f"psk={key}".encode())
    if form == Form.RUCKUS:
        return (("Ruckus-DPSK", b"\0" + _pmk(ssid, key)),)
    name = {
        Form.TUNNEL_PASSWORD: "Tunnel-Password",
        Form.ARUBA: "Aruba-MPSK-Passphrase",
        Form.MIKROTIK: "Mikrotik-Wireless-PSK",
    }[form]
    return ((name, key.encode()),)


def said(
    reply: Packet, authenticator: bytes, secret: bytes, form: Form
) -> tuple[tuple[str, bytes], ...]:
    """Read back what a reply carries of a form, as `values` gives it; the request's authenticator and secret.

    Raises BadValue for a hidden value that cannot be one.
    """
    if form == Form.TUNNEL_PASSWORD:
        # A tag of one byte stands before what is hidden (RFC 2868 3.5).
        return tuple(
            ("Tunnel-Password", radius.shown_password(raw[1:], secret, authenticator))
            for raw in reply.all(Type.TUNNEL_PASSWORD)
        )
    if form == Form.CISCO:
        found = _of_vendor(reply, *_CISCO)
        return tuple(("Cisco-AVPair", raw) for raw in found if raw.startswith(b"psk"))
    if form == Form.ARUBA:
        return tuple(
            ("Aruba-MPSK-Passphrase", radius.shown_password(raw, secret, authenticator))
            for raw in _of_vendor(reply, *_ARUBA)
        )
    name, place = {
        Form.RUCKUS: ("Ruckus-DPSK", _RUCKUS),
        Form.MIKROTIK: ("Mikrotik-Wireless-PSK", _MIKROTIK),
    }[form]
    return tuple((name, raw) for raw in _of_vendor(reply, *place))


def all_said(
    reply: Packet, authenticator: bytes, secret: bytes
) -> dict[Form, tuple[tuple[str, bytes], ...]]:
    """Return every form that a reply carries a key in: none, or the one of its NAS."""
    found = {form: said(reply, authenticator, secret, form) for form in Form}
    return {form: each for form, each in found.items() if each}


def _of_vendor(reply: Packet, vendor: int, kind: int) -> list[bytes]:
    """Return the values of one attribute of a vendor (RFC 2865 5.26): each in a packet of its own."""
    head = vendor.to_bytes(4) + bytes([kind])
    return [raw[6:] for raw in reply.all(Type.VENDOR_SPECIFIC) if raw.startswith(head)]


# The card


_ESCAPED = str.maketrans({c: f"\\{c}" for c in '\\;,":'})


def wifi_text(ssid: str, key: str) -> str:
    """Return the text of a QR code by which a tablet joins a network.

    WPA covers WPA2 and WPA3 there. What separates the fields is written with a backslash before it.
    """
    return f"WIFI:T:WPA;S:{ssid.translate(_ESCAPED)};P:{check(key).translate(_ESCAPED)};;"
