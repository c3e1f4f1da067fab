"""What controllers write, in their own words, and what is made of it."""

from datetime import UTC, datetime

import pytest

from netguard.core import controllers, syslog
from netguard.core.presence.judge import IDLE
from netguard.errors import BadValue
from netguard.rules.messages import shipped

NOW = datetime(2026, 11, 22, 6, 0, 0, tzinfo=UTC)
SHIPPED = shipped()
MAC = "3c:28:6d:aa:01:10"

# One line of each template at least: vendor, line, kind, AP, reason.
LINES = [
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: AP-STA-CONNECTED @", "associated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: AP-STA-DISCONNECTED @", "disassociated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: AP-STA-POLL-OK @", "heard", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: STA @ IEEE 802.11: associated (aid 1)", "associated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: STA @ IEEE 802.11: disassociated due to inactivity", "disassociated", "ap-7", "inactivity"),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: STA @ IEEE 802.11: deauthenticated due to inactivity (timer DEAUTH/REMOVE)", "disassociated", "ap-7", "inactivity"),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: STA @ IEEE 802.11: disconnected due to excessive missing ACKs", "disassociated", "ap-7", "ACKs"),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: STA @ IEEE 802.11: disassociated", "disassociated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 hostapd: wlan0: STA @ IEEE 802.11: deauthenticated", "disassociated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 wlceventd: wlceventd_proc_event(540): eth6: Assoc @, status: 0, reason: d11 RC reserved (0), rssi:-51", "associated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 wlceventd: wlceventd_proc_event(540): eth6: ReAssoc @, status: 0", "associated", "ap-7", ""),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 wlceventd: wlceventd_proc_event(508): eth6: Disassoc @, status: 0, reason: Disassociated because sending station is leaving (8), rssi:0", "disassociated", "ap-7", "8"),
    ("hostapd", "<30>Nov 22 06:00:00 ap-7 wlceventd: wlceventd_proc_event(508): eth6: Deauth_ind @, status: 0, reason: Unspecified reason (1), rssi:0", "disassociated", "ap-7", "1"),
    ("cisco-aireos", "<134>WLC001: *haSSOServiceTask0: Sep 06 21:53:55.930: %APF-6-USER_NAME_DELETED: [SA]apf_ms.c:8117 Username 10 is deleted for mobile @", "disassociated", "", ""),
    ("cisco-aireos", "<134>WLC001: *Dot1x_NW_MsgTask_0: Sep 06 21:53:55.930: %APF-6-USER_NAME_CREATED: [SA]apf_ms.c:7853 Username entry (x) is created for mobile @", "associated", "", ""),
    ("cisco-aireos", "<131>WLC001: *spamApTask1: Sep 06 21:53:55.930: %CAPWAP-3-ECHO_ERR: [SA]capwap_ac_sm.c:9166 Did not receive heartbeat reply; from AP AP-CAR-301", "ap-down", "ap-car-301", ""),
    ("cisco-aireos", "<134>WLC001: *spamApTask1: %LWAPP-3-AP_DEL: spam_lrad.c:6088 70:3a:0e:00:00:01: Entry deleted for AP: AP-CAR-301.", "ap-down", "ap-car-301", ""),
    ("cisco-aireos", "<134>WLC001: *spamApTask1: %CAPWAP-5-AP_JOIN: capwap.c:1 AP AP-CAR-301 joined", "ap-up", "ap-car-301", ""),
    ("cisco-9800", "<190>Nov 22 06:00:00.1 UTC: %CLIENT_ORCH_LOG-6-CLIENT_ADDED_TO_RUN_STATE: Chassis 1 R0/0: wncd: Username entry (u) joined with ssid (S) for device with MAC: 3c28.6daa.0110 on channel (36) on AP AP-CAR-301", "associated", "ap-car-301", ""),
    ("cisco-9800", "<190>Nov 22 06:00:00.1 UTC: %CLIENT_ORCH_LOG-6-CLIENT_MOVED_TO_RUN_STATE: R0/0: wncd: joined with ssid (S) for device with MAC: 3c28.6daa.0110", "associated", "", ""),
    ("cisco-9800", "<190>Nov 22 06:00:00.1 UTC: %CLIENT_ORCH_LOG-7-X: R0/0: wncd: Client Entry Deleted, MAC: 3c28.6daa.0110 reason: IDLE_TIMEOUT", "disassociated", "", "IDLE_TIMEOUT"),
    ("cisco-9800", "<189>Nov 22 06:00:00.1 UTC: %CAPWAPAC_SMGR_TRACE_MESSAGE-5-AP_JOIN_DISJOIN: Chassis 1 R0/0: wncd: AP Event: AP Name: AP-CAR-301, MAC: 70aa.0e00.0001 Joined", "ap-up", "ap-car-301", ""),
    ("cisco-9800", "<189>Nov 22 06:00:00.1 UTC: %CAPWAPAC_SMGR_TRACE_MESSAGE-5-AP_JOIN_DISJOIN: Chassis 1 R0/0: wncd: AP Event: AP Name: AP-CAR-301, MAC: 70aa.0e00.0001 Disjoined", "ap-down", "ap-car-301", ""),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc stm[2452]: <501100> <2452> <NOTI> <wlc 10.1.2.20>  Assoc success @ 06:00:00.606562: @: AP 10.1.3.4-70:3a:0e:00:00:01-AP-HSU-101", "associated", "ap-hsu-101", ""),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc stm[2452]: <501098> <NOTI> Deauth to sta: @: Moved out from 10.1.3.4-70:3a:0e:00:00:01-AP-HSU-101 to new AP AP-HSU-102", "heard", "", "AP-HSU-102"),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc stm[2452]: <501080> <NOTI> Deauth to sta: @: Ageout AP 10.1.3.4-70:3a:0e:00:00:01-AP-HSU-101 STA has left", "disassociated", "ap-hsu-101", "Ageout"),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc stm[2452]: <501105> <NOTI> Deauth from sta: @: AP 10.1.3.4-70:3a:0e:00:00:01-AP-HSU-101 Reason 3", "disassociated", "ap-hsu-101", "3"),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc stm[2452]: <501102> <NOTI> Disassoc from sta: @: AP 10.1.3.4-70:3a:0e:00:00:01-AP-HSU-101 Reason 8", "disassociated", "ap-hsu-101", "8"),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc sapm[1]: <311002> AP AP-HSU-101: AP rebooted", "ap-up", "ap-hsu-101", ""),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc sapm[1]: <305006> AP AP-HSU-101 is down", "ap-down", "ap-hsu-101", ""),
    ("aruba-controller", "<141>Nov 22 06:00:00 wlc sapm[1]: <305006> AP AP-HSU-101 is up", "ap-up", "ap-hsu-101", ""),
    ("unifi", "<13>Dec 19 14:48:34 udm CEF:0|Ubiquiti|UniFi Network|10.0.162|400|WiFi Client Connected|1|UNIFIconnectedToDeviceName=room2 UNIFIclientMac=@ UNIFIutcTime=2025-12-19T14:48:34.790Z", "associated", "room2", ""),
    ("unifi", "<13>Dec 19 14:48:34 udm CEF:0|Ubiquiti|UniFi Network|10.0.162|401|WiFi Client Disconnected|1|UNIFIclientMac=@ UNIFIlastConnectedToDeviceName=room2 x=y", "disassociated", "room2", ""),
    ("unifi", "<13>Dec 19 14:48:34 udm CEF:0|Ubiquiti|UniFi Network|10.0.162|402|WiFi Client Roamed|1|UNIFIclientMac=@ UNIFIlastConnectedToDeviceName=room1 UNIFIconnectedToDeviceName=room2", "roamed", "room2", ""),
    ("unifi", "<13>Dec 19 14:48:34 udm CEF:0|Ubiquiti|UniFi Network|10.0.162|500|AP Disconnected|1|UNIFIdeviceName=room2 x=y", "ap-down", "room2", ""),
    ("unifi", "<13>Dec 19 14:48:34 udm CEF:0|Ubiquiti|UniFi Network|10.0.162|501|AP Connected|1|UNIFIdeviceName=room2 x=y", "ap-up", "room2", ""),
    ("meraki", "<134>1 1795327200.857790 MR18 events type=association radio='1' vap='1' client_mac='@' channel='36' rssi='23' aid='1'", "associated", "mr18", ""),
    ("meraki", "<134>1 1795327200.857790 MR18 events type=disassociation radio='1' vap='1' client_mac='@' reason='8' aid='1'", "disassociated", "mr18", "8"),
]  # fmt: skip


CEF = "<13>Dec 19 14:48:34 udm CEF:0|Ubiquiti|UniFi Network|10.0.162|"


@pytest.mark.parametrize(
    ("rest", "kind", "ap", "left"),
    [
        (f"400|WiFi Client Connected|1|UNIFIconnectedToDeviceName=Room 2 East UNIFIclientMac={MAC}", "associated", "room 2 east", ""),
        (f"401|WiFi Client Disconnected|1|UNIFIclientMac={MAC} UNIFIlastConnectedToDeviceName=Room 2", "disassociated", "room 2", ""),
        (f"402|WiFi Client Roamed|1|UNIFIclientMac={MAC} UNIFIlastConnectedToDeviceName=Room 1 UNIFIconnectedToDeviceName=Room 2 x=y",
         "roamed", "room 2", "room 1"),
        ("500|AP Disconnected|1|UNIFIdeviceName=Room 2 msg=Room 2 was lost", "ap-down", "room 2", ""),
    ],
)  # fmt: skip
def test_an_access_point_of_unifi_has_blanks_in_its_name(rest, kind, ap, left):
    """It was called by the first word of its name, and was in no area."""
    seen = controllers.read(syslog.read((CEF + rest).encode(), NOW), SHIPPED["unifi"])
    assert (seen.kind, seen.ap, seen.left) == (kind, ap, left)


def test_a_host_name_that_brings_keys_of_its_own_is_not_believed():
    other = "64:1b:2f:6a:d5:79"
    line = f"{CEF}400|WiFi Client Connected|1|UNIFIclientHostname=x {{}} UNIFIclientMac={MAC} UNIFIconnectedToDeviceName=room2"
    for forged in (f"UNIFIclientMac={other}", "UNIFIconnectedToDeviceName=lobby"):
        message = syslog.read(line.format(forged).encode(), NOW)
        assert controllers.read(message, SHIPPED["unifi"]) is None
    assert (
        controllers.read(syslog.read(line.format("y").encode(), NOW), SHIPPED["unifi"]).ap
        == "room2"
    )


@pytest.mark.parametrize(
    "name",
    [
        "x|WiFi Client Connected|",
        "x|AP Disconnected|1|UNIFIdeviceName=lobby",
        "CEF:0|Ubiquiti|a|b|c|WiFi Client Connected|1",
        "CEF:0|Ubiquiti|a|b|c|AP Disconnected|1|UNIFIdeviceName=lobby",
    ],
)
@pytest.mark.parametrize("host", ["udm ", "Dream Machine ", ""])
def test_a_host_name_that_brings_a_header_of_its_own_is_not_believed(host, name):
    """Who left was told as having come, or an access point as down: its tablets were unreachable, not missing."""
    line = f"<13>Dec 19 14:48:34 {host}CEF:0|Ubiquiti|UniFi Network|10.0.162|401|WiFi Client Disconnected|1|UNIFIclientHostname={name} UNIFIclientMac={MAC}"
    seen = controllers.read(syslog.read(line.encode(), NOW), SHIPPED["unifi"])
    assert (seen.kind, str(seen.mac)) == ("disassociated", MAC)


def read(line):
    text = (
        line.replace("@ 06:00", "% 06:00")
        .replace("@", MAC)
        .replace("%", "%")
        .replace("% 06:00", "@ 06:00")
    )
    return syslog.read(text.encode(), NOW)


@pytest.mark.parametrize("case", LINES, ids=lambda case: f"{case[0]} {case[2]} {case[1][-30:]}")
def test_each_template_reads_its_line(case):
    vendor, line, kind, ap, reason = case
    message = read(line)
    seen = controllers.read(message, SHIPPED[vendor])
    assert seen is not None
    assert (seen.kind, seen.ap, seen.reason) == (kind, ap, reason)
    assert str(seen.mac) == (MAC if not kind.startswith("ap-") else "None")


def test_every_template_has_a_line_that_only_it_reads_first():
    met = set()
    for vendor, line, *_ in LINES:
        message = read(line)
        met.add(next(p for p in SHIPPED[vendor] if p.line.match(message.text) is not None))
    assert met == {parser for parsers in SHIPPED.values() for parser in parsers}


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ("4", "inactivity"),
        ("8", "leaving"),
        ("3", "leaving"),
        ("1", "unspecified"),
        ("15", "4-way-handshake-timeout"),
        ("23", "802.1x-failed"),
        ("16", "inactivity"),
        ("34", "lost-carrier"),
        ("ACKs", "lost-carrier"),
        ("IDLE_TIMEOUT", "idle-timeout"),
        ("CO_CLIENT_DELETE_REASON_IDLE_TIMEOUT", "idle-timeout"),
        ("Ageout", "ageout"),
        ("inactivity", "inactivity"),
        ("47", "47"),
        ("", ""),
    ],
)
def test_a_reason_is_the_same_word_whoever_gives_it(said, word):
    """Inactivity as a number was a goodbye, and a sign of life five minutes after the last one."""
    assert controllers.reason(said) == word


def test_whoever_lets_a_silent_station_go_says_so_in_a_word_that_is_no_goodbye():
    said = [
        reason
        for *_, reason in LINES
        if reason.lower() in {"inactivity", "acks", "idle_timeout", "ageout"}
    ]
    assert len(said) == 5
    assert {controllers.reason(each) for each in said} <= IDLE


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("x {mac}", "3 characters that stays"),
        ("hello {who} {mac}", "unknown word {who}"),
        ("hello {mac} {mac}", "names one word twice"),
        ("hello {mac", "brace"),
        ("hello {mac} of {ap*} now", "needs ' key='"),
        ("hello {mac} of {ap*}{from}", "needs ' key='"),
        ("hello", "lacks {mac}"),
        ("h" * 400, "printable characters"),
    ],
)
def test_a_template_that_is_none_says_what_to_write(line, words):
    with pytest.raises(BadValue, match=words.replace("{", "\\{")) as refused:
        controllers.parser(line, "associated")
    assert refused.value.finding == "bad-template"


def test_an_access_point_is_named_where_it_must_be():
    with pytest.raises(BadValue, match="lacks"):
        controllers.parser("is down now", "ap-down")
    with pytest.raises(BadValue, match="unknown kind"):
        controllers.parser("is down {mac}", "gone")
    parser = controllers.parser("is down now", "ap-down", "host")
    message = syslog.read(b"<30>Nov 22 06:00:00 ap-7 x: is down now", NOW)
    assert controllers.read(message, [parser]).ap == "ap-7"


def test_no_tablet_is_a_group_address_and_no_mac_has_more_than_six_bytes():
    for mac in ("01:00:5e:00:00:01", MAC + ":99", "zz:28:6d:aa:01:10"):
        message = syslog.read(f"<30>Nov 22 06:00:00 ap-7 x: AP-STA-CONNECTED {mac}".encode(), NOW)
        assert controllers.read(message, SHIPPED["hostapd"]) is None
