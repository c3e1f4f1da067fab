"""From what is so to letters in the outbox: with the incident or not at all, once, and to whom the rules say."""

import asyncio
import json
import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netguard.adapters import control
from netguard.core.alerting import CLEARED, RAISED, UPDATED, Matter, Trouble, read_notice
from netguard.core.names import Mac
from netguard.core.policy import AlertRule, Receiver
from netguard.daemon import whereabouts
from netguard.daemon.alert_verbs import AlertVerbs
from netguard.daemon.alerting import Alerting
from netguard.daemon.delivery import Delivery
from netguard.daemon.intake import Intake
from netguard.daemon.watch import Watch
from netguard.errors import BadValue, Refused, StoreError
from tests.daemon.test_presence_intake import MAC, accounting, write, write_rules

ALL = ("waiting", "sent", "dead", "held")


def letters(intake, *states):
    return list(reversed(intake.store.letters(states or ALL)))


def asks(settings, time, intake, rule, times=1):
    """Let the first tablet ask in the lobby and be refused by a rule; then look."""
    asked = accounting(time, ap="AP-LOB-01") | {
        "kind": "admission",
        "answer": "reject",
        "rule": rule,
    }
    write(settings, *[asked] * times)
    intake.take()
    look(intake)


def told(intake):
    """Each letter as receiver, code and kind."""
    return [
        (each.receiver, each.code, read_notice(each.body).matter.kind) for each in letters(intake)
    ]


@pytest.fixture
def walked_out(settings, policy, time):
    """A tablet that is carried out through the lobby while others go on being heard."""
    write_rules(settings, policy, {"T-001": "lent"})
    intake = Intake(settings)
    intake.take()

    def turn(seconds):
        for _ in range(int(seconds // 10)):
            time.on(10)
            if int(time.steady) % 60 == 0:
                for n in range(1, 9):
                    mac = str(policy.tablets[f"T-{n + 1:03d}"].mac)
                    write(settings, accounting(time, "Interim-Update", mac, session=str(n)))
            intake.take()

    write(settings, accounting(time))
    turn(1200)
    write(settings, accounting(time, ap="AP-LOB-01"))
    turn(60)
    write(settings, accounting(time, "Stop", ap="AP-LOB-01", cause="Lost-Carrier"))
    intake.turn = turn
    yield intake
    intake.close()


def test_a_theft_is_told_to_whom_the_rules_name_and_its_end_to_the_same(walked_out, settings, time):
    intake = walked_out
    intake.turn(3600)
    first = [row for row in told(intake) if row[2] == RAISED]
    assert first == [("noc", "NG-1101", RAISED), ("security-desk", "NG-1101", RAISED)]
    assert [each.channel for each in letters(intake)][:2] == ["syslog", "webhook"]
    notice = read_notice(letters(intake)[0].body)
    assert (notice.severity, notice.rule) == ("critical", "missing-at-edge")
    assert notice.matter.place.label.startswith("Hôpital Pellegrin")
    assert notice.matter.place.zone == "Europe/Paris"
    assert MAC not in letters(intake)[0].body
    write(settings, accounting(time, "Start", session="9"))
    intake.take()
    assert [row for row in told(intake) if row[2] == CLEARED] == [
        ("noc", "NG-1101", CLEARED),
        ("security-desk", "NG-1101", CLEARED),
    ]


def test_killed_between_the_engines_word_and_the_store_it_is_told_once(
    walked_out, settings, monkeypatch
):
    intake = walked_out
    real = intake.store.take

    def dies(*args, **words):
        if words.get("told") is not None and words["told"].incidents:
            raise StoreError("the disk is full")
        return real(*args, **words)

    monkeypatch.setattr(intake.store, "take", dies)
    with pytest.raises(StoreError):
        intake.turn(3600)
    assert letters(intake) == []
    assert intake.store.incidents() == []
    intake.close()
    again = Intake(settings)
    again.take()
    assert told(again)[:2] == [("noc", "NG-1101", RAISED), ("security-desk", "NG-1101", RAISED)]
    count = len(letters(again))
    again.close()
    # And once more from the journal: every id is there already.
    third = Intake(settings)
    third.take()
    assert len(letters(third)) == count
    third.close()


def test_killed_before_an_end_is_told_its_end_is_told_by_the_next(
    walked_out, settings, time, monkeypatch
):
    """Both are in the journal that is played again; that it had begun was told long ago."""
    intake = walked_out
    # No snapshot: the next process is played the whole of it.
    intake._snapshot_at = math.inf
    intake.turn(1200)
    began = [row for row in told(intake) if row[2] == RAISED]
    assert began
    write(settings, accounting(time, "Start", session="9"))

    def killed(*_words):
        raise KeyboardInterrupt

    monkeypatch.setattr(intake.presence, "tell", killed)
    with pytest.raises(KeyboardInterrupt):
        intake.take()
    intake.store.close()
    again = Intake(settings)
    again.take()
    words = [row[2] for row in told(again) if row[:2] == began[0][:2] and row[2] != UPDATED]
    assert words == [RAISED, CLEARED]
    assert again.store.open_incidents() == []
    again.close()


def test_a_hundred_and_fifty_tablets_behind_a_dead_feed_are_one_message(settings, policy, time):
    here = {k: replace(t, home=("pellegrin", "cardio-3")) for k, t in policy.tablets.items()}
    write_rules(settings, replace(policy, tablets=here))
    intake = Intake(settings)
    intake.take()
    areas = policy.sites["pellegrin"].areas.values()
    # At an exit, five minutes without a word are long.
    aps = [ap for area in areas if not area.edge for ap in area.aps]
    macs = [str(tablet.mac) for tablet in policy.tablets.values()]
    assert len(macs) == 150
    for turn in range(240):
        time.on(10)
        write(
            settings,
            *(
                accounting(
                    time,
                    "Interim-Update",
                    mac,
                    aps[n % len(aps)],
                    session=str(n),
                    in_packets=str(turn),
                )
                for n, mac in enumerate(macs)
                if n % 30 == turn % 30
            ),
        )
        intake.take()
    assert told(intake) == []
    for _ in range(720):
        time.on(10)
        intake.take()
    assert told(intake) == [("noc", "NG-1201", RAISED), ("on-call", "NG-1201", RAISED)]
    states = {row["presence"] for row in whereabouts.tablets(intake)}
    assert states == {"unreachable"}, "none is missing, and none is said to be there"
    intake.close()


def test_an_address_in_use_twice_is_told_with_both_places_and_ends(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()

    def report(status, session, ap, packets):
        mac = str(policy.tablets["T-001"].mac)
        row = accounting(time, status, mac, ap=ap, session=session, in_packets=str(packets))
        write(settings, row)
        intake.take()
        look(intake)

    report("Start", "a", "AP-CAR-301", 0)
    report("Start", "b", "AP-LOB-01", 0)
    for turn in (1, 2):
        assert told(intake) == []
        time.on(300)
        report("Interim-Update", "a", "AP-CAR-301", 100 * turn)
        report("Interim-Update", "b", "AP-LOB-01", 50 * turn)
    assert told(intake) == [("noc", "NG-1108", RAISED), ("security-desk", "NG-1108", RAISED)]
    matter = read_notice(letters(intake)[0].body).matter
    assert (matter.tablet, matter.place.ap) == ("T-001", "ap-car-301")
    assert "ap-lob-01" in matter.fields["other"]
    for _ in range(8):
        time.on(600)
        intake.take()
        look(intake)
    assert [kind for _, code, kind in told(intake) if code == "NG-1108"][-1] == CLEARED
    intake.close()


def test_a_mac_in_two_areas_of_one_site_faster_than_a_walk_is_told(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    mac = str(policy.tablets["T-001"].mac)

    def arrive(number, ap, seconds):
        write(settings, accounting(time, "Start", mac, ap=ap, session=f"s{number}"))
        intake.take()
        look(intake)
        time.on(seconds)

    # The lobby and cardiology are two minutes apart: as fast as that it may walk to and fro.
    for number in range(8):
        arrive(number, ("AP-CAR-301", "AP-LOB-01")[number % 2], 120)
    assert told(intake) == []
    # Two of them, and the first to arrive came from where the last was: four arrivals show it.
    for number in range(8, 12):
        assert told(intake) == []
        arrive(number, ("AP-CAR-301", "AP-LOB-01")[number % 2], 30)
    assert told(intake) == [("noc", "NG-1108", RAISED), ("security-desk", "NG-1108", RAISED)]
    intake.close()


def test_what_a_rule_wants_in_quarantine_is_wanted_once_and_again_after_a_restart(
    settings, policy, time
):
    rules = tuple(replace(rule, quarantine=rule.name == "clone-suspect") for rule in policy.alerts)
    write_rules(settings, replace(policy, alerts=rules))
    intake = Intake(settings)
    intake.take()
    mac = str(policy.tablets["T-001"].mac)

    def report(status, session, ap, packets):
        row = accounting(time, status, mac, ap=ap, session=session, in_packets=str(packets))
        write(settings, row)
        intake.take()
        look(intake)

    for turn in range(3):
        report("Interim-Update" if turn else "Start", "a", "AP-CAR-301", 100 * turn)
        report("Interim-Update" if turn else "Start", "b", "AP-LOB-01", 50 * turn)
        time.on(300)
    ((incident, (tablet, rule, why)),) = intake.alerting.wanted.items()
    assert (tablet, rule) == ("T-001", "clone-suspect")
    assert why == f"NG-1108 {incident}"
    intake.alerting.wanted.clear()
    look(intake)
    assert intake.alerting.wanted == {}
    intake.close()
    again = Intake(settings)
    again.take()
    again.alerting.want_again(again.store, again.book)
    assert list(again.alerting.wanted) == [incident]
    again.close()


def test_what_guard_could_not_do_is_wanted_again_and_what_it_will_not_is_not(settings):
    """guard's store may be away for a moment: a device that is to be cut off is not forgotten for that."""
    answers = [
        StoreError("the store is away"),
        Refused("no rules", again=True),
        None,
        Refused("no"),
    ]
    asked = []

    async def quarantine(caller, message):
        asked.append(message["incident"])
        error = answers.pop(0)
        if error is not None:
            raise error
        return {}

    async def play():
        offers = {"quarantine": control.Offer(quarantine)}
        server = await control.serve(settings.guard_socket, offers, lambda _: None)
        async with server:
            for _ in range(4):
                await watch._want_quarantine()
                left.append(list(watch.intake.alerting.wanted))

    left = []
    watch = Watch(settings)
    watch.intake.alerting.wanted |= {f"T-00{n}-1": (f"T-00{n}", "clones", "x") for n in (1, 2)}
    asyncio.run(play())
    assert left == [["T-001-1", "T-002-1"], ["T-001-1", "T-002-1"], [], []]
    assert asked == ["T-001-1", "T-001-1", "T-001-1", "T-002-1"]


def test_a_clinical_device_that_asks_for_the_tablets_network_is_told_and_nobody_else_for_it(
    settings, policy, time
):
    mac = Mac.parse("00:09:18:aa:00:01")
    never = replace(policy.never, macs=frozenset({mac}))
    write_rules(settings, replace(policy, never=never))
    intake = Intake(settings)
    intake.take()
    asked = accounting(time, mac=str(mac), ap="AP-LOB-01") | {"kind": "admission"}
    refused = asked | {"answer": "reject", "rule": "unknown-mac"}
    # One that is admitted as any device is by its own network's rule is none of ours.
    write(
        settings,
        asked | {"answer": "accept", "rule": "other"},
        refused | {"mac": "00:09:18:aa:00:02"},
    )
    intake.take()
    look(intake)
    assert told(intake) == []
    write(settings, refused)
    intake.take()
    look(intake)
    assert {(code, kind) for _, code, kind in told(intake)} == {("NG-1111", RAISED)}
    matter = read_notice(letters(intake)[0].body).matter
    assert (matter.subject, matter.tablet, matter.place.ap) == (str(mac), "", "AP-LOB-01")
    intake.close()


def test_a_tablet_that_asks_for_another_network_is_named(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    asks(settings, time, intake, "other-network")
    assert told(intake) == [("security-desk", "NG-1112", RAISED)]
    assert read_notice(letters(intake)[0].body).matter.tablet == "T-001"
    intake.close()


def test_a_tablet_in_quarantine_that_asks_is_no_news(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    asks(settings, time, intake, "loan/quarantined")
    assert told(intake) == []
    intake.close()


def test_a_stolen_tablet_that_asks_is_told_with_its_place_until_it_is_found(settings, policy, time):
    write_rules(settings, policy, {"T-001": "stolen"})
    intake = Intake(settings)
    intake.take()
    asks(settings, time, intake, "loan/stolen", times=2)
    assert told(intake) == [("noc", "NG-1107", RAISED), ("security-desk", "NG-1107", RAISED)]
    matter = read_notice(letters(intake)[0].body).matter
    assert (matter.tablet, matter.place.ap, matter.fields["loan"]) == (
        "T-001",
        "AP-LOB-01",
        "stolen",
    )
    time.on(60)
    look(intake)
    assert len(letters(intake)) == 2, "it is told once"
    write_rules(settings, policy, {})
    intake.take()
    time.on(1)
    look(intake)
    assert [row[2] for row in told(intake)[2:]] == [CLEARED, CLEARED]
    intake.close()


def test_a_restart_forgets_nobody_who_asked_where_he_may_not(settings, policy, time):
    """What was heard once is not found by looking: the alarm must not end because watch was started anew."""
    write_rules(settings, policy, {"T-001": "stolen"})
    intake = Intake(settings)
    intake.take()
    asks(settings, time, intake, "loan/stolen")

    def heard(at):
        return [row[2] for row in told(at) if row[1] == "NG-1107"]

    assert heard(intake) == [RAISED, RAISED]
    time.on(600)
    intake.close()
    again = Intake(settings)
    again.take()
    again.alerting = Alerting()
    for _ in range(29):
        look(again)
        time.on(30)
    assert heard(again) == [RAISED, RAISED], "nothing has changed, and it is not told again"
    time.on(60)
    look(again)
    assert heard(again) == [RAISED, RAISED, CLEARED, CLEARED]
    again.close()


def test_a_refusal_in_a_closed_area_is_told_and_ends_when_it_is_no_longer_heard(
    settings, policy, time
):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    asks(settings, time, intake, "patients/areas")
    assert told(intake) == [("security-desk", "NG-1106", RAISED)]
    time.on(901)
    look(intake)
    assert told(intake)[1:] == [("security-desk", "NG-1106", CLEARED)]
    intake.close()


def look(intake, *found):
    return intake.alerting.look(intake.store, intake.book, found, intake.now())


def down():
    return Trouble("down-dns", "NG-1405", {"trouble": "appliance"}, "dns")


def test_a_trouble_is_an_incident_that_outlives_a_restart(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    for _ in range(5):
        look(intake, down())
        time.on(10)
    assert told(intake) == [("noc", "NG-1405", RAISED)]
    (row,) = intake.store.open_incidents()
    assert json.loads(row.body)["code"] == "NG-1405"
    intake.close()
    again = Intake(settings)
    again.take()
    again.alerting = Alerting()
    for _ in range(5):
        look(again, down())
        time.on(10)
    assert len(letters(again)) == 1, "it is not told again"
    for _ in range(5):
        look(again)
        time.on(10)
    assert told(again) == [("noc", "NG-1405", RAISED), ("noc", "NG-1405", CLEARED)]
    assert again.store.open_incidents() == []
    again.close()


def test_what_prometheus_raises_is_not_posted_to_an_alertmanager(settings, policy, time):
    receivers = dict(policy.receivers)
    receivers["noc"] = replace(receivers["noc"], alertmanager=("http://x:9093",))
    receivers["on-call"] = replace(receivers["on-call"])
    rule = AlertRule("appliance", {"trouble": "appliance"}, "critical", ("noc", "on-call"))
    write_rules(settings, replace(policy, alerts=(rule,), receivers=receivers))
    intake = Intake(settings)
    intake.take()
    for _ in range(5):
        look(intake, down())
        time.on(10)
    assert [(each.receiver, each.channel) for each in letters(intake)] == [("noc", "syslog")]
    intake.close()


def test_more_refusals_than_a_rule_bears_are_told_and_a_counter_that_begins_anew_is_none():
    alerting = Alerting()
    rules = [AlertRule("p", {"rule": "protected", "more_than": "10/1m"}, "critical", ("noc",))]

    def refused(count, now, name="patients/protected"):
        return [t.code for t in alerting.refusals(rules, {name: [count, 0]}, now)]

    assert refused(1000, 0) == [], "what was counted before is no news"
    assert refused(1010, 30) == []
    assert refused(1011, 40) == ["NG-1302"]
    assert refused(1011, 95) == []
    assert refused(3, 100) == []
    assert refused(14, 110) == ["NG-1302"]
    assert refused(99, 120, "patients/deny") == []


def test_a_change_by_somebody_else_a_spent_budget_and_a_silent_feed_are_told():
    alerting = Alerting()

    def codes(drifts, false, now):
        guard = {"drifts": drifts, "drift": [{"what": "deleted rule", "by": "nft (pid 7)"}]}
        return [(t.code, dict(t.fields)) for t in alerting.appliance(guard, false, 1 / 7, now)]

    assert codes(3, 0, 0) == [], "what was there before is no news"
    assert codes(4, 0, 10) == [("NG-1403", {"why": "deleted rule (nft (pid 7))"})]
    assert codes(4, 0, 400) == []
    assert codes(4, 2, 500) == []
    assert codes(4, 3, 600) == [("NG-1409", {})]
    assert codes(4, 3, 600 + 8 * 86400) == []
    assert alerting.appliance(None, 0, None, 0) == []
    feeds = {"syslog wlc-1": (1.0, True, None), "trap wlc-1": (1.0, False, None)}
    assert [(t.code, t.subject) for t in alerting.feeds(feeds)] == [
        ("NG-1203", "feed syslog wlc-1")
    ]


def test_a_profile_holds_back_its_severities_until_it_ends(settings, policy, time):
    policy = replace(
        policy,
        alerts=tuple(
            replace(rule, severity="warning") if rule.name == "appliance" else rule
            for rule in policy.alerts
        ),
    )
    write_rules(settings, policy, silenced={"warning": "crisis", "info": "crisis"})
    intake = Intake(settings)
    intake.take()
    for _ in range(5):
        look(intake, down())
        time.on(10)
    assert [(each.state, each.why) for each in letters(intake)] == [("held", "profile crisis")]
    intake.alerting.release(intake.store, intake.book, time.wall)
    assert [each.state for each in letters(intake)] == ["held"]
    write_rules(settings, policy)
    intake.take()
    intake.alerting.release(intake.store, intake.book, time.wall)
    assert [each.state for each in letters(intake)] == ["waiting"]
    intake.close()


def test_a_silence_holds_back_and_lets_out_what_is_still_so(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    intake.take()
    verbs = AlertVerbs(intake, lambda: intake.store)

    def ask(verb, **words):
        return asyncio.run(getattr(verbs, verb)(Someone(), words))

    made = ask("silence", site="", code="NG-1405", seconds=3600, note="works", by="anna")
    for _ in range(5):
        look(intake, down())
        time.on(10)
    assert [each.state for each in letters(intake)] == ["held"]
    assert "by anna" in letters(intake)[0].why
    intake.alerting.release(intake.store, intake.book, time.wall)
    assert [each.state for each in letters(intake)] == ["held"]
    ask("silence", end=made["silence"], by="bert")
    time.on(1)
    intake.alerting.release(intake.store, intake.book, time.wall)
    assert [each.state for each in letters(intake)] == ["waiting"]
    # Its end is not held back, whoever silences meanwhile.
    ask("silence", code="NG-1405", seconds=3600, by="anna")
    for _ in range(5):
        look(intake)
        time.on(10)
    assert [each.state for each in letters(intake)] == ["waiting", "waiting"]
    ask("silence", end=2, by="bert")
    time.on(1)
    lines = ask("audit")["audit"]
    assert [line["who"] for line in lines] == ["bert", "anna", "bert", "anna"]
    assert {line["verb"] for line in lines} == {"silence"}
    assert "ends" in lines[0]["before"]
    assert ask("silences")["silences"] == []
    with pytest.raises(Refused):
        ask("silence", end=made["silence"])
    with pytest.raises(BadValue, match="did you mean 'pellegrin'"):
        ask("silence", site="pelegrin", seconds=3600)
    with pytest.raises(BadValue, match="from 1m to 30d"):
        ask("silence", site="pellegrin", seconds=10**9)
    intake.close()


class Someone:
    name = "root"


def test_what_nobody_acknowledges_is_told_again_and_what_somebody_does_is_not(
    settings, policy, time
):
    receivers = dict(policy.receivers)
    receivers["noc"] = replace(receivers["noc"], repeat=600.0)
    write_rules(settings, replace(policy, receivers=receivers))
    intake = Intake(settings)
    intake.take()
    for _ in range(5):
        look(intake, down())
        time.on(10)
    verbs = AlertVerbs(intake, lambda: intake.store)
    delivery = Delivery(settings)
    book = dict(intake.book.receivers)
    intake.store.settle(letters(intake), "sent")

    def repeats(seconds):
        time.on(seconds)
        found = delivery.repeats(intake.store, book, time.wall)
        intake.store.post(found)
        intake.store.settle(letters(intake, "waiting"), "sent")
        return [read_notice(each.body).matter.kind for each in found]

    assert repeats(300) == []
    assert repeats(300) == ["repeated"]
    assert repeats(30) == []
    asyncio.run(verbs.snooze(Someone(), {"incident": letters(intake)[0].incident, "seconds": 3600}))
    assert repeats(601) == []
    assert repeats(3600) == ["repeated"]
    (row,) = asyncio.run(verbs.alerts(Someone(), {}))["alerts"]
    assert (row["code"], row["open"], row["acknowledged"]) == ("NG-1405", True, "")
    asyncio.run(
        verbs.acknowledge(Someone(), {"incident": row["incident"], "by": "anna", "note": "on it"})
    )
    assert repeats(3600) == []
    (row,) = asyncio.run(verbs.alerts(Someone(), {}))["alerts"]
    assert (row["acknowledged"], row["note"]) == ("anna", "on it")
    with pytest.raises(Refused, match="no open alert"):
        asyncio.run(verbs.acknowledge(Someone(), {"incident": "T-999"}))
    intake.close()


def test_a_private_mac_is_linked_to_the_tablet_that_fell_silent_beside_it(settings, policy, time):
    write_rules(settings, policy)
    intake = Intake(settings)
    write(settings, accounting(time, ap="AP-CAR-301"))
    intake.take()
    time.on(60)
    asked = {"kind": "admission", "answer": "reject", "rule": "private-mac"}
    beside = accounting(time, mac="5a:11:c0:ff:ee:01", ap="AP-CAR-301") | asked
    elsewhere = accounting(time, mac="5a:11:c0:ff:ee:02", ap="AP-LOB-01") | asked
    unknown = accounting(time, mac="00:11:22:33:44:55", ap="AP-CAR-301") | asked
    write(settings, beside, elsewhere, unknown | {"rule": "unknown-mac"})
    intake.take()
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    strangers = intake.store.strangers(long_ago)
    found = zip(strangers, whereabouts.perhaps(intake, strangers), strict=True)
    assert {str(each.mac): [row["tablet"] for row in rows] for each, rows in found} == {
        "5a:11:c0:ff:ee:01": ["T-001"],
        "5a:11:c0:ff:ee:02": [],
        "00:11:22:33:44:55": [],
    }
    intake.presence = None
    assert whereabouts.perhaps(intake, strangers) == [[], [], []]
    intake.close()


def test_a_flood_of_private_macs_is_looked_up_with_one_look_at_the_fleet(settings, policy, time):
    """Each look holds up the intake, and ten thousand of them took longer than anybody waits for the answer."""
    write_rules(settings, policy)
    watch = Watch(settings)
    write(settings, accounting(time, ap="AP-CAR-301"))
    watch.intake.take()
    time.on(60)
    asked = {"kind": "admission", "answer": "reject", "rule": "private-mac"}
    macs = [f"5a:11:c0:ff:ee:{number:02x}" for number in range(20)]
    write(settings, *(accounting(time, mac=mac, ap="AP-CAR-301") | asked for mac in macs))
    watch.intake.take()
    looks, held = [], watch.intake.busy

    class Counted:
        def __enter__(self):
            looks.append(held.acquire())

        def __exit__(self, *_):
            held.release()

    watch.intake.busy = Counted()
    rows = asyncio.run(watch.unknown(None, {}))["unknown"]
    assert [[tablet["tablet"] for tablet in row["perhaps"]] for row in rows] == [["T-001"]] * 20
    assert len(looks) == 1
    watch.intake.busy = held
    watch.intake.close()


def test_the_letter_names_the_device_only_to_who_has_to_act_on_it(settings, policy, time):
    receivers = {
        "mdm": Receiver(
            "mdm", webhook="https://x", secret_file="k", actions=("lost-mode", "locate")
        ),
        "desk": Receiver("desk", webhook="https://y"),
    }
    rules = (AlertRule("r", {"presence": "missing"}, "critical", ("mdm", "desk")),)
    write_rules(settings, replace(policy, receivers=receivers, alerts=rules))
    intake = Intake(settings)
    intake.take()
    assert intake.book.receivers["mdm"].actions == ("lost-mode", "locate")
    tablet = policy.tablets["T-001"]
    for id_, known in (("T-001", True), ("T-gone", False)):
        matter = Matter(f"{id_}-1", "NG-1101", "raised", 1.0, {"presence": "missing"}, tablet=id_)
        letters = Alerting().posted(matter, intake.book, time.wall, 1.0)
        fields = {each.receiver: read_notice(each.body).matter.fields for each in letters}
        assert fields["desk"] == {}
        assert fields["mdm"] == (
            {"serial": tablet.serial, "mac": str(tablet.mac), "model": tablet.model}
            if known
            else {}
        )
    intake.close()
