"""alerts.yaml: who is told of what, over which channels; what cannot work is an error with its place."""

import pytest

GOOD = """alerts:
  at-edge: {when: {presence: missing, last-area: edge}, severity: critical, to: [desk, noc]}
  probed: {when: {rule: protected, more-than: 10/1m}, severity: warning, to: [noc]}
receivers:
  desk: {webhook: "https://alerts.chu.example/x", sign-with: webhook-desk, repeat: 10m, language: fr}
  noc: {syslog: "10.1.1.20:6514", format: cef, mail: noc@chu.example, chat: sms}
"""


@pytest.fixture
def alerts(rules):
    # The cases of the base name alerts of its own.
    rules.files = {k: v for k, v in rules.files.items() if not k.startswith("tests/")}
    return rules.write("alerts.yaml", GOOD)


def errors(rules):
    return [line for line in rules.said if line.startswith("error")]


def test_rules_and_receivers_are_read_with_their_channels_in_order(alerts):
    policy = alerts.policy
    assert [(rule.name, dict(rule.when), rule.severity, rule.to) for rule in policy.alerts] == [
        ("at-edge", {"presence": "missing", "last_area": "edge"}, "critical", ("desk", "noc")),
        ("probed", {"rule": "protected", "more_than": "10/1m"}, "warning", ("noc",)),
    ]
    desk, noc = policy.receivers["desk"], policy.receivers["noc"]
    assert (desk.channels, desk.repeat, desk.language) == (("webhook",), 600.0, "fr")
    assert (noc.channels, noc.format, noc.repeat) == (("syslog", "mail", "chat"), "cef", None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("when: {presence: missing, last-area: edge}", "when: {}", "when is empty"),
        ("more-than: 10/1m", "presence: missing", "(or flood) and more-than belong together"),
        ("rule: protected, ", "", "(or flood) and more-than belong together"),
        ("rule: protected", "flood: names, rule: protected", "rule and flood are two alerts"),
        ("rule: protected", "flood: words", "flood"),
        ("to: [desk, noc]", "to: []", "to names no receiver"),
        ("to: [desk, noc]", "to: [desc]", "did you mean 'desk'"),
        ('syslog: "10.1.1.20:6514", format: cef, mail: noc@chu.example, chat: sms', "repeat: 5m", "no channel"),
        ('syslog: "10.1.1.20:6514", format', "format", "format is for syslog"),
        ('webhook: "https://alerts.chu.example/x", sign-with', "mail: a@b.example, sign-with", "sign-with is for webhook"),
        ("chat: sms", "chat: ../sms", "secret-file is a plain name"),
        ("language: fr", "language: de", "language"),
        ("presence: missing", "presence: absent", "presence"),
        ("more-than: 10/1m}", "more-than: 10/1m}, above: 0.8", "above is for what has a probability"),
        ("more-than: 10/1m}", "more-than: 10/1m, cause: taken}", "cause is for presence: missing"),
        ("language: fr", "language: fr, actions: [wipe]", "actions"),
        ("mail: noc@chu.example", "mail: noc@chu.example, actions: [lock]", "actions is for webhook"),
        ("mail: noc@chu.example", 'webhook: "https://x.chu.example/y", actions: [lock]', "nobody else may ask for a lock"),
        ("{rule: protected, more-than: 10/1m}", "{loan: overdue}, quarantine: true", "quarantine is for what is about one tablet"),
        ("more-than: 10/1m}", "more-than: 10/1m}, quarantine: true", "quarantine is for what is about one tablet"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_an_error_with_its_place(alerts, old, new, said):
    alerts.change("alerts.yaml", old, new)
    found = errors(alerts)
    assert [line for line in found if said in line and "alerts.yaml:" in line], found


def test_without_the_file_nobody_is_told(rules):
    rules.files = {k: v for k, v in rules.files.items() if not k.startswith("tests/")}
    rules.files.pop("alerts.yaml", None)
    assert rules.policy.alerts == ()
    assert dict(rules.policy.receivers) == {}


def test_a_group_has_an_owner_and_hands_it_on(alerts):
    alerts.change("groups.yaml", "hours:", "notify: desk\n    hours:")
    alerts.add("groups.yaml", "  demo: {extends: patients, allow: []}\n")
    groups = alerts.policy.groups
    assert (groups["patients"].notify, groups["demo"].notify) == ("desk", "desk")


def test_a_profile_holds_back_severities_and_never_what_is_critical(alerts):
    alerts.add("groups.yaml", "profiles: {crisis: {patients: {}}, night: {}}\n")
    alerts.add("alerts.yaml", "profiles: {crisis: {silence: [info, warning]}}\n")
    profiles = alerts.policy.profiles
    assert {name: each.silences for name, each in profiles.items()} == {
        "crisis": {"info", "warning"},
        "night": frozenset(),
    }
    alerts.change("alerts.yaml", "[info, warning]", "[critical]")
    assert any("silence" in line for line in errors(alerts)), errors(alerts)


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("", "unknown profile 'crisis'"),
        ("profiles: {crises: {}}\n", "unknown profile 'crisis', did you mean 'crises'"),
    ],
)
def test_a_profile_that_groups_do_not_have_is_an_error(alerts, groups, said):
    if groups:
        alerts.add("groups.yaml", groups)
    alerts.add("alerts.yaml", "profiles: {crisis: {silence: [info]}}\n")
    assert [line for line in errors(alerts) if said in line and "alerts.yaml:" in line]


def test_without_the_file_a_profile_holds_nothing_back(rules):
    rules.files = {k: v for k, v in rules.files.items() if not k.startswith("tests/")}
    rules.files.pop("alerts.yaml", None)
    rules.add("groups.yaml", "profiles: {crisis: {}}\n")
    assert rules.policy.profiles["crisis"].silences == frozenset()
