"""Our netlink encoder against what nft says, and the news against who did it."""

import json
import sys

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from netguard.core.plan import compile_plan
from netguard.render import nftables


@pytest.fixture
def loaded(bench, small):
    plan = compile_plan(small(), ["pellegrin"])
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(plan))
    return plan


def python(bench, code):
    done = bench.run(
        bench.gw,
        sys.executable,
        "-c",
        "import json\nfrom netguard.adapters.nfnetlink import *\nfrom netguard.core.names import parse_address\na = lambda text: parse_address(text).packed\n"
        + code,
    )
    return done.stdout


def elements(bench, name):
    text = bench.run(bench.gw, "nft", "-j", "list", "set", "inet", "netguard", name).stdout
    found = next(row["set"] for row in json.loads(text)["nftables"] if "set" in row).get("elem", [])
    return {row["elem"]["val"]: (row["elem"]["timeout"], row["elem"]["expires"]) for row in found}


def test_elements_of_both_families_live_as_long_as_they_were_given(bench, loaded):
    python(
        bench,
        "Elements('netguard').renew([Element('s_jitsi_dns4', a('1.2.3.4'), 90_000),"
        " Element('s_jitsi_dns6', a('2606:4700::1'), 3_600_000)])",
    )
    four, six = elements(bench, "s_jitsi_dns4"), elements(bench, "s_jitsi_dns6")
    assert four["1.2.3.4"][0] == 90
    assert six["2606:4700::1"][0] == 3600
    assert 60 < four["1.2.3.4"][1] <= 90


def test_renewing_starts_the_countdown_again(bench, loaded):
    python(bench, "Elements('netguard').renew([Element('s_jitsi_dns4', a('1.2.3.4'), 30_000)])")
    python(bench, "Elements('netguard').renew([Element('s_jitsi_dns4', a('1.2.3.4'), 600_000)])")
    timeout, expires = elements(bench, "s_jitsi_dns4")["1.2.3.4"]
    assert timeout == 600
    assert expires > 500


def test_removing_works_whether_it_is_there_or_not(bench, loaded):
    python(
        bench,
        "e = Elements('netguard')\n"
        "e.renew([Element('s_jitsi_dns4', a('1.2.3.4'), 90_000)])\n"
        "e.remove([('s_jitsi_dns4', a('1.2.3.4')), ('s_jitsi_dns4', a('5.6.7.8'))])",
    )
    assert elements(bench, "s_jitsi_dns4") == {}


def test_a_full_set_is_named_and_nothing_of_the_batch_is_taken(bench, small):
    policy = small(
        netguard="version: 1\norganisation: x\nresolver: {upstream: [10.1.1.53]}\n"
        "learned: {addresses-per-service: 3}\n"
    )
    bench.run(bench.gw, "nft", "flush", "ruleset")
    bench.nft(nftables.render(compile_plan(policy, ["pellegrin"])))
    out = python(
        bench,
        "e = Elements('netguard')\n"
        "try:\n"
        "    e.renew([Element('s_jitsi_dns4', a(f'1.2.3.{n}'), 90_000) for n in range(6)])\n"
        "except SetFull as error:\n"
        "    print('full')\n"
        "e.renew([Element('s_jitsi_dns4', a('1.2.3.9'), 90_000)])\n",
    )
    assert out.strip() == "full"
    assert set(elements(bench, "s_jitsi_dns4")) == {"1.2.3.9"}


def test_a_missing_table_and_a_timeout_for_ever_are_errors(bench, loaded):
    out = python(
        bench,
        "for table, span in (('gone', 1000), ('netguard', 0)):\n"
        "    try:\n"
        "        Elements(table).renew([Element('s_jitsi_dns4', a('1.2.3.4'), span)])\n"
        "    except Exception as error:\n"
        "        print(type(error).__name__)\n",
    )
    assert out.split() == ["EnforcementError", "ValueError"]


def test_the_news_says_what_was_changed_and_by_which_program(bench, loaded):
    out = python(
        bench,
        "import subprocess\n"
        "m = Monitor()\n"
        "Elements('netguard').renew([Element('s_jitsi_dns4', a('1.2.3.4'), 90_000)])\n"
        "own = m.changes()\n"
        "subprocess.run(['nft', 'flush', 'ruleset'], check=True)\n"
        "other = m.changes()\n"
        "print(json.dumps([sorted(own[0].kinds), sorted(own[0].sets), sorted(other[0].kinds), other[0].program]))\n",
    )
    kinds, sets, foreign, program = json.loads(out)
    assert kinds == ["deleted element", "new element"]
    assert sets == ["s_jitsi_dns4"]
    assert "deleted table" in foreign
    assert program == "nft"


def test_the_belt_holds_when_nftables_is_empty(bench, loaded, arrivals):
    code = (
        "from netguard.adapters.netlink import ensure_belt\n"
        "print(json.dumps([ensure_belt(['tab0'], 1), ensure_belt(['tab0'], 1)]))"
    )
    added, again = json.loads(python(bench, code))
    assert len(added) == 2
    assert again == []
    bench.run(bench.gw, "nft", "flush", "ruleset")
    gateway = bench.run(bench.gw, "cat", "/sys/class/net/tab0/address").stdout.strip()
    head = Ether(src="64:1b:2f:00:00:01", dst=gateway) / IP(src="10.99.0.16", dst="10.255.0.1")
    packet = bytes(head / UDP(sport=4000, dport=9) / Raw(b"NETGUARD\0\0\0\7"))
    assert arrivals([packet]) == set()
    bench.run(bench.gw, "ip", "rule", "del", "pref", "10")
    assert arrivals([packet]) == {7}, "the control: without the belt the packet passes"


def test_what_a_set_holds_reads_as_nft_lists_it(bench, loaded):
    out = python(
        bench,
        "e = Elements('netguard')\n"
        "for b in range(0, 900, 300):\n"
        "    e.renew([Element('s_jitsi_dns4', a(f'1.2.{n >> 8}.{n & 255}'), 90_000 + n * 1000) for n in range(b, b + 300)])\n"
        "e.renew([Element('s_jitsi_dns6', a('2606:4700::1'), 3_600_000)])\n"
        "print(json.dumps([{k.hex(): v for k, v in e.held(s).items()} for s in ('s_jitsi_dns4', 's_jitsi_dns6')]))\n"
        "try:\n    e.held('s_no_such')\nexcept Exception as error:\n    print(type(error).__name__)\n",
    )
    lines = out.splitlines()
    four, six = json.loads(lines[0])
    oracle = {
        bytes(map(int, address.split("."))).hex(): expires
        for address, (_, expires) in elements(bench, "s_jitsi_dns4").items()
    }
    assert four.keys() == oracle.keys()
    assert len(four) == 900
    assert all(abs(four[key] - oracle[key]) <= 10 for key in four)
    assert list(six) == ["260647000000000000000000000000" + "01"]
    assert lines[1] == "EnforcementError"


def test_a_set_that_grows_while_it_is_read_is_read_whole(bench, loaded):
    """The kernel's dump over a growing hash leaves elements out; here the first two dumps do."""
    out = python(
        bench,
        "e = Elements('netguard')\n"
        "e.renew([Element('s_jitsi_dns4', a(f'1.2.3.{n}'), 90_000) for n in range(200)])\n"
        "whole, dumps = e._dump, []\n"
        "def dump(name):\n"
        "    found = whole(name)\n"
        "    dumps.append(len(found))\n"
        "    return dict(list(found.items())[:-50 // len(dumps)]) if len(dumps) < 3 else found\n"
        "e._dump = dump\n"
        "print(len(e.held('s_jitsi_dns4')), len(dumps))\n",
    )
    assert out.split() == ["200", "4"]
