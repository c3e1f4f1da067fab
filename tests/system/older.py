"""An older netguard beside this one: its code out of the history, and a hospital of it that is up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from machine import ROOT, run

# The commit of the tag v0.1, for a clone without tags.
V0_1 = "89b36f28052965998eff2f18ce3b64e08435d918"


def commit():
    """Return the commit of v0.1: by its tag, else by its number; None in a clone without history."""
    for name in ("v0.1^{commit}", f"{V0_1}^{{commit}}"):
        done = run("git", "-C", ROOT, "rev-parse", "--verify", "--quiet", name, check=False)
        if done.returncode == 0:
            return done.stdout.strip()
    return None


class Older:
    """v0.1, with the environment of today: its dependencies are among ours."""

    def __init__(self, folder: Path, name: str) -> None:
        self.code, self.name = folder / "v0.1", name
        self.state = Path("/run/netguard-lab") / name / "state"
        self.code.mkdir(parents=True)
        packed = folder / "v0.1.tar"
        found = commit()
        if not found:
            pytest.skip("this clone has no history: git fetch --unshallow --tags")
        run("git", "-C", ROOT, "archive", f"--output={packed}", found)
        run("tar", "-C", self.code, "-xf", packed)
        packed.unlink()
        if (ROOT / ".cache/aside").is_dir():
            shutil.copytree(ROOT / ".cache/aside", self.code / ".cache/aside", symlinks=True)

    def __call__(self, verb):
        """Let it do something; returns what it says."""
        words = [sys.executable, str(Path(__file__).with_name("old_hospital.py")), self.name, verb]
        done = subprocess.run(
            words, cwd=self.code, env={**os.environ, "PYTHONPATH": str(self.code)},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        said = json.loads(done.stdout)
        assert said.pop("code") == str(self.code)
        return said
