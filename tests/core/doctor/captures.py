"""Captures as scapy writes them, out of lines that say what a NAS sends: what the tests of the doctor read.

    0    10.1.2.10 ask 64:1b:2f:00:00:01            an Access-Request, and its Accept
    1    10.1.2.10 start 64:1b:2f:00:00:01 ahead=40 an Accounting-Request, its clock 40 s ahead
    301  10.1.2.10 interim 64:1b:2f:00:00:01
    400  10.1.2.10 nak                              a Disconnect-NAK

Words behind: unsigned, no-ssid, no-ap, no-calling, no-stamp, no-answer, reject, eap, wrong (another secret),
late=SECONDS, again=TIMES, vendor=NAME. The first line of a capture is at 1,800,000,000 s.
"""

import hmac
from hashlib import md5, sha256
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw
from scapy.utils import PcapNgWriter, PcapWriter

from netguard.core import radius
from netguard.core.radius import Code, Status, Type
from netguard.lab import shapes

SECRET, OTHER = b"0123456789abcdef0123", b"another-secret-of-theirs"
SERVER = "10.1.2.1"
BEGIN = 1_800_000_000
STATUS = {"start": Status.START, "stop": Status.STOP, "interim": Status.INTERIM_UPDATE}


def packets(lines):
    """Return (seconds, source, port, destination, port, payload) of each line, answers included."""
    found = []
    for number, line in enumerate(line for line in lines if line.strip()):
        seconds, source, verb, *words = line.split()
        given = dict(word.partition("=")[::2] for word in words)
        at = BEGIN + float(seconds)
        found += _told(at, source, verb, given, number % 256)
    return sorted(found, key=lambda row: row[0])


def _told(at, source, verb, given, number):
    if verb == "nak":
        reply = bytes([Code.DISCONNECT_NAK, number, 0, 20]) + bytes(16)
        return [(at, source, 3799, SERVER, 40000, reply)]
    mac = next(iter(given))
    secret = OTHER if "wrong" in given else SECRET
    place = _place(source, mac, given)
    if verb == "ask":
        request, code = _access(number, secret, place, mac, given), Code.ACCESS_ACCEPT
        if "reject" in given:
            code = Code.ACCESS_REJECT
        port = 1812
    else:
        stamp = int(at) + int(given.get("ahead", 0))
        extra = () if "no-stamp" in given else (radius.number(Type.EVENT_TIMESTAMP, stamp),)
        status = radius.number(Type.ACCT_STATUS_TYPE, STATUS[verb])
        session = radius.text(Type.ACCT_SESSION_ID, f"s-{mac}")
        request = radius.accounting_request(number, secret, (*place, status, session, *extra))
        code, port = Code.ACCOUNTING_RESPONSE, 1813
    sent = [
        (at + 1.0 * n, source, 40000, SERVER, port, request)
        for n in range(int(given.get("again", 0)) + 1)
    ]
    if "no-answer" not in given:
        late = at + float(given.get("late", 0.01))
        sent.append((late, SERVER, port, source, 40000, reply_to(request, code)))
    return sent


def _place(source, mac, given):
    vendor = given.get("vendor", "cisco-9800")
    place = shapes.attributes(
        vendor, mac, bssid="70:3a:0e:00:00:01", ap="AP-CAR-301", ssid="CHU-TABLETTES", nas="wlc",
        address=bytes(map(int, source.split("."))),
    )  # fmt: skip
    rows = []
    for kind, value in place:
        if kind == Type.CALLED_STATION_ID:
            if "no-ap" in given:
                continue
            if "no-ssid" in given:
                rows.append((kind, value.partition(b":")[0]))
                continue
        if "no-calling" in given and kind in {Type.CALLING_STATION_ID, Type.USER_NAME}:
            continue
        rows.append((kind, value))
    if "eap" in given:
        rows.append((int(Type.EAP_MESSAGE), b"\x02\x01\x00\x05\x01"))
    return tuple(rows)


def _access(number, secret, place, mac, given):
    authenticator = sha256(f"{number} {mac} {given}".encode()).digest()[:16]
    password = shapes.password(given.get("vendor", "cisco-9800"), mac)
    sign = "unsigned" not in given
    return radius.access_request(number, authenticator, secret, place, password, sign=sign)


def reply_to(request, code, secret=SECRET):
    """Make an answer with a Message-Authenticator; written apart from the codec, after the RFCs."""
    body = bytes([80, 18]) + bytes(16)
    head = bytes([code, request[1]]) + (20 + len(body)).to_bytes(2)
    body = body[:2] + hmac.digest(secret, head + request[4:20] + body, "md5")
    return head + md5(head + request[4:20] + body + secret).digest() + body


def write(path: Path, lines, *, extra=()):
    """Write a capture, pcapng where the name says so; `extra` are more frames of scapy, with their times."""
    rows = [
        (at, Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IP(src=src, dst=dst)
         / UDP(sport=sport, dport=dport) / Raw(payload))
        for at, src, sport, dst, dport, payload in packets(lines)
    ]  # fmt: skip
    frames = sorted([*rows, *extra], key=lambda row: row[0])
    if path.suffix == ".pcapng":
        writer = PcapNgWriter(str(path))
    else:
        writer = PcapWriter(str(path), linktype=1)
    for at, frame in frames:
        frame.time = at
        writer.write(frame)
    writer.close()
    return path
