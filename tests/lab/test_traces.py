"""What a lab leaves behind: nothing, however it ended."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from netguard.errors import NetguardError, UsageError
from netguard.lab import hospital as module
from netguard.lab import jail, layout, topology, users
from netguard.lab.hospital import Hospital, down
from netguard.lab.layout import Layout

ROOT = Path(__file__).parents[2]


def silent(text: str) -> None:
    """Say nothing."""


def traces(name: str) -> list[str]:
    """Return everything of a lab that can be seen on this machine."""
    where = Layout(name)
    found = [f"namespace {host}" for host in topology.leftovers(where)]
    found += [str(where.folder)] if where.folder.exists() else []
    for mounts in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(where.folder) + "/" in mounts:
            found.append(mounts)
    for entry in Path("/proc").iterdir():
        try:
            if (
                entry.name.isdigit()
                and str(where.folder).encode() in (entry / "cmdline").read_bytes()
            ):
                found.append(f"process {entry.name}")
        except OSError:
            continue
    return found


@pytest.fixture
def name(request) -> str:
    """A lab's name of this test's own; whatever the test does, it is taken down."""
    name = f"x{os.getpid()}"
    yield name
    down(name, silent)


def half(name: str, stop_at: str) -> int:
    """Start an `up` in another process and kill -9 it when it says `stop_at`; returns its pid."""
    started = subprocess.Popen(
        [sys.executable, "-m", "netguard", "lab", "up", "--name", name],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with started, started.stderr as said:
        for line in said:
            if stop_at in line:
                started.kill()
                break
        else:
            pytest.fail(f"up never said {stop_at!r}")
    return started.pid


@pytest.mark.parametrize("stop_at", ["users:", "network:", "around it:", "guard, dns", "applying"])
def test_an_up_killed_halfway_leaves_nothing_after_down(name, stop_at):
    half(name, stop_at)
    down(name, silent)
    assert not traces(name)


def test_an_up_killed_halfway_is_cleaned_by_the_next_up(name):
    half(name, "applying")
    lab = Hospital.up(name, say=silent)
    assert lab.join("t1")["answer"] == "accept"
    lab.down()
    assert not traces(name)


def test_up_twice_gives_one_working_hospital(name):
    first = Hospital.up(name, say=silent)
    old = first.pid("guard")
    second = Hospital.up(name, say=silent)
    assert jail.start_of(old) is None
    assert second.record.token != first.record.token
    assert all(second.status()["processes"].values())
    second.down()
    assert not traces(name)


def test_two_ups_at_once_do_not_race(name):
    ups = [
        subprocess.Popen(
            [sys.executable, "-m", "netguard", "lab", "up", "--name", name],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for one in ups:
        _, said = one.communicate(timeout=240)
        assert one.returncode == 0, said.decode()
    lab = Hospital.attach(name, silent)
    assert all(lab.status()["processes"].values())
    lab.down()
    assert not traces(name)


def test_down_without_a_lab_is_no_mistake(name):
    said = []
    down(name, said.append)
    assert said == [f"there is no lab '{name}'"]
    assert not traces(name)


def test_a_failure_while_going_up_takes_everything_down_again(name, monkeypatch):
    def broken(self, rules=None):
        raise NetguardError("no apply today")

    monkeypatch.setattr(Hospital, "apply", broken)
    with pytest.raises(NetguardError, match="no apply today"):
        Hospital.up(name, say=silent)
    assert not traces(name)


def test_a_command_that_still_runs_on_a_host_is_ended_by_down(name):
    lab = Hospital.up(name, say=silent)
    words, environment = lab._command("t1", ["sleep", "3600"])
    with subprocess.Popen(words, env=environment) as left:
        end = monotonic() + 10
        while b"sleep" not in Path(f"/proc/{left.pid}/cmdline").read_bytes()[:5]:
            assert monotonic() < end
            sleep(0.01)
        lab.down()
        assert left.wait(timeout=10) != 0
    assert not traces(name)


def test_a_process_of_somebody_else_is_never_ended(name):
    """A pid file that lies: the number is that of a process without the lab's token."""
    lab = Hospital.up(name, say=silent)
    lab.stop("watch")
    with subprocess.Popen(["sleep", "3600"], start_new_session=True) as other:
        start = jail.start_of(other.pid)
        lab.layout.pid_file("watch").write_text(f"{other.pid} {start}\n")
        with pytest.raises(NetguardError, match="does not run"):
            lab.kill("watch")
        lab.layout.pid_file("guard").write_text(f"{other.pid} {start + 1}\n")
        assert lab.pid("guard") is None
        lab.down()
        assert other.poll() is None
        other.send_signal(signal.SIGKILL)
    assert not traces(name)


def test_users_made_for_the_last_lab_go_with_it(name, hospital):
    lab = Hospital.up(name, say=silent)
    lab.down()
    for user in users.ALL:
        assert pwd.getpwnam(user), "another lab is up: its users stay"
    assert hospital.record.name in layout.names()


def test_only_users_that_a_lab_made_are_removed_and_only_with_the_last_one(tmp_path, monkeypatch):
    ours, here = f"netguard-x{os.getpid()}", "nobody"
    monkeypatch.setattr(users, "ALL", (ours, here))
    monkeypatch.setattr(users, "USERS", tmp_path / "users.json")
    monkeypatch.setattr(users, "names", lambda: ["another"])
    assert users.make() == [ours]
    assert users.make() == []
    users.remove()
    assert pwd.getpwnam(ours)
    monkeypatch.setattr(users, "names", list)
    users.remove()
    with pytest.raises(KeyError):
        pwd.getpwnam(ours)
    assert pwd.getpwnam(here)


def test_a_checkout_below_a_closed_folder_works(name):
    """The appliance's users cannot enter the folder; they see the code all the same."""
    with tempfile.TemporaryDirectory(prefix="netguard-closed-") as closed:
        folder = Path(closed)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        checkout = folder / "checkout"
        checkout.mkdir()
        for part in ("deploy", "netguard", "radius_hooks", "rules"):
            shutil.copytree(ROOT / part, checkout / part)
        with suppress(FileNotFoundError):
            shutil.copytree(ROOT / ".cache" / "aside", checkout / ".cache" / "aside")
        done = subprocess.run(
            [sys.executable, "-m", "netguard", "lab", "up", "--name", name],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        lab = Hospital.attach(name, silent)
        assert f"a copy of {checkout / 'rules'}" in done.stderr
        assert lab.join("t1")["answer"] == "accept"
        lab.down()
    assert not traces(name)


def test_rules_with_an_error_build_nothing(name, tmp_path):
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    with (tmp_path / "rules" / "sites.yaml").open("a") as file:
        file.write("nonsense: true\n")
    with pytest.raises(NetguardError, match=r"sites\.yaml"):
        Hospital.up(name, tmp_path / "rules", silent)
    assert not traces(name)


def test_names_that_would_be_paths_are_refused():
    for bad in ("", "a/b", "..", "Demo", "a-b", "x" * 13, "1st"):
        with pytest.raises(UsageError):
            Layout(bad)


def test_it_says_that_it_needs_root(monkeypatch):
    monkeypatch.setattr(module.os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="needs root"):
        Hospital.up("never", say=silent)
