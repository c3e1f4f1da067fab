"""Recorded and invented events through the engine."""

from pathlib import Path

from netguard.cli.words.base import Commands, command, json_flag, late, rules_flag, today


def add(commands: Commands) -> None:
    """Add these words to the parser."""
    replay = command(
        commands,
        "replay",
        "run recorded events through the engine of presence: each change of state, each alert",
        "netguard replay events.jsonl.gz --rules rules/ --json\n"
        "  netguard replay events.jsonl --rules rules/ --diff rules-new/",
        late("cli.replaying", "replay"),
    )
    replay.add_argument(
        "events", type=Path, metavar="EVENTS", help="docs/events.md; .gz, - for stdin"
    )
    rules_flag(replay)
    replay.add_argument("--json", action="store_true", help="one JSON object a line")
    replay.add_argument(
        "--diff",
        type=Path,
        metavar="DIR",
        help="only the alerts, requests, names and flows that these rules answer differently; 1 if any",
    )
    today(replay)
    simulate = command(
        commands,
        "simulate",
        "write an invented stream of events with labels: thefts, sleepers, outages, duplicates",
        "netguard simulate --scenario hospital --seed 1 --out events.jsonl.gz --labels labels.jsonl",
        late("cli.replaying", "simulate"),
    )
    simulate.add_argument(
        "--scenario",
        default="hospital",
        metavar="NAME",
        help="hospital (default), short, old-data, clock-forward, clock-back, controller-outage, "
        "power-cut: see netguard/scenarios.toml",
    )
    simulate.add_argument(
        "--seed", default="1", metavar="TEXT", help="the same seed, the same bytes"
    )
    simulate.add_argument(
        "--set", action="append", metavar="NAME=VALUE", help="change one parameter"
    )
    simulate.add_argument(
        "--out", type=Path, metavar="FILE", help="events (default: standard output)"
    )
    simulate.add_argument("--labels", type=Path, metavar="FILE", help="what really happened")
    rules_flag(simulate)
    today(simulate)
    evaluate = command(
        commands,
        "evaluate",
        "compare the engine with the labels of a stream, beside fixed time-outs",
        "netguard evaluate events.jsonl.gz labels.jsonl --rules rules/ --picture roc.svg",
        late("cli.replaying", "evaluate"),
    )
    evaluate.add_argument(
        "events", type=Path, metavar="EVENTS", help="docs/events.md; .gz, - for stdin"
    )
    evaluate.add_argument(
        "labels", type=Path, metavar="LABELS", help="what really happened, docs/events.md"
    )
    rules_flag(evaluate)
    evaluate.add_argument("--picture", type=Path, metavar="FILE", help="write the picture as SVG")
    json_flag(evaluate)
    today(evaluate)
