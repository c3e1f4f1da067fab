"""The command line as an engineer types it: words, suggestions, exit codes, output for machines."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from netguard.cli import main
from netguard.cli.parser import build_parser
from netguard.cli.words.rules import INIT_FLAGS
from netguard.rules.init import QUESTIONS

ROOT = Path(__file__).parents[2]
RULES = str(ROOT / "rules")


@pytest.fixture(autouse=True)
def nobody_home(monkeypatch, tmp_path):
    """Let no settings file of this machine have a say."""
    monkeypatch.setenv("NETGUARD_SETTINGS", str(tmp_path / "none.yaml"))


def run(capsys, *words):
    try:
        code = main(words)
    except SystemExit as error:
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err


def test_check_of_the_example_is_clean(capsys):
    code, out, err = run(capsys, "check", RULES, "--today", "2026-11-22")
    assert (code, out) == (0, "")
    *notes, summary = err.splitlines()
    assert re.fullmatch(r"[0-9]+ files, 0 errors, 0 warnings", summary)
    assert all(note.startswith("note: ") for note in notes)
    assert any("'meetings.googleapis.com' of 'meet' opens addresses of Google" in n for n in notes)


def test_check_tells_machines_what_else_an_allowed_name_opens(capsys, tmp_path):
    code, out, _ = run(capsys, "check", RULES, "--today", "2026-11-22", "--json")
    body = json.loads(out)
    _, _, err = run(capsys, "check", RULES, "--today", "2026-11-22")
    told = [line for line in err.splitlines() if " opens addresses of " in line]
    assert code == 0
    assert len(body["shared"]) == len(told) > 0
    row = next(each for each in body["shared"] if each["domain"] == "meetings.googleapis.com")
    assert (row["service"], row["owner"], row["strict"]) == ("meet", "Google", False)
    assert "family-room" in row["groups"]
    assert "tcp/443" in row["ports"]
    assert row["others"].startswith("all Google APIs")
    # Nobody knows of a folder that is not readable: that is not the same as none.
    _, out, _ = run(capsys, "check", broken(tmp_path), "--json")
    assert json.loads(out)["shared"] is None
    _, out, _ = run(capsys, "lint", RULES, "--today", "2026-11-22", "--json")
    assert "shared" not in json.loads(out)


def test_lint_fails_on_what_check_only_shows(capsys):
    assert run(capsys, "check", RULES, "--today", "2036-11-22")[0] == 0
    code, out, _ = run(capsys, "lint", RULES, "--today", "2036-11-22")
    assert code == 1
    assert "warning: reviewed" in out


def broken(tmp_path, text="groups:\n  patients:\n    alow: []\n"):
    folder = tmp_path / "rules"
    subprocess.run(["cp", "-r", RULES, folder], check=True)
    (folder / "groups.yaml").write_text(text)
    return str(folder)


def test_check_names_the_place_and_what_to_write(capsys, tmp_path):
    code, out, _ = run(capsys, "check", broken(tmp_path))
    assert code == 1
    assert "groups.yaml:3:5: error: unknown key 'alow', did you mean 'allow'?" in out
    assert "        alow: []\n        ^" in out


def test_check_speaks_to_machines(capsys, tmp_path):
    folder = broken(tmp_path)
    code, out, _ = run(capsys, "check", folder, "--json")
    body = json.loads(out)
    assert code == 1
    assert body["errors"] >= 1
    assert {"file", "line", "column", "level", "finding", "text", "instead"} == set(
        body["findings"][0]
    )
    _, out, _ = run(capsys, "check", folder, "--format", "github")
    assert re.search(
        r"^::error file=.*groups.yaml,line=3,col=5,title=unknown-key::", out, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chekc"], "unknown word 'chekc', did you mean 'check'?"),
        (["check", "--fromat", "json"], "unknown argument '--fromat', did you mean '--format'?"),
        (["check", "/nowhere"], "/nowhere: no such folder; 'netguard init /nowhere'"),
        (["check", "/etc/hostname"], "/etc/hostname: not a folder"),
        (["check", RULES, "--today", "soon"], "--today 'soon' is not a date, write 2026-11-20"),
        (["explain", "T-001"], "explain needs TABLET DESTINATION PORT"),
        (["explain", "T-9999", "zoom.us", "tcp/443", "--rules", RULES], "unknown tablet 'T-9999'"),
        (["explain", "T-001", "zoom.us", "tcp/99999", "--rules", RULES], "ports are 1 to 65535"),
        (["explain", "T-001", "zoom.us", "443", "--rules", RULES], "'443' is not a port"),
        (["explain", "T-001", "zoom.us", "udp/1-5", "--rules", RULES], "explain one: udp/1"),
        (["explain", "T-001", "http://x", "tcp/80", "--rules", RULES], "has a scheme"),
        (
            ["explain", "T-001", "zoom.us", "tcp/443", "--site", "x", "--rules", RULES],
            "unknown site 'x'",
        ),
        (["explain", "--radius", "mac", "--rules", RULES], "'mac' is not ATTRIBUTE=VALUE"),
        (
            ["explain", "--radius", "User-Name=x", "--rules", RULES],
            "which NAS asks? --nas wlc-1 | wlc-2",
        ),
        (["apply", RULES], "none.yaml"),
        (["status"], "none.yaml"),
        (["completion", "fish"], "unknown word 'fish'"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_word_ends_with_2_and_says_what_to_write(capsys, words, said):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_a_folder_that_may_not_be_read_is_named(capsys, monkeypatch):
    def refused(path, name):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("netguard.rules.folder._read_folder", refused)
    code, _, err = run(capsys, "check", RULES)
    assert code == 2
    assert f"{RULES}: may not be read by this user" in err


def test_explain_says_which_line_allows(capsys):
    code, out, _ = run(capsys, "explain", "T-001", "10.60.0.40", "udp/10000", "--rules", RULES)
    assert code == 0
    assert re.match(r"allow  by patients/jitsi  \S*groups.yaml:[0-9]+:[0-9]+, \S*jitsi.yaml:", out)


def test_explain_says_which_line_refuses_and_ends_with_1(capsys):
    code, out, _ = run(
        capsys, "explain", "T-001", "10.10.0.5", "tcp/104", "--rules", RULES, "--json"
    )
    body = json.loads(out)
    assert code == 1
    assert (body["action"], body["rule"]) == ("drop", "protected")
    assert "protected.yaml:" in body["steps"][-1]["origins"][0]


def test_explain_of_a_request_gives_vlan_and_line(capsys):
    words = ["explain", "--nas", "wlc-1", "--rules", RULES, "--radius"]
    code, out, _ = run(capsys, *words, "Calling-Station-Id=64-1B-2F-6A-D5-79")
    assert code == 0
    assert re.match(r"accept, VLAN 640  by patients/admit  \S*sites.yaml:", out)
    code, out, _ = run(capsys, *words, "Calling-Station-Id=64-1B-2F-00-00-79", "User-Name=nurse")
    assert code == 1
    assert out.startswith("reject  by not-mac-authentication")


def test_a_tablet_of_another_site_is_not_admitted_there(capsys, tmp_path):
    folder = tmp_path / "rules"
    subprocess.run(["cp", "-r", ROOT / "tests" / "bad" / "base", folder], check=True)
    code, out, _ = run(
        capsys,
        "explain",
        "T-005",
        "10.60.0.40",
        "tcp/443",
        "--site",
        "pellegrin",
        "--rules",
        str(folder),
    )
    assert code == 1
    assert "by visitors/sites" in out


def test_allot_writes_once_and_then_nothing(capsys, tmp_path):
    folder = tmp_path / "rules"
    subprocess.run(["cp", "-r", RULES, folder], check=True)
    (folder / "allotted.csv").unlink()
    before = (ROOT / "rules" / "allotted.csv").read_text()
    code, out, _ = run(capsys, "allot", str(folder), "--dry-run")
    assert code == 0
    assert out.count("\n+ ") > 100
    assert not (folder / "allotted.csv").exists()
    assert run(capsys, "allot", str(folder))[0] == 0
    assert (folder / "allotted.csv").read_text() == before
    code, out, _ = run(capsys, "allot", str(folder), "--json")
    assert json.loads(out) == {"changes": [], "written": True}


def test_allot_refuses_a_folder_with_errors(capsys, tmp_path):
    code, _, err = run(capsys, "allot", broken(tmp_path))
    assert code == 1
    assert "nothing allotted" in err


def test_check_with_settings_compares_the_sites(capsys, tmp_path):
    settings = tmp_path / "settings.yaml"
    settings.write_text("version: 1\nnode: a\nsites: [atlantis]\n")
    code, out, _ = run(capsys, "--settings", str(settings), "check", RULES)
    assert code == 1
    assert "unknown site 'atlantis', the rules know: haut-leveque, pellegrin" in out


def test_init_asks_for_what_the_rules_need():
    assert list(INIT_FLAGS) == [question.key.replace("_", "-") for question in QUESTIONS]


def test_every_command_shows_an_example(capsys):
    parser = build_parser()
    commands = next(a for a in parser._actions if a.dest == "command").choices
    assert {"check", "apply", "explain", "status", "guard", "dns", "watch", "run", "lab"} <= set(
        commands
    )
    for name, command in commands.items():
        assert "netguard" in command.format_help().split("example")[-1], name


def test_completion_is_a_script(capsys):
    code, out, _ = run(capsys, "completion", "bash")
    assert code == 0
    assert "_shtab_netguard" in out
    assert "netguard_doctor" in out
    assert "--pcap" in out


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m netguard completion bash | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_another_locale_changes_no_output():
    def output(language):
        done = subprocess.run(
            [sys.executable, "-m", "netguard", "check", "rules", "--today", "2036-01-01", "--json"],
            capture_output=True,
            check=False,
            cwd=ROOT,
            env={**os.environ, "LC_ALL": language, "LANG": language},
        )
        return done.stdout

    assert output("C") == output("fr_FR.UTF-8") != b""


def test_no_function_that_adds_words_is_forgotten():
    """Each module of the words adds them itself: whatever it defines to add some is called by it."""
    folder = Path(__file__).parents[2] / "netguard" / "cli" / "words"
    for file in sorted(folder.glob("*.py")):
        text = file.read_text()
        for name in re.findall(r"^def (_\w+_commands)\(", text, re.MULTILINE):
            assert text.count(f"{name}(") == 2, f"{file.name}: {name} is not called"
