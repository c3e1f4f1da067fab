"""Labelled event streams of a hospital that does not exist: pure, the same for the same seed."""

from netguard.core.simulation.draws import Draws
from netguard.core.simulation.hospital import simulate
from netguard.core.simulation.parameters import Parameters, read_parameters

__all__ = ["Draws", "Parameters", "read_parameters", "simulate"]
