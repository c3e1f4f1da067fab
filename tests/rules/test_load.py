"""A folder to a policy: which files must be there, and what happens to the inventory."""

import pytest


@pytest.mark.parametrize("file", ["netguard.yaml", "sites.yaml", "groups.yaml"])
def test_a_file_that_must_be_there_is_missed_once(rules, file):
    rules.remove(file)
    rules.says(f"error missing-file {file}:0:0", "file is missing; 'netguard init' shows")
    assert rules.load().policy is None


def test_one_inventory_is_there_and_only_one(rules):
    rules.write("tablets.yaml", "tablets: []\n")
    rules.says("duplicate-name tablets.yaml", "both tablets.csv and tablets.yaml are here")
    rules.remove("tablets.yaml", "tablets.csv")
    rules.says("missing-file tablets.csv", "write tablets.csv or tablets.yaml")


def test_an_inventory_of_nobody_must_be_meant(rules):
    rules.write("tablets.csv", "id,mac,group,home\n")
    rules.says("error shrink tablets.csv:1", "0 tablets: nobody would be watched")
    rules.options["allow_empty"] = True
    assert rules.said == []
    assert rules.policy.tablets == {}


YAML = """\
tablets:
  - {id: T-001, mac: 64:1b:2f:00:00:01, group: patients, home: pellegrin/cardio-3, model: SM-T510}
  - {id: T-002, mac: "02:1b:2f:00:00:02", group: patients, home: pellegrin/lobby, serial: A,
     address: 10.99.0.12, private-address: accepted}
"""


def test_the_inventory_may_be_yaml(rules):
    rules.remove("tablets.csv").write("tablets.yaml", YAML)
    rules.says("warning private-mac tablets.yaml:3")
    tablet = rules.policy.tablets["T-001"]
    assert (str(tablet.mac), tablet.home, tablet.model, tablet.serial) == (
        "64:1b:2f:00:00:01", ("pellegrin", "cardio-3"), "SM-T510", "",
    )  # fmt: skip
    assert str(rules.policy.where("tablets", "T-001")) == "tablets.yaml:2:5"


def test_a_tablet_twice_in_yaml_is_told(rules):
    rules.remove("tablets.csv").write("tablets.yaml", YAML.replace("T-002", "T-001"))
    rules.says("duplicate-id tablets.yaml:3:10", "tablet 'T-001' already listed at line 2")


def test_a_fault_in_yaml_refuses_the_whole_inventory(rules):
    rules.remove("tablets.csv").write("tablets.yaml", YAML.replace("64:1b", "zz:1b"))
    rules.says("bad-mac tablets.yaml:2")


def test_the_list_of_clinical_macs_must_be_there_when_named(rules):
    rules.remove("protected-macs.csv")
    rules.says(
        "missing-file protected.yaml:7:9", "no file 'protected-macs.csv' in the rules folder"
    )


def test_nobody_must_name_clinical_macs(rules):
    rules.change("protected.yaml", "  macs: protected-macs.csv\n", "").remove("protected-macs.csv")
    assert rules.said == []
    assert rules.policy.never.macs == frozenset()


def test_of_a_wrong_export_the_first_faults_are_shown_and_the_rest_is_counted(rules):
    rows = "".join(f"T-{n:03},x,patients,pellegrin/lobby,,,\n" for n in range(70))
    rules.write("tablets.csv", f"id,mac,group,home,model,serial,address\n{rows}")
    assert len(rules.said) == 51
    assert "and 20 more faults in this table, 70 in all" in rules.said[-1]


def test_a_folder_may_do_without_allotted_addresses_before_the_first_allot(rules):
    rules.remove("allotted.csv")
    assert {line.split()[1] for line in rules.said} == {"not-allotted"}
    rules.options["require_addresses"] = False
    assert rules.said == []


def test_a_name_beside_the_rules_leads_nowhere(rules):
    rules.write("notes/x.yaml", "a: b")
    assert rules.said == []


@pytest.mark.parametrize(
    "file", ["tablets.csv", "allotted.csv", "protected-macs.csv", "groups.yaml"]
)
def test_what_cannot_be_read_is_one_finding(tmp_path, rules, file):
    from netguard.rules.folder import read_folder
    from netguard.rules.load import load

    for name, data in rules.files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / file).unlink()
    (tmp_path / file).symlink_to("/etc/hostname")
    found = load(read_folder(tmp_path, ""), today=rules.today).findings
    assert [(f.file, f.text) for f in found] == [(file, found[0].text)]
    assert found[0].text.startswith("leads out of the rules folder")
