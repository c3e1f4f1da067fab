"""What a real hostapd's access points reported, case by case, read anew: who is called taken and who is not.

`records/` holds what FreeRADIUS wrote down while `claims.py` played the cases on the air (`run.sh --records`). One
second of theirs is a minute of presence.
"""

import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path

import pytest

from netguard.adapters.radius import EventLog
from netguard.core import evidence
from netguard.core.clones import Clones
from netguard.core.presence import Alert, State, Transition, due, step
from netguard.core.presence.actions import MISSING
from netguard.core.presence.model import compile_model
from netguard.core.records import read_evidence
from netguard.rules.folder import Folder, read_folder
from netguard.rules.load import load

sys.path.insert(0, str(Path(__file__).parent))
from ground import EXIT, RADIOS, SPEED, on_the_air

RECORDS = Path(__file__).parent / "records"
# Case: the story, who is called taken, whose MAC is in two hands. Here nothing is heard but accounting every five
# minutes: whoever is silent at an exit in between is called taken, with little certainty, until it is heard again.
# Seconds between two looks at the time.
LOOK = 30.0
STORIES = {
    "roam": ("t1 goes over to the access point beside it; the old one says nothing", set(), set()),
    "switched-off": ("t2's radio is switched off in its ward, and on again", set(), set()),
    "power-cut": ("the access point of t1 loses its power: no goodbye and no Stop", set(), set()),
    "restart": ("hostapd of t2 ends in order: a Stop each, then Accounting-Off", set(), set()),
    "accounting-dead": ("all are there, their accounting does not come through", set(), set()),
    "quarantine": ("t2 is thrown off the air, once more, and let in elsewhere", set(), set()),
    "clone": ("a stranger with t2's MAC is in the lobby, t2 in its ward", {"T-002"}, {"T-002"}),
    "taken": ("t1 is carried through the lobby and out of range", {"T-001"}, set()),
}


@pytest.fixture(scope="module")
def model():
    """Compile the rules of the radios."""
    folder = read_folder(Path(__file__).parents[2] / "rules", "rules")
    sites = on_the_air(folder.files["sites.yaml"].decode())
    loaded = load(
        Folder("rules", {**folder.files, "sites.yaml": sites.encode()}), today=date(2026, 11, 22)
    )
    return compile_model(loaded.policy)


def events(case):
    """Read a case's records as evidence, on a clock of presence; those that are none are left out."""
    with tempfile.TemporaryDirectory() as folder:
        # As FreeRADIUS has it on an appliance, read by the reader of an appliance.
        shutil.copy(RECORDS / f"{case}.jsonl", Path(folder) / "events-1.log")
        rows = EventLog(Path(folder), {}).read().records
    assert None not in rows
    start = float(rows[0]["t"])
    found = []
    for number, row in enumerate(rows):
        # Lines of one second are in the order of receipt.
        received = start + (float(row["t"]) - start) * SPEED + number * 1e-3
        found.append(read_evidence(row, received))
    assert found
    return [event for event in found if event is not None]


def played(model, case):
    """Play a case as watch does, which looks at the time also while nobody speaks; return what is said."""
    state, clones, said, copied = State(), Clones(), [], set()
    heard = events(case)
    now = heard[0].received
    for event in heard:
        while now + LOOK < event.received:
            now += LOOK
            said += due(model, state, now)
        said += step(model, state, event)
        now = max(now, event.received)
        if (clone := clones.tell(event)) is not None:
            copied.add(model.tablets[clone.mac].id)
    return said, copied


@pytest.mark.parametrize("case", STORIES)
def test_a_case_of_the_air_ends_as_its_story_says(model, case):
    _, taken, cloned = STORIES[case]
    said, copied = played(model, case)
    alerts = [each for each in said if isinstance(each, Alert)]
    missing = {
        each.tablet for each in said if isinstance(each, Transition) and each.after == MISSING
    }
    assert {each.tablet for each in alerts if each.cause == "taken"} == taken
    # Nobody is called missing who was there, whatever the access points did.
    assert missing == {each.tablet for each in alerts} == taken
    assert copied == cloned


def test_every_case_has_its_story_and_its_records():
    assert {path.stem for path in RECORDS.glob("*.jsonl")} == set(STORIES)


def sessions(case, kind):
    return [event for event in events(case) if event.kind == kind]


def test_what_a_real_hostapd_does_and_does_not_say():
    """The facts that the engine was built on; of hostapd 2.10, another version may differ."""
    # A roam: a Start at the new access point, and no Stop of the old one for as long as it takes.
    assert sessions("roam", evidence.START)
    # No power: silence, and Accounting-On when it is back.
    assert [event.reason for event in sessions("power-cut", evidence.NAS_RESTART)]
    # Out of range: nothing until the access point's own time-out; also of the one that was left by a roam.
    stops = sessions("taken", evidence.STOP)
    assert {event.reason for event in stops} == {"idle-timeout"}
    assert stops[-1].ap in RADIOS[EXIT]
    # A radio that is switched off says goodbye.
    assert "user-request" in {event.reason for event in sessions("switched-off", evidence.STOP)}
    # What a Disconnect ends has no cause.
    assert "" in {event.reason for event in sessions("quarantine", evidence.STOP)}
