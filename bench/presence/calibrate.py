"""What the curves of core/presence/calibration.py are read off: thefts among silences that first pass a limit.

The simulated hospital is judged without the curves. For each context and limit: the silences whose
probability of theft passed it (two minutes or more into the silence), by the tenth in which it then was,
and how many were thefts. Seeds used for this judge nothing.
"""

import argparse
import sys
import tomllib
from collections import defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from netguard.core.presence import State, compile_model, step  # noqa: E402
from netguard.core.presence.actions import Judgement  # noqa: E402
from netguard.core.presence.weights import Weights  # noqa: E402
from netguard.core.simulation import read_parameters, simulate  # noqa: E402
from netguard.rules.folder import read_folder  # noqa: E402
from netguard.rules.load import load  # noqa: E402

LIMITS = (0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.75, 0.8)
CONTEXTS = ("rest by day", "rest by night", "at an exit", "on the way")
SOONEST, MATCH = 120.0, 900.0


def silences(seed, days):
    """Yield whether it was a theft, the context and the probabilities of each silence in their order."""
    policy = load(read_folder(ROOT / "rules", "rules"), today=date(2026, 11, 22)).policy
    model = replace(compile_model(policy, trace=True), weights=Weights(calibration={}))
    scenarios = tomllib.loads((ROOT / "netguard" / "scenarios.toml").read_text())
    own = {"days": days} if days else {}
    labels, state, found = [], State(), defaultdict(list)
    for event in simulate(model, read_parameters(scenarios, "hospital", own), seed, labels):
        for said in step(model, state, event):
            if isinstance(said, Judgement) and said.at - said.silent_since >= SOONEST:
                found[said.tablet, said.silent_since].append((said.context, said.probabilities[0]))
    thefts = {label.tablet: label.last_frame for label in labels if label.cause == "taken"}
    for (tablet, since), row in found.items():
        stolen = tablet in thefts and since >= thefts[tablet] - MATCH
        yield stolen, row[0][0], [probability for _, probability in row]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--seeds", default="C", help="prefix of the seeds")
    parser.add_argument("--days", type=int)
    words = parser.parse_args()
    counts = defaultdict(lambda: [0, 0])
    for number in range(1, words.runs + 1):
        for stolen, context, row in silences(f"{words.seeds}-{number}", words.days):
            for limit in LIMITS:
                first = next((p for p in row if p >= limit), None)
                if first is not None:
                    count = counts[context, limit, int(first * 10) / 10]
                    count[0] += stolen
                    count[1] += 1
        print(f"run {number} of {words.runs}", file=sys.stderr, flush=True)
    for (context, limit, tenth), (stolen, all_) in sorted(counts.items()):
        print(f"{CONTEXTS[context]:14} passes {limit:4}: from {tenth}  {stolen:4} of {all_:4}")


if __name__ == "__main__":
    main()
