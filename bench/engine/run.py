"""Events per second of the engine of presence alone, with everything learned, beside the least one can do.

2,000 tablets on 400 APs live a simulated day; its first half teaches the engine, the second is measured, in rounds that
take turns with the peer: a dictionary of when each MAC was heard last, which is what a consider-home tracker keeps. Then
what the state of 10,000 tablets takes. One JSON line at the end holds the ratios. Aim: 100,000 events a second.
"""

import json
import sys
import time
import tomllib
import tracemalloc
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from netguard.core.evidence import Event  # noqa: E402
from netguard.core.presence import State, dump, load, step  # noqa: E402
from netguard.core.presence.model import AreaModel, Model, SiteModel, TabletModel  # noqa: E402
from netguard.core.simulation import read_parameters, simulate  # noqa: E402

TABLETS, ROUNDS, AIM, MOST_MEGABYTES = 2000, 5, 100_000, 200


def hospital(tablets):
    """Forty APs for two hundred tablets, as many sites' worth of it as are needed."""
    areas, people = [], {}
    for number in range(tablets // 50):
        name = f"ward-{number}"
        areas.append(
            AreaModel(
                "main", name, tuple(f"ap-{number}-{i}" for i in range(10)), edge=number % 10 == 9
            )
        )
        for i in range(50):
            mac = f"64:1b:2f:{number:02x}:{i:02x}:01"
            home = name if number % 10 != 9 else f"ward-{number - 1}"
            people[mac] = TabletModel(f"T-{number}-{i}", mac, "main", home, "SM-T510")
    return Model({"main": SiteModel("main", "Europe/Paris")}, tuple(areas), {"wlc": "main"}, people)


def tracker(events, last):
    away = 0
    for event in events:
        before = last.get(event.mac, 0.0)
        if event.at - before > 180.0:
            away += 1
        if event.at > before:
            last[event.mac] = event.at
    return away


def engine(model, state, events):
    actions = 0
    for event in events:
        actions += len(step(model, state, event))
    return actions


def megabytes(tablets):
    """Return what the learned state of so many tablets takes, and its bytes on disk."""
    model = hospital(tablets)
    aps = [ap for area in model.areas for ap in area.aps]
    tracemalloc.start()
    state = State()
    # Heard again before anybody is silent: what is measured is what a tablet takes, not what judging costs.
    for at in (0.0, 150.0, 300.0, 450.0):
        for number, mac in enumerate(model.tablets):
            ap = aps[(number * 7 + int(at) // 150) % len(aps)]
            when = 1_767_600_000.0 + at + number * 0.01
            step(
                model,
                state,
                Event(
                    when,
                    "session-start",
                    mac,
                    ap,
                    "wlc",
                    "main",
                    "",
                    "radius",
                    f"s-{number}-{at}",
                    0,
                ),
            )
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / 1e6, len(dump(state)) / 1e6


def say(text):
    print(f"  {time.process_time():4.0f} s  {text}", file=sys.stderr, flush=True)


def main():
    say(f"{TABLETS} tablets live a day")
    model = hospital(TABLETS)
    scenarios = tomllib.loads((ROOT / "netguard" / "scenarios.toml").read_text())
    events = list(simulate(model, read_parameters(scenarios, "hospital", {"days": 1}), "bench", []))
    say(f"{len(events)} events; the first half teaches")
    half = len(events) // 2
    state = State()
    engine(model, state, events[:half])
    learned, rest = dump(state), events[half:]
    rates = {"engine": [], "consider-home": []}
    for number in range(ROUNDS):
        fresh = load(learned, model)
        began = time.process_time()
        actions = engine(model, fresh, rest)
        rates["engine"].append(len(rest) / (time.process_time() - began))
        began = time.process_time()
        tracker(rest, {})
        rates["consider-home"].append(len(rest) / (time.process_time() - began))
        say(f"round {number + 1} of {ROUNDS}: {rates['engine'][-1]:,.0f} events a second")
    say("the state of 10,000 tablets")
    found = {name: median(values) for name, values in rates.items()}
    memory, stored = megabytes(10_000)
    print(
        f"{len(rest)} events of {TABLETS} tablets, {actions} actions; events per CPU-second, median of {ROUNDS} rounds"
    )
    for name, rate in found.items():
        print(f"  {name:16} {rate:12,.0f}")
    print(f"  state of 10,000 tablets {memory:.0f} MB in memory, {stored:.0f} MB stored")
    line = {
        "bench": "engine", "ratios": {"engine/consider-home": round(found["engine"] / found["consider-home"], 3)},
        "events_per_second": round(found["engine"]), "aim": AIM, "within_aim": found["engine"] >= AIM,
        "megabytes_10000": round(memory, 1), "most_megabytes": MOST_MEGABYTES,
    }  # fmt: skip
    print(json.dumps(line))


if __name__ == "__main__":
    main()
