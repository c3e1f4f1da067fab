"""What operations install: alert rules, Alertmanager's configuration, dashboards by the rules of a dashboard linter."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from netguard.core.alerting import CODES

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))


def run(*words, cwd=PROMETHEUS):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts():
    text = yaml.load((PROMETHEUS / "alerts.yml").read_text(), Loader=yaml.SafeLoader)
    return {rule["alert"]: rule for group in text["groups"] for rule in group["rules"]}


def test_prometheus_takes_the_rules_and_every_story_ends_as_told():
    run("promtool", "check", "rules", "alerts.yml", "rules.yml")
    run("promtool", "check", "config", "prometheus.yml")
    assert "SUCCESS" in run("promtool", "test", "rules", "alerts.yml", cwd=PROMETHEUS / "tests")


def test_every_alert_has_a_story_in_which_it_fires_and_one_in_which_it_does_not():
    tests = yaml.load((PROMETHEUS / "tests" / "alerts.yml").read_text(), Loader=yaml.SafeLoader)[
        "tests"
    ]
    fired, quiet = set(), set()
    for story in tests:
        for each in story["alert_rule_test"]:
            (fired if each["exp_alerts"] else quiet).add(each["alertname"])
    assert fired == set(alerts())
    # What always fires has no other story.
    assert quiet == set(alerts()) - {"NetguardWatchdog"}


def test_alertmanager_takes_its_configuration():
    assert "SUCCESS" in run("amtool", "check-config", "alertmanager.yml")


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (["alertname=NetguardTabletTaken", "severity=critical"], "security"),
        (["alertname=NetguardStolenTabletHeard"], "security"),
        (["alertname=NetguardBlind"], "operations"),
        (["alertname=NetguardWatchdog"], "dead-man"),
    ],
)
def test_alerts_go_to_whom_they_concern(labels, receiver):
    words = ("amtool", "config", "routes", "test", "--config.file=alertmanager.yml")
    assert run(*words, *labels).strip() == receiver


def test_nothing_is_told_twice():
    """What Prometheus raises is fleet or appliance, and no Alertmanager gets it from netguard too."""
    names = {code.name: code for code in CODES.values()}
    for name in alerts():
        assert name not in names or names[name].fleet, name


def test_severities_are_known_and_every_alert_leads_to_a_page_that_exists():
    pages = re.findall(
        r'^<a id="([\w-]+)"></a>', (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE
    )
    for rule in alerts().values():
        assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
        assert {"summary", "description", "runbook_url"} <= set(rule["annotations"])
        assert rule["annotations"]["runbook_url"].partition("docs/runbook.md#")[2] in pages
    assert {code.lower() for code in CODES} <= set(pages)


# dashboards


def test_dashboards_are_what_their_script_makes():
    run(sys.executable, str(ROOT / "scripts" / "dashboards.py"), "--check")


def test_grafana_is_told_where_the_role_puts_every_dashboard():
    provider = yaml.load(
        (ROOT / "deploy/grafana/provisioning/dashboards.yaml").read_text(), Loader=yaml.SafeLoader
    )
    (folder,) = [each["options"]["path"] for each in provider["providers"]]
    tasks = (ROOT / "deploy/ansible/roles/netguard/tasks/monitoring.yml").read_text()
    assert f'dest: "{folder}/netguard-{{{{ item }}}}.json"' in tasks
    names = re.search(r"loop: \[(appliance, .*)\]", tasks)[1].split(", ")
    assert sorted(f"netguard-{name}" for name in names) == [file.stem for file in DASHBOARDS]
    # What a person clicks there would be lost at the next run.
    assert provider["providers"][0]["allowUiUpdates"] is False


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_keeps_the_rules_of_the_linter(file):
    board = json.loads(file.read_text())
    assert board["uid"] == file.stem
    assert board["editable"] is False
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    for name in ("job", "instance"):
        assert variables[name]["multi"]
        assert variables[name]["allValue"] == ".+"
        assert variables[name]["datasource"]["uid"] == "${datasource}"
    places = set()
    for panel in board["panels"]:
        assert panel["type"] in {"stat", "timeseries"}, "no plugin, no panel of the past"
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & places, "panels lie upon each other"
        assert max(x for x, _ in cells) < 24
        places |= cells
        for target in panel["targets"]:
            expr = target["expr"]
            for metric, matcher in re.findall(r"(netguard_\w+)\{([^}]*)\}", expr):
                assert 'job=~"$job"' in matcher
                assert 'instance=~"$instance"' in matcher
                counted = rf"(rate|increase)\({metric}\{{[^}}]*\}}\[(\$__rate_interval|7d)\]\)"
                assert metric.endswith("_total") == bool(re.search(counted, expr)), expr
            assert re.search(r"netguard_\w+\{", expr)
