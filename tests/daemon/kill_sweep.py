"""kill -9 at every step of intake: each step in a life of its own, gone on with by a second process.

    kill_sweep.py FOLDER SCRIPT      FOLDER/state/watch.json, an empty FOLDER/log, what is written in each turn;
                                     prints one JSON object

The first part of the life makes a store with a history, undisturbed; the second part is lived once undisturbed and
once for each of its steps, killed there: every statement and commit of the database, every event and time that the
engine is told, every place of the log that is kept. What is left is compared: what was recorded, counted, raised, sent.
"""

import json
import os
import shutil
import signal
import sys
import traceback
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from netguard.adapters import clock, radius
from netguard.daemon import intake as intakes
from netguard.daemon import presence
from netguard.daemon.intake import Intake
from netguard.settings import Paths, Settings

START = 1_795_000_000.0
TURN = 20.0
# Turns of the undisturbed part: at rest, then at the exit and silent until just before that is told.
BEFORE = 61
SWEPT = 4


class Life:
    """One process that reads, from one turn to another; killed at the step that `left` counts down to."""

    def __init__(self, folder: Path, script: list[list[dict[str, str]]]) -> None:
        self.folder, self.script = folder, script
        self.left, self.steps = 0, 0
        self.wall = START

    def point(self, *_: object) -> None:
        """Be one step further."""
        self.steps += 1
        if self.left and self.steps == self.left:
            os.kill(os.getpid(), signal.SIGKILL)

    def instrument(self) -> None:
        """Make every step of reading, storing and telling a point."""
        # "commit" is just before it; what follows a commit is a statement, or one of the others.
        for name in ("after_cursor_execute", "commit"):
            sa.event.listen(sa.engine.Engine, name, self.point)
        for place, name in (
            (presence, "step"),
            (presence, "due"),
            (presence.Presence, "snapshot"),
            (radius.EventLog, "read"),
            (radius.EventLog, "keep"),
        ):
            setattr(place, name, self.after_a_point(getattr(place, name)))

    def after_a_point(self, function):
        """Return a function with a point before it."""

        def stepped(*words, **more):
            self.point()
            return function(*words, **more)

        return stepped

    def turn_clock(self) -> None:
        """Let the clock of the process stand where it is put."""
        clock.monotonic = lambda: self.wall - START
        clock.booted = lambda: 0.0
        clock.now = lambda: datetime.fromtimestamp(self.wall, clock.UTC)

    def run(self, first: int, last: int) -> Intake:
        """Live some turns: what FreeRADIUS writes in each, and one look at it."""
        paths = Paths(state=self.folder / "state", run=self.folder, radius_log=self.folder / "log")
        intakes.SNAPSHOT_EVERY = 40.0
        self.wall = START + first * TURN
        intake = Intake(replace(Settings("n", ("pellegrin",)), paths=paths))
        for turn in range(first, last):
            self.wall = START + turn * TURN
            self.write(turn)
            intake.take()
        return intake

    def write(self, turn: int) -> None:
        """Write the lines of a turn, once: FreeRADIUS is not who is killed."""
        done = self.folder / "turn"
        if turn < int(done.read_text() if done.exists() else 0):
            return
        with (self.folder / "log" / "events-20261122.log").open("a") as log:
            for record in self.script[turn]:
                log.write(json.dumps({"t": str(int(self.wall)), **record}) + "\n")
        done.write_text(str(turn + 1))


def lived(folder: Path, script, first: int, last: int, left: int = 0) -> dict[str, object] | None:
    """Live in a process of its own; returns what that has left, None where it was killed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            live(Life(folder, script), first, last, left, writing)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            # What is above here is the parent's.
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as source:
        text = source.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status not in {0, -signal.SIGKILL}:
        sys.exit("a life ended with an error")
    return json.loads(text) if status == 0 else None


def live(life: Life, first: int, last: int, left: int, writing: int) -> None:
    """Live, and write down what that has left."""
    life.left = left
    life.turn_clock()
    life.instrument()
    intake = life.run(first, last)
    steps, life.left = life.steps, 0
    with os.fdopen(writing, "w") as out:
        json.dump({"steps": steps, "left": found(intake)}, out)
    intake.close()


def found(intake: Intake) -> dict[str, object]:
    """Return what is recorded, counted, raised and sent, and what the engine believes."""
    store, first = intake.store, datetime.fromtimestamp(0, clock.UTC)
    rows = [json.loads(row) for _, block in store.recorded(0.0) for row in block.split("\n")]
    keys = "kind", "mac", "session", "packets", "ap"
    return {
        # What people said is told anew at each start; what was used is counted in memory by the hour.
        "recorded": [
            [row.get(key) for key in keys] for row in rows if row["kind"].startswith("session-")
        ],
        "strangers": [[str(each.mac), each.count] for each in store.strangers(first)],
        "incidents": sorted([i.id, i.tablet, i.cleared is None] for i in store.incidents()),
        "letters": sorted(
            [letter.incident, letter.receiver, letter.channel, letter.notice]
            for letter in store.letters(("waiting", "held", "sent", "dead"))
        ),
        "tablets": sorted(
            [mac, seen.state, seen.ap, seen.session]
            for mac, seen in intake.presence.state.tablets.items()
        ),
    }


def begun_anew(folder: Path, template: Path, log: Path, size: int) -> None:
    """Put back what there was before the swept part; the log stays the file that it is."""
    shutil.rmtree(folder / "state")
    shutil.copytree(template, folder / "state")
    os.truncate(log, size)
    (folder / "turn").write_text(str(BEFORE))


def main() -> None:
    """Sweep, and print what each kill has left that is not what an undisturbed life leaves."""
    script = json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps(swept(Path(sys.argv[1]), script)))


def swept(folder: Path, script) -> dict[str, object]:
    """Live to the swept part, then kill at each of its steps."""
    last, log = BEFORE + SWEPT, folder / "log" / "events-20261122.log"
    lived(folder, script, 0, BEFORE)
    template = folder / "template"
    shutil.copytree(folder / "state", template)
    size = log.stat().st_size
    undisturbed = lived(folder, script, BEFORE, last)
    wanted, wrong, point = undisturbed["left"], [], 0
    while True:
        point += 1
        begun_anew(folder, template, log, size)
        if lived(folder, script, BEFORE, last, point) is not None:
            break
        # Killed, it is started again a moment later; what was written waits for it.
        turn = int((folder / "turn").read_text())
        left = lived(folder, script, max(turn - 1, BEFORE), last)["left"]
        wrong += [[point, key, left[key]] for key in wanted if left[key] != wanted[key]]
    return {
        "steps": undisturbed["steps"],
        "kills": point - 1,
        "wanted": wanted,
        "wrong": wrong[:5],
    }


if __name__ == "__main__":
    main()
