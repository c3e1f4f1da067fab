"""The kernel's room for neighbours: raised, never lowered, and said where it cannot be.

On a folder in the shape of /proc/sys: the real ones are the whole machine's, and this is not its owner.
"""

import pytest

from netguard.adapters.netlink import Done, ensure_neighbours

WANTED = (16_384, 32_768, 65_536)


@pytest.fixture
def sysctl(tmp_path):
    for family in ("ipv4", "ipv6"):
        folder = tmp_path / "net" / family / "neigh" / "default"
        folder.mkdir(parents=True)
        for number, value in enumerate((128, 512, 1024), 1):
            (folder / f"gc_thresh{number}").write_text(f"{value}\n")
    return tmp_path


def held(sysctl, family):
    folder = sysctl / "net" / family / "neigh" / "default"
    return tuple(int((folder / f"gc_thresh{n}").read_text()) for n in (1, 2, 3))


def test_what_is_too_small_is_raised_once(sysctl):
    done = Done()
    ensure_neighbours(WANTED, done, sysctl)
    assert held(sysctl, "ipv4") == held(sysctl, "ipv6") == WANTED
    assert len(done.changed) == 6
    assert "set net/ipv4/neigh/default/gc_thresh3 to 65536" in done.changed
    again = Done()
    ensure_neighbours(WANTED, again, sysctl)
    assert again == Done()


def test_a_larger_table_stays(sysctl):
    (sysctl / "net/ipv4/neigh/default/gc_thresh3").write_text("200000\n")
    ensure_neighbours(WANTED, Done(), sysctl)
    assert held(sysctl, "ipv4") == (16_384, 32_768, 200_000)


def test_what_cannot_be_written_is_a_problem_with_its_consequence(sysctl):
    file = sysctl / "net/ipv4/neigh/default/gc_thresh3"
    file.unlink()
    # Read as a number, and written by nobody: root may write into any file of mode 0444.
    file.symlink_to("/proc/sys/kernel/random/entropy_avail")
    done = Done()
    ensure_neighbours(WANTED, done, sysctl)
    (problem,) = done.problems
    assert problem.startswith("net/ipv4/neigh/default/gc_thresh3 cannot be set to 65536: ")
    assert problem.endswith("; too few neighbours for all tablets")
    assert held(sysctl, "ipv6") == WANTED


def test_where_the_machine_does_not_show_them_nothing_is_said(tmp_path):
    done = Done()
    ensure_neighbours(WANTED, done, tmp_path)
    assert done == Done()
