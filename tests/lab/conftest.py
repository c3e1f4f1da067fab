"""One hospital that the tests of this folder share; what changes it builds its own."""

import os
import subprocess
from collections.abc import Callable, Iterator

import pytest

from netguard.lab.hospital import Hospital


def quiet(text: str) -> None:
    """Print progress where pytest captures it."""
    print(f"lab: {text}")


@pytest.fixture(scope="session")
def hospital() -> Iterator[Hospital]:
    """A hospital of this test run's own: its name holds our process id."""
    lab = Hospital.up(f"s{os.getpid()}", say=quiet)
    try:
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def on_the_air(hospital: Hospital) -> Callable[..., None]:
    """Bring tablets back that a test before took off the air: no test leans on what ran before it."""

    def here(*tablets: str) -> None:
        stations = {each["host"]: each["state"] for each in hospital.status()["stations"]}
        for tablet in tablets:
            shown = hospital.exec(tablet, ["ip", "-4", "-o", "addr", "show", "dev", "wlan0"]).stdout
            if stations.get(tablet) != "joined" or not shown:
                assert hospital.join(tablet)["answer"] == "accept"
                hospital.dhcp(tablet)

    return here


@pytest.fixture
def joined(hospital: Hospital, on_the_air: Callable[..., None]) -> Hospital:
    """The same, with its three tablets on the air and addressed."""
    on_the_air("t1", "t2", "t3")
    return hospital


@pytest.fixture
def netguard(hospital: Hospital) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return how a command is typed on the appliance."""

    def typed(*words: str) -> subprocess.CompletedProcess[str]:
        return hospital.exec("gw", ["netguard", *words], timeout=120)

    return typed
