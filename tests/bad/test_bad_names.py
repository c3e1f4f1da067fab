"""Hostile DNS messages: each gets its answer or silence, and the sets stay as they are.

Every message is a data file: `NNN-name.hex`, and beside it `NNN-name.expect`: a line that says whether it is
a `query` of a tablet for zoom.us or an `answer` (`answer6` to AAAA) to ours, and what it stands for; after a
line `---` what becomes of it. The numbers are stable names; 132 (streams) is in tests/adapters/test_dns.py.

    silence, formerr, notimp, refused, servfail, nxdomain, nodata    what the tablet gets
    asked N                 a question that goes upstream; the tablet takes N bytes
    ignored                 no answer to our question, which stays open
    stream                  asked again over TCP
    learned S told T        in the set for S seconds, with a TTL of T
"""

from datetime import date
from pathlib import Path

import pytest

from netguard.core import dnswire
from netguard.core.desk import Desk
from netguard.core.flights import Flights
from netguard.core.plan import compile_plan
from netguard.core.routes import Asked
from netguard.render.names import read, render
from netguard.rules.folder import read_folder
from netguard.rules.load import load

HERE = Path(__file__).parent
CASES = sorted((HERE / "dns").glob("*.expect"))
WORDS = {0: "nodata", 1: "formerr", 2: "servfail", 3: "nxdomain", 4: "notimp", 5: "refused"}
TABLET, NOW = "10.99.0.16", 100.0


@pytest.fixture(scope="module")
def book():
    policy = load(read_folder(HERE.parents[1] / "rules", "rules"), today=date(2026, 11, 22)).policy
    return read(render(compile_plan(policy, ["pellegrin"])))


def data_of(path):
    return bytes.fromhex(path.with_suffix(".hex").read_text())


def word(reply):
    return WORDS[reply[3] & 15]


def query(desk, data):
    ready = desk.quick(data, TABLET, NOW)
    if ready is None:
        return "silence"
    if isinstance(ready, Asked):
        return f"asked {ready.question.edns or 512}"
    return word(ready)


def answer(desk, data, type_):
    """Ask for zoom.us, let upstream say these bytes, and say what comes of it."""
    raw = b"\4zoom\2us\0" + type_.to_bytes(2, "big") + b"\0\1"
    ready = desk.quick(b"\0\1\1\0\0\1\0\0\0\0\0\0" + raw, TABLET, NOW)
    streams = []
    flights = Flights(lambda count: (b"\0\7" * count)[:count])
    flights.use(["10.1.1.53"], [lambda message, streamed: streams.append(streamed) or len(streams)])
    flights.ask(ready.route.key, ready.route.lowered, ready, NOW)
    landed = None
    for way in (1, 2, 3):
        landed = landed or flights.received(way, data, NOW)
        if streams[-1]:
            return "stream"
    if landed is None:
        return "ignored" if len(streams) == 1 else "lost"
    if landed.answer is None:
        return word(desk.failed(ready, "upstream", NOW))
    change = desk.settle(ready, landed.answer, NOW)
    if isinstance(change, bytes):
        return word(change)
    reply = desk.confirm(ready, landed.answer, change, NOW)
    if not change.adds:
        return word(reply)
    told = dnswire.parse_answer(reply, ready.question).ttl
    return f"learned {change.adds[0].seconds:.0f} told {told}"


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_hostile_message_gets_what_it_deserves(path, book):
    head, _, expected = path.read_text().partition("---\n")
    desk = Desk()
    desk.load(book)
    kind = head.partition(":")[0]
    found = query(desk, data_of(path)) if kind == "query" else answer(desk, data_of(path), {"answer": 1, "answer6": 28}[kind])  # fmt: skip
    assert found == expected.strip()
    if not found.startswith("learned"):
        assert list(desk.memory.rows(0.0)) == []
    if found in {"silence", "formerr"} or "servfail" in found:
        assert desk.counts
    assert all(note.name.isprintable() and note.name.isascii() for note in desk.notes)


def test_every_number_of_the_list_is_there():
    assert {int(path.name[:3]) for path in CASES} == set(range(109, 135)) - {132}
    assert {path.with_suffix("") for path in (HERE / "dns").glob("*.hex")} == {
        path.with_suffix("") for path in CASES
    }
