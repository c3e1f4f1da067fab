"""replay, simulate and evaluate, as one types them."""

import gzip
import json
import os
import threading
from pathlib import Path

import pytest

from netguard.cli import main

RULES = str(Path(__file__).parents[2] / "rules")
TODAY = ["--rules", RULES, "--today", "2026-11-22"]
MAC = "64:1b:2f:6a:d5:79"
T0 = 1767600000


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def theft(tmp_path):
    """A tablet goes through the lobby and is not heard again; others go on."""
    rows = [{"at": T0, "kind": "associated", "mac": MAC, "ap": "AP-CAR-301"}]
    rows += [{"at": T0 + 60, "kind": "associated", "mac": "64-1B-2F-6A-D5-79", "ap": "AP-LOB-01"}]
    rows += [
        {"at": T0 + 60 + n * 50, "kind": "heard", "mac": "60:fd:a6:d4:30:1e", "ap": "AP-CAR-302"}
        for n in range(1, 20)
    ]
    return lines(tmp_path / "events.jsonl", rows)


def test_replay_tells_each_change_and_alert(theft, capsys):
    assert main(["replay", theft, *TODAY, "--json"]) == 0
    said = capsys.readouterr()
    rows = [json.loads(line) for line in said.out.splitlines()]
    alerts = [row for row in rows if row["type"] == "alert"]
    assert next((row["tablet"], row["kind"], row["cause"], row["area"]) for row in alerts) == (
        "T-001", "raised", "taken", "lobby",
    )  # fmt: skip
    assert alerts[0]["silent_since"] == T0 + 60
    assert alerts[0]["reasons"][0]["name"]
    assert alerts[0]["mac"] == MAC
    keys = {
        "at",
        "tablet",
        "mac",
        "kind",
        "cause",
        "probability",
        "reasons",
        "area",
        "silent_since",
    }
    assert all(keys <= set(row) for row in rows)
    assert [row["state"] for row in rows if row["type"] == "transition"] == ["quiet", "missing"]
    assert "1 theft alarms" in said.err
    assert main(["replay", theft, *TODAY]) == 0
    assert "T-001  raised: taken" in capsys.readouterr().out


def test_replay_skips_what_is_no_event_and_says_so(theft, tmp_path, capsys):
    path = tmp_path / "broken.jsonl.gz"
    good = Path(theft).read_bytes()
    bad = b"{\n[]\n\n" + b"x" * 70_000 + b"\n" + b'{"at": 1, "kind": "herd"}\n'
    path.write_bytes(gzip.compress(bad + good + b'{"at": 5'))
    assert main(["replay", str(path), *TODAY, "--json"]) == 0
    said = capsys.readouterr()
    assert '"taken"' in said.out
    assert f"{path}:1: not a JSON object" in said.err
    assert "did you mean 'heard'" in said.err
    assert "5 of" in said.err


def test_replay_of_nothing(tmp_path, capsys):
    assert main(["replay", str(tmp_path / "none.jsonl"), *TODAY]) == 2
    assert "none.jsonl" in capsys.readouterr().err
    (tmp_path / "not.gz").write_bytes(b"plain")
    assert main(["replay", str(tmp_path / "not.gz"), *TODAY]) == 2
    assert main(["replay", lines(tmp_path / "empty", []), *TODAY]) == 0


def test_a_difference_of_rules_is_what_alerts_change(theft, tmp_path, capsys):
    from shutil import copytree

    other = tmp_path / "rules"
    copytree(RULES, other)
    text = (other / "sites.yaml").read_text().replace("edge: true", "edge: false")
    (other / "sites.yaml").write_text(text)
    assert main(["replay", theft, *TODAY, "--diff", str(other)]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("- ")
    assert "0 gained, 1 lost" in said.err
    assert main(["replay", theft, *TODAY, "--diff", RULES, "--json"]) == 0
    assert capsys.readouterr().out == ""


def test_a_simulated_stream_is_replayed_and_evaluated(tmp_path, capsys):
    events, labels, picture = (tmp_path / name for name in ("e.jsonl.gz", "l.jsonl", "p.svg"))
    words = ["simulate", "--seed", "5", "--set", "days=1", "--set", "thefts=0.05", *TODAY]
    assert main([*words, "--out", str(events), "--labels", str(labels)]) == 0
    first = events.read_bytes()
    assert main([*words, "--out", str(events), "--labels", str(labels)]) == 0
    assert events.read_bytes() == first
    assert main(["evaluate", str(events), str(labels), *TODAY, "--picture", str(picture)]) == 0
    said = capsys.readouterr().out
    for word in ("fixed 15 min", "consider-home 180 s", "under 30 cases: empty", "netguard"):
        assert word in said
    assert picture.read_text().startswith("<svg ")
    assert picture.read_text().count("<circle") >= 5
    assert main(["evaluate", str(events), str(labels), *TODAY, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert body["thefts"] > 0
    assert set(body["rivals"]) >= {"fixed 5 min", "fixed 60 min"}


def test_a_difference_is_told_of_a_pipe_as_of_a_file(theft, tmp_path, capsys):
    """What was read for the first rules was gone for the second: every alert was lost."""
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(Path(theft).read_bytes(),))
    writer.start()
    assert main(["replay", str(pipe), *TODAY, "--diff", RULES]) == 0
    writer.join()
    said = capsys.readouterr()
    assert said.out == ""
    assert "0 gained, 0 lost" in said.err
    assert f"1 alerts by {RULES}, 1 by" in said.err


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b'{"at": 1, "kind": []}', "kind '[]' is not known"),
        (b'{"at": %s, "kind": "heard"}' % (b"9" * 400), "'heard' lacks 'mac'"),
        (
            b'{"at": %s, "kind": "heard", "mac": "64:1b:2f:6a:d5:79"}' % (b"9" * 400),
            "'at' is not a time",
        ),
        (
            b'{"at": NaN, "kind": "heard", "mac": "64:1b:2f:6a:d5:79"}',
            "'at' is not a time",
        ),
        (b'{"at": 1 "kind"}', "not a JSON object, column 10: "),
        (b"{\xff}", "not UTF-8, column 2: "),
        (b"[" * 40_000, "not a JSON object: "),
        # The end of a line that is too long is no line.
        (
            b"x" * 65_536 + b'{"at": 1, "kind": "feed-lost", "source": "x"}',
            "not a line of ours: longer than 65536",
        ),
    ],
)
def test_a_recording_without_an_event_is_none_and_says_where_it_is_wrong(
    line, text, tmp_path, capsys
):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n" + line + b"\n")
    assert main(["replay", str(path), *TODAY]) == 2
    said = capsys.readouterr().err
    assert f"{path}:2: {text}" in said
    assert "docs/events.md" in said.splitlines()[-1]


@pytest.mark.parametrize("spoil", ["cut", "flipped", "more"])
def test_a_recording_that_is_damaged_says_behind_which_line(spoil, theft, tmp_path, capsys):
    path = tmp_path / "events.jsonl.gz"
    packed = bytearray(gzip.compress(Path(theft).read_bytes() * 200, 9))
    if spoil == "cut":
        del packed[len(packed) // 2 :]
    elif spoil == "flipped":
        packed[len(packed) // 2] ^= 0xFF
    else:
        packed += b"more"
    path.write_bytes(packed)
    assert main(["replay", str(path), *TODAY]) == 2
    assert f"netguard: {path}:" in capsys.readouterr().err.splitlines()[-1]
    assert main(["evaluate", theft, str(path), *TODAY]) == 2


LABEL = {
    "tablet": "T-001", "mac": MAC, "cause": "taken", "how": "carried-out", "last_frame": T0 + 60,
    "until": 0, "edge": True,
}  # fmt: skip


def test_a_label_is_a_line_that_people_can_write(theft, tmp_path, capsys):
    good = lines(tmp_path / "labels", [LABEL])
    assert main(["evaluate", theft, good, *TODAY, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert (body["thefts"], body["engine"]["found"], body["engine"]["false_per_week"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cause": "stolen"}, "unknown cause 'stolen'"),
        ({"tablet": "T-999"}, "'T-999' is no tablet of the rules"),
        ({"tablet": 7}, "'tablet' is not a text"),
        ({"edge": 1}, "'edge' is not true or false"),
        ({"last_frame": float("nan")}, "'last_frame' is not a time"),
        ({"until": 10**400}, "'until' is not a time"),
        ({"more": 1}, "a label has tablet, mac, cause"),
    ],
)
def test_a_label_that_is_wrong_is_named_with_its_line(change, text, theft, tmp_path, capsys):
    bad = lines(tmp_path / "labels", [LABEL, LABEL | change])
    assert main(["evaluate", theft, bad, *TODAY]) == 2
    said = capsys.readouterr().err
    assert "labels:2: " in said
    assert text in said


def test_two_inputs_cannot_both_be_standard_input(capsys):
    assert main(["evaluate", "-", "-", *TODAY]) == 2
    assert "both" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--out", "{}"], ["--out", "/dev/null", "--labels", "{}"]])
def test_what_cannot_be_written_is_named(words, tmp_path, capsys):
    (tmp_path / "file").touch()
    inside = str(tmp_path / "file" / "inside.jsonl")
    given = [word.format(inside) for word in words]
    assert main(["simulate", *given, "--set", "days=1", "--set", "others=[9000,9000]", *TODAY]) == 2
    assert f"netguard: {inside}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--set", "days=0"], "'days' is a whole number from 1"),
        (["--set", "days=Infinity"], "'days' is a whole number from 1"),
        (["--set", "thefts=null"], "'thefts' is a number from 0"),
        (["--set", "thefts=true"], "'thefts' is a number from 0"),
        (["--set", "thefts=NaN"], "'thefts' is a number from 0"),
        (["--set", "gap_ends=[1]"], "'gap_ends' is a list of 10 numbers"),
        (["--set", "interim=0"], "'interim' is a number from 1"),
        (["--set", "power_cut=[1]"], "'power_cut' is a list of 0 or 3 numbers"),
        (["--scenario", "hospitle"], "did you mean 'hospital'"),
        (["--set", "thefts"], "write thefts=0.01"),
        (["--set", "theft=1"], "did you mean 'thefts'"),
    ],
)
def test_a_wrong_word_of_simulate(words, text, capsys):
    assert main(["simulate", *words, *TODAY]) == 2
    assert text in capsys.readouterr().err


def test_labels_that_are_none(theft, tmp_path, capsys):
    bad = lines(tmp_path / "labels", [{"tablet": "T-001"}])
    assert main(["evaluate", theft, bad, *TODAY]) == 2
    assert "labels:1: not a label" in capsys.readouterr().err
    assert main(["evaluate", theft, str(tmp_path / "no"), *TODAY]) == 2


def test_rules_with_an_error_are_not_used(theft, tmp_path, capsys):
    (tmp_path / "r").mkdir()
    assert main(["replay", theft, "--rules", str(tmp_path / "r")]) != 0
    assert capsys.readouterr().err


def test_a_long_recording_says_how_far_it_is(theft, monkeypatch, capsys):
    monkeypatch.setattr("netguard.cli.replaying._PROGRESS", 10)
    assert main(["replay", theft, *TODAY]) == 0
    assert [line for line in capsys.readouterr().err.splitlines() if "lines read" in line] == [
        "10 lines read",
        "20 lines read",
    ]
