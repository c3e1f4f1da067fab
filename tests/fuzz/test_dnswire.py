"""The hot path's parser against dnspython: by atheris, which looks for new ways through it, and by a mutator.

atheris has wheels for Debian 12's and 13's python3 on x86-64 and none on other machines; there the mutator
is all there is, structure-aware and of our own. `NETGUARD_FUZZ=2000000` messages and `NETGUARD_FUZZ_SECONDS`
let both run longer (make nightly). What atheris has found worth keeping is in tests/data/dnswire.hex.
"""

import os
import platform
import random
import struct
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.rrset

from tests.fuzz import oracle, target

COUNT = int(os.environ.get("NETGUARD_FUZZ", "150000"))
SECONDS = int(os.environ.get("NETGUARD_FUZZ_SECONDS", "60"))
HERE = Path(__file__).parent
ZOOM = oracle.ZOOM + b"\0\1\0\1"
CORPUS = [
    (path.read_text().partition(":")[0], bytes.fromhex(path.with_suffix(".hex").read_text()))
    for path in sorted((HERE.parent / "bad/dns").glob("*.expect"))
]


def seeds():
    request = dns.message.from_wire(struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + ZOOM)
    for rrsets in (
        [("zoom.us.", 60, "IN", "A", "1.2.3.4", "5.6.7.8")],
        [
            ("zoom.us.", 60, "IN", "CNAME", "a.b.example."),
            ("a.b.example.", 5, "IN", "A", "1.2.3.4"),
        ],
        [("zoom.us.", 60, "IN", "TXT", '"x"'), ("zoom.us.", 60, "IN", "A", "1.2.3.4")],
    ):
        response = dns.message.make_response(request)
        response.answer.extend(dns.rrset.from_text(*each) for each in rrsets)
        yield "answer", response.to_wire()
    for edns in (None, 0):
        yield "query", dns.message.make_query("zoom.us", "A", use_edns=edns).to_wire()
    yield from ((kind, data) for kind, data in CORPUS if 11 < len(data) < 600 and kind != "answer6")


def mutated(rng, data):
    data = bytearray(data)
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(data)) if data else 0
        match rng.randrange(7):
            case 0 if data:
                data[at] = rng.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, rng.randrange(256)))
            case 1 if data:
                del data[at : at + rng.randrange(1, 6)]
            case 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 5))
            case 3 if len(data) > 14:
                data[at : at + 2] = struct.pack("!H", 0xC000 | rng.randrange(0, len(data)))
            case 4 if len(data) > 12:
                field = 4 + 2 * rng.randrange(4)
                data[field : field + 2] = struct.pack("!H", rng.choice((0, 1, 2, 3, 255, 65535)))
            case 5 if len(data) > 40:
                start = rng.randrange(12, len(data))
                data += data[start : start + rng.randrange(4, 30)]
            case _:
                data = data[: max(0, at)]
    return bytes(data)


def test_mutated_messages_read_as_dnspython_reads_them():
    rng = random.Random(20261122)
    pool = list(seeds())
    accepted = compared = 0
    for _ in range(COUNT):
        kind, seed = pool[rng.randrange(len(pool))]
        data = mutated(rng, seed)
        ours, both = oracle.query(data) if kind == "query" else oracle.answer(data, 1)
        accepted += ours
        compared += both
    assert accepted > COUNT // 50
    assert compared > COUNT // 100


def test_what_was_found_before_reads_as_dnspython_reads_it():
    kept = target.KEPT.read_text().split()
    assert len(kept) > 100
    for line in kept:
        target.one(bytes.fromhex(line))


def test_atheris_finds_no_crash_and_no_difference(tmp_path):
    if platform.machine() != "x86_64":
        # Its maker builds no wheel for this machine: the mutator above is what runs here.
        assert not any("atheris" in name for name in sys.modules)
        return
    new = tmp_path / "new"
    new.mkdir()
    for number, (kind, data) in enumerate(seeds()):
        (new / f"seed{number}").write_bytes(bytes([kind != "query"]) + data)
    for number, line in enumerate(target.KEPT.read_text().split()):
        (new / f"kept{number}").write_bytes(bytes.fromhex(line))
    words = [f"-max_total_time={SECONDS}", "-max_len=600", "-timeout=5", "-print_final_stats=1"]
    done = subprocess.run(
        [
            sys.executable,
            str(HERE / "target.py"),
            *words,
            f"-artifact_prefix={tmp_path}/",
            str(new),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS * 2 + 120,
        cwd=HERE.parents[1],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    executed = next(
        int(line.split()[1])
        for line in done.stderr.splitlines()
        if line.startswith("stat::number_of_executed_units")
    )
    assert executed > 100 * SECONDS
