"""The units of deploy/systemd: as closed as they can be, and of one mind with the settings and the renderer."""

import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from netguard.render.nftables import blocked
from netguard.settings import Paths, Users

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "deploy/systemd"
UNITS = sorted(SYSTEMD.glob("*.service"))
SCRIPTS = [
    SYSTEMD / "backup",
    SYSTEMD / "restore",
    SYSTEMD / "place-rules",
    ROOT / "deploy/bundle/install",
]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_exposure_of_a_unit_is_at_most_two(unit):
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    # The number is what is meant, and not only the exit code.
    assert float(re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)[1]) <= 2.0


def test_the_right_to_set_the_clock_does_not_expose_it_more(tmp_path):
    """The role adds it, where the clock is not somebody else's."""
    unit = tmp_path / "netguard-time.service"
    unit.write_text((SYSTEMD / unit.name).read_text())
    (tmp_path / f"{unit.name}.d").mkdir()
    role = ROOT / "deploy/ansible/roles/netguard/templates"
    text = (role / "clock.conf.j2").read_text().replace("{{ ansible_managed }}", "x")
    (tmp_path / f"{unit.name}.d/clock.conf").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", unit],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    assert "CAP_SYS_TIME" in text


def test_a_bare_unit_is_found_to_be_exposed(tmp_path):
    (tmp_path / "bare.service").write_text("[Service]\nExecStart=/bin/true\n")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=20", tmp_path / "bare.service"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0


def test_what_is_loaded_at_boot_is_what_guard_loads_when_nothing_is_in_force():
    text = (SYSTEMD / "blocked.nft").read_text()
    assert "".join(line for line in text.splitlines(True) if not line.startswith("#")) == blocked()


def test_the_users_are_those_of_the_settings():
    made = re.findall(r"^u (\S+)", (SYSTEMD / "sysusers.d/netguard.conf").read_text(), re.MULTILINE)
    assert sorted(made) == sorted(getattr(Users(), each.name) for each in fields(Users))


def test_the_folders_are_those_of_the_settings():
    rows = (SYSTEMD / "tmpfiles.d/netguard.conf").read_text().splitlines()
    made = {line.split()[1] for line in rows if line.startswith("d ")}
    paths = {
        str(getattr(Paths(), each.name)) for each in fields(Paths) if getattr(Paths(), each.name)
    }
    # The rules are brought by people.
    assert paths - made == {str(Paths().rules)}


def test_nothing_that_stops_takes_the_fence_away():
    for unit in UNITS:
        assert "ExecStop" not in unit.read_text().replace("There is no ExecStop", "")


def test_each_unit_says_which_rights_it_has():
    rights = {
        unit.name: re.findall(r"^CapabilityBoundingSet=(.*)$", unit.read_text(), re.MULTILINE)
        for unit in UNITS
    }
    assert rights["netguard-guard.service"] == ["CAP_NET_ADMIN"]
    assert rights["netguard-dns.service"] == ["CAP_NET_ADMIN CAP_NET_BIND_SERVICE"]
    assert rights["netguard-watch.service"] == [""]
    assert rights["netguard-radius.service"] == [""]


def test_a_daemon_of_ours_is_watched():
    for name in ("guard", "dns", "watch"):
        text = (SYSTEMD / f"netguard-{name}.service").read_text()
        for wanted in ("Type=notify", "WatchdogSec=", "Restart=always", "ExecReload="):
            assert wanted in text, (name, wanted)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_has_nothing_to_say(script):
    done = subprocess.run(
        ["shellcheck", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
    assert script.stat().st_mode & 0o111


def test_ansible_lint_has_nothing_to_say(tmp_path):
    done = subprocess.run(
        ["ansible-lint", "--offline", "--nocolor", "--profile", "production"],
        cwd=ROOT / "deploy/ansible", capture_output=True, text=True, timeout=300, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "production" in done.stdout + done.stderr


@pytest.mark.parametrize("inventory", ["one", "several"])
def test_an_example_inventory_has_all_that_the_role_asks_for(inventory, tmp_path):
    done = subprocess.run(
        ["ansible-inventory", "-i", f"inventories/{inventory}/hosts.yml", "--list"],
        cwd=ROOT / "deploy/ansible", capture_output=True, text=True, timeout=60, check=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
    )  # fmt: skip
    import json

    hosts = json.loads(done.stdout)["_meta"]["hostvars"]
    specs = (ROOT / "deploy/ansible/roles/netguard/meta/argument_specs.yml").read_text()
    known = set(re.findall(r"^      (netguard_\w+):$", specs, re.MULTILINE))
    needed = set(
        re.findall(
            r"^      (netguard_\w+):\n(?:        .*\n)*?        required: true", specs, re.MULTILINE
        )
    )
    assert len(needed) == 5
    for host, variables in hosts.items():
        ours = {name for name in variables if name.startswith("netguard_")}
        assert needed <= ours <= known, host


def test_every_default_of_the_role_is_described():
    role = ROOT / "deploy/ansible/roles/netguard"
    names = set(
        re.findall(r"^(netguard_\w+):", (role / "defaults/main.yml").read_text(), re.MULTILINE)
    )
    specs = set(
        re.findall(
            r"^      (netguard_\w+):$", (role / "meta/argument_specs.yml").read_text(), re.MULTILINE
        )
    )
    assert names <= specs
    used = set()
    for path in [
        *role.glob("tasks/*.yml"),
        *role.glob("templates/*.j2"),
        *role.glob("handlers/*.yml"),
        *role.glob("vars/*.yml"),
    ]:
        used |= set(re.findall(r"\b(netguard_\w+)", path.read_text()))
    used |= set(re.findall(r"\b(netguard_\w+)", (role / "defaults/main.yml").read_text()))
    # Nothing is described that nobody heeds.
    assert specs <= used, specs - used
