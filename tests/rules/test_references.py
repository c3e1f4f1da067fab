"""Names in presence, alerts and cases, whose meaning comes later, must exist already."""

import pytest

ALERTS = """\
alerts:
  missing: {when: {presence: missing}, severity: warning, to: [desk]}
receivers:
  desk: {mail: desk@chu.example}
"""


def test_presence_knows_its_sites(rules):
    rules.write("presence.yaml", "presence: {sites: {pelegrin: {grace: 60s}}}\n")
    rules.says(
        "unknown-ref presence.yaml:1:20", "unknown site 'pelegrin', did you mean 'pellegrin'?"
    )
    rules.write("presence.yaml", "presence: {sites: {pellegrin: {grace: 60s}}}\n")
    assert rules.said == []


def test_an_alert_knows_its_receivers(rules):
    rules.write("alerts.yaml", ALERTS)
    assert rules.said == []
    rules.change("alerts.yaml", "to: [desk]", "to: [desk, dest]")
    rules.says("unknown receiver 'dest', did you mean 'desk'?")


@pytest.mark.parametrize(
    ("case", "what"),
    [
        ("from: {group: patients}, expect: only, services: [jitsy]", "unknown service 'jitsy'"),
        (
            "from: {group: patient}, to: {address: 8.8.8.8, port: tcp/443}, expect: deny",
            "unknown group 'patient'",
        ),
        (
            "from: {tablet: T-009}, to: {address: 8.8.8.8, port: tcp/443}, expect: deny",
            "unknown tablet 'T-009'",
        ),
        (
            "from: {group: patients, site: mars}, to: {address: 8.8.8.8, port: tcp/443}, expect: deny",
            "unknown site 'mars'",
        ),
        ("from: {group: '*'}, to: {protected: pax}, expect: never", "unknown protected network"),
        (
            "events: [{at: 0s, tablet: T-009, gone: true}], expect: {alert: none}",
            "unknown tablet 'T-009'",
        ),
        ("events: [{at: 0s, tablet: T-001, ap: X}], expect: {alert: none}", "unknown AP 'X'"),
        (
            "events: [{at: 0s, tablet: T-001, ap: AP-LOB-01}], expect: {alert: mising}",
            "unknown alert 'mising', did you mean 'missing'?",
        ),
        (
            "events: [{at: 0s, tablet: T-001, ap: AP-LOB-01}], expect: {alert: missing, to: dusk}",
            "unknown receiver 'dusk'",
        ),
    ],
)
def test_a_case_names_what_is_there(rules, case, what):
    rules.write("alerts.yaml", ALERTS)
    rules.add("tests/cases.yaml", f"  - {{name: x, {case}}}\n")
    rules.says("error unknown-ref tests/cases.yaml:4:", what)


def test_a_case_about_everything_names_nothing(rules):
    rules.add(
        "tests/cases.yaml",
        "  - {name: x, from: {group: '*', mac: 'f0:e5:c3:00:00:01', ssid: S},\n"
        "     to: {protected: '*'}, expect: never}\n"
        "  - {name: y, from: {mac: 'f0:e5:c3:00:00:01'}, expect: {admission: reject}}\n",
    )
    assert rules.said == []
