"""A small good folder to spoil: the base of tests/bad, in memory."""

import datetime
from pathlib import Path

import pytest

from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load

BASE = Path(__file__).parents[1] / "bad" / "base"
TODAY = datetime.date(2026, 11, 22)


class Rules:
    """A folder under change; `said` is one line a finding: level, id, place and text."""

    def __init__(self):
        self.files = dict(read_folder(BASE, "rules").files)
        self.options = {}
        self.today = TODAY

    def write(self, file, text):
        self.files[file] = text if isinstance(text, bytes) else text.encode()
        return self

    def change(self, file, old, new):
        text = self.files[file].decode()
        assert old in text, f"{file} does not hold {old!r}"
        return self.write(file, text.replace(old, new, 1))

    def add(self, file, text):
        return self.write(file, self.files.get(file, b"").decode() + text)

    def remove(self, *files):
        for file in files:
            del self.files[file]
        return self

    def load(self):
        folder = Folder("", self.files)
        return load(folder, today=self.today, **self.options)

    @property
    def policy(self):
        loaded = self.load()
        assert loaded.policy is not None, [f.render() for f in loaded.findings]
        return loaded.policy

    @property
    def said(self):
        return [
            f"{f.level} {f.id} {f.file}:{f.line}:{f.column} {f.text}" for f in self.load().findings
        ]

    def says(self, *parts):
        """One finding and no other, and it holds all of these parts."""
        assert len(self.said) == 1, self.said
        missing = [part for part in parts if part not in self.said[0]]
        assert not missing, f"{missing} not in {self.said[0]}"


@pytest.fixture(scope="session")
def new_rules():
    """Make a fresh folder, for properties that need one for each example."""
    return Rules


@pytest.fixture
def rules(new_rules):
    return new_rules()


@pytest.fixture
def site(rules):
    """Spoil one line of the first site."""
    return lambda old, new: rules.change("sites.yaml", old, new)


@pytest.fixture
def jitsi(rules):
    """Spoil one line of the video service."""
    return lambda old, new: rules.change("services/jitsi.yaml", old, new)
