"""Which setting to change on which product: data, one entry a vendor of the rules. Pure.

Each says what to look for where its vendor puts it; releases differ, so a word that is not found
there is no proof. What is not known of a product falls back to what every product calls alike.
Sources: vendors' manuals and hospitals' controllers as docs/doctor.md and the rules' README name them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """What can be wrong with a NAS."""

    SILENT = "silent"
    SECRET = "secret"  # noqa: S105  # the name of a fault
    SIGNATURE = "signature"
    CALLED = "called"
    CALLING = "calling"
    ACCOUNTING = "accounting"
    INTERIM = "interim"
    CLOCK = "clock"
    ANSWERS = "answers"
    COA = "coa"
    ISOLATION = "isolation"


@dataclass(frozen=True, slots=True)
class Product:
    """One product: how people call it, the port of its CoA, and where each setting is."""

    name: str
    coa: int = 3799
    settings: Mapping[Fault, str] = field(default_factory=dict)


_ANY = {
    Fault.SILENT: "set this appliance as RADIUS server of the tablets' SSID, for MAC authentication",
    Fault.SECRET: "set the shared secret anew on both sides: the NAS, and secrets/NAME.conf here; "
    "then restart netguard-radius",
    Fault.SIGNATURE: "switch the Message-Authenticator on (firmware of 2024 and later has it, CVE-2024-3596)",
    Fault.CALLED: "set Called-Station-Id to AP-MAC:SSID (or AP-name:SSID)",
    Fault.CALLING: "send the tablet's MAC as Calling-Station-Id",
    Fault.ACCOUNTING: "set this appliance as accounting server of the tablets' SSID, port 1813",
    Fault.INTERIM: "switch interim accounting on, with the interval of the rules",
    Fault.CLOCK: "set NTP servers on it, the same that the appliance follows",
    Fault.ANSWERS: "raise its RADIUS timeout to 2 s and look at the way between: firewall, MTU, load",
    Fault.COA: "allow this appliance as dynamic authorization (CoA, RFC 5176) client, with the same secret",
    Fault.ISOLATION: "switch client isolation (peer-to-peer blocking) of the tablets' SSID on, also "
    "between access points",
}

PRODUCTS: dict[str, Product] = {
    "cisco-9800": Product(
        "Cisco Catalyst 9800",
        3799,
        {
            Fault.CALLED: "radius-server attribute wireless authentication call-station-id "
            "ap-macaddress-ssid, and the same with 'accounting'",
            Fault.ACCOUNTING: "wireless profile policy NAME: accounting-list LIST, with an accounting "
            "method list of type identity that names this server",
            Fault.INTERIM: "aaa accounting update periodic MINUTES",
            Fault.CLOCK: "ntp server ADDRESS",
            Fault.COA: "aaa server radius dynamic-author: client ADDRESS server-key KEY; from 17.4 on "
            "the server's own CoA key counts",
            Fault.ISOLATION: "wlan NAME: peer-blocking drop",
            Fault.SILENT: "wlan NAME: mac-filtering LIST; policy profile: aaa-override, nac where used",
        },
    ),
    "cisco-aireos": Product(
        "Cisco AireOS controller",
        3799,
        {
            Fault.CALLED: "Security > RADIUS > Authentication and Accounting: Call Station ID Type "
            "'AP MAC Address:SSID' (config radius callStationIdType ap-macaddr-ssid)",
            Fault.ACCOUNTING: "WLANs > ID > Security > AAA Servers: Accounting Servers enabled",
            Fault.INTERIM: "WLANs > ID > Security > AAA Servers: Interim Update, and its interval",
            Fault.COA: "Security > RADIUS > Authentication > server: Support for CoA (RFC 3576) enabled",
            Fault.ISOLATION: "WLANs > ID > Advanced: P2P Blocking Action 'Drop'",
            Fault.CLOCK: "Controller > NTP",
        },
    ),
    "aruba-controller": Product(
        "Aruba controller (AOS)",
        3799,
        {
            Fault.CALLED: "aaa authentication-server radius NAME: called-station-id type ap-macaddr, "
            "include-ssid enable",
            Fault.ACCOUNTING: "aaa profile NAME: radius-accounting GROUP",
            Fault.INTERIM: "aaa profile NAME: radius-interim-accounting (off as it comes)",
            Fault.COA: "aaa rfc-3576-server ADDRESS, key KEY, and named in the aaa profile; campus APs "
            "in tunnel or decrypt-tunnel mode only",
            Fault.ISOLATION: "wlan virtual-ap NAME: deny-inter-user-bridging",
        },
    ),
    "aruba-instant": Product(
        "Aruba Instant",
        3799,
        {
            Fault.CALLED: "wlan auth-server NAME: called-station-id type macaddr, include-ssid",
            Fault.ACCOUNTING: "SSID > Security: Accounting 'Use authentication servers'",
            Fault.INTERIM: "SSID > Security: Accounting interval (0 is off)",
            Fault.COA: "wlan auth-server NAME: rfc3576",
            Fault.ISOLATION: "SSID: deny-inter-user-bridging",
        },
    ),
    "ruckus": Product(
        "Ruckus SmartZone or ZoneDirector",
        3799,
        {
            Fault.ACCOUNTING: "WLAN > Authentication & Accounting Server: an accounting server; dynamic "
            "authorization does not work without one",
            Fault.INTERIM: "WLAN > Accounting server: 'Send interim update every' MINUTES",
            Fault.COA: "proxy mode: the controller takes Disconnects at 3799; in non-proxy mode nobody "
            "does, use its API (core function POST portalintf)",
            Fault.ISOLATION: "WLAN > Wireless Client Isolation, with the gateway in the allow-list",
        },
    ),
    "meraki": Product(
        "Cisco Meraki MR",
        1700,
        {
            Fault.ACCOUNTING: "Access control > RADIUS accounting servers; with MAC-based access "
            "control it may have to be switched on by Meraki's support",
            Fault.INTERIM: "Access control > RADIUS: Accounting interim interval (firmware MR28 and later)",
            Fault.COA: "Access control > RADIUS CoA support: enabled (UDP 1700; not on repeaters)",
            Fault.ISOLATION: "Firewall & traffic shaping > layer 3 rules: deny Local LAN; in bridge mode "
            "also 'Layer 2 LAN isolation'",
            Fault.SILENT: "Access control: MAC-based access control, RADIUS servers; every AP asks by "
            "itself: the rules need the network of the APs as address",
        },
    ),
    "unifi": Product(
        "Ubiquiti UniFi",
        3799,
        {
            Fault.ACCOUNTING: "Profiles > RADIUS: Enable accounting, accounting server",
            Fault.INTERIM: "Profiles > RADIUS: Enable Interim Update, and its interval",
            Fault.CALLING: "WiFi > NAME > RADIUS MAC Authentication: MAC address format",
            Fault.COA: "each access point takes it itself, where its firmware does; else the "
            "controller's kick-sta",
            Fault.ISOLATION: "WiFi > NAME > Client Device Isolation",
        },
    ),
    "mist": Product(
        "Juniper Mist",
        3799,
        {
            Fault.ACCOUNTING: "WLAN > RADIUS Accounting Servers",
            Fault.INTERIM: "WLAN > RADIUS Accounting Servers: Interim Accounting, and its interval",
            Fault.COA: "WLAN > CoA/DM Server: Enabled, port 3799",
            Fault.ISOLATION: "WLAN > Isolation: Prohibit peer to peer communication",
        },
    ),
    "fortigate": Product(
        "Fortinet FortiGate",
        3799,
        {
            Fault.ACCOUNTING: "config user radius, edit NAME: config accounting-server, set status enable",
            Fault.INTERIM: "config user radius, edit NAME: set acct-interim-interval SECONDS",
            Fault.COA: "config user radius, edit NAME: set radius-coa enable",
            Fault.ISOLATION: "config wireless-controller vap, edit NAME: set intra-vap-privacy enable",
        },
    ),
    "extreme": Product(
        "Extreme access points",
        3799,
        {
            Fault.COA: "permit dynamic change of authorization messages (CoA) on the RADIUS server entry",
            Fault.SIGNATURE: "RADIUS server > advanced: Require Message-Authenticator",
        },
    ),
    "huawei": Product("Huawei AC", 3799),
    "mikrotik": Product(
        "MikroTik RouterOS",
        3799,
        {
            Fault.ACCOUNTING: "access list and AAA of the wireless package: accounting=yes",
            Fault.INTERIM: "AAA: interim-update=5m; mac-caching hides a second admission",
            Fault.CALLED: "AAA: called-format, with MAC and SSID in it",
            Fault.COA: "/radius incoming set accept=yes port=3799",
            Fault.CLOCK: "/system ntp client set enabled=yes",
        },
    ),
    "hostapd": Product(
        "hostapd",
        3799,
        {
            Fault.ACCOUNTING: "acct_server_addr, acct_server_port=1813, acct_server_shared_secret",
            Fault.INTERIM: "radius_acct_interim_interval=SECONDS: it wins over what we answer",
            Fault.COA: "radius_das_port=3799, radius_das_client=ADDRESS SECRET; not with several SSIDs "
            "on one access point",
            Fault.ISOLATION: "ap_isolate=1; between access points the switch has to do it",
            Fault.CLOCK: "its Event-Timestamp is the system's clock: set NTP there",
        },
    ),
    "other": Product("its product", 3799),
}


def mend(vendor: str, fault: Fault) -> str:
    """Return what to change on a vendor's product."""
    product = PRODUCTS.get(vendor, PRODUCTS["other"])
    return f"{product.name}: {product.settings.get(fault, _ANY[fault])}"


# Under which names a product asks for the one secret that it shares with us.
_SECRET = {
    "cisco-9800": "radius server NAME: key; aaa server radius dynamic-author: client ADDRESS server-key",
    "hostapd": "auth_server_shared_secret, acct_server_shared_secret, radius_das_client=ADDRESS SECRET",
    "mikrotik": "/radius set secret=",
}


def secret_goes(vendor: str) -> str:
    """Return where a vendor's product takes the secret it shares with us."""
    return _SECRET.get(vendor, "for authentication, for accounting, and for dynamic authorisation")


# As whom a product speaks in its vendor attributes; those of others may be there as well.
_SPEAKS = {
    "cisco-9800": {"Cisco", "Cisco Airespace"},
    "cisco-aireos": {"Cisco", "Cisco Airespace"},
    "aruba-controller": {"Aruba"},
    "aruba-instant": {"Aruba"},
    "ruckus": {"Ruckus"},
    "meraki": {"Meraki"},
    "fortigate": {"Fortinet"},
    "extreme": {"Aerohive"},
    "huawei": {"Huawei"},
    "mikrotik": {"MikroTik"},
}


def fits(vendor: str, spoken: Iterable[str]) -> bool:
    """Say whether vendor attributes that were seen are those of a product; without any, they are."""
    names = set(spoken)
    return not names or vendor not in _SPEAKS or bool(names & _SPEAKS[vendor])


def coa_port(vendor: str) -> int:
    """Return where a vendor's product takes a Disconnect-Request."""
    return PRODUCTS.get(vendor, PRODUCTS["other"]).coa
