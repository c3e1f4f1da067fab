"""Every query of every dashboard, and every alert rule, on a real Prometheus that scrapes the lab."""

import contextlib
import json
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from time import monotonic, sleep

import pytest

ROOT = Path(__file__).parents[2]
DASHBOARDS = sorted((ROOT / "deploy" / "grafana").glob("*.json"))


def wait_until(happened, patience=60.0):
    end = monotonic() + patience
    while not (found := happened()):
        assert monotonic() < end, "it did not happen"
        sleep(0.2)
    return found


class Prometheus:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, path, **words):
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(words)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def query(self, text):
        answer = self.ask("query", query=text)
        assert answer["status"] == "success", answer
        return answer["data"]["result"]


@pytest.fixture(scope="module")
def prometheus(hospital, on_the_air, tmp_path_factory):
    """A real Prometheus with our rules, scraping the lab once a second while something happens in it."""
    folder = tmp_path_factory.mktemp("prometheus")
    with socket.socket() as wire:
        wire.bind(("127.0.0.1", 0))
        port = wire.getsockname()[1]
    target = hospital.web.removeprefix("http://")
    rules = ROOT / "deploy" / "prometheus"
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f'rule_files: ["{rules}/alerts.yml", "{rules}/rules.yml"]\n'
        f'scrape_configs: [{{job_name: netguard, static_configs: [{{targets: ["{target}"]}}]}}]\n'
    )
    words = [
        "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
    ]  # fmt: skip
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            known = Prometheus(port)

            def scraped():
                # Until it has read its own store, it answers 503 in plain words.
                with contextlib.suppress(OSError, ValueError):
                    return known.query('up{job="netguard"} == 1')
                return None

            wait_until(scraped)
            on_the_air("t1")
            # Whatever ran before may have started watch anew: what is counted has to happen now.
            assert hospital.join("t1")["answer"] == "accept"
            for _ in range(3):
                hospital.probe("t1", "tcp", "zoom.us", "443")
                hospital.probe("t1", "tcp", "10.10.0.5", "104", "--timeout", "1")
                hospital.probe("t1", "dns", "www.example.org")
                hospital.probe("t1", "dns", "rebind-pacs.zoom.us")
            wait_until(lambda: known.query("netguard_up offset 15s"))
            yield known
        finally:
            process.terminate()
            process.wait(20)


def queries():
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel["targets"]:
                name = f"{file.stem}: {panel['title']} {target['refId']}"
                yield pytest.param(target["expr"], id=name)


@pytest.mark.parametrize("expr", [*queries()])
def test_every_panel_has_data(prometheus, expr):
    text = expr.replace("$__rate_interval", "15s")
    for name in ("job", "instance", "site", "area"):
        # What "All" stands for, allValue of the variable.
        text = text.replace(f"${name}", ".*" if name == "area" else ".+")
    # Also what counts nothing in a lab where all is well: every series known in advance starts at 0.
    assert prometheus.query(text), text


def test_a_broken_query_is_said_to_be_broken(prometheus):
    answer = prometheus.ask("query", query="sum by (")
    assert (answer["status"], answer["errorType"]) == ("error", "bad_data")


def test_the_rules_are_evaluated_and_only_what_is_so_fires(prometheus):
    groups = prometheus.ask("rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) >= 20
    wait_until(
        lambda: prometheus.query('ALERTS{alertname="NetguardWatchdog", alertstate="firing"}')
    )
    for rule in (r for g in prometheus.ask("rules")["data"]["groups"] for r in g["rules"]):
        assert rule["health"] == "ok", rule
    # What was done above: a name that answers with a protected address, more than once.
    wait_until(lambda: prometheus.query('ALERTS{alertname="NetguardRefusedAnswers"}'))
    firing = {row["metric"]["alertname"] for row in prometheus.query('ALERTS{alertstate="firing"}')}
    assert not firing & {
        "NetguardDown",
        "NetguardDaemonDown",
        "NetguardNothingInForce",
        "NetguardBeltMissing",
    }


def test_a_scrape_has_few_series(prometheus):
    (row,) = prometheus.query('scrape_samples_scraped{job="netguard"}')
    assert float(row["value"][1]) < 2000
