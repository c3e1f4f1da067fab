"""How lines on the air are told: what fails is tried once more, and what no time was left for is no success."""

import shutil
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from tests.wifi import air, claims
from tests.wifi.claims import Claim, Claims, Failed


class Told(Claims):
    """A story without radios: what each line does when it is shown, time after time."""

    def __init__(self, **does):
        super().__init__(None, None, None, [])
        self.does = does

    def recorded(self):
        return []

    def __getattr__(self, name):
        def show():
            found = self.does[name].pop(0)
            if found != "ok":
                raise Failed(found)
            return "seen"

        return show


@pytest.fixture
def story(monkeypatch):
    told = ((Claim("first", "one"), Claim("second", "two")), (Claim("third", "three"),))
    monkeypatch.setattr(claims, "STORY", told)


def lines(capsys):
    return [line.split("  [")[0].split() for line in capsys.readouterr().out.splitlines()]


@pytest.mark.usefixtures("story")
def test_a_line_that_fails_is_tried_again_at_the_end_of_its_part(capsys):
    told = Told(one=["busy", "ok"], two=["ok"], three=["ok"])
    told.all(monotonic() + 60)
    assert lines(capsys) == [
        ["again", "first", "busy"],
        ["ok", "second", "seen"],
        ["ok", "first", "seen"],
        ["ok", "third", "seen"],
    ]
    assert told.summary() == "3 lines ok, 1 of them on the second try"
    assert (told.failed, told.unproven) == (0, 0)


@pytest.mark.usefixtures("story")
def test_a_line_that_fails_twice_has_failed(capsys):
    told = Told(one=["busy", "gone"], two=["ok"], three=["ok"])
    told.all(monotonic() + 60)
    assert ["FAIL", "first", "gone"] in lines(capsys)
    assert (told.failed, told.summary()) == (1, "2 lines ok, 1 FAILED")


@pytest.mark.usefixtures("story")
def test_without_time_nothing_is_begun_and_nothing_is_proven(capsys):
    told = Told()
    told.all(monotonic() - 1)
    assert {line[0] for line in lines(capsys)} == {"late"}
    assert (told.failed, told.unproven) == (0, 3)
    assert told.summary() == "0 lines ok, 3 unproven, the time was up"


@pytest.mark.usefixtures("story")
def test_what_failed_and_has_no_time_for_a_second_try_has_failed(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 1.0, 1.0, 99.0, 99.0])
    monkeypatch.setattr(claims, "monotonic", lambda: next(clock))
    told = Told(one=["busy"], two=["ok"], three=["ok"])
    told.all(10.0)
    assert [line[0] for line in lines(capsys)] == ["again", "ok", "late", "late"]
    assert (told.failed, told.unproven) == (1, 1)


def test_every_line_of_the_story_can_be_shown():
    named = [each for part in claims.STORY for each in part]
    assert len(named) == len({each.words for each in named}) == 19
    assert all(callable(getattr(Claims, each.show)) for each in named)


def test_without_time_for_a_guest_every_claim_is_named_as_unproven():
    words = [Path(__file__).with_name("run"), "--within", "1", "roam", "quarantine"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 125, done.stderr
    assert done.stdout.splitlines() == [
        "wifi: the guest's kernel was not ready early enough within 1 s; unproven:",
        "wifi:   a roam keeps the call and raises nothing",
        "wifi:   quarantine: a real Disconnect, then another VLAN",
    ]


def test_whoever_has_longer_to_be_ready_has_it_for_all_that_is_waited_for(monkeypatch):
    """In qemu most waits kept the patience of a faster guest: it was taken when the module was read."""
    monkeypatch.setattr(air, "PATIENCE", 0.0)
    with pytest.raises(air.Silence, match="it comes: not within 0 s"):
        air.Air.until(None, "it comes", lambda: False)


GUEST = """\
#!/bin/sh
case "$*" in *--prepare*) echo {engine} && exit 0 ;; esac
echo '{line}'
exit {code}
"""


@pytest.mark.parametrize(
    ("engine", "line", "code", "result", "why"),
    [
        ("uml", "ok    a roam keeps the call and raises nothing  x", 0, 0, ""),
        ("uml", "FAIL  a roam keeps the call and raises nothing  x", 1, 1, ""),
        ("uml", "again a roam keeps the call and raises nothing  x", 124, 1, "did not end within"),
        ("uml", "      hosts", 124, 125, "did not end within"),
        ("uml", "      hosts", 125, 125, "the guest could not be had"),
        ("qemu", "FAIL  a roam keeps the call and raises nothing  x", 1, 125, "too slow to judge"),
        ("qemu", "again a roam keeps the call and raises nothing  x", 124, 125, "did not end within"),
        ("qemu", "      hosts", 125, 125, "the guest could not be had"),
        ("qemu", "ok    a roam keeps the call and raises nothing  x", 3, 125, "no time was left"),
    ],
)  # fmt: skip
def test_what_became_of_a_guest_is_told_as_it_was(tmp_path, engine, line, code, result, why):
    """In qemu, which is slow, nothing is a failure; but one that did not even start is told as such."""
    here = tmp_path / "tests/wifi"
    (here / "guest").mkdir(parents=True)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    root = Path(__file__).parents[2]
    python = tmp_path / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\ncd {root} && exec {sys.executable} "$@"\n')
    (here / "run").write_text(Path(__file__).with_name("run").read_text())
    (here / "guest/run.sh").write_text(GUEST.format(engine=engine, line=line, code=code))
    for script in (python, here / "run", here / "guest/run.sh"):
        script.chmod(0o755)
    done = subprocess.run(
        [here / "run", "roam"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == result, done.stdout + done.stderr
    assert why in done.stdout
    named = "wifi:   a roam keeps the call and raises nothing" in done.stdout
    assert named == (why != "" and not line.startswith("ok"))


# What run.sh calls to build a kernel; `linux` says of itself what it was configured with.
STAND_INS = {
    "apt-cache": 'case $1 in policy) echo "  Candidate: 6.1.1" ;; *) echo "  Depends: linux-source-6.1" ;; esac',
    "apt-get": "touch linux-source-6.1_all.deb",
    "dpkg-deb": "echo",
    "tar": "cat >/dev/null; mkdir -p scripts/kconfig kernel; printf '#!/bin/sh\\ncp $3 .config\\nexit {merged}\\n'"
    " >scripts/kconfig/merge_config.sh; chmod 755 scripts/kconfig/merge_config.sh",
    "make": "case \"$*\" in *linux) {{ echo '#!/bin/sh'; echo \"cat <<'END'\"; {said}; echo END; }} >linux ;; esac",
    "strip": 'cp "$3" "$2" && chmod 755 "$2"',
}


@pytest.mark.parametrize(
    ("merged", "said", "why"),
    [
        (0, "cat .config", ""),
        (1, "cat .config", "the build failed"),
        (0, "grep -v ^CONFIG_VLAN_8021Q= .config", "what was built lacks CONFIG_VLAN_8021Q=y"),
    ],
)
def test_a_kernel_is_kept_only_when_it_was_built_as_a_whole(tmp_path, merged, said, why):
    """No step ended the build where it failed: a kernel without half of what the air needs was kept for good."""
    guest = tmp_path / "tests/wifi/guest"
    programs = tmp_path / "bin"
    guest.mkdir(parents=True)
    programs.mkdir()
    for name in ("run.sh", "uml.config"):
        shutil.copy(Path(__file__).parent / "guest" / name, guest / name)
    for name, text in STAND_INS.items():
        (programs / name).write_text(f"#!/bin/sh\n{text.format(merged=merged, said=said)}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        [guest / "run.sh", "--engine", "uml", "--prepare"],
        env={"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    kept = [path.name for path in (tmp_path / ".cache/guest").iterdir() if path.name != "build.log"]
    assert why in done.stderr
    assert (done.returncode, len(kept)) == ((125, 0) if why else (0, 1)), done.stderr
    assert not list(tmp_path.glob("netguard-guest.*"))
