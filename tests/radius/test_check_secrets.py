"""check-secrets: weak, shared and readable secrets are named, and never shown."""

import subprocess
from pathlib import Path

import pytest

CHECK = Path(__file__).parents[2] / "radius_hooks" / "check-secrets"
GOOD = "9f2c41d07b3e58a6c1d90e47"


@pytest.fixture
def secrets(tmp_path):
    folder = tmp_path / "secrets"
    folder.mkdir(mode=0o750)

    def write(name, text, mode=0o640):
        path = folder / f"{name}.conf"
        path.write_text(text)
        path.chmod(mode)
        return path

    write("good", f"secret = {GOOD}\n")
    return folder, write


def run(folder, *words):
    return subprocess.run(
        [CHECK, *words, folder], capture_output=True, text=True, timeout=20, check=False
    )


def test_good_secrets_pass_in_silence(secrets):
    folder, write = secrets
    write("quoted", 'secret = "correct horse battery staple 7"   \n')
    write("comment", f"# of the controller\n\tsecret = {GOOD[::-1]} # made in November\n")
    done = run(folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "shorter than 16"),
        ("short-secret-15", "shorter than 16"),
        ("testing123", "shorter than 16"),
        ("testing123testing123", "well-known"),
        ("my-radius-secret-2026", "well-known"),
        ("0000SharedSecret0000", "well-known"),
        ("aaaaaaaaaaaaaaaaaaaaaaaa", "repeats"),
        ("abababababababababababab", "repeats"),
        ("kX9!vqkX9!vqkX9!vqkX9!vq", "repeats itself"),
        ("abcdefghijklmnopqrstuvwx", "only counts"),
    ],
)
def test_a_weak_secret_is_refused_by_the_name_of_its_file(secrets, secret, why):
    folder, write = secrets
    path = write("wlc-1", f"secret = {secret}\n")
    done = run(folder)
    assert done.returncode == 1
    assert f"error: {path}: " in done.stderr
    assert why in done.stderr
    assert not secret or secret not in done.stdout + done.stderr
    assert GOOD not in done.stdout + done.stderr


@pytest.mark.parametrize("mode", [0o644, 0o641, 0o642, 0o660, 0o666, 0o777])
def test_a_secret_that_others_can_read_or_write_is_refused(secrets, mode):
    folder, write = secrets
    path = write("wlc-1", f"secret = {GOOD[::-1]}\n", mode)
    done = run(folder)
    assert done.returncode == 1
    assert f"{path}: mode {mode:04o} is too wide, run: chmod 0640 {path}" in done.stderr


@pytest.mark.parametrize("mode", [0o640, 0o600, 0o400, 0o440])
def test_a_secret_for_its_owner_and_group_passes(secrets, mode):
    folder, write = secrets
    write("wlc-1", f"secret = {GOOD[::-1]}\n", mode)
    assert run(folder).returncode == 0


def test_two_that_share_a_secret_are_named_and_may_start(secrets):
    folder, write = secrets
    write("wlc-2", f'secret = "{GOOD}"\n')
    done = run(folder)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: ")
    assert "good.conf, wlc-2.conf have the same secret" in done.stderr
    assert GOOD not in done.stderr


@pytest.mark.parametrize(
    "text", ["", f"secret = {GOOD}\nsecret = {GOOD}\n", "Secret: x\n", "\0\xff"]
)
def test_a_snippet_without_exactly_one_secret_is_refused(secrets, text):
    folder, write = secrets
    write("wlc-1", text)
    done = run(folder)
    assert done.returncode == 1
    assert "write exactly one" in done.stderr


def test_an_empty_or_missing_folder_is_refused(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run(empty).returncode == 1
    assert run(tmp_path / "missing").returncode == 1


def test_a_group_that_is_not_the_servers_is_refused(secrets):
    folder, _ = secrets
    done = run(folder, "--group", "no-such-group")
    assert done.returncode == 1
    assert "run: chgrp no-such-group" in done.stderr


def test_a_folder_that_everybody_may_write_is_refused(secrets):
    folder, _ = secrets
    folder.chmod(0o777)
    assert run(folder).returncode == 1
