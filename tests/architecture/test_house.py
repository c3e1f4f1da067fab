"""Rules of the house that no linter knows: light start, docstrings everywhere, nothing of a workplace."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "netguard").rglob("*.py"))

HEAVY = {
    "aiohttp",
    "alembic",
    "asyncio",
    "idna",
    "mako",
    "netaddr",
    "prometheus_client",
    "publicsuffixlist",
    "pydantic",
    "pyroute2",
    "scapy",
    "shtab",
    "sqlalchemy",
    "sqlite3",
    "yaml",
}
# What only the daemons need.
STORE = {"alembic", "mako", "sqlalchemy", "sqlite3"}
LIST_IMPORTS = """
import json, sys
before = set(sys.modules)
import netguard.cli
try:
    code = netguard.cli.main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
print(json.dumps({"code": code or 0, "modules": sorted(set(sys.modules) - before)}), file=sys.stderr)
"""

# Paths and words of whoever works on this; they mean nothing to a reader and must not be committed.
# Put together here so that this file does not find itself.
FORBIDDEN = re.compile(
    "|".join(
        [r"(?<![\w./-])/wo" + "rk/", r"\.lib" + "rary/", "/tmp/" + "plan", "py" + "env", "pypi" + r"\.org",
         "deb" + r"\.debian\.org", "/opt/" + "(wheels|pypi)", "registry" + r"\.npm"]
    )
)  # fmt: skip


def imports_of(*words):
    """Run one command; return the names of the top-level packages that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", LIST_IMPORTS, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=ROOT,
        env={**os.environ, "NETGUARD_SETTINGS": "/nonexistent/settings.yaml"},
    )
    seen = json.loads(done.stderr.splitlines()[-1])
    assert seen["code"] == 0, done.stderr
    return {name.split(".")[0] for name in seen["modules"]}, done.stdout


def test_help_loads_no_heavy_library():
    loaded, out = imports_of("--help")
    assert "netguard" in out
    assert not loaded & HEAVY, f"--help imports {sorted(loaded & HEAVY)}"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "--today", "2026-11-22"),
        ("explain", "T-001", "meet.chu.example", "tcp/443", "--rules", "rules"),
    ],
    ids=lambda words: words[0],
)
def test_what_needs_no_daemon_loads_no_database(words):
    loaded, _ = imports_of(*words)
    assert not loaded & STORE, f"netguard {words[0]} imports {sorted(loaded & STORE)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_says_what_it_is_for(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def committed_files():
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        timeout=60,
        check=True,
    ).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name]


def test_no_file_names_a_workplace_or_an_index_host():
    found = []
    for path in committed_files():
        if not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        found += [f"{path.relative_to(ROOT)}: {hit.group()}" for hit in FORBIDDEN.finditer(text)]
    assert not found


def test_the_lock_is_hashed_and_names_no_place():
    for path in sorted((ROOT / "requirements").glob("*.txt")):
        text = path.read_text(encoding="utf-8")
        assert "://" not in text
        assert not re.search(r"^--?(i|index|extra|find|trusted|f)\b", text, re.MULTILINE)
        for entry in re.split(r"\n(?=[a-z])", text):
            if "==" in entry:
                assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize(
    "script", sorted((ROOT / "scripts").glob("*.sh")), ids=lambda path: path.name
)
def test_scripts_parse(script):
    subprocess.run(["sh", "-n", script], check=True, timeout=60)


SHELLS = {"system", "popen", "create_subprocess_shell", "getoutput", "getstatusoutput"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_program_is_started_through_a_shell(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    named = [getattr(call.func, "attr", getattr(call.func, "id", "")) for call in calls]
    assert not SHELLS & set(named)
    words = [word for call in calls for word in call.keywords]
    assert not [word for word in words if word.arg == "shell"]


def test_a_program_that_is_started_through_a_shell_would_be_found(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nos.system('id')\n")
    with pytest.raises(AssertionError):
        test_no_program_is_started_through_a_shell(bad)
