"""The example hospital is without a finding, on the day it was written."""

import datetime
from pathlib import Path

from netguard.rules.allot import allot
from netguard.rules.folder import read_folder
from netguard.rules.load import load

RULES = Path(__file__).parents[2] / "rules"


def test_the_example_hospital_has_no_finding_and_its_addresses_are_as_allot_gives_them():
    loaded = load(read_folder(RULES, "rules"), today=datetime.date(2026, 11, 22))
    assert loaded.findings == ()
    assert len(loaded.policy.tablets) == 150
    assert allot(loaded.policy) == loaded.policy.allotted
