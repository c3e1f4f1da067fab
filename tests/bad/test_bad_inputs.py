"""Hostile rule files and inventories: each gets its message, in bounded time and memory.

Every input is a data file: `NNN-name.yaml` or `.csv`, and beside it `NNN-name.expect`, which says
what the input stands in for and, after a line `---`, the exact messages of `netguard check`, or
`ok`. The numbers are stable names. Heads of an `.expect`:

    file: groups.yaml         the file of base/ that is replaced or added (always there)
    without: tablets.csv      a file of base/ that is left out
    repeat: 60000 "["         in the data file, @REPEAT@ stands for so many times this JSON string
    link: /etc/hostname       the file is a symbolic link to this place; no data file
    in-force: 5               tablets T-001 up to this one are in force already
    holds: T-001 64:1b:...    the rules are read with this MAC for this tablet

`NETGUARD_WRITE_EXPECT=1 pytest tests/bad` writes what is found; read the difference before it is
committed.
"""

import datetime
import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netguard.core.names import Mac
from netguard.rules.folder import read_folder
from netguard.rules.load import Loaded, load

HERE = Path(__file__).parent
BASE = HERE / "base"
TODAY = datetime.date(2026, 11, 22)
# More than any judged file needs, and far less than what an unbounded reader would take.
MEMORY = 768 * 1024 * 1024
SURFACES = ("rules", "inventory")


@dataclass(frozen=True)
class Case:
    """One hostile input and what must be said about it."""

    path: Path
    heads: dict[str, str] = field(hash=False)
    expected: str

    def data(self) -> bytes | None:
        """Return the input, or None where the heads alone make it."""
        found = [self.path.with_suffix(end) for end in (".yaml", ".csv")]
        data = next((path.read_bytes() for path in found if path.exists()), None)
        if data is not None and "repeat" in self.heads:
            count, text = self.heads["repeat"].split(" ", 1)
            data = data.replace(b"@REPEAT@", json.loads(text).encode() * int(count))
        return data


def read_case(path: Path) -> Case:
    heads, _, expected = path.read_text(encoding="utf-8").partition("---\n")
    return Case(path, dict(line.split(": ", 1) for line in heads.splitlines()), expected)


def cases() -> list[Path]:
    return sorted(path for surface in SURFACES for path in (HERE / surface).glob("*.expect"))


def lay_out(case: Case, folder: Path) -> None:
    """Copy the good base, then put the hostile input in its place."""
    shutil.copytree(BASE, folder)
    if "without" in case.heads:
        (folder / case.heads["without"]).unlink()
    target = folder / case.heads["file"]
    data = case.data()
    if "link" in case.heads:
        target.unlink()
        target.symlink_to(case.heads["link"])
    elif data is not None:
        target.write_bytes(data)


@contextmanager
def bounded_memory() -> Iterator[None]:
    """Let this process grow by MEMORY and no further."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def judge(case: Case, folder: Path) -> Loaded:
    previous = None
    if "in-force" in case.heads:
        count = int(case.heads["in-force"])
        previous = {f"T-{n:03}": Mac.parse(f"64:1b:2f:00:00:{n:02x}") for n in range(1, count + 1)}
    return load(read_folder(folder, "rules"), today=TODAY, previous=previous)


def said(loaded: Loaded) -> str:
    return "".join(finding.render() + "\n" for finding in loaded.findings) or "ok\n"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("path", cases(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_hostile_input_gets_its_message(path: Path, tmp_path: Path) -> None:
    case = read_case(path)
    folder = tmp_path / "rules"
    lay_out(case, folder)
    with bounded_memory():
        loaded = judge(case, folder)
    found = said(loaded)
    if os.environ.get("NETGUARD_WRITE_EXPECT"):
        heads = "".join(f"{key}: {value}\n" for key, value in case.heads.items())
        path.write_text(f"{heads}---\n{found}", encoding="utf-8")
        return
    assert found == case.expected
    # An error and a policy never come together: what is refused cannot enter into force.
    refused = any(finding.level == "error" for finding in loaded.findings)
    assert (loaded.policy is None) == refused
    if "holds" in case.heads:
        tablet, mac = case.heads["holds"].split(" ")
        assert loaded.policy is not None
        assert loaded.policy.tablets[tablet].mac == Mac(mac)


def test_the_base_is_good(tmp_path: Path) -> None:
    """Without this, every message could stem from the base itself."""
    shutil.copytree(BASE, tmp_path / "rules")
    assert load(read_folder(tmp_path / "rules", "rules"), today=TODAY).findings == ()


def test_every_input_has_an_expectation() -> None:
    inputs = {
        path.with_suffix("")
        for surface in SURFACES
        for end in ("*.yaml", "*.csv")
        for path in (HERE / surface).glob(end)
    }
    expected = {path.with_suffix("") for path in cases()}
    made = {p.with_suffix("") for p in cases() if {"link", "without"} & set(read_case(p).heads)}
    assert inputs <= expected
    assert expected - inputs <= made


def test_every_number_of_the_list_is_there() -> None:
    numbers = {int(path.name[:3]) for path in cases()}
    assert numbers == set(range(1, 63))
