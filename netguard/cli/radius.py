"""radius ask: a real request to the running FreeRADIUS, its answer beside what the rules say."""

import argparse
import json
import sys
from dataclasses import dataclass

from netguard.adapters import clock, control, radius_client
from netguard.cli import folders
from netguard.cli.explaining import policy_in_force
from netguard.core import radius
from netguard.core.admission import ACCEPT, REJECT, Admission, Attributes, Request, decide
from netguard.core.areas import AP_NAME_ATTRIBUTES
from netguard.core.explain import find_tablet
from netguard.core.names import Mac, shown, suggest
from netguard.core.policy import Policy, Site
from netguard.errors import BadValue, NetguardError, UsageError
from netguard.lab import shapes
from netguard.render.freeradius import self_address
from netguard.settings import Settings

# A BSSID for requests that name their AP in an attribute of their own.
_BSSID = "02:00:00:00:00:01"


@dataclass(frozen=True, slots=True)
class Said:
    """What FreeRADIUS answered."""

    answer: str
    vlan: int | None
    session_timeout: int | None
    interim: int | None


def ask(arguments: argparse.Namespace) -> int:
    """Ask as a NAS of the tablet's site would; 0 accepted, 1 rejected, 5 when the two disagree."""
    node = folders.settings(arguments)
    policy = policy_in_force(arguments, node)
    try:
        site, mac = _whom(arguments, node, policy)
        sent = _sent(site, mac, arguments.vendor, arguments.ap or "", arguments.ssid)
    except BadValue as error:
        raise UsageError(str(error)) from error
    said, wanted = _compared(node, policy, site, mac, sent, arguments.vendor)
    agree = (said.answer, said.vlan) == (wanted.answer, wanted.vlan)
    _print(arguments, str(mac), said, wanted, agree=agree)
    if not agree:
        return 5
    return 0 if said.answer == ACCEPT else 1


def as_hostapd(node: Settings, policy: Policy, site: Site, mac: Mac) -> tuple[Said, Admission]:
    """Ask for a tablet at its site in hostapd's shape; return what FreeRADIUS says, and what the rules say."""
    return _compared(node, policy, site, mac, _sent(site, mac, "hostapd", "", None), "hostapd")


def _compared(
    node: Settings, policy: Policy, site: Site, mac: Mac, sent: radius.Attributes, vendor: str
) -> tuple[Said, Admission]:
    loans = _loans(node)
    request = Request(next(iter(sorted(site.nas))), _read(sent))
    wanted = decide(policy, request, loans, clock.now())
    said = question(node, site.name, sent, shapes.password(vendor, str(mac)))
    if (said.answer, said.vlan) != (wanted.answer, wanted.vlan):
        # A window of the group's hours may have begun or ended in between.
        wanted = decide(policy, request, loans, clock.now())
    return said, wanted


def question(node: Settings, site: str, sent: radius.Attributes, password: bytes) -> Said:
    """Ask the running FreeRADIUS in the name of a site."""
    reply = radius_client.ask(
        node.radius_self,
        self_address(sorted(node.sites).index(site)),
        radius_client.read_secret(node.paths.radius),
        sent,
        password,
    )
    vlan = radius.vlan_of(reply)
    return Said(
        ACCEPT if reply.code == radius.Code.ACCESS_ACCEPT else REJECT,
        int(vlan) if vlan is not None else None,
        _number(reply, radius.Type.SESSION_TIMEOUT),
        _number(reply, radius.Type.ACCT_INTERIM_INTERVAL),
    )


def _number(reply: radius.Packet, kind: int) -> int | None:
    value = reply.first(kind)
    return int.from_bytes(value) if value is not None else None


def _whom(arguments: argparse.Namespace, node: Settings, policy: Policy) -> tuple[Site, Mac]:
    try:
        tablet = find_tablet(policy, arguments.tablet)
    except BadValue:
        # A MAC that is in no inventory is a fair question, too.
        try:
            mac, home = Mac.parse(arguments.tablet), min(node.sites)
        except BadValue:
            text = f"unknown tablet {shown(arguments.tablet)}{suggest(arguments.tablet, policy.tablets)}"
            raise BadValue("unknown-ref", text) from None
    else:
        mac, home = tablet.mac, tablet.home[0]
    name = arguments.site or (home if home in node.sites else min(node.sites))
    if name not in policy.sites or name not in node.sites:
        served = ", ".join(sorted(node.sites))
        raise BadValue(
            "unknown-ref", f"this node serves no site {shown(name)}, it serves: {served}"
        )
    return policy.sites[name], mac


def _sent(site: Site, mac: Mac, vendor: str, ap: str, ssid: str | None) -> radius.Attributes:
    if vendor not in shapes.VENDORS:
        known = ", ".join(shapes.VENDORS)
        hint = suggest(vendor, shapes.VENDORS)
        raise BadValue("unknown-word", f"unknown vendor {shown(vendor)}{hint} known: {known}")
    try:
        bssid, name = str(Mac.parse(ap)), ap
    except BadValue:
        bssid, name = _BSSID, ap or "AP"
    return shapes.attributes(
        vendor,
        str(mac),
        bssid=bssid,
        ap=name,
        ssid=ssid or site.ssid,
        # Vendors without an attribute for the AP's name: the NAS is named after it.
        nas=name,
        address=bytes([127, 0, 0, 1]),
    )


_PLAIN = {
    int(radius.Type.USER_NAME): "User-Name",
    int(radius.Type.CALLING_STATION_ID): "Calling-Station-Id",
    int(radius.Type.CALLED_STATION_ID): "Called-Station-Id",
    int(radius.Type.NAS_IDENTIFIER): "NAS-Identifier",
}
_VENDOR = {
    (14823, 6): AP_NAME_ATTRIBUTES[0],
    (29671, 3): AP_NAME_ATTRIBUTES[1],
    (12356, 8): AP_NAME_ATTRIBUTES[2],
    (14823, 5): "Aruba-Essid-Name",
    (25053, 3): "Ruckus-SSID",
    (12356, 7): "Fortinet-SSID",
}


def _read(sent: radius.Attributes) -> Attributes:
    """Return what was sent as the judge reads it: names as in FreeRADIUS' dictionaries."""
    found: dict[str, str] = {}
    for kind, value in sent:
        name, text = _PLAIN.get(kind, ""), value
        if kind == radius.Type.VENDOR_SPECIFIC:
            name, text = _VENDOR.get((int.from_bytes(value[:4]), value[4]), ""), value[6:]
        if name:
            found.setdefault(name, text.decode(errors="replace"))
    return found


def _loans(node: Settings) -> dict[str, str]:
    try:
        loans: dict[str, str] = control.call(node.guard_socket, "loans")["loans"]
    except NetguardError:
        return {}
    return loans


def _print(
    arguments: argparse.Namespace, mac: str, said: Said, wanted: Admission, *, agree: bool
) -> None:
    if arguments.json:
        body = {
            "mac": mac,
            "vendor": arguments.vendor,
            "freeradius": {
                "answer": said.answer,
                "vlan": said.vlan,
                "session_timeout": said.session_timeout,
                "interim": said.interim,
            },
            "rules": {
                "answer": wanted.answer,
                "vlan": wanted.vlan,
                "rule": wanted.rule,
                "reason": wanted.reason,
                "origin": str(wanted.origin) if wanted.origin else None,
                "session_timeout": wanted.session_timeout,
                "interim": wanted.interim,
            },
            "agree": agree,
        }
        sys.stdout.write(json.dumps(body, indent=1) + "\n")
        return
    where = f"  {wanted.origin}" if wanted.origin else ""
    lines = [
        f"asked as {arguments.vendor} for {mac}",
        f"  FreeRADIUS  {_words(said.answer, said.vlan, said.session_timeout, said.interim)}",
        f"  the rules   {_words(wanted.answer, wanted.vlan, wanted.session_timeout, wanted.interim)}"
        f"  by {wanted.rule}{where}",
        f"              {wanted.reason}",
    ]
    if not agree:
        lines.append("  THEY DISAGREE: 'netguard status' says what is not at the plan in force")
    sys.stdout.write("\n".join(lines) + "\n")


def _words(answer: str, vlan: int | None, timeout: int | None, interim: int | None) -> str:
    words = [answer]
    if vlan is not None:
        words.append(f"VLAN {vlan}")
    if timeout is not None:
        words.append(f"session {timeout} s")
    if interim is not None and answer == ACCEPT:
        words.append(f"interim {interim} s")
    return ", ".join(words)
