"""One alert for a flood, whoever floods; none for what was counted before anybody looked."""

from netguard.core.alerting.floods import ALL, Floods
from netguard.core.policy import AlertRule


def rule(kind, limit="100/5m"):
    return AlertRule(kind, {"flood": kind, "more_than": limit}, "warning", ("noc",))


def looks(floods, now, *rules, vain=None, dropped=None):
    found = floods.look(rules, vain or {}, dropped or {}, now)
    return [(each.code, each.subject) for each in found]


def test_unknown_devices_are_one_alert_that_names_the_nas_with_most():
    floods = Floods()
    devices = rule("devices")
    assert looks(floods, 0, devices) == []
    for n in range(300):
        floods.refused("wlc-2" if n % 3 else "wlc-1")
    assert looks(floods, 10, devices) == [("NG-1304", "wlc-2")]
    # It goes on while the span holds it, and is over when nothing came since.
    assert looks(floods, 300, devices) == [("NG-1304", "wlc-2")]
    assert looks(floods, 620, devices) == []


def test_what_was_counted_before_the_first_look_is_no_flood():
    floods = Floods()
    assert looks(floods, 0, rule("names"), vain={ALL: 9000, "T-001": 8000, "T-002": 1000}) == []
    assert looks(floods, 10, rule("names"), vain={ALL: 9050, "T-001": 8000, "T-002": 1050}) == []
    assert looks(floods, 20, rule("names"), vain={ALL: 9500, "T-001": 8000, "T-002": 1500}) == [
        ("NG-1305", "T-002")
    ]


def test_a_tablet_that_only_enters_the_list_is_none():
    """Twenty are listed; who comes up slowly has not asked all of that just now."""
    floods = Floods()
    assert looks(floods, 0, rule("names"), vain={ALL: 9000, "T-001": 5000}) == []
    assert looks(floods, 10, rule("names"), vain={ALL: 9001, "T-001": 5000, "T-002": 4001}) == []


def test_messages_are_named_by_why_they_are_dropped():
    floods = Floods()
    assert looks(floods, 0, rule("messages")) == []
    assert looks(floods, 10, rule("messages"), dropped={"rate": 90, "unparsed": 11}) == [
        ("NG-1306", "rate")
    ]


def test_a_daemon_that_starts_anew_counts_from_nothing():
    floods = Floods()
    looks(floods, 0, rule("names"), vain={ALL: 50, "T-001": 50})
    assert looks(floods, 10, rule("names"), vain={ALL: 60, "T-001": 60}) == []
    assert looks(floods, 20, rule("names"), vain={ALL: 5, "T-001": 5}) == []
    assert looks(floods, 30, rule("names")) == []


def test_rules_of_other_alerts_are_nobodys_flood():
    floods = Floods()
    other = AlertRule("appliance", {"trouble": "appliance"}, "critical", ("noc",))
    for _ in range(200):
        floods.refused("wlc-1")
    assert looks(floods, 0, other) == []


def test_forged_names_of_nases_do_not_grow_it():
    floods = Floods()
    devices = rule("devices", "10000/5m")
    looks(floods, 0, devices)
    for n in range(50_000):
        floods.refused(f"nas-{n}")
    assert looks(floods, 1, devices) == []
    assert len(floods._strangers) == 2000
