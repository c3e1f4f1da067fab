"""The scripts that install things: read by shellcheck, and run against a machine made of stand-ins."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [
    *sorted((ROOT / "scripts").glob("*.sh")),
    ROOT / ".ci/run",
    *(ROOT / "tests/wifi" / name for name in ("run", "guest/run.sh", "guest/uml-init")),
    *(ROOT / "tests/wifi/guest" / name for name in ("qemu-init", "second")),
]
# What cannot be installed beside others is unpacked aside (scripts/aside.sh).
LISTS = sorted({path.stem for path in (ROOT / "scripts/debian").glob("*.txt")} - {"aside"})
DEMO = (ROOT / "scripts" / "debian" / "demo.txt").read_text(encoding="utf-8")
WANTED = re.findall(r"^([a-z0-9.+-]+)", DEMO, re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    done = subprocess.run(
        ["shellcheck", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture
def machine(tmp_path):
    """A folder of stand-ins for dpkg-query, apt-get and id, and a way to run packages.sh with them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"

    def run(*lists, installed, uid=0):
        stand_ins = {
            "dpkg-query": f'case " {" ".join(installed)} " in *" $3 "*) echo installed;; '
            "*) exit 1;; esac",
            "apt-get": f'echo "$*" >> {calls}; [ -e /usr/sbin/policy-rc.d ] || exit 9',
            "id": f"echo {uid}",
            "systemctl": f'echo "systemctl $*" >> {calls}',
        }
        for name, text in stand_ins.items():
            path = folder / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)
        done = subprocess.run(
            [ROOT / "scripts" / "packages.sh", *lists],
            env={"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, calls.read_text().splitlines() if calls.exists() else []

    return run


def test_nothing_is_done_where_nothing_is_missing(machine):
    done, calls = machine("demo", installed=WANTED, uid=1000)
    assert done.returncode == 0
    assert "all of demo are installed" in done.stdout
    assert calls == []


def test_without_root_it_says_what_is_missing_and_changes_nothing(machine):
    done, calls = machine("demo", installed=WANTED[1:], uid=1000)
    assert done.returncode == 1
    assert f"missing: {WANTED[0]}" in done.stdout
    assert "needs root" in done.stderr
    assert calls == []


@pytest.mark.usefixtures("root")
def test_only_what_is_missing_is_installed_with_no_service_started(machine):
    """The stand-in for apt-get fails unless a policy against service starts is in place."""
    policy = Path("/usr/sbin/policy-rc.d")
    before = policy.read_bytes() if policy.exists() else None
    done, calls = machine("demo", installed=[name for name in WANTED if name not in ("nsd", "git")])
    assert done.returncode == 0, done.stdout + done.stderr
    assert calls[0].startswith("update")
    assert calls[1].startswith("install -y")
    assert calls[1].endswith(" git nsd")
    assert "undo later with: apt-get purge --autoremove git nsd" in done.stdout
    assert len(calls) == 2, "no service of this machine is touched"
    assert (policy.read_bytes() if policy.exists() else None) == before


def test_what_one_list_asks_for_takes_nothing_of_another_away():
    """busybox-static stood beside the busybox of udhcpc: apt refused, and there never was a guest of qemu."""
    names = []
    for each in LISTS:
        text = (ROOT / "scripts/debian" / f"{each}.txt").read_text(encoding="utf-8")
        names += re.findall(r"^([a-z0-9.+-]+)(?!\?)\b", text, re.MULTILINE)
    assert len(names) > 40
    done = subprocess.run(
        ["apt-get", "--simulate", "--no-install-recommends", "install", *names],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REMOVED" not in done.stdout, done.stdout


def test_an_unknown_list_is_a_mistake(machine):
    done, _ = machine("everything", installed=[])
    assert done.returncode == 2
    assert "no list 'everything'" in done.stderr


def test_every_program_of_the_lab_comes_from_a_listed_package():
    """Where dpkg knows the owner of a program, that package is in the list."""
    from netguard.lab.programs import NEEDED

    essential = {"bash"}
    for name in NEEDED:
        path = Path(shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") or "")
        for each in (path, path.resolve(), Path("/", *path.parts[2:])):
            done = subprocess.run(
                ["dpkg-query", "-S", each], capture_output=True, text=True, timeout=60, check=False
            )
            if done.returncode == 0:
                owner = done.stdout.split(":")[0]
                # busybox' udhcpc is a link into busybox.
                assert owner in {*WANTED, *essential, "busybox"}, f"{name} is of {owner}"
                break
        else:
            pytest.fail(f"no package owns {name}")
