"""Who is told what, in which words: routing, stable ids, silences, troubles, and the texts."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netguard.core import alerting
from netguard.core.alerting import (
    CLEARED,
    CODES,
    RAISED,
    UPDATED,
    Matter,
    Place,
    Silence,
    Trouble,
    Troubles,
    code_of,
    compose,
    digest,
    matter_of,
    notices_of,
    quarantine_of,
    read_notice,
    silenced,
    words,
    write_notice,
)
from netguard.core.alerting.troubles import of_daemons
from netguard.core.alerting.words import SMS, moment
from netguard.core.policy import AlertRule
from netguard.core.presence.actions import CAUSES, Alert, Reason
from netguard.core.presence.judge import changes_of
from netguard.core.presence.weights import Weights

LOBBY = Place(
    "pellegrin", "lobby", "AP-LOB-01", True, "Hôpital Pellegrin, Lobby AP-LOB-01", "Europe/Paris"
)
RULES = (
    AlertRule("at-edge", {"presence": "missing", "last_area": "edge"}, "critical", ("desk", "noc")),
    AlertRule("missing", {"presence": "missing"}, "warning", ("desk", "ward")),
    AlertRule("back", {"presence": "returned"}, "info", ("log",)),
    AlertRule("blind", {"feed": "stale"}, "critical", ("noc",)),
)
# 25 October 2026, 02:30 twice in Paris.
SUMMER, WINTER = 1792888200.0, 1792891800.0


def taken(kind=RAISED, **more):
    return Alert(
        100.0, kind, "T-017-90", "taken", 0.83, "T-017", "3c:28:6d:00:00:17", site="pellegrin",
        area="lobby", ap="AP-LOB-01", silent_since=90.0,
        reasons=(Reason("walked-to-edge", 0.9, "AP-CAR-301 > AP-LOB-01"), Reason("night-inside", -0.7)),
        path=((60.0, "AP-CAR-301"), (80.0, "AP-LOB-01")),
        changes=("a sign of life at any AP ends it",), **more,
    )  # fmt: skip


def english(text):
    return text


def test_the_worst_of_the_rules_that_fit_tells_each_receiver_once():
    found = notices_of(matter_of(taken(), LOBBY, 0.0), RULES, 100.0)
    assert [(n.receiver, n.severity, n.rule) for n in found] == [
        ("desk", "critical", "at-edge"),
        ("noc", "critical", "at-edge"),
        ("ward", "warning", "missing"),
    ]


def test_inside_only_the_milder_rule_fits():
    inside = replace(LOBBY, edge=False)
    found = notices_of(matter_of(taken(), inside, 0.0), RULES, 100.0)
    assert [(n.receiver, n.severity) for n in found] == [("desk", "warning"), ("ward", "warning")]


def test_a_return_is_told_to_whoever_was_told_of_the_absence_and_to_whoever_asks_for_returns():
    found = notices_of(matter_of(taken(CLEARED), LOBBY, 0.0), RULES, 200.0)
    assert {n.receiver for n in found} == {"desk", "noc", "ward", "log"}


def test_the_owner_of_a_group_is_told_with_the_worst_severity():
    found = notices_of(matter_of(taken(), LOBBY, 0.0), RULES, 100.0, ("owner",))
    assert next(n.severity for n in found if n.receiver == "owner") == "critical"


def test_what_no_rule_names_is_told_to_nobody_not_even_to_an_owner():
    assert notices_of(matter_of(taken(), LOBBY, 0.0), RULES[3:], 100.0, ("owner",)) == []


def test_an_id_is_the_same_again_and_differs_by_kind_and_moment():
    ids = [
        notices_of(matter_of(taken(kind), LOBBY, ahead), RULES, number)[0].id
        for kind, ahead, number in (
            (RAISED, 0.0, 100.0), (RAISED, 7.0, 100.0), (UPDATED, 0.0, 100.0), (RAISED, 0.0, 101.0),
        )
    ]  # fmt: skip
    assert ids[0] == ids[1], "told again after a crash, it is the same"
    assert len(set(ids)) == 3


def test_a_notice_is_read_as_it_was_written():
    for notice in notices_of(matter_of(taken(), LOBBY, 5.0), RULES, 100.0):
        assert read_notice(write_notice(notice)) == notice


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"matter": {"code": "NG-9999", "kind": "raised"}}']
)
def test_what_is_no_notice_is_said_to_be_none(text):
    with pytest.raises((ValueError, KeyError, TypeError)):
        read_notice(text)


def test_every_cause_of_the_engine_has_a_code():
    assert {code_of(cause, "T-001").code for cause in CAUSES} == {f"NG-110{n}" for n in range(1, 6)}
    assert code_of("outage", "", "ap AP-1").code == "NG-1202"
    assert code_of("blind", "", "nas wlc-1").code == "NG-1201"
    assert code_of("blind", "", "feed syslog").code == "NG-1203"


@pytest.mark.parametrize(
    ("alert", "about", "key"),
    [
        (Alert(100.0, RAISED, "x-1", "outage", 0.9, subject="ap AP-1"), {"presence": "unreachable"}, "ap AP-1"),
        (Alert(100.0, RAISED, "x-1", "blind", 1.0, subject="feed syslog"), {"feed": "stale"}, "feed syslog"),
        (Alert(100.0, RAISED, "x-1", "moved", 0.9, "T-017"), {"site": "other"}, "T-017"),
        (Alert(100.0, RAISED, "x-1", "blind", 1.0), {"feed": "stale"}, "x-1"),
        # Of no tablet nobody can say that it is missing.
        (Alert(100.0, RAISED, "x-1", "taken", 0.9), {}, "x-1"),
    ],
)  # fmt: skip
def test_what_is_no_absence_answers_to_no_rule_about_absences(alert, about, key):
    matter = matter_of(alert, LOBBY, 0.0)
    assert (matter.about, matter.key) == (about, key)
    assert matter.probability is None
    assert {n.rule for n in notices_of(matter, RULES, 100.0)} <= {"blind"}


def test_a_rule_hears_of_nothing_less_sure_than_it_wants_but_of_every_end():
    sure = AlertRule("sure", {"presence": "missing"}, "critical", ("desk",), above=0.83)
    surer = replace(sure, name="surer", to=("noc",), above=0.84)
    found = notices_of(matter_of(taken(), LOBBY, 0.0), (sure, surer), 100.0)
    assert [n.receiver for n in found] == ["desk"]
    found = notices_of(matter_of(taken(CLEARED), LOBBY, 0.0), (sure, surer), 200.0)
    assert [n.receiver for n in found] == ["desk", "noc"]


# words


def test_a_theft_is_told_with_all_that_security_needs():
    notice = notices_of(matter_of(taken(), LOBBY, SUMMER - 100.0), RULES, 100.0)[0]
    message = compose(notice, english, "gw-1", "https://wiki.chu.example/runbook")
    assert message.title == "Tablet T-017 was probably taken"
    for fact in (
        "Probability: 83 %",
        "Last heard: 2026-10-25 02:29:50 +0200 at Hôpital Pellegrin, Lobby AP-LOB-01",
        "> 2026-10-25 02:29:40 +0200 AP-LOB-01",
        "For it: it walked to an exit",
        "Against it: it is night, and it was away from the exits",
        "What would change it: a sign of life",
        "netguard lost T-017",
        "NG-1101 · critical · new · T-017-90 · gw-1",
        "https://wiki.chu.example/runbook#ng-1101",
    ):
        assert fact in message.text


def test_half_past_two_comes_twice_and_is_told_apart():
    assert moment(SUMMER, "Europe/Paris", english).endswith("02:30:00 +0200")
    assert moment(WINTER, "Europe/Paris", english).endswith("02:30:00 +0100")
    assert moment(SUMMER, "Nowhere/Land", english).endswith("00:30:00 +0000")


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_words_for_all_of_its_life_and_fits_an_sms(code):
    for kind in (RAISED, CLEARED):
        matter = alerting.Matter(
            incident="x-1", code=code, kind=kind, at=SUMMER, about={}, place=LOBBY, tablet="T-001",
            subject="feed syslog", fields={"why": "the disk is full", "loan": "stolen", "limit": "10/1m"},
        )  # fmt: skip
        message = compose(
            alerting.Notice("id", "desk", "critical", "r", matter),
            english,
            "gw-1",
            "docs/runbook.md",
        )
        assert "{" not in message.text
        assert message.title
        assert len(message.short) <= SMS
        assert code in message.short
        assert ("What to do" in message.text) == (kind == RAISED)


def test_when_a_loan_was_due_is_told_by_the_clock_of_its_site_and_not_where_it_was_heard():
    matter = Matter(
        "T-001-due", "NG-1113", RAISED, WINTER, {}, LOBBY, "T-001", since=SUMMER,
        fields={"due": str(SUMMER)},
    )  # fmt: skip
    notice = alerting.Notice("id", "desk", "info", "r", matter)
    text = compose(notice, english, "gw-1", "docs/runbook.md").text
    assert "2026-10-25 02:30:00 +0200" in text
    assert "Last heard" not in text


def test_a_flood_is_one_message_that_names_each():
    notices = []
    for n in range(150):
        each = replace(taken(), tablet=f"T-{n:03}", id=f"T-{n:03}-1")
        notices += notices_of(matter_of(each, LOBBY, 0.0), RULES, 100.0)[:1]
    message = digest(notices, english, "gw-1")
    assert message.title.startswith("150 alerts at once")
    assert "network first" in message.text
    assert all(f"T-{n:03}" in message.text for n in range(150))
    over = [replace(each, matter=replace(each.matter, kind=CLEARED)) for each in notices]
    message = digest(over, english, "gw-1")
    assert message.title.startswith("150 alerts at once")
    assert "network first" not in message.text
    assert message.text.split("\n\n")[1].startswith("- ")


def test_every_piece_of_evidence_has_words():
    named = {*Weights().evidence, "length", "stay", "probes-unanswered", "record", "calibration"}
    assert named <= set(words._REASONS), named - set(words._REASONS)
    changes = {text for cause in (*CAUSES, "blind") for text in changes_of(cause)}
    assert changes == set(words._CHANGES)


# silences

AREA = Silence(1, 1000.0, 2000.0, "anna", "", area="pellegrin/lobby")


@pytest.mark.parametrize(
    ("silence", "at", "fits"),
    [
        (AREA, 1500.0, True),
        (AREA, 999.9, False),
        (AREA, 2000.0, False),
        (Silence(2, 0, 9e9, "a", "", site="pellegrin"), 1500.0, True),
        (Silence(2, 0, 9e9, "a", "", site="haut-leveque"), 1500.0, False),
        (Silence(3, 0, 9e9, "a", "", tablet="T-017", code="NG-1101"), 1500.0, True),
        (Silence(3, 0, 9e9, "a", "", tablet="T-017", code="NG-1102"), 1500.0, False),
        (Silence(4, 0, 9e9, "a", ""), 1500.0, True),
    ],
)
def test_a_silence_fits_what_it_names_and_while_it_lasts(silence, at, fits):
    found = silenced([silence], at, "NG-1101", "pellegrin", "lobby", "T-017")
    assert (found is silence) == fits


def test_a_silence_of_an_area_is_none_of_what_has_no_area():
    assert silenced([AREA], 1500.0, "NG-1405", "", "", "") is None


# troubles


def down(name="guard", lasting=30.0):
    return Trouble(f"down-{name}", "NG-1405", {"trouble": "appliance"}, name, lasting=lasting)


def test_a_trouble_is_told_when_it_has_lasted_and_over_when_it_has_been_gone_as_long():
    troubles = Troubles()
    said = [
        (now, [matter.kind for matter in troubles.look([down()] if wrong else [], now)])
        for now, wrong in ((0, 1), (20, 1), (30, 1), (40, 1), (50, 0), (60, 0), (70, 0), (80, 0))
    ]
    assert [(now, kinds) for now, kinds in said if kinds] == [(30, [RAISED]), (70, [CLEARED])]


def test_a_short_trouble_is_nobodys_alarm():
    troubles = Troubles()
    assert [
        m
        for now in range(0, 600, 10)
        for m in troubles.look([down()] if now % 40 < 20 else [], now)
    ] == []


def test_a_trouble_that_was_open_before_a_restart_is_not_told_again_and_ends():
    troubles = Troubles([("down-guard-5", down(), 5.0)])
    assert troubles.look([down()], 100.0) == []
    (ended,) = troubles.look([], 200.0)
    assert (ended.kind, ended.incident) == (CLEARED, "down-guard-5")


def test_that_nobody_looked_is_no_sign_that_it_was_over():
    troubles = Troubles([("down-guard-5", down(), 5.0)], 100.0)
    assert troubles.look([], 101.0) == []
    assert troubles.look([down()], 110.0) == []
    assert troubles.look([], 139.0) == []
    assert [m.kind for m in troubles.look([], 140.0)] == [CLEARED]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=60))
def test_raised_and_cleared_alternate(looks):
    troubles, now, kinds = Troubles(), 0.0, []
    for wrong, step in looks:
        now += step
        kinds += [matter.kind for matter in troubles.look([down()] if wrong else [], now)]
    assert kinds == [RAISED, CLEARED] * (len(kinds) // 2) + [RAISED] * (len(kinds) % 2)


def test_what_the_daemons_say_becomes_troubles():
    well = {"state": "guarding", "problems": {}, "fence_blocked": False}
    up = {"upstream": [{"down": False}, {"down": True}]}
    assert of_daemons(well, up, "") == []

    def codes(*args):
        return [(trouble.key, trouble.code) for trouble in of_daemons(*args)]

    assert codes(None, None, "disk full") == [
        ("down-guard", "NG-1405"), ("down-dns", "NG-1405"), ("store-watch", "NG-1404"),
    ]  # fmt: skip
    assert codes(well | {"state": "blocked"}, up, "") == [("blocked", "NG-1401")]
    assert codes(well | {"fence_blocked": True}, up, "") == [("panic", "NG-1407")]
    ill = well | {"problems": {"radius": "does not answer", "store": "disk full"}}
    assert codes(ill, up, "") == [("enforcer-radius", "NG-1402"), ("enforcer-store", "NG-1404")]
    assert codes(well, {"upstream": [{"down": True}]}, "") == [("resolvers", "NG-1406")]
    assert codes(well, {"upstream": []}, "") == []


def test_a_rule_may_put_the_tablet_it_is_about_into_quarantine():
    rules = [
        AlertRule("told", {"evidence": "clone"}, "critical", ("noc",)),
        AlertRule("apart", {"evidence": "clone"}, "critical", ("noc",), quarantine=True),
    ]
    about = {"evidence": "clone"}
    matter = Matter("T-001-clone-1", "NG-1108", RAISED, 1.0, about, tablet="T-001")
    assert quarantine_of(matter, rules) == "apart"
    assert quarantine_of(matter, rules[:1]) == ""
    for other in (
        replace(matter, tablet=""),
        replace(matter, kind=CLEARED),
        replace(matter, about={"presence": "missing"}),
    ):
        assert quarantine_of(other, rules) == ""


def removal(*states):
    names = ("kernel", "radius", "disconnect", "again", "proof")
    steps = [
        {"step": n, "state": s, "why": f"why {n}"} for n, s in zip(names, states, strict=False)
    ]
    return {"tablet": "T-001", "steps": steps}


def test_a_tablet_that_does_not_leave_the_air_is_a_trouble_with_its_last_failed_step():
    status = {"state": "guarding", "problems": {}}
    on_its_way = removal("done", "done", "pending")
    assert of_daemons({**status, "removals": [on_its_way]}, {}, "") == []
    stuck = removal("done", "failed", "failed", "pending")
    (found,) = of_daemons({**status, "removals": [stuck, on_its_way]}, {}, "")
    assert (found.code, found.tablet, found.key) == ("NG-1109", "T-001", "T-001-on-the-air")
    assert found.fields == {"why": "disconnect: why disconnect"}
    assert found.lasting > 0, "a step that is done a moment later is nobody's alarm"
    assert of_daemons({**status, "removals": None}, {}, "") == []


def test_a_tablet_that_behaves_like_another_device_is_a_clone_suspect():
    row = {"tablet": "T-001", "site": "pellegrin", "kind": "dhcp", "at": "", "why": "asks"}
    (found,) = of_daemons({"state": "guarding", "problems": {}, "suspects": [row]}, {}, "")
    assert (found.code, found.tablet, found.place.site) == ("NG-1110", "T-001", "pellegrin")
    assert (dict(found.about), found.fields) == ({"evidence": "clone"}, {"why": "asks"})
