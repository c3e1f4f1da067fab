"""A service of `sni: strict` in the hospital: guard brings HAProxy to the rules, denials name the server."""

import json
import shutil
import signal
from time import monotonic, sleep
from urllib.request import urlopen

import pytest

from netguard.adapters import control

NAME = "meet.chu.example"


def wait_until(happened, patience=30.0):
    end = monotonic() + patience
    while not happened():
        assert monotonic() < end, "it did not happen"
        sleep(0.1)


@pytest.fixture
def strict(joined, tmp_path):
    """The same hospital, whose video service is strict about names."""
    hospital = joined
    folder = hospital.settings.parent / f"edited-{tmp_path.name}"
    shutil.copytree(hospital.record.rules, folder)
    file = folder / "services" / "jitsi.yaml"
    file.write_text(file.read_text().replace("    p2p:", "    sni: strict\n    p2p:"))
    done = hospital.exec("gw", ["netguard", "apply", str(folder)], timeout=120)
    assert done.returncode == 0, done.stderr
    yield hospital
    done = hospital.exec("gw", ["netguard", "apply", hospital.record.rules], timeout=120)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(folder)


def tried(hospital, name):
    said = () if name is None else ("--tls-name", name)
    return hospital.probe("t1", "tcp", NAME, "443", "--timeout", "8", *said)["ok"]


def counted(hospital):
    with urlopen(f"{hospital.web}/metrics", timeout=10) as page:
        text = page.read().decode()
    return float(text.split("\nnetguard_server_names_refused_total ")[1].split("\n")[0])


def problems(hospital):
    path = hospital.settings.parent / "run" / "guard.sock"
    return control.call(path, "status")["problems"]


def test_the_name_in_the_hello_decides_and_a_refused_one_is_named(strict):
    wait_until(lambda: tried(strict, NAME))
    assert not tried(strict, "evil.example")
    assert not tried(strict, "")
    assert not tried(strict, None)
    assert not strict.probe("t1", "udp", NAME, "443")["ok"]
    assert strict.probe("t1", "udp", NAME, "10000")["ok"]

    def named():
        out = strict.exec("gw", ["netguard", "denials", "--json"]).stdout
        return [row for row in map(json.loads, out.splitlines()) if "evil.example" in row["why"]]

    wait_until(named)
    assert (named()[0]["tablet"], named()[0]["rule"]) == ("T-001", "patients/deny")
    assert "TLS for 'evil.example'" in strict.exec("gw", ["netguard", "denials"]).stdout
    wait_until(lambda: counted(strict) >= 1)
    told = strict.exec("gw", ["netguard", "explain", "T-001", NAME, "tcp/443"]).stdout
    assert "must name the server" in told


def test_haproxy_dead_is_closed_named_and_comes_back(strict):
    wait_until(lambda: tried(strict, NAME))
    strict.kill("haproxy", signal.SIGKILL)
    wait_until(lambda: not tried(strict, NAME))
    wait_until(lambda: "sni" in problems(strict))
    strict.start("haproxy")
    wait_until(lambda: tried(strict, NAME))
    wait_until(lambda: "sni" not in problems(strict))


def test_without_strict_services_nothing_passes_through_haproxy(joined):
    assert joined.probe("t1", "tcp", NAME, "443")["ok"]
    listing = joined.exec("gw", ["nft", "list", "chain", "inet", "netguard", "intercept"]).stdout
    assert "redirect to" not in listing
