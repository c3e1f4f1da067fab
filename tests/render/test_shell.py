"""Values that are shell: whatever stands in a rule file is refused, or in what is rendered it is only a text."""

import csv
import io
import json
import re
import subprocess
from datetime import date
from pathlib import Path

import pytest
import yaml

from netguard.cli.planning import _texts as rendered
from netguard.core.plan import compile_plan
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load

BASE = read_folder(Path(__file__).parents[1] / "bad" / "base", "rules")
TODAY = date(2026, 11, 22)
# Each would leave a file behind if any shell, FreeRADIUS or nft took it for more than a text.
PAYLOADS = [
    "$(touch CANARY)",
    "`touch CANARY`",
    "x; touch CANARY",
    "x | touch CANARY",
    "x && touch CANARY",
    "x$IFS$9touch${IFS}CANARY",
    "'; touch CANARY; '",
    "{{ lookup('pipe', 'touch CANARY') }}",
    "%{exec:/usr/bin/touch CANARY}",
    "x > CANARY",
    "-rf",
    "~root/*",
]


def scalars(value, path=()):
    """Every text of a YAML file, values and keys, by its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), "key"
            yield from scalars(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from scalars(inner, (*path, index))
    else:
        yield path, "value"


def spoiled(tree, path, kind, payload):
    """A copy with one key or value replaced."""
    copy = json.loads(json.dumps(tree, default=str))
    inner = copy
    for part in path[:-1]:
        inner = inner[part]
    if kind == "value":
        inner[path[-1]] = payload
    else:
        inner[payload] = inner.pop(path[-1])
    return copy


def places():
    for name, data in sorted(BASE.files.items()):
        if name.endswith(".yaml"):
            tree = yaml.load(data, yaml.BaseLoader)
            # Texts that the base does not have.
            if name == "sites.yaml":
                tree["sites"]["pellegrin"] |= {"name": "x", "other-networks": "reject"}
                tree["sites"]["pellegrin"]["areas"]["lobby"] |= {"name": "x"}
            if name == "services/jitsi.yaml":
                tree["services"]["jitsi"] |= {"label": "x", "note": "x"}
            for path, kind in scalars(tree):
                yield name, tree, path, kind


def folders(payload):
    """The folder again and again, each time with another text replaced; and where."""
    for name, tree, path, kind in places():
        text = yaml.safe_dump(
            spoiled(tree, path, kind, payload), default_style="'", sort_keys=False
        )
        yield f"{name}: {path} ({kind})", Folder("rules", {**BASE.files, name: text.encode()})
    for name in ("tablets.csv", "allotted.csv", "protected-macs.csv"):
        rows = list(csv.reader(io.StringIO(BASE.files[name].decode())))
        for column in range(len(rows[0])):
            changed = [list(row) for row in rows]
            changed[1][column] = payload
            out = io.StringIO()
            csv.writer(out).writerows(changed)
            yield (
                f"{name}: {rows[0][column]}",
                Folder("rules", {**BASE.files, name: out.getvalue().encode()}),
            )


def outside_quotes(name, text):
    """What FreeRADIUS reads as more than a text; names of APs are percent-encoded there (a key)."""
    if not name.startswith("freeradius/"):
        return text
    words = re.sub(r'"[^"\\$%`\n]*"', '""', text)
    return re.sub(r"(?m)^[a-z0-9-]+/[A-Za-z0-9%._~-]+ Netguard-Area", "", words)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_value_that_is_shell_is_refused_or_arrives_as_nothing_but_a_text(payload):
    taken, refused = [], 0
    for where, folder in folders(payload):
        policy = load(folder, today=TODAY).policy
        if policy is None:
            refused += 1
            continue
        taken.append(where)
        # What check lets in, apply can write.
        for name, text in rendered(compile_plan(policy, sorted(policy.sites))):
            assert "CANARY" not in outside_quotes(name, text), f"{where} arrives in {name}"
            assert payload not in outside_quotes(name, text), f"{where} arrives in {name}"
    assert refused > 80
    assert len(taken) > 3, "texts for people are taken"


def test_the_test_above_finds_a_value_that_arrives():
    """A harmless SSID goes through the same search, and is found."""
    policy = next(
        load(folder, today=TODAY).policy
        for where, folder in folders("CHU-AUTRE")
        if "'ssid'" in where and "(value)" in where
    )
    texts = dict(rendered(compile_plan(policy, sorted(policy.sites))))
    assert "CHU-AUTRE" in texts["freeradius/lent"]


def test_the_whole_command_runs_nothing_of_what_it_reads(tmp_path):
    """The real command over rules whose texts for people are all shell, from an empty folder."""
    rules = tmp_path / "rules"
    for name, data in BASE.files.items():
        (rules / name).parent.mkdir(parents=True, exist_ok=True)
        (rules / name).write_bytes(data)
    tree = yaml.load(BASE.files["sites.yaml"], yaml.BaseLoader)
    tree["sites"]["pellegrin"]["name"] = "$(touch CANARY)`touch CANARY`; touch CANARY"
    tree["sites"]["pellegrin"]["areas"]["lobby"]["aps"] = ["$(touch CANARY)", "; touch CANARY"]
    (rules / "sites.yaml").write_text(yaml.safe_dump(tree, default_style="'"))
    tablets = (rules / "tablets.csv").read_text().replace("SM-T510", "`touch CANARY`")
    (rules / "tablets.csv").write_text(tablets)
    empty = tmp_path / "empty"
    empty.mkdir()
    command = str(Path(__file__).parents[2] / ".venv" / "bin" / "netguard")
    for words in (
        ["check"],
        ["lint"],
        ["plan", "--against", str(rules), "--native"],
        ["fmt"],
        ["test"],
        ["prove"],
    ):
        done = subprocess.run(
            [command, words[0], str(rules), *words[1:]],
            cwd=empty,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr
        assert done.returncode in {0, 1, 3}, done.stderr
    assert list(empty.iterdir()) == []
    assert not list(tmp_path.rglob("*CANARY*"))
