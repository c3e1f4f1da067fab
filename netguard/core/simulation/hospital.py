"""A hospital's tablets over some weeks: what the network hears of them, and what really happened.

Each tablet lives its own life (walker.py); APs and controllers fail for all. The stream comes in the
order of receipt, a day at a time, so that a long one needs no more memory than a short one.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from netguard.core import evidence
from netguard.core.evidence import Event
from netguard.core.labels import Label
from netguard.core.presence.model import Model
from netguard.core.simulation.draws import Draws
from netguard.core.simulation.parameters import Parameters
from netguard.core.simulation.walker import DAY, Walker
from netguard.core.simulation.world import Faults, World

_OTHERS = 5


def simulate(
    model: Model, parameters: Parameters, seed: str, labels: list[Label]
) -> Iterator[Event]:
    """Yield the events of a scenario; what happened is appended to `labels` as it happens.

    The same model, parameters and seed give the same stream, byte for byte.
    """
    world = World(model)
    faults = _faults(world, parameters, seed)
    walkers = [
        Walker(world, parameters, faults, tablet, Draws(seed, tablet.id), labels)
        for tablet in model.tablets.values()
    ]
    stream = _days(world, parameters, faults, walkers, seed)
    if parameters.old_data:
        stream = _old_data(stream, *_moment(parameters, parameters.old_data))
    if parameters.clock_step:
        stream = _clock_step(stream, labels, *_moment(parameters, parameters.clock_step))
    return stream


def _moment(parameters: Parameters, said: tuple[float, ...]) -> tuple[float, float]:
    day, second, span = said
    return parameters.start + day * DAY + second, span


def _faults(world: World, parameters: Parameters, seed: str) -> Faults:
    faults = Faults()
    end = parameters.start + parameters.days * DAY
    for ap in world.site_of_ap:
        draws = Draws(seed, "ap", ap)
        at = parameters.start + draws.wait(DAY / parameters.ap_outages)
        while at < end:
            until = at + draws.log_between(*parameters.ap_outage)
            faults.add(faults.aps, ap, at, until)
            at = until + draws.wait(DAY / parameters.ap_outages)
    for site in world.sites:
        draws = Draws(seed, "site", site)
        at = parameters.start + draws.wait(DAY / parameters.controller_outages)
        while at < end:
            until = at + parameters.controller_outage
            faults.add(faults.sites, site, at, until)
            at = until + draws.wait(DAY / parameters.controller_outages)
    if parameters.power_cut:
        at, span = _moment(parameters, parameters.power_cut)
        for ap in world.edge_aps:
            faults.add(faults.aps, ap, at, at + span)
    if parameters.controller_cut:
        at, span = _moment(parameters, parameters.controller_cut)
        for site in world.sites:
            faults.add(faults.sites, site, at, at + span)
    faults.sort()
    return faults


def _days(
    world: World, parameters: Parameters, faults: Faults, walkers: list[Walker], seed: str
) -> Iterator[Event]:
    pending: list[Event] = []
    lives = [(walker, walker.live()) for walker in walkers]
    infrastructure = list(_infrastructure(world, parameters, faults, seed))
    others = Draws(seed, "others")
    for day in range(parameters.days):
        end = parameters.start + (day + 1) * DAY
        for walker, life in lives:
            while walker.at < end and next(life, None) is not None:
                pass
            pending += walker.told
            walker.told.clear()
        pending += _others(world, parameters, faults, others, end - DAY)
        pending += [event for event in infrastructure if end - DAY <= event.at < end]
        pending.sort(key=lambda event: event.received or event.at)
        cut = next(
            (i for i, event in enumerate(pending) if (event.received or event.at) >= end),
            len(pending),
        )
        yield from pending[:cut]
        del pending[:cut]


def _infrastructure(
    world: World, parameters: Parameters, faults: Faults, seed: str
) -> Iterator[Event]:
    draws = Draws(seed, "infrastructure")
    for ap, spans in sorted(faults.aps.items()):
        site = world.site_of_ap[ap]
        for at, until in spans:
            if draws.chance(parameters.ap_told):
                for kind, when in ((evidence.AP_DOWN, at), (evidence.AP_UP, until)):
                    told = when + draws.between(parameters.ap_told_after)
                    yield Event(told, kind, ap=ap, nas=world.nas[site], site=site, source="syslog")
    for site, spans in sorted(faults.sites.items()):
        for _, until in spans:
            yield Event(
                until, evidence.NAS_RESTART, nas=world.nas[site], site=site, source="radius"
            )


def _others(
    world: World, parameters: Parameters, faults: Faults, draws: Draws, start: float
) -> Iterator[Event]:
    """Other people's devices at the exits: they show that an AP lives, and nothing else."""
    for ap in world.edge_aps:
        site, at = world.site_of_ap[ap], start
        while True:
            day = parameters.day[0] <= (at - parameters.start) % DAY < parameters.day[1]
            at += draws.wait(parameters.others[0 if day else 1])
            if at >= start + DAY:
                break
            if not faults.holds(ap, site, at):
                mac = f"3a:00:00:00:00:{int(draws.unit() * _OTHERS):02x}"
                yield Event(at, evidence.INTERIM, mac, ap, world.nas[site], site, source="radius")


def _old_data(stream: Iterator[Event], at: float, span: float) -> Iterator[Event]:
    """For a while every feed repeats what it said that long before, as if it were new."""
    past: deque[Event] = deque()
    for event in stream:
        received = event.received or event.at
        if received < at:
            past.append(event)
            while past and (past[0].received or past[0].at) < received - span:
                past.popleft()
            yield event
        elif received < at + span:
            while past and (past[0].received or past[0].at) + span <= received:
                old = past.popleft()
                yield old._replace(received=(old.received or old.at) + span)
        else:
            yield event


def _clock_step(
    stream: Iterator[Event], labels: list[Label], at: float, step: float
) -> Iterator[Event]:
    """From one moment on our own clock is wrong by `step` seconds; at the end the labels follow it."""
    for event in stream:
        if (event.received or event.at) < at:
            yield event
        else:
            received = (event.received or event.at) + step
            yield event._replace(at=event.at + step, received=received)
    for index, label in enumerate(labels):
        labels[index] = replace(
            label,
            last_frame=label.last_frame + (step if label.last_frame >= at else 0.0),
            until=label.until + (step if label.until >= at else 0.0),
        )


def halved_and_doubled(parameters: Parameters, name: str) -> tuple[Parameters, Parameters]:
    """Return the two neighbours of a scenario in one parameter."""
    return parameters.changed(name, 0.5), parameters.changed(name, 2.0)


def for_days(parameters: Parameters, days: int) -> Parameters:
    """Return the same scenario over so many days."""
    return replace(parameters, days=days)
