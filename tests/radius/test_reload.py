"""Under load: reloads of the tablets, and the one restart that a changed secret needs."""

import asyncio
import threading
from dataclasses import dataclass, field
from itertools import count
from time import monotonic, perf_counter, sleep

import pytest

from netguard.adapters import radius as control
from netguard.core import radius
from netguard.core.radius import Code, Type
from netguard.errors import EnforcementError
from netguard.lab.load import Load, Outcome, Prepared, prepare
from tests.radius.conftest import PATIENCE, SECRET
from tests.radius.test_freeradius import swap

TABLETS, RATE, RELOADS = 2000, 500, 20


def mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in (0x3C, 0x28, 0x6D, *number.to_bytes(3, "big")))


def entry(number: int, vlan: int) -> str:
    return (
        f'pellegrin/{mac(number)} Auth-Type := Accept, Netguard-Rule := "patients/admit",'
        ' Netguard-Site := "pellegrin"\n\tTunnel-Type = VLAN,\n\tTunnel-Medium-Type = IEEE-802,\n'
        f'\tTunnel-Private-Group-Id = "{vlan}"\n'
    )


def plan(version: int) -> tuple[str, dict[int, str | None]]:
    """The file of a version, and what each tablet is answered by it: VLANs move, tablets come and go."""
    known = {n: 600 + version % 2 for n in range(TABLETS) if (n + version) % 10}
    text = "".join(entry(n, vlan) for n, vlan in known.items())
    return text, {n: str(known[n]) if n in known else None for n in range(TABLETS)}


def request(number: int) -> radius.Attributes:
    digits = mac(number).replace(":", "")
    return (
        radius.text(Type.USER_NAME, digits),
        radius.text(Type.CALLING_STATION_ID, mac(number).replace(":", "-").upper()),
        radius.text(Type.CALLED_STATION_ID, "70-3A-0E-00-00-01:CHU-TABLETTES"),
    )


def answer(reply: radius.Packet) -> str | None:
    return radius.vlan_of(reply) if reply.code == Code.ACCESS_ACCEPT else None


@dataclass
class Traffic:
    """Tablets that ask one after the other, until told to stop."""

    server: tuple[str, int]
    rate: float = RATE
    source: str = "127.0.0.1"
    outcomes: list[Outcome] = field(default_factory=list)
    load: Load | None = None

    def __enter__(self):
        self.stop = threading.Event()
        self.load = Load(self.server, SECRET, source=self.source, rate=self.rate)
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(PATIENCE)

    def _run(self):
        assert self.load is not None
        self.outcomes = self.load.run(self._packets())

    def _packets(self):
        asked = ((request(number % TABLETS), b"x") for number in count())
        packets = prepare(asked, SECRET)
        while not self.stop.is_set():
            packet: Prepared = next(packets)
            yield packet


def reload_until_proven(server, number: int, wanted: str | None) -> None:
    """Reload as guard does, until a changed tablet is answered by the new file."""
    end = monotonic() + PATIENCE
    while True:
        asyncio.run(control.reload(server.run / "control" / "netguard.sock"))
        reply = server.send(Code.ACCESS_REQUEST, request(number))
        if answer(reply) == wanted:
            return
        assert monotonic() < end, "the new tablets are never in force"
        sleep(0.25)


@pytest.mark.timeout(240)
def test_twenty_reloads_under_load_leave_no_request_unanswered_and_show_no_half_of_a_file(
    fresh, capsys
):
    text, _ = plan(0)
    swap(fresh.data / "tablets", text)
    fresh.start()
    # When the change to each version began, and when it was proven to be in force.
    times: list[tuple[float, float]] = [(0.0, 0.0)]
    started = perf_counter()
    with Traffic(("127.0.0.1", fresh.auth)) as traffic:
        for version in range(1, RELOADS + 1):
            text, answers = plan(version)
            began = perf_counter()
            swap(fresh.data / "tablets", text)
            subject = next(n for n in range(TABLETS) if answers[n] is None)
            reload_until_proven(fresh, subject, None)
            times.append((began, perf_counter()))
        sleep(0.2)  # some answers by the last one
    assert traffic.load is not None
    unanswered = [outcome for outcome in traffic.outcomes if outcome.reply is None]
    again = [outcome for outcome in traffic.outcomes if outcome.tries > 1]
    with capsys.disabled():
        seconds = perf_counter() - started
        print(
            f" {len(traffic.outcomes)} requests in {seconds:.0f} s, {len(unanswered)} unanswered,"
            f" {len(again)} sent twice",
            end=" ",
        )
    assert not unanswered
    assert not again, "not one had to be sent twice"
    assert traffic.load.forged == 0
    expected = [plan(version)[1] for version in range(RELOADS + 1)]
    for outcome in traffic.outcomes:
        assert outcome.reply is not None
        allowed = {
            expected[version][outcome.number % TABLETS]
            for version in in_force(times, outcome.sent, outcome.sent + outcome.seconds)
        }
        assert answer(outcome.reply) in allowed, (outcome.number, allowed)
    last = {answer(o.reply) for o in traffic.outcomes[-50:] if o.reply is not None}
    assert last <= {str(600 + RELOADS % 2), None}


def in_force(times: list[tuple[float, float]], sent: float, answered: float) -> list[int]:
    """The versions that an answer may be of: from the last one proven before it was asked, to the last
    one begun before it was answered."""
    first = max(v for v, (_, proven) in enumerate(times) if proven <= sent)
    last = max(v for v, (began, _) in enumerate(times) if began <= answered)
    return list(range(first, last + 1))


@pytest.mark.timeout(240)
def test_a_broken_file_under_load_keeps_every_answer(fresh):
    text, answers = plan(0)
    tablets = fresh.data / "tablets"
    swap(tablets, text)
    fresh.start()
    sleep_until_settled(fresh)
    with Traffic(("127.0.0.1", fresh.auth)) as traffic:
        swap(tablets, text[: len(text) // 2] + '"')
        with pytest.raises(EnforcementError):
            asyncio.run(control.reload(fresh.run / "control" / "netguard.sock"))
        sleep(0.3)
    assert traffic.outcomes
    for outcome in traffic.outcomes:
        assert outcome.reply is not None
        assert answer(outcome.reply) == answers[outcome.number % TABLETS]


def sleep_until_settled(server) -> None:
    """A module is not loaded again within about 2 s of the last time; the socket is as old as the server."""
    import time

    age = time.time_ns() / 1e9 - (server.run / "control" / "netguard.sock").stat().st_mtime
    sleep(max(0.0, control.SETTLE - age))


@pytest.mark.timeout(240)
def test_a_changed_secret_costs_one_restart_and_no_request_beyond_the_first_retry(fresh, capsys):
    """A NAS that repeats after 1 s, as most do; the server is restarted once under its requests."""
    text, _ = plan(0)
    swap(fresh.data / "tablets", text)
    fresh.start()
    clients = fresh.data / "clients.conf"
    head, tail = clients.read_text().split("client wlc-arcachon {", 1)
    new = b"another-secret-of-24-byt"
    changed = head + "client wlc-arcachon {" + tail.replace(SECRET.decode(), new.decode())
    with Traffic(("127.0.0.1", fresh.auth), rate=200) as traffic:
        retry = traffic.load.retry
        sleep(0.3)
        swap(clients, changed)
        began = perf_counter()
        fresh.stop()
        fresh.start()
        down = perf_counter() - began
        sleep(0.3)
    answered = [outcome for outcome in traffic.outcomes if outcome.reply is not None]
    late = [outcome for outcome in traffic.outcomes if outcome.tries > 1]
    beyond = [outcome for outcome in traffic.outcomes if outcome.tries > 2 or not outcome.reply]
    with capsys.disabled():
        print(
            f" {len(traffic.outcomes)} requests, restart {down:.2f} s, {len(late)} answered to the"
            f" first retry, {len(beyond)} lost beyond it",
            end=" ",
        )
    assert len(answered) == len(traffic.outcomes)
    # Whose first retry came to a server that was back was answered by it, however slow the machine is.
    assert not [outcome for outcome in beyond if outcome.sent + retry >= began + down]
    one = list(prepare([(request(0), b"x")], new))
    (reply,) = Load(("127.0.0.1", fresh.auth), new, source="127.0.0.3").run(one)
    assert reply.reply is not None, "the new secret is in force"
