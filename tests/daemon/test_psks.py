"""Each tablet's Wi-Fi key: made once, sealed, given to FreeRADIUS and to who asks, rotated when a tablet comes back.

With guard's own parts, its store and its files; the NAS is the lab's stand-in, which takes Disconnects as hostapd does.
"""

import asyncio
import json
import logging
import os
import re
import socket
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netguard.adapters import clock, control
from netguard.adapters.sealing import Box
from netguard.adapters.store import Entry, PskRow
from netguard.core.plan import canonical, compile_plan
from netguard.core.sessions import Live
from netguard.daemon import proof, psk_verbs, psks, removals
from netguard.daemon.guard import Guard
from netguard.daemon.register import Register
from netguard.errors import BadValue, Refused, SealError
from netguard.lab import das
from netguard.render import freeradius

BASE = Path(__file__).parents[1] / "bad" / "base"
NAS = "127.0.66.1"
SECRET = "0123456789abcdef0123"
KEY = re.compile(r"([acdefghjkmnpqrtuvwxy34679]{4}-){3}[acdefghjkmnpqrtuvwxy34679]{4}")
ROOT = control.Caller(1, 0)
SITES = "cisco-9800, message-authenticator: required, secret-file: nas-wlc-1"
ALL = datetime.min.replace(tzinfo=UTC)


def keyed(small, vendor="hostapd", **files):
    """The small hospital, where the controller of one site takes a key of each tablet."""
    text = (BASE / "sites.yaml").read_text()
    assert SITES in text
    new = f"{vendor}, message-authenticator: required, secret-file: nas-wlc-1, psk: per-tablet"
    return small(sites=text.replace(SITES, new).replace("10.1.2.10", NAS), **files)


class Node:
    """A guard with everything but a kernel: what it says, and what it keeps."""

    def __init__(self, settings, policy):
        secrets = settings.paths.state.parent / "secrets"
        secrets.mkdir(exist_ok=True)
        (secrets / "nas-wlc-1.conf").write_text(f"secret = {SECRET}\n")
        paths = replace(
            settings.paths, radius=settings.paths.state / "radius", radius_secrets=secrets
        )
        self.settings = replace(settings, paths=paths)
        self.guard = Guard(self.settings)
        self.guard.register.open(clock.now())
        self.guard.state.policy = policy
        self.guard.state.plan = self.guard._plan(policy)
        self.verbs = self.guard.psk_verbs
        self.bring()

    @property
    def plan(self):
        return self.guard.state.plan

    def bring(self):
        asyncio.run(self.guard.radius.bring(self.plan))

    @property
    def file(self):
        return self.settings.paths.radius / "psk"

    @property
    def key_file(self):
        return self.settings.paths.state / "psk.key"

    def say(self, verb, **words):
        """What guard answers to root."""
        offers = self.guard._offers()
        return asyncio.run(offers[verb].call(ROOT, {"verb": verb, **words}))

    def key(self, tablet="T-001"):
        return self.say("psk-show", tablet=tablet)["psk"]

    def sent(self, tablet="T-001"):
        """The key that FreeRADIUS is given for a tablet."""
        mac = next(str(b.mac) for b in self.plan.bindings if b.tablet == tablet)
        entry = self.file.read_text().split(f"/{mac} ", 1)[1]
        return re.search(r'Tunnel-Password \+= "([^"]+)"', entry)[1]

    def audit(self):
        return self.guard.register.audit(ALL, "")

    def close(self):
        self.guard.register.close()


@pytest.fixture
def nodes(settings):
    """Start guards on one state folder, one after the other; all are closed."""
    made = []

    def start(policy):
        for each in made:
            each.close()
        made.append(Node(settings, policy))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture
def node(nodes, small):
    return nodes(keyed(small))


def test_each_tablet_of_such_a_site_gets_a_key_of_its_own_once(nodes, node, small):
    at_site = {b.tablet for b in node.plan.bindings if b.site == "pellegrin"}
    keys = {tablet: node.sent(tablet) for tablet in at_site}
    assert len(set(keys.values())) == len(at_site) > 1
    assert all(KEY.fullmatch(key) for key in keys.values())
    assert [(row["tablet"], row["asks"]) for row in node.say("psks")["psks"]] == [
        (tablet, 0) for tablet in sorted(at_site)
    ]
    again = nodes(keyed(small))
    assert {tablet: again.sent(tablet) for tablet in at_site} == keys, "a restart makes none anew"
    assert [e.verb for e in again.audit()] == ["psk-made"]


def test_without_the_rule_there_is_no_key_no_file_of_one_and_the_plan_is_as_before(nodes, small):
    node = nodes(small())
    assert not node.key_file.exists()
    assert node.file.read_text() == freeradius.psk(node.plan, {})
    assert "psk" not in canonical(node.plan)
    assert "psk" not in freeradius.clients(node.plan, "/x")
    assert "Keyed" not in freeradius.tablets(node.plan)
    assert node.say("psks") == {"psks": [], "problems": {}}
    with pytest.raises(Refused, match="psk: per-tablet in sites"):
        node.key()
    with pytest.raises(Refused, match="psk: per-tablet in sites"):
        node.say("psk-rotate", all=True, why="x")


def test_the_key_is_in_no_file_but_that_of_freeradius_and_in_nothing_that_is_said(
    node, capfd, caplog
):
    caplog.set_level(logging.DEBUG)
    key = node.key()
    node.say("psk-rotate", tablet="T-001", why="it was seen", by="ada")
    new = node.key()
    assert key != new
    answers = [node.say("status"), node.say("psks"), node.say("audit"), node.say("tablet", tablet="T-001"), node.say("loans")]  # fmt: skip
    said = json.dumps(answers) + capfd.readouterr().err + caplog.text
    said += json.dumps([list(map(str, [e.before, e.after, e.subject])) for e in node.audit()])
    said += canonical(node.plan) + freeradius.tablets(node.plan) + freeradius.lent(node.plan)
    hidden = {key, new, key.encode().hex(), new.encode().hex()}
    assert not [each for each in hidden if each in said]
    # Not in a process list either.
    own = b"".join(Path(f"/proc/self/{name}").read_bytes() for name in ("cmdline", "environ"))
    assert not [each for each in hidden if each.encode() in own]
    holding = [
        path
        for path in node.settings.paths.state.parent.rglob("*")
        if path.is_file() and any(each.encode() in path.read_bytes() for each in hidden)
    ]
    assert holding == [node.file]
    assert stat.S_IMODE(node.file.stat().st_mode) == 0o640
    assert stat.S_IMODE(node.key_file.stat().st_mode) == 0o600


def test_only_root_and_guard_itself_may_ask_and_each_look_is_in_the_audit(node):
    nobody = control.Caller(1, 65534)
    for verb in ("psk-show", "psk-rotate", "psks"):
        assert not node.guard._offers()[verb].users
        line = json.dumps({"verb": verb, "tablet": "T-001", "why": "x"}).encode()
        said = asyncio.run(control._answer(nobody, line, node.guard._offers(), lambda _: None))
        assert (said["ok"], "may not call" in said["error"]) == (False, os.getuid() != 65534)
    found = node.say("psk-show", tablet="T-001", by="ada")
    assert found["networks"] == [{"site": "pellegrin", "ssid": "CHU-TABLETTES"}]
    assert node.say("psk-show", tablet="T-001", by="bob", purpose="card")["psk"] == found["psk"]
    told = [(e.verb, e.who, e.subject) for e in node.audit()][:2]
    assert told == [("psk-card", "bob", "T-001"), ("psk-show", "ada", "T-001")]
    with pytest.raises(BadValue):
        node.say("psk-show", tablet="T-001", purpose="sell")


def test_a_look_that_cannot_be_written_down_gives_no_key(node, monkeypatch):
    def full(_):
        raise psk_verbs.StoreError("the disk is full")

    monkeypatch.setattr(node.guard.register, "record", full)
    with pytest.raises(psk_verbs.StoreError):
        node.key()


def test_a_tablet_that_comes_back_has_another_key_and_no_other_tablet_has(node):
    before, other = node.sent(), node.sent("T-002")
    assert not node.say("tablet", tablet="T-001", state="lent")["psk_rotated"]
    assert node.sent() == before, "the key is the one on the card that is handed out"
    assert node.say("tablet", tablet="T-001", state="stock", by="ada")["psk_rotated"]
    assert node.sent() == node.key() != before
    assert node.sent("T-002") == other
    assert not node.say("tablet", tablet="T-001", state="stock")["psk_rotated"], "it was back"
    rotated = next(e for e in node.audit() if e.verb == "psk-rotated")
    assert (rotated.who, rotated.subject) == ("ada", "T-001")
    assert json.loads(rotated.after) == {"why": "it came back"}


def test_a_tablet_that_is_found_again_has_another_key(node, monkeypatch):
    monkeypatch.setattr(node.guard, "_enforce", nothing)
    before = node.sent()
    node.say("tablet", tablet="T-001", state="stolen")
    assert node.say("tablet", tablet="T-001", state="found")["psk_rotated"]
    assert node.sent() != before


async def nothing(*_):
    """No kernel here: what is refused is another test's."""


def test_a_new_key_that_freeradius_cannot_be_given_is_said_and_tried_again(node):
    node.file.unlink()
    node.file.mkdir()
    said = node.say("psk-rotate", tablet="T-001", why="x")
    assert f"{node.file} cannot be written" in said["problems"]["enforce"]
    node.file.rmdir()
    node.bring()
    assert node.sent() == node.key()


def test_rotating_asks_why_and_whom(node):
    before = {t: node.sent(t) for t in ("T-001", "T-002")}
    with pytest.raises(BadValue, match="say why"):
        node.say("psk-rotate", tablet="T-001", why=" ")
    with pytest.raises(BadValue):
        node.say("psk-rotate", tablet="T-999", why="x")
    assert {t: node.sent(t) for t in before} == before
    done = node.say("psk-rotate", all=True, why="a backup was stolen")
    assert set(before) <= set(done["rotated"])
    assert not [t for t in before if node.sent(t) == before[t]]


def test_a_missing_key_file_changes_nothing_and_comes_back(nodes, node, small):
    file, key = node.file.read_text(), node.key_file.read_bytes()
    node.key_file.unlink()
    node = nodes(keyed(small))
    assert "psk.key" in node.say("status")["problems"]["psk"]
    assert "netguard psk rotate --all" in node.say("status")["problems"]["psk"]
    assert node.file.read_text() == file, "FreeRADIUS keeps what it has"
    assert not node.key_file.exists(), "none is made in its place"
    with pytest.raises(SealError, match="cannot be read"):
        node.key()
    with pytest.raises(SealError, match="other keys are sealed with it"):
        node.say("psk-rotate", tablet="T-001", why="x")
    # Back from the backup: all is as it was.
    node.key_file.touch(mode=0o600)
    node.key_file.write_bytes(key)
    node.bring()
    assert node.say("status")["problems"] == {}
    assert node.file.read_text() == file


def test_another_key_file_opens_nothing_and_all_can_be_rotated(nodes, node, small):
    file = node.file.read_text()
    node.key_file.unlink()
    Box(node.key_file).make()
    node = nodes(keyed(small))
    assert "was not sealed with the key" in node.say("status")["problems"]["psk"]
    assert node.file.read_text() == file
    node.say("psk-rotate", all=True, why="the key file is lost")
    assert node.say("status")["problems"] == {}
    assert node.sent() == node.key()


def test_with_the_key_file_lost_for_good_all_are_rotated_under_a_new_one(nodes, node, small):
    before = node.key()
    node.key_file.unlink()
    with pytest.raises(SealError, match="cannot be read"):
        node.key()
    node.say("psk-rotate", all=True, why="the disk broke")
    assert node.key_file.exists()
    assert node.sent() == node.key() != before
    again = nodes(keyed(small))
    assert again.say("status")["problems"] == {}
    assert again.key() == again.sent() == node.sent()


def test_rotating_all_forgets_the_keys_of_who_is_in_the_rules_no_more(nodes, node, small):
    """Sealed with a key that is lost, they would stand in the way for ever; such a tablet gets a new one."""
    inventory = (BASE / "tablets.csv").read_text()
    former = node.key("T-002")
    less = "".join(line for line in inventory.splitlines(True) if not line.startswith("T-002,"))
    node = nodes(keyed(small, tablets=less))
    node.key_file.unlink()
    with pytest.raises(SealError, match="other keys are sealed with it"):
        node.say("psk-rotate", tablet="T-001", why="x")
    assert "T-002" in node.guard.register.psks()
    node.say("psk-rotate", all=True, why="the key file is lost", by="ada")
    assert node.say("status")["problems"] == {}
    assert "T-002" not in node.guard.register.psks()
    line = next(e for e in node.audit() if e.verb == "psk-forgotten")
    assert (line.who, line.subject) == ("ada", "T-002")
    assert json.loads(line.after) == {"why": "the key file is lost"}
    again = nodes(keyed(small))
    assert again.say("status")["problems"] == {}
    assert again.key("T-002") == again.sent("T-002") != former


def test_keys_are_forgotten_with_the_new_ones_or_not_at_all(node, monkeypatch):
    register = node.guard.register
    line = Entry("t", "guard", "psk-made", "T-999", "{}", "{}")
    register.set_psks([PskRow("T-999", "1:x", "t", "guard", 0)], [line])
    before = register.psks()
    monkeypatch.setattr(Box, "seal", lambda *_: None)
    with pytest.raises(psk_verbs.StoreError):
        node.say("psk-rotate", all=True, why="x")
    assert register.psks() == before


def test_without_rules_there_is_nobody_to_ask_for_and_a_tablet_may_have_no_key_yet(node):
    plan = node.plan
    node.guard.state.plan = None
    with pytest.raises(Refused, match="no rules are in force"):
        node.key()
    assert asyncio.run(node.verbs.returned("T-001", "ada")) is False
    assert node.say("psks") == {"psks": [], "problems": {}}
    node.guard.state.plan = plan
    with pytest.raises(Refused, match="has no Wi-Fi key of its own yet"):
        node.guard.psks.key("T-999")


def test_the_audit_names_forty_of_a_fleet_and_how_many_more_there_are(node):
    node.guard.psks.rotate([f"X-{number:03}" for number in range(45)], "ada", "x")
    line = next(e for e in node.audit() if e.verb == "psk-rotated")
    assert line.subject == "45 tablets"
    named = json.loads(line.after)["tablets"]
    assert named.startswith("X-000, X-001")
    assert named.endswith("X-039, and 5 more")


def test_a_fault_is_warned_of_once(nodes, node, small, caplog):
    node.key_file.unlink()
    node = nodes(keyed(small))
    node.bring()
    assert [r.getMessage() for r in caplog.records].count(
        "the Wi-Fi keys cannot be read or stored"
    ) == 1


def test_while_the_store_is_shut_freeradius_keeps_the_keys(node):
    file = node.file.read_text()
    node.guard.register.close()
    node.bring()
    assert "cannot be read or stored" in node.guard._problems()["psk"]
    assert node.file.read_text() == file
    assert asyncio.run(node.verbs.returned("T-001", "ada")) is False


class Controller:
    """A NAS with one session."""

    secret, ahead, identity = SECRET.encode(), 0, ("wlc-1", NAS)

    def __init__(self):
        self.asked = []

    def disconnect(self, mac, session):
        self.asked.append(mac)
        return 1


@pytest.fixture
def nas():
    controller = Controller()
    port = das.Port(controller, NAS)
    port.set(open_=True)
    yield controller
    port.set(open_=False)


def test_the_session_with_the_old_key_is_ended_and_once_more_when_the_nas_has_forgotten(
    nodes, node, nas, small, time
):
    mac = next(str(b.mac) for b in node.plan.bindings if b.tablet == "T-001")

    async def play(verbs, until):
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(verbs.run(stop))
            for _ in range(200):
                if until():
                    break
                await asyncio.sleep(0.05)
            stop.set()

    node.say("psk-rotate", tablet="T-001", why="x")
    rows = node.guard.register.psks
    asyncio.run(play(node.verbs, lambda: rows()["T-001"].asks == 1))
    assert nas.asked == [mac]
    # guard ends in between; the next one goes on with what is due.
    node = nodes(keyed(small))
    rows = node.guard.register.psks
    asyncio.run(play(node.verbs, lambda: node.verbs._due is not None))
    assert nas.asked == [mac], "not sooner than the NAS forgets"
    time.on(36)
    asyncio.run(play(node.verbs, lambda: node.verbs._due == {}))
    assert rows()["T-001"].asks == 0
    assert nas.asked == [mac, mac]
    assert node.verbs._due == {}
    said = [e for e in node.audit() if e.verb == "psk-old-session"]
    assert [json.loads(e.after) for e in said] == [{"said": "wlc-1: ack (UDP 3799)"}] * 2
    (row,) = [r for r in node.say("psks")["psks"] if r["tablet"] == "T-001"]
    assert (row["asks"], row["said"]) == (0, "wlc-1: ack (UDP 3799)")


class Asked:
    """What stands for the NAS: it is asked when a look finds that it is due, and says what a test wants."""

    def __init__(self, node, monkeypatch):
        self.node, self.asked, self.late, self.answer = node, 0, False, (True, "ack")
        # What watch tells; None where it does not answer.
        self.rows = None
        monkeypatch.setattr(node.guard.removals, "end_session", self.end)
        monkeypatch.setattr(node.guard.removals, "keyed_sessions", self.known)
        monkeypatch.setattr(node.verbs, "_parts", replace(node.verbs._parts, late=lambda: self.late))  # fmt: skip
        node.verbs._due = {}

    async def end(self, tablet, plan):
        self.asked += 1
        return self.answer

    async def known(self, tablet, plan):
        return None if self.rows is None else (self.rows, False)

    def look(self):
        """One look; returns how often the NAS was asked so far, and is to be."""
        now = clock.now().timestamp()
        for due in list(self.node.verbs._due.values()):
            if self.node.verbs._is_due(due, now):
                asyncio.run(self.node.verbs._end(due, self.node.plan))
        return self.asked, self.node.guard.register.psks()["T-001"].asks


@pytest.fixture
def stub(node, monkeypatch, time):
    return Asked(node, monkeypatch)


def test_no_ask_counts_before_freeradius_gives_the_new_key(node, stub, time):
    """Whoever is thrown off before that comes back with the old key, and stays."""
    stub.late = True
    node.say("psk-rotate", tablet="T-001", why="x")
    assert stub.look() == (0, 2)
    time.on(21)
    assert stub.look() == (1, 2), "it takes too long: ended all the same"
    time.on(300)
    assert stub.look() == (1, 2), "who came back since would only come back once more"
    stub.late = False
    assert stub.look() == (2, 1), "at once when it has followed"
    time.on(34)
    assert stub.look() == (2, 1), "what the NAS was told before that it may keep for 30 s"
    time.on(2)
    assert stub.look() == (3, 0)
    time.on(3600)
    assert stub.look() == (3, 0)


def test_the_key_is_not_taken_for_given_while_freeradius_is_being_told(node, stub, monkeypatch):
    def bring(*_):
        seen.append(stub.look())
        return nothing()

    seen = []
    monkeypatch.setattr(node.verbs, "_parts", replace(node.verbs._parts, bring=bring))
    asyncio.run(node.verbs._rotate(["T-001"], "ada", "x"))
    assert seen == [(0, 2)]
    assert stub.look() == (1, 1)


def test_a_nas_that_does_not_end_the_session_is_asked_ever_more_rarely_and_said(node, stub, time):
    stub.answer = False, "wlc-1: no answer (UDP 3799)"
    node.say("psk-rotate", tablet="T-001", why="x")
    lines = len(node.audit())
    assert stub.look() == (1, 2)
    said = node.say("status")["problems"]["psk-sessions"]
    assert said.endswith("asked again, at last every hour: T-001 (wlc-1: no answer (UDP 3799))")
    for asked, minutes in ((2, 1), (3, 2), (4, 4), (5, 8), (6, 16), (7, 32), (8, 60), (9, 60)):
        time.on(60 * minutes - 59)
        assert stub.look() == (asked - 1, 2)
        time.on(60)
        assert stub.look() == (asked, 2)
    assert len(node.audit()) == lines + 1, "the same is written down once"
    stub.answer = True, "ack"
    time.on(3601)
    assert stub.look() == (10, 1)
    assert node.say("status")["problems"] == {}
    stub.answer = False, "wlc-1: no answer (UDP 3799)"
    time.on(36)
    assert stub.look() == (11, 1)
    assert "T-001" in node.say("status")["problems"]["psk-sessions"]
    stub.answer = True, "ack"
    time.on(61)
    assert stub.look() == (12, 0), "once it has taken one, it is asked each minute again"
    assert node.say("status")["problems"] == {}


def on_air(session="1", began=None, at=None, nas="wlc-1"):
    """What watch tells of a session: begun and heard of last at moments of the wall clock."""
    now = clock.now().timestamp()
    return Live(
        nas=nas, mac="x", session=session, at=now if at is None else at, site="pellegrin", ap="AP-1", bssid="",
        source=NAS, nas_ip="", vlan="", since=now if began is None else began,
    )  # fmt: skip


def refused(node, stub, rows):
    """A key is rotated while watch tells that, and the NAS takes no Disconnect."""
    stub.answer, stub.rows = (False, "wlc-1: no answer (UDP 3799)"), rows
    node.say("psk-rotate", tablet="T-001", why="x")
    assert stub.look() == (1, 2)
    assert "T-001" in node.say("status")["problems"]["psk-sessions"]


def settled(node, why):
    """The NAS is asked no more, nothing is wrong, and it is written down why."""
    assert node.say("status")["problems"] == {}
    assert node.guard.register.psks()["T-001"].asks == 0
    assert node.verbs._due == {}
    said = next(e for e in node.audit() if e.verb == "psk-old-session")
    assert why in json.loads(said.after)["said"]
    (row,) = [r for r in node.say("psks")["psks"] if r["tablet"] == "T-001"]
    assert why in row["said"]


def test_a_nas_that_never_takes_a_disconnect_is_asked_no_more_once_the_session_has_stopped(
    node, stub, time
):
    refused(node, stub, [on_air()])
    time.on(61)
    assert stub.look() == (2, 2)
    stub.rows = []
    time.on(61)
    assert stub.look() == (2, 2), "a report may bring it back: watch may have lost it"
    time.on(3601)
    assert stub.look()[1] == 0
    settled(node, "its session has ended, by the accounting")


def test_a_nas_that_never_takes_a_disconnect_is_asked_no_more_once_the_tablet_has_its_new_key(
    node, stub, time
):
    refused(node, stub, [on_air()])
    old = stub.rows[0]
    time.on(61)
    admitted = on_air("", began=0.0)
    stub.rows = [on_air("2"), admitted, old]
    assert stub.look() == (1, 0)
    settled(node, "joined with its new key")


def timeout(node, seconds):
    """The rules send another Session-Timeout from now on."""
    for each in node.plan.group.values():
        object.__setattr__(each, "session_timeout", seconds)


def test_a_session_that_outlasts_its_timeout_is_over(node, stub, time):
    timeout(node, 3600)
    refused(node, stub, [on_air()])
    time.on(43200)
    stub.look()
    # It speaks once more.
    time.on(61)
    stub.rows = [replace(stub.rows[0], at=clock.now().timestamp())]
    stub.look()
    time.on(86400)
    assert stub.look()[1] == 2
    time.on(61)
    assert stub.look()[1] == 0
    settled(node, "for 24 hours, longer than any can last")


@pytest.mark.parametrize(("before", "later"), [(None, 3600), (7 * 86400, 3600)])
def test_a_timeout_that_is_sent_later_says_nothing_of_a_session_of_before(
    node, stub, time, before, later
):
    """It was admitted with another, or with none: what an operator sets now binds the next one."""
    timeout(node, before)
    refused(node, stub, [on_air()])
    timeout(node, later)
    time.on(6 * 86400)
    assert stub.look()[1] == 2


def test_a_nas_that_refuses_for_months_ends_nobody(node, stub, time):
    refused(node, stub, [on_air()])
    node.verbs._due["T-001"].refusals = 2000
    time.on(3601)
    assert stub.look() == (2, 2)
    assert node.verbs._due["T-001"].ask_after - clock.monotonic() == psk_verbs.RAREST


def test_a_session_of_which_nobody_can_tell_goes_on_and_stays_said(node, stub, time):
    """Neither a stop nor reports nor a timeout: nobody knows that it is over."""
    refused(node, stub, [on_air()])
    time.on(10 * 86400)
    assert stub.look()[1] == 2
    # It reported, so its silence says something.
    stub.rows = [replace(stub.rows[0], at=stub.rows[0].at + 300)]
    time.on(61)
    assert stub.look()[1] == 2
    time.on(86300)
    assert stub.look()[1] == 2
    time.on(200)
    assert stub.look()[1] == 0
    settled(node, "nothing was heard of a session with it for 24 hours")


def test_while_watch_or_freeradius_is_away_no_session_is_taken_for_over(node, stub, time):
    refused(node, stub, [on_air()])
    stub.rows = None
    time.on(2 * 86400)
    assert stub.look()[1] == 2
    stub.rows, stub.late = [on_air("2")], True
    node.say("psk-rotate", tablet="T-001", why="x")
    time.on(30)
    asked = stub.look()[0]
    time.on(61)
    stub.rows = [on_air("3")]
    assert stub.look() == (asked + 1, 2), "it may have joined with the old key"


def test_a_tablet_that_nobody_knows_to_be_on_the_air_is_no_problem_and_asked_for(node, stub, time):
    stub.answer = False, removals.NOBODY_KNOWS
    node.say("psk-rotate", tablet="T-001", why="x")
    assert stub.look() == (1, 2)
    assert node.say("status")["problems"] == {}
    stub.answer = True, "ack"
    time.on(61)
    assert stub.look() == (2, 1)


def test_of_a_fleet_whose_nas_is_silent_a_few_are_named(node):
    row = node.guard.register.psks()["T-001"]
    node.verbs._due = {f"X-{n}": psk_verbs.Due(row, fault="wlc-1: no") for n in range(8)}
    assert node.verbs.problem.endswith("X-4 (wlc-1: no), and 3 more")


def test_a_file_that_freeradius_could_not_be_given_is_no_new_key(node):
    node.guard.radius.pending = False
    node.file.unlink()
    node.file.mkdir()
    node.say("psk-rotate", tablet="T-001", why="x")
    assert node.guard.radius.pending


def test_only_a_nas_that_gives_keys_is_asked_to_end_a_session_of_one(node):
    """That of another site may be silent for good, and no session with the old key is there."""
    plan = compile_plan(node.guard.state.policy, ["pellegrin", "haut-leveque"])
    mac = next(b.mac for b in plan.bindings if b.tablet == "T-001")
    assert len(removals._anywhere(plan, mac, removals._places(plan))) == 2
    ((nas, _),) = removals._anywhere(plan, mac, removals._places(plan, keyed=True))
    assert nas.psk


def test_where_keys_are_given_no_more_no_session_of_one_is_left_to_end(node, nas, small):
    """Or it would be ended on the day on which they are given again."""
    plan = compile_plan(small(), ["pellegrin"])
    done, why = asyncio.run(node.guard.removals.end_session("T-001", plan))
    assert (done, nas.asked) == (True, [])
    assert why == "no NAS of its sites gives it a key of its own"


def test_a_clock_that_was_set_back_does_not_let_the_old_key_live_on(node, stub, time):
    node.say("psk-rotate", tablet="T-001", why="x")
    assert stub.look() == (1, 1)
    time.wall -= 7200
    time.on(10)
    assert stub.look() == (1, 1)
    time.on(26)
    assert stub.look() == (2, 0)
    stub.late = True
    node.say("psk-rotate", tablet="T-001", why="x")
    time.wall -= 7200
    assert stub.look() == (3, 2)


def test_a_nas_that_says_nothing_does_not_hold_up_the_end_of_guard(node):
    """Nobody listens there, and every way of its recipe is waited for."""
    silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    silent.bind((NAS, 3799))
    node.say("psk-rotate", tablet="T-001", why="x")

    async def play():
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
            tasks.create_task(node.verbs.run(stop))
            await asyncio.to_thread(silent.recv, 4096)
            stop.set()

    with silent:
        asyncio.run(play())
    assert node.guard.register.psks()["T-001"].asks == psks.ASKS


def test_a_nas_that_says_nothing_is_told_and_holds_up_nobody(node, time):
    (node.settings.paths.radius_secrets / "nas-wlc-1.conf").unlink()
    done, why = asyncio.run(node.guard.removals.end_session("T-001", node.plan))
    assert not done
    assert "cannot be read, or holds no secret" in why


def test_a_key_rotated_while_the_nas_is_asked_is_asked_for_again(node, nas):
    node.say("psk-rotate", tablet="T-001", why="x")
    old = psk_verbs.Due(node.guard.register.psks()["T-001"])
    newer = psk_verbs.Due(old.row)
    node.verbs._due = {"T-001": newer}
    asyncio.run(node.verbs._end(old, node.plan))
    assert node.verbs._due["T-001"] is newer
    assert newer.row.asks == psks.ASKS


def test_a_key_rotated_while_the_ask_is_written_down_is_not_overwritten(node, nas, monkeypatch):
    node.say("psk-rotate", tablet="T-001", why="x")
    due = psk_verbs.Due(node.guard.register.psks()["T-001"])
    node.verbs._due = {"T-001": due}
    to_thread, newer = asyncio.to_thread, []

    async def later(function, *words):
        if "psk" in function.__name__ and not newer:
            newer.extend(node.guard.psks.rotate(["T-001"], "ada", "once more"))
        return await to_thread(function, *words)

    monkeypatch.setattr(psk_verbs.asyncio, "to_thread", later)
    asyncio.run(node.verbs._end(due, node.plan))
    assert [node.guard.register.psks()["T-001"]] == newer
    assert node.audit()[0].verb == "psk-rotated"


def test_what_changed_in_the_file_is_asked_for(node):
    before = node.file.read_text()
    node.say("psk-rotate", tablet="T-001", why="x")
    mac = next(str(b.mac) for b in node.plan.bindings if b.tablet == "T-001")
    assert proof.changed_keys(before, node.file.read_text()) == [("pellegrin", mac)]
    assert proof.changed_keys(before, before) == []


def test_a_store_of_an_older_guard_gets_its_table(tmp_path, time):
    held = Register(tmp_path)
    held.open(clock.now())
    row = PskRow("T-001", "1:x", "t", "ada", 2)
    held.set_psks([row], [Entry("t", "ada", "psk-made", "T-001", "{}", "{}")])
    held.set_psks([replace(row, asks=1)], [])
    assert held.psks() == {"T-001": replace(row, asks=1)}
    assert len(held.audit(ALL, "T-001")) == 1
    held.close()
