"""One hospital that the tests of this folder share; what changes it builds its own."""

import os
from collections.abc import Iterator

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
def joined(hospital: Hospital) -> Hospital:
    """The same, with its three tablets on the air and addressed."""
    for tablet in ("t1", "t2", "t3"):
        assert hospital.join(tablet)["answer"] == "accept"
        hospital.dhcp(tablet)
    return hospital
