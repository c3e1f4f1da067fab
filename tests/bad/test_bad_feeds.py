"""Hostile records, syslog messages, traps and webhooks: each is read as far as it can be, or refused.

Every input is a data file: `NNN-name.hex`, and beside it `NNN-name.expect`: a line that says which
feed it came by and what it stands for, more heads where they are needed, and after a line `---` what
becomes of it. The numbers are stable names; framing of streams (154) is in tests/core/test_syslog.py,
replays and SNMPv3 (166) are not read at all.

    repeat: 2000 "x"      in the data, @REPEAT@ stands for so many times this JSON string
    signed: no            a webhook that somebody else has signed

`NETGUARD_WRITE_EXPECT=1 pytest tests/bad` writes what is found; read the difference before it is
committed.
"""

import hmac
import json
import os
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest

from netguard.core import controllers, snmp, syslog, webhooks
from netguard.core.evidence import write_event
from netguard.core.records import read_evidence, receipt
from netguard.errors import BadValue
from netguard.rules.messages import shipped

CASES = sorted((Path(__file__).parent / "feeds").glob("*.expect"))
NOW = datetime(2026, 11, 22, 6, 0, 0, tzinfo=UTC)
COMMUNITY, SECRET = b"trap-secret", b"a-secret-of-the-hospital"
EVERY = [parser for parsers in shipped().values() for parser in parsers]


def data_of(path, heads):
    data = bytes.fromhex(path.with_suffix(".hex").read_text())
    if "repeat" in heads:
        count, text = heads["repeat"].split(" ", 1)
        data = data.replace(b"@REPEAT@", json.loads(text).encode() * int(count))
    return data


def shown(seen):
    if seen is None:
        return "unparsed"
    return " ".join(map(str, (seen.kind, seen.mac or "-", seen.ap or "-", seen.reason or "-")))


def from_syslog(data, heads):
    message = syslog.read(data, NOW)
    assert (message.text + message.host).isprintable()
    return shown(controllers.read(message, EVERY))


def from_snmp(data, heads):
    trap = snmp.read(data)
    if trap.community != COMMUNITY:
        return "another community"
    return shown(snmp.seen(trap))


def from_webhook(data, heads):
    secret = b"of somebody else" if heads.get("signed") == "no" else SECRET
    signature = hmac.new(secret, data, sha256).hexdigest()
    found = webhooks.read("mist", data, {"x-mist-signature-v2": signature}, SECRET)
    return "; ".join(shown(said.seen) for said in found) or "nothing"


def from_record(data, heads):
    record = json.loads(data)
    stamp = receipt(record)
    found = read_evidence(record, NOW.timestamp() if stamp is None else stamp)
    return "no event" if found is None else json.dumps(write_event(found))


READ = {"syslog": from_syslog, "snmp": from_snmp, "webhook": from_webhook, "record": from_record}


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_what_becomes_of_it(path):
    head, _, expected = path.read_text().partition("---\n")
    lines = head.splitlines()
    heads = dict(line.split(": ", 1) for line in lines)
    feed = lines[0].partition(":")[0]
    try:
        found = READ[feed](data_of(path, heads), heads)
    except BadValue as error:
        found = f"refused: {error.text}"
    if os.environ.get("NETGUARD_WRITE_EXPECT"):
        path.write_text(f"{head}---\n{found}\n")
    else:
        assert found == expected.rstrip("\n")
