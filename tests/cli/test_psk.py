"""netguard psk: who has a key, one shown, one rotated, a card that a telephone reads; against a guard on its socket."""

import asyncio
import json
import re
import stat
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from netguard.adapters import clock, control
from netguard.cli import main
from netguard.core.psk import wifi_text
from netguard.daemon.guard import Guard
from netguard.rules.settings_file import read_settings

BASE = Path(__file__).parents[1] / "bad" / "base"
KEY = r"([a-z0-9]{4}-){3}[a-z0-9]{4}"
SSID = "CHU; Tablettes, 3: <é>"


@pytest.fixture
def guard(tmp_path, small, monkeypatch):
    """A guard without a kernel, that answers on its socket; at one site tablets have keys."""
    path = tmp_path / "settings.yaml"
    path.write_text(
        f"version: 1\nnode: n\nsites: [pellegrin, haut-leveque]\npaths: {{state: {tmp_path}/state, "
        f"run: {tmp_path}, radius: {tmp_path}/radius}}\n"
    )
    monkeypatch.setenv("NETGUARD_SETTINGS", str(path))
    sites = (BASE / "sites.yaml").read_text()
    sites = sites.replace("secret-file: nas-wlc-1", "secret-file: nas-wlc-1, psk: per-tablet")
    sites = sites.replace("ssid: CHU-TABLETTES", f"ssid: '{SSID}'", 1)
    held = Guard(read_settings(path))
    held.register.open(clock.now())
    held.state.policy = small(sites=sites)
    held.state.plan = held._plan(held.state.policy)
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve():
        await held.radius.bring(held.state.plan)
        server = await control.serve(held.settings.guard_socket, held._offers(), lambda _: None)
        held.stop = asyncio.Event()
        ready.set()
        async with server:
            await held.stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(20)
    yield held
    loop.call_soon_threadsafe(held.stop.set)
    thread.join(20)
    loop.close()
    held.register.close()


def said(capsys, *words, code=0):
    assert main(["psk", *words]) == code, capsys.readouterr()
    return capsys.readouterr().out


def test_who_has_a_key_is_listed_without_any(guard, capsys):
    text = said(capsys)
    assert re.search(r"^T-001 +since 20\S+ by guard, at pellegrin$", text, re.MULTILINE)
    assert not re.search(KEY, text)
    rows = json.loads(said(capsys, "list", "--json"))["psks"]
    assert rows[0]["sites"] == ["pellegrin"]


def test_one_is_shown_rotated_and_shown_again(guard, capsys):
    before = said(capsys, "show", "T-001").strip()
    assert re.fullmatch(KEY, before)
    text = said(capsys, "rotate", "T-001", "--why", "the card was lost")
    assert text.startswith("rotated T-001, 74 bits each")
    assert "netguard psk card T-001 --out T-001.html" in text
    after = json.loads(said(capsys, "show", "T-001", "--json"))
    assert after["psk"] != before
    assert not re.search(KEY, text)
    assert said(capsys, "rotate", "--all", "--why", "x").startswith("rotated ")
    assert "T-001" in json.loads(said(capsys, "rotate", "--all", "--why", "x", "--json"))["rotated"]
    assert main(["audit"]) == 0
    audit = capsys.readouterr().out
    assert "psk-rotated T-001: - -> why the card was lost" in audit
    assert "psk-show T-001" in audit
    assert not re.search(KEY, audit)


@pytest.mark.parametrize("name", ["card.svg", "card.html"])
def test_a_card_is_read_by_another_program_and_by_nobody_else(guard, capsys, tmp_path, name):
    target = tmp_path / name
    text = said(capsys, "card", "T-001", "--out", str(target), "--language", "fr")
    assert f"card of T-001 for {SSID}" in text
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    key = said(capsys, "show", "T-001").strip()
    drawn = target.read_text()
    assert key in drawn
    assert "&lt;é&gt;" in drawn
    assert "Détruisez la carte" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/2000/svg", ""), "it fetches nothing"
    image, picture = tmp_path / "x.svg", tmp_path / "x.png"
    image.write_text(drawn[drawn.index("<svg") : drawn.rindex("</svg>") + 6])
    subprocess.run(
        ["rsvg-convert", "-z", "2", "-o", str(picture), str(image)], check=True, timeout=60
    )
    read = subprocess.run(
        ["zbarimg", "-q", "--raw", str(picture)], capture_output=True, check=True, timeout=60
    )
    assert read.stdout.decode().strip() == wifi_text(SSID, key)
    # What is there is not written over, nor is anything else than such a file made.
    assert main(["psk", "card", "T-001", "--out", str(target)]) == 2
    assert "--force" in capsys.readouterr().err
    assert said(capsys, "card", "T-001", "--out", str(target), "--force", "--json") == (
        json.dumps({"tablet": "T-001", "file": str(target), "networks": [SSID]}) + "\n"
    )


def test_wrong_words_say_what_to_write(guard, capsys, tmp_path):
    for words, code, text in (
        (["rotate"], 2, "name one tablet, or say --all"),
        (["rotate", "T-001", "--all", "--why", "x"], 2, "name one tablet, or say --all"),
        (["rotate", "T-001"], 2, "say why, for the audit"),
        (["card", "T-001", "--out", str(tmp_path / "x.pdf")], 2, "ends in .html or .svg"),
        (["card", "T-001", "--out", str(tmp_path / "no" / "x.svg")], 2, "no such folder"),
        (["show", "T-999"], 5, "T-999"),
    ):
        assert main(["psk", *words]) == code, words
        assert text in capsys.readouterr().err


def test_what_is_wrong_is_said_and_ends_with_1(guard, capsys):
    (guard.settings.paths.state / "psk.key").chmod(0o644)
    guard.psks._box._key = None
    assert main(["psk", "show", "T-001"]) == 5
    assert "others may read it, run: chmod 0600" in capsys.readouterr().err
    guard.psks.problem = "the Wi-Fi keys cannot be read"
    assert main(["psk", "list"]) == 1
    assert "warning: psk: the Wi-Fi keys cannot be read" in capsys.readouterr().err


def test_a_card_that_cannot_be_written_is_said(guard, capsys, tmp_path):
    folder = tmp_path / "card.svg"
    folder.mkdir()
    assert main(["psk", "card", "T-001", "--out", str(folder), "--force"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_without_the_rule_the_list_says_how_to_get_one(guard, capsys, small):
    guard.state.policy = small()
    guard.state.plan = guard._plan(guard.state.policy)
    assert main(["psk"]) == 0
    assert "psk: per-tablet below a NAS in sites.yaml" in capsys.readouterr().err


def test_a_language_that_nobody_wrote_is_refused_before_the_key_is_asked_for(
    guard, capsys, tmp_path
):
    before = len(guard.register.audit(datetime.min.replace(tzinfo=UTC), ""))
    words = ["psk", "card", "T-001", "--out", str(tmp_path / "x.svg"), "--language", "tlh"]
    assert main(words) == 2
    assert "no texts in 'tlh', there are: en, fr" in capsys.readouterr().err
    assert len(guard.register.audit(datetime.min.replace(tzinfo=UTC), "")) == before


def test_a_tablet_that_comes_back_needs_a_new_card(guard, capsys):
    assert main(["lend", "T-001"]) == 0
    assert "new Wi-Fi key" not in capsys.readouterr().out
    assert main(["return", "T-001"]) == 0
    text = capsys.readouterr().out
    assert "has a new Wi-Fi key: netguard psk card T-001 --out T-001.html" in text


def test_it_is_a_command_like_the_others(capsys):
    with pytest.raises(SystemExit):
        main(["psk", "card", "--help"])
    assert "netguard psk card T-001 --out T-001.html" in capsys.readouterr().out
    assert main(["completion", "bash"]) == 0
    assert "psk_rotate" in capsys.readouterr().out
