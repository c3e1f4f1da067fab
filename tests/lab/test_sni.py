"""A service of `sni: strict` in the hospital: guard brings HAProxy to the rules, denials name the server."""

import json
import re
import shutil
import signal
import subprocess
import sys
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


# Sends a byte now and then once the hello has come, and one more for each line on its input.
TALKS = """
import socket, sys, threading, time
one = socket.create_server(("10.60.0.40", 5349)); live = []
def talk(c):
    c.recv(4096); live.append(c)
    try:
        while True: c.sendall(b"x"); time.sleep(0.02)
    except OSError: c.close()
print("ready", flush=True)
while True: threading.Thread(target=talk, args=(one.accept()[0],), daemon=True).start()
"""
# Says how much it has heard when a line comes on its input; `say` speaks first.
HEARS = """
import socket, sys, threading, time
from netguard.lab.dnsload import hello
c = socket.create_connection(("10.60.0.40", int(sys.argv[1])), 5); c.send(hello("meet.chu.example"))
heard, end = 0, "open"
def hear():
    global heard, end
    try:
        while data := c.recv(1): heard += 1
        end = "end"
    except OSError as error: end = type(error).__name__
threading.Thread(target=hear, daemon=True).start()
for line in sys.stdin:
    if line.strip() == "say": c.send(b"still there?")
    print(heard, end, flush=True)
"""


class Running:
    """A program on a host of the hospital, talked to by lines."""

    def __init__(self, hospital, host, code, *words):
        argv, environment = hospital._command(host, [sys.executable, "-c", code, *words])
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            argv, env=environment, stdin=pipe, stdout=pipe, text=True, bufsize=1
        )

    def told(self, line=""):
        if line:
            self.process.stdin.write(line + "\n")
        return self.process.stdout.readline().split()

    def heard(self, line="how much"):
        return int(self.told(line)[0])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def legs(hospital, port):
    """Count the connections that a server in the DMZ has."""
    asked = ["ss", "-tnH", "state", "established", "sport", "=", f":{port}"]
    return len(hospital.exec("dmz", asked).stdout.splitlines())


@pytest.mark.parametrize("left", ["others", "nobody"])
def test_an_apply_that_withdraws_a_strict_service_ends_the_calls_that_run_through_haproxy(
    strict, tmp_path, left
):
    """One that talks, one that is silent, and one that the kernel has forgotten meanwhile."""
    edited = strict.settings.parent / f"withdrawn-{tmp_path.name}"
    shutil.copytree(strict.settings.parent / f"edited-{tmp_path.name}", edited)
    groups = edited / "groups.yaml"
    # Another group keeps it, or nobody has a strict service any more.
    kept = "family-room" if left == "others" else "nobody"
    parts = re.split(r"(?m)^(?=  [a-z-]+:)", groups.read_text())
    groups.write_text(
        "".join(
            part if part.strip().startswith(kept) else part.replace("[jitsi, ", "[")
            for part in parts
        )
    )
    shutil.rmtree(edited / "tests")
    wait_until(lambda: tried(strict, NAME))
    programs = [Running(strict, "dmz", TALKS)]
    try:
        server = programs[0]
        assert server.told() == ["ready"]
        talking, silent, forgotten = (
            Running(strict, tablet, HEARS, port)
            for tablet, port in (("t1", "5349"), ("t1", "443"), ("t2", "5349"))
        )
        programs += [talking, silent, forgotten]
        for each in (talking, silent, forgotten):
            wait_until(lambda each=each: each.heard() > 3)
        before = legs(strict, 443)
        assert legs(strict, 5349) == 2
        asked = "from netguard.adapters import conntrack as c; import ipaddress as i, sys; c.forget([i.ip_address(sys.argv[1])])"
        address = strict.exec("t2", ["hostname", "-I"]).stdout.split()[0]
        done = strict.exec("gw", [sys.executable, "-c", asked, address])
        assert done.returncode == 0, done.stderr
        done = strict.exec("gw", ["netguard", "apply", str(edited)], timeout=120)
        assert done.returncode == 0, done.stderr
        heard = [each.heard() for each in (talking, silent, forgotten)]
        wait_until(lambda: legs(strict, 5349) == 0)
        # What speaks now is heard by nobody, on either side.
        assert silent.heard("say") == heard[1]
        sleep(1.0)
        assert [each.heard() for each in (talking, silent, forgotten)] == heard
        assert legs(strict, 443) <= before
        assert not tried(strict, NAME)
    finally:
        for each in programs:
            each.close()
        shutil.rmtree(edited)
