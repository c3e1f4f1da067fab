"""Every command of the operator pages: netguard takes its words, and what else is named exists."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from documents import OTHER_PROGRAMS, PAGES, ROOT, commands, elsewhere, is_a_name, spans

from netguard.cli.parser import build_parser
from netguard.core import psk
from netguard.core.doctor.products import PRODUCTS, Fault
from netguard.rules import schema

COMMANDS = commands()
NAMES = [f"{page}: {' '.join(words)}"[:100] for page, words in COMMANDS]
ANSIBLE = ROOT / "deploy/ansible"


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=NAMES)
def test_a_command_of_a_page_can_be_typed(page, words, tmp_path):
    match words[0]:
        case "netguard":
            if is_a_name(words):
                # A name in a sentence.
                with pytest.raises(SystemExit) as ended:
                    build_parser().parse([words[1], "--help"])
                assert ended.value.code == 0
            else:
                assert build_parser().parse(words[1:]).run
        case "make":
            targets = re.findall(r"^([a-z%-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets)
        case "systemctl" | "systemd-analyze" | "journalctl":
            _names_units(words)
        case "ansible-playbook":
            done = subprocess.run(
                [*words, "--syntax-check"], cwd=ANSIBLE, capture_output=True, text=True, timeout=60, check=False,
                env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"},
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
        case "cd":
            assert (ROOT / words[1]).is_dir()
        case path if path.startswith("/opt/netguard/current/share/netguard/"):
            script = ROOT / "deploy" / path.removeprefix("/opt/netguard/current/share/netguard/")
            assert os.access(script, os.X_OK)
        case "ls" | "ln" | "rm" | "df" | "git" | "sha256sum":
            pass
        case other:
            pytest.fail(f"{page}: nobody looks at '{other}'")


def _names_units(words):
    units = {path.name for path in (ROOT / "deploy/systemd").glob("netguard-*")}
    named = [word for word in words[1:] if word.startswith("netguard-") and "*" not in word]
    for name in named:
        assert name in units or f"{name}.service" in units, name


def test_pages_are_read():
    assert len(COMMANDS) > 150
    assert {page for page, _ in COMMANDS} == {page.name for page in PAGES}


def test_no_command_hides_in_a_sentence():
    """What looks like a command is one that is typed by a test; haproxy's is what a unit runs."""
    shown = {span for page in PAGES for span in spans(page.read_text(encoding="utf-8"))}
    others = {span for span in shown if span.split(" ")[0] in OTHER_PROGRAMS and " " in span}
    assert {span.split(" ")[0] for span in others} == {"haproxy"}


def test_what_is_typed_on_another_machine_is_typed_by_a_test():
    named = {test for _, words in COMMANDS if (test := elsewhere(words))}
    assert len(named) > 8
    for test in named:
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / "tests" / file).read_text(encoding="utf-8"), test


def test_tests_begin_with_what_a_page_begins_with():
    """`make setup` cannot be typed by a test: it makes what the test runs in."""
    said = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^test: setup ", said, re.MULTILINE)


def test_who_had_an_address_since_when_is_in_git(tmp_path):
    """docs/privacy.md: rules in git, and the line of a tablet with its day."""
    shutil.copytree(ROOT / "rules", tmp_path / "rules")
    (words,) = [words for _, words in COMMANDS if words[0] == "git"]
    settled = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    for step in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "tablets"]):
        subprocess.run(["git", *settled, *step], cwd=tmp_path / "rules", timeout=60, check=True)
    done = subprocess.run(
        words, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert re.search(r"^Date: .*\d{4}", done.stdout, re.MULTILINE)
    assert re.search(r"^\+.*10\.99\.0\.16", done.stdout, re.MULTILINE)


def test_a_misspelt_command_is_found():
    with pytest.raises(SystemExit):
        build_parser().parse(["statsu"])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_link_of_a_page_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def products():
    """Return the tables of docs/controllers.md: those of the doctor, so that both say the same."""
    words = {
        Fault.SILENT: "asks us", Fault.CALLED: "Called-Station-Id", Fault.CALLING: "Calling-Station-Id",
        Fault.ACCOUNTING: "accounting", Fault.INTERIM: "interim updates", Fault.COA: "disconnect",
        Fault.ISOLATION: "isolation", Fault.SIGNATURE: "signature", Fault.CLOCK: "clock",
    }  # fmt: skip
    for vendor, product in PRODUCTS.items():
        if vendor == "other":
            continue
        yield f"### {product.name} (`vendor: {vendor}`)\n"
        yield "| what | where |\n| --- | --- |"
        for fault, word in words.items():
            where = product.settings.get(fault)
            if where is not None:
                yield f"| {word} | {where.replace('|', chr(92) + '|')} |"
        yield f"| port of Disconnect-Request | UDP {product.coa} |\n"


def test_the_page_of_controllers_says_what_the_doctor_says():
    page = ROOT / "docs/controllers.md"
    head, mark, _ = page.read_text(encoding="utf-8").partition("## By product\n\n")
    wanted = head + mark + "\n".join(products())
    if os.environ.get("NETGUARD_WRITE_EXPECT"):
        page.write_text(wanted, encoding="utf-8")
    assert page.read_text(encoding="utf-8") == wanted


KEYS = (ROOT / "docs" / "psk.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("vendor", schema.VENDORS)
def test_the_page_of_keys_says_what_each_product_is_sent(vendor):
    (row,) = [line for line in KEYS.splitlines() if line.startswith("|") and f"`{vendor}`" in line]
    form = psk.FORMS.get(vendor)
    if form is None:
        assert "none is known" in row
        return
    for name, _ in psk.values(form, "CHU-TABLETTES", "kchq-p76n-rk4h-qdvm"):
        assert name in row
    assert ("**no**" in row) == (form in psk.CLEAR)


def test_hostapd_takes_the_lines_of_the_page(tmp_path):
    """It reads its file before it looks for the interface, which there is none of."""
    lines = re.search(r"^```\n(wpa=.*?)^```$", KEYS, re.MULTILINE | re.DOTALL)[1]
    rest = (
        "interface=psknone0\ndriver=nl80211\nssid=x\nhw_mode=g\nchannel=1\nown_ip_addr=127.0.0.1\n"
        "auth_server_addr=127.0.0.1\nauth_server_shared_secret=0123456789abcdef0123\n"
    )

    def said(text):
        path = tmp_path / "hostapd.conf"
        path.write_text(rest + text)
        done = subprocess.run(
            ["hostapd", str(path)], capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    assert "errors found in configuration file" not in said(lines)
    assert "psknone0" in said(lines), "it went on to the interface"
    # The reader does complain of what it does not know.
    assert "errors found in configuration file" in said(lines + "wpa_psk_radius=9\n")
