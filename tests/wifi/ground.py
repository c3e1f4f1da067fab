"""What the radios stand in: which access point is which, and the example's rules as they are there."""

# Sixty seconds of presence pass in one of ours.
SPEED = 60
HERE, BESIDE, EXIT = "AP-CAR-301", "AP-CAR-302", "AP-LOB-01"
# By the first access point of an area: the radios of hwsim that stand in it, in the order they are put up.
RADIOS = {
    HERE: ("02:00:00:00:00:00", "02:00:00:00:01:00"),
    EXIT: ("02:00:00:00:02:00",),
}


def on_the_air(text: str) -> str:
    """Return `sites.yaml` of the example with a VLAN of a trunk, hostapd as the controller, and its radios."""
    changes = {
        "interfaces: [tab0]": "interfaces: [tab0.640]",
        "10.1.2.10, vendor: cisco-9800": "10.1.2.10, vendor: hostapd",
    }
    # hostapd names its radio, not the access point: as on any site, the radios are in the rules.
    for first, radios in RADIOS.items():
        listed = ", ".join(f'"{each}"' for each in radios)
        changes[f"aps: [{first}"] = f"aps: [{listed}, {first}"
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"the example has no '{old}' any more")
        text = text.replace(old, new)
    return text
