"""Draws that are the same on every machine and every version of Python.

The stream named by some words starts at the first eight bytes of SHA-256 of
"netguard-simulation/1/WORD/WORD/..." and goes on by SplitMix64 (Steele, Lea, Flood: Fast splittable
pseudorandom number generators, 2014).
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Draws:
    """One stream of draws."""

    def __init__(self, *words: object) -> None:
        name = "/".join(["netguard-simulation/1", *map(str, words)])
        self._state = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")

    def unit(self) -> float:
        """Draw from [0, 1)."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        z = self._state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return ((z ^ (z >> 31)) >> 11) / (1 << 53)

    def chance(self, share: float) -> bool:
        """Draw yes with this probability."""
        return self.unit() < share

    def between(self, span: Sequence[float]) -> float:
        """Draw evenly between the two ends of a span."""
        return span[0] + (span[1] - span[0]) * self.unit()

    def log_between(self, low: float, high: float) -> float:
        """Draw between two ends so that each factor is as likely."""
        return low * math.exp(math.log(high / low) * self.unit())

    def wait(self, mean: float) -> float:
        """Draw the time to the next event of a Poisson process."""
        return -mean * math.log(1.0 - self.unit())

    def one_of(self, things: Sequence[T]) -> T:
        """Draw one of some things."""
        return things[int(self.unit() * len(things))]

    def index(self, shares: Sequence[float]) -> int:
        """Draw an index by shares that sum to one."""
        left = self.unit()
        for index, share in enumerate(shares):
            left -= share
            if left < 0:
                return index
        return len(shares) - 1
