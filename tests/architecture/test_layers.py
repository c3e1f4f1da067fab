"""Each import contract of pyproject.toml is shown to bite: a copy of the package gets one violation of
each kind, and lint-imports must name every one of them; the copy without them must pass."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

# file to plant, its text, the words by which lint-imports must name it
PLANTED = {
    "a clock in the core": ("core/planted_clock.py", "import time", ("planted_clock", "time")),
    "a socket in the core": (
        "core/planted_socket.py",
        "import socket",
        ("planted_socket", "socket"),
    ),
    "a random number in the core": (
        "core/planted_random.py",
        "import random",
        ("planted_random", "random"),
    ),
    "a log in the core": ("core/planted_log.py", "import logging", ("planted_log", "logging")),
    "a file in a renderer": (
        "render/planted_file.py",
        "from pathlib import Path",
        ("planted_file", "pathlib"),
    ),
    "scapy in an adapter": (
        "adapters/planted_scapy.py",
        "import scapy.all",
        ("planted_scapy", "scapy"),
    ),
    "scapy in the daemon": (
        "daemon/planted_scapy.py",
        "import scapy.layers.radius",
        ("netguard.daemon.planted_scapy", "scapy"),
    ),
    "an adapter that knows another": (
        "adapters/planted_neighbour.py",
        "import netguard.adapters.planted_scapy",
        ("planted_neighbour", "netguard.adapters.planted_scapy"),
    ),
    "an adapter that knows a renderer": (
        "adapters/planted_renderer.py",
        "import netguard.render.planted_file",
        ("planted_renderer", "netguard.render.planted_file"),
    ),
    "the core knows the rules": (
        "core/planted_rules.py",
        "import netguard.rules.source",
        ("planted_rules", "netguard.rules"),
    ),
    "the core knows an adapter": (
        "core/planted_adapter.py",
        "import netguard.adapters",
        ("planted_adapter", "netguard.adapters"),
    ),
    "the daemon knows the lab": (
        "daemon/planted_lab.py",
        "import netguard.lab",
        ("planted_lab", "netguard.lab"),
    ),
}


def copy_to(folder: Path) -> Path:
    shutil.copytree(
        ROOT / "netguard", folder / "netguard", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def lint(folder: Path) -> subprocess.CompletedProcess:
    # The current folder comes first on lint-imports' path, so the copy is read, not the checkout.
    return subprocess.run(
        [LINT, "--config", "pyproject.toml", "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def violated(tmp_path_factory):
    folder = copy_to(tmp_path_factory.mktemp("violated"))
    for place, text, _ in PLANTED.values():
        (folder / "netguard" / place).write_text(f'"""Planted."""\n\n{text}\n', encoding="utf-8")
    return lint(folder)


def test_the_package_as_it_is_keeps_every_contract(tmp_path):
    done = lint(copy_to(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 broken" in done.stdout


def test_every_contract_is_broken_by_some_violation(violated):
    assert violated.returncode == 1
    assert "Contracts: 0 kept, 4 broken" in violated.stdout, violated.stdout


@pytest.mark.parametrize("name", PLANTED)
def test_a_violation_is_named(violated, name):
    _, _, (where, what) = PLANTED[name]
    named = [line for line in violated.stdout.splitlines() if where in line and what in line]
    assert named, violated.stdout
