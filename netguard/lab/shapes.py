"""How each vendor writes an Access-Request for a MAC: data, so that the lab's NAS can be any of them. Pure.

What a vendor sends is a matter of its settings too; these are common ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

from netguard.core import radius
from netguard.core.radius import Attribute, Attributes, Type

Spell = Callable[[str], str]


def plain(mac: str) -> str:
    """3c286daa0110."""
    return mac.replace(":", "")


def dashed(mac: str) -> str:
    """3c-28-6d-aa-01-10."""
    return mac.replace(":", "-")


def upper(mac: str) -> str:
    """3C-28-6D-AA-01-10."""
    return dashed(mac).upper()


def colons(mac: str) -> str:
    """3C:28:6D:AA:01:10."""
    return mac.upper()


def quads(mac: str) -> str:
    """3c28-6daa-0110."""
    digits = plain(mac)
    return f"{digits[:4]}-{digits[4:8]}-{digits[8:]}"


def nothing(mac: str) -> str:
    """No text at all."""
    return mac[:0]


@dataclass(frozen=True, slots=True)
class Shape:
    """One vendor's way to write."""

    user: Spell
    calling: Spell
    password: Spell = plain
    ap: Spell = upper
    ssid_in_called: bool = True
    service_type: int | None = None
    ap_name: tuple[int, int] | None = None  # vendor, attribute
    ssid: tuple[int, int] | None = None


CALL_CHECK, LOGIN, FRAMED = 10, 1, 2
VENDORS: dict[str, Shape] = {
    "hostapd": Shape(plain, upper),
    "cisco-aireos": Shape(dashed, dashed, service_type=CALL_CHECK, ap=dashed),
    "cisco-9800": Shape(plain, dashed, service_type=CALL_CHECK, ap=dashed),
    "aruba-controller": Shape(
        plain, plain, ap=plain, ssid_in_called=False, ap_name=(14823, 6), ssid=(14823, 5)
    ),
    "aruba-instant": Shape(plain, plain, ap=plain, ap_name=(14823, 6), ssid=(14823, 5)),
    "ruckus": Shape(plain, upper, service_type=LOGIN, ssid=(25053, 3)),
    "meraki": Shape(plain, upper, ap_name=(29671, 3)),
    "unifi": Shape(plain, upper),
    "mist": Shape(plain, upper, service_type=FRAMED),
    "fortigate": Shape(plain, upper, ap_name=(12356, 8), ssid=(12356, 7)),
    "extreme": Shape(plain, upper),
    "huawei": Shape(plain, quads, service_type=FRAMED),
    "mikrotik": Shape(colons, upper, password=nothing),
    "other": Shape(plain, upper),
}


def attributes(
    vendor: str, mac: str, *, bssid: str, ap: str, ssid: str, nas: str, address: bytes
) -> Attributes:
    """Return what identifies the tablet and its place, as this vendor writes it."""
    shape = VENDORS[vendor]
    called = shape.ap(bssid) + (f":{ssid}" if shape.ssid_in_called else "")
    found: list[Attribute] = [
        radius.text(Type.USER_NAME, shape.user(mac)),
        (int(Type.NAS_IP_ADDRESS), address),
        radius.text(Type.NAS_IDENTIFIER, nas),
        radius.text(Type.CALLED_STATION_ID, called),
        radius.text(Type.CALLING_STATION_ID, shape.calling(mac)),
        radius.number(Type.NAS_PORT_TYPE, 19),  # Wireless-802.11
    ]
    if shape.service_type is not None:
        found.append(radius.number(Type.SERVICE_TYPE, shape.service_type))
    if shape.ap_name is not None:
        found.append(radius.vendor(*shape.ap_name, ap))
    if shape.ssid is not None:
        found.append(radius.vendor(*shape.ssid, ssid))
    return tuple(found)


def password(vendor: str, mac: str) -> bytes:
    """Return what this vendor puts into User-Password."""
    return VENDORS[vendor].password(mac).encode()
