"""Files swapped in by rename, copies in force, and the lock."""

import pytest

from netguard.adapters import files
from netguard.adapters.files import Applied, Copies
from netguard.errors import UsageError


def applied(number):
    return Applied(number, "2026-11-22T00:00:00+00:00", "me", "rules", "/r", "", False, "a", "b")


def test_the_same_content_is_not_written_again(tmp_path):
    path = tmp_path / "deep" / "file"
    assert files.write(path, "one", 0o640)
    inode = path.stat().st_ino
    assert not files.write(path, b"one")
    assert path.stat().st_ino == inode
    assert files.write(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_file_has_its_mode_whatever_the_umask_is(tmp_path):
    files.write(tmp_path / "a", "x", 0o640)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_the_second_of_its_kind_is_told_who_runs(tmp_path):
    import os

    with (
        files.lock(tmp_path / "lock", "guard"),
        pytest.raises(UsageError, match=f"pid {os.getpid()}"),
    ):
        files.lock(tmp_path / "lock", "guard")
    files.lock(tmp_path / "lock", "guard").close()


def test_a_copy_counts_only_after_the_switch(tmp_path):
    copies = Copies(tmp_path)
    assert copies.current() is None
    assert copies.next_number() == 1
    copies.store(applied(1), {"netguard.yaml": b"x", "services/a.yaml": b"y"})
    assert copies.current() is None
    copies.switch(1)
    found, rules = copies.current()
    assert found == applied(1)
    assert (rules / "services" / "a.yaml").read_bytes() == b"y"
    assert copies.next_number() == 2


def test_a_dropped_copy_leaves_the_one_in_force(tmp_path):
    copies = Copies(tmp_path)
    copies.store(applied(1), {"a": b"1"})
    copies.switch(1)
    copies.store(applied(2), {"a": b"2"})
    copies.drop(2)
    assert copies.current()[0].number == 1
    assert not (tmp_path / "plans" / "000002").exists()


def test_what_a_crash_left_half_written_is_overwritten(tmp_path):
    half = tmp_path / "plans" / ".000001.new" / "rules"
    half.mkdir(parents=True)
    (half / "stale.yaml").write_text("old")
    copies = Copies(tmp_path)
    copies.store(applied(1), {"a": b"1"})
    copies.switch(1)
    assert sorted(p.name for p in copies.current()[1].iterdir()) == ["a"]


def test_old_copies_go_and_the_one_in_force_stays(tmp_path):
    copies = Copies(tmp_path)
    for number in range(1, files.KEPT_COPIES + 4):
        copies.store(applied(number), {"a": b"1"})
    copies.switch(1)
    assert copies.current()[0].number == 1
    kept = sorted(int(p.name) for p in (tmp_path / "plans").iterdir())
    assert kept[0] == 1
    assert len(kept) == files.KEPT_COPIES + 1
