"""Run in the lab's appliance: asks our FreeRADIUS and a plain one the same, prints times and a digest.

usage: inside.py RADIUS-FOLDER SCRATCH-FOLDER
"""

import hashlib
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import servers

from netguard.core import radius
from netguard.core.names import Mac
from netguard.core.radius import Code
from netguard.lab import shapes
from netguard.lab.load import Load, Outcome, Prepared, percentile
from netguard.render.freeradius import self_address

REQUESTS, RATE = 1500, 300.0
SELF = ("127.0.0.1", 18121)


def packets(macs: list[str], secret: bytes) -> Iterator[Prepared]:
    """The same packets each time: what is answered is a function of their bytes."""
    for number in range(REQUESTS):
        tablet = macs[number % len(macs)]
        sent = shapes.attributes(
            "hostapd",
            tablet,
            bssid="70:3a:0e:00:00:01",
            ap="AP-CAR-301",
            ssid="CHU-TABLETTES",
            nas="AP-CAR-301",
            address=bytes([127, 0, 0, 1]),
        )
        authenticator = hashlib.sha256(f"{tablet} {number}".encode()).digest()[:16]
        raw = radius.access_request(number % 256, authenticator, secret, sent, b"x")
        yield Prepared(raw, authenticator)


def digest(outcomes: list[Outcome]) -> str:
    whole = hashlib.sha256()
    for outcome in outcomes:
        if outcome.reply is None:
            sys.exit(f"request {outcome.number} was not answered")
        whole.update(outcome.reply.raw)
    return whole.hexdigest()[:16]


def main() -> None:
    folder, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    match = re.search(r"secret = (\S+)", (folder / "self.conf").read_text())
    assert match is not None
    secret = match[1].encode()
    entries = re.findall(r"(?m)^(\S+)/(\S+) (Auth-Type := Accept.*)$", (folder / "tablets").read_text())  # fmt: skip
    # Without hours: a Session-Timeout counts down.
    tablets = [str(Mac.parse(mac)) for _, mac, words in entries if "Login-Time" not in words][:50]
    clinical = [f"00:1b:21:aa:00:{number:02x}" for number in range(50)]
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    scratch.chmod(0o755)
    users = "".join(f"{mac.replace(':', '')} Auth-Type := Accept\n\tTunnel-Private-Group-Id = \"640\"\n" for mac in (*tablets, *clinical))  # fmt: skip
    lent = "".join(
        f'{mac} Netguard-Lent := "yes", Netguard-Network += "CHU-TABLETTES"\n' for mac in tablets
    )
    plain = servers.hospital("plain", scratch, users, None)
    guarded = servers.hospital("guarded", scratch, users, lent)
    rows = {}
    try:
        plain.start()
        guarded.start()
        for kind, macs, address, word, source in (
            ("tablets", tablets, SELF, secret, self_address(0)),
            ("clinical", clinical, guarded.address, servers.SECRET, "127.0.0.1"),
        ):
            got = Load(address, word, source=source, rate=RATE).run(packets(macs, word))
            beside = Load(plain.address, servers.SECRET, rate=RATE).run(packets(macs, servers.SECRET))  # fmt: skip
            rows[kind] = {
                "bytes": digest(got),
                "plain_bytes": digest(beside),
                "p50": percentile([o.seconds * 1e3 for o in got], 0.5),
                "p99": percentile([o.seconds * 1e3 for o in got], 0.99),
                "plain_p50": percentile([o.seconds * 1e3 for o in beside], 0.5),
                "plain_p99": percentile([o.seconds * 1e3 for o in beside], 0.99),
            }
            if any(o.reply is None or o.reply.code != Code.ACCESS_ACCEPT for o in got):
                sys.exit(f"{kind}: not all were accepted")
        if rows["clinical"]["bytes"] != rows["clinical"]["plain_bytes"]:
            sys.exit("clinical devices are answered otherwise where our policy is")
    finally:
        plain.stop()
        guarded.stop()
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
