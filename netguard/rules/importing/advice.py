"""How to switch a private Wi-Fi address off, per system: what an importer tells of locally administered MACs."""

from netguard.core.policy import Tablet

# Menus as the vendors' own help names them: support.apple.com/102509, support.google.com/android/answer/9075847
# with source.android.com wifi-mac-randomization-behavior, samsung.com "MAC address type",
# support.microsoft.com 4027925. Managed profiles: Apple's Wi-Fi payload, Android Management API
# macAddressRandomizationMode (also in Intune and Knox).
_APPLE = (
    "Settings > Wi-Fi > (i) beside the network > Private Wi-Fi Address: Off; or in the MDM's Wi-Fi "
    "profile 'Disable MAC address randomization'"
)
_SAMSUNG = (
    "Settings > Connections > Wi-Fi > the wheel beside the network > View more > MAC address type: "
    "Phone MAC; or in the MDM's Wi-Fi profile 'use device MAC'"
)
_ANDROID = (
    "Settings > Network & internet > Internet > the wheel beside the network > Privacy: Use device "
    "MAC; or in the MDM's Wi-Fi profile 'use device MAC'"
)
_WINDOWS = "Settings > Network & internet > Wi-Fi > the network > Random hardware addresses: Off"
_ANY = (
    "in the settings of the Wi-Fi network, set the (private, random) address to the device's own; "
    "then export the list anew"
)

_SYSTEMS = (
    (("ipad", "ios", "iphone"), "iPad", _APPLE),
    (("samsung", "sm-", "galaxy"), "Samsung", _SAMSUNG),
    (("windows", "surface"), "Windows", _WINDOWS),
    (("android", "pixel", "tb-", "tab m", "lenovo", "redmi"), "Android", _ANDROID),
)


def advice(tablet: Tablet, system: str) -> tuple[str, str]:
    """Return the system and what to do there; `system` is what the table says, or nothing.

    The model goes first: an MDM calls a Galaxy Tab just "Android".
    """
    for text in (tablet.model.lower(), system.lower()):
        for words, name, what in _SYSTEMS:
            if any(text.startswith(word) or f" {word}" in text for word in words):
                return name, what
    return "other systems", _ANY
