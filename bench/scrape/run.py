"""What a scrape costs at 10,000 tablets: the text of /metrics, beside a gauge for each tablet as exporters do it.

CPU time of one exposition, both in one run, in turn. The aim is how long watch's loop is held.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.test_metrics import exposed, fleet

ROUNDS, TABLETS, AIM = 15, 10_000, 20.0


def per_tablet() -> CollectorRegistry:
    """Return a registry with one series for each tablet, as the peers have it."""
    registry = CollectorRegistry()
    gauge = Gauge("tablet_last_seen_timestamp_seconds", "x", ["tablet"], registry=registry)
    for number in range(TABLETS):
        gauge.labels(f"T-{number:05}").set(number)
    return registry


def timed(what) -> float:
    began = time.process_time()
    what()
    return 1000 * (time.process_time() - began)


def main() -> int:
    """Measure and print."""
    view, peers = fleet(), per_tablet()
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(lambda: exposed(view)))
        theirs.append(timed(lambda: generate_latest(peers)))
    series = sum(not line.startswith("#") for line in exposed(view).splitlines())
    one, other = median(ours), median(theirs)
    print(f"CPU time of one exposition, median of {ROUNDS}")
    print(f"  netguard, {series} series               {one:8.1f} ms")
    print(f"  a gauge for each of {TABLETS} tablets   {other:8.1f} ms")
    print(f"  aim: at most {AIM} ms: {one:.1f}{'' if one <= AIM else ', MISSED'}")
    ratios = {"a gauge per tablet / ours": round(other / one, 2), "ours, ms": round(one, 2)}
    print(json.dumps({"bench": "scrape", "ratios": ratios}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
