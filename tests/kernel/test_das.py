"""A real hostapd takes our Disconnects: its dynamic authorisation server, with a session that it really has.

hostapd needs no radio for that: with driver=wired it serves 802.1X on a cable, and a device that says EAPOL-Start
is a station. What it answers is what the lab's stand-in answers, question by question.
"""

import json
import os
import subprocess
import sys
from time import monotonic, sleep

import pytest

from netguard.adapters import clock
from netguard.core import radius
from netguard.lab import das

SECRET = "0123456789abcdef0123"
MAC = "3c:28:6d:aa:01:10"
DASHED = "3C-28-6D-AA-01-10"
CONFIGURATION = f"""
interface=das0
driver=wired
ieee8021x=1
own_ip_addr=127.0.0.1
nas_identifier=wlc-1
auth_server_addr=127.0.0.1
auth_server_port=11812
auth_server_shared_secret={SECRET}
radius_das_port=3799
radius_das_client=127.0.0.1 {SECRET}
radius_das_time_window=300
radius_das_require_event_timestamp=1
radius_das_require_message_authenticator=1
"""
NEW = f"STA {MAC} IEEE 802.1X: start authentication".encode()
# Runs in the namespace: asks as it is told, one JSON object a line in, one out.
CLIENT = """
import asyncio, json, socket, sys
from ipaddress import ip_address
from netguard.adapters import clock, coa
from netguard.core.coa import Session
from netguard.core.names import Mac

for line in sys.stdin:
    asked = json.loads(line)
    if "raw" in asked:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.connect(("127.0.0.1", 3799))
            one.settimeout(0.5)
            one.send(bytes.fromhex(asked["raw"]))
            try:
                said = one.recv(4096).hex()
            except TimeoutError:
                said = ""
        print(json.dumps(said), flush=True)
        continue
    if "frame" in asked:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as one:
            one.bind(("air0", 0))
            one.send(bytes.fromhex(asked["frame"]))
        print("{}", flush=True)
        continue
    told = []
    nas_ip = asked.get("nas_ip")
    session = Session(
        Mac.parse(asked["mac"]), ip_address("127.0.0.1"),
        ip_address(nas_ip) if nas_ip else None, id=asked.get("id", ""),
    )
    outcome = asyncio.run(coa.throw_off(
        asked["vendor"], session, asked["secret"].encode(),
        lambda: int(clock.now().timestamp()), lambda w, a: told.append(a.label), 0.4
    ))
    print(json.dumps([str(outcome.word), outcome.cause, told]), flush=True)
"""


@pytest.fixture(scope="module")
def hostapd(tmp_path_factory):
    """Yield how to ask a client beside a hostapd, in a namespace of their own; and hostapd's log."""
    folder = tmp_path_factory.mktemp("das")
    where = f"ngdas{os.getpid()}"
    (folder / "hostapd.conf").write_text(CONFIGURATION)
    ip = lambda *words: subprocess.run(["ip", *words], check=True, timeout=20)  # noqa: E731
    inside = ["ip", "netns", "exec", where]
    started = []
    ip("netns", "add", where)
    try:
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "add", "das0", "type", "veth", "peer", "name", "air0"),
            ("link", "set", "das0", "up"),
            ("link", "set", "air0", "up"),
        ):
            ip("-n", where, *words)
        log = folder / "log"
        with log.open("wb") as out:
            argv = [*inside, "hostapd", "-dd", str(folder / "hostapd.conf")]
            started.append(subprocess.Popen(argv, stdout=out, stderr=out))
        end = monotonic() + 20
        while b"AP-ENABLED" not in log.read_bytes():
            assert started[0].poll() is None, log.read_text(errors="replace")
            assert monotonic() < end, log.read_text(errors="replace")
            sleep(0.05)
        pipe = subprocess.PIPE
        client = subprocess.Popen(
            [*inside, sys.executable, "-c", CLIENT], stdin=pipe, stdout=pipe, text=True
        )
        started.append(client)

        def ask(**words):
            client.stdin.write(json.dumps(words) + "\n")
            client.stdin.flush()
            return json.loads(client.stdout.readline())

        yield ask, log
    finally:
        for each in started:
            each.terminate()
            each.wait(10)
            for stream in (each.stdin, each.stdout):
                if stream is not None:
                    stream.close()
        ip("netns", "del", where)


@pytest.fixture
def on_the_cable(hostapd):
    """Return the same, with the tablet a station of it."""
    ask, log = hostapd
    to, sender = bytes.fromhex("0180c2000003"), bytes.fromhex(MAC.replace(":", ""))
    # EAPOL version 2, Start, without a body (IEEE 802.1X 11.3).
    start = (to + sender + bytes.fromhex("888e02010000")).hex()
    before, end = log.read_bytes().count(NEW), monotonic() + 20
    # One that was thrown off a moment ago is held for some seconds, and is no new one until then.
    while log.read_bytes().count(NEW) == before:
        ask(frame=start)
        assert monotonic() < end, log.read_text(errors="replace")[-2000:]
        sleep(0.2)
    return ask


def throw(ask, vendor="hostapd", secret=SECRET, mac=MAC, **words):
    return tuple(ask(vendor=vendor, secret=secret, mac=mac, **words))


def test_a_session_that_it_has_is_ended(on_the_cable, hostapd):
    assert throw(on_the_cable) == ("ack", None, ["ack"])
    assert b"DAS: Found a matching session" in hostapd[1].read_bytes()


def test_a_device_that_it_has_not_is_absent(hostapd):
    assert throw(hostapd[0], mac="3c:28:6d:aa:ff:ff") == ("absent", 503, ["nak-503"])


def test_what_it_does_not_take_is_named_and_the_next_way_works(on_the_cable):
    # Cisco's Service-Type first, which it does not know.
    assert throw(on_the_cable, "cisco-9800") == ("ack", None, ["nak-401", "ack"])


def test_another_secret_is_silence(hostapd):
    word, _, told = throw(hostapd[0], secret="another secret..")
    assert (word, told) == ("silent", ["silent"] * 3)


NAMED = radius.text(31, DASHED)
# How far its moment is off (None: it has none), and what else is in it.
CASES = {
    "unknown": (0, radius.text(31, "02-00-00-00-00-01")),
    "service type": (0, NAMED, radius.number(6, 1)),
    "another identifier": (0, NAMED, radius.text(32, "wlc-9")),
    "another address": (0, NAMED, (4, bytes([9, 9, 9, 9]))),
    "no MAC": (0, radius.text(31, "no mac")),
    "nothing named": (0,),
    "late": (-310, NAMED),
    "early": (310, NAMED),
    "nearly late": (-290, radius.text(31, "02-00-00-00-00-01")),
    "no moment": (None, NAMED),
}


class Alike:
    """The stand-in, set up as the hostapd beside it."""

    secret, ahead, identity = SECRET.encode(), 0, ("wlc-1", "127.0.0.1")

    def disconnect(self, mac, session):
        return int(mac == MAC)


@pytest.mark.parametrize("case", CASES)
def test_the_labs_stand_in_answers_as_the_real_one(hostapd, case):
    ahead, *more = CASES[case]
    if ahead is not None:
        more.append(
            radius.number(radius.Type.EVENT_TIMESTAMP, int(clock.now().timestamp()) + ahead)
        )
    raw = radius.disconnect_request(7, SECRET.encode(), tuple(more))
    real = hostapd[0](raw=raw.hex())
    ours = das.answer(Alike(), raw, int(clock.now().timestamp()))
    if not real:
        assert ours is None
        return
    assert ours is not None, "hostapd speaks where the stand-in is silent"
    read, stand_in = radius.decode(bytes.fromhex(real)), radius.decode(ours)
    assert radius.is_change_reply(read, raw, SECRET.encode())
    assert (read.code, read.first(101)) == (stand_in.code, stand_in.first(101))


def test_an_address_that_is_not_its_own_is_left_out_in_the_next_way(on_the_cable):
    assert throw(on_the_cable, "other", nas_ip="10.9.9.9") == ("ack", None, ["nak-403", "ack"])
