"""replay, simulate and evaluate: the engine on recorded and on invented events."""

import argparse
import gzip
import json
import sys
import tomllib
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from netguard.adapters import files
from netguard.cli import folders
from netguard.core import usage
from netguard.core.evaluation import Evaluation, report
from netguard.core.evidence import Event, Reader, parsed, stamped, write_event
from netguard.core.labels import Label, read_label
from netguard.core.names import shown, suggest_of
from netguard.core.picture import operating_points
from netguard.core.policy import Policy
from netguard.core.presence import (
    Action,
    Alert,
    Model,
    State,
    Transition,
    compile_model,
    due,
    figures,
    step,
)
from netguard.core.simulation import read_parameters
from netguard.core.simulation import simulate as invent
from netguard.core.usage import Seen, read_seen
from netguard.core.whatif import Comparison, Difference
from netguard.errors import BadValue, NetguardError, UsageError
from netguard.rules.findings import errors
from netguard.rules.folder import read_folder
from netguard.rules.load import load

# A line longer than this is none of ours, and is not read whole.
_LONGEST = 64 * 1024
_STDIN = Path("-")
_PROGRESS = 100_000
_TOLD = 10


def replay(arguments: argparse.Namespace) -> int:
    """Run recorded events through the engine; one line per change of state and alert."""
    policy = _policy(arguments, arguments.rules)
    used: Counter[Seen] = Counter()
    if arguments.diff is not None:
        return _difference(arguments, policy, used)
    for _, row in _told(arguments.events, used, compile_model(policy)):
        _print_row(row, arguments.json)
    return 0


def _print_row(row: dict[str, Any], as_json: bool) -> None:  # one flag
    if as_json:
        sys.stdout.write(json.dumps(row) + "\n")
        return
    who = row["tablet"] or row.get("subject", "")
    if row["type"] == "transition":
        what = f"{row['before']} -> {row['state']}"
    else:
        reasons = ", ".join(f"{r['name']} {r['weight']:+.1f}" for r in row["reasons"][:3])
        what = f"{row['kind']}: {row['cause']} {row['probability']:.2f}  {reasons}"
    where = f"{row['area'] or row['site'] or '-'} {row['ap']}".rstrip()
    sys.stdout.write(f"{_moment(row['at'])}  {who}  {what}  {where}\n")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def _told(path: Path, used: Counter[Seen], *models: Model) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield what each engine says, with its number. The recording is read once: it may be a pipe."""
    runs = [(number, model, State()) for number, model in enumerate(models)]
    for event in _events(path, used):
        for number, model, state in runs:
            for action in step(model, state, event):
                row = row_of(action)
                if row is not None:
                    yield number, row
    for _, model, state in runs:
        _say_figures(model, state)


def _say_figures(model: Model, state: State) -> None:
    said = figures(model, state)
    weeks = said["days"] / 7
    sys.stderr.write(
        f"{int(said['alarms'])} theft alarms, {int(said['false_alarms'])} of them ended by a return, "
        f"in {weeks:.2f} weeks; budget {said['budget_per_day'] * 7:.2f} a week, "
        f"threshold {said['threshold']:.2f}\n"
    )
    for why, count in sorted(state.ignored.items()):
        sys.stderr.write(f"{count} records changed nothing: {why}\n")


def row_of(action: Action) -> dict[str, Any] | None:
    """Return the line of an action, None for what is not told."""
    if isinstance(action, Transition):
        return {
            "type": "transition", "at": action.at, "tablet": action.tablet, "mac": action.mac,
            "kind": "state", "before": action.before, "state": action.after, "cause": action.cause,
            "probability": round(action.probability, 4), "reasons": [], "site": action.site, "area": action.area,
            "ap": action.ap, "silent_since": action.silent_since or None,
        }  # fmt: skip
    if isinstance(action, Alert):
        body = asdict(action)
        body["probability"] = round(action.probability, 4)
        body["silent_since"] = action.silent_since or None
        return {"type": "alert", **body}
    return None


def _difference(arguments: argparse.Namespace, policy: Policy, used: Counter[Seen]) -> int:
    """Print the alerts, requests, names and flows that two rules folders answer differently; 1 when any."""
    other = _policy(arguments, arguments.diff)
    before: dict[tuple[str, str], dict[str, Any]] = {}
    after: dict[tuple[str, str], dict[str, Any]] = {}
    models = compile_model(policy), compile_model(other)
    for number, row in _told(arguments.events, used, *models):
        if row["type"] == "alert" and row["kind"] != "cleared":
            (before, after)[number].setdefault((row["id"], row["cause"]), row)
    changed = [("lost", before[key]) for key in sorted(before.keys() - after.keys())]
    changed += [("gained", after[key]) for key in sorted(after.keys() - before.keys())]
    changed.sort(key=lambda each: (each[1]["at"], each[0]))
    for change, row in changed:
        if arguments.json:
            sys.stdout.write(json.dumps({"change": change, **row}) + "\n")
        else:
            sign = "-" if change == "lost" else "+"
            sys.stdout.write(f"{sign} ")
            _print_row(row, as_json=False)
    sys.stderr.write(
        f"{len(before)} alerts by {arguments.rules}, {len(after)} by {arguments.diff}: "
        f"{sum(c == 'gained' for c, _ in changed)} gained, {sum(c == 'lost' for c, _ in changed)} lost\n"
    )
    return 1 if _use_differs(arguments, policy, other, used) or changed else 0


def _use_differs(
    arguments: argparse.Namespace, policy: Policy, other: Policy, used: Counter[Seen]
) -> bool:
    """Print what of the recorded requests, names and flows the other rules answer differently."""
    if not used:
        sys.stderr.write("no requests, names or flows in this recording (docs/events.md)\n")
        return False
    comparison = Comparison(policy, other)
    found = list(comparison.compare(used))
    for each in found:
        if arguments.json:
            sys.stdout.write(json.dumps(_difference_row(each)) + "\n")
        else:
            sign = {"opens": "+", "closes": "-", "moves": "~"}[each.change]
            sys.stdout.write(f"{sign} {each.seen.kind}  {each}\n")
    judged = ", ".join(f"{comparison.judged[kind]} {kind}s" for kind in sorted(usage.KINDS))
    changes = Counter(each.change for each in found)
    sys.stderr.write(
        f"{judged} judged: {changes['opens']} open, {changes['closes']} close, {changes['moves']} move\n"
    )
    if comparison.unknown:
        sys.stderr.write(f"{comparison.unknown} of a site, group or NAS that one of them lacks\n")
    return bool(found)


def _difference_row(each: Difference) -> dict[str, Any]:
    row: dict[str, Any] = {"change": each.change, **json.loads(each.seen.line())}
    del row["answer"], row["rule"]
    return {**row, "before": each.before._asdict(), "after": each.after._asdict()}


def simulate(arguments: argparse.Namespace) -> int:
    """Write a labelled stream of events."""
    model = _model(arguments, arguments.rules)
    own = dict(_own(text) for text in arguments.set or ())
    text = resources.files("netguard").joinpath("scenarios.toml").read_text(encoding="utf-8")
    try:
        parameters = read_parameters(tomllib.loads(text), arguments.scenario, own)
    except BadValue as error:
        raise UsageError(str(error)) from error
    labels: list[Label] = []
    count = 0
    with _written(arguments.out), _output(arguments.out) as out:
        for event in invent(model, parameters, arguments.seed, labels):
            out.write(json.dumps(write_event(event)).encode() + b"\n")
            count += 1
            _progress(count, "events written")
    if arguments.labels is not None:
        lines = "".join(json.dumps(asdict(label)) + "\n" for label in labels)
        with _written(arguments.labels):
            files.write(arguments.labels, lines)
    sys.stderr.write(
        f"{count} events, {len(labels)} labelled silences, "
        f"{sum(label.cause == 'taken' for label in labels)} thefts; synthetic\n"
    )
    return 0


def _own(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except ValueError:
        raise UsageError(f"--set '{text[:60]}' is not NAME=NUMBER, write thefts=0.01") from None


def evaluate(arguments: argparse.Namespace) -> int:
    """Compare what the engine says of a stream with its labels."""
    if arguments.events == arguments.labels == _STDIN:
        raise UsageError("events and labels cannot both come from standard input, name a file")
    model = _model(arguments, arguments.rules, trace=True)
    labels = _labels(arguments.labels, model)
    evaluation, state = Evaluation(), State()
    end = 0.0
    for event in _events(arguments.events):
        evaluation.event(event)
        evaluation.actions(step(model, state, event))
        end = max(end, event.received or event.at)
    evaluation.actions(due(model, state, end))
    ids = {mac: tablet.id for mac, tablet in model.tablets.items()}
    said = report(evaluation.result(labels, ids))
    if arguments.picture is not None:
        with _written(arguments.picture):
            files.write(arguments.picture, operating_points(said))
    if arguments.json:
        sys.stdout.write(json.dumps(said, indent=1) + "\n")
    else:
        sys.stdout.write(_text(said))
    return 0


def _text(said: dict[str, Any]) -> str:
    engine = said["engine"]
    lines = [
        f"{said['thefts']} thefts, {said['tablet_days']} tablet-days",
        f"{'':20} {'false/week':>10} {'/tablet-day':>12} {'found':>7} {'median s':>9} {'95 % s':>9}",
    ]
    rows = {"netguard": engine, **said["rivals"]}
    lines += [
        f"{name:20} {_cell(row['false_per_week']):>10} {_cell(row['false_per_tablet_day']):>12} "
        f"{_cell(row['found']):>7} {_cell(row['median_delay']):>9} {_cell(row['delay_95']):>9}"
        for name, row in rows.items()
    ]
    lines += [
        f"through an edge within 5 min: {_cell(engine['edge_within_5_min'])} "
        f"of {engine['edge_thefts']}; all within 20 min: {_cell(engine['all_within_20_min'])}",
        f"false alarms by what really happened: {engine['false_by'] or 'none'}",
        f"late or never: {engine['late_by'] or 'none'}",
    ]
    same, fast = said["at_false_alarms_of_fixed_15"], said["at_delay_of_fixed_15"]
    if same:
        lines.append(
            f"at the false alarms of fixed 15 min: median {_cell(same['median_delay'])} s, "
            f"{_cell(same['of_its_delay'])} of its delay"
        )
    if fast:
        lines.append(f"at its delay: {_cell(fast['of_its_false_alarms'])} of its false alarms")
    for title, key in (
        ("five minutes into a silence", "calibration_at_5_min"),
        ("at the alarm", "calibration_at_alarm"),
    ):
        lines.append(f"theft stated and observed, {title} (under 30 cases: empty)")
        lines += [
            f"  {row['from']:.1f}-{row['from'] + 0.1:.1f} {row['cases']:>8} cases  "
            f"{_cell(row['stated']):>7} {_cell(row['observed']):>7}"
            for row in said[key]
        ]
    return "\n".join(lines) + "\n"


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def _labels(path: Path, model: Model) -> list[Label]:
    found = []
    ids = model.by_id
    for number, line in _lines(path):
        try:
            label = read_label(parsed(_whole(line)))
        except BadValue as error:
            raise UsageError(f"{path}:{number}: not a label: {error}") from error
        if label.tablet not in ids:
            # Nothing can be raised of it: it would count as a theft that was not found.
            known = (
                f"{shown(label.tablet)} is no tablet of the rules{suggest_of(label.tablet, ids)}"
            )
            raise UsageError(f"{path}:{number}: {known}")
        found.append(label)
    return found


def _model(arguments: argparse.Namespace, path: Path | None, *, trace: bool = False) -> Model:
    return compile_model(_policy(arguments, path), trace=trace)


def _policy(arguments: argparse.Namespace, path: Path | None) -> Policy:
    arguments.folder = path
    loaded = load(
        read_folder(folders.rules_path(arguments)),
        today=folders.today(arguments),
        require_addresses=False,
    )
    if loaded.policy is None:
        for finding in errors(loaded.findings):
            sys.stderr.write(finding.render() + "\n")
        raise NetguardError("the folder has errors, 'netguard check' lists them")
    return loaded.policy


def _events(path: Path, used: Counter[Seen] | None = None) -> Iterator[Event]:
    """Yield the events of a recording in its order; what is no event is told and skipped.

    What tablets asked for and sent is no evidence of presence: it goes to `used`, where that is given.
    """
    yield from stamped(_read(path, used))


def _read(path: Path, used: Counter[Seen] | None) -> Iterator[Event]:
    reader, bad, good = Reader(), 0, 0
    for number, line in _lines(path):
        _progress(number, "lines read")
        try:
            row = parsed(_whole(line))
            kind = row.get("kind")
            if not isinstance(kind, str) or kind not in usage.KINDS:
                yield reader.event(row)
            elif used is not None:
                usage.add(used, read_seen(row))
            good += 1
        except BadValue as error:
            bad += 1
            if bad <= _TOLD:
                sys.stderr.write(f"{path}:{number}: {error}\n")
    if bad:
        sys.stderr.write(f"{bad} of {bad + good} lines skipped\n")
    if bad and not good:
        raise UsageError(f"{path}: no line of it is an event, docs/events.md says how they look")


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not empty, with their numbers; of one that is too long, its beginning."""
    number = 0
    try:
        with _input(path) as lines:
            while line := lines.readline(_LONGEST):
                number += 1
                rest = line
                while not rest.endswith(b"\n") and len(rest) >= _LONGEST:
                    rest = lines.readline(_LONGEST)
                if line.strip():
                    yield number, line
    except (OSError, EOFError, zlib.error) as error:
        where = f"{path}:{number + 1}" if number else f"{path}"
        raise UsageError(f"{where}: {getattr(error, 'strerror', None) or error}") from error


def _whole(line: bytes) -> bytes:
    if len(line) >= _LONGEST:
        raise BadValue("syntax", f"not a line of ours: longer than {_LONGEST} bytes")
    return line


def _progress(count: int, what: str) -> None:
    if count % _PROGRESS == 0:
        sys.stderr.write(f"{count} {what}\n")


@contextmanager
def _input(path: Path) -> Iterator[BinaryIO]:
    if path == _STDIN:
        yield sys.stdin.buffer
    elif path.suffix == ".gz":
        with gzip.open(path, "rb") as found:
            yield found  # type: ignore[misc]  # a GzipFile reads lines like any binary file
    else:
        with path.open("rb") as found:
            yield found


@contextmanager
def _written(path: Path | None) -> Iterator[None]:
    """Say of what cannot be written which file it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{path or 'standard output'}: {error.strerror or error}") from error


@contextmanager
def _output(path: Path | None) -> Iterator[Any]:
    if path is None:
        yield sys.stdout.buffer
    elif path.suffix == ".gz":
        # No time in the header: the same seed gives the same bytes.
        with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, 0) as out:
            yield out
    else:
        with path.open("wb") as out:
            yield out
