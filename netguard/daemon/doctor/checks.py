"""Runs checks side by side, each with its own deadline: one that hangs holds up no other.

A thread each, and none is waited for at the end: a file system that hangs would keep it for ever.
"""

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from netguard.adapters import clock
from netguard.core.doctor.findings import Finding, ordered, unchecked
from netguard.errors import NetguardError

DEADLINE = 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Check:
    """One look at something, the codes that it judges, and how many seconds it may take."""

    codes: tuple[str, ...]
    look: Callable[[], Iterable[Finding]]
    deadline: float = DEADLINE


class Once(Generic[T]):
    """A fact that several checks need; looked up once, in a thread of its own."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._future: Future[T] = Future()
        self._begun = threading.Lock()

    def begin(self) -> None:
        """Begin to look, where nobody has."""
        if self._begun.acquire(blocking=False):
            threading.Thread(target=self._run, daemon=True).start()

    def get(self) -> T:
        """Return the fact, or raise what was raised when it was looked up."""
        self.begin()
        return self._future.result()

    def _run(self) -> None:
        try:
            self._future.set_result(self._make())
        except Exception as error:  # noqa: BLE001  # handed to whoever asks
            self._future.set_exception(error)


def run(
    checks: Sequence[Check], said: Callable[[list[Finding]], None] = lambda _: None
) -> list[Finding]:
    """Run all checks and return their findings by code; `said` hears of each as it ends."""
    ended: queue.SimpleQueue[tuple[int, list[Finding]]] = queue.SimpleQueue()
    begin = clock.monotonic()
    for number, check in enumerate(checks):
        threading.Thread(target=_one, args=(number, check, ended), daemon=True).start()
    open_ = dict(enumerate(checks))
    found: list[Finding] = []
    while open_:
        left = begin + min(check.deadline for check in open_.values()) - clock.monotonic()
        try:
            number, findings = ended.get(timeout=max(0.0, left))
        except queue.Empty:
            now = clock.monotonic()
            late = [n for n, check in open_.items() if now >= begin + check.deadline]
            for number in late:
                check = open_.pop(number)
                text = f"no answer in {check.deadline:.0f} s"
                none = [unchecked(code, text) for code in check.codes]
                found += none
                said(none)
            continue
        if number in open_:
            del open_[number]
            found += findings
            said(findings)
    return ordered(found)


def _one(number: int, check: Check, ended: "queue.SimpleQueue[tuple[int, list[Finding]]]") -> None:
    try:
        findings = list(check.look())
    except (NetguardError, OSError) as error:
        findings = [unchecked(code, str(error)) for code in check.codes]
    except Exception as error:  # noqa: BLE001  # a fault of ours must not hide what the others found
        text = f"the check itself failed, please report it: {error!r}"
        findings = [unchecked(code, text) for code in check.codes]
    ended.put((number, findings))
