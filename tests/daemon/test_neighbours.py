"""Servers beside the kernel: who was away is told when it is back, in order; a full disk ends nobody."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from netguard.adapters import control
from netguard.core.plan import compile_plan
from netguard.daemon.neighbours import Neighbours
from netguard.daemon.radius_server import RadiusServer
from netguard.daemon.units import Units
from netguard.settings import Paths, Settings


@pytest.fixture
def settings(tmp_path):
    for folder in ("sni", "dhcp", "time", "radius"):
        (tmp_path / folder).mkdir()
    paths = Paths(
        state=tmp_path, run=tmp_path, sni=tmp_path / "sni", dhcp=tmp_path / "dhcp",
        time=tmp_path / "time", radius=tmp_path / "radius",
    )  # fmt: skip
    return Settings(node="n", sites=("pellegrin",), paths=paths)


@pytest.fixture
def neighbours(settings):
    return Neighbours(settings, RadiusServer(settings, lambda _: {}), Units(settings))


@pytest.fixture
def plan(small):
    return compile_plan(small(), ["pellegrin"])


@asynccontextmanager
async def name_proxy(settings, heard, refuses=()):
    """Listen where the name proxy does; note what it is told."""

    def offer(verb):
        async def told(caller, message):
            heard.append(verb)
            if verb in refuses:
                raise OSError("it does not work")
            return {}

        return control.Offer(told)

    offers = {verb: offer(verb) for verb in ("reload", "resync")}
    server = await control.serve(settings.dns_socket, offers, lambda _: None)
    async with server:
        yield
    # From Python 3.13 on it goes with its server.
    settings.dns_socket.unlink(missing_ok=True)


def test_a_name_proxy_that_was_away_hears_all_it_missed_in_order(settings, neighbours, plan):
    heard = []

    async def story():
        await neighbours.table_is_new()
        await neighbours.bring_names(plan)
        assert "not told to reload and resync" in neighbours.problems()["dns"]
        await neighbours.catch_up(plan)
        assert heard == []
        async with name_proxy(settings, heard):
            await neighbours.catch_up(plan)
            await neighbours.catch_up(plan)

    asyncio.run(story())
    assert heard == ["reload", "resync"]
    assert neighbours.problems() == {}


def test_what_it_heard_before_it_went_is_not_said_again(settings, neighbours, plan):
    heard = []

    async def story():
        await neighbours.table_is_new()
        await neighbours.bring_names(plan)
        async with name_proxy(settings, heard, refuses={"resync"}):
            await neighbours.catch_up(plan)
        assert "not told to resync" in neighbours.problems()["dns"]
        async with name_proxy(settings, heard):
            await neighbours.catch_up(plan)

    asyncio.run(story())
    assert heard == ["reload", "resync", "resync"]


def test_a_file_that_cannot_be_written_is_a_problem_and_tried_again(settings, neighbours, plan):
    strict = replace(plan, services=tuple(replace(s, sni="strict") for s in plan.services))
    assert any(service.strict for service in strict.services)
    path = settings.paths.sni / "haproxy.cfg"
    path.mkdir()
    for _ in range(2):  # it is away, then its file is to be written
        asyncio.run(neighbours.catch_up(strict))
    assert "haproxy.cfg" in neighbours.problems()["files"]
    path.rmdir()
    asyncio.run(neighbours.catch_up(strict))
    assert path.read_text()
    assert "files" not in neighbours.problems()
