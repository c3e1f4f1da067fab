"""What guard finds strange of a tablet: told for an hour, once a kind, and only of tablets of the plan."""

from datetime import timedelta

import pytest

from netguard.adapters import clock, files
from netguard.adapters.nflog import Logged
from netguard.core.denials import Denial
from netguard.core.fingerprints import Way
from netguard.core.names import Mac, parse_address
from netguard.core.plan import compile_plan
from netguard.daemon.suspects import TOLD_FOR, Suspects
from tests.core.test_fingerprints import ANDROID, LINUX, packet


@pytest.fixture
def plan(small):
    return compile_plan(small(), ["pellegrin"])


@pytest.fixture
def tablet(plan):
    return next(b for b in plan.bindings if b.tablet == "T-001")


class Copied:
    """The kernel's copies, in the order of a test; each frame comes from whom the message names, or from `sender`."""

    def __init__(self, *packets, sender=None):
        self.rows = [
            Logged("", interface, data[56:62] if sender is None else sender, data)
            for interface, data in packets
        ]

    def packets(self):
        rows, self.rows = self.rows, []
        return rows

    def close(self):
        """Nothing is open."""


def hear(suspects, plan, *packets, sender=None):
    suspects._log = Copied(*packets, sender=sender)
    suspects.take(plan)


def test_another_way_to_ask_is_told_after_a_restart_too(tmp_path, plan, tablet):
    mac = str(tablet.mac)
    first = Suspects(tmp_path)
    hear(
        first,
        plan,
        ("tab0", packet(ANDROID, mac=mac)),
        ("tab0", packet(ANDROID, "request", mac=mac)),
    )
    first._pasts[mac].since -= 3600
    first._unwritten = True
    first.close()
    again = Suspects(tmp_path)
    hear(again, plan, ("tab0", packet(LINUX, mac=mac)))
    (row,) = again.shown()
    assert (row["tablet"], row["site"], row["kind"]) == ("T-001", "pellegrin", "dhcp")
    assert "name laptop" in row["why"]


@pytest.mark.parametrize("of", ["another", "nobody", "a part"])
def test_who_asks_in_the_name_of_another_tablet_says_nothing_of_its_ways(
    tmp_path, plan, tablet, time, of
):
    other = next(b for b in plan.bindings if b.tablet == "T-002")
    own = bytes.fromhex(str(tablet.mac).replace(":", ""))
    senders = {
        "another": bytes.fromhex(str(other.mac).replace(":", "")),
        "nobody": b"",
        "a part": own[:5],
    }
    suspects = Suspects(tmp_path)
    hear(suspects, plan, ("tab0", packet(ANDROID, mac=str(tablet.mac))))
    time.on(3600)
    hear(suspects, plan, ("tab0", packet(LINUX, mac=str(tablet.mac))), sender=senders[of])
    assert suspects.shown() == []
    assert suspects._pasts[str(tablet.mac)].ways == [ANDROID]
    # As some links tell a hardware address: eight bytes, the last two unused.
    hear(suspects, plan, ("tab0", packet(LINUX, mac=str(tablet.mac))), sender=own + b"\0\0")
    assert [row["tablet"] for row in suspects.shown()] == ["T-001"]


def test_many_new_ways_are_written_now_and_then_and_the_last_at_the_end(
    tmp_path, plan, tablet, time, monkeypatch
):
    """Each write is the ways of all tablets and waits for the disk: who asks in ever new ways must not set its pace."""
    written, write = [], files.write
    monkeypatch.setattr(files, "write", lambda *words: written.append(words) or write(*words))
    suspects = Suspects(tmp_path)
    for number in range(100):
        way = Way((1, 3, number), "", "")
        hear(suspects, plan, ("tab0", packet(way, mac=str(tablet.mac))))
        time.on(0.1)
    assert len(written) == 2, "ten seconds"
    suspects.close()
    assert Suspects(tmp_path)._pasts == suspects._pasts
    suspects.close()
    assert len(written) == 3, "nothing is new"


def test_ways_that_could_not_be_written_are_written_later(tmp_path, plan, tablet, time, caplog):
    (tmp_path / ".fingerprints.json.new").mkdir()
    suspects = Suspects(tmp_path)
    hear(suspects, plan, ("tab0", packet(ANDROID, mac=str(tablet.mac))))
    for _ in range(3):
        time.on(30)
        hear(suspects, plan)
    assert [r.getMessage() for r in caplog.records].count(
        "the ways of tablets could not be written down"
    ) == 1
    (tmp_path / ".fingerprints.json.new").rmdir()
    time.on(30)
    hear(suspects, plan)
    assert Suspects(tmp_path)._pasts == suspects._pasts


def test_who_is_no_tablet_or_elsewhere_is_not_kept(tmp_path, plan, tablet):
    suspects = Suspects(tmp_path)
    hear(
        suspects,
        plan,
        ("tab0", packet(mac="3c:28:6d:ff:ff:ff")),
        ("up0", packet(mac=str(tablet.mac))),
        ("tab0", b"rubbish"),
    )
    hear(suspects, None, ("tab0", packet(mac=str(tablet.mac))))
    assert suspects._pasts == {}
    assert not (tmp_path / "fingerprints.json").exists()


def test_a_file_that_is_none_of_ours_is_learned_anew(tmp_path):
    for text in ("rubbish", "[]", '{"x": 1}'):
        (tmp_path / "fingerprints.json").write_text(text)
        assert Suspects(tmp_path)._pasts == {}


def refused(tablet, source, rule="anti-spoof", interface="tab0", at=None):
    address = parse_address(source)
    return Denial(at or clock.now(), rule, interface, tablet.mac, address, address, "udp", 53)


def test_a_second_address_of_the_tablets_network_is_strange_and_others_are_not(
    tmp_path, plan, tablet
):
    suspects = Suspects(tmp_path)
    for denial in (
        refused(tablet, "192.168.1.7"),
        refused(tablet, str(tablet.address)),
        refused(tablet, "10.99.0.200", rule="unknown-mac"),
        refused(tablet, "10.99.0.200", interface="up0"),
        Denial(clock.now(), "anti-spoof", "tab0", Mac.parse("3c:28:6d:ff:ff:ff"),
               parse_address("10.99.0.200"), parse_address("10.99.0.1"), "udp", 53),
    ):  # fmt: skip
        suspects.refused(plan, denial)
    suspects.refused(None, refused(tablet, "10.99.0.200"))
    assert suspects.shown() == []
    suspects.refused(plan, refused(tablet, "10.99.0.200"))
    suspects.refused(plan, refused(tablet, "10.99.0.201"))
    (row,) = suspects.shown()
    assert row["why"] == f"sends from 10.99.0.200, its own address is {tablet.address}"


def test_after_an_hour_it_is_told_no_more_and_may_be_told_again(tmp_path, plan, tablet):
    suspects = Suspects(tmp_path)
    old = clock.now() - timedelta(seconds=TOLD_FOR + 1)
    suspects.refused(plan, refused(tablet, "10.99.0.200", at=old))
    assert suspects.shown() == []
    suspects.refused(plan, refused(tablet, "10.99.0.201"))
    assert len(suspects.shown()) == 1
