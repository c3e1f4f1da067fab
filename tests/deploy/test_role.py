"""The role: in which order a run does things, and what is left to the next one when it fails."""

import os
import re
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "deploy/ansible/roles/netguard"
BEHIND = ROLE / "files/behind.py"
STARTED = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)


def tasks(tags):
    """Return the names of all tasks in the order in which a run with these tags has them."""
    parts = (ROLE / "tasks/main.yml").read_text().split("- name: ")[1:]
    found = []
    for part in parts:
        if set(re.search(r"tags: \[(.*)\]", part)[1].split(", ")) & {"always", *tags}:
            file = re.search(r"import_tasks: (\S+)", part)[1]
            found += re.findall(
                r"^- name: (.*)$", (ROLE / "tasks" / file).read_text(), re.MULTILINE
            )
    return found


@pytest.mark.parametrize("tags", [["netguard_install"], ["netguard_install", "netguard_run"]])
def test_rules_that_a_version_refuses_stop_a_run_before_it_is_the_one_that_runs(tags):
    names = tasks(tags)
    steps = (
        "Install this version beside the others",
        "Make users and folders",
        "Unpack and check them aside",
        "Make it the version that runs",
        "Look who runs by what was there before",
    )
    at = [names.index(step) for step in steps]
    assert at == sorted(at)


@pytest.mark.parametrize("tag", ["install", "configure", "secrets", "monitoring", "run"])
def test_every_run_looks_at_what_one_before_has_left(tag):
    names = tasks([f"netguard_{tag}"])
    assert names.count("Do what a run before has left") == 1
    if tag == "run":
        assert names.index("Start netguard") > names.index("Look who runs by what was there before")


def test_rules_are_checked_by_the_version_that_brings_the_script(tmp_path):
    """Of a first installation, and of an upgrade: `current` is none, or another."""
    version = tmp_path / "opt/1.1.0"
    script = version / "share/netguard/systemd/place-rules"
    script.parent.mkdir(parents=True)
    (version / "bin").mkdir()
    (version / "bin/netguard").write_text('#!/bin/sh\necho "1.1.0 $1"\n')
    (version / "bin/netguard").chmod(0o755)
    text = (ROOT / "deploy/systemd/place-rules").read_text()
    script.write_text(text.replace("/var/cache/netguard", str(tmp_path / "cache")))
    (tmp_path / "rules").mkdir()
    packed = tmp_path / "packed"
    pack = f"tar -C {tmp_path}/rules -czf - . | base64 > {packed}"
    subprocess.run(["sh", "-c", pack], check=True, timeout=60)
    done = subprocess.run(
        ["sh", script, "stage", packed], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "1.1.0 check\n"
    assert done.stderr == "1.1.0 test\n"
    assert (tmp_path / "cache/rules").is_dir()


@pytest.fixture
def node(tmp_path):
    """A machine whose units have started an hour after all files were written."""
    for name in (
        "opt/netguard/1.0.0/x",
        "etc/netguard/settings.yaml",
        "etc/netguard/radius.env",
        "etc/netguard/secrets/nas-wlc-1.conf",
        "etc/netguard/watch-secrets/tls.crt",
        "etc/netguard/watch-secrets/mail",
        "etc/systemd/system/netguard-time.service.d/clock.conf",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "opt/netguard/current").symlink_to("/opt/netguard/1.0.0")
    for path in tmp_path.rglob("*"):
        written(path, timedelta(hours=-1))
    return tmp_path


def written(path, after):
    """Let a file have been written so long after the units have started."""
    at = (STARTED + after).timestamp()
    os.utime(path, (at, at), follow_symlinks=False)


def behind(node, *flags, state="active", need="no", changed=timedelta(), reloaded=()):
    """Return what is to be done."""
    text = "\n".join(
        f"  *-{unit}.service) changed='{STARTED + changed:%a %Y-%m-%d %H:%M:%S} UTC' ;;"
        for unit in reloaded
    )
    program = node / "systemctl"
    program.write_text(
        f"""#!/bin/sh
[ "$TZ" = UTC ] || exit 1
changed='{STARTED:%a %Y-%m-%d %H:%M:%S} UTC'
case $3 in
  never) ;;
{text}
esac
echo "ActiveState={state}"
echo "NeedDaemonReload={need}"
echo "ExecMainStartTimestamp={STARTED:%a %Y-%m-%d %H:%M:%S} UTC"
echo "StateChangeTimestamp=$changed"
"""
    )
    program.chmod(0o755)
    done = subprocess.run(
        ["/usr/bin/python3", BEHIND, *flags, node],
        capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": f"{node}:/usr/bin:/bin", "TZ": "Europe/Paris"},
    )  # fmt: skip
    return done.stdout.splitlines()


LATER = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("name", "handlers"),
    [
        ("opt/netguard/current", ["program"]),
        ("etc/netguard/settings.yaml", ["settings"]),
        ("etc/netguard/radius.env", ["radius"]),
        ("etc/netguard/secrets/nas-wlc-1.conf", ["radius"]),
        ("etc/systemd/system/netguard-time.service.d", ["time"]),
        ("etc/systemd/system/netguard-time.service.d/clock.conf", ["time"]),
        ("etc/netguard/watch-secrets/tls.crt", ["watch"]),
        # Read each time it is needed.
        ("etc/netguard/watch-secrets/mail", []),
        # What the link points to was made before it.
        ("opt/netguard/1.0.0", []),
    ],
)
def test_what_is_newer_than_who_reads_it_is_due(node, name, handlers):
    assert behind(node) == []
    written(node / name, timedelta(milliseconds=900))
    assert behind(node) == [], "of the same second, it was read"
    written(node / name, LATER)
    assert behind(node) == [f"Netguard {handler} changed" for handler in handlers]
    # Who does not run is started by a later task.
    assert behind(node, state="failed") == behind(node, state="inactive") == []


def test_a_certificate_is_taken_by_a_reload_and_once(node):
    written(node / "etc/netguard/watch-secrets/tls.crt", LATER)
    assert behind(node, changed=2 * LATER, reloaded=("watch",)) == []


def test_units_that_systemd_has_not_read_are_read_first(node):
    written(node / "opt/netguard/current", LATER)
    assert behind(node, need="yes") == ["Netguard units changed", "Netguard program changed"]


def take(node, *flags):
    """What the last handler does."""
    subprocess.run(["/usr/bin/python3", BEHIND, "--taken", *flags, node], timeout=60, check=True)


TAKEN_BY_OTHERS = {
    "etc/polkit-1/rules.d/49-netguard.rules": "polkit",
    "etc/sysctl.d/60-netguard.conf": "kernel",
    "etc/systemd/network/60-netguard-tab0.netdev": "network",
    "etc/systemd/network/61-netguard-trunk.network": "network",
    "etc/systemd/journald.conf.d/netguard.conf": "journal",
    "etc/prometheus/netguard/alerts.yml": "prometheus",
    "etc/prometheus/prometheus.yml": "prometheus",
    "etc/prometheus/alertmanager.yml": "alertmanager",
}


@pytest.mark.parametrize("name", TAKEN_BY_OTHERS)
def test_what_others_have_not_taken_is_due_until_all_handlers_have_run(node, name):
    """A run failed between the file and its handler: whatever its time says, as of a copy from an older version."""
    handler = f"Netguard {TAKEN_BY_OTHERS[name]} changed"
    file = node / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("one")
    written(file, timedelta(days=-100))
    assert behind(node) == behind(node) == [handler]
    take(node)
    assert behind(node) == []
    file.write_text("two")
    written(file, timedelta(days=-100))
    assert behind(node) == [handler]
    # Written anew with what it was: nobody has to do anything.
    file.write_text("one")
    assert behind(node) == []
    file.unlink()
    assert behind(node) == [handler]
    take(node)
    assert behind(node) == []


def test_a_prometheus_that_is_kept_elsewhere_is_compared_there(node):
    """Its folder is a variable of the role: a run that failed left its reload undone, and no run made up for it."""
    elsewhere = ("--prometheus", "/srv/monitoring")
    for name, handler in (
        ("netguard/alerts.yml", "prometheus"),
        ("prometheus.yml", "prometheus"),
        ("alertmanager.yml", "alertmanager"),
    ):
        file = node / "srv/monitoring" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        assert behind(node, *elsewhere) == [f"Netguard {handler} changed"]
        take(node, *elsewhere)
        assert behind(node, *elsewhere) == []
    for file in ("handlers/main.yml", "tasks/renew.yml"):
        calls = re.findall(r"cmd: (.*behind\.py.*)", (ROLE / file).read_text())
        assert calls
        assert all(
            "--prometheus {{ netguard_prometheus_folder | quote }}" in call for call in calls
        )


def test_what_was_written_down_is_roots_and_what_cannot_be_read_makes_all_due_once(node):
    (node / "etc/sysctl.d").mkdir(parents=True)
    (node / "etc/sysctl.d/60-netguard.conf").write_text("x")
    # Somebody else's.
    (node / "etc/sysctl.d/99-other.conf").write_text("x")
    take(node)
    file = node / "var/lib/netguard-role.json"
    assert file.stat().st_mode & 0o777 == 0o600
    for text in ("", "[]", "{"):
        file.write_text(text)
        assert behind(node) == ["Netguard kernel changed"]
        take(node)
        assert behind(node) == []


def test_each_word_is_listened_to():
    handlers = (ROLE / "handlers/main.yml").read_text()
    words = set(re.findall(r'"(Netguard \w+ changed)"', BEHIND.read_text()))
    assert len(words) == 12
    assert words <= set(re.findall(r"Netguard \w+ changed", handlers))


def test_what_others_have_taken_is_remembered_behind_all_other_handlers():
    *others, last = (ROLE / "handlers/main.yml").read_text().split("\n- name: ")
    words = {f"Netguard {word} changed" for word in TAKEN_BY_OTHERS.values()}
    assert "behind.py --taken" in last
    assert set(re.findall(r"Netguard \w+ changed", last)) == words
    assert not any("behind.py" in each for each in others)


@pytest.mark.usefixtures("root")
def test_an_uninstallation_takes_no_folder_of_a_grafana_that_is_not_ours(tmp_path):
    """It took every empty one: plugins, and all that a Grafana has that was never started."""
    every = (ROLE / "tasks/uninstall.yml").read_text().split("\n- name: ")
    (task,) = [each for each in every if "for each in /etc/grafana" in each]
    command = task.partition("cmd: |\n")[2].partition("\n  register:")[0]
    ours = ["etc/grafana/provisioning/datasources", "etc/systemd/journald.conf.d"]
    theirs = [
        "etc/grafana/provisioning/alerting",
        "var/lib/grafana/plugins",
        "var/lib/grafana/dashboards",
    ]
    for each in (*ours, *theirs):
        (tmp_path / each).mkdir(parents=True)
    os.chown(tmp_path / theirs[2], 65534, 65534)
    words = command.replace("/etc/", f"{tmp_path}/etc/").replace("/var/", f"{tmp_path}/var/")
    told = [
        subprocess.run(["sh", "-ec", words], check=True, capture_output=True, text=True).stdout
        for _ in range(2)
    ]
    assert told == ["".join(f"{tmp_path}/{each}\n" for each in ours), ""]
    assert all((tmp_path / each).is_dir() for each in theirs)
    assert not any((tmp_path / each).exists() for each in ours)
    # Where nothing of Grafana's is, nothing is left of it.
    for each in theirs:
        (tmp_path / each).rmdir()
    subprocess.run(["sh", "-ec", words], check=True, capture_output=True)
    assert not (tmp_path / "etc/grafana").exists()
    assert not (tmp_path / "var/lib/grafana").exists()
