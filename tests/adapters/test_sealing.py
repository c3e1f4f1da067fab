"""What is sealed opens for its owner, with its key, on this node; and nothing else does."""

import stat

import pytest

from netguard.adapters.sealing import Box
from netguard.errors import SealError

TEXT = "kchq-p76n-rk4h-qdvm"


@pytest.fixture
def box(tmp_path):
    held = Box(tmp_path / "state" / "psk.key")
    assert not held.has_key
    held.make()
    return held


def test_what_was_sealed_opens_also_for_the_next_process(box):
    sealed = box.seal("T-001", TEXT)
    assert TEXT not in sealed
    assert Box(box.path).open("T-001", sealed) == TEXT
    assert box.seal("T-001", TEXT) != sealed, "the same text twice does not look the same"


def test_the_key_is_root_s_alone_and_never_written_over(box):
    assert stat.S_IMODE(box.path.stat().st_mode) == 0o600
    before = box.path.read_bytes()
    with pytest.raises(SealError, match="cannot be made: File exists"):
        box.make()
    assert box.path.read_bytes() == before
    assert [each.name for each in box.path.parent.iterdir()] == ["psk.key"]


def test_it_opens_for_no_other_tablet_and_not_when_it_was_altered(box):
    sealed = box.seal("T-001", TEXT)
    middle = len(sealed) // 2
    other = "A" if sealed[middle] != "A" else "B"
    for owner, text in (
        ("T-002", sealed),
        ("T-001", sealed[:middle] + other + sealed[middle + 1 :]),
        ("T-001", sealed[:12]),
        ("T-001", ""),
        ("T-001", "1:not base64"),
        ("T-001", "1:é"),
    ):
        with pytest.raises(SealError, match="was not sealed with the key in") as refused:
            box.open(owner, text)
        assert TEXT not in str(refused.value)


def test_another_key_opens_nothing(box, tmp_path):
    other = Box(tmp_path / "other.key")
    other.make()
    with pytest.raises(SealError, match="T-001"):
        other.open("T-001", box.seal("T-001", TEXT))


@pytest.mark.parametrize("content", [b"", b"rubbish", b"!!!", b"AAAA\n"])
def test_a_damaged_key_is_said(box, content):
    box.path.write_bytes(content)
    with pytest.raises(SealError, match="is no key of ours"):
        Box(box.path).seal("T-001", TEXT)


def test_a_key_that_others_may_read_is_not_used(box):
    box.path.chmod(0o640)
    with pytest.raises(SealError, match="run: chmod 0600"):
        Box(box.path).seal("T-001", TEXT)
    box.path.unlink()
    with pytest.raises(SealError, match="No such file"):
        Box(box.path).seal("T-001", TEXT)


def test_the_file_that_is_there_is_what_seals_and_opens_also_when_it_is_another_one(box, tmp_path):
    """What a process sealed with a key that is on no disk any more, nobody could open after it."""
    first = box.seal("T-001", TEXT)
    kept = box.path.read_bytes()
    box.path.unlink()
    for use in (lambda: box.seal("T-001", TEXT), lambda: box.open("T-001", first)):
        with pytest.raises(SealError, match="cannot be read: No such file"):
            use()
    box.make()
    second = box.seal("T-001", TEXT)
    assert Box(box.path).open("T-001", second) == TEXT
    # The old file comes back: written into this one, then put in its place.
    other = tmp_path / "other"
    box.path.replace(other)
    box.path.touch(0o600)
    box.path.write_bytes(kept)
    assert box.open("T-001", first) == TEXT
    other.replace(box.path)
    assert box.open("T-001", second) == TEXT
    box.path.chmod(0o644)
    with pytest.raises(SealError, match="run: chmod 0600"):
        box.open("T-001", second)
