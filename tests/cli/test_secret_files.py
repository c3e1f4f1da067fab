"""netguard secrets: makes what is missing, rotates one, and shows none but on request."""

import grp
import io
import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from netguard.adapters import secret_files
from netguard.cli import main

GROUP = grp.getgrgid(os.getgid()).gr_name


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The example hospital, on a node whose readers are this test's own group."""
    for name in ("secrets", "watch-secrets"):
        (tmp_path / name).mkdir(mode=0o750)
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "version: 1\nnode: n\nsites: [pellegrin]\n"
        f"paths: {{rules: {Path.cwd()}/rules, radius-secrets: {tmp_path}/secrets, "
        f"watch-secrets: {tmp_path}/watch-secrets}}\n"
        "mail: {server: 'mail.chu.example:587', sender: n@chu.example, user: n, password-file: mail}\n"
    )
    real = grp.getgrnam
    monkeypatch.setattr(
        grp, "getgrnam", lambda name: real(GROUP if name.startswith("netguard-") else name)
    )
    monkeypatch.setenv("NETGUARD_SETTINGS", str(settings))
    return tmp_path


def test_what_is_missing_is_made_once_and_nobody_else_reads_it(node, capsys):
    assert main(["secrets", "make"]) == 1
    said = capsys.readouterr()
    made = node / "secrets" / "nas-wlc-1.conf"
    text = made.read_text()
    assert text.startswith("secret = ")
    assert len(text.split()[2]) == 48
    assert stat.S_IMODE(made.stat().st_mode) == 0o640
    assert (node / "watch-secrets" / "webhook-security").exists()
    # Somebody else chooses it.
    assert "mail: write it yourself" in said.err
    assert text.split()[2] not in said.out + said.err
    # Of a site that this node does not serve.
    assert not (node / "secrets" / "nas-wlc-2.conf").exists()
    (node / "watch-secrets" / "mail").write_text("p")
    assert main(["secrets", "make"]) == 0
    assert made.read_text() == text
    assert capsys.readouterr().out == ""


def test_the_list_says_what_is_not_right(node, capsys):
    main(["secrets", "make"])
    (node / "secrets" / "nas-wlc-1.conf").chmod(0o644)
    capsys.readouterr()
    assert main(["secrets", "list", "--json"]) == 1
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["secrets"]}
    assert "chmod 0640" in rows["nas-wlc-1"]["state"]
    assert rows["mail"]["state"] == "missing"
    assert rows["webhook-security"]["state"] == "ok"
    assert main(["secrets"]) == 1
    assert "RADIUS secret of wlc-1" in capsys.readouterr().out


def test_a_rotated_secret_is_another_one_and_is_shown_on_request(node, capsys):
    main(["secrets", "make"])
    before = (node / "secrets" / "nas-wlc-1.conf").read_text()
    capsys.readouterr()
    assert main(["secrets", "rotate", "nas-wlc-1"]) == 0
    after = (node / "secrets" / "nas-wlc-1.conf").read_text()
    said = capsys.readouterr().out
    assert after != before
    assert after.split()[2] not in said
    assert "restart FreeRADIUS" in said
    assert (
        "enter it at wlc-1 (10.1.2.10, cisco-9800): radius server NAME: key; "
        "aaa server radius dynamic-author: client ADDRESS server-key\n"
    ) in said
    assert "what still has the old secret is not answered" in said
    assert main(["secrets", "show", "nas-wlc-1"]) == 0
    assert capsys.readouterr().out.strip() == after.split()[2]
    assert not list((node / "secrets").glob(".*"))


def test_a_given_secret_comes_from_a_file_or_standard_input(node, capsys, monkeypatch):
    (node / "new").write_text("0123456789abcdefXYZ\n")
    assert main(["secrets", "rotate", "mail", "--from", str(node / "new")]) == 0
    assert (node / "watch-secrets" / "mail").read_text() == "0123456789abcdefXYZ\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("another-0123456789"))
    assert main(["secrets", "rotate", "nas-wlc-1", "--from", "-"]) == 0
    assert (node / "secrets" / "nas-wlc-1.conf").read_text() == "secret = another-0123456789\n"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("short", "one printable line of at least 16 characters; one is made without --from"),
        ("0123456789abcdef\nsecret = x", "one printable line"),
        ("0123456789 abcdefg", "no blank"),
        ("0123456789abcdéf", "is ASCII"),
        ("0123456789${x}abcdefg", "no blank and none of"),
        ("x" * 5000, "no secret"),
    ],
)
def test_what_freeradius_would_read_otherwise_is_refused(node, capsys, given, why):
    (node / "new").write_text(given)
    assert main(["secrets", "rotate", "nas-wlc-1", "--from", str(node / "new")]) == 2
    assert why in capsys.readouterr().err
    assert not (node / "secrets" / "nas-wlc-1.conf").exists()


@pytest.fixture
def traps(node):
    """The same with traps of SNMPv3."""
    shutil.copytree("rules", node / "rules")
    (node / "rules" / "feeds.yaml").write_text(
        "feeds:\n  traps:\n    users:\n"
        "      wlc: {auth: sha256, auth-file: v3-auth, privacy: aes128, privacy-file: v3-privacy}\n"
    )
    return ["--rules", str(node / "rules")]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("mail", "12-character"),
        ("mail", "pass #1 for $5 {é}"),
        ("mail", " blanks at its ends "),
        ("webhook-security", "x"),
        ("v3-auth", "8 chars!"),
        ("v3-privacy", "0123456789$bcde"),
    ],
)
def test_what_freeradius_does_not_read_is_any_line(node, traps, capsys, name, given):
    """A password that somebody else has given cannot be made longer, or of other characters."""
    (node / "new").write_text(f"{given}\r\n")
    assert main(["secrets", "rotate", name, "--from", str(node / "new"), *traps]) == 0
    assert (node / "watch-secrets" / name).read_text() == f"{given}\n"
    capsys.readouterr()
    assert main(["secrets", "show", name, *traps]) == 0
    assert capsys.readouterr().out == f"{given}\n"


@pytest.mark.parametrize(
    ("name", "given", "why"),
    [
        ("mail", "", "'mail' is the password of the mail server: one printable line\n"),
        ("mail", "  \n", "one printable line\n"),
        ("mail", "one\ntwo\n", "one printable line\n"),
        ("v3-auth", "7 chars", "one printable line of at least 8 characters; one is made without"),
        ("webhook-security", "a\tb", "one printable line; one is made without --from"),
    ],
)
def test_what_no_reader_takes_is_refused(node, traps, capsys, name, given, why):
    (node / "new").write_text(given)
    assert main(["secrets", "rotate", name, "--from", str(node / "new"), *traps]) == 2
    assert why in capsys.readouterr().err
    assert not (node / "watch-secrets" / name).exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["rotate", "nas-wlc-9"], "they name: nas-wlc-1"),
        (["rotate", "mail"], "--from FILE"),
        (["show", "nas-wlc-1"], "cannot be read"),
        (["make", "--rules", "/nonexistent"], "/nonexistent"),
    ],
)
def test_a_wrong_word_says_what_to_write(node, capsys, words, why):
    assert main(["secrets", *words]) == 2
    assert why in capsys.readouterr().err


def test_rules_with_errors_are_named(node, capsys):
    (node / "rules").mkdir()
    (node / "rules" / "sites.yaml").write_text("sites: 4\n")
    assert main(["secrets", "make", "--rules", str(node / "rules")]) == 2
    assert "netguard check" in capsys.readouterr().err


def test_the_secret_of_a_nas_counts_after_a_restart(node, capsys, monkeypatch):
    settings = node / "settings.yaml"
    settings.write_text(settings.read_text() + "service-manager: systemd\n")
    (node / "systemctl").write_text(f'#!/bin/sh\necho "$*" > {node}/told\n')
    (node / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{node}:/usr/bin:/bin")
    assert main(["secrets", "rotate", "nas-wlc-1"]) == 0
    assert (node / "told").read_text().split()[1:] == ["restart", "--", "netguard-radius.service"]


def test_a_file_that_cannot_be_written_leaves_nothing(node):
    with pytest.raises(secret_files.UsageError, match="cannot be written"):
        secret_files.write(node / "no-folder" / "x", "y", "netguard-radius")
    with pytest.raises(secret_files.UsageError, match="no group"):
        secret_files.write(node / "x", "y", "no-such-group")
    (node / "taken").mkdir()
    with pytest.raises(secret_files.UsageError, match="cannot be written"):
        secret_files.write(node / "taken", "y", "netguard-radius")
    assert not list(node.glob(".*"))
    (node / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(secret_files.UsageError, match="not UTF-8"):
        secret_files.read(node / "binary")


def test_a_file_of_another_group_is_named(node, monkeypatch):
    path = node / "x"
    secret_files.write(path, "y", "netguard-radius")
    assert secret_files.look(path, "netguard-radius")[0] == "ok"
    assert "chgrp no-such" in secret_files.look(path, "no-such")[0]
    assert secret_files.look(path / "below", "netguard-radius")[0].startswith("unreadable")
