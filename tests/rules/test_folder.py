"""A folder is read once, as bytes by name; what is not read is said."""

import os

import pytest

from netguard.errors import UsageError
from netguard.rules import folder as folder_module
from netguard.rules.folder import Folder, read_folder


def test_rule_files_are_read_and_others_are_named(tmp_path):
    (tmp_path / "services" / "unverified").mkdir(parents=True)
    for name in (
        "groups.yaml",
        "macs.csv",
        "group.yaml",
        "zz.yml",
        "README.md",
        "services/a.yaml",
        "services/b.yml",
        "services/README.md",
        "services/unverified/c.yaml",
    ):
        (tmp_path / name).write_text(name)
    read = read_folder(tmp_path, "rules")
    assert sorted(read.files) == [
        "groups.yaml",
        "macs.csv",
        "services/a.yaml",
        "services/unverified/c.yaml",
    ]
    assert [(f.level, f.file, f.text[:52]) for f in read.faults] == [
        ("warning", "rules/group.yaml", "is not a rule file, did you mean 'groups.yaml'?"),
        ("warning", "rules/zz.yml", "is not a rule file, names here: netguard.yaml, sites"),
        ("warning", "rules/services/b.yml", "is not read, rule files end in .yaml"),
    ]


def test_the_digest_is_of_names_and_contents_and_of_no_order():
    one = Folder("a", {"x": b"1", "y": b"2"})
    assert one.digest == Folder("b", {"y": b"2", "x": b"1"}).digest
    assert one.digest != Folder("a", {"x": b"2", "y": b"1"}).digest
    assert one.shown("x") == "a/x"
    assert Folder(".", {}).shown("x") == "x"


def test_a_folder_that_is_none_is_a_wrong_word(tmp_path):
    with pytest.raises(UsageError, match="no such folder; 'netguard init"):
        read_folder(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="not a folder"):
        read_folder(tmp_path / "file")


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_module, "MAX_FILES", 1)
    (tmp_path / "a.csv").write_text("")
    assert read_folder(tmp_path).name == str(tmp_path)
    (tmp_path / "b.csv").write_text("")
    with pytest.raises(UsageError, match="more than 1 rule files"):
        read_folder(tmp_path)


def test_what_cannot_be_read_is_told_and_not_missed_as_well(tmp_path):
    os.mkfifo(tmp_path / "groups.yaml")
    read = read_folder(tmp_path, "rules")
    assert read.files == {"groups.yaml": b""}
    assert [f.render() for f in read.faults] == ["rules/groups.yaml: error: is not a regular file"]


def test_a_table_may_be_larger_than_a_rule_file(tmp_path):
    (tmp_path / "tablets.csv").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "sites.yaml").write_bytes(b"x" * (1024 * 1024 + 1))
    assert [(f.file, f.id) for f in read_folder(tmp_path, "r").faults] == [("r/sites.yaml", "size")]
