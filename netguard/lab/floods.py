"""Floods of the lab: Access-Requests of ever new devices from its access point, ever new names from a tablet."""

import json

from netguard.errors import NetguardError
from netguard.lab.hospital import Hospital

_DEVICES = """
import json, sys
from random import Random
from netguard.lab import shapes
from netguard.lab.load import Load, prepare
from netguard.core.radius import Code

server, secret, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
dice = Random(9)

def asked():
    for n in range(count):
        # Global addresses of makers: a private one would be refused by its own rule.
        mac = "3c:28:6e:" + ":".join(f"{dice.randrange(256):02x}" for _ in range(3))
        words = dict(bssid="70:3a:0e:00:00:01", ap="AP-CAR-301", ssid="CHU-TABLETTES")
        sent = shapes.attributes("hostapd", mac, nas="AP-CAR-301", address=bytes([10, 1, 2, 10]), **words)
        yield sent, mac.encode()

load = Load((server, 1812), secret, source=sys.argv[4], outstanding=200, in_lab=True)
outcomes = load.run(prepare(asked(), secret))
codes = [o.reply.code if o.reply else None for o in outcomes]
print(json.dumps({"rejected": codes.count(Code.ACCESS_REJECT), "accepted": codes.count(Code.ACCESS_ACCEPT),
                  "silent": codes.count(None)}))
"""
_NAMES = """
import secrets, socket, struct, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.connect((sys.argv[1], 53))
out.setblocking(False)
for n in range(int(sys.argv[2])):
    label = secrets.token_hex(28).encode()
    name = bytes([len(label)]) + label + b"\\x06tunnel\\x07example\\x03org\\x00"
    try:
        out.send(struct.pack("!6H", n & 0xFFFF, 0x100, 1, 0, 0, 0) + name + b"\\x00\\x10\\x00\\x01")
        out.recv(512)
    except BlockingIOError:
        pass
    if n % 50 == 0:
        time.sleep(0.005)
"""


def devices(lab: Hospital, count: int) -> dict[str, int]:
    """Let so many unknown devices ask FreeRADIUS; returns how many were rejected, accepted, not answered."""
    held = (lab.layout.folder / "secrets" / "nas-wlc-1.conf").read_text()
    secret = held.partition("= ")[2].strip()
    words = [_python(lab), "-c", _DEVICES, lab.record.nas_gateway, secret, str(count), "10.1.2.10"]
    done = lab.exec("ap", words, timeout=300.0)
    if done.returncode:
        raise NetguardError(done.stderr)
    counted: dict[str, int] = json.loads(done.stdout)
    return counted


def names(lab: Hospital, host: str, resolver: str, count: int) -> None:
    """Let a tablet ask for so many names that nobody has asked for before."""
    done = lab.exec(host, [_python(lab), "-c", _NAMES, resolver, str(count)], timeout=120.0)
    if done.returncode:
        raise NetguardError(done.stderr)


def _python(lab: Hospital) -> str:
    return str(lab.layout.folder / "venv" / "bin" / "python")
