"""Which column of a foreign table holds what: headers in English and French, of spreadsheets and of MDM exports."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from netguard.core.names import shown, suggest_of
from netguard.errors import BadValue

# Each field with its headers, the surest first: an export has the MAC of Wi-Fi, Ethernet and Bluetooth.
# Written without accents, blanks and punctuation, as `folded` leaves them. Intune: "Wi-Fi MAC",
# "Serial number" (also wiFiMacAddress of Graph's managedDevice); Jamf: "Wi-Fi MAC Address", "Asset Tag";
# Knox: "Wi-Fi MAC Address", "Model Number"; Google: "Wi-Fi MAC Address", annotatedAssetId.
HEADERS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "mac": [
            "wifimacaddress",
            "wifimac",
            "macwifi",
            "adressemacwifi",
            "adressewifi",
            "wifiaddress",
            "wlanmacaddress",
            "wlanmac",
            "wirelessmacaddress",
            "wirelessmac",
            "wifiphonemacaddress",
            "adressemacdewifi",
            "mac",
            "macaddress",
            "adressemac",
            "macadresse",
            "adressephysique",
            "physicaladdress",
            "hardwareaddress",
        ],
        "id": [
            "id",
            "tablet",
            "tabletid",
            "tablette",
            "idtablette",
            "numerotablette",
            "numerodetablette",
            "notablette",
            "ntablette",
            "assettag",
            "assetid",
            "annotatedassetid",
            "etiquette",
            "numeroinventaire",
            "numerodinventaire",
            "ninventaire",
            "noinventaire",
        ],
        "group": ["group", "groupe"],
        "home": [
            *[
                "home",
                "homearea",
                "area",
                "zone",
                "secteur",
                "emplacement",
                "unite",
                "service",
                "ward",
            ],
        ],
        "model": [
            "model",
            "modele",
            "modelname",
            "devicemodel",
            "nomdumodele",
            "modeledelappareil",
            "productname",
            "modelnumber",
        ],
        "serial": [
            "serialnumber",
            "serial",
            "serialno",
            "numerodeserie",
            "numeroserie",
            "noserie",
            "nserie",
            "ndeserie",
            "nodeserie",
            "sn",
        ],
        "address": ["address", "reservation", "ipreservation", "adressereservee"],
        "private-address": ["privateaddress", "adresseprivee"],
        "system": [
            "os",
            "osname",
            "operatingsystem",
            "platform",
            "plateforme",
            "systeme",
            "systemedexploitation",
            "operatingsystemname",
            "osversion",
        ],
    }
)
# What an MDM calls these is somebody's name, a number of its own or a profile: only where asked for.
ONLY_ASKED = MappingProxyType({"mdm": frozenset({"group", "home", "address"})})


def folded(header: str) -> str:
    """Return a header without case, accents, blanks and punctuation: `N° de série` is `ndeserie`."""
    plain = unicodedata.normalize("NFKD", header).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]", "", plain.lower())


def places(
    names: Sequence[str], form: str, asked: Mapping[str, str] = MappingProxyType({})
) -> dict[str, int]:
    """Return field by field the number of its column.

    `form` is "csv" or "mdm"; `asked` holds what a person said: field to header, "" for none. Raises
    BadValue where a column that was asked for is not there, or two could be meant.
    """
    found: dict[str, int] = {}
    heads = [folded(name) for name in names]
    for field, headers in HEADERS.items():
        if field in asked:
            if asked[field]:
                found[field] = called(asked[field], names, f"--column {field}")
            continue
        if field in ONLY_ASKED.get(form, ()):
            continue
        for header in headers:
            # The number an MDM gives a device is none that stands on its back.
            if header == "id" and form == "mdm":
                continue
            here = [at for at, head in enumerate(heads) if head == header]
            if len(here) > 1:
                text = f"{len(here)} columns are called {shown(names[here[0]])}; rename all but one"
                raise BadValue("row-shape", text)
            if here:
                found[field] = here[0]
                break
    return found


def called(header: str, names: Sequence[str], flag: str) -> int:
    """Return the number of the one column with this header. Raises BadValue, naming the flag."""
    here = [at for at, name in enumerate(names) if folded(name) == folded(header)]
    if len(here) != 1:
        what = "there is no column" if not here else f"{len(here)} columns are called"
        raise BadValue("row-shape", f"{flag}: {what} {shown(header)}{suggest_of(header, names)}")
    return here[0]
