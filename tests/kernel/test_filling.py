"""A new table is a frame that lets nobody send, and the elements that our own encoder adds to it.

The oracle is nft: a table that it has loaded whole and one that was framed and filled print the same.
"""

import json
import sys
from datetime import UTC, datetime

import pytest

from netguard.core.hours import UNJUDGED, openings
from netguard.core.plan import compile_plan
from netguard.render import filling, nft_sets, nftables


@pytest.fixture
def plan(example):
    return compile_plan(example, ["pellegrin", "haut-leveque"], {"T-001": "stolen"})


def fill(bench, payloads, tmp_path):
    file = tmp_path / "payloads.json"
    file.write_text(json.dumps([payload.hex() for payload in payloads]))
    code = (
        "import json, sys\nfrom netguard.adapters import nfnetlink\n"
        "from netguard.errors import EnforcementError\n"
        "try:\n    nfnetlink.fill(map(bytes.fromhex, json.load(open(sys.argv[1]))))\n"
        "except EnforcementError as error:\n    print(error)\n"
    )
    return bench.run(bench.gw, sys.executable, "-c", code, str(file)).stdout.strip()


def contents(bench):
    """Return what nft prints of the table, but for what moves by itself."""
    rows = json.loads(bench.run(bench.gw, "nft", "-j", "list", "table", "inet", "netguard").stdout)
    found = []
    for row in rows["nftables"][1:]:
        ((kind, body),) = row.items()
        kept = {k: v for k, v in body.items() if k not in {"handle", "packets", "bytes", "elem"}}
        listed = json.dumps(body.get("elem", []))
        elements = json.loads(listed, object_hook=lambda o: {**o, **o.fromkeys({"expires"} & {*o})})
        kept["elem"] = sorted(json.dumps(each, sort_keys=True) for each in elements)
        found.append(json.dumps({kind: kept}, sort_keys=True))
    return sorted(found)


@pytest.mark.parametrize("hours", [False, True], ids=["always", "hours"])
def test_framed_and_filled_is_what_nft_loads_whole(bench, plan, hours, tmp_path, monkeypatch):
    coming = openings(plan, datetime(2026, 11, 22, tzinfo=UTC)) if hours else UNJUDGED
    # Many messages, as of ten thousand tablets.
    monkeypatch.setattr(filling, "PER_MESSAGE", 7)
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan, (), coming))
    whole = contents(bench)
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.frame(plan, (), coming))
    framed = contents(bench)
    payloads = filling.messages(plan)
    assert len(payloads) > 30
    assert fill(bench, payloads, tmp_path) == ""
    assert contents(bench) == whole != framed


def test_a_frame_lets_nobody_send(bench, plan):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.frame(plan))
    for name in nft_sets.PER_TABLET:
        kind = "map" if name in {"group_number", "class4"} else "set"
        text = bench.run(bench.gw, "nft", "-j", "list", kind, "inet", "netguard", name).stdout
        assert not next(row[kind] for row in json.loads(text)["nftables"] if kind in row).get(
            "elem"
        )


def test_a_batch_with_one_bad_message_adds_nothing(bench, plan, tmp_path):
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.frame(plan))
    before = contents(bench)
    good = filling.messages(plan)
    bad = good[-1].replace(b"bind4\0", b"nosuc\0")
    assert "No such file" in fill(bench, [*good, bad], tmp_path)
    assert contents(bench) == before
