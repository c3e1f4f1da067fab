"""`netguard test` and `apply`: a case that fails is seen, and stops what it must stop."""

import json
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from netguard.cli import main
from netguard.core.cases import judge
from netguard.core.plan import compile_plan
from netguard.core.proof import prove
from netguard.daemon import incoming
from netguard.errors import Refused
from netguard.rules.folder import Folder

ROOT = Path(__file__).parents[2]
WRONG = "cases:\n  - {name: x, from: {group: patients}, to: {address: 8.8.8.8, port: tcp/443}, expect: allow}\n"


@pytest.fixture
def settings(tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(
        f"version: 1\nnode: gw\nsites: [pellegrin]\npaths: {{run: {tmp_path}/run, state: {tmp_path}/state}}\n"
    )
    return file


def test_the_example_hospital_holds_its_cases(capsys, tmp_path):
    file = tmp_path / "cases.xml"
    assert main(["test", str(ROOT / "rules"), "--junit", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "failed:" not in out
    suite = ET.parse(file).getroot()
    assert (suite.get("failures"), int(suite.get("tests"))) == ("0", len(out.splitlines()))
    assert err == f"{suite.get('tests')} passed, 0 failed\n"


def test_each_group_and_each_protected_network_has_a_case(example):
    from datetime import date

    from netguard.rules.folder import read_folder
    from netguard.rules.load import load

    cases = load(read_folder(ROOT / "rules"), today=date(2026, 11, 22)).cases
    groups = {case.sender.group for case in cases} | {
        example.tablets[case.sender.tablet].group for case in cases if case.sender.tablet
    }
    assert set(example.groups) <= groups
    assert set(example.protected) <= {case.target.protected for case in cases}
    assert {case.sender.group for case in cases if case.expected.word == "only"} == set(
        example.groups
    )


def test_a_folder_without_a_case_is_told_how_one_is_written(capsys, tmp_path):
    subprocess.run(["cp", "-r", str(ROOT / "rules"), tmp_path / "rules"], check=True)
    subprocess.run(["rm", "-r", tmp_path / "rules" / "tests"], check=True)
    assert main(["test", str(tmp_path / "rules")]) == 0
    assert "no case under tests/: rules/README.md" in capsys.readouterr().err


def test_a_case_that_fails_stops_apply_before_guard_is_asked(capsys, tmp_path, settings):
    folder = tmp_path / "rules"
    subprocess.run(["cp", "-r", str(ROOT / "rules"), folder], check=True)
    (folder / "tests" / "wrong.yaml").write_text(WRONG)
    assert main(["--settings", str(settings), "apply", str(folder)]) == 1
    err = capsys.readouterr().err
    place = WRONG.splitlines()[1].index("allow") + 1
    assert f"tests/wrong.yaml:2:{place}: failed: x" in err
    assert "1 of 42 cases failed, not applied; guard does not answer" in err
    assert "applying" not in err


def test_guard_refuses_what_fails_with_the_first_of_them(small_cases):
    policy, cases = small_cases(WRONG)
    incoming.refuse_failing(judge(policy, cases[:2]))
    with pytest.raises(Refused, match=r"tests/wrong.yaml:2:\d+: failed: x\n    expected  allow"):
        incoming.refuse_failing(judge(policy, cases))
    with pytest.raises(Refused, match=r"and 5 more$"):
        incoming.refuse_failing(judge(policy, cases[-1:] * 25))


def test_guard_refuses_what_is_not_proved(example):
    plan = compile_plan(example, sorted(example.sites))
    incoming.refuse_unproved(prove(example, plan))
    spoilt = replace(plan, protected=plan.protected[1:])
    with pytest.raises(Refused, match=r"REFUTED, .* passes by (?s:.*)'netguard prove' says which"):
        incoming.refuse_unproved(prove(example, spoilt))


@pytest.fixture
def small_cases():
    from datetime import date

    from netguard.rules.folder import read_folder
    from netguard.rules.load import load

    base = read_folder(ROOT / "tests" / "bad" / "base", "rules")

    def build(text):
        files = {**base.files, "tests/wrong.yaml": text.encode()}
        loaded = load(Folder("rules", files), today=date(2026, 11, 22))
        return loaded.policy, loaded.cases

    return build


def test_native_texts_follow_the_meaning(capsys, tmp_path):
    new = tmp_path / "rules"
    subprocess.run(["cp", "-r", str(ROOT / "tests" / "bad" / "base"), new], check=True)
    sites = new / "sites.yaml"
    sites.write_text(sites.read_text().replace("vlan: 640", "vlan: 642"))
    groups = new / "groups.yaml"
    groups.write_text(groups.read_text().replace("allow: [jitsi]", "allow: [jitsi, time]"))
    words = ["plan", str(new), "--against", str(ROOT / "tests" / "bad" / "base")]
    assert main([*words, "--native"]) == 3
    text = capsys.readouterr().out
    assert '+\tTunnel-Private-Group-Id = "642",' in text
    assert "native: nftables\n" in text
    assert "+add element inet netguard grants { 0x" in text
    assert main([*words, "--json"]) == 3
    body = json.loads(capsys.readouterr().out)
    assert body["widens"]
    assert set(body["native"]) >= {"nftables", "freeradius/tablets", "names/dns.json"}
    assert body["groups"]["visitors"]["changes"][0]["what"] == "service time"
